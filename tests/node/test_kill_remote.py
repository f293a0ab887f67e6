"""``kill -9`` of the node at twenty moments, its workers and its buyer on machines that live on: nothing is lost.

Knows: real processes on loopback, over one home from life to life. Refuses to know: anything simulated.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import httpx
import numpy as np
import pytest
from PIL import Image

from tallystick import Client
from tallystick.adapters.sqlite import SqliteStore
from tallystick.audit.findings import Result
from tallystick.cli.home import LEDGER_FILE, TRUST_FILE, open_home
from tallystick.cli.verify import examine
from tallystick.client.feed import Feed
from tallystick.kernels.lanczos import resample
from tallystick.ledger import payloads as say
from tallystick.ledger.records import Escrow, supply
from tallystick.ledger.records import Node as Registered
from tallystick.ledger.transactions import decode
from tallystick.node.views import JobState, JobView
from tallystick.primitives.digests import sha256
from tallystick.primitives.keys import SigningKey
from tests import node_process
from tests.machines import WorkerProcess, free_port, patiently, working
from tests.node.test_many_machines import encoded, noise
from tests.node_process import NodeProcess
from tests.worlds import SUPPLY

MOMENTS: Final = 20
SEED: Final = 7054
JOBS: Final = 2
WORKERS: Final = 3
SECONDS: Final = 90.0
OPTIONS: Final = ("--heartbeat", "0.5")
PAYMENTS_APART: Final = 0.1
EVENTS: Final = "/api/v1/events"


@dataclass
class Machines:
    """One home that is served again and again, and what those outside were told by whichever node served it."""

    folder: Path
    listen: str
    node: NodeProcess
    workers: list[WorkerProcess] = field(default_factory=list)
    heard: dict[int, str] = field(default_factory=dict)
    told: dict[int, str] = field(default_factory=dict)
    ordered: set[str] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)
    news: threading.Condition = field(default_factory=threading.Condition)
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        """Where every node of this home listens."""
        return f"http://{self.listen}"

    @property
    def home(self) -> Path:
        """What lives on."""
        return self.folder / "node"

    def note(self, into: dict[int, str], index: int, tx_hash: str) -> None:
        """Take down what somebody was told; to be told two things of one place is a fault."""
        with self.news:
            for known in (self.heard, self.told):
                if known.get(index, tx_hash) != tx_hash:
                    self.faults.append(f"entry {index} was {known[index]} and is {tx_hash}")
            into[index] = tx_hash
            self.news.notify_all()

    def follow(self) -> None:
        """Hear every entry behind the first, from life to life, each once and in its turn."""
        with httpx.Client(base_url=self.url, timeout=SECONDS, trust_env=False) as http:
            while not self.over.wait(0.05):
                feed = Feed(len(self.heard))
                asked = {"last-event-id": str(feed.last)}
                with contextlib.suppress(httpx.HTTPError), http.stream("GET", EVENTS, headers=asked) as answer:
                    for event in itertools.chain.from_iterable(map(feed.push, answer.iter_raw())):
                        if event.index != len(self.heard) + 1:
                            self.faults.append(f"entry {event.index} was heard after {len(self.heard)} others")
                        self.note(self.heard, event.index, event.tx_hash)

    def pay(self) -> None:
        """Ask for play money now and then, and keep the receipts."""
        with httpx.Client(base_url=self.url, timeout=SECONDS, trust_env=False) as http:
            for number in itertools.count(1):
                if self.over.wait(PAYMENTS_APART):
                    return
                address = SigningKey(sha256(number.to_bytes(8, "big"))).address
                with contextlib.suppress(httpx.HTTPError):
                    answer = http.post("/api/v1/faucet", json={"address": address, "amount": "1"})
                    if answer.status_code == 201:
                        self.note(self.told, answer.json()["index"], answer.json()["tx_hash"])

    def order(self, numbers: Sequence[int]) -> None:
        """Order jobs over pictures with these numbers; a lost reply is asked for again, also of the next life."""
        asked = {"block": 16, "workers": WORKERS, "workers_least": WORKERS, "minutes": 10}
        with Client(self.url) as client:
            for number in numbers:
                data, name = encoded(noise(number)), f"{number}.png"
                submit = partial(client.submit, data, input_name=str(number), output_name=name, **asked)
                self.ordered.add(patiently(submit, SECONDS).job_id)

    def heard_more(self, than: int, seconds: float) -> None:
        """Wait until more than so many entries were heard, or so long."""
        with self.news:
            self.news.wait_for(lambda: len(self.heard) > than, seconds)

    def durable(self) -> list[str]:
        """Return the txHash of every entry that the home holds, while nobody serves it."""
        with contextlib.closing(SqliteStore(self.home / LEDGER_FILE, read_only=True)) as store:
            return [f"0x{sha256(entry).hex()}" for entry in store.entries(0, store.size())]

    def acknowledged(self) -> dict[int, str]:
        """Return everything that anybody outside was told."""
        receipts = [said for worker in self.workers for said in worker.said() if said.get("event") == "receipt"]
        return {**self.heard, **self.told, **{said["index"]: said["txHash"] for said in receipts}}

    def done(self) -> list[JobView]:
        """Wait until no order is left to do, and return them all."""
        until = time.monotonic() + SECONDS
        with Client(self.url) as client:
            while True:
                views = patiently(lambda: list(client.jobs()))
                if all(view.state is JobState.DONE for view in views):
                    return views
                assert time.monotonic() < until, [(view.job_id, view.state, view.phase, view.waiting) for view in views]
                time.sleep(0.1)


@dataclass(frozen=True)
class Pace:
    """What a life does that nobody cuts short: entries, and seconds."""

    entries: int
    seconds: float


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    """A node, three workers and two people outside, who live as long as the module."""
    folder, listen = tmp_path_factory.mktemp("lives"), f"127.0.0.1:{free_port()}"
    node = node_process.start(folder / "node", *OPTIONS, listen=listen)
    made = Machines(folder, listen, node)
    outside = [threading.Thread(target=act, daemon=True) for act in (made.follow, made.pay)]
    try:
        with working(folder, made.url, WORKERS) as made.workers:
            until = time.monotonic() + SECONDS
            with Client(made.url) as client:
                while sum(each.bond_wei not in {None, "0"} for each in client.workers()) < WORKERS:
                    assert time.monotonic() < until, [worker.log.read_text() for worker in made.workers]
                    time.sleep(0.05)
            for each in outside:
                each.start()
            yield made
    finally:
        made.over.set()
        if made.node.process.poll() is None:
            made.node.kill()
        for each in outside:
            each.join(SECONDS)


@pytest.fixture(scope="module")
def pace(machines: Machines) -> Pace:
    """A life that nobody cut short."""
    began, heard = time.monotonic(), len(machines.heard)
    machines.order(range(JOBS))
    machines.done()
    return Pace(len(machines.heard) - heard, time.monotonic() - began)


def moments() -> Iterator[tuple[int, float, float]]:
    """One seeded moment in each twentieth of a life: a share of its entries, and a share of an entry's time."""
    rng = random.Random(SEED)
    drawn = [((number + rng.random()) / MOMENTS, rng.random()) for number in range(MOMENTS)]
    rng.shuffle(drawn)
    return ((number, *moment) for number, moment in enumerate(drawn, 1))


@pytest.mark.parametrize(("number", "share", "rest"), list(moments()), ids=lambda part: f"{part:.3g}")
def test_a_killed_node_loses_nothing_that_it_said(
    machines: Machines, pace: Pace, number: int, share: float, rest: float
) -> None:
    if machines.node.process.poll() is not None:
        machines.node = node_process.start(machines.home, *OPTIONS, listen=machines.listen)
    heard = len(machines.heard)
    ordering = threading.Thread(target=machines.order, args=(range(number * JOBS, (number + 1) * JOBS),), daemon=True)
    ordering.start()
    machines.heard_more(heard + int(share * pace.entries), SECONDS)
    time.sleep(rest * pace.seconds / pace.entries)
    machines.node.kill()
    acknowledged, log = machines.acknowledged(), machines.durable()
    assert acknowledged.items() <= dict(enumerate(log)).items()
    assert machines.faults == []
    machines.node = node_process.start(machines.home, *OPTIONS, listen=machines.listen)
    ordering.join(SECONDS)
    assert not ordering.is_alive()
    assert machines.durable()[: len(log)] == log


def test_every_job_ends_with_the_right_bytes_and_is_paid_once(machines: Machines, pace: Pace) -> None:
    assert pace.entries > MOMENTS
    views = machines.done()
    assert machines.ordered <= {view.job_id for view in views}
    assert {view.input_name for view in views} == {str(number) for number in range(JOBS * (MOMENTS + 1))}
    assert machines.node.stop() == 0
    assert machines.acknowledged().items() <= dict(enumerate(machines.durable())).items()
    assert machines.faults == []
    for view in views:
        check_delivery(machines, view)
    with open_home(machines.home) as home:
        records = home.engine.view.records
        entries = [decode(entry).payload for entry in home.store.entries(0, home.store.size())]
        assert supply(records) == SUPPLY
        assert {record.balance for record in records.values() if isinstance(record, Escrow)} == {"0"}
        assert {record.locked for record in records.values() if isinstance(record, Registered)} == {"0"}
        assert home.node.wishes.unfinished() == ()
        assert not list((home.path / "jobs").iterdir())
        assert not list((home.path / "blobs").glob("*.pack")), "blocks that no job wants"
    for kind in (say.JobSettled, say.ArtifactPublished):
        named = [payload.job_id for payload in entries if isinstance(payload, kind)]
        assert sorted(named) == sorted(view.job_id for view in views)
    lines = [line for each in entries if isinstance(each, say.JobSettled) for line in each.lines]
    assert all((line.slashed, line.refuted, line.unavailable) == ("0", 0, 0) for line in lines), "all were honest"
    assert all((line.amount == "0") == (line.accepted == 0) for line in lines)


def check_delivery(machines: Machines, view: JobView) -> None:
    """What a job left for its buyer: the right pixels, and a bundle that holds before a stranger."""
    samples, source = noise(int(view.input_name)), machines.folder / f"{view.input_name}.source.png"
    source.write_bytes(encoded(samples))
    output = machines.home / "outputs" / view.job_id / view.output_name
    size = (samples.shape[1] * 2, samples.shape[0] * 2)
    assert np.array_equal(np.asarray(Image.open(output)), resample(samples, size))
    report = examine([output, source], machines.home / TRUST_FILE)
    assert report.result is Result.HOLDS, [each for each in report.findings if each.result is not Result.HOLDS]
