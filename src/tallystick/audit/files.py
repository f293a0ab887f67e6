"""What is private to a job, once its owner shows it: disclosures, the delivered file, credentials, the input.

Knows digests, blocks and what credentials must name. How a file is decoded and how credentials are read are arguments.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tallystick.anchoring.claims import read_assertion
from tallystick.audit.bundle import Bundle, check_disclosure
from tallystick.audit.lifecycle import Facts
from tallystick.errors import CredentialError, ImageError, IncompleteError, UsageError, VerificationError
from tallystick.kernels.lanczos import KERNEL_NAME, resample_region
from tallystick.kernels.raster import Raster, block_bytes, raster_digest
from tallystick.ledger.payloads import Drawer
from tallystick.primitives.digests import sha256
from tallystick.slicing import block_region, layout
from tallystick.verification.verdict import Judgement, Reason

Decode = Callable[[bytes], Raster]
"""Decodes a picture file; raises ImageError."""

Credentials = Callable[[bytes, bytes | None], object]
"""Returns the job assertion of a file's Trusted credentials, embedded or in a sidecar; raises CredentialError."""


@dataclass(frozen=True, slots=True)
class Private:
    """The disclosed digests: input raster, output raster, delivered file, sidecar."""

    input: bytes
    output: bytes
    artifact: bytes
    sidecar: bytes


def check_disclosures(facts: Facts, bundle: Bundle) -> Private:
    """Open the four salted commitments of a job and return what stands behind them.

    The input's stands inside the order, whose digest cannot contain itself, so there the job's name takes its place.

    Raises:
        CommitmentError: salt and value do not give what was logged.
    """
    shown, published = bundle.disclosures, facts.published.payload
    name = sha256(facts.spec.job_id.encode("ascii"))
    return Private(
        input=check_disclosure(name, "input", facts.spec.input, shown.input),
        output=check_disclosure(facts.job, "output", facts.completed.payload.output, shown.output),
        artifact=check_disclosure(facts.job, "artifact", published.artifact, shown.artifact),
        sidecar=check_disclosure(facts.job, "sidecar", published.sidecar, shown.sidecar),
    )


def check_output(data: bytes, facts: Facts, judgement: Judgement, private: Private, decode: Decode | None) -> int:
    """Check the delivered file: its bytes, its raster, and every block of it; return how many blocks.

    Raises:
        IncompleteError: there is no decoder, so the picture inside cannot be judged.
        VerificationError: the file, its size, its raster or a block is another.
    """
    _expect("SHA-256 of the delivered file", private.artifact, sha256(data))
    if decode is None:
        raise IncompleteError("the file is the delivered one, but no decoder is at hand to look at its blocks")
    raster, task = decode(data), facts.spec.task
    actual = (raster.width, raster.height, raster.channels, raster.depth)
    expected = (task.target_width, task.target_height, task.channels, task.depth)
    if actual != expected:
        raise VerificationError("width, height, channels and depth of the output", expected=expected, actual=actual)
    _expect("digest of the output's raster", private.output, raster_digest(raster))
    counts = layout(facts.spec)
    for line in judgement.blocks:
        at = block_region(facts.spec, counts, line.block)
        digest = sha256(block_bytes(raster.samples[at.y0 : at.y1, at.x0 : at.x1]))
        _expect(f"digest of block {line.block} in the output", bytes.fromhex(line.accepted), digest)
    return len(judgement.blocks)


def check_sidecar(data: bytes, private: Private) -> None:
    """Check that a sidecar is the published one.

    Raises:
        VerificationError: its bytes are others.
    """
    _expect("SHA-256 of the sidecar", private.sidecar, sha256(data))


def check_credentials(output: bytes, sidecar: bytes | None, facts: Facts, credentials: Credentials | None) -> str:
    """Check what the credentials of the output name, embedded and beside it, and return which were looked at.

    Raises:
        IncompleteError: there is no reader for credentials, or no root to trust.
        CredentialError: they are not Trusted, or speak of another job.
    """
    if credentials is None:
        raise IncompleteError("content credentials were not read: no library, or no root in the trust file")
    _check_claim("embedded", credentials(output, None), facts)
    if sidecar is None:
        return "embedded credentials are Trusted; no sidecar shown"
    _check_claim("sidecar", credentials(output, sidecar), facts)
    return "embedded credentials and sidecar are Trusted"


def _check_claim(where: str, claim: object, facts: Facts) -> None:
    read, spec = read_assertion(claim), facts.spec
    due = {
        "job_id": spec.job_id,
        "chain_id": spec.chain_id,
        "completed_nid": facts.completed.entry.transaction.nid,
        "task_type": spec.task_type,
        "kernel": spec.task.kernel,
        "simulated": spec.simulated,
    }
    for name, expected in due.items():
        actual = getattr(read, name)
        if actual != expected:
            raise CredentialError(f"{name} in the {where} credentials", expected=expected, actual=actual)


def check_recomputed(source: Raster | None, facts: Facts, judgement: Judgement, private: Private) -> int:
    """Run every block again with the reference kernel and compare with what was accepted; return how many blocks.

    Raises:
        IncompleteError: the input is not shown, or the kernel is unknown here.
        VerificationError: the input is another, or a block differs.
    """
    spec = facts.spec
    if source is None:
        raise IncompleteError("no picture among the paths is the job's input: add INPUT to recompute the blocks")
    if spec.task.kernel != KERNEL_NAME:
        raise IncompleteError(f"the kernel {spec.task.kernel!r} is unknown here, so its blocks cannot be recomputed")
    _expect("digest of the input's raster", private.input, raster_digest(source))
    actual = (source.width, source.height, source.channels, source.depth)
    expected = (spec.task.source_width, spec.task.source_height, spec.task.channels, spec.task.depth)
    if actual != expected:
        raise VerificationError("width, height, channels and depth of the input", expected=expected, actual=actual)
    counts, size = layout(spec), (spec.task.target_width, spec.task.target_height)
    for line in judgement.blocks:
        samples = resample_region(source.samples, size, block_region(spec, counts, line.block))
        digest = sha256(block_bytes(samples))
        _expect(f"digest of block {line.block}, recomputed", digest, bytes.fromhex(line.accepted))
    return len(judgement.blocks)


def checked(judgement: Judgement) -> str:
    """Say how much of a job anybody looked at: an upheld slot may be one that nothing contradicted.

    A block is checked when the referee ran it, or when two executions of it agree.
    """
    ran = sum(line.reference is not None for line in judgement.blocks)
    agree = sum(
        line.reference is None and any(slot.reason is Reason.COPIES_AGREE for slot in line.slots)
        for line in judgement.blocks
    )
    unchecked = len(judgement.blocks) - ran - agree
    return f"of {len(judgement.blocks)} blocks {ran} recomputed, {agree} with agreeing copies, {unchecked} unchecked"


def labels_of(facts: Facts) -> tuple[str, ...]:
    """Return everything that a reader of the result must know about how it was made."""
    spec = facts.spec
    drawn = () if facts.drawn.payload.drawn_by is Drawer.BUYER else ("challenge: operator-drawn",)
    simulated = ("simulated",) if spec.simulated and "simulated: true" not in spec.labels else ()
    return tuple(sorted({*spec.labels, *drawn, *simulated}))


@dataclass(frozen=True, slots=True)
class Pictures:
    """Picture files as they were shown; ``output`` is the one whose name or place says that it is the output."""

    output: bytes | None
    others: tuple[bytes, ...]


def sort_pictures(bundle: Bundle, shown: Pictures, decode: Decode) -> tuple[bytes | None, Raster | None]:
    """Tell the delivered file from the job's input and return both, in this order; the input by its raster alone.

    Whatever is neither is taken for the delivered file, so that a damaged one does not hold; so is a picture that
    could be both (nothing was changed, at scale 1) while no other is the delivered one.

    Raises:
        UsageError: two pictures would be the same one of the two.
    """
    private = bundle.disclosures
    output = [] if shown.output is None else [shown.output]
    output += [data for data in shown.others if sha256(data).hex() == private.artifact.value]
    known = bool(output) or private.input.value != private.output.value
    source = []
    for data in shown.others:
        raster = _as_input(bundle, data, decode) if known and data not in output else None
        if raster is not None:
            source.append(raster)
        elif data not in output:
            output.append(data)
    if len(output) > 1 or len(source) > 1:
        raise UsageError("two pictures are shown for one: give at most the output and the input of a job")
    return output[0] if output else None, source[0] if source else None


def _as_input(bundle: Bundle, data: bytes, decode: Decode) -> Raster | None:
    try:
        raster = decode(data)
    except ImageError:
        return None
    return raster if raster_digest(raster).hex() == bundle.disclosures.input.value else None


def _expect(what: str, expected: bytes, actual: bytes) -> None:
    if actual != expected:
        raise VerificationError(what, expected=expected.hex(), actual=actual.hex())
