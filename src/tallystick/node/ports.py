"""The effects a node needs, one Protocol each; the docstring states what is true when a call returns.

Adapters stand behind them; the node never knows which.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from tallystick.anchoring.claims import JobClaim
from tallystick.job import JobSpec
from tallystick.kernels.lanczos import Region
from tallystick.kernels.raster import Raster, Samples
from tallystick.ledger.genesis import Genesis
from tallystick.ledger.payloads import JobSettled
from tallystick.ledger.records import Record, View
from tallystick.ledger.transactions import Transaction
from tallystick.node.index import LogIndex
from tallystick.node.sequencer import Block, Outcome, Parameters, Submission
from tallystick.receipts.log import TileName
from tallystick.receipts.proofs import LogTree


@dataclass(frozen=True, slots=True)
class Batch:
    """What one group commit makes durable: entries from ``first`` on, their checkpoint, and private values."""

    first: int
    entries: tuple[bytes, ...]
    checkpoint: str
    private: tuple[tuple[str, bytes], ...]


class Store(Protocol):
    """Durable bytes of one ledger: one process writes, any of its threads may read and keep private values."""

    def genesis(self) -> bytes | None:
        """Return the genesis document, None for an empty store."""
        ...

    def create(self, genesis: bytes) -> None:
        """Make the genesis durable; refuses a store that has one."""
        ...

    def append(self, batch: Batch) -> None:
        """Make a batch durable, all of it or nothing (StoreError); when this returns it survives a power cut."""
        ...

    def size(self) -> int:
        """Return how many entries are durable."""
        ...

    def entries(self, start: int, stop: int) -> Iterator[bytes]:
        """Yield durable entries in order."""
        ...

    def checkpoint(self) -> str | None:
        """Return the newest durable checkpoint."""
        ...

    def snapshot(self) -> Iterator[bytes]:
        """Yield the pieces of the snapshot, in order."""
        ...

    def save_snapshot(self, first: int, size: int, data: bytes) -> None:
        """Make a piece over entries ``first`` to ``size`` durable; it replaces whatever went beyond ``first``."""
        ...

    def private(self, key: str) -> bytes | None:
        """Return a private value, which never enters the log."""
        ...

    def private_keys(self, prefix: str) -> tuple[str, ...]:
        """Return the keys of private values under a prefix, sorted."""
        ...

    def put_private(self, values: Sequence[tuple[str, bytes | None]]) -> None:
        """Make private values durable, None deletes; threads that call at one time share the flush."""
        ...


class Blobs(Protocol):
    """Content-addressed bytes, for any thread. Before ``flush`` a power cut may lose or damage a blob; ``get`` notices.

    Whoever notes durably that bytes were delivered, which nobody here can make again, flushes first.
    """

    def put(self, digest: bytes, data: bytes) -> None:
        """Keep bytes under their SHA-256, which the caller computed."""
        ...

    def get(self, digest: bytes) -> bytes | None:
        """Return bytes whose SHA-256 was checked again, or None when they are absent or damaged."""
        ...

    def has(self, digest: bytes) -> bool:
        """Tell whether bytes are kept; those written by this process are not read for it."""
        ...

    def flush(self) -> None:
        """Let everything put before this call survive a power cut (StoreError); callers at one time share it."""
        ...

    def delete(self, digest: bytes) -> None:
        """Forget bytes; absent ones are no error."""
        ...

    def digests(self) -> frozenset[bytes]:
        """Return the SHA-256 of everything that is kept."""
        ...


class Tiles(Protocol):
    """The public face of the log: tiles and checkpoint for readers. Derived, so it may lag and is repaired."""

    def published(self) -> str | None:
        """Return the checkpoint that readers see, None when there is none."""
        ...

    def durable(self) -> str | None:
        """Return a checkpoint up to which every tile survived whatever happened, None when there is none."""
        ...

    def publish(self, files: Iterable[tuple[TileName, bytes]], checkpoint: str) -> None:
        """Write what a growth of the log adds, in order, the checkpoint last."""
        ...

    def repair(self, files: Iterable[tuple[TileName, bytes]], checkpoint: str) -> None:
        """Publish after a start: what stands may be torn, so it is compared with what is given."""
        ...


CheckSettlement = Callable[[JobSettled], None]
"""Recomputes a settlement from its evidence; raises VerificationError on any difference."""


class CommittedState(View, Protocol):
    """State that is durable: read by key, or as a whole."""

    @property
    def records(self) -> Mapping[str, Record]:
        """Every record by its key."""
        ...


class Engine(Protocol):
    """Orders transactions into blocks and makes them durable, ABCI-shaped; ``solo`` is the embedded one.

    ``view`` is committed state only. When ``run`` returns, what was accepted is durable; a refused submission left no
    trace. When it raises, nothing of the group happened.
    """

    parameters: Parameters
    tree: LogTree
    index: LogIndex

    @property
    def view(self) -> CommittedState:
        """Committed state."""
        ...

    @property
    def genesis(self) -> Genesis:
        """The ledger's parameters."""
        ...

    def check(self, transaction: Transaction) -> None:
        """Check chain and signature of an entry that somebody sent."""
        ...

    def propose(self, submissions: Sequence[Submission]) -> Block | tuple[Outcome, ...]:
        """Make a block of what is waiting; outcomes only when nothing was accepted."""
        ...

    def process(self, block: Block, check_settlement: CheckSettlement | None) -> None:
        """Recompute what apply() cannot: a settlement's verdicts from the evidence."""
        ...

    def finalize(self, block: Block) -> bytes:
        """Return the hash of the block's header; nothing is durable yet."""
        ...

    def commit(self, block: Block) -> None:
        """Write the block and tend; what tending raises takes nothing back."""
        ...

    def write(self, block: Block, readers: AbstractContextManager[object] | None = None) -> None:
        """Make the block durable, then let readers see it, held off by ``readers`` for this second step alone."""
        ...

    def tend(self) -> None:
        """Publish and keep a snapshot, each when it is due; what fails now (StoreError, OSError) is made up later."""
        ...

    def snapshot(self) -> None:
        """Keep what was folded since the last snapshot, so that the next start replays less."""
        ...

    def publish(self) -> None:
        """Let readers see everything that is durable."""
        ...

    def run(
        self, submissions: Sequence[Submission], check_settlement: CheckSettlement | None = None
    ) -> tuple[tuple[Outcome, ...], Block | None]:
        """Take one group of submissions through propose, process, finalize and commit."""
        ...

    def entry(self, index: int) -> bytes:
        """Return one durable entry, held against its leaf (StoreError)."""
        ...

    def entries(self, start: int, stop: int) -> Iterator[bytes]:
        """Yield durable entries in order, each held against its leaf (StoreError)."""
        ...

    def checkpoint(self) -> str:
        """Return the newest durable checkpoint."""
        ...


class Clock(Protocol):
    """Wall time."""

    def now(self) -> int:
        """Return UTC milliseconds."""
        ...


class Entropy(Protocol):
    """Randomness from the operating system."""

    def token(self, size: int) -> bytes:
        """Return so many unpredictable bytes."""
        ...


class Executor(Protocol):
    """Computes output blocks; several threads may call it at once."""

    backend: str

    def run(self, spec: JobSpec, source: Samples, region: Region) -> bytes:
        """Return the bytes of one output block of a job over its decoded input."""
        ...


class Picture(Protocol):
    """A decoded image: its raster and, when it had one, its ICC profile."""

    @property
    def raster(self) -> Raster:
        """Upright samples."""
        ...

    @property
    def icc_profile(self) -> bytes | None:
        """The colour profile as it stood in the file."""
        ...


class ImageSink(Protocol):
    """Takes rows of an image in order and writes a file."""

    def write(self, rows: Samples) -> None:
        """Append rows, top to bottom."""
        ...

    def finish(self) -> None:
        """Complete the file; it is durable afterwards."""
        ...

    def abort(self) -> None:
        """Give the file up."""
        ...


class Images(Protocol):
    """Reads and writes image files."""

    def decode(self, data: bytes) -> Picture:
        """Return the decoded, oriented image (ImageError when it cannot be read faithfully)."""
        ...

    def writer(self, path: str, spec: JobSpec, icc_profile: bytes | None) -> ImageSink:
        """Begin the output file of a job."""
        ...


class Credentials(Protocol):
    """Signs content credentials with the home's own authority."""

    def embed(self, source: str, target: str, claim: JobClaim, origin: str) -> None:
        """Write ``target``: the image with its credentials inside; ``origin`` is the job's input file."""
        ...

    def sidecar(self, asset: str, claim: JobClaim, origin: str) -> bytes:
        """Return a detached manifest over the delivered bytes."""
        ...


class Desk(Protocol):
    """The buyer's files: input and deliveries."""

    def read(self, path: str) -> bytes:
        """Return a file's bytes."""
        ...

    def write(self, path: str, data: bytes) -> None:
        """Replace a file atomically and durably."""
        ...

    def digest(self, path: str) -> bytes:
        """Return a file's SHA-256, read in pieces."""
        ...

    def replace(self, source: str, target: str) -> None:
        """Move a finished file into place, durably."""
        ...

    def remove(self, path: str) -> None:
        """Delete a file if it is there."""
        ...

    def name(self, path: str) -> str:
        """Return a path's last part."""
        ...


@dataclass(frozen=True, slots=True)
class Ports:
    """Everything a node touches the world with; ``threads`` bounds how many blocks are computed at once."""

    store: Store
    blobs: Blobs
    clock: Clock
    images: Images
    credentials: Credentials
    desk: Desk
    executor: Executor
    threads: int
    folder: str

    def input_path(self, job_id: str) -> str:
        """Where the home keeps a job's input until it is delivered."""
        return f"{self.folder}/{job_id}.input"

    def scratch_path(self, job_id: str) -> str:
        """Where the output is written before it is signed."""
        return f"{self.folder}/{job_id}.output"
