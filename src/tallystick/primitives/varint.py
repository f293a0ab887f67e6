"""Unsigned varints as multiformats has them: seven bits a byte, low ones first, in as few bytes as do.

Knows numbers below 2^63. Refuses to know what they count.
"""

from __future__ import annotations

from typing import Final

from tallystick.errors import MalformedError, NotCanonicalError

BYTES_MAX: Final = 9
"""A longer one is refused (https://github.com/multiformats/unsigned-varint)."""

_MORE: Final = 0x80
_LOW: Final = 0x7F


def encode(value: int) -> bytes:
    """Write a number in 0 .. 2^63 - 1. Raises ``ValueError`` outside."""
    if not 0 <= value < 1 << 7 * BYTES_MAX:
        msg = f"{value} is not within 0 .. 2^63 - 1"
        raise ValueError(msg)
    out = bytearray()
    while value > _LOW:
        out.append(value & _LOW | _MORE)
        value >>= 7
    out.append(value)
    return bytes(out)


def decode(data: bytes, position: int = 0) -> tuple[int, int]:
    """Read a number at a position and return it with the position behind it.

    Raises ``MalformedError`` when the bytes end within it or it is longer than nine, ``NotCanonicalError`` when fewer
    bytes would do.
    """
    value = 0
    for count, byte in enumerate(data[position : position + BYTES_MAX]):
        value |= (byte & _LOW) << 7 * count
        if byte < _MORE:
            if count and not byte:
                raise NotCanonicalError("varint", f"{data[position : position + count + 1].hex()} ends in a zero byte")
            return value, position + count + 1
    raise MalformedError("varint", f"{data[position : position + BYTES_MAX].hex()} does not end")
