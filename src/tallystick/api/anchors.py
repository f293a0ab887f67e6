"""Routes of anchoring, for operators: how it stands, and anchor now. Its loop asks the chain, never a request."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

import msgspec
from litestar import get, post
from litestar.handlers import HTTPRouteHandler

from tallystick.api.aside import aside
from tallystick.node.anchor_loop import AnchorLoop
from tallystick.node.anchor_status import Newest, Status

TAG: Final = ["anchors"]
PATH: Final = "/api/v1/anchors"


class AnchorView(msgspec.Struct, frozen=True):
    """One anchored checkpoint: the entry of the log that says so, and where it stands on its chain."""

    index: int
    size: int
    root: str
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
    """How anchoring stands; ``waiting_entries`` are not covered by the newest anchor."""

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

    return [stand, ask]


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
    )


def _anchor(newest: Newest) -> AnchorView:
    said = newest.payload
    return AnchorView(
        index=newest.index,
        size=said.size,
        root=said.root,
        chain=said.chain,
        contract=said.contract,
        recorder=said.recorder,
        tx_hash=f"0x{said.tx_hash}",
        block=said.block,
        block_hash=f"0x{said.block_hash}",
    )
