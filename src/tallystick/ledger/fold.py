"""The fold: how a log becomes state, block by block. Whoever writes a log and whoever reads it use these functions.

Pure: a position, a view and entries give the next position and the writes, or a refusal that says where they part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from tallystick.errors import MalformedError, NonceError, RuleError
from tallystick.ledger import machine
from tallystick.ledger.block import Tip, check_header, header_payload, next_tip
from tallystick.ledger.context import Context
from tallystick.ledger.genesis import Genesis, chain_id, genesis_digest
from tallystick.ledger.payloads import BlockHeader
from tallystick.ledger.records import Account, Overlay, Record, Sealed, View, account_key, header_key
from tallystick.ledger.transactions import Transaction, decode
from tallystick.primitives.merkle import CompactRange, CompactRangeBuilder, leaf_hash


@dataclass(frozen=True, slots=True)
class Position:
    """Where the log and the ledger stand between two blocks."""

    tip: Tip
    tree: CompactRange


@dataclass(slots=True)
class OpenBlock:
    """A block before its header: what was accepted so far, over committed state."""

    overlay: Overlay
    context: Context
    transactions: list[Transaction] = field(default_factory=list)
    gas: int = 0
    results_root: bytes | None = None


@dataclass(frozen=True, slots=True)
class Closing:
    """What closes a block: the only header that fits it, the header's nonce, and the tree before the header."""

    header: BlockHeader
    nonce: int
    tree: CompactRangeBuilder


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a block read back from a log gives."""

    position: Position
    writes: Mapping[str, Record]
    transactions: tuple[Transaction, ...]
    header: Transaction


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


def next_nonce(view: View, address: str) -> int:
    """Return the nonce of an address's next transaction."""
    account = view.get(account_key(address))
    return account.nonce if isinstance(account, Account) else 0


def close(position: Position, block: OpenBlock) -> Closing:
    """Return what closes a block. The header takes the coordinator's next nonce, which its own state root covers."""
    tree = CompactRangeBuilder(position.tree)
    tree.extend(leaf_hash(transaction.entry) for transaction in block.transactions)
    address = block.context.coordinator_address
    account = block.overlay.find(Account, account_key(address)) or Account()
    block.overlay.put(account_key(address), msgspec.structs.replace(account, nonce=account.nonce + 1))
    header = header_payload(
        position.tip,
        block.context,
        tx_root=tree.root(),
        writes=block.overlay.writes,
        gas_used=block.gas,
        results_root=block.results_root,
    )
    return Closing(header, account.nonce, tree)


def seal(position: Position, block: OpenBlock, closing: Closing, header: Transaction) -> Replayed:
    """Return what follows from a closed block: its header's hash and time become a record (ADR 0009)."""
    closing.tree.append(leaf_hash(header.entry))
    writes = dict(block.overlay.writes)
    writes[header_key(block.context.height)] = Sealed(header.digest.hex(), block.context.time)
    after = Position(next_tip(position.tip, header), closing.tree.freeze())
    return Replayed(after, writes, tuple(block.transactions), header)


def replay_block(
    genesis: Genesis, position: Position, view: View, entries: Sequence[bytes], *, signatures: bool = False
) -> Replayed:
    """Apply a block read back from a log, its header last, and check the header against the result.

    ``signatures`` checks those too: a stranger must, a home that wrote the log itself need not.

    Raises:
        MalformedError: an entry does not parse, or the last one is no header.
        VerificationError: the header is not the one these entries give, or a signature fails.
        RuleError: an entry breaks a rule; the log was not made by these rules.
    """
    header = decode(entries[-1])
    if not isinstance(header.payload, BlockHeader):
        raise MalformedError("block", f"it ends in a {header.type} and not in its header")
    block = OpenBlock(Overlay(view), context_at(genesis, position.tip, header.payload.time))
    for entry in entries[:-1]:
        _apply(block, decode(entry), signatures=signatures)
    if block.gas > genesis.gas_limit:
        raise RuleError(f"block {block.context.height} uses {block.gas} gas, {genesis.gas_limit} are allowed")
    closing = close(position, block)
    if header.nonce != closing.nonce:
        raise NonceError(f"the header of block {block.context.height} has nonce {header.nonce}, not {closing.nonce}")
    if signatures:
        machine.check(header, block.context.chain_id)
    check_header(header, closing.header, block.context)
    return seal(position, block, closing, header)


def _apply(block: OpenBlock, transaction: Transaction, *, signatures: bool) -> None:
    if signatures:
        machine.check(transaction, block.context.chain_id)
    changes = machine.apply(block.overlay, transaction, block.context)
    block.overlay.writes.update(changes.writes)
    block.gas += changes.gas
    block.results_root = changes.results_root or block.results_root
    block.transactions.append(transaction)
