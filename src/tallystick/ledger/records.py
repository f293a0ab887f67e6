"""What the ledger remembers: frozen records under string keys, and the overlay in which one batch writes them.

Wei stand as decimal strings, so the digest of a batch of changes is the digest of canonical JSON.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeVar

import msgspec

from tallystick.errors import FundsError, RuleError, StoreError
from tallystick.job import JobSpec
from tallystick.ledger.payloads import Drawer, Tier
from tallystick.ledger.states import EscrowState, JobPhase
from tallystick.primitives.canonical import encode
from tallystick.primitives.digests import Tag, tagged

LAST_SETTLED: Final = "last-settled"
"""The key of the one LastSettled."""
BURNED: Final = "burned"
"""The account of money that nobody holds any more."""


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind"):
    """Base of everything the ledger remembers."""


class Account(Record, frozen=True, tag="account"):
    """Free wei and the next nonce of an address."""

    balance: str = "0"
    nonce: int = 0


class Node(Record, frozen=True, tag="node"):
    """A registered worker: whose it is, where its pay goes, its bond, and how much of that open jobs hold."""

    worker: str
    operator: str
    payout: str
    tier: Tier
    backend: str
    simulated: bool
    bond: str = "0"
    locked: str = "0"


class Escrow(Record, frozen=True, tag="escrow"):
    """The price of one attempt: what was locked for what, what is still held, and a disputer's bond."""

    requester: str
    state: EscrowState
    work: str
    duplicates: str
    audits: str
    reserve: str
    balance: str
    dispute_bond: str = "0"
    disputer: str = ""


class Job(Record, frozen=True, tag="job"):
    """Where a job is; ``submitted`` is the txHash of the current attempt's JobSubmitted."""

    attempt: int
    phase: JobPhase
    requester: str
    submitted: str
    microjobs: int
    size: int
    slots: int
    progress: int = 0
    assignments_root: str = ""


class Order(Record, frozen=True, tag="order"):
    """The order of one attempt with the digest of its spec and the two commitments, and the block's height."""

    spec: JobSpec
    job: str
    assign_commitment: str
    buyer_commitment: str
    occurred_at: int
    height: int


class Result(Record, frozen=True, tag="result"):
    """A worker's root for one micro job, the time of the block that logged it, and the entry's txHash."""

    worker: str
    root: str
    tree_size: int
    class_id: str
    signature: str
    time: int
    tx_hash: str


class Moved(Record, frozen=True, tag="moved"):
    """Which seat holds a micro job that was taken from the seat of its plan, and how often it was moved."""

    seat: int
    moves: int


class Closing(Record, frozen=True, tag="closing"):
    """How the uploads of an attempt closed, in which block, and the challenge drawn after it."""

    height: int
    roots_root: str
    missing: tuple[int, ...]
    started: int
    challenge: str = ""
    secret: str = ""
    drawn_by: Drawer | None = None


class Seen(Record, frozen=True, tag="seen"):
    """An event key that is taken, by which transaction."""

    tx_hash: str


class Sealed(Record, frozen=True, tag="sealed"):
    """The hash and the time of a block's header; written after the header, so never part of its own state root."""

    header: str
    time: int


class LastSettled(Record, frozen=True, tag="last-settled"):
    """Height of the block with the newest JobSettled: a block of version 1 holds at most one."""

    height: int


class Anchor(Record, frozen=True, tag="anchor"):
    """The newest anchored checkpoint on one chain."""

    size: int
    root: str
    tx_hash: str


AnyRecord = Account | Node | Escrow | Job | Order | Result | Moved | Closing | Seen | Sealed | LastSettled | Anchor
R = TypeVar("R", bound=Record)


class View(Protocol):
    """Committed state, read by key."""

    def get(self, key: str) -> Record | None:
        """Return the record under a key, or None."""
        ...


@dataclass(slots=True)
class Overlay:
    """Writes over a view; nothing below changes until the owner merges ``writes``.

    ``imbalance`` is the sum of credits less debits; a transaction that leaves it other than zero is refused.
    """

    base: View
    writes: dict[str, Record] = field(default_factory=dict)
    imbalance: int = 0

    def get(self, key: str) -> Record | None:
        """Return the newest record under a key, or None."""
        found = self.writes.get(key)
        return self.base.get(key) if found is None else found

    def find(self, kind: type[R], key: str) -> R | None:
        """Return the record of a kind under a key, or None.

        Raises:
            StoreError: another kind of record stands there.
        """
        found = self.get(key)
        if found is None:
            return None
        if not isinstance(found, kind):
            raise StoreError(f"{key} holds a {type(found).__name__}, not a {kind.__name__}")
        return found

    def need(self, kind: type[R], key: str) -> R:
        """Return the record of a kind under a key.

        Raises:
            RuleError: there is none.
        """
        found = self.find(kind, key)
        if found is None:
            raise RuleError(f"no {kind.__name__.lower()} is known under {key}")
        return found

    def put(self, key: str, record: Record) -> None:
        """Write a record."""
        self.writes[key] = record

    def credit(self, address: str, amount: int) -> None:
        """Add wei to an account."""
        if amount:
            account = self.find(Account, account_key(address)) or Account()
            balance = str(int(account.balance) + amount)
            self.put(account_key(address), msgspec.structs.replace(account, balance=balance))
            self.imbalance += amount

    def debit(self, address: str, amount: int) -> None:
        """Take wei from an account.

        Raises:
            FundsError: it holds less.
        """
        if amount:
            account = self.find(Account, account_key(address)) or Account()
            if int(account.balance) < amount:
                raise FundsError(f"{address} holds {account.balance} wei, {amount} are needed")
            balance = str(int(account.balance) - amount)
            self.put(account_key(address), msgspec.structs.replace(account, balance=balance))
            self.imbalance -= amount

    def bond(self, node: Node, *, change: int, locked: int = 0) -> Node:
        """Change a worker's bond and how much of it is locked, and return the new record.

        Raises:
            FundsError: either would fall below zero, or the lock above the bond.
        """
        bond, lock = int(node.bond) + change, int(node.locked) + locked
        if not 0 <= lock <= bond:
            raise FundsError(f"bond of {node.worker} would be {bond} wei with {lock} locked")
        changed = msgspec.structs.replace(node, bond=str(bond), locked=str(lock))
        self.put(node_key(node.worker), changed)
        self.imbalance += change
        return changed


@dataclass(frozen=True, slots=True)
class Changes:
    """What one accepted transaction does: its writes, its gas, and the results' root if it settles a job."""

    writes: Mapping[str, Record]
    gas: int
    results_root: bytes | None = None


def state_root(previous: bytes, writes: Mapping[str, Record]) -> bytes:
    """Return the state root of version 1: H(previous | digest of the block's net changes)."""
    return tagged(Tag.STATE, previous, tagged(Tag.CHANGES, encode(dict(writes))))


def account_key(address: str) -> str:
    """Key of an account."""
    return f"account/{address}"


def node_key(worker: str) -> str:
    """Key of a worker's registration, by its public key in hex."""
    return f"node/{worker}"


def escrow_key(job_id: str, attempt: int) -> str:
    """Key of an attempt's escrow."""
    return f"escrow/{job_id}/{attempt}"


def job_key(job_id: str) -> str:
    """Key of a job."""
    return f"job/{job_id}"


def order_key(job_id: str, attempt: int) -> str:
    """Key of an attempt's order."""
    return f"order/{job_id}/{attempt}"


def result_key(job_id: str, attempt: int, microjob: int) -> str:
    """Key of a micro job's posted root."""
    return f"result/{job_id}/{attempt}/{microjob}"


def moved_key(job_id: str, attempt: int, microjob: int) -> str:
    """Key of who holds a micro job that was moved."""
    return f"moved/{job_id}/{attempt}/{microjob}"


def closing_key(job_id: str, attempt: int) -> str:
    """Key of how an attempt's uploads closed."""
    return f"closing/{job_id}/{attempt}"


def seen_key(address: str, event: str) -> str:
    """Key of a used event key, unique per account."""
    return f"seen/{address}/{event}"


def header_key(height: int) -> str:
    """Key of a block's header."""
    return f"header/{height}"


def anchor_key(chain: str) -> str:
    """Key of the newest anchor on a chain."""
    return f"anchor/{chain}"


def supply(records: Mapping[str, Record]) -> int:
    """Return the sum over accounts (burned included), bonds and escrows: constant for ever."""
    return sum(_money(records))


def _money(records: Mapping[str, Record]) -> Iterator[int]:
    for record in records.values():
        if isinstance(record, Account):
            yield int(record.balance)
        elif isinstance(record, Node):
            yield int(record.bond)
        elif isinstance(record, Escrow):
            yield int(record.balance) + int(record.dispute_bond)
