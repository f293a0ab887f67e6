"""A worker's runtime over a real socket, to a node whose every word a test chooses; bytes go by a scripted network."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

import httpx
import msgspec
import numpy as np
import pytest
from websockets.asyncio.server import ServerConnection, serve

from tallystick import errors, wire
from tallystick.client import http, labor
from tallystick.client.address import Address
from tallystick.client.credentials import OwnKey
from tallystick.client.http import Asker, Awaiting
from tallystick.client.inputs import checked_samples
from tallystick.client.joining import Papers
from tallystick.client.labor import Connected, Disconnected, Labor, News
from tallystick.client.offers import Terms
from tallystick.client.session import Session
from tallystick.client.signals import Recorded, Tell
from tallystick.job import JobSpec
from tallystick.kernels.raster import Raster, Samples, block_bytes, raster_digest
from tallystick.ledger.transactions import decode
from tallystick.node.worker import Worker
from tallystick.primitives.digests import field_commitment, sha256
from tallystick.slicing import block_length, layout
from tests.orders import CHAIN, DEADLINES, key, make_order
from tests.scripted_node import Reply, ScriptedNode, ServedFile, TakenUpload, json, lost

KEY: Final = key("worker 0")
SALT: Final = bytes(range(16))
SOURCE: Final = np.arange(48 * 32 * 3, dtype=np.uint32).astype(np.uint8).reshape(32, 48, 3)
DIGEST: Final = raster_digest(Raster(SOURCE))
TICKET: Final = "/api/v1/assignments/abc"
SECONDS_MAX: Final = 20.0
LATER: Final = 10**13


def order(**changes: Any) -> JobSpec:  # noqa: ANN401 - any field
    committed = field_commitment(sha256(b"job-1"), "input", SALT, DIGEST).hex()
    times = {name: LATER + place for place, name in enumerate(DEADLINES.__struct_fields__)}
    return make_order(**{"input": committed, **times, **changes})


def offer(microjob: int = 0, **changes: Any) -> wire.Job:  # noqa: ANN401 - any field of the payload
    spec = order()
    counts = layout(spec)
    blocks = tuple((microjob * counts.size + index) % counts.blocks for index in range(counts.slots_of(microjob)))
    payload = wire.JobPayload(
        spec=spec,
        attempt=1,
        microjob=microjob,
        macrojob=0,
        blocks=blocks,
        input=wire.InputPart(f"{TICKET}/input", SOURCE.nbytes, DIGEST.hex(), SALT.hex()),
        output=wire.OutputPart(f"{TICKET}/{microjob}/output", output_length(spec, blocks)),
        lease_ends=LATER,
    )
    return wire.Job(f"job-1:1:{microjob}", "job-1", msgspec.structs.replace(payload, **changes))


def output_length(spec: JobSpec, blocks: tuple[int, ...]) -> int:
    return sum(block_length(spec, layout(spec), block) for block in blocks)


@dataclass
class Kernel:
    """An executor that may be slow, and says when it begins."""

    backend: str = "numpy"
    seconds: float = 0.0
    began: threading.Event = field(default_factory=threading.Event)
    runs: int = 0
    fails: bool = False
    short: bool = False

    def run(self, spec: JobSpec, source: Samples, region: Any) -> bytes:  # noqa: ANN401 - a region
        """Return bytes that follow from the region."""
        _ = (spec, source)
        self.began.set()
        self.runs += 1
        time.sleep(self.seconds)
        if self.fails:
            raise RuntimeError("the device is gone")
        length = (region.x1 - region.x0) * (region.y1 - region.y0) * 3
        return bytes([region.x0 % 251 + 1]) * (length - self.short)


@dataclass
class Speaker:
    """The node's end of one line."""

    socket: ServerConnection
    heard: list[wire.FromWorker] = field(default_factory=list)

    async def say(self, message: wire.FromNode) -> None:
        """Send a message."""
        await self.socket.send(wire.spell(message))

    async def hear(self, kind: type) -> Any:  # noqa: ANN401 - of the kind
        """Wait for a message of a kind, noting what comes before."""
        async with asyncio.timeout(SECONDS_MAX):
            while True:
                message = wire.read_from_worker(await self.socket.recv())
                self.heard.append(message)
                if isinstance(message, kind):
                    return message

    async def open(self, **changes: Any) -> None:  # noqa: ANN401 - any field of Ready
        """Greet the worker."""
        await self.say(wire.Auth(wire.PROTOCOL, CHAIN, "34" * 32))
        await self.hear(wire.Hello)
        ready = wire.Ready(KEY.address, True, str(10**18), "0", 3, 200, 1000, 60_000)  # noqa: FBT003 - a message
        await self.say(msgspec.structs.replace(ready, **changes))

    async def acknowledge(self) -> wire.CommitmentMessage:
        """Wait for a root and say that it stands."""
        message: wire.CommitmentMessage = await self.hear(wire.CommitmentMessage)
        entry = decode(message.entry.encode())
        await self.say(wire.Receipt(message.job_id, 5, entry.nid, entry.tx_hash))
        return message


Talk = Callable[[Speaker], Awaitable[None]]


@dataclass
class Run:
    """What became of a worker that met a node."""

    worker: Labor
    network: ScriptedNode
    news: list[News]
    error: BaseException | None = None

    def told(self) -> str:
        """All that people were told."""
        return "\n".join(each.text for each in self.news if isinstance(each, Tell))


def meet(*talks: Talk, kernel: Kernel | None = None, script: dict[str, list[Reply]] | None = None, **terms: Any) -> Run:  # noqa: ANN401 - Terms
    """Have a worker meet a node that holds these talks, one a line; the worker is stopped after the last."""

    async def run() -> Run:
        remaining, ended = list(talks), asyncio.Event()
        failures: list[BaseException] = []

        async def answer(socket: ServerConnection) -> None:
            if not remaining:
                return
            talk = remaining.pop(0)
            try:
                await talk(Speaker(socket))
            except BaseException as error:  # noqa: BLE001 - raised again below, in the test
                failures.append(error)
            if not remaining:
                ended.set()

        async with serve(answer, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            network = ScriptedNode(script or places())
            asker = Asker(Address.parse(f"127.0.0.1:{port}"), OwnKey(KEY), software="test")
            session = Session(
                Worker(KEY, sha256(b"secret"), "numpy"),
                Terms(**{"capacity": 3, "software": "test", "bond": 10**18, **terms}),
            )
            papers = Papers(KEY, key("operator"), key("payout").address, "numpy")
            news: list[News] = []
            found = Run(
                Labor(
                    session,
                    Awaiting(asker, network),
                    kernel or Kernel(),
                    papers,
                    2,
                    news.append,
                ),
                network,
                news,
            )
            working = asyncio.create_task(found.worker.work())
            waiting = asyncio.create_task(ended.wait())
            await asyncio.wait((working, waiting), return_when=asyncio.FIRST_COMPLETED, timeout=SECONDS_MAX)
            waiting.cancel()
            found.worker.stop()
            (found.error,) = await asyncio.gather(working, return_exceptions=True)
            if failures:
                raise AssertionError(f"{found.error!r}, {found.news}") from failures[0]
        return found

    return asyncio.run(run())


def places(*taken: TakenUpload, file: ServedFile | None = None) -> dict[str, list[Reply]]:
    """The node's places for bytes: the input, and one upload for each micro job."""
    source = file or ServedFile(block_bytes(SOURCE), etag=f'"{DIGEST.hex()}"')
    script: dict[str, list[Reply]] = {f"GET {TICKET}/input": [source.get]}
    spec = order()
    for microjob in range(layout(spec).microjobs):
        upload = taken[microjob] if microjob < len(taken) else TakenUpload(offer(microjob).payload.output.length)
        script[f"PATCH {TICKET}/{microjob}/output"] = [upload.patch]
        script[f"GET {TICKET}/{microjob}/output"] = [upload.get]
    return script


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_pause", lambda _pause: 0.0)
    monkeypatch.setattr(labor, "BACKOFF_MIN", 0.01)


def test_a_piece_is_fetched_computed_delivered_rooted_and_opened() -> None:
    upload, bad_line = (
        TakenUpload(offer().payload.output.length, ["half", "lost"]),
        ServedFile(block_bytes(SOURCE), 1000, etag=f'"{DIGEST.hex()}"'),
    )

    async def talk(node: Speaker) -> None:
        await node.open()
        await node.say(offer())
        message = await node.acknowledge()
        assert len(upload.data) == upload.length, "the bytes come before the root"
        assert decode(message.entry.encode()).nonce == 3
        result = await node.hear(wire.JobResult)
        assert result.worker_address == KEY.address
        shown, start = [], 0
        for block in offer().payload.blocks:
            length = block_length(order(), layout(order()), block)
            shown.append(sha256(bytes(upload.data[start : start + length])).hex())
            start += length
        await node.say(wire.Challenge("job-1:1:0", "00" * 32, tuple(shown), offer().payload))
        opening = await node.hear(wire.OpeningMessage)
        assert len(opening.openings) == len(shown)

    met = meet(talk, script=places(upload, file=bad_line))
    assert met.error is None
    assert [type(each) for each in met.news if not isinstance(each, Tell)] == [Connected, Recorded]
    assert len(bad_line.ranges) == -(-SOURCE.nbytes // 1000)


def test_pieces_of_one_job_share_one_fetch() -> None:
    async def talk(node: Speaker) -> None:
        await node.open()
        for microjob in range(3):
            await node.say(offer(microjob))
        for _ in range(3):
            await node.acknowledge()

    met = meet(talk)
    assert met.network.times(f"GET {TICKET}/input") == 1


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (block_bytes(SOURCE)[:-1] + b"\x07", "digest of the input"),
        (block_bytes(SOURCE)[:-1], "nothing more"),
        (block_bytes(SOURCE) + b"\x07", "more than the"),
    ],
    ids=["other bytes", "too few", "too many"],
)
def test_an_input_that_is_not_the_orders_is_computed_by_nobody(data: bytes, words: str) -> None:
    kernel = Kernel()

    async def talk(node: Speaker) -> None:
        await node.open()
        await node.say(offer())
        declined = await node.hear(wire.Declined)
        assert words in declined.reason

    met = meet(talk, kernel=kernel, script=places(file=ServedFile(data)))
    assert kernel.runs == 0
    assert words in met.told()


def test_an_input_that_the_order_did_not_commit_to_is_not_even_fetched() -> None:
    payload = offer().payload
    other = msgspec.structs.replace(payload.input, digest="00" * 32)

    async def talk(node: Speaker) -> None:
        await node.open()
        await node.say(offer(input=other))
        await node.hear(wire.Declined)

    assert meet(talk).network.asked == []
    with pytest.raises(errors.CommitmentError):
        checked_samples(msgspec.structs.replace(payload, input=other), block_bytes(SOURCE))


def test_the_rhythm_is_kept_while_kernels_run() -> None:
    async def talk(node: Speaker) -> None:
        await node.open()
        await node.say(offer())
        await node.say(offer(1))
        await node.acknowledge()

    met = meet(lambda node: beats(node, talk), kernel=Kernel(seconds=0.4))
    assert met.error is None


async def beats(node: Speaker, talk: Talk) -> None:
    """Hold a talk and count the heartbeats in it: 4 blocks of 0.4 s at 200 ms."""
    began = time.monotonic()
    await talk(node)
    signs = sum(isinstance(each, wire.Heartbeat) for each in node.heard)
    assert signs >= 0.5 * (time.monotonic() - began) / 0.25


def test_a_cancelled_piece_stops_at_its_next_block() -> None:
    kernel = Kernel(seconds=0.2)

    async def talk(node: Speaker) -> None:
        await node.open()
        await node.say(offer())
        await asyncio.to_thread(kernel.began.wait, SECONDS_MAX)
        await node.say(wire.Cancel("job-1:1:0", "somebody else has it"))
        await asyncio.sleep(1.0)

    met = meet(talk, kernel=kernel)
    assert 1 <= kernel.runs <= 2
    assert "somebody else has it" in met.told()


@pytest.mark.parametrize(
    ("kernel", "words"), [(Kernel(fails=True), "the device is gone"), (Kernel(short=True), "are due")]
)
def test_a_kernel_that_fails_costs_one_piece_and_not_the_worker(kernel: Kernel, words: str) -> None:
    async def talk(node: Speaker) -> None:
        await node.open()
        await node.say(offer())
        declined = await node.hear(wire.Declined)
        assert words in declined.reason
        kernel.fails = kernel.short = False
        await node.say(offer(1))
        await node.acknowledge()

    assert meet(talk, kernel=kernel).error is None


def test_a_lost_line_is_dialed_again_and_what_was_computed_meanwhile_goes_on() -> None:
    kernel = Kernel(seconds=0.1)

    async def first(node: Speaker) -> None:
        await node.open()
        await node.say(offer())
        await asyncio.to_thread(kernel.began.wait, SECONDS_MAX)
        node.socket.transport.abort()

    async def second(node: Speaker) -> None:
        await node.open()
        await node.acknowledge()
        await node.hear(wire.JobResult)

    met = meet(first, second, kernel=kernel)
    assert kernel.runs == 4
    assert [type(each) for each in met.news if not isinstance(each, Tell)] == [
        Connected,
        Disconnected,
        Connected,
        Recorded,
    ]


@pytest.mark.parametrize(
    "frame",
    ["nonsense", '{"type":"hello"}', b"\xff\xfe", "x" * (wire.FRAME_BYTES_MAX + 1), '{"type":"job"}'],
    ids=["nonsense", "a worker's word", "no text", "oversized", "half a job"],
)
def test_garbage_ends_the_line_and_the_worker_comes_back(frame: str | bytes) -> None:
    async def garbage(node: Speaker) -> None:
        await node.open()
        await node.socket.send(frame)
        await node.socket.wait_closed()

    async def sane(node: Speaker) -> None:
        await node.open()
        await node.say(offer())
        await node.acknowledge()

    met = meet(garbage, sane)
    assert met.error is None
    assert any(isinstance(each, Disconnected) for each in met.news)


def test_a_node_of_another_ledger_is_an_error_at_once_and_later_only_a_bad_line() -> None:
    async def other(node: Speaker) -> None:
        await node.say(wire.Auth(wire.PROTOCOL, "another-chain", "34" * 32))
        await node.socket.wait_closed()

    met = meet(other, chain_id=CHAIN)
    assert isinstance(met.error, errors.VerificationError)

    async def right(node: Speaker) -> None:
        await node.open()

    met = meet(right, other, right)
    assert met.error is None
    assert any("ledger of the node" in each.reason for each in met.news if isinstance(each, Disconnected))


def test_a_worker_that_the_ledger_does_not_know_registers_and_bonds_itself_once() -> None:
    poured: list[bytes] = []

    def pour(request: httpx.Request) -> httpx.Response:
        poured.append(request.content)
        return lost(request)  # the money came, the reply did not

    def account(request: httpx.Request) -> httpx.Response:
        balance = str(10**18 if poured else 0)
        return json({"address": KEY.address, "balance_wei": balance, "nonce": 0})(request)

    def record(request: httpx.Request) -> httpx.Response:
        entry = decode(request.content)
        return json({"nid": entry.nid, "tx_hash": entry.tx_hash, "index": 1}, 201)(request)

    script = places() | {
        "GET /api/v1/node": [json({"chain_id": CHAIN})],
        f"GET /api/v1/accounts/{KEY.address}": [account],
        "POST /api/v1/faucet": [pour],
        "POST /api/v1/transactions": [record],
    }

    async def talk(node: Speaker) -> None:
        await node.open(registered=False, bond="0", nonce=0)
        await node.say(offer())
        message = await node.acknowledge()
        assert decode(message.entry.encode()).nonce == 2

    met = meet(talk, script=script)
    sent = [decode(each.content) for each in met.network.asked if each.url.path.endswith("/transactions")]
    assert [(entry.type, entry.nonce) for entry in sent] == [("NodeRegistered", 0), ("StakeDeposited", 1)]
    assert sent[0].payload.payout == key("payout").address
    assert len(poured) == 1


def test_a_draining_worker_ends_its_piece_and_leaves() -> None:
    kernel = Kernel(seconds=0.2)
    leaving: list[Labor] = []

    async def talk(node: Speaker) -> None:
        await node.open()
        await node.say(offer())
        await asyncio.to_thread(kernel.began.wait, SECONDS_MAX)
        leaving[0].drain(SECONDS_MAX)
        await node.hear(wire.Drain)
        await node.acknowledge()
        await node.hear(wire.JobResult)
        await node.socket.wait_closed()
        assert node.socket.close_code == 1000

    original = Labor.__post_init__

    def noted(self: Labor) -> None:
        original(self)
        leaving.append(self)

    Labor.__post_init__ = noted  # type: ignore[method-assign]
    try:
        met = meet(talk, kernel=kernel)
    finally:
        Labor.__post_init__ = original  # type: ignore[method-assign]
    assert met.error is None
    assert kernel.runs == 4
