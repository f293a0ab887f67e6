"""Time to the first help text and to a verdict on a bundle, over an interpreter that does nothing (help: 250 ms).

Which modules may not load is a test (`tests/unit/test_cli_imports.py`); how long the rest takes is measured here, the
commands in turn. On a busy machine only the CPU figures mean something.
"""

from __future__ import annotations

import os
import statistics
import sys
from pathlib import Path

from bench._command import Ended, run

RUNS = 10
BUDGET_MS = 250.0
SAMPLES = Path(__file__).resolve().parent.parent / "docs" / "samples"


def main(runs: int = RUNS) -> dict[str, object]:
    """Print the medians and what is left of the budget."""
    tally, output = str(Path(sys.executable).with_name("tally")), SAMPLES / "good.png"
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "tally --help": [tally, "--help"],
        "tally verify": [tally, "verify", str(output), "--trust", str(SAMPLES / "trust.toml")],
    }
    home = {"TALLY_HOME": os.devnull}
    for command in commands.values():
        run(command, home)  # the disk's cache is warm
    rounds = [{name: run(command, home) for name, command in commands.items()} for _ in range(runs)]
    figures = {name: _medians([each[name] for each in rounds]) for name in commands}
    for name, (wall, cpu) in figures.items():
        print(f"  {name:16} {wall:7.0f} ms of wall, {cpu:6.0f} ms of CPU")
    help_wall = figures["tally --help"][0]
    size = output.with_name(f"{output.name}.bundle.json").stat().st_size
    print(f"  budget of the help text: {BUDGET_MS:.0f} ms, {help_wall / BUDGET_MS:.0%} used")
    print(f"  verified: {output.name} of docs/samples, its sidecar and its bundle of {size:,} bytes")
    return {
        name.replace(" ", "_").replace("-", ""): {"wall_ms": round(wall), "cpu_ms": round(cpu)}
        for name, (wall, cpu) in figures.items()
    } | {"bundle_bytes": size}


def _medians(ended: list[Ended]) -> tuple[float, float]:
    """Wall and CPU in milliseconds."""
    return 1000 * statistics.median(each.wall for each in ended), 1000 * statistics.median(each.cpu for each in ended)
