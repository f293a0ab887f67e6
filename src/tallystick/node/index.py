"""Which entries belong to which job and worker, where the headers stand, and where the entry of a digest may stand.

Knows log positions and nothing else: a peek into an entry, never a second rule book. What it knows can be taken out in
pieces and put back, so that a start need not peek into the whole log again.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from tallystick.errors import MalformedError
from tallystick.primitives.canonical import Count
from tallystick.primitives.digests import sha256

KEY_BYTES: Final = 8
"""So much of a digest is kept: 12 bytes an entry with its position. Two entries may share it, so a finder looks."""
RECENT_MIN: Final = 1 << 14
"""So many new digests wait unsorted before they are laid among the others."""


class _PeekSpec(msgspec.Struct):
    job_id: str = ""


class _PeekPayload(msgspec.Struct):
    job_id: str = ""
    task_id: str = ""
    spec: _PeekSpec | None = None


class _Peek(msgspec.Struct):
    type: str
    sender: str
    payload: _PeekPayload


_DECODER = msgspec.json.Decoder(_Peek)
_OF_NODES = frozenset({"NodeRegistered", "StakeDeposited", "StakeWithdrawn"})
_EVENTS = frozenset({"JobSubmitted", "JobScheduled", "JobStarted", "JobProgressUpdate", "JobCompleted", "JobFailed"})
"""The lifecycle of a job as others know it; the rest is how it was judged and paid."""


class Growth(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an index learned from a stretch of the log; positions are those of the whole log."""

    headers: list[Count]
    jobs: dict[str, list[Count]]
    nodes: dict[str, list[Count]]
    anchors: list[Count] = []
    newest_event: int = -1


class LogIndex:
    """Log positions by job, by worker key in hex, of every header and every anchor in order, and by digest.

    ``newest_event`` is where the newest event of any job's lifecycle stands, -1 before the first.
    One thread writes; ``find`` may be asked by any thread, everything else under the writer's lock.
    """

    def __init__(self) -> None:
        """Begin empty."""
        self.jobs: dict[str, array[int]] = {}
        self.nodes: dict[str, array[int]] = {}
        self.headers: array[int] = array("Q")
        self.anchors: array[int] = array("Q")
        self.newest_event = -1
        self._digests = _Digests()
        self._fresh = bytearray()
        self._touched: set[tuple[bool, str]] = set()

    def note(self, index: int, entry: bytes) -> None:
        """Take in one accepted entry.

        Raises:
            MalformedError: it is none.
        """
        try:
            peek = _DECODER.decode(entry)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise MalformedError(f"entry {index}", str(error)) from error
        key = sha256(entry)[:KEY_BYTES]
        self._digests.note(int.from_bytes(key, "big"), index)
        self._fresh += key
        if peek.type == "BlockHeader":
            self.headers.append(index)
            return
        if peek.type == "Anchored":
            self.anchors.append(index)
            return
        if peek.type in _EVENTS:
            self.newest_event = index
        of_node = peek.type in _OF_NODES
        name = peek.sender if of_node else _job_of(peek.payload)
        if name:
            (self.nodes if of_node else self.jobs).setdefault(name, array("Q")).append(index)
            self._touched.add((of_node, name))

    def find(self, digest: bytes) -> tuple[int, ...]:
        """Return where an entry with this SHA-256 may stand, in order; mostly none or one.

        Only the first 8 of its 32 bytes are looked at: the caller hashes the entry that stands there.
        """
        return self._digests.find(int.from_bytes(digest[:KEY_BYTES], "big"))

    def headers_over(self, first: int, last: int) -> list[int]:
        """Return the headers from the one before entry ``first`` to the one that closes over entry ``last``."""
        begin = max(0, bisect_left(self.headers, first) - 1)
        return self.headers[begin : bisect_left(self.headers, last) + 1].tolist()

    def grown(self, first: int) -> tuple[bytes, Growth]:
        """Return what was learned from entry ``first`` on, where the last ``settle`` was: keys in order, and names."""
        return bytes(self._fresh), Growth(
            headers=self.headers[bisect_left(self.headers, first) :].tolist(),
            jobs=_tails(self.jobs, (name for of_node, name in self._touched if not of_node), first),
            nodes=_tails(self.nodes, (name for of_node, name in self._touched if of_node), first),
            anchors=self.anchors[bisect_left(self.anchors, first) :].tolist(),
            newest_event=self.newest_event if self.newest_event >= first else -1,
        )

    def settle(self) -> None:
        """What ``grown`` gave is kept elsewhere: begin the next piece."""
        self._fresh.clear()
        self._touched.clear()

    def extend(self, first: int, keys: bytes, growth: Growth) -> None:
        """Take in a piece that an earlier index gave for the entries from ``first`` on, instead of noting them."""
        self._digests.extend(np.frombuffer(keys, ">u8").astype(np.uint64), first)
        self.headers.extend(growth.headers)
        self.anchors.extend(growth.anchors)
        self.newest_event = max(self.newest_event, growth.newest_event)
        for mine, theirs in ((self.jobs, growth.jobs), (self.nodes, growth.nodes)):
            for name, positions in theirs.items():
                mine.setdefault(name, array("Q")).extend(positions)


def _job_of(payload: _PeekPayload) -> str:
    return payload.job_id or payload.task_id or (payload.spec.job_id if payload.spec else "")


def _tails(positions: Mapping[str, array[int]], names: Iterable[str], first: int) -> dict[str, list[int]]:
    held = ((name, positions[name]) for name in names)
    return {name: each[bisect_left(each, first) :].tolist() for name, each in held}


class _Digests:
    """Positions by key: a sorted array, and the newest beside it until they are many.

    A reader needs no lock: new arrays are in place before the newest are forgotten, and it looks at these first.
    """

    def __init__(self) -> None:
        self._sorted: tuple[NDArray[np.uint64], NDArray[np.uint32]] = np.empty(0, np.uint64), np.empty(0, np.uint32)
        self._recent: dict[int, tuple[int, ...]] = {}

    def note(self, key: int, index: int) -> None:
        held = self._recent.get(key)
        self._recent[key] = (index,) if held is None else (*held, index)
        if len(self._recent) >= max(RECENT_MIN, len(self._sorted[0]) >> 6):
            self.sort()

    def sort(self) -> None:
        """Lay the newest among the others."""
        pairs = [(key, index) for key, indices in self._recent.items() for index in indices]
        self._lay(np.array([key for key, _ in pairs], np.uint64), np.array([at for _, at in pairs], np.uint32))
        self._recent = {}

    def find(self, key: int) -> tuple[int, ...]:
        recent = self._recent.get(key, ())
        keys, positions = self._sorted
        begin, end = (int(np.searchsorted(keys, np.uint64(key), side)) for side in ("left", "right"))
        return tuple(sorted({*positions[begin:end].tolist(), *recent})) if begin < end else recent

    def extend(self, keys: NDArray[np.uint64], first: int) -> None:
        self._lay(keys, np.arange(first, first + len(keys), dtype=np.uint32))

    def _lay(self, keys: NDArray[np.uint64], positions: NDArray[np.uint32]) -> None:
        """Lay more keys among the sorted ones."""
        order = np.argsort(keys, kind="stable")
        held, indices = self._sorted
        at = np.searchsorted(held, keys[order])
        self._sorted = np.insert(held, at, keys[order]), np.insert(indices, at, positions[order])
