"""Micro jobs over real sockets: dispatched, delivered and recorded a second, beside the engine; idle workers."""

from __future__ import annotations

import io
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import numpy as np
from PIL import Image

from tallystick.cli.home import open_home
from tallystick.ledger import payloads as say
from tallystick.ledger.transactions import Draft, sign
from tallystick.node.sequencer import Submission
from tallystick.primitives.digests import sha256

WORKERS: Final = (2, 8, 32)
SIDES: Final = (1024, 1024)
BLOCK: Final = 8
ROUNDS: Final = 3
IDLE: Final = 1000
GROUP: Final = 64
MEGABYTE: Final = 10**6


@contextmanager
def node(folder: Path) -> Iterator[tuple[str, int]]:
    """Serve a fresh home; yields its URL and process id."""
    environment = os.environ | {"TALLY_HOME": str(folder)}
    command = [sys.executable, "-m", "tallystick", "node", "start", "--listen", "127.0.0.1:0", "--json"]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        try:
            yield url, process.pid
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)


@contextmanager
def workers(url: str, count: int, mode: str) -> Iterator[subprocess.Popen[str]]:
    """Connect so many workers from another process."""
    command = [sys.executable, "-m", "bench._socket_workers", url, str(count), mode]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["connected"] == count
        try:
            yield process
        finally:
            process.kill()


def black() -> bytes:
    """Return a black picture: its blocks are zeros, so workers need no kernel to be right."""
    file = io.BytesIO()
    Image.fromarray(np.zeros((SIDES[1], SIDES[0], 3), np.uint8)).save(file, "PNG")
    return file.getvalue()


def order(url: str, data: bytes, seats: int) -> int:
    """Upload and order one job; return its micro jobs."""
    digest = sha256(data).hex()
    with httpx.Client(base_url=url, timeout=60) as http:
        upload = http.post("/api/v1/uploads", json={"length": len(data), "sha256": digest}).json()
        headers = {"upload-offset": "0", "content-type": "application/offset+octet-stream"}
        http.patch(f"/api/v1/uploads/{upload['upload_id']}", content=data, headers=headers).raise_for_status()
        form = {"input": digest, "scale": "1", "block": BLOCK, "workers": seats, "workers_least": seats}
        answer = http.post("/api/v1/jobs", json=form)
        answer.raise_for_status()
        quoted = http.post("/api/v1/quotes", json=form)
        quoted.raise_for_status()
        return int(quoted.json()["microjobs"])


def served(count: int) -> dict[str, float]:
    """Run one job through so many socket workers."""
    with tempfile.TemporaryDirectory() as scratch, node(Path(scratch)) as (url, _), workers(url, count, "work") as run:
        assert run.stdin is not None
        assert run.stdout is not None
        microjobs = order(url, black(), count)
        print(microjobs, file=run.stdin, flush=True)
        said: dict[str, Any] = json.loads(run.stdout.readline())
        if "refused" in said:
            raise RuntimeError(said["refused"])
        return {"microjobs": said["microjobs"], "per_second": said["microjobs"] / said["seconds"]}


def floor(entries: int) -> float:
    """Return durable entries a second of the engine alone, signed beforehand, in groups of 64."""
    with tempfile.TemporaryDirectory() as scratch, open_home(Path(scratch)) as home:
        key, engine = home.identity.faucet(), home.engine
        chain_id = engine.parameters.chain_id
        target = home.identity.requester().address
        made = [sign(Draft(key, say.Transfer(target, "1")), chain_id, nonce) for nonce in range(entries)]
        begin = time.perf_counter()
        for start in range(0, entries, GROUP):
            engine.run([Submission((entry,)) for entry in made[start : start + GROUP]])
        return entries / (time.perf_counter() - begin)


def resident(pid: int) -> int:
    """Return a process's resident bytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def idle() -> dict[str, float]:
    """Return what a thousand connected workers cost the node's memory."""
    with tempfile.TemporaryDirectory() as scratch, node(Path(scratch)) as (url, pid):
        httpx.get(f"{url}/readyz").raise_for_status()
        with workers(url, 1, "idle"):
            time.sleep(1)
            before = resident(pid)
        with workers(url, IDLE, "idle"):
            time.sleep(2)
            after = resident(pid)
    return {"before_mb": before / MEGABYTE, "per_thousand_mb": (after - before) / MEGABYTE * 1000 / IDLE}


def main() -> dict[str, object]:
    """Print and return the figures: medians of interleaved rounds."""
    rounds = [{"floor": floor(4096), **{count: served(count) for count in WORKERS}} for _ in range(ROUNDS)]
    floors = statistics.median(float(each["floor"]) for each in rounds)
    print(
        f"  the engine alone: {floors:,.0f} durable entries a second in groups of {GROUP}; a micro job is two entries"
    )
    figures: dict[str, object] = {"engine_entries_per_second": round(floors), "group": GROUP, "rounds": ROUNDS}
    for count in WORKERS:
        rates = sorted(each[count]["per_second"] for each in rounds)
        rate = statistics.median(rates)
        share = 2 * rate / floors
        print(f"  {count:>2} socket workers: {rate:,.0f} micro jobs a second, {share:.2f} of the engine's rate")
        figures[f"workers_{count}"] = {
            "microjobs_per_second": round(rate, 1),
            "least": round(rates[0], 1),
            "most": round(rates[-1], 1),
            "share_of_engine": round(share, 3),
            "microjobs": rounds[0][count]["microjobs"],
        }
    memory = idle()
    grown, bare = memory["per_thousand_mb"], memory["before_mb"]
    print(f"  {IDLE:,} idle workers: {grown:.0f} MB more than the {bare:.0f} MB of a node with one")
    return {**figures, "idle": {name: round(value, 1) for name, value in memory.items()}}
