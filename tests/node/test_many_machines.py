"""Ten workers, fifty jobs, three workers killed, the node killed and restarted: all jobs end, money conserved.

Knows: real processes on loopback. Refuses to know: anything simulated.
"""

from __future__ import annotations

import io
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from tallystick import Client
from tallystick.cli.home import open_home
from tallystick.kernels.lanczos import resample
from tallystick.ledger import payloads as say
from tallystick.ledger.records import Escrow, supply
from tallystick.ledger.records import Node as Registered
from tallystick.ledger.transactions import decode
from tallystick.node.views import JobState, JobView
from tests import node_process
from tests.machines import free_port, patiently, working
from tests.worlds import SUPPLY

JOBS = 50
WORKERS = 10
KILLED = 3


def noise(seed: int) -> np.ndarray:
    """Return a small picture, different for every seed."""
    return np.random.default_rng(seed).integers(0, 256, (40 + seed % 7, 56, 3), np.uint8)


def encoded(samples: np.ndarray) -> bytes:
    """Return it as a PNG."""
    file = io.BytesIO()
    Image.fromarray(samples).save(file, "PNG")
    return file.getvalue()


def submit(client: Client, samples: np.ndarray) -> JobView:
    """Order one picture."""
    return client.submit(encoded(samples), block=16, workers=4, minutes=2, output_name="big.png")


def wait(url: str, enough: Callable[[list[JobView]], bool], seconds: float = 240) -> list[JobView]:
    """Wait until the jobs of the node are as wanted."""
    until = time.monotonic() + seconds
    while True:
        with Client(url) as client:
            views = patiently(lambda: list(client.jobs()))
        if enough(views):
            return views
        assert time.monotonic() < until, [(view.job_id, view.state, view.phase, view.waiting) for view in views]
        time.sleep(0.3)


def done(views: list[JobView]) -> int:
    return sum(view.state is JobState.DONE for view in views)


def test_fifty_jobs_survive_the_death_of_workers_and_of_the_node(tmp_path: Path) -> None:
    home, listen = tmp_path / "node", f"127.0.0.1:{free_port()}"
    url, options = f"http://{listen}", ("--heartbeat", "0.5")
    node = node_process.start(home, *options, listen=listen)
    pictures = [noise(seed) for seed in range(JOBS)]
    try:
        with working(tmp_path, url, WORKERS) as workers:
            until = time.monotonic() + 120
            with Client(url) as client:
                while sum(each.bond_wei not in {None, "0"} for each in client.workers()) < WORKERS:
                    assert time.monotonic() < until, [worker.log.read_text() for worker in workers]
                    time.sleep(0.2)
                jobs = [submit(client, each) for each in pictures[: JOBS // 2]]
                wait(url, lambda views: done(views) >= JOBS // 6)
                dead = {str(worker.said()[0]["payout"]) for worker in workers[:KILLED]}
                for worker in workers[:KILLED]:
                    worker.process.send_signal(signal.SIGSTOP)  # what it has and what it gets now stays with it
                jobs += [submit(client, each) for each in pictures[JOBS // 2 :]]
            for worker in workers[:KILLED]:
                worker.kill()
            node.kill()
            node = node_process.start(home, *options, listen=listen)
            wait(url, lambda views: done(views) >= JOBS // 2)
            assert node.stop() == 0
            node = node_process.start(home, *options, listen=listen)
            wait(url, lambda views: done(views) == JOBS)
            with Client(url) as client:
                for job, samples in zip(jobs, pictures, strict=True):
                    target = tmp_path / "delivered.png"
                    client.download(job.job_id, "output", target)
                    size = (samples.shape[1] * 2, samples.shape[0] * 2)
                    assert np.array_equal(np.asarray(Image.open(target)), resample(samples, size))
        assert node.stop() == 0
    finally:
        if node.process.poll() is None:
            node.kill()
    check_money(home, dead)


def check_money(home: Path, dead: set[str]) -> None:
    """All money is where it belongs, and whoever delivered right bytes was paid for them."""
    with open_home(home) as opened:
        records = opened.engine.view.records
        entries = [decode(entry).payload for entry in opened.store.entries(0, opened.store.size())]
    assert supply(records) == SUPPLY
    assert all(record.balance == "0" for record in records.values() if isinstance(record, Escrow))
    assert all(record.locked == "0" for record in records.values() if isinstance(record, Registered))
    settled = [payload for payload in entries if isinstance(payload, say.JobSettled)]
    assert len({each.job_id for each in settled}) == len(settled) == JOBS
    lines = [line for each in settled for line in each.lines]
    payees = {line.payee for line in lines if line.slashed != "0"}
    assert payees <= dead, "a worker was slashed that was never killed"
    assert all((line.amount == "0") == (line.accepted == 0) for line in lines)
    assert any(isinstance(payload, say.MicroJobReassigned) for payload in entries), "nothing was given to others"
