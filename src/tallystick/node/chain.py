"""The port of a chain that keeps ERC-7053 commits: somebody else's, or the node's own.

Knows what an anchor needs of a chain and what is true when a call returns. Refuses to know how a chain is reached,
whose key signs, and when an anchor is worth its gas: that is the anchoring policy's business.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from tallystick.anchoring.erc7053 import Erc7053Commit


@dataclass(frozen=True, slots=True)
class SignedCall:
    """A signed chain transaction that is not necessarily sent; signing the same call again gives the same bytes.

    ``raw`` is what a node takes, ``tx_hash`` (32 bytes) its keccak256, ``fee_per_gas`` the most that it pays for one
    unit of gas, in that chain's wei.
    """

    raw: bytes
    tx_hash: bytes
    nonce: int
    fee_per_gas: int


@dataclass(frozen=True, slots=True)
class Landed:
    """Where a transaction stands in a chain; ``succeeded`` is false for one that reverted, which still paid."""

    tx_hash: bytes
    block: int
    block_hash: bytes
    succeeded: bool


@dataclass(frozen=True, slots=True)
class SeenCommit:
    """An ERC-7053 ``Commit`` event, checked against recorder and CID; its data is whatever the recorder wrote.

    ``asset_cid_hash`` is keccak256 of the CID's text, all that the chain keeps of it.
    """

    recorder: str
    asset_cid_hash: bytes
    commit_data: str
    landed: Landed


class Chain(Protocol):
    """A chain with a CommitRegistry (ERC-7053). Every method that asks the chain may raise ``ChainError``.

    ``name`` is the CAIP-2 identifier (``eip155:31337``), ``contract`` and ``recorder`` are EIP-55 addresses,
    ``embedded`` says that the node runs the chain itself, so that an anchor there convinces nobody else.
    ``confirmations`` is how many blocks must stand on top of one before it counts as final.
    """

    name: str
    embedded: bool
    contract: str
    recorder: str
    confirmations: int

    def next_nonce(self) -> int:
        """Return the nonce after the recorder's last transaction in the newest block; what waits is not counted."""
        ...

    def sign(self, commit: Erc7053Commit, nonce: int, bump: SignedCall | None = None) -> SignedCall:
        """Sign a commit with current gas and fees, sending nothing.

        With ``bump``, an earlier call of the same nonce, the fees are at least 12.5 % above it, so that nodes accept
        the replacement; only one of the two can land.
        """
        ...

    def send(self, call: SignedCall) -> None:
        """Hand a call to the chain; handing it in again, or after it landed, is no error.

        A ``ChainError`` leaves open whether it will land: ask ``landed``.
        """
        ...

    def landed(self, tx_hash: bytes) -> Landed | None:
        """Return the block that holds a transaction now, None while none does; a reorganisation can change it."""
        ...

    def head(self) -> int:
        """Return the number of the newest block."""
        ...

    def block_hash(self, number: int) -> bytes | None:
        """Return the 32-byte hash of a block of the present chain, None beyond the head."""
        ...

    def commits(self, asset_cid: str) -> tuple[SeenCommit, ...]:
        """Return the recorder's commits of this CID in chain order; strangers' commits are left out."""
        ...
