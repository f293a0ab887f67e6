"""A node for many buyers without any socket: workers are threads that speak to the exchange as a socket would.

Knows: real adapters over a temporary home, the exchange, honest and silent workers. Refuses to know: HTTP.
"""

from __future__ import annotations

import io
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from tallystick.adapters.local import NumpyExecutor, SystemEntropy
from tallystick.cli.home import Home, open_home
from tallystick.commitment import Opening, Output
from tallystick.errors import AbsentError, StoreError, TallyError
from tallystick.kernels.raster import Samples, samples_from_bytes
from tallystick.ledger import payloads as say
from tallystick.ledger.fold import next_nonce
from tallystick.ledger.records import Escrow
from tallystick.ledger.records import Node as Registered
from tallystick.ledger.transactions import Draft, Transaction, sign
from tallystick.node.exchange import Exchange
from tallystick.node.feed import Feed
from tallystick.node.floor import Piece, Rhythm
from tallystick.node.host import Host
from tallystick.node.identity import Identity
from tallystick.node.ledger_thread import SharedBook
from tallystick.node.pieces import Out
from tallystick.node.room import Limits
from tallystick.node.sequencer import Submission
from tallystick.node.shell import Node
from tallystick.node.views import JobState, OrderForm
from tallystick.node.worker import Assignment, Worker
from tallystick.primitives.digests import sha256

QUICK: Final = Rhythm(heartbeat=200, silence=1_000, lease=5_000, grace=500)
STAKE: Final = 1_000 * 10**18


def picture(seed: int = 1, width: int = 96, height: int = 64) -> bytes:
    """Return a PNG of noise."""
    samples = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(samples).save(file, "PNG")
    return file.getvalue()


def form(data: bytes, **asked: object) -> OrderForm:
    """Return an order for a picture."""
    return OrderForm(input=sha256(data).hex(), **{"block": 32, **asked})  # type: ignore[arg-type]


@dataclass(slots=True)
class LineWorker:
    """A worker in a thread. Subclasses misbehave."""

    world: RemoteWorld
    name: str
    identity: Identity = field(init=False)
    honest: Worker = field(init=False)
    number: int = -1
    seen: list[Piece] = field(default_factory=list)
    cancelled: list[Piece] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    receipts: list[tuple[Piece, Transaction]] = field(default_factory=list)
    hung_up: str = ""
    _queue: queue.SimpleQueue[Callable[[], None] | None] = field(default_factory=queue.SimpleQueue)
    _nonce: int = 0

    def __post_init__(self) -> None:
        """Make keys from the name."""
        self.identity = Identity(sha256(self.name.encode()))
        self.honest = Worker(self.identity.worker(1, 0), self.identity.worker_secret(1, 0), "numpy")

    @property
    def public(self) -> str:
        return self.honest.key.public.hex()

    def register(self) -> None:
        """Enter the ledger with an operator of its own and a bond."""
        book, key = self.world.book, self.honest.key
        operator, payout = self.identity.operator(1, 0), self.identity.payout(1, 0)
        consent = self.identity.consent(operator, key, book.engine.parameters.chain_id, payout)
        faucet = self.world.home.identity.faucet()
        entered = say.NodeRegistered(
            operator.public.hex(), consent.hex(), payout, say.Tier.DECLARED, "numpy", simulated=False
        )
        drafts = (
            Draft(faucet, say.Transfer(key.address, str(STAKE))),
            Draft(key, entered),
            Draft(key, say.StakeDeposited(str(STAKE))),
        )
        book.must(Submission(drafts))

    def connect(self, capacity: int = 2) -> None:
        """Open a line and work until ``leave``."""
        self._nonce = next_nonce(self.world.book.engine.view, self.honest.key.address)
        self.number = self.world.exchange.open_line(self.public, capacity, "numpy", self)
        threading.Thread(target=self._run, daemon=True).start()

    def leave(self) -> None:
        self._queue.put(None)
        self.world.exchange.close_line(self.number)

    def _run(self) -> None:
        while True:
            try:
                act = self._queue.get(timeout=0.2)
            except queue.Empty:
                if self.beats():
                    self.world.exchange.heard(self.number)
                continue
            if act is None:
                return
            with suppress(FileNotFoundError, AbsentError, StoreError):  # its job or the node ended meanwhile
                act()
            self.world.exchange.heard(self.number)

    def beats(self) -> bool:
        """Tell whether this worker gives signs of life."""
        return True

    def piece(self, out: Out, lease: int) -> None:
        del lease
        self.seen.append(out.piece)
        self._queue.put(lambda: self.work(out))

    def challenge(self, out: Out) -> None:
        self._queue.put(lambda: self.open(out))

    def receipt(self, piece: Piece, transaction: Transaction, index: int) -> None:
        del index
        self.receipts.append((piece, transaction))

    def refused(self, piece: Piece, reason: str, nonce: int) -> None:
        del piece
        self.refusals.append(reason)
        self._nonce = nonce

    def cancel(self, piece: Piece, reason: str) -> None:
        del reason
        self.cancelled.append(piece)

    def hang_up(self, reason: str) -> None:
        self.hung_up = reason

    def samples(self, out: Out) -> Samples:
        task = out.spec.task
        data = Path(out.source.path).read_bytes()
        return samples_from_bytes(data, task.source_height, task.source_width, task.channels, task.depth)

    def compute(self, out: Out) -> list[bytes]:
        """Return the bytes of every slot."""
        source, run = self.samples(out), NumpyExecutor().run
        assignment = Assignment(out.spec, out.microjob)
        return [run(out.spec, source, self.honest.region(assignment, slot)) for slot in range(len(out.microjob.slots))]

    def work(self, out: Out) -> None:
        """Compute, deliver, commit."""
        blocks = self.compute(out)
        self.deliver(out, blocks)
        self.commit(out, blocks)

    def deliver(self, out: Out, blocks: list[bytes]) -> None:
        self.world.exchange.received(out, io.BytesIO(b"".join(blocks)).read)

    def commit(self, out: Out, blocks: list[bytes]) -> None:
        entry = self.entry(out, blocks)
        meta = self.honest.meta(Assignment(out.spec, out.microjob))
        try:
            self.world.exchange.commitment(self.number, out.piece, entry, meta, self.trusted(out, blocks))
        except TallyError as error:
            self.refusals.append(str(error))

    def trusted(self, out: Out, blocks: list[bytes]) -> tuple[Opening, ...] | None:
        """Return the openings that come with the root; this one gives none."""
        del out, blocks
        return None

    def entry(self, out: Out, blocks: list[bytes]) -> bytes:
        """Return the signed SUBMIT_RESULT over these blocks, with the next nonce."""
        assignment = Assignment(out.spec, out.microjob)
        meta = self.honest.meta(assignment)
        outputs = [Output(sha256(data), len(data), meta) for data in blocks]
        payload = self.honest.post(assignment, self.honest.leaves(assignment, outputs)).payload
        chain_id = self.world.book.engine.parameters.chain_id
        entry = sign(Draft(self.honest.key, payload), chain_id, self._nonce).entry
        self._nonce += 1
        return entry

    def open(self, out: Out) -> None:
        assignment = Assignment(out.spec, out.microjob)
        openings = self.honest.open(assignment, out.asked)
        if openings is not None:
            self.world.exchange.opening(self.number, out.piece, openings)


class Vanishing(LineWorker):
    """Takes pieces and is gone at the first one."""

    def work(self, out: Out) -> None:
        del out
        self.world.exchange.close_line(self.number)


class Stalling(LineWorker):
    """Beats, and never delivers."""

    def work(self, out: Out) -> None:
        del out


class Mute(LineWorker):
    """Delivers, commits, and never opens."""

    def open(self, out: Out) -> None:
        del out


class Trusting(LineWorker):
    """Gives its openings with its root, and is gone at once."""

    def trusted(self, out: Out, blocks: list[bytes]) -> tuple[Opening, ...] | None:
        assignment = Assignment(out.spec, out.microjob)
        meta = self.honest.meta(assignment)
        outputs = [Output(sha256(data), len(data), meta) for data in blocks]
        return self.honest.openings(assignment, outputs)

    def open(self, out: Out) -> None:
        raise AssertionError(f"it was asked for what it gave already: {out.piece}")


class Withholding(LineWorker):
    """Commits, and never delivers."""

    def work(self, out: Out) -> None:
        self.commit(out, self.compute(out))


class Littering(LineWorker):
    """Delivers bytes that it made up, and never commits."""

    def work(self, out: Out) -> None:
        self.deliver(out, [bytes(length) for length in out.lengths])


class Forging(LineWorker):
    """Delivers and commits to bytes that it made up."""

    def compute(self, out: Out) -> list[bytes]:
        return [bytes(length) for length in out.lengths]


class Swapping(LineWorker):
    """Delivers other bytes than it commits to."""

    def work(self, out: Out) -> None:
        blocks = self.compute(out)
        self.deliver(out, [bytes(len(block)) for block in blocks])
        self.commit(out, blocks)


@dataclass(slots=True)
class RemoteWorld:
    """One node over a home, and its workers."""

    home: Home
    book: SharedBook
    exchange: Exchange
    host: Host
    troubles: list[Exception]
    workers: dict[str, LineWorker] = field(default_factory=dict)

    def hire(self, name: str, kind: type[LineWorker] = LineWorker, capacity: int = 2) -> LineWorker:
        """Have a registered worker connect."""
        worker = self.workers[name] = kind(self, name)
        worker.register()
        worker.connect(capacity)
        return worker

    def wait(self, *job_ids: str, seconds: float = 60) -> None:
        """Wait until jobs are done.

        Raises:
            AssertionError: they failed, or time ran out.
        """
        ends = time.monotonic() + seconds
        while True:
            views = [self.host.job(job_id) for job_id in job_ids]
            assert all(view is not None and view.state is not JobState.FAILED for view in views), views
            if all(view is not None and view.state is JobState.DONE for view in views):
                return
            assert time.monotonic() < ends, views
            time.sleep(0.05)

    def records(self) -> Mapping[str, object]:
        return self.book.engine.view.records

    def locked(self) -> list[str]:
        """Return escrows that hold money and bonds that jobs hold."""
        return [
            key
            for key, record in self.records().items()
            if (isinstance(record, Escrow) and record.balance != "0")
            or (isinstance(record, Registered) and record.locked != "0")
        ]


@contextmanager
def remote_world(path: Path, rhythm: Rhythm = QUICK, limits: Limits | None = None) -> Iterator[RemoteWorld]:
    """Open a home as a node for many."""
    with open_home(path) as home:
        troubles: list[Exception] = []
        feed = Feed(troubles.append)
        book = SharedBook(home.engine, lambda _transaction, _index: None, feed)
        book.start()
        node = Node(book, home.node.ports, home.identity, home.node._hire)
        exchange = Exchange(book, home.node.ports, SystemEntropy(), rhythm)

        def trouble(job_id: str, error: Exception) -> None:
            del job_id
            troubles.append(error)

        host = Host(node, book, exchange, feed, SystemEntropy(), path / "outputs", trouble, limits or Limits())
        host.start()
        try:
            yield RemoteWorld(home, book, exchange, host, troubles)
        finally:
            host.close()
            book.close()
