"""Time to the first help text, beside an interpreter that does nothing (budget: 250 ms).

Which modules may not load is a test (`tests/unit/test_cli_imports.py`); how long the rest takes is measured here.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

RUNS = 15
BUDGET_MS = 250.0


def median_ms(command: list[str]) -> float:
    """Median wall time of ``RUNS`` runs after one that warms the disk cache, in milliseconds."""
    taken = []
    for _ in range(RUNS + 1):
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        taken.append((time.perf_counter() - started) * 1000)
    return statistics.median(taken[1:])


def main() -> None:
    """Print both medians, their ratio and what is left of the budget."""
    tally = Path(sys.executable).with_name("tally")
    bare, shown = median_ms([sys.executable, "-c", "pass"]), median_ms([str(tally), "--help"])
    print(f"  python -c pass   {bare:7.1f} ms")
    print(f"  tally --help     {shown:7.1f} ms   {shown / bare:.1f} x the bare interpreter")
    print(f"  budget           {BUDGET_MS:7.1f} ms   {shown / BUDGET_MS:.0%} used")
