"""One receipt holds when its entry stands in the log, and the finding names the step when anybody bent it."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from tallystick.audit.findings import Report, Result
from tallystick.audit.receipt import PLAN, verify_receipt
from tallystick.audit.trust import CoordinatorPin, LogPin, Trust
from tallystick.ledger.payloads import Transfer
from tallystick.ledger.transactions import Draft, decode, sign
from tallystick.primitives.digests import sha256
from tallystick.primitives.merkle import leaf_hash
from tallystick.primitives.notes import NoteSigner
from tallystick.receipts import log
from tallystick.receipts.proofs import LogTree
from tallystick.receipts.tlog_proof import TlogProof, prove
from tests.history_world import LOG, TRUST, honest_log
from tests.ledger_world import REQUESTER, STRANGER

HOLDS, CANNOT_TELL, DOES_NOT_HOLD, NOTE = Result.HOLDS, Result.CANNOT_TELL, Result.DOES_NOT_HOLD, Result.NOTE
ENTRIES = honest_log()


def proof_of(index: int, entries: list[bytes] = ENTRIES, signer: NoteSigner = LOG) -> TlogProof:
    tree = LogTree(map(leaf_hash, entries))
    return prove(tree, index, signer.sign(log.head(LOG.name, tree).text()), entries[index])


def told(proof: TlogProof, trust: Trust = TRUST) -> Report:
    return verify_receipt(proof.encode().encode(), trust)


def results(answer: Report) -> list[Result]:
    return [line.result for line in answer.findings]


def broken(answer: Report) -> tuple[Result, str]:
    """The result, and the first step that did not hold."""
    return answer.result, next(line.name for line in answer.findings if line.result not in {HOLDS, NOTE})


@pytest.mark.parametrize("index", range(len(ENTRIES)))
def test_every_entry_of_an_honest_log_has_a_receipt_that_holds(index: int) -> None:
    answer = told(proof_of(index))
    assert (answer.result, results(answer)) == (HOLDS, [HOLDS, HOLDS, HOLDS, HOLDS, NOTE])
    transaction = decode(ENTRIES[index])
    assert answer.findings[4].actual == f"{transaction.type} by {transaction.address}, NID {transaction.nid}"


def test_a_proof_without_its_entry_cannot_be_told() -> None:
    assert broken(told(replace(proof_of(3), extra=b""))) == (CANNOT_TELL, "proof")
    for data in (b"", b"\xff", b"c2sp.org/tlog-proof@v2\n", proof_of(3).encode().encode() + b"x"):
        assert broken(verify_receipt(data, TRUST)) == (CANNOT_TELL, "proof")


def test_another_entry_at_that_place_does_not_hold() -> None:
    proof = proof_of(3)
    assert broken(told(replace(proof, extra=ENTRIES[4]))) == (DOES_NOT_HOLD, "place")
    assert broken(told(replace(proof, index=4))) == (DOES_NOT_HOLD, "place")
    assert broken(told(replace(proof, hashes=proof.hashes[:-1]))) == (DOES_NOT_HOLD, "place")


def test_the_checkpoint_of_somebody_else_does_not_hold() -> None:
    thief = NoteSigner(LOG.name, sha256(b"thief"))
    answer = told(proof_of(3, signer=thief))
    assert broken(answer) == (DOES_NOT_HOLD, "checkpoint")
    assert results(answer) == [HOLDS, DOES_NOT_HOLD, CANNOT_TELL, HOLDS, CANNOT_TELL]
    late = msgspec.structs.replace(TRUST, log=LogPin(origin=LOG.name, vkey=LOG.vkey, first=len(ENTRIES)))
    assert broken(told(proof_of(3), late)) == (DOES_NOT_HOLD, "checkpoint")


def test_an_entry_that_its_sender_did_not_sign_does_not_hold_though_the_log_took_it() -> None:
    other = sign(Draft(REQUESTER, Transfer(STRANGER.address, "1")), "other-0123456789abcdef", 0).entry
    assert broken(told(proof_of(0, [other]))) == (DOES_NOT_HOLD, "entry")
    good = sign(Draft(REQUESTER, Transfer(STRANGER.address, "1")), TRUST.chain_id, 0).entry
    assert told(proof_of(0, [good])).result is HOLDS
    bent = good.replace(b'"amount":"1"', b'"amount":"2"')
    assert broken(told(proof_of(0, [bent]))) == (DOES_NOT_HOLD, "entry")
    assert broken(told(proof_of(0, [good.replace(b":", b": ", 1)]))) == (CANNOT_TELL, "entry")


def test_a_coordinators_key_counts_within_its_range_only() -> None:
    (pin,) = TRUST.coordinators
    place = next(at for at, entry in enumerate(ENTRIES) if decode(entry).sender.hex() == pin.key)
    past = msgspec.structs.replace(TRUST, coordinators=(CoordinatorPin(key=pin.key, first=place + 1),))
    assert broken(told(proof_of(place), past)) == (DOES_NOT_HOLD, "entry")


def test_the_plan_is_numbered_as_in_the_specification() -> None:
    assert [(step.number, step.name) for step in PLAN] == [
        (1, "proof"),
        (2, "checkpoint"),
        (3, "place"),
        (4, "entry"),
        (5, "says"),
    ]
