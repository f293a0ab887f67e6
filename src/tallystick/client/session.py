"""What a worker says and does, and when: a pure machine. Stimuli go in with the time, instructions come out.

It knows the protocol (docs/spec/worker-protocol.md) and keeps what it needs to answer for its roots. It refuses to know
sockets, files, kernels and clocks. It believes the node in nothing that it can check, and does not take what it cannot.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from tallystick import wire
from tallystick.client.offers import Terms, assignment_of, check_offer, hello_to, wei_of
from tallystick.client.pieces import Known, Piece, delivered, spelled
from tallystick.client.signals import (
    Advanced,
    Broke,
    Compute,
    Computed,
    Dialed,
    Drain,
    Drop,
    Failed,
    Heard,
    Instruction,
    Join,
    Joined,
    Leave,
    Recorded,
    Send,
    Stimulus,
    Tell,
    Tick,
    Upload,
    Uploaded,
)
from tallystick.client.stages import Line, Stage, after
from tallystick.errors import CommitmentError, MalformedError, TallyError, VerificationError
from tallystick.ledger.transactions import Draft, Transaction, sign
from tallystick.node.worker import Worker
from tallystick.primitives import merkle

KNOWN_MAX: Final = 8192
WAITING_MAX: Final = 256
SIGNED_AGAIN_MAX: Final = 8
PROGRESS_MS: Final = 1000
REASON_MAX: Final = 1000
LEASE_GRACE_MS: Final = 60_000
HEARTBEAT_MS_MIN, HEARTBEAT_MS_MAX = 100, 60_000


@dataclass(slots=True)
class Session:
    """The machine of one worker across all its lines to one node."""

    worker: Worker
    terms: Terms
    line: Line = Line.DOWN
    lines: int = 0
    chain_id: str = ""
    nonce: int = 0
    heartbeat_ms: int = 1000
    draining: bool = False
    joining: bool = False
    held: dict[str, Piece] = field(default_factory=dict)
    known: OrderedDict[str, Known] = field(default_factory=OrderedDict)
    _beat: int = 0
    _say: list[Instruction] = field(default_factory=list)

    def handle(self, stimulus: Stimulus, now: int) -> tuple[Instruction, ...]:
        """Take one stimulus at UTC milliseconds; what it raises ends the line, never the worker.

        Raises:
            TransitionError: the node said something that may not come now.
            MalformedError: it speaks another protocol.
            VerificationError: it serves another ledger, or takes this worker for another.
        """
        self._say = []
        match stimulus:
            case Heard(message=message):
                self._heard(message, now)
            case Dialed():
                self.line, self._beat, self.lines = Line.DIALED, now, self.lines + 1
            case Broke():
                self.line, self.joining = Line.DOWN, False
            case Joined(nonce=nonce):
                self.joining, self.nonce = False, max(self.nonce, nonce)
                self._commit_waiting()
            case Drain():
                self._drain()
            case Tick():
                self._tick(now)
            case Advanced() | Computed() | Uploaded() | Failed():
                self._worked(stimulus, now)
        if self.draining and not self.held:
            self._say.append(Leave())
        return tuple(self._say)

    @property
    def chain(self) -> str:
        """The ledger that this worker serves; empty until a node named one."""
        return self.chain_id or self.terms.chain_id or ""

    def _heard(self, message: wire.FromNode, now: int) -> None:
        self.line = after(self.line, message)
        match message:
            case wire.Auth():
                self._greet(message)
            case wire.Ready():
                self._ready(message)
            case wire.Job():
                self._offered(message, now)
            case wire.Receipt():
                self._receipt(message)
            case wire.Refused():
                self._refused(message)
            case wire.Challenge():
                self._challenged(message)
            case wire.Cancel():
                self._cancelled(message)

    def _greet(self, auth: wire.Auth) -> None:
        """Prove who this is, to a node of the right ledger only: the first one it met, unless it was told another."""
        if auth.protocol != wire.PROTOCOL:
            raise MalformedError("protocol of the node", f"it speaks {auth.protocol!r}, this worker {wire.PROTOCOL!r}")
        if self.chain and auth.chain_id != self.chain:
            raise VerificationError("ledger of the node", expected=self.chain, actual=auth.chain_id)
        self.chain_id = auth.chain_id
        self._say.append(Send(hello_to(auth, self.worker, self.terms)))

    def _ready(self, ready: wire.Ready) -> None:
        if ready.worker_address != self.worker.key.address:
            raise VerificationError("worker", expected=self.worker.key.address, actual=ready.worker_address)
        self.nonce = ready.nonce
        self.heartbeat_ms = min(max(ready.heartbeat_ms, HEARTBEAT_MS_MIN), HEARTBEAT_MS_MAX)
        if self.draining:
            self._say.append(Send(wire.Drain()))
        missing = max(0, self.terms.bond - wei_of(ready.bond)) if not self.draining else 0
        if missing or not ready.registered:
            self.joining = True
            self._say.append(Join(ready.nonce, ready.registered, missing))
        self._resume()

    def _resume(self) -> None:
        """Say again what the last line may have lost: an entry that may stand in the log already goes out unchanged."""
        for piece in self._at(Stage.COMMITTED):
            piece.sent = [entry for entry in piece.sent[-1:] if entry.nonce < self.nonce]
            self._say += [self._commitment(piece, entry) for entry in piece.sent]
        self._commit_waiting()

    def _offered(self, job: wire.Job, now: int) -> None:
        """Take a piece, or say why not; one that is held already only learns its new places and lease."""
        held = self.held.get(job.job_id)
        if held is not None:
            self._renew(held, job, now)
        elif self.draining:
            self._refuse(job.job_id, "this worker is leaving")
        elif not self._has_room():
            self._refuse(job.job_id, f"this worker has its {self.terms.capacity} pieces")
        else:
            self._take(job, now)

    def _take(self, job: wire.Job, now: int) -> None:
        try:
            assignment = assignment_of(job.job_id, job.payload, self.chain_id, self.worker.key.public)
            check_offer(job, assignment, self.terms.bounds, now)
            known = self.known.get(job.job_id)
            if known is not None and known.order != assignment.job:
                raise VerificationError("order of a piece", expected=known.order.hex(), actual=assignment.job.hex())
        except TallyError as error:
            self._refuse(job.job_id, str(error))
            return
        piece = Piece(job.job_id, job.payload, assignment, self.lines, told=now)
        self.held[piece.name] = piece
        self._begin(Compute(piece))

    def _renew(self, piece: Piece, job: wire.Job, now: int) -> None:
        """Take new places and a new lease; a node that lost what was delivered to the old place gets it again."""
        payload = job.payload
        try:
            check_offer(job, piece.assignment, self.terms.bounds, now)
            if not piece.is_same_work(payload):
                raise MalformedError("piece", "it is held already, with other contents")
        except TallyError as error:
            self._refuse(job.job_id, str(error))
            return
        moved = payload.output.path != piece.payload.output.path
        piece.payload, piece.line = payload, self.lines
        if moved and piece.stage in {Stage.UPLOADED, Stage.COMMITTED}:
            piece.go(Stage.COMPUTING)
            self._begin(Compute(piece))

    def _begin(self, step: Compute | Upload) -> None:
        step.piece.begun = step.piece.payload
        self._say.append(step)

    def _has_room(self) -> bool:
        """Tell whether one more fits; a piece of an earlier line that the node no longer speaks of gives way."""
        if len(self.held) >= self.terms.capacity + WAITING_MAX:
            return False  # roots that wait for their receipts take little, but not without end
        computing = [piece for piece in self.held.values() if piece.stage is not Stage.COMMITTED]
        stale = [piece for piece in computing if piece.line != self.lines]
        if len(computing) >= self.terms.capacity and stale:
            self._let_go(stale[0])
        return len(computing) < self.terms.capacity or bool(stale)

    def _refuse(self, name: str, why: str) -> None:
        self._say.append(Tell(f"piece {name} is not taken: {why}"))
        if name not in self.held:
            self._decline(name, why)

    def _decline(self, name: str, why: str) -> None:
        if self.line is Line.OPEN:
            self._say.append(Send(wire.Declined(name, why[:REASON_MAX])))

    def _worked(self, stimulus: Advanced | Computed | Uploaded | Failed, now: int) -> None:
        """Go on with a piece; what ends for one that was let go meanwhile is nobody's business."""
        piece = self.held.get(stimulus.piece)
        if piece is None:
            return
        match stimulus:
            case Advanced(done=done):
                self._progress(piece, done, now)
            case Computed(digests=digests):
                piece.outputs = delivered(self.worker, piece.assignment, digests)
                piece.go(Stage.UPLOADING)
                self._begin(Upload(piece))
            case Uploaded() if piece.has_moved:
                self._begin(Upload(piece))
            case Uploaded():
                piece.go(Stage.UPLOADED)
                self._commit_waiting()
            case Failed() if piece.has_moved:
                self._begin(Compute(piece) if piece.stage is Stage.COMPUTING else Upload(piece))
            case Failed(reason=reason):
                self._say.append(Tell(f"piece {piece.name} is given up: {reason}"))
                self._decline(piece.name, reason)
                self._let_go(piece)

    def _progress(self, piece: Piece, done: int, now: int) -> None:
        """Say now and then how far a long piece is; a short one says nothing before its root."""
        if self.line is Line.OPEN and not 0 <= now - piece.told < PROGRESS_MS:
            piece.told = now
            self._say.append(Send(wire.Progress(piece.name, done, len(piece.payload.blocks))))

    def _commit_waiting(self) -> None:
        """Sign, number and send the roots of everything that was uploaded, in the order in which that happened."""
        if self.line is not Line.OPEN or self.joining:
            return
        waiting = [piece for piece in self.held.values() if piece.stage is Stage.UPLOADED]
        unsent = [piece for piece in self._at(Stage.COMMITTED) if not piece.sent]
        for piece in [*unsent, *waiting]:
            if piece.stage is Stage.COMMITTED:
                self._sign(piece)
            else:
                self._commit(piece)

    def _commit(self, piece: Piece) -> None:
        """Fix the root of a piece, for which the worker answers from now on; one that stands already stays as it is."""
        leaves = self.worker.leaves(piece.assignment, piece.outputs)
        piece.posted, root = self.worker.post(piece.assignment, leaves), merkle.root(leaves)
        known = self.known.get(piece.name)
        if known is not None and known.logged and known.root != root:
            self._say.append(Tell(f"piece {piece.name} came out otherwise than it was signed: this machine errs"))
            self._let_go(piece)
            return
        piece.go(Stage.COMMITTED)
        if known is not None and known.logged:
            self._delivered(piece)
        else:
            self._know(piece.name, Known(piece.assignment.job, root))
            self._sign(piece)

    def _sign(self, piece: Piece) -> None:
        posted = piece.result
        entry = sign(Draft(self.worker.key, posted.payload), self.chain_id, self.nonce)
        self.nonce += 1
        piece.sent.append(entry)
        self._say.append(self._commitment(piece, entry))

    def _commitment(self, piece: Piece, entry: Transaction) -> Send:
        """Return the commitment with its openings in trust: whatever becomes of this worker, it has spoken."""
        opened = spelled(self.worker.openings(piece.assignment, piece.outputs))
        return Send(wire.CommitmentMessage(piece.name, entry.entry.decode(), piece.result.meta.hex(), opened))

    def _receipt(self, receipt: wire.Receipt) -> None:
        """A root stands: the bytes behind it may be read, and the worker says that they are all there."""
        piece, known = self.held.get(receipt.job_id), self.known.get(receipt.job_id)
        if piece is None or known is None or known.logged:
            return
        if receipt.tx_hash not in {entry.tx_hash for entry in piece.sent}:
            self._say.append(Tell(f"piece {piece.name} stands as {receipt.tx_hash}, an entry of an earlier life"))
        known.logged = True
        self._say.append(Recorded(piece.name, receipt))
        if piece.stage is Stage.COMMITTED:
            self._delivered(piece)

    def _delivered(self, piece: Piece) -> None:
        """Say that all bytes behind a root that stands are there; what is left of the piece is to open it."""
        payload = piece.result.payload
        self._say.append(Send(wire.JobResult(piece.name, payload.worker_address, payload.result_hash)))
        piece.go(Stage.DELIVERED)
        self._let_go(piece)

    def _refused(self, refused: wire.Refused) -> None:
        """What was said does not count: number again what only came at the wrong time, let go of the rest."""
        piece = self.held.get(refused.job_id)
        if piece is None or not piece.sent:
            self._forget(refused.job_id, refused.reason)
            return
        entry = piece.sent.pop(0)
        if piece.sent or piece.stage is not Stage.COMMITTED:
            return  # a later spelling of the same root is under way, or will be once the bytes are there again
        piece.tries += 1
        if entry.nonce == refused.nonce or piece.tries > SIGNED_AGAIN_MAX:
            self._forget(piece.name, refused.reason)
        self._number_again(refused.nonce)

    def _number_again(self, nonce: int) -> None:
        """Give every root that waits for its receipt the number it must have now; one that has it stays as it is."""
        if self.joining:
            return  # the registration's own entries take the next numbers; what was refused waits for them
        self.nonce = nonce
        for piece in self._at(Stage.COMMITTED):
            if piece.sent and piece.sent[-1].nonce == self.nonce:
                self.nonce += 1
            else:
                self._sign(piece)

    def _challenged(self, challenge: wire.Challenge) -> None:
        """Open the leaves of a piece, if they give the root that was signed, or nobody knows of one after a restart."""
        name, payload = challenge.job_id, challenge.payload
        if name in self.held and self.held[name].stage is not Stage.COMMITTED:
            self._say.append(Tell(f"piece {name} is not opened: its root is not signed yet"))
            return
        try:
            assignment = assignment_of(name, payload, self.chain_id, self.worker.key.public)
            if len(challenge.outputs) != len(payload.blocks):
                raise MalformedError("challenge", f"{len(challenge.outputs)} outputs for {len(payload.blocks)} blocks")
            openings = self.worker.open(assignment, [bytes.fromhex(each) for each in challenge.outputs]) or ()
            self._check_known(name, assignment.job, merkle.root([opening.leaf for opening in openings]))
        except TallyError as error:
            self._say.append(Tell(f"piece {name} is not opened: {error}"))
            return
        self._say.append(Send(wire.OpeningMessage(name, spelled(openings))))

    def _check_known(self, name: str, order: bytes, root: bytes) -> None:
        known = self.known.get(name)
        if known is not None and (known.order, known.root) != (order, root):
            raise CommitmentError("the bytes that the node shows", expected=known.root.hex(), actual=root.hex())

    def _cancelled(self, cancel: wire.Cancel) -> None:
        self._forget(cancel.job_id, cancel.reason)

    def _forget(self, name: str, why: str) -> None:
        """Let go of a piece that the node wants no more; what was signed is still remembered, and can be opened."""
        piece = self.held.get(name)
        if piece is not None:
            self._say.append(Tell(f"piece {name} is called back: {why}"))
            self._let_go(piece)

    def _let_go(self, piece: Piece) -> None:
        del self.held[piece.name]
        self._say.append(Drop(piece.name))

    def _know(self, name: str, known: Known) -> None:
        self.known[name] = known
        self.known.move_to_end(name)
        while len(self.known) > KNOWN_MAX:
            self.known.popitem(last=False)

    def _drain(self) -> None:
        if not self.draining and self.line is Line.OPEN:
            self._say.append(Send(wire.Drain()))
        self.draining = True

    def _tick(self, now: int) -> None:
        """Keep the rhythm, and drop what nobody waits for any more."""
        for piece in [piece for piece in self.held.values() if piece.stage is not Stage.COMMITTED]:
            if now > piece.payload.lease_ends + LEASE_GRACE_MS:
                self._say.append(Tell(f"piece {piece.name} is given up: its lease ended"))
                self._let_go(piece)
        if self.line is Line.OPEN and not 0 <= now - self._beat < self.heartbeat_ms:
            self._beat = now
            self._say.append(Send(wire.Heartbeat()))

    def _at(self, stage: Stage) -> list[Piece]:
        return [piece for piece in self.held.values() if piece.stage is stage]
