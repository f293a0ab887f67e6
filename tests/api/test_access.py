"""Keys and tokens at a real node: a signature counts once and in time, a token until it is shut, the home always."""

from __future__ import annotations

import time
from pathlib import Path

import httpx
import pytest

from tallystick.node.signed_requests import content_digest
from tallystick.node.tokens import Scope
from tallystick.primitives.keys import SigningKey
from tests.api.askers import Guarded, identity, signed, tally
from tests.node_process import NodeProcess, serving

STRANGER = SigningKey(bytes([9]) * 32)


def test_any_key_asks_for_its_own_account(guarded: Guarded) -> None:
    answer = guarded.http.get("/api/v1/jobs", headers=signed(guarded.node, STRANGER, "GET", "/api/v1/jobs"))
    assert (answer.status_code, answer.json()["jobs"]) == (200, [])
    tokens = signed(guarded.node, STRANGER, "GET", "/api/v1/tokens")
    assert guarded.http.get("/api/v1/tokens", headers=tokens).status_code == 403


@pytest.mark.parametrize("purpose", ["coordinator", "requester"])
def test_the_keys_of_the_home_do_an_operators_work(guarded: Guarded, purpose: str) -> None:
    key = getattr(identity(guarded.node.home), purpose)()
    headers = signed(guarded.node, key, "GET", "/api/v1/tokens")
    assert len(guarded.http.get("/api/v1/tokens", headers=headers).json()["tokens"]) >= 4


@pytest.mark.parametrize("purpose", ["arbiter", "faucet"])
def test_other_keys_of_the_home_are_any_keys(guarded: Guarded, purpose: str) -> None:
    key = getattr(identity(guarded.node.home), purpose)()
    headers = signed(guarded.node, key, "GET", "/api/v1/tokens")
    assert guarded.http.get("/api/v1/tokens", headers=headers).status_code == 403


def test_a_signed_request_counts_once(guarded: Guarded) -> None:
    headers = signed(guarded.node, STRANGER, "GET", "/api/v1/jobs?limit=3")
    assert guarded.http.get("/api/v1/jobs?limit=3", headers=headers).status_code == 200
    again = guarded.http.get("/api/v1/jobs?limit=3", headers=headers)
    assert (again.status_code, "made before" in again.json()["detail"]) == (401, True)


def test_a_signature_covers_method_path_query_and_body(guarded: Guarded) -> None:
    headers = signed(guarded.node, STRANGER, "GET", "/api/v1/jobs?limit=3")
    assert guarded.http.get("/api/v1/jobs?limit=4", headers=headers).status_code == 401
    assert guarded.http.get("/api/v1/jobs", headers=headers).status_code == 401
    assert guarded.http.get("/api/v1/workers", headers=headers).status_code == 401
    form = b'{"address":"%s","amount":"1"}' % STRANGER.address.encode()
    other = form.replace(b'"1"', b'"2"')
    json_ = {"content-type": "application/json"}
    headers = signed(guarded.node, STRANGER, "POST", "/api/v1/faucet", form) | json_
    assert guarded.http.post("/api/v1/faucet", content=other, headers=headers).status_code == 401
    headers = signed(guarded.node, STRANGER, "POST", "/api/v1/faucet", form) | json_
    renamed = headers | {"content-digest": content_digest(other)}
    assert guarded.http.post("/api/v1/faucet", content=other, headers=renamed).status_code == 401
    headers = signed(guarded.node, STRANGER, "POST", "/api/v1/faucet", b"") | json_
    del headers["content-digest"]
    assert guarded.http.post("/api/v1/faucet", content=form, headers=headers).status_code == 401
    balance = guarded.http.get(f"/api/v1/accounts/{STRANGER.address}").json()["balance_wei"]
    headers = signed(guarded.node, STRANGER, "POST", "/api/v1/faucet", form) | json_
    assert guarded.http.post("/api/v1/faucet", content=form, headers=headers).status_code == 201
    assert (balance, guarded.http.get(f"/api/v1/accounts/{STRANGER.address}").json()["balance_wei"]) == ("0", "1")


@pytest.mark.parametrize("skew_s", [-61, 61])
def test_a_clock_that_is_wrong_is_told_so(guarded: Guarded, skew_s: int) -> None:
    now = time.time_ns() // 1_000_000 + skew_s * 1000
    answer = guarded.http.get("/api/v1/jobs", headers=signed(guarded.node, STRANGER, "GET", "/api/v1/jobs", now=now))
    assert (answer.status_code, "set the clock" in answer.json()["detail"]) == (401, True)


def test_a_digest_that_a_body_does_not_have_is_refused_also_with_a_token(guarded: Guarded) -> None:
    headers = guarded.bearer(Scope.PROVIDER) | {"content-digest": content_digest(b"{}")}
    assert guarded.http.post("/api/v1/faucet", json={"a": 1}, headers=headers).status_code == 401
    wrong = guarded.bearer(Scope.PROVIDER) | {"content-digest": "sha-256=nonsense"}
    assert guarded.http.post("/api/v1/faucet", json={"a": 1}, headers=wrong).status_code == 400


def test_a_replayed_request_is_refused_by_the_next_life_too(tmp_path: Path) -> None:
    with serving(tmp_path / "home", "--require-auth") as node:
        headers = signed(node, STRANGER, "GET", "/api/v1/jobs")
        assert httpx.get(f"{node.url}/api/v1/jobs", headers=headers, timeout=20).status_code == 200
        node.stop()
    with serving(tmp_path / "home", "--require-auth") as node:
        answer = httpx.get(f"{node.url}/api/v1/jobs", headers=headers, timeout=20)
        assert (answer.status_code, "before this node started" in answer.json()["detail"]) == (401, True)


def test_a_token_made_at_a_node_works_at_once_and_dies_at_once(guarded: Guarded) -> None:
    operator = guarded.bearer(Scope.OPERATOR)
    form = {"scopes": ["reporter", "provider"], "account": "short", "expires": "2999-01-01T00:00:00+01:00"}
    made = guarded.http.post("/api/v1/tokens", json=form, headers=operator).json()
    mine = {"authorization": f"bearer {made['token']}"}
    assert guarded.http.get("/api/v1/workers", headers=mine).status_code == 200
    listed = {each["id"]: each for each in guarded.http.get("/api/v1/tokens", headers=operator).json()["tokens"]}
    assert listed[made["id"]]["expires"] == "2998-12-31T23:00:00.000Z"
    assert made["token"].rpartition("_")[2] not in str(listed)
    shut = guarded.http.delete(f"/api/v1/tokens/{made['id']}", headers=operator).json()
    assert (shut["valid"], shut["revoked"] is None) == (False, False)
    assert guarded.http.get("/api/v1/workers", headers=mine).status_code == 401


@pytest.mark.parametrize(
    "form",
    [
        {"scopes": [], "account": "a"},
        {"scopes": ["root"], "account": "a"},
        {"scopes": ["reporter"], "account": "A"},
        {"scopes": ["reporter"], "account": "cpc1abc"},
        {"scopes": ["reporter"], "account": "a", "expires": "2999-01-01T00:00:00"},
        {"scopes": ["reporter"], "account": "a", "expires": "soon"},
    ],
)
def test_a_token_that_cannot_be_is_not_made(http: httpx.Client, form: dict[str, object]) -> None:
    assert http.post("/api/v1/tokens", json=form).status_code == 422


def test_a_token_of_the_past_is_not_made(http: httpx.Client) -> None:
    form = {"scopes": ["reporter"], "account": "a", "expires": "2001-01-01T00:00:00Z"}
    assert http.post("/api/v1/tokens", json=form).status_code == 400


def test_the_command_line_makes_lists_and_shuts_tokens_with_and_without_a_node(tmp_path: Path) -> None:
    home = tmp_path / "home"
    quiet = tally(home, "token", "create", "--scope", "reporter,requester", "--account", "alice", "--expires", "2h")
    with serving(home, "--require-auth") as node:
        served = tally(home, "token", "create", "--scope", "operator")
        assert status(node, quiet["token"], "/api/v1/jobs") == 200
        assert status(node, served["token"], "/api/v1/tokens") == 200
        assert [each["id"] for each in tally(home, "token", "list")["tokens"]] == [quiet["id"], served["id"]]
        assert tally(home, "token", "revoke", quiet["id"])["valid"] is False
        assert status(node, quiet["token"], "/api/v1/jobs") == 401
        node.stop()
    tally(home, "token", "revoke", served["id"])
    assert [each["valid"] for each in tally(home, "token", "list")["tokens"]] == [False, False]


def status(node: NodeProcess, token: str, path: str) -> int:
    return httpx.get(node.url + path, headers={"authorization": f"Bearer {token}"}, timeout=20).status_code
