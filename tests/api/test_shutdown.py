"""The end: sockets are told 1001, streams end, half-sent bodies are let go, the port is free, nothing is lost."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tallystick.primitives.keys import SigningKey
from tallystick.wire import hello_digest
from tests.node_process import NodeProcess, serving, start

LINES = 10
SECONDS = 2.0


@contextmanager
def opened(node: NodeProcess, seed: int) -> Iterator[ClientConnection]:
    """A worker that said hello."""
    with connect(f"ws://127.0.0.1:{node.port}/worker", open_timeout=20, close_timeout=1) as line:
        greet(line, seed)
        yield line


def greet(line: ClientConnection, seed: int) -> None:
    """Say hello and hear that the line is open."""
    auth = json.loads(line.recv(timeout=20))
    key = SigningKey(bytes([seed + 1]) * 32)
    signature = key.sign(hello_digest(auth["chain_id"], auth["nonce"])).hex()
    hello = {"type": "hello", "public_key": key.public.hex(), "signature": signature, "backend": "numpy"}
    line.send(json.dumps(hello | {"kernels": [], "capacity": 1, "software": "test"}))
    assert json.loads(line.recv(timeout=20))["type"] == "ready"


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_ten_sockets_and_streams_end_within_two_seconds(tmp_path: Path, sent: signal.Signals) -> None:
    with serving(tmp_path / "home") as node, ExitStack() as stack:
        http = stack.enter_context(httpx.Client(timeout=20))
        form = {"length": 100_000, "sha256": "0" * 64}
        upload = http.post(f"{node.url}/api/v1/uploads", json=form).json()["upload_id"]
        workers = [stack.enter_context(opened(node, seed)) for seed in range(LINES)]
        streams = [http.stream("GET", f"{node.url}/api/v1/events") for _ in range(LINES)]
        answers = [stack.enter_context(stream) for stream in streams]
        readers = [answer.iter_lines() for answer in answers]
        assert all(next(reader) == "retry: 1000" for reader in readers)
        half = stack.enter_context(socket.create_connection(("127.0.0.1", node.port), timeout=20))
        head = f"PATCH /api/v1/uploads/{upload} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpload-Offset: 0\r\n"
        half.sendall(f"{head}Content-Length: 100000\r\n\r\n".encode() + bytes(1000))
        idle = stack.enter_context(socket.create_connection(("127.0.0.1", node.port), timeout=20))
        idle.sendall(b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert b"200" in idle.recv(4096)
        began = time.monotonic()
        assert node.stop(sent, SECONDS + 20) == 0
        assert time.monotonic() - began < SECONDS
        for worker in workers:
            with pytest.raises(ConnectionClosed) as closed:
                worker.recv(timeout=20)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1001
        for reader in readers:
            assert ": the node stops" in list(reader)
        assert_free(node.port)
    assert not (tmp_path / "home" / "node.json").exists()


def assert_free(port: int) -> None:
    """Nobody listens on a port."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", port))


def test_a_kill_leaves_nobody_on_the_port(tmp_path: Path) -> None:
    with serving(tmp_path / "home") as node, opened(node, 1):
        assert json.loads((tmp_path / "home" / "node.json").read_bytes())["pid"] == node.process.pid
        children = Path(f"/proc/{node.process.pid}/task/{node.process.pid}/children")
        if children.exists():
            assert children.read_text(encoding="ascii") == ""
        node.kill()
        assert_free(node.port)
        again = start(tmp_path / "home", listen=f"127.0.0.1:{node.port}")
        assert again.stop() == 0


def test_what_was_acknowledged_before_the_end_stands_after_it(tmp_path: Path) -> None:
    receipts: list[dict[str, object]] = []
    with serving(tmp_path / "home") as node:
        asking = threading.Thread(target=pay_on, args=(node, receipts))
        asking.start()
        while len(receipts) < 5:
            time.sleep(0.01)
        assert node.stop() == 0
        asking.join(20)
    assert len(receipts) >= 5
    with serving(tmp_path / "home") as again, httpx.Client(base_url=again.url, timeout=20) as http:
        for receipt in receipts:
            assert http.get(f"/api/v1/receipts/{receipt['nid']}").json()["index"] == receipt["index"]


def pay_on(node: NodeProcess, receipts: list[dict[str, object]]) -> None:
    """Ask for money until nobody answers."""
    with httpx.Client(base_url=node.url, timeout=20) as http:
        for count in range(1, 2000):
            address = SigningKey(count.to_bytes(32, "big")).address
            try:
                answer = http.post("/api/v1/faucet", json={"address": address, "amount": "1"})
            except httpx.HTTPError:
                return
            if answer.status_code != 201:
                return
            receipts.append(answer.json())


def test_a_second_node_of_a_home_and_a_taken_port_are_refused(tmp_path: Path) -> None:
    with serving(tmp_path / "home") as node:
        with pytest.raises(AssertionError, match=r"a node \(process \d+, http.*serves"):
            start(tmp_path / "home")
        with pytest.raises(AssertionError, match=rf"127\.0\.0\.1:{node.port} cannot be listened on"):
            start(tmp_path / "other", listen=f"127.0.0.1:{node.port}")
        assert httpx.get(f"{node.url}/livez", timeout=20).json() == {"alive": True}
        assert os.environ.get("TALLY_HOME") != str(tmp_path / "home")
