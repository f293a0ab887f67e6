"""A node that is broken or hostile: whatever it says, in whatever form, is bounded, named and never believed."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tallystick.adapters.json_rpc import ChainSettings, JsonRpc, JsonRpcChain
from tallystick.adapters.json_rpc import transport as transport_module
from tallystick.adapters.json_rpc.account import DEV_ADDRESSES, GWEI
from tallystick.anchoring.erc7053 import COMMIT_TOPIC, Erc7053Commit, commit_topics
from tallystick.anchoring.ethereum import Transaction, address_bytes, read_transaction, transaction_hash
from tallystick.errors import ChainError, ChainRefusedError, MalformedError, UsageError
from tallystick.node.chain import SignedCall
from tallystick.primitives.keys import SigningKey, evm_address_of

KEY = SigningKey(b"\x22" * 32)
RECORDER = evm_address_of(KEY.public)
CONTRACT = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
COMMIT = Erc7053Commit("bafkreidf633lmdwmjtrzrh7c7zofkpkqbypx7voujcxan3fdujtf6b3vnm", '{"n":1}')
SETTINGS = ChainSettings(chain_id=31337, contract=CONTRACT)
HASH, OTHER = "0x" + "ab" * 32, "0x" + "cd" * 32


# The line itself: a server of raw bytes.


@contextmanager
def server(talk: Callable[[socket.socket], None], *heard: list[bytes]) -> Iterator[str]:
    """A loopback server that reads a request and leaves the rest to `talk`; the request goes to who `heard`."""
    listening = socket.create_server(("127.0.0.1", 0))
    stopped = threading.Event()

    def serve() -> None:
        while not stopped.is_set():
            try:
                line, _ = listening.accept()
            except OSError:
                return
            with line:
                try:
                    asked = _read(line)
                    for each in heard:
                        each.append(asked)
                    talk(line)
                except OSError:
                    continue  # the client hung up

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/v3/secret-key"
    finally:
        stopped.set()
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join(5)


def _read(line: socket.socket) -> bytes:
    """Read a request to its end: whoever hangs up with bytes unread takes the answer back."""
    said, size = b"", None
    while size is None or len(said) < size:
        piece = line.recv(65536)
        if not piece:
            raise ConnectionError("the client hung up")
        said += piece
        head, ended, _ = said.partition(b"\r\n\r\n")
        if size is None and ended:
            size = len(head) + 4 + int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
    return said


def http(body: bytes, head: bytes = b"200 OK\r\n") -> Callable[[socket.socket], None]:
    return lambda line: line.sendall(b"HTTP/1.1 " + head + b"Content-Length: %d\r\n\r\n" % len(body) + body)


def drip(piece: bytes, before: bytes = b"") -> Callable[[socket.socket], None]:
    def talk(line: socket.socket) -> None:
        line.sendall(before)
        for _ in range(1000):
            line.sendall(piece)
            time.sleep(0.05)

    return talk


def endless(line: socket.socket) -> None:
    line.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        line.sendall(b"10000\r\n" + b" " * 65536 + b"\r\n")


def silent(line: socket.socket) -> None:
    line.settimeout(50)
    line.recv(1)


LATE = "no answer in time"
BAD_LINES = {
    "hangs up": (lambda line: line.close(), "does not answer"),
    "says nothing": (silent, LATE),
    "drips its head": (drip(b"X"), LATE),
    "drips headers": (drip(b"X: 1\r\n", b"HTTP/1.1 200 OK\r\n"), LATE),
    "drips its body": (drip(b" ", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"), LATE),
    "never ends": (endless, "more than"),
    "cut short": (http(b"{", b"200 OK\r\nContent-Length: 9\r\n"), "does not answer"),
    "no HTTP": (lambda line: line.sendall(b"SSH-2.0-OpenSSH\r\n"), "does not answer"),
    "status 500": (http(b"{}", b"500 Oops\r\n"), "HTTP status 500"),
    "status 429": (http(b"{}", b"429 Slow\r\n"), "HTTP status 429"),
    "sends elsewhere": (http(b"", b"302 Found\r\nLocation: http://127.0.0.1:1/\r\n"), "HTTP status 302"),
    "empty": (http(b""), "no JSON-RPC reply"),
    "no JSON": (http(b"<html>"), "no JSON-RPC reply"),
    "packed": (http(gzip.compress(b'{"jsonrpc":"2.0","id":1,"result":1}'), b"200 OK\r\nContent-Encoding: gzip\r\n"),
               "no JSON-RPC reply"),
    "not UTF-8": (http(b'{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"\xff"}}'), "no JSON-RPC reply"),
    "nested": (http(b"[" * 100_000), "no JSON-RPC reply"),
    "nested in its answer": (http(b'{"jsonrpc":"2.0","id":1,"result":' + b"[" * 100_000), "no JSON-RPC reply"),
    "another version": (http(b'{"jsonrpc":"1.0","id":1,"result":1}'), "no JSON-RPC reply"),
    "another question": (http(b'{"jsonrpc":"2.0","id":2,"result":1}'), "something else"),
    "no id": (http(b'{"jsonrpc":"2.0","result":1}'), "something else"),
    "no answer": (http(b'{"jsonrpc":"2.0","id":1}'), "something else"),
}  # fmt: skip


@pytest.mark.parametrize(("talk", "named"), BAD_LINES.values(), ids=BAD_LINES.keys())
def test_a_bad_line_is_named_in_time_and_keeps_the_key(talk: Callable[[socket.socket], None], named: str) -> None:
    with server(talk) as url:
        started = time.monotonic()
        with pytest.raises(ChainError, match=named) as caught:
            JsonRpc(url, deadline_s=0.4 if named == LATE else 20).call("eth_blockNumber")
        assert time.monotonic() - started < 20  # the slow ones would go on for fifty seconds
    assert "secret-key" not in str(caught.value)
    assert not isinstance(caught.value, ChainRefusedError)


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(ChainError, match=f"^http://127.0.0.1:{port} does not answer eth_blockNumber: "):
        JsonRpc(f"http://user:secret@127.0.0.1:{port}/secret?secret").call("eth_blockNumber")


def test_a_refusal_is_told_in_words_that_no_terminal_obeys() -> None:
    words = "nonce too low\x1b[2J\n\u202e" + "x" * 10_000
    error = json.dumps({"jsonrpc": "2.0", "id": None, "error": {"code": -32000, "message": words}}).encode()
    with server(http(error)) as url, pytest.raises(ChainRefusedError) as caught:
        JsonRpc(url).call("eth_sendRawTransaction")
    assert "nonce too low" in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


def test_what_is_asked_is_json_rpc() -> None:
    heard: list[bytes] = []
    with server(http(b'{"jsonrpc":"2.0","id":1,"result":"0x1","more":[]}'), heard) as url:
        assert bytes(JsonRpc(url).call("eth_getBlockByNumber", "latest", None)) == b'"0x1"'
    [(head, _, body)] = [asked.partition(b"\r\n\r\n") for asked in heard]
    assert head.startswith(b"POST /v3/secret-key HTTP/1.1\r\n")
    assert b"content-type: application/json" in head.lower().split(b"\r\n")
    assert json.loads(body) == {"jsonrpc": "2.0", "id": 1, "method": "eth_getBlockByNumber", "params": ["latest", None]}


def test_a_proxy_of_the_environment_does_not_stand_before_the_own_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    with server(http(b'{"jsonrpc":"2.0","id":1,"result":"0x1"}')) as url:
        assert bytes(JsonRpc(url).call("eth_chainId")) == b'"0x1"'


@pytest.mark.parametrize(
    "url", ["", "localhost:8545", "ftp://x/", "file:///etc/passwd", "http://", "http://[::1", "ws://x"]
)
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="http:// or https://"):
        JsonRpc(url)


def words(ask: Callable[[], object]) -> str:
    """What an error of the chain says; any other error is let through."""
    try:
        ask()
    except ChainError as error:
        return str(error)
    return ""


@given(st.binary(max_size=200) | st.recursive(st.none() | st.booleans() | st.text() | st.integers(), st.lists).map(
    lambda value: json.dumps({"jsonrpc": "2.0", "id": 1, "result": value}).encode()))  # fmt: skip
@example(b'{"jsonrpc":"2.0","id":1,"error":{}}')
@example(b'{"jsonrpc":"2.0","id":1,"error":{"code":1e400,"message":""}}')
@example(b'{"jsonrpc":"2.0","id":1,"error":{"code":999999999999999999999999999}}')
@example(b'{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"\\ud800"}}')
def test_any_body_is_an_answer_or_an_error_of_the_chain(body: bytes) -> None:
    said = words(lambda: JsonRpc("http://127.0.0.1:1")._result("m", 1, body))
    assert said.isprintable()


# What it says: a node of answers.


class Node(JsonRpc):
    """Answers from a table, and counts."""

    def __init__(self, **answers: object) -> None:
        super().__init__("http://127.0.0.1:1")
        self.asked: list[str] = []
        self.answers: dict[str, object] = {
            "eth_chainId": "0x7a69",
            "eth_getCode": "0x60",
            "eth_estimateGas": "0x7530",
            "eth_maxPriorityFeePerGas": hex(GWEI),
            "eth_gasPrice": hex(3 * GWEI),
            "eth_getBlockByNumber": head(base=2 * GWEI),
            "eth_blockNumber": "0x7",
            "eth_getTransactionCount": "0x3",
            **answers,
        }

    def call(self, method: str, *params: object) -> msgspec.Raw:
        self.asked.append(method)
        answer = self.answers[method]
        answer = answer(*params) if callable(answer) else answer
        if isinstance(answer, Exception):
            raise answer
        return msgspec.Raw(msgspec.json.encode(answer))


def head(number: int = 7, block_hash: str = HASH, base: int | None = None) -> dict[str, Any]:
    return {"number": hex(number), "hash": block_hash} | ({} if base is None else {"baseFeePerGas": hex(base)})


def chain(node: Node, **settings: Any) -> JsonRpcChain:  # noqa: ANN401
    return JsonRpcChain(node, ChainSettings(**{"chain_id": 31337, "contract": CONTRACT, **settings}), KEY)


def log(**change: object) -> dict[str, Any]:
    topics = commit_topics(address_bytes(RECORDER), COMMIT.asset_cid)
    text = COMMIT.commit_data.encode()
    data = (32).to_bytes(32, "big") + len(text).to_bytes(32, "big") + text.ljust(32, b"\0")
    return {
        "address": CONTRACT.lower(),
        "topics": ["0x" + topic.hex() for topic in topics],
        "data": "0x" + data.hex(),
        "blockNumber": "0x7",
        "blockHash": HASH,
        "transactionHash": OTHER,
        "logIndex": "0x0",
        "removed": False,
        "unknown": "ignored",
        **change,
    }


def receipt(tx_hash: str = OTHER, **change: object) -> dict[str, Any]:
    return {
        "transactionHash": tx_hash,
        "blockNumber": "0x7",
        "blockHash": HASH,
        "status": "0x1",
        "logs": [log()],
        **change,
    }


def test_a_dynamic_fee_lasts_for_twice_the_base_fee() -> None:
    call = chain(Node()).sign(COMMIT, 3)
    transaction, sender = read_transaction(call.raw)
    assert sender == RECORDER
    assert (transaction.chain_id, transaction.nonce, transaction.gas) == (31337, 3, 37_500)
    assert (transaction.fee, transaction.tip) == (5 * GWEI, GWEI)
    assert (call.fee_per_gas, call.nonce, call.tx_hash) == (5 * GWEI, 3, transaction_hash(call.raw))


def test_a_chain_without_base_fee_gets_a_legacy_transaction() -> None:
    transaction, _ = read_transaction(chain(Node(eth_getBlockByNumber=head())).sign(COMMIT, 3).raw)
    assert (transaction.fee, transaction.tip) == (3 * GWEI, None)


def test_a_node_that_names_no_tip_names_a_price() -> None:
    node = Node(eth_maxPriorityFeePerGas=ChainRefusedError("method not found"))
    transaction, _ = read_transaction(chain(node).sign(COMMIT, 3).raw)
    assert (transaction.fee, transaction.tip) == (5 * GWEI, GWEI)
    transaction, _ = read_transaction(chain(Node(**{**node.answers, "eth_gasPrice": "0x1"})).sign(COMMIT, 3).raw)
    assert (transaction.fee, transaction.tip) == (4 * GWEI, 0)


@pytest.mark.parametrize(
    ("answers", "cap", "fee", "tip"),
    [
        ({}, 4 * GWEI, 4 * GWEI, GWEI),
        ({}, 2 * GWEI, 2 * GWEI, GWEI),
        ({"eth_maxPriorityFeePerGas": hex(2**255)}, 9 * GWEI, 9 * GWEI, 9 * GWEI),
        ({"eth_getBlockByNumber": head()}, 3 * GWEI, 3 * GWEI, None),
    ],
)
def test_no_fee_is_above_the_cap(answers: dict[str, Any], cap: int, fee: int, tip: int | None) -> None:
    transaction, _ = read_transaction(chain(Node(**answers), fee_cap=cap).sign(COMMIT, 3).raw)
    assert (transaction.fee, transaction.tip) == (fee, tip)


@pytest.mark.parametrize("answers", [{}, {"eth_getBlockByNumber": head()}], ids=["dynamic", "legacy"])
def test_where_gas_costs_more_than_the_cap_nothing_is_signed(answers: dict[str, Any]) -> None:
    with pytest.raises(ChainRefusedError, match=r"gas costs [23] gwei, the cap is 1\.999999999: wait"):
        chain(Node(**answers), fee_cap=2 * GWEI - 1).sign(COMMIT, 3)


def test_a_bump_is_an_eighth_above_in_both_fees_and_has_the_same_nonce() -> None:
    node = Node()
    call = chain(node).sign(COMMIT, 3)
    bumped, _ = read_transaction(chain(node).sign(COMMIT, 3, call).raw)
    assert (bumped.nonce, bumped.fee, bumped.tip) == (3, 5 * GWEI * 9 // 8, GWEI * 9 // 8)
    node.answers["eth_getBlockByNumber"] = head(base=20 * GWEI)
    risen, _ = read_transaction(chain(node).sign(COMMIT, 3, call).raw)
    assert (risen.fee, risen.tip) == (41 * GWEI, GWEI * 9 // 8)
    with pytest.raises(ChainRefusedError, match="the cap is 5"):
        chain(Node(), fee_cap=5 * GWEI).sign(COMMIT, 3, call)
    with pytest.raises(UsageError, match="nonce 3"):
        chain(node).sign(COMMIT, 4, call)


def test_a_bump_of_the_smallest_fee_is_above_it() -> None:
    answers = {"eth_getBlockByNumber": head(base=0), "eth_maxPriorityFeePerGas": "0x0"}
    call = chain(Node(**answers)).sign(COMMIT, 3)
    bumped, _ = read_transaction(chain(Node(**answers)).sign(COMMIT, 3, call).raw)
    assert (call.fee_per_gas, bumped.fee, bumped.tip) == (0, 1, 1)


def test_a_legacy_call_is_replaced_by_a_dynamic_one_with_its_price_as_tip() -> None:
    call = chain(Node(eth_getBlockByNumber=head())).sign(COMMIT, 3)
    bumped, _ = read_transaction(chain(Node()).sign(COMMIT, 3, call).raw)
    least = 3 * GWEI * 9 // 8
    assert bumped.tip == least
    assert bumped.fee >= least


def test_a_dear_call_is_refused() -> None:
    with pytest.raises(ChainRefusedError, match="is the contract the right one"):
        chain(Node(eth_estimateGas=hex(10**6))).sign(COMMIT, 3)


def test_a_call_to_nothing_is_refused_before_it_costs_anything() -> None:
    node = Node(eth_getCode="0x")
    with pytest.raises(ChainRefusedError, match="no contract"):
        chain(node).sign(COMMIT, 3)
    assert "eth_estimateGas" not in node.asked


@pytest.mark.parametrize("ask", [
    lambda c: c.next_nonce(), lambda c: c.sign(COMMIT, 3), lambda c: c.send(SignedCall(b"\0", b"\0" * 32, 0, 0)),
    lambda c: c.landed(b"\0" * 32), lambda c: c.head(), lambda c: c.block_hash(1),
    lambda c: c.commits(COMMIT.asset_cid),
])  # fmt: skip
def test_a_node_of_another_chain_is_asked_nothing_else(ask: Callable[[JsonRpcChain], object]) -> None:
    node = Node(eth_chainId="0x1")
    with pytest.raises(ChainError, match="chain 1, not of chain 31337"):
        ask(chain(node))
    assert node.asked == ["eth_chainId"]


def test_making_one_asks_nothing() -> None:
    node = Node()
    assert chain(node).name == "eip155:31337"
    assert node.asked == []


@pytest.mark.parametrize("refused", ["already known", "nonce too low", "irgendwas"])
def test_what_the_node_has_already_was_sent(refused: str) -> None:
    raw = b"\x01"
    call = SignedCall(raw, transaction_hash(raw), 0, 0)
    known = Node(
        eth_sendRawTransaction=ChainRefusedError(refused), eth_getTransactionByHash={"hash": "0x" + call.tx_hash.hex()}
    )
    chain(known).send(call)
    for found in (None, {"hash": OTHER}):
        unknown = Node(eth_sendRawTransaction=ChainRefusedError(refused), eth_getTransactionByHash=found)
        with pytest.raises(ChainRefusedError, match=refused):
            chain(unknown).send(call)


def test_a_node_that_sent_something_else_is_not_believed() -> None:
    with pytest.raises(ChainError, match="another transaction"):
        chain(Node(eth_sendRawTransaction=OTHER)).send(SignedCall(b"\1", transaction_hash(b"\1"), 0, 0))


LANDED = {
    "as it should": ({}, True),
    "reverted": ({"status": "0x0", "logs": []}, False),
    "reverted with logs": ({"status": "0x0"}, False),
    "wrote nothing": ({"logs": []}, False),
    "another contract": ({"logs": [log(address="0x" + "11" * 20)]}, False),
    "another recorder": ({"logs": [log(topics=["0x" + COMMIT_TOPIC.hex(), OTHER, OTHER])]}, False),
    "another event": ({"logs": [log(topics=[OTHER, OTHER])]}, False),
    "and other events": ({"logs": [log(topics=[]), log()]}, True),
}


@pytest.mark.parametrize(("change", "succeeded"), LANDED.values(), ids=LANDED.keys())
def test_a_transaction_succeeded_when_it_wrote_a_commit(change: dict[str, Any], succeeded: bool) -> None:  # noqa: FBT001
    landed = chain(Node(eth_getTransactionReceipt=receipt(**change))).landed(b"\xcd" * 32)
    assert landed is not None
    assert (landed.tx_hash, landed.block, landed.block_hash) == (b"\xcd" * 32, 7, b"\xab" * 32)
    assert landed.succeeded is succeeded


def test_what_stands_nowhere_has_not_landed() -> None:
    assert chain(Node(eth_getTransactionReceipt=None)).landed(b"\xcd" * 32) is None
    assert chain(Node(eth_getBlockByNumber=None)).block_hash(8) is None


@pytest.mark.parametrize("change", [
    {"tx_hash": HASH}, {"blockNumber": None}, {"blockNumber": "0x07"}, {"blockNumber": 7},
    {"blockNumber": "0x" + "f" * 64}, {"blockNumber": "0x"}, {"blockNumber": "0x7\n"},
    {"blockHash": HASH[:-1]}, {"status": True}, {"logs": None},
    {"logs": [log(address="0x")]}, {"logs": [log(data="0x1")]}, {"logs": [log(topics=[HASH] * 5)]},
])  # fmt: skip
def test_a_receipt_of_another_form_is_no_receipt(change: dict[str, Any]) -> None:
    with pytest.raises(ChainError):
        chain(Node(eth_getTransactionReceipt=receipt(**change))).landed(b"\xcd" * 32)


def test_another_block_than_the_asked_one_is_not_believed() -> None:
    with pytest.raises(ChainError, match="block 0x7 when it is asked for block 8"):
        chain(Node()).block_hash(8)


def test_a_commit_is_read_from_its_event() -> None:
    (seen,) = chain(Node(eth_getLogs=[log()])).commits(COMMIT.asset_cid)
    assert (seen.recorder, seen.commit_data) == (RECORDER, COMMIT.commit_data)
    assert (seen.landed.tx_hash, seen.landed.block, seen.landed.block_hash) == (b"\xcd" * 32, 7, b"\xab" * 32)


def test_commits_come_in_the_order_of_the_chain() -> None:
    logs = [log(logIndex="0xa"), log(logIndex="0x9"), log(blockNumber="0x6", logIndex="0xb")]
    node = Node(eth_getLogs=logs, eth_getBlockByNumber=lambda at, _: head(int(at, 16)))
    assert [seen.landed.block for seen in chain(node).commits(COMMIT.asset_cid)] == [6, 7, 7]


def test_an_event_of_a_block_that_is_gone_is_left_out() -> None:
    assert chain(Node(eth_getLogs=[log(blockHash=OTHER)])).commits(COMMIT.asset_cid) == ()
    assert chain(Node(eth_getLogs=[log()], eth_getBlockByNumber=None)).commits(COMMIT.asset_cid) == ()


TOPICS = log()["topics"]
UNASKED = {
    "another contract": {"address": "0x" + "11" * 20},
    "another event": {"topics": [OTHER, *TOPICS[1:]]},
    "another recorder": {"topics": [TOPICS[0], OTHER, TOPICS[2]]},
    "another CID": {"topics": [*TOPICS[:2], OTHER]},
    "a topic less": {"topics": TOPICS[:2]},
    "a topic more": {"topics": [*TOPICS, OTHER]},
    "beyond the head": {"blockNumber": "0x8"},
    "before the first": {"blockNumber": "0x1"},
    "removed": {"removed": True},
    "waiting": {"blockNumber": None, "blockHash": None},
    "no ABI": {"data": "0x"},
    "not UTF-8": {"data": log()["data"].replace("7b", "ff")},
    "padded with ones": {"data": log()["data"][:-2] + "01"},
    "longer than it says": {"data": log()["data"] + "00" * 32},
    "odd": {"data": "0x0"},
    "capital X": {"blockHash": "0X" + HASH[2:]},
}


@pytest.mark.parametrize("change", UNASKED.values(), ids=UNASKED.keys())
def test_an_event_that_nobody_asked_for_is_not_believed(change: dict[str, Any]) -> None:
    with pytest.raises(ChainError):
        chain(Node(eth_getLogs=[log(**change)]), first_block=2).commits(COMMIT.asset_cid)


def test_a_node_that_takes_short_ranges_only_is_asked_in_short_ranges() -> None:
    asked = []

    def logs(query: dict[str, Any]) -> object:
        first, last = int(query["fromBlock"], 16), int(query["toBlock"], 16)
        asked.append((first, last))
        if last - first >= 2048:
            return ChainRefusedError("block range is too wide")
        return [log(blockNumber=hex(n)) for n in (10, 2057, 2058, 5000) if first <= n <= last]

    node = Node(eth_getLogs=logs, eth_blockNumber=hex(5000), eth_getBlockByNumber=lambda at, _: head(int(at, 16)))
    seen = chain(node, first_block=10).commits(COMMIT.asset_cid)
    assert [commit.landed.block for commit in seen] == [10, 2057, 2058, 5000]
    assert asked == [(10, 5000), (10, 2057), (2058, 4105), (4106, 5000)]


def test_a_search_has_an_end() -> None:
    refusing = {"eth_getLogs": ChainRefusedError("too wide"), "eth_blockNumber": hex(2**53 - 1)}
    with pytest.raises(ChainError, match="name a first block"):
        chain(Node(**refusing)).commits(COMMIT.asset_cid)
    with pytest.raises(ChainRefusedError, match="too wide"):
        chain(Node(**refusing | {"eth_blockNumber": "0x8"})).commits(COMMIT.asset_cid)


def test_a_search_beyond_the_head_finds_nothing_and_asks_nothing() -> None:
    node = Node()
    assert chain(node, first_block=8).commits(COMMIT.asset_cid) == ()
    assert "eth_getLogs" not in node.asked


@pytest.mark.parametrize(("last", "asked"), [(None, 7), (5, 5), (7, 7), (9, 7)])
def test_a_search_ends_where_it_is_told_but_not_beyond_the_head(last: int | None, asked: int) -> None:
    ends = []
    node = Node(eth_getLogs=lambda query: ends.append(int(query["toBlock"], 16)) or [])
    assert chain(node, first_block=2, last_block=last).commits(COMMIT.asset_cid) == ()
    assert ends == [asked]


def test_a_reader_has_no_key() -> None:
    reader = JsonRpcChain(Node(eth_getLogs=[log()]), SETTINGS, RECORDER)
    assert len(reader.commits(COMMIT.asset_cid)) == 1
    with pytest.raises(UsageError, match="no key"):
        reader.sign(COMMIT, 3)


@pytest.mark.parametrize("address", [RECORDER.lower(), "0x", CONTRACT[:-1] + "4"])
def test_an_address_with_a_slip_is_refused(address: str) -> None:
    with pytest.raises(MalformedError, match="EIP-55"):
        JsonRpcChain(Node(), SETTINGS, address)
    with pytest.raises(MalformedError, match="EIP-55"):
        JsonRpcChain(Node(), ChainSettings(1, address), KEY)


def test_a_key_that_everybody_knows_works_on_test_chains_only() -> None:
    known = SigningKey(bytes.fromhex("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"))
    assert evm_address_of(known.public) in DEV_ADDRESSES
    JsonRpcChain(Node(), SETTINGS, known)
    with pytest.raises(UsageError, match="public"):
        JsonRpcChain(Node(), ChainSettings(1, CONTRACT), known)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=70)
    | st.sampled_from(["0x", "0x0", "0x7", HASH, OTHER, CONTRACT.lower(), "0x" + "f" * 64, hex(2**53)]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from([*log(), *receipt(), *head(base=1)]), inner, max_size=8),
    max_leaves=12,
)  # fmt: skip
near = st.builds(lambda base, key, value: {**base, key: value}, st.sampled_from([log(), receipt(), head(base=1)]),
                 st.sampled_from([*log(), *receipt(), *head(base=1)]), values)  # fmt: skip


@given(st.lists(values | near | st.lists(near, max_size=2), min_size=11, max_size=11))
def test_whatever_a_node_answers_the_errors_are_the_chains(answers: list[Any]) -> None:
    methods = [*Node().answers, "eth_getLogs", "eth_getTransactionReceipt", "eth_sendRawTransaction"]
    node = Node(**dict(zip(methods[1:], answers, strict=False)))
    call = SignedCall(b"\1", b"\xcd" * 32, 0, 0)
    asks: list[Callable[[JsonRpcChain], object]] = [
        lambda c: c.next_nonce(), lambda c: c.sign(COMMIT, 3), lambda c: c.send(call), lambda c: c.landed(call.tx_hash),
        lambda c: c.head(), lambda c: c.block_hash(7), lambda c: c.commits(COMMIT.asset_cid),
    ]  # fmt: skip
    for ask in asks:
        assert words(partial(ask, chain(node))).isprintable()


def test_the_bound_of_a_reply_holds_what_is_asked() -> None:
    """A checkpoint's commit is below 64 KiB, so even hundreds in one answer fit."""
    assert transport_module.REPLY_BYTES_MAX >= 30 * 2 * 65_536


def test_a_transaction_of_the_commit_fits_the_gas_that_is_allowed() -> None:
    big = Erc7053Commit(COMMIT.asset_cid, "x" * 60_000)
    transaction, _ = read_transaction(chain(Node(eth_estimateGas=hex(21_000 + 60_000 * 40))).sign(big, 3).raw)
    assert isinstance(transaction, Transaction)
