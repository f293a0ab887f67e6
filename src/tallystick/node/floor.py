"""Who is connected and which pieces they hold: the machine of lines, leases and turns, without any I/O.

A piece is one micro job of one attempt and belongs to the worker of its seat. Pieces of one worker are handed out in
turn between the buyers that wait for it. A line that falls silent is dropped; a piece whose holder stays away, or whose
lease ends without a root, is reported as lost, again and again, until it is given to somebody else or withdrawn.
Progress prolongs nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

HEARTBEAT_MS: Final = 5_000
SILENCE_MS: Final = 15_000
LEASE_MS: Final = 10 * 60_000
GRACE_MS: Final = 20_000
"""How long a piece waits for its worker to come back."""


@dataclass(frozen=True, slots=True)
class Rhythm:
    """The clock of a floor, in milliseconds."""

    heartbeat: int = HEARTBEAT_MS
    silence: int = SILENCE_MS
    lease: int = LEASE_MS
    grace: int = GRACE_MS

    @classmethod
    def of(cls, heartbeat_s: float, lease_s: float) -> Rhythm:
        """Return the rhythm of so many seconds: silent after three heartbeats, waited for another four."""
        beat = max(1, round(heartbeat_s * 1000))
        return cls(heartbeat=beat, silence=3 * beat, lease=max(1, round(lease_s * 1000)), grace=4 * beat)


@dataclass(frozen=True, slots=True, order=True)
class Piece:
    """One micro job of one attempt."""

    job_id: str
    attempt: int
    microjob: int


class Stage(Enum):
    """Where a piece is."""

    WAITING = "waiting"
    OUT = "out"
    ASKED = "asked"


@dataclass(slots=True)
class _Held:
    """A piece with its holder; ``since`` is when it began to wait, ``lease`` when its time is over, 0 before it began.

    Leaving and coming back prolongs no lease.
    """

    piece: Piece
    worker: str
    buyer: str
    stage: Stage = Stage.WAITING
    since: int = 0
    lease: int = 0
    line: int | None = None
    safe: bool = False
    """Its root stands: only the job's own deadlines end it."""


@dataclass(slots=True)
class _Line:
    """One open connection of a worker."""

    number: int
    worker: str
    capacity: int
    heard: int
    draining: bool = False
    out: set[Piece] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class SendPiece:
    """Send a piece down a line; ``again`` says that its root stands and only openings are wanted."""

    line: int
    piece: Piece
    lease: int


@dataclass(frozen=True, slots=True)
class SendChallenge:
    """Ask for openings down a line."""

    line: int
    piece: Piece


@dataclass(frozen=True, slots=True)
class SendCancel:
    """Call a piece back."""

    line: int
    piece: Piece
    reason: str


@dataclass(frozen=True, slots=True)
class HangUp:
    """Close a line."""

    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class Lost:
    """The holder of a piece is away or did not keep its lease."""

    piece: Piece


Order = SendPiece | SendChallenge | SendCancel | HangUp | Lost


class Floor:
    """Lines and pieces. Every method takes ``now`` (UTC ms) where time matters and returns what is to be done."""

    def __init__(self, rhythm: Rhythm) -> None:
        """Begin empty."""
        self.rhythm = rhythm
        self._lines: dict[int, _Line] = {}
        self._line_of: dict[str, int] = {}
        self._held: dict[Piece, _Held] = {}
        self._waiting: dict[str, OrderedDict[str, OrderedDict[Piece, None]]] = {}
        self._by_job: dict[str, set[Piece]] = {}

    def join(self, number: int, worker: str, capacity: int, now: int) -> tuple[Order, ...]:
        """Open a line; an older line of the same worker is closed, since whoever signed last is the one that lives."""
        orders: list[Order] = []
        older = self._line_of.get(worker)
        if older is not None:
            orders += [*self.leave(older, now), HangUp(older, "another line of this worker was opened")]
        self._lines[number] = _Line(number, worker, capacity, now)
        self._line_of[worker] = number
        for held in self._of_worker(worker):
            if held.stage is Stage.ASKED:
                held.line = number
                orders.append(SendChallenge(number, held.piece))
        return (*orders, *self._fill(worker, now))

    def leave(self, number: int, now: int) -> tuple[Order, ...]:
        """Close a line; what it held waits for the worker to come back."""
        line = self._lines.pop(number, None)
        if line is None:
            return ()
        if self._line_of.get(line.worker) == number:
            del self._line_of[line.worker]
        for held in self._of_worker(line.worker):
            if held.line == number:
                held.line = None
                if held.stage is Stage.OUT:
                    self._wait(held, now)
        return ()

    def heard(self, number: int, now: int) -> None:
        """Note a sign of life."""
        line = self._lines.get(number)
        if line is not None:
            line.heard = now

    def drain(self, number: int) -> None:
        """Give a line nothing more."""
        line = self._lines.get(number)
        if line is not None:
            line.draining = True

    def hand(self, piece: Piece, worker: str, buyer: str, now: int) -> tuple[Order, ...]:
        """Take in a piece for a worker; one that another worker held is called back from it."""
        orders = self._forget(piece, "it was given to another worker")
        held = _Held(piece, worker, buyer)
        self._held[piece] = held
        self._by_job.setdefault(piece.job_id, set()).add(piece)
        self._wait(held, now)
        return (*orders, *self._fill(worker, now))

    def decline(self, piece: Piece, now: int) -> tuple[Order, ...]:
        """Take back what its holder will not do, as if the lease were over; whose root stands, its own it stays."""
        held = self._held.get(piece)
        if held is None or held.stage is not Stage.OUT or held.safe:
            return ()
        self._lapse(held, now)
        return (Lost(piece),)

    def rooted(self, piece: Piece) -> None:
        """Note that the root of a piece stands in the log: it cannot be given to anybody else any more."""
        held = self._held.get(piece)
        if held is not None:
            held.safe = True

    def finished(self, piece: Piece, now: int) -> tuple[Order, ...]:
        """Free the capacity of a piece: root and bytes are there."""
        held = self._held.pop(piece, None)
        if held is None:
            return ()
        self._unlink(held)
        return self._fill(held.worker, now)

    def ask(self, piece: Piece, worker: str, buyer: str) -> tuple[Order, ...]:
        """Ask for openings, now or as soon as the worker is back."""
        held = self._held.setdefault(piece, _Held(piece, worker, buyer))
        self._unlink(held)
        self._by_job.setdefault(piece.job_id, set()).add(piece)
        held.stage, held.line = Stage.ASKED, self._line_of.get(worker)
        return () if held.line is None else (SendChallenge(held.line, piece),)

    def withdraw(self, job_id: str, reason: str, now: int) -> tuple[Order, ...]:
        """Forget everything of a job."""
        pieces = sorted(self._by_job.get(job_id, ()))
        workers = {self._held[piece].worker for piece in pieces}
        orders = [order for piece in pieces for order in self._forget(piece, reason)]
        return (*orders, *(order for worker in sorted(workers) for order in self._fill(worker, now)))

    def holds(self, number: int, piece: Piece) -> bool:
        """Tell whether a line may speak about a piece."""
        line, held = self._lines.get(number), self._held.get(piece)
        return line is not None and held is not None and held.worker == line.worker

    def tick(self, now: int) -> tuple[Order, ...]:
        """Do what time demands."""
        orders: list[Order] = []
        silent = [line for line in self._lines.values() if now - line.heard > self.rhythm.silence]
        for line in silent:
            orders += [*self.leave(line.number, now), HangUp(line.number, "no heartbeat in time")]
        for held in list(self._held.values()):
            orders += self._overdue(held, now)
        for worker in list(self._waiting):
            orders += self._fill(worker, now)
        return tuple(orders)

    def worker_of(self, number: int) -> str | None:
        """Return the key of a line's worker."""
        line = self._lines.get(number)
        return None if line is None else line.worker

    def here(self) -> dict[str, int]:
        """Return how many more pieces each connected worker could take, by key; those that drain are not here."""
        return {
            line.worker: line.capacity - len(line.out) - len(list(self._queued(line.worker)))
            for line in self._lines.values()
            if not line.draining
        }

    def pieces_out(self) -> int:
        """Return how many pieces are held by lines."""
        return sum(len(line.out) for line in self._lines.values())

    def _overdue(self, held: _Held, now: int) -> list[Order]:
        if held.safe or held.stage is Stage.ASKED:
            return []
        if held.lease and now > held.lease:
            orders = [] if held.line is None else [SendCancel(held.line, held.piece, "its lease is over")]
            self._lapse(held, now)
            return [*orders, Lost(held.piece)]
        line = self._lines.get(self._line_of.get(held.worker, -1))
        patience = self.rhythm.grace if line is None or line.draining else self.rhythm.lease
        if held.stage is Stage.WAITING and now - held.since > patience:
            held.since = now
            return [Lost(held.piece)]
        return []

    def _fill(self, worker: str, now: int) -> tuple[Order, ...]:
        """Send what waits for a worker, one buyer after the other, as far as its capacity goes."""
        line = self._lines.get(self._line_of.get(worker, -1))
        turns = self._waiting.get(worker)
        if line is None or line.draining or not turns:
            return ()
        orders: list[Order] = []
        while turns and len(line.out) < line.capacity:
            buyer, pieces = turns.popitem(last=False)
            piece, _ = pieces.popitem(last=False)
            if pieces:
                turns[buyer] = pieces
            held = self._held[piece]
            held.stage, held.line = Stage.OUT, line.number
            if held.safe or not held.lease:
                held.lease = now + self.rhythm.lease
            line.out.add(piece)
            orders.append(SendPiece(line.number, piece, held.lease))
        return tuple(orders)

    def _wait(self, held: _Held, now: int) -> None:
        self._take_from_line(held)
        held.stage, held.since, held.line = Stage.WAITING, now, None
        turns = self._waiting.setdefault(held.worker, OrderedDict())
        turns.setdefault(held.buyer, OrderedDict())[held.piece] = None

    def _lapse(self, held: _Held, now: int) -> None:
        """End a lease; if nobody else takes the piece, its worker may have it for another one."""
        held.lease = 0
        self._wait(held, now)

    def _forget(self, piece: Piece, reason: str) -> tuple[Order, ...]:
        held = self._held.pop(piece, None)
        if held is None:
            return ()
        line = held.line
        self._unlink(held)
        return () if line is None else (SendCancel(line, piece, reason),)

    def _unlink(self, held: _Held) -> None:
        """Take a piece out of its worker's queue, its line and its job."""
        self._take_from_line(held)
        turns = self._waiting.get(held.worker)
        pieces = None if turns is None else turns.get(held.buyer)
        if turns is not None and pieces is not None:
            pieces.pop(held.piece, None)
            if not pieces:
                del turns[held.buyer]
            if not turns:
                del self._waiting[held.worker]
        job = self._by_job.get(held.piece.job_id)
        if job is not None:
            job.discard(held.piece)
            if not job:
                del self._by_job[held.piece.job_id]

    def _take_from_line(self, held: _Held) -> None:
        line = None if held.line is None else self._lines.get(held.line)
        if line is not None:
            line.out.discard(held.piece)
        held.line = None

    def _of_worker(self, worker: str) -> list[_Held]:
        return [held for held in self._held.values() if held.worker == worker]

    def _queued(self, worker: str) -> Iterator[Piece]:
        for pieces in self._waiting.get(worker, {}).values():
            yield from pieces
