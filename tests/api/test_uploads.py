"""An upload goes on from where it stands: after errors, past other writers, after a kill; it keeps its promise."""

from __future__ import annotations

import hashlib
import shutil
import socket
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tallystick.api.settings import Bounds
from tallystick.api.upload_desk import UploadDesk
from tallystick.errors import AbsentError, ConflictError, LimitError, TooLargeError
from tallystick.node.tokens import Scope
from tests.api.askers import Guarded, identity, signed
from tests.node_process import NodeProcess, serving, start

DATA = bytes(range(256)) * 1200
DIGEST = hashlib.sha256(DATA).hexdigest()
ROUTE = "/api/v1/uploads"
NOW = 1_700_000_000_000


def begin(http: httpx.Client, data: bytes = DATA, **headers: str) -> dict[str, Any]:
    form = {"length": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    answer = http.post(ROUTE, json=form, headers=headers)
    assert answer.status_code == 201, answer.text
    view: dict[str, Any] = answer.json()
    assert answer.headers["location"] == f"{ROUTE}/{view['upload_id']}"
    return view


def patch(http: httpx.Client, upload_id: str, offset: int, data: bytes, **headers: str) -> httpx.Response:
    return http.patch(f"{ROUTE}/{upload_id}", content=data, headers={"upload-offset": str(offset), **headers})


def test_pieces_make_a_whole(http: httpx.Client) -> None:
    upload_id = begin(http)["upload_id"]
    assert patch(http, upload_id, 0, DATA[:1000]).json()["offset"] == 1000
    head = http.head(f"{ROUTE}/{upload_id}")
    assert (head.headers["upload-offset"], head.headers["upload-length"]) == ("1000", str(len(DATA)))
    last = patch(http, upload_id, 1000, DATA[1000:])
    assert last.json() | {"expires": ""} == {
        "upload_id": upload_id,
        "offset": len(DATA),
        "length": len(DATA),
        "sha256": DIGEST,
        "complete": True,
        "expires": "",
    }
    assert patch(http, upload_id, len(DATA), b"more").status_code == 400
    assert http.delete(f"{ROUTE}/{upload_id}").status_code == 204
    assert http.get(f"{ROUTE}/{upload_id}").status_code == 404


@pytest.mark.parametrize("offset", [0, 999, 1001, len(DATA)])
def test_a_wrong_offset_is_told_the_right_one(http: httpx.Client, offset: int) -> None:
    upload_id = begin(http)["upload_id"]
    patch(http, upload_id, 0, DATA[:1000])
    refused = patch(http, upload_id, offset, DATA[:5])
    assert (refused.status_code, refused.json()["offset"], refused.headers["upload-offset"]) == (409, 1000, "1000")
    assert http.get(f"{ROUTE}/{upload_id}").json()["offset"] == 1000
    http.delete(f"{ROUTE}/{upload_id}")


def test_other_bytes_than_promised_are_no_upload(http: httpx.Client) -> None:
    upload_id = begin(http)["upload_id"]
    refused = patch(http, upload_id, 0, DATA[:-1] + b"?")
    assert (refused.status_code, refused.json()["expected"]) == (422, DIGEST)
    assert http.get(f"{ROUTE}/{upload_id}").status_code == 404


def test_more_bytes_than_promised_are_refused(http: httpx.Client) -> None:
    upload_id = begin(http)["upload_id"]
    assert patch(http, upload_id, 0, DATA + b"?").status_code == 413
    http.delete(f"{ROUTE}/{upload_id}")


def test_an_upload_that_may_never_end_is_not_begun(http: httpx.Client) -> None:
    for length, status in ((0, 422), (-1, 422), ((1 << 30) + 1, 413), (1 << 60, 422)):
        assert http.post(ROUTE, json={"length": length, "sha256": DIGEST}).status_code == status


def test_an_account_has_so_many_and_frees_them_by_itself(guarded: Guarded) -> None:
    mine = guarded.bearer(Scope.REQUESTER)
    made = [begin(guarded.http, **mine)["upload_id"] for _ in range(Bounds().uploads_per_account)]
    form = {"length": 5, "sha256": DIGEST}
    refused = guarded.http.post(ROUTE, json=form, headers=mine)
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "5")
    others = guarded.http.post(ROUTE, json=form, headers=guarded.bearer(Scope.OPERATOR))
    assert others.status_code == 201
    for upload_id in made:
        assert guarded.http.delete(f"{ROUTE}/{upload_id}", headers=mine).status_code == 204
    assert guarded.http.post(ROUTE, json=form, headers=mine).status_code == 201


def test_nobody_sees_anybody_elses_upload(guarded: Guarded) -> None:
    key = identity(guarded.node.home).key("account/somebody")
    form = b'{"length":5,"sha256":"%s"}' % DIGEST.encode()
    theirs = signed(guarded.node, key, "POST", ROUTE, form) | {"content-type": "application/json"}
    made = guarded.http.post(ROUTE, content=form, headers=theirs)
    assert made.status_code == 201, made.text
    path = f"{ROUTE}/{made.json()['upload_id']}"
    mine = guarded.bearer(Scope.REQUESTER)
    assert guarded.http.get(path, headers=mine).status_code == 404
    assert guarded.http.patch(path, content=b"x", headers={**mine, "upload-offset": "0"}).status_code == 404
    assert guarded.http.delete(path, headers=mine).status_code == 404
    assert guarded.http.get(path, headers=guarded.bearer(Scope.OPERATOR)).status_code == 200


def test_a_signed_piece_with_other_bytes_leaves_nothing_behind(guarded: Guarded) -> None:
    key = identity(guarded.node.home).key("account/somebody")
    form = b'{"length":%d,"sha256":"%s"}' % (len(DATA), DIGEST.encode())
    theirs = signed(guarded.node, key, "POST", ROUTE, form) | {"content-type": "application/json"}
    path = f"{ROUTE}/{guarded.http.post(ROUTE, content=form, headers=theirs).json()['upload_id']}"
    headers = signed(guarded.node, key, "PATCH", path, DATA[:5000]) | {"upload-offset": "0"}
    assert guarded.http.patch(path, content=b"?" + DATA[1:5000], headers=headers).status_code == 401
    operator = guarded.bearer(Scope.OPERATOR)
    assert guarded.http.get(path, headers=operator).json()["offset"] == 0
    headers = signed(guarded.node, key, "PATCH", path, DATA[:5000]) | {"upload-offset": "0"}
    assert guarded.http.patch(path, content=DATA[:5000], headers=headers).json()["offset"] == 5000


def test_who_hangs_is_passed_by_who_goes_on(node: NodeProcess, http: httpx.Client) -> None:
    upload_id = begin(http)["upload_id"]
    with socket.create_connection(("127.0.0.1", node.port), timeout=20) as hanging:
        head = f"PATCH {ROUTE}/{upload_id} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpload-Offset: 0\r\n"
        hanging.sendall(f"{head}Content-Length: {len(DATA)}\r\n\r\n".encode() + DATA[:3000])
        stands = wait_for_offset(http, upload_id, 3000)
        assert patch(http, upload_id, stands, DATA[stands:]).json()["complete"]
        hanging.sendall(DATA[3000:])
        assert hanging.makefile("rb").readline().split()[1] in {b"409", b"404"}
    assert http.get(f"{ROUTE}/{upload_id}").json()["complete"]


def wait_for_offset(http: httpx.Client, upload_id: str, offset: int) -> int:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        stands = int(http.get(f"{ROUTE}/{upload_id}").json()["offset"])
        if stands >= offset:
            return stands
        time.sleep(0.02)
    raise AssertionError(offset)


def test_what_arrived_before_a_kill_is_gone_on_from(tmp_path: Path) -> None:
    node = start(tmp_path / "home")
    with httpx.Client(base_url=node.url, timeout=20) as http:
        whole, part = begin(http)["upload_id"], begin(http)["upload_id"]
        assert patch(http, whole, 0, DATA).json()["complete"]
        with socket.create_connection(("127.0.0.1", node.port), timeout=20) as line:
            head = f"PATCH {ROUTE}/{part} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpload-Offset: 0\r\n"
            line.sendall(f"{head}Content-Length: {len(DATA)}\r\n\r\n".encode() + DATA[:70_000])
            stood = wait_for_offset(http, part, 1)
            node.kill()
    with serving(tmp_path / "home") as again, httpx.Client(base_url=again.url, timeout=20) as http:
        assert http.get(f"{ROUTE}/{whole}").json()["complete"]
        stands = http.get(f"{ROUTE}/{part}").json()["offset"]
        assert stood <= stands <= 70_000
        assert patch(http, part, stands, DATA[stands:]).json()["complete"]


@pytest.fixture
def desk(tmp_path: Path) -> UploadDesk:
    made = UploadDesk(tmp_path / "uploads", Bounds(account_bytes=100))
    made.open(NOW)
    return made


def test_an_upload_expires(desk: UploadDesk) -> None:
    upload = desk.begin("alice", 5, DIGEST, NOW, bytes(16))
    desk.write(upload, 0, b"abc")
    assert desk.get(upload.upload_id, upload.expires - 1) == upload
    with pytest.raises(AbsentError):
        desk.get(upload.upload_id, upload.expires)
    desk.sweep(upload.expires)
    assert list(desk.folder.iterdir()) == []


def test_a_later_process_finds_uploads_and_no_litter(desk: UploadDesk) -> None:
    upload = desk.begin("alice", 5, hashlib.sha256(b"abcde").hexdigest(), NOW, bytes(16))
    desk.write(upload, 0, b"abcde")
    done = desk.finish(upload)
    (desk.folder / "x.tmp").write_bytes(b"litter")
    (desk.folder / f"{'f' * 32}.part").write_bytes(b"no promise")
    (desk.folder / f"{'e' * 32}.json").write_bytes(b"torn")
    again = UploadDesk(desk.folder, desk.bounds)
    again.open(NOW + 1)
    assert again.find("alice", done.sha256, NOW + 1) == done
    assert again.find("bob", done.sha256, NOW + 1) is None
    assert {path.name for path in desk.folder.iterdir()} == {f"{upload.upload_id}.json", f"{upload.upload_id}.part"}
    late = UploadDesk(desk.folder, desk.bounds)
    late.open(done.expires)
    assert list(desk.folder.iterdir()) == []


def test_promises_are_bounded_together(desk: UploadDesk) -> None:
    desk.begin("alice", 60, DIGEST, NOW, bytes(16))
    with pytest.raises(LimitError):
        desk.begin("alice", 41, DIGEST, NOW, bytes([1]) * 16)
    desk.begin("bob", 100, DIGEST, NOW, bytes([2]) * 16)


def test_the_desk_itself_takes_bytes_in_order_only(desk: UploadDesk) -> None:
    upload = desk.begin("alice", 5, DIGEST, NOW, bytes(16))
    assert desk.write(upload, 0, b"abc") == 3
    for offset in (0, 2, 4):
        with pytest.raises(ConflictError):
            desk.write(upload, offset, b"x")
    with pytest.raises(TooLargeError):
        desk.write(upload, 3, b"xyz")
    assert desk.offset(upload) == 3


def test_callers_without_a_token_share_their_room(tmp_path: Path) -> None:
    desk = UploadDesk(tmp_path / "uploads", Bounds(strangers_bytes=100))
    desk.open(NOW)
    strangers = [f"cpc1{letter * 38}" for letter in "qpz"]
    desk.begin(strangers[0], 60, DIGEST, NOW, bytes(16))
    desk.begin(strangers[1], 40, DIGEST, NOW, bytes([1]) * 16)
    with pytest.raises(LimitError, match="without a token"):
        desk.begin(strangers[2], 1, DIGEST, NOW, bytes([2]) * 16)
    desk.begin("alice", 100, DIGEST, NOW, bytes([3]) * 16)


def test_the_disk_keeps_a_reserve_beside_what_was_promised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: usage)
    desk = UploadDesk(tmp_path / "uploads", Bounds(disk_reserve_bytes=400))
    desk.open(NOW)
    upload = desk.begin("alice", 500, DIGEST, NOW, bytes(16))
    with pytest.raises(LimitError, match="disk"):
        desk.begin("bob", 101, DIGEST, NOW, bytes([1]) * 16)
    desk.begin("bob", 100, DIGEST, NOW, bytes([2]) * 16)
    desk.remove(upload)
    desk.begin("carol", 500, DIGEST, NOW, bytes([3]) * 16)


def test_what_was_given_up_meanwhile_is_absent_and_no_bug(desk: UploadDesk) -> None:
    upload = desk.begin("alice", 5, hashlib.sha256(b"abcde").hexdigest(), NOW, bytes(16))
    desk.write(upload, 0, b"abcde")
    done = desk.finish(upload)
    assert desk.read(done) == b"abcde"
    desk.remove(done)
    for act in (lambda: desk.read(done), lambda: desk.offset(done)):
        with pytest.raises(AbsentError):
            act()
