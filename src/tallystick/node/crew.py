"""Who works beside the thread that owns the ledger: acts go in, facts come out, in whatever order they end.

Knows threads and waiting. Refuses to know what an act does: a failure of ours becomes a fact like any other, so that
the owner decides what it means.
"""

from __future__ import annotations

import queue
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final, Protocol

from tallystick.commitment import Opening, Output
from tallystick.node.ports import Clock
from tallystick.node.worker import Posted
from tallystick.slicing import MicroJob

NAP_SECONDS: Final = 60.0
"""Longest sleep without a look at the wall clock: a suspended machine's own timers stand still meanwhile."""


@dataclass(frozen=True, slots=True)
class Worked:
    """A worker ended a micro job: what it posts, and digest and length of what it uploaded, by slot."""

    microjob: MicroJob
    posted: Posted | None
    uploads: dict[int, tuple[bytes, int]]


@dataclass(frozen=True, slots=True)
class Refereed:
    """The referee computed a block."""

    block: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Rooted:
    """A worker's root stands in the log: the worker signed and numbered the entry itself."""

    microjob: int


@dataclass(frozen=True, slots=True)
class Delivered:
    """All bytes of a micro job whose root stands are kept; ``noted`` says whether a restart would know it."""

    microjob: int
    outputs: tuple[Output, ...]
    noted: bool


@dataclass(frozen=True, slots=True)
class Revealed:
    """A worker opened its leaves, or stays silent (None)."""

    microjob: int
    openings: tuple[Opening, ...] | None


@dataclass(frozen=True, slots=True)
class Gone:
    """The holder of a micro job is away or did not keep its lease; these seats could take over, best first."""

    microjob: int
    seats: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Unanswered:
    """What the holder of a micro job said has no form: nothing will come of it before the deadline."""

    microjob: int


@dataclass(frozen=True, slots=True)
class BuyerSpoke:
    """The buyer revealed its secret, which is kept and opens its commitment."""

    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Broken:
    """Something of ours failed; the job stays where it is and can be resumed."""

    error: BaseException


Fact = Worked | Refereed | Rooted | Delivered | Revealed | Gone | Unanswered | BuyerSpoke | Broken
Act = Callable[[], Worked | Refereed]


class Crew(Protocol):
    """Runs acts and hands back facts."""

    def submit(self, act: Act) -> None:
        """Have an act run at some time."""
        ...

    def wait(self, until: int | None) -> tuple[Fact, ...]:
        """Return what has ended, at least one fact; none when ``until`` (UTC ms) may have passed first."""
        ...

    def close(self) -> None:
        """Return when nothing runs any more; acts that did not begin are dropped."""
        ...


class ThreadCrew:
    """So many threads of this process."""

    def __init__(self, threads: int, clock: Clock) -> None:
        """Begin without work."""
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="tally")
        self._facts: queue.SimpleQueue[Fact] = queue.SimpleQueue()
        self._clock = clock

    def submit(self, act: Act) -> None:
        """Have an act run in one of the threads."""
        self._pool.submit(self._run, act)

    def _run(self, act: Act) -> None:
        try:
            fact: Fact = act()
        except BaseException as error:  # noqa: BLE001 - the owner of the facts raises it again
            fact = Broken(error)
        self._facts.put(fact)

    def tell(self, fact: Fact) -> None:
        """Have the owner hear of something that no act of this crew brought about."""
        self._facts.put(fact)

    def wait(self, until: int | None) -> tuple[Fact, ...]:
        """Sleep until something ends, or the time may have come."""
        left = NAP_SECONDS if until is None else max(0.0, (until - self._clock.now()) / 1000)
        try:
            facts = [self._facts.get(timeout=min(left, NAP_SECONDS))]
        except queue.Empty:
            return ()
        while not self._facts.empty():
            facts.append(self._facts.get())
        return tuple(facts)

    def close(self) -> None:
        """Wait for the threads that run, drop what waits."""
        self._pool.shutdown(wait=True, cancel_futures=True)
