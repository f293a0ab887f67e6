"""The inputs that a worker holds: fetched once for all pieces of a job, checked before anything is computed, bounded.

Knows what a decoded input is made of and what the order says of it. Believes nothing that came over the network before
its digest is the one that the order committed to.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from tallystick.client.calls import fetch
from tallystick.client.files import Held
from tallystick.client.offers import check_input_commitment, input_length
from tallystick.client.steps import Request, Script
from tallystick.errors import CommitmentError
from tallystick.kernels.raster import Raster, Samples, raster_digest, samples_from_bytes
from tallystick.wire import JobPayload

SHELF_BYTES: Final = 1 << 30
Fetch = Callable[[Script[bytes]], Awaitable[bytes]]


def input_bytes(payload: JobPayload) -> Script[bytes]:
    """Return the raw samples of a piece's input; a broken connection goes on where it broke."""
    part = Held(input_length(payload.spec.task))
    request = Request("GET", payload.input.path, public=True)
    yield from fetch(request, part, f'"{payload.input.digest}"')
    return bytes(part.data)


def checked_samples(payload: JobPayload, data: bytes) -> Samples:
    """Return the samples, once they are the ones that the order committed to.

    Raises:
        MalformedError: they are not as many as the order says.
        CommitmentError: they are others, or the order committed to others.
    """
    check_input_commitment(payload)
    task = payload.spec.task
    samples = samples_from_bytes(data, task.source_height, task.source_width, task.channels, task.depth)
    actual = raster_digest(Raster(samples)).hex()
    if actual != payload.input.digest:
        raise CommitmentError("digest of the input", expected=payload.input.digest, actual=actual)
    return samples


@dataclass(slots=True)
class Shelf:
    """Checked inputs by the order's commitment, the least used go first when there are too many bytes of them."""

    fetch: Fetch
    bytes_max: int = SHELF_BYTES
    _held: OrderedDict[str, asyncio.Task[Samples]] = field(default_factory=OrderedDict)

    async def get(self, payload: JobPayload) -> Samples:
        """Return the input of a piece; pieces that want the same one wait for one fetch.

        Raises:
            TallyError: it does not come, or is not the one.
        """
        name = f"{payload.spec.input}/{payload.spec.job_id}"
        task = self._held.get(name)
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            task = self._held[name] = asyncio.ensure_future(self._bring(payload))
        self._held.move_to_end(name)
        samples = await asyncio.shield(task)
        self._make_room(name)
        return samples

    async def _bring(self, payload: JobPayload) -> Samples:
        data = await self.fetch(input_bytes(payload))
        return await asyncio.to_thread(checked_samples, payload, data)

    def _make_room(self, newest: str) -> None:
        for name in [name for name in self._held if name != newest]:
            if self._size() <= self.bytes_max:
                return
            if self._held[name].done():
                del self._held[name]

    def _size(self) -> int:
        ended = [task for task in self._held.values() if task.done() and not task.cancelled()]
        return sum(task.result().nbytes for task in ended if task.exception() is None)

    def close(self) -> None:
        """Give up what is still coming."""
        for task in self._held.values():
            task.cancel()
