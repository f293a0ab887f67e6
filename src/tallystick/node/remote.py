"""Teams of workers on other machines: recruited from who is connected, reached through the exchange.

The referee's chair stays in this home. A worker that does not open its leaves is waited for until the reveal deadline,
since silence counts against it only then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import partial

from tallystick.errors import UnmatchedError
from tallystick.job import Seat
from tallystick.kernels.lanczos import Region
from tallystick.kernels.raster import Raster, block_bytes, raster_digest
from tallystick.ledger.records import Node as Registered
from tallystick.ledger.records import Overlay, node_key
from tallystick.node.crew import Delivered, Fact, Gone, Refereed, Revealed, ThreadCrew, Worked
from tallystick.node.deliveries import advance_key, parse_openings
from tallystick.node.exchange import TICKET_BYTES, Exchange
from tallystick.node.floor import Piece
from tallystick.node.identity import Identity
from tallystick.node.ordering import Wish
from tallystick.node.pieces import InputFile, Out
from tallystick.node.team import Bench
from tallystick.primitives.keys import SigningKey
from tallystick.slicing import MicroJob


@dataclass(frozen=True, slots=True)
class RemoteStaff:
    """Recruits pools and makes teams of connected workers."""

    exchange: Exchange
    identity: Identity

    def recruit(self, wish: Wish, without: AbstractSet[str]) -> tuple[Seat, ...]:
        """Return the pool of an order: workers of different operators first, those with most room first.

        Raises:
            UnmatchedError: not even one is here that fits, or fewer than the buyer insists on.
        """
        here = self.exchange.here()
        fitting = {worker: seat for worker in here if worker not in without and (seat := self._seat(worker, wish))}
        chosen: list[Seat] = []
        ranked = sorted(fitting, key=lambda worker: (-here[worker], worker))
        taken = dict.fromkeys((seat.operator for seat in fitting.values()), 0)
        while ranked and len(chosen) < wish.workers:
            worker = min(ranked, key=lambda each: (taken[fitting[each].operator], ranked.index(each)))
            ranked.remove(worker)
            taken[fitting[worker].operator] += 1
            chosen.append(fitting[worker])
        if len(chosen) < max(1, wish.workers_least):
            raise UnmatchedError(self._lack(wish, len(here), len(without), len(chosen)))
        return tuple(chosen)

    def team(self, bench: Bench, wish: Wish) -> RemoteTeam:
        """Return the team of an attempt; its input becomes a file that assigned workers may fetch."""
        spec, ports = bench.spec, bench.ports
        path = f"{ports.folder}/{spec.job_id}.samples"
        data = block_bytes(bench.source)
        ports.desk.write(path, data)
        raster = Raster(bench.source)
        salt = self.identity.salt("input", spec.job_id, spec.attempt)
        source = InputFile(path, len(data), raster_digest(raster), salt)
        crew = ThreadCrew(ports.threads, ports.clock)
        self.exchange.enrol(spec.job_id, crew.tell)
        return RemoteTeam(bench, self.exchange, wish.account, source, crew)

    def _seat(self, worker: str, wish: Wish) -> Seat | None:
        node = Overlay(self.exchange.book.engine.view).find(Registered, node_key(worker))
        if node is None or (node.simulated and not wish.simulated):
            return None
        return Seat(worker, node.operator)

    def _lack(self, wish: Wish, connected: int, without: int, chosen: int) -> str:
        wanted = max(1, wish.workers_least)
        bonds = f", {without} with too little bond free" if without else ""
        return f"{wanted} of up to {wish.workers} workers are wanted; {connected} connected{bonds}, {chosen} fit"


def nobody_here(wish: Wish) -> str:
    """Say what an order waits for as long as no line is open."""
    return f"no worker is connected: {max(1, wish.workers_least)} of up to {wish.workers} workers are wanted, 0 fit"


@dataclass(slots=True)
class RemoteTeam:
    """The workers of one attempt, reached through the exchange."""

    bench: Bench
    exchange: Exchange
    buyer: str
    source: InputFile
    crew: ThreadCrew
    busy: int = 0
    _silent_from: dict[int, int] = field(default_factory=dict)
    _handed: dict[int, Out] = field(default_factory=dict)

    def hand(self, microjob: MicroJob) -> None:
        """Give a micro job to the worker of its seat, wherever that is."""
        if microjob.index not in self._handed:
            self.busy += 1
        out = self._handed[microjob.index] = self._out(microjob)
        self.exchange.hand(out, self.buyer)

    def ask(self, microjob: MicroJob, outputs: Sequence[bytes], challenge: bytes) -> None:
        """Use the openings that came with the root, or ask; after the reveal deadline silence is the answer."""
        spec = self.bench.spec
        kept = self.bench.ports.store.private(advance_key(spec.job_id, spec.attempt, microjob.index))
        if kept is not None:
            self.crew.tell(Revealed(microjob.index, parse_openings(kept)[microjob.index]))
            return
        out = self._handed.get(microjob.index) or self._out(microjob)
        out.asked, out.challenge = tuple(outputs), challenge
        self._silent_from[microjob.index] = self.bench.spec.deadlines.reveal
        self.busy += 1
        self.exchange.ask(out, self.buyer)

    def referee(self, block: int) -> None:
        """Have a thread of this home compute one block."""
        self.busy += 1
        self.crew.submit(partial(_referee, self.bench, block))

    def compute(self, region: Region) -> bytes:
        """Run one region of the output in the calling thread."""
        return self.bench.compute(region)

    def again(self, microjob: MicroJob) -> Mapping[bytes, bytes]:
        """Return nothing: what a remote worker delivered was made durable before it counted."""
        _ = microjob
        return {}

    def key(self, seat: int) -> SigningKey | None:
        """Return nothing: remote workers sign for themselves."""
        _ = seat
        return None

    def wait(self, until: int | None) -> tuple[Fact, ...]:
        """Sleep until something happens, the time may have come, or somebody was silent up to the deadline."""
        deadline = min(self._silent_from.values(), default=None)
        earliest = deadline if until is None else until if deadline is None else min(until, deadline)
        facts = self.crew.wait(None if earliest is None else earliest + 1) or self._silent()
        for fact in facts:
            self._count(fact)
        return facts

    def close(self) -> None:
        """Call back what is out and wait for the referee."""
        self.exchange.withdraw(self.bench.spec.job_id, "the job needs nothing more of you")
        self.crew.close()
        self.bench.ports.desk.remove(self.source.path)

    def _count(self, fact: Fact) -> None:
        match fact:
            case Delivered() | Refereed() | Worked():
                self.busy -= 1
            case Revealed(microjob=index) if index in self._silent_from:
                del self._silent_from[index]
                self.busy -= 1
            case Gone() | _:
                pass

    def _silent(self) -> tuple[Fact, ...]:
        now = self.exchange.clock.now()
        return tuple(Revealed(index, None) for index, since in self._silent_from.items() if now > since)

    def _out(self, microjob: MicroJob) -> Out:
        spec, counts = self.bench.spec, self.bench.plan.layout
        ticket = self.exchange.entropy.token(TICKET_BYTES).hex()
        return Out(
            piece=Piece(spec.job_id, spec.attempt, microjob.index),
            spec=spec,
            counts=counts,
            microjob=microjob,
            worker=spec.pool[microjob.seat].worker,
            source=self.source,
            ticket=ticket,
            path=f"{self.bench.ports.folder}/{spec.job_id}.{microjob.index}.{ticket[:16]}.part",
            tell=self.crew.tell,
        )


def _referee(bench: Bench, block: int) -> Refereed:
    return bench.referee(block)
