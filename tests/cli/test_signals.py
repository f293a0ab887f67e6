"""Signals that come while a command already ends: neither its last words nor its exit code change."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.runs import Running, picture
from tests.node_process import serving

LAST_WORDS = """
import os, signal, sys
from tallystick.cli import exits
exits.steady()
exits.heed_termination()
code = exits.report(exits.InterruptionError("the last words"), as_json=False)
os.kill(os.getpid(), signal.SIGINT)
os.kill(os.getpid(), signal.SIGTERM)
sys.exit(code)
"""


def test_a_signal_after_the_last_words_changes_nothing() -> None:
    done = subprocess.run([sys.executable, "-c", LAST_WORDS], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (130, "the last words\n")


@pytest.mark.parametrize("pause", [0.005, 0.03, 0.1])
def test_many_signals_end_an_order_at_a_node_as_one_does(tmp_path: Path, pause: float) -> None:
    source = picture(tmp_path / "photo.png")
    with serving(tmp_path / "node") as node:
        running = Running("submit", "upscale", source, "--block", "16", "--node", node.url, cwd=tmp_path)
        running.stop_at("no worker is connected")
        process = running._process
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGCONT)
        for each in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
            time.sleep(pause)
            if process.poll() is None:
                process.send_signal(each)
        done = running.send()
    assert done.code in {130, 143}, done
    assert "Traceback" not in done.err
    assert done.err.count("interrupted") == 1
