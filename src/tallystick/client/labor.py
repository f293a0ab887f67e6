"""A worker at work: one line to its node at a time, kernels in threads, bytes by HTTP, until it is told to leave.

Performs what the session (session.py) wants done and tells it what came of that. Knows sockets, threads and clocks;
decides nothing. The line keeps its rhythm while kernels run, and a lost one is dialed again, after a while that grows.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from tallystick import wire
from tallystick.client import signals as say
from tallystick.client.answers import Progress
from tallystick.client.calls import deliver
from tallystick.client.files import Source
from tallystick.client.http import Awaiting, trusting
from tallystick.client.inputs import Shelf
from tallystick.client.joining import Papers, enter
from tallystick.client.pieces import Piece
from tallystick.client.session import Session
from tallystick.client.stages import Line, Stage
from tallystick.errors import MalformedError, TallyError, UnreachableError
from tallystick.kernels.raster import Samples
from tallystick.node.ports import Executor
from tallystick.primitives.digests import sha256
from tallystick.slicing import block_length

TICK_SECONDS: Final = 0.25
OPEN_SECONDS: Final = 10.0
CLOSE_SECONDS: Final = 2.0
PING_SECONDS: Final = 20.0
BACKOFF_MIN, BACKOFF_MAX = 0.25, 10.0
STEADY_SECONDS: Final = 1.0
"""A line that stood so long was a good one: the next is dialed soon."""
JOIN_AGAIN_SECONDS: Final = 30.0
OUTBOX_MAX: Final = 64
"""So many words may wait to be sent before the next one is read."""
_CHANCE: Final = secrets.SystemRandom()


@dataclass(frozen=True, slots=True)
class Connected:
    """The line is open."""


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The line is gone, for this reason; the next try comes after so many seconds."""

    reason: str
    seconds: float


News = say.Tell | say.Recorded | Connected | Disconnected


@dataclass(slots=True)
class Labor:
    """One worker process. ``hear`` is told, in the event loop, what people may want to know."""

    session: Session
    http: Awaiting
    executor: Executor
    papers: Papers
    threads: int
    hear: Callable[[News], None]
    _pool: ThreadPoolExecutor = field(init=False)
    _shelf: Shelf = field(init=False)
    _outbox: asyncio.Queue[str | None] = field(default_factory=asyncio.Queue)
    _leave: asyncio.Event = field(default_factory=asyncio.Event)
    _stop: asyncio.Event = field(default_factory=asyncio.Event)
    _bytes: dict[str, bytes] = field(default_factory=dict)
    _halts: dict[str, threading.Event] = field(default_factory=dict)
    _tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _joining: asyncio.Task[None] | None = None
    _bugs: list[BaseException] = field(default_factory=list)
    _was_open: bool = False

    def __post_init__(self) -> None:
        """Hire the threads."""
        self._pool = ThreadPoolExecutor(self.threads, thread_name_prefix="kernel")
        self._shelf = Shelf(self.http.run)

    async def work(self) -> None:
        """Work until everything in hand is done after ``drain``, or until ``stop``.

        Raises:
            TallyError: the node is not one that this worker may work for, from the first word on.
        """
        ticking = asyncio.create_task(self._tick())
        try:
            await self._dial()
        finally:
            ticking.cancel()
            await self._close()
        if self._bugs:
            raise self._bugs[0]

    def drain(self, seconds: float) -> None:
        """Take no more, end what is in hand, leave at the latest after so many seconds."""
        asyncio.get_running_loop().call_later(seconds, self._leave.set)
        self._feed(say.Drain())

    def stop(self) -> None:
        """Leave at once."""
        self._stop.set()

    @property
    def _over(self) -> bool:
        return self._leave.is_set() or self._stop.is_set()

    async def _dial(self) -> None:
        """Keep a line, as long as one is wanted."""
        backoff = BACKOFF_MIN
        while not self._over:
            began = time.monotonic()
            reason = await self._one_line()
            self._feed(say.Broke())
            self._stop_joining()
            if self._over:
                return
            backoff = BACKOFF_MIN if time.monotonic() - began > STEADY_SECONDS else min(2 * backoff, BACKOFF_MAX)
            seconds = backoff * (0.5 + 0.5 * _CHANCE.random())
            self.hear(Disconnected(reason, seconds))
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wait_over(), seconds)

    async def _wait_over(self) -> None:
        waits = {asyncio.ensure_future(self._leave.wait()), asyncio.ensure_future(self._stop.wait())}
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()

    async def _one_line(self) -> str:
        """Speak over one line until it ends; return why it did."""
        line = asyncio.create_task(self._speak())
        over = asyncio.create_task(self._wait_over())
        try:
            await asyncio.wait((line, over), return_when=asyncio.FIRST_COMPLETED)
            if not line.done() and not self._stop.is_set() and self.session.line is not Line.DOWN:
                self._outbox.put_nowait(None)
                await asyncio.wait((line,), timeout=CLOSE_SECONDS)
            if not line.done():
                return "this worker leaves"
            line.result()
        except TallyError as error:
            if not self._was_open and not isinstance(error, UnreachableError):
                raise
            return str(error)
        except (OSError, TimeoutError, WebSocketException) as error:
            return str(error) or type(error).__name__
        finally:
            over.cancel()
            line.cancel()
            await asyncio.gather(line, over, return_exceptions=True)
        return "the node closed it"

    async def _speak(self) -> None:
        address = self.http.asker.address
        async with connect(
            address.socket,
            ssl=trusting(self.http.asker.verify) if address.is_secure else None,
            proxy=None if address.is_loopback else True,
            user_agent_header=self.http.asker.software,
            compression=None,
            max_size=wire.FRAME_BYTES_MAX,
            open_timeout=OPEN_SECONDS,
            close_timeout=CLOSE_SECONDS,
            ping_interval=PING_SECONDS,
            ping_timeout=PING_SECONDS,
        ) as socket:
            self._outbox = asyncio.Queue()
            self._feed(say.Dialed())
            writing = asyncio.create_task(self._write(socket))
            try:
                await self._read(socket)
            finally:
                writing.cancel()
                await asyncio.gather(writing, return_exceptions=True)

    async def _read(self, socket: ClientConnection) -> None:
        """Take word after word; while the node does not listen, nothing more of it is read."""
        async for frame in socket:
            self._feed(say.Heard(wire.read_from_node(frame)))
            if not self._was_open and self.session.line is Line.OPEN:
                self._was_open = True
            if self._outbox.qsize() > OUTBOX_MAX:
                await self._outbox.join()

    async def _write(self, socket: ClientConnection) -> None:
        while (text := await self._outbox.get()) is not None:
            await socket.send(text)
            self._outbox.task_done()
        await socket.close()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self._feed(say.Tick())

    def _feed(self, stimulus: say.Stimulus) -> None:
        """Tell the session something, and do what it wants."""
        before = self.session.line
        for instruction in self.session.handle(stimulus, time.time_ns() // 1_000_000):
            self._follow(instruction)
        if before is not Line.OPEN and self.session.line is Line.OPEN:
            self.hear(Connected())

    def _follow(self, instruction: say.Instruction) -> None:
        match instruction:
            case say.Send(message=message):
                self._outbox.put_nowait(wire.spell(message))
            case say.Compute(piece=piece):
                self._begin(piece.name, self._compute(piece))
            case say.Upload(piece=piece):
                self._begin(piece.name, self._upload(piece))
            case say.Drop(piece=name):
                self._drop(name)
            case say.Join():
                self._stop_joining()
                self._joining = self._spawn(self._join(instruction))
            case say.Leave():
                self._leave.set()
            case say.Tell() | say.Recorded():
                self.hear(instruction)

    def _begin(self, name: str, business: Coroutine[Any, Any, None]) -> None:
        self._tasks[name] = self._spawn(business)

    def _spawn(self, business: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run something beside the line; a failure that nobody foresaw ends the worker instead of being lost."""
        task = asyncio.create_task(business)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._bugs.append(error)
            self._stop.set()

    def _drop(self, name: str) -> None:
        halt, task = self._halts.pop(name, None), self._tasks.pop(name, None)
        if halt is not None:
            halt.set()
        if task is not None:
            task.cancel()
        self._bytes.pop(name, None)

    async def _compute(self, piece: Piece) -> None:
        """Fetch the input, run the kernels, hash what they gave."""
        halt = self._halts[piece.name] = threading.Event()
        loop = asyncio.get_running_loop()
        try:
            samples = await self._shelf.get(piece.payload)
            blocks = await loop.run_in_executor(self._pool, self._blocks, loop, piece, samples, halt)
        except Exception as error:  # noqa: BLE001 - whatever a kernel or the way to the node raises ends one piece
            self._feed(say.Failed(piece.name, str(error) or type(error).__name__))
            return
        self._bytes[piece.name] = b"".join(data for data, _ in blocks)
        self._feed(say.Computed(piece.name, tuple(digest for _, digest in blocks)))

    def _blocks(
        self, loop: asyncio.AbstractEventLoop, piece: Piece, samples: Samples, halt: threading.Event
    ) -> list[tuple[bytes, bytes]]:
        """Compute every block of a piece, in a thread; it stops between two blocks when nobody wants them any more."""
        found: list[tuple[bytes, bytes]] = []
        assignment, worker = piece.assignment, self.session.worker
        for slot, each in enumerate(assignment.microjob.slots):
            if halt.is_set():
                break
            data = self.executor.run(assignment.spec, samples, worker.region(assignment, slot))
            due = block_length(assignment.spec, assignment.counts, each.block)
            if len(data) != due:
                raise MalformedError(f"block {each.block}", f"the kernel gave {len(data)} bytes, {due} are due")
            found.append((data, sha256(data)))
            with suppress(RuntimeError):  # the loop has ended, and everybody's interest with it
                loop.call_soon_threadsafe(self._feed, say.Advanced(piece.name, slot + 1))
        return found

    async def _upload(self, piece: Piece) -> None:
        source = Source.plain(self._bytes[piece.name])
        try:
            await self.http.run(deliver(piece.payload.output.path, source, Progress(0, complete=False), public=True))
        except TallyError as error:
            self._feed(say.Failed(piece.name, str(error)))
            return
        self._feed(say.Uploaded(piece.name))
        if piece.stage is not Stage.UPLOADING:
            self._bytes.pop(piece.name, None)

    async def _join(self, wanted: say.Join) -> None:
        """Enter the ledger; where that fails the worker is not matched, and tries again over a new line."""
        try:
            nonce = await self.http.run(enter(self.papers, self.session.chain, wanted))
        except TallyError as error:
            self.hear(say.Tell(f"not in the ledger yet: {error}"))
            self._feed(say.Joined(wanted.nonce))
            if not wanted.registered:
                await asyncio.sleep(JOIN_AGAIN_SECONDS)
                self._outbox.put_nowait(None)
            return
        self._feed(say.Joined(nonce))

    def _stop_joining(self) -> None:
        if self._joining is not None:
            self._joining.cancel()
            self._joining = None

    async def _close(self) -> None:
        for name in list(self._tasks):
            self._drop(name)
        self._stop_joining()
        self._shelf.close()
        self._pool.shutdown(wait=False, cancel_futures=True)
        await self.http.close()
