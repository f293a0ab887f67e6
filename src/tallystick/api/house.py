"""Everything the routes of one server reach, handed to each handler as ``house``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from litestar.params import Dependency

from tallystick.api.callers import Door
from tallystick.api.guard import Caller
from tallystick.api.lines import Lines
from tallystick.api.logs import Journal
from tallystick.api.meters import Gauges, Meters
from tallystick.api.settings import Settings
from tallystick.api.upload_desk import UploadDesk
from tallystick.api.upload_hands import Hands
from tallystick.node.feed import Feed
from tallystick.node.identity import Identity
from tallystick.node.ledger_thread import SharedBook
from tallystick.node.ports import Entropy, Ports
from tallystick.node.signed_requests import Gatekeeper
from tallystick.node.tokens import Tokens


@dataclass(slots=True)
class House:
    """One running server: the node behind it and the desk in front of it."""

    settings: Settings
    book: SharedBook
    feed: Feed
    ports: Ports
    identity: Identity
    entropy: Entropy
    tokens: Tokens
    door: Door
    lines: Lines
    journal: Journal
    meters: Meters
    trust: Callable[[], bytes]
    uploads: Hands
    streams: int = 0
    """How many event streams are open."""
    ready_until: int = 0
    """Until when the last look at the store counts, UTC milliseconds."""

    def now(self) -> int:
        """Return UTC milliseconds."""
        return self.ports.clock.now()


Here = Annotated[House, Dependency(skip_validation=True)]
"""How a handler names its house."""
Asker = Annotated[Caller, Dependency(skip_validation=True)]
"""How a handler names who asks; only where the table demands credentials."""


def furnish(  # noqa: PLR0913 - everything that a server is made of
    settings: Settings,
    *,
    book: SharedBook,
    feed: Feed,
    ports: Ports,
    identity: Identity,
    entropy: Entropy,
    tokens: Tokens,
    trust: Callable[[], bytes],
    journal: Journal,
    workers: Callable[[], int],
) -> House:
    """Set the desk up: who may come in, what is open, what is counted, which uploads an earlier process left."""
    now = ports.clock.now()
    own = frozenset(key.public.hex() for key in (identity.coordinator(), identity.requester()))
    gatekeeper = Gatekeeper(book.engine.parameters.chain_id, now)
    desk = UploadDesk(settings.folder / "uploads", settings.bounds)
    desk.open(now)
    lines = Lines()
    return House(
        settings=settings,
        book=book,
        feed=feed,
        ports=ports,
        identity=identity,
        entropy=entropy,
        tokens=tokens,
        door=Door(tokens, gatekeeper, own, is_open=not settings.require_auth),
        lines=lines,
        journal=journal,
        meters=Meters(lambda: look(book, workers(), lines, desk)),
        trust=trust,
        uploads=Hands(desk),
    )


def look(book: SharedBook, workers: int, lines: Lines, desk: UploadDesk) -> Gauges:
    """Return what an operator's gauges show now."""
    with book.lock:
        entries, blocks, jobs = book.engine.tree.size, len(book.engine.index.headers), list(book.engine.index.jobs)
        anchors = len(book.engine.index.anchors)
    phases = Counter(job.phase.name.lower() for name in jobs if (job := book.job(name)) is not None)
    return Gauges(entries, blocks, book.depth, phases, workers, lines.open, anchors, desk.unfinished)
