"""What this machine itself offers: reference kernels on numpy, its clock, its entropy."""

from __future__ import annotations

import os
import time

from tallystick.job import JobSpec
from tallystick.kernels.lanczos import Region, resample_region
from tallystick.kernels.raster import Samples, block_bytes
from tallystick.node.ordering import BACKEND


class NumpyExecutor:
    """Runs blocks in the calling thread; numpy lets other threads run meanwhile."""

    backend = BACKEND

    def run(self, spec: JobSpec, source: Samples, region: Region) -> bytes:
        """Return the bytes of one output block."""
        return block_bytes(resample_region(source, (spec.task.target_width, spec.task.target_height), region))


class SystemClock:
    """Wall time of this machine."""

    def now(self) -> int:
        """Return UTC milliseconds."""
        return time.time_ns() // 1_000_000


class SystemEntropy:
    """Randomness of this machine."""

    def token(self, size: int) -> bytes:
        """Return so many unpredictable bytes."""
        return os.urandom(size)
