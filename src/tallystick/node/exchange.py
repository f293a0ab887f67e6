"""Where remote workers and jobs meet: the floor behind one lock, tickets for bytes, commitments bound for the log.

Knows threads. Lines are ports, so nothing here knows what a socket is; nothing here waits, except for the disk when
bytes were delivered.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from tallystick.commitment import Opening, meta_digest
from tallystick.errors import AbsentError, AuthorityError, ConflictError
from tallystick.ledger.fold import next_nonce
from tallystick.ledger.payloads import SubmitResult
from tallystick.ledger.records import Overlay, Result, result_key
from tallystick.ledger.transactions import Transaction, decode
from tallystick.node import floor as do
from tallystick.node.claims import UNANSWERED_MAX, Claim, delivery_notes, piece_of, root_of, standing, trusted_notes
from tallystick.node.crew import Broken, Fact, Gone, Revealed
from tallystick.node.ledger_thread import SharedBook
from tallystick.node.leftovers import let_go
from tallystick.node.lines import Card, Line
from tallystick.node.pieces import Out
from tallystick.node.ports import Clock, Entropy, Ports
from tallystick.node.sequencer import Accepted, Block, Outcome, Submission
from tallystick.primitives.digests import sha256
from tallystick.primitives.keys import address_of

TICKET_BYTES = 24


@dataclass(slots=True)
class _Open:
    card: Card
    line: Line
    unanswered: int = 0
    """Its commitments that the log did not answer yet."""


@dataclass(slots=True)
class Exchange:
    """The floor of one node."""

    book: SharedBook
    ports: Ports
    entropy: Entropy
    rhythm: do.Rhythm
    _floor: do.Floor = field(init=False)
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _lines: dict[int, _Open] = field(default_factory=dict)
    _out: dict[do.Piece, Out] = field(default_factory=dict)
    _tickets: dict[str, Out] = field(default_factory=dict)
    _teams: dict[str, Callable[[Fact], None]] = field(default_factory=dict)
    _orphans: dict[str, set[bytes]] = field(default_factory=dict)
    """By job, the blocks of pieces that were called back."""
    _stopped: Exception | None = None
    _numbers: int = 0
    changed: Callable[[], None] = lambda: None
    """Called when a worker came or went."""

    def __post_init__(self) -> None:
        """Begin with an empty floor."""
        self._floor = do.Floor(self.rhythm)

    @property
    def clock(self) -> Clock:
        """The node's clock."""
        return self.ports.clock

    def open_line(self, worker: str, capacity: int, backend: str, line: Line) -> int:
        """Let a worker in, whose key the caller has proven; returns the line's number."""
        with self._lock:
            self._numbers += 1
            number, now = self._numbers, self.clock.now()
            self._lines[number] = _Open(Card(number, worker, backend, capacity, now), line)
            self._do(self._floor.join(number, worker, capacity, now))
        self.changed()
        return number

    def close_line(self, number: int) -> None:
        """Note that a line is gone."""
        with self._lock:
            self._do(self._floor.leave(number, self.clock.now()))
            self._lines.pop(number, None)
        self.changed()

    def heard(self, number: int) -> None:
        """Note a sign of life."""
        with self._lock:
            self._floor.heard(number, self.clock.now())

    def drain(self, number: int) -> None:
        """Give a line nothing more."""
        with self._lock:
            self._floor.drain(number)
        self.changed()

    def tick(self) -> None:
        """Do what time demands; called about once a second."""
        with self._lock:
            self._do(self._floor.tick(self.clock.now()))

    def cards(self) -> tuple[Card, ...]:
        """Return who is connected."""
        with self._lock:
            return tuple(opened.card for opened in self._lines.values())

    def here(self) -> dict[str, int]:
        """Return how many more pieces each worker could take, by key."""
        with self._lock:
            return self._floor.here()

    def hand(self, out: Out, buyer: str) -> None:
        """Give a piece to its worker, now or when it is back and its turn has come."""
        with self._lock:
            self._drop(out.piece)
            self._out[out.piece] = self._tickets[out.ticket] = out
            self._do(self._floor.hand(out.piece, out.worker, buyer, self.clock.now()))

    def ask(self, out: Out, buyer: str) -> None:
        """Ask the worker of a piece for its openings."""
        with self._lock:
            self._out[out.piece] = out
            self._do(self._floor.ask(out.piece, out.worker, buyer))

    def withdraw(self, job_id: str, reason: str) -> None:
        """Call back everything of a job."""
        with self._lock:
            self._do(self._floor.withdraw(job_id, reason, self.clock.now()))
            for piece in [piece for piece in self._out if piece.job_id == job_id]:
                self._drop(piece)
            self._teams.pop(job_id, None)

    def stop(self, error: Exception) -> None:
        """Let every job that has something out fail with this error, so that its thread ends."""
        with self._lock:
            self._stopped = error
            teams = tuple(self._teams.values())
        for tell in teams:
            tell(Broken(error))

    def enrol(self, job_id: str, tell: Callable[[Fact], None]) -> None:
        """Note where a job's team hears of things."""
        with self._lock:
            self._teams[job_id] = tell
            if self._stopped is not None:
                tell(Broken(self._stopped))

    def tell(self, job_id: str, fact: Fact) -> None:
        """Have a job's team hear of something, if it has one now."""
        found = self._teams.get(job_id)
        if found is not None:
            found(fact)

    def progress(self, number: int, piece: do.Piece, done: int) -> None:
        """Note how many blocks of a piece its worker says it has computed."""
        with self._lock:
            out = self._spoken_of(number, piece)
            out.done = min(done, len(out.microjob.slots))

    def decline(self, number: int, piece: do.Piece) -> None:
        """Hear that a worker will not do a piece.

        Raises:
            AuthorityError: it is not this worker's, or no longer.
        """
        with self._lock:
            self._spoken_of(number, piece)
            self._do(self._floor.decline(piece, self.clock.now()))

    def ticket(self, ticket: str) -> Out:
        """Return the piece of a ticket.

        Raises:
            AbsentError: there is no such ticket, or its piece is no longer out.
        """
        with self._lock:
            out = self._tickets.get(ticket)
        if out is None:
            raise AbsentError("no such assignment: it ended, or it was given to somebody else")
        return out

    def received(self, out: Out, read: Callable[[int], bytes]) -> None:
        """Take in a piece's bytes, which are all there: keep every slot durably; ``read`` returns the next so many.

        Raises:
            AbsentError: the piece was called back meanwhile.
        """
        digests = []
        for length in out.lengths:
            data = read(length)
            if len(data) != length:
                raise ConflictError(f"a block of {length} bytes came with {len(data)}")
            digest = sha256(data)
            with self._lock:  # what arrives is spoken for before it is kept: see let_go
                self.ticket(out.ticket)
                out.arriving.add(digest)
            self.ports.blobs.put(digest, data)
            digests.append((digest, length))
        self.ports.blobs.flush()
        with self._lock:
            if out.digests is None:
                out.digests = tuple(digests)
            self._advance(out)

    def commitment(
        self,
        number: int,
        piece: do.Piece,
        entry: bytes,
        meta: bytes,
        openings: tuple[Opening, ...] | None = None,
    ) -> bool:
        """Send a worker's signed result to the log; its line hears of the outcome. Tell whether that is new.

        ``openings`` are kept with it, for the time after the challenge.

        Raises:
            MalformedError: the entry does not parse.
            AuthorityError: it is another worker's, or about another piece.
            ConflictError: too many of this line wait for their answers.
        """
        transaction = decode(entry)
        if self._repeated(number, piece, transaction):
            return False
        with self._lock:
            out, payload = self._spoken_of(number, piece), transaction.payload
            if not isinstance(payload, SubmitResult) or transaction.sender.hex() != out.worker:
                raise AuthorityError("a commitment is a SUBMIT_RESULT signed by the worker of this line")
            if piece_of(transaction) != piece:
                raise AuthorityError(f"the entry is about micro job {payload.microjob} of {payload.task_id}")
            if self._lines[number].unanswered >= UNANSWERED_MAX:
                raise ConflictError(f"{UNANSWERED_MAX} commitments of this worker wait for their answers already")
            self._lines[number].unanswered += 1
            if not out.root:
                out.meta = meta
            note = delivery_notes(out)
        claim = Claim(number, out, transaction, noted=bool(note))
        self.book.post(Submission((transaction,), (*note, *trusted_notes(out, openings))), partial(self._logged, claim))
        return True

    def _repeated(self, number: int, piece: do.Piece, transaction: Transaction) -> bool:
        """Answer a root that stands although its piece is over: its worker never got the receipt."""
        opened = self._lines.get(number)
        if piece in self._out or opened is None or opened.card.worker != transaction.sender.hex():
            return False
        found = standing(self.book, transaction)
        if found is None or piece_of(transaction) != piece:
            return False
        opened.line.receipt(piece, found[1], found[0])
        return True

    def result(self, number: int, piece: do.Piece, address: str, root: str) -> bool:
        """Take a worker's word that all bytes behind a root are delivered, and tell whether that is new.

        Raises:
            ConflictError: they are not, or the root is another one.
            AuthorityError: it names another worker.
        """
        with self._lock:
            out = self._out.get(piece)
            if out is None:
                return False
            out = self._spoken_of(number, piece)
            if address != address_of(bytes.fromhex(out.worker)):
                raise AuthorityError("worker_address is not the address of this line's worker")
            if not out.root:
                self._found(number, out)
            if out.root.hex() != root:
                raise ConflictError(f"the log holds the root {out.root.hex() or 'of nobody'} for this piece")
            if out.digests is None:
                raise ConflictError("the bytes of this piece have not all arrived: deliver them first")
            new, out.claimed = not out.claimed, True
            return new

    def _found(self, number: int, out: Out) -> None:
        """Take up a root that this worker logged before a restart; its leaves say what the worker says it runs."""
        piece = out.piece
        key = result_key(piece.job_id, piece.attempt, piece.microjob)
        standing = Overlay(self.book.engine.view).find(Result, key)
        if standing is not None and standing.worker == out.worker:
            out.meta = out.meta or meta_digest(self._lines[number].card.backend, out.spec.task.kernel)
            self._floor.rooted(piece)
            out.rooted(bytes.fromhex(standing.root))
            self._advance(out)

    def refuse(self, number: int, piece: do.Piece, reason: str) -> None:
        """Tell a line that something does not count."""
        with self._lock:
            opened = self._lines.get(number)
            if opened is not None:
                opened.line.refused(piece, reason, self.nonce(opened.card.worker))

    def opening(self, number: int, piece: do.Piece, openings: tuple[Opening, ...]) -> None:
        """Take openings that were asked for.

        Raises:
            ConflictError: nobody asked for them.
        """
        with self._lock:
            out = self._spoken_of(number, piece)
            if not out.asked:
                raise ConflictError("nobody asked for openings of this piece yet")
            # One more than wanted is enough for the judge to see that there are too many.
            out.tell(Revealed(piece.microjob, openings[: len(out.microjob.slots) + 1]))
            self._do(self._floor.finished(piece, self.clock.now()))
            self._drop(piece)

    def _logged(self, claim: Claim, outcome: Outcome, _block: Block | None) -> None:
        """Hear in the ledger's thread what became of a commitment."""
        out, transaction = claim.out, claim.transaction
        found = (outcome.indices[0], transaction) if isinstance(outcome, Accepted) else standing(self.book, transaction)
        with self._lock:
            opened = self._lines.get(claim.number)
            if opened is not None:
                opened.unanswered -= 1
            if found is None:
                if opened is not None and not isinstance(outcome, Accepted):
                    opened.line.refused(out.piece, str(outcome.error), self.nonce(out.worker))
                return
            if opened is not None:
                opened.line.receipt(out.piece, found[1], found[0])
            if self._out.get(out.piece) is out:
                out.noted = claim.noted and isinstance(outcome, Accepted)
                self._floor.rooted(out.piece)
                out.rooted(root_of(transaction))
                self._advance(out)

    def _advance(self, out: Out) -> None:
        """Free the line when both root and bytes are there."""
        out.advance()
        if out.complete and self._out.get(out.piece) is out:
            self._do(self._floor.finished(out.piece, self.clock.now()))

    def nonce(self, worker: str) -> int:
        """Return the nonce that a worker's next entry must have, by its key in hex."""
        return next_nonce(self.book.engine.view, address_of(bytes.fromhex(worker)))

    def _spoken_of(self, number: int, piece: do.Piece) -> Out:
        """Return a piece that a line may speak about.

        Raises:
            AuthorityError: it is not this worker's, or no longer.
        """
        out = self._out.get(piece)
        if out is None or not self._holds(number, out):
            raise AuthorityError(f"micro job {piece.microjob} of job {piece.job_id} is not held by this worker")
        return out

    def _holds(self, number: int, out: Out) -> bool:
        opened = self._lines.get(number)
        return opened is not None and opened.card.worker == out.worker

    def _drop(self, piece: do.Piece) -> None:
        """Forget a piece, its ticket and its half-delivered bytes."""
        out = self._out.pop(piece, None)
        if out is not None:
            self._tickets.pop(out.ticket, None)
            self.ports.desk.remove(out.path)
            self._orphans.setdefault(piece.job_id, set()).update(out.arriving)

    def let_go(self, job_id: str, digests: set[bytes]) -> None:
        """Delete blobs of a job that has ended, its called-back pieces included, but those that others rely on."""
        with self._lock:
            mine = digests | self._orphans.pop(job_id, set())
            others = [out.arriving for out in self._out.values() if out.piece.job_id != job_id]
            let_go(self.ports, job_id, mine.difference(*others))

    def _do(self, orders: Sequence[do.Order]) -> None:
        for order in orders:
            match order:
                case do.SendPiece(line=number, piece=piece, lease=lease):
                    self._lines[number].line.piece(self._out[piece], lease)
                case do.SendChallenge(line=number, piece=piece):
                    self._lines[number].line.challenge(self._out[piece])
                case do.SendCancel(line=number, piece=piece, reason=reason):
                    if number in self._lines:
                        self._lines[number].line.cancel(piece, reason)
                case do.HangUp(line=number, reason=reason):
                    opened = self._lines.pop(number, None)
                    if opened is not None:
                        opened.line.hang_up(reason)
                case do.Lost(piece=piece):
                    self._lost(self._out[piece])

    def _lost(self, out: Out) -> None:
        """Tell the team who of the pool could take a piece over, those with most room first."""
        here = self._floor.here()
        stake = int(out.spec.policy.stake)
        seats = [
            seat
            for seat, place in enumerate(out.spec.pool)
            if place.worker != out.worker and place.worker in here and self.book.free_bond(place.worker) >= stake
        ]
        seats.sort(key=lambda seat: -here[out.spec.pool[seat].worker])
        out.tell(Gone(out.piece.microjob, tuple(seats)))
