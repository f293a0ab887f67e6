"""The Store on SQLite: WAL, ``synchronous=FULL``, one writer; a batch is one transaction.

Knows bytes and their order. Wei and states never become SQL integers: they stand inside the entries.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import apsw

from tallystick.errors import StoreError
from tallystick.node.grouped import Grouped
from tallystick.node.ports import Batch

SCHEMA: Final = """
create table if not exists entry(idx integer primary key, body blob not null);
create table if not exists meta(name text primary key, value blob not null) without rowid;
create table if not exists private(name text primary key, value blob not null) without rowid;
create table if not exists piece(size integer primary key, data blob not null);
drop table if exists snapshot;
"""
COUNT: Final = "select coalesce(max(idx) + 1, 0) from entry"
READ_CHUNK: Final = 4096
BUSY_MS: Final = 5000


class SqliteStore:
    """One database file; any thread of one process may use it.

    One connection writes and one reads, each under a lock of its own, so that nobody who reads waits for a flush.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        """Open or create the file; a reader sees the one moment at which it opened, whatever a writer does meanwhile.

        Raises:
            StoreError: it cannot be opened, or is no database of ours.
        """
        try:
            self._write = _Connection(_held(path) if read_only else _writer(path))
            self._read = self._write if read_only else _Connection(_reader(path))
        except apsw.Error as error:
            raise StoreError(f"the ledger file {path.name} cannot be opened: {error}") from error
        self._keep = Grouped(self._keep_all)

    def close(self) -> None:
        """Close the file; the write-ahead log is folded in by the last connection."""
        for connection in (self._read, self._write):
            with connection.lock:
                connection.db.close()

    def genesis(self) -> bytes | None:
        """Return the genesis document, None for an empty store."""
        return self._value("select value from meta where name = 'genesis'")

    def create(self, genesis: bytes) -> None:
        """Make the genesis durable; refuses a store that has one."""
        with self._writing() as db:
            if db.execute("select 1 from meta where name = 'genesis'").fetchall():
                raise StoreError("the ledger already has a genesis")
            db.execute("insert into meta(name, value) values ('genesis', ?)", (genesis,))

    def append(self, batch: Batch) -> None:
        """Make a batch durable, all of it or nothing."""
        rows = [(batch.first + offset, entry) for offset, entry in enumerate(batch.entries)]
        with self._writing() as db:
            ((count,),) = db.execute(COUNT).fetchall()
            if count != batch.first:
                raise StoreError(f"the log holds {count} entries, the batch begins at {batch.first}")
            db.executemany("insert into entry(idx, body) values (?, ?)", rows)
            db.execute(
                "insert or replace into meta(name, value) values ('checkpoint', ?)", (batch.checkpoint.encode(),)
            )
            if batch.private:
                db.executemany("insert or replace into private(name, value) values (?, ?)", batch.private)

    def size(self) -> int:
        """Return how many entries are durable."""
        return int(self._rows(COUNT)[0][0])

    def entries(self, start: int, stop: int) -> Iterator[bytes]:
        """Yield durable entries in order."""
        while start < stop:
            end = min(stop, start + READ_CHUNK)
            rows = self._rows("select body from entry where idx >= ? and idx < ? order by idx", (start, end))
            if len(rows) != end - start:
                raise StoreError(f"the ledger file lacks entries between {start} and {end}")
            for (body,) in rows:
                yield bytes(body)
            start = end

    def checkpoint(self) -> str | None:
        """Return the newest durable checkpoint."""
        value = self._value("select value from meta where name = 'checkpoint'")
        return None if value is None else value.decode(errors="replace")

    def snapshot(self) -> Iterator[bytes]:
        """Yield the pieces of the snapshot, in order; a file from before they came has none."""
        if self._rows("select 1 from sqlite_master where name = 'piece'"):
            for (size,) in self._rows("select size from piece order by size"):
                for (data,) in self._rows("select data from piece where size = ?", (size,)):
                    yield bytes(data)

    def save_snapshot(self, first: int, size: int, data: bytes) -> None:
        """Make a piece durable; it replaces whatever goes beyond ``first``."""
        with self._writing() as db:
            db.execute("delete from piece where size > ?", (first,))
            db.execute("insert into piece(size, data) values (?, ?)", (size, data))

    def private(self, key: str) -> bytes | None:
        """Return a private value."""
        return self._value("select value from private where name = ?", (key,))

    def private_keys(self, prefix: str) -> tuple[str, ...]:
        """Return the keys of private values under a prefix, sorted."""
        rows = self._rows("select name from private where substr(name, 1, ?) = ? order by name", (len(prefix), prefix))
        return tuple(str(name) for (name,) in rows)

    def put_private(self, values: Sequence[tuple[str, bytes | None]]) -> None:
        """Make private values durable, None deletes; threads that call at one time share a transaction."""
        self._keep(tuple(values))

    def _keep_all(self, callers: Sequence[Sequence[tuple[str, bytes | None]]]) -> None:
        with self._writing() as db:
            for key, value in (each for values in callers for each in values):
                if value is None:
                    db.execute("delete from private where name = ?", (key,))
                else:
                    db.execute("insert or replace into private(name, value) values (?, ?)", (key, value))

    def _value(self, statement: str, bindings: tuple[str, ...] = ()) -> bytes | None:
        rows = self._rows(statement, bindings)
        return bytes(rows[0][0]) if rows else None

    def _rows(self, statement: str, bindings: tuple[str | int, ...] = ()) -> list[tuple[Any, ...]]:
        """Read under the lock.

        Raises:
            StoreError: the file is damaged or busy.
        """
        try:
            with self._read.lock:
                return self._read.db.execute(statement, bindings).fetchall()
        except apsw.Error as error:
            raise StoreError(f"the ledger file cannot be read: {error}") from error

    def _writing(self) -> _Writing:
        return _Writing(self._write)


@dataclass(frozen=True, slots=True)
class _Connection:
    """A connection for one thread at a time: it raises when two use it at once."""

    db: apsw.Connection
    lock: threading.Lock = field(default_factory=threading.Lock)


def _writer(path: Path) -> apsw.Connection:
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE)
    db.set_busy_timeout(BUSY_MS)
    db.execute("pragma journal_mode=wal")
    db.execute("pragma synchronous=full")
    db.execute(SCHEMA)
    return db


def _reader(path: Path) -> apsw.Connection:
    """Open for reading what is committed, moment by moment."""
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    db.set_busy_timeout(BUSY_MS)
    return db


def _held(path: Path) -> apsw.Connection:
    """Open for reading and hold the moment; a folder that cannot be written is read without the log beside the file."""
    plain = not os.access(path.parent, os.W_OK) and not path.with_name(f"{path.name}-wal").exists()
    name = f"{path.absolute().as_uri()}?immutable=1" if plain else str(path)
    db = apsw.Connection(name, flags=apsw.SQLITE_OPEN_READONLY | (apsw.SQLITE_OPEN_URI if plain else 0))
    db.set_busy_timeout(BUSY_MS)
    db.execute("begin")
    db.execute("select count(*) from meta").fetchall()
    return db


class _Writing:
    """One transaction under the lock; every apsw error becomes a StoreError, and nothing of the batch stays."""

    def __init__(self, connection: _Connection) -> None:
        self._db, self._lock = connection.db, connection.lock

    def __enter__(self) -> apsw.Connection:
        self._lock.acquire()
        try:
            self._db.execute("begin immediate")
        except apsw.Error as error:
            self._lock.release()
            raise StoreError(f"the ledger file cannot be written: {error}") from error
        return self._db

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _trace: object) -> None:
        try:
            self._db.execute("commit" if kind is None else "rollback")
        except apsw.Error as failure:
            if not self._db.get_autocommit():
                self._db.execute("rollback")
            raise StoreError(f"the batch could not be made durable: {failure}") from failure
        finally:
            self._lock.release()
        if isinstance(error, apsw.Error):
            raise StoreError(f"the ledger file refused the batch: {error}") from error
