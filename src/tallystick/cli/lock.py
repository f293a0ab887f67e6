"""Who works in a home: the lock file that the one writing process holds, which the system releases with it."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import Final

LOCK_FILE: Final = "lock"


def lock_holder(path: Path) -> int | None:
    """Return the id of the process that works in a home, 0 if it has not said so yet, None when nobody does."""
    try:
        with (path / LOCK_FILE).open("rb") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                said = handle.read(20)
                return int(said) if said.isdigit() else 0
    except OSError:
        return None
    return None
