"""What one account may have waiting at a node, before and after a restart."""

from __future__ import annotations

from pathlib import Path

import pytest

from tallystick.errors import LimitError
from tallystick.node.room import Limits
from tests.remote_world import form, picture, remote_world

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
