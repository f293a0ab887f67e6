"""A block: transactions in order and the header that closes over them, itself the last entry (docs/spec/header.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tallystick.commitment import compute_root
from tallystick.errors import AuthorityError, VerificationError
from tallystick.ledger.context import Context
from tallystick.ledger.payloads import BlockHeader
from tallystick.ledger.records import Record, state_root
from tallystick.ledger.transactions import Transaction

HEADER_VERSION = 1


@dataclass(frozen=True, slots=True)
class Tip:
    """Where a ledger stands: height, hash of the last header (genesis digest at height 0), state root, time."""

    height: int
    header: bytes
    state_root: bytes
    time: int


def header_payload(
    tip: Tip,
    context: Context,
    *,
    tx_root: bytes,
    writes: Mapping[str, Record],
    gas_used: int,
    results_root: bytes | None,
) -> BlockHeader:
    """Return the header over a block: ``tx_root`` is the log's root over every entry before the header.

    A block of version 1 holds at most one JobSettled, so its ``compute_root`` is that job's results' root, or the
    empty tree's.

    Raises:
        VerificationError: the context is not that of the next block, or its gas limit is exceeded.
    """
    if context.height != tip.height + 1 or context.time < tip.time:
        follows, comes = (tip.height + 1, f">= {tip.time}"), (context.height, context.time)
        raise VerificationError("height and time of the block", expected=follows, actual=comes)
    if gas_used > context.gas_limit:
        raise VerificationError("gas used in the block", expected=f"<= {context.gas_limit}", actual=gas_used)
    return BlockHeader(
        version=HEADER_VERSION,
        height=tip.height + 1,
        prev_hash=tip.header.hex(),
        time=context.time,
        chain_id=context.chain_id,
        proposer=context.coordinator_address,
        tx_root=tx_root.hex(),
        state_root=state_root(tip.state_root, writes).hex(),
        compute_root=(compute_root(()) if results_root is None else results_root).hex(),
        gas_used=gas_used,
        gas_limit=context.gas_limit,
    )


def check_header(transaction: Transaction, expected: BlockHeader, context: Context) -> None:
    """Check a header against the one the block gives.

    Raises:
        AuthorityError: it is not the coordinator's.
        VerificationError: a field differs, and both headers are in the error; or it pays for gas.
    """
    if transaction.sender != context.coordinator:
        raise AuthorityError("the header is not signed by the coordinator")
    if transaction.payload != expected:
        raise VerificationError(f"header of height {expected.height}", expected=expected, actual=transaction.payload)
    if transaction.gas_price:
        raise VerificationError("gas price of a header", expected=0, actual=transaction.gas_price)


def next_tip(tip: Tip, header: Transaction) -> Tip:
    """Return where the ledger stands after a header.

    Raises:
        VerificationError: the entry is no header.
    """
    if not isinstance(header.payload, BlockHeader):
        raise VerificationError("entry", expected="BlockHeader", actual=header.type)
    return Tip(tip.height + 1, header.digest, bytes.fromhex(header.payload.state_root), header.payload.time)
