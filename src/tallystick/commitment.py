"""What a worker binds itself to before anyone looks: salted leaves, signed roots, openings.

Byte formats: docs/spec/commitment.md. Every preimage begins with its own tag; integers are fixed-width big-endian.
Knows nothing of whether a result is true.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from tallystick.errors import CommitmentError
from tallystick.job import VerificationClass
from tallystick.primitives import merkle
from tallystick.primitives.canonical import encode
from tallystick.primitives.digests import Tag, hmac_sha256, sha256, tagged, u8, u32, u64
from tallystick.primitives.keys import SigningKey, check_signature

LEAF_BYTES: Final = 197
MISSING_ROOT: Final = bytes(32)
"""Stands in the roots' tree for a micro job whose root was not posted in time."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a leaf belongs: the order's digest, the micro job and the worker's compressed public key."""

    job: bytes
    microjob: int
    worker: bytes


@dataclass(frozen=True, slots=True)
class Output:
    """What stands in a leaf about the bytes: their SHA-256, their length, and the digest of the canonical meta."""

    digest: bytes
    length: int
    meta: bytes


@dataclass(frozen=True, slots=True)
class Commitment:
    """A worker's signed root over the leaves of one micro job."""

    place: Place
    tree_size: int
    class_id: bytes
    root: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Opening:
    """What a worker reveals of one slot after the challenge: the salt and the leaf hash it committed to."""

    salt: bytes
    leaf: bytes


@lru_cache(maxsize=64)
def meta_digest(backend: str, kernel: str) -> bytes:
    """Return the digest of a leaf's meta: who computed it, with what; no clock, so that a restart repeats it."""
    return sha256(encode({"backend": backend, "kernel": kernel}))


def worker_secret(key: bytes, job: bytes) -> bytes:
    """Derive n_w from a worker's own 32-byte secret; a restart repeats it."""
    return hmac_sha256(key, Tag.WORKER_SECRET.prefix, job)


def leaf_salt(secret: bytes, job: bytes, microjob: int, slot: int) -> bytes:
    """Derive the salt of one leaf."""
    return hmac_sha256(secret, Tag.LEAF_SALT.prefix, job, u32(microjob), u32(slot))


def leaf_salts(secret: bytes, job: bytes, microjob: int, slots: int) -> list[bytes]:
    """Return ``leaf_salt`` of every slot of a micro job."""
    head = Tag.LEAF_SALT.prefix + job + u32(microjob)
    return [hmac_sha256(secret, head, u32(slot)) for slot in range(slots)]


def leaf_preimage(place: Place, slot: int, salt: bytes, law: VerificationClass, output: Output) -> bytes:
    """Return the 197 bytes d_i of a leaf."""
    head = Tag.LEAF.prefix + place.job + u32(place.microjob) + u32(slot) + place.worker + salt
    return head + u8(law.value) + output.digest + u64(output.length) + output.meta


def leaf_hash(place: Place, slot: int, salt: bytes, law: VerificationClass, output: Output) -> bytes:
    """Return SHA-256(0x00 | d_i)."""
    return merkle.leaf_hash(leaf_preimage(place, slot, salt, law, output))


def leaf_hashes(place: Place, salts: Sequence[bytes], law: VerificationClass, outputs: Sequence[Output]) -> list[bytes]:
    """Return ``leaf_hash`` of every slot of a micro job, at half the cost of asking for one after the other."""
    head, kind = b"\x00" + Tag.LEAF.prefix + place.job + u32(place.microjob), u8(law.value)
    return [
        sha256(head, u32(slot), place.worker, salt, kind, output.digest, u64(output.length), output.meta)
        for slot, (salt, output) in enumerate(zip(salts, outputs, strict=True))
    ]


def commitment_digest(place: Place, tree_size: int, class_id: bytes, root: bytes) -> bytes:
    """Return the digest that the inner signature of SUBMIT_RESULT covers."""
    return tagged(Tag.COMMITMENT, place.job, u32(place.microjob), u32(tree_size), place.worker, class_id, root)


def commit(key: SigningKey, job: bytes, microjob: int, class_id: bytes, leaves: Sequence[bytes]) -> Commitment:
    """Sign the root over the leaf hashes of one micro job."""
    place = Place(job, microjob, key.public)
    root = merkle.root(leaves)
    signature = key.sign(commitment_digest(place, len(leaves), class_id, root))
    return Commitment(place, len(leaves), class_id, root, signature)


def check_commitment(commitment: Commitment) -> None:
    """Check the inner signature.

    Raises:
        SignatureError: it is not the worker's over these values.
    """
    digest = commitment_digest(commitment.place, commitment.tree_size, commitment.class_id, commitment.root)
    check_signature(commitment.place.worker, digest, commitment.signature)


def check_openings(commitment: Commitment, openings: Sequence[Opening]) -> None:
    """Check that the revealed leaf hashes are the ones under the signed root.

    Raises:
        CommitmentError: their number or their root differs.
    """
    where = f"openings of micro job {commitment.place.microjob}"
    if len(openings) != commitment.tree_size:
        raise CommitmentError(where, expected=f"{commitment.tree_size} leaves", actual=f"{len(openings)} leaves")
    root = merkle.root([opening.leaf for opening in openings])
    if root != commitment.root:
        raise CommitmentError(where, expected=commitment.root.hex(), actual=root.hex())


def check_leaf(place: Place, slot: int, opening: Opening, law: VerificationClass, output: Output) -> None:
    """Recompute one leaf from the delivered bytes' digest and the revealed salt.

    Raises:
        CommitmentError: the delivered bytes do not give the committed leaf.
    """
    actual = leaf_hash(place, slot, opening.salt, law, output)
    if actual != opening.leaf:
        what = f"leaf of micro job {place.microjob} slot {slot}"
        raise CommitmentError(what, expected=opening.leaf.hex(), actual=actual.hex())


def compute_root(leaves: Iterable[bytes]) -> bytes:
    """Return the RFC 6962 root over leaf bytes: a header's compute_root over its settled results, in order."""
    return merkle.root([merkle.leaf_hash(leaf) for leaf in leaves])


def roots_root(roots: Sequence[bytes | None]) -> bytes:
    """Return the RFC 6962 root over all posted roots in micro job order; a missing root counts as 32 zero bytes."""
    return compute_root(MISSING_ROOT if root is None else root for root in roots)


def assign_commitment(job: bytes, secret: bytes) -> bytes:
    """Commit to the coordinator's secret, from which the assignment is drawn."""
    return tagged(Tag.ASSIGN_SECRET, job, secret)


def buyer_commitment(job: bytes, secret: bytes) -> bytes:
    """Commit to the buyer's secret, from which the challenge is drawn."""
    return tagged(Tag.BUYER_SECRET, job, secret)


def assignment_commitment(job: bytes, secret: bytes, microjob: int, worker: bytes) -> bytes:
    """Commit, salted by the coordinator's secret, to who holds a micro job."""
    salt = hmac_sha256(secret, Tag.ASSIGNMENT_SALT.prefix, job, u32(microjob))
    return tagged(Tag.ASSIGNMENT, job, u32(microjob), worker, salt)


def assignments_root(job: bytes, secret: bytes, workers: Sequence[bytes]) -> bytes:
    """Return the RFC 6962 root over the assignment commitments in micro job order; JobScheduled names it."""
    return compute_root(assignment_commitment(job, secret, index, worker) for index, worker in enumerate(workers))
