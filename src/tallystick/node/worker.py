"""A worker's own machine: computes its slots, commits before anyone looks, opens after the challenge.

Pure: the executor is an argument, nonces derive from the worker's key, so a restart repeats every byte.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

from tallystick import commitment
from tallystick.job import ZERO_CLASS_ID, JobSpec, spec_digest
from tallystick.kernels.lanczos import Region
from tallystick.ledger.payloads import SubmitResult
from tallystick.primitives import merkle
from tallystick.primitives.keys import SigningKey
from tallystick.slicing import Layout, MicroJob, block_length, block_region, layout

RunBlock = Callable[[Region], bytes]
Upload = Callable[[int, bytes], bytes]
"""Takes a slot's number and its bytes; returns their SHA-256, since the node hashes what arrives anyway."""


@dataclass(frozen=True)
class Assignment:
    """One micro job handed to one worker; what follows from the order is found once, at first use."""

    spec: JobSpec
    microjob: MicroJob

    @cached_property
    def job(self) -> bytes:
        """The order's digest."""
        return spec_digest(self.spec)

    @cached_property
    def counts(self) -> Layout:
        """The order's grid."""
        return layout(self.spec)


@dataclass(frozen=True, slots=True)
class Posted:
    """What a worker says when it is done: the result to be logged, and the meta digest of its leaves."""

    payload: SubmitResult
    meta: bytes


class Laborer(Protocol):
    """A worker as the node sees it; dishonest ones live in the simulation."""

    @property
    def key(self) -> SigningKey:
        """The key it signs with."""
        ...

    @property
    def backend(self) -> str:
        """What it says it runs."""
        ...

    def work(self, assignment: Assignment, run: RunBlock, upload: Upload) -> Posted | None:
        """Compute, upload and commit one micro job; None when it will never post a root."""
        ...

    def open(self, assignment: Assignment, outputs: Sequence[bytes]) -> tuple[commitment.Opening, ...] | None:
        """Reveal salts and leaves of one micro job, given the digests it delivered; None when it stays silent."""
        ...


@dataclass(frozen=True, slots=True)
class Worker:
    """An honest worker."""

    key: SigningKey
    secret: bytes = field(repr=False)
    backend: str

    def work(self, assignment: Assignment, run: RunBlock, upload: Upload) -> Posted | None:
        """Compute every slot, hand the bytes over, and sign the root over the salted leaves."""
        slots, meta = range(len(assignment.microjob.slots)), self.meta(assignment)
        # First all kernels, then all uploads: a kernel leaves nothing else in the processor's caches, and after each
        # one hashing and writing would begin cold. The blocks of one micro job wait in memory for that.
        blocks = [run(region) for region in [self.region(assignment, slot) for slot in slots]]
        outputs = [commitment.Output(upload(slot, data), len(data), meta) for slot, data in enumerate(blocks)]
        return self.post(assignment, self.leaves(assignment, outputs))

    def region(self, assignment: Assignment, slot: int) -> Region:
        """Return the output pixels of one slot."""
        return block_region(assignment.spec, assignment.counts, assignment.microjob.slots[slot].block)

    def meta(self, assignment: Assignment) -> bytes:
        """Return the meta digest of this worker's leaves."""
        return commitment.meta_digest(self.backend, assignment.spec.task.kernel)

    def openings(self, assignment: Assignment, outputs: Sequence[commitment.Output]) -> tuple[commitment.Opening, ...]:
        """Return salt and leaf of every slot for these outputs."""
        return tuple(map(commitment.Opening, *self._salted(assignment, outputs)))

    def leaves(self, assignment: Assignment, outputs: Sequence[commitment.Output]) -> list[bytes]:
        """Return the leaf hashes for these outputs."""
        return self._salted(assignment, outputs)[1]

    def _salted(self, assignment: Assignment, outputs: Sequence[commitment.Output]) -> tuple[list[bytes], list[bytes]]:
        """Return the salts and the leaf hashes of every slot."""
        job, index, law = assignment.job, assignment.microjob.index, assignment.spec.policy.law
        salts = commitment.leaf_salts(commitment.worker_secret(self.secret, job), job, index, len(outputs))
        return salts, commitment.leaf_hashes(commitment.Place(job, index, self.key.public), salts, law, outputs)

    def post(self, assignment: Assignment, leaves: Sequence[bytes]) -> Posted:
        """Sign the root over leaf hashes."""
        return self.post_root(assignment, merkle.root(leaves))

    def post_root(self, assignment: Assignment, root: bytes) -> Posted:
        """Sign a root over as many leaves as the micro job has slots."""
        place = commitment.Place(assignment.job, assignment.microjob.index, self.key.public)
        size, class_id = len(assignment.microjob.slots), bytes.fromhex(ZERO_CLASS_ID)
        signature = self.key.sign(commitment.commitment_digest(place, size, class_id, root))
        payload = SubmitResult(
            task_id=assignment.spec.job_id,
            attempt=assignment.spec.attempt,
            microjob=place.microjob,
            tree_size=size,
            class_id=ZERO_CLASS_ID,
            worker_address=self.key.address,
            result_hash=root.hex(),
            signature=signature.hex(),
        )
        return Posted(payload, self.meta(assignment))

    def open(self, assignment: Assignment, outputs: Sequence[bytes]) -> tuple[commitment.Opening, ...] | None:
        """Reveal salts and leaves; an honest worker's delivered digests are the ones it committed to."""
        meta = self.meta(assignment)
        delivered = [
            commitment.Output(digest, block_length(assignment.spec, assignment.counts, each.block), meta)
            for each, digest in zip(assignment.microjob.slots, outputs, strict=True)
        ]
        return self.openings(assignment, delivered)
