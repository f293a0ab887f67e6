"""The keystore opens with its passphrase and with nothing else, and says what it is."""

from __future__ import annotations

import json

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tallystick.errors import KeystoreError
from tallystick.primitives import canonical, keystore
from tallystick.primitives.keystore import derive, seal, unseal

MASTER = bytes(range(32))
SALT = b"\x05" * 16
NONCE = b"\x06" * 12
SEALED = seal(MASTER, "correct horse", salt=SALT, nonce=NONCE)
PLAIN = seal(MASTER, None, salt=SALT, nonce=NONCE)


def test_a_passphrase_seals_and_opens() -> None:
    assert unseal(SEALED, "correct horse") == MASTER
    document = json.loads(SEALED)
    assert document["encrypted"] is True
    assert MASTER.hex() not in SEALED.decode()
    assert canonical.encode(document) == SEALED


def test_without_a_passphrase_it_is_plain_and_says_so() -> None:
    assert unseal(PLAIN, None) == MASTER
    assert json.loads(PLAIN) == {"encrypted": False, "master": MASTER.hex(), "type": "plain/v1"}


@pytest.mark.parametrize(
    ("data", "passphrase", "message"),
    [
        (SEALED, "wrong", "does not open"),
        (SEALED, "correct horse ", "does not open"),
        (SEALED, None, "TALLY_PASSPHRASE"),
        (SEALED, "", "empty"),
        (PLAIN, "correct horse", "not encrypted"),
        (b"", None, "backup"),
        (b"{}", None, "backup"),
        (SEALED[:-1], "correct horse", "backup"),
        (SEALED + b"\n", "correct horse", "backup"),
        (b" " * 5000, None, "backup"),
        (PLAIN.replace(b"false", b"true"), None, "contradicts"),
        (SEALED.replace(b"true", b"false"), "correct horse", "contradicts"),
        (SEALED.replace(b"scrypt-gcm/v1", b"scrypt-gcm/v2"), "correct horse", "backup"),
    ],
)
def test_every_other_way_in_is_refused(data: bytes, passphrase: str | None, message: str) -> None:
    with pytest.raises(KeystoreError, match=message) as caught:
        unseal(data, passphrase)
    assert MASTER.hex() not in str(caught.value)


@pytest.mark.parametrize("field", ["salt", "nonce", "sealed"])
def test_a_changed_field_does_not_open(field: str) -> None:
    document = json.loads(SEALED)
    digit = document[field][-1]
    document[field] = document[field][:-1] + ("0" if digit != "0" else "1")
    with pytest.raises(KeystoreError, match="does not open"):
        unseal(canonical.encode(document), "correct horse")


def test_the_spelling_of_a_passphrase_does_not_depend_on_the_keyboard() -> None:
    sealed = seal(MASTER, "caf\u00e9", salt=SALT, nonce=NONCE)
    assert unseal(sealed, "cafe\u0301") == MASTER


def test_seal_needs_fresh_salt_and_nonce_of_their_length() -> None:
    for salt, nonce in ((b"", NONCE), (SALT, b""), (SALT + b"\0", NONCE), (SALT, NONCE + b"\0")):
        with pytest.raises(ValueError, match="bytes"):
            seal(MASTER, "x", salt=salt, nonce=nonce)
    with pytest.raises(ValueError, match="master key"):
        seal(MASTER[:-1], None, salt=SALT, nonce=NONCE)
    with pytest.raises(KeystoreError, match="empty"):
        seal(MASTER, "", salt=SALT, nonce=NONCE)


def test_the_sealed_bytes_are_scrypt_and_aes_gcm() -> None:
    """Recomputed with another scrypt, from the page's words alone."""
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

    key = Scrypt(salt=SALT, length=32, n=32768, r=8, p=1).derive(b"correct horse")
    document = json.loads(SEALED)
    assert AESGCM(key).decrypt(NONCE, bytes.fromhex(document["sealed"]), b"tallystick/keystore/v1\n") == MASTER


def test_derived_keys_are_hkdf_and_differ_by_purpose() -> None:
    """HKDF written out: extract with a zero salt, expand one block."""
    import hmac

    prk = hmac.digest(bytes(32), MASTER, "sha256")
    expected = hmac.digest(prk, b"tallystick/derive/v1\nlog\x01", "sha256")
    assert derive(MASTER, "log") == expected
    purposes = ["log", "coordinator", "worker/1", "worker/11"]
    assert len({derive(MASTER, purpose) for purpose in purposes}) == len(purposes)
    assert derive(b"\1" * 32, "log") != expected


def test_derive_refuses_what_would_be_ambiguous() -> None:
    for master, purpose in ((MASTER[:-1], "log"), (MASTER, ""), (MASTER, "lög")):
        with pytest.raises(ValueError, match=r"master key|purpose"):
            derive(master, purpose)


def test_scrypt_stays_at_its_documented_cost() -> None:
    assert (keystore.SCRYPT_N, keystore.SCRYPT_R, keystore.SCRYPT_P) == (2**15, 8, 1)
