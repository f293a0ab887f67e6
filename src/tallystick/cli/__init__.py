"""The command line and composition root. Importing it costs nothing; `main` loads what the verb needs."""

from __future__ import annotations

from typing import NoReturn


def main() -> NoReturn:
    """Run `tally` with the process's arguments and exit."""
    from tallystick.cli.app import run

    run()
