"""The first page of a ledger: who signs the log, who coordinates, who holds what at height zero.

A chain id ends in 16 hex digits of the genesis digest, so nothing signed for one ledger replays on another.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from tallystick.errors import VerificationError
from tallystick.primitives.amounts import WEI_MAX, WeiText, parse_wei
from tallystick.primitives.canonical import AddressText, Count, PublicKeyHex, encode
from tallystick.primitives.digests import Tag, tagged
from tallystick.primitives.keys import parse_address

NetworkName = Annotated[str, msgspec.Meta(pattern=r"\A[a-z][a-z0-9-]{0,31}\Z")]


class Allocation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Wei that an address holds at height zero."""

    address: AddressText
    amount: WeiText


class Genesis(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The parameters of a ledger; ``log_vkey`` pins the checkpoint key, ``coordinator`` makes the headers."""

    version: Annotated[int, msgspec.Meta(ge=1, le=1)]
    network: NetworkName
    time: Count
    log_origin: str
    log_vkey: str
    coordinator: PublicKeyHex
    arbiter: PublicKeyHex
    allocations: tuple[Allocation, ...]
    gas_price_min: Count
    gas_limit: Count

    def __post_init__(self) -> None:
        """Refuse allocations that name an address twice or wrongly, or more wei than an amount can be.

        Raises:
            MalformedError: an address or an amount does not parse.
        """
        held = {parse_address(allocation.address): parse_wei(allocation.amount) for allocation in self.allocations}
        if len(held) != len(self.allocations) or sum(held.values()) > WEI_MAX:
            message = "allocations must name every address once, and their sum must be below 2^256"
            raise ValueError(message)


def genesis_digest(genesis: Genesis) -> bytes:
    """Return the digest that the first header names as its predecessor."""
    return tagged(Tag.GENESIS, encode(genesis))


def chain_id(genesis: Genesis) -> str:
    """Return the network's name and 16 hex digits of the genesis digest."""
    return f"{genesis.network}-{genesis_digest(genesis).hex()[:16]}"


def check_chain_id(genesis: Genesis, expected: str) -> None:
    """Check that a genesis is the one a chain id names.

    Raises:
        VerificationError: it is another ledger's.
    """
    if chain_id(genesis) != expected:
        raise VerificationError("chain id of the genesis", expected=expected, actual=chain_id(genesis))
