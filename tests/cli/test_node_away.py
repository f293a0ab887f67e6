"""Orders at a node that find no workers, and a node that is not there: what is said, and that waiting has an end."""

from __future__ import annotations

import time
from pathlib import Path

import httpx
import pytest

from tallystick import Client
from tallystick.client import http
from tallystick.errors import NodeError, UnreachableError
from tallystick.node.views import JobState
from tests.cli.runs import picture, tally
from tests.node_process import serving, start

AWAY_SECONDS_MAX = 20.0
"""Ten of waiting, and what a process takes to begin on a busy machine."""


def test_a_waiting_order_is_cancelled_once_and_by_its_own_account_only(tmp_path: Path) -> None:
    with serving(tmp_path / "node") as node:
        home = tmp_path / "node"
        with Client(node.url) as client:
            first, second = (client.submit(picture(tmp_path / "p.png"), block=16).job_id for _ in range(2))
        stranger = tally("jobs", "--cancel", first, "--node", node.url, cwd=tmp_path)
        stranger.refused(2, f"there is no job {first}")
        done = tally("jobs", "--cancel", first, "--json", cwd=tmp_path, home=home)
        assert (done.code, done.json["state"], done.json["jobId"]) == (0, JobState.CANCELLED.value, first)
        assert f"Job {second} is cancelled" in tally("jobs", "--cancel", second, cwd=tmp_path, home=home).out
        tally("jobs", "--cancel", first, cwd=tmp_path, home=home).refused(2, "is cancelled")
        tally("jobs", "--cancel", first, "--resume", cwd=tmp_path, home=home).refused(2, "say one of them")
    tally("jobs", "--cancel", first, cwd=tmp_path, home=home).refused(2, "no node runs in")


def test_a_job_for_workers_elsewhere_waits_for_the_node_and_is_not_resumed(tmp_path: Path) -> None:
    home = tmp_path / "node"
    with serving(home) as node, Client(node.url) as client:
        job = client.submit(picture(tmp_path / "p.png"), block=16).job_id
        tally("keys", "seal", cwd=tmp_path, home=home, TALLY_PASSPHRASE="x").refused(2, f"{node.url}) serves")  # noqa: S106 - seals nothing
    listed = tally("jobs", cwd=tmp_path, home=home, COLUMNS="200").out
    assert "1 job was ordered from workers on other machines: start the node" in listed
    assert "--resume" not in listed
    examined = tally("doctor", cwd=tmp_path, home=home, COLUMNS="200").out
    assert "1 interrupted, ordered from workers on other machines" in examined
    assert "--resume" not in examined
    resumed = tally("jobs", "--resume", "--json", cwd=tmp_path, home=home)
    assert (resumed.code, resumed.json) == (0, {"resumed": [], "failed": []})
    assert "start the node" in resumed.err
    with serving(home) as node, Client(node.url) as client:
        assert client.job(job).state is JobState.QUEUED


def test_a_node_that_is_not_there_is_asked_again_for_some_seconds_and_told_of(tmp_path: Path) -> None:
    node = start(tmp_path / "node")
    assert node.stop() == 0
    began = time.monotonic()
    done = tally("jobs", "--node", node.url, cwd=tmp_path)
    assert time.monotonic() - began < AWAY_SECONDS_MAX
    done.refused(1, "is a node running there? `tally node start` starts one")
    assert done.err.count(f"{node.url} does not answer, trying again") == 1


def test_https_to_a_node_that_speaks_http_fails_at_once(tmp_path: Path) -> None:
    with serving(tmp_path / "node") as node:
        url = node.url.replace("http:", "https:")
        done = tally("jobs", "--node", url, cwd=tmp_path)
        done.refused(1, "does not speak TLS")
        assert "trying again" not in done.err
        with Client(url) as client, pytest.raises(NodeError, match="http://") as caught:
            client.node()
        assert not isinstance(caught.value, UnreachableError)
        assert caught.value.__suppress_context__


def test_a_machine_that_swallows_connections_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now, told = [0.0], list[str]()
    monkeypatch.setattr(http.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(http.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))

    def swallow(_request: httpx.Request) -> httpx.Response:
        now[0] += http.TIMEOUT.connect or 0
        raise httpx.ConnectTimeout("timed out")

    transport = httpx.MockTransport(swallow)
    with Client("http://192.0.2.1", transport=transport, waits=told.append) as client:
        for _ in range(2):
            began = now[0]
            with pytest.raises(UnreachableError):
                client.node()
            assert now[0] - began <= 10
    assert told == ["http://192.0.2.1 does not answer, trying again"]


def test_an_ill_formed_token_is_as_unknown_as_any_other(tmp_path: Path) -> None:
    with serving(tmp_path / "node") as node:
        home = node.home
        for token_id in ("nosuch", "0123456789ab"):
            done = tally("token", "revoke", token_id, cwd=tmp_path, home=home)
            done.refused(2, f"there is no token {token_id}: `tally token list` shows them")
    tally("token", "revoke", "nosuch", cwd=tmp_path, home=home).refused(2, "there is no token nosuch: `tally")
