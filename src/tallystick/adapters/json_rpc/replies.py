"""What a node says, in types: every number, hash and log of the execution API that is used here, and no other form.

Knows the spelling of the Ethereum execution API (quantities without leading zeros, data with two digits for each byte).
Refuses to know which node said it and whether it is true.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from tallystick.anchoring.erc7053 import CommitEvent, read_event
from tallystick.errors import ChainError, MalformedError
from tallystick.primitives.keys import checksum_evm_address

COUNT_MAX: Final = 2**53 - 1
"""Largest block number, nonce or amount of gas that is believed."""

_END: Final = r"(?![\s\S])"
Quantity = Annotated[str, msgspec.Meta(pattern=rf"^0x(0|[1-9a-fA-F][0-9a-fA-F]{{0,63}}){_END}")]
Hash = Annotated[str, msgspec.Meta(pattern=rf"^0x[0-9a-fA-F]{{64}}{_END}")]
Address = Annotated[str, msgspec.Meta(pattern=rf"^0x[0-9a-fA-F]{{40}}{_END}")]
Data = Annotated[str, msgspec.Meta(pattern=rf"^0x([0-9a-fA-F]{{2}})*{_END}")]


class BlockHead(msgspec.Struct, frozen=True, rename="camel"):
    """A block without its transactions; without ``base_fee_per_gas`` the chain knows legacy fees only."""

    number: Quantity
    hash: Hash
    base_fee_per_gas: Quantity | None = None


class LogReply(msgspec.Struct, frozen=True, rename="camel"):
    """One event in a block."""

    address: Address
    topics: Annotated[tuple[Hash, ...], msgspec.Meta(max_length=4)]
    data: Data
    block_number: Quantity
    block_hash: Hash
    transaction_hash: Hash
    log_index: Quantity
    removed: bool = False

    def order(self) -> tuple[int, int]:
        """Where the event stands in the chain."""
        return count(self.block_number), count(self.log_index)

    def event(self) -> CommitEvent:
        """The ERC-7053 event that it is. Raises ``ChainError`` when it is none."""
        try:
            return read_event(tuple(octets(topic) for topic in self.topics), octets(self.data))
        except MalformedError as error:
            raise ChainError(str(error)) from error


class ReceiptReply(msgspec.Struct, frozen=True, rename="camel"):
    """Where a transaction stands, and what it did."""

    transaction_hash: Hash
    block_number: Quantity
    block_hash: Hash
    status: Quantity
    logs: tuple[LogReply, ...]
    contract_address: Address | None = None


class TransactionReply(msgspec.Struct, frozen=True):
    """A transaction that the node knows, waiting or in a block."""

    hash: Hash


def number(text: str) -> int:
    """The integer of a quantity, below 2^256."""
    return int(text, 16)


def count(text: str) -> int:
    """The integer of a quantity that counts something. Raises ``ChainError`` above ``COUNT_MAX``."""
    value = number(text)
    if value > COUNT_MAX:
        raise ChainError(f"the chain counts to {text}, which no chain has reached")
    return value


def octets(text: str) -> bytes:
    """The bytes of a hash, an address or data."""
    return bytes.fromhex(text[2:])


def checksummed(text: str) -> str:
    """An address in the spelling of EIP-55."""
    return checksum_evm_address(octets(text))
