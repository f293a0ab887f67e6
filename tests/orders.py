"""Orders, workers and evidence for tests: seeded keys, an order that every rule accepts, and what workers did with it.

Knows: how an honest worker commits and opens, and the ways a dishonest one departs from it. Refuses to know:
the ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from tallystick import commitment
from tallystick.commitment import Commitment, Opening, Output
from tallystick.job import (
    ZERO_CLASS_ID,
    Deadlines,
    Grid,
    JobSpec,
    Placement,
    Price,
    Seat,
    TaskType,
    Upscale,
    VerificationClass,
    VerificationPolicy,
    spec_digest,
)
from tallystick.primitives.digests import sha256
from tallystick.primitives.keys import SigningKey
from tallystick.slicing import Plan, block_length, plan
from tallystick.verification.challenge import challenged, plan_seed
from tallystick.verification.verdict import Evidence, Submission

SEED: Final = sha256(b"seed")
CHALLENGE: Final = sha256(b"challenge")
META: Final = commitment.meta_digest("numpy", "lanczos3-fixed/v1")
CHAIN: Final = "tally-test-0123456789abcdef"
START: Final = 1_000_000
DEADLINES: Final = Deadlines(*(START + step * 1000 for step in (10, 20, 30, 40, 50, 60)))


def key(name: str) -> SigningKey:
    """A key that follows from its name."""
    return SigningKey(sha256(b"test key", name.encode()))


def seats(operators: str) -> tuple[Seat, ...]:
    """A pool by the letters of its operators: ``aab`` is two workers of operator a and one of operator b."""
    return tuple(
        Seat(key(f"worker {seat}").public.hex(), key(f"operator {operator}").public.hex())
        for seat, operator in enumerate(operators)
    )


def worker_key(spec: JobSpec, microjob: int) -> SigningKey:
    """The key that holds a micro job."""
    return key(f"worker {microjob % len(spec.pool)}")


def make_order(operators: str = "abc", **changes: Any) -> JobSpec:  # noqa: ANN401 - any field of any part
    """An order of 24 blocks in 8 micro jobs, 6 copies, 2 audits; ``changes`` name fields of the order or its parts."""
    parts: dict[str, Any] = {
        "task": Upscale("lanczos3-fixed/v1", "2", 48, 32, 96, 64, 3, 8),
        "grid": Grid(block=16, blocks_per_microjob=4, microjobs_per_macrojob=3),
        "policy": VerificationPolicy(
            law=VerificationClass.EXACT,
            placement=Placement.SPREAD,
            duplicates=250_000,
            audit=250_000,
            audit_blocks=1,
            ringers=0,
            colluding=0,
            gain="0",
            stake="40000",
            absence="3000",
        ),
        "price": Price("1200", "1000"),
        "deadlines": DEADLINES,
    }
    spec = JobSpec(
        version=1,
        chain_id=CHAIN,
        job_id="job-1",
        attempt=1,
        requester=key("requester").public.hex(),
        task_type=TaskType.IMAGE_UPSCALING,
        input="ab" * 32,
        pool=seats(operators),
        labels=(),
        simulated=False,
        **parts,
    )
    for name, part in parts.items():
        chosen = {field: changes.pop(field) for field in part.__struct_fields__ if field in changes}
        spec = msgspec.structs.replace(spec, **{name: msgspec.structs.replace(part, **chosen)})
    return msgspec.structs.replace(spec, **changes)


def sized(columns: int, rows: int, **changes: Any) -> JobSpec:  # noqa: ANN401 - as make_order
    """An order of so many columns and rows of 8-pixel blocks, at scale 1."""
    width, height = 8 * columns, 8 * rows
    shape = {"source_width": width, "source_height": height, "target_width": width, "target_height": height}
    return make_order(**{"block": 8, "scale": "1", **shape, **changes})


def truth(block: int) -> bytes:
    """Digest of a block's right bytes."""
    return sha256(b"block", block.to_bytes(4, "big"))


def right(spec: JobSpec, drawn: Plan, block: int) -> Output:
    """What an honest execution of a block delivers."""
    return Output(truth(block), block_length(spec, drawn.layout, block), META)


def forged(spec: JobSpec, drawn: Plan, block: int) -> Output:
    """Other bytes of the right length."""
    return Output(sha256(b"forged", block.to_bytes(4, "big")), block_length(spec, drawn.layout, block), META)


def openings_of(spec: JobSpec, index: int, outputs: tuple[Output, ...], who: SigningKey) -> tuple[Opening, ...]:
    """Salts and leaves that a worker opens for these outputs."""
    job = spec_digest(spec)
    secret = commitment.worker_secret(sha256(who.public), job)
    place = commitment.Place(job, index, who.public)
    salts = [commitment.leaf_salt(secret, job, index, slot) for slot in range(len(outputs))]
    law = spec.policy.law
    return tuple(
        Opening(salt, commitment.leaf_hash(place, slot, salt, law, output))
        for slot, (salt, output) in enumerate(zip(salts, outputs, strict=True))
    )


def commit_to(spec: JobSpec, index: int, openings: tuple[Opening, ...], who: SigningKey) -> Commitment:
    """The signed root over these leaves."""
    leaves = [opening.leaf for opening in openings]
    return commitment.commit(who, spec_digest(spec), index, bytes.fromhex(ZERO_CLASS_ID), leaves)


def honest(spec: JobSpec, drawn: Plan, index: int) -> Submission:
    """What an honest worker leaves behind for one micro job."""
    return computed(spec, drawn, index, {})


def computed(spec: JobSpec, drawn: Plan, index: int, instead: Mapping[int, Output]) -> Submission:
    """What a worker leaves behind that commits to, delivers and opens these outputs in place of the right ones."""
    who = key(f"worker {drawn.microjobs[index].seat}")
    outputs = tuple(
        instead.get(slot, right(spec, drawn, each.block)) for slot, each in enumerate(drawn.microjobs[index].slots)
    )
    openings = openings_of(spec, index, outputs, who)
    return Submission(who.public, commit_to(spec, index, openings, who), outputs, openings)


def forging(spec: JobSpec, drawn: Plan, index: int, slots: tuple[int, ...] | None = None) -> Submission:
    """A micro job whose worker stands to forged bytes of these slots, or of all."""
    held = drawn.microjobs[index].slots
    chosen = range(len(held)) if slots is None else slots
    return computed(spec, drawn, index, {slot: forged(spec, drawn, held[slot].block) for slot in chosen})


Behave = Callable[[JobSpec, Plan, int], Submission]


def evidence_of(
    spec: JobSpec, behave: Mapping[int, Behave] | None = None, seed: bytes = SEED, chal: bytes = CHALLENGE
) -> Evidence:
    """Evidence of a job whose workers are honest but in the named micro jobs."""
    chosen, drawn = behave or {}, plan(spec, seed)
    return Evidence(
        spec=spec,
        job=spec_digest(spec),
        plan=drawn,
        challenged=challenged(spec, drawn, chal),
        submissions=tuple(chosen.get(index, honest)(spec, drawn, index) for index in range(drawn.layout.microjobs)),
    )


def references(
    evidence: Evidence, wanted: Callable[[Evidence, Mapping[int, bytes]], tuple[int, ...]]
) -> dict[int, bytes]:
    """Play the referee until nothing is wanted."""
    known: dict[int, bytes] = {}
    while blocks := wanted(evidence, known):
        known |= {block: truth(block) for block in blocks}
    return known


def seed_of(spec: JobSpec, secret: bytes, header: bytes) -> bytes:
    """The plan's seed, as the coordinator draws it."""
    return plan_seed(spec_digest(spec), secret, header)
