"""`tally anchor`: writes the newest checkpoint of this home to a chain, once, and says how its anchors stand."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tallystick.cli.anchor_desks import Desk, Turns, drawer_of, make_anchoring, reading_desk, working_desk
from tallystick.cli.chains import Asked, Reach, shown_url, target_of
from tallystick.cli.exits import DONE, FAILED, InterruptionError
from tallystick.cli.screen import Screen
from tallystick.cli.words import command, count
from tallystick.errors import ChainError, UsageError

if TYPE_CHECKING:
    from tallystick.cli.home import Home
    from tallystick.node.anchor_outbox import Target
    from tallystick.node.anchor_status import Newest, Status
    from tallystick.node.identity import Identity

WAIT_S: Final = 300


@dataclass(frozen=True, slots=True)
class Ended:
    """How an attempt to anchor ended: how things stand, and the anchor that it brought, if any."""

    status: Status
    fresh: Newest | None

    @property
    def open(self) -> bool:
        """Whether the newest checkpoint is still on its way, or a node has not begun."""
        return self.status.size is not None or self.status.asked


def anchor_now(asked: Asked, wait_s: int, *, as_json: bool) -> int:
    """Anchor the newest checkpoint and wait until that is final; return the exit code."""
    screen = Screen(as_json=as_json)
    with working_desk(screen.note) as (desk, identity):
        if asked.anything:
            _retarget(desk, asked, identity)
        try:
            ended = drive(desk, wait_s, screen.note)
        except KeyboardInterrupt as error:
            again = command("anchor")
            raise InterruptionError(f"interrupted; what was signed is kept: `{again}` goes on") from error
        document, rpc = _document(ended.status, desk.target()), desk.target().rpc
    screen.result({"anchored": ended.fresh is not None, **document})
    if not as_json:
        _show_end(screen, ended, rpc)
    return FAILED if ended.open else DONE


def show_status(*, as_json: bool) -> int:
    """Print how this home's anchors stand; asks no chain, and needs no lock."""
    screen = Screen(as_json=as_json)
    with reading_desk() as desk:
        status, target = desk.status(), desk.target()
    screen.result(_document(status, target))
    if not as_json:
        screen.pairs(_pairs(status, target.rpc))
    return DONE


def set_policy(text: str | None, *, as_json: bool) -> int:
    """Print the policy, or follow another from now on."""
    from tallystick.node.anchor_policy import parse

    screen = Screen(as_json=as_json)
    if text is None:
        with reading_desk() as desk:
            kept = desk.status().policy
    else:
        policy = parse(text)
        with working_desk(screen.note) as (desk, _):
            desk.set_policy(policy)
        kept = str(policy)
    screen.result({"policy": kept})
    if not as_json:
        screen.line(_policy_words(kept))
    return DONE


def anchor_quietly(home: Home) -> Newest | None:
    """Anchor the newest checkpoint on a home's own chain, for other verbs; None where this machine cannot.

    Raises:
        TallyError: it can, and it failed.
    """
    from importlib.util import find_spec

    if find_spec("pyrevm") is None:
        return None
    with closing(Reach(home.path, home.identity, home.node.ports.clock)) as reach:
        anchoring = make_anchoring(home.node.book, drawer_of(home.store), reach, lambda _text: None)
        return drive(anchoring, 0, lambda _text: None).fresh


def drive(anchoring: Turns, wait_s: float, note: Callable[[str], None]) -> Ended:
    """Take turns until the newest checkpoint is anchored, or so much time has passed.

    Raises:
        ChainError: nothing was sent, because the chain does not answer, refuses, or is too dear; or what was reverted.
    """
    before, until, told = anchoring.status(), time.monotonic() + wait_s, ""
    older = before.size is not None
    wait = anchoring.turn(asked=True)
    while True:
        status = anchoring.status()
        fresh = status.newest if status.newest != before.newest else None
        if status.size is None and older and fresh is not None:
            older, wait = False, anchoring.turn(asked=True)  # that one began before what is asked for now
            continue
        if status.size is None and not status.asked:
            _check_end(status, fresh)
            return Ended(status, fresh)
        if (words := _progress(status)) != told:
            note(words)
            told = words
        left = until - time.monotonic()
        if left <= 0:
            return Ended(status, None)
        time.sleep(min(left, (wait if wait is not None else 1000) / 1000))
        wait = anchoring.turn()


def _check_end(status: Status, fresh: Newest | None) -> None:
    """Tell "nothing to do" from "could not".

    Raises:
        ChainError: it could not.
    """
    from tallystick.node.anchor_words import Phase

    if fresh is not None:
        return
    if status.phase is Phase.REVERTED:
        again = command("anchor")
        raise ChainError(f"the last commit on {status.chain} failed there and is paid for: `{again}` signs a new one")
    if status.held_fee is not None:
        raise ChainError(f"{status.chain} asks {status.held_fee} wei per gas, more than the cap: nothing was sent")
    if status.error is not None:
        raise ChainError(f"nothing was sent: {status.error}")


def _progress(status: Status) -> str:
    if status.size is None:
        return "asked for; the node has not begun yet"
    if status.block is not None:
        return f"in block {status.block} of {status.chain}, waiting until that is final"
    trouble = "" if status.error is None else f"; {status.error}"
    return f"sent to {status.chain} with nonce {status.nonce}, variant {status.variants}{trouble}"


def _retarget(desk: Desk, asked: Asked, identity: Identity) -> None:
    """Take another chain, unless an anchor is on its way to the one before.

    Raises:
        UsageError: one is.
    """
    status = desk.status()
    if asked.deploy and status.size is not None:
        again = command("anchor")
        raise UsageError(f"an anchor is on its way to {status.contract} on {status.chain}: finish it first (`{again}`)")
    desk.set_target(target_of(asked, desk.target(), identity))


def _document(status: Status, target: Target) -> dict[str, object]:
    """Return what --json prints; the URL is shown without what may be secret in it."""
    return {**status.as_json(), "rpc": None if target.rpc is None else shown_url(target.rpc)}


def _show_end(screen: Screen, ended: Ended, rpc: str | None) -> None:
    status, fresh = ended.status, ended.fresh
    if ended.open:
        again = command("anchor")
        screen.line(f"not final yet: {_progress(status)}; `{again}` goes on")
    elif fresh is None:
        screen.line("nothing new to anchor: the newest checkpoint adds only headers and anchors to the one before")
    else:
        screen.line(f"anchored {count(fresh.payload.size, 'entry', 'entries')}", style="green")
    screen.pairs(_pairs(status, rpc))
    if status.newest is not None and not ended.open:
        again = command("bundle", "JOB", "--out", "OUT.bundle.json")
        screen.line(f"A bundle from before does not carry the anchor: `{again}` writes it again.")


def _pairs(status: Status, rpc: str | None) -> list[tuple[str, str]]:
    own = "this home's own, so that an anchor there convinces nobody else" if rpc is None else f"by {shown_url(rpc)}"
    pairs = [
        ("Chain", f"{status.chain}, {own}"),
        ("Contract", status.contract or "made with the first anchor"),
        ("Recorder", status.recorder),
        ("Policy", _policy_words(status.policy)),
        ("Waiting", count(status.waiting, "entry", "entries")),
    ]
    if status.newest is not None:
        said = status.newest.payload
        pairs.append(("Newest", f"{count(said.size, 'entry', 'entries')} in block {said.block}, 0x{said.tx_hash}"))
    if status.size is not None:
        pairs.append(("Under way", f"{count(status.size, 'entry', 'entries')}, {_progress(status)}"))
    return pairs


def _policy_words(text: str) -> str:
    """Say what a policy means."""
    words = {"off": "off: only when asked", "event": "event: after every event of a job"}
    if text in words:
        return words[text]
    return f"every {text} entries" if text.isdigit() else f"every {text}"
