"""HOME/node.json: where the running node of a home answers. There while it runs; stale after a kill, and noticed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from tallystick.cli.lock import lock_holder

NODE_FILE: Final = "node.json"


class Standing(msgspec.Struct, frozen=True):
    """A running node: its URL, its process, since when (UTC milliseconds), and its certificate's file."""

    url: str
    pid: int
    started: int
    certificate: str | None = None


@contextmanager
def announced(home: Path, standing: Standing) -> Iterator[None]:
    """Keep the file there for as long as the node runs."""
    place, beside = home / NODE_FILE, home / f".{NODE_FILE}.tmp"
    beside.unlink(missing_ok=True)
    with os.fdopen(os.open(beside, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600), "wb") as handle:
        handle.write(msgspec.json.encode(standing))
    beside.replace(place)
    try:
        yield
    finally:
        place.unlink(missing_ok=True)


def running(home: Path) -> Standing | None:
    """Return the node that works in a home now; a file that a killed one left counts for nothing."""
    holder = lock_holder(home)
    if holder is None:
        return None
    try:
        standing = msgspec.json.decode((home / NODE_FILE).read_bytes(), type=Standing)
    except (OSError, msgspec.DecodeError):
        return None
    return standing if standing.pid == holder else None
