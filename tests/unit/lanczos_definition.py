"""Lanczos-3 resampling from docs/spec/lanczos3.md in plain Python: slow, exact, and sharing no code with the kernel."""

from __future__ import annotations

from decimal import Decimal, localcontext
from fractions import Fraction
from functools import cache
from math import floor

PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459230781640628620899863")


def sine(angle: Decimal) -> Decimal:
    """Taylor series, to about 70 digits for small angles."""
    term = total = angle
    order = 1
    while abs(term) > Decimal(10) ** -75:
        order += 2
        term = -term * angle * angle / (order * (order - 1))
        total += term
    return total


@cache
def lanczos(distance: Fraction) -> Fraction:
    """sinc(t) sinc(t/3) inside |t| < 3, rounded to a multiple of 2^-48."""
    distance = abs(distance)
    if distance == 0:
        return Fraction(1)
    if distance >= 3:
        return Fraction(0)
    with localcontext() as context:
        context.prec = 80
        t = PI * Decimal(distance.numerator) / Decimal(distance.denominator)
        value = 3 * sine(t) * sine(t / 3) / (t * t)
        return Fraction(round_half_up(Fraction(value) * 2**48), 2**48)


def round_half_up(value: Fraction) -> int:
    return floor(value + Fraction(1, 2))


@cache
def taps(size_in: int, size_out: int, position: int) -> tuple[int, tuple[int, ...]]:
    """First input sample and the taps, as integers over 2^30."""
    ratio = Fraction(size_in, size_out)
    stretch = max(ratio, Fraction(1))
    centre = (position + Fraction(1, 2)) * ratio
    first = max(0, floor(centre - 3 * stretch + Fraction(1, 2)))
    last = min(size_in, floor(centre + 3 * stretch + Fraction(1, 2)))
    weights = [lanczos((i + Fraction(1, 2) - centre) / stretch) for i in range(first, last)]
    scaled = [round_half_up(w / sum(weights) * 2**30) for w in weights]
    scaled[weights.index(max(weights))] += 2**30 - sum(scaled)
    return first, tuple(scaled)


def resample_plane(plane: list[list[int]], out_w: int, out_h: int) -> list[list[Fraction]]:
    """Both passes over one plane of integers; the result is not rounded."""
    middle = []
    for row in plane:
        line = []
        for x in range(out_w):
            first, row_taps = taps(len(row), out_w, x)
            total = sum(c * row[first + k] for k, c in enumerate(row_taps))
            line.append(Fraction(round_half_up(Fraction(total, 2**16)), 2**14))
        middle.append(line)
    result = []
    for y in range(out_h):
        first, column_taps = taps(len(plane), out_h, y)
        result.append(
            [sum(Fraction(c, 2**30) * middle[first + k][x] for k, c in enumerate(column_taps)) for x in range(out_w)]
        )
    return result


def resample(samples: list[list[list[int]]], out_w: int, out_h: int, largest: int) -> list[list[list[int]]]:
    """A whole image as nested lists (height, width, channels); 2 and 4 channels carry alpha last."""
    channels = len(samples[0][0])
    planes = [[[pixel[c] for pixel in row] for row in samples] for c in range(channels)]
    if channels in {2, 4}:
        alpha = planes.pop()
        planes = [[[c * a for c, a in zip(*rows, strict=True)] for rows in zip(p, alpha, strict=True)] for p in planes]
        weight = resample_plane(alpha, out_w, out_h)
    sums = [resample_plane(plane, out_w, out_h) for plane in planes]

    def clip(value: Fraction) -> int:
        return min(max(round_half_up(value), 0), largest)

    def pixel(x: int, y: int) -> list[int]:
        if channels not in {2, 4}:
            return [clip(plane[y][x]) for plane in sums]
        opacity = clip(weight[y][x])
        return [*(clip(plane[y][x] / min(weight[y][x], largest)) if opacity else 0 for plane in sums), opacity]

    return [[pixel(x, y) for x in range(out_w)] for y in range(out_h)]
