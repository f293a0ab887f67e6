"""The Store on SQLite: WAL, ``synchronous=FULL``, one writer; a batch is one transaction.

Knows bytes and their order. Wei and states never become SQL integers: they stand inside the entries.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, cast

import apsw

from tallystick.errors import StoreError
from tallystick.node.ports import Batch

SCHEMA: Final = """
create table if not exists entry(idx integer primary key, body blob not null);
create table if not exists meta(name text primary key, value blob not null) without rowid;
create table if not exists private(name text primary key, value blob not null) without rowid;
create table if not exists snapshot(id integer primary key check (id = 1), size integer not null, data blob not null);
"""
READ_CHUNK: Final = 4096


class SqliteStore:
    """One database file; safe for several threads of one process."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        """Open or create the file.

        Raises:
            StoreError: it cannot be opened, or is no database of ours.
        """
        self._lock = threading.Lock()
        flags = apsw.SQLITE_OPEN_READONLY if read_only else apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
        try:
            self._db = apsw.Connection(str(path), flags=flags)
            self._db.set_busy_timeout(5000)
            if not read_only:
                self._db.execute("pragma journal_mode=wal")
                self._db.execute("pragma synchronous=full")
                self._db.execute(SCHEMA)
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
        with self._lock:
            return self._count()

    def entries(self, start: int, stop: int) -> Iterator[bytes]:
        """Yield durable entries in order."""
        while start < stop:
            end = min(stop, start + READ_CHUNK)
            with self._lock:
                rows = self._db.execute(
                    "select body from entry where idx >= ? and idx < ? order by idx", (start, end)
                ).fetchall()
            if len(rows) != end - start:
                raise StoreError(f"the ledger file lacks entries between {start} and {end}")
            for (body,) in rows:
                yield cast("bytes", body)
            start = end

    def checkpoint(self) -> str | None:
        """Return the newest durable checkpoint."""
        value = self._value("select value from meta where name = 'checkpoint'")
        return None if value is None else value.decode()

    def snapshot(self) -> tuple[int, bytes] | None:
        """Return the newest snapshot and how many entries it covers."""
        with self._lock:
            row = self._db.execute("select size, data from snapshot").fetchone()
        return None if row is None else (int(row[0]), bytes(row[1]))

    def save_snapshot(self, size: int, data: bytes) -> None:
        """Make a snapshot durable; it replaces the older one."""
        with self._writing():
            self._db.execute("insert or replace into snapshot(id, size, data) values (1, ?, ?)", (size, data))

    def private(self, key: str) -> bytes | None:
        """Return a private value."""
        return self._value("select value from private where name = ?", (key,))

    def private_keys(self, prefix: str) -> tuple[str, ...]:
        """Return the keys of private values under a prefix, sorted."""
        with self._lock:
            rows = self._db.execute(
                "select name from private where substr(name, 1, ?) = ? order by name", (len(prefix), prefix)
            ).fetchall()
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
        row = self._db.execute("select coalesce(max(idx) + 1, 0) from entry").fetchone()
        return 0 if row is None else int(row[0])

    def _value(self, statement: str, bindings: tuple[str, ...] = ()) -> bytes | None:
        with self._lock:
            row = self._db.execute(statement, bindings).fetchone()
        return None if row is None else bytes(row[0])

    def _writing(self) -> _Writing:
        return _Writing(self._db, self._lock)


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
