"""What the command line may not load before a verb asks for it: `tally --help` must answer at once."""

from __future__ import annotations

import subprocess
import sys

import pytest

# Each of these takes tens of milliseconds, or opens the door to one that does.
HEAVY = (
    "apsw",
    "asyncio",
    "c2pa",
    "coincurve",
    "cryptography.x509",
    "Crypto",
    "granian",
    "httpx",
    "litestar",
    "numpy",
    "PIL",
    "prometheus_client",
    "requests",
    "rich.live",
    "rich.progress",
    "tallystick.adapters",
    "tallystick.api",
    "tallystick.kernels",
    "tallystick.node",
    "tallystick.simulation",
    "websockets",
)
PRINT_LOADED = "import sys, tallystick.cli; print(*sorted(sys.modules), sep='\\n')"
PRINT_LOADED_BY_HELP = (
    "import sys, contextlib, io, tallystick.cli\n"
    "sys.argv = ['tally', '--help']\n"
    "with contextlib.redirect_stdout(io.StringIO()) as shown, contextlib.suppress(SystemExit):\n"
    "    tallystick.cli.main()\n"
    "assert 'verify' in shown.getvalue()\n"
    "print(*sorted(sys.modules), sep='\\n')"
)


@pytest.mark.parametrize("program", [PRINT_LOADED, PRINT_LOADED_BY_HELP], ids=["import", "help"])
def test_the_command_line_loads_nothing_heavy(program: str) -> None:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "tallystick.cli" in loaded
    assert sorted(loaded & set(HEAVY)) == []
