"""Anchors land exactly once, whatever breaks: every fault alone, then hundreds of seeded mixtures of them."""

from __future__ import annotations

import random
import re
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from tallystick.anchoring.erc7053 import anchor_commitment, read_commitment
from tallystick.errors import StoreError, TransitionError
from tallystick.node.anchor_outbox import Standing
from tallystick.node.anchor_policy import AnchorPolicy, Trigger
from tallystick.node.anchor_words import Kept, Log, Look, Looked, Phase, Saw, Sent, Sign, State, Terms, Wait, Woke
from tallystick.node.anchorer import TRANSITIONS, restore, step
from tallystick.node.chain import Landed
from tallystick.primitives.notes import Checkpoint, NoteVerifier, open_note
from tallystick.simulation.disk import Fault, PowerCut
from tallystick.simulation.world import START
from tests.anchor_world import GWEI, IDENTITY, AnchorWorld, ScriptedChain

SEEDS = 120


@pytest.fixture
def world() -> AnchorWorld:
    grown = AnchorWorld()
    grown.grow(3)
    return grown


def test_an_anchor_is_the_newest_checkpoint_and_is_logged_when_it_is_final(world: AnchorWorld) -> None:
    checkpoint = world.book.engine.checkpoint()
    world.turn(asked=True)
    assert world.phase is Phase.WATCHING
    world.chain.mine()
    world.turn()
    assert (world.phase, world.anchored) == (Phase.LANDED, [])
    world.chain.mine(2)
    world.turn()
    assert (world.phase, world.anchored) == (Phase.LANDED, [])
    world.chain.mine()
    world.turn()
    assert world.phase is Phase.IDLE
    world.check()
    [anchored], [seen] = world.anchored, world.chain.seen()
    text, _ = open_note(checkpoint, [NoteVerifier.parse(IDENTITY.log().vkey)])
    said = Checkpoint.parse(text)
    assert (anchored.origin, anchored.size, anchored.root) == (said.origin, said.size, said.root.hex())
    assert anchored.asset_cid == anchor_commitment(checkpoint).asset_cid
    assert read_commitment(anchor_commitment(checkpoint)) == checkpoint
    assert seen.commit_data == anchor_commitment(checkpoint).commit_data
    assert world.drawer.note(anchored.chain, anchored.size) == checkpoint


def test_a_chain_of_ones_own_needs_one_turn(world: AnchorWorld) -> None:
    world.chain.automine, world.chain.confirmations = True, 0
    assert world.turn(asked=True) is None
    world.check()


def test_anchors_do_not_call_for_anchors(world: AnchorWorld) -> None:
    world.chain.automine, world.chain.confirmations = True, 0
    world.drawer.set_policy(AnchorPolicy(Trigger.ENTRIES, 1))
    assert world.turn() is None
    assert world.book.engine.tree.size == 6
    assert world.turn() is None
    assert world.turn(asked=True) is None
    world.check()
    world.grow()
    assert world.turn() is None
    world.check(2)


def test_the_newest_checkpoint_is_taken_when_the_chain_answers_at_last(world: AnchorWorld) -> None:
    world.reachable = False
    world.drawer.set_policy(AnchorPolicy(Trigger.ENTRIES, 1))
    assert world.turn() == 2_000
    assert world.turn() == 4_000
    assert world.anchoring.status().error == "nobody answers"
    assert len([text for text in world.told if "nobody answers" in text]) == 1
    world.grow(2)
    world.reachable = True
    world.settle()
    world.check()
    assert world.anchored[0].size == 7
    assert world.anchoring.status().error is None


@pytest.mark.parametrize("method", ["next_nonce", "commits", "sign", "send", "landed", "head", "block_hash"])
@pytest.mark.parametrize("fault", ["lost before", "lost after", "killed before", "killed after"])
def test_a_line_that_breaks_or_a_process_that_dies_at_any_call_costs_nothing(
    world: AnchorWorld, method: str, fault: str
) -> None:
    world.drawer.set_policy(AnchorPolicy(Trigger.ENTRIES, 1))
    world.chain.faults[method] = [fault, "", fault]
    world.settle()
    world.check()
    assert world.nonces() == {0}
    assert len(set(world.chain.sent)) == 1


@pytest.mark.parametrize("kind", ["private", "append"])
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("error", [PowerCut, StoreError])
def test_a_store_that_fails_around_keeping_and_logging_costs_nothing(
    world: AnchorWorld, kind: str, moment: str, error: type[BaseException]
) -> None:
    world.drawer.set_policy(AnchorPolicy(Trigger.ENTRIES, 1))
    number = sum(name.startswith(kind) for name in world.disk.acts)
    world.disk.fault = Fault(number, kind, moment == "after", error)
    with pytest.raises(error):  # noqa: PT012 - the turn that meets the fault is one of these
        for _ in range(9):
            world.anchoring.turn()
            world.chain.mine()
            world.pass_time(2_000)
    world.restart()
    world.settle()
    world.check()
    assert len(set(world.chain.sent)) == 1


def test_a_raw_transaction_is_durable_before_it_is_sent(world: AnchorWorld) -> None:
    world.chain.faults["send"] = ["killed before"]
    world.turn(asked=True)
    outbox = world.drawer.outbox()
    assert outbox is not None
    assert len(outbox.calls) == 1
    assert world.chain.sent == []
    world.settle()
    assert [each.raw.hex() for each in world.chain.sent] == [outbox.calls[0].raw]
    world.check()


def test_what_vanishes_in_a_reorganisation_is_sent_again_as_it_was(world: AnchorWorld) -> None:
    world.turn(asked=True)
    world.chain.mine(2)
    world.turn()
    assert world.phase is Phase.LANDED
    world.chain.reorg(2)
    world.turn()
    assert world.phase is Phase.WATCHING
    assert len(world.chain.sent) == 2
    assert len(set(world.chain.sent)) == 1
    assert any("sent again" in text for text in world.told)
    world.settle()
    world.check()
    assert world.chain.asked["sign"] == 1


def test_a_block_of_the_same_height_with_another_hash_does_not_count(world: AnchorWorld) -> None:
    world.turn(asked=True)
    world.chain.mine(2)
    world.turn()
    world.chain.reorg(2, back=True)
    world.chain.mine(1)
    world.turn()
    assert world.phase is Phase.LANDED
    world.settle()
    world.check()
    assert any("reorganised" in text for text in world.told)


def test_a_dearer_chain_is_followed_under_the_same_nonce_and_whichever_lands_counts(world: AnchorWorld) -> None:
    world.turn(asked=True)
    world.chain.base_fee *= 5
    for _ in range(3):
        world.pass_time(100_000)
        world.turn()
    outbox = world.drawer.outbox()
    assert outbox is not None
    assert len(outbox.calls) == 2
    assert {call.nonce for call in outbox.calls} == {0}
    fees = [int(call.fee_per_gas) for call in outbox.calls]
    assert fees[1] >= fees[0] * 9 // 8
    # The first variant was believed lost, and a miner kept it.
    world.chain.base_fee = GWEI
    world.chain.pool[0] = (world.chain.sent[0], world.chain.signed[world.chain.sent[0].tx_hash])
    world.chain.mine()
    world.restart()
    world.settle()
    world.check()
    assert world.anchored[0].tx_hash == outbox.calls[0].tx_hash
    assert not any("used by another" in text for text in world.told)


def test_of_several_variants_the_one_that_stood_in_the_lost_block_goes_out_again(world: AnchorWorld) -> None:
    world.turn(asked=True)
    world.chain.base_fee *= 5
    world.pass_time(200_000)
    world.turn()
    first, second = dict.fromkeys(world.chain.sent)
    world.chain.pool[0] = (first, world.chain.signed[first.tx_hash])
    world.chain.base_fee = GWEI
    world.chain.mine()
    world.turn()
    world.chain.reorg(1)
    world.turn()
    assert world.chain.sent[-1] == first != second
    world.settle()
    world.check()


@pytest.mark.parametrize("method", ["next_nonce", "commits"])
def test_a_commit_that_lands_while_the_chain_is_asked_is_not_made_again(world: AnchorWorld, method: str) -> None:
    """The home's store was put back from a copy made before the anchor, whose transaction still waits."""
    kept = dict(world.disk.private)
    world.turn(asked=True)
    world.disk.private = kept
    world.open()
    world.chain.faults[method] = ["mined after"]
    world.turn(asked=True)
    world.settle()
    world.check()
    assert world.nonces() == {0}


def test_a_commit_that_lands_while_we_look_is_not_taken_for_somebody_elses(world: AnchorWorld) -> None:
    world.turn(asked=True)
    world.chain.faults["landed"] = ["mined after"]
    world.turn()
    world.settle()
    world.check()
    assert not any("used by another" in text for text in world.told)


def test_a_fee_above_the_cap_is_not_signed_for_until_it_falls() -> None:
    world = AnchorWorld(fee_cap=50 * GWEI)
    world.chain.base_fee = 100 * GWEI
    world.drawer.set_policy(AnchorPolicy(Trigger.ENTRIES, 1))
    world.grow()
    for _ in range(5):
        assert world.turn() == 30_000
        world.pass_time(30_000)
    assert (world.chain.sent, world.drawer.outbox()) == ([], None)
    assert world.anchoring.status().held_fee == 200 * GWEI
    assert len(world.told) == 1
    world.grow()
    world.chain.base_fee = GWEI
    world.settle()
    world.check()
    assert world.anchored[0].size == 4
    assert world.anchoring.status().held_fee is None


def test_a_replacement_above_the_cap_is_not_sent_and_the_first_may_still_land() -> None:
    world = AnchorWorld(fee_cap=50 * GWEI)
    world.drawer.set_policy(AnchorPolicy(Trigger.ENTRIES, 1))
    world.grow()
    world.turn()
    world.chain.base_fee = 100 * GWEI
    for _ in range(20):
        world.pass_time(60_000)
        world.turn()
        world.chain.mine()
    assert len(set(world.chain.sent)) == 1
    assert world.anchoring.status().held_fee == 200 * GWEI
    world.chain.base_fee = 5 * GWEI
    world.settle()
    world.check()


def test_another_program_with_our_key_takes_the_nonce_and_we_sign_anew_only_when_that_is_final(
    world: AnchorWorld,
) -> None:
    world.turn(asked=True)
    world.chain.foreign()
    world.turn()
    assert any("used by another transaction of this key" in text for text in world.told)
    world.chain.mine(2)
    world.turn()
    assert world.chain.asked["sign"] == 1
    world.chain.mine()
    world.turn()
    assert world.chain.asked["sign"] == 2
    world.settle()
    world.check()
    assert [call.nonce for call in dict.fromkeys(world.chain.sent)] == [0, 1]


def test_a_foreign_transaction_that_vanishes_again_leaves_us_our_nonce(world: AnchorWorld) -> None:
    world.turn(asked=True)
    world.chain.foreign()
    world.chain.mine()
    world.turn()
    world.chain.reorg(2)
    world.chain.mine(5)
    world.turn()
    world.pass_time(40_000)
    world.settle()
    world.check()
    assert world.nonces() == {0}


def test_a_gap_below_our_nonce_is_left_to_the_one_who_made_it(world: AnchorWorld) -> None:
    world.chain.foreign()
    world.turn(asked=True)
    assert world.nonces() == {1}
    world.chain.reorg(1)
    for _ in range(9):
        world.chain.mine()
        world.pass_time(200_000)
        world.turn()
    assert len([text for text in world.told if "nonce 0 lies open again" in text]) == 1
    assert world.nonces() == {1}
    assert world.chain.asked["sign"] == 1
    world.chain.foreign()
    world.settle()
    world.check()


def test_a_commit_that_is_there_already_is_not_paid_for_again(world: AnchorWorld) -> None:
    """The home's store was put back from a copy made before the anchor."""
    kept = dict(world.disk.private)
    world.turn(asked=True)
    world.chain.mine()
    world.disk.private = kept
    world.open()
    world.turn(asked=True)
    world.settle()
    world.check()
    assert world.chain.asked["sign"] == 1


def test_a_strangers_commit_of_the_same_checkpoint_is_not_ours(world: AnchorWorld) -> None:
    world.chain.stranger(anchor_commitment(world.book.engine.checkpoint()))
    world.turn(asked=True)
    world.settle()
    world.check()


def test_a_transaction_that_reverts_is_told_and_not_sent_again(world: AnchorWorld) -> None:
    world.chain.reverts = True
    world.drawer.set_policy(AnchorPolicy(Trigger.ENTRIES, 1))
    world.settle()
    assert world.phase is Phase.REVERTED
    outbox = world.drawer.outbox()
    assert outbox is not None
    assert outbox.standing is Standing.REVERTED
    assert any("failed in block" in text for text in world.told)
    world.grow(50)
    world.open()
    assert world.turn() is None
    assert len(world.chain.sent) == 1
    assert world.anchored == []
    world.chain.reverts = False
    world.turn(asked=True)
    world.settle()
    world.check()
    assert world.nonces() == {0, 1}


def test_an_anchor_in_flight_to_another_chain_is_finished_there_first(world: AnchorWorld) -> None:
    world.turn(asked=True)
    first = world.chain
    world.chain = ScriptedChain(name="eip155:1")
    world.anchoring.reload()
    assert world.turn() == 2_000
    assert "in flight to 0x" in str(world.anchoring.status().error)
    assert world.chain.sent == []
    world.chain = first
    world.anchoring.reload()
    world.settle()
    world.check()


def test_the_status_says_where_an_anchor_stands(world: AnchorWorld) -> None:
    before = world.anchoring.status().as_json()
    assert (before["phase"], before["waitingEntries"], before["newest"], before["inFlight"]) == ("idle", 3, None, None)
    world.turn(asked=True)
    world.chain.mine()
    world.turn()
    during = world.anchoring.status().as_json()
    assert during["phase"] == "landed"
    assert during["inFlight"] == {"size": 4, "nonce": 0, "variants": 1, "block": 1}
    world.settle()
    after = world.anchoring.status().as_json()
    assert (after["phase"], after["waitingEntries"], after["inFlight"]) == ("idle", 0, None)
    assert after["newest"]["txHash"] == f"0x{world.anchored[0].tx_hash}"


def test_what_cannot_happen_in_a_phase_is_refused() -> None:
    with pytest.raises(TransitionError, match="anchor: Sent is not allowed in state idle"):
        step(State(), Sent(), 0, Terms(0))
    with pytest.raises(TransitionError):
        step(State(Phase.WATCHING), Kept(), 0, Terms(0))
    assert all((phase, Woke) in TRANSITIONS for phase in Phase)


def seen(**changes: object) -> Saw:
    """Our call in block 5 with nine on top, as a chain at rest shows it."""
    landed = Landed(b"\1" * 32, 5, b"\5" * 32, succeeded=True)
    whole = {"head": 14, "head_hash": b"\x0e" * 32, "nonce": 1, "landed": landed, "hash_there": b"\5" * 32}
    return Saw(**{**whole, "hash_marked": None, **changes})  # type: ignore[arg-type]


def watching(world: AnchorWorld, **changes: object) -> State:
    """An anchor with one call of nonce 0 under way."""
    world.turn(asked=True)
    return replace(world.anchoring.state, **changes)


def test_a_block_that_another_one_replaced_while_we_asked_does_not_count(world: AnchorWorld) -> None:
    state = watching(world)
    _, done = step(state, seen(), START, Terms(3))
    assert isinstance(done[-1], Log)
    _, done = step(state, seen(hash_there=b"\6" * 32), START, Terms(3))
    assert isinstance(done[-1], Wait)
    _, done = step(state, seen(hash_there=None), START, Terms(3))
    assert isinstance(done[-1], Wait)


def test_the_block_that_used_our_nonce_must_still_be_there_when_it_is_final(world: AnchorWorld) -> None:
    state = watching(world, foreign=(5, b"\5" * 32))
    _, done = step(state, seen(landed=None, hash_marked=b"\5" * 32), START, Terms(3))
    assert isinstance(done[-1], Look)
    after, done = step(state, seen(landed=None, hash_marked=b"\6" * 32), START, Terms(3))
    assert (isinstance(done[-1], Wait), after.foreign) == (True, (14, b"\x0e" * 32))


def test_a_node_that_lags_behind_does_not_make_us_sign_beside_what_may_land(world: AnchorWorld) -> None:
    state = watching(world, phase=Phase.LOOKING)
    after, done = step(state, Looked(0, ()), START, Terms(3))
    assert (after.phase, isinstance(done[-1], Wait)) == (Phase.WATCHING, True)
    _, done = step(state, Looked(1, ()), START, Terms(3))
    assert isinstance(done[-1], Sign)


def test_an_outbox_is_restored_as_what_it_stands_for(world: AnchorWorld) -> None:
    assert restore(None, 5) == State()
    world.turn(asked=True)
    outbox = world.drawer.outbox()
    assert outbox is not None
    assert restore(outbox, 5).phase is Phase.WATCHING
    assert restore(msgspec.structs.replace(outbox, standing=Standing.LOGGED), 5) == State()
    assert restore(msgspec.structs.replace(outbox, standing=Standing.REVERTED), 5).phase is Phase.REVERTED


class Trouble:
    """Everything at once, from a seed: what happens between two turns, and inside them."""

    FAULTS = ("lost before", "lost after", "killed before", "killed after", "", "", "", "")
    METHODS = ("next_nonce", "commits", "sign", "send", "send", "landed", "head", "block_hash")

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.world = AnchorWorld(ScriptedChain(confirmations=self.rng.randrange(1, 5)), fee_cap=60 * GWEI)
        self.world.drawer.set_policy(AnchorPolicy(Trigger.ENTRIES, self.rng.randrange(1, 4)))
        self.world.grow(self.rng.randrange(1, 4))

    def happen(self) -> None:
        """One thing goes wrong, or right; reorganisations are shallower than what counts as final."""
        rng, chain = self.rng, self.world.chain
        match rng.randrange(10):
            case 0 | 1 | 2 | 3:
                chain.mine(rng.randrange(1, 3))
            case 4:
                chain.faults[rng.choice(self.METHODS)] = [rng.choice(self.FAULTS) for _ in range(rng.randrange(4))]
            case 5 if len(chain.blocks) > chain.confirmations + 2:
                chain.reorg(rng.randrange(1, chain.confirmations + 1), back=rng.random() < 0.5)
                chain.mine(rng.randrange(2))
            case 6:
                chain.base_fee = rng.choice([5, 10, 20, 200]) * GWEI
            case 7 if rng.random() < 0.3:
                chain.foreign()
            case 8:
                chain.pool.clear()
            case _:
                self.world.grow(rng.randrange(1, 3))

    def play(self) -> AnchorWorld:
        """Break things for a while, then let them be well."""
        world, chain = self.world, self.world.chain
        for _ in range(80):
            if self.rng.random() < 0.7:
                self.happen()
            wait = world.turn()
            world.pass_time(self.rng.choice([500, 2_000, 40_000, 200_000, wait or 0]))
        chain.faults.clear()
        chain.base_fee = 5 * GWEI
        outbox = world.anchoring.state.outbox
        while outbox is not None and chain.next_nonce() < outbox.calls[-1].nonce:
            chain.foreign()  # a wallet sends again what a reorganisation took away
        world.settle(200)
        return world


@pytest.mark.parametrize("seed", range(SEEDS))
def test_no_mixture_of_faults_pays_for_a_checkpoint_twice(seed: int) -> None:
    world = Trouble(seed).play()
    assert world.phase is Phase.IDLE
    world.check(len(world.anchored))
    assert world.anchored


def test_the_mixtures_do_meet_what_they_are_made_for() -> None:
    worlds = [Trouble(seed).play() for seed in range(60)]
    told = "\n".join(text for world in worlds for text in world.told)
    for words in ("sent again", "stands in block", "used by another", "is lost to another", "the cap is"):
        assert words in told
    assert sum(len(world.anchored) for world in worlds) > 100
    assert any(len({call.fee_per_gas for call in world.chain.sent if call.nonce == 0}) > 1 for world in worlds)


def test_a_chain_error_before_anything_was_signed_leaves_nothing_behind(world: AnchorWorld) -> None:
    world.chain.faults["sign"] = ["lost before"]
    world.turn(asked=True)
    assert world.phase is Phase.IDLE
    assert world.drawer.outbox() is None
    assert world.anchoring.state == State(failures=1)


def test_the_table_in_the_documentation_is_the_machines() -> None:
    page = (Path(__file__).parents[2] / "docs" / "spec" / "erc7053-anchor.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\w+) \| ((?:[A-Z]\w+(?:, )?)+) \|", page, re.MULTILINE)
    documented = {(Phase(phase), name) for phase, names in rows for name in names.split(", ")}
    assert documented == {(phase, kind.__name__) for phase, kind in TRANSITIONS}
