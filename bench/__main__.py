"""Run the benchmarks: `python -m bench` all of them, `python -m bench NAME...` some; `--out FILE` takes the figures.

Every module of this folder is one and has a `main()`. It prints ratios of figures taken side by side in its own run: a
ratio survives a slow machine, an absolute figure does not. A benchmark is never a test: nothing fails for being slow.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import re
import ssl
import sys
import time
from importlib.metadata import version
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
LATEST = FOLDER / "results" / "latest.json"
GIGABYTE = 10**9


def known() -> list[str]:
    """Names of the benchmarks, in the order of the alphabet."""
    return sorted(path.stem for path in FOLDER.glob("*.py") if not path.stem.startswith("_"))


def hardware() -> dict[str, object]:
    """What the figures were taken on: nothing that names the machine."""
    info = Path("/proc/cpuinfo")
    text = info.read_text(encoding="utf-8") if info.exists() else ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return {
        "processor": found[1].strip() if found else platform.machine(),
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIGABYTE),
        "system": f"{platform.system()} {platform.machine()}",
    }


def software() -> dict[str, str]:
    """Versions of what does the work."""
    names = ("tallystick", "numpy", "coincurve", "apsw", "msgspec", "pillow", "c2pa-python")
    ours = {"python": platform.python_version(), "openssl": ssl.OPENSSL_VERSION}
    return ours | {name: version(name) for name in names}


def main(arguments: list[str]) -> int:
    """Run the named benchmarks, or all; 2 where a name is not known."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Ratios measured side by side in one run.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(known())}; all without any")
    parser.add_argument("--out", type=Path, default=LATEST, help="JSON file (default: bench/results/latest.json)")
    asked = parser.parse_args(arguments)
    unknown = set(asked.names) - set(known())
    if unknown:
        print(f"no benchmark {', '.join(sorted(unknown))}; there are: {', '.join(known())}", file=sys.stderr)
        return 2
    load = os.getloadavg()[0]
    print(f"Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores, load {load:.1f} at first")
    figures: dict[str, object] = {}
    for name in asked.names or known():
        module = importlib.import_module(f"bench.{name}")
        print(f"\n{name}: {(module.__doc__ or '').strip().splitlines()[0]}", flush=True)
        figures[name] = module.main()
        sys.stdout.flush()
    document = {
        "command": " ".join(["python -m bench", *asked.names]),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "hardware": hardware(),
        "load_at_start": round(load, 1),
        "load_at_end": round(os.getloadavg()[0], 1),
        "software": software(),
        "figures": figures,
    }
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    print(f"\nfigures: {asked.out.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
