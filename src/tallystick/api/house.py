"""Everything the routes of one server reach, handed to each handler as ``house``."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from litestar.di import NamedDependency
from litestar.params import SkipValidation

from tallystick.api.callers import Door
from tallystick.api.guard import Caller
from tallystick.api.lines import Lines
from tallystick.api.lobby import Lobby
from tallystick.api.logs import Journal
from tallystick.api.meters import Gauges, Meters
from tallystick.api.promises import Promises
from tallystick.api.settings import Settings
from tallystick.api.taps import Taps
from tallystick.api.upload_desk import UploadDesk
from tallystick.api.upload_hands import Hands
from tallystick.node.feed import Feed
from tallystick.node.host import Host
from tallystick.node.identity import Identity
from tallystick.node.ledger_thread import SharedBook
from tallystick.node.ports import Entropy, Ports
from tallystick.node.signed_requests import Gatekeeper
from tallystick.node.tokens import Tokens


@dataclass(slots=True)
class House:
    """One running server: the node behind it and the desk in front of it."""

    host: Host
    settings: Settings
    tokens: Tokens
    door: Door
    lines: Lines
    journal: Journal
    meters: Meters
    trust: Callable[[], bytes]
    uploads: Hands
    promises: Promises
    decoding: asyncio.Semaphore
    taps: Taps
    lobby: Lobby = field(default_factory=Lobby)
    """Where workers wait before they say hello."""
    streams: Counter[str] = field(default_factory=Counter)
    """How many event streams are open, by account."""
    ready_until: int = 0
    """Until when the last look at the store counts, UTC milliseconds."""

    @property
    def book(self) -> SharedBook:
        """The ledger."""
        return self.host.book

    @property
    def feed(self) -> Feed:
        """Who hears of new blocks."""
        return self.host.feed

    @property
    def ports(self) -> Ports:
        """Everything the node touches the world with."""
        return self.host.node.ports

    @property
    def identity(self) -> Identity:
        """The keys of the home."""
        return self.host.node.identity

    @property
    def entropy(self) -> Entropy:
        """Randomness."""
        return self.host.entropy

    def now(self) -> int:
        """Return UTC milliseconds."""
        return self.ports.clock.now()


Here = SkipValidation[NamedDependency[House]]
"""How a handler names its house."""
Asker = SkipValidation[NamedDependency[Caller]]
"""How a handler names who asks; only where the table demands credentials."""


def furnish(settings: Settings, host: Host, tokens: Tokens, trust: Callable[[], bytes], journal: Journal) -> House:
    """Set the desk up: who may come in, what is open, what is counted, which uploads an earlier process left."""
    identity, ports = host.node.identity, host.node.ports
    now = ports.clock.now()
    own = frozenset(key.public.hex() for key in (identity.coordinator(), identity.requester()))
    gatekeeper = Gatekeeper(host.book.engine.parameters.chain_id, now)
    desk, promises = UploadDesk(settings.folder / "uploads", settings.bounds), Promises(ports.store, host.entropy)
    desk.open(now)
    promises.sweep(now)
    lines = Lines()
    return House(
        host=host,
        settings=settings,
        tokens=tokens,
        door=Door(tokens, gatekeeper, own, is_open=not settings.require_auth),
        lines=lines,
        journal=journal,
        meters=Meters(lambda: look(host, lines, desk)),
        trust=trust,
        uploads=Hands(desk),
        promises=promises,
        decoding=asyncio.Semaphore(settings.bounds.decoding),
        taps=Taps(settings.bounds.faucet_account_cpc, settings.bounds.faucet_all_cpc),
    )


def look(host: Host, lines: Lines, desk: UploadDesk) -> Gauges:
    """Return what an operator's gauges show now."""
    book = host.book
    with book.lock:
        index = book.engine.index
        entries, blocks, anchors = book.engine.tree.size, len(index.headers), len(index.anchors)
    phases = Counter({state.value: count for state, count in host.states().items()})
    return Gauges(
        entries=entries,
        blocks=blocks,
        queue=book.depth,
        phases=phases,
        workers=len(host.exchange.cards()),
        lines=lines.open,
        anchors=anchors,
        uploads=desk.unfinished,
    )
