"""secp256k1 accounts: signing, strict signature checks and the two spellings of an address.

Knows compressed keys, compact low-s signatures, bech32 and EIP-55. Refuses to know where secrets are kept and what is
signed: everything here signs a 32-byte digest. Byte formats: docs/spec/addresses-and-cids.md.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from coincurve import PrivateKey, PublicKey

from tallystick.errors import MalformedError, SignatureError
from tallystick.primitives.bech32 import decode_address, encode_address
from tallystick.primitives.digests import Tag, hmac_sha256, sha256

SECRET_SIZE: Final = 32
PUBLIC_SIZE: Final = 33
SIGNATURE_SIZE: Final = 64
ACCOUNT_PREFIX: Final = "cpc"
CONSENSUS_PREFIX: Final = "cpcvalcons"

ORDER: Final = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141
"""Order of the secp256k1 group (SEC 2, section 2.4.1)."""

_DIGEST_SIZE: Final = 32
_COMPRESSED: Final = (2, 3)


class SigningKey:
    """One secp256k1 secret; signatures are deterministic (RFC 6979), 64 bytes r | s with low s."""

    __slots__ = ("_secret", "address", "public")

    public: bytes
    """Compressed public key, 33 bytes."""
    address: str
    """Account address, ``cpc1...``."""

    def __init__(self, secret: bytes) -> None:
        """Take a 32-byte secret. Raises ``MalformedError`` unless 1 <= secret < group order."""
        if len(secret) != SECRET_SIZE or not 0 < int.from_bytes(secret, "big") < ORDER:
            raise MalformedError("secp256k1 secret", "it must have 32 bytes and lie between 1 and the group order")
        self._secret = PrivateKey(secret)
        self.public = self._secret.public_key.format(compressed=True)
        self.address = address_of(self.public)

    def sign(self, digest: bytes) -> bytes:
        """Sign a 32-byte digest: 64 bytes r | s, low s. Raises ``ValueError`` for another length."""
        return self._secret.sign_recoverable(digest, hasher=None)[:SIGNATURE_SIZE]

    def sign_recoverable(self, digest: bytes) -> bytes:
        """Sign a 32-byte digest: 65 bytes r | s | parity, low s, from which ``recover`` finds the key."""
        return self._secret.sign_recoverable(digest, hasher=None)

    def secret_for(self, tag: Tag, *parts: bytes) -> bytes:
        """Return 32 bytes that only this key's holder can derive: HMAC-SHA256 of a tag and parts under the secret."""
        return hmac_sha256(self._secret.secret, tag.prefix, *parts)

    def __repr__(self) -> str:
        """Show the address, never the secret."""
        return f"SigningKey({self.address})"


def check_signature(public: bytes, digest: bytes, signature: bytes) -> None:
    """Check a compact signature over a 32-byte digest under a compressed key.

    Raises ``SignatureError`` for a key that is no point, a signature of another length, r or s outside its range, a
    high s (the malleable twin of a valid signature) and a signature that does not verify. Raises ``ValueError`` for
    a digest of another length, which is a mistake of the caller.
    """
    if len(digest) != _DIGEST_SIZE:
        msg = f"a digest has {_DIGEST_SIZE} bytes, not {len(digest)}"
        raise ValueError(msg)
    if len(signature) != SIGNATURE_SIZE:
        raise SignatureError("length of the signature", expected=SIGNATURE_SIZE, actual=len(signature))
    _check_range(signature)
    if not parse_public(public).verify(_der(signature), digest, hasher=None):
        raise SignatureError("signature", expected=f"a signature by {public.hex()}", actual=signature.hex())


def recover(digest: bytes, signature: bytes) -> bytes:
    """Find the compressed key (33 bytes) of a recoverable signature: 65 bytes r | s | parity (SEC 1, section 4.1.6).

    Raises ``SignatureError`` for another length, a parity above 1, r or s outside its range, a high s (which chains
    refuse, EIP-2) and a signature of no key.
    """
    if len(signature) != SIGNATURE_SIZE + 1 or signature[-1] > 1:
        raise SignatureError("signature", expected="r, s and a parity of 0 or 1", actual=signature.hex())
    _check_range(signature[:SIGNATURE_SIZE])
    try:
        return PublicKey.from_signature_and_message(signature, digest, hasher=None).format(compressed=True)
    except ValueError as error:
        raise SignatureError("signature", expected="one of some key", actual=signature.hex()) from error


@lru_cache(maxsize=4096)
def parse_public(public: bytes) -> PublicKey:
    """Read a compressed key, 33 bytes. Raises ``SignatureError`` for another length, form or what is no point."""
    if len(public) != PUBLIC_SIZE or public[0] not in _COMPRESSED:
        raise SignatureError("public key", expected="33 bytes, compressed", actual=public.hex())
    try:
        return PublicKey(public)
    except ValueError as error:
        raise SignatureError("public key", expected="a point of secp256k1", actual=public.hex()) from error


@lru_cache(maxsize=65536)
def address_of(public: bytes, prefix: str = ACCOUNT_PREFIX) -> str:
    """Address of a compressed key: bech32(prefix, RIPEMD160(SHA256(key))). Raises ``SignatureError`` for no key."""
    from Crypto.Hash import RIPEMD160  # noqa: PLC0415 - 40 ms that readers of signatures alone need not pay

    parse_public(public)
    return encode_address(prefix, RIPEMD160.new(sha256(public)).digest())


@lru_cache(maxsize=65536)
def evm_address_of(public: bytes) -> str:
    """EVM address of a compressed key: the last 20 bytes of keccak256(x | y), spelled by EIP-55 (``0x...``).

    Raises ``SignatureError`` for what is no key.
    """
    return checksum_evm_address(keccak256(parse_public(public).format(compressed=False)[1:])[-20:])


def checksum_evm_address(address: bytes) -> str:
    """Spell 20 bytes by EIP-55: a hex letter is upper case where the digit of keccak256(lower-case hex) is >= 8."""
    plain = address.hex()
    mask = keccak256(plain.encode("ascii")).hex()
    return "0x" + "".join(c.upper() if m >= "8" else c for c, m in zip(plain, mask, strict=False))


def keccak256(data: bytes) -> bytes:
    """Keccak-256 with the original padding, as the EVM uses it (not SHA3-256), 32 bytes."""
    from Crypto.Hash import keccak  # noqa: PLC0415 - 40 ms that readers of signatures alone need not pay

    return keccak.new(digest_bits=256, data=data).digest()


def parse_address(text: str, prefix: str = ACCOUNT_PREFIX) -> bytes:
    """Read the 20 bytes of an address under this prefix; strict, see ``bech32.decode_address``."""
    return decode_address(prefix, text)


def _check_range(signature: bytes) -> None:
    """Refuse r or s outside 1 .. order - 1, and the high one of the two values of s."""
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    if not (0 < r < ORDER and 0 < s < ORDER):
        raise SignatureError("r and s of the signature", expected="1 <= r, s < group order", actual=signature.hex())
    if s > ORDER // 2:
        raise SignatureError("s of the signature", expected="the low one of its two values", actual=signature.hex())


def _der(signature: bytes) -> bytes:
    """DER form of a compact signature, which is what the library's checked entry point reads."""
    r, s = _der_integer(signature[:32]), _der_integer(signature[32:])
    return bytes((0x30, len(r) + len(s))) + r + s


def _der_integer(value: bytes) -> bytes:
    body = value.lstrip(b"\x00")
    if body[0] & 0x80:
        body = b"\x00" + body
    return bytes((2, len(body))) + body
