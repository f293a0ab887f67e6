"""The power goes off at any moment of a job: nothing acknowledged is lost, nothing paid twice, and the job ends."""

from __future__ import annotations

import random
from typing import Any, Final

import pytest

from tallystick.job import PPM
from tallystick.ledger import payloads as say
from tallystick.node.worker import Worker
from tallystick.simulation.dishonest import Cheat, first_slot
from tallystick.simulation.disk import Fault, PowerCut
from tallystick.simulation.media import noise
from tallystick.simulation.world import Cast, World
from tallystick.verification.verdict import Verdict
from tests.worlds import (
    JOB,
    KERNEL,
    assert_at_rest,
    assert_paid_once,
    cheating,
    done,
    pixels,
    right_pixels,
    slots,
)

TINY: Final = noise(3, 12, 8)
"""Six blocks."""
WANTED: Final[dict[str, Any]] = {"block": 8, "operators": 3, "audit": PPM, "duplicates": 250_000}
CAST: Final[dict[int, Cast]] = {1: cheating(Cheat.FORGE, first_slot)}


def life(world: World, data: bytes = TINY, **wanted: Any) -> None:  # noqa: ANN401 - fields of a Wish
    """What a process does: order the job unless it was ordered, then drive whatever is unfinished."""
    if world.node.wishes.every() == ():
        world.accept(data, **wanted)
    for job_id in world.node.wishes.unfinished():
        world.node.run(job_id)


def interrupted(fault: Fault, seed: int = 0, **wanted: Any) -> World:  # noqa: ANN401 - fields of a Wish
    """Run until the fault strikes, restart with losses, and run to the end."""
    first = World(seed, cast=CAST, executor=KERNEL)
    first.disk.fault = fault
    with pytest.raises(PowerCut):
        life(first, **WANTED | wanted)
    return again(first, **WANTED | wanted)


def again(first: World, **wanted: Any) -> World:  # noqa: ANN401 - fields of a Wish
    """Restart over the same disk and run to the end; what either life acknowledged must be there."""
    second = first.restarted()
    life(second, **wanted)
    for index, entry in first.acknowledged:
        assert second.disk.entries[index] == entry
    return second


def assert_ended_well(world: World) -> None:
    """Delivered once, paid once, right."""
    assert_at_rest(world)
    assert_paid_once(world)
    assert pixels(world.output()) == right_pixels(TINY)
    assert len(world.payloads(say.JobSettled)) == 1
    assert [each.spec.attempt for each in world.payloads(say.JobSubmitted)] == [1]


UNHARMED: Final = done(0, CAST, TINY, **WANTED).disk.acts


def test_the_acts_of_a_job_are_all_that_can_be_cut() -> None:
    assert {"create", "append", "private", "blob.put", "tile", "tile.checkpoint", "desk.write"} < set(UNHARMED)
    assert {"image.finish", "credentials.embed", "desk.replace", "desk.remove", "blob.delete"} < set(UNHARMED)


@pytest.mark.parametrize("number", range(1, len(UNHARMED)))
def test_power_goes_off_before_any_act(number: int) -> None:
    assert_ended_well(interrupted(Fault(number)))


@pytest.mark.parametrize("number", range(UNHARMED.count("append")))
def test_power_goes_off_between_a_commit_and_its_acknowledgement(number: int) -> None:
    assert_ended_well(interrupted(Fault(number, "append", after=True)))


@pytest.mark.parametrize("seed", range(25))
def test_power_goes_off_again_and_again(seed: int) -> None:
    rng = random.Random(seed)
    world = World(seed, cast=CAST, executor=KERNEL)
    acknowledged: dict[int, bytes] = {}
    for _ in range(6):
        world.disk.fault = Fault(len(world.disk.acts) + rng.randrange(40))
        try:
            life(world, **WANTED)
        except PowerCut:
            acknowledged |= dict(world.acknowledged)
            world = world.restarted()
    world.disk.fault = None
    life(world, **WANTED)
    assert acknowledged.items() <= dict(enumerate(world.disk.entries)).items()
    assert_ended_well(world)


def test_a_crash_while_the_home_is_made_leaves_a_home_that_opens() -> None:
    world = World(0, executor=KERNEL)
    world.disk.meta.clear()
    assert_at_rest(restarted_and_done(world))


def restarted_and_done(world: World) -> World:
    """Restart and run one job."""
    second = world.restarted()
    life(second, **WANTED)
    return second


@pytest.mark.parametrize("kind", ["append", "desk.write", "blob.put", "tile", "image.finish", "credentials.embed"])
@pytest.mark.parametrize("error", [OSError, MemoryError])
def test_a_disk_that_refuses_once_costs_a_run_and_no_more(kind: str, error: type[BaseException]) -> None:
    """The process lives on and the same node tries again: what it holds in memory must be what the disk holds."""
    for number in range(0, UNHARMED.count(kind), 1 if kind == "blob.put" else 5):
        world = World(0, cast=CAST, executor=KERNEL)
        world.disk.fault = Fault(number, kind, error=error)
        with pytest.raises(error):
            life(world, **WANTED)
        if world.node.wishes.every() == ():
            assert world.locked() == []
        life(world, **WANTED)
        assert_ended_well(world)
        size = len(world.disk.entries)
        assert sum(path.startswith("tile/entries/") for path in world.disk.tiles) > 0
        assert f"\n{size}\n".encode() in world.disk.tiles["checkpoint"]


def test_forged_bytes_that_nobody_looked_at_are_asked_again_of_their_worker() -> None:
    """Nobody but the forger can make the accepted bytes again; the output must hold what the verdicts name."""
    unchecked = {**WANTED, "audit": 0, "duplicates": 0, "operators": 1}
    cast = {0: cheating(Cheat.FORGE)}
    whole = done(0, cast, TINY, **unchecked)
    assert {slot.verdict for slot in slots(whole)} == {Verdict.UPHELD}
    first = World(0, cast=cast, executor=KERNEL)
    first.disk.fault = Fault(0, "image.finish")
    with pytest.raises(PowerCut):
        life(first, **unchecked)
    first.disk.blobs.clear()
    second = again(first, **unchecked)
    assert_at_rest(second)
    assert pixels(second.output()) == pixels(whole.output()) != right_pixels(TINY)


@pytest.mark.parametrize("changed", [Cheat.STAY_SILENT, Cheat.OPEN_ANOTHER_LEAF])
def test_a_settlement_stands_whatever_its_workers_say_after_a_restart(changed: Cheat) -> None:
    """The openings that a settlement rests on are kept with it, so that the evidence is the one that was judged."""
    first = World(0, executor=KERNEL)
    first.disk.fault = Fault(0, "image.finish")
    with pytest.raises(PowerCut):
        life(first, **WANTED)
    second = first.restarted(cast={0: cheating(changed)})
    life(second, **WANTED)
    assert_ended_well(second)
    assert {slot.verdict for slot in slots(second)} == {Verdict.UPHELD}


@pytest.mark.parametrize("method", ["work", "open"])
def test_a_failure_of_our_own_worker_is_raised_at_once_and_the_job_goes_on_later(
    monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """Nobody waits for hours, and nobody is slashed, because our own code failed."""
    world = World(0, executor=KERNEL)
    with monkeypatch.context() as patched:
        patched.setattr(Worker, method, broken)
        with pytest.raises(ZeroDivisionError):
            life(world, **WANTED)
    life(world, **WANTED)
    assert_ended_well(world)


def broken(*_arguments: object) -> None:
    """Fail as our own code might."""
    raise ZeroDivisionError


def test_two_jobs_interrupted_together_both_end() -> None:
    world = World(0, cast=CAST, executor=KERNEL)
    for name in ("one", "two"):
        world.accept(TINY, **WANTED, job_id=name, output_path=f"/buyer/{name}")
    world.disk.fault = Fault(6, "append")
    with pytest.raises(PowerCut):
        world.node.run("one")
    second = world.restarted()
    assert second.node.wishes.unfinished() == ("one", "two")
    life(second)
    assert_at_rest(second, ["one", "two"])
    assert_paid_once(second)
    assert pixels(second.output("/buyer/one")) == pixels(second.output("/buyer/two")) == right_pixels(TINY)


def test_a_finished_job_run_again_changes_nothing() -> None:
    world = done(0, CAST, TINY, **WANTED)
    entries = list(world.disk.entries)
    world.node.run(JOB)
    assert world.disk.entries == entries
    assert_ended_well(world)
