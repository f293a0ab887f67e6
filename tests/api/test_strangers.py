"""What strangers try on a node that lets in whoever signs: bonds of others, money, room, and attention."""

from __future__ import annotations

import time

import pytest

from tallystick.client.connected import Client
from tallystick.client.joining import Papers, enter
from tallystick.client.signals import Join
from tallystick.errors import AuthorityError
from tallystick.job import Deadlines
from tallystick.ledger import payloads as say
from tallystick.ledger.settlement import quote
from tallystick.ledger.transactions import Draft, sign
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
