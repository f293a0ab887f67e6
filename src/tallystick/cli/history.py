"""The folder of a log as `tally verify` reads it: checkpoint first, every file bounded, nothing but regular files.

Takes no lock: a log that is written meanwhile is checked up to the checkpoint that was read.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tallystick.errors import IncompleteError, MalformedError, TooLargeError, UsageError

if TYPE_CHECKING:
    from tallystick.audit.anchors import Inquiry
    from tallystick.audit.findings import Report
    from tallystick.audit.trust import Trust

CHECKPOINT_BYTES_MAX: Final = 1 << 20


def folders_of(paths: Sequence[Path]) -> list[Path]:
    """Return the folders among some paths, each once.

    Raises:
        UsageError: one of them is no log.
    """
    from tallystick.cli.home import LOG_FOLDER
    from tallystick.receipts.log import CHECKPOINT_PATH

    folders = [path for path in dict.fromkeys(paths) if os.path.isdir(path)]  # noqa: PTH112 - Path.is_dir raises
    for folder in folders:
        if not os.path.lexists(folder / CHECKPOINT_PATH):
            inner = folder / LOG_FOLDER
            where = f", but {inner} does" if os.path.lexists(inner / CHECKPOINT_PATH) else ""
            raise UsageError(f"{folder} is a folder and no log: it holds no {CHECKPOINT_PATH}{where}")
    return folders


def verify_log(folder: Path, trust: Trust, inquiry: Inquiry | None = None) -> Report:
    """Check the log in a folder; ``inquiry`` is a chain to be asked for its newest anchor.

    Raises:
        UsageError: its checkpoint or genesis cannot be read.
        MalformedError: one of them is no regular file, or too large.
        IncompleteError: its genesis is missing.
    """
    from tallystick.audit.history import ShownLog, verify_history
    from tallystick.cli.home import GENESIS_FILE
    from tallystick.primitives.canonical import BYTES_MAX
    from tallystick.receipts.log import CHECKPOINT_PATH

    def fetch(path: str, bytes_max: int) -> bytes | None:
        return read(folder / path, bytes_max)

    checkpoint = read(folder / CHECKPOINT_PATH, CHECKPOINT_BYTES_MAX)
    genesis = read(folder / GENESIS_FILE, BYTES_MAX)
    if checkpoint is None or genesis is None:
        missing = CHECKPOINT_PATH if checkpoint is None else GENESIS_FILE
        raise IncompleteError(f"incomplete: {folder} holds no {missing}, which every log shows beside its tiles")
    return verify_history(ShownLog(genesis, checkpoint, fetch), trust, inquiry)


def read(path: Path, bytes_max: int) -> bytes | None:
    """Return a regular file of bounded size, None where there is none; nothing else is waited for, or read.

    Raises:
        UsageError: it cannot be read.
        MalformedError: it is a folder, a device, a pipe; or it is larger than the bound.
    """
    try:
        with open(path, "rb", opener=_at_once) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise MalformedError(str(path), "it is no regular file")
            data = file.read(bytes_max + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
    if len(data) > bytes_max:
        raise TooLargeError(str(path), f"more than {bytes_max} bytes")
    return data


def _at_once(path: str, flags: int) -> int:
    """Open without waiting for somebody at the other end of a pipe."""
    return os.open(path, flags | os.O_NONBLOCK)
