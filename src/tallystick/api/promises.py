"""Idempotency keys: the same key with the same body is answered with the first answer, also after a crash.

A key is promised to one job before the job exists, so a crash in between leads to that very job and no second one.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import msgspec

from tallystick.errors import ConflictError
from tallystick.node.host import new_job_id
from tallystick.node.ports import Entropy, Store
from tallystick.primitives.canonical import Count, DigestHex, decode, encode
from tallystick.primitives.digests import sha256

PREFIX: Final = "idempotency/"
KEPT_MS: Final = 7 * 24 * 3_600_000
Name = tuple[str, str]
"""An account, and the key that it chose."""


class Promise(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One key: the SHA-256 of its body, the job that is promised to it, and the first answer once there is one."""

    body: DigestHex
    job_id: str
    created: Count
    answer: str | None = None


@dataclass(slots=True)
class Promises:
    """The promises of one node, over its store."""

    store: Store
    entropy: Entropy
    _locks: dict[Name, asyncio.Lock] = field(default_factory=dict)
    _users: Counter[Name] = field(default_factory=Counter)
    """How many requests hold or wait for a key's lock: between two of them it is free, and must stay the same."""

    def sweep(self, now: int) -> None:
        """Forget promises that are a week old."""
        old = [key for key in self.store.private_keys(PREFIX) if self._read(key).created + KEPT_MS < now]
        self.store.put_private([(key, None) for key in old])

    @asynccontextmanager
    async def held(self, name: Name) -> AsyncIterator[None]:
        """Let one request after the other use a key."""
        self._users[name] += 1
        try:
            async with self._locks.setdefault(name, asyncio.Lock()):
                yield
        finally:
            self._users[name] -= 1
            if not self._users[name]:
                del self._users[name], self._locks[name]

    def make(self, name: Name, body: bytes, now: int) -> Promise:
        """Return the promise of a key, which is durable.

        Raises:
            ConflictError: the key was used with another body.
        """
        key, digest = _key(name), sha256(body).hex()
        if self.store.private(key) is None:
            promise = Promise(digest, new_job_id(self.entropy), now)
            self.store.put_private([(key, encode(promise))])
            return promise
        promise = self._read(key)
        if promise.body != digest:
            raise ConflictError("this Idempotency-Key was used with another body: choose a new key")
        return promise

    def keep(self, name: Name, promise: Promise, answer: str) -> None:
        """Keep the first answer."""
        self.store.put_private([(_key(name), encode(msgspec.structs.replace(promise, answer=answer)))])

    def _read(self, key: str) -> Promise:
        return decode(self.store.private(key) or b"", Promise, what="kept promise")


def _key(name: Name) -> str:
    account, chosen = name
    return f"{PREFIX}{sha256(sha256(account.encode()), chosen.encode()).hex()}"
