"""The store on SQLite: a batch is durable or absent, a full or damaged file is one clear error, one process writes."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from tallystick.adapters.sqlite import SqliteStore
from tallystick.adapters.tiles import FolderTiles, NoTiles
from tallystick.cli.home import Home, open_home, read_home
from tallystick.errors import HomeError, KeystoreError, MalformedError, StoreError
from tallystick.ledger import payloads as say
from tallystick.ledger.transactions import Draft, decode
from tallystick.node.ports import Batch
from tallystick.node.sequencer import Submission
from tallystick.receipts.log import TileName

ROOT: Final = Path(__file__).resolve().parents[2]


@contextmanager
def opened(path: Path, **options: bool) -> Iterator[SqliteStore]:
    with closing(SqliteStore(path, **options)) as store:
        yield store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


def batch(first: int, count: int = 2, size: int = 100) -> Batch:
    """A batch of so many entries, with a private value."""
    entries = tuple(bytes([first + at]) * size for at in range(count))
    return Batch(first, entries, f"checkpoint {first + count}", ((f"note/{first}", b"private"),))


def content(store: SqliteStore) -> tuple[Any, ...]:
    """All that a store says."""
    return (
        list(store.entries(0, store.size())),
        store.checkpoint(),
        list(store.snapshot()),
        store.genesis(),
        {key: store.private(key) for key in store.private_keys("")},
    )


def test_what_was_appended_is_there_after_reopening(path: Path) -> None:
    with opened(path) as store:
        store.create(b"genesis")
        store.append(batch(0))
        store.append(batch(2, count=3))
        store.save_snapshot(0, 2, b"snapshot")
        store.save_snapshot(2, 5, b"newer")
        store.put_private([("a/1", b"x"), ("a/2", b"y"), ("note/0", None), ("absent", None)])
        before = content(store)
    with opened(path) as store:
        assert content(store) == before
        assert (store.size(), store.checkpoint()) == (5, "checkpoint 5")
        assert list(store.snapshot()) == [b"snapshot", b"newer"]
        assert store.private_keys("a/") == ("a/1", "a/2")
        assert (store.private("note/0"), store.private("note/2")) == (None, b"private")


def test_every_commit_is_flushed(path: Path) -> None:
    with opened(path) as store:
        assert store._write.db.execute("pragma journal_mode").fetchall() == [("wal",)]
        assert store._write.db.execute("pragma synchronous").fetchall() == [(2,)]


def test_a_piece_of_a_snapshot_replaces_whatever_went_beyond_where_it_begins(path: Path) -> None:
    with opened(path) as store:
        for first in range(0, 50, 10):
            store.save_snapshot(first, first + 10, b"%d" % first)
        assert list(store.snapshot()) == [b"0", b"10", b"20", b"30", b"40"]
        store.save_snapshot(20, 45, b"other")
        assert list(store.snapshot()) == [b"0", b"10", b"other"]
        store.save_snapshot(0, 60, b"whole")
        assert list(store.snapshot()) == [b"whole"]


def test_a_file_from_before_snapshots_came_in_pieces_is_read_and_gets_pieces(path: Path) -> None:
    with opened(path) as store:
        store.append(batch(0))
        store._write.db.execute("drop table piece")
        store._write.db.execute("create table snapshot(id integer primary key check (id = 1), size integer, data blob)")
    with opened(path, read_only=True) as store:
        assert list(store.snapshot()) == []
        assert store.size() == 2
    with opened(path) as store:
        store.save_snapshot(0, 2, b"piece")
        assert list(store.snapshot()) == [b"piece"]


def test_a_prefix_is_no_pattern(path: Path) -> None:
    with opened(path) as store:
        store.put_private([("a_b/1", b"1"), ("aXb/1", b"2"), ("a%/1", b"3")])
        assert store.private_keys("a_b/") == ("a_b/1",)
        assert store.private_keys("a%") == ("a%/1",)


def test_a_genesis_is_made_once(path: Path) -> None:
    with opened(path) as store:
        store.create(b"genesis")
        with pytest.raises(StoreError, match="already has a genesis"):
            store.create(b"another")
        assert store.genesis() == b"genesis"


@pytest.mark.parametrize("first", [0, 1, 3])
def test_a_batch_that_does_not_follow_is_refused(path: Path, first: int) -> None:
    with opened(path) as store:
        store.append(batch(0))
        before = content(store)
        with pytest.raises(StoreError, match=f"the log holds 2 entries, the batch begins at {first}"):
            store.append(batch(first))
        assert content(store) == before
        store.append(batch(2))


def test_entries_beyond_the_end_are_an_error(path: Path) -> None:
    with opened(path) as store:
        store.append(batch(0))
        with pytest.raises(StoreError, match="lacks entries"):
            list(store.entries(0, 3))


def test_a_batch_that_fails_in_the_middle_leaves_nothing(path: Path) -> None:
    with opened(path) as store:
        store.append(batch(0))
        before = content(store)
        bad: Any = Batch(2, (b"good", object()), "checkpoint 4", ())  # type: ignore[arg-type]
        with pytest.raises((StoreError, TypeError)):
            store.append(bad)
        assert content(store) == before
        store.append(batch(2))


def full(store: SqliteStore) -> None:
    """Let the database grow no more than it has: what a full disk looks like."""
    pages = store._write.db.execute("pragma page_count").fetchall()[0][0]
    store._write.db.execute(f"pragma max_page_count={pages}")


def test_a_full_disk_acknowledges_nothing_and_later_goes_on(path: Path) -> None:
    with opened(path) as store:
        store.append(batch(0))
        before = content(store)
        full(store)
        for write in (
            lambda: store.append(batch(2, count=50, size=5000)),
            lambda: store.put_private([("big", b"x" * 100_000)]),
            lambda: store.save_snapshot(0, 2, b"x" * 100_000),
        ):
            with pytest.raises(StoreError):
                write()
            assert content(store) == before
        store._write.db.execute("pragma max_page_count=1000000")
        store.append(batch(2, count=50, size=5000))
    with opened(path) as store:
        assert store.size() == 52


FILE_LIMIT: Final = """
import resource, signal, sys
from pathlib import Path
from tallystick.adapters.sqlite import SqliteStore
from tallystick.errors import StoreError
from tallystick.node.ports import Batch
store = SqliteStore(Path(sys.argv[1]))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
first = 0
try:
    while True:
        store.append(Batch(first, (b"x" * 5000,) * 4, f"checkpoint {first + 4}", ()))
        first += 4
        print(first, flush=True)
except StoreError as error:
    print("refused", store.size(), store.checkpoint(), flush=True)
"""


def test_a_file_system_that_takes_no_more_bytes_loses_nothing_acknowledged(path: Path) -> None:
    """The kernel itself refuses to let the file grow: a real write error in the middle of a commit."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-c", FILE_LIMIT, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    *said, last = done.stdout.splitlines()
    assert said
    assert last == f"refused {said[-1]} checkpoint {said[-1]}"
    with opened(path) as store:
        assert store.size() == int(said[-1])
        store.append(batch(int(said[-1])))


def test_an_engine_over_a_full_disk_acknowledges_nothing(tmp_path: Path) -> None:
    heard: list[int] = []
    with open_home(tmp_path / "home", watch=lambda _transaction, index: heard.append(index)) as home:
        book, store = home.node.book, home.store
        faucet, bob = home.identity.faucet(), home.identity.requester().address
        payments = Submission(tuple(Draft(faucet, say.Transfer(bob, "1")) for _ in range(400)))
        full(store)
        with pytest.raises(StoreError):
            book.log([payments])
        assert (heard, store.size(), book.engine.position.tree.size) == ([], 0, 0)
        store._write.db.execute("pragma max_page_count=1000000")
        book.log([payments])
        assert heard == list(range(401))
    with read_home(tmp_path / "home") as reading:
        assert reading.store.size() == 401


def test_a_file_that_may_not_be_written_is_refused(path: Path) -> None:
    with opened(path) as store:
        store.append(batch(0))
    with opened(path, read_only=True) as store:
        before = content(store)
        for write in (
            lambda: store.append(batch(2)),
            lambda: store.put_private([("a", b"x")]),
            lambda: store.save_snapshot(0, 2, b"x"),
        ):
            with pytest.raises(StoreError):
                write()
        assert content(store) == before


def test_a_reader_keeps_its_moment(path: Path) -> None:
    with opened(path) as writer:
        writer.append(batch(0))
        with opened(path, read_only=True) as reader:
            writer.append(batch(2))
            assert (reader.size(), reader.checkpoint()) == (2, "checkpoint 2")
        with opened(path, read_only=True) as reader:
            assert (reader.size(), reader.checkpoint()) == (4, "checkpoint 4")


def test_what_is_no_database_is_refused(path: Path) -> None:
    path.write_bytes(b"this is a shopping list, long enough to have a header" * 20)
    with pytest.raises(StoreError, match=r"ledger\.sqlite cannot be opened"):
        SqliteStore(path)
    with pytest.raises(StoreError):
        SqliteStore(path.with_name("missing") / "ledger.sqlite")


def test_two_threads_write_whole_batches(path: Path) -> None:
    with opened(path) as store:
        errors: list[Exception] = []

        def write(name: str) -> None:
            for number in range(20):
                try:
                    store.put_private([(f"{name}/{number}/{part}", b"x") for part in range(3)])
                except StoreError as error:
                    errors.append(error)

        threads = [threading.Thread(target=write, args=(name,)) for name in "abc"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert len(store.private_keys("")) == 3 * 20 * 3


# A whole home with a damaged file.


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with five blocks."""
    with open_home(tmp_path / "home") as made:
        pay(made, 5)
    return tmp_path / "home"


def pay(home: Home, times: int) -> None:
    for _ in range(times):
        draft = Draft(home.identity.faucet(), say.Transfer(home.identity.requester().address, "7"))
        home.node.book.must(Submission((draft,)))


def edit(home: Path, statement: str, *bindings: object) -> None:
    """Change the database behind our back."""
    with closing(sqlite3.connect(home / "ledger.sqlite")) as db, db:
        db.execute(statement, bindings)


def flip_entry(home: Path) -> None:
    with closing(sqlite3.connect(home / "ledger.sqlite")) as db:
        (body,) = db.execute("select body from entry where idx = 4").fetchone()
    edit(home, "update entry set body = ? where idx = 4", body.replace(b'"amount":"7"', b'"amount":"8"'))


def tear(home: Path) -> None:
    """Overwrite pages in the middle of the file."""
    file = home / "ledger.sqlite"
    data = bytearray(file.read_bytes())
    data[4096 : len(data) - 4096] = b"\xa5" * (len(data) - 8192)
    file.write_bytes(data)


DAMAGES: Final[dict[str, Callable[[Path], object]]] = {
    "an entry changed": flip_entry,
    "the last entry gone": lambda home: edit(home, "delete from entry where idx = 9"),
    "the last block gone": lambda home: edit(home, "delete from entry where idx >= 8"),
    "a gap": lambda home: edit(home, "delete from entry where idx = 3"),
    "a table emptied": lambda home: edit(home, "delete from entry"),
    "no checkpoint": lambda home: edit(home, "delete from meta where name = 'checkpoint'"),
    "a checkpoint that is no text": lambda home: edit(
        home, "update meta set value = ? where name = 'checkpoint'", b"\xff\x00"
    ),
    "a genesis that is none": lambda home: edit(home, "update meta set value = ? where name = 'genesis'", b"{}"),
    "pages overwritten": tear,
    "the file cut short": lambda home: os.truncate(home / "ledger.sqlite", 5000),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_home_is_refused_with_one_clear_error(home: Path, damage: str) -> None:
    DAMAGES[damage](home)
    with pytest.raises((StoreError, HomeError, MalformedError)) as refused, open_home(home):
        pytest.fail("it opened")
    assert "\n" not in str(refused.value)


def test_a_keystore_of_another_home_is_refused(home: Path, tmp_path: Path) -> None:
    with open_home(tmp_path / "other"):
        pass
    (home / "master.key").write_bytes((tmp_path / "other" / "master.key").read_bytes())
    with pytest.raises((StoreError, KeystoreError), match="the keys of this home are not the ones"), open_home(home):
        pytest.fail("it opened")


def test_a_home_without_its_keystore_is_refused(home: Path) -> None:
    (home / "master.key").unlink()
    with pytest.raises(HomeError, match="is missing beside its ledger"), open_home(home):
        pytest.fail("it opened")


def test_tiles_are_repaired_when_the_home_opens(home: Path) -> None:
    log = home / "log"
    right = {path: path.read_bytes() for path in log.rglob("*") if path.is_file()}
    for path in right:
        path.unlink()
    with open_home(home) as again:
        assert (log / "checkpoint").read_text() == again.store.checkpoint()
    newest = {path: data for path, data in right.items() if path.name in {"checkpoint", "10"}}
    assert len(newest) == 3  # the checkpoint, one tile of hashes, one bundle of entries
    assert all(path.read_bytes() == data for path, data in newest.items())


def test_a_full_tile_takes_its_partial_ones_away(tmp_path: Path) -> None:
    tiles = FolderTiles(tmp_path / "log")
    tiles.publish([(TileName(0, 0, 5), b"partial"), (TileName(None, 0, 5), b"entries")], "checkpoint 5")
    tiles.publish([(TileName(0, 0), b"full")], "checkpoint 256")
    assert not (tmp_path / "log" / "tile" / "0" / "000.p").exists()
    assert (tmp_path / "log" / "tile" / "entries" / "000.p" / "5").exists()
    assert tiles.published() == "checkpoint 256"


def test_a_log_that_is_only_read_publishes_nothing(home: Path) -> None:
    with opened(home / "ledger.sqlite", read_only=True) as store:
        tiles = NoTiles(store)
        assert tiles.published() == store.checkpoint()
        with pytest.raises(StoreError, match="opened for reading"):
            tiles.publish([], "origin\n1\n")


def test_entries_read_back_are_the_entries(home: Path) -> None:
    with read_home(home) as reading:
        kinds = [decode(entry).type for entry in reading.store.entries(0, reading.store.size())]
    assert kinds == ["Transfer", "BlockHeader"] * 5


# Many threads.


def hammered(store: SqliteStore, seconds: float) -> tuple[int, dict[str, bytes], list[BaseException]]:
    """One thread appends, four keep private values, four read whatever is there; what each of them was told counts."""
    done, errors, kept = threading.Event(), list[BaseException](), dict[str, bytes]()
    appended = [0]

    def append() -> None:
        store.append(Batch(appended[0], (b"%d" % appended[0], b"-"), f"checkpoint {appended[0] + 2}", ()))
        appended[0] += 2
        assert store.size() == appended[0]

    def keep(name: str, turn: list[int]) -> None:
        turn[0] += 1
        key, value = f"{name}/{turn[0] % 7}", b"%d" % turn[0]
        store.put_private([(key, value), (f"{name}/gone", value)])
        store.put_private([(f"{name}/gone", None)])
        assert store.private(key) == value
        assert store.private(f"{name}/gone") is None
        kept[key] = value

    def read() -> None:
        size = store.size()
        assert [entry for entry in store.entries(0, size) if entry != b"-"] == [b"%d" % at for at in range(0, size, 2)]
        checkpoint = store.checkpoint()
        assert checkpoint is None or int(checkpoint.split()[1]) >= size
        assert len(store.private_keys("")) <= 4 * 8

    def loop(act: Callable[[], None]) -> None:
        try:
            while not done.is_set():
                act()
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            errors.append(error)
            done.set()

    keepers = [lambda name=name, turn=[0]: keep(name, turn) for name in "abcd"]
    threads = [threading.Thread(target=loop, args=(act,)) for act in (append, *keepers, *[read] * 4)]
    for thread in threads:
        thread.start()
    done.wait(seconds)
    done.set()
    for thread in threads:
        thread.join()
    return appended[0], kept, errors


def test_many_threads_append_keep_and_read(path: Path) -> None:
    with opened(path) as store:
        appended, kept, errors = hammered(store, 2.0)
        assert errors == []
        assert appended > 0
        assert len(kept) > 8
    with opened(path) as store:
        assert store.size() == appended
        assert {key: store.private(key) for key in kept} == kept


def test_nobody_who_reads_waits_for_a_flush(path: Path) -> None:
    with opened(path) as store:
        store.append(batch(0))
        read = list[int]()

        def look() -> None:
            thread = threading.Thread(target=lambda: read.append(len(list(store.entries(0, store.size())))))
            thread.start()
            thread.join(timeout=10)

        with store._writing() as db:
            db.execute("insert into entry(idx, body) values (2, x'00')")
            look()
        look()
        assert read == [2, 3]


def test_private_values_that_come_together_share_a_flush(path: Path) -> None:
    with opened(path) as store:
        with store._write.lock:
            threads = [
                threading.Thread(target=store.put_private, args=([(f"k/{n}", b"%d" % n), ("same", b"%d" % n)],))
                for n in range(20)
            ]
            for thread in threads:
                thread.start()
            deadline = time.monotonic() + 10
            while len(store._keep._next.wishes) < 19 and time.monotonic() < deadline:
                time.sleep(0.001)
            waiting = len(store._keep._next.wishes)
        for thread in threads:
            thread.join()
        assert waiting == 19
        assert sorted(store.private_keys("k/"), key=lambda key: int(key[2:])) == [f"k/{n}" for n in range(20)]
        assert store._write.db.total_changes() == 40


def test_a_value_that_the_database_refuses_fails_those_who_shared_it_and_leaves_nothing(path: Path) -> None:
    with opened(path) as store:
        full(store)
        errors = list[str]()

        def keep(name: str) -> None:
            try:
                store.put_private([(name, bytes(100_000))])
            except StoreError as error:
                errors.append(str(error))

        threads = [threading.Thread(target=keep, args=(f"k/{n}",)) for n in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(errors) == 5
        assert store.private_keys("") == ()


def test_a_store_that_was_closed_says_so(path: Path) -> None:
    """A job's thread may still run when the process ends."""
    with opened(path) as store:
        store.append(batch(0))
    for act in (store.size, lambda: store.append(batch(2)), lambda: store.put_private([("a", b"b")])):
        with pytest.raises(StoreError):
            act()
