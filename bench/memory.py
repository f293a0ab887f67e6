"""Peak memory and disk of `tally submit` on a 100-megapixel picture (target: at most 1 GB above the output's samples).

The command runs as a user runs it, in a process of its own and with a home of its own; its peak is the kernel's figure
(ru_maxrss). The same command on a tiny picture says what Python and its libraries take by themselves. Disk is the most
that home, output, sidecar, bundle and temporary files together held at one of the looks, ten a second.
"""

from __future__ import annotations

import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from bench._command import Ended, run
from tallystick.adapters.png import PngWriter

ALLOWANCE = 10**9
MEGABYTE = 10**6
_ROWS = 100


@dataclass(frozen=True, slots=True)
class Order:
    """What one order took, and the most bytes its files occupied."""

    ended: Ended
    disk: int


def main(side: int = 10_000) -> dict[str, object]:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tiny, big = _order(folder, "tiny", 16), _order(folder, "big", side)
    samples = 4 * side * side * 3
    kept = big.ended.peak - samples <= ALLOWANCE
    print(f"{side} x {side} RGB to {2 * side} x {2 * side}: the output's samples are {samples / MEGABYTE:,.0f} MB")
    print(f"  peak resident set {big.ended.peak / MEGABYTE:8,.0f} MB: the bound is {'kept' if kept else 'broken'}")
    print(f"  bound             {(samples + ALLOWANCE) / MEGABYTE:8,.0f} MB")
    print(f"  the same command  {tiny.ended.peak / MEGABYTE:8,.0f} MB for a picture of 16 x 16")
    print(f"  most on disk      {big.disk / MEGABYTE:8,.0f} MB")
    print(f"  time              {big.ended.wall:8,.0f} s of wall, {big.ended.cpu:,.0f} s of CPU")
    return {
        "input_pixels": side * side,
        "output_samples_bytes": samples,
        "peak_rss_bytes": big.ended.peak,
        "peak_rss_of_a_tiny_job_bytes": tiny.ended.peak,
        "peak_over_output_samples": round(big.ended.peak / samples, 3),
        "disk_peak_bytes": big.disk,
        "wall_s": round(big.ended.wall),
        "cpu_s": round(big.ended.cpu),
    }


def write_picture(path: Path, side: int) -> None:
    """Write a smooth RGB picture, strip by strip: neither the writer nor deflate shall be what is measured."""
    x = np.arange(side, dtype=np.float32)
    across = np.stack([np.sin(x / (997 + 31 * c)) for c in range(3)], axis=-1)
    with path.open("wb") as file, PngWriter(file, side, side, 3, 8) as writer:
        for top in range(0, side, _ROWS):
            y = np.arange(top, min(top + _ROWS, side), dtype=np.float32)[:, None, None]
            writer.write((127 + 60 * across[None] + 60 * np.cos(y / 1013)).astype(np.uint8))


def _order(folder: Path, name: str, side: int) -> Order:
    """Order one upscale by the command line, in a folder of its own."""
    place = folder / name
    scratch = place / "scratch"
    scratch.mkdir(parents=True)
    source, output = place / "input.png", place / "output.png"
    write_picture(source, side)
    command = [sys.executable, "-m", "tallystick", "submit", "upscale", str(source), "--out", str(output), "--yes"]
    with _Disk(place) as disk:
        ended = run(command, {"TALLY_HOME": str(place / "home"), "TMPDIR": str(scratch)})
    return Order(ended, disk.peak)


class _Disk:
    """Looks at a folder ten times a second and keeps the largest sum of what its files occupy."""

    def __init__(self, folder: Path) -> None:
        self.peak = 0
        self._folder, self._done = folder, threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.1):
            self.peak = max(self.peak, self._occupied())

    def _occupied(self) -> int:
        total = 0
        for path in self._folder.rglob("*"):
            try:
                total += path.lstat().st_blocks * 512
            except FileNotFoundError:
                continue
        return total
