"""Simulated pictures and content credentials: enough for a node to read, write and sign; all of it says simulated."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import msgspec
import numpy as np

from tallystick.anchoring.claims import JobClaim
from tallystick.errors import ImageError
from tallystick.job import JobSpec
from tallystick.kernels.lanczos import Region, resample_region
from tallystick.kernels.raster import Raster, Samples, block_bytes, samples_from_bytes
from tallystick.primitives import canonical
from tallystick.primitives.digests import sha256
from tallystick.simulation.disk import Disk

_MARK: Final = b"simulated picture\n"


class _Shape(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    width: int
    height: int
    channels: int
    depth: int


@dataclass(frozen=True, slots=True)
class SimulatedPicture:
    """A decoded picture."""

    raster: Raster
    icc_profile: bytes | None = None


def spell_picture(samples: Samples) -> bytes:
    """Spell samples as a simulated picture file: a mark, the shape as a line of canonical JSON, the samples."""
    height, width, channels = samples.shape
    shape = _Shape(width, height, channels, samples.dtype.itemsize * 8)
    return _MARK + canonical.encode(shape) + b"\n" + block_bytes(samples)


def parse_picture(data: bytes) -> Raster:
    """Read it back.

    Raises:
        ImageError: it is no simulated picture.
    """
    head, _, samples = data.removeprefix(_MARK).partition(b"\n")
    if not data.startswith(_MARK):
        raise ImageError("the picture", "it is not a simulated one")
    shape = canonical.decode(head, _Shape, what="shape of a simulated picture")
    size = shape.width * shape.height * shape.channels * (shape.depth // 8)
    return Raster(samples_from_bytes(samples[:size], shape.height, shape.width, shape.channels, shape.depth))


def noise(seed: int, width: int, height: int, channels: int = 3) -> bytes:
    """Return a simulated picture of seeded noise, in which no two blocks are alike."""
    return spell_picture(np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8))


class _Sink:
    """Collects rows and becomes a file at the end."""

    def __init__(self, disk: Disk, path: str) -> None:
        self._disk, self._path = disk, path
        self._rows: list[Samples] = []

    def write(self, rows: Samples) -> None:
        """Append rows."""
        self._rows.append(rows.copy())

    def finish(self) -> None:
        """Complete the file; it is not flushed before it is moved into place."""
        whole: Any = np.concatenate(self._rows)
        self._disk.unflushed.add(self._path)
        self._disk.act("image.finish", partial(self._disk.files.update, {self._path: spell_picture(whole)}))

    def abort(self) -> None:
        """Give the file up."""
        self._rows.clear()


@dataclass(frozen=True, slots=True)
class SimulatedImages:
    """The Images port."""

    disk: Disk

    def decode(self, data: bytes) -> SimulatedPicture:
        """Return the decoded picture."""
        return SimulatedPicture(parse_picture(data))

    def writer(self, path: str, spec: JobSpec, icc_profile: bytes | None) -> _Sink:  # noqa: ARG002 - the port's
        """Begin the output file of a job."""
        return _Sink(self.disk, path)


@dataclass(frozen=True, slots=True)
class SimulatedCredentials:
    """The Credentials port: the claim in the open, no signature."""

    disk: Disk

    def embed(self, source: str, target: str, claim: JobClaim, origin: str) -> None:
        """Write the picture with its claim behind it."""
        if origin not in self.disk.files:
            raise FileNotFoundError(origin)
        data = self.disk.files[source] + b"\nsimulated: true\n" + canonical.encode(claim)
        self.disk.unflushed.add(target)
        self.disk.act("credentials.embed", partial(self.disk.files.update, {target: data}))

    def sidecar(self, asset: str, claim: JobClaim, origin: str) -> bytes:  # noqa: ARG002 - the port's
        """Return the claim over the delivered bytes."""
        digest = sha256(self.disk.files[asset]).hex()
        return b"simulated: true\n" + canonical.encode({"asset": digest, "claim": claim})


class SimulatedExecutor:
    """The reference kernel, which computes a region once and remembers it; several worlds may share one."""

    backend = "simulated"

    def __init__(self) -> None:
        """Remember nothing yet."""
        self._known: dict[tuple[bytes, tuple[int, int], Region], bytes] = {}
        self._source: Samples | None = None
        self._digest = b""
        self.computed = 0

    def run(self, spec: JobSpec, source: Samples, region: Region) -> bytes:
        """Return the bytes of one output block."""
        if source is not self._source:
            self._source, self._digest = source, sha256(source.tobytes())
        size = (spec.task.target_width, spec.task.target_height)
        key = (self._digest, size, region)
        if key not in self._known:
            self.computed += 1
            self._known[key] = block_bytes(resample_region(source, size, region))
        return self._known[key]
