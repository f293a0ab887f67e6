"""The anchors of a home that is served: its loop runs beside the server, and is asked by `/api/v1/anchors`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from tallystick.cli.anchor_desks import make_anchoring
from tallystick.cli.chains import Reach

if TYPE_CHECKING:
    from tallystick.api.logs import Journal
    from tallystick.cli.home import Home
    from tallystick.node.anchor_loop import AnchorLoop
    from tallystick.node.host import Host


@contextmanager
def anchoring(home: Home, host: Host, journal: Journal) -> Iterator[AnchorLoop]:
    """Take turns for as long as the node runs; what is on its way at the end goes on at the next start."""
    from tallystick.node.anchor_loop import AnchorLoop
    from tallystick.node.anchor_outbox import Drawer

    with closing(Reach(home.path, home.identity, home.node.ports.clock)) as reach:
        drawer = Drawer(home.store)
        loop = AnchorLoop(make_anchoring(host.book, drawer, reach, journal.note), drawer, journal.warn)
        unsubscribe = host.feed.subscribe(loop.notice)
        loop.start()
        try:
            yield loop
        finally:
            unsubscribe()
            loop.stop()
