"""Tells whoever listens that the log grew, or that something of this home fails; nothing of what it says is kept."""

from __future__ import annotations

import threading
from collections.abc import Callable

Listener = Callable[[], None]


class Feed:
    """Listeners of one node; they are called in the ledger's thread and must be quick."""

    def __init__(self, trouble: Callable[[Exception], None]) -> None:
        """Begin without listeners; ``trouble`` hears of failures that nobody waits for."""
        self._listeners: dict[int, Listener] = {}
        self._next = 0
        self._lock = threading.Lock()
        self._trouble = trouble

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Have a listener called after every durable block; returns what ends that."""
        with self._lock:
            number, self._next = self._next, self._next + 1
            self._listeners[number] = listener

        def unsubscribe() -> None:
            with self._lock:
                self._listeners.pop(number, None)

        return unsubscribe

    def notify(self) -> None:
        """Call every listener."""
        with self._lock:
            listeners = tuple(self._listeners.values())
        for listener in listeners:
            listener()

    def troubled(self, error: Exception) -> None:
        """Tell of a failure."""
        self._trouble(error)
