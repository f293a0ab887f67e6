"""A real node for tests: `tally node start` in its own process, its own home, on a free port.

    with serving(tmp_path / "home") as node:
        httpx.get(f"{node.url}/health")

``node.stop()`` sends SIGTERM and returns the exit code; ``node.kill()`` is a SIGKILL. A home can be served again.
"""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SECONDS_MAX = 30.0


@dataclass
class NodeProcess:
    """A node that runs; its log is a file beside its home."""

    home: Path
    url: str
    process: subprocess.Popen[str]
    log: Path

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.url.rpartition(":")[2])

    def stop(self, sent: signal.Signals = signal.SIGTERM, seconds: float = SECONDS_MAX) -> int:
        """Ask it to end, and return its exit code."""
        self.process.send_signal(sent)
        code = self.process.wait(seconds)
        self.close()
        return code

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.wait(SECONDS_MAX)
        self.close()

    def close(self) -> None:
        """Let go of what it says on stdout."""
        if self.process.stdout is not None:
            self.process.stdout.close()

    def said(self) -> str:
        """Return what it logged so far."""
        return self.log.read_text(encoding="utf-8")


def environment(home: Path, **more: str) -> dict[str, str]:
    """A user's environment: nothing of ours but the home."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TALLY_")}
    return kept | {"TALLY_HOME": str(home)} | more


def start(
    home: Path, *options: str, listen: str = "127.0.0.1:0", verify: str | None = None, **more: str
) -> NodeProcess:
    """Start a node and wait until it is ready; what keeps it from that is raised with its log.

    ``verify`` is the certificate of a node that speaks TLS, whatever name it is for.
    """
    home.parent.mkdir(parents=True, exist_ok=True)
    log = home.parent / f"{home.name}.node.log"
    with log.open("a", encoding="utf-8") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "tallystick", "node", "start", "--listen", listen, "--json", *options],
            env=environment(home, **more),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    assert process.stdout is not None
    line = process.stdout.readline()
    try:
        node = NodeProcess(home, str(json.loads(line)["url"]), process, log)
        wait_ready(node, verify)
    except (ValueError, KeyError, AssertionError):
        process.kill()
        process.communicate()
        raise AssertionError(f"the node did not start: {line}{log.read_text(encoding='utf-8')}") from None
    return node


def wait_ready(node: NodeProcess, verify: str | None = None) -> None:
    """Wait for /readyz."""
    context = None if verify is None else ssl.create_default_context(cafile=verify)
    if context is not None:
        context.check_hostname = False
    until = time.monotonic() + SECONDS_MAX
    while time.monotonic() < until:
        assert node.process.poll() is None, "it ended"
        try:
            with urllib.request.urlopen(  # noqa: S310 - our own node
                f"{node.url}/readyz", timeout=5, context=context
            ) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise AssertionError("not ready in time")


@contextmanager
def serving(home: Path, *options: str, verify: str | None = None, **more: str) -> Iterator[NodeProcess]:
    """Serve a home for the length of a block; killed at its end if it still runs."""
    node = start(home, *options, verify=verify, **more)
    try:
        yield node
    finally:
        if node.process.poll() is None:
            node.kill()
