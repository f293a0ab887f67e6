"""`tally doctor`: what is there on this machine, what is missing, and what to do about it. It changes nothing."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from rich.text import Text

from tallystick import __version__
from tallystick.cli.exits import DONE, FAILED
from tallystick.cli.home import (
    HOME_VARIABLE,
    KEYSTORE_FILE,
    LEDGER_FILE,
    PASSPHRASE_VARIABLE,
    SEALED_MARK,
    TRUST_FILE,
    home_path,
    is_home,
    read_home,
)
from tallystick.cli.lock import lock_holder
from tallystick.cli.screen import Screen
from tallystick.cli.words import command
from tallystick.errors import HomeError, KeystoreError, TallyError

PYTHON_LEAST, PYTHON_BELOW = (3, 11), (3, 14)
DISK_LEAST: Final = 1 << 30
PACKAGES: Final = (
    ("anyio", "anyio"),
    ("apsw", "apsw"),
    ("c2pa-python", "c2pa"),
    ("coincurve", "coincurve"),
    ("cryptography", "cryptography"),
    ("granian", "granian"),
    ("httpx", "httpx"),
    ("litestar", "litestar"),
    ("msgspec", "msgspec"),
    ("numpy", "numpy"),
    ("pillow", "PIL"),
    ("prometheus-client", "prometheus_client"),
    ("pycryptodome", "Crypto"),
    ("rich", "rich"),
    ("typer", "typer"),
    ("websockets", "websockets"),
)
"""Name in the registry, name to import."""


class Level(Enum):
    """How much a line matters: only what is MISSING makes `doctor` fail."""

    FINE = "ok"
    NOTE = "note"
    WARNING = "warning"
    MISSING = "missing"


_STYLES: Final = {Level.FINE: "green", Level.NOTE: "dim", Level.WARNING: "yellow", Level.MISSING: "bold red"}


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that was looked at: what was found, and what to do where something is to be done."""

    name: str
    level: Level
    found: str
    advice: str = ""

    def as_json(self) -> dict[str, object]:
        """Return the line as JSON shows it."""
        return {"name": self.name, "level": self.level.value, "found": self.found, "advice": self.advice or None}


def examine(*, as_json: bool) -> int:
    """Look at everything and say it; exit 1 if something needed is missing."""
    screen = Screen(as_json=as_json)
    lines = [line for look in LOOKS for line in look()]
    missing = [line for line in lines if line.level is Level.MISSING]
    screen.result({"ok": not missing, "version": __version__, "checks": [line.as_json() for line in lines]})
    if not as_json:
        rows: list[list[str | Text]] = [
            [Text(line.level.value, style=_STYLES[line.level]), line.name, line.found] for line in lines
        ]
        screen.table((f"tally {__version__}", "", ""), rows)
        advice = [(line.name, line.advice) for line in lines if line.advice]
        if advice:
            screen.line()
            screen.pairs(advice)
    return FAILED if missing else DONE


def _row(line: Line) -> list[str | Text]:
    return [Text(line.level.value, style=_STYLES[line.level]), line.name, line.found]


def _python() -> Iterator[Line]:
    version = ".".join(str(part) for part in sys.version_info[:3])
    fits = PYTHON_LEAST <= sys.version_info[:2] < PYTHON_BELOW
    advice = "" if fits else "install Python 3.11, 3.12 or 3.13 and make the environment again"
    yield Line("python", Level.FINE if fits else Level.MISSING, f"{version}, {sys.executable}", advice)


def _packages() -> Iterator[Line]:
    absent = [name for name, module in PACKAGES if find_spec(module) is None]
    if absent:
        advice = f"{sys.executable} -m pip install {' '.join(absent)}"
        yield Line("packages", Level.MISSING, f"not installed: {', '.join(absent)}", advice)
    else:
        yield Line("packages", Level.FINE, f"all {len(PACKAGES)} are installed")


def _credentials() -> Iterator[Line]:
    """Load the library of content credentials: it is native code, so being installed says little."""
    if find_spec("c2pa") is None:
        return
    try:
        import_module("c2pa")
    except (OSError, RuntimeError) as error:
        advice = "install c2pa-python again for this platform"
        yield Line("credentials", Level.MISSING, f"c2pa does not load: {error}", advice)
        return
    yield Line("credentials", Level.FINE, f"c2pa-python {metadata.version('c2pa-python')} loads")


def _anchoring() -> Iterator[Line]:
    """Say where `tally anchor` can write; any chain behind JSON-RPC needs nothing that is not here."""
    if find_spec("pyrevm") is not None:
        yield Line("anchoring", Level.FINE, "on a chain of this home's own (pyrevm), or any chain by --rpc")
        return
    found = "not anchored by default: pyrevm, which runs a home's own chain, is not installed"
    yield Line("anchoring", Level.NOTE, found, f"{command('anchor', '--rpc', 'URL', '--deploy')} needs none")


def _home() -> Iterator[Line]:
    path = home_path()
    origin = HOME_VARIABLE if os.environ.get(HOME_VARIABLE) else "the default"
    if not _begun(path):
        yield Line("home", Level.NOTE, f"{path} ({origin}): made at first use")
        yield from _writable(path)
        return
    mode = stat.S_IMODE(path.stat().st_mode)
    private = not mode & 0o077
    advice = "" if private else f"chmod 700 {path}"
    yield Line("home", Level.FINE if private else Level.WARNING, f"{path} ({origin}), mode {mode:03o}", advice)
    yield from _writable(path)
    holder = lock_holder(path)
    if holder is not None:
        yield Line("lock", Level.NOTE, f"process {holder or 'unknown'} works in this home")


def _begun(path: Path) -> bool:
    """Tell whether there is a home, whole or not."""
    return any((path / name).exists() for name in (KEYSTORE_FILE, LEDGER_FILE))


def _writable(path: Path) -> Iterator[Line]:
    """Look whether the home, or the nearest folder above it, can be written, and how much room there is."""
    place = next(folder for folder in (path, *path.parents) if folder.exists())
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        advice = f"set {HOME_VARIABLE} to a folder that can be written"
        yield Line("writable", Level.MISSING, f"{place} cannot be written", advice)
        return
    free = shutil.disk_usage(place).free
    enough = free >= DISK_LEAST
    advice = "" if enough else "make room: a job keeps its input and its blocks until it is delivered"
    yield Line("disk", Level.FINE if enough else Level.WARNING, f"{free / 2**30:.1f} GiB free", advice)


def _keystore() -> Iterator[Line]:
    file = home_path() / KEYSTORE_FILE
    if not file.exists():
        return
    mode = stat.S_IMODE(file.stat().st_mode)
    if mode & 0o077:
        yield Line(
            "keystore", Level.WARNING, f"{file.name} can be read by others, mode {mode:03o}", f"chmod 600 {file}"
        )
    if SEALED_MARK in file.read_bytes():
        yield Line("keystore", Level.FINE, f"{file.name} is encrypted")
    else:
        advice = f"set {PASSPHRASE_VARIABLE} and run `{command('keys', 'seal')}`"
        yield Line("keystore", Level.NOTE, f"{file.name} is not encrypted: whoever reads it acts as you", advice)


def _ledger() -> Iterator[Line]:
    """Fold the whole log: it opens, and the newest checkpoint is over exactly its entries."""
    path = home_path()
    try:
        if not is_home(path):
            return
        busy = lock_holder(path) is not None
        with read_home(path) as home:
            size = home.engine.tree.size
            waiting = [home.wishes.get(job_id) for job_id in home.wishes.unfinished()]
    except KeystoreError as error:
        yield _locked_out(error)
        return
    except HomeError as error:
        yield Line("ledger", Level.MISSING, str(error))
        return
    except TallyError as error:
        yield Line("ledger", Level.MISSING, str(error), f"put {path} back from a backup, or set {HOME_VARIABLE}")
        return
    yield Line("ledger", Level.FINE, f"{size} entries, all under the newest checkpoint")
    if waiting and (busy or lock_holder(path) is not None):
        yield Line("jobs", Level.NOTE, f"{len(waiting)} running")
    else:
        yield from _waiting(sum(wish.local for wish in waiting), sum(wish.remote for wish in waiting))
    if not (path / TRUST_FILE).exists():
        yield Line("trust", Level.NOTE, f"{TRUST_FILE} is written again at the next job")


def _waiting(local: int, remote: int) -> Iterator[Line]:
    """Say how interrupted jobs go on: those with workers on other machines need the node."""
    if local:
        yield Line("jobs", Level.WARNING, f"{local} interrupted", command("jobs", "--resume"))
    if remote:
        found = f"{remote} interrupted, ordered from workers on other machines"
        yield Line("jobs", Level.WARNING, found, f"start the node: `{command('node', 'start')}`")


def _locked_out(error: KeystoreError) -> Line:
    """Say why the ledger was not looked at: nothing is lost, the passphrase is."""
    sealed = SEALED_MARK in (home_path() / KEYSTORE_FILE).read_bytes()
    if sealed and not os.environ.get(PASSPHRASE_VARIABLE):
        found = f"the passphrase is missing: {KEYSTORE_FILE} is encrypted, so the ledger was not looked at"
        return Line("passphrase", Level.MISSING, found, f"set {PASSPHRASE_VARIABLE} to this home's passphrase")
    return Line("passphrase", Level.MISSING, str(error))


LOOKS: Final[tuple[Callable[[], Iterator[Line]], ...]] = (
    _python,
    _packages,
    _credentials,
    _anchoring,
    _home,
    _keystore,
    _ledger,
)
