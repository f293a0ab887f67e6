"""Rules over accounts and bonds: transfers, registration, staking, anchors."""

from __future__ import annotations

from tallystick.errors import AuthorityError, RuleError, StakeError
from tallystick.ledger import payloads as say
from tallystick.ledger.context import Context
from tallystick.ledger.records import Anchor, Node, Overlay, account_key, anchor_key, node_key
from tallystick.ledger.transactions import Transaction
from tallystick.primitives.amounts import parse_wei
from tallystick.primitives.digests import Tag, sha256, tagged
from tallystick.primitives.keys import check_signature, parse_address


def operator_digest(chain_id: str, worker: bytes, payout: str) -> bytes:
    """Return what an operator signs to answer for a worker and to name where its pay goes."""
    return tagged(Tag.OPERATOR, sha256(chain_id.encode()), worker, parse_address(payout))


def transfer(work: Overlay, transaction: Transaction, payload: say.Transfer) -> None:
    """Move wei between accounts."""
    if work.get(account_key(payload.to)) is None:
        parse_address(payload.to)  # an address that has an account was parsed when it got it
    amount = parse_wei(payload.amount)
    if amount == 0:
        raise RuleError("a transfer moves at least one wei")
    work.debit(transaction.address, amount)
    work.credit(payload.to, amount)


def register(work: Overlay, transaction: Transaction, payload: say.NodeRegistered, context: Context) -> None:
    """Enter a worker with its operator's consent; registering again changes payout and device, not the operator."""
    worker = transaction.sender.hex()
    digest = operator_digest(context.chain_id, transaction.sender, payload.payout)
    check_signature(bytes.fromhex(payload.operator), digest, bytes.fromhex(payload.operator_signature))
    if payload.tier is not say.Tier.DECLARED:
        raise RuleError(f"tier {payload.tier.value} needs evidence, and this ledger can check none yet: use declared")
    known = work.find(Node, node_key(worker))
    if known is not None and (known.operator != payload.operator or known.locked != "0"):
        raise AuthorityError(f"worker {worker} stands under another operator, or has open jobs")
    work.put(
        node_key(worker),
        Node(
            worker=worker,
            operator=payload.operator,
            payout=payload.payout,
            tier=payload.tier,
            backend=payload.backend,
            simulated=payload.simulated,
            bond="0" if known is None else known.bond,
        ),
    )


def deposit(work: Overlay, transaction: Transaction, payload: say.StakeDeposited) -> None:
    """Move wei from a worker's account into its bond."""
    node = work.need(Node, node_key(transaction.sender.hex()))
    amount = parse_wei(payload.amount)
    work.debit(transaction.address, amount)
    work.bond(node, change=amount)


def withdraw(work: Overlay, transaction: Transaction, payload: say.StakeWithdrawn) -> None:
    """Move unlocked wei from a worker's bond back to its account."""
    node = work.need(Node, node_key(transaction.sender.hex()))
    amount = parse_wei(payload.amount)
    free = int(node.bond) - int(node.locked)
    if amount > free:
        raise StakeError(f"{free} wei of the bond are free, {amount} were asked for: wait until the open jobs settle")
    work.bond(node, change=-amount)
    work.credit(transaction.address, amount)


def anchored(work: Overlay, payload: say.Anchored) -> None:
    """Remember the newest anchor of a chain; an older checkpoint never replaces a newer one."""
    known = work.find(Anchor, anchor_key(payload.chain))
    if known is not None and payload.size <= known.size:
        raise RuleError(f"{payload.chain} already anchors size {known.size}; {payload.size} is not newer")
    work.put(anchor_key(payload.chain), Anchor(payload.size, payload.root, payload.tx_hash))


def charge_gas(work: Overlay, transaction: Transaction, context: Context, gas: int) -> None:
    """Take base gas times gas price from the sender for the coordinator.

    Raises:
        RuleError: the gas price is below the ledger's minimum.
    """
    if transaction.gas_price < context.gas_price_min:
        raise RuleError(f"gas price {transaction.gas_price} is below the minimum {context.gas_price_min}")
    fee = gas * transaction.gas_price
    work.debit(transaction.address, fee)
    work.credit(context.coordinator_address, fee)
