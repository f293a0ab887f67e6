from __future__ import annotations

import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from tallystick.adapters.pillow import decode_image
from tallystick.errors import ImageError

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def noise(height: int, width: int, channels: int) -> np.ndarray:
    return np.random.default_rng(2).integers(0, 256, (height, width, channels)).astype(np.uint8)


def smooth(height: int, width: int) -> np.ndarray:
    y, x, c = np.indices((height, width, 3))
    return (127 + 90 * np.sin(x / 19 + c) * np.cos(y / 13)).astype(np.uint8)


def saved(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def raw_png(width: int, height: int, depth: int, colour: int, rows: bytes, *extra: tuple[bytes, bytes]) -> bytes:
    """A PNG from raw rows with their filter bytes, for kinds that Pillow does not write."""
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = [(b"IHDR", head), *extra, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    parts = [struct.pack(">I", len(b)) + k + b + struct.pack(">I", zlib.crc32(k + b)) for k, b in body]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("LA", 2), ("RGB", 3), ("RGBA", 4)])
def test_plain_pngs_are_decoded_sample_by_sample(mode: str, channels: int) -> None:
    samples = noise(23, 31, channels)
    decoded = decode_image(saved(Image.fromarray(samples.squeeze(), mode)))
    assert np.array_equal(decoded.raster.samples, samples)
    assert (decoded.source_format, decoded.media_type, decoded.orientation) == ("PNG", "image/png", 1)
    assert decoded.icc_profile is None
    assert decoded.raster.samples.flags.writeable


def test_tall_pictures_are_read_in_strips_without_a_seam() -> None:
    samples = noise(1500, 1700, 3)
    assert np.array_equal(decode_image(saved(Image.fromarray(samples), compress_level=1)).raster.samples, samples)


def test_16_bit_grey_stays_16_bit() -> None:
    samples = np.arange(0, 65536, 97, dtype=np.uint16)[:650].reshape(25, 26)
    decoded = decode_image(saved(Image.fromarray(samples)))
    assert decoded.raster.depth == 16
    assert np.array_equal(decoded.raster.samples[..., 0], samples)


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_few_grey_levels_are_spread_over_8_bits(depth: int) -> None:
    row = bytes([0, 0b00011011]) if depth < 4 else bytes([0, 0x1F])
    width = 8 // depth
    step = 255 // ((1 << depth) - 1)
    levels = [row[1] >> (8 - depth * (i + 1)) & ((1 << depth) - 1) for i in range(width)]
    decoded = decode_image(raw_png(width, 1, depth, 0, row))
    assert decoded.raster.samples[0, :, 0].tolist() == [level * step for level in levels]
    top = (1 << depth) - 1
    keyed = decode_image(raw_png(width, 1, depth, 0, row, (b"tRNS", struct.pack(">H", top))))
    assert keyed.raster.samples[0].tolist() == [[level * step, 0 if level == top else 255] for level in levels]


def test_a_transparent_level_or_colour_becomes_alpha() -> None:
    grey = decode_image(raw_png(3, 1, 8, 0, bytes([0, 7, 8, 7]), (b"tRNS", struct.pack(">H", 7))))
    assert grey.raster.samples[0].tolist() == [[7, 0], [8, 255], [7, 0]]
    colour = decode_image(raw_png(2, 1, 8, 2, bytes([0, 1, 2, 3, 1, 2, 4]), (b"tRNS", struct.pack(">HHH", 1, 2, 4))))
    assert colour.raster.samples[0].tolist() == [[1, 2, 3, 255], [1, 2, 4, 0]]


def test_palettes_become_colours_with_their_alpha() -> None:
    indices = np.array([[0, 1, 2], [2, 1, 0]], np.uint8)
    picture = Image.fromarray(indices, "P")
    picture.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    colours = np.array([[10, 20, 30], [40, 50, 60], [70, 80, 90]], np.uint8)
    assert np.array_equal(decode_image(saved(picture)).raster.samples, colours[indices])
    alphas = np.array([255, 128, 0], np.uint8)
    veiled = decode_image(saved(picture, transparency=bytes(alphas.tolist()))).raster.samples
    assert np.array_equal(veiled[..., 3], alphas[indices])
    assert np.array_equal(veiled[..., :3], colours[indices])
    one = decode_image(saved(picture, transparency=1)).raster.samples
    assert np.array_equal(one[..., 3], np.array([255, 0, 255])[indices])


def test_one_bit_pictures_are_black_and_white() -> None:
    samples = noise(9, 13, 1)[..., 0] > 127
    for kind in ("PNG", "BMP"):
        decoded = decode_image(saved(Image.fromarray(samples), kind))
        assert np.array_equal(decoded.raster.samples[..., 0], samples * np.uint8(255))


@pytest.mark.parametrize("kind", ["BMP", "WEBP", "GIF", "JPEG"])
def test_other_formats_give_what_pillow_gives(kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    data = saved(Image.fromarray(smooth(40, 50)), kind, **options)
    decoded = decode_image(data)
    assert decoded.source_format == kind
    assert np.array_equal(decoded.raster.samples, np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))


def test_grey_jpegs_and_transparent_webps_and_gifs_keep_their_kind() -> None:
    assert decode_image(saved(Image.fromarray(smooth(40, 50)[..., 0]), "JPEG")).raster.channels == 1
    veiled = noise(20, 30, 4)
    decoded = decode_image(saved(Image.fromarray(veiled), "WEBP", lossless=True, exact=True))
    assert np.array_equal(decoded.raster.samples, veiled)
    picture = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    picture.putpalette([9, 9, 8, 200, 100, 50])
    gif = decode_image(saved(picture, "GIF", transparency=1)).raster.samples
    assert gif[0, 0].tolist() == [9, 9, 8, 255]
    assert gif[0, 1, 3] == 0


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_undone(kind: str, orientation: int) -> None:
    upright = smooth(24, 40)
    upright[:12, :20] //= 4
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: np.rot90(upright, 2).transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}, "PNG": {}}[kind]
    decoded = decode_image(saved(Image.fromarray(np.ascontiguousarray(stored)), kind, exif=exif, **options))
    assert decoded.orientation == orientation
    assert decoded.raster.samples.shape == upright.shape
    assert np.abs(decoded.raster.samples.astype(int) - upright).max() <= (6 if kind == "JPEG" else 0)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_the_colour_profile_is_kept(kind: str) -> None:
    assert decode_image(saved(Image.fromarray(smooth(8, 8)), kind, icc_profile=PROFILE)).icc_profile == PROFILE


def test_a_damaged_exif_block_leaves_the_picture_as_stored() -> None:
    data = saved(Image.fromarray(smooth(8, 9)), "JPEG", dpi=(72, 72), exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert decode_image(data).orientation == 1


@pytest.mark.parametrize(("colour", "samples"), [(2, 3), (6, 4), (4, 2)])
def test_16_bit_colour_is_refused(colour: int, samples: int) -> None:
    with pytest.raises(ImageError, match="convert it to 8 bits"):
        decode_image(raw_png(2, 1, 16, colour, bytes(1 + 4 * samples)))


def test_16_bit_grey_with_a_transparent_level_is_refused() -> None:
    with pytest.raises(ImageError, match="convert it to 8 bits"):
        decode_image(raw_png(2, 1, 16, 0, bytes(5), (b"tRNS", bytes(2))))


def test_inks_and_animations_are_refused_with_what_to_do() -> None:
    with pytest.raises(ImageError, match="CMYK inks; convert it to RGB"):
        decode_image(saved(Image.new("CMYK", (8, 8)), "JPEG"))
    frames = [Image.fromarray(noise(8, 8, 3)) for _ in range(2)]
    frames[1].putpixel((0, 0), (1, 2, 3))
    for kind in ("GIF", "PNG", "WEBP"):
        data = saved(frames[0], kind, save_all=True, append_images=frames[1:], duration=100)
        with pytest.raises(ImageError, match="animated"):
            decode_image(data)


def test_the_pixel_bound_is_our_own() -> None:
    data = saved(Image.fromarray(noise(10, 10, 3)))
    with pytest.raises(ImageError, match="10 x 10 pixels are more than 99"):
        decode_image(data, pixels_max=99)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert decode_image(saved(Image.new("1", (20000, 19000)))).raster.width == 20000


def test_a_header_of_a_huge_picture_is_refused_before_decoding() -> None:
    with pytest.raises(ImageError, match="more than 400000000"):
        decode_image(raw_png(60000, 60000, 8, 2, b""))


@pytest.mark.parametrize(
    "data", [b"", b"hello", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM", b"GIF89a", b"RIFF\0\0\0\0WEBP"]
)
def test_what_is_no_picture_is_refused_in_one_line(data: bytes) -> None:
    with pytest.raises(ImageError) as caught:
        decode_image(data)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF"])
def test_truncated_files_are_refused(kind: str) -> None:
    data = saved(Image.fromarray(smooth(64, 64)), kind)
    for length in {12, 20, 30, 60, len(data) // 3, len(data) // 2, len(data) * 3 // 4} - {len(data)}:
        with pytest.raises(ImageError) as caught:
            decode_image(data[:length])
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF"])
def test_damaged_files_raise_nothing_but_image_errors(kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    options = {} if kind in {"BMP", "GIF"} else {"exif": exif, "icc_profile": PROFILE}
    data = saved(Image.fromarray(smooth(32, 32)), kind, **options)
    rng = np.random.default_rng(3)
    for _ in range(300):
        broken = bytearray(data)
        for position in rng.integers(0, min(len(data), 700), rng.integers(1, 6)):
            broken[position] = rng.integers(0, 256)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                decode_image(bytes(broken), pixels_max=1_000_000)
        except ImageError as error:
            assert "\n" not in str(error)  # noqa: PT017 (many pass: damage does not always show)


def test_the_bundled_picture_is_plain_rgb() -> None:
    source = Path(__file__).resolve().parents[2] / "src" / "tallystick" / "cli" / "picture.png"
    raster = decode_image(source.read_bytes()).raster
    assert (raster.width, raster.height, raster.channels, raster.depth) == (600, 700, 3, 8)
