"""Run the benchmarks: `python -m bench` all of them, `python -m bench NAME...` some.

Every module of this folder is one and has a `main()`. It prints ratios of figures taken side by side in its own run: a
ratio survives a slow machine, an absolute figure does not. A benchmark is never a test: nothing fails for being slow.
"""

from __future__ import annotations

import importlib
import os
import platform
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent


def known() -> list[str]:
    """Names of the benchmarks, in the order of the alphabet."""
    return sorted(path.stem for path in FOLDER.glob("*.py") if not path.stem.startswith("_"))


def main(names: list[str]) -> int:
    """Run the named benchmarks, or all; 2 where a name is not known."""
    unknown = set(names) - set(known())
    if unknown:
        print(f"no benchmark {', '.join(sorted(unknown))}; there are: {', '.join(known())}", file=sys.stderr)
        return 2
    load = f"{os.getloadavg()[0]:.1f}"
    print(f"Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores, load {load} at the start")
    for name in names or known():
        module = importlib.import_module(f"bench.{name}")
        print(f"\n{name}: {(module.__doc__ or '').strip().splitlines()[0]}")
        module.main()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
