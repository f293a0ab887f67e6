"""Lanczos-3 filter taps for one axis, by integer arithmetic alone: no floats, no libm, the same on every machine.

Knows the window of input samples behind each output sample and their weights; refuses to know about pixels.
The exact definition, with a worked example, is docs/spec/lanczos3.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import gcd
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tallystick.errors import UsageError

COEFFICIENT_BITS: Final = 30
ONE: Final = 1 << COEFFICIENT_BITS
WEIGHT_BITS: Final = 48
SIDE_MAX: Final = 1 << 20
ABSOLUTE_SUM_MAX: Final = 2 * ONE

_LOBES: Final = 3
_PRECISION: Final = 160
_UNIT: Final = 1 << _PRECISION


@dataclass(frozen=True, slots=True, eq=False)
class Axis:
    """The taps of every output sample along one axis.

    Attributes:
        size_in: input samples, 1..2^20.
        size_out: output samples, 1..2^20.
        starts: int64 (size_out,), the first input sample of each window; never decreasing.
        counts: int64 (size_out,), the taps of each window, at least 1.
        rows: int64 (distinct, taps), distinct tap rows, padded with zeros on the right; each sums to 2^30.
        row_of: int64 (size_out,), which of ``rows`` belongs to each output sample.
    """

    size_in: int
    size_out: int
    starts: NDArray[np.int64]
    counts: NDArray[np.int64]
    rows: NDArray[np.int64]
    row_of: NDArray[np.int64]


def check_sides(size_in: int, size_out: int) -> None:
    """Refuse a pair of sizes outside 1..2^20.

    Raises:
        UsageError: a size is outside the range.
    """
    for size in (size_in, size_out):
        if not 1 <= size <= SIDE_MAX:
            raise UsageError(f"a side of {size} samples cannot be resampled: sides are 1 to {SIDE_MAX}")


def window_of(size_in: int, size_out: int, position: int) -> tuple[int, int]:
    """Input samples [start, stop) behind output sample ``position``: Pillow's window, in exact integers.

    The centre is (position + 1/2) * size_in / size_out and the support 3 * max(size_in / size_out, 1); the window is
    [floor(centre - support + 1/2), floor(centre + support + 1/2)) cut to the image.
    """
    centre = (2 * position + 1) * size_in + size_out
    support = 2 * _LOBES * max(size_in, size_out)
    start = max(0, (centre - support) // (2 * size_out))
    return start, min(size_in, (centre + support) // (2 * size_out))


@lru_cache(maxsize=16)
def axis(size_in: int, size_out: int) -> Axis:
    """All taps for one axis; cached, read-only and safe to share between threads.

    Raises:
        UsageError: a size is outside 1..2^20.
    """
    check_sides(size_in, size_out)
    shared = gcd(size_in, size_out)
    step_in, step_out = size_in // shared, size_out // shared
    weights = _weights(2 * max(step_in, step_out), (step_in + step_out) & 1)
    row_numbers: dict[tuple[int, int], int] = {}
    starts, counts, row_of = [], [], []
    for position in range(size_out):
        start, stop = window_of(size_in, size_out, position)
        # The taps depend only on the first one's distance from the centre and on how many the edge leaves.
        first = (2 * start + 1) * step_out - (2 * position + 1) * step_in
        starts.append(start)
        counts.append(stop - start)
        row_of.append(row_numbers.setdefault((first, stop - start), len(row_numbers)))
    rows = np.zeros((len(row_numbers), max(counts)), np.int64)
    for (first, count), number in row_numbers.items():
        distances = range(first, first + 2 * step_out * count, 2 * step_out)
        rows[number, :count] = _normalised([_weight_at(weights, distance) for distance in distances])
    made = [np.array(values, np.int64) for values in (starts, counts, row_of)]
    for array in (*made, rows):
        array.flags.writeable = False
    return Axis(size_in, size_out, made[0], made[1], rows, made[2])


def _weight_at(weights: list[int], distance: int) -> int:
    """The weight at a signed distance; zero where the filter ends."""
    index = abs(distance) // 2
    return weights[index] if index < len(weights) else 0


def _normalised(weights: list[int]) -> list[int]:
    """Taps that sum to 2^30: each rounded half up, what is left over goes to the first of the largest."""
    total = sum(weights)
    taps = [((weight << (COEFFICIENT_BITS + 1)) + total) // (2 * total) for weight in weights]
    taps[weights.index(max(weights))] += ONE - sum(taps)
    if sum(map(abs, taps)) > ABSOLUTE_SUM_MAX:
        # The bound keeps the arithmetic of lanczos.py inside int64; no axis known exceeds 1.6.
        raise UsageError("this ratio has taps whose absolute sum is above 2: the fixed-point arithmetic would overflow")
    return taps


def _weights(denominator: int, parity: int) -> list[int]:
    """Lanczos-3 at n / denominator for n = parity, parity + 2, ... below 3 * denominator, rounded to 2^-48.

    sin(t) sin(t/3) loses its sines by u = cos(2t/3): L = 3 (1 - u)(1 + 2u) D^2 / (2 pi^2 n^2), and the cosines of
    equally spaced angles follow from one another by cos(a + s) = 2 cos(s) cos(a) - cos(a - s). Errors grow with the
    square of the number of steps: 2^-160 becomes at most 2^-116, far below the 2^-48 that is kept.
    """
    angle = (2 * _PI) // (3 * denominator)
    twice_step = 2 * _cosine(2 * angle)
    if parity:
        before = now = _cosine(angle)
    else:
        before, now = _cosine(2 * angle), _UNIT
    area = 3 * denominator * denominator
    square = (_PI * _PI) >> (WEIGHT_BITS - 1)
    values = []
    for n in range(parity, 3 * denominator, 2):
        if n:
            top, bottom = (_UNIT - now) * (_UNIT + 2 * now) * area, square * n * n
            values.append((2 * top + bottom) // (2 * bottom))
        else:
            values.append(1 << WEIGHT_BITS)
        before, now = now, ((twice_step * now) >> _PRECISION) - before
    return values


def _cosine(angle: int) -> int:
    """Cosine by its Taylor series; the angle (0..pi) and the result are in units of 2^-160."""
    square = (angle * angle) >> _PRECISION
    term = total = _UNIT
    order = 0
    while term:
        order += 2
        term = ((term * square) >> _PRECISION) // (order * (order - 1))
        total += -term if order & 2 else term
    return total


def _arctangent_of_inverse(number: int) -> int:
    """arctan(1 / number) by its Taylor series, in units of 2^-192."""
    power = (1 << (_PRECISION + 32)) // number
    total, order = power, 1
    while power:
        power //= number * number
        order += 2
        total += -(power // order) if order & 2 else power // order
    return total


# Machin's formula, with 32 bits to spare.
_PI: Final = (16 * _arctangent_of_inverse(5) - 4 * _arctangent_of_inverse(239)) >> 32
