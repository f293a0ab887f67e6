"""Gathers a job's evidence: what the log says with proofs, and what the log only commits to."""

from __future__ import annotations

import msgspec

from tallystick.audit.bundle import (
    Bundle,
    BundledSubmission,
    DeliveredBlock,
    Disclosure,
    Disclosures,
    OpenedLeaf,
    spell,
)
from tallystick.errors import IncompleteError
from tallystick.job import Attempt, JobSpec
from tallystick.node.anchor_status import reading
from tallystick.node.book import Book
from tallystick.node.bundled_anchors import anchor_proofs, logged
from tallystick.node.identity import Identity
from tallystick.node.ports import Store
from tallystick.primitives import canonical
from tallystick.verification.verdict import BlockVerdict, Evidence, Judgement, Submission

KEPT_BYTES_MAX = 1 << 32


class KeptEvidence(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a home keeps of a finished job so that its bundle can be written again at any later checkpoint."""

    attempt: Attempt
    submissions: tuple[BundledSubmission, ...]
    verdicts: tuple[BlockVerdict, ...]
    disclosures: Disclosures


def evidence_key(job_id: str) -> str:
    """Key of a job's kept evidence among the private values."""
    return f"evidence/{job_id}"


def keep(evidence: Evidence, judgement: Judgement, disclosures: Disclosures) -> bytes:
    """Spell what is to be kept."""
    kept = KeptEvidence(
        attempt=evidence.spec.attempt,
        submissions=tuple(_bundled(index, each) for index, each in enumerate(evidence.submissions)),
        verdicts=judgement.blocks,
        disclosures=disclosures,
    )
    return canonical.encode(kept)


def _bundled(index: int, submission: Submission) -> BundledSubmission:
    delivered, openings = submission.delivered, submission.openings
    return BundledSubmission(
        microjob=index,
        meta=(delivered[0].meta if delivered else bytes(32)).hex(),
        delivered=None if delivered is None else tuple(DeliveredBlock(x.digest.hex(), x.length) for x in delivered),
        openings=None if openings is None else tuple(OpenedLeaf(x.salt.hex(), x.leaf.hex()) for x in openings),
    )


def disclose(
    identity: Identity, spec: JobSpec, *, source: bytes, raster: bytes, artifact: bytes, sidecar: bytes
) -> Disclosures:
    """Open the job's salted commitments: digests of input raster, output raster, delivered file, sidecar."""

    def opened(field: str, value: bytes) -> Disclosure:
        return Disclosure(identity.salt(field, spec.job_id, spec.attempt).hex(), value.hex())

    return Disclosures(
        input=opened("input", source),
        output=opened("output", raster),
        artifact=opened("artifact", artifact),
        sidecar=opened("sidecar", sidecar),
    )


def kept_digests(kept: bytes) -> frozenset[bytes]:
    """Return the digest of every block that a finished job left among the blobs, the referee's included."""
    evidence = canonical.decode(kept, KeptEvidence, what="kept evidence", bytes_max=KEPT_BYTES_MAX)
    named = {digest for block in evidence.verdicts for digest in (block.accepted, block.reference)}
    named |= {slot.digest for block in evidence.verdicts for slot in block.slots}
    return frozenset(bytes.fromhex(digest) for digest in named if digest is not None)


def bundle(book: Book, store: Store, job_id: str) -> bytes:
    """Write a finished job's bundle under the newest checkpoint; reading is enough for it.

    Raises:
        IncompleteError: the job is unknown, or has not ended yet.
    """
    with reading(book):  # proofs and checkpoint must be of one size, while others log
        return _bundle(book, store, job_id)


def _bundle(book: Book, store: Store, job_id: str) -> bytes:
    engine, job, kept = book.engine, book.job(job_id), store.private(evidence_key(job_id))
    indices = engine.index.jobs.get(job_id)
    if indices is None or job is None or kept is None:
        raise IncompleteError(f"job {job_id} has no finished result here: see `tally jobs`")
    evidence = canonical.decode(kept, KeptEvidence, what="kept evidence", bytes_max=KEPT_BYTES_MAX)
    pool = [seat.worker for seat in book.order(job_id, job.attempt).spec.pool]
    last = max(indices)
    headers = engine.index.headers_over(min(indices), last)
    end = max(last, *headers)
    bonds = (index for worker in pool for index in engine.index.nodes.get(worker, ()) if index < end)
    chosen = {*indices, *headers, *bonds}  # bonds of later jobs say nothing of this one
    entries = tuple(logged(book, index) for index in sorted(chosen))
    return spell(
        Bundle(
            format="tallystick/bundle/v1",
            genesis=engine.genesis,
            checkpoint=engine.checkpoint(),
            job_id=job_id,
            attempt=evidence.attempt,
            entries=entries,
            submissions=evidence.submissions,
            verdicts=evidence.verdicts,
            disclosures=evidence.disclosures,
            anchors=anchor_proofs(book, store, last),
        )
    )
