"""Which entries belong to which job and worker, and where the headers stand: log positions, nothing else.

Rebuilt from the log at every start; a peek into an entry, never a second rule book.
"""

from __future__ import annotations

from bisect import bisect_left

import msgspec

from tallystick.errors import MalformedError


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


class LogIndex:
    """Log positions by job, by worker key in hex, and of every header in order."""

    def __init__(self) -> None:
        """Begin empty."""
        self.jobs: dict[str, list[int]] = {}
        self.nodes: dict[str, list[int]] = {}
        self.headers: list[int] = []

    def note(self, index: int, entry: bytes) -> None:
        """Take in one accepted entry.

        Raises:
            MalformedError: it is none.
        """
        try:
            peek = _DECODER.decode(entry)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise MalformedError(f"entry {index}", str(error)) from error
        if peek.type == "BlockHeader":
            self.headers.append(index)
            return
        if peek.type in _OF_NODES:
            self.nodes.setdefault(peek.sender, []).append(index)
            return
        job = peek.payload.job_id or peek.payload.task_id or (peek.payload.spec.job_id if peek.payload.spec else "")
        if job:
            self.jobs.setdefault(job, []).append(index)

    def headers_over(self, first: int, last: int) -> list[int]:
        """Return the headers from the one before entry ``first`` to the one that closes over entry ``last``."""
        begin = max(0, bisect_left(self.headers, first) - 1)
        return self.headers[begin : bisect_left(self.headers, last) + 1]
