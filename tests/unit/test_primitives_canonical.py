"""One value has one spelling: the decoder refuses every other, by name."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import pytest

from tallystick.errors import MalformedError, NotCanonicalError, TooLargeError
from tallystick.primitives import canonical
from tallystick.primitives.canonical import (
    INTEGER_MAX,
    AddressText,
    Count,
    DigestHex,
    Integer,
    PublicKeyHex,
    RatePpm,
    SaltHex,
    SignatureHex,
    decode,
    encode,
    format_base64,
    parse_base64,
)


class Inner(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    zeta: Count
    alpha: str = ""


class Outer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    inner: Inner
    many: tuple[Inner, ...] = ()
    flag: bool = False
    nothing: None = None


class Loose(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    meta: dict[str, Any]


def test_keys_are_sorted_at_every_depth() -> None:
    value = Outer("n", Inner(1, "a"), (Inner(2),))
    assert encode(value) == (
        b'{"flag":false,"inner":{"alpha":"a","zeta":1},"many":[{"alpha":"","zeta":2}],"name":"n","nothing":null}'
    )
    assert decode(encode(value), Outer, what="outer") == value


@pytest.mark.parametrize(
    "data",
    [
        b'{"zeta":1,"alpha":""}',
        b'{"alpha":"","alpha":"","zeta":1}',
        b'{"alpha":"x","alpha":"","zeta":1}',
        b'{"alpha":"", "zeta":1}',
        b'{"alpha":"","zeta":1}\n',
        b' {"alpha":"","zeta":1}',
        b'{"alpha":"\\u0041","zeta":1}',
        b'{"alpha":"\\/","zeta":1}',
        b'{"alpha":"\\u000A","zeta":1}',
        b'{"alpha":"\\ud83d\\ude00","zeta":1}',
        b'{"alpha":"","zeta":-0}',
        b'{"zeta":1}',
    ],
)
def test_a_second_spelling_of_the_same_value_is_refused(data: bytes) -> None:
    with pytest.raises(NotCanonicalError, match="inner cannot be read: byte"):
        decode(data, Inner, what="inner")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'{"alpha":"","zeta":1}x',
        b'{"alpha":"","zeta":1.0}',
        b'{"alpha":"","zeta":1e0}',
        b'{"alpha":"","zeta":01}',
        b'{"alpha":"","zeta":"1"}',
        b'{"alpha":"","zeta":-1}',
        b'{"alpha":"","zeta":9007199254740992}',
        b'{"alpha":"","zeta":' + b"9" * 5000 + b"}",
        b'{"alpha":"","extra":1,"zeta":1}',
        b'{"alpha":"\xff","zeta":1}',
        b'{"alpha":"\xed\xa0\x80","zeta":1}',
        b'{"alpha":"\\ud800","zeta":1}',
        b'{"alpha":"\x01","zeta":1}',
        b'\xef\xbb\xbf{"alpha":"","zeta":1}',
        b'{"alpha":NaN,"zeta":1}',
    ],
)
def test_what_is_no_value_of_the_type_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedError, match="inner cannot be read"):
        decode(data, Inner, what="inner")


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_deep_nesting_is_malformed_and_no_recursion_error(opening: bytes) -> None:
    with pytest.raises(MalformedError, match="deep"):
        decode(opening * 20_000, object, what="thing", bytes_max=1 << 20)
    nested = b'{"meta":' + opening * 20_000
    with pytest.raises(MalformedError):
        decode(nested, Loose, what="thing", bytes_max=1 << 20)


def test_the_size_bound_comes_before_reading() -> None:
    data = encode("x" * 65_533)
    assert len(data) == 65_535
    assert decode(data, str, what="text") == "x" * 65_533
    with pytest.raises(TooLargeError, match="65536 bytes, the limit is 65535"):
        decode(encode("x" * 65_534), str, what="text")
    with pytest.raises(TooLargeError):
        decode(b"{" * 11, str, what="text", bytes_max=10)


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b'{"meta":{"a":1.5}}', "1.5"),
        (b'{"meta":{"a":[[{"b":1e30}]]}}', "integer"),
        (b'{"meta":{"a":9007199254740992}}', "2\\^53"),
        (b'{"meta":{"a":-9007199254740992}}', "2\\^53"),
        ('{"meta":{"ä":1}}'.encode(), "ASCII"),
        ('{"meta":{"a":{"b":{"é":1}}}}'.encode(), "ASCII"),
    ],
)
def test_the_subset_holds_inside_loosely_typed_fields(data: bytes, fault: str) -> None:
    with pytest.raises(NotCanonicalError, match=fault):
        decode(data, Loose, what="thing")


@pytest.mark.parametrize(
    "type_", [float, int, list[int], dict[str, float], int | str, Annotated[int, msgspec.Meta(ge=0)]]
)
def test_types_that_could_hold_more_than_the_subset_are_walked(type_: type[object]) -> None:
    assert not canonical._is_closed(type_)


@pytest.mark.parametrize("type_", [Outer, Count, str, bool, tuple[Integer, str], dict[str, Count], Inner | None])
def test_types_that_cannot_are_not_walked(type_: type[object]) -> None:
    assert canonical._is_closed(type_)


def test_keys_outside_ascii_are_found_in_closed_types_too() -> None:
    with pytest.raises(NotCanonicalError, match="ASCII"):
        decode('{"ü":1}'.encode(), dict[str, Count], what="map")
    assert decode('{"u":"ü"}'.encode(), dict[str, str], what="map") == {"u": "ü"}


class Carrier(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    inner: msgspec.Raw


@pytest.mark.parametrize("inner", [b'{"b":1,"a":2}', b'{"a":1,"a":1}', b"[1, 2]", b"1.5", b"-0", b'"\\u0041"'])
def test_bytes_that_a_type_leaves_as_found_are_held_to_the_form_too(inner: bytes) -> None:
    with pytest.raises(NotCanonicalError):
        decode(b'{"inner":' + inner + b"}", Carrier, what="carrier")
    assert bytes(decode(b'{"inner":{"a":1}}', Carrier, what="carrier").inner) == b'{"a":1}'


def test_integers_up_to_the_bound_are_read() -> None:
    for value in (INTEGER_MAX, -INTEGER_MAX, 0):
        assert decode(encode(value), Integer, what="n") == value
        assert decode(encode({"meta": {"a": value}}), Loose, what="n").meta["a"] == value


def test_text_without_utf8_form_cannot_be_encoded() -> None:
    with pytest.raises(NotCanonicalError, match="UTF-8"):
        encode({"a": "\ud800"})


@pytest.mark.parametrize(
    ("type_", "good"),
    [
        (DigestHex, "ab" * 32),
        (PublicKeyHex, "02" + "ab" * 32),
        (SignatureHex, "ab" * 64),
        (SaltHex, "ab" * 16),
        (AddressText, "cpc19pup6qpkj492wau7jrnqlglrlskzuvs6ctfq9f"),
    ],
)
def test_wire_types_hold_one_spelling(type_: type[object], good: str) -> None:
    assert decode(encode(good), type_, what="field") == good
    for bad in (
        good + "\n",
        good[:-1],
        good + "0",
        good.upper(),
        "0x" + good,
        "0x" + good[2:],
        "",
        good[:-1] + "g\n",
        "\n" + good,
    ):
        with pytest.raises(MalformedError):
            decode(encode(bad), type_, what="field")


def test_public_keys_begin_with_02_or_03() -> None:
    for prefix in ("04", "00", "12"):
        with pytest.raises(MalformedError):
            decode(encode(prefix + "ab" * 32), PublicKeyHex, what="key")


@pytest.mark.parametrize("value", [-1, 1_000_001])
def test_rates_are_parts_per_million(value: int) -> None:
    assert decode(b"1000000", RatePpm, what="rate") == 1_000_000
    with pytest.raises(MalformedError):
        decode(encode(value), RatePpm, what="rate")


def test_base64_has_one_spelling() -> None:
    for data in (b"", b"a", b"ab", b"abc", bytes(range(256))):
        assert parse_base64(format_base64(data), "blob") == data
    for malleable in ("QUJ=", "QR==", "/x=="):
        with pytest.raises(NotCanonicalError, match="canonical"):
            parse_base64(malleable, "blob")
    for text in ("QUI", "QU I=", "QUI=\n", "QUI==", "QUI_", "-UI=", "\u0661UI=", "=", "QUI=QUI="):
        with pytest.raises(MalformedError):
            parse_base64(text, "blob")
