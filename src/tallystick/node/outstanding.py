"""Which pieces are out: by name, by ticket and by job, and which blocks came for them.

Knows blobs and the files in which bytes gather. Refuses to know who holds a piece, and what follows from its bytes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from tallystick.errors import AbsentError, ConflictError, UsageError
from tallystick.node.floor import Piece
from tallystick.node.leftovers import let_go
from tallystick.node.pieces import Out
from tallystick.node.ports import Ports
from tallystick.primitives.digests import sha256


@dataclass(slots=True)
class Outstanding:
    """The pieces of one node. Every call but ``ticket``, ``keep`` and ``let_go`` is made under ``lock``."""

    ports: Ports
    lock: threading.RLock
    _out: dict[Piece, Out] = field(default_factory=dict)
    _of_job: dict[str, dict[Piece, Out]] = field(default_factory=dict)
    _tickets: dict[str, Out] = field(default_factory=dict)
    _orphans: dict[str, set[bytes]] = field(default_factory=dict)
    """By job, the blocks of pieces that were called back."""

    def __contains__(self, piece: Piece) -> bool:
        """Tell whether a piece is out."""
        return piece in self._out

    def find(self, piece: Piece) -> Out | None:
        """Return a piece, None if it is not out."""
        return self._out.get(piece)

    def need(self, piece: Piece) -> Out:
        """Return a piece that is out.

        Raises:
            AbsentError: it is not.
        """
        out = self._out.get(piece)
        if out is None:
            raise AbsentError(f"micro job {piece.microjob} of job {piece.job_id} is not out")
        return out

    def add(self, out: Out, *, ticketed: bool) -> None:
        """Have a piece be out, and let its ticket be shown."""
        self._out[out.piece] = self._of_job.setdefault(out.piece.job_id, {})[out.piece] = out
        if ticketed:
            self._tickets[out.ticket] = out

    def drop(self, piece: Piece) -> None:
        """Forget a piece, its ticket and its half-delivered bytes."""
        out = self._out.pop(piece, None)
        if out is None:
            return
        of_job = self._of_job[piece.job_id]
        del of_job[piece]
        if not of_job:
            del self._of_job[piece.job_id]
        self._tickets.pop(out.ticket, None)
        if out.gathered:
            self.ports.desk.remove(out.path)
        self._orphans.setdefault(piece.job_id, set()).update(out.arriving)

    def drop_job(self, job_id: str) -> None:
        """Forget every piece of a job."""
        for piece in tuple(self._of_job.get(job_id, ())):
            self.drop(piece)

    def ticket(self, ticket: str) -> Out:
        """Return the piece of a ticket, whoever has the lock.

        Raises:
            AbsentError: there is no such ticket, or its piece is no longer out.
        """
        out = self._tickets.get(ticket)
        if out is None:
            raise AbsentError("no such assignment: it ended, or it was given to somebody else")
        return out

    def keep(self, out: Out, read: Callable[[int], bytes]) -> tuple[tuple[bytes, int], ...] | UsageError:
        """Put a piece's blocks, which ``read`` returns one after the other, and return their digests and lengths.

        AbsentError is returned where the piece was called back meanwhile, ConflictError where there are fewer bytes.

        Raises:
            StoreError: the disk refuses them.
        """
        digests = []
        try:
            for length in out.lengths:
                data = read(length)
                if len(data) != length:
                    return ConflictError(f"a block of {length} bytes came with {len(data)}")
                digest = sha256(data)
                with self.lock:  # what arrives is spoken for before it is kept: see let_go
                    self.ticket(out.ticket)
                    out.arriving.add(digest)
                self.ports.blobs.put(digest, data)
                digests.append((digest, length))
        except AbsentError as error:
            return error
        return tuple(digests)

    def let_go(self, job_id: str, digests: AbstractSet[bytes]) -> None:
        """Delete blobs of a job that has ended, its called-back pieces included, but those that others rely on."""
        with self.lock:
            mine = self._orphans.pop(job_id, set()).union(digests)
            others = [out.arriving for out in self._out.values() if out.piece.job_id != job_id]
            let_go(self.ports, job_id, mine.difference(*others))
