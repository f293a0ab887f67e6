"""Packages that others wrote in JavaScript, installed by their lock before a test uses them.

Knows ``npm ci`` and how it marks a finished installation. Refuses to know what the packages are for.
"""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from pathlib import Path
from typing import Final

from tests.demand import demand

HOW: Final = "install Node 20 or newer with npm; the test installs the locked packages itself"


def installed(folder: Path) -> str:
    """Return the path of Node; a folder whose packages are missing or older than their lock is installed first.

    Without Node, npm or the registry the running test is skipped by name, or fails where everything is demanded.
    """
    node = shutil.which("node")
    demand("node", node, HOW)
    with (folder / "package-lock.json").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several test processes may find it missing at once
        if not _finished(folder):
            demand("npm", shutil.which("npm"), HOW)
            done = subprocess.run(["npm", "ci"], cwd=folder, capture_output=True, text=True, check=False)
            demand(f"npm packages of {folder.name}", done.returncode == 0, f"npm ci: {done.stderr.strip()[-300:]!r}")
    return str(node)


def _finished(folder: Path) -> bool:
    """Npm writes this file last: an installation that was broken off has none."""
    mark = folder / "node_modules" / ".package-lock.json"
    return mark.exists() and mark.stat().st_mtime >= (folder / "package-lock.json").stat().st_mtime
