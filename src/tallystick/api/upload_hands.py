"""Who writes on which upload: the newest writer, since the one before may hang on a connection that is dead."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from functools import partial

from tallystick.api.aside import aside
from tallystick.api.upload_desk import Upload, UploadDesk
from tallystick.errors import ConflictError


@dataclass(slots=True)
class Hands:
    """Who writes on which upload: the newest writer, since the one before may hang on a dead connection."""

    desk: UploadDesk
    _writers: dict[str, object] = field(default_factory=dict)
    _locks: dict[str, asyncio.Lock] = field(default_factory=dict)

    def take(self, upload: Upload) -> object:
        """Become the writer."""
        mine = object()
        self._writers[upload.upload_id] = mine
        self._locks.setdefault(upload.upload_id, asyncio.Lock())
        return mine

    def leave(self, upload: Upload, mine: object) -> None:
        """Stop being the writer, unless somebody else is."""
        if self._writers.get(upload.upload_id) is mine:
            del self._writers[upload.upload_id]
            self._locks.pop(upload.upload_id, None)

    async def write(self, upload: Upload, mine: object, offset: int, data: bytes) -> int:
        """Append bytes while being the writer.

        Raises:
            ConflictError: somebody else goes on with this upload.
        """
        if self._writers.get(upload.upload_id) is not mine:
            raise ConflictError("another request goes on with this upload", offset=offset)
        async with self._locks[upload.upload_id]:
            return await aside(partial(self.desk.write, upload, offset, data))
