"""What holds, and what does not although the true coordinator and the true log signed it."""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec
import pytest

from tallystick.audit.bundle import spell
from tallystick.audit.files import Pictures, sort_pictures
from tallystick.audit.findings import Report, Result, printable
from tallystick.audit.findings import spell as spell_report
from tallystick.audit.verify import PLAN, STEPS, Shown, verify_bundle
from tallystick.errors import CredentialError, UsageError
from tallystick.job import Placement, VerificationClass
from tallystick.ledger import payloads as say
from tallystick.primitives.keys import SigningKey
from tests.audit_world import (
    START,
    Ledger,
    Payload,
    Played,
    Twist,
    Wish,
    decode_picture,
    encode_picture,
    enrolled,
    play,
    secret,
)


def audit(played: Played, **shown: object) -> Report:
    """Verify a played job with its files, or with those given instead."""
    files = {"output": played.picture, "sidecar": played.sidecar, "source": None, **shown}
    return verify_bundle(
        Shown(spell(played.bundle), **files),
        played.trust,
        decode=decode_picture,
        credentials=lambda _data, _store: played.claim,
        recompute=files["source"] is not None,
    )


def results(report: Report) -> dict[int, Result]:
    return {finding.step: finding.result for finding in report.findings}


def broken(report: Report) -> list[int]:
    return [step for step, result in results(report).items() if result is Result.DOES_NOT_HOLD]


@pytest.fixture(scope="module")
def honest() -> Played:
    return play()


WORLDS = {
    "three honest workers": Wish(),
    "one worker forges": Wish(lies={1: "forge"}),
    "one worker delivers other bytes than it committed to": Wish(lies={0: "swap"}),
    "one worker opens other leaves": Wish(lies={0: "garble"}),
    "one worker does not deliver": Wish(lies={0: "withhold"}),
    "one worker never commits": Wish(lies={2: "absent"}),
    "one worker does not open": Wish(lies={0: "mute"}),
    "everybody forges": Wish(lies={0: "forge", 1: "forge", 2: "forge"}),
    "everybody is absent": Wish(lies={0: "absent", 1: "absent", 2: "absent"}),
    "the referee computes the copies": Wish(operators=1),
    "the buyer stays silent": Wish(buyer_silent=True),
    "a second attempt, with strangers' entries between": Wish(failed_first=True, interrupt=True),
    "no audits, and the label for it": Wish(audit=0, labels=("deterrence: none",)),
    "one block": Wish(workers=1, operators=1, size=(3, 2)),
    "more workers than micro jobs": Wish(workers=4, operators=4, size=(3, 2), duplicates=0),
    "simulated workers": Wish(simulated=True),
}


@pytest.mark.parametrize("wish", WORLDS.values(), ids=WORLDS.keys())
def test_an_honest_record_holds_whatever_the_workers_did(wish: Wish) -> None:
    played = play(wish)
    report = audit(played, source=played.source)
    assert results(report) == dict.fromkeys(range(1, STEPS + 1), Result.HOLDS) | {19: Result.NOTE, 20: Result.NOTE}
    assert report.result is Result.HOLDS


def test_the_plan_is_numbered_without_gaps_and_builds_on_what_came_before() -> None:
    assert [step.number for step in PLAN] == list(range(2, STEPS + 1))
    assert all(need < step.number for step in PLAN for need in step.needs)


def test_the_docstring_names_every_step() -> None:
    import tallystick.audit.verify as module

    for step in PLAN:
        assert f"{step.number:2} {step.name} " in (module.__doc__ or "")


def test_a_bundle_alone_holds_and_says_that_the_output_was_not_shown(honest: Played) -> None:
    report = verify_bundle(Shown(spell(honest.bundle)), honest.trust)
    assert report.result is Result.HOLDS
    notes = {finding.name: finding.actual for finding in report.findings if finding.result is Result.NOTE}
    assert notes == {
        "output": "output not shown",
        "sidecar": "sidecar not shown",
        "credentials": "output not shown",
        "anchor": f"not anchored: `tally anchor`, then `tally bundle {honest.bundle.job_id} --out FILE`",
        "labels": "of 20 blocks 20 recomputed, 0 with agreeing copies, 0 unchecked",
        "recompute": "not asked for",
    }


def test_labels_are_named() -> None:
    played = play(Wish(buyer_silent=True, simulated=True, labels=("independence: none",)))
    labels = next(finding for finding in audit(played).findings if finding.name == "labels")
    assert labels.actual.endswith("unchecked; challenge: operator-drawn; independence: none; simulated")


def test_work_that_nobody_looked_at_is_not_called_checked() -> None:
    played = play(Wish(audit=0, duplicates=200_000, labels=("deterrence: none",)))
    said = {finding.name: finding.actual for finding in audit(played).findings}
    counts = [int(word) for word in re.findall(r"\d+", said["labels"].split(";")[0])]
    blocks, ran, agree, unchecked = counts
    assert (ran, ran + agree + unchecked) == (0, blocks)
    assert agree > 0
    assert unchecked > 0
    assert said["verdicts"].endswith(said["labels"].split(";")[0])


def test_the_report_is_spelled_as_others_rely_on(honest: Played) -> None:
    spelled = msgspec.json.decode(spell_report(audit(honest)))
    assert list(spelled) == ["result", "findings"]
    assert spelled["result"] == "holds"
    assert {tuple(finding) for finding in spelled["findings"]} == {("step", "name", "result", "expected", "actual")}


def test_evidence_from_strangers_is_safe_to_print() -> None:
    assert printable("a\x1b[31m\nb\u202e") == "a?[31m?b?"
    assert len(printable("x" * 5000)) == 400


# What the coordinator may lie about, field by field, and the step that says so.


def lie(kind: type[Payload], **changes: object) -> Twist:
    return lambda payload: msgspec.structs.replace(payload, **changes) if isinstance(payload, kind) else payload


def lie_in_line(number: int, **changes: object) -> Twist:
    def twist(payload: Payload) -> Payload:
        if not isinstance(payload, say.JobSettled):
            return payload
        lines = list(payload.lines)
        lines[number] = msgspec.structs.replace(lines[number], **changes)
        return msgspec.structs.replace(payload, lines=tuple(lines))

    return twist


OTHER = "ab" * 32
STRANGER = SigningKey(secret("somebody", "else"))
LIES: dict[str, tuple[Twist, int]] = {
    "escrow below the quote": (lie(say.EscrowLocked, work="1"), 13),
    "escrow of another attempt": (lie(say.EscrowLocked, attempt=2), 6),
    "escrow of another job": (lie(say.EscrowLocked, job_id="job-2"), 6),
    "order with another commitment of the coordinator": (lie(say.JobSubmitted, assign_commitment=OTHER), 8),
    "order with another commitment of the buyer": (lie(say.JobSubmitted, buyer_commitment=OTHER), 8),
    "schedule over other assignments": (lie(say.JobScheduled, assignments_root=OTHER), 9),
    "schedule with another count": (lie(say.JobScheduled, microjobs=1), 9),
    "start of another attempt": (lie(say.JobStarted, attempt=2), 6),
    "progress out of number": (lie(say.JobProgressUpdate, sequence=2), 6),
    "progress beyond its total": (lie(say.JobProgressUpdate, done=99), 6),
    "progress of another total": (lie(say.JobProgressUpdate, total=99), 6),
    "result with another root": (lie(say.SubmitResult, result_hash=OTHER), 9),
    "result with another size": (lie(say.SubmitResult, tree_size=1), 9),
    "result of another class": (lie(say.SubmitResult, class_id=OTHER), 9),
    "result of another address": (lie(say.SubmitResult, worker_address=STRANGER.address), 9),
    "result with another inner signature": (lie(say.SubmitResult, signature="11" * 64), 9),
    "result for one micro job only": (lie(say.SubmitResult, microjob=0), 6),
    "closing over other roots": (lie(say.UploadsClosed, roots_root=OTHER), 9),
    "closing that calls delivered bytes missing": (lie(say.UploadsClosed, missing=(0,)), 6),
    "challenge after another header": (lie(say.ChallengeDrawn, header=OTHER), 10),
    "challenge over other roots": (lie(say.ChallengeDrawn, roots_root=OTHER), 10),
    "another challenge": (lie(say.ChallengeDrawn, challenge=OTHER), 10),
    "challenge with another secret": (lie(say.ChallengeDrawn, secret=OTHER), 8),
    "challenge with the coordinator's secret, as if it were the buyer's": (
        lie(say.ChallengeDrawn, drawn_by=say.Drawer.OPERATOR),
        8,
    ),
    "settlement with another assignment secret": (lie(say.JobSettled, assign_secret=OTHER), 8),
    "settlement over other verdicts": (lie(say.JobSettled, verdicts_root=OTHER), 11),
    "settlement over other results": (lie(say.JobSettled, results_root=OTHER), 12),
    "settlement with a payee changed": (lie_in_line(0, payee=STRANGER.address), 7),
    "settlement with an amount changed": (lie_in_line(1, amount="999"), 13),
    "settlement with a slash changed": (lie_in_line(1, slashed="1"), 13),
    "settlement with more accepted blocks": (lie_in_line(1, accepted=99), 13),
    "settlement with a refuted block": (lie_in_line(1, refuted=1, faulted=1), 13),
    "settlement with an unavailable block": (lie_in_line(1, unavailable=1, absent=1), 13),
    "settlement of another worker": (lie_in_line(2, worker=STRANGER.public.hex()), 7),
    "settlement without a line": (lie(say.JobSettled, lines=()), 7),
    "settlement with another fee": (lie(say.JobSettled, referee_fee="1"), 13),
    "settlement with another burn": (lie(say.JobSettled, burned="1"), 13),
    "settlement with another refund": (lie(say.JobSettled, refund="1"), 13),
    "settlement with other copies": (lie(say.JobSettled, copies=7), 13),
    "settlement with other audits": (lie(say.JobSettled, audited=1), 13),
    "settlement with other redone blocks": (lie(say.JobSettled, redone=1), 13),
    "settlement with another count of verdicts": (lie(say.JobSettled, verdicts=1), 13),
    "settlement with another count of results": (lie(say.JobSettled, results=1), 13),
    "completion with another output": (lie(say.JobCompleted, output=OTHER), 15),
    "completion with another size": (lie(say.JobCompleted, width=1), 14),
    "publication of another file": (lie(say.ArtifactPublished, artifact=OTHER), 15),
    "publication of another sidecar": (lie(say.ArtifactPublished, sidecar=OTHER), 15),
}


@pytest.mark.parametrize(("twist", "step"), LIES.values(), ids=LIES.keys())
def test_what_the_coordinator_signs_wrongly_does_not_hold(twist: Twist, step: int) -> None:
    report = audit(play(Wish(twist=twist)))
    assert broken(report)[0] == step
    assert report.result is Result.DOES_NOT_HOLD


def test_a_result_for_a_micro_job_beyond_all_numbers_does_not_hold() -> None:
    seen = []

    def twist(payload: Payload) -> Payload:
        if isinstance(payload, say.SubmitResult):
            seen.append(payload)
            return msgspec.structs.replace(payload, microjob=2**50 + len(seen))
        return payload

    assert broken(audit(play(Wish(twist=twist))))[0] == 9


BIG = str(10**77)
ODD_ORDERS: dict[str, dict[str, dict[str, object]]] = {
    "more blocks than a job may have": {"grid": {"block": 8}, "task": {"target_width": 10**6, "target_height": 10**6}},
    "one block": {"grid": {"block": 4096}},
    "a target of one pixel": {"task": {"target_width": 1, "target_height": 1}},
    "many slots a micro job": {"grid": {"blocks_per_microjob": 4096}, "policy": {"audit_blocks": 4096}},
    "stakes beyond all money": {"policy": {"stake": BIG, "absence": BIG, "gain": BIG}},
    "prices beyond all money": {"price": {"block": BIG, "referee_block": BIG}},
    "an amount beyond 2^256": {"price": {"block": "9" * 78}},
    "everybody colludes": {"policy": {"colluding": 10**6}},
    "an unknown kernel": {"task": {"kernel": "none"}},
    "a placement that is not built": {"policy": {"placement": Placement.HIDDEN}},
    "another law": {"policy": {"law": VerificationClass.SKETCH}},
}


@pytest.mark.parametrize("parts", ODD_ORDERS.values(), ids=ODD_ORDERS.keys())
def test_an_odd_order_ends_in_a_report(parts: dict[str, dict[str, object]]) -> None:
    def twist(payload: Payload) -> Payload:
        if not isinstance(payload, say.JobSubmitted):
            return payload
        spec = payload.spec
        changed = {name: msgspec.structs.replace(getattr(spec, name), **each) for name, each in parts.items()}
        return msgspec.structs.replace(payload, spec=msgspec.structs.replace(spec, **changed))

    played = play(Wish(twist=twist))
    assert audit(played, source=played.source).result is not Result.HOLDS


def test_steps_that_build_on_a_failed_one_are_not_run() -> None:
    report = audit(play(Wish(twist=lie(say.ChallengeDrawn, challenge=OTHER))))
    untold = {finding.step: finding.actual for finding in report.findings if finding.result is Result.CANNOT_TELL}
    assert untold[11] == "not looked at, because of step 10"
    assert set(untold) == {11, 12, 13, 16, 20, 21}
    assert results(report)[15] is Result.HOLDS


@pytest.mark.parametrize(
    "kind",
    [
        say.EscrowLocked,
        say.JobSubmitted,
        say.JobScheduled,
        say.JobStarted,
        say.JobProgressUpdate,
        say.SubmitResult,
        say.UploadsClosed,
        say.ChallengeDrawn,
        say.JobSettled,
        say.JobCompleted,
        say.ArtifactPublished,
    ],
)
def test_an_entry_signed_by_another_key_does_not_hold(kind: type[Payload]) -> None:
    def rekey(key: SigningKey, payload: Payload) -> SigningKey:
        return STRANGER if isinstance(payload, kind) else key

    report = audit(play(Wish(rekey=rekey)))
    assert broken(report)[0] in {6, 9, 14}
    assert report.result is Result.DOES_NOT_HOLD


# Headers.


def twisted(when: Callable[[say.BlockHeader], bool], **changes: object) -> Played:
    ledger = enrolled(Wish())
    ledger.twist_header = lambda header: msgspec.structs.replace(header, **changes) if when(header) else header
    return play(ledger=ledger)


HEADER_LIES: dict[str, dict[str, object]] = {
    "previous header": {"prev_hash": OTHER},
    "height": {"height": 70},
    "time": {"time": START - 1},
    "chain": {"chain_id": "tally-0123456789abcdef"},
    "proposer": {"proposer": STRANGER.address},
    "log root": {"tx_root": OTHER},
    "gas used": {"gas_used": 1},
    "gas limit": {"gas_limit": 1},
}


@pytest.mark.parametrize("changes", HEADER_LIES.values(), ids=HEADER_LIES.keys())
def test_a_header_that_lies_does_not_hold(changes: dict[str, object]) -> None:
    report = audit(twisted(lambda header: header.height == 5, **changes))
    assert broken(report) == [5]


def test_a_header_without_the_settled_results_does_not_hold() -> None:
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert broken(audit(twisted(lambda header: header.compute_root != empty, compute_root=OTHER))) == [12]


def test_headers_of_another_key_do_not_hold() -> None:
    ledger = enrolled(Wish())
    ledger.sealer = STRANGER
    assert broken(audit(play(ledger=ledger))) == [5]


# The pool.


def played_on(ledger: Ledger, **wish: object) -> Played:
    return play(Wish(twist=lambda payload: payload, **wish), ledger)


def test_a_bond_below_the_exposure_does_not_hold() -> None:
    ledger = Ledger()
    ledger.enroll(3, 3, bond=100)
    assert broken(audit(played_on(ledger))) == [7, 14]


def test_a_bond_that_was_withdrawn_does_not_hold() -> None:
    ledger = enrolled(Wish())
    ledger.block((ledger.workers[1], say.StakeWithdrawn(str(10**9 - 1))))
    assert broken(audit(played_on(ledger))) == [7, 14]


def test_a_worker_without_its_operators_consent_does_not_hold() -> None:
    ledger = Ledger()
    ledger.consent = lambda _operator, worker: STRANGER.sign(b"\x00" * 31 + worker.public[:1])
    accept = ledger.block
    ledger.block = lambda *said, lawful=True: accept(*said, lawful=False)  # noqa: ARG005 - nothing here is lawful
    ledger.enroll(3, 3)
    assert broken(audit(played_on(ledger))) == [7, 14]


def test_a_simulated_worker_in_a_real_order_does_not_hold() -> None:
    ledger = Ledger()
    ledger.enroll(3, 3, simulated=True)
    assert broken(audit(played_on(ledger))) == [7, 14]


def test_an_operator_that_never_registered_the_worker_does_not_hold() -> None:
    ledger = Ledger()
    ledger.enroll(3, 1)
    assert broken(audit(played_on(ledger, operators=3)))[0] == 7


def test_audits_that_do_not_deter_do_not_hold_without_the_label() -> None:
    assert broken(audit(play(Wish(audit=0, twist=lambda payload: payload)))) == [13, 14]


def test_a_settlement_after_its_deadline_does_not_hold() -> None:
    ledger = enrolled(Wish())

    def late(payload: Payload) -> Payload:
        if isinstance(payload, say.JobSettled):
            ledger.time += 1_000_000_000
        return payload

    assert broken(audit(play(Wish(twist=late), ledger))) == [14]


# Files and credentials.


def test_every_flip_of_the_output_or_the_sidecar_is_seen(honest: Played) -> None:
    for name, data in (("output", honest.picture), ("sidecar", honest.sidecar)):
        for position in range(0, len(data), 61):
            flipped = bytearray(data)
            flipped[position] ^= 1
            assert audit(honest, **{name: bytes(flipped)}).result is Result.DOES_NOT_HOLD


def test_the_blocks_of_the_output_are_the_accepted_ones() -> None:
    """The published file shows other pixels than the workers gave, and everything published agrees with it."""
    from tallystick.kernels.raster import Raster, raster_digest
    from tests import audit_world

    plain = audit_world.resample

    def darker(samples: object, size: tuple[int, int]) -> object:
        result = plain(samples, size)
        result[-1, -1] ^= 1
        return result

    audit_world.resample = darker
    try:
        played = play()
    finally:
        audit_world.resample = plain
    assert played.bundle.disclosures.output.value == raster_digest(Raster(decode_picture(played.picture).samples)).hex()
    report = audit(played)
    assert broken(report) == [16]
    assert "block" in str(report.findings[15].expected)


def test_an_output_cannot_be_judged_without_a_decoder(honest: Played) -> None:
    shown = Shown(spell(honest.bundle), honest.picture, honest.sidecar)
    report = verify_bundle(shown, honest.trust, credentials=lambda _data, _store: honest.claim)
    assert report.result is Result.CANNOT_TELL
    assert results(report)[16] is Result.CANNOT_TELL


def test_credentials_cannot_be_judged_without_a_reader(honest: Played) -> None:
    report = verify_bundle(Shown(spell(honest.bundle), honest.picture), honest.trust, decode=decode_picture)
    assert results(report)[18] is Result.CANNOT_TELL
    assert report.result is Result.CANNOT_TELL


@pytest.mark.parametrize(
    "changes",
    [
        {"jobId": "job-2"},
        {"chainId": "tally-0123456789abcdef"},
        {"completedNid": "b" + "a" * 58},
        {"kernel": "nearest"},
        {"taskType": "render"},
        {"simulated": True},
        {"jobId": 7},
        {"extra": 1},
    ],
)
def test_credentials_of_another_job_do_not_hold(honest: Played, changes: dict[str, object]) -> None:
    report = verify_bundle(
        Shown(spell(honest.bundle), honest.picture, honest.sidecar),
        honest.trust,
        decode=decode_picture,
        credentials=lambda _data, store: honest.claim if store is None else {**honest.claim, **changes},
    )
    assert broken(report) == [18]


def test_credentials_that_are_not_trusted_do_not_hold(honest: Played) -> None:
    def untrusted(_data: bytes, _store: bytes | None) -> object:
        raise CredentialError("content credentials do not hold", expected="Trusted", actual="Valid")

    report = verify_bundle(
        Shown(spell(honest.bundle), honest.picture), honest.trust, decode=decode_picture, credentials=untrusted
    )
    assert broken(report) == [18]


def test_recomputing_without_the_input_cannot_tell(honest: Played) -> None:
    report = verify_bundle(Shown(spell(honest.bundle)), honest.trust, recompute=True)
    assert results(report)[21] is Result.CANNOT_TELL
    assert report.result is Result.CANNOT_TELL


def test_recomputing_from_another_input_does_not_hold(honest: Played) -> None:
    other = decode_picture(honest.picture)
    report = audit(honest, source=other)
    assert broken(report) == [21]


def test_recomputing_sees_what_nobody_checked() -> None:
    """Without audits and copies a forger slips through, and only running the blocks again shows it."""
    played = play(Wish(audit=0, duplicates=0, labels=("deterrence: none",), lies={0: "forge"}))
    assert audit(played, output=None).result is Result.HOLDS
    assert broken(audit(played, output=None, source=played.source)) == [21]


def test_a_picture_that_could_be_both_is_the_output_while_no_other_is() -> None:
    """At scale 1 the output's raster is the input's; a damaged file of it must not pass for the input."""
    played = play()
    plain = encode_picture(played.source)
    private = played.bundle.disclosures
    same = msgspec.structs.replace(private.output, value=private.input.value)
    bundle = msgspec.structs.replace(played.bundle, disclosures=msgspec.structs.replace(private, output=same))
    assert sort_pictures(bundle, Pictures(None, (plain,)), decode_picture) == (plain, None)
    output, source = sort_pictures(bundle, Pictures(None, (plain, played.picture)), decode_picture)
    assert output == played.picture
    assert source is not None
    with pytest.raises(UsageError):
        sort_pictures(bundle, Pictures(None, (plain, plain[:-1])), decode_picture)
