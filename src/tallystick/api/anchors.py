"""Routes of anchoring, for operators: how it stands, anchor now, when and where. Its loop asks the chain, no request.

A chain's URL may carry a key: it is taken, kept in the home, and never answered back or logged.
"""

from __future__ import annotations

from functools import partial
from http import HTTPStatus
from typing import Annotated, Final

import msgspec
from litestar import get, post, put
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec

from tallystick.api.aside import aside
from tallystick.api.problems import Problem
from tallystick.ledger.payloads import EvmAddress
from tallystick.node.anchor_loop import AnchorLoop
from tallystick.node.anchor_outbox import Target
from tallystick.node.anchor_policy import parse
from tallystick.node.anchor_status import Newest, Status
from tallystick.primitives.amounts import WeiText
from tallystick.primitives.canonical import Count

TAG: Final = ["anchors"]
PATH: Final = "/api/v1/anchors"
IN_FLIGHT: Final = {409: ResponseSpec(Problem, description="An anchor is on its way to another chain.")}

RpcUrl = Annotated[str, msgspec.Meta(pattern=r"\Ahttps?://[!-~]{1,2000}\Z")]
EvmChain = Annotated[str, msgspec.Meta(pattern=r"\Aeip155:[1-9][0-9]{0,15}\Z")]
PolicyText = Annotated[str, msgspec.Meta(min_length=1, max_length=20)]
Confirmations = Annotated[int, msgspec.Meta(ge=0, le=10_000)]


class PolicyForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When to anchor: an interval such as `1h`, a number of entries such as `1000`, `event`, or `off`."""

    policy: PolicyText


class TargetForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where to anchor, whole: nothing is kept of the chain before. Without `rpc` that is this home's own chain.

    `fee_cap` is the most wei of that chain that one unit of gas may cost, `confirmations` how many blocks must stand on
    top of a commit, `first_block` where a search for earlier commits begins; null takes the chain's default.
    """

    rpc: RpcUrl | None = None
    chain: EvmChain | None = None
    contract: EvmAddress | None = None
    fee_cap: WeiText | None = None
    confirmations: Confirmations | None = None
    first_block: Count = 0


class TargetView(msgspec.Struct, frozen=True):
    """Where anchors go from now on; the URL is not said."""

    embedded: bool
    chain: str | None
    contract: str | None
    fee_cap: str | None
    confirmations: int | None
    first_block: int


class AnchorView(msgspec.Struct, frozen=True):
    """One anchored checkpoint: the entry of the log that says so, and where it stands on its chain."""

    index: int
    origin: str
    size: int
    root: str
    asset_cid: str
    chain: str
    contract: str
    recorder: str
    tx_hash: str
    block: int
    block_hash: str


class FlightView(msgspec.Struct, frozen=True):
    """A checkpoint on its way; ``variants`` counts the transactions that were signed for it, of which one can land."""

    size: int
    nonce: int | None
    variants: int
    block: int | None


class AnchorStatus(msgspec.Struct, frozen=True):
    """How anchoring stands; `waiting_entries` are not covered by the newest anchor.

    `asked` while somebody asked for an anchor that has not begun.
    """

    chain: str
    contract: str | None
    recorder: str | None
    embedded: bool
    policy: str
    phase: str
    waiting_entries: int
    newest: AnchorView | None
    in_flight: FlightView | None
    held_fee_wei: str | None
    error: str | None
    asked: bool


def anchor_routes(loop: AnchorLoop) -> list[HTTPRouteHandler]:
    """Return the handlers of anchoring."""

    @get(PATH, tags=TAG)
    async def stand() -> AnchorStatus:
        """Tell how anchoring stands."""
        return view(loop.status)

    @post(PATH, tags=TAG, status_code=HTTPStatus.ACCEPTED)
    async def ask() -> AnchorStatus:
        """Have the newest checkpoint anchored, whatever the policy says; the answer does not wait for the chain."""
        return view(await aside(loop.ask))

    @put(f"{PATH}/policy", tags=TAG)
    async def set_policy(data: PolicyForm) -> PolicyForm:
        """Anchor by another policy from now on."""
        policy = parse(data.policy)
        await aside(partial(loop.set_policy, policy))
        return PolicyForm(str(policy))

    @put(f"{PATH}/target", tags=TAG, responses=IN_FLIGHT)
    async def set_target(data: TargetForm) -> TargetView:
        """Anchor on another chain from now on; one that is on its way elsewhere must be final first."""
        target = msgspec.convert(data, Target, from_attributes=True)
        await aside(partial(loop.set_target, target))
        kept = {name: getattr(target, name) for name in TargetView.__struct_fields__ if name != "embedded"}
        return TargetView(embedded=target.rpc is None, **kept)

    return [stand, ask, set_policy, set_target]


def view(status: Status) -> AnchorStatus:
    """Return a status as programs read it."""
    flight = None
    if status.size is not None:
        flight = FlightView(status.size, status.nonce, status.variants, status.block)
    return AnchorStatus(
        chain=status.chain,
        contract=status.contract,
        recorder=status.recorder,
        embedded=status.embedded,
        policy=status.policy,
        phase=str(status.phase.value),
        waiting_entries=status.waiting,
        newest=None if status.newest is None else _anchor(status.newest),
        in_flight=flight,
        held_fee_wei=None if status.held_fee is None else str(status.held_fee),
        error=status.error,
        asked=status.asked,
    )


def _anchor(newest: Newest) -> AnchorView:
    said = newest.payload
    return AnchorView(
        index=newest.index,
        origin=said.origin,
        size=said.size,
        root=said.root,
        asset_cid=said.asset_cid,
        chain=said.chain,
        contract=said.contract,
        recorder=said.recorder,
        tx_hash=f"0x{said.tx_hash}",
        block=said.block,
        block_hash=f"0x{said.block_hash}",
    )
