"""The anchors of a whole log: each names the root that the log had then, and the newest is what a chain is asked for.

Knows Anchored entries and the shelf on which the log stands. Refuses to know how a chain is reached.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from tallystick.audit import shelf
from tallystick.audit.anchors import Anchor, Inquiry, check_pinned, confirm, is_pinned, offline
from tallystick.audit.plan import Remark
from tallystick.audit.shelf import Fetch
from tallystick.audit.trust import Trust
from tallystick.errors import IncompleteError, VerificationError
from tallystick.ledger.payloads import Anchored
from tallystick.primitives.merkle import CompactRangeBuilder, leaf_hash
from tallystick.primitives.notes import Checkpoint

Stated = tuple[int, Anchored]
"""An Anchored entry with its log index."""


def log_finding(
    fetch: Fetch, checkpoint: Checkpoint, stated: Sequence[Stated], trust: Trust, inquiry: Inquiry | None
) -> str:
    """Say what is known of a log's anchors; what nobody outside confirms is a ``Remark``.

    Raises:
        TallyError: one does not hold, or the chain that is asked cannot tell.
    """
    _check_roots(fetch, checkpoint, stated, trust)
    newest = {payload.chain: Anchor(index, payload) for index, payload in stated}
    if inquiry is not None:
        asked = newest.get(inquiry.view.name)
        if asked is None:
            elsewhere = ", ".join(newest) or "no chain"
            raise IncompleteError(f"this log is anchored on {elsewhere}, and {inquiry.view.name} was asked")
        return f"{confirm(asked, inquiry, trust)}; it covers {asked.payload.size} of {checkpoint.size} entries"
    if not newest:
        return Remark("not anchored")
    said = "; ".join(f"{each.payload.size} entries: {offline(each, trust)}" for each in newest.values())
    return said if any(is_pinned(each.payload, trust) for each in newest.values()) else Remark(said)


def _check_roots(fetch: Fetch, checkpoint: Checkpoint, stated: Sequence[Stated], trust: Trust) -> None:
    """Read the log once more, up to the newest anchored size, and hold every anchor against it.

    Raises:
        VerificationError: an anchor is of another log, over more entries than stood before it, or over others.
    """
    roots = _roots(fetch, checkpoint.size, {payload.size for _, payload in stated})
    for index, payload in stated:
        what = f"the anchor at index {index}"
        if payload.origin != checkpoint.origin:
            raise VerificationError(f"origin of {what}", expected=checkpoint.origin, actual=payload.origin)
        if payload.size > index:
            raise VerificationError(f"size of {what}", expected=f"at most {index}", actual=payload.size)
        if payload.root != roots[payload.size].hex():
            raise VerificationError(f"root of {what}", expected=roots[payload.size].hex(), actual=payload.root)
        check_pinned(payload, trust)


def _roots(fetch: Fetch, size: int, wanted: set[int]) -> dict[int, bytes]:
    """Return the log's root at these sizes, as far as it reaches."""
    tree, roots = CompactRangeBuilder(), dict[int, bytes]()
    due = sorted((each for each in wanted if each <= size), reverse=True)
    while due and due[-1] == 0:
        roots[due.pop()] = tree.root()
    for entry in chain.from_iterable(shelf.entries(fetch, size)) if due else ():
        tree.append(leaf_hash(entry))
        if tree.size == due[-1]:
            roots[due.pop()] = tree.root()
            if not due:
                break
    return roots
