"""`tally keys` and `tally bundle`: what a home hands to strangers. Secrets never leave it; reading takes no lock."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from tallystick.cli.exits import DONE, hang_up, say
from tallystick.cli.home import (
    KEYSTORE_FILE,
    PASSPHRASE_VARIABLE,
    TRUST_FILE,
    home_path,
    is_home,
    open_home,
    read_home,
    seal_master,
)
from tallystick.cli.words import command
from tallystick.errors import IncompleteError, UsageError

if TYPE_CHECKING:
    from tallystick.audit.trust import Trust

STDOUT = Path("-")


def write_ca(out: Path) -> int:
    """Write the root certificate of this home's content credentials."""
    pins = _trust()
    if pins.c2pa is None:
        raise UsageError(f"the trust file in {home_path()} names no certificate: remove it, and it is written again")
    return _hand_out(out, pins.c2pa.root.encode())


def write_trust(out: Path) -> int:
    """Write the trust file."""
    return _hand_out(out, _trust_bytes())


def print_log_key() -> int:
    """Print the log's verifier key."""
    return _hand_out(STDOUT, f"{_trust().log.vkey}\n".encode())


def write_bundle(job_id: str, out: Path) -> int:
    """Write a finished job's bundle under the newest checkpoint."""
    from tallystick.node.bundling import bundle

    with read_home(home_path()) as home:
        data = bundle(home.book, home.store, job_id)
    return _hand_out(out, data)


def write_receipt(name: str, out: Path) -> int:
    """Write the proof that an entry stands in this home's log, by its NID or txHash, under the newest checkpoint.

    Raises:
        MalformedError: the name is neither.
        IncompleteError: there is no such entry.
    """
    from tallystick.node.public_log import EngineLog, digest_of

    with read_home(home_path()) as home:
        log = EngineLog(home.engine, nullcontext(), lambda _: None)
        index = log.index_of(digest_of(name))
        if index is None:
            raise IncompleteError(f"the log of this home holds no entry {name}")
        proof = log.prove(index).encode()
    return _hand_out(out, proof.encode())


def list_keys(*, as_json: bool) -> int:
    """Print the public keys of this home."""
    from tallystick.cli.screen import Screen

    screen = Screen(as_json=as_json)
    _made()
    with read_home(home_path()) as home:
        identity = home.identity
        accounts = {
            "requester": identity.requester(),
            "coordinator": identity.coordinator(),
            "arbiter": identity.arbiter(),
            "faucet": identity.faucet(),
        }
        vkey, encrypted = identity.log().vkey, home.encrypted
    screen.result(
        {
            "accounts": {
                name: {"publicKey": key.public.hex(), "address": key.address} for name, key in accounts.items()
            },
            "log": vkey,
            "encrypted": encrypted,
        }
    )
    if not as_json:
        screen.table(("KEY", "ADDRESS"), [[name, key.address] for name, key in accounts.items()])
        screen.line()
        plain = f"not encrypted: set {PASSPHRASE_VARIABLE} and run `{command('keys', 'seal')}`"
        screen.pairs([("Log", vkey), ("At rest", "encrypted" if encrypted else plain)])
    return DONE


def seal_keys() -> int:
    """Encrypt this home's master key under TALLY_PASSPHRASE."""
    path = home_path()
    seal_master(path)
    say(f"{path / KEYSTORE_FILE} is encrypted now; copies that were made before are not")
    return DONE


def _made() -> Path:
    """Return this home's folder; a home that is not there yet is made, since its keys are what is asked for."""
    path = home_path()
    known = is_home(path)
    if not known or not (path / TRUST_FILE).exists():
        with open_home(path):
            pass
    if not known:
        say(f"made a new home in {path}")
    return path


def _trust_bytes() -> bytes:
    return (_made() / TRUST_FILE).read_bytes()


def _trust() -> Trust:
    from tallystick.audit.trust import parse

    return parse(_trust_bytes())


def _hand_out(out: Path, data: bytes) -> int:
    """Write to a file, whole or not at all, or to stdout."""
    from tallystick.adapters.desk import FolderDesk

    if out == STDOUT:
        try:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            hang_up(sys.stdout.fileno())
        return DONE
    try:
        if out.is_dir():
            raise UsageError(f"{out} is a folder: name a file")
        if out.exists() and not out.is_file():  # a device or a pipe is written to, never replaced
            out.write_bytes(data)
        else:
            FolderDesk().write(str(out), data)
    except OSError as error:
        raise UsageError(f"{out} cannot be written: {error.strerror}") from error
    say(f"wrote {out}, {len(data)} bytes")
    return DONE
