"""A job through the real adapters delivers the unsliced kernel's pixels, whatever the picture and however it is cut."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from PIL import Image

from tallystick.adapters.pillow import decode_image
from tallystick.cli.home import Home, open_home
from tallystick.job import PPM
from tallystick.kernels.lanczos import resample, target_size
from tallystick.node.ordering import Wish
from tallystick.primitives.digests import sha256

WORKERS: Final = (1, 2, 3, 7)
BLOCKS: Final = (32, 64, 256, 512)
SCALES: Final = ("2", "1.5", "3/2", "1/2", "4/3")


def noise(height: int, width: int, channels: int, depth: int = 8) -> Any:  # noqa: ANN401 - samples
    kind = np.uint8 if depth == 8 else np.uint16
    shape = (height, width) if channels == 1 else (height, width, channels)
    return np.random.default_rng(height * 7919 + width).integers(0, np.iinfo(kind).max + 1, shape, kind)


def png(samples: Any, mode: str | None = None) -> bytes:  # noqa: ANN401 - samples
    """A PNG of these samples, in a mode of Pillow's."""
    return saved(Image.fromarray(samples, mode) if mode else Image.fromarray(samples), "PNG")


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:  # noqa: ANN401
    data = io.BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


def turned(orientation: int) -> bytes:
    """A JPEG that says it lies on its side."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(Image.fromarray(noise(61, 97, 3)), "JPEG", exif=exif, quality=90)


def palette() -> bytes:
    image = Image.fromarray(noise(45, 67, 3)).convert("P", palette=Image.Palette.ADAPTIVE, colors=37)
    return saved(image, "PNG")


KINDS: Final[dict[str, Callable[[], bytes]]] = {
    "1x1": lambda: png(noise(1, 1, 3)),
    "3x5000": lambda: png(noise(5000, 3, 3)),
    "5000x3": lambda: png(noise(3, 5000, 1)),
    "grey": lambda: png(noise(131, 77, 1)),
    "rgb-odd": lambda: png(noise(173, 211, 3)),
    "rgba": lambda: png(noise(67, 129, 4)),
    "grey-alpha": lambda: png(noise(65, 33, 2), "LA"),
    "palette": palette,
    "grey-16": lambda: png(noise(59, 83, 1, 16)),
    "jpeg": lambda: saved(Image.fromarray(noise(101, 57, 3)), "JPEG", quality=85),
    "jpeg-turned": lambda: turned(6),
    "jpeg-mirrored": lambda: turned(7),
    "jpeg-grey": lambda: saved(Image.fromarray(noise(40, 91, 1)), "JPEG"),
    "one-row": lambda: png(noise(1, 300, 3)),
}


def sampled() -> list[tuple[str, int, int, str]]:
    """Each kind twice, and every value of every other thing with every other one at least once over the whole list."""
    cuts = list(itertools.product(WORKERS, BLOCKS))
    names = list(KINDS) * 2
    return [
        (name, *cuts[(index * 7) % len(cuts)], SCALES[(index * 3 + index // 14) % len(SCALES)])
        for index, name in enumerate(names)
    ]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """One home for all jobs: the keys are made once."""
    with open_home(tmp_path_factory.mktemp("pixels") / "home", threads=2) as opened:
        yield opened


def delivered(home: Home, data: bytes, output: Path, **wanted: Any) -> Any:  # noqa: ANN401 - samples
    """Order, run, and decode what was delivered."""
    wish = Wish(
        job_id=f"pixels-{output.stem}".lower(),
        input=sha256(data).hex(),
        input_name="input",
        output_path=str(output),
        created=1,
        **wanted,
    )
    offer = home.node.offer(wish, data)
    home.node.accept(offer, data)
    home.node.run(wish.job_id, offer.picture)
    return decode_image(output.read_bytes())


def expected(data: bytes, scale: str) -> Any:  # noqa: ANN401 - samples
    """The unsliced kernel over the decoded input."""
    raster = decode_image(data).raster
    size = target_size(raster.width, Fraction(scale)), target_size(raster.height, Fraction(scale))
    return resample(raster.samples, size)


def assert_same(actual: Any, wanted: Any) -> None:  # noqa: ANN401 - samples
    """Equal in shape, depth and every bit."""
    assert (actual.shape, actual.dtype) == (wanted.shape, wanted.dtype)
    assert np.array_equal(actual, wanted)


def test_the_sample_meets_every_kind_and_every_pair_of_the_small_choices() -> None:
    chosen = sampled()
    assert {name for name, *_ in chosen} == set(KINDS)
    assert {(workers, block) for _, workers, block, _ in chosen} == set(itertools.product(WORKERS, BLOCKS))
    assert {scale for *_, scale in chosen} == set(SCALES)


@pytest.mark.parametrize(("kind", "workers", "block", "scale"), sampled())
def test_the_delivered_pixels_are_the_kernels(
    home: Home, tmp_path: Path, kind: str, workers: int, block: int, scale: str
) -> None:
    data = KINDS[kind]()
    output = tmp_path / f"{kind}-{workers}-{block}-{scale.replace('/', '-')}.png"
    actual = delivered(home, data, output, scale=scale, workers=workers, block=block)
    assert_same(actual.raster.samples, expected(data, scale))
    assert not list((home.path / "blobs").rglob("*.pack"))
    assert list((home.path / "jobs").iterdir()) == []


@pytest.mark.parametrize("count", [1, 3])
def test_the_delivered_pixels_are_the_kernels_when_workers_forge(home: Home, tmp_path: Path, count: int) -> None:
    data = KINDS["rgba"]()
    wanted = {"scale": "2", "block": 64, "operators": 3, "audit": PPM, "simulated": True, "dishonest": count}
    actual = delivered(home, data, tmp_path / f"forged-{count}.png", **wanted)
    assert_same(actual.raster.samples, expected(data, "2"))


def test_the_colour_profile_is_delivered_too(home: Home, tmp_path: Path) -> None:
    profile = b"\0" * 36 + b"acsp" + b"\0" * 88 + b"\0\0\0\0"
    profile = len(profile).to_bytes(4, "big") + profile[4:]
    data = saved(Image.fromarray(noise(20, 30, 3)), "PNG", icc_profile=profile)
    actual = delivered(home, data, tmp_path / "profile.png", scale="2", block=32)
    assert actual.icc_profile == decode_image(data).icc_profile == profile
