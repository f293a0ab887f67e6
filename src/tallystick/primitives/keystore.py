"""One master key, sealed by a passphrase or plain, and the keys derived from it.

Knows the keystore's bytes (docs/spec/keystore.md), scrypt, AES-256-GCM and HKDF-SHA256. Refuses to know files, file
modes and where randomness comes from: salt and nonce are arguments.
"""

from __future__ import annotations

import hashlib
import unicodedata
from typing import Annotated, Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from msgspec import Meta

from tallystick.errors import KeystoreError, MalformedError
from tallystick.primitives import canonical
from tallystick.primitives.canonical import DigestHex, SaltHex
from tallystick.primitives.digests import Tag

MASTER_SIZE: Final = 32
SALT_SIZE: Final = 16
NONCE_SIZE: Final = 12
SCRYPT_N: Final = 2**15
SCRYPT_R: Final = 8
SCRYPT_P: Final = 1
_SCRYPT_MEMORY: Final = 64 * 2**20
_KEYSTORE_BYTES_MAX: Final = 4096

_NonceHex = Annotated[str, Meta(pattern=r"^[0-9a-f]{24}(?![\s\S])")]
_SealedHex = Annotated[str, Meta(pattern=r"^[0-9a-f]{96}(?![\s\S])")]


class PlainKeystore(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="plain/v1"):
    """A keystore that anyone who reads the file can use; ``encrypted`` says so in the file itself."""

    encrypted: bool
    master: DigestHex


class SealedKeystore(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="scrypt-gcm/v1"):
    """A keystore under scrypt (N 2^15, r 8, p 1) and AES-256-GCM; ``sealed`` is ciphertext and tag, 48 bytes."""

    encrypted: bool
    salt: SaltHex
    nonce: _NonceHex
    sealed: _SealedHex


def derive(master: bytes, purpose: str) -> bytes:
    """Derive the 32-byte key for one purpose: HKDF-SHA256, no salt, info = tag | purpose (ASCII, not empty).

    Raises ``ValueError`` for a master of another length, an empty purpose or one outside ASCII.
    """
    _check_length("master key", master, MASTER_SIZE)
    if not purpose or not purpose.isascii():
        msg = f"the purpose {purpose!r} must be non-empty ASCII text"
        raise ValueError(msg)
    info = Tag.DERIVE.prefix + purpose.encode("ascii")
    return HKDF(algorithm=SHA256(), length=MASTER_SIZE, salt=None, info=info).derive(master)


def seal(master: bytes, passphrase: str | None, *, salt: bytes, nonce: bytes) -> bytes:
    """Write a keystore: sealed with a passphrase, plain and marked ``encrypted: false`` without one.

    ``salt`` is 16 and ``nonce`` 12 fresh random bytes; a plain keystore does not use them. Raises ``ValueError`` for
    other lengths, ``KeystoreError`` for an empty passphrase.
    """
    _check_length("master key", master, MASTER_SIZE)
    if passphrase is None:
        return canonical.encode(PlainKeystore(encrypted=False, master=master.hex()))
    _check_length("salt", salt, SALT_SIZE)
    _check_length("nonce", nonce, NONCE_SIZE)
    sealed = AESGCM(_stretch(passphrase, salt)).encrypt(nonce, master, Tag.KEYSTORE.prefix)
    return canonical.encode(
        SealedKeystore(encrypted=True, salt=salt.hex(), nonce=nonce.hex(), sealed=sealed.hex()),
    )


def unseal(data: bytes, passphrase: str | None) -> bytes:
    """Read the 32-byte master key out of a keystore.

    Raises ``KeystoreError`` for damaged bytes, a wrong passphrase, a missing one, and for a passphrase offered to a
    plain keystore: whoever sets one believes that the file is encrypted.
    """
    try:
        keystore: PlainKeystore | SealedKeystore = canonical.decode(
            data, PlainKeystore | SealedKeystore, what="keystore", bytes_max=_KEYSTORE_BYTES_MAX
        )
    except MalformedError as error:
        msg = f"{error}; restore the file from a backup"
        raise KeystoreError(msg) from error
    return _open(keystore, passphrase)


def _open(keystore: PlainKeystore | SealedKeystore, passphrase: str | None) -> bytes:
    if keystore.encrypted is not isinstance(keystore, SealedKeystore):
        msg = "the keystore contradicts itself about being encrypted"
        raise KeystoreError(msg)
    if isinstance(keystore, PlainKeystore):
        if passphrase is not None:
            msg = "the keystore is not encrypted, but a passphrase was given; seal it with the passphrase first"
            raise KeystoreError(msg)
        return bytes.fromhex(keystore.master)
    if passphrase is None:
        msg = "the keystore is encrypted; give its passphrase (TALLY_PASSPHRASE)"
        raise KeystoreError(msg)
    key = _stretch(passphrase, bytes.fromhex(keystore.salt))
    try:
        return AESGCM(key).decrypt(
            bytes.fromhex(keystore.nonce),
            bytes.fromhex(keystore.sealed),
            Tag.KEYSTORE.prefix,
        )
    except InvalidTag as error:
        msg = "the passphrase does not open the keystore, or the file was changed"
        raise KeystoreError(msg) from error


def _stretch(passphrase: str, salt: bytes) -> bytes:
    """Make the AES key of a passphrase; NFKC first, so that every keyboard's spelling of it is one."""
    if not passphrase:
        msg = "the passphrase is empty; leave it out altogether for a plain keystore"
        raise KeystoreError(msg)
    secret = unicodedata.normalize("NFKC", passphrase).encode("utf-8")
    return hashlib.scrypt(
        secret, salt=salt, n=SCRYPT_N, r=SCRYPT_R, p=SCRYPT_P, maxmem=_SCRYPT_MEMORY, dklen=MASTER_SIZE
    )


def _check_length(what: str, data: bytes, size: int) -> None:
    if len(data) != size:
        msg = f"the {what} must have {size} bytes, not {len(data)}"
        raise ValueError(msg)
