from __future__ import annotations

import time

import numpy as np
import pytest

from tallystick.errors import UsageError
from tallystick.kernels.coefficients import ABSOLUTE_SUM_MAX, ONE, SIDE_MAX, axis, window_of
from tests.unit import lanczos_definition as definition

PAIRS = [(1, 1), (1, 7), (7, 1), (2, 4), (4, 2), (5, 7), (7, 5), (9, 10), (10, 9), (13, 13), (64, 3), (3, 64), (31, 97)]


@pytest.mark.parametrize(("size_in", "size_out"), PAIRS)
def test_taps_are_those_of_the_definition(size_in: int, size_out: int) -> None:
    along = axis(size_in, size_out)
    for position in range(size_out):
        first, taps = definition.taps(size_in, size_out, position)
        row = along.rows[along.row_of[position]]
        assert along.starts[position] == first
        assert along.counts[position] == len(taps)
        assert tuple(row[: len(taps)]) == taps
        assert not row[len(taps) :].any()


@pytest.mark.parametrize("position", [0, 1, 2, 30000, 65534])
def test_taps_hold_far_down_a_long_odd_axis(position: int) -> None:
    along = axis(65521, 65535)
    first, taps = definition.taps(65521, 65535, position)
    assert (along.starts[position], along.counts[position]) == (first, len(taps))
    assert tuple(along.rows[along.row_of[position]][: len(taps)]) == taps


def test_every_row_sums_to_one_and_stays_below_the_absolute_bound() -> None:
    sizes = [*range(1, 41), 255, 256, 257, 1000]
    for size_in in sizes:
        for size_out in sizes:
            rows = axis.__wrapped__(size_in, size_out).rows
            assert (rows.sum(axis=1) == ONE).all()
            assert np.abs(rows).sum(axis=1).max() < 1.6 * ONE < ABSOLUTE_SUM_MAX


def test_the_bounds_leave_room_in_int64() -> None:
    absolute = ABSOLUTE_SUM_MAX / ONE
    horizontal = 65535 * ABSOLUTE_SUM_MAX
    between = (horizontal >> 16) + 1
    assert horizontal < 2**47 < between * 2**16 * 2
    assert between < 2**31 + 2
    assert between * ABSOLUTE_SUM_MAX + 2**43 < 2**63
    colour = (int(65025 * absolute * 2**14) + 1) * ABSOLUTE_SUM_MAX
    alpha = (int(255 * absolute * 2**14) + 1) * ABSOLUTE_SUM_MAX
    assert 2 * colour + alpha < 2**63


def test_windows_never_go_back() -> None:
    for size_in, size_out in PAIRS:
        windows = [window_of(size_in, size_out, position) for position in range(size_out)]
        assert windows == sorted(windows)
        assert [stop for _, stop in windows] == sorted(stop for _, stop in windows)
        assert windows[0][0] == 0
        assert windows[-1][1] == size_in


def test_the_widest_odd_axes_take_seconds_at_most() -> None:
    began = time.process_time()
    axis.__wrapped__(65535, 65521)
    assert time.process_time() - began < 5


def test_an_axis_cannot_be_changed_by_who_shares_it() -> None:
    along = axis(5, 7)
    assert axis(5, 7) is along
    with pytest.raises(ValueError, match="read-only"):
        along.rows[0, 0] = 1


@pytest.mark.parametrize("sizes", [(0, 1), (1, 0), (-1, 1), (SIDE_MAX + 1, 1), (1, SIDE_MAX + 1)])
def test_sides_outside_the_range_are_refused(sizes: tuple[int, int]) -> None:
    with pytest.raises(UsageError, match="sides are 1 to"):
        axis(*sizes)
