"""A raw CID names one digest and has one spelling."""

from __future__ import annotations

import hashlib

import pytest

from tallystick.errors import MalformedError, NotCanonicalError, VerificationError
from tallystick.primitives.cids import Cid, Codec, parse_raw_cid, raw_cid

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


DIRECTORY = "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354"  # the empty UnixFS directory
RECORD = "bafyreigbtj4x7ip5legnfznufuopl4sg4knzc2cof6duas4b3q2fy6swua"  # the empty map in dag-cbor


@pytest.mark.parametrize(
    ("text", "codec", "block"),
    [(EMPTY, Codec.RAW, b""), (DIRECTORY, Codec.DAG_PB, b"\x0a\x02\x08\x01"), (RECORD, Codec.DAG_CBOR, b"\xa0")],
)
def test_the_three_codecs_have_one_spelling_each(text: str, codec: Codec, block: bytes) -> None:
    cid = Cid.parse(text)
    assert cid == Cid.of(codec, block) == Cid.decode(cid.encode())
    assert str(cid) == text
    cid.check(block)
    with pytest.raises(VerificationError, match="block"):
        cid.check(block + b"\0")


@pytest.mark.parametrize("text", [DIRECTORY, RECORD])
def test_a_raw_cid_is_no_other(text: str) -> None:
    with pytest.raises(MalformedError, match="block, not a raw one"):
        parse_raw_cid(text)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        Cid.parse(EMPTY).encode()[:-1],
        Cid.parse(EMPTY).encode() + b"\0",
        b"\x02" + Cid.parse(EMPTY).encode()[1:],
        b"\x01\x72" + Cid.parse(EMPTY).encode()[2:],
        b"\x01\x55\x16\x20" + bytes(32),  # sha3-256
        b"\x01\x55\x12\x1f" + bytes(32),
    ],
)
def test_other_bytes_are_no_cid(data: bytes) -> None:
    with pytest.raises(MalformedError, match="CID"):
        Cid.decode(data)
