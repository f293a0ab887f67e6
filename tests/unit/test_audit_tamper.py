"""What somebody without the keys may do to a bundle: nothing of it holds."""

from __future__ import annotations

import json
from collections.abc import Callable

import msgspec
import pytest

from tallystick.audit.bundle import Bundle, parse, spell
from tallystick.audit.findings import Report, Result
from tallystick.audit.trust import CoordinatorPin, LogPin, Trust
from tallystick.audit.verify import Shown, verify_bundle
from tallystick.errors import MalformedError
from tallystick.ledger import payloads as say
from tallystick.ledger.transactions import Draft, decode, sign
from tallystick.primitives.keys import SigningKey
from tallystick.primitives.notes import NoteSigner, WitnessSigner
from tallystick.verification.verdict import Reason, Verdict
from tests.audit_world import Ledger, Played, Wish, enrolled, play, secret

replace = msgspec.structs.replace
OTHER = "ab" * 32
THIEF = SigningKey(secret("thief"))


def audit(bundle: Bundle | bytes, trust: Trust) -> Report:
    return verify_bundle(Shown(bundle if isinstance(bundle, bytes) else spell(bundle)), trust)


def first_broken(report: Report) -> int:
    assert report.result is Result.DOES_NOT_HOLD
    return next(finding.step for finding in report.findings if finding.result is Result.DOES_NOT_HOLD)


@pytest.fixture(scope="module")
def played() -> Played:
    """Two workers of three are honest; a second attempt; entries of others between."""
    return play(Wish(lies={1: "forge"}, failed_first=True, interrupt=True))


@pytest.fixture(scope="module")
def pair() -> tuple[Played, Played]:
    """Two jobs of one ledger, both bundled under a checkpoint over both."""
    ledger = enrolled(Wish())
    one, two = play(Wish(job_id="job-1"), ledger), play(Wish(job_id="job-2"), ledger)
    entries = ledger.logged([each.index for each in one.bundle.entries])
    later = replace(one.bundle, entries=entries, checkpoint=ledger.checkpoint())
    return Played(ledger, later, one.picture, one.sidecar, one.source, one.claim), two


def position_of(bundle: Bundle, kind: type) -> int:
    """Where in a bundle the last entry of a type stands."""
    return max(at for at, each in enumerate(bundle.entries) if isinstance(decode(bytes(each.entry)).payload, kind))


def with_entry(bundle: Bundle, at: int, entry: bytes) -> Bundle:
    entries = list(bundle.entries)
    entries[at] = replace(entries[at], entry=msgspec.Raw(entry))
    return replace(bundle, entries=tuple(entries))


def resigned(bundle: Bundle, at: int, payload: say.Payload, key: SigningKey = THIEF) -> Bundle:
    """Change what an entry says and sign it with another key."""
    old = decode(bytes(bundle.entries[at].entry))
    return with_entry(bundle, at, sign(Draft(key, payload), old.chain_id, old.nonce).entry)


# Signed by other keys.


def test_a_whole_record_under_other_keys_does_not_hold(played: Played) -> None:
    assert first_broken(audit(play(ledger=_enrolled("thief")).bundle, played.trust)) == 2


def _enrolled(name: str) -> Ledger:
    ledger = Ledger(name)
    ledger.enroll(3, 3)
    return ledger


def test_a_checkpoint_by_another_key_of_the_same_name_does_not_hold(played: Played) -> None:
    signer = NoteSigner(played.ledger.log.name, secret("thief"))
    text = played.bundle.checkpoint.split("\n\n")[0] + "\n"
    assert first_broken(audit(replace(played.bundle, checkpoint=signer.sign(text)), played.trust)) == 3


def test_a_signature_that_nobody_pinned_beside_the_right_one_does_not_hold(played: Played) -> None:
    note = WitnessSigner("witness", secret("thief")).cosign(played.bundle.checkpoint, 1)
    assert first_broken(audit(replace(played.bundle, checkpoint=note), played.trust)) == 3


def test_a_checkpoint_of_another_origin_by_the_pinned_key_does_not_hold(played: Played) -> None:
    text = played.bundle.checkpoint.split("\n\n")[0].replace("log.example/home", "log.example/away") + "\n"
    assert first_broken(audit(replace(played.bundle, checkpoint=played.ledger.log.sign(text)), played.trust)) == 3


def test_another_genesis_does_not_hold(played: Played) -> None:
    genesis = replace(played.bundle.genesis, coordinator=THIEF.public.hex())
    assert first_broken(audit(replace(played.bundle, genesis=genesis), played.trust)) == 2


def test_a_coordinator_that_is_not_pinned_does_not_hold(played: Played) -> None:
    trust = replace(played.trust, coordinators=(CoordinatorPin(key=THIEF.public.hex(), first=0),))
    assert first_broken(audit(played.bundle, trust)) == 2


def test_an_entry_outside_the_coordinators_range_does_not_hold(played: Played) -> None:
    key = played.ledger.coordinator.public.hex()
    trust = replace(played.trust, coordinators=(CoordinatorPin(key=key, first=0, last=20),))
    assert first_broken(audit(played.bundle, trust)) == 4


def test_a_checkpoint_outside_the_logs_range_does_not_hold(played: Played) -> None:
    size = len(played.ledger.log_entries)
    pin = played.trust.log
    short = LogPin(origin=pin.origin, vkey=pin.vkey, first=0, last=size - 2)
    assert first_broken(audit(played.bundle, replace(played.trust, log=short))) == 3
    exact = LogPin(origin=pin.origin, vkey=pin.vkey, first=0, last=size - 1)
    assert audit(played.bundle, replace(played.trust, log=exact)).result is Result.HOLDS


@pytest.mark.parametrize(
    "kind", [say.NodeRegistered, say.JobSubmitted, say.SubmitResult, say.JobSettled, say.BlockHeader]
)
def test_an_entry_signed_again_by_another_key_does_not_hold(played: Played, kind: type) -> None:
    at = position_of(played.bundle, kind)
    payload = decode(bytes(played.bundle.entries[at].entry)).payload
    assert first_broken(audit(resigned(played.bundle, at, payload), played.trust)) == 4


# Changed.


def test_an_entry_changed_and_signed_again_by_its_own_key_does_not_hold(played: Played) -> None:
    at = position_of(played.bundle, say.JobCompleted)
    payload = replace(decode(bytes(played.bundle.entries[at].entry)).payload, output=OTHER)
    changed = resigned(played.bundle, at, payload, played.ledger.coordinator)
    assert first_broken(audit(changed, played.trust)) == 4


def test_an_entry_changed_under_its_old_signature_does_not_hold(played: Played) -> None:
    at = position_of(played.bundle, say.JobScheduled)
    entry = bytes(played.bundle.entries[at].entry)
    fields = json.loads(entry)
    fields["payload"]["assignments_root"] = OTHER
    changed = with_entry(played.bundle, at, json.dumps(fields, separators=(",", ":"), sort_keys=True).encode())
    assert first_broken(audit(changed, played.trust)) == 4


@pytest.mark.parametrize(
    "change",
    [
        lambda line: replace(line, payee=THIEF.address),
        lambda line: replace(line, amount=line.amount + "0"),
    ],
    ids=["payee", "amount"],
)
def test_a_payee_or_an_amount_changed_does_not_hold(
    played: Played, change: Callable[[say.SettlementLine], say.SettlementLine]
) -> None:
    at = position_of(played.bundle, say.JobSettled)
    payload = decode(bytes(played.bundle.entries[at].entry)).payload
    assert isinstance(payload, say.JobSettled)
    lines = (change(payload.lines[0]), *payload.lines[1:])
    for key in (THIEF, played.ledger.coordinator):
        changed = resigned(played.bundle, at, replace(payload, lines=lines), key)
        assert first_broken(audit(changed, played.trust)) == 4


def verdict_changes() -> dict[str, Callable[[Bundle], Bundle]]:
    def line(change: Callable) -> Callable[[Bundle], Bundle]:
        return lambda bundle: replace(bundle, verdicts=(change(bundle.verdicts[0]), *bundle.verdicts[1:]))

    def slot(**changes: object) -> Callable[[Bundle], Bundle]:
        return line(lambda each: replace(each, slots=(replace(each.slots[0], **changes), *each.slots[1:])))

    return {
        "accepted": line(lambda each: replace(each, accepted=OTHER)),
        "reference": line(lambda each: replace(each, reference=OTHER)),
        "no reference": line(lambda each: replace(each, reference=None)),
        "block": line(lambda each: replace(each, block=1)),
        "no slots": line(lambda each: replace(each, slots=())),
        "verdict": slot(verdict=Verdict.UNAVAILABLE),
        "reason": slot(reason=Reason.UNCHECKED),
        "worker": slot(worker=THIEF.public.hex()),
        "digest": slot(digest=OTHER),
        "copy": lambda bundle: replace(bundle, verdicts=tuple(reversed(bundle.verdicts))),
        "left out": lambda bundle: replace(bundle, verdicts=bundle.verdicts[:-1]),
        "twice": lambda bundle: replace(bundle, verdicts=(*bundle.verdicts, bundle.verdicts[-1])),
        "all left out": lambda bundle: replace(bundle, verdicts=()),
    }


@pytest.mark.parametrize("change", verdict_changes().values(), ids=verdict_changes().keys())
def test_a_verdict_changed_does_not_hold(played: Played, change: Callable[[Bundle], Bundle]) -> None:
    assert first_broken(audit(change(played.bundle), played.trust)) == 11


def submission_changes() -> dict[str, Callable[[Bundle], Bundle]]:
    def shown(**changes: object) -> Callable[[Bundle], Bundle]:
        return lambda bundle: replace(
            bundle, submissions=(replace(bundle.submissions[0], **changes), *bundle.submissions[1:])
        )

    def first(name: str, **changes: object) -> Callable[[Bundle], Bundle]:
        def change(bundle: Bundle) -> Bundle:
            each = getattr(bundle.submissions[0], name)
            return shown(**{name: (replace(each[0], **changes), *each[1:])})(bundle)

        return change

    return {
        "meta": shown(meta=OTHER),
        "no openings": shown(openings=None),
        "fewer openings": shown(openings=()),
        "fewer delivered": shown(delivered=()),
        "delivered digest": first("delivered", digest=OTHER),
        "delivered length": first("delivered", length=1),
        "salt": first("openings", salt=OTHER),
        "leaf": first("openings", leaf=OTHER),
        "number": shown(microjob=1),
        "number beyond all": shown(microjob=2**52),
        "reordered": lambda bundle: replace(bundle, submissions=tuple(reversed(bundle.submissions))),
        "left out": lambda bundle: replace(bundle, submissions=bundle.submissions[:-1]),
        "twice": lambda bundle: replace(bundle, submissions=(*bundle.submissions, bundle.submissions[-1])),
    }


@pytest.mark.parametrize("change", submission_changes().values(), ids=submission_changes().keys())
def test_a_submission_changed_does_not_hold(played: Played, change: Callable[[Bundle], Bundle]) -> None:
    assert first_broken(audit(change(played.bundle), played.trust)) in {9, 11}


def test_a_delivery_called_missing_does_not_hold(played: Played) -> None:
    blank = replace(played.bundle.submissions[0], delivered=None, openings=None, meta="00" * 32)
    changed = replace(played.bundle, submissions=(blank, *played.bundle.submissions[1:]))
    assert first_broken(audit(changed, played.trust)) == 9


@pytest.mark.parametrize("lie", ["withhold", "absent"])
def test_nothing_can_be_said_about_what_never_came(lie: str) -> None:
    played = play(Wish(lies={0: lie}))
    assert audit(played.bundle, played.trust).result is Result.HOLDS
    shown = played.bundle.submissions[0]
    for changed in (replace(shown, meta=OTHER), replace(shown, openings=()), replace(shown, delivered=())):
        bundle = replace(played.bundle, submissions=(changed, *played.bundle.submissions[1:]))
        assert first_broken(audit(bundle, played.trust)) in {9, 11}


@pytest.mark.parametrize("name", ["input", "output", "artifact", "sidecar"])
@pytest.mark.parametrize("part", ["salt", "value"])
def test_a_disclosure_changed_does_not_hold(played: Played, name: str, part: str) -> None:
    shown = getattr(played.bundle.disclosures, name)
    changed = replace(shown, **{part: OTHER[: len(getattr(shown, part))]})
    disclosures = replace(played.bundle.disclosures, **{name: changed})
    assert first_broken(audit(replace(played.bundle, disclosures=disclosures), played.trust)) == 15


def test_disclosures_exchanged_do_not_hold(played: Played) -> None:
    shown = played.bundle.disclosures
    exchanged = replace(shown, artifact=shown.sidecar, sidecar=shown.artifact)
    assert first_broken(audit(replace(played.bundle, disclosures=exchanged), played.trust)) == 15


@pytest.mark.parametrize("changes", [{"job_id": "job-9"}, {"attempt": 1}, {"attempt": 3}])
def test_another_name_of_the_job_does_not_hold(played: Played, changes: dict[str, object]) -> None:
    assert first_broken(audit(replace(played.bundle, **changes), played.trust)) == 6


# Reordered, left out, twice.


def test_entries_reordered_do_not_hold(played: Played) -> None:
    entries = list(played.bundle.entries)
    for at in range(len(entries) - 1):
        swapped = [*entries[:at], entries[at + 1], entries[at], *entries[at + 2 :]]
        assert first_broken(audit(replace(played.bundle, entries=tuple(swapped)), played.trust)) == 4


def test_entries_that_exchange_their_places_in_the_log_do_not_hold(played: Played) -> None:
    one, two, *rest = played.bundle.entries
    exchanged = (replace(two, index=one.index), replace(one, index=two.index), *rest)
    assert first_broken(audit(replace(played.bundle, entries=exchanged), played.trust)) == 4


def test_an_entry_twice_does_not_hold(played: Played) -> None:
    entries = (played.bundle.entries[0], *played.bundle.entries)
    assert first_broken(audit(replace(played.bundle, entries=entries), played.trust)) == 4


def test_any_entry_left_out_does_not_hold(played: Played) -> None:
    seen = set()
    for at, left_out in enumerate(played.bundle.entries):
        entries = played.bundle.entries[:at] + played.bundle.entries[at + 1 :]
        first_broken(audit(replace(played.bundle, entries=entries), played.trust))
        seen.add(decode(bytes(left_out.entry)).type)
    assert seen == {
        "NodeRegistered",
        "StakeDeposited",
        "EscrowLocked",
        "EscrowRefunded",
        "JobFailed",
        "JobSubmitted",
        "JobScheduled",
        "JobStarted",
        "JobProgressUpdate",
        "SUBMIT_RESULT",
        "UploadsClosed",
        "ChallengeDrawn",
        "JobSettled",
        "JobCompleted",
        "ArtifactPublished",
        "BlockHeader",
    }


def test_all_entries_of_a_type_left_out_do_not_hold(played: Played) -> None:
    types = [decode(bytes(each.entry)).type for each in played.bundle.entries]
    for name in sorted(set(types)):
        entries = tuple(each for each, kind in zip(played.bundle.entries, types, strict=True) if kind != name)
        report = audit(replace(played.bundle, entries=entries), played.trust)
        assert report.result is Result.DOES_NOT_HOLD, name


def test_a_job_in_its_first_block_needs_no_header_before_it() -> None:
    """The order stands in block 2, so the bundle begins with the first header of the log, and dropping it shows."""
    ledger = Ledger()
    ledger.enroll(3, 3)
    del ledger.log_entries[-2:]  # forget the stranger's block, which nothing depends on
    ledger = _only_pool()
    played = play(ledger=ledger)
    headers = [each for each in played.bundle.entries if isinstance(decode(bytes(each.entry)).payload, say.BlockHeader)]
    assert audit(played.bundle, played.trust).result is Result.HOLDS
    entries = tuple(each for each in played.bundle.entries if each is not headers[0])
    assert first_broken(audit(replace(played.bundle, entries=entries), played.trust)) == 5


def _only_pool() -> Ledger:
    ledger = Ledger()
    accept = ledger.block

    def block(*said: tuple[SigningKey, say.Payload], lawful: bool = True) -> int:
        idle = all(isinstance(payload, say.Transfer) for _, payload in said)
        return 0 if idle else accept(*said, lawful=lawful)

    ledger.block = block  # type: ignore[method-assign]
    ledger.enroll(3, 3)
    return ledger


def test_headers_beyond_the_jobs_blocks_do_not_hold(played: Played) -> None:
    indices = [each.index for each in played.bundle.entries]
    last = len(played.ledger.log_entries) - 1
    bundle = replace(played.bundle, entries=played.ledger.logged([*indices, last]))
    assert first_broken(audit(bundle, played.trust)) == 5


def test_bonds_from_after_the_job_may_be_shown() -> None:
    """A bundle that is written anew after later jobs holds the pool's later bonds, too."""
    ledger = enrolled(Wish())
    played = play(ledger=ledger)
    index = ledger.block((ledger.workers[0], say.StakeDeposited("5")), (ledger.workers[0], say.StakeWithdrawn("5")))
    entries = ledger.logged([*(each.index for each in played.bundle.entries), index, index + 1])
    later = replace(played.bundle, entries=entries, checkpoint=ledger.checkpoint())
    assert audit(later, played.trust).result is Result.HOLDS


def test_a_strangers_entry_does_not_hold(played: Played) -> None:
    indices = [each.index for each in played.bundle.entries]
    transfers = [at for at, each in enumerate(played.ledger.log_entries) if isinstance(each.payload, say.Transfer)]
    bundle = replace(played.bundle, entries=played.ledger.logged(sorted([*indices, transfers[0]])))
    assert first_broken(audit(bundle, played.trust)) == 6


# Incomplete: the job has not ended as far as the bundle shows.


def test_a_job_that_has_not_ended_cannot_be_told(played: Played) -> None:
    position = position_of(played.bundle, say.ChallengeDrawn)
    after = next(
        at
        for at, each in enumerate(played.bundle.entries)
        if at > position and isinstance(decode(bytes(each.entry)).payload, say.BlockHeader)
    )
    report = audit(replace(played.bundle, entries=played.bundle.entries[: after + 1]), played.trust)
    assert report.result is Result.CANNOT_TELL
    assert next(finding.actual for finding in report.findings if finding.step == 6) == (
        "incomplete: the job is challenged, so there is no result to judge"
    )


def test_a_bundle_without_entries_cannot_be_told(played: Played) -> None:
    assert audit(replace(played.bundle, entries=()), played.trust).result is Result.CANNOT_TELL


# Spliced from two jobs.


def test_both_jobs_of_a_ledger_hold(pair: tuple[Played, Played]) -> None:
    for each in pair:
        assert audit(each.bundle, each.trust).result is Result.HOLDS


def test_an_entry_of_another_job_added_does_not_hold(pair: tuple[Played, Played]) -> None:
    one, two = pair
    indices = {each.index for each in one.bundle.entries}
    for foreign in two.bundle.entries:
        if foreign.index not in indices:
            entries = one.ledger.logged(sorted({*indices, foreign.index}))
            report = audit(replace(one.bundle, entries=entries, checkpoint=one.ledger.checkpoint()), one.trust)
            assert first_broken(report) in {5, 6}


def test_an_entry_replaced_by_another_jobs_does_not_hold(pair: tuple[Played, Played]) -> None:
    one, two = pair
    for kind in (say.EscrowLocked, say.JobSubmitted, say.SubmitResult, say.JobSettled, say.ArtifactPublished):
        theirs = two.bundle.entries[position_of(two.bundle, kind)].index
        mine = one.bundle.entries[position_of(one.bundle, kind)].index
        indices = sorted({theirs, *(each.index for each in one.bundle.entries if each.index != mine)})
        bundle = replace(one.bundle, entries=one.ledger.logged(indices), checkpoint=one.ledger.checkpoint())
        assert first_broken(audit(bundle, one.trust)) in {5, 6}


@pytest.mark.parametrize("part", ["submissions", "verdicts", "disclosures", "entries", "checkpoint"])
def test_a_part_of_another_jobs_bundle_does_not_hold(pair: tuple[Played, Played], part: str) -> None:
    one, _ = pair
    other = play(Wish(job_id="job-3"), _enrolled_again())
    spliced = replace(one.bundle, **{part: getattr(other.bundle, part)})
    first_broken(audit(spliced, one.trust))


def _enrolled_again() -> Ledger:
    return enrolled(Wish())


@pytest.mark.parametrize("part", ["submissions", "verdicts", "disclosures", "entries"])
def test_a_part_of_another_job_of_the_same_ledger_does_not_hold(pair: tuple[Played, Played], part: str) -> None:
    one, two = pair
    spliced = replace(one.bundle, **{part: getattr(two.bundle, part)}, checkpoint=one.ledger.checkpoint())
    first_broken(audit(spliced, one.trust))


def test_two_jobs_in_one_bundle_do_not_hold(pair: tuple[Played, Played]) -> None:
    one, two = pair
    indices = sorted({each.index for each in (*one.bundle.entries, *two.bundle.entries)})
    both = replace(one.bundle, entries=one.ledger.logged(indices), checkpoint=one.ledger.checkpoint())
    assert first_broken(audit(both, one.trust)) in {5, 6}


# Any byte, and what is no bundle.


def other_bytes(value: int) -> tuple[int, ...]:
    """A flipped bit, and another digit where a digit stands."""
    digits = b"0123456789abcdef"
    return (value ^ 1, digits[(digits.index(value) + 7) % 16]) if value in digits else (value ^ 1, value ^ 0x80)


@pytest.mark.parametrize("lie", ["forge", "swap", "garble", "mute", "withhold", "absent"])
def test_no_byte_of_a_bundle_can_change_unseen(lie: str) -> None:
    played = play(Wish(workers=2, operators=2, size=(20, 12), lies={1: lie}))
    offset = len(lie)
    data = spell(played.bundle)
    assert audit(data, played.trust).result is Result.HOLDS
    for position in range(offset, len(data), 61):
        for value in other_bytes(data[position]):
            flipped = data[:position] + bytes((value,)) + data[position + 1 :]
            try:
                report = audit(flipped, played.trust)
            except MalformedError:
                continue
            assert report.result is not Result.HOLDS, position


def test_a_bundle_has_one_spelling(played: Played) -> None:
    data = spell(played.bundle)
    assert spell(parse(data)) == data
    assert parse(data) == played.bundle


def malformed(data: bytes) -> dict[str, bytes]:
    return {
        "empty": b"",
        "nothing": b"null",
        "another value": b"[]",
        "no fields": b"{}",
        "truncated": data[:-1],
        "half": data[: len(data) // 2],
        "no text": b"\xff\xfe" + data,
        "a picture": b"\x89PNG\r\n\x1a\n" + data,
        "white space": data + b"\n",
        "white space inside": data.replace(b",", b", ", 1),
        "a duplicate key": b'{"attempt":1,' + data[1:],
        "an unknown key": b'{"a":1,' + data[1:],
        "another format": data.replace(b"bundle/v1", b"bundle/v2"),
        "a float": data.replace(b'"attempt":2', b'"attempt":2.0', 1),
        "a number beyond 2^53": data.replace(b'"attempt":2', b'"attempt":99999999999999999999', 1),
        "a long number": data.replace(b'"attempt":2', b'"attempt":' + b"9" * 10_000, 1),
        "not a number": data.replace(b'"attempt":2', b'"attempt":NaN', 1),
        "an escape": data.replace(b'"job_id"', b'"job\\u005fid"', 1),
        "a lone surrogate": data.replace(b'"job_id":"job-1"', b'"job_id":"\\ud800"', 1),
        "deep nesting": b"[" * 200_000,
        "deep nesting inside": b'{"attempt":' + b'{"a":' * 100_000,
        "deep nesting in an entry": data.replace(
            b'"entry":{', b'"entry":' + b"[" * 50_000 + b"]" * 50_000 + b',"x":{', 1
        ),
        "white space in an entry": data.replace(b'"entry":{', b'"entry":{ ', 1),
        "a duplicate key in an entry": data.replace(b'"entry":{', b'"entry":{"chain_id":"x",', 1),
        "digits in capitals": data.replace(b'"salt":"', b'"salt":"A', 1),
    }


@pytest.mark.parametrize("name", malformed(b"").keys())
def test_what_is_no_bundle_is_malformed(played: Played, name: str) -> None:
    data = malformed(spell(played.bundle))[name]
    with pytest.raises(MalformedError) as caught:
        audit(data, played.trust)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"type":"JobStarted"', b'"type":"JobStopped"'),
        (b'"type":"JobStarted"', b'"type":"JobFailed"'),
        (b'"gas_price":0', b'"gas_price":-1'),
        (b'"gas_price":0', b'"gas_price":"0"'),
        (b'"nonce":0', b'"nonce":0,"o":0'),
        (b'"simulated":false', b'"simulated":0'),
        (b'"tier":"declared"', b'"tier":"golden"'),
    ],
)
def test_an_entry_that_is_none_cannot_be_told(played: Played, old: bytes, new: bytes) -> None:
    data = spell(played.bundle)
    assert old in data
    report = audit(data.replace(old, new, 1), played.trust)
    assert report.result is Result.CANNOT_TELL
    assert next(finding.result for finding in report.findings if finding.step == 4) is Result.CANNOT_TELL


@pytest.mark.parametrize("note", ["", "x", "log.example/home\n1\nAAAA\n", "\n\n", "a\n\n— b c\n"])
def test_a_checkpoint_that_is_none_never_holds(played: Played, note: str) -> None:
    report = audit(replace(played.bundle, checkpoint=note), played.trust)
    assert report.result is Result.CANNOT_TELL
