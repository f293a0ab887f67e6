"""What was asked, and the law by which it is judged: the JobSpec and its parts.

Knows the words of an order: task type, grid, pool, policy, price, deadlines. Refuses to know how blocks are cut
(slicing), who was right (verification) and who holds the money (ledger). A JobSpec enters the log whole, so it names
private values by salted commitment only (docs/spec/jobspec.md).
"""

from __future__ import annotations

from enum import Enum, IntEnum
from fractions import Fraction
from itertools import pairwise
from typing import Annotated, Final

import msgspec

from tallystick.errors import UsageError
from tallystick.primitives import canonical
from tallystick.primitives.amounts import Wei, WeiText, parse_wei
from tallystick.primitives.canonical import Count, DigestHex, PublicKeyHex
from tallystick.primitives.digests import sha256

PPM: Final = 1_000_000
BLOCK_SIDE_MIN: Final = 8
BLOCK_SIDE_MAX: Final = 4096
SIDE_MAX: Final = 1_000_000
SCALE_MAX: Final = Fraction(1000)
SEATS_MAX: Final = 128
"""So many that a JobSettled with one line per seat still fits into one entry of the log."""
MICROJOBS_MAX: Final = 8192
DEPTHS: Final = (8, 16)
ZERO_CLASS_ID: Final = "00" * 32
"""The class id of EXACT: bits are equal on any device, so no device is named."""

JobId = Annotated[str, msgspec.Meta(pattern=r"\A[a-z0-9][a-z0-9_.-]{0,63}\Z")]
Rate = Annotated[int, msgspec.Meta(ge=0, le=PPM)]
Side = Annotated[int, msgspec.Meta(ge=1, le=SIDE_MAX)]
ScaleText = Annotated[str, msgspec.Meta(pattern=r"\A[1-9][0-9]{0,5}(/[1-9][0-9]{0,5})?\Z")]
Attempt = Annotated[int, msgspec.Meta(ge=1, le=1000)]
LabelText = Annotated[str, msgspec.Meta(pattern=r"\A[a-z]+: [a-z0-9 ,.-]{1,80}\Z")]


class TaskType(Enum):
    """The kinds of work; a job names exactly one."""

    IMAGE_UPSCALING = "image-upscaling"
    VIDEO_UPSCALING = "video-upscaling"
    RENDER = "render"
    MATMUL = "matmul"
    SYNTHETIC = "synthetic"
    STABLE_DIFFUSION = "stable-diffusion"
    LLM_INFERENCE = "llm-inference"
    MODEL_TRAINING = "model-training"
    SPEECH_TO_TEXT = "speech-to-text"
    TEXT_TO_SPEECH = "text-to-speech"
    COMMAND = "command"


class VerificationClass(IntEnum):
    """The equality law of a job; the value is the leaf's class byte (docs/spec/commitment.md)."""

    EXACT = 1
    EXACT_IN_CLASS = 2
    TOLERANT = 3
    SKETCH = 4


class Placement(Enum):
    """Where the copies of blocks go."""

    SPREAD = "spread"
    HIDDEN = "hidden"


class Deadlines(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The six moments of a job, UTC milliseconds, strictly increasing."""

    commit: Count
    upload: Count
    reveal: Count
    judge: Count
    dispute: Count
    refund: Count

    def __post_init__(self) -> None:
        """Refuse deadlines out of order."""
        moments = (self.commit, self.upload, self.reveal, self.judge, self.dispute, self.refund)
        if any(later <= earlier for earlier, later in pairwise(moments)):
            message = f"deadlines must increase (commit, upload, reveal, judge, dispute, refund), not {moments}"
            raise ValueError(message)


class Upscale(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Image resampling: sizes in pixels, samples of ``depth`` bits, ``channels`` 1 to 4 (2 and 4 end in alpha)."""

    kernel: str
    scale: ScaleText
    source_width: Side
    source_height: Side
    target_width: Side
    target_height: Side
    channels: Annotated[int, msgspec.Meta(ge=1, le=4)]
    depth: Annotated[int, msgspec.Meta(ge=8, le=16)]

    def __post_init__(self) -> None:
        """Refuse a second spelling of the scale, and depths that no raster has."""
        if str(Fraction(self.scale)) != self.scale:
            message = f"scale {self.scale} must be written in lowest terms, {Fraction(self.scale)}"
            raise ValueError(message)
        if self.depth not in DEPTHS:
            message = f"depth must be 8 or 16, not {self.depth}"
            raise ValueError(message)

    @property
    def ratio(self) -> Fraction:
        """The scale as an exact fraction."""
        return Fraction(self.scale)


class Grid(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the output is cut: block side in pixels, at most so many blocks a micro job, micro jobs a macro job."""

    block: Annotated[int, msgspec.Meta(ge=BLOCK_SIDE_MIN, le=BLOCK_SIDE_MAX)]
    blocks_per_microjob: Annotated[int, msgspec.Meta(ge=1, le=4096)]
    microjobs_per_macrojob: Annotated[int, msgspec.Meta(ge=1, le=4096)]


class Seat(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One place of the pool: a worker's key and the key of the operator that answers for it."""

    worker: PublicKeyHex
    operator: PublicKeyHex


class VerificationPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The law: class, copies, audits, and what a fault costs (rates in parts per million, money in wei).

    ``audit`` is the share of micro jobs audited, ``audit_blocks`` the blocks recomputed in each of them (capped by its
    size). ``stake`` is locked per open micro job and lost when a block of it is refuted or withheld; ``absence`` is
    lost when no root was posted in time. ``colluding`` is the share r of auditors that share the worker's interest.
    """

    law: VerificationClass
    placement: Placement
    duplicates: Rate
    audit: Rate
    audit_blocks: Annotated[int, msgspec.Meta(ge=1, le=4096)]
    ringers: Rate
    colluding: Rate
    gain: WeiText
    stake: WeiText
    absence: WeiText


class Price(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Wei per accepted block of a worker, and per block that the referee computes."""

    block: WeiText
    referee_block: WeiText

    @property
    def block_wei(self) -> Wei:
        """Price of one accepted block."""
        return parse_wei(self.block)

    @property
    def referee_wei(self) -> Wei:
        """Price of one block computed by the referee; also the cost C of a block in the deterrence bound."""
        return parse_wei(self.referee_block)


class JobSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The order as it is signed, logged and hashed; ``input`` is the salted commitment to the input raster's digest."""

    version: Annotated[int, msgspec.Meta(ge=1, le=1)]
    chain_id: str
    job_id: JobId
    attempt: Attempt
    requester: PublicKeyHex
    task_type: TaskType
    task: Upscale
    input: DigestHex
    grid: Grid
    pool: Annotated[tuple[Seat, ...], msgspec.Meta(min_length=1, max_length=SEATS_MAX)]
    policy: VerificationPolicy
    price: Price
    deadlines: Deadlines
    labels: tuple[LabelText, ...]
    simulated: bool

    def __post_init__(self) -> None:
        """Refuse a pool that names a worker twice or is too large for one entry, and labels out of order."""
        workers = [seat.worker for seat in self.pool]
        if not 1 <= len(workers) <= SEATS_MAX:
            message = f"the pool must have 1 to {SEATS_MAX} workers, not {len(workers)}"
            raise ValueError(message)
        if len(set(workers)) != len(workers):
            message = "the pool names a worker twice"
            raise ValueError(message)
        if list(self.labels) != sorted(set(self.labels)):
            message = "labels must be sorted and distinct"
            raise ValueError(message)

    @property
    def operators(self) -> int:
        """How many different operators the pool has."""
        return len({seat.operator for seat in self.pool})

    @property
    def referee_copies(self) -> bool:
        """Whether the node's referee computes the copies, because one operator alone cannot check itself."""
        return self.operators == 1


def spec_digest(spec: JobSpec) -> bytes:
    """Return ``job``, the 32 bytes that stand for this order in every preimage: SHA-256 of its canonical JSON."""
    return sha256(canonical.encode(spec))


def parse_scale(text: str) -> Fraction:
    """Read ``2``, ``1.5`` or ``3/2`` as an exact positive fraction with at most six digits above and below.

    Raises:
        UsageError: it is none of these, or not between 1/1000 and 1000.
    """
    try:
        scale = Fraction(text)
    except (ValueError, ZeroDivisionError) as error:
        message = f"--scale {text!r} is not a number: write 2, 1.5 or 3/2"
        raise UsageError(message) from error
    if not 1 / SCALE_MAX <= scale <= SCALE_MAX or max(scale.numerator, scale.denominator) >= PPM:
        message = f"--scale {text!r} is out of range: write a ratio between 1/1000 and 1000 with at most six digits"
        raise UsageError(message)
    return scale


def scale_text(scale: Fraction) -> str:
    """Spell a scale as the JobSpec does: ``2`` or ``3/2``."""
    return str(scale)
