"""The check of a whole log, as a numbered plan (docs/spec/audit.md, "A whole log"); numbers stand again at the code.

1 genesis     it is canonical, and the pinned one: chain id, log, coordinator
2 checkpoint  the pinned log key signed it, for the pinned origin and range
3 tiles       every entry up to the checkpoint is shown and they hash to its root; tiles of hashes agree where shown
4 entries     each is canonical, signed by its sender, of this chain; a coordinator's key within its pinned range
5 replay      block by block, apply() gives exactly the header: roots, gas, nonce, time; the log ends in a header
6 money       after every block the supply is what the genesis allocates; no ended job has an escrow under lock
7 contents    what the log holds: entries, blocks, jobs by phase, escrows still open
8 anchors     every Anchored entry names the root that the log had at its size; what is known of the newest

Bytes in, report out. Entries are read twice, bundle by bundle, and never held: once for the root, once for the replay,
whose own tree must end in the same root; a third time where there are anchors. Verdicts are not here: a job's bundle
shows those.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Final

import msgspec

from tallystick.audit import entries as record
from tallystick.audit import shelf
from tallystick.audit.anchors import Inquiry
from tallystick.audit.findings import Report, report
from tallystick.audit.log_anchors import Stated, log_finding
from tallystick.audit.plan import Remark, Step, walk
from tallystick.audit.shelf import Fetch
from tallystick.audit.trust import Trust
from tallystick.errors import IncompleteError, MalformedError, RuleError, TallyError, VerificationError
from tallystick.ledger import machine
from tallystick.ledger.context import gas_of
from tallystick.ledger.fold import Replayed, initial_records, replay_block, start
from tallystick.ledger.genesis import Genesis, chain_id
from tallystick.ledger.payloads import Anchored, BlockHeader
from tallystick.ledger.records import Escrow, Job, Record, job_key, supply
from tallystick.ledger.states import OPEN_PHASES, EscrowState, JobPhase
from tallystick.ledger.transactions import Transaction, decode
from tallystick.primitives import canonical
from tallystick.primitives.amounts import Wei, format_cpc
from tallystick.primitives.notes import Checkpoint

_HELD: Final = frozenset({EscrowState.LOCKED, EscrowState.DISPUTED})
_UNSETTLED: Final = OPEN_PHASES - {JobPhase.SETTLED}


@dataclass(frozen=True, slots=True)
class ShownLog:
    """What somebody lays on the table: the genesis, a checkpoint that was read before any tile, and the tiles."""

    genesis: bytes
    checkpoint: bytes
    fetch: Fetch


class Replay:
    """The ledger as it follows from the log, block by block; after a refusal it stands still."""

    def __init__(self, genesis: Genesis) -> None:
        """Begin with the allocations."""
        self.genesis = genesis
        self.position = start(genesis)
        self.records = initial_records(genesis)
        self.supply = self.allocated = supply(self.records)
        self.refusal: TallyError | None = None
        self.leak: VerificationError | None = None
        self._waiting: list[bytes] = []
        self._gas = 0

    def get(self, key: str) -> Record | None:
        """Return the record under a key, or None."""
        return self.records.get(key)

    def take(self, transaction: Transaction) -> None:
        """Take the next entry, whose signature is checked; a header closes the block and is held against it."""
        if self.refusal is None:
            try:
                self._take(transaction)
            except TallyError as error:
                self.refusal = error

    def end(self, checkpoint: Checkpoint) -> None:
        """Close the book.

        Raises:
            TallyError: a block was refused: the first.
            VerificationError: entries are left without a header.
            IncompleteError: the entries are not those that were hashed before.
        """
        if self.refusal is not None:
            raise self.refusal
        if self._waiting:
            actual = f"{len(self._waiting)} entries without one"
            raise VerificationError("end of the log", expected="the header of the last block", actual=actual)
        if (self.position.tree.size, self.position.tree.root()) != (checkpoint.size, checkpoint.root):
            raise IncompleteError("the entries changed while they were read: verify again")

    def _take(self, transaction: Transaction) -> None:
        self._waiting.append(transaction.entry)
        self._gas += gas_of(transaction)
        height = self.position.tip.height + 1
        if self._gas > self.genesis.gas_limit:
            raise RuleError(f"block {height} uses more than the {self.genesis.gas_limit} gas that are allowed")
        if isinstance(transaction.payload, BlockHeader):
            # No signatures here: step 4 checks each before it hands the entry on.
            try:
                replayed = replay_block(self.genesis, self.position, self, self._waiting)
            except RuleError as error:
                raise RuleError(f"block {height}: {error}") from error
            except VerificationError as error:
                raise _placed(error, height) from error
            self.merge(replayed)

    def merge(self, replayed: Replayed) -> None:
        """Take over what a block writes, and weigh its money against what stood there."""
        before = {key: self.records[key] for key in replayed.writes if key in self.records}
        self.supply += supply(replayed.writes) - supply(before)
        self.records.update(replayed.writes)
        self.position, self._waiting, self._gas = replayed.position, [], 0
        if self.leak is None and self.supply != self.allocated:
            what = f"supply after block {self.position.tip.height}"
            self.leak = VerificationError(what, expected=f"{self.allocated} wei", actual=f"{self.supply} wei")


@dataclass(slots=True)
class History:
    """One audit under way; each step leaves here what later steps build on, and runs only after those."""

    shown: ShownLog
    trust: Trust
    inquiry: Inquiry | None = None
    genesis: Genesis = field(init=False)
    checkpoint: Checkpoint = field(init=False)
    replay: Replay = field(init=False)
    anchored: list[Stated] = field(default_factory=list)


def _genesis(audit: History) -> str:  # (1)
    audit.genesis = canonical.decode(audit.shown.genesis, Genesis, what="genesis")
    record.check_genesis(audit.genesis, audit.trust)
    return f"chain {audit.trust.chain_id}, log {audit.trust.log.origin}"


def _checkpoint(audit: History) -> str:  # (2)
    try:
        note = audit.shown.checkpoint.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedError("checkpoint", "it is no UTF-8") from error
    audit.checkpoint = record.open_checkpoint(note, audit.trust)
    return f"{audit.checkpoint.size} entries, signed by {audit.trust.log.origin}"


def _tiles(audit: History) -> str:  # (3)
    tree = shelf.check_root(audit.shown.fetch, audit.checkpoint)
    shown, total = shelf.check_tiles(audit.shown.fetch, tree)
    return f"{tree.size} entries give the signed root; {shown} of {total} tiles of hashes are shown, and agree"


def _entries(audit: History) -> str:  # (4)
    audit.replay, name = Replay(audit.genesis), chain_id(audit.genesis)
    bundles = shelf.entries(audit.shown.fetch, audit.checkpoint.size)
    for index, entry in enumerate(chain.from_iterable(bundles)):
        transaction = _checked(entry, index, name, audit.trust)
        if isinstance(transaction.payload, Anchored):
            audit.anchored.append((index, transaction.payload))
        audit.replay.take(transaction)
    return f"{audit.checkpoint.size} entries are canonical, signed, and of this chain"


def _checked(entry: bytes, index: int, name: str, trust: Trust) -> Transaction:
    try:
        transaction = decode(entry)
        machine.check(transaction, name)
    except MalformedError as error:
        raise MalformedError(f"entry {index}", error.detail) from error
    except VerificationError as error:
        raise VerificationError(f"{error.what}, entry {index}", expected=error.expected, actual=error.actual) from error
    record.check_pinned_range(transaction, index, trust)
    return transaction


def _replay(audit: History) -> str:  # (5)
    audit.replay.end(audit.checkpoint)
    return f"blocks 1 to {audit.replay.position.tip.height} give exactly their headers"


def _money(audit: History) -> str:  # (6)
    if audit.replay.leak is not None:
        raise audit.replay.leak
    check_escrows(audit.replay.records)
    total = format_cpc(Wei(audit.replay.supply))
    return f"the supply is {total} CPC after every block; no ended job has an escrow under lock"


def _contents(audit: History) -> str:  # (7)
    records = audit.replay.records
    jobs = Counter(each.phase for each in records.values() if isinstance(each, Job))
    phases = ", ".join(f"{jobs[phase]} {phase.value}" for phase in JobPhase if jobs[phase]) or "none"
    held = [int(escrow.balance) + int(escrow.dispute_bond) for _, escrow in _held(records)]
    escrows = f"{len(held)} with {format_cpc(Wei(sum(held)))} CPC" if held else "none"
    height = audit.replay.position.tip.height
    return Remark(f"{audit.checkpoint.size} entries in {height} blocks; jobs: {phases}; open escrows: {escrows}")


def _anchors(audit: History) -> str:  # (8)
    return log_finding(audit.shown.fetch, audit.checkpoint, audit.anchored, audit.trust, audit.inquiry)


PLAN: Final = (
    Step(1, "genesis", (), _genesis),
    Step(2, "checkpoint", (), _checkpoint),
    Step(3, "tiles", (2,), _tiles),
    Step(4, "entries", (1, 3), _entries),
    Step(5, "replay", (4,), _replay),
    Step(6, "money", (5,), _money),
    Step(7, "contents", (5,), _contents),
    Step(8, "anchors", (4,), _anchors),
)


def verify_history(shown: ShownLog, trust: Trust, inquiry: Inquiry | None = None) -> Report:
    """Check a whole log against what is pinned: every entry, every block, every wei, up to its checkpoint.

    ``inquiry`` is a chain to be asked for the newest anchor.
    """
    return report(walk(PLAN, History(shown, trust, inquiry)))


def check_escrows(records: Mapping[str, Record]) -> None:
    """Check that no attempt that settled, failed or was followed by another still holds its price.

    Raises:
        VerificationError: one does.
    """
    for key, escrow in _held(records):
        _, job_id, attempt = key.split("/")
        job = records.get(job_key(job_id))
        if not isinstance(job, Job) or int(attempt) > job.attempt:
            continue
        if int(attempt) < job.attempt or job.phase not in _UNSETTLED:
            what = f"escrow of job {job_id}, attempt {attempt}, which is over"
            raise VerificationError(what, expected="paid out", actual=f"{escrow.state.value}, {escrow.balance} wei")


def _held(records: Mapping[str, Record]) -> Iterator[tuple[str, Escrow]]:
    """Yield the escrows that hold money."""
    for key, each in records.items():
        if isinstance(each, Escrow) and each.state in _HELD:
            yield key, each


def _placed(error: VerificationError, height: int) -> VerificationError:
    """Say in which block; of two headers only what differs."""
    what, expected, actual = error.what, error.expected, error.actual
    if isinstance(expected, BlockHeader) and isinstance(actual, BlockHeader):
        due, stated = msgspec.structs.asdict(expected), msgspec.structs.asdict(actual)
        names = [name for name in due if due[name] != stated[name]]
        what = f"{', '.join(names)} of the header"
        expected, actual = (", ".join(str(each[name]) for name in names) for each in (due, stated))
    return VerificationError(f"{what} in block {height}", expected=expected, actual=actual)
