"""An account on a chain behind JSON-RPC: its transactions signed at a fair fee, sent, and looked for.

Knows nonces, legacy and EIP-1559 fees, the cap on them, and what a node says of a transaction that it has already.
Refuses to know what a transaction is for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tallystick.adapters.json_rpc.replies import (
    BlockHead,
    Hash,
    Quantity,
    ReceiptReply,
    TransactionReply,
    count,
    number,
    octets,
)
from tallystick.adapters.json_rpc.transport import JsonRpc, read
from tallystick.anchoring.ethereum import Transaction, read_transaction, transaction_hash
from tallystick.errors import ChainError, ChainRefusedError, UsageError
from tallystick.node.chain import SignedCall
from tallystick.primitives.keys import SigningKey, evm_address_of

GWEI: Final = 10**9
FEE_CAP: Final = 500 * GWEI
DEV_CHAIN_ID: Final = 31337

DEV_ADDRESSES: Final = frozenset(
    {
        "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266",
        "0x70997970C51812dc3A010C7d01b50e0d17dc79C8",
        "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC",
        "0x90F79bf6EB2c4f870365E785982E1f101E93b906",
        "0x15d34AAf54267DB7D7c367839AAf71A00a2C6A65",
        "0x9965507D1a55bcC2695C58ba16FB37d819B0A4dc",
        "0x976EA74026E726554dB657fA54763abd0C3a0aa9",
        "0x14dC79964da2C08b23698B3D3cc7Ca32193d9955",
        "0x23618e81E3f5cdF7f54C3d65f7FBc0aBf5B21E8f",
        "0xa0Ee7A142d267C1f36714E4a8F75612F20a79720",
    }
)
"""The accounts that anvil and hardhat make from a phrase that everybody knows."""

_GAS_MARGIN: Final = 4
"""A quarter above the estimate: the state may change before the transaction lands."""

_BUMP: Final = 8
"""Nodes ask at least a tenth above the earlier fees for a replacement; an eighth satisfies all that were tried."""


@dataclass(frozen=True, slots=True)
class Fees:
    """What one unit of gas may cost; ``tip`` is None where the chain knows one price only (before EIP-1559)."""

    fee: int
    tip: int | None


class Account:
    """One key on one chain, at the fees that its owner caps: ``fee_cap`` is the most for one unit of gas, in wei."""

    def __init__(self, rpc: JsonRpc, chain_id: int, key: SigningKey, fee_cap: int = FEE_CAP) -> None:
        """Take a key; nothing is asked yet.

        Raises:
            UsageError: Everybody knows the key, and the chain is not one for tests.
        """
        self.address: Final = evm_address_of(key.public)
        if self.address in DEV_ADDRESSES and chain_id != DEV_CHAIN_ID:
            raise UsageError(f"the key of {self.address} is public: everybody could spend from it, so use another")
        self._rpc, self._chain_id, self._key, self._fee_cap = rpc, chain_id, key, fee_cap

    def sign(self, call: Mapping[str, str], nonce: int, gas_max: int, bump: SignedCall | None = None) -> SignedCall:
        """Sign a call (``data`` and, unless it creates a contract, ``to``, both as the API spells them).

        Raises:
            ChainRefusedError: It would cost more than the caps allow, or would revert.
        """
        asked = read(self._rpc.call("eth_estimateGas", {"from": self.address, **call}), Quantity, "the estimate of gas")
        gas = count(asked) + count(asked) // _GAS_MARGIN
        if gas > gas_max:
            raise ChainRefusedError(
                f"the call would take {gas} gas, more than {gas_max}: is the contract the right one?"
            )
        fees = self._fees() if bump is None else self._above(bump, self._fees(), nonce)
        transaction = Transaction(
            chain_id=self._chain_id,
            nonce=nonce,
            fee=fees.fee,
            tip=fees.tip,
            gas=gas,
            to=octets(call.get("to", "0x")),
            data=octets(call["data"]),
        )
        raw = transaction.sign(self._key)
        return SignedCall(raw, transaction_hash(raw), nonce, fees.fee)

    def _fees(self) -> Fees:
        """Fair fees of the moment: twice the base fee lasts for five full blocks.

        Raises:
            ChainRefusedError: They are above the cap.
        """
        head: BlockHead = read(self._rpc.call("eth_getBlockByNumber", "latest", False), BlockHead, "the newest block")  # noqa: FBT003
        if head.base_fee_per_gas is None:
            price = self._price()
            return Fees(self._capped(price, price), None)
        base = number(head.base_fee_per_gas)
        tip = self._tip(base)
        fee = self._capped(base, 2 * base + tip)
        return Fees(fee, min(tip, fee))

    def _tip(self, base: int) -> int:
        try:
            return number(read(self._rpc.call("eth_maxPriorityFeePerGas"), Quantity, "the tip"))
        except ChainRefusedError:  # it is no part of the standard API; the price is
            return max(0, self._price() - base)

    def _price(self) -> int:
        return number(read(self._rpc.call("eth_gasPrice"), Quantity, "the price of gas"))

    def _capped(self, needed: int, wanted: int) -> int:
        if needed > self._fee_cap:
            raise ChainRefusedError(
                f"gas costs {_gwei(needed)} gwei, the cap is {_gwei(self._fee_cap)}: wait, or raise the cap"
            )
        return min(wanted, self._fee_cap)

    def _above(self, earlier: SignedCall, fees: Fees, nonce: int) -> Fees:
        """Fees that replace an earlier call's."""
        if earlier.nonce != nonce:
            raise UsageError(f"a call with nonce {earlier.nonce} cannot be replaced by one with nonce {nonce}")
        before, _ = read_transaction(earlier.raw)
        least_fee = _raised(before.fee)
        least_tip = _raised(before.fee if before.tip is None else before.tip)
        fee = self._capped(least_fee, max(fees.fee, least_fee))
        return Fees(fee, None if fees.tip is None else min(fee, max(fees.tip, least_tip)))


def send(rpc: JsonRpc, call: SignedCall) -> None:
    """Hand a transaction in; one that the node has already, waiting or in a block, is no error.

    Raises:
        ChainRefusedError: The node does not take it and does not have it.
        ChainError: Nobody knows.
    """
    try:
        answer = rpc.call("eth_sendRawTransaction", "0x" + call.raw.hex())
    except ChainRefusedError:
        # Nodes have many words for "already known" and "nonce too low"; whether they have it is one question.
        if not _knows(rpc, call.tx_hash):
            raise
        return
    if octets(read(answer, Hash, "the hash of what was sent")) != call.tx_hash:
        raise ChainError(f"{rpc.where} names another transaction than the one that it was sent")


def receipt(rpc: JsonRpc, tx_hash: bytes) -> ReceiptReply | None:
    """Where a transaction stands in the present chain, None while it stands nowhere."""
    answer = rpc.call("eth_getTransactionReceipt", "0x" + tx_hash.hex())
    found: ReceiptReply | None = read(answer, ReceiptReply | None, "the receipt of a transaction")
    if found is not None and octets(found.transaction_hash) != tx_hash:
        raise ChainError(f"{rpc.where} gives the receipt of another transaction")
    return found


def mined_nonce(rpc: JsonRpc, address: str) -> int:
    """How many transactions of an account are in blocks."""
    return _count(rpc.call("eth_getTransactionCount", address, "latest"), "the account's nonce")


def head_number(rpc: JsonRpc) -> int:
    """Number of the newest block."""
    return _count(rpc.call("eth_blockNumber"), "the number of the newest block")


def chain_id_of(rpc: JsonRpc) -> int:
    """The id that the node gives its chain."""
    return _count(rpc.call("eth_chainId"), "the chain id")


def check_chain_id(rpc: JsonRpc, expected: int) -> None:
    """Refuse a node of another chain (``ChainError``)."""
    actual = chain_id_of(rpc)
    if actual != expected:
        raise ChainError(f"{rpc.where} is a node of chain {actual}, not of chain {expected}")


def _knows(rpc: JsonRpc, tx_hash: bytes) -> bool:
    answer = rpc.call("eth_getTransactionByHash", "0x" + tx_hash.hex())
    found: TransactionReply | None = read(answer, TransactionReply | None, "a transaction by its hash")
    return found is not None and octets(found.hash) == tx_hash


def _count(answer: Any, what: str) -> int:  # noqa: ANN401 - an answer that nobody has read
    return count(read(answer, Quantity, what))


def _raised(fee: int) -> int:
    return fee + max(1, -(-fee // _BUMP))


def _gwei(wei: int) -> str:
    whole, rest = divmod(wei, GWEI)
    return f"{whole}.{rest:09}".rstrip("0").rstrip(".")
