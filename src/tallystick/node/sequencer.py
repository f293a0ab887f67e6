"""Makes blocks: numbers and signs drafts, applies them in order, closes with a header, signs the checkpoint.

Pure: the same position, state, submissions and time give the same block. Whether it becomes durable is the engine's
business; until then nothing of it counts. A checkpoint always extends the position it was made from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from tallystick.errors import BlockFullError, RuleError, StoreError, TallyError
from tallystick.ledger import machine
from tallystick.ledger.block import Tip, check_header, header_payload, next_tip
from tallystick.ledger.context import Context
from tallystick.ledger.genesis import Genesis, chain_id, genesis_digest
from tallystick.ledger.payloads import BlockHeader, JobSettled
from tallystick.ledger.records import Account, Overlay, Record, Sealed, View, account_key, header_key
from tallystick.ledger.transactions import Draft, Transaction, decode, sign
from tallystick.primitives.keys import SigningKey, address_of
from tallystick.primitives.merkle import CompactRange, CompactRangeBuilder, leaf_hash
from tallystick.primitives.notes import Checkpoint, NoteSigner

Item = Draft | Transaction


@dataclass(frozen=True, slots=True)
class Submission:
    """Transactions that enter one block together or not at all, and private values that become durable with them."""

    items: tuple[Item, ...]
    private: tuple[tuple[str, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class Accepted:
    """A submission that stands in the block; ``indices`` are log positions."""

    transactions: tuple[Transaction, ...]
    indices: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """A submission that the rules refuse, with the reason; nothing of it happened."""

    error: TallyError


Outcome = Accepted | Refused


@dataclass(frozen=True, slots=True)
class Position:
    """Where the log and the ledger stand between two blocks."""

    tip: Tip
    tree: CompactRange


@dataclass(frozen=True, slots=True)
class Block:
    """A block that is ready to become durable, and everything that follows from it."""

    first: int
    transactions: tuple[Transaction, ...]
    header: Transaction
    writes: Mapping[str, Record]
    private: tuple[tuple[str, bytes], ...]
    checkpoint: str
    position: Position
    outcomes: tuple[Outcome, ...]
    context: Context

    @property
    def entries(self) -> tuple[bytes, ...]:
        """The entries as they stand in the log, the header last."""
        return (*(transaction.entry for transaction in self.transactions), self.header.entry)


@dataclass(frozen=True, slots=True)
class Parameters:
    """What a sequencer is made with; the two keys never leave it."""

    genesis: Genesis
    coordinator: SigningKey = field(repr=False)
    log: NoteSigner = field(repr=False)

    @property
    def chain_id(self) -> str:
        """The ledger's name."""
        return chain_id(self.genesis)


def start(genesis: Genesis) -> Position:
    """Return the position before the first block."""
    tip = Tip(height=0, header=genesis_digest(genesis), state_root=bytes(32), time=genesis.time)
    return Position(tip, CompactRange())


def initial_records(genesis: Genesis) -> dict[str, Record]:
    """Return the state at height zero: the allocations."""
    return {account_key(each.address): Account(balance=each.amount) for each in genesis.allocations}


def context_at(genesis: Genesis, tip: Tip, now: int) -> Context:
    """Return the context of the next block; block times never run backwards."""
    return Context(
        chain_id=chain_id(genesis),
        coordinator=bytes.fromhex(genesis.coordinator),
        arbiter=bytes.fromhex(genesis.arbiter),
        gas_price_min=genesis.gas_price_min,
        gas_limit=genesis.gas_limit,
        height=tip.height + 1,
        time=max(now, tip.time),
    )


@dataclass(slots=True)
class _Draft:
    """A block in the making."""

    overlay: Overlay
    context: Context
    transactions: list[Transaction] = field(default_factory=list)
    private: list[tuple[str, bytes]] = field(default_factory=list)
    gas: int = 0
    results_root: bytes | None = None


def make_block(
    parameters: Parameters, position: Position, view: View, submissions: Sequence[Submission], now: int
) -> Block | tuple[Outcome, ...]:
    """Apply submissions in order and close the block; only the outcomes when none was accepted (no empty blocks)."""
    context = context_at(parameters.genesis, position.tip, now)
    draft = _Draft(Overlay(view), context)
    outcomes = tuple(_take(parameters, position, draft, submission) for submission in submissions)
    if not draft.transactions:
        return outcomes
    tree = CompactRangeBuilder(position.tree)
    tree.extend(leaf_hash(transaction.entry) for transaction in draft.transactions)
    nonce = _next_nonce(draft.overlay, parameters.coordinator.address)
    header = header_payload(
        position.tip,
        context,
        tx_root=tree.root(),
        writes=_with_nonce(draft.overlay, parameters.coordinator.address, nonce + 1).writes,
        gas_used=draft.gas,
        results_root=draft.results_root,
    )
    signed = sign(Draft(parameters.coordinator, header), context.chain_id, nonce)
    tree.append(leaf_hash(signed.entry))
    return _close(parameters, position, draft, outcomes, signed, tree.freeze())


def _close(
    parameters: Parameters,
    position: Position,
    draft: _Draft,
    outcomes: tuple[Outcome, ...],
    header: Transaction,
    tree: CompactRange,
) -> Block:
    writes = dict(draft.overlay.writes)
    writes[header_key(draft.context.height)] = Sealed(header.digest.hex(), draft.context.time)
    note = Checkpoint(parameters.genesis.log_origin, tree.size, tree.root())
    return Block(
        first=position.tree.size,
        transactions=tuple(draft.transactions),
        header=header,
        writes=writes,
        private=tuple(draft.private),
        checkpoint=parameters.log.sign(note.text()),
        position=Position(next_tip(position.tip, header), tree),
        outcomes=outcomes,
        context=draft.context,
    )


def _take(parameters: Parameters, position: Position, draft: _Draft, submission: Submission) -> Outcome:
    """Apply one submission over the block so far, all of it or nothing."""
    trial = Overlay(draft.overlay)
    gas, results_root, taken = draft.gas, draft.results_root, list[Transaction]()
    try:
        for item in submission.items:
            transaction = _signed(parameters, trial, item)
            if isinstance(transaction.payload, JobSettled) and results_root is not None:
                raise BlockFullError("the block holds a settlement already: send it again")
            changes = machine.apply(trial, transaction, draft.context)
            trial.writes.update(changes.writes)
            gas += changes.gas
            if gas > draft.context.gas_limit:
                raise _over_the_limit(draft)
            results_root = changes.results_root or results_root
            taken.append(transaction)
    except StoreError:
        raise
    except TallyError as error:
        return Refused(error)
    first = position.tree.size + len(draft.transactions)
    draft.overlay.writes.update(trial.writes)
    draft.transactions += taken
    draft.private += submission.private
    draft.gas, draft.results_root = gas, results_root
    return Accepted(tuple(taken), tuple(range(first, first + len(taken))))


def _over_the_limit(draft: _Draft) -> RuleError:
    """Return why gas ran out: others came first, or it would never fit."""
    limit = draft.context.gas_limit
    if draft.transactions:
        return BlockFullError(f"the block's gas limit of {limit} is reached: send it again")
    return RuleError(f"it needs more gas than the {limit} of a whole block: split it")


def _signed(parameters: Parameters, view: View, item: Item) -> Transaction:
    """Return a verified transaction; what we sign ourselves is read back, since the log takes only what decodes."""
    if isinstance(item, Transaction):
        machine.check(item, parameters.chain_id)
        return item
    return decode(sign(item, parameters.chain_id, _next_nonce(view, address_of(item.key.public))).entry)


def _next_nonce(view: View, address: str) -> int:
    account = view.get(account_key(address))
    return account.nonce if isinstance(account, Account) else 0


def _with_nonce(overlay: Overlay, address: str, nonce: int) -> Overlay:
    """Write the coordinator's nonce after the header, so that the header's own state root covers it."""
    account = overlay.find(Account, account_key(address)) or Account()
    overlay.put(account_key(address), msgspec.structs.replace(account, nonce=nonce))
    return overlay


def replay_block(genesis: Genesis, position: Position, view: View, entries: Sequence[bytes]) -> Replayed:
    """Apply a block read back from a log, its header last, and check the header against the result.

    Raises:
        VerificationError: the header is not the one these entries give.
        RuleError: an entry breaks a rule; the log was not made by these rules.
    """
    header = decode(entries[-1])
    if not isinstance(header.payload, BlockHeader):
        raise StoreError("the log does not end in a block header")
    context = context_at(genesis, position.tip, header.payload.time)
    draft = _Draft(Overlay(view), context)
    for entry in entries[:-1]:
        transaction = decode(entry)
        changes = machine.apply(draft.overlay, transaction, context)
        draft.overlay.writes.update(changes.writes)
        draft.gas += changes.gas
        draft.results_root = changes.results_root or draft.results_root
        draft.transactions.append(transaction)
    tree = CompactRangeBuilder(position.tree)
    tree.extend(leaf_hash(entry) for entry in entries[:-1])
    address = context.coordinator_address
    _with_nonce(draft.overlay, address, header.nonce + 1)
    expected = header_payload(
        position.tip,
        context,
        tx_root=tree.root(),
        writes=draft.overlay.writes,
        gas_used=draft.gas,
        results_root=draft.results_root,
    )
    check_header(header, expected, context)
    tree.append(leaf_hash(header.entry))
    writes = dict(draft.overlay.writes)
    writes[header_key(context.height)] = Sealed(header.digest.hex(), context.time)
    return Replayed(Position(next_tip(position.tip, header), tree.freeze()), writes, tuple(draft.transactions), header)


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a block read back from the log gives."""

    position: Position
    writes: Mapping[str, Record]
    transactions: tuple[Transaction, ...]
    header: Transaction
