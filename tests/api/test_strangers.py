"""What strangers try on a node that lets in whoever signs: bonds of others, money, room, and attention."""

from __future__ import annotations

import time
from contextlib import ExitStack

import httpx
import pytest

from tallystick.api.settings import Bounds
from tallystick.client.connected import Client
from tallystick.client.joining import Papers, enter
from tallystick.client.signals import Join
from tallystick.errors import AuthorityError
from tallystick.job import Deadlines
from tallystick.ledger import payloads as say
from tallystick.ledger.settlement import quote
from tallystick.ledger.transactions import Draft, sign
from tallystick.node.tokens import Scope
from tallystick.primitives.cids import raw_cid
from tallystick.primitives.digests import sha256
from tallystick.primitives.keys import SigningKey
from tests.api.askers import Guarded
from tests.orders import key, make_order

BOND = 10**19
FOR_EVER = 2**53 - 10


def asking(guarded: Guarded, who: SigningKey) -> Client:
    """A client that signs."""
    return Client(guarded.node.url, key=who)


@pytest.fixture(scope="module")
def chain(guarded: Guarded) -> str:
    """The node's ledger, with three bonded workers."""
    chain_id: str = guarded.http.get("/api/v1/node").json()["chain_id"]
    for seat, operator in enumerate("abc"):
        worker = key(f"worker {seat}")
        papers = Papers(worker, key(f"operator {operator}"), worker.address, "numpy")
        with asking(guarded, worker) as client:
            client.run(enter(papers, chain_id, Join(0, registered=False, missing=BOND)))
    return chain_id


def test_a_stranger_cannot_bind_the_bonds_of_workers(guarded: Guarded, chain: str) -> None:
    """An order names any registered workers: its price returns, while their bonds would be held as long as it says."""
    mallory = key("mallory")
    moments = Deadlines(*(FOR_EVER + step for step in range(6)))
    order = make_order("abc", chain_id=chain, requester=mallory.public.hex(), stake=str(BOND // 10), deadlines=moments)
    price = quote(order)
    parts = (str(part) for part in (price.work, price.duplicates, price.audits, price.reserve))
    escrow = sign(Draft(mallory, say.EscrowLocked(order.job_id, 1, *parts)), chain, 0)
    submitted = sign(Draft(mallory, say.JobSubmitted(order, "11" * 32, "22" * 32, time.time_ns() // 10**6)), chain, 1)
    with asking(guarded, mallory) as client:
        client.faucet(mallory.address, price.total)
        client.transaction(escrow.entry)
        with pytest.raises(AuthorityError, match="POST /api/v1/jobs"):
            client.transaction(submitted.entry)
    worker = key("worker 0")
    with asking(guarded, worker) as client:
        client.transaction(sign(Draft(worker, say.StakeWithdrawn(str(BOND))), chain, 2).entry)


def test_a_root_goes_over_its_workers_line(guarded: Guarded, chain: str) -> None:
    """One that came in otherwise would stand in the log while its job waits for it and gives it away."""
    worker, root = key("worker 1"), "ab" * 32
    payload = say.SubmitResult(
        task_id="job-1",
        attempt=1,
        microjob=0,
        tree_size=1,
        class_id="00" * 32,
        result_hash=root,
        worker_address=worker.address,
        signature="00" * 64,
    )
    entry = sign(Draft(worker, payload), chain, 2).entry
    with asking(guarded, worker) as client, pytest.raises(AuthorityError, match="line"):
        client.transaction(entry)


def test_the_gateway_shows_a_requesters_blobs_to_no_other_scope(guarded: Guarded) -> None:
    """A token of the same account that may not read /api/v1/blobs reads them nowhere."""
    operator = guarded.bearer(Scope.OPERATOR)
    made = {
        scope: guarded.http.post("/api/v1/tokens", json={"scopes": [scope], "account": "shop"}, headers=operator)
        for scope in Scope
    }
    headers = {scope: {"authorization": f"Bearer {answer.json()['token']}"} for scope, answer in made.items()}
    digest = sha256(b"a picture")
    kept = guarded.http.put(f"/api/v1/blobs/{digest.hex()}", content=b"a picture", headers=headers[Scope.REQUESTER])
    assert kept.status_code == 201
    path = f"/ipfs/{raw_cid(digest)}?format=raw"
    found = {scope: guarded.http.get(path, headers=headers[scope]).status_code for scope in Scope}
    assert found == {Scope.REPORTER: 404, Scope.REQUESTER: 200, Scope.PROVIDER: 404, Scope.OPERATOR: 200}


def test_a_stream_ends_with_its_token(guarded: Guarded) -> None:
    operator = guarded.bearer(Scope.OPERATOR)
    form = {"scopes": ["reporter"], "account": "watcher"}
    made = guarded.http.post("/api/v1/tokens", json=form, headers=operator).json()
    headers = {"authorization": f"Bearer {made['token']}"}
    with guarded.http.stream("GET", "/api/v1/events", headers=headers) as answer:
        lines = answer.iter_lines()
        assert next(lines) == "retry: 1000"
        guarded.http.delete(f"/api/v1/tokens/{made['id']}", headers=operator)
        with asking(guarded, key("payer")) as client:
            client.faucet(key("payer").address, 1)
        assert ": these credentials have ended" in list(lines)


def test_one_account_cannot_take_all_streams(guarded: Guarded) -> None:
    reporter, most = guarded.bearer(Scope.REPORTER), Bounds().streams_per_account
    with ExitStack() as stack:

        def follow(headers: dict[str, str]) -> httpx.Response:
            return stack.enter_context(guarded.http.stream("GET", "/api/v1/events", headers=headers))

        open_lines = [follow(reporter).iter_lines() for _ in range(most)]
        assert [next(lines) for lines in open_lines] == ["retry: 1000"] * most
        assert follow(reporter).status_code == 429
        assert follow(guarded.bearer(Scope.REQUESTER)).status_code == 200
