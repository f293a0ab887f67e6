"""One command in a process of its own, and what the system says it took."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO


@dataclass(frozen=True, slots=True)
class Ended:
    """What one command took: seconds of wall and CPU, and its peak resident set in bytes."""

    wall: float
    cpu: float
    peak: int


# A process begins with the peak of the one that started it. So a small one stands between, and reports.
_BETWEEN = """
import json, os, sys, time
begun = time.perf_counter()
_, status, used = os.wait4(os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ), 0)
wall = time.perf_counter() - begun
figures = [os.waitstatus_to_exitcode(status), wall, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024]
os.write(3, json.dumps(figures).encode())
"""


def run(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Ended:
    """Run a command in silence; ``environment`` is added to this process's own. Its words are shown if it fails."""
    between = [sys.executable, "-I", "-S", "-c", _BETWEEN, *command]
    with tempfile.TemporaryFile() as words, tempfile.TemporaryFile() as report:
        actions = [(os.POSIX_SPAWN_DUP2, words.fileno(), stream) for stream in (1, 2)]
        actions.append((os.POSIX_SPAWN_DUP2, report.fileno(), 3))
        child = os.posix_spawn(between[0], between, {**os.environ, **(environment or {})}, file_actions=actions)
        os.waitpid(child, 0)
        told, figures = (_read(file) for file in (words, report))
    code, wall, cpu, peak = json.loads(figures or b"[1, 0, 0, 0]")
    if code:
        raise SystemExit(f"{command[-1]} ended with {code}: {told.decode(errors='replace')[-2000:]}")
    return Ended(wall, cpu, peak)


def _read(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read()
