"""Files are whole or absent, and a write that failed leaves nothing behind."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from tallystick.adapters.desk import FolderDesk


def test_a_full_disk_keeps_no_halves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk, target = FolderDesk(), tmp_path / "input"
    desk.write(str(target), b"old")

    def full(_file: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        desk.write(str(target), b"new" * 1000)
    assert [path.name for path in tmp_path.iterdir()] == ["input"]
    assert target.read_bytes() == b"old"
