"""What others wrote for IPFS: it gives our CIDs, unpacks our CARs, reads our gateway, and refuses one that tampers."""

from __future__ import annotations

import io
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from litestar import Request, Response, get
from litestar.types import ControllerRouterHandler

from tallystick.api.ipfs_routes import RAW_TYPE, ipfs_routes
from tallystick.node.blocks import Blocks, Opener, Rights
from tallystick.primitives import car, unixfs
from tallystick.primitives.cids import Cid, Codec
from tallystick.primitives.unixfs import CHUNK_BYTES, LINKS_MAX, FileTree, TreeBuilder
from tests.log_world import ListLog, application, entries_of, served
from tests.npm import installed

FOLDER = Path(__file__).with_name("ipfs")
PERIOD = bytes(i * i % 251 for i in range(251))
TOKEN = "owner"  # noqa: S105 - a word that only this test's gateway knows

Node = Callable[..., subprocess.CompletedProcess[str]]


def stretch(size: int) -> Iterator[bytes]:
    """The bytes that ipfs/roots.mjs makes: i * i mod 251."""
    piece = PERIOD * 4096
    while size > 0:
        yield piece[:size]
        size -= len(piece)


def tree_of(size: int, chunk: int = CHUNK_BYTES, width: int = LINKS_MAX) -> FileTree:
    builder = TreeBuilder(chunk, width)
    for piece in stretch(size):
        builder.update(piece)
    return builder.finish()


@pytest.fixture(scope="session")
def command() -> Callable[..., list[str]]:
    """How to run a program of the folder with Node."""
    node = installed(FOLDER)
    return lambda program, *words: [node, str(FOLDER / program), *map(str, words)]


@pytest.fixture(scope="session")
def run(command: Callable[..., list[str]]) -> Node:
    def run(program: str, *words: object, check: bool = True) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command(program, *words), capture_output=True, text=True, check=check)

    return run


# CIDs.


def test_our_cids_are_the_importers(run: Node) -> None:
    two_levels = LINKS_MAX * CHUNK_BYTES
    sizes = [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 1 << 20]
    sizes += [two_levels - 1, two_levels, two_levels + 1, two_levels + CHUNK_BYTES + 1]
    theirs = run("roots.mjs", CHUNK_BYTES, LINKS_MAX, *sizes).stdout.split()
    assert [str(tree_of(size).root) for size in sizes] == theirs
    assert [len(tree_of(size).levels) for size in sizes] == [0, 0, 0, 0, 1, 1, 1, 1, 2, 2]


@pytest.mark.parametrize(("chunk", "width"), [(4, 3), (7, 2), (100, 16)])
def test_small_chunks_reach_every_level_there_and_here(run: Node, chunk: int, width: int) -> None:
    leaves = {0, 1, 2, width, width + 1, width**2, width**2 + 1, width**3 - 1, width**3, width**3 + 1}
    sizes = sorted({max(0, count * chunk + more) for count in leaves for more in (-1, 0, 1)})
    theirs = run("roots.mjs", chunk, width, *sizes).stdout.split()
    assert [str(tree_of(size, chunk, width).root) for size in sizes] == theirs
    assert max(len(tree_of(size, chunk, width).levels) for size in sizes) >= 3


@pytest.mark.slow
def test_three_levels_of_the_profile_itself(command: Callable[..., list[str]]) -> None:
    size = LINKS_MAX**2 * CHUNK_BYTES + 1
    with subprocess.Popen(command("roots.mjs", CHUNK_BYTES, LINKS_MAX, size), stdout=subprocess.PIPE) as theirs:
        tree = tree_of(size)
        answer, _ = theirs.communicate()
    assert (answer.decode().strip(), len(tree.levels)) == (str(tree.root), 3)


# CARs.


@pytest.mark.parametrize("size", [1, CHUNK_BYTES, CHUNK_BYTES + 1, LINKS_MAX * CHUNK_BYTES + 1])
def test_ipfs_car_unpacks_our_car_to_identical_bytes(run: Node, tmp_path: Path, size: int) -> None:
    data = b"".join(stretch(size))
    tree, packed, out = tree_of(size), tmp_path / "file.car", tmp_path / "file"
    with packed.open("wb") as file:
        file.writelines(car.write(tree.root, tree.blocks(io.BytesIO(data).read)))
    assert run("node_modules/ipfs-car/bin.js", "roots", packed).stdout.split() == [str(tree.root)]
    run("node_modules/ipfs-car/bin.js", "unpack", packed, "--output", out)
    assert out.read_bytes() == data


def test_we_unpack_the_car_of_ipfs_car(run: Node, tmp_path: Path) -> None:
    data = b"".join(stretch(3_000_000))  # three chunks of theirs, which are larger
    (tmp_path / "file").write_bytes(data)
    run("node_modules/ipfs-car/bin.js", "pack", tmp_path / "file", "--no-wrap", "--output", tmp_path / "file.car")
    with (tmp_path / "file.car").open("rb") as file:
        reader = car.CarReader(file.read, bytes_max=1 << 22)
        blocks = dict(reader)
    assert b"".join(unixfs.content(reader.root, blocks.__getitem__)) == data


# The gateway.

LOG = ListLog(entries_of(5))
SIZE = 5 * CHUNK_BYTES + 17


@pytest.fixture(scope="module")
def opener(tmp_path_factory: pytest.TempPathFactory) -> Opener:
    path = tmp_path_factory.mktemp("artifact") / "file"
    path.write_bytes(b"".join(stretch(SIZE)))
    return lambda: path.open("rb")


@pytest.fixture(scope="module")
def gateway(opener: Opener) -> Iterator[str]:
    """Whoever knows the word may read the one file."""

    def file_of(request: Request[Any, Any, Any], root: Cid) -> Opener | None:
        known = request.headers.get("authorization") == f"Bearer {TOKEN}"
        return opener if known and root == tree_of(SIZE).root else None

    with served(application([*ipfs_routes(Blocks(LOG), file_of=file_of)])) as base:
        yield base


def test_the_exporter_reads_a_file_block_by_block(run: Node, gateway: str, tmp_path: Path) -> None:
    told = run("fetch.mjs", gateway, tree_of(SIZE).root, tmp_path / "out", TOKEN)
    assert json.loads(told.stdout) == {"blocks": 7, "size": SIZE}
    assert (tmp_path / "out").read_bytes() == b"".join(stretch(SIZE))


def test_the_exporter_reads_a_receipt_without_any_token(run: Node, gateway: str, tmp_path: Path) -> None:
    told = run("fetch.mjs", gateway, Cid.of(Codec.RAW, LOG.entries[3]), tmp_path / "out")
    assert json.loads(told.stdout)["blocks"] == 1
    assert (tmp_path / "out").read_bytes() == LOG.entries[3]


def test_without_the_token_there_is_no_such_file(run: Node, gateway: str, tmp_path: Path) -> None:
    told = run("fetch.mjs", gateway, tree_of(SIZE).root, tmp_path / "out", check=False)
    assert told.returncode != 0
    assert "gateway answered 404" in told.stderr


@pytest.mark.parametrize("codec", [Codec.RAW, Codec.DAG_PB])
def test_a_tampering_gateway_is_refused(run: Node, opener: Opener, tmp_path: Path, codec: Codec) -> None:
    blocks, root = Blocks(LOG), tree_of(SIZE).root
    rights = Rights(lambda _: False, lambda asked: opener if asked == root else None)

    @get("/ipfs/{cid:str}", sync_to_thread=True)
    def tampering(request: Request[Any, Any, Any]) -> Response[bytes]:
        name = Cid.parse(request.path_params["cid"])
        found = blocks.find(name, rights)
        assert found is not None
        data = bytearray(found.data)
        data[-1] ^= name.codec is codec
        return Response(bytes(data), media_type=RAW_TYPE)

    routes: list[ControllerRouterHandler] = [tampering]
    with served(application(routes)) as base:
        told = run("fetch.mjs", base, root, tmp_path / "out", check=False)
    assert told.returncode != 0
    assert "hash mismatch" in told.stderr


def test_ipfs_car_unpacks_what_the_gateway_sends(run: Node, gateway: str, tmp_path: Path) -> None:
    root = tree_of(SIZE).root
    answer = httpx.get(f"{gateway}/ipfs/{root}?format=car", headers={"authorization": f"Bearer {TOKEN}"})
    (tmp_path / "file.car").write_bytes(answer.raise_for_status().content)
    run("node_modules/ipfs-car/bin.js", "unpack", tmp_path / "file.car", "--output", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == b"".join(stretch(SIZE))
