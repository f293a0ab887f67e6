"""`tally node start`: one home served to others until it is told to stop."""

from __future__ import annotations

import os
import sys
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from tallystick.cli.exits import DONE, emit, say
from tallystick.cli.home import LOG_FOLDER, TRUST_FILE, home_path, open_home
from tallystick.cli.node_file import Standing, announced
from tallystick.cli.words import command
from tallystick.errors import UsageError

if TYPE_CHECKING:
    from tallystick.api.edge import Edge
    from tallystick.api.logs import Journal
    from tallystick.api.server import Tls
    from tallystick.api.settings import Address
    from tallystick.cli.home import Home
    from tallystick.node.floor import Rhythm
    from tallystick.node.host import Host
    from tallystick.node.tokens import Tokens

OUTPUT_FOLDER = "outputs"


@dataclass(frozen=True, slots=True)
class Wanted:
    """The options of `node start` as they were typed."""

    listen: str
    require_auth: bool
    tls_cert: Path | None
    tls_key: Path | None
    heartbeat: float
    lease: float


def start(wanted: Wanted, *, as_json: bool) -> NoReturn:
    """Serve this home; ends the process when the server stopped as it was told."""
    from tallystick.api.logs import Journal
    from tallystick.api.server import run
    from tallystick.api.settings import Address
    from tallystick.node.floor import Rhythm

    address, tls, path, journal = Address.parse(wanted.listen), _tls(wanted), home_path(), Journal()
    with ExitStack() as stack:
        home = stack.enter_context(open_home(path))
        tokens = _tokens(home)
        check_exposure(address, wanted, tokens)
        guarded = wanted.require_auth or not address.is_loopback
        host = _host(home, journal, Rhythm.of(wanted.heartbeat, wanted.lease))
        edge = _serve(home, host, tokens, journal, require_auth=guarded, stack=stack)

        def ready(bound: Address) -> None:
            url, certificate = _url(bound, tls), None if tls is None else str(tls.certificate.absolute())
            now = time.time_ns() // 1_000_000
            stack.enter_context(announced(path, Standing(url, os.getpid(), now, certificate)))
            _tell(bound, url, tls, as_json=as_json)

        run(edge, address, tls, ready)
    leave(DONE)


def leave(code: int) -> NoReturn:
    """End the process at once: the home is closed, and the server's own threads would wait for their connections."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    os._exit(code)


def check_exposure(address: Address, wanted: Wanted, tokens: Tokens) -> None:
    """Refuse to listen where strangers are while nobody could prove who they are.

    Raises:
        UsageError: beyond loopback without a token or --require-auth.
    """
    if address.is_loopback or wanted.require_auth or tokens.any_valid(time.time_ns() // 1_000_000):
        return
    make = command("token", "create", "--scope", "requester", "--account", "NAME")
    raise UsageError(
        f"{address.authority} can be reached by others, and nobody has credentials: make a token first (`{make}`), "
        "or say --require-auth, which lets in who signs with an account's own key"
    )


def _tls(wanted: Wanted) -> Tls | None:
    from tallystick.api.server import Tls

    if wanted.tls_cert is None and wanted.tls_key is None:
        return None
    if wanted.tls_cert is None or wanted.tls_key is None:
        raise UsageError("--tls-cert and --tls-key go together: name both files")
    return Tls(wanted.tls_cert, wanted.tls_key)


def _tokens(home: Home) -> Tokens:
    from tallystick.node.tokens import Tokens

    return Tokens(home.store)


def _serve(home: Home, host: Host, tokens: Tokens, journal: Journal, *, require_auth: bool, stack: ExitStack) -> Edge:
    """Wire host and application together; what must be closed goes on the stack."""
    from tallystick.adapters.tiles import FolderTiles
    from tallystick.api.anchors import anchor_routes
    from tallystick.api.application import application
    from tallystick.api.blobs import may_read
    from tallystick.api.file_roots import ROUTES as FILE_ROOTS
    from tallystick.api.file_roots import file_of
    from tallystick.api.house import furnish
    from tallystick.api.ipfs_routes import ipfs_routes
    from tallystick.api.log_routes import log_routes
    from tallystick.api.settings import Settings
    from tallystick.cli.node_anchors import anchoring
    from tallystick.node.blocks import Blocks
    from tallystick.node.public_log import EngineLog

    host.book.start()
    stack.callback(host.book.close)
    host.start()
    stack.callback(host.close)
    settings = Settings(folder=home.path, home=home.path, require_auth=require_auth)
    house = furnish(settings, host, tokens, (home.path / TRUST_FILE).read_bytes, journal)
    source = EngineLog(home.engine, host.book.lock, FolderTiles(home.path / LOG_FOLDER).read)
    gateway = ipfs_routes(Blocks(source, home.node.ports.blobs), partial(may_read, house), partial(file_of, house))
    receipts = log_routes(source, partial(_holds_key_of, home, tokens))
    anchors = anchor_routes(stack.enter_context(anchoring(home, host, journal)))
    return application(house, [*receipts, *gateway, *FILE_ROOTS, *anchors])


def _holds_key_of(home: Home, tokens: Tokens, sender: str) -> bool:
    """Tell whether a sender's key is one that this home keeps for an account, its own or a token's."""
    from tallystick.node.identity import HOME_ACCOUNT

    accounts = {HOME_ACCOUNT, *(record.account for _, record in tokens.every())}
    return any(home.identity.account(name).public.hex() == sender for name in accounts)


def _host(home: Home, journal: Journal, rhythm: Rhythm) -> Host:
    """Give a home's node many buyers and workers elsewhere."""
    from tallystick.adapters.local import SystemEntropy
    from tallystick.cli.home import hire
    from tallystick.node.exchange import Exchange
    from tallystick.node.feed import Feed
    from tallystick.node.host import Host
    from tallystick.node.ledger_thread import SharedBook
    from tallystick.node.shell import Node

    ports, identity, entropy = home.node.ports, home.identity, SystemEntropy()
    feed = Feed(lambda error: journal.failure("", error))
    book = SharedBook(home.engine, lambda _transaction, _index: None, feed)
    node = Node(book, ports, identity, lambda wish, seat: hire(identity, wish, seat))
    return Host(
        node=node,
        book=book,
        exchange=Exchange(book, ports, entropy, rhythm),
        feed=feed,
        entropy=entropy,
        output_folder=home.path / OUTPUT_FOLDER,
        trouble=journal.failure,
    )


def _url(address: Address, tls: Tls | None) -> str:
    """Return how this machine reaches the node."""
    from ipaddress import ip_address

    from tallystick.api.settings import Address

    here = {4: "127.0.0.1", 6: "::1"}[ip_address(address.host).version]
    reachable = Address(here, address.port) if ip_address(address.host).is_unspecified else address
    return f"{'http' if tls is None else 'https'}://{reachable.authority}"


def _tell(address: Address, url: str, tls: Tls | None, *, as_json: bool) -> None:
    """Say where it listens and what to do now."""
    if as_json:
        emit({"url": url, "pid": os.getpid(), "listen": address.authority})
    if tls is None and not address.is_loopback:
        say("warning: tokens and pictures travel in clear: use --tls-cert and --tls-key, or a proxy that speaks TLS")
    say(f"listening on {url} (Ctrl-C stops)")
    say(f"  a worker:  {command('worker', url)}")
    say(f"  a job:     {command('submit', 'upscale', 'PICTURE', '--node', url)}")
    say(f"  the API:   {url}/schema")
