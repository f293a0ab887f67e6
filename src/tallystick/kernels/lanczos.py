"""Lanczos-3 resampling in fixed point: the definition of a right answer, bit for bit the same however it is sliced.

Knows samples, windows and rounding; refuses to know about files, blocks of a job and floating point.
The exact definition, with a worked example, is docs/spec/lanczos3.md.

Why nothing overflows int64, with M = 65535 the largest input sample (for 8-bit images with alpha, colour times alpha
is at most 255 * 255 < M) and S <= 2 the absolute sum of one output's taps over 2^30, which coefficients.py enforces:
the horizontal pass stays within M * S * 2^30 < 2^47; rounded to 14 fractional bits it is within M * S * 2^14 + 1
< 2^31; the vertical pass stays within (M * S * 2^14 + 1) * S * 2^30 < 2^62; the division by alpha doubles its
numerator, and there M is 65025 and that of the divisor 255: 2 * 65025 * 4 * 2^44 + 255 * 4 * 2^44 + 2^32 < 2^63.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tallystick.errors import UsageError
from tallystick.kernels.coefficients import COEFFICIENT_BITS, Axis, axis, check_sides, window_of
from tallystick.kernels.raster import ALPHA_CHANNELS, BYTE, CHANNELS_MAX, DEPTH_OF, DIMENSIONS, Samples

KERNEL_NAME: Final = "lanczos3-fixed/v1"
FRACTION_BITS: Final = 14
TILE_MAX: Final = 512

_ROUND_BITS: Final = COEFFICIENT_BITS - FRACTION_BITS
_FINAL_BITS: Final = COEFFICIENT_BITS + FRACTION_BITS
# Working sets, in int64 values: small enough for a second-level cache.
_CHUNK: Final = 1 << 17
_GATHER: Final = 1 << 16


@dataclass(frozen=True, slots=True, order=True)
class Region:
    """A rectangle of samples: columns [x0, x1), rows [y0, y1)."""

    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def width(self) -> int:
        """Columns."""
        return self.x1 - self.x0

    @property
    def height(self) -> int:
        """Rows."""
        return self.y1 - self.y0


def target_size(size: int, scale: Fraction) -> int:
    """The output side for an input side: max(1, floor(size * scale + 1/2)).

    Raises:
        UsageError: the scale is not positive, or a side is outside 1..2^20.
    """
    if scale <= 0:
        raise UsageError(f"a scale of {scale} makes no picture: use a positive one, such as 2 or 3/2")
    target = max(1, (2 * size * scale.numerator + scale.denominator) // (2 * scale.denominator))
    check_sides(size, target)
    return target


def input_window(in_w: int, in_h: int, out_w: int, out_h: int, region: Region) -> Region:
    """The input rectangle that an output region needs, halo included, cut to the image.

    Raises:
        UsageError: the region is empty or leaves the output, or a side is outside 1..2^20.
    """
    check_sides(in_w, out_w)
    check_sides(in_h, out_h)
    if not (0 <= region.x0 < region.x1 <= out_w and 0 <= region.y0 < region.y1 <= out_h):
        raise UsageError(f"{region} is not a rectangle inside an output of {out_w} x {out_h}")
    return Region(
        window_of(in_w, out_w, region.x0)[0],
        window_of(in_h, out_h, region.y0)[0],
        window_of(in_w, out_w, region.x1 - 1)[1],
        window_of(in_h, out_h, region.y1 - 1)[1],
    )


def resample(source: Samples, out_size: tuple[int, int], tile: int = 256) -> Samples:
    """Resample a whole image in tiles, which is the fastest way, and the same bits as any other slicing.

    Args:
        source: uint8 or uint16 (height, width, channels).
        out_size: (width, height) of the output.
        tile: side of the tiles, 1..512.

    Returns:
        An array of the source's dtype, (height, width, channels).

    Raises:
        UsageError: sizes, dtype or channels that cannot be resampled.
    """
    width, height = out_size
    check_sides(source.shape[1], width)
    check_sides(source.shape[0], height)
    result = np.empty((height, width, source.shape[2]), source.dtype)
    for part in _tiles(Region(0, 0, width, height), min(tile, TILE_MAX)):
        result[part.y0 : part.y1, part.x0 : part.x1] = resample_region(source, out_size, part)
    return result


def resample_region(source: Samples, out_size: tuple[int, int], region: Region) -> Samples:
    """One region of the output, from the whole input.

    Raises:
        UsageError: as ``resample``, or the region leaves the output.
    """
    in_size = (source.shape[1], source.shape[0])
    window = input_window(*in_size, *out_size, region)
    return resample_window(source[window.y0 : window.y1, window.x0 : window.x1], window, in_size, out_size, region)


def resample_window(
    window_samples: Samples, window: Region, in_size: tuple[int, int], out_size: tuple[int, int], region: Region
) -> Samples:
    """One region of the output, from a window of the input that covers at least ``input_window``.

    Args:
        window_samples: uint8 or uint16 (window.height, window.width, channels).
        window: where the window lies in the input.
        in_size: (width, height) of the whole input.
        out_size: (width, height) of the whole output.
        region: the part of the output that is wanted.

    Returns:
        An array of the window's dtype, (region.height, region.width, channels).

    Raises:
        UsageError: the window does not cover the region, or cannot be resampled.
    """
    _check_samples(window_samples, window)
    needed = input_window(*in_size, *out_size, region)
    if not (window.x0 <= needed.x0 and window.y0 <= needed.y0 and needed.x1 <= window.x1 and needed.y1 <= window.y1):
        raise UsageError(f"the window {window} does not cover {needed}, which {region} needs")
    columns, rows = axis(in_size[0], out_size[0]), axis(in_size[1], out_size[1])
    channels = window_samples.shape[2]
    result = np.empty((region.height, region.width, channels), window_samples.dtype)
    for part in _tiles(region, TILE_MAX):
        need = input_window(*in_size, *out_size, part)
        y, x = need.y0 - window.y0, need.x0 - window.x0
        samples = window_samples[y : y + need.height, x : x + need.width]
        flat = _weighted(_horizontal(samples, columns, part, need), rows, (part.y0, part.y1), need.y0)
        target = result[part.y0 - region.y0 :, part.x0 - region.x0 :][: part.height, : part.width]
        _finish(flat.reshape(part.height, part.width, channels), target)
    return result


def _check_samples(samples: Samples, window: Region) -> None:
    """Refuse arrays that the arithmetic is not defined for."""
    depth = DEPTH_OF.get(samples.dtype)
    if depth is None or samples.ndim != DIMENSIONS or not 1 <= samples.shape[2] <= CHANNELS_MAX:
        raise UsageError(
            f"samples of {samples.dtype} {samples.shape} cannot be resampled: 8 or 16 bits, 1 to 4 channels"
        )
    if depth != BYTE and samples.shape[2] in ALPHA_CHANNELS:
        raise UsageError("16-bit images with alpha cannot be resampled: convert to 8 bits, or drop the alpha channel")
    if samples.shape[:2] != (window.height, window.width):
        raise UsageError(f"samples of {samples.shape[1]} x {samples.shape[0]} do not fill the window {window}")


def _tiles(region: Region, tile: int) -> Iterator[Region]:
    """The tiles of a region, row by row."""
    for y in range(region.y0, region.y1, tile):
        for x in range(region.x0, region.x1, tile):
            yield Region(x, y, min(x + tile, region.x1), min(y + tile, region.y1))


def _horizontal(samples: Samples, columns: Axis, part: Region, need: Region) -> NDArray[np.int64]:
    """Horizontal pass, rounded to 14 fractional bits: int64 (need.height, part.width * channels).

    Works on as many input rows at a time as fit the cache; each row's result depends on that row alone.
    """
    height, width, channels = samples.shape
    result = np.empty((height, part.width, channels), np.int64)
    chunk = max(1, _CHUNK // (max(width, part.width) * channels))
    for y in range(0, height, chunk):
        strip = samples[y : y + chunk]
        # Columns first, so that each tap multiplies one long run of neighbours in memory.
        turned = _premultiplied(strip).transpose(1, 0, 2).astype(np.int64).reshape(width, -1)
        sums = _weighted(turned, columns, (part.x0, part.x1), need.x0)
        sums += 1 << (_ROUND_BITS - 1)
        sums >>= _ROUND_BITS
        result[y : y + chunk] = sums.reshape(part.width, strip.shape[0], channels).transpose(1, 0, 2)
    return result.reshape(height, -1)


def _premultiplied(strip: Samples) -> Samples:
    """Colour times alpha as whole numbers, where there is alpha; 255 * 255 fits 16 bits."""
    if strip.shape[2] not in ALPHA_CHANNELS:
        return strip
    wide = strip.astype(np.uint16)
    wide[..., :-1] *= wide[..., -1:]
    return wide


def _weighted(lines: NDArray[np.int64], along: Axis, span: tuple[int, int], origin: int) -> NDArray[np.int64]:
    """Weighted sums of whole lines: output line p is the sum of its taps times the lines of its window.

    Args:
        lines: int64 (n, m), line i being input position ``origin`` + i.
        along: the taps.
        span: output positions [first, last).
        origin: input position of the first line.

    Returns:
        int64 (last - first, m), with 30 more fractional bits than the lines.
    """
    starts = along.starts[span[0] : span[1]] - origin
    counts, row_of = along.counts[span[0] : span[1]], along.row_of[span[0] : span[1]]
    taps = int(counts.max())
    result = np.empty((span[1] - span[0], lines.shape[1]), np.int64)
    together = _GATHER // (taps * lines.shape[1])
    if together <= 1:
        for p, (start, count, row) in enumerate(zip(starts.tolist(), counts.tolist(), row_of.tolist(), strict=True)):
            np.einsum("k,km->m", along.rows[row, :count], lines[start : start + count], out=result[p])
        return result
    offsets = np.arange(taps)
    for p in range(0, len(starts), together):
        group = slice(p, p + together)
        # Taps beyond the edge have coefficient zero; clipping gives them some line to multiply.
        gathered = lines.take(starts[group, None] + offsets, axis=0, mode="clip")
        np.einsum("pk,pkm->pm", along.rows[row_of[group], :taps], gathered, out=result[group])
    return result


def _finish(sums: NDArray[np.int64], target: Samples) -> None:
    """Round the weighted sums, with 44 fractional bits, once, clip them and write them to ``target``."""
    largest = int(np.iinfo(target.dtype).max)
    half = 1 << (_FINAL_BITS - 1)
    if target.shape[2] not in ALPHA_CHANNELS:
        sums += half
        sums >>= _FINAL_BITS
        target[...] = sums.clip(0, largest, out=sums)
        return
    weight = sums[..., -1:]
    alpha = ((weight + half) >> _FINAL_BITS).clip(0, largest)
    # Where alpha rounds to zero the colour is zero; elsewhere the divisor is at least half a level, so positive. It is
    # not above full opacity either: colour times the alpha that is delivered has to give the premultiplied sum again.
    divisor = np.where(alpha > 0, np.minimum(weight, largest << _FINAL_BITS), 1)
    colour = (2 * sums[..., :-1] + divisor) // (2 * divisor)
    target[..., :-1] = np.where(alpha > 0, colour.clip(0, largest), 0)
    target[..., -1:] = alpha
