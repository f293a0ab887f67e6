"""SIGTERM and SIGKILL in the midst of work: the node goes at once, nobody keeps its port, and the job goes on later.

Knows: real processes on loopback. Refuses to know: what the node does while it ends.
"""

from __future__ import annotations

import io
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from tallystick import Client, wire
from tallystick.client.feed import Feed
from tallystick.job import PPM
from tallystick.kernels.lanczos import resample
from tallystick.node.views import JobState
from tests.api.test_shutdown import assert_free
from tests.hostile import Rogue, closed, dial, heard
from tests.machines import free_port, working
from tests.node_process import NodeProcess, start

SECONDS = 2.0
PATIENCE = 90.0
OPTIONS = ("--heartbeat", "0.5")
EVENTS = "/api/v1/events"


def picture(side: int) -> np.ndarray:
    """Return smooth colours, which take a moment to compress."""
    rows, columns = np.mgrid[0:side, 0:side]
    return np.stack([rows * columns % 251, (rows + columns) % 256, rows % 256], axis=2).astype(np.uint8)


def encoded(samples: np.ndarray) -> bytes:
    """Return it as a PNG."""
    file = io.BytesIO()
    Image.fromarray(samples).save(file, "PNG")
    return file.getvalue()


def staffed(client: Client, count: int) -> None:
    """Wait until so many workers have a bond."""
    until = time.monotonic() + PATIENCE
    while sum(each.bond_wei not in {None, "0"} for each in client.workers()) < count:
        assert time.monotonic() < until
        time.sleep(0.05)


def ends_well(client: Client, job_id: str, samples: np.ndarray, folder: Path) -> None:
    """Wait for the right bytes of a job."""
    until = time.monotonic() + PATIENCE
    while (view := client.job(job_id)).state is not JobState.DONE:
        assert time.monotonic() < until, view
        time.sleep(0.1)
    target = client.download(job_id, "output", folder / "output.png")
    assert np.array_equal(np.asarray(Image.open(target)), resample(samples, (samples.shape[1] * 2,) * 2))


def test_a_node_with_work_on_ten_lines_ends_in_time_and_goes_on_later(tmp_path: Path) -> None:
    listen, samples = f"127.0.0.1:{free_port()}", picture(64)
    node = start(tmp_path / "home", *OPTIONS, listen=listen)
    with ExitStack() as stack:
        client = stack.enter_context(Client(node.url))
        http = stack.enter_context(httpx.Client(base_url=node.url, timeout=PATIENCE, trust_env=False))
        stack.enter_context(working(tmp_path, node.url, 2))
        rogue = Rogue(node.url, "holds on")
        stack.callback(rogue.http.close)
        rogue.register()
        line = stack.enter_context(rogue.line())
        staffed(client, 3)
        job = client.submit(encoded(samples), block=16, workers=3, workers_least=3, duplicates=0, audit=PPM, minutes=10)
        output = heard(line, wire.Job).payload.output
        half = threading.Thread(target=send_slowly, args=(rogue, output.path, output.length), daemon=True)
        half.start()
        lines = [line, *(stack.enter_context(dial(node.url)) for _ in range(7))]
        streams = [stack.enter_context(http.stream("GET", EVENTS)) for _ in range(10)]
        began = time.monotonic()
        assert node.stop(seconds=PATIENCE) == 0
        assert time.monotonic() - began < SECONDS
        assert_free(node.port)
        for each in lines:
            assert closed(each) == (1001, "the node stops")
        for stream in streams:
            assert stream.read().endswith(b": the node stops\n\n")
        half.join(PATIENCE)
        again = start(tmp_path / "home", *OPTIONS, listen=listen)
        stack.callback(again.kill)
        ends_well(client, job.job_id, samples, tmp_path)


def send_slowly(rogue: Rogue, path: str, length: int) -> None:
    """Be in the middle of an upload."""

    def bytewise() -> object:
        for _ in range(length):
            time.sleep(0.05)
            yield b"x"

    headers = {"upload-offset": "0", "content-type": "application/offset+octet-stream", "content-length": str(length)}
    try:
        rogue.http.patch(path, content=bytewise(), headers=headers)
    except httpx.HTTPError:
        return


@pytest.mark.parametrize(("moment", "killed"), [("ChallengeDrawn", False), ("JobSettled", False), ("JobSettled", True)])
def test_a_node_that_computes_or_compresses_goes_at_once(tmp_path: Path, moment: str, killed: bool) -> None:  # noqa: FBT001 - a parameter of pytest
    listen, samples = f"127.0.0.1:{free_port()}", picture(800)
    node = start(tmp_path / "home", *OPTIONS, listen=listen)
    with ExitStack() as stack:
        client = stack.enter_context(Client(node.url))
        http = stack.enter_context(httpx.Client(base_url=node.url, timeout=PATIENCE, trust_env=False))
        stack.enter_context(working(tmp_path, node.url, 2))
        staffed(client, 2)
        stream = stack.enter_context(http.stream("GET", EVENTS))
        job = client.submit(encoded(samples), workers=2, workers_least=2, audit=PPM, minutes=10)
        feed = Feed()
        assert any(event.type == moment for chunk in stream.iter_raw() for event in feed.push(chunk))
        end(node, killed=killed)
        again = start(tmp_path / "home", *OPTIONS, listen=listen)
        stack.callback(again.kill)
        ends_well(client, job.job_id, samples, tmp_path)


def end(node: NodeProcess, *, killed: bool) -> None:
    """End a node, one way or the other, in time; its port is free then."""
    began = time.monotonic()
    if killed:
        node.kill()
    else:
        assert node.stop(seconds=PATIENCE) == 0
    assert time.monotonic() - began < SECONDS
    assert_free(node.port)
