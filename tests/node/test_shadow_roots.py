"""Roots that reached the log without the job's own way for them: they count, for and against whoever signed them."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tallystick.cli.home import open_home
from tallystick.job import PPM
from tallystick.ledger import payloads as say
from tallystick.ledger.states import JobPhase
from tallystick.ledger.transactions import Draft, decode
from tallystick.node.book import Book
from tallystick.node.ordering import Windows
from tallystick.node.pieces import Out
from tallystick.node.sequencer import Submission
from tallystick.primitives.keys import SigningKey
from tests.node.test_host import check, line_of
from tests.remote_world import LineWorker, Stalling, form, picture, remote_world


class Shadow(LineWorker):
    """Logs its root past the exchange, and does nothing more."""

    def work(self, out: Out) -> None:
        entry = decode(self.entry(out, self.compute(out)))
        self.world.book.post(Submission((entry,)), lambda _outcome, _block: None)


def test_a_root_past_the_exchange_costs_its_worker_and_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the uploads could not be closed, and one worker would undo the work of all others for nothing."""
    short = Windows(commit=5_000, upload=6_000, reveal=7_000)
    monkeypatch.setattr("tallystick.node.forms.windows", lambda _minutes: short)
    data = picture()
    with remote_world(tmp_path) as world:
        for name in ("good", "better"):
            world.hire(name)
        world.hire("shadow", Shadow)
        job = world.host.submit("ann", form(data, audit=PPM, workers_least=3, minutes=1), data)
        world.wait(job.job_id)
        check(world, job.job_id, data)
        view = world.host.job(job.job_id)
        assert view is not None
        assert view.attempt == 1
        assert int(line_of(world, job.job_id, "shadow").slashed) > 0
        assert line_of(world, job.job_id, "good").amount != "0"


def test_a_refund_that_somebody_else_asked_for_does_not_stop_the_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the reveal deadline on anyone may have an escrow refunded: the node finds it empty and goes on."""
    short = Windows(commit=3_000, upload=3_001, reveal=3_002)
    monkeypatch.setattr("tallystick.node.forms.windows", lambda _minutes: short)
    data = picture()
    with remote_world(tmp_path) as world:
        world.hire("silent", Stalling)
        job = world.host.submit("ann", form(data, minutes=1), data)
        while (standing := world.book.job(job.job_id)) is None or standing.phase is not JobPhase.RUNNING:
            time.sleep(0.02)
    time.sleep(3.2)
    with open_home(tmp_path) as home:
        refund = Draft(SigningKey(bytes([7]) * 32), say.EscrowRefunded(job.job_id, 1))
        Book(home.engine, lambda _transaction, _index: None).must(Submission((refund,)))
    with remote_world(tmp_path) as world:
        world.hire("good")
        world.wait(job.job_id)
        check(world, job.job_id, data)
