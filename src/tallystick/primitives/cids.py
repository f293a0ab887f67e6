"""Raw CIDs: the spelling of a SHA-256 digest that content-addressed stores understand.

Knows CIDv1, codec raw, multihash sha2-256, base32 in lower case (59 characters, ``bafkrei...``). Refuses to know
dag-pb and every other codec: those name a tree of chunks, not the bytes.
"""

from __future__ import annotations

import base64
import binascii
from typing import Final

from tallystick.errors import MalformedError, NotCanonicalError

_HEADER: Final = bytes((0x01, 0x55, 0x12, 0x20))
_DIGEST_SIZE: Final = 32
_LENGTH: Final = 59


def raw_cid(digest: bytes) -> str:
    """CIDv1 text of a 32-byte SHA-256 digest. Raises ``ValueError`` for another length."""
    if len(digest) != _DIGEST_SIZE:
        msg = f"a digest has {_DIGEST_SIZE} bytes, not {len(digest)}"
        raise ValueError(msg)
    return "b" + base64.b32encode(_HEADER + digest).decode("ascii").rstrip("=").lower()


def parse_raw_cid(text: str) -> bytes:
    """Read the digest out of a raw CID. Raises ``MalformedError`` for anything but the one spelling above."""
    if len(text) != _LENGTH or not text.startswith("b"):
        raise MalformedError("CID", f"{text[:80]!r} is not 'b' and 58 characters of base32")
    if text != text.lower():
        raise NotCanonicalError("CID", f"{text!r} must be written in lower case")
    try:
        data = base64.b32decode(text[1:].upper() + "======")
    except (binascii.Error, ValueError) as error:
        raise MalformedError("CID", f"{text!r} is not base32") from error
    if data[: len(_HEADER)] != _HEADER or len(data) != len(_HEADER) + _DIGEST_SIZE:
        raise MalformedError("CID", f"{text!r} is not CIDv1, codec raw, sha2-256")
    if raw_cid(data[len(_HEADER) :]) != text:
        raise NotCanonicalError("CID", f"{text!r} is not the canonical base32 of its bytes")
    return data[len(_HEADER) :]
