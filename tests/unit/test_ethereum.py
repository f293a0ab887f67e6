"""Our transactions held against eth-account, which shares no code with them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from eth_account import Account
from eth_account.typed_transactions import TypedTransaction
from hexbytes import HexBytes
from hypothesis import example, given
from hypothesis import strategies as st

from tallystick.anchoring.ethereum import (
    TRANSACTION_BYTES_MAX,
    Transaction,
    address_bytes,
    contract_address,
    read_transaction,
    transaction_hash,
)
from tallystick.errors import MalformedError, NotCanonicalError, SignatureError
from tallystick.primitives import rlp
from tallystick.primitives.keys import ORDER, SigningKey, evm_address_of

KEY = SigningKey(b"\x22" * 32)
SENDER = evm_address_of(KEY.public)
TO = bytes(range(20))
CALL = Transaction(chain_id=7053, nonce=3, fee=10**10, tip=10**9, gas=90_000, to=TO, data=b"\x81\xd1\x4f\xfc" * 9)
LEGACY = replace(CALL, tip=None)

transactions = st.builds(
    Transaction,
    chain_id=st.integers(1, 2**32),
    nonce=st.integers(0, 2**64 - 2),
    fee=st.integers(0, 2**100),
    tip=st.none() | st.integers(0, 2**100),
    gas=st.integers(21_000, 2**63),
    to=st.sampled_from([b"", TO]),
    data=st.binary(max_size=300),
    value=st.integers(0, 2**128),
)


def judged(transaction: Transaction) -> bytes:
    """What eth-account signs for the same fields."""
    fields = {
        "chainId": transaction.chain_id,
        "nonce": transaction.nonce,
        "gas": transaction.gas,
        "data": transaction.data,
        "value": transaction.value,
    }
    if transaction.to:
        fields["to"] = transaction.to
    if transaction.tip is None:
        fields["gasPrice"] = transaction.fee
    else:
        fields |= {"maxFeePerGas": transaction.fee, "maxPriorityFeePerGas": transaction.tip}
    return bytes(Account.sign_transaction(fields, b"\x22" * 32).raw_transaction)


@given(transactions)
@example(CALL)
@example(LEGACY)
def test_the_bytes_are_those_of_eth_account(transaction: Transaction) -> None:
    raw = transaction.sign(KEY)
    assert raw == judged(transaction)
    assert read_transaction(raw) == (transaction, SENDER)
    assert Account.recover_transaction(raw) == SENDER


def test_the_hash_is_the_one_that_eth_account_names() -> None:
    signed = Account.sign_transaction(
        {"chainId": 1, "nonce": 0, "gas": 21000, "gasPrice": 1, "to": TO, "value": 0, "data": b""}, b"\x22" * 32
    )
    assert transaction_hash(bytes(signed.raw_transaction)) == bytes(signed.hash)


def test_a_short_r_or_s_is_written_without_zeros() -> None:
    # Of 300 signatures about two have an r or s of at most 31 bytes: both readers must agree on each.
    for nonce in range(300):
        call = replace(CALL, nonce=nonce)
        assert call.sign(KEY) == judged(call)


def changed(raw: bytes, position: int, item: rlp.Item) -> bytes:
    """A raw type 2 transaction with another field."""
    fields = rlp.decode(raw[1:])
    assert isinstance(fields, list)
    return b"\x02" + rlp.encode([*fields[:position], item, *fields[position + 1 :]])


def test_a_high_s_is_refused_though_it_recovers_the_same_sender() -> None:
    raw = CALL.sign(KEY)
    fields = rlp.decode(raw[1:])
    twin = changed(raw, 11, rlp.integer(ORDER - rlp.read_integer(fields[11])))
    twin = changed(twin, 9, rlp.integer(1 - rlp.read_integer(fields[9])))
    assert Account.recover_transaction(twin) == SENDER  # the trap: this reader takes it
    with pytest.raises(SignatureError, match="low one"):
        read_transaction(twin)


@pytest.mark.parametrize(
    ("raw", "error", "named"),
    [
        (b"", MalformedError, "0 bytes"),
        (b"\x02" + bytes(TRANSACTION_BYTES_MAX), MalformedError, "are allowed"),
        (b"\x01" + CALL.sign(KEY)[1:], MalformedError, "type 1"),
        (b"\x03" + CALL.sign(KEY)[1:], MalformedError, "type 3"),
        (CALL.sign(KEY)[:-1], MalformedError, "announced"),
        (CALL.sign(KEY) + b"\0", MalformedError, "follow"),
        (CALL.sign(KEY)[1:], MalformedError, "9 fields"),
        (b"\x02" + LEGACY.sign(KEY), MalformedError, "12 fields"),
        (changed(CALL.sign(KEY), 8, [[TO, []]]), MalformedError, "access list"),
        (changed(CALL.sign(KEY), 5, TO[:19]), MalformedError, "receiver has 19"),
        (changed(CALL.sign(KEY), 5, [TO]), MalformedError, "wrong form"),
        (changed(CALL.sign(KEY), 1, b"\0\3"), NotCanonicalError, "zero byte"),
        (changed(CALL.sign(KEY), 1, b"\1" * 9), MalformedError, "at most 8"),
        (changed(CALL.sign(KEY), 9, b"\2"), SignatureError, "parity"),
        (changed(CALL.sign(KEY), 10, b""), SignatureError, "r and s"),
        (changed(CALL.sign(KEY), 10, b"\xff" * 32), SignatureError, "r and s"),
        (rlp.encode([b"", b"\1", b"\1", TO, b"", b"", b"\x1b", b"\1", b"\1"]), MalformedError, "no chain"),
    ],
)
def test_what_no_chain_takes_is_refused(raw: bytes, error: type[Exception], named: str) -> None:
    with pytest.raises(error, match=named):
        read_transaction(raw)


@given(st.binary(max_size=200))
@example(CALL.sign(KEY))
def test_anything_read_is_spelled_one_way(raw: bytes) -> None:
    try:
        transaction, sender = read_transaction(raw)
    except (MalformedError, SignatureError):
        return
    assert (sender, transaction) == (SENDER, CALL)


def test_another_chain_id_gives_another_sender() -> None:
    """The id is inside what was signed: a transaction of one chain is nothing on another."""
    _, sender = read_transaction(changed(CALL.sign(KEY), 0, rlp.integer(1)))
    assert sender != SENDER


def test_a_contract_stands_where_the_sender_and_its_nonce_put_it() -> None:
    # The first contract of anvil's first account, known to everybody who ever deployed to it.
    assert contract_address("0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266", 0) == (
        "0x5FbDB2315678afecb367f032d93F642f64180aa3"
    )
    assert contract_address("0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266", 128) != contract_address(SENDER, 128)


@pytest.mark.parametrize("text", [SENDER.lower(), SENDER[2:], SENDER + "0", "0x", "0xzz" + SENDER[4:], SENDER + "\n"])
def test_an_address_has_one_spelling(text: str) -> None:
    with pytest.raises(MalformedError):
        address_bytes(text)
    assert address_bytes(SENDER).hex() == SENDER[2:].lower()


items = st.recursive(st.binary(max_size=70), lambda inner: st.lists(inner, max_size=5), max_leaves=6)


@given(items)
def test_rlp_comes_back(item: rlp.Item) -> None:
    assert rlp.decode(rlp.encode(item)) == item


@given(st.binary(max_size=80))
def test_rlp_has_one_spelling(data: bytes) -> None:
    try:
        item = rlp.decode(data)
    except MalformedError:
        return
    assert rlp.encode(item) == data


# Ethereum wiki, "RLP", Examples.
@pytest.mark.parametrize(
    ("item", "data"),
    [
        (b"dog", b"\x83dog"),
        ([b"cat", b"dog"], b"\xc8\x83cat\x83dog"),
        (b"", b"\x80"),
        ([], b"\xc0"),
        (b"\0", b"\0"),
        (b"\x0f", b"\x0f"),
        (b"\x04\0", b"\x82\x04\0"),
        ([[], [[]], [[], [[]]]], b"\xc7\xc0\xc1\xc0\xc3\xc0\xc1\xc0"),
        (b"Lorem ipsum dolor sit amet, consectetur adipisicing elit" * 5,
         b"\xb9\x01\x18" + b"Lorem ipsum dolor sit amet, consectetur adipisicing elit" * 5),
    ],
)  # fmt: skip
def test_rlp_examples(item: rlp.Item, data: bytes) -> None:
    assert rlp.encode(item) == data
    assert rlp.decode(data) == item


@pytest.mark.parametrize(
    "data",
    [b"", b"\x81\x05", b"\xb8\x05hello", b"\xb9\0\x38" + bytes(56), b"\x83do", b"\xb8", b"\xc1", b"\xc3\x83do",
     b"\xff" * 9, b"dog", b"\xc1" * 9 + b"\xc0"],
)  # fmt: skip
def test_rlp_refuses(data: bytes) -> None:
    with pytest.raises(MalformedError):
        rlp.decode(data)


def test_the_typed_reader_of_eth_account_reads_ours() -> None:
    fields = TypedTransaction.from_bytes(HexBytes(CALL.sign(KEY))).as_dict()
    assert (fields["nonce"], fields["maxFeePerGas"], bytes(fields["data"])) == (3, 10**10, CALL.data)
