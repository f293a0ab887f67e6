"""What one account may have waiting at a node, before and after a restart."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tallystick.errors import LimitError
from tallystick.job import JobSpec
from tallystick.node.exchange import Exchange
from tallystick.node.ports import Images, ImageSink, Picture
from tallystick.node.room import Limits
from tests.remote_world import form, picture, remote_world


@dataclass
class Watched(Images):
    """Counts what is decoded."""

    images: Images
    decoded: list[int]

    def decode(self, data: bytes) -> Picture:
        self.decoded.append(len(data))
        return self.images.decode(data)

    def writer(self, path: str, spec: JobSpec, icc_profile: bytes | None) -> ImageSink:
        return self.images.writer(path, spec, icc_profile)


STRANGERS = [f"cpc1{letter * 38}" for letter in "qpzry"]


def test_one_account_fills_its_own_room_and_nobody_elses(tmp_path: Path) -> None:
    data = picture()
    limits = Limits(account_queued=2)
    with remote_world(tmp_path, limits=limits) as world:
        for _ in range(2):
            world.host.submit("ann", form(data), data)
        with pytest.raises(LimitError, match="account ann"):
            world.host.submit("ann", form(data), data)
        world.host.submit("bob", form(data), data)
    with remote_world(tmp_path, limits=limits) as world:
        with pytest.raises(LimitError, match="account ann"):
            world.host.submit("ann", form(data), data)
        world.host.cancel(next(job.job_id for job in world.host.jobs("ann", "", 9)))
        world.host.submit("ann", form(data), data)


def test_one_upload_ordered_again_and_again_does_not_fill_the_disk(tmp_path: Path) -> None:
    data = picture()
    limits = Limits(account_bytes=2 * len(data) + 1)
    with remote_world(tmp_path, limits=limits) as world:
        for _ in range(2):
            world.host.submit("ann", form(data), data)
        with pytest.raises(LimitError, match="bytes"):
            world.host.submit("ann", form(data), data)
    with remote_world(tmp_path, limits=limits) as world, pytest.raises(LimitError, match="bytes"):
        world.host.submit("ann", form(data), data)


def test_keys_that_cost_nothing_share_one_allowance(tmp_path: Path) -> None:
    data = picture()
    with remote_world(tmp_path, limits=Limits(strangers_queued=3)) as world:
        for stranger in STRANGERS[:3]:
            world.host.submit(stranger, form(data), data)
        with pytest.raises(LimitError, match="without a token"):
            world.host.submit(STRANGERS[3], form(data), data)
        world.host.submit("ann", form(data), data)


def test_jobs_share_the_memory_of_a_node_after_a_restart_too(tmp_path: Path) -> None:
    data = picture()
    with remote_world(tmp_path) as world:
        for _ in range(3):
            world.host.submit("ann", form(data), data)
        weights = {order.wish.weight for order in world.host._orders.values()}
    with remote_world(tmp_path) as world:
        assert {order.wish.weight for order in world.host._orders.values()} == weights
    assert min(weights) >= 96 * 64 * 3


def test_nothing_is_decoded_for_workers_who_are_not_there(tmp_path: Path) -> None:
    """An order that nobody takes is tried again and again; its picture is looked at once workers were found."""
    data = picture()
    with remote_world(tmp_path) as world:
        node = world.host.node
        decoded: list[int] = []
        images = Watched(node.ports.images, decoded)
        node.ports = replace(node.ports, images=images)
        job = world.host.submit("ann", form(data, workers_least=2), data)
        assert len(decoded) == 1
        world.hire("one")
        for _ in range(3):
            time.sleep(0.1)
            world.host._poke()
        waits = world.host.job(job.job_id)
        assert waits is not None
        assert "fit" in waits.waiting
        assert len(decoded) == 1
        world.hire("two")
        world.wait(job.job_id)
        assert len(decoded) == 2


def test_a_bug_ends_one_try_and_neither_the_order_nor_the_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = picture()
    monkeypatch.setattr("tallystick.node.host.RETRY_MS", 100)
    with remote_world(tmp_path) as world:
        node, tick = world.host.node, world.exchange.tick
        run, faults = node.run, [ValueError("a bug"), MemoryError("no room")]
        ticks = [RuntimeError("another bug")]

        def failing(job_id: str) -> str:
            if faults:
                raise faults.pop()
            return run(job_id)

        def stumbling(_exchange: Exchange) -> None:
            if ticks:
                raise ticks.pop()
            tick()

        monkeypatch.setattr(node, "run", failing)
        monkeypatch.setattr(Exchange, "tick", stumbling)
        world.hire("one")
        job = world.host.submit("ann", form(data), data)
        world.wait(job.job_id)
        assert [type(error) for error in world.troubles] == [RuntimeError, MemoryError, ValueError]
