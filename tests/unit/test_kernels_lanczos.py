from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tallystick.errors import UsageError
from tallystick.kernels.lanczos import (
    Region,
    input_window,
    resample,
    resample_region,
    resample_window,
    target_size,
)
from tallystick.kernels.raster import Samples
from tests.unit import lanczos_definition as definition


def noise(height: int, width: int, channels: int, dtype: type = np.uint8, seed: int = 0) -> Samples:
    """Noise with many samples at both ends of the range, where overshoot is clipped."""
    largest = np.iinfo(dtype).max
    values = np.random.default_rng(seed).integers(-largest // 2, largest + largest // 2, (height, width, channels))
    return values.clip(0, largest).astype(dtype)


SMALL = [
    (1, 1, 3, np.uint8, 5, 4),
    (7, 5, 1, np.uint8, 10, 14),
    (7, 5, 3, np.uint8, 7, 11),
    (9, 8, 2, np.uint8, 12, 13),
    (9, 8, 4, np.uint8, 11, 5),
    (12, 11, 4, np.uint8, 5, 4),
    (6, 9, 1, np.uint16, 13, 8),
    (11, 12, 3, np.uint16, 5, 4),
    (13, 17, 1, np.uint8, 1, 1),
    (5, 6, 3, np.uint8, 6, 5),
]


@pytest.mark.parametrize(("height", "width", "channels", "dtype", "out_w", "out_h"), SMALL)
def test_the_kernel_is_the_definition_bit_for_bit(
    height: int, width: int, channels: int, dtype: type, out_w: int, out_h: int
) -> None:
    source = noise(height, width, channels, dtype)
    expected = definition.resample(source.tolist(), out_w, out_h, int(np.iinfo(dtype).max))
    assert resample(source, (out_w, out_h)).tolist() == expected


PILLOW = [
    (60, 50, 1, np.uint8, 100, 120),
    (60, 50, 3, np.uint8, 75, 90),
    (61, 53, 3, np.uint8, 71, 101),
    (61, 53, 3, np.uint8, 19, 7),
    (53, 61, 1, np.uint16, 97, 91),
    (53, 61, 1, np.uint16, 20, 17),
    (1, 1, 3, np.uint8, 9, 4),
    (3, 5000, 3, np.uint8, 7500, 5),
    (5000, 3, 1, np.uint8, 1, 1250),
    (300, 400, 3, np.uint8, 401, 299),
]


def pillow_plane(plane: np.ndarray, out_w: int, out_h: int) -> np.ndarray:
    """Pillow's Lanczos in float mode F, not rounded."""
    picture = Image.fromarray(plane.astype(np.float32)).resize((out_w, out_h), Image.Resampling.LANCZOS)
    return np.asarray(picture).astype(np.float64)


@pytest.mark.parametrize(("height", "width", "channels", "dtype", "out_w", "out_h"), PILLOW)
def test_the_kernel_agrees_with_pillow_within_one_level(
    height: int, width: int, channels: int, dtype: type, out_w: int, out_h: int
) -> None:
    source = noise(height, width, channels, dtype)
    ours = resample(source, (out_w, out_h)).astype(np.float64)
    for channel in range(channels):
        theirs = np.floor(pillow_plane(source[..., channel], out_w, out_h) + 0.5).clip(0, np.iinfo(dtype).max)
        assert np.abs(ours[..., channel] - theirs).max() <= 1


@pytest.mark.parametrize(("channels", "out_w", "out_h"), [(4, 100, 120), (4, 71, 83), (4, 21, 13), (2, 64, 90)])
def test_alpha_agrees_with_pillow_on_premultiplied_planes(channels: int, out_w: int, out_h: int) -> None:
    source = noise(60, 50, channels)
    ours = resample(source, (out_w, out_h)).astype(np.float64)
    exact = pillow_plane(source[..., -1], out_w, out_h)
    alpha = np.floor(exact + 0.5).clip(0, 255)
    assert np.abs(ours[..., -1] - alpha).max() <= 1
    for channel in range(channels - 1):
        product = source[..., channel].astype(np.float64) * source[..., -1] / 255
        # A colour cannot be brighter than its alpha: premultiplied overshoot is cut there.
        theirs = np.minimum(np.floor(pillow_plane(product, out_w, out_h) + 0.5).clip(0, 255), alpha)
        premultiplied = np.floor(ours[..., channel] * ours[..., -1] / 255 + 0.5)
        assert np.abs(premultiplied - theirs).max() <= 1


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_slicing_gives_the_same_pixels(data: st.DataObject) -> None:
    sides = st.integers(1, 40)
    height, width, out_w, out_h = (data.draw(sides) for _ in range(4))
    channels = data.draw(st.integers(1, 4))
    source = noise(height, width, channels, seed=data.draw(st.integers(0, 99)))
    whole = resample(source, (out_w, out_h))
    step_x, step_y = data.draw(st.integers(1, out_w)), data.draw(st.integers(1, out_h))
    for y in range(0, out_h, step_y):
        for x in range(0, out_w, step_x):
            region = Region(x, y, min(x + step_x, out_w), min(y + step_y, out_h))
            window = input_window(width, height, out_w, out_h, region)
            cut = source[window.y0 : window.y1, window.x0 : window.x1].copy()
            part = resample_window(cut, window, (width, height), (out_w, out_h), region)
            assert np.array_equal(part, whole[region.y0 : region.y1, region.x0 : region.x1])


@pytest.mark.parametrize("tile", [1, 7, 64, 128, 512])
def test_the_tiling_changes_nothing(tile: int) -> None:
    source = noise(37, 41, 3)
    assert np.array_equal(resample(source, (61, 55), tile=tile), resample(source, (61, 55)))


def test_regions_larger_than_a_tile_and_long_windows_give_the_same_pixels() -> None:
    source = noise(700, 650, 4)
    whole = Region(0, 0, 1300, 1400)
    assert np.array_equal(resample_region(source, (1300, 1400), whole), resample(source, (1300, 1400), tile=250))
    long = noise(9000, 300, 3)
    assert resample(long, (2, 3)).tolist() == resample(long, (2, 3), tile=1).tolist()


def test_a_wider_window_than_needed_gives_the_same_pixels() -> None:
    source = noise(40, 40, 3)
    region = Region(10, 12, 30, 33)
    expected = resample_region(source, (80, 80), region)
    assert np.array_equal(resample_window(source, Region(0, 0, 40, 40), (40, 40), (80, 80), region), expected)


@pytest.mark.parametrize("level", [0, 1, 127, 254, 255])
@pytest.mark.parametrize("out", [(50, 31), (5, 3), (17, 40)])
def test_flat_images_stay_flat(level: int, out: tuple[int, int]) -> None:
    assert (resample(np.full((17, 23, 3), level, np.uint8), out) == level).all()
    deep = np.full((17, 23, 1), level * 257, np.uint16)
    assert (resample(deep, out) == level * 257).all()
    veiled = np.full((17, 23, 4), level, np.uint8)
    assert (resample(veiled, out) == level).all()


def test_the_same_size_copies_the_picture() -> None:
    source = noise(20, 30, 3)
    assert np.array_equal(resample(source, (30, 20)), source)
    veiled = noise(20, 30, 4)
    veiled[veiled[..., 3] == 0] = 0
    assert np.array_equal(resample(veiled, (30, 20)), veiled)


def test_colour_under_zero_alpha_does_not_bleed() -> None:
    source = np.zeros((8, 8, 4), np.uint8)
    source[:, :4] = (10, 20, 30, 255)
    source[:, 4:] = (255, 255, 255, 0)
    result = resample(source, (16, 16))
    veiled = (result[..., 3] > 0) & (result[..., 3] < 255)
    assert veiled.any()
    assert (result[veiled][:, :3] == (10, 20, 30)).all()
    assert (result[..., :3] <= (11, 22, 33)).all()
    assert not result[result[..., 3] == 0].any()


def test_extreme_noise_of_16_bits_is_exact_where_sums_are_largest() -> None:
    source = ((np.indices((12, 12)).sum(axis=0) // 2 % 2) * 65535).astype(np.uint16)[..., None]
    assert resample(source, (25, 27)).tolist() == definition.resample(source.tolist(), 25, 27, 65535)


@pytest.mark.parametrize(
    ("size", "scale", "expected"),
    [
        (1, Fraction(1, 9), 1),
        (3, Fraction(3, 2), 5),
        (5, Fraction(1, 2), 3),
        (7, Fraction(2), 14),
        (1000, Fraction(4, 3), 1333),
        (101, Fraction(1, 3), 34),
    ],
)
def test_target_sizes_round_half_up(size: int, scale: Fraction, expected: int) -> None:
    assert target_size(size, scale) == expected


@pytest.mark.parametrize("scale", [Fraction(0), Fraction(-2), Fraction(2**21)])
def test_scales_without_a_picture_are_refused(scale: Fraction) -> None:
    with pytest.raises(UsageError):
        target_size(1, scale)


@pytest.mark.parametrize("region", [Region(0, 0, 0, 1), Region(0, 0, 9, 1), Region(-1, 0, 1, 1), Region(2, 3, 3, 3)])
def test_regions_outside_the_output_are_refused(region: Region) -> None:
    with pytest.raises(UsageError, match="not a rectangle"):
        resample_region(noise(4, 4, 1), (8, 8), region)


def test_a_window_that_is_too_small_is_refused() -> None:
    source = noise(40, 40, 1)
    with pytest.raises(UsageError, match="does not cover"):
        resample_window(source[1:], Region(0, 1, 40, 40), (40, 40), (80, 80), Region(0, 0, 4, 4))
    with pytest.raises(UsageError, match="do not fill"):
        resample_window(source[1:], Region(0, 0, 40, 40), (40, 40), (80, 80), Region(0, 0, 4, 4))


@pytest.mark.parametrize(
    "source",
    [
        np.zeros((4, 4, 4), np.uint16),
        np.zeros((4, 4, 2), np.uint16),
        np.zeros((4, 4, 5), np.uint8),
        np.zeros((4, 4, 1), np.int16),
        np.zeros((4, 4, 3), np.float32),
    ],
)
def test_samples_without_a_definition_are_refused(source: np.ndarray) -> None:
    with pytest.raises(UsageError, match="cannot be resampled"):
        resample(source, (8, 8))
