"""Laws of the primitives over generated values; rfc8785 is the judge of canonical JSON."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from tallystick.errors import ConsistencyError, InclusionError, MalformedError, NotCanonicalError, SignatureError
from tallystick.primitives import canonical
from tallystick.primitives.amounts import WEI_MAX, Wei, format_cpc, format_wei, parse_cpc, parse_wei
from tallystick.primitives.canonical import INTEGER_MAX, Count, decode, encode, format_base64, parse_base64
from tallystick.primitives.cids import parse_raw_cid, raw_cid
from tallystick.primitives.digests import draw
from tallystick.primitives.keys import ORDER, SigningKey, address_of, check_signature, parse_address
from tallystick.primitives.merkle import (
    CompactRange,
    check_consistency,
    check_inclusion,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    root,
)
from tallystick.primitives.notes import Checkpoint, NoteSigner, NoteVerifier, open_note

ASCII_KEYS = st.text(st.characters(max_codepoint=127), max_size=8)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
INTEGERS = st.integers(-INTEGER_MAX, INTEGER_MAX)
VALUES = st.recursive(
    st.none() | st.booleans() | INTEGERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ASCII_KEYS, inner, max_size=4),
    max_leaves=20,
)
DIGESTS = st.binary(min_size=32, max_size=32)


@given(VALUES)
def test_the_canonical_bytes_are_those_of_rfc_8785(value: object) -> None:
    assert encode(value) == rfc8785.dumps(value)  # type: ignore[arg-type]


@given(VALUES)
def test_decode_inverts_encode(value: object) -> None:
    assert decode(encode(value), object, what="value") == value


@given(VALUES, st.sampled_from([{"indent": 1}, {"separators": (", ", ":")}, {"ensure_ascii": True}]))
def test_any_other_spelling_of_a_value_is_refused(value: object, spelling: dict[str, Any]) -> None:
    data = json.dumps(value, **spelling).encode("utf-8", "surrogatepass")
    if data == encode(value):
        return
    with pytest.raises(MalformedError):
        decode(data, object, what="value")


@given(st.binary(max_size=60))
def test_whatever_decodes_is_its_own_spelling(data: bytes) -> None:
    try:
        value = decode(data, object, what="value")
    except MalformedError:
        return
    assert encode(value) == data == rfc8785.dumps(value)  # type: ignore[arg-type]


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    b: Count
    a: str
    c: tuple[Count, ...] = ()


@given(st.integers(0, INTEGER_MAX), TEXTS, st.lists(st.integers(0, 9), max_size=3), st.data())
def test_no_single_byte_change_gives_the_same_record(b: int, a: str, c: list[int], data: st.DataObject) -> None:
    record = Record(b, a, tuple(c))
    spelled = bytearray(encode(record))
    at = data.draw(st.integers(0, len(spelled) - 1))
    spelled[at] = data.draw(st.integers(0, 255).filter(lambda byte: byte != spelled[at]))
    try:
        changed = decode(bytes(spelled), Record, what="record")
    except MalformedError:
        return
    assert changed != record


@given(st.dictionaries(ASCII_KEYS, INTEGERS, min_size=1, max_size=4), st.data())
def test_a_repeated_key_is_refused(value: dict[str, int], data: st.DataObject) -> None:
    key = data.draw(st.sampled_from(sorted(value)))
    spelled = encode(value)
    doubled = spelled[:-1] + b"," + encode({key: value[key]})[1:]
    with pytest.raises(NotCanonicalError):
        decode(doubled, dict, what="map")


@given(st.integers(0, WEI_MAX))
def test_amounts_survive_both_spellings(amount: int) -> None:
    assert parse_wei(format_wei(Wei(amount))) == amount
    assert parse_cpc(format_cpc(Wei(amount))) == amount


@given(st.text(max_size=12))
def test_every_accepted_wei_text_is_its_own_spelling(text: str) -> None:
    try:
        amount = parse_wei(text)
    except MalformedError:
        return
    assert format_wei(amount) == text


@given(st.binary(max_size=40))
def test_base64_is_inverted(data: bytes) -> None:
    assert parse_base64(format_base64(data), "blob") == data


@given(st.text("AQZaz09+/=_- \n", max_size=12))
def test_every_accepted_base64_is_its_own_spelling(text: str) -> None:
    try:
        data = parse_base64(text, "blob")
    except MalformedError:
        return
    assert format_base64(data) == text


@given(DIGESTS)
def test_cids_are_inverted(digest: bytes) -> None:
    assert parse_raw_cid(raw_cid(digest)) == digest


@given(st.binary(max_size=20), st.integers(1, 300), st.data())
def test_draws_are_distinct_and_in_range(context: bytes, n: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(0, n))
    drawn = draw(context, count, n)
    assert len(drawn) == len(set(drawn)) == count
    assert all(0 <= index < n for index in drawn)


@given(st.integers(1, ORDER - 1), DIGESTS, DIGESTS)
def test_signatures_verify_and_bind_key_and_digest(secret: int, digest: bytes, other: bytes) -> None:
    key = SigningKey(secret.to_bytes(32, "big"))
    signature = key.sign(digest)
    check_signature(key.public, digest, signature)
    assert parse_address(key.address) == parse_address(address_of(key.public, "cpcvalcons"), "cpcvalcons")
    if other != digest:
        with pytest.raises(SignatureError):
            check_signature(key.public, other, signature)


@given(st.lists(DIGESTS, max_size=40), st.data())
def test_trees_agree_and_proofs_hold(leaves: list[bytes], data: st.DataObject) -> None:
    size = len(leaves)
    old = data.draw(st.integers(0, size))
    assert CompactRange().extend(leaves[:old]).extend(leaves[old:]).root() == root(leaves)
    check_consistency(old, size, consistency_proof(leaves, old, size), root(leaves[:old]), root(leaves))
    if size:
        index = data.draw(st.integers(0, size - 1))
        check_inclusion(leaves[index], index, size, inclusion_proof(leaves, index), root(leaves))


@given(st.integers(1, 2**53 - 1), st.integers(0, 2**53 - 1), st.lists(DIGESTS, max_size=60), DIGESTS, DIGESTS)
def test_random_proofs_never_hold(size: int, index: int, proof: list[bytes], leaf: bytes, top: bytes) -> None:
    if leaf == top:
        return
    with pytest.raises(InclusionError):
        check_inclusion(leaf, index, size, proof, top)
    with pytest.raises(ConsistencyError):
        check_consistency(max(1, index), size + max(1, index), proof, leaf, top)


@given(st.integers(0, 2**53 - 1), DIGESTS, st.binary(min_size=32, max_size=32))
def test_checkpoints_survive_note_and_text(size: int, top: bytes, seed: bytes) -> None:
    signer = NoteSigner("log.example/t", seed)
    head = Checkpoint("log.example/t", size, top)
    text, names = open_note(signer.sign(head.text()), [NoteVerifier.parse(signer.vkey)])
    assert Checkpoint.parse(text) == head
    assert names == ("log.example/t",)


@given(st.binary(max_size=30), st.binary(max_size=30))
def test_leaf_hashes_differ_where_data_differs(one: bytes, other: bytes) -> None:
    assert (leaf_hash(one) == leaf_hash(other)) == (one == other)


def test_the_decoder_is_made_once_per_type() -> None:
    assert canonical._decoder(Record) is canonical._decoder(Record)
