"""The examples printed in docs/spec/unixfs-car.md and the routes in log-http.md are what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from tallystick.api import ipfs_routes, log_routes
from tallystick.api.guard import TABLE
from tallystick.primitives import car, unixfs
from tallystick.primitives.cids import Cid, Codec

PAGES = Path(__file__).resolve().parents[2] / "docs" / "spec"
FILES = (PAGES / "unixfs-car.md").read_text(encoding="utf-8")
HTTP = (PAGES / "log-http.md").read_text(encoding="utf-8")


def test_the_roots_of_the_table() -> None:
    rows = re.findall(r"^\| ([0-9]+) \| `(b[a-z2-7]{58})` \|$", FILES, flags=re.MULTILINE)
    period = bytes(i * i % 251 for i in range(251))
    assert len(rows) == 5
    for size, root in rows:
        data = (period * (int(size) // 251 + 1))[: int(size)]
        assert str(unixfs.file_tree([data]).root) == root
    assert f"`{unixfs.PROFILE}`" in FILES


def test_the_car_of_one_block() -> None:
    (shown,) = re.findall(r"```\n([0-9a-f\n]+)```", FILES)
    root = Cid.of(Codec.RAW, b"hello world")
    assert [part.hex() for part in car.write(root, [(root, b"hello world")])] == shown.split()


def test_every_route_of_the_page_stands_in_the_table_of_scopes() -> None:
    mounted = {template for _, template in TABLE}
    for template in ("/log/{path}", "/ipfs/{cid}", "/api/v1/jobs/{job_id}/files/{kind}/cid"):
        assert template in mounted
    shown = set(re.findall(r"`GET (/api/v1/(?:receipts|log)[^`?]*)", HTTP))
    assert shown == {route for route in mounted if route.startswith(("/api/v1/receipts", "/api/v1/log"))}


def test_headers_and_types_are_those_of_the_page() -> None:
    for text in (
        log_routes.SHORT,
        log_routes.IMMUTABLE,
        ipfs_routes.CAR_ANSWER,
        ipfs_routes.RAW_TYPE,
        ipfs_routes.PROBE,
    ):
        assert text in HTTP
