"""Whether a worker takes a piece that a node offers: pure checks of a job's payload, each refusal with its reason.

A worker signs a root over what it computed and stands for it with its bond. So it takes only what it understands whole:
its ledger, a seat of its own, blocks of the order's grid, an input that the order committed to, deadlines to be met.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from tallystick.errors import CommitmentError, DeadlineError, MalformedError, TooLargeError, VerificationError
from tallystick.job import JobSpec, Upscale
from tallystick.kernels.lanczos import KERNEL_NAME
from tallystick.node.worker import Assignment, Worker
from tallystick.primitives.digests import field_commitment, sha256
from tallystick.slicing import Layout, MicroJob, Slot, block_length, check_task, layout, seat_of
from tallystick.wire import Auth, Hello, Job, JobPayload, hello_digest, piece_id

KERNELS: Final = (KERNEL_NAME,)
INPUT_BYTES_MAX: Final = 1 << 30
PIECE_BYTES_MAX: Final = 1 << 30


@dataclass(frozen=True, slots=True)
class Bounds:
    """The most that one worker holds in memory for one piece."""

    input_bytes: int = INPUT_BYTES_MAX
    piece_bytes: int = PIECE_BYTES_MAX


@dataclass(frozen=True, slots=True)
class Terms:
    """What a worker says of itself, and what it insists on; ``bond`` in wei."""

    capacity: int
    software: str
    bond: int
    chain_id: str | None = None
    bounds: Bounds = field(default_factory=Bounds)


def hello_to(auth: Auth, worker: Worker, terms: Terms) -> Hello:
    """Return a worker's answer to a node's nonce."""
    return Hello(
        public_key=worker.key.public.hex(),
        signature=worker.key.sign(hello_digest(auth.chain_id, auth.nonce)).hex(),
        backend=worker.backend,
        kernels=KERNELS,
        capacity=terms.capacity,
        software=terms.software,
    )


def wei_of(text: str) -> int:
    """Read an amount that is only compared: what is none counts as nothing."""
    return int(text) if text.isdecimal() and text.isascii() else 0


def assignment_of(name: str, payload: JobPayload, chain_id: str, public: bytes) -> Assignment:
    """Return what a payload hands to the worker with this key, once its form holds.

    Says nothing about time, so that an old piece can still be opened.

    Raises:
        MalformedError: name, counts or blocks contradict the order.
        VerificationError: it belongs to another ledger, or the worker has no seat.
        UsageError: the task cannot be computed here.
    """
    spec = payload.spec
    if spec.chain_id != chain_id:
        raise VerificationError("ledger of the order", expected=chain_id, actual=spec.chain_id)
    due = piece_id(spec.job_id, spec.attempt, payload.microjob)
    if name != due or payload.attempt != spec.attempt:
        raise MalformedError("piece", f"it is called {name}, attempt {payload.attempt}, and the order makes it {due}")
    if all(seat.worker != public.hex() for seat in spec.pool):
        raise VerificationError("pool of the order", expected=f"a seat of {public.hex()}", actual="none")
    check_task(spec)
    counts = layout(spec)
    _check_blocks(payload, counts)
    slots = tuple(Slot(block, copy=False) for block in payload.blocks)
    return Assignment(spec, MicroJob(payload.microjob, payload.macrojob, seat_of(spec, payload.microjob), slots))


def check_offer(job: Job, assignment: Assignment, bounds: Bounds, now: int) -> None:
    """Check what matters only to a worker that is to compute now, UTC milliseconds.

    Raises:
        MalformedError: lengths or paths contradict the order.
        TooLargeError: it does not fit into this worker's memory.
        CommitmentError: the input is not the one that the order committed to.
        DeadlineError: lease or order have ended.
    """
    payload, spec = job.payload, assignment.spec
    if job.task_id != spec.job_id:
        raise MalformedError("piece", f"its task is {job.task_id}, and the order is {spec.job_id}")
    for what, path in (("path of the input", payload.input.path), ("path of the output", payload.output.path)):
        check_path(what, path)
    _check_lengths(payload, assignment, bounds)
    check_input_commitment(payload)
    if payload.lease_ends <= now:
        late = f"the lease ended {now - payload.lease_ends} ms ago by this machine's clock"
        raise DeadlineError(f"{late}: if that cannot be, set the clock")
    if spec.deadlines.commit <= now:
        raise DeadlineError(f"roots of this order were due at {spec.deadlines.commit}, it is {now}")


def check_path(what: str, path: str) -> None:
    """Check that a path leads to the node itself: a worker fetches nothing from elsewhere because a node says so.

    Raises:
        MalformedError: it names a host, climbs, or is no plain path.
    """
    plain = path.isascii() and path.isprintable() and not any(letter in path for letter in " \\#?%")
    if not plain or not path.startswith("/") or path.startswith("//") or "/../" in f"{path}/":
        raise MalformedError(what, f"{path[:100]!r} is no path of this node")


def check_input_commitment(payload: JobPayload) -> None:
    """Check that the order committed to this digest of the input.

    Raises:
        CommitmentError: it committed to another.
    """
    salt, digest = bytes.fromhex(payload.input.salt), bytes.fromhex(payload.input.digest)
    actual = field_commitment(sha256(payload.spec.job_id.encode()), "input", salt, digest).hex()
    if actual != payload.spec.input:
        raise CommitmentError("the order's commitment to its input", expected=payload.spec.input, actual=actual)


def input_length(task: Upscale) -> int:
    """Return how many bytes the samples of an order's input have."""
    return task.source_width * task.source_height * task.channels * (task.depth // 8)


def output_lengths(spec: JobSpec, counts: Layout, blocks: tuple[int, ...]) -> tuple[int, ...]:
    """Return how many bytes each block of a piece has."""
    return tuple(block_length(spec, counts, block) for block in blocks)


def _check_blocks(payload: JobPayload, counts: Layout) -> None:
    microjob, blocks = payload.microjob, payload.blocks
    if microjob >= counts.microjobs:
        raise MalformedError("piece", f"the order has {counts.microjobs} micro jobs, this would be number {microjob}")
    if len(blocks) != counts.slots_of(microjob):
        raise MalformedError("piece", f"{len(blocks)} blocks, the order gives it {counts.slots_of(microjob)}")
    if max(blocks) >= counts.blocks:
        raise MalformedError("piece", f"block {max(blocks)}, the order has {counts.blocks}")
    if len(set(blocks)) != len(blocks):
        raise MalformedError("piece", "it names a block twice")


def _check_lengths(payload: JobPayload, assignment: Assignment, bounds: Bounds) -> None:
    due = input_length(assignment.spec.task)
    if payload.input.length != due:
        raise MalformedError("input", f"{payload.input.length} bytes are offered, the order's samples are {due}")
    if due > bounds.input_bytes:
        raise TooLargeError("input", f"{due} bytes, this worker takes at most {bounds.input_bytes}")
    output = sum(output_lengths(assignment.spec, assignment.counts, payload.blocks))
    if payload.output.length != output:
        raise MalformedError("output", f"{payload.output.length} bytes are asked for, the blocks have {output}")
    if output > bounds.piece_bytes:
        raise TooLargeError("output", f"{output} bytes, this worker takes at most {bounds.piece_bytes}")
