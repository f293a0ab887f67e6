"""Golden vectors of addresses, and signatures that have exactly one accepted form."""

from __future__ import annotations

import hashlib

import pytest
from coincurve import PublicKey

from tallystick.errors import MalformedError, NotCanonicalError, SignatureError
from tallystick.primitives.bech32 import encode_address
from tallystick.primitives.keys import (
    CONSENSUS_PREFIX,
    ORDER,
    SigningKey,
    address_of,
    check_signature,
    checksum_evm_address,
    evm_address_of,
    keccak256,
    parse_address,
)
from tallystick.primitives.merkle import leaf_hash

# The published devnet faucet key: never fund it.
SECRET = bytes.fromhex("4f3edf982522b4e51b7e8b5f2f9c4d1d7a9e5f8c2b6d4e1a3c5b7d9e0f1a2b3c")
PUBLIC = bytes.fromhex("030fd1723d4ae248aa17cfc0d66bca7632879fe8f126eb25107514a30a970daee8")
ADDRESS = "cpc19pup6qpkj492wau7jrnqlglrlskzuvs6ctfq9f"
KEY = SigningKey(SECRET)
DIGEST = hashlib.sha256(b"message").digest()


def test_golden_addresses() -> None:
    assert KEY.public == PUBLIC
    assert KEY.address == ADDRESS == address_of(PUBLIC)
    assert address_of(PUBLIC, CONSENSUS_PREFIX) == "cpcvalcons19pup6qpkj492wau7jrnqlglrlskzuvs6jy3zu2"
    assert parse_address(ADDRESS) == parse_address(address_of(PUBLIC, CONSENSUS_PREFIX), CONSENSUS_PREFIX)


def test_golden_leaves_of_a_compute_result() -> None:
    legacy = (
        f'{{"task_id":"550e8400-e29b-41d4-a716-446655440000","worker_address":"{ADDRESS}","result_hash":"{"ab" * 32}",'
        '"proof":"","nonce":12345,"signature":""}'
    ).encode()
    canonical = (
        f'{{"nonce":12345,"proof":"","result_hash":"{"ab" * 32}","signature":"",'
        f'"task_id":"550e8400-e29b-41d4-a716-446655440000","worker_address":"{ADDRESS}"}}'
    ).encode()
    assert hashlib.sha256(legacy).hexdigest() == "2f7920e52773130c8e3ff8dbaf4b837eca8d077ed68ef2ff18592bdc2c44c45e"
    assert leaf_hash(legacy).hex() == "c50017c7370a871febae520b003ea0c914eb3ef67268dcc634374ce4d2b82efc"
    assert leaf_hash(canonical).hex() == "36c588478ea58b06e37d7aaf613e746270cc616d2ef6a532892dde320e5a1fe7"


def test_evm_addresses_are_spelled_by_eip_55() -> None:
    """Key 1's address is well known; the mixed-case spellings are the examples of EIP-55."""
    assert evm_address_of(SigningKey((1).to_bytes(32, "big")).public) == "0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf"
    for text in (
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
        "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
        "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
    ):
        assert checksum_evm_address(bytes.fromhex(text[2:])) == text


def test_keccak_is_not_sha3() -> None:
    assert keccak256(b"").hex() == "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"


def test_bip_173_address_under_another_prefix() -> None:
    """The published segwit v0 example holds the same 20 bytes behind a version, so the bits agree, not the checksum."""
    data = bytes.fromhex("751e76e8199196d454941c45d1b3a323f1433bd6")
    text = encode_address("bc", data)
    assert text.startswith("bc1w508d6qejxtdg4y5r3zarvary0c5xw7k")
    assert parse_address(text, "bc") == data


@pytest.mark.parametrize(
    "text",
    [
        "",
        "cpc1",
        ADDRESS[:-1],
        ADDRESS + "q",
        ADDRESS[:-1] + "q",
        ADDRESS + "\n",
        " " + ADDRESS,
        ADDRESS.replace("cpc1", "cpc"),
        ADDRESS.replace("cpc1", "cpd1"),
        ADDRESS.replace("pup", "ppu"),
        ADDRESS.replace("9pup", "bpup"),
        "cpcvalcons19pup6qpkj492wau7jrnqlglrlskzuvs6jy3zu2",
        ADDRESS[:-1] + "\u212a",
    ],
)
def test_an_address_with_one_fault_is_malformed(text: str) -> None:
    with pytest.raises(MalformedError, match="address"):
        parse_address(text)


@pytest.mark.parametrize("text", [ADDRESS.upper(), "CPC1" + ADDRESS[4:], ADDRESS[:-1] + "F"])
def test_upper_case_is_a_second_spelling(text: str) -> None:
    with pytest.raises(NotCanonicalError, match="lower case"):
        parse_address(text)


def test_every_single_character_error_is_caught() -> None:
    for at in range(4, len(ADDRESS)):
        for character in "qpzry9x8gf2tvdw0s3jn54khce6mua7l":
            if character != ADDRESS[at]:
                with pytest.raises(MalformedError):
                    parse_address(ADDRESS[:at] + character + ADDRESS[at + 1 :])


def test_bech32m_is_refused() -> None:
    """The same bits under the other checksum constant of BIP 350."""
    from tallystick.primitives import bech32

    values = [bech32._VALUES[c] for c in ADDRESS[4:36]]
    residue = bech32._checksum([*bech32._expanded("cpc"), *values, *[0] * 6]) ^ 0x2BC830A3
    twin = ADDRESS[:36] + "".join(bech32._ALPHABET[residue >> shift & 31] for shift in range(25, -1, -5))
    with pytest.raises(MalformedError, match="checksum"):
        parse_address(twin)


def test_signatures_are_deterministic_compact_and_low() -> None:
    for i in range(64):
        digest = hashlib.sha256(b"%d" % i).digest()
        signature = KEY.sign(digest)
        assert signature == SigningKey(SECRET).sign(digest)
        assert len(signature) == 64
        assert int.from_bytes(signature[32:], "big") <= ORDER // 2
        check_signature(PUBLIC, digest, signature)


def test_rfc_6979_vector() -> None:
    """Key 1 over SHA256("Satoshi Nakamoto"): the vector that bitcoin implementations share."""
    digest = hashlib.sha256(b"Satoshi Nakamoto").digest()
    assert SigningKey((1).to_bytes(32, "big")).sign(digest).hex() == (
        "934b1ea10a4b3c1757e2b0c017d0b6143ce3c9a7e6a4a49860d7a6ab210ee3d8"
        "2442ce9d2b916064108014783e923ec36b49743e2ffa1c4496f01a512aafd9e5"
    )


def test_another_library_accepts_our_signatures() -> None:
    from cryptography.hazmat.primitives.asymmetric import ec, utils
    from cryptography.hazmat.primitives.hashes import SHA256

    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256K1(), PUBLIC)
    signature = KEY.sign(DIGEST)
    der = utils.encode_dss_signature(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))
    key.verify(der, DIGEST, ec.ECDSA(utils.Prehashed(SHA256())))


def test_the_high_twin_of_a_signature_is_refused() -> None:
    signature = KEY.sign(DIGEST)
    high = signature[:32] + (ORDER - int.from_bytes(signature[32:], "big")).to_bytes(32, "big")
    with pytest.raises(SignatureError, match="low"):
        check_signature(PUBLIC, DIGEST, high)


@pytest.mark.parametrize(("r", "s"), [(0, 1), (1, 0), (ORDER, 1), (1, ORDER), (2**256 - 1, 1), (1, 2**256 - 1), (0, 0)])
def test_r_and_s_outside_their_range_are_refused(r: int, s: int) -> None:
    with pytest.raises(SignatureError, match="r and s"):
        check_signature(PUBLIC, DIGEST, r.to_bytes(32, "big") + s.to_bytes(32, "big"))


def test_small_r_and_s_reach_the_curve_and_fail_there() -> None:
    for r, s in ((1, 1), (127, 128), (255, 256)):
        with pytest.raises(SignatureError, match="a signature by"):
            check_signature(PUBLIC, DIGEST, r.to_bytes(32, "big") + s.to_bytes(32, "big"))


def test_the_largest_low_s_is_not_yet_high() -> None:
    for s, reason in ((ORDER // 2, "a signature by"), (ORDER // 2 + 1, "low")):
        with pytest.raises(SignatureError, match=reason):
            check_signature(PUBLIC, DIGEST, (1).to_bytes(32, "big") + s.to_bytes(32, "big"))


def test_every_flipped_bit_of_a_signature_is_refused() -> None:
    signature = KEY.sign(DIGEST)
    for bit in range(512):
        flipped = (int.from_bytes(signature, "big") ^ 1 << bit).to_bytes(64, "big")
        with pytest.raises(SignatureError):
            check_signature(PUBLIC, DIGEST, flipped)


def test_another_digest_or_key_is_refused() -> None:
    signature = KEY.sign(DIGEST)
    with pytest.raises(SignatureError):
        check_signature(PUBLIC, hashlib.sha256(b"other").digest(), signature)
    with pytest.raises(SignatureError):
        check_signature(SigningKey(b"\1" * 32).public, DIGEST, signature)
    with pytest.raises(SignatureError):
        check_signature(b"\x02" + PUBLIC[1:], DIGEST, signature)


@pytest.mark.parametrize(
    "public",
    [
        b"",
        PUBLIC[:-1],
        PUBLIC + b"\0",
        b"\x04" + PUBLIC[1:],
        b"\x00" + PUBLIC[1:],
        b"\x02" + b"\xff" * 32,
        b"\x02" + bytes(31) + b"\x05",
        b"\x06" + bytes(64),
        PublicKey(PUBLIC).format(compressed=False),
        b"\x07" + PublicKey(PUBLIC).format(compressed=False)[1:],
    ],
)
def test_what_is_no_compressed_point_is_refused(public: bytes) -> None:
    with pytest.raises(SignatureError, match="public key"):
        check_signature(public, DIGEST, KEY.sign(DIGEST))
    with pytest.raises(SignatureError, match="public key"):
        address_of(public)
    with pytest.raises(SignatureError, match="public key"):
        evm_address_of(public)


@pytest.mark.parametrize("size", [0, 63, 65, 70])
def test_a_signature_of_another_length_is_refused(size: int) -> None:
    with pytest.raises(SignatureError, match="length"):
        check_signature(PUBLIC, DIGEST, bytes(size))


def test_only_digests_are_signed_and_checked() -> None:
    for digest in (b"", DIGEST[:31], DIGEST + b"\0"):
        with pytest.raises(ValueError, match="32 bytes"):
            KEY.sign(digest)
        with pytest.raises(ValueError, match="32 bytes"):
            check_signature(PUBLIC, digest, KEY.sign(DIGEST))


@pytest.mark.parametrize("secret", [b"", bytes(32), bytes(31), ORDER.to_bytes(32, "big"), b"\xff" * 32, b"\1" * 33])
def test_a_secret_outside_the_group_is_refused_without_showing_it(secret: bytes) -> None:
    with pytest.raises(MalformedError) as caught:
        SigningKey(secret)
    assert not secret or secret.hex() not in str(caught.value)


def test_the_secret_does_not_show() -> None:
    assert repr(KEY) == f"SigningKey({ADDRESS})"


def test_an_address_has_twenty_bytes() -> None:
    with pytest.raises(ValueError, match="20 bytes"):
        encode_address("cpc", bytes(19))
