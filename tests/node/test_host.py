"""A node for many buyers, its workers elsewhere: same bytes, nobody unpaid who delivered, whatever workers do.

Knows: the host, the exchange, real adapters, workers as threads. Refuses to know: HTTP and sockets.
"""

from __future__ import annotations

import io
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tallystick.audit.findings import Report, Result
from tallystick.audit.trust import parse
from tallystick.audit.verify import Shown, verify_bundle
from tallystick.cli.home import TRUST_FILE
from tallystick.commitment import Output
from tallystick.errors import ConflictError, PriceError
from tallystick.job import PPM
from tallystick.kernels.lanczos import resample
from tallystick.ledger import payloads as say
from tallystick.ledger.records import supply
from tallystick.node.deliveries import delivery_key, spell_delivery
from tallystick.node.leftovers import OWNER_PREFIX, let_go
from tallystick.node.ordering import Windows
from tallystick.node.pieces import Out
from tallystick.node.views import JobState
from tallystick.primitives.digests import sha256
from tallystick.slicing import layout
from tests.remote_world import (
    Forging,
    LineWorker,
    Littering,
    Mute,
    RemoteWorld,
    Stalling,
    Swapping,
    Trusting,
    Vanishing,
    Withholding,
    form,
    picture,
    remote_world,
)
from tests.worlds import SUPPLY


def expected(data: bytes, scale: int = 2) -> np.ndarray:
    source = np.asarray(Image.open(io.BytesIO(data)))
    return resample(source, (source.shape[1] * scale, source.shape[0] * scale))


def settled(world: RemoteWorld, job_id: str) -> say.JobSettled:
    return next(e.payload for _, e in world.book.entries_of(job_id) if isinstance(e.payload, say.JobSettled))


def check(world: RemoteWorld, job_id: str, data: bytes) -> None:
    """What must be true of every job that ended."""
    delivered = np.asarray(Image.open(world.host.file(job_id, "output")))
    assert np.array_equal(delivered, expected(data))
    assert world.locked() == []
    assert supply(world.records()) == SUPPLY  # type: ignore[arg-type]
    assert world.troubles == []


def audited(world: RemoteWorld, job_id: str, data: bytes) -> Report:
    """What a stranger finds in a job's bundle, with every block computed again."""
    pins = parse((world.home.path / TRUST_FILE).read_bytes())
    source = world.home.node.ports.images.decode(data).raster
    return verify_bundle(Shown(world.host.file(job_id, "bundle").read_bytes(), source=source), pins, recompute=True)


def line_of(world: RemoteWorld, job_id: str, name: str) -> say.SettlementLine:
    return next(line for line in settled(world, job_id).lines if line.worker == world.workers[name].public)


def test_three_workers_elsewhere_deliver_the_bytes_of_the_unsliced_kernel(tmp_path: Path) -> None:
    data = picture()
    with remote_world(tmp_path) as world:
        for name in ("one", "two", "three"):
            world.hire(name)
        job = world.host.submit("ann", form(data), data)
        assert job.state is JobState.QUEUED
        world.wait(job.job_id)
        check(world, job.job_id, data)
        assert all(line.amount != "0" for line in settled(world, job.job_id).lines)
        assert {line.worker for line in settled(world, job.job_id).lines} == {w.public for w in world.workers.values()}


def test_an_order_waits_for_workers_and_says_so(tmp_path: Path) -> None:
    data = picture()
    with remote_world(tmp_path) as world:
        job = world.host.submit("ann", form(data, workers_least=2, audit=PPM), data)
        first = world.hire("one")
        with pytest.raises(AssertionError):
            world.wait(job.job_id, seconds=1)
        view = world.host.job(job.job_id)
        assert view is not None
        assert "2 of up to 3 workers are wanted" in view.waiting
        assert first.seen == []
        world.hire("two")
        world.wait(job.job_id)
        check(world, job.job_id, data)


@pytest.mark.parametrize("kind", [Vanishing, Stalling])
def test_lost_work_goes_to_another_worker_and_nobody_is_slashed(tmp_path: Path, kind: type[LineWorker]) -> None:
    data = picture()
    with remote_world(tmp_path) as world:
        world.hire("good")
        world.hire("better")
        world.hire("lost", kind)
        job = world.host.submit("ann", form(data, workers_least=3), data)
        world.wait(job.job_id)
        check(world, job.job_id, data)
        line = line_of(world, job.job_id, "lost")
        assert (line.amount, line.slashed) == ("0", "0")
        moves = [e for _, e in world.book.entries_of(job.job_id) if isinstance(e.payload, say.MicroJobReassigned)]
        assert moves


@pytest.mark.parametrize("kind", [Vanishing, Stalling])
def test_of_two_workers_one_is_enough_and_copies_that_met_are_recomputed(
    tmp_path: Path, kind: type[LineWorker]
) -> None:
    """No seat is left that keeps copies apart: the job ends at once all the same, long before the commit deadline."""
    data = picture()
    with remote_world(tmp_path) as world:
        world.hire("good")
        world.hire("lost", kind)
        asked = form(data, workers_least=2, duplicates=500_000, audit=130_000, minutes=60)
        job = world.host.submit("ann", asked, data)
        world.wait(job.job_id, seconds=40)
        check(world, job.job_id, data)
        final, spec = settled(world, job.job_id), world.book.order(job.job_id, 1).spec
        lost, good = (line_of(world, job.job_id, name) for name in ("lost", "good"))
        assert (lost.amount, lost.slashed, good.slashed) == ("0", "0", "0")
        assert good.accepted == layout(spec).slots
        assert final.audited + final.redone >= layout(spec).copies > 0, "all copies lie with their originals"
        report = audited(world, job.job_id, data)
        assert report.result is Result.HOLDS, report.findings
        said = next(each.actual for each in report.findings if each.name == "plan")
        assert f"{layout(spec).copies} copies met their originals and were recomputed" in said


@pytest.mark.parametrize("kind", [Forging, Swapping])
def test_wrong_bytes_are_refuted_unpaid_and_slashed(tmp_path: Path, kind: type[LineWorker]) -> None:
    data = picture()
    with remote_world(tmp_path) as world:
        world.hire("good")
        world.hire("better")
        world.hire("bad", kind)
        job = world.host.submit("ann", form(data, audit=PPM, workers_least=3), data)
        world.wait(job.job_id)
        check(world, job.job_id, data)
        line = line_of(world, job.job_id, "bad")
        assert line.amount == "0"
        assert int(line.slashed) > 0
        assert line.refuted + line.unavailable > 0
        assert int(line_of(world, job.job_id, "good").amount) > 0


@pytest.mark.parametrize("kind", [Mute, Withholding])
def test_silence_lasts_to_the_deadline_and_no_longer(
    tmp_path: Path, kind: type[LineWorker], monkeypatch: pytest.MonkeyPatch
) -> None:
    short = Windows(commit=5_000, upload=6_000, reveal=7_000)
    monkeypatch.setattr("tallystick.node.forms.windows", lambda _minutes: short)
    data = picture()
    with remote_world(tmp_path) as world:
        world.hire("good")
        world.hire("better")
        world.hire("silent", kind)
        job = world.host.submit("ann", form(data, audit=PPM, workers_least=3, minutes=1), data)
        begin = time.monotonic()
        world.wait(job.job_id)
        assert time.monotonic() - begin > 4, "it was not given its time"
        check(world, job.job_id, data)
        line = line_of(world, job.job_id, "silent")
        assert line.amount == "0"
        assert int(line.slashed) > 0


def test_openings_given_in_trust_outlive_their_worker_and_the_node(tmp_path: Path) -> None:
    data = picture()
    with remote_world(tmp_path) as world:
        gone = world.hire("gone", Trusting)
        slow = world.hire("slow", Stalling)
        job = world.host.submit("ann", form(data, audit=PPM, workers_least=2), data)
        while not gone.receipts:
            time.sleep(0.01)
        gone.leave()
        slow.leave()
        entries = [entry.payload for _, entry in world.book.entries_of(job.job_id)]
        mine = {each.microjob for each in entries if isinstance(each, say.SubmitResult)}
    with remote_world(tmp_path) as world:
        worker = world.workers["slow"] = LineWorker(world, "slow")
        worker.connect()
        world.workers["gone"] = LineWorker(world, "gone")
        world.wait(job.job_id)
        check(world, job.job_id, data)
        assert mine
        assert int(line_of(world, job.job_id, "gone").amount) > 0
        assert line_of(world, job.job_id, "gone").slashed == "0"


def test_an_order_whose_pool_shrank_is_audited_all_the_same(tmp_path: Path) -> None:
    data = picture(width=48, height=32)
    with remote_world(tmp_path) as world:
        price = world.host.quote("ann", form(data), data)
        assert (price.assumed, price.workers, price.operators) == (True, 3, 3)
        assert price.audited_blocks > 0
        job = world.host.submit("ann", form(data, price_max=price.total), data)
        world.hire("alone")
        world.wait(job.job_id)
        check(world, job.job_id, data)
        assert settled(world, job.job_id).audited > 0
        assert not world.host.quote("ann", form(data), data).assumed


def test_several_buyers_share_the_workers_and_every_job_ends(tmp_path: Path) -> None:
    pictures = [picture(seed) for seed in range(8)]
    with remote_world(tmp_path) as world:
        for name in ("one", "two", "three"):
            world.hire(name)
        jobs = [world.host.submit(f"buyer-{i % 3}", form(data), data) for i, data in enumerate(pictures)]
        world.wait(*(job.job_id for job in jobs))
        for job, data in zip(jobs, pictures, strict=True):
            check(world, job.job_id, data)
        assert len(world.host.jobs("buyer-0", "", 50)) == 3
        assert len(world.host.jobs(None, "", 50)) == 8
        newest = world.host.jobs(None, "", 3)
        assert [each.job_id for each in world.host.jobs(None, newest[-1].job_id, 50)] == [
            each.job_id for each in world.host.jobs(None, "", 50)[3:]
        ]


def test_a_worker_that_breaks_off_and_comes_back_goes_on(tmp_path: Path) -> None:
    data = picture(width=256, height=256)
    with remote_world(tmp_path) as world:
        one = world.hire("one")
        world.hire("two")
        job = world.host.submit("ann", form(data, workers_least=2, audit=PPM), data)
        while not one.seen:
            pass
        one.leave()
        again = LineWorker(world, "one")
        world.workers["one"] = again
        again.connect()
        world.wait(job.job_id)
        check(world, job.job_id, data)


def test_another_workers_commitment_is_refused(tmp_path: Path) -> None:
    data = picture()

    class Stealing(LineWorker):
        def entry(self, out: object, blocks: list[bytes]) -> bytes:
            return LineWorker(self.world, "good").entry(out, blocks)  # type: ignore[arg-type]

    with remote_world(tmp_path) as world:
        world.hire("good")
        world.hire("better")
        thief = world.hire("thief", Stealing)
        job = world.host.submit("ann", form(data, workers_least=3), data)
        world.wait(job.job_id)
        check(world, job.job_id, data)
        assert any("signed by the worker of this line" in reason for reason in thief.refusals)
        assert line_of(world, job.job_id, "thief").amount == "0"


def test_the_price_is_bounded_and_an_order_in_the_queue_can_be_cancelled(tmp_path: Path) -> None:
    data = picture()
    with remote_world(tmp_path) as world:
        price = world.host.quote("ann", form(data), data)
        assert int(price.total) == sum(map(int, (price.work, price.duplicates, price.audits, price.reserve)))
        with pytest.raises(PriceError):
            world.host.submit("ann", form(data, price_max="1"), data)
        job = world.host.submit("ann", form(data), data)
        assert world.host.cancel(job.job_id).state is JobState.CANCELLED
        with pytest.raises(ConflictError):
            world.host.cancel(job.job_id)
        world.hire("one")
        done = world.host.submit("ann", form(data, audit=PPM), data)
        world.wait(done.job_id)
        with pytest.raises(ConflictError):
            world.host.cancel(done.job_id)
        assert world.book.job(job.job_id) is None


def test_a_restart_knows_every_order_and_goes_on(tmp_path: Path) -> None:
    data = picture(width=200, height=200)
    with remote_world(tmp_path) as world:
        world.hire("one")
        world.hire("two", Stalling)
        job = world.host.submit("ann", form(data, workers_least=2, audit=PPM), data)
        waiting = world.host.submit("bob", form(data, workers_least=100, workers=100, audit=PPM), data)
        ends = 100
        while world.book.job(job.job_id) is None and ends:
            ends -= 1
            time.sleep(0.1)
    with remote_world(tmp_path) as world:
        for name in ("one", "two"):
            worker = world.workers[name] = LineWorker(world, name)
            worker.connect()
        world.wait(job.job_id)
        delivered = np.asarray(Image.open(world.host.file(job.job_id, "output")))
        assert np.array_equal(delivered, expected(data))
        kept = world.host.job(waiting.job_id)
        assert kept is not None
        assert kept.state is JobState.QUEUED


def test_what_a_worker_delivers_and_never_stands_for_is_gone_with_the_job(tmp_path: Path) -> None:
    data = picture()
    with remote_world(tmp_path) as world:
        for name, kind in {"good": LineWorker, "better": LineWorker, "litters": Littering}.items():
            world.hire(name, kind)
        job = world.host.submit("ann", form(data, audit=PPM, workers_least=3), data)
        world.wait(job.job_id)
        check(world, job.job_id, data)
        assert line_of(world, job.job_id, "litters").amount == "0"
        assert world.workers["litters"].seen
        assert world.home.node.ports.blobs.digests() == frozenset()


def test_a_job_that_ends_takes_no_block_that_another_one_was_delivered(tmp_path: Path) -> None:
    data, going_on = picture(), threading.Event()

    class Waiting(Forging):
        def commit(self, out: Out, blocks: list[bytes]) -> None:
            going_on.wait(30)
            super().commit(out, blocks)

    with remote_world(tmp_path) as world:
        world.hire("good")
        waiting = world.hire("waiting", Waiting)
        job = world.host.submit("ann", form(data, workers_least=2, audit=PPM), data)
        blobs, block = world.home.node.ports.blobs, sha256(bytes(32 * 32 * 3))
        while not blobs.has(block):
            time.sleep(0.01)
        world.host.node.let_go("another-job", {block})
        assert blobs.has(block), "it arrived, and is not noted yet"
        going_on.set()
        while not waiting.receipts:
            time.sleep(0.01)
        let_go(world.home.node.ports, "another-job", {block})
        assert blobs.has(block), "it is noted"
        world.wait(job.job_id)
        check(world, job.job_id, data)
        assert blobs.digests() == frozenset()


def test_a_start_sweeps_away_what_nobody_noted_and_keeps_what_accounts_own(tmp_path: Path) -> None:
    with remote_world(tmp_path) as world:
        ports = world.home.node.ports
        for data in (b"nobody's", b"ann's", b"noted"):
            ports.blobs.put(sha256(data), data)
        owned = OWNER_PREFIX + "ann/" + sha256(b"ann's").hex()
        noted = spell_delivery((Output(sha256(b"noted"), 5, bytes(32)),))
        ports.store.put_private([(owned, b"1"), (delivery_key("job-1", 1, 0), noted)])
        half = Path(ports.folder, "job-1.0.0123456789abcdef.part")
        half.write_bytes(b"half")
    with remote_world(tmp_path) as world:
        assert world.home.node.ports.blobs.digests() == {sha256(b"ann's"), sha256(b"noted")}
        assert not half.exists()
