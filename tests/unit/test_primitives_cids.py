"""A raw CID names one digest and has one spelling."""

from __future__ import annotations

import hashlib

import pytest

from tallystick.errors import MalformedError, NotCanonicalError
from tallystick.primitives.cids import parse_raw_cid, raw_cid

# CIDs that IPFS gives for the empty file and for "hello world" as raw leaves.
EMPTY = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
HELLO = "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"


def test_known_cids() -> None:
    assert raw_cid(hashlib.sha256(b"").digest()) == EMPTY
    assert raw_cid(hashlib.sha256(b"hello world").digest()) == HELLO
    assert parse_raw_cid(HELLO) == hashlib.sha256(b"hello world").digest()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "b",
        EMPTY[:-1],
        EMPTY + "a",
        EMPTY + "\n",
        "z" + EMPTY[1:],
        EMPTY[:-1] + "1",
        EMPTY[:-1] + "=",
        "bafybei" + EMPTY[7:],
        "bafyrei" + EMPTY[7:],
        "QmdfTbBqBPQ7VNxZEYEj14VmRuZBkqFbiwReogJgS1zR1n",
        "b" + "a" * 58,
    ],
)
def test_what_is_no_raw_cid_is_malformed(text: str) -> None:
    with pytest.raises(MalformedError, match="CID") as caught:
        parse_raw_cid(text)
    assert type(caught.value) is MalformedError


def test_a_second_spelling_is_refused() -> None:
    with pytest.raises(NotCanonicalError, match="lower case"):
        parse_raw_cid("b" + EMPTY[1:].upper())
    # 58 characters hold 290 bits for 288: the last character has two spare bits.
    twin = EMPTY[:-1] + "abcdefghijklmnopqrstuvwxyz234567"["abcdefghijklmnopqrstuvwxyz234567".index(EMPTY[-1]) ^ 1]
    with pytest.raises(NotCanonicalError, match="canonical"):
        parse_raw_cid(twin)


def test_only_32_byte_digests_have_a_cid() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        raw_cid(bytes(20))
