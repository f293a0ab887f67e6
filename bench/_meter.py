"""CPU time by name: who spent it, in which thread, without counting anything twice."""

from __future__ import annotations

import resource
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import thread_time
from typing import Any


def process_cpu() -> float:
    """CPU seconds of this process so far, user and system, all its threads (getrusage)."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def in_thread(act: Callable[[], object]) -> float:
    """CPU seconds of an act in a thread of its own.

    There the C library keeps freed memory, as it does for a job's workers; the first thread gives it back to the system
    and faults it in again for every tile.
    """
    spent: list[float] = []

    def timed() -> None:
        begun = process_cpu()
        act()
        spent.append(process_cpu() - begun)

    thread = threading.Thread(target=timed)
    thread.start()
    thread.join()
    return spent[0]


@dataclass(slots=True)
class _Sum:
    """What was counted under one name: seconds, how many spans, how many spans directly inside them.

    ``seconds`` are without what other spans took inside, ``whole`` with it.
    """

    seconds: float = 0.0
    whole: float = 0.0
    spans: int = 0
    inner: int = 0


class _Thread(threading.local):
    """One thread's notes in order: a name and a time where a span begins, a time where the last open one ends."""

    def __init__(self, everyone: list[list[str | float]]) -> None:
        notes: list[str | float] = []
        self.note = notes.append
        everyone.append(notes)


class Meter:
    """Adds up the CPU time of named spans; a span inside another one is taken out of the outer one's time.

    While the work runs it only notes names and times: what is counted here takes microseconds, and a clock's reading is
    most of one. A new meter measures what an empty span adds to itself and to the one around it, and takes that off.
    """

    def __init__(self, *, calibrated: bool = True) -> None:
        self._everyone: list[list[str | float]] = []
        self._thread = _Thread(self._everyone)
        self._own, self._outer = _calibrate() if calibrated else (0.0, 0.0)

    @property
    def seconds(self) -> dict[str, float]:
        """CPU seconds by name, over all threads, of spans that have ended."""
        off = {name: each.spans * self._own + each.inner * self._outer for name, each in self._sums().items()}
        return {name: max(0.0, each.seconds - off[name]) for name, each in self._sums().items()}

    def whole(self, name: str) -> float:
        """CPU seconds of a name with all that happened inside."""
        return self._sums()[name].whole

    @property
    def cost(self) -> float:
        """CPU seconds that the counting itself took."""
        return sum(each.spans for each in self._sums().values()) * (self._own + self._outer)

    def _sums(self) -> dict[str, _Sum]:
        sums: dict[str, _Sum] = defaultdict(_Sum)
        for notes in self._everyone:
            _add_up(list(notes), sums)
        return sums

    def wrap(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """Return the same call, counted."""
        thread, now = self._thread, thread_time

        def counted(*args: object, **kwargs: object) -> object:
            note = thread.note
            note(name)
            note(now())
            try:
                return call(*args, **kwargs)
            finally:
                note(now())

        return counted

    @contextmanager
    def span(self, name: str) -> Iterator[None]:
        """Count what happens inside."""
        note = self._thread.note
        note(name)
        note(thread_time())
        try:
            yield
        finally:
            note(thread_time())


def _add_up(notes: Sequence[str | float], sums: dict[str, _Sum]) -> None:
    """Add one thread's notes to the sums."""
    # Each open span: its name, when it began, seconds and number of the spans directly inside.
    around: list[tuple[str, float, float, int]] = []
    name = None
    for each in notes:
        if isinstance(each, str):
            name = each
        elif name is not None:
            around.append((name, each, 0.0, 0))
            name = None
        else:
            ended, begun, inside, inner = around.pop()
            total, spent = sums[ended], each - begun
            total.seconds += spent - inside
            total.whole += spent
            total.spans += 1
            total.inner += inner
            if around:
                outer, since, sooner, before = around[-1]
                around[-1] = outer, since, sooner + spent, before + 1


def count(instance: object, meter: Meter, names: Mapping[str, str]) -> None:
    """Count some methods of an object in place, so that nothing else of it becomes slower."""
    base = type(instance)
    give(instance, {method: meter.wrap(name, getattr(base, method)) for method, name in names.items()})


def give(instance: object, methods: Mapping[str, Callable[..., Any]]) -> None:
    """Give one object, which may be frozen, other methods than its class has."""
    base = type(instance)
    object.__setattr__(instance, "__class__", type(base.__name__, (base,), {"__slots__": (), **methods}))


def _calibrate(spans: int = 2000) -> tuple[float, float]:
    """Return what an empty span adds to its own time and to the one around it, in CPU seconds."""
    meter = Meter(calibrated=False)
    empty = meter.wrap("inner", lambda: None)
    with meter.span("outer"):
        for _ in range(spans):
            empty()
    spent = meter.seconds
    return spent["inner"] / spans, spent["outer"] / spans
