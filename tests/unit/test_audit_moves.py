"""Work that changed hands, before a stranger: what moved lawfully holds; copies that met must have been recomputed."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import product

import msgspec
import pytest

from tallystick.audit.bundle import spell
from tallystick.audit.findings import Report, Result
from tallystick.audit.verify import Shown, verify_bundle
from tallystick.job import spec_digest
from tallystick.ledger import payloads as say
from tallystick.ledger.holding import MOVES_MAX
from tallystick.ledger.transactions import decode
from tallystick.slicing import Plan, plan
from tallystick.verification.challenge import plan_seed
from tallystick.verification.verdict import Reason
from tests.audit_world import Payload, Played, Twist, Wish, decode_picture, play, secret

ALONE = Wish(operators=1)
APART = Wish(workers=4, operators=4, duplicates=250_000, audit=0, labels=("deterrence: none",))
"""Nothing is recomputed but for a reason of its own."""


def audit(played: Played) -> Report:
    return verify_bundle(
        Shown(spell(played.bundle), output=played.picture, sidecar=played.sidecar, source=played.source),
        played.trust,
        decode=decode_picture,
        credentials=lambda _data, _store: played.claim,
        recompute=True,
    )


def broken(report: Report) -> list[int]:
    return [finding.step for finding in report.findings if finding.result is Result.DOES_NOT_HOLD]


def entries(played: Played) -> list[Payload]:
    return [decode(bytes(each.entry)).payload for each in played.bundle.entries]


def drawn(wish: Wish) -> Plan:
    """The plan of this wish, which no move changes."""
    return drawn_for(wish.workers, wish.operators, wish.duplicates, wish.audit)


@cache
def drawn_for(workers: int, operators: int, duplicates: int, audit: int) -> Plan:
    wish = Wish(workers=workers, operators=operators, duplicates=duplicates, audit=audit, labels=("deterrence: none",))
    played = play(wish)
    said = played.ledger.log_entries
    at, spec = next((i, e.payload.spec) for i, e in enumerate(said) if isinstance(e.payload, say.JobSubmitted))
    header = next(each for each in said[at:] if isinstance(each.payload, say.BlockHeader))
    return plan(spec, plan_seed(spec_digest(spec), secret(wish.job_id, "assign", "1"), header.digest))


def twins(wish: Wish, index: int) -> set[int]:
    """Micro jobs that hold another execution of a block of this one."""
    mine = {slot.block for slot in drawn(wish).microjobs[index].slots}
    return {
        each.index
        for each in drawn(wish).microjobs
        if each.index != index and mine & {slot.block for slot in each.slots}
    }


def shared(wish: Wish, index: int, other: int) -> set[int]:
    """Blocks that two micro jobs execute both."""
    one, two = ({slot.block for slot in drawn(wish).microjobs[each].slots} for each in (index, other))
    return one & two


def recomputed(played: Played) -> set[int]:
    return {line.block for line in played.bundle.verdicts if line.reference is not None}


def redone(played: Played) -> int:
    return next(each.redone for each in entries(played) if isinstance(each, say.JobSettled))


def said_of_plan(report: Report) -> str:
    return next(each.actual for each in report.findings if each.name == "plan")


def test_every_single_move_holds_if_just_the_copies_that_met_their_originals_were_recomputed() -> None:
    seen = set()
    for index, seat in product(range(len(drawn(APART).microjobs)), range(4)):
        if seat == index % 4:
            continue
        met = set().union(*(shared(APART, index, other) for other in twins(APART, index) if other % 4 == seat))
        played = play(replace(APART, moves=((index, seat),)))
        report = audit(played)
        assert report.result is Result.HOLDS, (index, seat)
        assert recomputed(played) == met
        assert redone(played) == len(met)
        words = f"{len(met)} copies met their originals and were recomputed"
        assert (words in said_of_plan(report)) == bool(met)
        careless = play(replace(APART, moves=((index, seat),), careless=True))
        assert broken(audit(careless)) == ([9] if met else [])
        seen.add(bool(met))
    assert seen == {True, False}


def test_a_copy_that_met_its_original_unseen_is_a_finding_with_the_operator_and_the_block() -> None:
    index, seat, block = meeting()
    played = play(replace(APART, moves=((index, seat),), careless=True))
    finding = next(each for each in audit(played).findings if each.result is Result.DOES_NOT_HOLD)
    assert finding.step == 9
    assert played.ledger.operators[seat].public.hex() in finding.actual
    assert f"block {block}, whose copy checks nothing" in finding.expected


def test_who_once_held_a_copy_checks_nothing_with_the_original_either() -> None:
    """The twin left the operator again: what it saw there it has seen."""
    index = next(each.index for each in drawn(APART).microjobs if len(twins(APART, each.index)) == 1)
    (twin,) = twins(APART, index)
    away = next(
        seat
        for seat in range(4)
        if seat not in {index % 4, twin % 4} and all(other % 4 != seat for other in twins(APART, twin))
    )
    once = play(replace(APART, moves=((twin, away),)))
    assert (broken(audit(once)), recomputed(once)) == ([], set())
    wish = replace(APART, moves=((twin, away), (index, twin % 4)))
    again = play(wish)
    assert (broken(audit(again)), recomputed(again)) == ([], shared(APART, index, twin))
    assert broken(audit(play(replace(wish, careless=True)))) == [9]


def meeting() -> tuple[int, int, int]:
    """A micro job, the seat of its only twin, and the least block that they share."""
    index = next(each.index for each in drawn(APART).microjobs if len(twins(APART, each.index)) == 1)
    (twin,) = twins(APART, index)
    return index, twin % 4, min(shared(APART, index, twin))


def test_a_forger_that_holds_both_executions_is_refuted() -> None:
    """Its copies agree with each other, and the referee disagrees with both."""
    index, seat, block = meeting()
    played = play(replace(APART, moves=((index, seat),), lies={seat: "forge"}))
    assert audit(played).result is Result.HOLDS
    line = played.bundle.verdicts[block]
    assert line.reference == line.accepted
    assert {slot.reason for slot in line.slots} == {Reason.REFERENCE_DIFFERS}
    settled = next(each for each in entries(played) if isinstance(each, say.JobSettled))
    assert settled.lines[seat].amount == "0"
    assert settled.lines[seat].slashed != "0"


def test_what_is_redone_without_a_move_does_not_hold() -> None:
    """A coordinator that pays itself for a copy which nobody moved is refused by the rules and by the judge."""
    twist: Twist = lambda said: msgspec.structs.replace(said, redone=1) if isinstance(said, say.JobSettled) else said  # noqa: E731
    assert broken(audit(play(replace(APART, twist=twist)))) == [13, 14]


def test_a_reference_for_a_copy_that_never_met_its_original_does_not_hold() -> None:
    played = play(APART)
    block = min(drawn(APART).duplicated())
    verdicts = list(played.bundle.verdicts)
    verdicts[block] = msgspec.structs.replace(verdicts[block], reference=verdicts[block].accepted)
    changed = replace(played, bundle=msgspec.structs.replace(played.bundle, verdicts=tuple(verdicts)))
    assert broken(audit(changed))[0] == 11


def test_with_one_operator_any_seat_will_do() -> None:
    wish = Wish(operators=1)
    report = audit(play(replace(wish, moves=((0, 1), (1, 2), (0, 2), (3, 2), (5, 0)))))
    assert report.result is Result.HOLDS
    assert "5 times moved" in next(each.actual for each in report.findings if each.name == "plan")


def test_a_seat_without_work_may_stand_for_itself() -> None:
    held = range(1, len(drawn(ALONE).microjobs), 3)
    wish = replace(ALONE, moves=tuple((index, 0) for index in held))

    def paying(seat: int) -> Twist:
        def twist(payload: Payload) -> Payload:
            if not isinstance(payload, say.JobSettled):
                return payload
            lines = list(payload.lines)
            worker = played.ledger.workers[seat].address
            lines[seat] = msgspec.structs.replace(lines[seat], payee=worker)
            return msgspec.structs.replace(payload, lines=tuple(lines))

        return twist

    played = play(wish)
    assert audit(played).result is Result.HOLDS
    assert audit(play(replace(wish, twist=paying(1)))).result is Result.HOLDS
    assert broken(audit(play(replace(wish, twist=paying(0)))))[0] == 7


def lie(**changes: object) -> Twist:
    def twist(payload: Payload) -> Payload:
        return msgspec.structs.replace(payload, **changes) if isinstance(payload, say.MicroJobReassigned) else payload

    return twist


def as_it_is(payload: Payload) -> Payload:
    return payload


LIES: dict[str, tuple[Wish, int]] = {
    "a seat that there is not": (replace(ALONE, moves=((0, 1),), twist=lie(seat=3)), 6),
    "a micro job that there is not": (replace(ALONE, moves=((0, 1),), twist=lie(microjob=99)), 6),
    "a micro job beyond all numbers": (replace(ALONE, moves=((0, 1),), twist=lie(microjob=2**53 - 1)), 6),
    "another attempt": (replace(ALONE, moves=((0, 1),), twist=lie(attempt=2)), 6),
    "another job": (replace(ALONE, moves=((0, 1),), twist=lie(job_id="job-2")), 9),
    "another holder than the one that posted": (replace(ALONE, moves=((0, 1),), twist=lie(seat=2)), 9),
    "another micro job than the one that was posted": (replace(ALONE, moves=((0, 1),), twist=lie(microjob=3)), 9),
    "no move, but another seat's root": (replace(ALONE, moves=((0, 1),), twist=lie(seat=0)), 9),
    "a root was there": (replace(ALONE, late=((0, 1),), twist=as_it_is), 9),
    "a root was there, and it came back": (replace(ALONE, late=((0, 1), (0, 0)), twist=as_it_is), 14),
    "to the same seat": (replace(ALONE, moves=((0, 0),), twist=as_it_is), 14),
    "too often": (replace(ALONE, moves=tuple((0, turn % 3) for turn in range(1, MOVES_MAX + 2)), twist=as_it_is), 14),
}


@pytest.mark.parametrize(("wish", "step"), LIES.values(), ids=LIES.keys())
def test_a_move_that_no_ledger_takes_does_not_hold(wish: Wish, step: int) -> None:
    report = audit(play(wish))
    assert broken(report)[0] == step
    assert report.result is Result.DOES_NOT_HOLD


def test_a_move_that_another_signed_does_not_hold() -> None:
    played = play(
        replace(
            ALONE,
            moves=((0, 1),),
            rekey=lambda key, said: play(ALONE).ledger.requester if isinstance(said, say.MicroJobReassigned) else key,
        )
    )
    assert broken(audit(played))[0] == 6


def test_a_move_that_is_left_out_of_the_bundle_does_not_hold() -> None:
    played = play(replace(ALONE, moves=((0, 1),)))
    kept = [
        logged
        for logged, said in zip(played.bundle.entries, entries(played), strict=True)
        if not isinstance(said, say.MicroJobReassigned)
    ]
    report = audit(replace(played, bundle=msgspec.structs.replace(played.bundle, entries=tuple(kept))))
    assert broken(report)[0] == 9


def test_what_a_new_holder_did_wrong_falls_on_it_alone() -> None:
    played = play(replace(ALONE, moves=((0, 1), (3, 1)), lies={1: "forge"}))
    assert audit(played).result is Result.HOLDS
    settled = next(each for each in entries(played) if isinstance(each, say.JobSettled))
    assert [line.faulted for line in settled.lines] == [0, 4, 0]
    assert [line.amount == "0" for line in settled.lines] == [False, True, False]


def test_a_move_of_a_micro_job_that_stays_absent_holds() -> None:
    played = play(replace(ALONE, moves=((0, 1),), lies={1: "absent"}))
    assert audit(played).result is Result.HOLDS
    settled = next(each for each in entries(played) if isinstance(each, say.JobSettled))
    assert [line.absent for line in settled.lines] == [0, 3, 0]
