"""What callers may fill of a node's disk: all but a reserve, which the ledger and running jobs need."""

from __future__ import annotations

import shutil
from pathlib import Path

from tallystick.errors import LimitError


def check_disk(folder: Path, size: int, reserve: int) -> None:
    """Check that so many bytes more leave the reserve alone.

    Raises:
        LimitError: they do not.
    """
    if shutil.disk_usage(folder).free - size < reserve:
        raise LimitError(f"the disk of this node has no room for {size} bytes now: try again later")
