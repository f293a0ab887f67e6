"""A delivered file under its UnixFS root: noted when its owner asks, handed out to whoever may read the job."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from litestar import Request
from litestar.di import Provide
from litestar.testing import TestClient

from tallystick.api import file_roots
from tallystick.api.guard import Caller
from tallystick.api.ipfs_routes import ipfs_routes
from tallystick.errors import AbsentError
from tallystick.node.blocks import Blocks
from tallystick.node.tokens import Scope
from tallystick.primitives import car, unixfs
from tests.log_world import ListLog, application

FILE = bytes(range(256)) * 2048
ROOT = unixfs.file_tree([FILE]).root


class Store:
    """Private values in a dictionary."""

    def __init__(self) -> None:
        self.held: dict[str, bytes | None] = {}

    def put_private(self, values: list[tuple[str, bytes | None]]) -> None:
        self.held.update(values)

    def private_keys(self, prefix: str) -> tuple[str, ...]:
        return tuple(sorted(key for key in self.held if key.startswith(prefix)))


class House(SimpleNamespace):
    """As much of a server as these routes reach: one job of Ann's, delivered."""


@pytest.fixture
def house(tmp_path: Path) -> House:
    path = tmp_path / "output.png"
    path.write_bytes(FILE)

    def file(job_id: str, kind: str) -> Path:
        if (job_id, kind) != ("job-1", "output") or not path.exists():
            raise AbsentError("there is no such file")
        return path

    jobs = {"job-1": SimpleNamespace(account="ann")}
    host = SimpleNamespace(job=jobs.get, file=file)
    return House(host=host, ports=SimpleNamespace(store=Store()), path=path)


@pytest.fixture
def client(house: House) -> Iterator[TestClient[Any]]:
    """The caller is whoever the header ``x-caller`` names."""

    def caller(request: Request[Any, Any, Any]) -> Caller | None:
        name = request.headers.get("x-caller")
        found = None if name is None else Caller(name, frozenset({Scope.REQUESTER}), "test")
        request.scope["state"]["caller"] = found
        return found

    def file_of(request: Request[Any, Any, Any], cid: unixfs.Cid) -> Any:  # noqa: ANN401 - as the route's own
        caller(request)
        return file_roots.file_of(house, request, cid)  # type: ignore[arg-type]

    app = application(
        [*file_roots.ROUTES, *ipfs_routes(Blocks(ListLog([])), file_of=file_of)],
        house=Provide(lambda: house, sync_to_thread=False),
        caller=Provide(caller, sync_to_thread=False),
    )
    with TestClient(app) as client:
        yield client


ANN, BEN = {"x-caller": "ann"}, {"x-caller": "ben"}
WHERE = "/api/v1/jobs/job-1/files/output/cid"


def test_the_owner_learns_the_root_and_fetches_the_file(client: TestClient[Any]) -> None:
    assert client.get(f"/ipfs/{ROOT}?format=car", headers=ANN).status_code == 404  # nobody asked for the root yet
    told = client.get(WHERE, headers=ANN).json()
    assert told == {"cid": str(ROOT), "size": len(FILE), "profile": unixfs.PROFILE}
    answer = client.get(f"/ipfs/{ROOT}?format=car", headers=ANN)
    reader = car.CarReader(io.BytesIO(answer.content).read, bytes_max=1 << 20)
    assert b"".join(unixfs.content(ROOT, reader.in_order())) == FILE


def test_others_neither_learn_nor_fetch(client: TestClient[Any]) -> None:
    assert client.get(WHERE, headers=BEN).status_code == 404
    assert client.get(WHERE, headers=ANN).status_code == 200
    for headers in (BEN, {}):
        assert client.get(f"/ipfs/{ROOT}?format=raw", headers=headers).status_code == 404


def test_a_file_that_is_gone_is_not_found(client: TestClient[Any], house: House) -> None:
    assert client.get(WHERE, headers=ANN).status_code == 200
    house.path.unlink()
    assert client.get(WHERE, headers=ANN).status_code == 404
    assert client.get(f"/ipfs/{ROOT}?format=raw", headers=ANN).status_code == 404


@pytest.mark.parametrize("path", ["/api/v1/jobs/job-2/files/output/cid", "/api/v1/jobs/job-1/files/other/cid"])
def test_other_jobs_and_files_are_not_there(client: TestClient[Any], path: str) -> None:
    assert client.get(path, headers=ANN).status_code in {404, 422}
