"""Worlds for tests: one picture, workers that cheat on chosen seats, and what must be true of every home at rest.

Knows: the simulated world. Refuses to know: files, threads, the real adapters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

from tallystick.audit.findings import Report, Result
from tallystick.audit.trust import CoordinatorPin, LogPin, Trust
from tallystick.audit.verify import Shown, verify_bundle
from tallystick.job import PPM
from tallystick.kernels.lanczos import resample
from tallystick.kernels.raster import Raster
from tallystick.ledger import payloads as say
from tallystick.ledger.genesis import chain_id
from tallystick.ledger.records import Account, Job, account_key, job_key, node_key
from tallystick.ledger.records import Node as Registered
from tallystick.ledger.states import JobPhase
from tallystick.node.bundling import KeptEvidence, evidence_key
from tallystick.node.sequencer import Submission
from tallystick.node.worker import Assignment, Laborer, Posted, RunBlock, Upload, Worker
from tallystick.primitives import canonical
from tallystick.simulation.dishonest import Cheat, Choose, DishonestWorker, Loot, every_slot
from tallystick.simulation.disk import PowerCut
from tallystick.simulation.media import SimulatedExecutor, noise, parse_picture
from tallystick.simulation.world import Cast, World
from tallystick.verification.verdict import BlockVerdict, SlotVerdict

JOB: Final = "job-1"
PICTURE: Final = noise(1, 24, 16)
"""24 x 16 pixels: six 8-pixel blocks of a 2x output are 6 x 4 = 24 blocks."""
SUPPLY: Final = 10**27
ALL: Final[dict[str, Any]] = {"block": 8, "operators": 3, "audit": PPM}
"""A job that audits everything."""
KERNEL: Final = SimulatedExecutor()
"""Shared by all tests of a process: a block is computed once."""


@dataclass(slots=True)
class Victim:
    """An honest worker whose commitments and openings somebody reads over its shoulder."""

    honest: Worker
    seen: list[Loot] = field(default_factory=list)

    @property
    def key(self) -> Any:  # noqa: ANN401 - a signing key
        return self.honest.key

    @property
    def backend(self) -> str:
        return self.honest.backend

    def work(self, assignment: Assignment, run: RunBlock, upload: Upload) -> Posted | None:
        digests: list[bytes] = []

        def noted(slot: int, data: bytes) -> bytes:
            digests.append(upload(slot, data))
            return digests[-1]

        posted = self.honest.work(assignment, run, noted)
        openings = self.honest.open(assignment, digests) or ()
        self.seen.append(Loot(posted.payload.result_hash, posted.payload.signature, openings))
        return posted

    def open(self, assignment: Assignment, outputs: Sequence[bytes]) -> Any:  # noqa: ANN401 - openings
        return self.honest.open(assignment, outputs)


@dataclass(frozen=True, slots=True)
class Garbled:
    """An honest worker whose answers are garbled on their way to the node."""

    honest: Worker
    garble: Callable[[Assignment, Posted], Any]

    @property
    def key(self) -> Any:  # noqa: ANN401 - a signing key
        return self.honest.key

    @property
    def backend(self) -> str:
        return self.honest.backend

    def work(self, assignment: Assignment, run: RunBlock, upload: Upload) -> Any:  # noqa: ANN401 - whatever
        posted = self.honest.work(assignment, run, upload)
        return None if posted is None else self.garble(assignment, posted)

    def open(self, assignment: Assignment, outputs: Sequence[bytes]) -> Any:  # noqa: ANN401 - openings
        return self.honest.open(assignment, outputs)


def cut_before(world: World, entry: type, number: int = 1) -> None:
    """Let the power go off just before an entry of this type would be logged for the ``number``-th time."""
    log, left = world.book.log, [number]

    def watched(submissions: Sequence[Submission], check: Any = None) -> Any:  # noqa: ANN401 - as Book.log
        payloads = [item.payload for each in submissions for item in each.items]
        left[0] -= sum(isinstance(payload, entry) for payload in payloads)
        if left[0] <= 0:
            world.disk.dead = True
            raise PowerCut
        return log(submissions, check)

    world.book.log = watched  # type: ignore[method-assign]


def cheating(cheat: Cheat, choose: Choose = every_slot) -> Cast:
    """Cast a worker with one cheat; a late one sleeps past every deadline of the uploads."""
    return lambda world, honest: DishonestWorker(
        honest, cheat, choose, wait=lambda: world.sleep(24 * 3_600_000), stolen=lambda: None
    )


def thieving(cheat: Cheat) -> dict[int, Cast]:
    """Cast a thief on seat 1, who sees what seat 0 did for the micro job just before."""
    seen: list[Loot] = []

    def victim(_world: World, honest: Worker) -> Laborer:
        return Victim(honest, seen)

    def thief(_world: World, honest: Worker) -> Laborer:
        return DishonestWorker(honest, cheat, stolen=lambda: seen[-1])

    return {0: victim, 1: thief}


def done(seed: int = 0, cast: dict[int, Cast] | None = None, data: bytes = PICTURE, **wanted: Any) -> World:  # noqa: ANN401
    """A world in which one job went from order to delivery."""
    world = World(seed, cast=cast, executor=KERNEL)
    world.accept(data, **wanted)
    world.node.run(JOB)
    return world


@cache
def right_pixels(data: bytes = PICTURE) -> bytes:
    """The samples of the unsliced kernel's 2x output."""
    raster = parse_picture(data)
    return resample(raster.samples, (2 * raster.width, 2 * raster.height)).tobytes()


def pixels(raster: Raster) -> bytes:
    """The samples of a raster."""
    return raster.samples.tobytes()


def verdicts(world: World, job_id: str = JOB) -> tuple[BlockVerdict, ...]:
    """The verdict list that the home kept."""
    kept = canonical.decode(world.disk.private[evidence_key(job_id)], KeptEvidence, what="evidence", bytes_max=1 << 30)
    return kept.verdicts


def slots(world: World) -> list[SlotVerdict]:
    """Every slot's verdict."""
    return [slot for block in verdicts(world) for slot in block.slots]


def of_seat(world: World, seat: int, operators: int = 3) -> list[SlotVerdict]:
    """The verdicts of the slots that a seat held."""
    key = world.identity.worker(operators, seat).public.hex()
    return [slot for slot in slots(world) if slot.worker == key]


def balance(world: World, address: str) -> int:
    """The free wei of an address."""
    account = world.records.get(account_key(address))
    return int(account.balance) if isinstance(account, Account) else 0


def bond(world: World, seat: int, operators: int = 3) -> int:
    """The bond of a seat's worker."""
    node = world.records[node_key(world.identity.worker(operators, seat).public.hex())]
    assert isinstance(node, Registered)
    return int(node.bond)


def deposited(world: World, seat: int, operators: int = 3) -> int:
    """All that a seat's worker ever deposited."""
    key = world.identity.worker(operators, seat).public
    entries = [entry for entry in world.entries() if entry.sender == key]
    return sum(int(entry.payload.amount) for entry in entries if isinstance(entry.payload, say.StakeDeposited))


def assert_at_rest(world: World, jobs: Iterable[str] = (JOB,)) -> None:
    """What must hold of any home whose jobs are all delivered: money, files, log."""
    assert world.supply() == SUPPLY
    assert world.locked() == []
    for job_id in jobs:
        record = world.records[job_key(job_id)]
        assert isinstance(record, Job)
        assert record.phase is JobPhase.PUBLISHED
        assert [each.job_id for each in world.payloads(say.ArtifactPublished)].count(job_id) == 1
        assert [each.job_id for each in world.payloads(say.JobCompleted)].count(job_id) == 1
    assert world.node.wishes.unfinished() == ()
    assert world.disk.blobs == {}
    assert not [path for path in world.disk.files if path.startswith("/jobs/")]
    assert not [key for key in world.disk.private if key.startswith(("delivery/", "openings/"))]
    for index, entry in world.acknowledged:
        assert world.disk.entries[index] == entry
    for job_id in jobs:
        assert_holds(world, job_id)


def assert_holds(world: World, job_id: str = JOB) -> None:
    """The bundle of a delivered job holds before a stranger who has nothing else."""
    report = audited(world, job_id)
    assert report.result is Result.HOLDS, [each for each in report.findings if each.result is not Result.HOLDS]


def audited(world: World, job_id: str = JOB, source: Raster | None = None) -> Report:
    """What a stranger finds in a job's bundle; with the input, every block is computed again."""
    genesis = world.engine.genesis
    pins = Trust(
        version=1,
        chain_id=chain_id(genesis),
        log=LogPin(origin=genesis.log_origin, vkey=genesis.log_vkey, first=0),
        coordinators=(CoordinatorPin(key=genesis.coordinator, first=0),),
        c2pa=None,
    )
    return verify_bundle(Shown(world.node.bundle(job_id), source=source), pins, recompute=source is not None)


def assert_paid_once(world: World, operators: int = 3, seats: int = 3) -> None:
    """Every payout account holds exactly what settlements and releases of the log gave it."""
    addresses = {world.identity.payout(operators, seat) for seat in range(seats)}
    settled = [line for each in world.payloads(say.JobSettled) for line in each.lines]
    for address in addresses:
        assert balance(world, address) == sum(int(line.amount) for line in settled if line.payee == address)
