"""From accepted blocks to delivered files: the output, its content credentials, its sidecar."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tallystick import __version__
from tallystick.anchoring.claims import JobClaim
from tallystick.job import JobSpec
from tallystick.kernels.raster import RasterDigest, Samples, samples_from_bytes
from tallystick.node.ports import Credentials, Desk, ImageSink
from tallystick.slicing import Layout, block_region

_BYTE_BITS = 8

FetchBlock = Callable[[int], bytes]
"""Returns the accepted bytes of a block."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """Digests of what was delivered."""

    artifact: bytes
    sidecar: bytes


def assemble(spec: JobSpec, counts: Layout, fetch: FetchBlock, sink: ImageSink) -> bytes:
    """Write the output row of blocks by row of blocks, and return its raster digest; memory holds one row."""
    task = spec.task
    digest = RasterDigest(task.target_width, task.target_height, task.channels, task.depth)
    for row in range(counts.rows):
        strip = _strip(spec, counts, row, fetch)
        digest.update(strip)
        sink.write(strip)
    sink.finish()
    return digest.digest()


def _strip(spec: JobSpec, counts: Layout, row: int, fetch: FetchBlock) -> Samples:
    task = spec.task
    first = block_region(spec, counts, row * counts.columns)
    shape = (first.height, task.target_width, task.channels)
    strip: Samples = np.empty(shape, np.uint8) if task.depth == _BYTE_BITS else np.empty(shape, np.uint16)
    for column in range(counts.columns):
        block = row * counts.columns + column
        region = block_region(spec, counts, block)
        strip[:, region.x0 : region.x1] = samples_from_bytes(
            fetch(block), region.height, region.width, task.channels, task.depth
        )
    return strip


def claim(spec: JobSpec, completed_nid: str, title: str) -> JobClaim:
    """Return what the content credentials say."""
    return JobClaim(
        job_id=spec.job_id,
        chain_id=spec.chain_id,
        completed_nid=completed_nid,
        task_type=spec.task_type,
        kernel=spec.task.kernel,
        workers=len(spec.pool),
        software_version=__version__,
        simulated=spec.simulated,
        title=title,
    )


def publish(
    desk: Desk, credentials: Credentials, statement: JobClaim, *, plain: str, origin: str, output: str
) -> Delivered:
    """Sign the plain output into place, then the sidecar over the delivered bytes; both are durable on return."""
    signed = f"{plain}.signed"
    credentials.embed(plain, signed, statement, origin)
    sidecar = credentials.sidecar(signed, statement, origin)
    desk.replace(signed, output)
    desk.write(sidecar_path(output), sidecar)
    return Delivered(desk.digest(output), desk.digest(sidecar_path(output)))


def sidecar_path(output: str) -> str:
    """Where the sidecar of an output lies."""
    return f"{output}.c2pa"


def bundle_path(output: str) -> str:
    """Where the bundle of an output lies."""
    return f"{output}.bundle.json"
