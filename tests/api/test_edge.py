"""What every answer has, what no answer says, and what the log never holds."""

from __future__ import annotations

import json
import socket
import time
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from tallystick import errors
from tallystick.api.problems import MEDIA_TYPE, STATUSES, classify, describe
from tallystick.node.tokens import Scope
from tests.api.askers import Guarded
from tests.node_process import NodeProcess

HEX = "0" * 64


def problem(answer: httpx.Response) -> Any:  # noqa: ANN401 - a JSON document
    assert answer.headers["content-type"] == MEDIA_TYPE
    body = answer.json()
    assert body["status"] == answer.status_code
    assert {"type", "title", "detail", "code"} <= set(body)
    assert body["type"] == f"urn:tallystick:problem:{body['code']}"
    assert body["request_id"] == answer.headers["x-request-id"]
    return body


@pytest.mark.parametrize(
    ("method", "path", "options", "status"),
    [
        ("GET", "/nowhere", {}, 404),
        ("GET", "/api/v1/jobs/a%2Fb", {}, 404),
        ("DELETE", "/health", {}, 405),
        ("POST", "/api/v1/jobs", {"content": b"{"}, 400),
        ("POST", "/api/v1/jobs", {"content": b"\xff\xfe"}, 400),
        ("POST", "/api/v1/jobs", {"content": b""}, 422),
        ("POST", "/api/v1/jobs", {"json": {"input": "x"}}, 422),
        ("POST", "/api/v1/jobs", {"json": {"input": HEX, "unknown": 1}}, 422),
        ("POST", "/api/v1/jobs", {"json": {"input": f"{HEX}\n"}}, 422),
        ("POST", "/api/v1/jobs", {"json": {"input": HEX}}, 404),
        ("POST", "/api/v1/jobs", {"content": b" " * ((1 << 20) + 1)}, 413),
        ("GET", "/api/v1/jobs?limit=0", {}, 422),
        ("GET", "/api/v1/jobs?limit=x", {}, 422),
        ("GET", "/api/v1/jobs?state=nonsense", {}, 422),
        ("GET", "/api/v1/jobs/unknown", {}, 404),
        ("GET", "/api/v1/jobs/UP", {}, 422),
        ("GET", "/api/v1/jobs/unknown/files/nothing", {}, 422),
        ("GET", "/api/v1/accounts/cpc1nonsense", {}, 422),
        ("POST", "/api/v1/transactions", {"json": {"a": 1}}, 400),
        ("POST", "/api/v1/faucet", {"json": {"address": "cpc1x", "amount": "1"}}, 422),
        ("GET", "/health", {"headers": {"authorization": "Basic YTpi"}}, 401),
        ("GET", "/health", {"headers": {"authorization": "Bearer nonsense"}}, 401),
        ("GET", "/health", {"headers": {"authorization": "Tally-Key nonsense"}}, 401),
        ("GET", "/health", {"headers": {"host": "tally.example"}}, 403),
        ("GET", "/health", {"headers": {"host": "127.0.0.1.example"}}, 403),
        ("GET", "/health", {"headers": {"origin": "https://evil.example"}}, 403),
        ("GET", "/health", {"headers": {"origin": "http://localhost:1"}}, 403),
        ("GET", "/health", {"headers": {"origin": "null"}}, 403),
        ("PUT", f"/api/v1/blobs/{HEX}", {"content": b"x"}, 422),
    ],
)
def test_every_error_is_a_problem(
    http: httpx.Client, method: str, path: str, options: dict[str, Any], status: int
) -> None:
    answer = http.request(method, path, **options)
    assert answer.status_code == status
    problem(answer)


def test_a_refused_method_names_the_others(http: httpx.Client) -> None:
    assert "GET" in http.delete("/health").headers["allow"]


def test_credentials_are_asked_for_by_name(guarded: Guarded) -> None:
    answer = guarded.http.get("/api/v1/jobs")
    assert answer.status_code == 401
    assert "Bearer" in answer.headers["www-authenticate"]


def test_an_open_node_answers_its_own_pages_and_any_name_of_this_machine(node: NodeProcess) -> None:
    for host in ("localhost", "127.0.0.1", "127.0.0.2", "[::1]"):
        name = f"{host}:{node.port}"
        answer = httpx.get(f"{node.url}/health", headers={"host": name, "origin": f"http://{name}"}, timeout=20)
        assert answer.status_code == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "http://localhost:1", "null"])
def test_a_page_of_another_site_opens_no_socket(node: NodeProcess, origin: str) -> None:
    with pytest.raises(InvalidStatus) as refused, connect(f"ws://127.0.0.1:{node.port}/worker", origin=Origin(origin)):
        pass
    assert refused.value.response.status_code == 403
    with connect(f"ws://127.0.0.1:{node.port}/worker", origin=Origin(node.url)) as line:
        assert json.loads(line.recv(timeout=20))["type"] == "auth"


def test_a_guarded_node_does_not_care_about_names(guarded: Guarded) -> None:
    headers = {"host": "tally.example", "origin": "https://other.example"}
    assert guarded.http.get("/health", headers=headers).status_code == 200


def test_a_header_twice_is_no_credential(node: NodeProcess) -> None:
    with socket.create_connection(("127.0.0.1", node.port), timeout=20) as line:
        twice = b"Authorization: Bearer a\r\nAuthorization: Bearer b\r\n"
        line.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + twice + b"\r\n")
        assert line.makefile("rb").readline().split()[1] == b"401"


def test_every_answer_is_marked_and_nobody_may_frame_or_keep_it(http: httpx.Client) -> None:
    for answer in (http.get("/health"), http.get("/nowhere"), http.get("/schema")):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["server"] == "tallystick"


def test_a_request_keeps_a_modest_name_of_its_own(http: httpx.Client) -> None:
    assert http.get("/health", headers={"x-request-id": "mine-1"}).headers["x-request-id"] == "mine-1"
    for strange in ("a b", "x" * 65, 'a"b'):
        assert http.get("/health", headers={"x-request-id": strange}).headers["x-request-id"] != strange


def test_faults_say_where_they_are(http: httpx.Client) -> None:
    body = problem(http.post("/api/v1/jobs", json={"input": "x"}))
    assert body["errors"][0]["where"] == "body.input"
    assert problem(http.get("/api/v1/jobs?limit=0"))["errors"][0]["where"] == "query.limit"


def test_no_answer_names_the_home(node: NodeProcess, http: httpx.Client) -> None:
    paths = ("/api/v1/node", "/api/v1/trust", "/schema", "/metrics", "/api/v1/jobs", "/readyz", "/api/v1/jobs/unknown")
    for path in paths:
        assert str(node.home) not in http.get(path).text


def test_the_log_holds_a_line_for_each_request_and_no_secret(guarded: Guarded) -> None:
    token = guarded.http.post(
        "/api/v1/tokens",
        json={"scopes": ["reporter"], "account": "quiet"},
        headers=guarded.bearer(next(scope for scope in guarded.tokens if scope.value == "operator")),
    ).json()["token"]
    secret, ticket = token.rpartition("_")[2], "a1" * 24
    sent = {"authorization": f"Bearer {token}", "x-request-id": "find-me"}
    guarded.http.get(f"/api/v1/assignments/{ticket}/input?key={secret}", headers=sent)
    guarded.http.post("/api/v1/tokens", content=secret, headers=sent)
    until = time.monotonic() + 10
    while (said := guarded.node.said()).count("find-me") < 2 and time.monotonic() < until:
        time.sleep(0.05)  # a line is written after its answer
    lines = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    mine = [line for line in lines if line.get("request_id") == "find-me"]
    assert [(line["route"], line["method"], line["status"]) for line in mine] == [
        ("/api/v1/assignments/{ticket}/input", "GET", 404),
        ("/api/v1/tokens", "POST", 403),
    ]
    assert all({"time", "level", "account", "ms", "bytes_out"} <= set(line) for line in mine)
    for hidden in (secret, ticket, "Bearer", "tally_"):
        assert hidden not in said


def test_metrics_count_requests_by_template_and_say_how_the_log_stands(http: httpx.Client) -> None:
    http.get("/api/v1/jobs/unknown")
    text = http.get("/metrics").text
    assert 'tallystick_http_request_seconds_count{method="GET",route="/api/v1/jobs/{job_id}",status="404"}' in text
    for name in ("log_entries", "log_blocks", "ledger_queue", "workers_connected", "open_lines", "uploads_open"):
        assert f"\ntallystick_{name} " in text
    assert "unknown" not in text


def test_every_error_of_the_tree_has_a_status() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.TallyError)]
    assert len(kinds) > 20
    for kind in kinds:
        listed = next(each for each in kind.__mro__ if each in STATUSES)
        assert listed is not errors.TallyError or kind is errors.TallyError


@pytest.mark.parametrize(
    "error",
    [
        errors.StoreError("no such table: entry in /home/me/ledger.sqlite"),
        errors.HomeError("/home/me is busy"),
        errors.ChainError("http://user:secret@rpc refused"),
        RuntimeError("select * from /home/me"),
        OSError(28, "No space left", "/home/me/uploads"),
    ],
)
def test_what_is_inside_stays_inside(error: Exception) -> None:
    told = describe(error, "r1", ("/home/me",))
    assert classify(error)[0] >= 500
    for hidden in ("/home", "select", "table", "secret"):
        assert hidden not in told.detail


def test_folders_are_blotted_out_of_what_is_explained() -> None:
    told = describe(errors.UsageError("/home/me/x is no picture"), "r1", ("/home/me",))
    assert told.detail == "HOME/x is no picture"


def test_evidence_travels_with_its_error() -> None:
    first = "0x" + "ab" * 32
    duplicate = describe(errors.DuplicateError("gpu-job-a-JobStarted", first), "r")
    assert (duplicate.status, duplicate.first_receipt and duplicate.first_receipt.tx_hash) == (409, first)
    assert describe(errors.ConflictError("no", offset=7), "r").offset == 7
    assert describe(errors.RangeError("no", 9), "r").size == 9
    commitment = describe(errors.CommitmentError("x", expected="aa", actual="bb"), "r")
    assert (commitment.expected, commitment.actual) == ("aa", "bb")


@pytest.mark.parametrize("name", ["x-forwarded-for", "Forwarded", "X-Real-IP", "x-forwarded-host"])
def test_a_proxy_does_not_make_the_world_this_machine(http: httpx.Client, guarded: Guarded, name: str) -> None:
    """What an open node takes for its own user may be anybody, once something passes requests on to it."""
    said = {name: "for=192.0.2.7"}
    assert http.get("/api/v1/jobs", headers=said).status_code == 403
    asked = guarded.http.get("/api/v1/jobs", headers=guarded.bearer(Scope.REQUESTER) | said)
    assert asked.status_code == 200
