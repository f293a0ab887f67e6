"""Orders over HTTP while nobody works: prices, queues, idempotency, who sees what. Nothing is lost by a kill."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tallystick.node.tokens import Scope
from tests.api.askers import Guarded, identity, signed
from tests.cli.runs import picture
from tests.node_process import serving, start

UPLOADS, JOBS, QUOTES = "/api/v1/uploads", "/api/v1/jobs", "/api/v1/quotes"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A small picture."""
    return picture(tmp_path_factory.mktemp("picture") / "p.png").read_bytes()


def form_of(data: bytes, **more: object) -> dict[str, object]:
    return {"input": hashlib.sha256(data).hexdigest(), "block": 32, **more}


def bring(http: httpx.Client, data: bytes, **headers: str) -> None:
    """Upload a picture."""
    form = {"length": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    upload_id = http.post(UPLOADS, json=form, headers=headers).json()["upload_id"]
    sent = http.patch(f"{UPLOADS}/{upload_id}", content=data, headers={**headers, "upload-offset": "0"})
    assert sent.json()["complete"]


@pytest.fixture(scope="module")
def brought(http: httpx.Client, data: bytes) -> httpx.Client:
    """A client whose picture is here."""
    bring(http, data)
    return http


def test_a_price_is_told_and_nothing_is_kept(brought: httpx.Client, data: bytes) -> None:
    before = brought.get(JOBS).json()
    price = brought.post(QUOTES, json=form_of(data)).json()
    parts = sum(int(price[name]) for name in ("work", "duplicates", "audits", "reserve"))
    assert str(parts) == price["total"]
    assert (price["source"], price["target"]) == ([60, 40], [120, 80])
    assert brought.get(JOBS).json() == before


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"scale": "0"}, 400),
        ({"scale": "a"}, 400),
        ({"scale": "100000"}, 400),
        ({"block": 4}, 422),
        ({"workers": 0}, 422),
        ({"placement": "nowhere"}, 422),
        ({"duplicates": 1_000_001}, 422),
        ({"output_name": "../x"}, 422),
        ({"price_max": "1"}, 422),
        ({"price_max": "-1"}, 422),
        ({"input": "0" * 64}, 404),
    ],
)
def test_what_cannot_be_ordered_is_refused(
    brought: httpx.Client, data: bytes, change: dict[str, object], status: int
) -> None:
    before = len(brought.get(JOBS).json()["jobs"])
    answer = brought.post(JOBS, json=form_of(data) | change)
    assert answer.status_code == status, answer.text
    assert len(brought.get(JOBS).json()["jobs"]) == before


def test_an_order_waits_for_workers_and_can_be_taken_back(brought: httpx.Client, data: bytes) -> None:
    made = brought.post(JOBS, json=form_of(data))
    job = made.json()
    path = made.headers["location"]
    assert (made.status_code, job["state"], path) == (202, "queued", f"{JOBS}/{job['job_id']}")
    assert brought.get(path).json()["state"] == "queued"
    assert brought.get(f"{path}/entries").json() == {"entries": [], "cursor": None}
    early = brought.get(f"{path}/files/output")
    assert early.status_code == 409
    assert brought.post(f"{path}/cancel").json()["state"] == "cancelled"
    assert brought.post(f"{path}/cancel").status_code == 409
    assert brought.get(path).json()["state"] == "cancelled"


def test_pages_follow_one_another(brought: httpx.Client, data: bytes) -> None:
    for _ in range(3):
        brought.post(JOBS, json=form_of(data))
    everything = [job["job_id"] for job in brought.get(f"{JOBS}?limit=500").json()["jobs"]]
    paged, cursor = [], ""
    while True:
        page = brought.get(f"{JOBS}?limit=2{f'&cursor={cursor}' if cursor else ''}").json()
        paged += [job["job_id"] for job in page["jobs"]]
        cursor = page["cursor"]
        if cursor is None:
            break
    assert paged == everything
    assert {job["state"] for job in brought.get(f"{JOBS}?state=queued").json()["jobs"]} == {"queued"}
    assert brought.get(f"{JOBS}?state=done").json() == {"jobs": [], "cursor": None}


def test_the_same_key_and_body_are_answered_with_the_first_answer(brought: httpx.Client, data: bytes) -> None:
    headers, form = {"idempotency-key": "mine/1"}, form_of(data)
    with ThreadPoolExecutor(4) as several:
        answers = list(several.map(lambda _: brought.post(JOBS, json=form, headers=headers), range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 202]
    assert len({answer.text for answer in answers}) == 1
    other = brought.post(JOBS, json=form_of(data, scale="3"), headers=headers)
    assert (other.status_code, other.json()["code"]) == (409, "conflict")
    fresh = brought.post(JOBS, json=form, headers={"idempotency-key": "mine/2"})
    assert fresh.json()["job_id"] != answers[0].json()["job_id"]
    for strange in ("", "a b", "x" * 201):
        assert brought.post(JOBS, json=form, headers={"idempotency-key": strange}).status_code == 422


def test_orders_and_keys_survive_a_kill(tmp_path: Path, data: bytes) -> None:
    node = start(tmp_path / "home")
    headers, form = {"idempotency-key": "k"}, form_of(data)
    with httpx.Client(base_url=node.url, timeout=20) as http:
        bring(http, data)
        first = http.post(JOBS, json=form, headers=headers)
        node.kill()
    with serving(tmp_path / "home") as again, httpx.Client(base_url=again.url, timeout=20) as http:
        repeat = http.post(JOBS, json=form, headers=headers)
        assert (repeat.status_code, repeat.text) == (200, first.text)
        assert [job["job_id"] for job in http.get(JOBS).json()["jobs"]] == [first.json()["job_id"]]
        assert http.post(JOBS, json=form_of(data, scale="3"), headers=headers).status_code == 409


def test_nobody_sees_or_touches_anybody_elses_order(guarded: Guarded, data: bytes) -> None:
    mine, operator = guarded.bearer(Scope.REQUESTER), guarded.bearer(Scope.OPERATOR)
    bring(guarded.http, data, **mine)
    job = guarded.http.post(JOBS, json=form_of(data), headers=mine).json()
    assert job["account"] == "requester"
    path, key = f"{JOBS}/{job['job_id']}", identity(guarded.node.home).key("account/other")
    for method, target in (
        ("GET", path),
        ("GET", f"{path}/entries"),
        ("GET", f"{path}/files/output"),
        ("POST", f"{path}/cancel"),
    ):
        theirs = signed(guarded.node, key, method, target)
        assert guarded.http.request(method, target, headers=theirs).status_code == 404
    assert guarded.http.get(JOBS, headers=signed(guarded.node, key, "GET", JOBS)).json()["jobs"] == []
    assert guarded.http.get(path, headers=operator).json()["account"] == "requester"
    listed: list[dict[str, Any]] = guarded.http.get(JOBS, headers=operator).json()["jobs"]
    assert job["job_id"] in [each["job_id"] for each in listed]
    assert guarded.http.post(JOBS, json=form_of(data), headers=operator).status_code == 404
    assert guarded.http.post(f"{path}/cancel", headers=mine).json()["state"] == "cancelled"
