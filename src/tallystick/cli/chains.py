"""Which chain a home anchors on, and how a verifier asks one: targets made of what was typed, adapters made of targets.

Knows URLs, which may carry a key and are therefore shown by scheme and host only. Refuses to know when to anchor.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from tallystick.errors import ChainError, UsageError

if TYPE_CHECKING:
    from tallystick.adapters.embedded_chain import EmbeddedChain
    from tallystick.adapters.json_rpc import JsonRpc
    from tallystick.audit.anchors import Committed, Inquiry
    from tallystick.node.anchor_outbox import Target
    from tallystick.node.anchoring import Chains
    from tallystick.node.chain import Chain, SeenCommit
    from tallystick.node.identity import Identity
    from tallystick.node.ports import Clock

CHAIN_FILE: Final = "chain.sqlite"
ANCHOR_KEY: Final = "anchor"
LOOK_BACK: Final = 50_000
"""Blocks before the present one in which a home that names a chain anew may have committed already."""
_SMALL: Final = re.compile(r"0x[0-9a-f]{40}", re.ASCII)
NEIGHBOURHOOD: Final = 1_000
"""Blocks before and after the one that was logged: as far as a reorganisation moves a commit."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What was typed of a chain; None and false leave it as it is."""

    rpc: str | None = None
    contract: str | None = None
    deploy: bool = False
    fee_cap: str | None = None
    confirmations: int | None = None
    embedded: bool = False

    @property
    def anything(self) -> bool:
        """Whether anything was typed."""
        return self != Asked()


@dataclass(slots=True)
class Reach:
    """Reaches the chains of one opened home, its own at most once."""

    path: Path
    identity: Identity
    clock: Clock
    _own: EmbeddedChain | None = field(default=None)

    def chains(self) -> Chains:
        """Return what anchoring needs to know."""
        from tallystick.anchoring.erc7053 import EMBEDDED_CHAIN
        from tallystick.node.anchoring import Chains

        return Chains(self.connect, EMBEDDED_CHAIN, recorder_of(self.identity))

    def connect(self, target: Target) -> Chain:
        """Return the chain of a target; one behind JSON-RPC is not asked anything yet.

        Raises:
            ChainError: this machine cannot run the home's own chain, or its file is damaged.
        """
        from tallystick.adapters.artifacts import creation_code
        from tallystick.adapters.embedded_chain import EmbeddedChain

        if target.rpc is not None:
            return remote(target, self.identity)
        if self._own is None:
            key = self.identity.key(ANCHOR_KEY)
            self._own = EmbeddedChain(self.path / CHAIN_FILE, key, creation_code(), self.clock)
        return self._own

    def close(self) -> None:
        """Close the home's own chain."""
        own, self._own = self._own, None
        if own is not None:
            own.close()


def recorder_of(identity: Identity) -> str:
    """Return the address that records a home's anchors, and pays for them where a chain wants to be paid."""
    from tallystick.primitives.keys import evm_address_of

    return evm_address_of(identity.key(ANCHOR_KEY).public)


def remote(target: Target, identity: Identity) -> Chain:
    """Return a chain behind JSON-RPC.

    Raises:
        UsageError: the target lacks something.
    """
    from tallystick.adapters.json_rpc import FEE_CAP, ChainSettings, JsonRpc, JsonRpcChain

    if target.rpc is None or target.contract is None or target.chain is None:
        raise UsageError("the chain that this home anchors on is not whole: name --rpc and --contract again")
    plain = ChainSettings(int(target.chain.removeprefix("eip155:")), target.contract, first_block=target.first_block)
    settings = ChainSettings(
        plain.chain_id,
        plain.contract,
        plain.confirmations if target.confirmations is None else target.confirmations,
        FEE_CAP if target.fee_cap is None else int(target.fee_cap),
        plain.first_block,
    )
    return JsonRpcChain(JsonRpc(target.rpc), settings, identity.key(ANCHOR_KEY))


def shown_url(url: str) -> str:
    """Return a URL as it may be shown: credentials stand before the host, in the path or in the query."""
    from tallystick.adapters.json_rpc import JsonRpc

    return JsonRpc(url).where


def target_of(asked: Asked, kept: Target, identity: Identity) -> Target:
    """Return the target that was asked for; what was not typed stays as it was kept.

    A registry that is deployed is paid for when this returns.

    Raises:
        UsageError: the words contradict each other, or an address is none.
        ChainError: the chain cannot be asked, or refuses the registry.
    """
    from tallystick.node.anchor_outbox import Target

    if asked.embedded:
        if asked != Asked(embedded=True):
            raise UsageError("--embedded is this home's own chain: it goes with no other option of a chain")
        return Target()
    fee_cap = kept.fee_cap if asked.fee_cap is None else str(_fee(asked.fee_cap))
    confirmations = kept.confirmations if asked.confirmations is None else asked.confirmations
    url = asked.rpc or kept.rpc
    if url is None:
        raise UsageError(
            "name the chain: --rpc URL with --contract ADDRESS, or with --deploy for a registry of your own"
        )
    if asked.rpc is None and asked.contract is None and not asked.deploy:
        return msgspec.structs.replace(kept, fee_cap=fee_cap, confirmations=confirmations)
    return _asked_target(asked, url, identity, Target(fee_cap=fee_cap, confirmations=confirmations), kept)


def _asked_target(asked: Asked, url: str, identity: Identity, plain: Target, kept: Target) -> Target:
    """Ask the chain who it is, and where a search for our commits begins."""
    from tallystick.adapters.artifacts import creation_code
    from tallystick.adapters.json_rpc import JsonRpc, deploy

    rpc = JsonRpc(url)
    view = RpcView(rpc)
    name, head = view.name, view.head()
    if asked.deploy:
        if asked.contract is not None:
            raise UsageError("--deploy makes a registry of your own, --contract names one: give one of them")
        contract = deploy(rpc, view.chain_id, identity.key(ANCHOR_KEY), creation_code())
    elif asked.contract is not None:
        contract = address(asked.contract)
    elif kept.contract is not None and kept.chain == name:
        contract = kept.contract
    else:
        raise UsageError(f"name the contract on {name}: --contract ADDRESS, or --deploy for a registry of your own")
    same = (kept.chain, kept.contract) == (name, contract)
    first = kept.first_block if same else max(0, head - LOOK_BACK)
    return msgspec.structs.replace(plain, rpc=url, chain=name, contract=contract, first_block=first)


def address(text: str) -> str:
    """Return an EVM address in its EIP-55 spelling; small letters alone carry no checksum.

    Raises:
        UsageError: it is none, or its checksum is wrong.
    """
    from tallystick.anchoring.ethereum import address_bytes
    from tallystick.errors import MalformedError
    from tallystick.primitives.keys import checksum_evm_address

    try:
        small = checksum_evm_address(bytes.fromhex(text[2:])) if _SMALL.fullmatch(text) else text
        return checksum_evm_address(address_bytes(small))
    except MalformedError as error:
        raise UsageError(f"{text!r} is no address of a contract: {error.detail}") from error


def _fee(text: str) -> int:
    """Read a fee in gwei, as people know it.

    Raises:
        UsageError: it is none.
    """
    whole, dot, part = text.partition(".")
    if not whole.isascii() or not whole.isdigit() or (dot and not part.isdigit()) or len(part) > 9:  # noqa: PLR2004 - gwei
        raise UsageError(f"--fee-cap {text!r} is no number of gwei: give one such as 50 or 0.5")
    fee = int(whole) * 10**9 + int(part.ljust(9, "0") or "0")
    if not 0 < fee < 10**15:
        raise UsageError(f"--fee-cap {text!r} must be above 0 and below 1000000 gwei")
    return fee


class _Stamp(msgspec.Struct):
    timestamp: Annotated[str, msgspec.Meta(pattern=r"\A0x[0-9a-f]{1,16}\Z")]


@dataclass(slots=True)
class RpcView:
    """A chain as a verifier asks it: by contract and recorder, without a key."""

    rpc: JsonRpc
    _chain_id: int | None = None

    @property
    def chain_id(self) -> int:
        """The number by which the chain calls itself.

        Raises:
            ChainError: it does not answer.
        """
        if self._chain_id is None:
            from tallystick.adapters.json_rpc.account import chain_id_of

            self._chain_id = chain_id_of(self.rpc)
        return self._chain_id

    @property
    def name(self) -> str:
        """See ``ChainView.name``."""
        return f"eip155:{self.chain_id}"

    def head(self) -> int:
        """See ``ChainView.head``."""
        from tallystick.adapters.json_rpc.account import head_number

        return head_number(self.rpc)

    def commits(self, contract: str, recorder: str, asset_cid: str, near: int | None) -> Sequence[Committed]:
        """See ``ChainView.commits``."""
        from tallystick.audit.anchors import Committed

        seen = () if near is None else self._search(contract, recorder, asset_cid, near)
        return [
            Committed(
                each.commit_data,
                each.landed.tx_hash,
                each.landed.block,
                each.landed.block_hash,
                self._time(each.landed.block),
            )
            for each in seen or self._search(contract, recorder, asset_cid, None)
        ]

    def _search(self, contract: str, recorder: str, asset_cid: str, near: int | None) -> tuple[SeenCommit, ...]:
        from tallystick.adapters.json_rpc import ChainSettings, JsonRpcChain
        from tallystick.primitives.keys import checksum_evm_address

        registry, by = (checksum_evm_address(bytes.fromhex(each[2:])) for each in (contract, recorder))
        settings = ChainSettings(self.chain_id, registry)
        if near is not None:
            first, last = max(0, near - NEIGHBOURHOOD), near + NEIGHBOURHOOD
            settings = ChainSettings(self.chain_id, registry, first_block=first, last_block=last)
        return JsonRpcChain(self.rpc, settings, by).commits(asset_cid)

    def _time(self, block: int) -> str:
        from tallystick.adapters.json_rpc.replies import count
        from tallystick.adapters.json_rpc.transport import read

        stamp: _Stamp = read(self.rpc.call("eth_getBlockByNumber", hex(block), False), _Stamp, f"block {block}")  # noqa: FBT003 - without transactions
        try:
            return datetime.fromtimestamp(count(stamp.timestamp), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        except (ValueError, OverflowError, OSError) as error:
            raise ChainError(f"block {block} has no time that a calendar knows: {stamp.timestamp[:80]}") from error


def inquiry_of(url: str, confirmations: int | None) -> Inquiry:
    """Return whom an audit asks about anchors.

    Raises:
        UsageError: the URL is none.
    """
    from tallystick.adapters.json_rpc import JsonRpc
    from tallystick.audit.anchors import CONFIRMATIONS, Inquiry

    return Inquiry(RpcView(JsonRpc(url)), CONFIRMATIONS if confirmations is None else confirmations)
