"""The log over HTTP: exactly the paths of tlog-tiles, proofs that hold offline, names that are found."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator
from typing import Any

import pytest
from litestar.testing import TestClient

from tallystick.api.log_routes import log_routes
from tallystick.primitives.cids import Cid, Codec, raw_cid
from tallystick.primitives.digests import sha256
from tallystick.primitives.merkle import check_consistency, leaf_hash
from tallystick.primitives.notes import NoteVerifier
from tallystick.receipts import tlog_proof
from tallystick.receipts.log import names_of_size, parse_bundle
from tests.log_world import ORIGIN, SIGNER, ListLog, application, entries_of

SIZE = 600
LOG = ListLog(entries_of(SIZE))
VERIFIER = NoteVerifier.parse(SIGNER.vkey)


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient[Any]]:
    with TestClient(application(log_routes(LOG))) as client:
        yield client


@pytest.mark.parametrize("name", names_of_size(SIZE), ids=lambda name: name.path)
def test_every_file_of_the_log_is_served(client: TestClient[Any], name: Any) -> None:  # noqa: ANN401
    answer = client.get(f"/log/{name.path}", headers={"accept-encoding": "identity"})
    assert answer.status_code == 200
    assert answer.content == LOG.tile(name)
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["access-control-allow-origin"] == "*"
    head = client.head(f"/log/{name.path}", headers={"accept-encoding": "identity"})
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(answer.content))
    assert head.headers["etag"] == answer.headers["etag"]
    again = client.get(f"/log/{name.path}", headers={"if-none-match": answer.headers["etag"], "accept-encoding": "x"})
    assert (again.status_code, again.content) == (304, b"")


def test_the_checkpoint_is_plain_text_that_is_not_kept_long(client: TestClient[Any]) -> None:
    answer = client.get("/log/checkpoint")
    assert answer.content == LOG.note.encode()
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["cache-control"] == "public, max-age=2"


def test_the_first_page_stands_beside(client: TestClient[Any]) -> None:
    answer = client.get("/log/genesis.json")
    assert (answer.content, answer.headers["content-type"]) == (LOG.genesis(), "application/json")


@pytest.mark.parametrize(
    "path", ["tile/0/000.p/1", "tile/0/002.p/1", "tile/entries/002.p/17", "tile/entries/001.p/255"]
)
def test_partial_tiles_of_every_smaller_size_are_there(client: TestClient[Any], path: str) -> None:
    assert client.get(f"/log/{path}").status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        *("", "tile", "tile/", "tile/0", "tile/0/", "tile/0/000/", "tile/0/0", "tile/0/00", "tile/0/0000"),
        *("tile/00/000", "tile/64/000", "tile/-1/000", "tile/0/x000/000", "tile/0/000.p/0", "tile/0/000.p/256"),
        *("tile/0/000.p/01", "tile/0/000.p/", "tile/0/000.p", "tile/entries/000.p/0", "tile/Entries/000"),
        *(
            "tile/0/%2e%2e/0/000",
            "tile//0/000",
            "//tile/0/000",
            "tile/0/000%2Ep/1",
            "tile%2F0/000",
            "checkpoint/",
            "Checkpoint",
        ),
        *("tile/0/002", "tile/0/002.p/89", "tile/0/003.p/1", "tile/1/000.p/3", "tile/1/000", "tile/2/000.p/1"),
        *("tile/entries/002", "tile/entries/002.p/89", "tile/0/x001/000", "tile/0/000\u0661"),
    ],
)
def test_what_does_not_exist_is_not_found(client: TestClient[Any], path: str) -> None:
    answer = client.get(f"/log/{path}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


def test_bundles_are_compressed_for_who_takes_it(client: TestClient[Any]) -> None:
    plain = client.get("/log/tile/entries/000", headers={"accept-encoding": "gzip;q=0, identity"})
    assert "content-encoding" not in plain.headers
    packed = client.get("/log/tile/entries/000", headers={"accept-encoding": "br, gzip"})
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.content == plain.content
    assert packed.headers["etag"] != plain.headers["etag"]
    assert packed.headers["vary"] == "accept-encoding"
    assert len(gzip.compress(plain.content, 1)) >= int(packed.headers["content-length"])
    assert "content-encoding" not in client.get("/log/tile/0/000", headers={"accept-encoding": "gzip"}).headers
    assert parse_bundle(packed.content, 256) == tuple(LOG.entries[:256])


def test_an_empty_log_has_no_checkpoint() -> None:
    with TestClient(application(log_routes(ListLog([])))) as client:
        assert client.get("/log/checkpoint").status_code == 404
        assert client.get("/api/v1/log").status_code == 404


# Receipts.


@pytest.mark.parametrize("index", [0, 255, 256, SIZE - 1])
def test_a_receipt_is_found_by_both_its_names(client: TestClient[Any], index: int) -> None:
    entry = LOG.entries[index]
    digest = sha256(entry)
    for name in (raw_cid(digest), f"0x{digest.hex()}"):
        answer = client.get(f"/api/v1/receipts/{name}")
        view = answer.json()
        assert view["index"] == index
        assert (view["nid"], view["tx_hash"]) == (raw_cid(digest), f"0x{digest.hex()}")
        assert view["leaf_hash"] == leaf_hash(entry).hex()
        assert entry in answer.content  # the very bytes
        assert "custodial" not in view


@pytest.mark.parametrize("index", [0, 255, 256, SIZE - 1])
def test_a_proof_holds_offline(client: TestClient[Any], index: int) -> None:
    name = raw_cid(sha256(LOG.entries[index]))
    answer = client.get(f"/api/v1/receipts/{name}/proof")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["content-disposition"] == f'attachment; filename="{index}.tlog-proof"'
    proof = tlog_proof.TlogProof.parse(answer.text)
    held = tlog_proof.check(proof, leaf_hash(LOG.entries[index]), origin=ORIGIN, log=[VERIFIER])
    assert (proof.index, held.size) == (index, SIZE)


def test_the_node_says_whose_key_it_holds() -> None:
    with TestClient(application(log_routes(LOG, lambda sender: sender.endswith("3")))) as client:
        flags = [
            client.get(f"/api/v1/receipts/{raw_cid(sha256(entry))}").json()["custodial"] for entry in LOG.entries[:7]
        ]
    assert flags == [False, False, False, True, False, False, False]


@pytest.mark.parametrize(
    ("name", "status"),
    [
        (raw_cid(sha256(b"nothing")), 404),
        ("0x" + "00" * 32, 404),
        ("00" * 32, 400),
        ("0X" + "00" * 32, 400),
        ("0x" + "AA" * 32, 400),
        (raw_cid(sha256(b"")).upper(), 400),
        (str(Cid(Codec.DAG_PB, sha256(LOG.entries[0]))), 400),
        ("x" * 81, 400),
    ],
)
@pytest.mark.parametrize("tail", ["", "/proof"])
def test_other_names_are_refused(client: TestClient[Any], name: str, status: int, tail: str) -> None:
    answer = client.get(f"/api/v1/receipts/{name}{tail}")
    assert answer.status_code in {status, 422 if len(name) > 80 else status}
    assert answer.headers["content-type"] == "application/problem+json"


def test_the_head_of_the_log(client: TestClient[Any]) -> None:
    view = client.get("/api/v1/log").json()
    root = base64.b64encode(LOG.tree.root()).decode()
    assert view == {"origin": ORIGIN, "size": SIZE, "root": root, "checkpoint": LOG.note}


@pytest.mark.parametrize(("first", "second"), [(0, 0), (0, 600), (1, 600), (255, 256), (256, 600), (599, 600), (7, 7)])
def test_consistency_holds(client: TestClient[Any], first: int, second: int) -> None:
    view = json.loads(client.get(f"/api/v1/log/consistency?first={first}&second={second}").content)
    proof, roots = [base64.b64decode(each) for each in view["proof"]], (view["first_root"], view["second_root"])
    old, new = (base64.b64decode(each) for each in roots)
    assert (old, new) == (LOG.tree.root(first), LOG.tree.root(second))
    check_consistency(first, second, proof, old, new)


@pytest.mark.parametrize("query", ["first=2&second=1", "first=0&second=601", "first=601&second=602"])
def test_a_log_that_never_was_so_large_has_no_proof(client: TestClient[Any], query: str) -> None:
    assert client.get(f"/api/v1/log/consistency?{query}").status_code == 404


@pytest.mark.parametrize(
    "query", ["", "first=1", "second=1", "first=-1&second=2", "first=a&second=2", f"first=1&second={2**53}"]
)
def test_sizes_are_numbers(client: TestClient[Any], query: str) -> None:
    assert client.get(f"/api/v1/log/consistency?{query}").status_code in {400, 422}
