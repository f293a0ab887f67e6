"""What an order says while it waits, and what a list says of orders that ended."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tallystick.job import PPM
from tallystick.node.billing import bill
from tallystick.node.views import JobState
from tests.remote_world import RemoteWorld, Stalling, form, picture, remote_world


def test_an_order_says_at_once_that_nobody_is_here(tmp_path: Path) -> None:
    data = picture()
    with remote_world(tmp_path) as world:
        job = world.host.submit("ann", form(data, workers_least=2), data)
        assert job.waiting == "no worker is connected: 2 of up to 3 workers are wanted, 0 fit"
        worker = world.hire("one")
        ends = time.monotonic() + 20
        while "1 connected" not in (said := _waiting(world, job.job_id)):
            assert time.monotonic() < ends, said
            time.sleep(0.02)
        worker.leave()
        assert _waiting(world, job.job_id).startswith("no worker is connected")
        world.hire("two")
        world.hire("three")
        world.wait(job.job_id)
        assert _waiting(world, job.job_id) == ""


def test_a_list_names_the_cost_of_what_ended_and_adds_it_up_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = picture()
    with remote_world(tmp_path) as world:
        world.hire("one")
        job = world.host.submit("ann", form(data, audit=PPM), data)
        world.wait(job.job_id)
        world.hire("slow", Stalling)
        going_on = world.host.submit("ann", form(data, workers_least=2, workers=2), data)
        cost = str(bill(entry for _, entry in world.book.entries_of(job.job_id)).cost)
        assert int(cost) > 0
        listed = {each.job_id: each for each in world.host.jobs("ann", "", 50)}
        assert (listed[job.job_id].state, listed[job.job_id].cost_wei) == (JobState.DONE, cost)
        assert listed[going_on.job_id].cost_wei is None
        asked: list[str] = []
        monkeypatch.setattr(world.book, "entries_of", lambda job_id: asked.append(job_id) or ())
        assert [each.cost_wei for each in world.host.jobs("ann", "", 50) if each.job_id == job.job_id] == [cost]
        assert job.job_id not in asked


def test_a_start_sweeps_away_inputs_that_nobody_fetches_any_more_and_no_order(tmp_path: Path) -> None:
    data = picture()
    with remote_world(tmp_path) as world:
        folder = Path(world.home.node.ports.folder)
        job = world.host.submit("ann", form(data, audit=PPM), data)
    left = [folder / name for name in ("job-1.samples", ".job-1.samples.tmp", "job-1.0.ab.part")]
    for each in left:
        each.write_bytes(b"left")
    with remote_world(tmp_path) as world:
        assert [each for each in left if each.exists()] == []
        assert Path(world.home.node.ports.input_path(job.job_id)).exists()
        world.hire("one")
        world.wait(job.job_id)
        assert list(folder.iterdir()) == []


def _waiting(world: RemoteWorld, job_id: str) -> str:
    view = world.host.job(job_id)
    assert view is not None
    return view.waiting
