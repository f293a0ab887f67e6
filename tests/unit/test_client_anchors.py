"""The SDK's calls of anchoring: what is sent, what is believed of the answer, and that both clients have them."""

from __future__ import annotations

import asyncio
import json as plain
from typing import Any, Final

import msgspec
import pytest

from tallystick import AsyncClient, Client
from tallystick.api.anchors import view
from tallystick.cli.anchor_desks import status_of
from tallystick.client import http
from tallystick.errors import ConflictError, NodeError
from tallystick.ledger.payloads import Anchored
from tallystick.node.anchor_status import Newest, Status
from tallystick.node.anchor_words import Phase
from tallystick.primitives.cids import raw_cid
from tests.scripted_node import ScriptedNode, json, lost, problem

URL: Final = "http://127.0.0.1:9"
PATH: Final = "/api/v1/anchors"
CONTRACT: Final = "0x7EC2F14ABE8b0Ea2F657bBb62b6fEfDe161c9001"
SAID: Final = Anchored(
    origin="tallystick.local/x",
    size=7,
    root="11" * 32,
    asset_cid=raw_cid(bytes(32)),
    chain="eip155:1",
    contract=CONTRACT,
    recorder=CONTRACT,
    tx_hash="22" * 32,
    block=5,
    block_hash="33" * 32,
)
STATUS: Final = Status(
    chain="eip155:1",
    contract=CONTRACT,
    recorder=CONTRACT,
    embedded=False,
    policy="1h",
    phase=Phase.WATCHING,
    waiting=3,
    newest=Newest(6, SAID),
    size=9,
    nonce=1,
    variants=2,
    held_fee=8,
)


def answer(**changes: object) -> Any:  # noqa: ANN401 - a JSON document
    """What a node says of STATUS, changed."""
    return msgspec.to_builtins(view(STATUS)) | changes


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_pause", lambda _pause: 0.0)


def test_a_nodes_word_is_the_status_of_its_home() -> None:
    node = ScriptedNode({f"GET {PATH}": [json(answer())]})
    assert status_of(Client(URL, transport=node).anchors()) == STATUS


@pytest.mark.parametrize("newest", [{"root": "x"}, {"tx_hash": "0x22"}, {"contract": "y"}])
def test_an_anchor_that_no_log_holds_is_not_believed(newest: dict[str, str]) -> None:
    said = answer()
    said["newest"] |= newest
    node = ScriptedNode({f"GET {PATH}": [json(said)]})
    found = Client(URL, transport=node).anchors()
    with pytest.raises(NodeError, match="no log holds"):
        status_of(found)


@pytest.mark.parametrize("changed", [{"phase": "flying"}, {"waiting_entries": -1}, {"chain": None}])
def test_an_answer_of_another_shape_is_refused(changed: dict[str, object]) -> None:
    node = ScriptedNode({f"GET {PATH}": [json(answer(**changed))]})
    with pytest.raises(NodeError):
        Client(URL, transport=node).anchors()


def test_asking_may_be_repeated_and_a_chain_that_is_not_free_is_named() -> None:
    node = ScriptedNode(
        {
            f"POST {PATH}": [lost, json(answer(asked=True), 202)],
            f"PUT {PATH}/policy": [lost, json({"policy": "1h"})],
            f"PUT {PATH}/target": [problem(409, "conflict", "an anchor is on its way")],
        }
    )
    asker = Client(URL, transport=node)
    assert asker.anchor().asked
    assert asker.set_anchor_policy("3600s") == "1h"
    assert plain.loads(node.asked[-1].content) == {"policy": "3600s"}
    with pytest.raises(ConflictError, match="on its way"):
        asker.set_anchor_target({"rpc": "http://one.example/KEY"})
    assert plain.loads(node.asked[-1].content) == {"rpc": "http://one.example/KEY"}
    assert node.times(f"POST {PATH}") == 2


def test_a_client_that_awaits_has_the_same_calls() -> None:
    target = {"embedded": True, "chain": None}
    node = ScriptedNode(
        {
            f"GET {PATH}": [json(answer())],
            f"POST {PATH}": [json(answer(), 202)],
            f"PUT {PATH}/policy": [json({"policy": "off"})],
            f"PUT {PATH}/target": [json(target)],
        }
    )

    async def ask() -> None:
        async with AsyncClient(URL, transport=node) as asker:
            assert await asker.anchors() == await asker.anchor()
            assert await asker.set_anchor_policy("off") == "off"
            assert (await asker.set_anchor_target({})).embedded

    asyncio.run(ask())
