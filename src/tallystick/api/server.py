"""One process that listens: granian embedded, and an end that waits for nobody.

Granian waits for open sockets and streams for ever, so on SIGTERM or SIGINT the application closes them first; it also
shares a port silently with whoever listens there, so the port is asked for beforehand.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server

from tallystick.api.edge import Edge
from tallystick.api.lines import Lines
from tallystick.api.logs import Journal
from tallystick.api.settings import Address
from tallystick.errors import StoreError, UsageError

HEAD_TIMEOUT_MS: Final = 10_000
CONNECTIONS_MAX: Final = 16_384
"""Granian's ``backpressure``: beyond it connections wait; idle workers hold one each."""
BACKLOG: Final = 1024
LINES_SECONDS: Final = 0.5
SERVER_SECONDS: Final = 0.5
LEFT_SECONDS: Final = 0.2
POLL_SECONDS: Final = 0.02
STARTS_WITHIN: Final = 15.0
SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True, slots=True)
class Tls:
    """Where certificate chain and key lie, both PEM."""

    certificate: Path
    key: Path

    def check(self) -> None:
        """Try them before anything listens.

        Raises:
            UsageError: they cannot be read, or do not belong together.
        """
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self.certificate, self.key)
        except (OSError, ssl.SSLError) as error:
            raise UsageError(f"TLS cannot use {self.certificate} with {self.key}: {error}") from error


def reserve(address: Address) -> tuple[Address, socket.socket]:
    """Bind an address that nobody listens on, and return it with its real port; close the socket once it is served.

    Raises:
        UsageError: somebody listens there, or this machine has no such address.
    """
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    holder = socket.socket(family, socket.SOCK_STREAM)
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        holder.bind((address.host, address.port))
    except OSError as error:
        holder.close()
        hint = "choose another port with --listen, port 0 takes any free one"
        raise UsageError(f"{address.authority} cannot be listened on: {error.strerror}; {hint}") from error
    return replace(address, port=holder.getsockname()[1]), holder


def run(edge: Edge, address: Address, tls: Tls | None, ready: Callable[[Address], None]) -> None:
    """Serve until SIGTERM or SIGINT; ``ready`` hears the address once connections are taken.

    Raises:
        UsageError: the address is taken, or TLS cannot be had.
        StoreError: the server ended by itself.
    """
    if tls is not None:
        tls.check()
    address, holder = reserve(address)
    try:
        _run(_serve(edge, address, tls, holder, ready))
    finally:
        holder.close()


def _run(work: Coroutine[Any, Any, None]) -> None:
    """Run a loop to the end of its work, and give what is left of it a moment only: ``asyncio.run`` would wait on."""
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(work)
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.wait(left, timeout=LEFT_SECONDS))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


async def _serve(
    edge: Edge, address: Address, tls: Tls | None, holder: socket.socket, ready: Callable[[Address], None]
) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for each in SIGNALS:
        loop.add_signal_handler(each, stop.set)
    server = _server(edge, address, tls)
    serving = asyncio.create_task(server.serve())
    stopping = asyncio.create_task(stop.wait())
    try:
        await _listening(address, serving)
        holder.close()
        ready(address)
        await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            raise StoreError("the server ended by itself")
    finally:
        stopping.cancel()
        await _end(server, serving, edge.lines, edge.journal)


def _server(edge: Edge, address: Address, tls: Tls | None) -> Server:
    return Server(
        edge,
        address=address.host,
        port=address.port,
        interface=Interfaces.ASGINL,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=HEAD_TIMEOUT_MS),
        backlog=BACKLOG,
        backpressure=CONNECTIONS_MAX,
        log_enabled=False,
        ssl_cert=None if tls is None else tls.certificate,
        ssl_key=None if tls is None else tls.key,
    )


async def _listening(address: Address, serving: asyncio.Task[Any]) -> None:
    """Wait until a connection is taken.

    Raises:
        StoreError: nothing listens after a while.
    """
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host)  # noqa: S104 - compared, not bound
    loop = asyncio.get_running_loop()
    until = loop.time() + STARTS_WITHIN
    while loop.time() < until and not serving.done():
        with suppress(OSError):
            _, writer = await asyncio.open_connection(host, address.port)
            writer.close()
            return
        await asyncio.sleep(POLL_SECONDS)
    raise StoreError(f"the server does not listen on {address.authority}")


async def _end(server: Server, serving: asyncio.Task[Any], lines: Lines, journal: Journal) -> None:
    """Tell everybody, give them a moment, then stop whoever still talks or not."""
    lines.close()
    with suppress(TimeoutError):
        async with asyncio.timeout(LINES_SECONDS):
            await lines.wait_idle()
    stop: Callable[[], None] = server.stop
    stop()
    done, _ = await asyncio.wait((serving,), timeout=SERVER_SECONDS)
    if not done:
        journal.warn("some connections did not end: they are cut", lines=lines.open)
        serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
