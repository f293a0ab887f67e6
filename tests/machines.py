"""Several machines on this one: worker processes with homes of their own, and a client for a node that comes and goes.

Knows: `tally worker`, the SDK. Refuses to know: what is tested with them.
"""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tallystick.errors import TallyError
from tests.node_process import SECONDS_MAX, environment


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class WorkerProcess:
    """One `tally worker`; its log is a file beside its home."""

    home: Path
    process: subprocess.Popen[str]
    log: Path

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.wait(SECONDS_MAX)

    def stop(self) -> int:
        """Ask it to end, and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(SECONDS_MAX)

    def said(self) -> list[dict[str, Any]]:
        """Return the JSON lines of its stdout so far."""
        lines = self.log.with_suffix(".out").read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines if line.endswith("}")]


def start_worker(home: Path, url: str, *options: str) -> WorkerProcess:
    """Start a worker; it registers and bonds itself."""
    home.mkdir(parents=True, exist_ok=True)
    log = home.parent / f"{home.name}.log"
    with log.open("a", encoding="utf-8") as errors, log.with_suffix(".out").open("a", encoding="utf-8") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "tallystick", "worker", url, "--json", "--threads", "1", *options],
            env=environment(home),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=errors,
            text=True,
        )
    return WorkerProcess(home, process, log)


@contextmanager
def working(folder: Path, url: str, count: int, *options: str) -> Iterator[list[WorkerProcess]]:
    """Run so many workers for the length of a block."""
    workers = [start_worker(folder / f"worker-{number}", url, *options) for number in range(count)]
    try:
        yield workers
    finally:
        for worker in workers:
            worker.kill()


def patiently(act: Any, seconds: float = 60) -> Any:  # noqa: ANN401 - whatever the act gives
    """Do something with a node that may be away for a moment."""
    until = time.monotonic() + seconds
    while True:
        try:
            return act()
        except (TallyError, OSError):
            if time.monotonic() > until:
                raise
            time.sleep(0.2)
