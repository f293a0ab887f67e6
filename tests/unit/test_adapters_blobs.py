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
