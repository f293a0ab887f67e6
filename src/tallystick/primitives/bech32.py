"""Bech32 (BIP 173) as far as addresses need it: lower case, 20 bytes, a known prefix.

Knows the alphabet, the checksum and the bit packing. Refuses to know keys; bech32m and upper case are refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from tallystick.errors import MalformedError, NotCanonicalError

ADDRESS_SIZE: Final = 20
_ALPHABET: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_VALUES: Final = {character: value for value, character in enumerate(_ALPHABET)}
_GENERATOR: Final = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_CHECKSUM_LENGTH: Final = 6
_PAYLOAD_LENGTH: Final = 32


def encode_address(prefix: str, data: bytes) -> str:
    """Spell 20 bytes under a lowercase ASCII prefix, such as ``cpc``. Raises ``ValueError`` for another length."""
    if len(data) != ADDRESS_SIZE:
        msg = f"an address has {ADDRESS_SIZE} bytes, not {len(data)}"
        raise ValueError(msg)
    packed = int.from_bytes(data, "big")
    values = [packed >> shift & 31 for shift in range(155, -1, -5)]
    residue = _checksum([*_expanded(prefix), *values, *[0] * _CHECKSUM_LENGTH]) ^ 1
    values += [residue >> shift & 31 for shift in range(25, -1, -5)]
    return f"{prefix}1{''.join(_ALPHABET[value] for value in values)}"


def decode_address(prefix: str, text: str) -> bytes:
    """Read the 20 bytes of an address under exactly this prefix.

    Raises ``MalformedError`` for another prefix, length, character or checksum, ``NotCanonicalError`` for upper case.
    """
    if text != text.lower():
        raise NotCanonicalError("address", f"{text[:90]!r} must be written in lower case")
    if not text.startswith(f"{prefix}1"):
        raise MalformedError("address", f"{text[:90]!r} does not begin with {prefix}1")
    payload = text[len(prefix) + 1 :]
    if len(payload) != _PAYLOAD_LENGTH + _CHECKSUM_LENGTH or not _VALUES.keys() >= set(payload):
        raise MalformedError("address", f"{text[:90]!r} is not {prefix}1 and 38 characters of the bech32 alphabet")
    values = [_VALUES[character] for character in payload]
    if _checksum([*_expanded(prefix), *values]) != 1:
        raise MalformedError("address", f"the checksum of {text!r} does not hold; was a character mistyped?")
    packed = 0
    for value in values[:_PAYLOAD_LENGTH]:
        packed = packed << 5 | value
    return packed.to_bytes(ADDRESS_SIZE, "big")


def _expanded(prefix: str) -> list[int]:
    return [*(ord(character) >> 5 for character in prefix), 0, *(ord(character) & 31 for character in prefix)]


def _checksum(values: Iterable[int]) -> int:
    residue = 1
    for value in values:
        top = residue >> 25
        residue = (residue & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate(_GENERATOR):
            if top >> bit & 1:
                residue ^= generator
    return residue
