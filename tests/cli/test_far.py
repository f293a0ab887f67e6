"""A node, workers in processes of their own, and the commands that reach them: what a user does, over real sockets."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tallystick import Client
from tallystick.adapters.pillow import decode_image
from tallystick.cli.asking import Words, ask
from tallystick.cli.far_submit import _form
from tallystick.cli.words import hidden_words
from tallystick.client import calls
from tallystick.errors import AccessError, NodeError, UnreachableError
from tallystick.ledger.payloads import JobSubmitted
from tallystick.node.views import JobState
from tests.cli.runs import picture, tally
from tests.node_process import NodeProcess, environment, serving, start

SMALL = ("--block", "16")
SECONDS_MAX = 60.0


@dataclass
class WorkerProcess:
    """`tally worker` in a process and a home of its own."""

    process: subprocess.Popen[str]
    log: Path

    def events(self, kind: str) -> list[dict[str, object]]:
        """Return what it said on stdout so far."""
        lines = self.log.with_suffix(".out").read_text(encoding="utf-8").splitlines()
        return [found for line in lines if (found := json.loads(line))["event"] == kind]

    def said(self) -> str:
        """Return what it said on stderr so far."""
        return self.log.read_text(encoding="utf-8")

    def await_word(self, word: str, times: int = 1) -> None:
        """Wait until it has said something."""
        until = time.monotonic() + SECONDS_MAX
        while self.said().count(word) < times:
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < until, self.said()
            time.sleep(0.05)

    def stop(self, *signals: signal.Signals) -> int:
        """Send signals and return the exit code."""
        for each in signals or (signal.SIGTERM,):
            self.process.send_signal(each)
        return self.process.wait(SECONDS_MAX)


@contextmanager
def working(home: Path, url: str, *options: str, **more: str) -> Iterator[WorkerProcess]:
    """Have a worker run for the length of a block."""
    home.parent.mkdir(parents=True, exist_ok=True)
    number = len(list(home.parent.glob(f"{home.name}.*.log")))
    log = home.parent / f"{home.name}.{number}.log"
    with log.open("w", encoding="utf-8") as errors, log.with_suffix(".out").open("w", encoding="utf-8") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "tallystick", "worker", url, "--threads", "1", "--json", *options],
            env=environment(home, **more),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=errors,
            text=True,
        )
    try:
        yield WorkerProcess(process, log)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


@dataclass
class Town:
    """A node and three workers."""

    folder: Path
    node: NodeProcess
    workers: list[WorkerProcess]

    @property
    def url(self) -> str:
        """Where the node answers."""
        return self.node.url


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    """One node, three homes with a worker each, all ready to work."""
    folder = tmp_path_factory.mktemp("town")
    with ExitStack() as stack:
        node = stack.enter_context(serving(folder / "node"))
        workers = [stack.enter_context(working(folder / f"worker{number}", node.url)) for number in range(3)]
        await_bonds(node.url, 3)
        yield Town(folder, node, workers)


def await_bonds(url: str, number: int) -> None:
    """Wait until so many workers are connected and bonded."""
    until = time.monotonic() + SECONDS_MAX
    with Client(url) as client:
        while sum(int(each.bond_wei or 0) > 0 for each in client.workers()) < number:
            assert time.monotonic() < until, client.workers()
            time.sleep(0.1)


def pixels(path: Path) -> bytes:
    """The samples of a picture."""
    return decode_image(path.read_bytes()).raster.samples.tobytes()


def test_three_workers_elsewhere_give_the_bytes_that_a_home_gives_alone(town: Town) -> None:
    source = picture(town.folder / "photo.png", 90, 70)
    alone = tally("submit", "upscale", source, *SMALL, "--out", "alone.png", "--yes", cwd=town.folder)
    far = tally("submit", "upscale", source, *SMALL, "--out", "far.png", "--node", town.url, "--json", cwd=town.folder)
    assert (alone.code, far.code) == (0, 0), far
    assert pixels(town.folder / "far.png") == pixels(town.folder / "alone.png")
    assert far.json["labels"] == ["independence: none"]
    assert far.json["node"] == town.url
    stated = tally("verify", "far.png", "--trust", far.json["trust"], cwd=town.folder)
    assert stated.code == 0, stated
    for step in ("EscrowLocked", "SUBMIT_RESULT", "ChallengeDrawn", "JobSettled", "ArtifactPublished"):
        assert step in far.err
    assert sum(len(each.events("receipt")) for each in town.workers) >= 3


def test_the_nodes_own_trust_file_is_written_down_and_pinned_by_nobody(town: Town) -> None:
    source = picture(town.folder / "trusting.png")
    done = tally("submit", "upscale", source, *SMALL, "--node", town.url, cwd=town.folder)
    assert done.code == 0, done
    assert "as the node itself names them" in done.out
    assert (town.folder / "trusting@2x.png.trust.toml").exists()
    doubted = tally("verify", "trusting@2x.png", cwd=town.folder)
    assert doubted.code != 0, doubted


def test_a_price_above_the_maximum_orders_nothing(town: Town) -> None:
    source = picture(town.folder / "dear.png")
    order = ("submit", "upscale", source, *SMALL, "--node", town.url)
    done = tally(*order, "--max-price", "0.000000001", "--json", cwd=town.folder)
    done.refused(1, "--max-price allows")
    assert "dear.png" not in tally("jobs", "--node", town.url, cwd=town.folder).out
    assert not (town.folder / "dear@2x.png").exists()


def test_jobs_and_watch_show_what_the_node_knows(town: Town) -> None:
    source = picture(town.folder / "watched.png")
    with Client(town.url) as client:
        job = client.submit(source, block=16)
    stranger = tally("watch", job.job_id, "--node", town.url, cwd=town.folder)
    stranger.refused(2, f"there is no job {job.job_id}")  # requests without credentials are the node's own home's
    watched = tally("watch", job.job_id, "--json", cwd=town.folder, home=town.folder / "node")
    assert watched.code == 0, watched
    assert watched.json["state"] == JobState.DONE.value
    assert "JobSettled" in watched.err
    own = tally("jobs", "--json", cwd=town.folder, TALLY_NODE=town.url).json["jobs"]
    assert all(sorted(each) == sorted(own[0]) for each in own)
    with Client(town.url) as client:
        assert job.job_id in [each.job_id for each in client.jobs()]


def test_a_job_that_nobody_knows_and_a_node_that_is_not_there(town: Town, tmp_path: Path) -> None:
    tally("watch", "up-nothing", "--node", town.url, cwd=tmp_path).refused(2, "there is no job up-nothing")
    tally("watch", "up-nothing", cwd=tmp_path).refused(2, "no node runs in")
    tally("jobs", "--node", "ftp://x", cwd=tmp_path).refused(2, "no address of a node")


def test_minutes_and_the_least_of_workers_reach_the_order(town: Town) -> None:
    source = picture(town.folder / "timed.png")
    order = ("submit", "upscale", source, *SMALL, "--node", town.url, "--json")
    done = tally(*order, "--minutes", "7", "--workers-least", "3", cwd=town.folder)
    assert done.code == 0, done
    with Client(town.url) as client:
        payloads = [each.payload for each in client.run(calls.entries(done.json["jobId"]))]
    submitted = next(each for each in payloads if isinstance(each, JobSubmitted))
    assert abs(submitted.spec.deadlines.commit - submitted.occurred_at - 7 * 60_000) < 30_000
    assert len(submitted.spec.pool) == 3
    tally(*order, "--workers-least", "4", cwd=town.folder).refused(2, "is more than --workers 3")
    tally(*order, "--minutes", "0", cwd=town.folder).refused(2, "greater than or equal to 1")


def test_what_is_typed_of_a_nodes_workers_is_in_the_form(tmp_path: Path) -> None:
    plain = Words(picture(tmp_path / "p.png"), "2", None, 5, 16, "spread", None, None, None)
    asked = ask(plain, 0)
    assert (_form(asked, plain).minutes, _form(asked, plain).workers_least) == (30, 1)
    typed = _form(asked, replace(plain, minutes=7, workers_least=4))
    assert (typed.minutes, typed.workers_least, typed.workers) == (7, 4, 5)


def test_a_hidden_order_is_warned_about_in_the_same_words(town: Town) -> None:
    source = picture(town.folder / "hidden.png", 90, 70)
    with Client(town.url) as client:
        price = client.quote(source, block=16, placement="hidden")
    assert price.operators == 3
    order = ("submit", "upscale", source, *SMALL, "--placement", "hidden", "--node", town.url)
    done = tally(*order, "--max-price", "0.000000001", cwd=town.folder, COLUMNS="2000")
    done.refused(1, "--max-price allows")
    assert hidden_words(price.microjob_blocks, one_operator=False) in done.err


def test_a_token_of_a_stranger_is_refused_with_the_nodes_words(town: Town) -> None:
    wrong = "tally_00_00"
    with Client(town.url, token=wrong) as client, pytest.raises(AccessError):
        list(client.jobs())


def test_the_sdk_reads_receipts_proofs_and_accounts_of_a_real_node(town: Town) -> None:
    with Client(town.url) as client:
        job = client.wait(client.submit(picture(town.folder / "sdk.png"), block=16).job_id)
        events = []
        for event in client.events(job=job.job_id):
            events.append(event)
            if event.type == "ArtifactPublished":
                break
        assert [event.index for event in events] == sorted(event.index for event in events)
        receipt = client.receipt(events[0].nid)
        assert receipt.index == events[0].index
        assert client.receipt(events[0].tx_hash) == receipt
        assert client.proof(events[0].nid).startswith("c2sp.org/tlog-proof@v1\n")
        target = client.download(job.job_id, "output", town.folder / "sdk-out.png")
        assert pixels(target)
        assert client.node().chain_id.startswith("tally-dev-")


def test_several_workers_of_one_home_have_slots_and_keys_of_their_own(town: Town, tmp_path: Path) -> None:
    home = tmp_path / "many"
    with ExitStack() as stack:
        workers = [stack.enter_context(working(home, town.url, "--name", name)) for name in ("a", "b")]
        workers += [stack.enter_context(working(home, town.url))]
        for each in workers:
            each.await_word("connected")
        started = [each.events("started")[0] for each in workers]
        assert len({each["address"] for each in started}) == 3
        assert len({each["operator"] for each in started}) == 1
        assert [each["slot"] for each in started] == ["a", "b", "1"]
        again = tally("worker", town.url, "--name", "a", cwd=tmp_path, home=home)
        again.refused(2, "runs already")
        for each in workers:
            assert each.stop() == 0
            assert each.events("left")


def test_a_worker_leaves_in_order_at_the_first_signal_and_at_once_at_the_second(tmp_path: Path) -> None:
    with serving(tmp_path / "node") as node, working(tmp_path / "worker", node.url, "--drain-seconds", "60") as worker:
        await_bonds(node.url, 1)
        began = time.monotonic()
        assert worker.stop(signal.SIGINT) == 0
        assert time.monotonic() - began < 10
        assert "left after" in worker.said()


def test_a_worker_waits_for_a_node_that_comes_later_and_comes_back_when_it_restarts(tmp_path: Path) -> None:
    first = start(tmp_path / "node")
    listen = f"127.0.0.1:{first.port}"
    assert first.stop() == 0
    with working(tmp_path / "worker", f"http://{listen}") as worker:
        worker.await_word("not connected")
        for life in (1, 2):
            node = start(tmp_path / "node", listen=listen)
            try:
                worker.await_word("connected\n", life)
                await_bonds(node.url, 1)
            finally:
                node.kill()
        assert worker.stop() == 0


def test_jobs_survive_a_killed_worker_and_a_killed_node(tmp_path: Path) -> None:
    source = picture(tmp_path / "photo.png", 200, 160)
    alone = tally("submit", "upscale", source, *SMALL, "--out", "alone.png", "--yes", cwd=tmp_path)
    assert alone.code == 0, alone
    with ExitStack() as stack:
        node = start(tmp_path / "node")
        stack.callback(lambda: node.process.poll() is None and node.kill())
        workers = [stack.enter_context(working(tmp_path / f"w{number}", node.url)) for number in range(3)]
        await_bonds(node.url, 3)
        with Client(node.url) as client:
            job = client.submit(source, block=16)
            next(event for event in client.events(job=job.job_id) if event.type == "SUBMIT_RESULT")
        workers[0].process.kill()
        node.kill()
        stack.enter_context(working(tmp_path / "w0", node.url))
        node = start(tmp_path / "node", listen=f"127.0.0.1:{node.port}")
        with Client(node.url) as client:
            done = client.wait(job.job_id)
            assert done.state is JobState.DONE, done
            client.download(job.job_id, "output", tmp_path / "far.png")
    assert pixels(tmp_path / "far.png") == pixels(tmp_path / "alone.png")


def test_submit_uses_the_node_that_runs_in_this_home(tmp_path: Path) -> None:
    with serving(tmp_path / "home") as node, working(tmp_path / "worker", node.url):
        await_bonds(node.url, 1)
        done = tally("submit", "upscale", picture(tmp_path / "photo.png"), *SMALL, cwd=tmp_path)
        assert done.code == 0, done
        assert "which runs in this home" in done.err
        assert not (tmp_path / "photo@2x.png.trust.toml").exists()
        assert tally("verify", "photo@2x.png", cwd=tmp_path).code == 0
        listed = tally("jobs", "--json", cwd=tmp_path).json
        assert [each["state"] for each in listed["jobs"]] == [JobState.DONE.value]
        tally("jobs", "--resume", cwd=tmp_path).refused(2, f"{node.url}) serves")


def test_a_node_that_asks_who_one_is_takes_this_homes_key_and_refuses_nobody(tmp_path: Path) -> None:
    with serving(tmp_path / "node", "--require-auth") as node:
        assert tally("jobs", "--node", node.url, "--json", cwd=tmp_path).json["jobs"] == []
        with Client(node.url) as client, pytest.raises(AccessError, match="credentials"):
            list(client.jobs())
        with working(tmp_path / "worker", node.url) as worker:
            worker.await_word("connected")
            until = time.monotonic() + SECONDS_MAX
            home = tmp_path / "node"
            while "transactions" not in node.said():
                assert time.monotonic() < until
                time.sleep(0.1)
            assert worker.stop() == 0
            assert home.exists()
    with Client(node.url) as client, pytest.raises(UnreachableError) as caught:
        client.node()
    assert isinstance(caught.value, NodeError)


def test_the_test_environment_names_no_node() -> None:
    assert "TALLY_NODE" not in environment(Path(os.devnull))


def certificate(folder: Path) -> tuple[Path, Path]:
    """Write a self-signed certificate for 127.0.0.1 and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a node")])
    now = datetime.now(UTC)
    alternative = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(alternative, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    chain, secret = folder / "chain.pem", folder / "key.pem"
    chain.write_bytes(made.public_bytes(Encoding.PEM))
    secret.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return chain, secret


def test_everything_goes_over_tls_by_the_named_authority_and_not_without_it(tmp_path: Path) -> None:
    chain, secret = certificate(tmp_path)
    options = ("--listen", "127.0.0.1:0", "--json", "--tls-cert", str(chain), "--tls-key", str(secret))
    process = subprocess.Popen(
        [sys.executable, "-m", "tallystick", "node", "start", *options],
        env=environment(tmp_path / "node"),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        assert url.startswith("https://")
        with working(tmp_path / "worker", url, "--tls-ca", str(chain)) as worker:
            worker.await_word("connected")
            source = picture(tmp_path / "photo.png")
            order = ("submit", "upscale", source, *SMALL, "--node", url)
            assert tally(*order, "--tls-ca", chain, cwd=tmp_path).code == 0
            tally("jobs", "--node", url, cwd=tmp_path).refused(1, "is not trusted")
            with working(tmp_path / "careful", url) as careful:
                careful.await_word("certificate verify failed")
            own = tally("jobs", cwd=tmp_path, home=tmp_path / "node")
            assert own.code == 0, own
    finally:
        process.kill()
        process.communicate()
