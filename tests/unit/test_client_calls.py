"""The SDK against a node that loses replies, breaks off, lies and floods: what it repeats, what it never believes."""

from __future__ import annotations

import asyncio
import inspect
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from tallystick import AsyncClient, Client, errors
from tallystick.api.problems import STATUSES
from tallystick.client import calls, http
from tallystick.client.address import Address
from tallystick.client.feed import EVENT_BYTES_MAX
from tallystick.client.files import Part
from tallystick.client.refusals import CODES
from tallystick.client.steps import PAUSES
from tallystick.ledger.payloads import Transfer
from tallystick.ledger.transactions import Draft, sign
from tallystick.node.signed_requests import Asked, Gatekeeper, content_digest
from tallystick.primitives.cids import raw_cid
from tallystick.primitives.digests import sha256
from tests.orders import CHAIN, key
from tests.scripted_node import Broken, Reply, ScriptedNode, ServedFile, TakenUpload, json, lost, problem, raw, refused

URL: Final = "http://127.0.0.1:7053"
NODE: Final = {"chain_id": CHAIN, "version": "1"}
JOB: Final[dict[str, Any]] = {
    "job_id": "up-1",
    "account": "home",
    "state": "queued",
    "phase": "absent",
    "attempt": 0,
    "created_at": "2026-01-01T00:00:00.000Z",
    "input_name": "a.png",
    "output_name": "b.png",
    "scale": "2",
    "placement": "spread",
    "microjobs": 0,
    "arrived": 0,
    "locked_wei": "0",
    "cost_wei": None,
    "files": [],
    "waiting": "",
    "simulated": False,
    "something_newer": 1,
}
PICTURE: Final = b"picture bytes " * 100


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_pause", lambda _pause: 0.0)


def client(script: dict[str, list[Reply]], **more: Any) -> tuple[Client, ScriptedNode]:  # noqa: ANN401 - Client's
    node = ScriptedNode(script)
    return Client(URL, transport=node, **more), node


def upload_script(taken: TakenUpload, **more: list[Reply]) -> dict[str, list[Reply]]:
    begun = json({"upload_id": "u1", "offset": 0, "length": taken.length, "complete": False}, 201)
    return {
        "POST /api/v1/uploads": [begun],
        "PATCH /api/v1/uploads/u1": [taken.patch],
        "GET /api/v1/uploads/u1": [taken.get],
        "DELETE /api/v1/uploads/u1": [raw(204)],
        **{name.replace("_", " ", 1): replies for name, replies in more.items()},
    }


def test_an_order_whose_reply_is_lost_is_one_order() -> None:
    taken = TakenUpload(len(PICTURE))
    script = upload_script(taken) | {"POST /api/v1/jobs": [lost, problem(503, "unavailable"), json(JOB, 202)]}
    asker, node = client(script)
    assert asker.submit(PICTURE, scale="2", price_max="0.5").job_id == "up-1"
    tries = [each for each in node.asked if each.url.path == "/api/v1/jobs"]
    assert len(tries) == 3
    assert len({each.headers["idempotency-key"] for each in tries}) == 1
    assert len({each.content for each in tries}) == 1
    assert b'"price_max":"500000000000000000"' in tries[0].content
    assert node.times("DELETE /api/v1/uploads/u1") == 1


def test_two_orders_of_the_same_bytes_are_two() -> None:
    taken = TakenUpload(len(PICTURE))
    asker, node = client(upload_script(taken) | {"POST /api/v1/jobs": [json(JOB, 202)]})
    asker.submit(PICTURE)
    taken.data.clear()
    asker.submit(PICTURE)
    assert len({each.headers["idempotency-key"] for each in node.asked if each.url.path == "/api/v1/jobs"}) == 2


@pytest.mark.parametrize("replies", [["lost"], ["half", "half", "lost"], ["unreached", "half"], ["", "lost", "half"]])
def test_a_broken_upload_goes_on_from_where_the_node_stands(
    replies: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "CHUNK_BYTES", 100)
    taken = TakenUpload(len(PICTURE), list(replies))
    asker, _ = client(upload_script(taken) | {"POST /api/v1/jobs": [json(JOB, 202)]})
    asker.submit(PICTURE)
    assert bytes(taken.data) == PICTURE


def test_an_upload_that_never_goes_on_is_given_up() -> None:
    standing = json({"upload_id": "u1", "offset": 3, "length": len(PICTURE), "complete": False})
    script = upload_script(TakenUpload(len(PICTURE))) | {
        "PATCH /api/v1/uploads/u1": [standing],
        "GET /api/v1/uploads/u1": [standing],
    }
    asker, node = client(script)
    with pytest.raises(errors.NodeError, match="does not go on"):
        asker.submit(PICTURE)
    assert node.times("PATCH /api/v1/uploads/u1") <= len(PAUSES) + 2


def test_an_upload_that_the_node_refuses_is_not_repeated() -> None:
    taken = TakenUpload(len(PICTURE))
    script = upload_script(taken) | {"PATCH /api/v1/uploads/u1": [problem(422, "does-not-hold", "other bytes")]}
    asker, node = client(script)
    with pytest.raises(errors.VerificationError, match="other bytes"):
        asker.submit(PICTURE)
    assert node.times("PATCH /api/v1/uploads/u1") == 1


def test_a_file_that_changes_while_it_travels_orders_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(PICTURE)

    def shrink(_request: httpx.Request) -> httpx.Response:
        path.write_bytes(PICTURE[:5])
        return json({"upload_id": "u1", "offset": 0, "length": len(PICTURE), "complete": False})(_request)

    asker, node = client(upload_script(TakenUpload(len(PICTURE))) | {"POST /api/v1/uploads": [shrink]})
    with pytest.raises(errors.UsageError, match="changed while it was uploaded"):
        asker.submit(path)
    assert node.times("POST /api/v1/jobs") == 0


@pytest.mark.parametrize("first", [lost, refused, problem(503, "unavailable"), problem(429, "limit"), raw(502)])
def test_reading_is_repeated_after_what_may_pass(first: Reply) -> None:
    asker, node = client({"GET /api/v1/jobs/up-1": [first, first, json(JOB)]})
    assert asker.job("up-1").job_id == "up-1"
    assert len(node.asked) == 3


def test_what_does_not_pass_is_said_after_a_few_tries() -> None:
    asker, node = client({"GET /api/v1/jobs/up-1": [refused]})
    with pytest.raises(errors.UnreachableError, match="connection refused"):
        asker.job("up-1")
    assert len(node.asked) == len(PAUSES) + 1
    asker, node = client({"GET /api/v1/jobs/up-1": [problem(503, "unavailable", "not now")]})
    with pytest.raises(errors.NodeError, match="not now"):
        asker.job("up-1")
    assert len(node.asked) == len(PAUSES) + 1


def test_what_would_do_its_work_twice_is_asked_once() -> None:
    asker, node = client({"POST /api/v1/faucet": [lost], "POST /api/v1/jobs/up-1/cancel": [lost]})
    for call in (lambda: asker.faucet(key("a").address, 1), lambda: asker.cancel("up-1")):
        with pytest.raises(errors.UnreachableError):
            call()
    assert len(node.asked) == 2


HOSTILE: Final[dict[str, tuple[Reply, type[errors.TallyError], str]]] = {
    "html": (raw(200, b"<html>", content_type="text/html"), errors.NodeError, "instead of application/json"),
    "no type": (raw(200, b"{}"), errors.NodeError, "no media type"),
    "half json": (raw(200, b'{"job_id"', content_type="application/json"), errors.NodeError, "no node says"),
    "deep json": (raw(200, b"[" * 99_999, content_type="application/json"), errors.NodeError, "no node says"),
    "not utf-8": (raw(200, b'{"job_id":"\xff"}', content_type="application/json"), errors.NodeError, "no node says"),
    "another shape": (json({**JOB, "attempt": "1"}), errors.NodeError, "no node says"),
    "another state": (json({**JOB, "state": "great"}), errors.NodeError, "no node says"),
    "a flood": (raw(200, b" " * (5 << 20), content_type="application/json"), errors.NodeError, "more than"),
    "a redirect": (raw(302, b"", location="http://evil.example/"), errors.NodeError, "answers 302"),
    "an odd refusal": (raw(404, b"<html>", content_type="text/html"), errors.AbsentError, "answers 404"),
    "a large refusal": (
        raw(400, b"{" + b" " * 70_000, content_type="application/problem+json"),
        errors.NodeError,
        "answers 400",
    ),
    "a refusal of nonsense": (raw(400, b"[1]", content_type="application/problem+json"), errors.NodeError, "400"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_no_node_says_is_an_error_of_the_node(name: str) -> None:
    reply, kind, words = HOSTILE[name]
    asker, node = client({"GET /api/v1/jobs/up-1": [reply]})
    with pytest.raises(kind, match=words):
        asker.job("up-1")
    assert len(node.asked) == 1


@pytest.mark.parametrize(("kind", "status_and_code"), STATUSES.items())
def test_every_code_of_a_node_becomes_an_error_with_its_words(
    kind: type[Exception], status_and_code: tuple[int, str]
) -> None:
    status, code = status_and_code
    assert code in CODES
    asker, _ = client({"POST /api/v1/jobs/up-1/cancel": [problem(status, code, "these words", offset=7, size=9)]})
    with pytest.raises(errors.TallyError, match="these words") as caught:
        asker.cancel("up-1")
    assert isinstance(caught.value, kind | errors.NodeError | errors.RuleError | errors.UsageError)
    if isinstance(caught.value, errors.ConflictError):
        assert caught.value.fact == {"offset": 7}


def test_a_code_that_nobody_knows_is_told_by_its_status() -> None:
    for status, kind in ((401, errors.AccessError), (418, errors.UsageError), (500, errors.NodeError)):
        asker, _ = client({"GET /api/v1/jobs/up-1": [problem(status, "newer")]})
        with pytest.raises(kind):
            asker.job("up-1")


def test_a_duplicate_names_the_first_receipt() -> None:
    first = {"tx_hash": "0x" + "ab" * 32, "nid": "x"}
    asker, _ = client(
        {"POST /api/v1/transactions": [problem(409, "duplicate", "k was recorded before, by z", first_receipt=first)]}
    )
    with pytest.raises(errors.DuplicateError) as caught:
        asker.transaction(entry().entry)
    assert (caught.value.key, caught.value.first) == ("k", "0x" + "ab" * 32)


def entry() -> Any:  # noqa: ANN401 - a transaction
    return sign(Draft(key("a"), Transfer(key("b").address, "1")), CHAIN, 0)


def test_an_entry_whose_reply_was_lost_is_answered_by_its_receipt() -> None:
    sent = entry()
    mine = {"tx_hash": sent.tx_hash, "nid": sent.nid}
    there = json({**mine, "index": 3})
    script = {
        "POST /api/v1/transactions": [
            lost,
            problem(409, "duplicate", "this entry was recorded before", first_receipt=mine),
        ],
        f"GET /api/v1/receipts/{sent.tx_hash}": [there],
    }
    asker, _ = client(script)
    assert asker.transaction(sent.entry).index == 3
    asker, _ = client({"POST /api/v1/transactions": [json({"tx_hash": "0x00", "nid": "x", "index": 1}, 201)]})
    with pytest.raises(errors.VerificationError):
        asker.transaction(sent.entry)


def test_a_receipt_for_another_entry_is_not_believed() -> None:
    sent = entry()
    good = {"nid": sent.nid, "tx_hash": sent.tx_hash, "index": 1}
    for lie in (
        {"nid": raw_cid(sha256(b"x"))},
        {"tx_hash": "0x" + "00" * 32},
        {"entry": {"other": 1}},
    ):
        asker, _ = client({f"GET /api/v1/receipts/{sent.nid}": [json(good | lie)]})
        with pytest.raises(errors.VerificationError):
            asker.receipt(sent.nid)


DATA: Final = bytes(range(256)) * 40
FILE: Final = "/api/v1/jobs/up-1/files/output"


def served(file: ServedFile) -> dict[str, list[Reply]]:
    return {f"HEAD {FILE}": [file.head], f"GET {FILE}": [file.get]}


@pytest.mark.parametrize("step", [None, 1, 700, 10_000])
def test_a_download_goes_on_where_it_broke_off(tmp_path: Path, step: int | None) -> None:
    file = ServedFile(DATA if step != 1 else DATA[:3], step)
    asker, _ = client(served(file))
    target = tmp_path / "out.png"
    assert asker.download("up-1", "output", target) == target
    assert target.read_bytes() == file.data
    assert list(tmp_path.iterdir()) == [target]
    starts = [int(each.removeprefix("bytes=").rstrip("-")) for each in file.ranges if each]
    assert starts == sorted(set(starts))


def test_another_process_goes_on_with_a_download(tmp_path: Path) -> None:
    target = tmp_path / "out.png"
    part = Part(target, len(DATA), sha256(DATA).hex())
    part.path.write_bytes(DATA[:100])
    file = ServedFile(DATA)
    asker, _ = client(served(file))
    asker.download("up-1", "output", target)
    assert file.ranges == ["bytes=100-"]
    assert target.read_bytes() == DATA


def test_a_damaged_part_is_found_out_and_gone(tmp_path: Path) -> None:
    target = tmp_path / "out.png"
    target.write_bytes(b"what stood there")
    part = Part(target, len(DATA), sha256(DATA).hex())
    part.path.write_bytes(b"x" * 100)
    asker, _ = client(served(ServedFile(DATA)))
    with pytest.raises(errors.CommitmentError):
        asker.download("up-1", "output", target)
    assert target.read_bytes() == b"what stood there"
    assert list(tmp_path.iterdir()) == [target]
    asker.download("up-1", "output", target)
    assert target.read_bytes() == DATA


def test_wrong_bytes_never_come_to_stand_at_the_target(tmp_path: Path) -> None:
    asker, _ = client(served(ServedFile(DATA, digest=content_digest(b"other"))))
    with pytest.raises(errors.CommitmentError, match="SHA-256 of the download"):
        asker.download("up-1", "output", tmp_path / "out.png")
    assert list(tmp_path.iterdir()) == []


def test_a_download_without_a_promise_or_beyond_it_is_refused(tmp_path: Path) -> None:
    asker, _ = client({f"HEAD {FILE}": [raw(200, b"")]})
    with pytest.raises(errors.NodeError, match="does not say"):
        asker.download("up-1", "output", tmp_path / "a")
    file = ServedFile(DATA[:10])
    more = raw(200, DATA, content_type="image/png")
    asker, _ = client({f"HEAD {FILE}": [file.head], f"GET {FILE}": [more]})
    with pytest.raises(errors.NodeError, match="more than the 10 bytes"):
        asker.download("up-1", "output", tmp_path / "a")
    broken = ServedFile(DATA, 100)
    wrong_place = raw(206, DATA[:5], content_range=f"bytes 0-4/{len(DATA)}")
    asker, _ = client({f"HEAD {FILE}": [broken.head], f"GET {FILE}": [broken.get, wrong_place]})
    with pytest.raises(errors.NodeError, match="was asked for bytes 100"):
        asker.download("up-1", "output", tmp_path / "b")


def test_a_file_that_changed_meanwhile_begins_anew(tmp_path: Path) -> None:
    file = ServedFile(DATA, 100)
    asker, _ = client(served(file))

    def replaced(request: httpx.Request) -> httpx.Response:
        return ServedFile(DATA, etag='"v2"').get(request)

    asker, _ = client({f"HEAD {FILE}": [file.head], f"GET {FILE}": [file.get, replaced]})
    asker.download("up-1", "output", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == DATA


def test_a_download_that_brings_nothing_more_ends(tmp_path: Path) -> None:
    file = ServedFile(DATA)
    nothing = raw(200, b"")
    asker, node = client({f"HEAD {FILE}": [file.head], f"GET {FILE}": [nothing]})
    with pytest.raises(errors.NodeError, match="nothing more"):
        asker.download("up-1", "output", tmp_path / "a")
    assert node.times(f"GET {FILE}") == len(PAUSES) + 1


def said(number: int, **changes: Any) -> bytes:  # noqa: ANN401 - members of an event
    data = sign(Draft(key("a"), Transfer(key("b").address, str(number))), CHAIN, number)
    named = {"index": number, "nid": data.nid, "tx_hash": data.tx_hash} | changes
    fields = ",".join(
        f'"{name}":{value if isinstance(value, int) else chr(34) + value + chr(34)}' for name, value in named.items()
    )
    return b'id: %d\nevent: Transfer\ndata: {%s,"entry":%s}\n\n' % (number, fields.encode(), data.entry)


STREAM: Final = {"content-type": "text/event-stream; charset=utf-8"}


def stream(data: bytes, size: int = 7) -> Reply:
    return lambda _request: httpx.Response(200, headers=STREAM, stream=Broken(data, size))


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_events_go_on_behind_the_last_one_and_come_once(size: int) -> None:
    first = b"retry: 1000\n\n: still here\n\n" + said(0) + said(1) + said(2)[:50]
    second = said(1) + said(2).replace(b"\n", b"\r\n") + said(4)
    asker, node = client({"GET /api/v1/events": [stream(first, size), lost, stream(second, size)]})
    found = []
    for event in asker.events(job="up-1"):
        found.append(event)
        if event.index == 4:
            break
    assert [event.index for event in found] == [0, 1, 2, 4]
    assert {event.type for event in found} == {"Transfer"}
    assert [each.headers.get("last-event-id") for each in node.asked] == [None, "1", "1"]
    assert {each.url.query for each in node.asked} == {b"job=up-1"}


def test_events_after_an_index_ask_for_it() -> None:
    asker, node = client({"GET /api/v1/events": [stream(said(9))]})
    assert next(asker.events(after=8)).index == 9
    assert node.asked[0].headers["last-event-id"] == "8"


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (said(0, tx_hash="0x" + "00" * 32), errors.VerificationError),
        (said(0, nid=raw_cid(sha256(b"x"))), errors.VerificationError),
        (b"data: nonsense\n\n", errors.NodeError),
        (b'data: {"index":-1,"nid":"","tx_hash":"","entry":{}}\n\n', errors.NodeError),
        (b"data: " + b"x" * (EVENT_BYTES_MAX + 1), errors.NodeError),
        (b"data: x\n" * (EVENT_BYTES_MAX // 7 + 2), errors.NodeError),
    ],
)
def test_an_event_that_is_no_entry_of_its_name_ends_the_stream(data: bytes, kind: type[Exception]) -> None:
    asker, _ = client({"GET /api/v1/events": [stream(data, 1 << 16)]})
    with pytest.raises(kind):
        next(asker.events())


def test_a_stream_that_is_refused_or_of_another_kind_is_an_error() -> None:
    asker, _ = client({"GET /api/v1/events": [problem(403, "not-allowed", "not yours")]})
    with pytest.raises(errors.AuthorityError, match="not yours"):
        next(asker.events())
    asker, _ = client({"GET /api/v1/events": [json({})]})
    with pytest.raises(errors.NodeError):
        next(asker.events())
    asker, node = client({"GET /api/v1/events": [refused]})
    with pytest.raises(errors.UnreachableError):
        next(asker.events())
    assert len(node.asked) == len(PAUSES) + 1


def test_a_key_signs_every_request_anew_once_it_knows_the_ledger() -> None:
    signer = key("buyer")
    taken = TakenUpload(len(PICTURE))
    script = upload_script(taken) | {"GET /api/v1/node": [json(NODE)], "POST /api/v1/jobs": [lost, json(JOB, 202)]}
    asker, node = client(script, key=signer)
    asker.submit(PICTURE, own_key=False)
    assert node.times("GET /api/v1/node") == 1
    gate, seen = Gatekeeper(CHAIN, 0), set()
    for request in node.asked[1:]:
        scheme, _, rest = request.headers["authorization"].partition(" ")
        assert scheme == "Tally-Key"
        if request.content:
            assert request.headers["content-digest"] == content_digest(request.content)
        now = int(rest.split("time=")[1].split(",")[0])
        asked = Asked(request.method, request.url.raw_path.decode(), sha256(request.content))
        assert gate.check(rest, asked, now) == signer.public
        seen.add(rest)
    assert len(seen) == len(node.asked) - 1
    assert "authorization" not in node.asked[0].headers


def test_a_node_that_does_not_say_its_ledger_is_given_up_once() -> None:
    asker, node = client({"GET /api/v1/node": [refused]}, key=key("a"))
    with pytest.raises(errors.UnreachableError):
        asker.job("up-1")
    assert len(node.asked) == len(PAUSES) + 1


def test_a_certificate_that_nobody_trusts_is_not_tried_again() -> None:
    def distrusted(_request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("verify failed") from ssl.SSLCertVerificationError("self-signed")

    asker, node = client({"GET /api/v1/jobs/up-1": [distrusted]})
    with pytest.raises(errors.NodeError, match="is not trusted"):
        asker.job("up-1")
    assert len(node.asked) == 1


def test_a_token_goes_to_what_is_not_public_only() -> None:
    words = "tally_ab_cd"
    asker, node = client({"GET /api/v1/node": [json(NODE)], "GET /api/v1/jobs/up-1": [json(JOB)]}, token=words)
    asker.node()
    asker.job("up-1")
    assert [each.headers.get("authorization") for each in node.asked] == [None, f"Bearer {words}"]
    for wrong in ("a b", "a\nb", "", "ä"):
        with pytest.raises(errors.UsageError):
            Client(URL, token=wrong)
    with pytest.raises(errors.UsageError, match="not both"):
        Client(URL, token=words, key=key("a"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ftp://a",
        "http://",
        "http://a/b",
        "http://u:p@a",
        "http://a?x",
        "http://a#x",
        "http://a:0",
        "http://a:x",
        "a b",
    ],
)
def test_what_is_no_address_of_a_node_is_refused(text: str) -> None:
    with pytest.raises(errors.UsageError, match="no address of a node"):
        Address.parse(text)


def test_addresses_of_nodes() -> None:
    assert Address.parse("localhost:7053").url == "http://localhost:7053"
    assert Address.parse("https://node.example/").socket == "wss://node.example/worker"
    assert Address.parse("http://[::1]:1").url == "http://[::1]:1"
    assert [Address.parse(each).is_loopback for each in ("127.0.0.1", "http://[::1]", "10.0.0.1", "a.example")] == [
        True,
        True,
        False,
        False,
    ]


def test_an_option_that_no_order_has_is_refused_before_anything_is_sent() -> None:
    asker, node = client({})
    with pytest.raises(errors.UsageError, match="no such option"):
        asker.submit(PICTURE, colour="blue")
    assert node.asked == []


def test_all_pages_of_a_listing_are_read() -> None:
    def page(request: httpx.Request) -> httpx.Response:
        number = int(request.url.params.get("cursor", "0"))
        following = str(number + 1) if number < 2 else None
        return json({"jobs": [{**JOB, "job_id": f"up-{number}"}], "cursor": following})(request)

    asker, _ = client({"GET /api/v1/jobs": [page]})
    assert [job.job_id for job in asker.jobs()] == ["up-0", "up-1", "up-2"]


def test_waiting_ends_with_the_order() -> None:
    states = [json({**JOB, "state": state}) for state in ("queued", "running", "failed")]
    asker, _ = client({"GET /api/v1/jobs/up-1": [*states]})
    assert asker.wait("up-1").state.value == "failed"


def test_both_clients_have_the_same_methods_with_the_same_options() -> None:
    def public(kind: type) -> dict[str, list[str]]:
        methods = inspect.getmembers(kind, inspect.isfunction)
        return {name: list(inspect.signature(each).parameters) for name, each in methods if not name.startswith("_")}

    assert public(Client) == public(AsyncClient)


def test_the_client_that_awaits_does_the_same(tmp_path: Path) -> None:
    taken, file = TakenUpload(len(PICTURE), ["half"]), ServedFile(DATA, 700)
    script = (
        upload_script(taken)
        | served(file)
        | {
            "GET /api/v1/node": [json(NODE)],
            "POST /api/v1/jobs": [lost, json(JOB, 202)],
            "GET /api/v1/jobs/up-1": [json(JOB), json({**JOB, "state": "done"})],
            "GET /api/v1/jobs": [json({"jobs": [JOB], "cursor": None})],
            "GET /api/v1/events": [stream(said(0) + said(1)[:9]), stream(said(1))],
        }
    )
    node = ScriptedNode(script)

    async def run() -> None:
        async with AsyncClient(URL, transport=node, key=key("a")) as asker:
            assert (await asker.submit(PICTURE, own_key=False)).job_id == "up-1"
            assert (await asker.wait("up-1")).state.value == "done"
            assert [job.job_id async for job in asker.jobs()] == ["up-1"]
            await asker.download("up-1", "output", tmp_path / "a")
            found = []
            async for event in asker.events():
                found.append(event.index)
                if len(found) == 2:
                    break
            assert found == [0, 1]

    asyncio.run(run())
    assert (tmp_path / "a").read_bytes() == DATA
    assert (
        len(
            {
                each.headers["idempotency-key"]
                for each in node.asked
                if each.method == "POST" and each.url.path == "/api/v1/jobs"
            }
        )
        == 1
    )


def test_the_sdk_loads_when_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    import tallystick

    assert tallystick.Client is Client
    with pytest.raises(AttributeError):
        _ = tallystick.Server
    with pytest.raises(errors.UsageError, match="holds no certificates"):
        Client("https://node.example", verify="/nowhere.pem")
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:1")
    options: Callable[[str], dict[str, Any]] = lambda url: http.Asker(Address.parse(url), None).options()  # noqa: E731
    assert options(URL)["trust_env"] is False
    assert options("http://node.example")["trust_env"] is True
