"""SettledResult: one micro job with its verdict, the leaf of a header's compute_root (verified-compute 3.8)."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tallystick.commitment import Opening, Output, compute_root
from tallystick.job import ZERO_CLASS_ID, JobId
from tallystick.primitives.canonical import Count, DigestHex, PublicKeyHex, encode
from tallystick.primitives.digests import u64
from tallystick.verification.verdict import Evidence, Judgement, Verdict


class SettledResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A ComputeResult as settled; ``input_root`` and ``output_root`` are salted commitments, never raw digests.

    ``challenge_ids`` are the slots drawn for recomputation, ``verdict`` is the worst of all slots, ``elapsed_ms`` the
    time from JobStarted's block to SUBMIT_RESULT's. ``delivered_root`` and ``openings_root`` fix what arrived and what
    was revealed, byte for byte: where the two do not fit the posted root, nothing else that is signed does.
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
    delivered_root: DigestHex | None
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
    posted, delivered, openings = submission.commitment, submission.delivered, submission.openings
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
        delivered_root=None if delivered is None else delivered_root(delivered).hex(),
        openings_root=None if openings is None else openings_root(openings).hex(),
        verdict=_worst(verdicts),
        elapsed_ms=elapsed[index],
    )


def delivered_root(outputs: Sequence[Output]) -> bytes:
    """Return the RFC 6962 root over digest, length (8 bytes) and meta of every slot as it arrived."""
    return compute_root(output.digest + u64(output.length) + output.meta for output in outputs)


def openings_root(openings: Sequence[Opening]) -> bytes:
    """Return the RFC 6962 root over salt and leaf hash of every slot as it was revealed."""
    return compute_root(opening.salt + opening.leaf for opening in openings)


def _worst(verdicts: Sequence[Verdict]) -> Verdict:
    for verdict in (Verdict.REFUTED, Verdict.UNAVAILABLE):
        if verdict in verdicts:
            return verdict
    return Verdict.UPHELD


def results_root(results: Sequence[SettledResult]) -> bytes:
    """Return the root that JobSettled names and the block's header carries as compute_root."""
    return compute_root(encode(result) for result in results)
