"""Runs the real program as a user would: its own process, its own folder, its own home, no terminal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image

PROGRAM = [sys.executable, "-m", "tallystick"]
SECONDS_MAX = 120


@dataclass(frozen=True)
class Done:
    """How a run ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:  # noqa: ANN401 - as many shapes as verbs
        """The one document on stdout."""
        return json.loads(self.out)

    @property
    def error(self) -> dict[str, str]:
        """The error of a run with --json."""
        found = self.json["error"]
        assert sorted(found) == ["message", "type"]
        return found

    def refused(self, code: int, words: str) -> None:
        """Hold a refusal to its form: the exit code, and one line on stderr that says this."""
        assert self.code == code, self
        lines = [line for line in self.err.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, self
        assert words in lines[0]
        assert "Traceback" not in self.err


def environment(home: Path | None, **more: str) -> dict[str, str]:
    """A user's environment: nothing of ours but the home, and nothing of the terminal that runs the tests."""
    left_out = ("TALLY_", "COLUMNS", "XDG_DATA", "PYTHONIOENCODING")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    return kept | ({"TALLY_HOME": str(home)} if home else {}) | more


def tally(*words: str | Path, cwd: Path, home: Path | None = None, **more: str) -> Done:
    """Run `tally` to its end; the home is the folder `home` below ``cwd`` unless another is named."""
    done = subprocess.run(
        [*PROGRAM, *map(str, words)],
        cwd=cwd,
        env=environment(home or cwd / "home", **more),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


class Running:
    """A run in progress that can be stopped at a line of its log."""

    def __init__(self, *words: str | Path, cwd: Path) -> None:
        self._process = subprocess.Popen(
            [*PROGRAM, *map(str, words)],
            cwd=cwd,
            env=environment(cwd / "home"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.seen: list[str] = []

    def stop_at(self, word: str) -> None:
        """Halt the process when a line of its log holds this word; it keeps its lock and does nothing."""
        stream: IO[str] | None = self._process.stderr
        assert stream is not None
        for line in stream:
            self.seen.append(line)
            if word in line:
                self._process.send_signal(signal.SIGSTOP)
                return
        raise AssertionError("".join(self.seen))

    def send(self, *signals: signal.Signals) -> Done:
        """Send signals and wait for the end."""
        for each in signals:
            self._process.send_signal(each)
        out, err = self._process.communicate(timeout=SECONDS_MAX)
        return Done(self._process.returncode, out, "".join(self.seen) + err)


def picture(path: Path, width: int = 60, height: int = 40, mode: str = "RGB") -> Path:
    """Write a small picture of noise."""
    channels = {"L": (), "RGB": (3,), "RGBA": (4,)}[mode]
    samples = np.random.default_rng(width).integers(0, 256, (height, width, *channels), np.uint8)
    Image.fromarray(samples, mode).save(path)
    return path


def supply(cwd: Path) -> dict[str, Any]:
    """Return what `tally account --json` says, and hold its parts to their sum."""
    document = tally("account", "--json", cwd=cwd).json
    parts = [int(each["balanceWei"]) for each in document["accounts"]]
    total = sum(parts) + int(document["escrowWei"]) + int(document["bondedWei"])
    assert str(total) == document["supplyWei"] == str(10**27)
    return document
