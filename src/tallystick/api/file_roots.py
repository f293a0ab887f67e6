"""Delivered files by their UnixFS root: what the root is, and which file the gateway may hand out under it.

A root is noted when its owner asks for it: nobody makes the node read files by guessing. Refuses to know blocks.
"""

from __future__ import annotations

from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Final

import msgspec
from litestar import Request, get

from tallystick.api.aside import aside
from tallystick.api.guard import Caller
from tallystick.api.house import Asker, Here, House
from tallystick.api.jobs import CONFLICT, JOB, TAG, Kind, own
from tallystick.errors import AbsentError, ConflictError
from tallystick.job import JobId
from tallystick.node.blocks import Opener, opener_of, tree_of
from tallystick.primitives.cids import Cid
from tallystick.primitives.unixfs import PROFILE

PREFIX: Final = "unixfs/"


class RootView(msgspec.Struct, frozen=True):
    """The name of a file in IPFS; above one chunk it depends on the profile."""

    cid: str
    size: int
    profile: str


@get(f"{JOB}/files/{{kind:str}}/cid", tags=TAG, responses=CONFLICT)
async def root(house: Here, caller: Asker, job_id: JobId, kind: Kind) -> RootView:
    """Return the CID under which `/ipfs` hands a delivered file out to whoever may read the job."""
    await aside(partial(own, house, caller, job_id))
    return await aside(partial(_noted, house, job_id, kind))


def _noted(house: House, job_id: str, kind: str) -> RootView:
    path = house.host.file(job_id, kind)
    stat = path.stat()
    cid, size = _root(str(path), stat.st_size, stat.st_mtime_ns)
    house.ports.store.put_private([(f"{PREFIX}{cid}/{job_id}/{kind}", b"1")])
    return RootView(cid, size, PROFILE)


@lru_cache(maxsize=1024)
def _root(path: str, size: int, changed: int) -> tuple[str, int]:
    """Root and size of a file, read once as long as its size and time stay the same."""
    _ = (size, changed)
    tree = tree_of(opener_of(Path(path)))
    return str(tree.root), tree.size


def file_of(house: House, request: Request[Any, Any, Any], cid: Cid) -> Opener | None:
    """Return the delivered file with this root, None where the request's caller may read none."""
    caller: Caller | None = request.scope["state"].get("caller")
    if caller is None or not caller.buys:
        return None
    for key in house.ports.store.private_keys(f"{PREFIX}{cid}/"):
        job_id, _, kind = key.removeprefix(f"{PREFIX}{cid}/").partition("/")
        try:
            own(house, caller, job_id)
            path = house.host.file(job_id, kind)
        except (AbsentError, ConflictError):
            continue
        return opener_of(path)
    return None


ROUTES: Final = (root,)
