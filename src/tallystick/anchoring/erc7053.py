"""A checkpoint as an ERC-7053 commit: what would be written to somebody else's chain, as data that nobody sends here.

Knows the standard's function and event (ERC-7053, status Final) and the ABI encoding of their arguments. Refuses to
know accounts, gas, chains and finality. Specification: docs/spec/erc7053-anchor.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import msgspec

from tallystick.errors import CommitmentError, MalformedError
from tallystick.primitives import canonical
from tallystick.primitives.cids import parse_raw_cid, raw_cid
from tallystick.primitives.digests import sha256
from tallystick.primitives.keys import checksum_evm_address, keccak256
from tallystick.primitives.notes import Checkpoint, split_note

FUNCTION: Final = "commit(string,string)"
COMMIT_SELECTOR: Final = bytes.fromhex("81d14ffc")
"""First four bytes of keccak256(FUNCTION)."""

EVENT: Final = "Commit(address,string,string)"
COMMIT_TOPIC: Final = bytes.fromhex("39b5d1808997c4c413695960efbe703ad3d5c8982d2eb21ff57b01e22a671532")
"""keccak256(EVENT)."""

FORMAT: Final = "tallystick/anchor/v1"

EMBEDDED_CHAIN: Final = "eip155:7053"
"""The chain that a node runs for itself: whoever anchors there has dated nothing for anybody else."""

_WORD: Final = 32
_ADDRESS_SIZE: Final = 20
_TOPICS: Final = 3


class AnchorData(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Wire form of ``commitData``: the signed checkpoint and its CID, of which the chain itself keeps a hash only."""

    format: Literal["tallystick/anchor/v1"]
    asset_cid: str
    checkpoint: str


@dataclass(frozen=True, slots=True)
class Erc7053Commit:
    """The two arguments of ``commit``: the raw CID of the checkpoint's bytes, and canonical JSON that holds both."""

    asset_cid: str
    commit_data: str


def anchor_commitment(checkpoint_note: str) -> Erc7053Commit:
    """The commit that anchors a signed checkpoint (the whole note, signatures included, as UTF-8).

    Raises:
        MalformedError: It is no signed note, or its text no checkpoint.
    """
    _check_checkpoint(checkpoint_note)
    asset_cid = raw_cid(sha256(checkpoint_note.encode("utf-8")))
    data = AnchorData(FORMAT, asset_cid, checkpoint_note)
    return Erc7053Commit(asset_cid, canonical.encode(data).decode("utf-8"))


def read_commitment(commit: Erc7053Commit) -> str:
    """The signed checkpoint inside a commit; its signatures are for the caller to check.

    Raises:
        MalformedError: ``commit_data`` is not the canonical JSON of ``AnchorData``, a CID is none, or what it carries
            is no signed checkpoint.
        CommitmentError: The CIDs beside and inside the data are not that of the checkpoint.
    """
    what = "ERC-7053 commit data"
    data = canonical.decode(commit.commit_data.encode("utf-8", "surrogatepass"), AnchorData, what=what)
    digest = sha256(data.checkpoint.encode("utf-8"))
    for found in (commit.asset_cid, data.asset_cid):
        if parse_raw_cid(found) != digest:
            raise CommitmentError(f"{what} names another checkpoint", expected=raw_cid(digest), actual=found)
    _check_checkpoint(data.checkpoint)
    return data.checkpoint


def commit_calldata(commit: Erc7053Commit) -> bytes:
    """ABI-encoded call ``commit(assetCid, commitData)``: selector, two offsets, two padded strings."""
    first, second = _tail(commit.asset_cid), _tail(commit.commit_data)
    offsets = _number(2 * _WORD) + _number(2 * _WORD + len(first))
    return COMMIT_SELECTOR + offsets + first + second


def commit_topics(recorder: bytes, asset_cid: str) -> tuple[bytes, bytes, bytes]:
    """Topics of the ``Commit`` event that this recorder's call emits, 32 bytes each.

    Anyone may commit for any CID, so a search without the recorder finds strangers' commits too.

    Args:
        recorder: 20-byte EVM address of the account that sends the transaction.
        asset_cid: The CID as text; the chain keeps its keccak256 only.

    Raises:
        ValueError: The recorder has another length.
    """
    if len(recorder) != _ADDRESS_SIZE:
        raise ValueError(f"an EVM address has {_ADDRESS_SIZE} bytes, not {len(recorder)}")
    return COMMIT_TOPIC, recorder.rjust(_WORD, b"\0"), keccak256(asset_cid.encode("utf-8"))


@dataclass(frozen=True, slots=True)
class CommitEvent:
    """A ``Commit`` event as a chain keeps it: who sent it, keccak256 of the CID's text, and what was written."""

    recorder: str
    asset_cid_hash: bytes
    commit_data: str


def read_event(topics: Sequence[bytes], data: bytes) -> CommitEvent:
    """Read the log of a ``Commit`` event; whether recorder and CID are the wanted ones is for the caller.

    Raises:
        MalformedError: The topics are not those of the event, or the data is not the one ABI form of one string.
    """
    what = "Commit event"
    if len(topics) != _TOPICS or topics[0] != COMMIT_TOPIC or any(len(topic) != _WORD for topic in topics):
        raise MalformedError(what, "its topics are not those of ERC-7053")
    padding, recorder = topics[1][:-_ADDRESS_SIZE], topics[1][-_ADDRESS_SIZE:]
    size = int.from_bytes(data[_WORD : 2 * _WORD], "big")
    text = data[2 * _WORD : 2 * _WORD + size]
    try:
        commit_data = text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedError(what, "its text is not UTF-8") from error
    if any(padding) or data != _number(_WORD) + _tail(commit_data):
        raise MalformedError(what, "it is not the ABI form of an address and a string")
    return CommitEvent(checksum_evm_address(recorder), topics[2], commit_data)


def _check_checkpoint(note: str) -> None:
    """Refuse what is no signed checkpoint; whose signature it is, is another question."""
    text, _ = split_note(note)
    Checkpoint.parse(text)


def _number(value: int) -> bytes:
    """ABI uint256."""
    return value.to_bytes(_WORD, "big")


def _tail(text: str) -> bytes:
    """ABI string: its length in bytes, then its UTF-8 padded with zeros to whole words."""
    data = text.encode("utf-8")
    return _number(len(data)) + data + bytes(-len(data) % _WORD)
