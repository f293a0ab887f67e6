"""A log of any size without a ledger, and a server over its routes: what tests of the log's public face stand on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
from litestar import Litestar, Request, Response
from litestar.di import Provide
from litestar.exceptions import HTTPException
from litestar.types import ControllerRouterHandler

from tallystick.api import problems
from tallystick.primitives import canonical
from tallystick.primitives.digests import sha256
from tallystick.primitives.merkle import leaf_hash
from tallystick.primitives.notes import NoteSigner
from tallystick.receipts import log
from tallystick.receipts.log import TILE_HEIGHT, TILE_WIDTH, TileName
from tallystick.receipts.proofs import LogTree
from tallystick.receipts.tlog_proof import TlogProof, prove

ORIGIN = "log.example/tallystick"
SIGNER = NoteSigner(ORIGIN, bytes(range(32)))


def entries_of(count: int) -> list[bytes]:
    """Small entries in canonical JSON, all different."""
    return [canonical.encode({"nonce": index, "sender": f"{index % 7:066x}"}) for index in range(count)]


class ListLog:
    """A ``LogSource`` over a list of entries."""

    def __init__(self, entries: list[bytes]) -> None:
        self.entries = entries
        self.tree = LogTree(map(leaf_hash, entries))
        self.note = SIGNER.sign(log.head(ORIGIN, self.tree).text())

    def genesis(self) -> bytes:
        return b'{"version":1}'

    def checkpoint(self) -> str | None:
        return self.note if self.entries else None

    def entry(self, index: int) -> bytes:
        return self.entries[index]

    def index_of(self, digest: bytes) -> int | None:
        return next((index for index, entry in enumerate(self.entries) if sha256(entry) == digest), None)

    def prove(self, index: int) -> TlogProof:
        return prove(self.tree, index, self.note, self.entries[index])

    def consistency(self, first: int, second: int) -> tuple[bytes, ...] | None:
        return self.tree.consistency(first, second) if first <= second <= len(self.entries) else None

    def root(self, size: int) -> bytes:
        return self.tree.root(size)

    def tile(self, name: TileName) -> bytes | None:
        start, end = name.index * TILE_WIDTH, name.index * TILE_WIDTH + name.width
        height = TILE_HEIGHT * (name.level or 0)
        if end > len(self.entries) >> height:
            return None
        if name.level is None:
            return log.encode_bundle(self.entries[start:end])
        return self.tree.subtree_roots(height, start, end)


def application(routes: Sequence[ControllerRouterHandler], **dependencies: Provide) -> Litestar:
    """The routes, with the errors that the node answers with."""

    def refuse(_: Request[Any, Any, Any], error: Exception) -> Response[Any]:
        problem = problems.describe(error, "")
        body = msgspec.json.encode(problem)
        return Response(body, status_code=problem.status, media_type=problems.MEDIA_TYPE)

    handlers: Any = {Exception: refuse, HTTPException: refuse}
    return Litestar(
        list(routes),
        exception_handlers=handlers,
        dependencies=dependencies,
        openapi_config=None,
        logging_config=None,
    )


@contextmanager
def served(app: Any) -> Iterator[str]:  # noqa: ANN401 - any ASGI application
    """Serve on a free port of the loopback, over real sockets; give the base URL."""
    import asyncio
    import socket
    import threading
    import time

    from granian.constants import Interfaces
    from granian.server.embed import Server

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = Server(app, address="127.0.0.1", port=port, interface=Interfaces.ASGI, log_enabled=False)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=lambda: loop.run_until_complete(server.serve()), daemon=True)
    thread.start()
    for _ in range(200):
        with socket.socket() as knock:
            if not knock.connect_ex(("127.0.0.1", port)):
                break
        time.sleep(0.05)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        loop.call_soon_threadsafe(server.stop)
        thread.join(10)
        loop.close()
