"""The trustless gateway: blocks and CARs that hold against their CIDs, and nothing for who may not read."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from litestar import Request
from litestar.testing import TestClient

from tallystick.api.ipfs_routes import CAR_ANSWER, CAR_TYPE, PROBE, PROBE_BYTES, RAW_TYPE, ipfs_routes
from tallystick.errors import VerificationError
from tallystick.node.blocks import TREES_MAX, Blocks, Opener, Rights, tree_of
from tallystick.primitives import car, unixfs
from tallystick.primitives.cids import Cid, Codec, raw_cid
from tallystick.primitives.digests import sha256
from tallystick.primitives.unixfs import CHUNK_BYTES, LINKS_MAX
from tests.log_world import ListLog, application, entries_of

LOG = ListLog(entries_of(20))
ENTRY = Cid.of(Codec.RAW, LOG.entries[7])
BLOB = b"a block of somebody's picture"
FILE = bytes(range(256)) * 2048 + b"the end"  # two chunks and a bit
TREE = unixfs.file_tree([FILE])
OWNER = {"authorization": "Bearer owner"}
PUBLIC_CACHE, PRIVATE_CACHE = "public, max-age=31536000, immutable", "private, max-age=31536000, immutable"


class Store:
    """Blobs in a dictionary; counts what is asked."""

    def __init__(self) -> None:
        self.held = {sha256(BLOB): BLOB}
        self.asked: list[bytes] = []

    def get(self, digest: bytes) -> bytes | None:
        self.asked.append(digest)
        return self.held.get(digest)


def owned(request: Request[Any, Any, Any]) -> bool:
    return request.headers.get("authorization") == OWNER["authorization"]


def may_read(request: Request[Any, Any, Any], _digest: bytes) -> bool:
    return owned(request)


def file_of(request: Request[Any, Any, Any], root: Cid) -> Opener | None:
    return (lambda: io.BytesIO(FILE)) if owned(request) and root == TREE.root else None


STORE = Store()


def rights(path: Path, *roots: Cid) -> Rights:
    """Of somebody who may read one file."""
    return Rights(lambda _: False, lambda root: (lambda: path.open("rb")) if root in roots else None)


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient[Any]]:
    blocks = Blocks(LOG, STORE)
    with TestClient(application(ipfs_routes(blocks, may_read, file_of))) as client:
        yield client


def test_an_entry_is_open_to_all_as_a_block(client: TestClient[Any]) -> None:
    answer = client.get(f"/ipfs/{ENTRY}?format=raw")
    assert answer.status_code == 200
    ENTRY.check(answer.content)
    wanted = {
        "content-type": RAW_TYPE,
        "etag": f'"{ENTRY}.raw"',
        "cache-control": PUBLIC_CACHE,
        "content-disposition": f'attachment; filename="{ENTRY}.bin"',
        "content-location": f"/ipfs/{ENTRY}?format=raw",
        "content-length": str(len(LOG.entries[7])),
        "x-content-type-options": "nosniff",
        "x-ipfs-path": f"/ipfs/{ENTRY}",
        "x-ipfs-roots": str(ENTRY),
        "access-control-allow-origin": "*",
        "vary": "accept",
    }
    assert wanted.items() <= dict(answer.headers).items()
    head = client.head(f"/ipfs/{ENTRY}?format=raw")
    assert (head.status_code, head.content, dict(head.headers)) == (200, b"", dict(answer.headers))
    held = client.get(f"/ipfs/{ENTRY}?format=raw", headers={"if-none-match": answer.headers["etag"]})
    assert (held.status_code, held.content) == (304, b"")


def test_an_entry_as_a_car(client: TestClient[Any]) -> None:
    answer = client.get(f"/ipfs/{ENTRY}?format=car")
    assert answer.headers["content-type"] == CAR_ANSWER
    assert answer.headers["etag"] == f'"{ENTRY}.car"'
    assert answer.headers["content-disposition"].endswith(f'"{ENTRY}.car"')
    reader = car.CarReader(io.BytesIO(answer.content).read, bytes_max=1 << 20)
    assert (reader.root, list(reader)) == (ENTRY, [(ENTRY, LOG.entries[7])])
    head = client.head(f"/ipfs/{ENTRY}?format=car")
    assert (head.content, head.headers["content-length"]) == (b"", str(len(answer.content)))


@pytest.mark.parametrize(
    ("query", "accept", "form"),
    [
        ("?format=raw", "text/html", RAW_TYPE),
        ("?format=raw", CAR_TYPE, RAW_TYPE),
        ("?format=car", RAW_TYPE, CAR_ANSWER),
        ("", RAW_TYPE, RAW_TYPE),
        ("", f"{CAR_TYPE}; version=1; order=dfs; dups=y", CAR_ANSWER),
        ("", f"{CAR_TYPE};version=1;order=unk", CAR_ANSWER),
        ("", f"{RAW_TYPE};q=0.5, {CAR_TYPE};q=0.9", CAR_ANSWER),
        ("", f"{CAR_TYPE};q=0, {RAW_TYPE};q=0.1, */*", RAW_TYPE),
        ("?format=car&car-order=dfs&car-dups=y&car-version=1&dag-scope=entity", f"{CAR_TYPE};dups=n", CAR_ANSWER),
    ],
)
def test_the_form_is_asked_for_by_query_or_accept(client: TestClient[Any], query: str, accept: str, form: str) -> None:
    answer = client.get(f"/ipfs/{ENTRY}{query}", headers={"accept": accept})
    assert (answer.status_code, answer.headers["content-type"]) == (200, form)


@pytest.mark.parametrize(
    ("query", "accept", "status"),
    [
        ("", "*/*", 400),
        ("", "text/html,application/xhtml+xml,*/*;q=0.8", 400),
        ("", "text/html", 406),
        ("", "application/vnd.ipfs.ipns-record", 406),
        ("", f"{CAR_TYPE};version=2", 406),
        ("", f"{CAR_TYPE};order=dfs;dups=n", 406),
        ("?format=dag-json", RAW_TYPE, 406),
        ("?format=", RAW_TYPE, 406),
        ("?format=car&car-version=2", "*/*", 406),
        ("?format=car&car-order=bfs", "*/*", 406),
        ("?format=car&car-dups=n", "*/*", 406),
        ("?format=car&dag-scope=some", "*/*", 400),
        ("?format=car&entity-bytes=0:*", "*/*", 400),
    ],
)
def test_a_file_put_together_is_never_the_answer(client: TestClient[Any], query: str, accept: str, status: int) -> None:
    answer = client.get(f"/ipfs/{ENTRY}{query}", headers={"accept": accept})
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


def test_without_any_accept_the_answer_says_what_to_add(client: TestClient[Any]) -> None:
    request = client.build_request("GET", f"/ipfs/{ENTRY}")
    del request.headers["accept"]
    answer = client.send(request)
    assert answer.status_code == 400
    assert "?format=raw" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("name", "status"),
    [
        (raw_cid(sha256(b"nothing")), 404),
        (str(Cid.of(Codec.DAG_PB, b"nothing")), 404),
        (str(Cid.of(Codec.DAG_CBOR, b"nothing")), 404),
        (str(Cid(Codec.DAG_PB, ENTRY.digest)), 404),
        (str(ENTRY).upper(), 400),
        ("QmdfTbBqBPQ7VNxZEYEj14VmRuZBkqFbiwReogJgS1zR1n", 400),
        ("bafkqaab", 400),
    ],
)
def test_other_names(client: TestClient[Any], name: str, status: int) -> None:
    assert client.get(f"/ipfs/{name}?format=raw").status_code == status
    assert client.get(f"/ipfs/{name}?format=car", headers=OWNER).status_code == status


def test_a_path_below_a_cid_is_nothing(client: TestClient[Any]) -> None:
    assert client.get(f"/ipfs/{TREE.root}/file.png?format=car", headers=OWNER).status_code == 404


def test_it_can_be_probed(client: TestClient[Any]) -> None:
    raw = client.get(f"/ipfs/{PROBE}?format=raw")
    assert (raw.status_code, raw.content, raw.headers["content-type"]) == (200, b"", RAW_TYPE)
    known = client.get(f"/ipfs/{PROBE}?format=car")
    assert known.content == car.header(PROBE_BYTES)
    assert known.content.hex() == "19a265726f6f747381d82a4500015500006776657273696f6e01"
    assert client.head(f"/ipfs/{PROBE}", headers={"accept": RAW_TYPE}).status_code == 200


# What belongs to somebody.


def test_a_blob_is_there_for_its_owner_only(client: TestClient[Any]) -> None:
    name = raw_cid(sha256(BLOB))
    STORE.asked.clear()
    hidden = client.get(f"/ipfs/{name}?format=raw")
    absent = client.get(f"/ipfs/{raw_cid(sha256(b'absent'))}?format=raw")
    assert hidden.status_code == absent.status_code == 404
    assert hidden.text.replace(name, "") == absent.text.replace(raw_cid(sha256(b"absent")), "")
    assert STORE.asked == []  # nor does the time tell
    answer = client.get(f"/ipfs/{name}?format=raw", headers=OWNER)
    assert answer.content == BLOB
    assert (answer.headers["cache-control"], answer.headers["vary"]) == (PRIVATE_CACHE, "accept, authorization")
    assert "access-control-allow-origin" not in answer.headers


def test_nobody_reads_what_is_not_public_unless_a_rule_says_so() -> None:
    with TestClient(application(ipfs_routes(Blocks(LOG, STORE)))) as client:
        for name in (raw_cid(sha256(BLOB)), str(TREE.root)):
            assert client.get(f"/ipfs/{name}?format=raw", headers=OWNER).status_code == 404
        assert client.get(f"/ipfs/{ENTRY}?format=raw").status_code == 200


def test_a_delivered_file_travels_as_a_car(client: TestClient[Any]) -> None:
    assert client.get(f"/ipfs/{TREE.root}?format=car").status_code == 404
    answer = client.get(f"/ipfs/{TREE.root}?format=car", headers=OWNER)
    assert answer.headers["content-length"] == str(len(answer.content))
    reader = car.CarReader(io.BytesIO(answer.content).read, bytes_max=1 << 20)
    assert b"".join(unixfs.content(reader.root, reader.in_order())) == FILE
    block = client.get(f"/ipfs/{TREE.root}?format=car&dag-scope=block", headers=OWNER)
    assert list(car.CarReader(io.BytesIO(block.content).read, bytes_max=1 << 20)) == [(TREE.root, TREE.node(TREE.top))]
    assert block.headers["etag"] != answer.headers["etag"]


def test_a_delivered_file_is_read_block_by_block(client: TestClient[Any]) -> None:
    def fetch(cid: Cid) -> bytes:
        answer = client.get(f"/ipfs/{cid}?format=raw", headers=OWNER)
        assert answer.status_code == 200
        return answer.content

    assert b"".join(unixfs.content(TREE.root, fetch)) == FILE
    leaf = Cid.of(Codec.RAW, FILE[:CHUNK_BYTES])
    assert client.get(f"/ipfs/{leaf}?format=raw").status_code == 404
    assert client.get(f"/ipfs/{Cid.of(Codec.RAW, b'another')}?format=raw", headers=OWNER).status_code == 404


def test_a_leaf_is_not_known_before_its_root() -> None:
    asked: list[Cid] = []

    def note(_: Request[Any, Any, Any], root: Cid) -> Opener | None:
        asked.append(root)
        return (lambda: io.BytesIO(FILE)) if root == TREE.root else None

    leaf = Cid.of(Codec.RAW, FILE[:CHUNK_BYTES])
    with TestClient(application(ipfs_routes(Blocks(LOG), file_of=note))) as client:
        assert client.get(f"/ipfs/{leaf}?format=raw").status_code == 404
        assert asked == [leaf]
        assert client.get(f"/ipfs/{TREE.root}?format=raw").status_code == 200
        assert client.get(f"/ipfs/{leaf}?format=raw").status_code == 200


def test_a_file_that_changed_or_went_away_has_no_blocks(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(FILE)
    blocks, mine = Blocks(LOG), rights(path, TREE.root)
    leaf = Cid.of(Codec.RAW, FILE[:CHUNK_BYTES])
    whole = blocks.find(TREE.root, mine)
    assert whole is not None
    found = blocks.find(leaf, mine)
    assert found is not None
    assert found.data == FILE[:CHUNK_BYTES]
    assert blocks.find(leaf, rights(path)) is None  # the tree is known, the right to it is asked for again
    path.write_bytes(bytes([FILE[0] ^ 1]) + FILE[1:])
    assert blocks.find(leaf, mine) is None
    assert Blocks(LOG).find(TREE.root, mine) is None
    stream = whole.car()
    next(stream)
    next(stream)
    with pytest.raises(VerificationError, match="block: expected"):
        next(stream)
    path.unlink()
    assert blocks.find(leaf, mine) is None
    assert Blocks(LOG).find(TREE.root, mine) is None


def test_few_trees_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "file"
    blocks = Blocks(LOG)
    for number in range(TREES_MAX + 3):
        path.write_bytes(b"%d" % number)
        root = Cid.of(Codec.RAW, b"%d" % number)
        assert blocks.find(root, rights(path, root)) is not None
    assert len(blocks._trees) == TREES_MAX


def test_a_node_within_a_large_file_heads_a_car_of_its_part(tmp_path: Path) -> None:
    path, size = tmp_path / "large", LINKS_MAX * CHUNK_BYTES + 5
    with path.open("wb") as file:
        file.truncate(size)
        file.seek(size - 5)
        file.write(b"12345")
    tree = tree_of(lambda: path.open("rb"))
    blocks, mine = Blocks(LOG), rights(path, tree.root)
    assert blocks.find(tree.root, mine) is not None
    last = next(place for place in tree.places() if place.offset == size - 5)
    found = blocks.find(last.cid, mine)
    assert found is not None
    data = b"".join(found.car())
    assert len(data) == car.length(found.cid, found.sizes())
    reader = car.CarReader(io.BytesIO(data).read, bytes_max=1 << 20)
    assert b"".join(unixfs.content(last.cid, reader.in_order())) == b"12345"
