from itertools import pairwise

import msgspec
import pytest

from tallystick.commitment import compute_root
from tallystick.errors import AuthorityError, MalformedError, TransitionError, VerificationError
from tallystick.ledger import payloads as say
from tallystick.ledger.block import Tip, check_header, header_payload, next_tip
from tallystick.ledger.genesis import Allocation, Genesis, chain_id, check_chain_id, genesis_digest
from tallystick.ledger.machine import apply
from tallystick.ledger.payloads import BlockHeader
from tallystick.ledger.records import Account, Overlay, Sealed, header_key, state_root
from tallystick.ledger.transactions import Draft, Transaction, decode, sign
from tallystick.primitives import canonical
from tallystick.primitives.digests import sha256
from tests.ledger_world import COORDINATOR, REQUESTER, STRANGER, World, make_genesis, make_run
from tests.orders import START, key

EMPTY = sha256(b"")


def headers(world: World) -> list[BlockHeader]:
    decoded = (decode(entry).payload for entry in world.entries)
    return [payload for payload in decoded if isinstance(payload, BlockHeader)]


def test_headers_form_a_chain_from_the_genesis() -> None:
    world = make_run().until("published").world
    chain = headers(world)
    assert [header.height for header in chain] == list(range(1, len(chain) + 1))
    assert chain[0].prev_hash == genesis_digest(world.genesis).hex()
    for height, (before, after) in enumerate(pairwise(chain), start=1):
        sealed = world.state[header_key(height)]
        assert isinstance(sealed, Sealed)
        assert after.prev_hash == sealed.header
        assert after.time >= before.time
    assert world.tip.height == len(chain)


def test_the_state_root_is_hashed_over_the_last_and_the_changes() -> None:
    writes = {"account/x": Account("1", 2)}
    changes = sha256(b"tallystick/changes/v1\n", b'{"account/x":{"balance":"1","kind":"account","nonce":2}}')
    assert state_root(bytes(32), writes) == sha256(b"tallystick/state/v1\n", bytes(32), changes)
    assert state_root(bytes(32), {}) != bytes(32)


def test_only_a_block_that_settles_has_results_under_its_compute_root() -> None:
    run = make_run().until("challenged")
    settlement = run.settled_payload()
    run.settle()
    chain = headers(run.world)
    assert {header.compute_root for header in chain[:-1]} == {EMPTY.hex()} == {compute_root(()).hex()}
    assert chain[-1].compute_root == settlement.results_root != EMPTY.hex()


def test_a_block_holds_at_most_one_settlement() -> None:
    world = World()
    world.enlist()
    one, two = make_run(world=world).until("challenged"), make_run(world=world, job_id="job-2").until("challenged")
    first, second = one.settled_payload(), two.settled_payload()
    overlay = Overlay(world.state)
    overlay.writes.update(apply(overlay, world.sign(COORDINATOR, first), world.context).writes)
    nonce = world.nonce(COORDINATOR.address, overlay)
    with pytest.raises(TransitionError, match="block: JobSettled is not allowed in state holds a settlement"):
        apply(overlay, sign(Draft(COORDINATOR, second), world.chain, nonce), world.context)
    world.send((COORDINATOR, first))
    world.send((COORDINATOR, second))


def header_of(world: World) -> tuple[BlockHeader, Transaction]:
    expected = header_payload(world.tip, world.context, tx_root=EMPTY, writes={}, gas_used=5, results_root=None)
    return expected, sign(Draft(COORDINATOR, expected), world.chain, 0)


def test_a_header_must_be_the_coordinators_equal_and_free() -> None:
    world = World()
    expected, signed = header_of(world)
    check_header(signed, expected, world.context)
    with pytest.raises(AuthorityError):
        check_header(sign(Draft(STRANGER, expected), world.chain, 0), expected, world.context)
    with pytest.raises(VerificationError, match="gas price of a header"):
        check_header(sign(Draft(COORDINATOR, expected, 1), world.chain, 0), expected, world.context)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("height", 2),
        ("prev_hash", "00" * 32),
        ("time", START + 1),
        ("chain_id", "x"),
        ("proposer", key("x").address),
        ("tx_root", "00" * 32),
        ("state_root", "00" * 32),
        ("compute_root", "00" * 32),
        ("gas_used", 6),
        ("gas_limit", 1),
    ],
)
def test_every_field_of_a_header_is_held_against_the_block(field: str, value: object) -> None:
    world = World()
    expected, _ = header_of(world)
    changed = msgspec.structs.replace(expected, **{field: value})
    with pytest.raises(VerificationError, match="header of height 1") as caught:
        check_header(sign(Draft(COORDINATOR, changed), world.chain, 0), expected, world.context)
    assert (caught.value.expected, caught.value.actual) == (expected, changed)


def test_a_block_follows_its_tip_in_height_time_and_gas() -> None:
    world = World()
    context = world.context
    made = {"tx_root": EMPTY, "writes": {}, "gas_used": 0, "results_root": None}
    for tip in (Tip(1, EMPTY, EMPTY, START), Tip(0, EMPTY, EMPTY, START + 1)):
        with pytest.raises(VerificationError, match="height and time of the block"):
            header_payload(tip, context, **made)
    with pytest.raises(VerificationError, match="gas used in the block"):
        header_payload(world.tip, context, **(made | {"gas_used": context.gas_limit + 1}))


def test_the_tip_moves_by_headers_alone() -> None:
    world = World()
    expected, signed = header_of(world)
    assert next_tip(world.tip, signed) == Tip(1, signed.digest, bytes.fromhex(expected.state_root), START)
    with pytest.raises(VerificationError, match="expected BlockHeader, actual Transfer"):
        next_tip(world.tip, world.sign(REQUESTER, say.Transfer(key("x").address, "1")))


def test_a_chain_is_named_after_its_first_page() -> None:
    genesis = make_genesis()
    assert genesis_digest(genesis) == sha256(b"tallystick/genesis/v1\n", canonical.encode(genesis))
    assert chain_id(genesis) == f"tally-test-{genesis_digest(genesis).hex()[:16]}"
    check_chain_id(genesis, chain_id(genesis))
    for other in (make_genesis(log_vkey="x"), make_genesis(time=1), make_genesis(coordinator=key("x").public.hex())):
        assert chain_id(other) != chain_id(genesis)
        with pytest.raises(VerificationError, match="chain id of the genesis"):
            check_chain_id(other, chain_id(genesis))


@pytest.mark.parametrize(
    ("amounts", "error"),
    [(("1", "2"), ValueError), ((str(2**256),), MalformedError), ((str(2**256 - 1), "1"), ValueError)],
)
def test_allocations_that_cannot_be_are_refused(amounts: tuple[str, ...], error: type[Exception]) -> None:
    names = ("x", "x") if amounts == ("1", "2") else ("x", "y")
    allocations = tuple(Allocation(key(name).address, amount) for name, amount in zip(names, amounts, strict=False))
    with pytest.raises(error):
        make_genesis(allocations=allocations)


def test_a_mistyped_allocation_is_refused_on_reading() -> None:
    plain = msgspec.to_builtins(make_genesis())
    plain["allocations"][0]["address"] = "cpc1" + "q" * 38
    with pytest.raises(MalformedError, match="checksum"):
        canonical.decode(canonical.encode(plain), Genesis, what="genesis")
