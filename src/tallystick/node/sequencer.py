"""Makes blocks: numbers and signs drafts, applies them in order, closes with a header, signs the checkpoint.

Pure: the same position, state, submissions and time give the same block. Whether it becomes durable is the engine's
business; until then nothing of it counts. A checkpoint always extends the position it was made from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tallystick.errors import BlockFullError, RuleError, StoreError, TallyError
from tallystick.ledger import machine
from tallystick.ledger.context import Context
from tallystick.ledger.fold import OpenBlock, Position, close, context_at, next_nonce, seal
from tallystick.ledger.genesis import Genesis, chain_id
from tallystick.ledger.payloads import JobSettled
from tallystick.ledger.records import Overlay, Record, View
from tallystick.ledger.transactions import Draft, Transaction, decode, sign
from tallystick.primitives.keys import SigningKey, address_of
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


@dataclass(slots=True)
class _Draft:
    """A block in the making, and the private values that become durable with it."""

    block: OpenBlock
    private: list[tuple[str, bytes]] = field(default_factory=list)


def make_block(
    parameters: Parameters, position: Position, view: View, submissions: Sequence[Submission], now: int
) -> Block | tuple[Outcome, ...]:
    """Apply submissions in order and close the block; only the outcomes when none was accepted (no empty blocks)."""
    draft = _Draft(OpenBlock(Overlay(view), context_at(parameters.genesis, position.tip, now)))
    outcomes = tuple(_take(parameters, position, draft, submission) for submission in submissions)
    return _close(parameters, position, draft, outcomes) if draft.block.transactions else outcomes


def _close(parameters: Parameters, position: Position, draft: _Draft, outcomes: tuple[Outcome, ...]) -> Block:
    """Sign the header and the checkpoint that fixes it."""
    closing = close(position, draft.block)
    header = sign(Draft(parameters.coordinator, closing.header), draft.block.context.chain_id, closing.nonce)
    sealed = seal(position, draft.block, closing, header)
    tree = sealed.position.tree
    note = Checkpoint(parameters.genesis.log_origin, tree.size, tree.root())
    return Block(
        first=position.tree.size,
        transactions=sealed.transactions,
        header=header,
        writes=sealed.writes,
        private=tuple(draft.private),
        checkpoint=parameters.log.sign(note.text()),
        position=sealed.position,
        outcomes=outcomes,
        context=draft.block.context,
    )


def _take(parameters: Parameters, position: Position, draft: _Draft, submission: Submission) -> Outcome:
    """Apply one submission over the block so far, all of it or nothing."""
    block = draft.block
    trial = Overlay(block.overlay)
    gas, results_root, taken = block.gas, block.results_root, list[Transaction]()
    try:
        for item in submission.items:
            transaction = _signed(parameters, trial, item)
            if isinstance(transaction.payload, JobSettled) and results_root is not None:
                raise BlockFullError("the block holds a settlement already: send it again")
            changes = machine.apply(trial, transaction, block.context)
            trial.writes.update(changes.writes)
            gas += changes.gas
            if gas > block.context.gas_limit:
                raise _over_the_limit(block)
            results_root = changes.results_root or results_root
            taken.append(transaction)
    except StoreError:
        raise
    except TallyError as error:
        return Refused(error)
    first = position.tree.size + len(block.transactions)
    block.overlay.writes.update(trial.writes)
    block.transactions += taken
    draft.private += submission.private
    block.gas, block.results_root = gas, results_root
    return Accepted(tuple(taken), tuple(range(first, first + len(taken))))


def _over_the_limit(block: OpenBlock) -> RuleError:
    """Return why gas ran out: others came first, or it would never fit."""
    limit = block.context.gas_limit
    if block.transactions:
        return BlockFullError(f"the block's gas limit of {limit} is reached: send it again")
    return RuleError(f"it needs more gas than the {limit} of a whole block: split it")


def _signed(parameters: Parameters, view: View, item: Item) -> Transaction:
    """Return a verified transaction; what we sign ourselves is read back, since the log takes only what decodes."""
    if isinstance(item, Transaction):
        machine.check(item, parameters.chain_id)
        return item
    return decode(sign(item, parameters.chain_id, next_nonce(view, address_of(item.key.public))).entry)
