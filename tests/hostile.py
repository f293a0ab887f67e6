"""A worker that can be made to do anything: raw frames over a real WebSocket, raw bytes over HTTP, real keys.

Knows: the wire, and how honest work is done, so that a test departs from it in one point only. Refuses to know: what a
test expects of the node.
"""

from __future__ import annotations

import base64
import os
import socket
import struct
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import urlsplit

import httpx
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tallystick import Client, wire
from tallystick.adapters.local import NumpyExecutor
from tallystick.client.joining import Papers, enter
from tallystick.client.offers import Terms, hello_to
from tallystick.client.pieces import spelled
from tallystick.client.signals import Join
from tallystick.commitment import Output
from tallystick.kernels.raster import samples_from_bytes
from tallystick.ledger.transactions import Draft, sign
from tallystick.node.identity import Identity
from tallystick.node.worker import Assignment, Worker
from tallystick.primitives.digests import sha256
from tallystick.slicing import MicroJob, Slot, block_length, layout

STAKE = 1_000 * 10**18
OCTETS = "application/offset+octet-stream"
T = TypeVar("T", bound=wire.FromNode)


def dial(url: str) -> AbstractContextManager[ClientConnection]:
    """Open a line for the length of a block, and say nothing."""
    return connect(
        f"ws://{urlsplit(url).netloc}/worker",
        open_timeout=20,
        close_timeout=0.2,
        max_size=None,
        compression=None,
        ping_interval=None,
        proxy=None,
    )


def heard(line: ClientConnection, kind: type[T], seconds: float = 20) -> T:
    """Return the next message of a kind."""
    until = time.monotonic() + seconds
    while True:
        message = wire.read_from_node(line.recv(timeout=max(0.01, until - time.monotonic())))
        if isinstance(message, kind):
            return message


def closed(line: ClientConnection, seconds: float = 20) -> tuple[int, str]:
    """Read to the end of a line and return the node's last words; 1006 where it said none."""
    until = time.monotonic() + seconds
    try:
        while True:
            line.recv(timeout=max(0.01, until - time.monotonic()))
    except ConnectionClosed as end:
        return (1006, "") if end.rcvd is None else (end.rcvd.code, end.rcvd.reason)


@dataclass
class Rogue:
    """One worker with keys, a bond and no manners."""

    url: str
    name: str
    worker: Worker = field(init=False)
    nonce: int = 0
    chain_id: str = ""

    def __post_init__(self) -> None:
        """Make keys from the name."""
        self.identity = Identity(sha256(self.name.encode()))
        self.worker = Worker(self.identity.worker(1, 0), self.identity.worker_secret(1, 0), "numpy")
        self.http = httpx.Client(base_url=self.url, timeout=60, trust_env=False)

    @property
    def public(self) -> str:
        """Its key in hex."""
        return self.worker.key.public.hex()

    @property
    def payout(self) -> str:
        """Where its pay would go."""
        return self.identity.payout(1, 0)

    def register(self) -> None:
        """Enter the ledger with an operator of its own and a bond."""
        papers = Papers(self.worker.key, self.identity.operator(1, 0), self.payout, "numpy")
        with Client(self.url) as client:
            self.chain_id = client.node().chain_id
            self.nonce = client.run(enter(papers, self.chain_id, Join(0, registered=False, missing=STAKE)))

    def hello(self, auth: wire.Auth, capacity: int = wire.CAPACITY_MAX) -> wire.Hello:
        """Return its answer to a nonce."""
        return hello_to(auth, self.worker, Terms(capacity, "rogue", 0))

    @contextmanager
    def line(self, capacity: int = wire.CAPACITY_MAX, beats: float | None = 0.2) -> Iterator[ClientConnection]:
        """Have an open line for the length of a block, with a heartbeat or without; it ends without a goodbye."""
        over = threading.Event()
        with dial(self.url) as line:
            line.send(wire.spell(self.hello(heard(line, wire.Auth), capacity)))
            self.nonce = heard(line, wire.Ready).nonce
            beating = threading.Thread(target=_beat, args=(line, beats, over), daemon=True)
            if beats is not None:
                beating.start()
            try:
                yield line
            finally:
                over.set()
                with suppress(OSError):
                    line.socket.shutdown(socket.SHUT_RDWR)

    def assignment(self, payload: wire.JobPayload) -> Assignment:
        """Return what a payload hands out."""
        slots = tuple(Slot(block, copy=False) for block in payload.blocks)
        return Assignment(payload.spec, MicroJob(payload.microjob, payload.macrojob, 0, slots))

    def compute(self, payload: wire.JobPayload) -> list[bytes]:
        """Fetch the input and return the right bytes of every block."""
        task, assignment = payload.spec.task, self.assignment(payload)
        data = self.http.get(payload.input.path).raise_for_status().content
        samples = samples_from_bytes(data, task.source_height, task.source_width, task.channels, task.depth)
        run = NumpyExecutor().run
        return [run(payload.spec, samples, self.worker.region(assignment, slot)) for slot in range(len(payload.blocks))]

    def zeros(self, payload: wire.JobPayload) -> list[bytes]:
        """Return made-up bytes of every block."""
        counts = layout(payload.spec)
        return [bytes(block_length(payload.spec, counts, block)) for block in payload.blocks]

    def upload(self, path: str, data: bytes, offset: int = 0) -> httpx.Response:
        """Deliver bytes."""
        return self.http.patch(path, content=data, headers={"upload-offset": str(offset), "content-type": OCTETS})

    def committing(self, job: wire.Job, blocks: Sequence[bytes], nonce: int | None = None) -> wire.CommitmentMessage:
        """Return a signed root over blocks, with openings in trust."""
        assignment = self.assignment(job.payload)
        meta = self.worker.meta(assignment)
        outputs = [Output(sha256(data), len(data), meta) for data in blocks]
        posted = self.worker.post(assignment, self.worker.leaves(assignment, outputs))
        number = self.nonce if nonce is None else nonce
        entry = sign(Draft(self.worker.key, posted.payload), job.payload.spec.chain_id, number).entry
        openings = spelled(self.worker.openings(assignment, outputs))
        return wire.CommitmentMessage(job.job_id, entry.decode(), meta.hex(), openings)


def _beat(line: ClientConnection, seconds: float | None, over: threading.Event) -> None:
    with suppress(ConnectionClosed, OSError):
        while not over.wait(seconds):
            line.send(wire.spell(wire.Heartbeat()))


def framed(text: str) -> bytes:
    """Spell a text frame, masked with zeros."""
    data = text.encode()
    size = bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + struct.pack(">H", len(data))
    return b"\x81" + size + bytes(4) + data


def pour(line: ClientConnection, frame: bytes, count: int) -> None:
    """Send a frame so many times, as fast as it goes, or until the node hangs up."""
    some = frame * 50
    with suppress(OSError):
        for _ in range(count // 50):
            line.socket.sendall(some)


def upgrade(line: socket.socket) -> None:
    """Make a WebSocket of a connection."""
    key = base64.b64encode(os.urandom(16)).decode()
    head = "GET /worker HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    line.sendall(f"{head}Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode())
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += line.recv(1)
    assert b" 101 " in answer.split(b"\r\n")[0]


def frame_of(line: socket.socket) -> bytes:
    """Read exactly one frame, and nothing behind it."""
    length = exactly(line, 2)[1]
    length = {126: 2, 127: 8}.get(length, -length)
    return exactly(line, int.from_bytes(exactly(line, length), "big") if length > 0 else -length)


def exactly(line: socket.socket, count: int) -> bytes:
    """Read so many bytes."""
    data = b""
    while len(data) < count:
        more = line.recv(count - len(data))
        assert more
        data += more
    return data
