"""CPU time of the bare kernel for several tilings, and PNG coding beside it: what the pipeline is measured against.

Prints CPU seconds, nanoseconds per output sample and ratios to the fastest tiling, an RGB picture upscaled twice.
"""

from __future__ import annotations

import io
import time
from concurrent.futures import ThreadPoolExecutor

from bench._job import picture
from bench._meter import in_thread
from tallystick.adapters.png import write_png
from tallystick.kernels.lanczos import Region, resample, resample_region
from tallystick.kernels.raster import Raster, Samples

TILINGS = (128, 256, 512)


def tilings(source: Samples) -> dict[int, float]:
    """CPU seconds of the kernel over a whole picture, scale 2, by side of the tiles; each in a thread of its own."""
    size = (2 * source.shape[1], 2 * source.shape[0])
    in_thread(lambda: resample(source, size, TILINGS[-1]))  # the first touch of fresh memory is no tiling's property
    return {tile: in_thread(lambda tile=tile: resample(source, size, tile)) for tile in TILINGS}


def by_threads(source: Samples, threads: int) -> float:
    """Wall seconds of the same tiles taken by so many threads, as workers would take them."""
    out = 2 * source.shape[0]
    parts = [Region(x, y, min(x + 256, out), min(y + 256, out)) for y in range(0, out, 256) for x in range(0, out, 256)]
    begun = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(lambda part: resample_region(source, (out, out), part), parts):
            pass
    return time.perf_counter() - begun


def main(side: int = 4096, rounds: int = 3) -> dict[str, object]:
    """Measure and print."""
    source = picture(side)
    samples = 4 * side * side * 3
    measured = [tilings(source) for _ in range(rounds)]
    # The best of each: a first touch of fresh memory is no property of a tiling.
    cpu = {tile: min(figures[tile] for figures in measured) for tile in TILINGS}
    fastest = min(cpu.values())
    print(f"bare kernel, {side} x {side} RGB to {2 * side} x {2 * side}")
    for tile, seconds in cpu.items():
        nanoseconds = seconds / samples * 1e9
        print(f"  tiles of {tile}: {seconds:.2f} CPU s, {nanoseconds:.1f} ns/sample, x{seconds / fastest:.2f}")
    one, two = (min(by_threads(source, threads) for _ in range(rounds)) for threads in (1, 2))
    print(f"  two threads: {one / two:.2f} times as fast as one ({one:.2f} s, {two:.2f} s of wall time)")
    result = Raster(resample(source, (2 * side, 2 * side)))
    encoding = in_thread(lambda: write_png(io.BytesIO(), result))
    print(f"PNG coding of the result, apart: {encoding:.2f} CPU s, x{encoding / fastest:.2f} of the kernel")
    return {
        "cpu_s_by_tile": {str(tile): round(seconds, 3) for tile, seconds in cpu.items()},
        "two_threads_speedup": round(one / two, 2),
        "png_coding_over_kernel": round(encoding / fastest, 2),
    }
