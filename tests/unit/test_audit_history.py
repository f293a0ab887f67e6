"""A whole log holds when it is honest, and the finding names the step when anybody bent it, the operator included."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from tallystick.audit.findings import Report, Result
from tallystick.audit.history import PLAN, History, Replay, ShownLog, check_escrows
from tallystick.audit.trust import CoordinatorPin, LogPin
from tallystick.errors import VerificationError
from tallystick.ledger import payloads as say
from tallystick.ledger.fold import Replayed
from tallystick.ledger.records import Account, Escrow, Job, account_key, escrow_key, job_key
from tallystick.ledger.states import EscrowState, JobPhase
from tallystick.ledger.transactions import Draft, decode, sign
from tallystick.primitives import canonical
from tallystick.primitives.digests import sha256
from tallystick.primitives.notes import NoteSigner, WitnessSigner
from tallystick.receipts.log import TileName
from tests.history_world import (
    GENESIS,
    LOG,
    TRUST,
    Shelf,
    broken,
    edited,
    honest_log,
    place,
    rechained,
    resigned,
    shelve,
    told,
    trust_in,
)
from tests.ledger_world import COORDINATOR, REQUESTER, RICH, STRANGER, make_genesis

THIEF = NoteSigner(LOG.name, sha256(b"thief"))
CANNOT_TELL, DOES_NOT_HOLD = Result.CANNOT_TELL, Result.DOES_NOT_HOLD
replace = msgspec.structs.replace


@pytest.fixture(scope="module")
def small() -> list[bytes]:
    """One finished job and a few transfers."""
    return honest_log()


@pytest.fixture(scope="module")
def large() -> list[bytes]:
    """More entries than one tile holds."""
    return honest_log(transfers=90)


@pytest.fixture
def shelf(large: list[bytes]) -> Shelf:
    assert 256 < len(large) < 512
    return shelve(large)


def steps(report: Report) -> list[tuple[int, Result]]:
    return [(each.step, each.result) for each in report.findings]


def test_an_honest_log_holds_and_says_what_it_holds(shelf: Shelf, large: list[bytes]) -> None:
    report = shelf.audit()
    assert report.result is Result.HOLDS, report
    assert steps(report) == [(number, Result.HOLDS) for number in range(1, 7)] + [(7, Result.NOTE), (8, Result.NOTE)]
    tiles, money, contents = report.findings[2], report.findings[5], report.findings[6]
    assert tiles.actual == f"{len(large)} entries give the signed root; 3 of 3 tiles of hashes are shown, and agree"
    assert str(money.actual).startswith(f"the supply is {8 * RICH / 10**18:.6f} CPC after every block")
    blocks = sum(isinstance(decode(entry).payload, say.BlockHeader) for entry in large)
    assert contents.actual == f"{len(large)} entries in {blocks} blocks; jobs: 1 published; open escrows: none"


def test_a_job_under_way_shows_its_open_escrow() -> None:
    report = shelve(honest_log(phase="challenged")).audit()
    assert report.result is Result.HOLDS
    assert re.search(r"jobs: 1 challenged; open escrows: 1 with [0-9.]+ CPC$", str(report.findings[6].actual))


def test_the_plan_in_the_documentation_is_the_plan() -> None:
    page = (Path(__file__).parents[2] / "docs" / "spec" / "audit.md").read_text(encoding="utf-8")
    section = page.partition("\n## A whole log\n")[2]
    rows = re.findall(r"^\| (\d+) \| (\w+) \| ([\d, ]*?) ?\|", section, re.MULTILINE)
    documented = [(int(number), name, tuple(map(int, re.findall(r"\d+", needs)))) for number, name, needs in rows]
    assert documented == [(step.number, step.name, step.needs) for step in PLAN]


# --- the operator edits history, then hashes it and signs the checkpoint anew


def test_an_entry_changed_is_not_its_senders(small: list[bytes]) -> None:
    at = place(small, say.Transfer)
    finding = broken(edited(small, at, lambda entry: entry.replace(b'"amount":"8"', b'"amount":"9"')))
    assert (finding.step, finding.name) == (4, "entries")
    assert f"entry {at}" in f"{finding.expected} {finding.actual}"


def test_an_entry_left_out_is_missed_by_the_header(small: list[bytes]) -> None:
    at = place(small, say.Transfer)
    shorter = [*small[:at], *small[at + 1 :]]
    assert "tx_root" in str(broken(shorter).expected)
    finding = broken(rechained(shorter))
    assert finding.step == 5
    assert str(finding.expected).startswith("state_root, gas_used of the header in block ")


def test_a_whole_block_left_out_is_missed(small: list[bytes]) -> None:
    header = place(small, say.BlockHeader)
    finding = broken(rechained([*small[: header - 5], *small[header - 2 :]]))
    assert finding.step == 5
    assert "next nonce" in str(finding.actual)


def test_entries_reordered_are_not_what_the_header_covers(small: list[bytes]) -> None:
    at = place(small, say.Transfer)
    swapped = [*small[: at - 1], small[at], small[at - 1], *small[at + 1 :]]
    finding = broken(swapped)
    assert finding.step == 5
    assert str(finding.expected).startswith("tx_root of the header in block ")


def test_entries_of_one_sender_reordered_break_their_numbers(small: list[bytes]) -> None:
    last = place(small, say.Transfer)
    swapped = [*small[: last - 3], small[last], *small[last - 2 : last], small[last - 3], *small[last + 1 :]]
    assert decode(small[last]).sender == decode(small[last - 3]).sender
    finding = broken(rechained(swapped))
    assert finding.step == 5
    assert "next nonce" in str(finding.actual)


def test_an_entry_signed_by_another_key_moves_other_money(small: list[bytes]) -> None:
    at = place(small, say.Transfer)
    assert decode(small[at]).sender == REQUESTER.public
    finding = broken(rechained(edited(small, at, lambda entry: resigned(entry, STRANGER))))
    assert finding.step == 5


def test_a_coordinators_entry_by_a_stranger_is_refused(small: list[bytes]) -> None:
    at = place(small, say.JobCompleted)
    old = decode(small[at])
    nonce = 0  # the stranger's own first number, so that nothing but the authority is wrong
    stolen = sign(Draft(STRANGER, old.payload), old.chain_id, nonce).entry
    finding = broken(rechained(edited(small, at, lambda _: stolen)))
    assert finding.step == 5
    assert re.match(r"block \d+: ", str(finding.actual))


@pytest.mark.parametrize(
    "change",
    [
        {"state_root": "ab" * 32},
        {"compute_root": "ab" * 32},
        {"tx_root": "ab" * 32},
        {"prev_hash": "ab" * 32},
        {"gas_used": 1},
        {"gas_limit": 9_999_999},
        {"height": 9_999},
        {"proposer": STRANGER.address},
        {"chain_id": "tally-other-0000000000000000"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_wrong_field_of_a_header_signed_by_the_coordinator_is_named(
    small: list[bytes], change: dict[str, object]
) -> None:
    at = place(small, say.BlockHeader)
    finding = broken(edited(small, at, lambda entry: resigned(entry, COORDINATOR, **change)))
    height = sum(isinstance(decode(entry).payload, say.BlockHeader) for entry in small)
    assert finding.step == 5
    assert str(finding.expected).startswith(f"{next(iter(change))} of the header in block {height}: ")
    assert finding.actual == str(next(iter(change.values())))


def test_a_wrong_state_root_in_the_middle_is_found_where_it_stands(small: list[bytes]) -> None:
    at = next(at for at, entry in enumerate(small) if isinstance(decode(entry).payload, say.BlockHeader))
    finding = broken(rechained(edited(small, at, lambda entry: resigned(entry, COORDINATOR, state_root="ab" * 32))))
    assert str(finding.expected).startswith("state_root of the header in block 1: ")


def test_a_header_that_runs_back_in_time_is_refused(small: list[bytes]) -> None:
    at = place(small, say.BlockHeader)
    finding = broken(edited(small, at, lambda entry: resigned(entry, COORDINATOR, time=GENESIS.time - 1)))
    assert finding.step == 5
    assert str(finding.expected).startswith("time of the header")


def test_a_header_by_another_key_or_number_or_price_is_refused(small: list[bytes]) -> None:
    at = place(small, say.BlockHeader)
    old = decode(small[at])
    for draft, nonce in (
        (Draft(STRANGER, old.payload), old.nonce),
        (Draft(COORDINATOR, old.payload), old.nonce + 1),
        (Draft(COORDINATOR, old.payload, 1), old.nonce),
    ):
        assert broken(edited(small, at, lambda _, d=draft, n=nonce: sign(d, old.chain_id, n).entry)).step == 5


def test_a_minted_amount_is_refused_by_the_rules(small: list[bytes]) -> None:
    at = place(small, say.JobSettled)
    settled = decode(small[at]).payload
    assert isinstance(settled, say.JobSettled)
    line = settled.lines[0]
    more = replace(line, amount=str(int(line.amount) + 1))
    minted = edited(small, at, lambda entry: resigned(entry, COORDINATOR, lines=(more, *settled.lines[1:])))
    finding = broken(rechained(minted))
    height = 1 + sum(isinstance(decode(entry).payload, say.BlockHeader) for entry in small[:at])
    assert finding.step == 5
    assert f"block {height}" in f"{finding.expected} {finding.actual}"
    assert "header" not in f"{finding.expected}"


def test_a_refund_above_what_is_left_is_refused(small: list[bytes]) -> None:
    at = place(small, say.JobSettled)
    settled = decode(small[at]).payload
    assert isinstance(settled, say.JobSettled)
    refund = str(int(settled.refund) + 1)
    assert broken(rechained(edited(small, at, lambda entry: resigned(entry, COORDINATOR, refund=refund)))).step == 5


def test_a_transfer_beyond_the_balance_is_refused(small: list[bytes]) -> None:
    at = place(small, say.Transfer)
    finding = broken(rechained(edited(small, at, lambda entry: resigned(entry, REQUESTER, amount=str(RICH * 9)))))
    assert finding.step == 5
    assert "are needed" in str(finding.actual)


def test_a_checkpoint_within_a_block_does_not_hold(small: list[bytes]) -> None:
    finding = broken(small[:-1])
    assert (finding.step, finding.actual) == (5, "2 entries without one")


def test_a_block_that_never_ends_is_refused_at_the_gas_limit(small: list[bytes]) -> None:
    draft = Draft(STRANGER, say.Transfer(REQUESTER.address, "1"))
    many = [sign(draft, TRUST.chain_id, nonce).entry for nonce in range(8, 9 + GENESIS.gas_limit // 21_000)]
    finding = broken([*small, *many])
    assert finding.step == 5
    assert "gas that are allowed" in str(finding.actual)


def test_the_gas_limit_is_a_blocks_and_not_the_logs() -> None:
    genesis = replace(GENESIS, gas_limit=100_000)
    entries = honest_log(genesis=genesis)
    shelf = Shelf(shelve(entries).files, shelve(entries).checkpoint, canonical.encode(genesis))
    assert shelf.audit(trust_in(genesis)).result is Result.HOLDS


def test_an_entry_of_another_chain_does_not_hold(small: list[bytes]) -> None:
    at = place(small, say.Transfer)
    old = decode(small[at])
    foreign = sign(Draft(REQUESTER, old.payload), "tally-other-0000000000000000", old.nonce).entry
    finding = broken(rechained(edited(small, at, lambda _: foreign)))
    assert (finding.step, finding.expected) == (4, f"chain id of the entry, entry {at}: {TRUST.chain_id}")


def test_an_entry_that_does_not_parse_cannot_be_told(small: list[bytes]) -> None:
    for data in (b"", b"{}", b"\xff" * 40, small[3] + b" "):
        finding = told(shelve(edited(small, 3, lambda _, data=data: data)).audit(), CANNOT_TELL)
        assert finding.step == 4
        assert str(finding.actual).startswith("entry 3 cannot be read: ")


# --- somebody without the keys


def test_a_checkpoint_by_another_key_does_not_hold(small: list[bytes]) -> None:
    report = shelve(small, signer=THIEF).audit()
    assert told(report, DOES_NOT_HOLD).step == 2
    assert {each.step for each in report.findings if each.result is CANNOT_TELL} == {3, 4, 5, 6, 7, 8}


def test_a_checkpoint_of_another_origin_does_not_hold(small: list[bytes]) -> None:
    assert told(shelve(small, origin="tally.test/other").audit(), DOES_NOT_HOLD).step == 2


def test_a_checkpoint_outside_the_pinned_range_does_not_hold(small: list[bytes]) -> None:
    pin = LogPin(origin=LOG.name, vkey=LOG.vkey, first=0, last=len(small) - 2)
    assert told(shelve(small).audit(replace(TRUST, log=pin)), DOES_NOT_HOLD).step == 2


def test_a_cosigned_checkpoint_holds(small: list[bytes]) -> None:
    shelf = shelve(small)
    shelf.checkpoint = WitnessSigner("witness.test", sha256(b"witness")).cosign(shelf.checkpoint, 1_700_000_000)
    assert shelf.audit().result is Result.HOLDS


def test_a_checkpoint_that_is_none_cannot_be_told(small: list[bytes]) -> None:
    for note in ("", "\n", "text without a signature\n"):
        shelf = shelve(small)
        shelf.checkpoint = note
        assert told(shelf.audit(), CANNOT_TELL).step == 2


def test_a_foreign_genesis_does_not_hold(small: list[bytes]) -> None:
    shelf = shelve(small)
    for foreign in (make_genesis(), replace(GENESIS, gas_price_min=1), replace(GENESIS, allocations=())):
        shelf.genesis = canonical.encode(foreign)
        assert told(shelf.audit(), DOES_NOT_HOLD).step == 1


def test_a_genesis_in_another_spelling_cannot_be_told(small: list[bytes]) -> None:
    shelf = shelve(small)
    for data in (b"", b"{}", shelf.genesis + b"\n", shelf.genesis.replace(b",", b", ", 1)):
        shelf.genesis = data
        assert told(shelf.audit(), CANNOT_TELL).step == 1


def test_a_coordinator_outside_its_pinned_range_does_not_hold(small: list[bytes]) -> None:
    pins = (CoordinatorPin(key=COORDINATOR.public.hex(), first=0, last=len(small) - 2),)
    assert told(shelve(small).audit(replace(TRUST, coordinators=pins)), DOES_NOT_HOLD).step == 4


def test_no_flipped_byte_of_any_tile_holds(shelf: Shelf) -> None:
    for path, data in list(shelf.files.items()):
        for position in {0, 1, 2, len(data) // 2, len(data) - 1}:
            flipped = bytearray(data)
            flipped[position] ^= 1
            shelf.files[path] = bytes(flipped)
            finding = told(shelf.audit(), shelf.audit().result)
            assert finding.result in {DOES_NOT_HOLD, CANNOT_TELL}
            assert finding.step == 3
        shelf.files[path] = data


def test_a_tile_cut_short_or_extended_cannot_be_told(shelf: Shelf) -> None:
    for path, data in list(shelf.files.items()):
        for other in (b"", data[:-1], data + b"\0", data + data[:32]):
            shelf.files[path] = other
            finding = told(shelf.audit(), CANNOT_TELL)
            assert finding.step == 3
            assert path in str(finding.actual)
        shelf.files[path] = data


def test_a_flipped_hash_is_named(shelf: Shelf) -> None:
    path = "tile/0/000"
    data = shelf.files[path]
    shelf.files[path] = data[:64] + bytes(32) + data[96:]
    finding = told(shelf.audit(), DOES_NOT_HOLD)
    assert finding.expected == f"hash 2 of {path}: {data[64:96].hex()}"


def test_tiles_swapped_do_not_hold(shelf: Shelf, large: list[bytes]) -> None:
    turned = shelve([*large[256:], *large[:256]])
    for path in shelf.files:
        if path in turned.files:
            mixed = Shelf(shelf.files | {path: turned.files[path]}, shelf.checkpoint)
            assert told(mixed.audit(), DOES_NOT_HOLD).step == 3


def test_the_tiles_of_another_log_do_not_hold(small: list[bytes]) -> None:
    other = make_genesis(log_origin=LOG.name, log_vkey=LOG.vkey, network="tally-other")
    theirs, ours = shelve(honest_log(genesis=other)), shelve(small)
    assert theirs.files.keys() == ours.files.keys()
    assert told(Shelf(theirs.files, ours.checkpoint).audit(), DOES_NOT_HOLD).step == 3
    # The same log key signed both, so the other log passes step 3, and is another chain.
    assert told(Shelf(theirs.files, theirs.checkpoint).audit(), DOES_NOT_HOLD).step == 4


def test_tiles_that_lag_behind_the_checkpoint_cannot_be_told(large: list[bytes]) -> None:
    newest = shelve(large)
    for size in (10, 255, 256, len(large) - 3):
        finding = told(Shelf(shelve(large[:size]).files, newest.checkpoint).audit(), CANNOT_TELL)
        assert finding.step == 3
        assert "lag behind its checkpoint" in str(finding.actual)


def test_hashes_that_are_not_shown_are_counted_and_not_missed(shelf: Shelf) -> None:
    shelf.files = {path: data for path, data in shelf.files.items() if path.startswith("tile/entries/")}
    report = shelf.audit()
    assert report.result is Result.HOLDS
    assert "; 0 of 3 tiles" in str(report.findings[2].actual)


def test_a_log_that_grew_meanwhile_holds_at_the_checkpoint_that_was_read(large: list[bytes]) -> None:
    sizes = [at + 1 for at, entry in enumerate(large) if isinstance(decode(entry).payload, say.BlockHeader)]
    for earlier, later in ((sizes[3], sizes[4]), (sizes[3], sizes[-1]), (sizes[-2], sizes[-1])):
        grown = Shelf(shelve(large[:later]).files, shelve(large[:earlier]).checkpoint)
        assert grown.audit().result is Result.HOLDS
        # What grew is read strictly, too: the prefix of a torn file is worth nothing.
        path = next(path for path in grown.files if path.startswith("tile/entries/"))
        grown.files[path] += b"\0"
        assert told(grown.audit(), CANNOT_TELL).step == 3


def test_entries_that_change_between_the_two_readings_are_noticed(small: list[bytes]) -> None:
    shelf, path = shelve(small), TileName(None, 0, len(small)).path
    otherwise = shelve(honest_log(amount=7))
    assert otherwise.audit().result is Result.HOLDS
    reads = iter((shelf.files[path], otherwise.files[path]))
    shelf.fetch = lambda wanted, _: next(reads) if wanted == path else None  # type: ignore[method-assign]
    finding = told(shelf.audit(), CANNOT_TELL)
    assert (finding.step, finding.actual) == (5, "the entries changed while they were read: verify again")


def test_a_checkpoint_over_very_many_entries_ends_at_the_first_missing_tile() -> None:
    shelf = Shelf({}, LOG.sign(f"{LOG.name}\n9007199254740991\n{'A' * 43}=\n"))
    assert told(shelf.audit(), CANNOT_TELL).step == 3


# --- the ledger's own rules cannot break these; the audit looks all the same


def test_money_from_nowhere_is_a_leak() -> None:
    replay = Replay(GENESIS)
    address = GENESIS.allocations[0].address
    replay.merge(Replayed(replay.position, {account_key(address): Account(str(RICH + 1))}, (), decode_any()))
    assert replay.leak is not None
    assert (replay.leak.expected, replay.leak.actual) == (f"{8 * RICH} wei", f"{8 * RICH + 1} wei")


def money_over(replay: Replay, shelf: Shelf) -> str:
    audit = History(ShownLog(shelf.genesis, shelf.checkpoint.encode(), shelf.fetch), TRUST)
    audit.replay = replay
    return next(step for step in PLAN if step.name == "money").run(audit)


def test_the_money_step_looks_at_supply_and_escrows(small: list[bytes]) -> None:
    shelf, replay = shelve(small), Replay(GENESIS)
    assert money_over(replay, shelf).startswith("the supply is ")
    replay.leak = VerificationError("supply", expected="1 wei", actual="2 wei")
    with pytest.raises(VerificationError, match="supply"):
        money_over(replay, shelf)
    replay.leak = None
    replay.records[job_key("j")] = Job(2, JobPhase.RUNNING, "", "", 1, 1, 1)
    replay.records[escrow_key("j", 1)] = Escrow("", EscrowState.LOCKED, "1", "0", "0", "0", balance="1")
    with pytest.raises(VerificationError, match="which is over"):
        money_over(replay, shelf)


def decode_any() -> object:
    return decode(sign(Draft(STRANGER, say.StakeDeposited("1")), TRUST.chain_id, 0).entry)


@pytest.mark.parametrize("phase", list(JobPhase))
@pytest.mark.parametrize("state", list(EscrowState))
def test_an_ended_job_holds_no_money(phase: JobPhase, state: EscrowState) -> None:
    job = Job(attempt=2, phase=phase, requester="", submitted="", microjobs=1, size=1, slots=1)
    escrow = Escrow("", state, "1", "0", "0", "0", balance="1")
    held = state in {EscrowState.LOCKED, EscrowState.DISPUTED}
    over = phase not in {
        JobPhase.SUBMITTED,
        JobPhase.SCHEDULED,
        JobPhase.RUNNING,
        JobPhase.CLOSED,
        JobPhase.CHALLENGED,
    }
    for attempt, ended in ((1, True), (2, over), (3, False)):
        records = {job_key("j"): job, escrow_key("j", attempt): escrow}
        if held and ended:
            with pytest.raises(VerificationError, match=f"escrow of job j, attempt {attempt}, which is over"):
                check_escrows(records)
        else:
            check_escrows(records)


def test_an_escrow_before_its_order_is_open() -> None:
    check_escrows({escrow_key("j", 1): Escrow("", EscrowState.LOCKED, "1", "0", "0", "0", balance="1")})
