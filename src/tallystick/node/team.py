"""The workers of one attempt as the job's thread sees them: pieces are handed over, facts come back.

``LocalTeam`` has them in this process. What a worker hands over is held to its form here, so that nothing it says can
stop the job; what it raises is its own failure, unless the code or the failure is this home's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import partial
from typing import Final, ParamSpec, Protocol, TypeVar

from tallystick.commitment import Opening
from tallystick.errors import MalformedError
from tallystick.job import JobSpec, Seat
from tallystick.kernels.lanczos import Region
from tallystick.kernels.raster import Samples
from tallystick.ledger.payloads import SubmitResult
from tallystick.node.crew import Act, Crew, Fact, Refereed, Revealed, Unanswered, Worked
from tallystick.node.ordering import Wish
from tallystick.node.ports import Ports
from tallystick.node.worker import Assignment, Laborer, Posted, Worker
from tallystick.primitives import canonical
from tallystick.primitives.digests import sha256
from tallystick.primitives.keys import SigningKey
from tallystick.slicing import MicroJob, Plan, block_region

_DIGEST_BYTES: Final = 32
_P = ParamSpec("_P")
_T = TypeVar("_T")


class Team(Protocol):
    """Who works for one attempt. Every call returns at once; what comes of it is a fact."""

    @property
    def busy(self) -> int:
        """How many pieces and referee's blocks are out."""
        ...

    def hand(self, microjob: MicroJob) -> None:
        """Give a micro job to the worker of its seat."""
        ...

    def ask(self, microjob: MicroJob, outputs: Sequence[bytes], challenge: bytes) -> None:
        """Ask for the openings of a micro job, given the digests that were delivered."""
        ...

    def referee(self, block: int) -> None:
        """Have this home compute one block with the reference kernel, and keep its bytes."""
        ...

    def compute(self, region: Region) -> bytes:
        """Run one region of the output in the calling thread."""
        ...

    def again(self, microjob: MicroJob) -> Mapping[bytes, bytes]:
        """Return what the holder of a micro job gives once more, by digest; nothing where it cannot be asked."""
        ...

    def key(self, seat: int) -> SigningKey | None:
        """Return the key that this home signs with for the worker of a seat, None where the worker signs itself."""
        ...

    def wait(self, until: int | None) -> tuple[Fact, ...]:
        """Return what has happened, at least one fact; none when ``until`` (UTC ms) may have passed first."""
        ...

    def close(self) -> None:
        """Return when nothing runs any more; pieces that are out are called back."""
        ...


class Staff(Protocol):
    """Workers that are not this home's own."""

    def recruit(self, wish: Wish, without: AbstractSet[str]) -> tuple[Seat, ...]:
        """Return the pool of an order, leaving some workers out by their keys (UnmatchedError: too few are here)."""
        ...

    def team(self, bench: Bench, wish: Wish) -> Team:
        """Return the team of an attempt whose order stands."""
        ...


class _OursError(Exception):
    """A failure of this home while it served a worker: never the worker's fault."""


@dataclass(slots=True)
class Bench:
    """Where this home itself computes: the referee's chair, beside any team."""

    spec: JobSpec
    plan: Plan
    source: Samples
    ports: Ports

    def compute(self, region: Region) -> bytes:
        """Run one region of the output."""
        return self.ports.executor.run(self.spec, self.source, region)

    def referee(self, block: int) -> Refereed:
        """Compute one block with the reference kernel and keep the bytes."""
        data = self.compute(block_region(self.spec, self.plan.layout, block))
        digest = sha256(data)
        if not self.ports.blobs.has(digest):
            self.ports.blobs.put(digest, data)
        return Refereed(block, digest)


@dataclass(slots=True)
class LocalTeam:
    """Workers of this process, over a crew of threads."""

    bench: Bench
    laborers: Sequence[Laborer]
    crew: Crew
    busy: int = 0
    _told: list[Fact] = field(default_factory=list)

    def hand(self, microjob: MicroJob) -> None:
        """Have a thread run the worker of the seat."""
        self._submit(partial(self._work, microjob))

    def ask(self, microjob: MicroJob, outputs: Sequence[bytes], challenge: bytes) -> None:
        """Ask the worker at once; ``challenge`` is for workers that cannot read the log."""
        _ = challenge
        self._told.append(Revealed(microjob.index, self._opened(microjob, outputs)))

    def referee(self, block: int) -> None:
        """Have a thread compute one block."""
        self._submit(partial(self.bench.referee, block))

    def compute(self, region: Region) -> bytes:
        """Run one region of the output in the calling thread."""
        return self.bench.compute(region)

    def key(self, seat: int) -> SigningKey | None:
        """Return the worker's key: it is this home's."""
        return self.laborers[seat].key

    def wait(self, until: int | None) -> tuple[Fact, ...]:
        """Sleep until something ends, or the time may have come."""
        if self._told:
            facts, self._told = tuple(self._told), []
            return facts
        ended = tuple(_formed(self.bench.spec.job_id, fact) for fact in self.crew.wait(until))
        self.busy -= len(ended)
        return ended

    def close(self) -> None:
        """Wait for what runs."""
        self.crew.close()

    def again(self, microjob: MicroJob) -> Mapping[bytes, bytes]:
        """Let the worker compute a micro job once more, and return what it uploads."""
        found: dict[bytes, bytes] = {}

        def upload(_slot: int, data: bytes) -> bytes:
            digest = sha256(data)
            found[digest] = data
            return digest

        self._labor(microjob, upload)
        return found

    def _submit(self, act: Act) -> None:
        self.busy += 1
        self.crew.submit(act)

    def _work(self, microjob: MicroJob) -> Worked:
        """Let a worker compute one micro job; the node hashes and keeps what is uploaded."""
        uploads, keep = dict[int, tuple[bytes, int]](), _ours(self.bench.ports.blobs.put)

        def upload(slot: int, data: bytes) -> bytes:
            digest = sha256(data)
            if 0 <= slot < len(microjob.slots):
                keep(digest, data)
                uploads[slot] = (digest, len(data))
            return digest

        return Worked(microjob, self._labor(microjob, upload), uploads)

    def _labor(self, microjob: MicroJob, upload: Callable[[int, bytes], bytes]) -> Posted | None:
        """Run a worker's code; what it raises is its own failure, unless the code or the failure is this home's."""
        laborer = self.laborers[microjob.seat]
        try:
            return laborer.work(Assignment(self.bench.spec, microjob), _ours(self.bench.compute), upload)
        except _OursError as failure:
            raise failure.__cause__ or failure from None
        except Exception:
            if isinstance(laborer, Worker):
                raise  # our own code, so our own failure: nobody waits for a deadline because of it
            return None

    def _opened(self, microjob: MicroJob, outputs: Sequence[bytes]) -> tuple[Opening, ...] | None:
        """Ask a worker for its openings; one that fails, or answers in no form of ours, is silent."""
        laborer = self.laborers[microjob.seat]
        try:
            openings = laborer.open(Assignment(self.bench.spec, microjob), outputs)
            # One more than wanted is enough for the judge to see that there are too many.
            taken = None if openings is None else tuple(openings[: len(microjob.slots) + 1])
            formed = taken is not None and all(map(_is_opening, taken))
        except Exception:
            if isinstance(laborer, Worker):
                raise
            return None
        return taken if formed else None


def _ours(act: Callable[_P, _T]) -> Callable[_P, _T]:
    """Return the act with its failures marked as this home's."""

    def marked(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        try:
            return act(*args, **kwargs)
        except Exception as error:
            raise _OursError from error

    return marked


def _is_opening(opening: Opening) -> bool:
    return all(isinstance(part, bytes) and len(part) == _DIGEST_BYTES for part in (opening.salt, opening.leaf))


def _formed(job_id: str, fact: Fact) -> Fact:
    """Return a fact as it is, or that nothing will come of a piece whose answer has no form."""
    if isinstance(fact, Worked) and not _fits(job_id, fact):
        return Unanswered(fact.microjob.index)
    return fact


def _fits(job_id: str, fact: Worked) -> bool:
    """Tell whether a worker's answer has the form of one, for the micro job that it was given."""
    if fact.posted is None:
        return True
    payload, meta = fact.posted.payload, fact.posted.meta
    try:
        canonical.decode(canonical.encode(payload), SubmitResult, what="SUBMIT_RESULT")
    except (MalformedError, TypeError, ValueError):
        return False
    formed = isinstance(meta, bytes) and len(meta) == _DIGEST_BYTES
    return formed and (payload.task_id, payload.microjob) == (job_id, fact.microjob.index)
