"""What ends within a moment shares a block of the ledger, unless a deadline is near."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tallystick.ledger import payloads as say
from tallystick.node.ordering import Windows
from tallystick.node.running import GATHER_MS
from tests.worlds import ALL, JOB, KERNEL, PICTURE, World, assert_at_rest, done


def times_of_roots(world: World) -> list[int]:
    """Times of the blocks that hold a root, ascending."""
    return sorted({time for _, time in world.book.roots(JOB).values()})


@pytest.mark.parametrize("seed", range(5))
def test_roots_that_come_within_a_moment_share_a_block(seed: int) -> None:
    world = done(seed, **ALL)
    times = times_of_roots(world)
    assert len(times) < len(world.payloads(say.SubmitResult))
    # The last root waits for nobody, since nothing is being computed any more.
    assert all(later - earlier >= GATHER_MS for earlier, later in pairwise(times[:-1]))
    assert_at_rest(world)


@pytest.mark.parametrize("seed", range(5))
def test_nothing_waits_when_a_deadline_is_near(seed: int) -> None:
    world = World(seed, executor=KERNEL)
    world.accept(PICTURE, **ALL, windows=Windows(commit=460, upload=460 + GATHER_MS, reveal=10_000))
    world.node.run(JOB)
    assert len(times_of_roots(world)) > 2
    (closed,) = world.payloads(say.UploadsClosed)
    assert closed.missing == ()
    assert_at_rest(world)
