"""The Store on SQLite: WAL, ``synchronous=FULL``, one writer; a batch is one transaction.

Knows bytes and their order. Wei and states never become SQL integers: they stand inside the entries.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import apsw

from tallystick.errors import StoreError
from tallystick.node.ports import Batch

SCHEMA: Final = """
create table if not exists entry(idx integer primary key, body blob not null);
create table if not exists meta(name text primary key, value blob not null) without rowid;
create table if not exists private(name text primary key, value blob not null) without rowid;
create table if not exists snapshot(id integer primary key check (id = 1), size integer not null, data blob not null);
"""
COUNT: Final = "select coalesce(max(idx) + 1, 0) from entry"
READ_CHUNK: Final = 4096
BUSY_MS: Final = 5000


class SqliteStore:
    """One database file; safe for several threads of one process."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        """Open or create the file; a reader sees the one moment at which it opened, whatever a writer does meanwhile.

        Raises:
            StoreError: it cannot be opened, or is no database of ours.
        """
        self._lock = threading.Lock()
        try:
            self._db = _reader(path) if read_only else _writer(path)
        except apsw.Error as error:
            raise StoreError(f"the ledger file {path.name} cannot be opened: {error}") from error

    def close(self) -> None:
        """Close the file; the write-ahead log is folded in."""
        with self._lock:
            self._db.close()

    def genesis(self) -> bytes | None:
        """Return the genesis document, None for an empty store."""
        return self._value("select value from meta where name = 'genesis'")

    def create(self, genesis: bytes) -> None:
        """Make the genesis durable; refuses a store that has one."""
        if self.genesis() is not None:
            raise StoreError("the ledger already has a genesis")
        with self._writing():
            self._db.execute("insert into meta(name, value) values ('genesis', ?)", (genesis,))

    def append(self, batch: Batch) -> None:
        """Make a batch durable, all of it or nothing."""
        rows = [(batch.first + offset, entry) for offset, entry in enumerate(batch.entries)]
        with self._writing():
            if self._count() != batch.first:
                raise StoreError(f"the log holds {self._count()} entries, the batch begins at {batch.first}")
            self._db.executemany("insert into entry(idx, body) values (?, ?)", rows)
            self._db.execute(
                "insert or replace into meta(name, value) values ('checkpoint', ?)", (batch.checkpoint.encode(),)
            )
            if batch.private:
                self._db.executemany("insert or replace into private(name, value) values (?, ?)", batch.private)

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

    def snapshot(self) -> tuple[int, bytes] | None:
        """Return the newest snapshot and how many entries it covers."""
        rows = self._rows("select size, data from snapshot")
        return (int(rows[0][0]), bytes(rows[0][1])) if rows else None

    def save_snapshot(self, size: int, data: bytes) -> None:
        """Make a snapshot durable; it replaces the older one."""
        with self._writing():
            self._db.execute("insert or replace into snapshot(id, size, data) values (1, ?, ?)", (size, data))

    def private(self, key: str) -> bytes | None:
        """Return a private value."""
        return self._value("select value from private where name = ?", (key,))

    def private_keys(self, prefix: str) -> tuple[str, ...]:
        """Return the keys of private values under a prefix, sorted."""
        rows = self._rows("select name from private where substr(name, 1, ?) = ? order by name", (len(prefix), prefix))
        return tuple(str(name) for (name,) in rows)

    def put_private(self, values: Sequence[tuple[str, bytes | None]]) -> None:
        """Make private values durable, None deletes."""
        with self._writing():
            for key, value in values:
                if value is None:
                    self._db.execute("delete from private where name = ?", (key,))
                else:
                    self._db.execute("insert or replace into private(name, value) values (?, ?)", (key, value))

    def _count(self) -> int:
        row = self._db.execute(COUNT).fetchone()
        return 0 if row is None else int(row[0])

    def _value(self, statement: str, bindings: tuple[str, ...] = ()) -> bytes | None:
        rows = self._rows(statement, bindings)
        return bytes(rows[0][0]) if rows else None

    def _rows(self, statement: str, bindings: tuple[str | int, ...] = ()) -> list[tuple[Any, ...]]:
        """Read under the lock.

        Raises:
            StoreError: the file is damaged or busy.
        """
        try:
            with self._lock:
                return self._db.execute(statement, bindings).fetchall()
        except apsw.Error as error:
            raise StoreError(f"the ledger file cannot be read: {error}") from error

    def _writing(self) -> _Writing:
        return _Writing(self._db, self._lock)


def _writer(path: Path) -> apsw.Connection:
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE)
    db.set_busy_timeout(BUSY_MS)
    db.execute("pragma journal_mode=wal")
    db.execute("pragma synchronous=full")
    db.execute(SCHEMA)
    return db


def _reader(path: Path) -> apsw.Connection:
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

    def __init__(self, db: apsw.Connection, lock: threading.Lock) -> None:
        self._db, self._lock = db, lock

    def __enter__(self) -> None:
        self._lock.acquire()
        try:
            self._db.execute("begin immediate")
        except apsw.Error as error:
            self._lock.release()
            raise StoreError(f"the ledger file cannot be written: {error}") from error

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
