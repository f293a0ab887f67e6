"""A thread that keeps the anchors of a running node up to its policy. Nothing that fails here stops the node.

Knows when to take the next turn and how to wait for it. Refuses to know what a turn does.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from tallystick.errors import TallyError
from tallystick.node.anchor_outbox import Drawer, Target
from tallystick.node.anchor_policy import AnchorPolicy
from tallystick.node.anchor_status import Status
from tallystick.node.anchor_words import RESTING
from tallystick.node.anchoring import Anchoring

STOP_SECONDS: Final = 0.8
"""A turn that waits for a chain's answer longer than this is left behind: what it sends is in the outbox already."""
RETRY_MS: Final = 5_000
PAUSE_SECONDS: Final = 0.1
"""Between two turns, however fast the log grows: looking whether an anchor is due must cost nothing that shows."""


class AnchorLoop:
    """Takes turns until it is stopped; for any thread."""

    def __init__(self, anchoring: Anchoring, drawer: Drawer, trouble: Callable[[str], None]) -> None:
        """Prepare; ``trouble`` hears of what is no business of the chain: the store, or a bug."""
        self._anchoring, self._drawer, self._trouble = anchoring, drawer, trouble
        self._wake, self._stopping, self._lock = threading.Event(), threading.Event(), threading.Lock()
        self._asked, self._answered, self._reload = 0, 0, False
        self._thread = threading.Thread(target=self._run, name="anchors", daemon=True)
        self._status = anchoring.status()

    def start(self) -> None:
        """Begin to take turns."""
        self._thread.start()

    def stop(self) -> None:
        """End, in less than a second; an anchor in flight goes on at the next start."""
        self._stopping.set()
        self._wake.set()
        self._thread.join(STOP_SECONDS)

    @property
    def alive(self) -> bool:
        """Whether turns are taken."""
        return self._thread.is_alive()

    @property
    def status(self) -> Status:
        """How anchoring stands since the last turn, under the policy of now."""
        asked = self._asked > self._answered  # before the status is taken: what was answered shows in it
        return replace(self._status, policy=str(self._drawer.policy()), asked=asked)

    def notice(self) -> None:
        """Hear that the log grew."""
        self._wake.set()

    def ask(self) -> Status:
        """Have the newest checkpoint anchored whatever the policy says, after one in flight; returns at once."""
        with self._lock:
            self._asked += 1
        self._wake.set()
        return self.status

    def set_policy(self, policy: AnchorPolicy) -> None:
        """Follow another policy from now on."""
        self._drawer.set_policy(policy)
        self._wake.set()

    def set_target(self, target: Target) -> None:
        """Anchor on another chain from now on.

        Raises:
            UsageError: the target's parts do not make a chain; ConflictError: one in flight must be final first.
        """
        self._anchoring.check(target)
        self._drawer.move(target)
        with self._lock:
            self._reload = True
        self._wake.set()

    def _run(self) -> None:
        while not self._stopping.wait(PAUSE_SECONDS):
            wait = self._turn()
            # What arrives meanwhile sets the event again, so that nothing is slept over.
            self._wake.wait(None if wait is None else wait / 1000)
            self._wake.clear()

    def _turn(self) -> int | None:
        with self._lock:
            number, reload, self._reload = self._asked, self._reload, False
        asked = number > self._answered
        try:
            if reload:
                self._anchoring.reload()
            begins = self._anchoring.state.phase in RESTING
            wait = self._anchoring.turn(asked=asked)
            self._status = self._anchoring.status()
        except (TallyError, OSError) as error:
            self._status, self._answered = replace(self._status, error=str(error)), number
            if not self._stopping.is_set():
                self._trouble(f"anchoring: {error}")
            return RETRY_MS
        if begins:
            self._answered = number
        elif asked and self._anchoring.state.phase in RESTING:
            return 0  # the one before is final: now the one that was asked for
        return wait
