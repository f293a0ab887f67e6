"""Anchoring at a real node: its policy, its chain and what is in flight, asked by an operator; a URL stays inside."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tallystick import Client
from tallystick.errors import UsageError
from tests.node_process import NodeProcess

SECRET = "k3y-nobody-sees"  # noqa: S105 - looked for, not used
CONTRACT = "0x7EC2F14ABE8b0Ea2F657bBb62b6fEfDe161c9001"
DEAD = f"http://{SECRET}:{SECRET}@127.0.0.1:9/{SECRET}?key={SECRET}"
TARGET = {"rpc": DEAD, "chain": "eip155:31337", "contract": CONTRACT, "fee_cap": "5", "confirmations": 2}
PATH = "/api/v1/anchors"


def await_status(http: httpx.Client, true: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    until = time.monotonic() + 30
    while not true(found := http.get(PATH).json()):
        assert time.monotonic() < until, found
        time.sleep(0.05)
    return dict(found)


def test_a_policy_is_taken_and_shown_at_once(node: NodeProcess, http: httpx.Client) -> None:
    for text, spelled in (("90m", "90m"), ("3600s", "1h"), ("250", "250"), ("event", "event"), ("off", "off")):
        with Client(node.url) as client:
            assert client.set_anchor_policy(text) == spelled
            assert client.anchors().policy == spelled
    refused = http.put(f"{PATH}/policy", json={"policy": "sometimes"})
    assert (refused.status_code, refused.json()["code"]) == (400, "usage")
    assert http.get(PATH).json()["policy"] == "off"


def test_a_url_is_kept_and_neither_answered_nor_logged(node: NodeProcess, http: httpx.Client) -> None:
    taken = http.put(f"{PATH}/target", json=TARGET)
    assert taken.status_code == 200, taken.text
    shown = {name: value for name, value in TARGET.items() if name != "rpc"}
    assert taken.json() == {**shown, "embedded": False, "first_block": 0}
    found = await_status(http, lambda each: each["chain"] == "eip155:31337")
    assert not found["embedded"]
    asked = http.post(PATH, json={})
    assert asked.status_code == 202
    found = await_status(http, lambda each: not each["asked"])
    for answer in (taken.text, asked.text, str(found), http.get(PATH).text, node.said()):
        assert SECRET not in answer
    with Client(node.url) as client:
        assert client.set_anchor_target({}).embedded
    await_status(http, lambda each: each["embedded"])


@pytest.mark.parametrize(
    "changed",
    [
        {"rpc": f"ftp://{SECRET}"},
        {"rpc": f"http://{SECRET}:no-port/"},
        {"rpc": f"http:///{SECRET}"},
        {"rpc": f"http://{SECRET} x"},
        {"rpc": None},
        {"chain": None},
        {"chain": "solana:main"},
        {"contract": CONTRACT.replace("7EC2", "7eC2")},
        {"contract": None},
        {"fee_cap": "-1"},
        {"confirmations": 10_001},
        {"url": SECRET},
    ],
)
def test_what_is_no_chain_is_refused_unspoken(
    node: NodeProcess, http: httpx.Client, changed: dict[str, object]
) -> None:
    answer = http.put(f"{PATH}/target", json=TARGET | changed)
    assert answer.status_code in {400, 422}, answer.text
    assert SECRET not in answer.text + node.said()
    assert http.get(PATH).json()["embedded"]
    with Client(node.url) as client, pytest.raises(UsageError):
        client.set_anchor_target(TARGET | changed)
