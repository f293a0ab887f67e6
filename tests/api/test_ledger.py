"""Entries from outside, play money, accounts and blobs over HTTP."""

from __future__ import annotations

import hashlib
from pathlib import Path

import httpx
import pytest

from tallystick.ledger.payloads import Transfer
from tallystick.ledger.transactions import Draft, sign
from tallystick.node.tokens import Scope
from tallystick.primitives.keys import SigningKey
from tests.api.askers import Guarded
from tests.node_process import NodeProcess

ALICE, BOB = SigningKey(bytes([21]) * 32), SigningKey(bytes([22]) * 32)
TRANSACTIONS, BLOBS = "/api/v1/transactions", "/api/v1/blobs"
DATA = bytes(range(256)) * 9
DIGEST = hashlib.sha256(DATA).hexdigest()


def pay(http: httpx.Client, nonce: int, amount: str = "1", chain_id: str | None = None) -> bytes:
    """A transfer from Alice to Bob."""
    chain = chain_id or http.get("/api/v1/node").json()["chain_id"]
    return sign(Draft(ALICE, Transfer(BOB.address, amount)), chain, nonce).entry


def test_an_entry_is_logged_once_and_named(http: httpx.Client) -> None:
    faucet = http.post("/api/v1/faucet", json={"address": ALICE.address, "amount": "10"})
    assert faucet.status_code == 201
    entry = pay(http, 0)
    receipt = http.post(TRANSACTIONS, content=entry)
    assert receipt.status_code == 201
    assert receipt.json()["tx_hash"] == f"0x{hashlib.sha256(entry).hexdigest()}"
    again = http.post(TRANSACTIONS, content=entry)
    assert (again.status_code, again.json()["first_receipt"]["nid"]) == (409, receipt.json()["nid"])
    account = http.get(f"/api/v1/accounts/{ALICE.address}").json()
    assert account == {"address": ALICE.address, "balance_wei": "9", "nonce": 1}
    assert http.get(f"/api/v1/receipts/{receipt.json()['nid']}").json()["index"] == receipt.json()["index"]


@pytest.mark.parametrize(
    ("spoil", "status", "code"),
    [
        (lambda http: pay(http, 9), 422, "nonce"),
        (lambda http: pay(http, nonce_of(http), "1000000"), 422, "funds"),
        (lambda http: pay(http, nonce_of(http), chain_id="tally-dev-0000000000000000"), 422, None),
        (lambda http: pay(http, nonce_of(http)).replace(b'"amount":"1"', b'"amount":"2"'), 422, "does-not-hold"),
        (lambda http: pay(http, nonce_of(http))[:-1], 400, "malformed"),
        (lambda http: b" " + pay(http, nonce_of(http)), 400, "malformed"),
        (lambda _http: b"", 400, "malformed"),
        (lambda _http: b"{}" * 40_000, 413, "too-large"),
    ],
)
def test_what_the_rules_refuse_leaves_no_trace(
    http: httpx.Client, spoil: object, status: int, code: str | None
) -> None:
    assert callable(spoil)
    before = http.get("/api/v1/node").json()["entries"]
    answer = http.post(TRANSACTIONS, content=spoil(http))
    assert answer.status_code == status, answer.text
    assert code in {None, answer.json()["code"]}
    assert http.get("/api/v1/node").json()["entries"] == before


def nonce_of(http: httpx.Client) -> int:
    nonce: int = http.get(f"/api/v1/accounts/{ALICE.address}").json()["nonce"]
    return nonce


@pytest.mark.parametrize("amount", ["0", "1000000000000000000001", "01", "-1", "1.5"])
def test_the_faucet_gives_bounded_amounts(http: httpx.Client, amount: str) -> None:
    answer = http.post("/api/v1/faucet", json={"address": BOB.address, "amount": amount})
    assert answer.status_code in {400, 422}


def test_a_node_says_what_it_is_and_what_to_pin(http: httpx.Client, node: NodeProcess) -> None:
    said = http.get("/api/v1/node").json()
    assert said["log"]["vkey"].startswith(said["log"]["origin"])
    assert (said["auth"], said["worker_socket"]) == ("open", "/worker")
    trust = http.get("/api/v1/trust")
    assert trust.headers["content-type"].startswith("application/toml")
    assert trust.content == Path(node.home / "trust.toml").read_bytes()
    assert said["chain_id"] in trust.text


def test_a_blob_is_its_owners_and_the_operators(guarded: Guarded) -> None:
    mine, operator = guarded.bearer(Scope.REQUESTER), guarded.bearer(Scope.OPERATOR)
    path = f"{BLOBS}/{DIGEST}"
    assert guarded.http.get(path, headers=mine).status_code == 404
    assert guarded.http.put(path, content=DATA[1:], headers=mine).status_code == 422
    assert guarded.http.put(path, content=DATA, headers=operator).status_code == 201
    assert guarded.http.get(path, headers=mine).status_code == 404
    assert guarded.http.put(path, content=DATA, headers=mine).status_code == 201
    assert guarded.http.put(path, content=DATA, headers=mine).status_code == 200
    assert guarded.http.get(path, headers=mine).content == DATA
    part = guarded.http.get(path, headers=mine | {"range": "bytes=7-9"})
    assert (part.status_code, part.content) == (206, DATA[7:10])
    head = guarded.http.head(path, headers=mine)
    assert (head.headers["content-length"], head.headers["etag"]) == (str(len(DATA)), f'"{DIGEST}"')
    assert guarded.http.get(path, headers=mine | {"if-none-match": f'"{DIGEST}"'}).status_code == 304
    beyond = guarded.http.get(path, headers=mine | {"range": "bytes=99999-"})
    assert (beyond.status_code, beyond.json()["size"], beyond.headers["content-range"]) == (416, 2304, "bytes */2304")


def test_a_blob_too_large_is_refused(http: httpx.Client) -> None:
    assert http.put(f"{BLOBS}/{DIGEST}", content=bytes((16 << 20) + 1)).status_code == 413


def test_a_provider_cannot_pour_the_faucet_empty(guarded: Guarded) -> None:
    mine, operator = guarded.bearer(Scope.PROVIDER), guarded.bearer(Scope.OPERATOR)
    form = {"address": BOB.address, "amount": str(1000 * 10**18)}
    answers = [guarded.http.post("/api/v1/faucet", json=form, headers=mine) for _ in range(11)]
    assert [each.status_code for each in answers] == [201] * 10 + [429]
    assert answers[-1].json()["code"] == "limit"
    assert "an account gets at most 10000 CPC" in answers[-1].json()["detail"]
    assert guarded.http.post("/api/v1/faucet", json=form, headers=operator).status_code == 201
