"""Follows one order at a node: its entries as they become durable, what it waits for, how it ended."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from tallystick.cli.exits import InterruptionError, one_line
from tallystick.cli.far import Far
from tallystick.cli.far_files import again
from tallystick.cli.lifecycle import Lifecycle
from tallystick.cli.screen import Screen
from tallystick.cli.words import count

if TYPE_CHECKING:
    from tallystick.client.buying import Buyer
    from tallystick.client.connected import AsyncClient
    from tallystick.node.views import JobView

POLL_SECONDS: Final = 0.5
LAST_WORDS_SECONDS: Final = 3.0


def follow(far: Far, job_id: str, screen: Screen, life: Lifecycle, buyer: Buyer | None = None) -> JobView:
    """Show an order until it has ended, and return how. ``buyer`` knows what it ordered, and signs it.

    Raises:
        InterruptionError: somebody pressed Ctrl-C; the order goes on.
        TallyError: the node stays away.
    """
    try:
        with screen.live("the order waits for its turn"):
            return asyncio.run(_follow(far, job_id, screen, life, buyer))
    except KeyboardInterrupt as error:
        more = f"`{again(far, job_id, life.output)}` {'fetches its files' if life.output else 'shows it'}"
        raise InterruptionError(f"interrupted; job {job_id} goes on at the node: {more}") from error


async def _follow(far: Far, job_id: str, screen: Screen, life: Lifecycle, buyer: Buyer | None) -> JobView:
    async with far.async_client() as node:
        node.buyer = buyer or node.buyer
        hearing = asyncio.create_task(_hear(node, job_id, life))
        try:
            view = await _wait(node, job_id, screen, hearing)
            if view.attempt:
                await _catch_up(hearing, life)
            return view
        finally:
            hearing.cancel()
            await asyncio.gather(hearing, return_exceptions=True)


async def _hear(node: AsyncClient, job_id: str, life: Lifecycle) -> None:
    """Show the entries of the order, from its first."""
    from tallystick.ledger.payloads import ArtifactPublished, EscrowRefunded, EscrowReleased
    from tallystick.ledger.transactions import decode

    async for event in node.events(job=job_id):
        transaction = decode(event.entry)
        life.heard(transaction, event.index)
        if isinstance(transaction.payload, ArtifactPublished | EscrowReleased | EscrowRefunded):
            return


async def _wait(node: AsyncClient, job_id: str, screen: Screen, hearing: asyncio.Task[None]) -> JobView:
    """Ask where the order stands until it has ended; say what it waits for whenever that changes."""
    from tallystick.client.answers import ENDED
    from tallystick.client.buying import attend

    said = ""
    while True:
        view = await node.job(job_id)
        if view.state in ENDED:
            return view
        if hearing.done() and not hearing.cancelled() and (error := hearing.exception()) is not None:
            raise error
        waiting = _waits(view, node.buyer)
        if waiting and waiting != said:
            screen.note(waiting, style="yellow")
            said = waiting
        if node.buyer is not None and node.buyer.may(view):
            await node.run(attend(view, node.buyer))
        if not view.attempt:
            screen.now("the order waits for workers" if view.waiting else "the order waits for its turn")
        await asyncio.sleep(POLL_SECONDS)


def _waits(view: JobView, buyer: Buyer | None) -> str:
    """Say what an order waits for; what this command does itself a moment later is said as such."""
    from tallystick.node.views import BuyerStep

    if view.wanted is not BuyerStep.ORDER:
        return f"waits: {one_line(view.waiting)}" if view.waiting else ""
    if buyer is not None and buyer.may(view):
        return "workers are found: the offer is checked and signed here, with this home's key"
    return "waits: the command that ordered it signs it, and no other can: let that one go on"


async def _catch_up(hearing: asyncio.Task[None], life: Lifecycle) -> None:
    """Let the last entries arrive; they are in the log already."""
    await asyncio.wait((hearing,), timeout=LAST_WORDS_SECONDS)
    if life.entries:
        said = count(life.entries, "entry of this job", "entries of this job")
        life.screen.note(f"{'':7} {said}, in the node's log", style="dim")
