"""What a home kept of its buyers' wishes: read back, also from before a field was there, refused where damaged.

Knows: wishes over a store of values. Refuses to know: jobs.
"""

from __future__ import annotations

import json

import pytest

from tallystick.errors import IncompleteError, StoreError
from tallystick.node.ordering import Wish
from tallystick.node.wishes import WISH_PREFIX, Wishes
from tallystick.simulation.disk import Disk, SimulatedStore

WISH = Wish("job-1", "00" * 32, "in.png", "/out.png", "2", 5, account="ann", remote=True)


def store() -> SimulatedStore:
    return SimulatedStore(Disk())


def test_a_wish_comes_back_as_it_was_kept() -> None:
    wishes = Wishes(store())
    wishes.keep(WISH)
    assert wishes.get("job-1") == WISH
    assert wishes.unfinished() == ("job-1",)
    wishes.give_up("job-1", "too dear")
    assert (wishes.unfinished(), wishes.reason("job-1")) == ((), "too dear")


def test_a_wish_from_before_a_field_was_there_has_its_default() -> None:
    kept = store()
    wishes = Wishes(kept)
    wishes.keep(WISH)
    old = json.loads(kept.private(WISH_PREFIX + "job-1") or b"")
    for name in ("account", "remote", "price_max", "workers_least", "audit_least"):
        del old[name]
    kept.put_private([(WISH_PREFIX + "job-1", json.dumps(old).encode())])
    found = wishes.get("job-1")
    assert (found.job_id, found.account, found.remote) == ("job-1", "home", False)


def test_a_damaged_wish_and_one_that_never_was_are_told_apart() -> None:
    kept = store()
    kept.put_private([(WISH_PREFIX + "job-1", b'{"job_id":"job-1"')])
    with pytest.raises(StoreError, match="damaged"):
        Wishes(kept).get("job-1")
    with pytest.raises(IncompleteError, match="was not ordered"):
        Wishes(kept).get("job-2")
