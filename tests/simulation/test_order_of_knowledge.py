"""The coordinator alone, fed with facts in any order, twice, too late and unasked: one settlement, never too early."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Final

from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.commitment import Commitment, Opening, Output, Place, check_commitment
from tallystick.job import PPM
from tallystick.ledger import payloads as say
from tallystick.ledger.jobs import inner_commitment
from tallystick.ledger.states import JobPhase
from tallystick.node.coordinator import (
    Arrived,
    Coordinator,
    Deliver,
    Dispatch,
    Instruction,
    Log,
    Logged,
    Opened,
    Recompute,
    Recomputed,
    Reveal,
    RootLost,
    RootPosted,
    Stimulus,
    Tick,
)
from tallystick.node.worker import Assignment, Worker
from tallystick.primitives.digests import sha256
from tallystick.simulation.world import World
from tallystick.slicing import block_region
from tests.worlds import JOB, KERNEL, PICTURE

MICROJOBS: Final = 6
ROOT_MS: Final = 1000


@cache
def ordered(audit: int, operators: int) -> World:
    """A world whose job is ordered and not begun."""
    world = World(0, executor=KERNEL)
    world.accept(PICTURE, block=8, audit=audit, operators=operators, duplicates=125_000)
    return world


def fresh(world: World) -> Coordinator:
    """The coordinator of that job, at its beginning."""
    job = world.book.job(JOB)
    assert job is not None
    return world.node.coordinator(JOB, job)


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What one micro job's worker does."""

    commits: bool = True
    delivers: bool = True
    opens: bool = True
    forges: bool = False


HONEST: Final = (Behaviour(),) * MICROJOBS


@dataclass(slots=True)
class Referee:
    """Plays ledger, workers and referee: gathers the facts that instructions call for, checks what is asked when."""

    world: World
    machine: Coordinator
    behaviours: tuple[Behaviour, ...]
    waiting: list[Stimulus] = field(default_factory=list)
    told: list[Stimulus] = field(default_factory=list)
    true: list[Stimulus] = field(default_factory=list)
    """Of what was told, the facts that were called for."""
    logged: list[say.Payload] = field(default_factory=list)
    awaited: list[say.Payload] = field(default_factory=list)
    delivered: Deliver | None = None
    numbers: int = 0

    def obey(self, instructions: tuple[Instruction, ...]) -> None:
        """Turn instructions into facts that may come true, and hold them against the order of knowledge."""
        for instruction in instructions:
            match instruction:
                case Log(payloads=payloads):
                    assert not self.awaited, "nothing is logged while something waits to be"
                    self.awaited = list(payloads)
                    self.check_log(payloads[-1])
                    self.waiting.append(self.stands(payloads[-1]))
                case Dispatch(microjobs=microjobs):
                    for microjob in microjobs:
                        self.waiting += self.work(microjob.index)
                case Reveal(microjobs=indices):
                    assert self.stands_logged(say.UploadsClosed)
                    assert self.stands_logged(say.ChallengeDrawn)
                    self.waiting += [Opened(index, self.openings(index)) for index in indices]
                case Recompute(blocks=blocks):
                    self.check_all_opened()
                    self.waiting += [Recomputed(block, self.right(block)) for block in blocks]
                case Deliver():
                    assert self.stands_logged(say.JobSettled)
                    self.delivered = instruction

    def check_log(self, payload: say.Payload) -> None:
        if isinstance(payload, say.ChallengeDrawn):
            assert self.stands_logged(say.UploadsClosed)
        if isinstance(payload, say.JobSettled):
            self.check_all_opened()
        if not isinstance(payload, say.JobProgressUpdate):
            assert not self.stands_logged(type(payload)), "every step is taken once"

    def check_all_opened(self) -> None:
        """Nothing is judged before everybody who had something to open was heard."""
        assert self.stands_logged(say.ChallengeDrawn)
        assert not any(isinstance(each, Opened) for each in self.waiting)

    def stands_logged(self, kind: type) -> bool:
        return any(isinstance(each, kind) for each in self.logged)

    def stands(self, payload: say.Payload) -> Logged:
        """The fact that a payload stands; headers and times follow from the payload, not from the order of facts."""
        return Logged(payload, sha256(type(payload).__name__.encode()), self.now)

    @property
    def now(self) -> int:
        return self.world.clock.time

    @property
    def late(self) -> int:
        return self.machine.spec.deadlines.upload + 1

    def assignment(self, index: int) -> tuple[Worker, Assignment]:
        microjob = self.machine.plan.microjobs[index]
        operators = self.machine.spec.operators
        identity = self.world.identity
        worker = Worker(
            identity.worker(operators, microjob.seat), identity.worker_secret(operators, microjob.seat), "simulated"
        )
        return worker, Assignment(self.machine.spec, microjob)

    def right(self, block: int) -> bytes:
        spec, counts = self.machine.spec, self.machine.plan.layout
        source = self.world.node.ports.images.decode(PICTURE).raster.samples
        return sha256(KERNEL.run(spec, source, block_region(spec, counts, block)))

    def outputs(self, index: int) -> tuple[Output, ...]:
        worker, assignment = self.assignment(index)
        slots = assignment.microjob.slots
        digests = [self.right(slot.block) for slot in slots]
        if self.behaviours[index].forges:
            digests[0] = sha256(digests[0])
        regions = [worker.region(assignment, slot) for slot in range(len(slots))]
        lengths = [region.width * region.height * 3 for region in regions]
        meta = worker.meta(assignment)
        return tuple(Output(digest, length, meta) for digest, length in zip(digests, lengths, strict=True))

    def openings(self, index: int) -> tuple[Opening, ...] | None:
        worker, assignment = self.assignment(index)
        return worker.openings(assignment, self.outputs(index)) if self.behaviours[index].opens else None

    def root(self, index: int) -> Commitment:
        worker, assignment = self.assignment(index)
        leaves = worker.leaves(assignment, self.outputs(index))
        payload = worker.post(assignment, leaves).payload
        return inner_commitment(self.machine.job, worker.key.public, payload)

    def work(self, index: int) -> Iterator[Stimulus]:
        behaviour = self.behaviours[index]
        if not behaviour.commits:
            yield RootLost(index)
            return
        yield RootPosted(self.root(index), self.now + ROOT_MS * index)
        if behaviour.delivers:
            yield Arrived(index, self.outputs(index))

    def tell(self, stimulus: Stimulus, now: int) -> None:
        self.told.append(stimulus)
        if isinstance(stimulus, Logged) and self.awaited and stimulus.payload == self.awaited[-1]:
            self.logged += self.awaited
            self.awaited = []
        self.obey(self.machine.handle(stimulus, now))

    def play(self, choose: Callable[[int], int], noise: Callable[[], Stimulus | None]) -> say.JobSettled:
        """Let facts come true in the order that is chosen until the job is settled and delivered."""
        self.obey(self.machine.begin(self.now))
        while self.delivered is None:
            stray = noise()
            if stray is not None:
                self.tell(stray, self.now)
            elif self.waiting:
                self.true.append(self.waiting.pop(choose(len(self.waiting))))
                self.tell(self.true[-1], self.now)
            else:
                # All that will ever come has come: only time is left.
                self.tell(Tick(), self.late)
        self.tell_everything_again()
        (settled,) = [each for each in self.logged if isinstance(each, say.JobSettled)]
        return settled

    def tell_everything_again(self) -> None:
        """After the end nothing changes any more."""
        for stimulus in list(self.told):
            assert self.machine.handle(stimulus, self.late) == ()


def expected(audit: int, operators: int, behaviours: tuple[Behaviour, ...]) -> say.JobSettled:
    """The settlement when every fact comes in order, once."""
    world = ordered(audit, operators)
    return Referee(world, fresh(world), behaviours).play(lambda _count: 0, lambda: None)


behaviours = st.builds(
    Behaviour, commits=st.booleans(), delivers=st.booleans(), opens=st.booleans(), forges=st.booleans()
)
mixed = st.tuples(*[st.one_of(st.just(Behaviour()), behaviours)] * MICROJOBS)


def stray(referee: Referee, rng: random.Random) -> Stimulus:
    """A fact that nobody asked for: of no micro job, of another order, too early, too late, or told before."""
    place = Place(sha256(b"another order"), 0, referee.machine.owner(0))
    index = rng.randrange(-1, MICROJOBS + 1)
    choices: list[Stimulus] = [
        Tick(),
        RootPosted(Commitment(place, 4, bytes(32), bytes(32), bytes(64)), 0),
        RootLost(index),
        *rng.sample(referee.true, min(3, len(referee.true))),
    ]
    # What may be asked for at this moment would be an answer, not a stray.
    if not any(isinstance(each, Recomputed) for each in referee.waiting):
        choices.append(Recomputed(rng.randrange(30), bytes(32)))
    if not any(isinstance(each, Opened) for each in referee.waiting):
        choices.append(Opened(index, None))
    if referee.machine.phase is not JobPhase.RUNNING:
        choices.append(Arrived(index, ()))
    choices += contradictions(referee)
    return rng.choice(choices)


def contradictions(referee: Referee) -> list[Stimulus]:
    """What a worker says again and otherwise, or only once the closing of the uploads was asked for."""
    other = (Output(sha256(b"other bytes"), 192, bytes(32)),)
    told: list[Stimulus] = []
    for each in referee.true:
        match each:
            case RootPosted(commitment=posted, time=time):
                told.append(RootPosted(replace(posted, root=sha256(posted.root)), time + 1))
            case Arrived(microjob=index):
                told.append(Arrived(index, other))
    if referee.awaited and isinstance(referee.awaited[-1], say.UploadsClosed):
        told += [Arrived(index, referee.outputs(index)) for index in range(MICROJOBS)]
        told += [RootPosted(referee.root(index), referee.now) for index in range(MICROJOBS)]
    return told


@settings(max_examples=150)
@given(
    law=st.sampled_from([(0, 1), (130_000, 1), (130_000, 3), (PPM, 3)]),
    played=mixed,
    history=st.integers(0, 2**32),
)
def test_any_order_of_facts_ends_in_the_same_settlement(
    law: tuple[int, int], played: tuple[Behaviour, ...], history: int
) -> None:
    audit, operators = law
    world, rng = ordered(audit, operators), random.Random(history)
    referee = Referee(world, fresh(world), played)
    settled = referee.play(rng.randrange, lambda: stray(referee, rng) if rng.randrange(3) == 0 else None)
    assert settled == expected(audit, operators, played)


@settings(max_examples=100)
@given(audit=st.sampled_from([130_000, PPM]), played=mixed, steps=st.integers(0, 40), history=st.integers(0, 2**32))
def test_a_restart_between_any_two_facts_ends_in_the_same_settlement(
    audit: int, played: tuple[Behaviour, ...], steps: int, history: int
) -> None:
    """What the ledger and the notes hold is enough: the machine is built again in the middle, and goes on."""
    world, rng = ordered(audit, 3), random.Random(history)
    referee = Referee(world, fresh(world), played)
    referee.obey(referee.machine.begin(referee.now))
    for _ in range(steps):
        if not referee.waiting or referee.delivered is not None:
            break
        referee.tell(referee.waiting.pop(rng.randrange(len(referee.waiting))), referee.now)
    if referee.delivered is None:
        settled = resumed(referee).play(lambda _count: 0, lambda: None)
        assert settled == expected(audit, 3, played)


def resumed(old: Referee) -> Referee:
    """A new referee over a machine built from what was durable; facts of what had begun may come again."""
    was = old.machine
    durable = dict(was.roots)
    again = Coordinator(
        spec=was.spec,
        secrets=was.secrets,
        header=was.header,
        payees=was.payees,
        phase=was.phase,
        started=was.started,
        closing=was.closing,
        roots_root=was.roots_root,
        chal=was.chal,
        missing=was.missing,
        roots=durable,
        root_times=dict(was.root_times),
        # A delivery is noted together with its root: without the root it never counted.
        arrived={index: outputs for index, outputs in was.arrived.items() if index in durable},
        opened=dict(was.opened) if was.phase is JobPhase.SETTLED else {},
        progress=sum(isinstance(each, say.JobProgressUpdate) for each in old.logged),
    )
    logged = [each for each in old.logged if not isinstance(each, say.JobProgressUpdate)]
    return Referee(old.world, again, old.behaviours, logged=logged)


def test_every_root_of_the_harness_is_one_the_ledger_would_take() -> None:
    world = ordered(PPM, 3)
    referee = Referee(world, fresh(world), HONEST)
    for index in range(MICROJOBS):
        check_commitment(referee.root(index))


def test_bytes_that_came_behind_the_closing_stay_uncounted_after_a_restart() -> None:
    """They may have been noted; the ledger says that they were missing, and only that counts."""
    world = ordered(PPM, 3)
    referee = Referee(world, fresh(world), HONEST)
    machine = Coordinator(
        spec=referee.machine.spec,
        secrets=referee.machine.secrets,
        header=referee.machine.header,
        payees=referee.machine.payees,
        phase=JobPhase.CHALLENGED,
        chal=sha256(b"challenge"),
        missing=(1,),
        roots={index: referee.root(index) for index in range(MICROJOBS)},
        arrived={index: referee.outputs(index) for index in range(MICROJOBS)},
    )
    (reveal,) = machine.begin(referee.now)
    assert reveal == Reveal((0, 2, 3, 4, 5))
    submissions = machine.evidence().submissions
    assert [submission.delivered is None for submission in submissions] == [index == 1 for index in range(MICROJOBS)]
