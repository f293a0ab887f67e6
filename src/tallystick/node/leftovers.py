"""Blocks that workers delivered: which of them a job may take with it when it ends, and what no job wants any more.

A blob is named by its bytes, so two jobs, or a job and an account, may rely on the same one. A worker chooses what it
delivers: what one job forgets must not be what another one still has to hand out.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Final

from tallystick.node.bundling import evidence_key, kept_digests
from tallystick.node.deliveries import DELIVERIES_PREFIX, deliveries_prefix, parse_delivery
from tallystick.node.ports import Ports, Store

OWNER_PREFIX: Final = "blob-owner/"
"""Private notes of blobs that accounts put here: ``blob-owner/<account>/<digest>``."""
LEFT: Final = ("*.part", "*.samples", ".*.tmp")
"""Files in which a piece's bytes gather, the inputs that workers fetch, and either one half written."""


def delivered(store: Store, job_id: str) -> set[bytes]:
    """Return the digest of every block that a job noted, its verdicts included."""
    kept = store.private(evidence_key(job_id))
    digests = set() if kept is None else set(kept_digests(kept))
    return digests | _noted(store, store.private_keys(deliveries_prefix(job_id)))


def wanted(store: Store, besides: str = "") -> set[bytes]:
    """Return the digest of every blob that an account owns or a job noted, one job left out."""
    own = deliveries_prefix(besides)
    notes = tuple(key for key in store.private_keys(DELIVERIES_PREFIX) if not key.startswith(own))
    owned = {bytes.fromhex(key.rpartition("/")[2]) for key in store.private_keys(OWNER_PREFIX)}
    return owned | _noted(store, notes)


def let_go(ports: Ports, job_id: str, digests: AbstractSet[bytes]) -> None:
    """Delete blobs of a job that has ended, but for those that somebody else relies on."""
    for digest in sorted(digests - wanted(ports.store, job_id)):
        ports.blobs.delete(digest)


def sweep(ports: Ports) -> None:
    """Delete what an earlier process was being given, or gave out, when it died.

    Nothing of it was noted, and its tickets died too: it is sent again, and a job that goes on writes its input anew.
    """
    for path in (each for pattern in LEFT for each in Path(ports.folder).glob(pattern)):
        path.unlink(missing_ok=True)
    for digest in sorted(ports.blobs.digests() - wanted(ports.store)):
        ports.blobs.delete(digest)


def _noted(store: Store, keys: tuple[str, ...]) -> set[bytes]:
    return {output.digest for key in keys for output in parse_delivery(store.private(key) or b"[]")}
