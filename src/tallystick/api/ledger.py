"""Routes of the ledger: what this node is, what it trusts, accounts, entries from outside, play money, workers."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Final

import msgspec
from litestar import Request, Response, get, post
from litestar.openapi.datastructures import ResponseSpec

from tallystick import __version__, wire
from tallystick.api.aside import aside
from tallystick.api.bodies import EntryOperation
from tallystick.api.entries import ReceiptView
from tallystick.api.guard import Caller
from tallystick.api.health import SERVICE
from tallystick.api.house import Asker, Here, House
from tallystick.api.parameters import AddressPath
from tallystick.api.problems import Problem
from tallystick.api.times import rfc3339
from tallystick.errors import AuthorityError, DuplicateError, LimitError, StoreError, UsageError
from tallystick.ledger.fold import next_nonce
from tallystick.ledger.payloads import JobSubmitted, Payload, SubmitResult, Transfer
from tallystick.ledger.records import Account, Node, Overlay, account_key, node_key
from tallystick.ledger.transactions import Draft, decode
from tallystick.node.identity import NETWORK
from tallystick.node.sequencer import Item, Refused, Submission
from tallystick.primitives.amounts import WEI_PER_CPC, WeiText
from tallystick.primitives.canonical import AddressText
from tallystick.primitives.keys import address_of, parse_address

TAG: Final = ["ledger"]
TOML: Final = "application/toml"
QUEUE_FULL: Final = 20_000
ELSEWHERE: Final[Mapping[type[Payload], str]] = MappingProxyType(
    {
        JobSubmitted: "an order holds the bonds of workers: give it by POST /api/v1/jobs, which asks who is here",
        SubmitResult: "a root goes over its worker's line, so that its job hears of it and its bytes are kept",
    }
)
"""What is no business of a stranger alone, and where it goes instead: it binds others who would not know of it."""
DUPLICATE: Final = {409: ResponseSpec(Problem, description="It was recorded before; `first_receipt` names it.")}


class LogPin(msgspec.Struct, frozen=True):
    """The log's name and the key of its checkpoints (C2SP vkey)."""

    origin: str
    vkey: str


class NodeView(msgspec.Struct, frozen=True):
    """What a node is, for anybody: the ledger it keeps, its keys, how it is reached."""

    service: str
    version: str
    chain_id: str
    network: str
    log: LogPin
    coordinator: str
    entries: int
    auth: str
    worker_socket: str
    worker_protocol: str
    upload_bytes_max: int
    body_bytes_max: int


class AccountView(msgspec.Struct, frozen=True):
    """Free wei of an account, and the nonce of its next entry."""

    address: str
    balance_wei: str
    nonce: int


class WorkerView(msgspec.Struct, frozen=True):
    """A worker with an open line, and what the ledger knows of it; amounts are wei, null where it is not registered."""

    worker: str
    address: str
    backend: str
    capacity: int
    since: str
    registered: bool
    operator: str | None
    tier: str | None
    bond_wei: str | None
    locked_wei: str | None


class WorkerList(msgspec.Struct, frozen=True):
    """Workers with an open line."""

    workers: tuple[WorkerView, ...]


class FaucetForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who shall have how many wei of play money."""

    address: AddressText
    amount: WeiText


@get("/api/v1/node", tags=TAG)
async def node(house: Here) -> NodeView:
    """Tell what this node is."""
    engine, bounds = house.book.engine, house.settings.bounds
    genesis = engine.genesis
    return NodeView(
        service=SERVICE,
        version=__version__,
        chain_id=engine.parameters.chain_id,
        network=genesis.network,
        log=LogPin(genesis.log_origin, genesis.log_vkey),
        coordinator=genesis.coordinator,
        entries=engine.tree.size,
        auth="open" if house.door.is_open else "required",
        worker_socket="/worker",
        worker_protocol=wire.PROTOCOL,
        upload_bytes_max=bounds.upload_bytes,
        body_bytes_max=bounds.body_bytes,
    )


@get(
    "/api/v1/trust",
    tags=TAG,
    media_type=TOML,
    responses={200: ResponseSpec(str, media_type=TOML, description="trust.toml: what a stranger pins.")},
)
async def trust(house: Here) -> Response[bytes]:
    """Return the trust file. Whoever relies on it gets it by a second way too."""
    return Response(await aside(house.trust), media_type=TOML)


@get("/api/v1/accounts/{address:str}", tags=TAG)
async def account(house: Here, address: AddressPath) -> AccountView:
    """Tell what an account holds; one that nobody ever paid holds nothing."""
    parse_address(address)
    view = Overlay(house.book.engine.view)
    found = view.find(Account, account_key(address)) or Account()
    return AccountView(address, found.balance, next_nonce(view, address))


@get("/api/v1/workers", tags=TAG)
async def workers(house: Here) -> WorkerList:
    """List the workers with an open line."""
    view = Overlay(house.book.engine.view)
    found = []
    for card in house.host.exchange.cards():
        known = view.find(Node, node_key(card.worker))
        found.append(
            WorkerView(
                worker=card.worker,
                address=address_of(bytes.fromhex(card.worker)),
                backend=card.backend,
                capacity=card.capacity,
                since=rfc3339(card.since),
                registered=known is not None,
                operator=None if known is None else known.operator,
                tier=None if known is None else str(known.tier.value),
                bond_wei=None if known is None else known.bond,
                locked_wei=None if known is None else known.locked,
            )
        )
    return WorkerList(tuple(found))


@post(
    "/api/v1/transactions",
    tags=TAG,
    responses=DUPLICATE,
    operation_class=EntryOperation,
    status_code=HTTPStatus.CREATED,
)
async def transact(house: Here, request: Request[Any, Any, Any]) -> ReceiptView:
    """Log a signed entry: its own signature says what it may do. It is durable when this answers."""
    return await aside(partial(_log_entry, house, await request.body()))


def _log_entry(house: House, body: bytes) -> ReceiptView:
    transaction = decode(body)
    if type(transaction.payload) in ELSEWHERE:
        raise AuthorityError(ELSEWHERE[type(transaction.payload)])
    with house.book.lock:
        standing = house.book.engine.index.find(transaction.digest)
        entries = [house.book.engine.entry(index) for index in standing]
    if body in entries:
        raise DuplicateError("this entry", transaction.tx_hash)
    return _log(house, transaction)


def _log(house: House, item: Item) -> ReceiptView:
    """Log one item and wait until it is durable.

    Raises:
        LimitError: too many entries wait.
        TallyError: the rules refuse it.
    """
    if house.book.depth >= QUEUE_FULL:
        raise LimitError("too many entries wait for the ledger: try again later")
    outcomes, _ = house.book.log([Submission((item,))])
    outcome = outcomes[0]
    if isinstance(outcome, Refused):
        raise outcome.error
    if not outcome.indices:
        raise StoreError("an entry was accepted without a place")
    logged = outcome.transactions[0]
    return ReceiptView(outcome.indices[0], logged.nid, logged.tx_hash)


@post("/api/v1/faucet", tags=TAG, responses=DUPLICATE, status_code=HTTPStatus.CREATED)
async def faucet(house: Here, caller: Asker, data: FaucetForm) -> ReceiptView:
    """Pay play money out of a development ledger's faucet."""
    return await aside(partial(_pour, house, caller, data))


def _pour(house: House, caller: Caller, form: FaucetForm) -> ReceiptView:
    most = house.settings.bounds.faucet_cpc
    if house.book.engine.genesis.network != NETWORK:
        raise UsageError("this ledger has no faucet: its money is earned")
    parse_address(form.address)
    if not 0 < int(form.amount) <= most * WEI_PER_CPC:
        raise UsageError(f"a call gives at most {most} CPC, and at least one wei")
    if not caller.operates:
        house.taps.pour(caller.account, int(form.amount), house.now())
    house.journal.note("faucet", account=caller.account, amount=form.amount)
    return _log(house, Draft(house.identity.faucet(), Transfer(form.address, form.amount)))


ROUTES: Final = (node, trust, account, workers, transact, faucet)
