"""A line to a JSON-RPC node that breaks on command: between a client and `tests/anvil.py`.

Knows HTTP and the method's name inside a request. Refuses to know what the answers mean.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from tests.anvil import Anvil, direct_client

EVERY: Final = "*"
SEND: Final = "eth_sendRawTransaction"
JSON: Final = {"Content-Type": "application/json"}

Answer = Callable[[dict[str, Any]], bytes]
"""Makes the body of a reply out of the request."""


class FaultyRpc:
    """A proxy; each fault holds for one method, or for `EVERY`, until it is taken back by `heal`."""

    def __init__(self, target: Anvil) -> None:
        self._target, self._server, self._port = target, None, 0  # type: tuple[Anvil, _Server | None, int]
        self._client = direct_client()
        self.seen: Counter[str] = Counter()
        """How often each method arrived here."""
        self.forwarded: Counter[str] = Counter()
        """How often each method was answered by the node, whether or not the answer came back."""
        self.heal()

    @property
    def url(self) -> str:
        """Where it listens, or would; the same after `up`."""
        return f"http://127.0.0.1:{self._port}"

    def heal(self) -> None:
        """Take every fault back."""
        self._dropped: dict[str, int] = {}
        self._lost: dict[str, int] = {}
        self._delays: dict[str, float] = {}
        self._answers: dict[str, Answer] = {}

    def drop_reply(self, method: str, times: int = 1) -> None:
        """The node gets the next requests, the client no reply to them."""
        self._dropped[method] = times

    def lose_request(self, method: str, times: int = 1) -> None:
        """The next requests reach nobody, the client sees the line break."""
        self._lost[method] = times

    def delay(self, method: str, seconds: float) -> None:
        """Hold every reply back for a while."""
        self._delays[method] = seconds

    def answer(self, method: str, answer: Answer) -> None:
        """Answer instead of the node: a hostile one."""
        self._answers[method] = answer

    def result(self, method: str, result: object) -> None:
        """Answer instead of the node, with a well-formed reply."""
        self.answer(method, lambda asked: _body(asked, result=result))

    def error(self, method: str, code: int, message: str) -> None:
        """Refuse instead of the node."""
        self.answer(method, lambda asked: _body(asked, error={"code": code, "message": message}))

    def up(self) -> None:
        """Listen, on the earlier port if there was one."""
        self._server = _Server(("127.0.0.1", self._port), _Handler)
        self._server.proxy, self._port = self, self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def down(self) -> None:
        """Stop listening: connections are refused."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()

    def reply(self, body: bytes) -> bytes | None:
        """What the client gets for a request; None breaks the line."""
        asked = json.loads(body)
        method = asked["method"]
        self.seen[method] += 1
        if _spend(self._lost, method):
            return None
        answer = self._answers.get(method) or self._answers.get(EVERY)
        said = answer(asked) if answer else self._forward(method, body)
        time.sleep(self._delays.get(method, self._delays.get(EVERY, 0)))
        return None if _spend(self._dropped, method) else said

    def _forward(self, method: str, body: bytes) -> bytes:
        said = self._client.post(self._target.url, content=body, headers=JSON).content
        if method == SEND:
            self._target.settle()
        self.forwarded[method] += 1
        return said


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    proxy: FaultyRpc


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        said = self.server.proxy.reply(self.rfile.read(int(self.headers["Content-Length"])))
        if said is None:
            self.close_connection = True
            return
        with contextlib.suppress(OSError):  # the client may have given up meanwhile
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _spend(budget: dict[str, int], method: str) -> bool:
    for name in (method, EVERY):
        if budget.get(name, 0) > 0:
            budget[name] -= 1
            return True
    return False


def _body(asked: dict[str, Any], **content: object) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": asked["id"], **content}).encode()


@contextlib.contextmanager
def faulty_rpc(target: Anvil) -> Iterator[FaultyRpc]:
    """A listening proxy before a node, closed at the end; what is sent through it has its block when it is answered."""
    proxy = FaultyRpc(target)
    proxy.up()
    try:
        yield proxy
    finally:
        proxy.down()
