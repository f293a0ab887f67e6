"""Buyers with keys of their own at a node without sockets: the client's scripts, answered by the host itself.

Knows: the routes that such a buyer asks, as calls of the host. Refuses to know: HTTP.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from tallystick.adapters.pillow import decode_image
from tallystick.api.problems import describe
from tallystick.client.answers import AccountInfo, JobEntry, NodeInfo
from tallystick.client.answers import EntryPage as Page
from tallystick.client.buying import Buyer, attend
from tallystick.client.steps import Answer, Receive, Request, Script
from tallystick.errors import TallyError
from tallystick.ledger.fold import next_nonce
from tallystick.ledger.payloads import Transfer
from tallystick.ledger.records import Account, Overlay, account_key
from tallystick.ledger.transactions import Draft
from tallystick.node.identity import NETWORK
from tallystick.node.sequencer import Submission
from tallystick.node.views import JobState, JobView, OrderForm, SecretForm, SignedOrder
from tallystick.primitives.digests import sha256
from tallystick.primitives.keys import SigningKey
from tests.remote_world import RemoteWorld

Alter = Callable[[dict[str, Any]], None]


def key_of(name: str) -> SigningKey:
    """A buyer's key."""
    return SigningKey(sha256(b"buyer", name.encode()))


@dataclass(slots=True)
class Desk:
    """One buyer at a host. ``alter`` changes answers on their way, by the last part of their path."""

    world: RemoteWorld
    name: str
    alter: dict[str, Alter] = field(default_factory=dict)
    buyer: Buyer = field(init=False)

    def __post_init__(self) -> None:
        self.buyer = Buyer(key_of(self.name), decode_image, lambda: time.time_ns() // 1_000_000)

    @property
    def key(self) -> SigningKey:
        return self.buyer.key

    def submit(self, form: OrderForm, data: bytes) -> JobView:
        """Order, as an authenticated caller with its own key does."""
        ready = self.buyer.ready(form)
        view = self.world.host.submit(self.key.address, ready, data, requester=self.key.public.hex())
        self.buyer.remember(view, form, data)
        return view

    def view(self, job_id: str) -> JobView:
        found = self.world.host.job(job_id)
        assert found is not None
        return found

    def attend(self, job_id: str) -> JobView:
        """Do once what the node asks for."""
        self.run(attend(self.view(job_id), self.buyer))
        return self.view(job_id)

    def until(self, job_id: str, reached: Callable[[JobView], bool], seconds: float = 30) -> JobView:
        """Wait without doing anything."""
        ends = time.monotonic() + seconds
        while not reached(view := self.view(job_id)):
            assert time.monotonic() < ends, view
            time.sleep(0.02)
        return view

    def through(self, job_id: str, seconds: float = 60) -> JobView:
        """Attend until the order has ended."""
        ends = time.monotonic() + seconds
        while (view := self.attend(job_id)).state in {JobState.QUEUED, JobState.RUNNING}:
            assert time.monotonic() < ends, view
            time.sleep(0.02)
        return view

    def run(self, script: Script[Any]) -> Any:  # noqa: ANN401 - whatever the script returns
        """Perform a script against the host."""
        answer: Answer | None = None
        try:
            while True:
                step = script.send(answer)
                assert not isinstance(step, Receive)
                answer = self._answer(step) if isinstance(step, Request) else None
        except StopIteration as end:
            return end.value

    def _answer(self, request: Request) -> Answer:
        try:
            body = msgspec.to_builtins(self._route(request))
        except TallyError as error:
            problem = describe(error, "")
            return Answer(problem.status, {"content-type": "application/problem+json"}, msgspec.json.encode(problem))
        change = self.alter.get(request.path.partition("?")[0].rpartition("/")[2])
        if change is not None:
            change(body)
        return Answer(200, {"content-type": "application/json"}, msgspec.json.encode(body))

    def _route(self, request: Request) -> object:  # noqa: PLR0911 - one answer a route
        parts = request.path.partition("?")[0].split("/")[3:]
        host, own = self.world.host, self.world.host.node.own
        engine = self.world.book.engine
        match parts:
            case ["node"]:
                return NodeInfo(
                    chain_id=engine.parameters.chain_id, network=NETWORK, coordinator=engine.genesis.coordinator
                )
            case ["accounts", address]:
                view = Overlay(engine.view)
                found = view.find(Account, account_key(address)) or Account()
                return AccountInfo(address, found.balance, next_nonce(view, address))
            case ["faucet"]:
                asked = msgspec.json.decode(request.body)
                faucet = self.world.home.identity.faucet()
                self.world.book.must(Submission((Draft(faucet, Transfer(asked["address"], asked["amount"])),)))
                return {}
            case ["jobs", job_id, "entries"]:
                found_entries = self.world.book.entries_of(job_id)
                return Page(tuple(JobEntry(msgspec.json.decode(entry.entry)) for _, entry in found_entries))
            case ["jobs", job_id, "offer"]:
                return own.offer(host.node.wishes.get(job_id))
            case ["jobs", job_id, "order"]:
                signed = msgspec.json.decode(request.body, type=SignedOrder)
                own.take(host.node.wishes.get(job_id), signed.escrow.encode(), signed.order.encode())
                return self.view(job_id)
            case ["jobs", job_id, "secret"]:
                secret = msgspec.json.decode(request.body, type=SecretForm).secret
                own.reveal(host.node.wishes.get(job_id), bytes.fromhex(secret))
                return self.view(job_id)
        raise AssertionError(request.path)
