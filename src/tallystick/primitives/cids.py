"""CIDs: the spelling of a SHA-256 digest that content-addressed stores understand.

Knows CIDv1 with sha2-256 and the codecs raw, dag-pb and dag-cbor: 36 bytes, or 59 characters of base32 in lower case
(``bafkrei...``, ``bafybei...``, ``bafyrei...``), each in exactly one spelling. Refuses to know other hashes, other
bases, CIDv0, and what a block holds.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from tallystick.errors import MalformedError, NotCanonicalError, VerificationError

CID_BYTES: Final = 36
CID_CHARACTERS: Final = 59

_DIGEST_SIZE: Final = 32
_VERSION: Final = b"\x01"
_SHA2_256: Final = b"\x12\x20"


class Codec(IntEnum):
    """What a block is made of (multicodec table); all three are single bytes."""

    RAW = 0x55
    DAG_PB = 0x70
    DAG_CBOR = 0x71


_CODECS: Final = frozenset(Codec)


@dataclass(frozen=True, slots=True)
class Cid:
    """One block's name: its codec and the 32 bytes of its SHA-256."""

    codec: Codec
    digest: bytes

    def __post_init__(self) -> None:
        """Refuse another length (``ValueError``)."""
        if len(self.digest) != _DIGEST_SIZE:
            msg = f"a digest has {_DIGEST_SIZE} bytes, not {len(self.digest)}"
            raise ValueError(msg)

    def __str__(self) -> str:
        """The text: ``b`` and lower-case base32 without padding, 59 characters."""
        return "b" + base64.b32encode(self.encode()).decode("ascii").rstrip("=").lower()

    @classmethod
    def of(cls, codec: Codec, block: bytes) -> Cid:
        """Name a block."""
        return cls(codec, hashlib.sha256(block).digest())

    def encode(self) -> bytes:
        """The 36 bytes: version, codec, multihash."""
        return _VERSION + bytes((self.codec,)) + _SHA2_256 + self.digest

    def check(self, block: bytes) -> None:
        """Hold a block against its name. Raises ``VerificationError`` with both names when it is another block."""
        found = Cid.of(self.codec, block)
        if found != self:
            raise VerificationError("block", expected=str(self), actual=str(found))

    @classmethod
    def decode(cls, data: bytes) -> Cid:
        """Read 36 bytes. Raises ``MalformedError`` for another version, codec, hash or length."""
        known = data[:1] == _VERSION and data[2:4] == _SHA2_256 and len(data) == CID_BYTES and data[1] in _CODECS
        if not known:
            raise MalformedError(
                "CID", f"{data[:40].hex()} is not CIDv1 of a raw, dag-pb or dag-cbor block by sha2-256"
            )
        return cls(Codec(data[1]), data[4:])

    @classmethod
    def parse(cls, text: str) -> Cid:
        """Read a text. Raises ``MalformedError`` for anything but the one spelling above."""
        if len(text) != CID_CHARACTERS or not text.startswith("b"):
            raise MalformedError("CID", f"{text[:80]!r} is not 'b' and {CID_CHARACTERS - 1} characters of base32")
        if text != text.lower():
            raise NotCanonicalError("CID", f"{text!r} must be written in lower case")
        try:
            data = base64.b32decode(text[1:].upper() + "======")
        except (binascii.Error, ValueError) as error:
            raise MalformedError("CID", f"{text!r} is not base32") from error
        cid = cls.decode(data)
        if str(cid) != text:
            raise NotCanonicalError("CID", f"{text!r} is not the canonical base32 of its bytes")
        return cid


def raw_cid(digest: bytes) -> str:
    """Text of the raw CID of a 32-byte SHA-256 digest. Raises ``ValueError`` for another length."""
    return str(Cid(Codec.RAW, digest))


def parse_raw_cid(text: str) -> bytes:
    """Read the digest out of a raw CID. Raises ``MalformedError`` for anything else, other codecs included."""
    cid = Cid.parse(text)
    if cid.codec is not Codec.RAW:
        raise MalformedError("CID", f"{text!r} names a {cid.codec.name.lower()} block, not a raw one")
    return cid.digest
