"""Tags separate uses, integers have one width, and the draw is the documented one."""

from __future__ import annotations

import hashlib
import re
from itertools import combinations

import pytest

from tallystick.primitives.digests import Tag, draw, field_commitment, hmac_sha256, sha256, tagged, u8, u32, u64


def test_every_tag_has_the_one_form() -> None:
    for tag in Tag:
        assert re.fullmatch(r"tallystick/[a-z-]+/v1\n", tag.value)
        assert tag.prefix == tag.value.encode()
        assert tag.value == f"tallystick/{tag.name.lower().replace('_', '-')}/v1\n"


def test_no_tag_is_the_beginning_of_another() -> None:
    for one, other in combinations(Tag, 2):
        assert not one.value.startswith(other.value)
        assert not other.value.startswith(one.value)


def test_tagged_is_plain_sha256_over_tag_and_parts() -> None:
    assert tagged(Tag.TX, b"ab", b"c") == hashlib.sha256(b"tallystick/tx/v1\nabc").digest()
    assert tagged(Tag.TX, b"x") != tagged(Tag.LEAF, b"x")
    assert sha256() == hashlib.sha256(b"").digest()
    assert sha256(b"a", b"b") == hashlib.sha256(b"ab").digest()


def test_integers_are_big_endian_and_bounded() -> None:
    assert (u8(255), u32(1), u64(2**63)) == (b"\xff", b"\0\0\0\1", b"\x80" + bytes(7))
    for width, function in ((8, u8), (32, u32), (64, u64)):
        for value in (-1, 1 << width):
            with pytest.raises(OverflowError):
                function(value)


def test_the_published_draw_vector() -> None:
    context = b"tallystick/draw/v1\n" + bytes(64)
    assert draw(context, 8, 1000) == (841, 329, 321, 970, 130, 307, 905, 18)


def test_a_draw_of_everything_is_a_permutation_and_prefixes_agree() -> None:
    everything = draw(b"context", 257, 257)
    assert sorted(everything) == list(range(257))
    for count in (0, 1, 17, 200):
        assert draw(b"context", count, 257) == everything[:count]
    assert draw(b"other", 257, 257) != everything
    assert draw(b"one", 1, 1) == (0,)


@pytest.mark.parametrize("n", [2, 17, 257, 1000])
def test_a_draw_reads_one_endless_stream(n: int) -> None:
    """The definition over a stream far longer than any draw needs; a full one outgrows a first guess."""
    stream = hashlib.shake_256(b"endless").digest(8 * 40 * n)
    words = (int.from_bytes(stream[at : at + 8], "big") for at in range(0, len(stream), 8))
    expected = tuple(dict.fromkeys(word % n for word in words if word < 2**64 // n * n))
    assert len(expected) == n
    for count in (1, n // 2, n):
        assert draw(b"endless", count, n) == expected[:count]


def test_a_draw_skips_words_in_the_biased_tail() -> None:
    n = (1 << 63) + 1
    words = hashlib.shake_256(b"tail").digest(8 * 64)
    expected = [w for i in range(64) if (w := int.from_bytes(words[8 * i : 8 * i + 8], "big")) < n]
    assert 0 < len(expected) < 64
    assert draw(b"tail", 5, n) == tuple(expected[:5])


@pytest.mark.parametrize(("count", "n"), [(1, 0), (0, 0), (-1, 5), (6, 5), (1, 2**64 + 1)])
def test_an_impossible_draw_is_refused(count: int, n: int) -> None:
    with pytest.raises(ValueError, match="cannot draw"):
        draw(b"", count, n)


def test_a_draw_is_uniform_within_five_standard_errors() -> None:
    counts = [0] * 7
    for i in range(7000):
        counts[draw(b"u" + u32(i), 1, 7)[0]] += 1
    assert all(abs(count - 1000) < 5 * (7000 * 1 / 7 * 6 / 7) ** 0.5 for count in counts)


def test_hmac_matches_rfc_4231_case_2() -> None:
    expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    assert hmac_sha256(b"Jefe", b"what do ya want ", b"for nothing?").hex() == expected


def test_a_field_commitment_binds_each_of_its_parts() -> None:
    job, salt = bytes(32), bytes(16)
    base = field_commitment(job, "input", salt, b"value")
    inner = hashlib.sha256(b"input").digest(), hashlib.sha256(b"value").digest()
    assert base == hashlib.sha256(b"tallystick/field/v1\n" + job + inner[0] + salt + inner[1]).digest()
    others = [
        field_commitment(b"\1" * 32, "input", salt, b"value"),
        field_commitment(job, "output", salt, b"value"),
        field_commitment(job, "input", b"\1" * 16, b"value"),
        field_commitment(job, "input", salt, b"valuf"),
    ]
    assert len({base, *others}) == 5


def test_a_field_commitment_refuses_other_widths() -> None:
    for job, salt in ((bytes(31), bytes(16)), (bytes(32), bytes(15)), (bytes(33), bytes(15))):
        with pytest.raises(ValueError, match="32 bytes and salt 16"):
            field_commitment(job, "f", salt, b"")
    with pytest.raises(UnicodeEncodeError):
        field_commitment(bytes(32), "fäld", bytes(16), b"")
