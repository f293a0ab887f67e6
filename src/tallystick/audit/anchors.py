"""Whether a checkpoint was anchored: what the log claims, whether it fits, and what a chain says of it.

Knows Anchored entries, the commit that each stands for (docs/spec/erc7053-anchor.md) and whose commit counts. Refuses
to know how a chain is reached: whoever can ask one hands it in.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from tallystick.anchoring.erc7053 import EMBEDDED_CHAIN, Erc7053Commit, anchor_commitment, read_commitment
from tallystick.audit import entries as record
from tallystick.audit.bundle import AnchorProof, Bundle
from tallystick.audit.plan import Remark
from tallystick.audit.trust import AnchorPin, Trust
from tallystick.errors import IncompleteError, MalformedError, VerificationError
from tallystick.ledger import machine
from tallystick.ledger.genesis import chain_id
from tallystick.ledger.payloads import Anchored
from tallystick.ledger.transactions import decode
from tallystick.primitives.merkle import check_consistency, check_inclusion, leaf_hash
from tallystick.primitives.notes import Checkpoint

CONFIRMATIONS: Final = 12
"""So many blocks must stand on top of a commit where nobody says otherwise: some minutes on most chains."""


@dataclass(frozen=True, slots=True)
class Committed:
    """A Commit event as a chain shows it now; ``time`` is its block's in words, None where it was not asked."""

    commit_data: str
    tx_hash: bytes
    block: int
    block_hash: bytes
    time: str | None = None


class ChainView(Protocol):
    """A chain that somebody can ask; every method may raise ``ChainError``, which leaves everything open."""

    @property
    def name(self) -> str:
        """Its CAIP-2 name, as it says itself."""
        ...

    def head(self) -> int:
        """Return the number of the newest block."""
        ...

    def commits(self, contract: str, recorder: str, asset_cid: str, near: int | None) -> Sequence[Committed]:
        """Return a recorder's commits of a CID to a contract, oldest first; anybody else's are left out.

        ``near`` is a block in whose neighbourhood to look first, and everywhere only where there is none.
        """
        ...


@dataclass(frozen=True, slots=True)
class Inquiry:
    """The chain to be asked, and after how many blocks on top a commit counts."""

    view: ChainView
    confirmations: int = CONFIRMATIONS


@dataclass(frozen=True, slots=True)
class Anchor:
    """One anchor that fits the log, and its log index."""

    index: int
    payload: Anchored

    @property
    def itself(self) -> bool:
        """Whether it lies on the log operator's own chain."""
        return self.payload.chain == EMBEDDED_CHAIN


def check_proofs(
    bundle: Bundle, entries: Iterable[record.Entry], checkpoint: Checkpoint, trust: Trust
) -> tuple[Anchor, ...]:
    """Check every anchor of a bundle against its entries and its checkpoint, all verified, and against the pins.

    Raises:
        MalformedError: an entry or a checkpoint that is none.
        VerificationError: one is out of order, not the coordinator's, not in the log, is about another checkpoint, or
            does not cover the job.
    """
    last, previous, anchors = _last_of(bundle.job_id, entries), -1, []
    for proof in bundle.anchors:
        if proof.logged.index <= previous:
            raise VerificationError("order of anchors", expected=f"index above {previous}", actual=proof.logged.index)
        previous = proof.logged.index
        anchors.append(_checked(proof, bundle, checkpoint, trust, last))
    return tuple(anchors)


def _last_of(job_id: str, entries: Iterable[record.Entry]) -> int:
    """Return the job's last entry, -1 without one; what its pool registered or bonded later needs no anchor."""
    named = ((entry.index, record.job_of(entry.payload)) for entry in entries)
    return max((index for index, about in named if about is not None and about[0] == job_id), default=-1)


def _checked(proof: AnchorProof, bundle: Bundle, checkpoint: Checkpoint, trust: Trust, last: int) -> Anchor:
    index, data = proof.logged.index, bytes(proof.logged.entry)
    transaction = decode(data)
    machine.check(transaction, chain_id(bundle.genesis))
    path = tuple(bytes.fromhex(each) for each in proof.logged.proof)
    check_inclusion(leaf_hash(data), index, checkpoint.size, path, checkpoint.root)
    record.check_pinned_range(transaction, index, trust)
    payload, sender = transaction.payload, transaction.sender.hex()
    if not isinstance(payload, Anchored) or sender != bundle.genesis.coordinator:
        expected = f"Anchored by {bundle.genesis.coordinator}"
        raise VerificationError(f"anchor at index {index}", expected=expected, actual=f"{transaction.type} by {sender}")
    anchored = record.open_checkpoint(proof.checkpoint, trust)
    _check_names(payload, anchored, index)
    cid = anchor_commitment(proof.checkpoint).asset_cid
    if payload.asset_cid != cid:
        raise VerificationError(f"asset CID of the anchor at index {index}", expected=cid, actual=payload.asset_cid)
    if payload.size <= last:
        what = f"entries under the anchor at index {index}"
        raise VerificationError(what, expected=f"more than {last}, the job's last", actual=payload.size)
    hashes = tuple(bytes.fromhex(each) for each in proof.consistency)
    check_consistency(anchored.size, checkpoint.size, hashes, anchored.root, checkpoint.root)
    check_pinned(payload, trust)
    return Anchor(index, payload)


def _check_names(payload: Anchored, anchored: Checkpoint, index: int) -> None:
    """An Anchored entry is about this checkpoint; it cannot be newer than the entry, which its root would contain."""
    expected, actual = (
        (anchored.origin, anchored.size, anchored.root.hex()),
        (payload.origin, payload.size, payload.root),
    )
    if actual != expected:
        what = f"origin, size and root of the anchor at index {index}"
        raise VerificationError(what, expected=" ".join(map(str, expected)), actual=" ".join(map(str, actual)))


def check_pinned(payload: Anchored, trust: Trust) -> None:
    """Check that an anchor on a chain that the trust file names is by a recorder, at a contract that it names there.

    Raises:
        VerificationError: it is by another, or the very checkpoint is pinned in another block.
    """
    pins = trust.anchors_on(payload.chain)
    if pins and not any(_same(pin, payload) for pin in pins):
        expected = " or ".join(f"{pin.recorder} at {pin.contract}" for pin in pins)
        actual = f"{payload.recorder} at {payload.contract}"
        raise VerificationError(f"recorder and contract on {payload.chain}", expected=expected, actual=actual)
    seen = [pin.block_hash for pin in pins if pin.asset_cid == payload.asset_cid and pin.block_hash is not None]
    if seen and payload.block_hash not in seen:
        what = f"block of {payload.asset_cid} on {payload.chain}"
        raise VerificationError(what, expected=" or ".join(seen), actual=payload.block_hash)


def _same(pin: AnchorPin, payload: Anchored) -> bool:
    """Addresses are numbers: the case of their letters is a checksum."""
    return (pin.contract.lower(), pin.recorder.lower()) == (payload.contract.lower(), payload.recorder.lower())


def is_pinned(payload: Anchored, trust: Trust) -> bool:
    """Tell whether the trust file vouches for the block that holds this very checkpoint."""
    pinned = {(pin.asset_cid, pin.block_hash) for pin in trust.anchors_on(payload.chain)}
    return (payload.asset_cid, payload.block_hash) in pinned


def confirm(anchor: Anchor, inquiry: Inquiry, trust: Trust) -> str:
    """Ask the anchor's chain for the commit; return what it says, in words.

    Raises:
        ChainError: the chain does not answer.
        IncompleteError: the commit is too young to count.
        VerificationError: the recorder never committed this checkpoint there, or what it wrote is something else.
    """
    said = anchor.payload
    found = find_commit((said.contract, said.recorder), said.asset_cid, inquiry, said.block)
    expected, checkpoint = (said.size, said.root), record.open_checkpoint(found.note, trust)
    if (checkpoint.size, checkpoint.root.hex()) != expected:
        actual = f"{checkpoint.size} {checkpoint.root.hex()}"
        raise VerificationError("size and root in the commit", expected=f"{said.size} {said.root}", actual=actual)
    moved = "" if found.commit.block_hash.hex() == said.block_hash else f", not in block {said.block} as was logged"
    return f"{found.words}{moved}"


@dataclass(frozen=True, slots=True)
class Found:
    """A commit that counts, and the signed checkpoint in it."""

    commit: Committed
    note: str
    words: str


def find_commit(by: tuple[str, str], asset_cid: str, inquiry: Inquiry, near: int | None) -> Found:
    """Return the first commit to a contract, by a recorder, that holds the checkpoint with this CID and is deep enough.

    Whose signature the checkpoint has is for the caller to check.

    Raises:
        ChainError: the chain does not answer.
        IncompleteError: there is one, too young to count.
        VerificationError: there is none.
    """
    view, wanted, (contract, recorder) = inquiry.view, inquiry.confirmations, by
    head = view.head()
    commits = view.commits(contract, recorder, asset_cid, near)
    if not commits:
        what = f"commit of {asset_cid} on {view.name}"
        raise VerificationError(what, expected=f"one by {recorder} at {contract}", actual="none")
    commit, note = _first(commits, asset_cid)
    depth = head - commit.block
    if depth < wanted:
        some = f"{max(0, depth)} of the {wanted} blocks that must stand on top"
        raise IncompleteError(f"the commit in block {commit.block} of {view.name} has {some}: ask again later")
    date = "" if commit.time is None else f" of {commit.time}"
    return Found(
        commit, note, f"{view.name} holds it in block {commit.block}{date}, {depth} blocks deep, by {recorder}"
    )


def _first(commits: Sequence[Committed], asset_cid: str) -> tuple[Committed, str]:
    """Return the oldest commit that holds the checkpoint; what else the recorder wrote beside it counts for nothing.

    Raises:
        VerificationError: none holds it; this is about the first.
    """
    refused: VerificationError | None = None
    for commit in commits:
        try:
            return commit, _note(commit, asset_cid)
        except VerificationError as error:
            refused = refused or error
    raise refused or VerificationError(f"commit of {asset_cid}", expected="one", actual="none")


def _note(commit: Committed, asset_cid: str) -> str:
    """Return the checkpoint in a commit of the recorder's; it may write what it likes, but nothing else counts."""
    try:
        return read_commitment(Erc7053Commit(asset_cid, commit.commit_data))
    except MalformedError as error:
        what = f"commit data of {asset_cid}"
        raise VerificationError(what, expected="a signed checkpoint", actual=error.detail) from error


def on_chain(anchors: Iterable[Anchor], inquiry: Inquiry) -> list[Anchor]:
    """Return the anchors on the chain that is asked, oldest first.

    Raises:
        ChainError: it does not say which chain it is.
    """
    name = inquiry.view.name
    return [anchor for anchor in anchors if anchor.payload.chain == name]


def offline(anchor: Anchor, trust: Trust) -> str:
    """Say what an anchor is worth without asking anybody."""
    said = anchor.payload
    where = f"{said.chain}, block {said.block}"
    if anchor.itself:
        return f"self: {where}, is the log operator's own chain and dates nothing for anybody else"
    if is_pinned(said, trust):
        return f"pinned: {where}, is vouched for by the trust file"
    return f"unconfirmed: {where}, transaction 0x{said.tx_hash}; --rpc asks that chain"


def bundle_finding(
    bundle: Bundle, entries: Iterable[record.Entry], checkpoint: Checkpoint, trust: Trust, inquiry: Inquiry | None
) -> str:
    """Say what is known of a bundle's anchors; ``entries`` are its own; what nobody outside confirms is a ``Remark``.

    Raises:
        TallyError: an anchor does not hold, or the chain that is asked cannot tell.
    """
    anchors = check_proofs(bundle, entries, checkpoint, trust)
    if inquiry is not None:
        return _asked(bundle, anchors, trust, inquiry)
    if not anchors:
        return Remark(f"not anchored: `tally anchor`, then `tally bundle {bundle.job_id} --out FILE`")
    said = "; ".join(offline(anchor, trust) for anchor in anchors)
    return said if any(is_pinned(anchor.payload, trust) for anchor in anchors) else Remark(said)


def _asked(bundle: Bundle, anchors: Sequence[Anchor], trust: Trust, inquiry: Inquiry) -> str:
    """Ask the chain for every anchor on it; without one, for the bundle's own checkpoint by a pinned recorder."""
    asked = on_chain(anchors, inquiry)
    if asked:
        covered = min(anchor.payload.size for anchor in asked)
        said = "; ".join(confirm(anchor, inquiry, trust) for anchor in asked)
        return f"{said}; it covers {covered} entries, all of this job's among them"
    name = inquiry.view.name
    for pin in trust.anchors_on(name):
        try:
            return find_commit((pin.contract, pin.recorder), _cid(bundle), inquiry, None).words
        except VerificationError:
            continue
    elsewhere = ", ".join(dict.fromkeys(anchor.payload.chain for anchor in anchors)) or "no chain"
    raise IncompleteError(f"this bundle is anchored on {elsewhere}, and {name} was asked: anchor, and write it again")


def _cid(bundle: Bundle) -> str:
    return anchor_commitment(bundle.checkpoint).asset_cid
