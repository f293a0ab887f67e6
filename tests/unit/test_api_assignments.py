"""Writing the bytes of a piece: one request at a time, nothing beyond its length, nothing once it was called back.

Knows: files in a temporary folder. Refuses to know: HTTP, and who is connected.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tallystick.api import assignments
from tallystick.errors import AbsentError, ConflictError, TallyError, TooLargeError

LENGTHS = (6, 4)


@dataclass
class Place:
    """As much of a piece as writing to it needs."""

    path: str
    ticket: str = "ticket"
    lengths: tuple[int, ...] = LENGTHS
    digests: tuple[tuple[bytes, int], ...] | None = None
    writing: threading.Lock = field(default_factory=threading.Lock)


@dataclass
class Desk:
    """Knows how often a ticket may still be shown."""

    shown: int = 1000

    def ticket(self, _ticket: str) -> None:
        self.shown -= 1
        if self.shown < 0:
            raise AbsentError("no such assignment")


def append(desk: Desk, place: Place, offset: int, data: bytes) -> int:
    out: Any = place
    exchange: Any = desk
    return assignments.append(exchange, out, offset, data)


def test_bytes_gather_in_order_and_never_beyond_the_length(tmp_path: Path) -> None:
    place = Place(str(tmp_path / "one.part"))
    assert append(Desk(), place, 0, b"abc") == 3
    for offset in (0, 2, 4):
        with pytest.raises(ConflictError):
            append(Desk(), place, offset, b"x")
    with pytest.raises(TooLargeError):
        append(Desk(), place, 3, bytes(8))
    assert append(Desk(), place, 3, b"defghij") == 10
    assert Path(place.path).read_bytes() == b"abcdefghij"


def test_two_requests_at_one_place_do_not_both_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stands = assignments.stands

    def slowly(out: Any) -> assignments.OutputView:  # noqa: ANN401 - as much of a piece as writing needs
        view = stands(out)
        time.sleep(0.05)
        return view

    monkeypatch.setattr(assignments, "stands", slowly)
    place, errors = Place(str(tmp_path / "one.part")), list[TallyError]()

    def write() -> None:
        try:
            append(Desk(), place, 0, b"abc")
        except TallyError as error:
            errors.append(error)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [type(error) for error in errors] == [ConflictError] * 3
    assert Path(place.path).read_bytes() == b"abc"


@pytest.mark.parametrize("shown", [0, 1])
def test_what_is_written_while_a_piece_is_called_back_is_no_file(tmp_path: Path, shown: int) -> None:
    place = Place(str(tmp_path / "one.part"))
    with pytest.raises(AbsentError):
        append(Desk(shown), place, 0, b"abc")
    assert not Path(place.path).exists()
