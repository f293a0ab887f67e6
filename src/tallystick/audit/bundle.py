"""The bundle: every entry of a job with its proof, and everything needed to judge it again (docs/spec/bundle.md).

It holds nothing that is not signed, committed to, or recomputed by the audit, so that no byte of it can change unseen.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec

from tallystick.errors import CommitmentError
from tallystick.job import Attempt, JobId
from tallystick.ledger.genesis import Genesis
from tallystick.primitives import canonical
from tallystick.primitives.canonical import Count, DigestHex, SaltHex
from tallystick.primitives.digests import field_commitment
from tallystick.verification.verdict import BlockVerdict

BUNDLE_BYTES_MAX: Final = 512 * 1024 * 1024
ENTRIES_MAX: Final = 100_000
SLOTS_MAX: Final = 4096
ANCHORS_MAX: Final = 64


class LoggedEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One entry of the log as it stands there, its index, and its inclusion proof under the bundle's checkpoint."""

    index: Count
    entry: msgspec.Raw
    proof: Annotated[tuple[DigestHex, ...], msgspec.Meta(max_length=63)]


class Disclosure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Opens one salted commitment: the salt and the digest behind it."""

    salt: SaltHex
    value: DigestHex


class Disclosures(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The private digests of a job: input raster, output raster, delivered file, sidecar."""

    input: Disclosure
    output: Disclosure
    artifact: Disclosure
    sidecar: Disclosure


class DeliveredBlock(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Digest and length of one slot's bytes as they arrived."""

    digest: DigestHex
    length: Count


class OpenedLeaf(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the worker revealed of one slot: its salt and the leaf hash."""

    salt: DigestHex
    leaf: DigestHex


class BundledSubmission(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one micro job delivered and opened; its root and worker stand in its SUBMIT_RESULT."""

    microjob: Count
    meta: DigestHex
    delivered: Annotated[tuple[DeliveredBlock, ...], msgspec.Meta(max_length=SLOTS_MAX)] | None
    openings: Annotated[tuple[OpenedLeaf, ...], msgspec.Meta(max_length=SLOTS_MAX)] | None


class AnchorProof(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An Anchored entry, the signed checkpoint as it was anchored, and the proof that the bundle's extends it."""

    logged: LoggedEntry
    checkpoint: str
    consistency: Annotated[tuple[DigestHex, ...], msgspec.Meta(max_length=64)]


class Bundle(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The evidence of one finished job, canonical JSON; a bundle without anchors does not name them.

    ``entries`` ascend by index: registrations and bonds of the pool, every entry of every attempt, and every header
    from the one before the first job entry's block to the last block's. ``anchors`` ascend by index, too, and each
    covers every entry that is about the job.
    """

    format: Literal["tallystick/bundle/v1"]
    genesis: Genesis
    checkpoint: str
    job_id: JobId
    attempt: Attempt
    entries: Annotated[tuple[LoggedEntry, ...], msgspec.Meta(max_length=ENTRIES_MAX)]
    submissions: tuple[BundledSubmission, ...]
    verdicts: tuple[BlockVerdict, ...]
    disclosures: Disclosures
    anchors: Annotated[tuple[AnchorProof, ...], msgspec.Meta(max_length=ANCHORS_MAX)] = ()


def parse(data: bytes) -> Bundle:
    """Read a bundle strictly.

    Raises:
        MalformedError: it is not the canonical spelling of a bundle.
    """
    return canonical.decode(data, Bundle, what="bundle", bytes_max=BUNDLE_BYTES_MAX)


def spell(bundle: Bundle) -> bytes:
    """Return the one spelling of a bundle."""
    return canonical.encode(bundle)


def check_disclosure(job: bytes, field: str, commitment: str, disclosure: Disclosure) -> bytes:
    """Open a salted commitment and return the digest behind it.

    Raises:
        CommitmentError: salt and value do not give the commitment.
    """
    value = bytes.fromhex(disclosure.value)
    actual = field_commitment(job, field, bytes.fromhex(disclosure.salt), value).hex()
    if actual != commitment:
        raise CommitmentError(f"salted commitment to the {field}", expected=commitment, actual=actual)
    return value
