"""Recursive length prefix, the byte form of Ethereum's transactions: one value, one spelling.

Knows items (byte strings, lists of items) and the rule that every length is spelled the shortest way (Ethereum yellow
paper, appendix B). Refuses to know what an item means; an integer is its big-endian bytes without leading zeros.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias

from tallystick.errors import MalformedError, NotCanonicalError

Item: TypeAlias = "bytes | Sequence[Item]"
"""A byte string, or a list of items."""

Read: TypeAlias = "bytes | list[Read]"
"""What ``decode`` gives: a byte string, or a list."""

DEPTH_MAX: Final = 8
"""Lists within lists; a transaction with an access list has four levels."""

_STRING: Final = 0x80
_LIST: Final = 0xC0
_SHORT: Final = 55
_WHAT: Final = "RLP"


def encode(item: Item) -> bytes:
    """The bytes of an item. Raises ``OverflowError`` for one of 2^64 bytes or more."""
    if isinstance(item, bytes):
        return item if len(item) == 1 and item[0] < _STRING else _head(_STRING, len(item)) + item
    body = b"".join(encode(part) for part in item)
    return _head(_LIST, len(body)) + body


def decode(data: bytes) -> Read:
    """Read one item that fills ``data``.

    Raises:
        MalformedError: It is cut short, goes on, or nests deeper than ``DEPTH_MAX``.
        NotCanonicalError: A length or a single byte is spelled a longer way than need be.
    """
    item, end = _item(data, 0, len(data), DEPTH_MAX)
    if end != len(data):
        raise MalformedError(_WHAT, f"{len(data) - end} bytes follow the item")
    return item


def integer(value: int) -> bytes:
    """An integer as an item: big-endian, shortest, zero is empty. Raises ``OverflowError`` below zero."""
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


def read_integer(item: Read, bytes_max: int = 32) -> int:
    """The integer that an item spells.

    Raises:
        MalformedError: It is a list, or longer than ``bytes_max`` bytes.
        NotCanonicalError: It begins with a zero byte.
    """
    if not isinstance(item, bytes) or len(item) > bytes_max:
        raise MalformedError(_WHAT, f"an integer of at most {bytes_max} bytes was expected")
    if item[:1] == b"\0":
        raise NotCanonicalError(_WHAT, "an integer begins with a zero byte")
    return int.from_bytes(item, "big")


def _head(base: int, size: int) -> bytes:
    if size <= _SHORT:
        return bytes((base + size,))
    length = integer(size)
    if len(length) > 8:  # noqa: PLR2004 - the first byte has room for eight
        raise OverflowError(f"an item of {size} bytes has no RLP form")
    return bytes((base + _SHORT + len(length),)) + length


def _item(data: bytes, start: int, stop: int, depth: int) -> tuple[Read, int]:
    """Read the item that begins at ``start`` and ends at ``stop`` at the latest: the item and its end."""
    first = _cut(data, start, start + 1, stop)[0]
    if first < _STRING:
        return data[start : start + 1], start + 1
    base = _LIST if first >= _LIST else _STRING
    body, end = _span(data, start + 1, stop, first - base)
    if base == _STRING:
        text = _cut(data, body, end, stop)
        if len(text) == 1 and text[0] < _STRING:
            raise NotCanonicalError(_WHAT, "a byte below 0x80 stands for itself")
        return text, end
    if depth == 0:
        raise MalformedError(_WHAT, f"lists nest deeper than {DEPTH_MAX}")
    items: list[Read] = []
    while body < end:
        item, body = _item(data, body, end, depth - 1)
        items.append(item)
    return items, end


def _span(data: bytes, start: int, stop: int, marker: int) -> tuple[int, int]:
    """Where the body behind a head lies; ``marker`` is the head's first byte above its base."""
    if marker <= _SHORT:
        body, size = start, marker
    else:
        body = start + marker - _SHORT
        length = _cut(data, start, body, stop)
        size = int.from_bytes(length, "big")
        if length[0] == 0 or size <= _SHORT:
            raise NotCanonicalError(_WHAT, "a length is spelled longer than need be")
    _cut(data, body, body + size, stop)
    return body, body + size


def _cut(data: bytes, start: int, end: int, stop: int) -> bytes:
    if end > stop:
        raise MalformedError(_WHAT, f"it ends after byte {stop}, {end} were announced")
    return data[start:end]
