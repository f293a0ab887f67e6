"""A reader that shares no code with us comes to the roots we signed, over real sockets, and to none when we cheat."""

from __future__ import annotations

import base64
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tallystick.api.log_routes import log_routes
from tallystick.receipts import log
from tallystick.receipts.log import TileName
from tests.conformance import tlog_reader
from tests.conformance.tlog_reader import Reader, Unsound
from tests.log_world import ORIGIN, SIGNER, ListLog, application, entries_of, served


@contextmanager
def reading(source: ListLog) -> Iterator[Reader]:
    with served(application(log_routes(source))) as base:
        yield Reader(f"{base}/log", SIGNER.vkey)


@pytest.mark.parametrize("size", [1, 255, 256, 257, 65_537])
def test_it_rebuilds_the_root(size: int) -> None:
    source = ListLog(entries_of(size))
    with reading(source) as reader:
        head = reader.audit()
    assert (head.origin, head.size, head.root) == (ORIGIN, size, source.tree.root())


def test_it_reads_as_a_program_that_imports_nothing_of_ours() -> None:
    program = Path(tlog_reader.__file__)
    assert "tallystick" not in program.read_text(encoding="utf-8")
    source = ListLog(entries_of(300))
    with served(application(log_routes(source))) as base:
        command = [sys.executable, "-I", str(program), f"{base}/log", SIGNER.vkey]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"{ORIGIN} 300 {source.tree.root().hex()}\n"


class Cheat(ListLog):
    """A log that serves one thing wrongly."""

    def __init__(self, path: str) -> None:
        super().__init__(entries_of(65_537))
        self.path = path

    def tile(self, name: TileName) -> bytes | None:
        data = super().tile(name)
        if name.path != self.path or data is None:
            return data
        return data[:-1] + bytes([data[-1] ^ 1])


@pytest.mark.parametrize(
    "path", ["tile/0/000", "tile/0/256.p/1", "tile/entries/000", "tile/entries/256.p/1", "tile/1/000", "tile/2/000.p/1"]
)
def test_a_flipped_bit_anywhere_is_seen(path: str) -> None:
    with reading(Cheat(path)) as reader, pytest.raises(Unsound):
        reader.audit()


def test_a_replaced_entry_is_seen_though_every_tile_is_replaced_with_it() -> None:
    source = ListLog(entries_of(300))
    other = entries_of(300)
    other[17] = b"{}"
    forged = ListLog(other)
    forged.note = source.note
    with reading(forged) as reader, pytest.raises(Unsound, match="another root"):
        reader.audit()


def test_a_checkpoint_that_the_log_did_not_sign_is_seen() -> None:
    source = ListLog(entries_of(3))
    text, _, line = source.note.rpartition("\n\n")
    signature = base64.b64decode(line.split()[-1])
    bad = base64.b64encode(signature[:-1] + bytes([signature[-1] ^ 1])).decode()
    for note in (f"{text}\n\n\u2014 {ORIGIN} {bad}\n", f"{text}\n\n\u2014 other {line.split()[-1]}\n"):
        source.note = note
        with reading(source) as reader, pytest.raises(Unsound, match="sign"):
            reader.head()


def test_a_shorter_log_under_the_same_root_is_seen() -> None:
    source = ListLog(entries_of(300))
    source.note = SIGNER.sign(log.head(ORIGIN, source.tree).text().replace("\n300\n", "\n299\n"))
    with reading(source) as reader, pytest.raises(Unsound, match="another root"):
        reader.audit()
