"""A worker's place in a home: the master key alone, without the ledger's lock, and a slot that nobody else works in.

Several workers of one home run at once, each with a key of its own; a slot's lock ends with its process.
"""

from __future__ import annotations

import fcntl
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tallystick.cli.home import HOME_VARIABLE, KEYSTORE_FILE, load_master, locked
from tallystick.errors import HomeError, UsageError

SLOTS_MAX: Final = 256
MAKING_SECONDS: Final = 10.0
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")


def master_of(path: Path) -> bytes:
    """Return a home's master key; it is made under the home's lock, since several workers may begin at once.

    Raises:
        HomeError: the folder cannot be used.
        KeystoreError: the passphrase does not open the key.
    """
    until = time.monotonic() + MAKING_SECONDS
    while not (path / KEYSTORE_FILE).exists():
        try:
            with locked(path):
                return load_master(path)[0]
        except HomeError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)
    return load_master(path)[0]


@contextmanager
def slot(path: Path, name: str | None) -> Iterator[str]:
    """Hold a slot of a home: the named one, or the first that is free.

    Raises:
        UsageError: the name is none, or a worker of this name runs already.
        HomeError: no slot can be had.
    """
    if name is not None and _NAME.fullmatch(name) is None:
        raise UsageError(f"--name {name!r} is no name: write lower-case letters, digits and -")
    for each in [name] if name is not None else map(str, range(1, SLOTS_MAX + 1)):
        descriptor = _take(path / f"worker-{each}.lock")
        if descriptor is not None:
            try:
                yield each
            finally:
                os.close(descriptor)
            return
    if name is not None:
        raise UsageError(f"a worker {name!r} of this home runs already: name another, or none")
    raise HomeError(f"{SLOTS_MAX} workers run in {path} already: set {HOME_VARIABLE} to another folder")


def _take(file: Path) -> int | None:
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise HomeError(f"{file} cannot be used: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
