import msgspec
import pytest

from tallystick.errors import FundsError, NonceError, RuleError, StoreError, TallyError
from tallystick.ledger import machine
from tallystick.ledger import payloads as say
from tallystick.ledger.machine import apply
from tallystick.ledger.records import BURNED, Account, Anchor, Overlay, account_key, anchor_key, node_key, supply
from tallystick.ledger.transactions import Draft, sign
from tests.ledger_world import COORDINATOR, RICH, STRANGER, World, make_genesis, make_run, payout
from tests.orders import key

WORKER = key("worker 0")


def test_a_transfer_moves_wei_and_nothing_else() -> None:
    world = World()
    changes = world.attempt(STRANGER, say.Transfer(key("new").address, "5"))
    assert changes.writes == {
        account_key(STRANGER.address): Account(str(RICH - 5), 1),
        account_key(key("new").address): Account("5", 0),
    }
    assert (changes.gas, changes.results_root) == (21_000, None)
    world.send((STRANGER, say.Transfer(STRANGER.address, "5")))
    assert world.balance(STRANGER.address) == RICH


@pytest.mark.parametrize(
    ("to", "amount", "error", "reason"),
    [
        ("new", "0", "RuleError", "at least one wei"),
        ("new", str(RICH + 1), "FundsError", "are needed"),
        ("new", str(2**256), "RuleError", "between 0 and 2"),
        ("typo", "1", "RuleError", "checksum"),
    ],
)
def test_a_transfer_that_cannot_be_is_refused(to: str, amount: str, error: str, reason: str) -> None:
    address = key("new").address
    if to == "typo":
        address = address[:-1] + ("q" if address[-1] != "q" else "p")
    with pytest.raises(TallyError, match=reason) as caught:
        World().attempt(STRANGER, say.Transfer(address, amount))
    assert type(caught.value).__name__ == error


@pytest.mark.parametrize("nonce", [0, 2])
def test_entries_are_numbered_without_gaps(nonce: int) -> None:
    world = World()
    world.send((STRANGER, say.Transfer(WORKER.address, "1")))
    late = sign(Draft(STRANGER, say.Transfer(WORKER.address, "1")), world.chain, nonce)
    with pytest.raises(NonceError, match=f"the next nonce of {STRANGER.address} is 1, not {nonce}"):
        apply(world.state, late, world.context)


def test_gas_goes_from_the_sender_to_the_coordinator() -> None:
    world = World(make_genesis(gas_price_min=2))
    paid = apply(world.state, world.sign(STRANGER, say.Transfer(WORKER.address, "1"), gas_price=3), world.context)
    assert paid.writes[account_key(STRANGER.address)] == Account(str(RICH - 63_001), 1)
    assert paid.writes[account_key(COORDINATOR.address)] == Account(str(RICH + 63_000), 0)
    with pytest.raises(RuleError, match="gas price 1 is below the minimum 2"):
        apply(world.state, world.sign(STRANGER, say.Transfer(WORKER.address, "1"), gas_price=1), world.context)
    with pytest.raises(FundsError):
        apply(world.state, world.sign(key("poor"), say.Transfer(WORKER.address, "1"), gas_price=2), world.context)
    own = apply(world.state, world.sign(COORDINATOR, say.Transfer(WORKER.address, "1"), gas_price=2), world.context)
    assert own.writes[account_key(COORDINATOR.address)] == Account(str(RICH - 1), 1)


def test_a_worker_registers_with_its_operators_consent() -> None:
    world = World()
    world.send((WORKER, world.registration(0, "a")))
    node = world.node(0)
    assert (node.operator, node.payout, node.bond, node.locked) == (key("operator a").public.hex(), payout(0), "0", "0")
    moved = key("elsewhere").address
    world.send((WORKER, say.StakeDeposited("10")))
    world.send((WORKER, world.registration(0, "a", payout=moved)))
    assert (world.node(0).payout, world.node(0).bond) == (moved, "10")


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"operator_signature": "11" * 64}, "SignatureError"),
        ({"operator": key("operator b").public.hex()}, "SignatureError"),
        ({"operator": "02" + "ff" * 32}, "SignatureError"),
        ({"tier": say.Tier.NVML}, "RuleError"),
    ],
)
def test_a_registration_without_consent_or_evidence_is_refused(changes: dict[str, object], error: str) -> None:
    world = World()
    registration = msgspec.structs.replace(world.registration(0, "a"), **changes)
    assert world.refusal(WORKER, registration) == error


def test_consent_is_for_one_chain_one_worker_and_one_payout() -> None:
    world, other = World(), World(make_genesis(time=7))
    assert world.refusal(key("worker 1"), world.registration(0, "a")) == "SignatureError"
    assert world.refusal(WORKER, other.registration(0, "a")) == "SignatureError"
    redirected = msgspec.structs.replace(world.registration(0, "a"), payout=key("thief").address)
    assert world.refusal(WORKER, redirected) == "SignatureError"


def test_a_worker_keeps_its_operator_and_its_terms_while_jobs_are_open() -> None:
    run = make_run()
    assert run.world.refusal(WORKER, run.world.registration(0, "b")) == "AuthorityError"
    assert run.world.refusal(WORKER, run.world.registration(0, "a")) == "accepted"
    run.until("submitted")
    assert run.world.refusal(WORKER, run.world.registration(0, "a")) == "AuthorityError"


def test_only_the_free_part_of_a_bond_can_be_withdrawn() -> None:
    run = make_run().until("submitted")
    assert (run.world.node(0).bond, run.world.node(0).locked) == ("1000000000", "120000")
    assert run.world.refusal(WORKER, say.StakeWithdrawn("999880001")) == "StakeError"
    run.world.send((WORKER, say.StakeWithdrawn("999880000")))
    assert (run.world.node(0).bond, run.world.balance(WORKER.address)) == ("120000", RICH - 120_000)


def test_who_is_not_registered_has_no_bond() -> None:
    for payload in (say.StakeDeposited("1"), say.StakeWithdrawn("1")):
        assert World().refusal(STRANGER, payload) == "RuleError"
    world = World()
    world.enlist("a")
    assert world.refusal(WORKER, say.StakeDeposited(str(RICH))) == "FundsError"


def anchored(size: int, chain: str = "eip155:1") -> say.Anchored:
    return say.Anchored(
        "origin", size, "ab" * 32, "bafk", chain, "0x" + "c" * 40, "0x" + "d" * 40, "cd" * 32, 7, "ef" * 32
    )


def test_a_newer_anchor_replaces_an_older_one_and_never_the_other_way() -> None:
    world = World()
    world.send((COORDINATOR, anchored(5)))
    assert world.refusal(COORDINATOR, anchored(5)) == "RuleError"
    assert world.refusal(COORDINATOR, anchored(4)) == "RuleError"
    world.send((COORDINATOR, anchored(1, "eip155:2")), (COORDINATOR, anchored(6)))
    assert world.state[anchor_key("eip155:1")] == Anchor(6, "ab" * 32, "cd" * 32)
    assert world.refusal(STRANGER, anchored(9)) == "AuthorityError"


def test_a_header_is_never_submitted() -> None:
    header = say.BlockHeader(1, 1, "00" * 32, 0, "c", COORDINATOR.address, "00" * 32, "00" * 32, "00" * 32, 0, 0)
    assert World().refusal(COORDINATOR, header) == "AuthorityError"


def test_a_record_of_another_kind_is_damage_not_a_refusal() -> None:
    world = World()
    world.state[node_key(WORKER.public.hex())] = Account()
    with pytest.raises(StoreError, match="holds a Account, not a Node"):
        world.attempt(WORKER, say.StakeDeposited("1"))


def test_a_rule_that_made_money_would_be_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    def mint(work: Overlay, *_rest: object) -> None:
        work.credit(BURNED, 1)

    monkeypatch.setattr(machine.accounts, "transfer", mint)
    with pytest.raises(RuleError, match="would change the money supply by 1 wei"):
        World().attempt(STRANGER, say.Transfer(WORKER.address, "1"))


def test_a_bond_never_falls_below_what_is_locked_of_it() -> None:
    world = make_run().until("submitted").world
    work = Overlay(world.state)
    for change, locked in ((-(10**9), 0), (0, 10**9), (0, -120_001)):
        with pytest.raises(FundsError, match=r"^bond of"):
            work.bond(world.node(0), change=change, locked=locked)


def test_the_supply_counts_accounts_bonds_escrows_and_the_burned() -> None:
    world = make_run().until("submitted").world
    assert supply(world.state) == 8 * RICH
    assert int(world.escrow().balance) == 44_000
    assert supply({account_key(BURNED): Account("7")}) == 7
