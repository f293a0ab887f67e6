"""Server-sent events as bytes come in: the log's entries, each held to the names that it comes under.

Knows the event stream format (WHATWG HTML, section 9.2) as far as a node uses it. Refuses entries whose bytes are not
the ones of their txHash, and lines without end.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

import msgspec

from tallystick.errors import NodeError, VerificationError
from tallystick.primitives.canonical import Count
from tallystick.primitives.cids import raw_cid
from tallystick.primitives.digests import sha256

EVENT_BYTES_MAX: Final = 1 << 20


class _Named(msgspec.Struct, frozen=True):
    index: Count
    nid: Annotated[str, msgspec.Meta(max_length=200)]
    tx_hash: Annotated[str, msgspec.Meta(max_length=66)]
    entry: msgspec.Raw


class _Typed(msgspec.Struct, frozen=True):
    type: Annotated[str, msgspec.Meta(max_length=100)]


@dataclass(frozen=True, slots=True)
class Event:
    """One entry of the log: where it stands, its type, its names, its exact bytes."""

    index: int
    type: str
    nid: str
    tx_hash: str
    entry: bytes = field(repr=False)

    @property
    def fields(self) -> dict[str, Any]:
        """The entry as JSON gives it."""
        found = json.loads(self.entry)
        return found if isinstance(found, dict) else {}


_DECODER: Final = msgspec.json.Decoder(_Named)
_TYPED: Final = msgspec.json.Decoder(_Typed)


@dataclass(slots=True)
class Feed:
    """Gathers bytes into events; ``last`` is the index of the newest, from behind which a new stream goes on."""

    last: int | None = None
    _rest: bytes = b""
    _data: list[bytes] = field(default_factory=list)
    _size: int = 0

    def restart(self) -> None:
        """Forget half an event: the stream broke."""
        self._rest, self._data, self._size = b"", [], 0

    def push(self, data: bytes) -> list[Event]:
        """Take bytes and return the events that are complete.

        Raises:
            NodeError: an event is no entry of the log, or too long to be one.
            VerificationError: an entry does not have the names that it comes under.
        """
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > EVENT_BYTES_MAX:
            raise NodeError(f"an event of the node is longer than {EVENT_BYTES_MAX} bytes")
        found = (self._line(line.removesuffix(b"\r")) for line in lines)
        return [event for event in found if event is not None]

    def _line(self, line: bytes) -> Event | None:
        if not line:
            return self._end()
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        self._size += len(line)
        if self._size > EVENT_BYTES_MAX:
            raise NodeError(f"an event of the node is longer than {EVENT_BYTES_MAX} bytes")
        if name == b"data":
            self._data.append(value)
        return None

    def _end(self) -> Event | None:
        data = b"\n".join(self._data)
        self._data, self._size = [], 0
        if not data:
            return None
        try:
            named = _DECODER.decode(data)
            kind = _TYPED.decode(named.entry).type
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise NodeError(f"an event of the node is no entry of a log: {error}") from None
        entry = bytes(named.entry)
        digest = sha256(entry)
        if (named.tx_hash, named.nid) != (f"0x{digest.hex()}", raw_cid(digest)):
            raise VerificationError("txHash of an entry", expected=named.tx_hash, actual=f"0x{digest.hex()}")
        if self.last is not None and named.index <= self.last:
            return None  # it came before, over the stream that broke
        self.last = named.index
        return Event(named.index, kind, named.nid, named.tx_hash, entry)
