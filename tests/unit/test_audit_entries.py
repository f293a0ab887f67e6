"""The root over everything before an entry, out of the entry's inclusion proof alone."""

from __future__ import annotations

import pytest

from tallystick.audit.entries import Entry, job_of, root_before
from tallystick.ledger import payloads as say
from tallystick.ledger.transactions import Draft, sign
from tallystick.primitives import merkle
from tallystick.primitives.digests import sha256
from tallystick.primitives.keys import SigningKey

SOME = sign(Draft(SigningKey(b"\x01" * 32), say.StakeDeposited("1")), "tally-0123456789abcdef", 0)
LEAVES = [merkle.leaf_hash(sha256(bytes((index,)))) for index in range(70)]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 8, 9, 31, 32, 33, 64, 65, 70])
def test_a_proof_of_an_entry_holds_the_root_before_it(size: int) -> None:
    for index in range(size):
        entry = Entry(index, SOME, merkle.inclusion_proof(LEAVES, index, size))
        assert root_before(entry, size) == merkle.root(LEAVES[:index])


def test_every_type_of_entry_is_about_a_job_or_is_not() -> None:
    """A type that is new must be sorted in: `job_of` reads the fields of every other by name."""
    about_none = {
        kind for kind in say.PAYLOAD_TYPES.values() if not {"job_id", "task_id", "spec"} & set(kind.__struct_fields__)
    }
    assert job_of(SOME.payload) is None
    assert {kind.__name__ for kind in about_none} == {
        "Anchored",
        "BlockHeader",
        "NodeRegistered",
        "StakeDeposited",
        "StakeWithdrawn",
        "Transfer",
    }
