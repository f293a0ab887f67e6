"""The printed examples of docs/spec/raster.md and lanczos3.md, computed again."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from tallystick.kernels.coefficients import axis
from tallystick.kernels.lanczos import KERNEL_NAME, resample
from tallystick.kernels.raster import Raster, block_bytes, raster_digest
from tests.unit import lanczos_definition as definition

SPEC = Path(__file__).resolve().parents[2] / "docs" / "spec"
GREY = np.array([[0, 100, 255], [200, 50, 10]], np.uint8)[..., None]
DEEP = np.array([[1, 65535], [256, 515]], np.uint16)[..., None]
VEILED = np.array([[[10, 200, 30, 255], [90, 0, 250, 64]]], np.uint8)


def examples(page: str, title: str) -> list[str]:
    found = re.findall(rf"^```{title}\n(.*?)^```", (SPEC / page).read_text(), re.MULTILINE | re.DOTALL)
    assert found
    return found


def numbers(text: str) -> list[list[int]]:
    return [[int(word) for word in line.split()] for line in text.splitlines()]


def test_rasters_are_the_printed_bytes_and_digests() -> None:
    expected = [f"samples {block_bytes(s).hex()}\ndigest  {raster_digest(Raster(s)).hex()}\n" for s in (GREY, DEEP)]
    assert examples("raster.md", "example") == expected


def test_taps_are_the_printed_ones() -> None:
    [printed] = examples("lanczos3.md", "taps 3 5")
    along = axis(3, 5)
    assert numbers(printed) == [[int(along.starts[x]), *along.rows[along.row_of[x]].tolist()] for x in range(5)]
    by_definition = [definition.taps(3, 5, x) for x in range(5)]
    assert numbers(printed) == [[first, *taps] for first, taps in by_definition]


def test_resampled_pictures_are_the_printed_ones() -> None:
    [grey] = examples("lanczos3.md", "samples")
    assert numbers(grey) == resample(GREY, (5, 3))[..., 0].tolist()
    assert numbers(grey) == [[s for [s] in row] for row in definition.resample(GREY.tolist(), 5, 3, 255)]
    [veiled] = examples("lanczos3.md", "pixels")
    assert numbers(veiled) == resample(VEILED, (3, 1))[0].tolist()
    assert numbers(veiled) == definition.resample(VEILED.tolist(), 3, 1, 255)[0]


def test_the_page_carries_the_kernels_name() -> None:
    assert (SPEC / "lanczos3.md").read_text().startswith(f"# {KERNEL_NAME}\n")
