"""A deterministic world for one home: seeded keys, clock and durations, a disk that loses power, workers of any kind.

Everything runs in the calling thread: acts compute when they are handed out and their facts arrive at simulated times,
so one seed is one history. A wait in which nothing can ever happen raises ``StalledError`` instead of hanging.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tallystick.kernels.raster import Raster
from tallystick.ledger.genesis import Genesis
from tallystick.ledger.records import Escrow, Record, supply
from tallystick.ledger.records import Node as Registered
from tallystick.ledger.transactions import Transaction, decode
from tallystick.node.book import Book
from tallystick.node.crew import Act, Broken, Fact
from tallystick.node.identity import Identity
from tallystick.node.ordering import Wish
from tallystick.node.ports import Ports
from tallystick.node.shell import Offer
from tallystick.node.solo import SNAPSHOT_EVERY, SoloEngine
from tallystick.node.worker import Laborer, Worker
from tallystick.primitives import canonical
from tallystick.primitives.digests import sha256
from tallystick.simulation.disk import Disk, SimulatedBlobs, SimulatedDesk, SimulatedStore, SimulatedTiles
from tallystick.simulation.media import SimulatedCredentials, SimulatedExecutor, SimulatedImages, parse_picture
from tallystick.simulation.vanishing import DesertedNode, Leave

START: Final = 1_800_000_000_000
OUTPUT: Final = "/buyer/output"
WORK_MS: Final = 1500


class StalledError(RuntimeError):
    """Nothing is under way and no deadline is near: the node would wait for ever."""


@dataclass(slots=True)
class SimulatedClock:
    """Wall time that moves when it is told to."""

    time: int = START

    def now(self) -> int:
        """Return UTC milliseconds."""
        return self.time


@dataclass(slots=True)
class SimulatedCrew:
    """Computes every act at once, and lets its fact arrive after a seeded while."""

    clock: SimulatedClock
    rng: random.Random
    _facts: list[tuple[int, int, Fact]] = field(default_factory=list)
    _number: int = 0
    _slept: int = 0

    def submit(self, act: Act) -> None:
        """Run an act; its fact arrives after a while, and after whatever it slept."""
        self._slept = 0
        try:
            fact: Fact = act()
        except BaseException as error:  # noqa: BLE001 - the owner of the facts raises it again
            fact = Broken(error)
        self._number += 1
        at = self.clock.time + self.rng.randrange(1, WORK_MS) + self._slept
        heapq.heappush(self._facts, (at, self._number, fact))

    def sleep(self, milliseconds: int) -> None:
        """Let the act that is running take so much longer."""
        self._slept += milliseconds

    def wait(self, until: int | None) -> tuple[Fact, ...]:
        """Move the clock to the next fact, or to the time that is waited for."""
        next_at = self._facts[0][0] if self._facts else None
        if next_at is None and until is None:
            raise StalledError("nothing is under way, and nothing waits for time")
        if next_at is None or (until is not None and until < next_at):
            self.clock.time = max(self.clock.time, until or 0)
            return ()
        self.clock.time = max(self.clock.time, next_at)
        facts = []
        while self._facts and self._facts[0][0] <= self.clock.time:
            facts.append(heapq.heappop(self._facts)[2])
        return tuple(facts)

    def close(self) -> None:
        """Drop what has not arrived."""
        self._facts.clear()


Cast = Callable[["World", Worker], Laborer]
"""Makes the worker of a seat out of the honest one that would sit there."""


class World:
    """One simulated home, opened over its disk; a restart opens another one over the same disk."""

    def __init__(
        self,
        seed: int = 0,
        *,
        disk: Disk | None = None,
        cast: Mapping[int, Cast] | None = None,
        leaves: Mapping[int, Leave] | None = None,
        executor: SimulatedExecutor | None = None,
        time: int = START,
        snapshot_every: int = SNAPSHOT_EVERY,
    ) -> None:
        """Open the home of this seed; ``cast`` says who sits on which seat, all others are honest; some may leave."""
        self.seed, self.disk, self.cast, self.leaves = seed, disk or Disk(), cast or {}, leaves or {}
        self.executor = executor or SimulatedExecutor()
        self.clock, self.rng = SimulatedClock(time), random.Random(seed * 1_000_003 + len(self.disk.entries))
        self.identity = Identity(sha256(b"simulated master key", seed.to_bytes(8, "big")))
        self.acknowledged: list[tuple[int, bytes]] = []
        self.crew = SimulatedCrew(self.clock, self.rng)
        store = SimulatedStore(self.disk)
        if store.genesis() is None:
            store.create(canonical.encode(self.identity.genesis(time)))
        genesis = canonical.decode(store.genesis() or b"", Genesis, what="genesis")
        parameters = self.identity.parameters(genesis)
        self.engine = SoloEngine(parameters, store, SimulatedTiles(self.disk), self.clock, snapshot_every)
        ports = Ports(
            store=store,
            blobs=SimulatedBlobs(self.disk),
            clock=self.clock,
            images=SimulatedImages(self.disk),
            credentials=SimulatedCredentials(self.disk),
            desk=SimulatedDesk(self.disk),
            executor=self.executor,
            threads=1,
            folder="/jobs",
        )
        self.book = Book(self.engine, self._hear)
        self.node = DesertedNode(self.book, ports, self.identity, self._hire, self._gather)
        self.node.leaves = self.leaves

    def _hear(self, transaction: Transaction, index: int) -> None:
        """Note what the node says is durable; committing takes a while."""
        self.acknowledged.append((index, transaction.entry))
        self.clock.time += self.rng.randrange(3)

    def _gather(self) -> SimulatedCrew:
        self.crew = SimulatedCrew(self.clock, self.rng)
        return self.crew

    def _hire(self, wish: Wish, seat: int) -> Laborer:
        key, secret = self.identity.worker(wish.operators, seat), self.identity.worker_secret(wish.operators, seat)
        honest = Worker(key, secret, self.executor.backend)
        return self.cast[seat](self, honest) if seat in self.cast else honest

    def sleep(self, milliseconds: int) -> None:
        """Let the worker that is at work take so much longer."""
        self.crew.sleep(milliseconds)

    def restarted(self, *, hours: float = 0, cast: Mapping[int, Cast] | None = None) -> World:
        """Switch the machine on again, so many hours later, with the same workers unless others are named."""
        self.disk.restart(self.rng)
        later = self.clock.time + int(hours * 3_600_000)
        return World(
            self.seed,
            disk=self.disk,
            cast=self.cast if cast is None else cast,
            leaves=self.leaves,
            executor=self.executor,
            time=later,
        )

    def wish(self, data: bytes, **wanted: Any) -> Wish:  # noqa: ANN401 - fields of a Wish
        """Return a wish for a simulated picture; whatever is not named has the wish's own default."""
        asked = {"job_id": "job-1", "output_path": OUTPUT, "scale": "2", "simulated": True, **wanted}
        return Wish(input=sha256(data).hex(), input_name="input", created=self.clock.time, **asked)

    def accept(self, data: bytes, **wanted: Any) -> Offer:  # noqa: ANN401 - fields of a Wish
        """Order a simulated picture and lock its price."""
        offer = self.node.offer(self.wish(data, **wanted), data)
        self.node.accept(offer, data)
        return offer

    def entries(self) -> list[Transaction]:
        """Return every durable entry, read back."""
        return [decode(entry) for entry in self.disk.entries]

    def payloads(self, kind: type) -> list[Any]:
        """Return the payloads of a type, in order."""
        return [entry.payload for entry in self.entries() if isinstance(entry.payload, kind)]

    def output(self, path: str = OUTPUT) -> Raster:
        """Return the delivered picture."""
        return parse_picture(self.disk.files[path])

    @property
    def records(self) -> Mapping[str, Record]:
        """The committed state."""
        return self.engine.view.records

    def supply(self) -> int:
        """Return the sum of all money."""
        return supply(self.records)

    def locked(self) -> Sequence[str]:
        """Return the keys of escrows that hold money and of bonds that open jobs hold."""
        return [
            key
            for key, record in self.records.items()
            if (isinstance(record, Escrow) and (record.balance, record.dispute_bond) != ("0", "0"))
            or (isinstance(record, Registered) and record.locked != "0")
        ]
