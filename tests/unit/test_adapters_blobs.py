"""Packs of blobs: what is put comes back, what is damaged or lost is absent, what is forgotten leaves nothing."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from tallystick.adapters import blobs as module
from tallystick.adapters.blobs import FolderBlobs
from tallystick.errors import StoreError

HEAD = 44


def digest(data: bytes) -> bytes:
    return sha256(data).digest()


def packs(folder: Path) -> list[Path]:
    return sorted(folder.glob("*"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "blobs"


@pytest.fixture
def store(folder: Path) -> Iterator[FolderBlobs]:
    opened = FolderBlobs(folder)
    yield opened
    opened.close()


def put(store: FolderBlobs, *values: bytes) -> list[bytes]:
    names = [digest(value) for value in values]
    for name, value in zip(names, values, strict=True):
        store.put(name, value)
    return names


def test_what_is_put_comes_back(store: FolderBlobs) -> None:
    values = [b"", b"a", bytes(range(256)) * 1000]
    for name, value in zip(put(store, *values), values, strict=True):
        assert store.has(name)
        assert store.get(name) == value
    assert not store.has(bytes(32))
    assert store.get(bytes(32)) is None


def test_the_folder_and_its_files_are_private(store: FolderBlobs, folder: Path) -> None:
    put(store, b"a")
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [path.stat().st_mode & 0o777 for path in packs(folder)] == [0o600]


def test_the_same_bytes_are_kept_once(store: FolderBlobs, folder: Path) -> None:
    put(store, b"same", b"same")
    store.close()
    assert packs(folder)[0].stat().st_size == HEAD + 4


def test_a_process_that_died_leaves_its_blobs_to_the_next(folder: Path) -> None:
    first = FolderBlobs(folder)  # never closed, so the space it asked for is still behind the last record
    kept, gone = put(first, b"kept", b"gone")
    first.delete(gone)
    assert packs(folder)[0].stat().st_size == module.ROOM_BYTES
    second = FolderBlobs(folder)
    assert second.get(kept) == b"kept"
    assert not second.has(gone)
    (new,) = put(second, b"new")
    assert len(packs(folder)) == 2
    third = FolderBlobs(folder)
    assert (third.get(kept), third.get(new)) == (b"kept", b"new")
    for opened in (first, second, third):
        opened.close()


def test_a_damaged_blob_is_absent_and_can_be_put_again(store: FolderBlobs, folder: Path) -> None:
    name, other = put(store, b"to be damaged", b"whole")
    with packs(folder)[0].open("r+b") as file:
        file.seek(HEAD + 3)
        file.write(b"X")
    assert store.get(name) is None
    assert not store.has(name)
    store.put(name, b"to be damaged")
    assert store.get(name) == b"to be damaged"
    assert store.get(other) == b"whole"


@pytest.mark.parametrize("cut", [1, HEAD - 1, HEAD, HEAD + 1])
def test_a_torn_pack_gives_what_is_whole(folder: Path, cut: int) -> None:
    first = FolderBlobs(folder)
    whole, torn = put(first, b"whole", b"torn")
    first.close()
    os.truncate(packs(folder)[0], HEAD + 5 + cut)
    second = FolderBlobs(folder)
    assert second.get(whole) == b"whole"
    assert second.get(torn) is None
    second.close()


@pytest.mark.parametrize("head", [bytes(HEAD), b"blob" + bytes(32) + b"\xff" * 8, b"junk" * 11])
def test_a_pack_of_nonsense_is_deleted(folder: Path, head: bytes) -> None:
    folder.mkdir()
    (folder / "000007.pack").write_bytes(head + bytes(100))
    store = FolderBlobs(folder)
    assert packs(folder) == []
    (name,) = put(store, b"new")
    assert store.get(name) == b"new"
    store.close()


def test_a_pack_goes_with_its_last_blob(store: FolderBlobs, folder: Path) -> None:
    one, two = put(store, b"one", b"two")
    store.delete(one)
    assert len(packs(folder)) == 1
    store.delete(two)
    store.delete(two)
    assert packs(folder) == []
    (three,) = put(store, b"three")
    assert store.get(three) == b"three"


def test_a_full_pack_is_followed_by_another(store: FolderBlobs, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PACK_BYTES", 150)
    monkeypatch.setattr(module, "ROOM_BYTES", 64)
    values = [bytes([n]) * 70 for n in range(5)]
    names = put(store, *values)
    assert [store.get(name) for name in names] == values
    assert len(packs(folder)) == 3  # two of 114 bytes reach the bound
    for name in names:
        store.delete(name)
    assert packs(folder) == []


def test_threads_that_bring_the_same_bytes_leave_them_once(store: FolderBlobs, folder: Path) -> None:
    values = [bytes([n]) * 20_000 for n in range(40)]
    threads = [threading.Thread(target=put, args=(store, *values)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [store.get(digest(value)) for value in values] == values
    for value in values:
        store.delete(digest(value))
    assert packs(folder) == []


def test_a_disk_that_refuses_is_named(store: FolderBlobs, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", refuse)
    with pytest.raises(StoreError, match="No space left"):
        put(store, b"a")


def test_space_that_could_not_be_filled_is_given_up(
    store: FolderBlobs, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = []

    def refuse_data(_file: int, data: bytes, _offset: int) -> int:
        written.append(len(data))
        if len(written) == 2:
            raise OSError(5, "Input/output error")
        return len(data)

    monkeypatch.setattr(os, "pwrite", refuse_data)
    with pytest.raises(StoreError, match="Input/output error"):
        put(store, b"lost")
    assert not store.has(digest(b"lost"))
    assert packs(folder) == []


def test_a_folder_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match="cannot be used"):
        FolderBlobs(tmp_path / "file")


# Flushing.


class Flushes:
    """Which files were flushed, by name, and an error to raise instead."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.names: list[str] = []
        self.error: OSError | None = None
        monkeypatch.setattr(os, "fsync", self._flush)

    def _flush(self, file: int) -> None:
        if self.error is not None:
            raise self.error
        self.names.append(Path(f"/proc/self/fd/{file}").resolve().name)

    def taken(self) -> list[str]:
        names, self.names = sorted(self.names), []
        return names


@pytest.fixture
def flushes(monkeypatch: pytest.MonkeyPatch) -> Flushes:
    return Flushes(monkeypatch)


def test_a_flush_takes_what_was_written_since_the_last_one(store: FolderBlobs, flushes: Flushes) -> None:
    store.flush()
    assert flushes.taken() == []
    put(store, b"one", b"two")
    store.flush()
    assert flushes.taken() == ["000001.pack", "blobs"]
    put(store, b"one")
    store.flush()
    assert flushes.taken() == []
    put(store, b"three")
    store.flush()
    assert flushes.taken() == ["000001.pack"]


def test_what_an_earlier_process_left_is_flushed_too(folder: Path, flushes: Flushes) -> None:
    """What it wrote may still wait in the system's memory, and whoever brings it again is told that it is here."""
    put(FolderBlobs(folder), b"left")
    store = FolderBlobs(folder)
    put(store, b"left")
    store.flush()
    assert flushes.taken() == ["000001.pack"]
    store.close()


def test_a_flush_that_failed_is_never_made_good_by_a_later_one(
    store: FolderBlobs, flushes: Flushes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PACK_BYTES", 60)
    names = put(store, bytes(50), bytes(51))
    flushes.error = OSError(5, "Input/output error")
    with pytest.raises(StoreError, match="could not be flushed: Input/output error"):
        store.flush()
    flushes.error = None
    with pytest.raises(StoreError, match="refused to flush blobs"):
        store.flush()
    for name in names:
        store.delete(name)
    put(store, b"new")
    store.flush()
    assert flushes.taken() == ["000001.pack", "blobs"]


def test_damaged_bytes_of_an_earlier_process_do_not_count_and_can_be_put_again(folder: Path) -> None:
    """Else a worker that sends them again would be told that they are here."""
    names = put(FolderBlobs(folder), b"to be damaged", b"whole")
    with packs(folder)[0].open("r+b") as file:
        file.seek(HEAD + 3)
        file.write(b"X")
    store = FolderBlobs(folder)
    assert [store.has(name) for name in names] == [False, True]
    put(store, b"to be damaged")
    assert store.get(names[0]) == b"to be damaged"
    store.close()
    again = FolderBlobs(folder)
    assert [again.get(name) for name in names] == [b"to be damaged", b"whole"]
    again.close()


# Many threads.


def test_what_comes_after_the_end_is_refused(store: FolderBlobs) -> None:
    """A job's thread may still run; its bytes must not enter whatever file has the number by then."""
    put(store, b"one")
    store.close()
    with pytest.raises(StoreError, match="after the blobs were closed"):
        put(store, b"two")
    assert store.get(digest(b"one")) is None
    store.flush()


def test_many_threads_put_get_flush_and_delete(
    store: FolderBlobs, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Packs come and go all the while; what a thread put itself is there until it deletes it."""
    monkeypatch.setattr(module, "PACK_BYTES", 20_000)
    monkeypatch.setattr(module, "ROOM_BYTES", 5_000)
    errors: list[BaseException] = []
    shared = [bytes([255 - n]) * 3_000 for n in range(5)]

    def work(part: int) -> None:
        try:
            for turn in range(60):
                own = bytes([part, turn]) * (500 + 37 * turn)
                (name,) = put(store, own)
                put(store, *shared)
                if turn % 8 == part % 8:
                    store.flush()
                assert store.get(name) == own
                for value in shared:
                    assert store.get(digest(value)) in {value, None}
                store.delete(digest(shared[turn % 5]))
                store.delete(name)
                assert not store.has(name)
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            errors.append(error)

    open_before = sum(1 for _ in Path("/proc/self/fd").iterdir())
    threads = [threading.Thread(target=work, args=(part,)) for part in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    for value in shared:
        store.delete(digest(value))
    assert packs(folder) == []
    assert sum(1 for _ in Path("/proc/self/fd").iterdir()) <= open_before
