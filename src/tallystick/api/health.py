"""Is it there, is it alive, can it take work: four answers for four kinds of askers. And what Prometheus reads."""

from __future__ import annotations

import time
from typing import Final

import msgspec
from litestar import Response, get

from tallystick import __version__
from tallystick.api.aside import aside
from tallystick.api.house import Here
from tallystick.api.meters import MEDIA_TYPE
from tallystick.errors import StoreError
from tallystick.node.ledger_thread import QUEUE_MAX

SERVICE: Final = "Tallystick"
READY_KEY: Final = "readyz"
PROBE_MS: Final = 1000


class Health(msgspec.Struct, frozen=True):
    """A node that answers."""

    status: str
    service: str
    version: str


class LongHealth(msgspec.Struct, frozen=True):
    """The same with what the receipts rest on."""

    status: str
    service: str
    timestamp: str
    version: str
    blockchain: str
    standard: str


class Alive(msgspec.Struct, frozen=True):
    """The event loop turns."""

    alive: bool


class Readiness(msgspec.Struct, frozen=True):
    """What was looked at before the node called itself ready."""

    ready: bool
    ledger: bool
    store: bool
    queue: int


@get("/health", tags=["health"])
async def health() -> Health:
    """Tell that a node is there."""
    return Health("ok", SERVICE, __version__)


@get("/api/health", tags=["health"])
async def api_health(house: Here) -> LongHealth:
    """Tell that a node is there, and which ledger it keeps."""
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(house.now() / 1000))
    return LongHealth("OK", SERVICE, moment, __version__, house.book.engine.parameters.chain_id, "ERC-7053")


@get("/livez", tags=["health"])
async def livez() -> Alive:
    """Tell that the process turns; restart it when this does not answer."""
    return Alive(alive=True)


@get("/readyz", tags=["health"])
async def readyz(house: Here) -> Readiness:
    """Tell whether work can be taken: the ledger's thread lives, its queue has room, the store can be written."""
    book = house.book
    if not book.alive or book.depth >= QUEUE_MAX:
        raise StoreError("the ledger's thread does not keep up")
    if house.now() >= house.ready_until:  # anybody may ask: at most one write a second
        await aside(lambda: house.ports.store.put_private([(READY_KEY, b"1")]))
        house.ready_until = house.now() + PROBE_MS
    return Readiness(ready=True, ledger=True, store=True, queue=book.depth)


@get("/metrics", tags=["health"], media_type=MEDIA_TYPE)
async def metrics(house: Here) -> Response[bytes]:
    """Render the metrics in Prometheus's text format."""
    return Response(await aside(house.meters.render), media_type=MEDIA_TYPE)


ROUTES: Final = (health, api_health, livez, readyz, metrics)
