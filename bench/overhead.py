"""What proof costs over the bare kernel: slicing, commitment and log (target: a tenth), everything else by name.

One RGB picture is upscaled twice by the real node of a fresh home: real ports, engine, workers, disk. CPU seconds of
the whole process (getrusage), one computing thread; parts by the CPU clocks of the threads that ran them. The bare
kernel is the fastest unsliced tiling of the same round, in a thread of its own. Rounds are interleaved; a share is the
median of the rounds' shares, and the least seconds of any round over the least bare kernel of any round stands beside.
"""

from __future__ import annotations

import io
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import _job as part
from bench.kernel import tilings
from tallystick.adapters.png import write_png
from tallystick.job import PPM
from tallystick.kernels.raster import Raster, Samples

TARGET = 0.10
INSIDE = (part.PLAN, part.HASH, part.COMMITMENT, part.OPENINGS, part.ENTRIES, part.STORE, part.TILES)
BESIDE = (part.UPLOAD, part.DIGEST, part.KEEPING, part.COORDINATION, part.CHECK, part.LOOP)
AFTER = (part.ASSEMBLY, part.PNG, part.CREDENTIALS, part.PUBLISHING, part.BUNDLE)
PLAIN = {"duplicates": 0, "audit": 0}
CHECKED: dict[str, dict[str, Any]] = {
    "duplicates at 1/16": {"duplicates": 62_500, "audit": 0},
    "audits at 0.13, one block of a micro job": {"duplicates": 0, "audit": 130_000},
    "audits at 1": {"duplicates": 0, "audit": PPM},
}


@dataclass(frozen=True, slots=True)
class Round:
    """What one round measured, in CPU seconds; ``bare`` by side of the tiles, ``wall`` by computing threads."""

    bare: dict[int, float]
    parts: dict[str, float]
    plain: float
    checking: dict[str, float]
    wall: dict[int, float]


def main(side: int = 4096, rounds: int = 7, block: int = 256) -> dict[str, object]:
    """Measure and print."""
    source = part.picture(side)
    file = io.BytesIO()
    write_png(file, Raster(source), level=1)
    measured = [_round(source, file.getvalue(), block) for _ in range(rounds)]
    delivered = _delivered(file.getvalue(), block)
    return _report(measured, delivered)


def _job(data: bytes, then: Callable[[part.Job], object], *, threads: int = 1, **wishes: Any) -> part.Job:  # noqa: ANN401
    with tempfile.TemporaryDirectory() as folder, part.opened(Path(folder), data, threads=threads, **wishes) as job:
        job.order(data)
        then(job)
        return job


def _cost(job: part.Job) -> float:
    """CPU seconds from the order to the settlement, without decoding and without the counting itself."""
    return job.cpu["order"] + job.cpu["work"] - job.meter.seconds[part.DECODE] - job.meter.cost


def _checking(job: part.Job) -> float:
    """The referee's share over everything else of one and the same job: two jobs differ by more than small checks."""
    referee = job.meter.whole(part.REFEREE)
    return referee / (_cost(job) - referee)


def _round(source: Samples, data: bytes, block: int) -> Round:
    bare = tilings(source)
    plain = _job(data, part.Job.work, block=block, **PLAIN)
    two = _job(data, part.Job.work, block=block, threads=2, **PLAIN)
    checking = {name: _checking(_job(data, part.Job.work, block=block, **wishes)) for name, wishes in CHECKED.items()}
    wall = {1: plain.wall["work"], 2: two.wall["work"]}
    return Round(bare, plain.meter.seconds, _cost(plain), checking, wall)


def _delivered(data: bytes, block: int) -> dict[str, float]:
    """Parts of one job that was delivered."""

    def whole(job: part.Job) -> None:
        job.work()
        job.deliver()

    return _job(data, whole, block=block, **PLAIN).meter.seconds


def _over(rounds: Sequence[Round], seconds: Callable[[Round], float]) -> float:
    """Median over the rounds of some seconds over the bare kernel of the same round, in its fastest tiling."""
    return statistics.median(seconds(each) / min(each.bare.values()) for each in rounds)


def _together(parts: dict[str, float], names: Sequence[str]) -> float:
    return sum(parts.get(name, 0.0) for name in names)


def _report(rounds: Sequence[Round], delivered: dict[str, float]) -> dict[str, object]:
    by_round = [_together(each.parts, INSIDE) / min(each.bare.values()) for each in rounds]
    inside, whole = statistics.median(by_round), _over(rounds, lambda each: each.plain) - 1
    bare = min(min(each.bare.values()) for each in rounds)
    least = min(_together(each.parts, INSIDE) for each in rounds) / bare
    shares = {name: _over(rounds, lambda each, n=name: each.parts.get(n, 0.0)) for name in (*INSIDE, *BESIDE)}
    after = {name: delivered.get(name, 0.0) / bare for name in (part.DECODE, *AFTER)}
    checks = {name: statistics.median(each.checking[name] for each in rounds) for name in CHECKED}
    wall = {threads: min(each.wall[threads] for each in rounds) for threads in (1, 2)}
    print(f"bare kernel in its fastest tiling: {bare:.2f} CPU s at best; shares are medians of {len(rounds)} rounds")
    print("slicing + commitment + log:")
    _lines({name: shares[name] for name in INSIDE})
    print(f"  {'together':45} {inside:6.1%}   target {TARGET:.0%}: {'reached' if inside <= TARGET else 'missed'}")
    print(f"  {'by round':45} {', '.join(f'{ratio:.1%}' for ratio in by_round)}")
    print(f"  {'least of all rounds over least bare kernel':45} {least:6.1%}")
    print("also in the job, not in that figure:")
    _lines({name: shares[name] for name in BESIDE})
    print(f"  {'whole job, order to settlement, over the kernel':45} {whole:6.1%}, without decoding")
    print("before the order and after the settlement, measured once:")
    _lines(after)
    print("checking, the referee over the rest of the same job:")
    _lines(checks)
    print(f"wall time of the job: {wall[1]:.2f} s with one computing thread, {wall[2]:.2f} s with two")
    return {
        "bare_kernel_cpu_s": round(bare, 3),
        "slicing_commitment_log": round(inside, 4),
        "by_round": [round(ratio, 4) for ratio in by_round],
        "least_over_least": round(least, 4),
        "parts_inside": _rounded({name: shares[name] for name in INSIDE}),
        "parts_beside": _rounded({name: shares[name] for name in BESIDE}),
        "whole_job_over_kernel": round(whole, 4),
        "before_and_after": _rounded(after),
        "checking_over_the_rest": _rounded(checks),
        "wall_s_by_threads": {str(threads): round(seconds, 2) for threads, seconds in wall.items()},
    }


def _lines(shares: dict[str, float]) -> None:
    for name, share in shares.items():
        print(f"  {name:45} {share:6.1%}")


def _rounded(shares: dict[str, float]) -> dict[str, float]:
    return {name: round(share, 4) for name, share in shares.items()}
