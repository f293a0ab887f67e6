"""SettledResult: one micro job with its verdict, the leaf of a header's compute_root (verified-compute 3.8)."""

from __future__ import annotations

from enum import Enum

import msgspec

from tallystick.job import JobId
from tallystick.primitives.canonical import Count, DigestHex, PublicKeyHex


class ResultVerdict(Enum):
    """The verdict on a whole micro job: the worst of its slots."""

    UPHELD = "upheld"
    REFUTED = "refuted"
    UNAVAILABLE = "unavailable"


class SettledResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A ComputeResult as settled; ``input_root`` and ``output_root`` are salted commitments, never raw digests.

    ``challenge_ids`` are the slots drawn for recomputation, ``openings_root`` the RFC 6962 root over the revealed leaf
    preimages' hashes, ``elapsed_ms`` the time between the blocks of JobStarted and SUBMIT_RESULT.
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
    verdict: ResultVerdict
    elapsed_ms: Count | None
