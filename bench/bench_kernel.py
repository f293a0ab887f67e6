"""CPU time of the bare kernel for several tilings, beside decoding and encoding, which are no part of it.

Run `python bench/bench_kernel.py [SIDE]` (default 4096: an RGB picture of 4096 x 4096 to 8192 x 8192). Prints CPU
seconds, nanoseconds per output sample and ratios to the fastest tiling, all from this one run.
"""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from tallystick.adapters.png import write_png
from tallystick.kernels.lanczos import Region, resample, resample_region
from tallystick.kernels.raster import Raster, Samples

TILINGS = (128, 256, 512)


def picture(side: int) -> Samples:
    """Smooth waves with fine noise, RGB."""
    y, x = np.ogrid[:side, :side]
    waves = [120 + 80 * np.sin(x / (37 + 9 * c)) * np.cos(y / (53 - 7 * c)) for c in range(3)]
    noise = np.random.default_rng(0).integers(0, 24, (side, side, 3))
    return (np.stack(waves, axis=-1) + noise).astype(np.uint8)


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """CPU seconds and wall seconds of one call."""
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - cpu, time.perf_counter() - wall


def by_two_threads(source: Samples, out: int) -> None:
    """The same tiles by two threads, as two workers would take them."""
    parts = [Region(x, y, min(x + 256, out), min(y + 256, out)) for y in range(0, out, 256) for x in range(0, out, 256)]
    with ThreadPoolExecutor(2) as pool:
        for _ in pool.map(lambda part: resample_region(source, (out, out), part), parts):
            pass


def main() -> None:
    """Measure and print."""
    side = int(sys.argv[1]) if len(sys.argv) > 1 else 4096
    out, source = 2 * side, picture(side)
    samples = out * out * 3
    resample(source[:64, :64], (128, 128))
    # Two rounds, the better of each: a first touch of fresh memory is no property of a tiling.
    rounds = [{tile: timed(lambda tile=tile: resample(source, (out, out), tile))[0] for tile in TILINGS} for _ in "12"]
    cpu = {tile: min(figures[tile] for figures in rounds) for tile in TILINGS}
    fastest = min(cpu.values())
    print(f"bare kernel, {side} x {side} RGB to {out} x {out}")
    for tile, seconds in cpu.items():
        print(
            f"  tiles of {tile}: {seconds:.2f} CPU s, {seconds / samples * 1e9:.1f} ns/sample, x{seconds / fastest:.2f}"
        )
    one, two = timed(lambda: resample(source, (out, out)))[1], timed(lambda: by_two_threads(source, out))[1]
    print(f"  two threads: {one / two:.2f} times as fast as one ({one:.2f} s, {two:.2f} s)")
    result = Raster(resample(source, (out, out)))
    encoding = timed(lambda: write_png(io.BytesIO(), result))[0]
    print(f"PNG encoding of the result, apart: {encoding:.2f} CPU s, x{encoding / fastest:.2f} of the kernel")


if __name__ == "__main__":
    main()
