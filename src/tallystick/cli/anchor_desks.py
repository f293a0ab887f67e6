"""Where a home's anchors are made: in the home itself, or in the node that works in it, asked by the home's own key.

A chain's URL, which may carry a key, goes to the node and never comes back: what is shown of it is read from the home.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Final, Protocol

from tallystick.cli.chains import Reach
from tallystick.cli.home import LEDGER_FILE, home_path, load_master, open_home, read_home
from tallystick.cli.node_file import running
from tallystick.errors import NodeError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tallystick.cli.node_file import Standing
    from tallystick.client.answers import AnchorInfo, AnchorsInfo
    from tallystick.client.connected import Client
    from tallystick.node.anchor_outbox import Drawer, Target
    from tallystick.node.anchor_policy import AnchorPolicy
    from tallystick.node.anchor_status import Newest, Status
    from tallystick.node.anchoring import Anchoring
    from tallystick.node.book import Book
    from tallystick.node.identity import Identity
    from tallystick.node.ports import Store

POLL_MS: Final = 300
BEGIN_S: Final = 60.0
"""How long a node may take to begin what it was asked for: a turn before it may wait for a chain."""


class Turns(Protocol):
    """What takes turns at anchoring: this process, or a node."""

    def status(self) -> Status:
        """Say how anchoring stands."""
        ...

    def turn(self, *, asked: bool = False) -> int | None:
        """Go on; return in how many ms to look again."""
        ...


class Desk(Turns, Protocol):
    """Where a home's anchors are made, and where it is kept when and on which chain."""

    def target(self) -> Target:
        """Return the chain, with its URL as it was typed."""
        ...

    def set_target(self, target: Target) -> None:
        """Anchor on another chain from now on."""
        ...

    def set_policy(self, policy: AnchorPolicy) -> None:
        """Anchor by another policy from now on."""
        ...


@contextmanager
def working_desk(note: Callable[[str], None]) -> Iterator[tuple[Desk, Identity]]:
    """Open this home for writing, or speak to the node that has it open."""
    path = home_path()
    standing = running(path)
    if standing is not None:
        with _at_node(path, standing) as desk:
            yield desk
        return
    with open_home(path) as home, closing(Reach(home.path, home.identity, home.node.ports.clock)) as reach:
        drawer = drawer_of(home.store)
        yield InHome(make_anchoring(home.node.book, drawer, reach, note), drawer), home.identity


@contextmanager
def reading_desk() -> Iterator[Desk]:
    """Open this home for reading, or ask the node that works in it."""
    from tallystick.adapters.local import SystemClock

    path = home_path()
    standing = running(path)
    if standing is not None:
        with _at_node(path, standing) as (desk, _):
            yield desk
        return
    with read_home(path) as home:
        drawer = drawer_of(home.store)
        reach = Reach(home.path, home.identity, SystemClock())
        yield InHome(make_anchoring(home.book, drawer, reach, lambda _text: None), drawer)


@contextmanager
def _at_node(path: Path, standing: Standing) -> Iterator[tuple[Desk, Identity]]:
    from tallystick.client.connected import Client
    from tallystick.node.identity import Identity

    identity = Identity(load_master(path)[0])
    with Client(standing.url, key=identity.coordinator(), verify=standing.certificate) as client:
        yield AtNode(client, path / LEDGER_FILE), identity


def drawer_of(store: Store) -> Drawer:
    """Return what a home keeps about its anchors."""
    from tallystick.node.anchor_outbox import Drawer

    return Drawer(store)


def make_anchoring(book: Book, drawer: Drawer, reach: Reach, tell: Callable[[str], None]) -> Anchoring:
    """Wire the anchors of a home."""
    from tallystick.node.anchoring import Anchoring

    return Anchoring(book, drawer, reach.identity.coordinator(), reach.clock, reach.chains(), tell=tell)


class InHome:
    """The anchors of a home that nobody serves at the moment."""

    def __init__(self, anchoring: Anchoring, drawer: Drawer) -> None:
        """Work on a home."""
        self._anchoring, self._drawer = anchoring, drawer

    def status(self) -> Status:
        """See ``Turns.status``."""
        return self._anchoring.status()

    def turn(self, *, asked: bool = False) -> int | None:
        """See ``Turns.turn``."""
        return self._anchoring.turn(asked=asked)

    def target(self) -> Target:
        """See ``Desk.target``."""
        return self._drawer.target()

    def set_target(self, target: Target) -> None:
        """See ``Desk.set_target``."""
        self._drawer.move(target)
        self._anchoring.reload()

    def set_policy(self, policy: AnchorPolicy) -> None:
        """See ``Desk.set_policy``."""
        self._drawer.set_policy(policy)


class AtNode:
    """The anchors of a home that a node serves."""

    def __init__(self, client: Client, ledger: Path) -> None:
        """Ask a node; its home's ledger file is read for what the node does not say."""
        self._client, self._ledger = client, ledger

    def status(self) -> Status:
        """See ``Turns.status``."""
        return status_of(self._client.anchors())

    def turn(self, *, asked: bool = False) -> int | None:
        """Ask the node, once, and wait until it has begun; it goes on by itself."""
        if asked:
            self._client.anchor()
            self._await(lambda found: found.in_flight is not None or not found.asked, "begun to anchor")
        return POLL_MS

    def target(self) -> Target:
        """See ``Desk.target``; a reader sees one moment only, so each look is a new one."""
        from tallystick.adapters.sqlite import SqliteStore

        with closing(SqliteStore(self._ledger, read_only=True)) as store:
            return drawer_of(store).target()

    def set_target(self, target: Target) -> None:
        """Tell the node, and wait until it has taken the chain up."""
        import msgspec

        from tallystick.anchoring.erc7053 import EMBEDDED_CHAIN

        self._client.set_anchor_target(msgspec.to_builtins(target))
        chain = target.chain or EMBEDDED_CHAIN
        self._await(lambda found: found.chain == chain, f"taken up {chain}")

    def set_policy(self, policy: AnchorPolicy) -> None:
        """See ``Desk.set_policy``."""
        self._client.set_anchor_policy(str(policy))

    def _await(self, true: Callable[[AnchorsInfo], bool], what: str) -> None:
        until = time.monotonic() + BEGIN_S
        while not true(self._client.anchors()):
            if time.monotonic() > until:
                raise NodeError(f"the node has not {what} within {BEGIN_S:.0f} s: its log says what it waits for")
            time.sleep(POLL_MS / 1000)


def status_of(said: AnchorsInfo) -> Status:
    """Return what a node says as a home would say it."""
    from tallystick.node.anchor_status import Status

    flight = said.in_flight
    return Status(
        chain=said.chain,
        contract=said.contract,
        recorder=said.recorder,
        embedded=said.embedded,
        policy=said.policy,
        phase=said.phase,
        waiting=said.waiting_entries,
        newest=None if said.newest is None else _newest(said.newest),
        size=None if flight is None else flight.size,
        nonce=None if flight is None else flight.nonce,
        variants=0 if flight is None else flight.variants,
        block=None if flight is None else flight.block,
        held_fee=None if said.held_fee_wei is None else int(said.held_fee_wei),
        error=said.error,
        asked=said.asked,
    )


def _newest(said: AnchorInfo) -> Newest:
    """Return an anchor as it stands in the log.

    Raises:
        NodeError: no log holds such an entry.
    """
    import msgspec

    from tallystick.ledger.payloads import Anchored
    from tallystick.node.anchor_status import Newest

    fields = {name: getattr(said, name) for name in Anchored.__struct_fields__}
    hashes = {name: str(fields[name]).removeprefix("0x") for name in ("tx_hash", "block_hash")}
    try:
        return Newest(said.index, msgspec.convert(fields | hashes, Anchored))
    except msgspec.ValidationError as error:
        raise NodeError(f"the node shows an anchor that no log holds: {error}") from error
