"""Ranges, conditions and what an answer then holds, as RFC 9110 has it."""

from __future__ import annotations

from typing import Any

import pytest

from tallystick.api.ranges import Span, choose, read_range
from tallystick.errors import RangeError


@pytest.mark.parametrize(
    ("text", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-9", 0, 10),
        ("bytes=2-", 2, 10),
        ("bytes=9-", 9, 10),
        ("bytes=-3", 7, 10),
        ("bytes=-99", 0, 10),
        ("bytes=5-99", 5, 10),
        (" bytes=1-2 ", 1, 3),
    ],
)
def test_a_single_range_is_cut_out(text: str, start: int, stop: int) -> None:
    assert read_range(text, 10) == Span(start, stop, 10, partial=True)


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "bytes=",
        "bytes=-",
        "bytes=a-b",
        "bytes=0-1,3-4",
        "chars=0-1",
        "bytes=3-1",
        "bytes=1 - 2",
        "bytes=0x1-",
    ],
)
def test_what_is_no_single_range_is_ignored(text: str | None) -> None:
    assert read_range(text, 10) == Span(0, 10, 10, partial=False)


@pytest.mark.parametrize(("text", "size"), [("bytes=10-", 10), ("bytes=99-100", 10), ("bytes=-0", 10), ("bytes=0-", 0)])
def test_a_range_without_bytes_is_refused_with_the_size(text: str, size: int) -> None:
    with pytest.raises(RangeError) as refused:
        read_range(text, size)
    assert refused.value.size == size


def asked(method: str = "GET", **headers: str) -> dict[str, Any]:
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"method": method, "headers": pairs}


def test_the_whole_thing_names_itself() -> None:
    part = choose(asked(), 10, "tag", {"x": "y"})
    assert (part.status, part.span, part.empty) == (200, Span(0, 10, 10, partial=False), False)
    assert part.headers == {"etag": '"tag"', "accept-ranges": "bytes", "content-length": "10", "x": "y"}


def test_a_part_says_which() -> None:
    part = choose(asked(range="bytes=2-4"), 10, "tag")
    assert (part.status, part.headers["content-range"], part.headers["content-length"]) == (206, "bytes 2-4/10", "3")


@pytest.mark.parametrize(
    ("known", "status"), [('"tag"', 304), ('"a", "tag"', 304), ("*", 304), ('"a"', 200), ("tag", 200), ('W/"tag"', 200)]
)
def test_what_is_held_is_not_sent_again(known: str, status: int) -> None:
    part = choose(asked(if_none_match=known), 10, "tag")
    assert (part.status, part.empty) == (status, status == 304)


@pytest.mark.parametrize(
    ("condition", "status"), [('"tag"', 206), ('"other"', 200), ("Fri, 20 Nov 2026 13:00:00 GMT", 200)]
)
def test_a_part_of_something_else_is_the_whole_of_this(condition: str, status: int) -> None:
    assert choose(asked(range="bytes=0-0", if_range=condition), 10, "tag").status == status


def test_head_has_headers_only() -> None:
    part = choose(asked("HEAD", range="bytes=0-1"), 10, "tag")
    assert (part.status, part.empty, part.headers["content-length"]) == (206, True, "2")
