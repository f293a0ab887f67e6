"""What ends within a moment shares a block of the ledger, unless a deadline is near."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tallystick.ledger import payloads as say
from tallystick.node.ordering import Windows
from tallystick.node.running import GATHER_MS
from tallystick.simulation.dishonest import Cheat
from tallystick.simulation.world import WORK_MS
from tests.worlds import ALL, JOB, KERNEL, PICTURE, World, assert_at_rest, cheating, done


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
def test_nothing_waits_past_a_deadline_for_a_worker_that_is_late(seed: int) -> None:
    world = World(seed, cast={2: cheating(Cheat.COMMIT_LATE)}, executor=KERNEL)
    commit = WORK_MS + 60
    world.accept(PICTURE, **ALL, windows=Windows(commit=commit, upload=commit + GATHER_MS, reveal=3 * commit))
    world.node.run(JOB)
    (closed,) = world.payloads(say.UploadsClosed)
    late = world.identity.worker(3, 2).public
    assert {each.sender for each in world.entries() if isinstance(each.payload, say.SubmitResult)}.isdisjoint({late})
    assert {index % 3 for index in closed.missing} == {2}
    assert_at_rest(world)
