"""What a node says of itself, of money, of workers, of receipts and tokens, as far as a client relies on it.

Typed strictly where it is read; what a newer node says beside it is let pass. Orders and prices are ``node/views.py``.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from tallystick.node.anchor_words import Phase
from tallystick.node.views import JobState, JobView
from tallystick.primitives.amounts import WeiText
from tallystick.primitives.canonical import AddressText, Count

Text = Annotated[str, msgspec.Meta(max_length=2000)]
ENDED = frozenset({JobState.DONE, JobState.FAILED, JobState.CANCELLED})


class LogKey(msgspec.Struct, frozen=True):
    """The log's name and the key of its checkpoints (C2SP vkey)."""

    origin: Text = ""
    vkey: Text = ""


class NodeInfo(msgspec.Struct, frozen=True):
    """A node: its ledger, its software, how large its log is, whether it asks who one is."""

    chain_id: Text
    version: Text = ""
    network: Text = ""
    log: LogKey = LogKey()
    coordinator: Text = ""
    entries: Count = 0
    auth: Text = ""


class JobPage(msgspec.Struct, frozen=True):
    """Some of the orders, newest first, and where the next ones begin."""

    jobs: tuple[JobView, ...]
    cursor: Text | None = None


class JobEntry(msgspec.Struct, frozen=True):
    """One entry of a job."""

    entry: dict[str, Any]


class EntryPage(msgspec.Struct, frozen=True):
    """Entries of a job in the order of the log, and where the next ones begin."""

    entries: tuple[JobEntry, ...]
    cursor: Count | None = None


class UploadState(msgspec.Struct, frozen=True):
    """Where an upload stands."""

    upload_id: Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9_-]{1,100}\Z")]
    offset: Count
    length: Count
    complete: bool = False


class Progress(msgspec.Struct, frozen=True):
    """How many bytes of something stand at the node."""

    offset: Count
    complete: bool


class AccountInfo(msgspec.Struct, frozen=True):
    """An account's free money, in wei, and the number of its next entry."""

    address: AddressText
    balance_wei: WeiText
    nonce: Count


class ReceiptInfo(msgspec.Struct, frozen=True):
    """An entry of the log and where it stands."""

    nid: Text
    tx_hash: Text
    index: Count
    entry: dict[str, Any] | None = None


class TokenInfo(msgspec.Struct, frozen=True):
    """A token without its secret."""

    id: Text
    scopes: tuple[Text, ...]
    account: Text
    created: Text = ""
    expires: Text | None = None
    revoked: Text | None = None
    valid: bool = True


class NewToken(msgspec.Struct, frozen=True):
    """A new token; its text is said this once."""

    token: Text
    id: Text


class TokenPage(msgspec.Struct, frozen=True):
    """All tokens of a node."""

    tokens: tuple[TokenInfo, ...]


class AnchorInfo(msgspec.Struct, frozen=True):
    """One anchored checkpoint: the entry of the log that says so, and where it stands on its chain."""

    index: Count
    origin: Text
    size: Count
    root: Text
    asset_cid: Text
    chain: Text
    contract: Text
    recorder: Text
    tx_hash: Text
    block: Count
    block_hash: Text


class FlightInfo(msgspec.Struct, frozen=True):
    """A checkpoint on its way to a chain."""

    size: Count
    nonce: Count | None = None
    variants: Count = 0
    block: Count | None = None


class AnchorsInfo(msgspec.Struct, frozen=True):
    """How a node's anchoring stands; ``asked`` while an anchor that was asked for has not begun."""

    chain: Text
    recorder: Text
    embedded: bool
    policy: Text
    phase: Phase
    waiting_entries: Count
    contract: Text | None = None
    newest: AnchorInfo | None = None
    in_flight: FlightInfo | None = None
    held_fee_wei: WeiText | None = None
    error: Text | None = None
    asked: bool = False


class PolicyInfo(msgspec.Struct, frozen=True):
    """When a node anchors."""

    policy: Text


class TargetInfo(msgspec.Struct, frozen=True):
    """Where a node anchors; it never says by which URL."""

    embedded: bool
    chain: Text | None = None
    contract: Text | None = None
    fee_cap: WeiText | None = None
    confirmations: Count | None = None
    first_block: Count = 0


class WorkerInfo(msgspec.Struct, frozen=True):
    """A worker with an open line, and what the ledger knows of it; no amounts where it is not registered."""

    worker: Text
    address: AddressText
    backend: Text = ""
    capacity: Count = 0
    since: Text = ""
    registered: bool = False
    operator: Text | None = None
    tier: Text | None = None
    bond_wei: WeiText | None = None
    locked_wei: WeiText | None = None


class WorkerPage(msgspec.Struct, frozen=True):
    """Workers with an open line."""

    workers: tuple[WorkerInfo, ...]
