r"""SHA-256 under domain-separating tags, fixed-width integers and the verifiable draw.

Knows every tag of the project, each with its single use: a tag that served two preimages would let one be shown as the
other. Integers in hashed bytes are big-endian and of fixed width. Refuses to know what the preimages mean.
Specification: docs/spec/canonical-json.md, section "Digests and tags".
"""

from __future__ import annotations

import hashlib
import hmac
from enum import StrEnum
from typing import Final, Self

DIGEST_SIZE: Final = 32
SALT_SIZE: Final = 16


class Tag(StrEnum):
    r"""Every tag, with its only use; ``value`` is the text ``tallystick/<name>/v1\n``, ``prefix`` its ASCII bytes."""

    prefix: bytes

    def __new__(cls, value: str) -> Self:
        """Keep the bytes beside the text: hashing asks for them at every call."""
        tag = str.__new__(cls, value)
        tag._value_ = value
        tag.prefix = value.encode("ascii")
        return tag

    TX = "tallystick/tx/v1\n"  # the bytes that a transaction's signature covers
    GENESIS = "tallystick/genesis/v1\n"  # digest of the genesis document
    HEADER = "tallystick/header/v1\n"  # digest of a block header
    STATE = "tallystick/state/v1\n"  # state root: previous root and digest of the block's changes
    CHANGES = "tallystick/changes/v1\n"  # digest of a block's net changes
    SPEC = "tallystick/spec/v1\n"  # job: digest of the JobSpec
    FIELD = "tallystick/field/v1\n"  # salted commitment to one field of an entry
    OPERATOR = "tallystick/operator/v1\n"  # digest that names a worker's operator
    ASSIGN_SECRET = "tallystick/assign-secret/v1\n"  # noqa: S105 - commitment to the coordinator's secret
    BUYER_SECRET = "tallystick/buyer-secret/v1\n"  # noqa: S105 - commitment to the buyer's secret
    BUYER_SEED = "tallystick/buyer-seed/v1\n"  # that secret, derived from the key of a buyer that signs for itself
    ASSIGN = "tallystick/assign/v1\n"  # rho, the seed of the assignment
    HIDDEN = "tallystick/hidden/v1\n"  # seed of the hidden placement
    DUPLICATES = "tallystick/duplicates/v1\n"  # draw of the blocks that get a copy
    PERMUTATION = "tallystick/permutation/v1\n"  # draw that permutes slots into micro jobs
    ASSIGNMENT = "tallystick/assignment/v1\n"  # salted commitment to who holds which slot
    ASSIGNMENT_SALT = "tallystick/assignment-salt/v1\n"  # salt of that commitment
    WORKER_SECRET = "tallystick/worker-secret/v1\n"  # noqa: S105 - n_w, the worker's secret of one job
    LEAF_SALT = "tallystick/leaf-salt/v1\n"  # salt of one leaf, derived from n_w
    LEAF = "tallystick/leaf/v1\n"  # preimage of one output block's leaf
    COMMITMENT = "tallystick/commitment/v1\n"  # the bytes that a worker signs over its root
    CHALLENGE = "tallystick/challenge/v1\n"  # the job's challenge
    AUDIT_MICROJOBS = "tallystick/audit-microjobs/v1\n"  # draw of the audited micro jobs
    AUDIT = "tallystick/audit/v1\n"  # draw of the slots recomputed in an audited micro job
    VERDICT = "tallystick/verdict/v1\n"  # one line of a job's verdict list
    RASTER = "tallystick/raster/v1\n"  # digest of decoded pixels
    KEYSTORE = "tallystick/keystore/v1\n"  # associated data of a sealed keystore
    HELLO = "tallystick/hello/v1\n"  # the bytes that a worker signs to open its line to a node
    REQUEST = "tallystick/request/v1\n"  # the bytes that an account signs over an HTTP request
    CHAIN_GENESIS = "tallystick/chain-genesis/v1\n"  # hash of the embedded chain's genesis document
    CHAIN_BLOCK = "tallystick/chain-block/v1\n"  # hash of one of its blocks
    DERIVE = "tallystick/derive/v1\n"  # HKDF info of a derived key, before its purpose


def sha256(*parts: bytes) -> bytes:
    """SHA-256 of the concatenated parts, 32 bytes."""
    return hashlib.sha256(b"".join(parts)).digest()


def tagged(tag: Tag, *parts: bytes) -> bytes:
    """SHA-256 of the tag's bytes and the concatenated parts, 32 bytes.

    Every part must have a fixed width (or be a digest): two lists of parts with the same bytes give the same digest.
    """
    return hashlib.sha256(tag.prefix + b"".join(parts)).digest()


def u8(value: int) -> bytes:
    """One byte. Raises ``OverflowError`` outside 0 .. 255."""
    return value.to_bytes(1, "big")


def u32(value: int) -> bytes:
    """Four bytes, big-endian. Raises ``OverflowError`` outside 0 .. 2^32 - 1."""
    return value.to_bytes(4, "big")


def u64(value: int) -> bytes:
    """Eight bytes, big-endian. Raises ``OverflowError`` outside 0 .. 2^64 - 1."""
    return value.to_bytes(8, "big")


def hmac_sha256(key: bytes, *parts: bytes) -> bytes:
    """HMAC-SHA256 of the concatenated parts, 32 bytes."""
    return hmac.digest(key, b"".join(parts), "sha256")


def draw(context: bytes, count: int, n: int) -> tuple[int, ...]:
    """Draw ``count`` distinct indices below ``n``, uniform, in the order drawn.

    The stream is SHAKE-256(context), read as 8-byte big-endian words; a word >= floor(2^64/n)*n is rejected, the index
    is the word mod n, repeats are skipped. Anyone who knows the context obtains the same indices.
    Raises ``ValueError`` unless 1 <= n <= 2^64 and 0 <= count <= n.
    """
    if not 1 <= n <= 1 << 64 or not 0 <= count <= n:
        msg = f"cannot draw {count} distinct indices below {n}"
        raise ValueError(msg)
    limit = (1 << 64) // n * n
    drawn: dict[int, None] = {}
    stream, position, size = hashlib.shake_256(context), 0, 8 * (2 * count + 16)
    while len(drawn) < count:
        words = stream.digest(size)
        while position < size and len(drawn) < count:
            word = int.from_bytes(words[position : position + 8], "big")
            position += 8
            if word < limit:
                drawn.setdefault(word % n)
        size *= 2
    return tuple(drawn)


def field_commitment(job: bytes, field: str, salt: bytes, value: bytes) -> bytes:
    """Salted commitment to one field of an entry: H(tag, job, SHA256(field), salt, SHA256(value)), 32 bytes.

    ``job`` is 32 bytes, ``field`` an ASCII name, ``salt`` 16 bytes that stay with the owner until disclosure.
    Raises ``ValueError`` for other lengths, ``UnicodeEncodeError`` for a name outside ASCII.
    """
    if len(job) != DIGEST_SIZE or len(salt) != SALT_SIZE:
        msg = f"job must have 32 bytes and salt 16, not {len(job)} and {len(salt)}"
        raise ValueError(msg)
    return tagged(Tag.FIELD, job, sha256(field.encode("ascii")), salt, sha256(value))
