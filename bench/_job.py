"""One whole job through the real node of a fresh home, and its CPU time by part.

Nothing is replaced: ports, engine, coordinator and workers are the real ones, some of their methods counted.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bench._meter import Meter, count, give, process_cpu
from tallystick.cli.home import Home, open_home
from tallystick.kernels.raster import Samples
from tallystick.node.crew import Refereed, ThreadCrew
from tallystick.node.ordering import Wish
from tallystick.node.running import JobRun
from tallystick.node.team import Bench, LocalTeam

JOB = "bench"
DECODE, KERNEL, PNG = "decoding the input", "kernel", "PNG coding"
KEEPING, DIGEST = "input file kept, price locked", "digest of the input raster"
PLAN, COORDINATION = "plan", "coordination and judging"
HASH, UPLOAD, COMMITMENT, OPENINGS = (
    "hash of the blocks",
    "upload: blobs written",
    "leaves and signed roots",
    "openings",
)
ENTRIES, STORE, TILES, CHECK = "entries signed and applied", "SQLite", "log tiles", "settlement checked again"
ASSEMBLY, CREDENTIALS, PUBLISHING, BUNDLE = "assembly", "content credentials", "publishing", "bundle and clearing up"
LOOP, REFEREE = "job loop", "referee"


class _Bench(Bench):
    """A bench whose referee is counted."""

    meter: Meter

    def referee(self, block: int) -> Refereed:
        with self.meter.span(REFEREE):
            return super().referee(block)


@dataclass(slots=True)
class Job:
    """One job as far as it was driven, and what it cost: CPU seconds by step and by part, wall seconds by step."""

    home: Home
    wish: Wish
    meter: Meter
    cpu: dict[str, float] = field(default_factory=dict)
    wall: dict[str, float] = field(default_factory=dict)
    picture: Any = None
    run: Any = None
    delivery: Any = None

    @contextmanager
    def _step(self, name: str, part: str) -> Iterator[None]:
        cpu, wall = process_cpu(), time.perf_counter()
        with self.meter.span(part):
            yield
        self.cpu[name], self.wall[name] = process_cpu() - cpu, time.perf_counter() - wall

    def order(self, data: bytes) -> None:
        """Decode the input, write the order, lock the price."""
        with self._step("order", DIGEST):
            offer = self.home.node.offer(self.wish, data)
            with self.meter.span(KEEPING):
                self.home.node.accept(offer, data)
            self.picture = offer.picture

    def work(self) -> None:
        """Drive the job as the node does, until it is settled."""
        node, ports = self.home.node, self.home.node.ports
        with self._step("work", LOOP):
            job: Any = node.book.job(JOB)
            with self.meter.span(PLAN):
                coordinator = node.coordinator(JOB, job)
            count(coordinator, self.meter, dict.fromkeys(("begin", "handle", "evidence", "settling"), COORDINATION))
            laborers = [_counted(node._hire(self.wish, seat), self.meter) for seat in range(self.wish.workers)]
            bench = _Bench(coordinator.spec, coordinator.plan, self.picture.raster.samples, ports)
            bench.meter = self.meter
            team = LocalTeam(bench, laborers, ThreadCrew(ports.threads, ports.clock))
            run = JobRun(node.book, ports, coordinator, self.picture, team)
            self.run, self.delivery = run, run.to_delivery()

    def deliver(self) -> None:
        """Assemble, sign, publish and bundle."""
        with self._step("deliver", ASSEMBLY):
            self.home.node._deliver(self.wish, self.run, self.delivery)
        with self._step("finish", BUNDLE):
            self.home.node._finish(self.wish)


def wish_for(data: bytes, output: Path, scale: str = "2", **wishes: Any) -> Wish:  # noqa: ANN401 - fields of a Wish
    """Return a wish for an upscale of these bytes."""
    digest = hashlib.sha256(data).hexdigest()
    return Wish(
        job_id=JOB, input=digest, input_name="input.png", output_path=str(output), scale=scale, created=1, **wishes
    )


def _counted(laborer: Any, meter: Meter) -> Any:  # noqa: ANN401 - a Laborer
    """Count a worker's commitment, and apart from it what the node does with its uploads."""
    base = type(laborer)
    work = meter.wrap(COMMITMENT, base.work)

    def counted(self: object, assignment: object, run: object, upload: Callable[..., bytes]) -> object:
        return work(self, assignment, run, meter.wrap(HASH, upload))

    give(laborer, {"work": counted, "open": meter.wrap(OPENINGS, base.open)})
    return laborer


def _count_all(home: Home, meter: Meter) -> None:
    """Put a counter before everything that a home is made of."""
    engine, ports = home.node.book.engine, home.node.ports
    count(ports.blobs, meter, {"put": UPLOAD, "has": UPLOAD})
    count(ports.executor, meter, {"run": KERNEL})
    count(ports.credentials, meter, {"embed": CREDENTIALS, "sidecar": CREDENTIALS})
    count(ports.desk, meter, {"replace": PUBLISHING, "digest": PUBLISHING})
    durable = ("append", "save_snapshot", "entries", "put_private", "private", "private_keys")
    count(ports.store, meter, dict.fromkeys(durable, STORE))
    count(engine._tiles, meter, {"publish": TILES})
    count(engine, meter, {"run": ENTRIES, "process": CHECK})
    writer = type(ports.images).writer

    def begun(self: object, *args: object) -> object:
        sink = writer(self, *args)  # type: ignore[arg-type]
        count(sink, meter, {"write": PNG, "finish": PNG})
        return sink

    give(ports.images, {"decode": meter.wrap(DECODE, type(ports.images).decode), "writer": begun})


@contextmanager
def opened(folder: Path, data: bytes, *, threads: int = 1, **wishes: Any) -> Iterator[Job]:  # noqa: ANN401
    """Open a fresh home under ``folder`` with a counter before everything it is made of."""
    meter = Meter()
    with open_home(folder / "home", threads=threads) as home:
        _count_all(home, meter)
        yield Job(home, wish_for(data, folder / "output.png", **wishes), meter)


def picture(side: int) -> Samples:
    """Smooth waves with fine noise, RGB."""
    y, x = np.ogrid[:side, :side]
    waves = [120 + 80 * np.sin(x / (37 + 9 * c)) * np.cos(y / (53 - 7 * c)) for c in range(3)]
    noise = np.random.default_rng(0).integers(0, 24, (side, side, 3))
    return (np.stack(waves, axis=-1) + noise).astype(np.uint8)
