"""The simulated disk keeps what the ports promise and no more: what was flushed survives, the rest may not."""

from __future__ import annotations

import random

from tallystick.primitives.digests import sha256
from tallystick.simulation.disk import Disk, SimulatedBlobs


def test_a_power_cut_takes_only_blobs_that_were_not_flushed() -> None:
    disk = Disk()
    blobs = SimulatedBlobs(disk)
    flushed, unflushed = ([bytes([start, n]) * 20 for n in range(40)] for start in (0, 1))
    for value in flushed:
        blobs.put(sha256(value), value)
    blobs.flush()
    blobs.flush()
    assert disk.acts.count("blob.flush") == 1
    for value in unflushed:
        blobs.put(sha256(value), value)
    disk.restart(random.Random(1))
    assert [blobs.get(sha256(value)) for value in flushed] == flushed
    left = sum(blobs.get(sha256(value)) == value for value in unflushed)
    assert 10 < left < 30
    # What survived one power cut lies on the disk, and survives the next.
    disk.restart(random.Random(2))
    assert sum(blobs.get(sha256(value)) == value for value in unflushed) == left
