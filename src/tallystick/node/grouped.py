"""One costly act for all who wait for it: whoever asks while it is under way shares the next one.

Knows threads and turns; refuses to know what the act does. A flush takes as long for one caller as for thirty.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from tallystick.errors import StoreError

T = TypeVar("T")


@dataclass(slots=True)
class _Round(Generic[T]):
    """Those who share one act; ``error`` stands until it succeeded."""

    wishes: list[T] = field(default_factory=list)
    begun: bool = False
    error: StoreError | None = None


class Grouped(Generic[T]):
    """Runs ``act`` over the wishes of all threads that asked before it began, in their order, one act at a time."""

    def __init__(self, act: Callable[[Sequence[T]], None]) -> None:
        """Use an act that raises StoreError when it failed for all of them."""
        self._act, self._gate, self._turn = act, threading.Lock(), threading.Lock()
        self._next = _Round[T]()

    def __call__(self, wish: T) -> None:
        """Return when an act that began after this call has ended.

        Raises:
            StoreError: it failed, for everybody who shared it.
        """
        with self._gate:
            mine = self._next
            mine.wishes.append(wish)
        with self._turn:
            if not mine.begun:
                self._run(mine)
        if mine.error is not None:
            raise StoreError(str(mine.error)) from mine.error

    def _run(self, mine: _Round[T]) -> None:
        """Close the round, and act for it."""
        with self._gate:
            self._next = _Round()
        mine.begun, mine.error = True, StoreError("what was to become durable was interrupted: try again")
        try:
            self._act(mine.wishes)
        except StoreError as error:
            mine.error = error
        else:
            mine.error = None
