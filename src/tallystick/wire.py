"""What a worker and a node say to each other over a WebSocket: one codec for both ends (docs/spec/worker-protocol.md).

Frames are JSON text of at most 1 MiB, one object each, told apart by ``type``; unknown fields are refused. Block bytes
never travel here: they go by HTTP. Knows spelling and bounds; refuses to know sockets and who may say what when.
"""

from __future__ import annotations

import re
from typing import Annotated, Final, TypeVar

import msgspec

from tallystick.errors import MalformedError, TooLargeError
from tallystick.job import Attempt, JobId, JobSpec
from tallystick.ledger.payloads import ShortText
from tallystick.primitives.canonical import AddressText, Count, DigestHex, PublicKeyHex, SaltHex, SignatureHex, encode
from tallystick.primitives.digests import Tag, tagged

T = TypeVar("T")

FRAME_BYTES_MAX: Final = 1 << 20
PROTOCOL: Final = "tallystick/worker/v1"
CAPACITY_MAX: Final = 64
SLOTS_MAX: Final = 4096
PIECE_PATTERN: Final = r"\A[a-z0-9][a-z0-9_.-]{0,63}:[1-9][0-9]{0,3}:[0-9]{1,5}\Z"
_PIECE: Final = re.compile(PIECE_PATTERN)

PieceId = Annotated[str, msgspec.Meta(pattern=PIECE_PATTERN)]
"""A micro job of one attempt, ``<job>:<attempt>:<micro job>``: the wire's ``job_id``; the job itself is ``task_id``."""

PathText = Annotated[str, msgspec.Meta(max_length=500)]
EntryText = Annotated[str, msgspec.Meta(max_length=65_535)]


class _Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type"):
    """Base of all messages."""


class Auth(_Message, frozen=True, tag="auth"):
    """Node, first of all: sign this nonce, which is used once."""

    protocol: ShortText
    chain_id: ShortText
    nonce: DigestHex


class Hello(_Message, frozen=True, tag="hello"):
    """Worker: who it is, proven by a signature over the nonce, and what it can do."""

    public_key: PublicKeyHex
    signature: SignatureHex
    backend: ShortText
    kernels: Annotated[tuple[ShortText, ...], msgspec.Meta(max_length=64)]
    capacity: Annotated[int, msgspec.Meta(ge=1, le=CAPACITY_MAX)]
    software: ShortText


class Ready(_Message, frozen=True, tag="ready"):
    """Node: the line is open. What the ledger knows of the worker, and the rhythm it must keep."""

    worker_address: AddressText
    registered: bool
    bond: str
    locked: str
    nonce: Count
    heartbeat_ms: Count
    silence_ms: Count
    lease_ms: Count


class InputPart(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The decoded input: where its raw samples lie, and the opening of the order's commitment to its raster digest."""

    path: PathText
    length: Count
    digest: DigestHex
    salt: SaltHex


class OutputPart(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the bytes of all slots go, one after the other in the order of the slots."""

    path: PathText
    length: Count


class JobPayload(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One micro job: the order it belongs to, and the blocks to compute; a copy looks like any other block."""

    spec: JobSpec
    attempt: Attempt
    microjob: Count
    macrojob: Count
    blocks: Annotated[tuple[Count, ...], msgspec.Meta(min_length=1, max_length=SLOTS_MAX)]
    input: InputPart
    output: OutputPart
    lease_ends: Count


class Job(_Message, frozen=True, tag="job"):
    """Node: compute this."""

    job_id: PieceId
    task_id: JobId
    payload: JobPayload


class Progress(_Message, frozen=True, tag="progress"):
    """Worker: how many blocks are computed. It is shown to people and prolongs nothing."""

    job_id: PieceId
    done: Count
    total: Count


class Declined(_Message, frozen=True, tag="declined"):
    """Worker: nothing will come of this piece here; somebody else may have it now instead of when the lease ends."""

    job_id: PieceId
    reason: Annotated[str, msgspec.Meta(max_length=1000)]


class OpenedLeaf(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The salt of one slot and the leaf hash that the root was made over."""

    salt: DigestHex
    leaf: DigestHex


class CommitmentMessage(_Message, frozen=True, tag="commitment"):
    """Worker: its signed SUBMIT_RESULT as the exact text of the entry, and the meta digest of its leaves.

    ``openings`` are given in trust, to be used once the challenge is drawn: a worker that is gone by then has spoken.
    """

    job_id: PieceId
    entry: EntryText
    meta: DigestHex
    openings: Annotated[tuple[OpenedLeaf, ...], msgspec.Meta(max_length=SLOTS_MAX)] | None = None


class Receipt(_Message, frozen=True, tag="receipt"):
    """Node: the commitment is durable, as this entry of the log."""

    job_id: PieceId
    index: Count
    nid: ShortText
    tx_hash: ShortText


class Refused(_Message, frozen=True, tag="refused"):
    """Node: what you said of this piece does not count, and why; ``nonce`` is the one your next entry must have."""

    job_id: PieceId
    reason: Annotated[str, msgspec.Meta(max_length=1000)]
    nonce: Count


class JobResult(_Message, frozen=True, tag="job_result"):
    """Worker: all bytes behind this root are delivered."""

    job_id: PieceId
    worker_address: AddressText
    result_hash: DigestHex
    proof: str | None = None


class Challenge(_Message, frozen=True, tag="challenge"):
    """Node: the challenge is drawn; open the leaves over what you delivered, whose digests these are."""

    job_id: PieceId
    challenge: DigestHex
    outputs: Annotated[tuple[DigestHex, ...], msgspec.Meta(max_length=SLOTS_MAX)]
    payload: JobPayload


class OpeningMessage(_Message, frozen=True, tag="opening"):
    """Worker: salt and leaf of every slot, in order."""

    job_id: PieceId
    openings: Annotated[tuple[OpenedLeaf, ...], msgspec.Meta(max_length=SLOTS_MAX)]


class Cancel(_Message, frozen=True, tag="cancel"):
    """Node: this piece is no longer yours."""

    job_id: PieceId
    reason: Annotated[str, msgspec.Meta(max_length=1000)]


class Heartbeat(_Message, frozen=True, tag="heartbeat"):
    """Worker: still here."""


class Drain(_Message, frozen=True, tag="drain"):
    """Worker: no new pieces, please; those that it holds it ends."""


FromNode = Auth | Ready | Job | Receipt | Refused | Challenge | Cancel
FromWorker = Hello | Progress | Declined | CommitmentMessage | JobResult | OpeningMessage | Heartbeat | Drain

_FROM_NODE: Final[msgspec.json.Decoder[FromNode]] = msgspec.json.Decoder(FromNode)
_FROM_WORKER: Final[msgspec.json.Decoder[FromWorker]] = msgspec.json.Decoder(FromWorker)


def spell(message: FromNode | FromWorker) -> str:
    """Spell a message as one frame.

    Raises:
        TooLargeError: it would exceed a frame.
    """
    data = encode(message)
    if len(data) > FRAME_BYTES_MAX:
        raise TooLargeError("frame", f"{len(data)} bytes, at most {FRAME_BYTES_MAX}")
    return data.decode()


def read_from_worker(frame: str | bytes) -> FromWorker:
    """Read a frame that a worker sent.

    Raises:
        MalformedError: it is too large or no message of a worker.
    """
    return _read(_FROM_WORKER, frame)


def read_from_node(frame: str | bytes) -> FromNode:
    """Read a frame that a node sent.

    Raises:
        MalformedError: it is too large or no message of a node.
    """
    return _read(_FROM_NODE, frame)


def _read(decoder: msgspec.json.Decoder[T], frame: str | bytes) -> T:
    data = frame.encode("utf-8", "surrogatepass") if isinstance(frame, str) else frame
    if len(data) > FRAME_BYTES_MAX:
        raise TooLargeError("frame", f"{len(data)} bytes, at most {FRAME_BYTES_MAX}")
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedError("frame", str(error)) from error


def piece_id(job_id: str, attempt: int, microjob: int) -> str:
    """Name one micro job of one attempt."""
    return f"{job_id}:{attempt}:{microjob}"


def parse_piece(text: str) -> tuple[str, int, int]:
    """Return job, attempt and micro job of a piece's name.

    Raises:
        MalformedError: it is none.
    """
    if _PIECE.match(text) is None:
        raise MalformedError("job_id of a piece", f"{text[:100]!r} is not <job>:<attempt>:<micro job>")
    job_id, attempt, microjob = text.rsplit(":", 2)
    return job_id, int(attempt), int(microjob)


def hello_digest(chain_id: str, nonce: str) -> bytes:
    """Return the 32 bytes that a worker signs to open its line: they name this ledger and this one connection."""
    return tagged(Tag.HELLO, encode({"chain_id": chain_id, "nonce": nonce, "protocol": PROTOCOL}))
