"""The check of one receipt, a ``.tlog-proof`` with its entry, as a numbered plan (docs/spec/audit.md, "A receipt").

1 proof       it parses, and carries an entry as its extra data
2 checkpoint  the pinned log key signed it, for the pinned origin and range
3 place       the entry stands at its index under the checkpoint's root, which is what makes the extra data believable
4 entry       it is canonical, signed by its sender, of the pinned chain; a coordinator's key within its pinned range
5 says        what the entry is

Bytes in, report out. Knows nothing of what came before and after: whether the rules allowed the entry, the log shows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from tallystick.audit import entries as record
from tallystick.audit.findings import Report, report
from tallystick.audit.plan import Remark, Step, walk
from tallystick.audit.trust import Trust
from tallystick.errors import IncompleteError, MalformedError
from tallystick.ledger import machine
from tallystick.ledger.transactions import Transaction, decode
from tallystick.primitives.merkle import check_inclusion, leaf_hash
from tallystick.primitives.notes import Checkpoint
from tallystick.receipts.tlog_proof import TlogProof


@dataclass(slots=True)
class _Audit:
    """One audit under way; each step leaves here what later steps build on, and runs only after those."""

    data: bytes
    trust: Trust
    proof: TlogProof = field(init=False)
    checkpoint: Checkpoint = field(init=False)
    transaction: Transaction = field(init=False)


def _proof(audit: _Audit) -> str:  # (1)
    try:
        audit.proof = TlogProof.parse(audit.data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise MalformedError("tlog-proof", "it is no UTF-8") from error
    if not audit.proof.extra:
        raise IncompleteError("incomplete: the proof does not carry its entry, so there is nothing to hold against it")
    return f"an entry of {len(audit.proof.extra)} bytes, index {audit.proof.index}"


def _checkpoint(audit: _Audit) -> str:  # (2)
    audit.checkpoint = record.open_checkpoint(audit.proof.checkpoint, audit.trust)
    return f"{audit.checkpoint.size} entries, signed by {audit.trust.log.origin}"


def _place(audit: _Audit) -> str:  # (3)
    proof, checkpoint = audit.proof, audit.checkpoint
    check_inclusion(leaf_hash(proof.extra), proof.index, checkpoint.size, proof.hashes, checkpoint.root)
    return f"the entry stands at index {proof.index} of these {checkpoint.size}"


def _entry(audit: _Audit) -> str:  # (4)
    audit.transaction = decode(audit.proof.extra)
    machine.check(audit.transaction, audit.trust.chain_id)
    record.check_pinned_range(audit.transaction, audit.proof.index, audit.trust)
    return f"signed by its sender, chain {audit.trust.chain_id}"


def _says(audit: _Audit) -> str:  # (5)
    return Remark(f"{audit.transaction.type} by {audit.transaction.address}, NID {audit.transaction.nid}")


PLAN: Final = (
    Step(1, "proof", (), _proof),
    Step(2, "checkpoint", (1,), _checkpoint),
    Step(3, "place", (2,), _place),
    Step(4, "entry", (1,), _entry),
    Step(5, "says", (3, 4), _says),
)


def verify_receipt(data: bytes, trust: Trust) -> Report:
    """Check one receipt against what is pinned."""
    return report(walk(PLAN, _Audit(data, trust)))
