"""What a home keeps about its anchors, as private values of its store: policy, chain, and the one anchor in flight.

A signed transaction is kept before it is sent and remembered until one of its kind counts as final, so that a restart
sends the same bytes again and never signs a second one beside them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Final, Literal

import msgspec

from tallystick.anchoring.erc7053 import EMBEDDED_CHAIN
from tallystick.errors import ConflictError
from tallystick.ledger.payloads import ChainName, EvmAddress
from tallystick.node.anchor_policy import AnchorPolicy
from tallystick.node.chain import SignedCall
from tallystick.node.ports import Store
from tallystick.primitives import canonical
from tallystick.primitives.amounts import WeiText
from tallystick.primitives.canonical import Count, DigestHex

POLICY_KEY: Final = "anchor/policy"
TARGET_KEY: Final = "anchor/chain"
OUTBOX_KEY: Final = "anchor/outbox"
NOTE_PREFIX: Final = "anchor/note/"

RawHex = Annotated[str, msgspec.Meta(pattern=r"\A(?:[0-9a-f]{2}){1,65536}\Z")]


class Standing(Enum):
    """What became of the anchor in the outbox."""

    IN_FLIGHT = "in-flight"
    REVERTED = "reverted"
    LOGGED = "logged"


class KeptCall(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Wire form of a signed transaction that was, or is about to be, sent."""

    raw: RawHex
    tx_hash: DigestHex
    nonce: Count
    fee_per_gas: WeiText

    @classmethod
    def of(cls, call: SignedCall) -> KeptCall:
        """Spell a call."""
        return cls(call.raw.hex(), call.tx_hash.hex(), call.nonce, str(call.fee_per_gas))

    def call(self) -> SignedCall:
        """Return the call."""
        return SignedCall(bytes.fromhex(self.raw), bytes.fromhex(self.tx_hash), self.nonce, int(self.fee_per_gas))


class Outbox(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The newest anchor: the signed checkpoint, where it goes, and every variant of its transaction, oldest first.

    ``logged_at`` (ms UTC) is 0 until the Anchored entry is durable.
    """

    version: Literal[1]
    chain: ChainName
    contract: EvmAddress
    recorder: EvmAddress
    checkpoint: str
    calls: tuple[KeptCall, ...] = ()
    standing: Standing = Standing.IN_FLIGHT
    logged_at: Count = 0


class Target(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The chain that a home anchors on; without ``rpc`` its own embedded one.

    ``rpc`` may carry credentials: it is kept here and shown nowhere. ``fee_cap`` is the most wei of that chain that one
    unit of gas may cost, and ``confirmations`` how many blocks must stand on top of a commit; None takes the chain's
    default. ``first_block`` is where a search for earlier commits begins.
    """

    rpc: str | None = None
    chain: ChainName | None = None
    contract: EvmAddress | None = None
    fee_cap: WeiText | None = None
    confirmations: Annotated[int, msgspec.Meta(ge=0, le=10_000)] | None = None
    first_block: Count = 0


@dataclass(frozen=True, slots=True)
class Drawer:
    """The values of one home, over its store."""

    store: Store

    def policy(self) -> AnchorPolicy:
        """Return when to anchor; a home that never decided anchors when asked."""
        kept = self.store.private(POLICY_KEY)
        return AnchorPolicy() if kept is None else canonical.decode(kept, AnchorPolicy, what="anchoring policy")

    def set_policy(self, policy: AnchorPolicy) -> None:
        """Make a policy durable."""
        self.store.put_private([(POLICY_KEY, canonical.encode(policy))])

    def target(self) -> Target:
        """Return where to anchor; a home that never decided anchors on its own chain."""
        kept = self.store.private(TARGET_KEY)
        return Target() if kept is None else canonical.decode(kept, Target, what="anchoring chain")

    def set_target(self, target: Target) -> None:
        """Make a chain durable."""
        self.store.put_private([(TARGET_KEY, canonical.encode(target))])

    def move(self, target: Target) -> None:
        """Make a chain durable, unless an anchor is on its way elsewhere.

        Raises:
            ConflictError: one is, and must be final first.
        """
        outbox = self.outbox()
        if outbox is not None and outbox.standing is Standing.IN_FLIGHT:
            there = (target.chain or EMBEDDED_CHAIN, target.contract or outbox.contract)
            if (outbox.chain, outbox.contract) != there:
                raise ConflictError(f"an anchor is on its way to {outbox.contract} on {outbox.chain}: finish it first")
        self.set_target(target)

    def outbox(self) -> Outbox | None:
        """Return the newest anchor, None before the first."""
        kept = self.store.private(OUTBOX_KEY)
        return None if kept is None else canonical.decode(kept, Outbox, what="anchor outbox", bytes_max=1 << 24)

    def put_outbox(self, outbox: Outbox) -> None:
        """Make the newest anchor durable."""
        self.store.put_private([(OUTBOX_KEY, canonical.encode(outbox))])

    def note(self, chain: str, size: int) -> str | None:
        """Return the checkpoint of a size that was anchored on a chain, as it was written there."""
        kept = self.store.private(note_key(chain, size))
        return None if kept is None else kept.decode("utf-8")


def note_key(chain: str, size: int) -> str:
    """Key of an anchored checkpoint among the private values."""
    return f"{NOTE_PREFIX}{chain}/{size:016d}"
