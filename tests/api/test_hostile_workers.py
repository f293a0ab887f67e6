"""Hostile workers over a real WebSocket, beside honest ones: the job ends, they earn nothing, the node stays small.

Knows: one node process and three `tally worker` processes for the whole file, one rogue per test. Refuses to know: what
is inside the node; everything is asked over HTTP, and of the ledger once the node has ended.
"""

from __future__ import annotations

import io
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np
import pytest
from PIL import Image
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from tallystick import Client, wire
from tallystick.cli.home import open_home
from tallystick.job import PPM
from tallystick.kernels.lanczos import resample
from tallystick.ledger import payloads as say
from tallystick.ledger.records import Escrow, supply
from tallystick.ledger.records import Node as Registered
from tallystick.ledger.transactions import decode
from tallystick.node.views import JobState
from tests.hostile import Rogue, closed, dial, frame_of, framed, heard, pour, upgrade
from tests.machines import WorkerProcess, working
from tests.node_process import NodeProcess, serving
from tests.worlds import SUPPLY

HONEST = 3
MIB = 1 << 20
GROWTH_MAX = 64 * MIB
"""How much more memory the node may have at any moment of a test than when the test began, and when all have ended."""
SECONDS = 40.0
POLICY, BAD_DATA, TOO_BIG = 1008, 1007, 1009
UNTOLD = 1005, 1006
"""Close codes of a line whose frames were none at all."""


@dataclass
class Siege:
    """One node with three honest workers, and what is known of everybody."""

    node: NodeProcess
    client: Client
    workers: list[WorkerProcess]
    folder: Path
    silent: list[ClientConnection]
    stack: ExitStack
    honest: dict[str, str] = field(default_factory=dict)
    rogues: dict[str, str] = field(default_factory=dict)
    jobs: list[str] = field(default_factory=list)
    began: int = 0

    def rogue(self, name: str) -> Rogue:
        """Return a registered and bonded worker of a new name."""
        rogue = Rogue(self.node.url, name)
        self.stack.callback(rogue.http.close)
        rogue.register()
        self.rogues[rogue.public] = rogue.payout
        return rogue

    def gather(self, *others: Rogue) -> None:
        """Wait until exactly the honest workers and these are connected."""
        wanted = {*self.honest, *(each.public for each in others)}
        until = time.monotonic() + SECONDS
        while {each.worker for each in self.client.workers()} != wanted:
            assert time.monotonic() < until, [worker.log.read_text() for worker in self.workers]
            time.sleep(0.02)

    def order(self, *others: Rogue) -> str:
        """Order a job from the honest workers and these."""
        self.gather(*others)
        seats = HONEST + len(others)
        file = io.BytesIO()
        Image.fromarray(self.picture(len(self.jobs))).save(file, "PNG")
        asked = {"block": 16, "workers": seats, "workers_least": seats, "duplicates": 0, "audit": PPM, "minutes": 10}
        self.jobs.append(self.client.submit(file.getvalue(), **asked).job_id)
        return self.jobs[-1]

    def picture(self, seed: int) -> np.ndarray:
        """Return the picture of the job with this number."""
        return np.random.default_rng(seed).integers(0, 256, (40, 56, 3), np.uint8)

    def settled(self, job_id: str) -> dict[str, say.SettlementLine]:
        """Wait for a job and return what every worker got for it: right pixels, the honest paid for their blocks."""
        until = time.monotonic() + SECONDS
        while (view := self.client.job(job_id)).state is not JobState.DONE:
            assert time.monotonic() < until, view
            time.sleep(0.05)
        source = self.picture(self.jobs.index(job_id))
        path = self.client.download(job_id, "output", self.folder / f"{job_id}.png")
        assert np.array_equal(np.asarray(Image.open(path)), resample(source, (112, 80)))
        page = httpx.get(f"{self.node.url}/api/v1/jobs/{job_id}/entries?limit=500", timeout=20).json()
        (payload,) = [each["entry"]["payload"] for each in page["entries"] if each["entry"]["type"] == "JobSettled"]
        lines = {line.worker: line for line in msgspec.convert(payload["lines"], list[say.SettlementLine])}
        for worker in self.honest:
            line = lines[worker]
            assert line.accepted > 0
            assert int(line.amount) > 0
            assert (line.refuted, line.absent, line.unavailable, line.slashed) == (0, 0, 0, "0")
        return lines

    def unpaid(self, job_id: str, *rogues: Rogue) -> list[say.SettlementLine]:
        """Wait for a job and return the lines of rogues, who earned nothing with it or ever."""
        lines = self.settled(job_id)
        for rogue in rogues:
            assert lines[rogue.public].amount == "0"
            assert self.client.account(rogue.payout).balance_wei == "0"
        return [lines[rogue.public] for rogue in rogues]

    def memory(self, name: str = "VmRSS") -> int:
        """Return the bytes that the node has in memory."""
        text = Path(f"/proc/{self.node.process.pid}/status").read_text(encoding="ascii")
        return next(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith(f"{name}:"))

    def forget_peak(self) -> None:
        """Let VmHWM begin at what the node has now."""
        Path(f"/proc/{self.node.process.pid}/clear_refs").write_text("5", encoding="ascii")


@pytest.fixture(scope="module")
def siege(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Siege]:
    """A node with a quick rhythm, honest workers that stand in its ledger, and lines that will never say hello."""
    folder = tmp_path_factory.mktemp("siege")
    with ExitStack() as stack:
        node = stack.enter_context(serving(folder / "node", "--heartbeat", "0.4", "--lease", "2"))
        client = stack.enter_context(Client(node.url))
        workers = stack.enter_context(working(folder, node.url, HONEST))
        silent = [stack.enter_context(dial(node.url)) for _ in range(3)]
        made = Siege(node, client, workers, folder, silent, stack)
        until = time.monotonic() + SECONDS
        while len(made.honest) < HONEST:
            assert time.monotonic() < until, [worker.log.read_text() for worker in workers]
            made.honest = {each.worker: each.address for each in client.workers() if each.bond_wei not in {None, "0"}}
            time.sleep(0.05)
        made.settled(made.order())
        made.began = made.memory()
        yield made


@pytest.fixture(autouse=True)
def _bounded(siege: Siege) -> Iterator[None]:
    """Hold the node's memory to its bound during every test."""
    siege.forget_peak()
    before = siege.memory()
    yield
    if siege.node.process.poll() is None:
        assert siege.memory("VmHWM") - before < GROWTH_MAX


def reset(line: ClientConnection) -> None:
    """Break a line off with a TCP RST."""
    line.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    line.socket.close()


def hang_up(line: ClientConnection) -> None:
    """Break a line off with a TCP FIN."""
    line.socket.shutdown(socket.SHUT_RDWR)


def raw(line: ClientConnection, data: bytes) -> None:
    """Send bytes past the WebSocket's own framing; whoever reads them may have hung up already."""
    with suppress(OSError):
        line.socket.sendall(data)


def refused(line: ClientConnection, job: wire.Job) -> str:
    """Return why the node says that something about a piece does not count."""
    said = heard(line, wire.Refused)
    assert said.job_id == job.job_id
    return said.reason


# Workers that go, or do nothing.


@pytest.mark.parametrize("part", [hang_up, reset])
def test_vanish_in_the_middle_of_a_piece(siege: Siege, part: Callable[[ClientConnection], None]) -> None:
    rogue = siege.rogue(f"vanish by {part.__name__}")
    with rogue.line(beats=None) as line:
        job = siege.order(rogue)
        payload = heard(line, wire.Job).payload
        assert rogue.upload(payload.output.path, b"".join(rogue.compute(payload))[:100]).json()["offset"] == 100
        part(line)
    (mine,) = siege.unpaid(job, rogue)
    assert mine.slashed == "0", "whoever committed to nothing breaks no promise"


def test_stall_below_the_heartbeat(siege: Siege) -> None:
    rogue = siege.rogue("stall")
    with rogue.line(beats=None) as line:
        job = siege.order(rogue)
        heard(line, wire.Job)
        assert closed(line) == (POLICY, "no heartbeat in time")
        siege.unpaid(job, rogue)


def test_beats_and_never_works(siege: Siege) -> None:
    rogue = siege.rogue("idle")
    with rogue.line() as line:
        job = siege.order(rogue)
        heard(line, wire.Job)
        assert heard(line, wire.Cancel).reason == "its lease is over"
        siege.unpaid(job, rogue)


def test_coming_back_again_and_again_holds_no_piece_for_ever(siege: Siege) -> None:
    rogue, job, leases = siege.rogue("flap"), "", set()
    until = time.monotonic() + 15
    while not job or siege.client.job(job).state is not JobState.DONE:
        assert time.monotonic() < until, "it keeps what it does not do"
        with rogue.line() as line:
            job = job or siege.order(rogue)
            with suppress(TimeoutError):
                first = heard(line, wire.Job, 0.3)
                leases.add((first.job_id, first.payload.lease_ends))
    siege.unpaid(job, rogue)
    assert len(leases) > 1


def test_answer_late(siege: Siege) -> None:
    rogue = siege.rogue("late")
    with rogue.line() as line:
        job = siege.order(rogue)
        piece = heard(line, wire.Job)
        blocks = rogue.compute(piece.payload)
        while heard(line, wire.Cancel).job_id != piece.job_id:
            pass
        until = time.monotonic() + SECONDS
        while rogue.http.get(piece.payload.output.path).status_code == 200:
            assert time.monotonic() < until
        assert rogue.upload(piece.payload.output.path, b"".join(blocks)).status_code == 404
        late = rogue.committing(piece, blocks)
        line.send(wire.spell(late))
        assert "is not held by this worker" in refused(line, piece)
        sent = rogue.http.post("/api/v1/transactions", content=late.entry, headers={"content-type": "application/json"})
        assert sent.status_code in {403, 409, 422}, sent.text
        siege.unpaid(job, rogue)


def test_capacity_beyond_all_measure_holds_up_nobody(siege: Siege) -> None:
    rogue = siege.rogue("greedy")
    for capacity in (0, -1, wire.CAPACITY_MAX + 1, 10**9, 1 << 70):
        with dial(siege.node.url) as line:
            hello = json.loads(wire.spell(rogue.hello(heard(line, wire.Auth)))) | {"capacity": capacity}
            line.send(json.dumps(hello))
            assert closed(line)[0] == POLICY
    with rogue.line(wire.CAPACITY_MAX) as line:
        jobs = [siege.order(rogue) for _ in range(3)]
        for _ in range(6):
            heard(line, wire.Job)
        for job in jobs:
            siege.unpaid(job, rogue)


# Workers that speak nonsense.

PROGRESS = '{"type":"progress","job_id":"a:1:0","done":%s,"total":1}'
GARBAGE = {
    "no JSON": "nonsense",
    "nothing": "",
    "a number": "1",
    "a text": '"heartbeat"',
    "a list": "[]",
    "no type": "{}",
    "another type": '{"type":"receipt"}',
    "type of another kind": '{"type":["heartbeat"]}',
    "an unknown member": '{"type":"heartbeat","extra":1}',
    "a missing member": '{"type":"progress"}',
    "two values": '{"type":"heartbeat"}{"type":"heartbeat"}',
    "half of it": '{"type":"heart',
    "a list without end": "[" * 500_000,
    "an object without end": '{"type":' * 100_000,
    "a number without end": "9" * 500_000,
    "a NUL": "\0",
    "a NUL in a word": '{"type":"heart\0beat"}',
    "a surrogate": '{"type":"declined","job_id":"a:1:0","reason":"\\ud800"}',
    "an infinite number": PROGRESS % "1e999",
    "a fraction": PROGRESS % "0.5",
    "less than nothing": PROGRESS % "-1",
    "more than a count": PROGRESS % "9007199254740992",
    "a piece with a line break": PROGRESS.replace("a:1:0", "a:1:0\\n") % "1",
    "an address that is none": '{"type":"job_result","job_id":"a:1:0","worker_address":"x","result_hash":"00"}',
}
BROKEN = {
    "no UTF-8": b"\x81\x82\0\0\0\0\xff\xfe",
    "an unknown opcode": b"\x87\x80\0\0\0\0",
    "a reserved bit": b"\xc1\x80\0\0\0\0",
    "no mask": b"\x81\x02{}",
    "a tail without a head": b"\x80\x80\0\0\0\0",
    "a long ping": b"\x89\xfe\x01\x00" + bytes(4 + 256),
    "a TiB to come": b"\x81\xff" + struct.pack(">Q", 1 << 40) + bytes(4),
    "no WebSocket at all": b"GET / HTTP/1.1\r\n\r\n" * 10,
}


def test_garbage_frames(siege: Siege) -> None:
    rogue = siege.rogue("garbage")
    with rogue.line() as line:
        job = siege.order(rogue)
        heard(line, wire.Job)
        line.send(b'{"type":"heartbeat"}')
        assert closed(line)[0] == BAD_DATA, "binary"
    for name, frame in GARBAGE.items():
        with rogue.line() as line:
            line.send(frame)
            assert closed(line)[0] == BAD_DATA, name
    for name, data in BROKEN.items():
        with rogue.line() as line:
            raw(line, data)
            assert closed(line)[0] in UNTOLD, name
    siege.unpaid(job, rogue)


def test_oversized_frames(siege: Siege) -> None:
    rogue = siege.rogue("oversized")
    job = ""
    for fragments, size in ((1, 2), (20, 1)):
        with rogue.line() as line:
            job = job or siege.order(rogue)
            heard(line, wire.Job)
            line.send(iter(["x" * (size * MIB)] * fragments))
            assert closed(line)[0] == TOO_BIG
    siege.unpaid(job, rogue)


def test_a_frame_that_is_larger_than_the_server_takes_is_cut_off(siege: Siege) -> None:
    rogue = siege.rogue("huge")
    with rogue.line() as line, suppress(ConnectionClosed, OSError):
        line.send("x" * (17 * MIB))
        assert closed(line)[0] in UNTOLD
    siege.settled(siege.order())


# Workers that are somebody else.


def test_replayed_hello(siege: Siege) -> None:
    rogue = siege.rogue("recorded")
    with dial(siege.node.url) as line:
        hello = wire.spell(rogue.hello(heard(line, wire.Auth)))
        line.send(hello)
        heard(line, wire.Ready)
    with dial(siege.node.url) as line:
        heard(line, wire.Auth)
        line.send(hello)
        code, reason = closed(line)
        assert code == POLICY
        assert "signature" in reason
    siege.settled(siege.order())


def test_hello_in_another_name_displaces_nobody(siege: Siege) -> None:
    rogue = siege.rogue("impostor")
    before = {each.worker: each.since for each in siege.client.workers()}
    job = siege.order()
    changes: tuple[dict[str, Any], ...] = (
        *({"public_key": key} for key in siege.honest),
        {"signature": "00" * 64},
        {"signature": "ff" * 64},
        {"public_key": "02" + "ff" * 32},
        {"public_key": "04" + "00" * 32},
        {"backend": "x" * 10_000},
        {"kernels": ["x"] * 10_000},
        {"type": "ready"},
    )
    for change in changes:
        with dial(siege.node.url) as line:
            hello = json.loads(wire.spell(rogue.hello(heard(line, wire.Auth))))
            line.send(json.dumps(hello | change))
            assert closed(line)[0] == POLICY, change
    siege.settled(job)
    assert {each.worker: each.since for each in siege.client.workers()} == before


def test_a_second_hello(siege: Siege) -> None:
    rogue = siege.rogue("twice")
    with dial(siege.node.url) as line:
        hello = wire.spell(rogue.hello(heard(line, wire.Auth)))
        line.send(hello)
        heard(line, wire.Ready)
        job = siege.order(rogue)
        line.send(hello)
        assert closed(line) == (BAD_DATA, "frame cannot be read: hello is said once")
    siege.unpaid(job, rogue)


def test_another_workers_commitment(siege: Siege) -> None:
    victim, thief = siege.rogue("victim"), siege.rogue("thief")
    with victim.line() as line, thief.line() as other:
        job = siege.order(victim, thief)
        own, wanted = heard(line, wire.Job), heard(other, wire.Job)
        blocks = victim.compute(own.payload)
        loot = victim.committing(own, blocks)
        other.send(wire.spell(loot))
        assert "is not held by this worker" in heard(other, wire.Refused).reason
        other.send(wire.spell(msgspec.structs.replace(loot, job_id=wanted.job_id)))
        assert "signed by the worker of this line" in refused(other, wanted)
        root = json.loads(loot.entry)["payload"]["result_hash"]
        for name in (own.job_id, wanted.job_id):
            other.send(wire.spell(wire.JobResult(name, victim.worker.key.address, root)))
            heard(other, wire.Refused)
        assert victim.upload(own.payload.output.path, b"".join(blocks)).json()["complete"]
        line.send(wire.spell(loot))
        heard(line, wire.Receipt)
    lines = siege.settled(job)
    assert lines[thief.public].amount == "0"
    assert lines[victim.public].accepted == len(own.payload.blocks)
    assert int(lines[victim.public].amount) > 0


# Workers that deliver something else.


def forged(rogue: Rogue, job: wire.Job) -> wire.CommitmentMessage:
    """Deliver and commit to made-up bytes."""
    blocks = rogue.zeros(job.payload)
    rogue.upload(job.payload.output.path, b"".join(blocks)).raise_for_status()
    return rogue.committing(job, blocks)


def swapped(rogue: Rogue, job: wire.Job) -> wire.CommitmentMessage:
    """Commit to the right bytes and deliver others."""
    rogue.upload(job.payload.output.path, b"".join(rogue.zeros(job.payload))).raise_for_status()
    return rogue.committing(job, rogue.compute(job.payload))


def misopened(rogue: Rogue, job: wire.Job) -> wire.CommitmentMessage:
    """Deliver and commit to the right bytes, with openings of others and far too many of them."""
    blocks = rogue.compute(job.payload)
    rogue.upload(job.payload.output.path, b"".join(blocks)).raise_for_status()
    others = rogue.committing(job, rogue.zeros(job.payload)).openings or ()
    return msgspec.structs.replace(rogue.committing(job, blocks), openings=(others * wire.SLOTS_MAX)[: wire.SLOTS_MAX])


@pytest.mark.parametrize("mischief", [forged, swapped, misopened])
def test_wrong_bytes(siege: Siege, mischief: Callable[[Rogue, wire.Job], wire.CommitmentMessage]) -> None:
    rogue = siege.rogue(mischief.__name__)
    with rogue.line() as line:
        job = siege.order(rogue)
        piece = heard(line, wire.Job)
        line.send(wire.spell(mischief(rogue, piece)))
        receipt = heard(line, wire.Receipt)
        assert receipt.job_id == piece.job_id
    (mine,) = siege.unpaid(job, rogue)
    assert (mine.accepted, int(mine.slashed) > 0) == (0, True)


def test_uploads_elsewhere_too_long_too_far_and_too_late(siege: Siege) -> None:
    rogue = siege.rogue("uploads")
    with rogue.line() as line:
        job = siege.order(rogue)
        first, second = heard(line, wire.Job), heard(line, wire.Job)
        data, output = b"".join(rogue.compute(first.payload)), first.payload.output
        ticket = output.path.split("/")[-2]
        guess = f"{int(ticket, 16) ^ 1:0{len(ticket)}x}"
        for path in (output.path.replace(ticket, guess), output.path.replace(ticket, "x"), output.path[:-1]):
            assert rogue.upload(path, data).status_code in {404, 405, 422}, path
        assert rogue.http.get(first.payload.input.path.replace(ticket, guess)).status_code == 404
        assert rogue.upload(output.path, data + b"x").status_code == 413
        assert rogue.upload(output.path, bytes(16 * MIB)).status_code == 413
        where = rogue.http.get(output.path).json()
        assert where["offset"] <= output.length
        assert not where["complete"]
        for offset in (1, -1, output.length, 1 << 53, 1 << 64):
            assert rogue.upload(output.path, b"x", offset).status_code in {409, 413, 422}, offset
        # The place of one piece is none for another: its bytes are those of the piece whose ticket it is.
        line.send(wire.spell(rogue.committing(second, rogue.compute(second.payload))))
        heard(line, wire.Receipt)
        root = json.loads(rogue.committing(second, rogue.compute(second.payload)).entry)["payload"]["result_hash"]
        line.send(wire.spell(wire.JobResult(second.job_id, rogue.worker.key.address, root)))
        assert "have not all arrived" in refused(line, second)
        blocks = b"".join(rogue.compute(second.payload))
        assert rogue.upload(second.payload.output.path, blocks).json()["complete"]
        assert rogue.upload(second.payload.output.path, blocks).status_code == 409
    lines = siege.settled(job)
    assert lines[rogue.public].accepted == len(second.payload.blocks), "what it did do is paid"
    for path in (output.path, second.payload.output.path):
        assert rogue.upload(path, b"x").status_code == 404
        assert rogue.http.get(path).status_code == 404
    assert not [each for each in (siege.node.home / "jobs").iterdir() if job in each.name], "something was left behind"


def test_many_requests_that_write_to_one_place(siege: Siege) -> None:
    rogue = siege.rogue("hydra")
    with rogue.line() as line:
        job = siege.order(rogue)
        piece = heard(line, wire.Job)
        blocks = rogue.compute(piece.payload)
        answers: list[httpx.Response] = []
        with httpx.Client(base_url=siege.node.url, timeout=20, trust_env=False) as many:
            rogue.http, own = many, rogue.http
            upload = piece.payload.output.path, b"".join(blocks)
            threads = [threading.Thread(target=lambda: answers.append(rogue.upload(*upload))) for _ in range(16)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(SECONDS)
            rogue.http = own
        codes = sorted(answer.status_code for answer in answers)
        assert set(codes) <= {200, 409}, codes
        assert rogue.http.get(piece.payload.output.path).json()["complete"]
        line.send(wire.spell(rogue.committing(piece, blocks)))
        heard(line, wire.Receipt)
    lines = siege.settled(job)
    assert lines[rogue.public].accepted == len(piece.payload.blocks)
    assert lines[rogue.public].refuted == 0


def test_slow_loris_upload(siege: Siege) -> None:
    rogue = siege.rogue("loris")
    with rogue.line() as line, ExitStack() as stack:
        job = siege.order(rogue)
        output = heard(line, wire.Job).payload.output
        slow, never = (stack.enter_context(uploading(siege, output)) for _ in range(2))
        assert b" 404 " in trickled(slow), "the piece is somebody else's now"
        siege.unpaid(job, rogue)
        assert b" 404 " in trickled(never)


def trickled(line: socket.socket) -> bytes:
    """Send a byte now and then until there is an answer."""
    line.settimeout(0.1)
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        with suppress(TimeoutError):
            line.sendall(b"x")
            return line.recv(1000)
    raise AssertionError("it is let go on")


@contextmanager
def uploading(siege: Siege, output: wire.OutputPart) -> Iterator[socket.socket]:
    """Have a request that promised all bytes of a piece and sent none."""
    with socket.create_connection(("127.0.0.1", siege.node.port), timeout=SECONDS) as line:
        head = f"PATCH {output.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpload-Offset: 0\r\n"
        line.sendall(f"{head}Content-Length: {output.length}\r\n\r\n".encode())
        yield line


def test_openings_nobody_asked_for(siege: Siege) -> None:
    rogue = siege.rogue("open")
    with rogue.line() as line:
        job = siege.order(rogue)
        piece = heard(line, wire.Job)
        own = rogue.committing(piece, rogue.compute(piece.payload)).openings or ()
        for openings in (own, own * 200, ()):
            line.send(wire.spell(wire.OpeningMessage(piece.job_id, openings)))
            assert "nobody asked" in refused(line, piece)
        for name in (f"{job}:1:99999", f"{job}:9:0", "another:1:0"):
            line.send(wire.spell(wire.OpeningMessage(name, own)))
            assert "is not held by this worker" in heard(line, wire.Refused).reason
    siege.unpaid(job, rogue)


# Workers that talk without end, or do not listen.


def words(piece: wire.Job, rogue: Rogue) -> dict[str, str]:
    """Return what can be said of a piece without end."""
    name, blocks = piece.job_id, rogue.zeros(piece.payload)
    claim = rogue.committing(piece, blocks, nonce=rogue.nonce + 1)
    return {
        "progress": wire.spell(wire.Progress(name, 1, len(blocks))),
        "progress of others": wire.spell(wire.Progress(f"{piece.task_id}:1:99", 1, 1)),
        "heartbeats": wire.spell(wire.Heartbeat()),
        "drains": wire.spell(wire.Drain()),
        "refusals": wire.spell(wire.Declined(name, "x" * 500)),
        "results": wire.spell(wire.JobResult("gone:1:0", rogue.worker.key.address, "0" * 64)),
        "openings": wire.spell(wire.OpeningMessage(name, claim.openings or ())),
        "commitments": wire.spell(claim),
        "forged commitments": wire.spell(msgspec.structs.replace(claim, entry="{}")),
    }


KINDS = (
    "progress",
    "progress of others",
    "heartbeats",
    "drains",
    "refusals",
    "results",
    "openings",
    "commitments",
    "forged commitments",
)


def test_endless_talk_of_every_kind(siege: Siege) -> None:
    rogue = siege.rogue("chatter")
    piece: wire.Job | None = None
    job = ""
    for kind in KINDS:
        with rogue.line(beats=None) as line:
            job = job or siege.order(rogue)
            with suppress(TimeoutError):
                piece = heard(line, wire.Job, 20 if piece is None else 0.05)
            assert piece is not None
            pouring = threading.Thread(target=pour, args=(line, framed(words(piece, rogue)[kind]), 100_000))
            pouring.start()
            code, reason = closed(line)
            assert code in {POLICY, UNTOLD[1]}, (kind, code, reason)
            assert reason in {"too many messages that lead nowhere", ""}, (kind, reason)
            pouring.join(SECONDS)
    siege.unpaid(job, rogue)


def test_a_reader_that_never_reads(siege: Siege) -> None:
    rogue = siege.rogue("deaf")
    with socket.create_connection(("127.0.0.1", siege.node.port), timeout=SECONDS) as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        upgrade(line)
        auth = wire.read_from_node(frame_of(line))
        assert isinstance(auth, wire.Auth)
        line.sendall(framed(wire.spell(rogue.hello(auth))))
        ready = wire.read_from_node(frame_of(line))
        assert isinstance(ready, wire.Ready)
        job = siege.order(rogue)
        piece = wire.read_from_node(frame_of(line))
        assert isinstance(piece, wire.Job)
        asking = framed(wire.spell(wire.JobResult(piece.job_id, rogue.worker.key.address, "0" * 64)))
        line.settimeout(0)
        until = time.monotonic() + SECONDS
        while rogue.public in {each.worker for each in siege.client.workers()}:
            assert time.monotonic() < until, "it is kept, deaf as it is"
            with suppress(BlockingIOError, ConnectionError):
                line.sendall(asking * 100)
        siege.unpaid(job, rogue)


SILENT = 2000


def test_thousands_of_lines_that_never_say_hello(siege: Siege) -> None:
    with ExitStack() as stack:
        for _ in range(SILENT):
            line = stack.enter_context(socket.create_connection(("127.0.0.1", siege.node.port), timeout=SECONDS))
            upgrade(line)
        rogue = siege.rogue("late to the party")
        with rogue.line() as line:
            job = siege.order(rogue)
            heard(line, wire.Job)
            assert httpx.get(f"{siege.node.url}/health", timeout=5).status_code == 200
        siege.unpaid(job, rogue)


# After all of it.


def test_whoever_never_said_hello_was_sent_away(siege: Siege) -> None:
    for line in siege.silent:
        assert closed(line) == (POLICY, "no hello in time")


def test_nothing_of_it_is_left_in_memory_and_all_money_is_where_it_belongs(siege: Siege) -> None:
    siege.gather()
    assert siege.memory() - siege.began < GROWTH_MAX
    assert '"level":"error"' not in siege.node.said()
    assert siege.node.stop() == 0
    assert not list((siege.node.home / "jobs").iterdir())
    with open_home(siege.node.home) as opened:
        records = opened.engine.view.records
        entries = [decode(entry).payload for entry in opened.store.entries(0, opened.store.size())]
    assert supply(records) == SUPPLY
    assert all(record.balance == "0" for record in records.values() if isinstance(record, Escrow))
    assert all(record.locked == "0" for record in records.values() if isinstance(record, Registered))
    settled = [payload for payload in entries if isinstance(payload, say.JobSettled)]
    assert sorted(each.job_id for each in settled) == sorted(siege.jobs)
    slashed = {line.worker for each in settled for line in each.lines if line.slashed != "0"}
    assert slashed <= siege.rogues.keys()
