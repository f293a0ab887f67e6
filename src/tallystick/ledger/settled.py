"""SettledResult: one micro job with its verdict, the leaf of a header's compute_root (verified-compute 3.8)."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tallystick.commitment import compute_root
from tallystick.job import ZERO_CLASS_ID, JobId
from tallystick.primitives import merkle
from tallystick.primitives.canonical import Count, DigestHex, PublicKeyHex, encode
from tallystick.verification.verdict import Evidence, Judgement, Verdict


class SettledResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A ComputeResult as settled; ``input_root`` and ``output_root`` are salted commitments, never raw digests.

    ``challenge_ids`` are the slots drawn for recomputation, ``verdict`` is the worst of all slots, ``openings_root``
    the RFC 6962 root over the revealed leaves, ``elapsed_ms`` the time from JobStarted's block to SUBMIT_RESULT's.
    """

    task: JobId
    attempt: Count
    microjob: Count
    worker: PublicKeyHex
    law: str
    class_id: DigestHex
    input_root: DigestHex
    output_root: DigestHex | None
    tree_size: Count
    challenge_ids: tuple[Count, ...]
    openings_root: DigestHex | None
    verdict: Verdict
    elapsed_ms: Count | None


def settled_results(
    evidence: Evidence, judgement: Judgement, elapsed: Sequence[int | None]
) -> tuple[SettledResult, ...]:
    """Return the settled results of a judged job in micro job order; ``elapsed`` in ms, None where no root came."""
    slots = judgement.slots()
    return tuple(
        _settled_result(evidence, index, [slots[index, slot].verdict for slot in range(len(microjob.slots))], elapsed)
        for index, microjob in enumerate(evidence.plan.microjobs)
    )


def _settled_result(
    evidence: Evidence, index: int, verdicts: Sequence[Verdict], elapsed: Sequence[int | None]
) -> SettledResult:
    submission, spec = evidence.submissions[index], evidence.spec
    posted, openings = submission.commitment, submission.openings
    return SettledResult(
        task=spec.job_id,
        attempt=spec.attempt,
        microjob=index,
        worker=submission.worker.hex(),
        law=spec.policy.law.name,
        class_id=ZERO_CLASS_ID if posted is None else posted.class_id.hex(),
        input_root=spec.input,
        output_root=None if posted is None else posted.root.hex(),
        tree_size=len(verdicts),
        challenge_ids=evidence.challenged.get(index, ()),
        openings_root=None if openings is None else merkle.root([opening.leaf for opening in openings]).hex(),
        verdict=_worst(verdicts),
        elapsed_ms=elapsed[index],
    )


def _worst(verdicts: Sequence[Verdict]) -> Verdict:
    for verdict in (Verdict.REFUTED, Verdict.UNAVAILABLE):
        if verdict in verdicts:
            return verdict
    return Verdict.UPHELD


def results_root(results: Sequence[SettledResult]) -> bytes:
    """Return the root that JobSettled names and the block's header carries as compute_root."""
    return compute_root(encode(result) for result in results)
