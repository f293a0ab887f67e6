"""The log as it grows: at once, from where a reader stopped, of one job, for as long as the node runs."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from tallystick.primitives.keys import SigningKey
from tests.node_process import NodeProcess

ROUTE = "/api/v1/events"


@contextmanager
def following(node: NodeProcess, path: str = ROUTE, **headers: str) -> Iterator[Iterator[str]]:
    with httpx.Client(timeout=20) as client, client.stream("GET", node.url + path, headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.iter_lines()
        assert next(lines) == "retry: 1000"
        yield lines


def events(lines: Iterator[str], count: int) -> list[dict[str, Any]]:
    """Return so many events; ids are those of the lines."""
    found: list[dict[str, Any]] = []
    number = -1
    while len(found) < count:
        line = next(lines)
        if line.startswith("id: "):
            number = int(line[4:])
        if line.startswith("data: "):
            event = json.loads(line[6:])
            assert event["index"] == number
            found.append(event)
    return found


def pay(http: httpx.Client, seed: int) -> int:
    """Add a block to the log and return the index of its first entry."""
    address = SigningKey(bytes([seed]) * 32).address
    answer = http.post("/api/v1/faucet", json={"address": address, "amount": "5"})
    assert answer.status_code == 201, answer.text
    index: int = answer.json()["index"]
    return index


def test_a_new_entry_is_told_at_once(node: NodeProcess, http: httpx.Client) -> None:
    pay(http, 1)
    with following(node) as lines:
        before = time.monotonic()
        index = pay(http, 2)
        transfer, header = events(lines, 2)
        assert time.monotonic() - before < 10
    assert (transfer["index"], transfer["entry"]["type"]) == (index, "Transfer")
    assert header["entry"]["type"] == "BlockHeader"
    receipt = http.get(f"/api/v1/receipts/{transfer['nid']}").json()
    assert (receipt["index"], receipt["tx_hash"]) == (index, transfer["tx_hash"])


def test_a_reader_goes_on_where_it_stopped(node: NodeProcess, http: httpx.Client) -> None:
    first = pay(http, 3)
    last = pay(http, 4)
    for path, headers in ((ROUTE, {"last-event-id": str(first - 1)}), (f"{ROUTE}?after={first - 1}", {})):
        with following(node, path, **headers) as lines:
            assert [each["index"] for each in events(lines, last - first + 1)] == list(range(first, last + 1))
    with following(node, f"{ROUTE}?after=0", **{"last-event-id": str(last - 1)}) as lines:
        assert events(lines, 1)[0]["index"] == last


def test_the_whole_log_can_be_read(node: NodeProcess, http: httpx.Client) -> None:
    size = pay(http, 5) + 2
    with following(node, f"{ROUTE}?after=-1") as lines:
        assert [each["index"] for each in events(lines, size)] == list(range(size))


def test_a_job_that_is_not_there_is_quiet(node: NodeProcess, http: httpx.Client) -> None:
    with following(node, f"{ROUTE}?job=nothing&after=-1") as lines:
        pay(http, 6)
        pay(http, 7)
        assert next(lines) == ""
    assert "tallystick_open_lines" in http.get("/metrics").text


def test_readers_who_leave_leave_nothing(node: NodeProcess, http: httpx.Client) -> None:
    for _ in range(5):
        with following(node):
            pass
    until = time.monotonic() + 20
    while "tallystick_open_lines 0.0" not in http.get("/metrics").text:
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_reader_who_does_not_read_costs_no_memory(node: NodeProcess, http: httpx.Client) -> None:
    """It pulls from the log: what it does not take stays on disk."""
    with httpx.Client(timeout=20) as client, client.stream("GET", f"{node.url}{ROUTE}?after=-1") as answer:
        for seed in range(10, 60):
            pay(http, seed)
        with following(node, f"{ROUTE}?after=-1") as lines:
            newest = events(lines, 100)[-1]["index"]
        assert newest >= 99
        assert next(answer.iter_lines()) == "retry: 1000"
