"""The lines under a header's compute_root: one micro job each, as settled."""

import msgspec
import pytest

from tallystick.commitment import compute_root
from tallystick.job import ZERO_CLASS_ID
from tallystick.ledger.settled import SettledResult, results_root, settled_results
from tallystick.primitives.canonical import encode
from tallystick.verification.judge import judge, wanted
from tallystick.verification.verdict import Submission, Verdict
from tests.ledger_world import make_run
from tests.orders import evidence_of, forging, honest, make_order, references, worker_key


def results(elapsed: list[int | None]) -> tuple[SettledResult, ...]:
    """Micro job 0 honest, 1 with one forged slot, 2 without a root, 3 silent after its root."""
    spec = make_order(audit=1_000_000, audit_blocks=4)
    evidence = evidence_of(
        spec,
        {
            1: lambda *given: forging(*given, slots=(0,)),
            2: lambda order, _drawn, index: Submission(worker_key(order, index).public, None, None, None),
            3: lambda *given: unopened(honest(*given)),
        },
    )
    return settled_results(evidence, judge(evidence, references(evidence, wanted)), elapsed)


def unopened(whole: Submission) -> Submission:
    return Submission(whole.worker, whole.commitment, whole.delivered, None)


def test_a_result_carries_the_worst_verdict_of_its_slots() -> None:
    verdicts = [result.verdict for result in results([None] * 8)]
    assert verdicts[:4] == [Verdict.UPHELD, Verdict.REFUTED, Verdict.UNAVAILABLE, Verdict.UNAVAILABLE]
    assert set(verdicts[4:]) == {Verdict.UPHELD}


def test_a_result_names_its_roots_and_where_there_was_none() -> None:
    upheld, refuted, absent, silent = results([7, 8, None, 9, *[None] * 4])[:4]
    assert upheld.output_root != refuted.output_root
    assert (absent.output_root, absent.openings_root, absent.elapsed_ms) == (None, None, None)
    assert silent.output_root is not None
    assert silent.openings_root is None
    assert silent.delivered_root is not None
    assert absent.delivered_root is None
    assert len({upheld.openings_root, upheld.output_root, upheld.delivered_root}) == 3
    assert [each.elapsed_ms for each in (upheld, refuted, silent)] == [7, 8, 9]
    assert {each.class_id for each in (upheld, absent)} == {ZERO_CLASS_ID}
    assert upheld.challenge_ids == (0, 1, 2, 3)
    assert (upheld.task, upheld.attempt, upheld.law, upheld.input_root) == ("job-1", 1, "EXACT", "ab" * 32)


@pytest.mark.parametrize("field", SettledResult.__struct_fields__)
def test_every_field_is_under_the_root(field: str) -> None:
    listed = list(results([None] * 8))
    root = results_root(listed)
    assert root == compute_root(encode(result) for result in listed)
    other: dict[str, object] = {"verdict": Verdict.UNAVAILABLE, "challenge_ids": (), "law": "SKETCH", "task": "job-2"}
    changed = other.get(field, 99 if isinstance(getattr(listed[0], field), int | None) else "00" * 33)
    listed[0] = msgspec.structs.replace(listed[0], **{field: changed})
    assert results_root(listed) != root
    assert results_root(listed[1:]) != root


def test_the_settlement_of_a_run_names_this_root() -> None:
    run = make_run().until("challenged")
    found = settled_results(run.evidence(), run.judgement(), [None] * 8)
    assert run.settled_payload().results_root == results_root(found).hex()
