"""The embedded chain's file: its genesis and one row for each block, in SQLite.

Knows rows, their order and the hash that chains them. Refuses to know what a transaction does: whoever reads the rows
runs them again. Specification: docs/spec/embedded-chain.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

import apsw
import msgspec

from tallystick.errors import ChainError, MalformedError
from tallystick.primitives import canonical
from tallystick.primitives.digests import Tag, sha256, tagged, u8, u64

SCHEMA: Final = """
create table if not exists genesis(id integer primary key check (id = 1), document blob not null) strict;
create table if not exists block(
  number integer primary key, time integer not null, raw blob not null, tx_hash blob not null unique,
  succeeded integer not null, gas integer not null, logs blob not null, hash blob not null) strict;
"""
BUSY_MS: Final = 5000

_COLUMNS: Final = "number, time, raw, tx_hash, succeeded, gas, logs, hash"


class Genesis(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What makes a chain this one; a file with another is another chain."""

    format: Literal["tallystick/chain/v1"]
    chain_id: canonical.Count
    recorder: str
    spec: str
    block_gas: canonical.Count

    def hash(self) -> bytes:
        """The hash that stands before the first block's."""
        return tagged(Tag.CHAIN_GENESIS, sha256(canonical.encode(self)))


@dataclass(frozen=True, slots=True)
class Block:
    """One block, one transaction: ``time`` in Unix seconds, ``logs`` as RLP, ``hash`` over all else and the parent."""

    number: int
    time: int
    raw: bytes
    tx_hash: bytes
    succeeded: bool
    gas: int
    logs: bytes
    hash: bytes

    def chained(self, parent: bytes) -> Block:
        """The block with the hash that it has after ``parent``."""
        head = (parent, u64(self.number), u64(self.time), self.tx_hash)
        digest = tagged(Tag.CHAIN_BLOCK, *head, u8(self.succeeded), u64(self.gas), sha256(self.logs))
        return replace(self, hash=digest)


class ChainFile:
    """One file; not safe for several threads at once. Every failure of SQLite is a ``ChainError``."""

    def __init__(self, path: Path, genesis: Genesis) -> None:
        """Open or make the file.

        Raises:
            ChainError: It cannot be opened, is no chain's file, or holds another chain.
        """
        self._name = path.name
        try:
            self._db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE)
            self._db.set_busy_timeout(BUSY_MS)
            self._db.execute("pragma journal_mode=wal")
            self._db.execute("pragma synchronous=full")
            self._db.execute(SCHEMA)
            self._db.execute("insert or ignore into genesis values(1, ?)", (canonical.encode(genesis),))
        except apsw.Error as error:
            raise ChainError(f"the chain's file {path.name} cannot be opened: {error}") from error
        self._check_genesis(genesis)

    def close(self) -> None:
        """Close the file; the write-ahead log is folded in."""
        self._db.close()

    def blocks(self) -> Iterator[Block]:
        """Yield every block from the first on."""
        try:
            for row in self._db.execute(f"select {_COLUMNS} from block order by number"):  # noqa: S608 - a constant
                yield _block(row)
        except apsw.Error as error:
            raise ChainError(f"the chain's file {self._name} cannot be read: {error}") from error

    def block(self, number: int) -> Block | None:
        """Return a block by its number."""
        return self._one("number", number)

    def holding(self, tx_hash: bytes) -> Block | None:
        """Return the block of a transaction."""
        return self._one("tx_hash", tx_hash)

    def append(self, block: Block) -> None:
        """Make a block durable.

        Raises:
            ChainError: It is not; what the file holds is not known before it is read again. Another process may have
                written.
        """
        values = (block.number, block.time, block.raw, block.tx_hash, block.succeeded, block.gas, block.logs)
        try:
            with self._db:
                found = self._db.execute("select coalesce(max(number), 0) from block").fetchone()
                if found != (block.number - 1,):
                    raise ChainError(f"the chain's file {self._name} has grown under another process")
                self._db.execute(
                    f"insert into block({_COLUMNS}) values(?, ?, ?, ?, ?, ?, ?, ?)",
                    (*values, block.hash),
                )
        except apsw.Error as error:
            raise ChainError(f"the block could not be made durable in {self._name}: {error}") from error

    def _one(self, column: str, value: bytes | int) -> Block | None:
        try:
            row = self._db.execute(f"select {_COLUMNS} from block where {column} = ?", (value,)).fetchone()  # noqa: S608
        except apsw.Error as error:
            raise ChainError(f"the chain's file {self._name} cannot be read: {error}") from error
        return None if row is None else _block(row)

    def _check_genesis(self, expected: Genesis) -> None:
        try:
            (document,) = self._db.execute("select document from genesis").fetchone() or (b"",)
            found = canonical.decode(bytes(document), Genesis, what="the genesis of the embedded chain")
        except (apsw.Error, MalformedError, TypeError) as error:
            self._db.close()
            raise ChainError(f"{self._name} is not the file of an embedded chain: {error}") from error
        if found != expected:
            self._db.close()
            raise ChainError(f"{self._name} holds another chain: it has {found}, this home makes {expected}")


def _block(row: tuple[Any, ...]) -> Block:
    number, time, raw, tx_hash, succeeded, gas, logs, digest = row
    return Block(number, time, raw, tx_hash, bool(succeeded), gas, logs, digest)
