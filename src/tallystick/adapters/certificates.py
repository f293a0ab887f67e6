"""The home's own certificate authority for content credentials: a root, and the leaf under it that signs.

Knows the certificate profile that C2PA readers accept (docs/spec/content-credentials.md). Refuses to know where the two
secrets are kept and what is signed with the leaf. Nothing here is random: the same secrets and the same first moment of
validity give the same bytes, so a home restores its chain from its master key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from tallystick.errors import UsageError

SECRET_SIZE: Final = 32
YEARS_VALID: Final = 25
NAME_LENGTH_MAX: Final = 64
ORGANIZATION: Final = "Tallystick"
CLAIM_SIGNING: Final = ObjectIdentifier("1.3.6.1.4.1.62558.2.1")
"""The extended key usage c2pa-kp-claimSigning; readers of today still ask for emailProtection beside it."""

_CURVE: Final = ec.SECP256R1()
_ORDER: Final = _CURVE.group_order
_SCALAR_SIZE: Final = 32
_SERIAL_SIZE: Final = 16
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class CertificateChain:
    """A root, what goes into a signature's ``x5chain`` (the leaf alone, never the root), and the leaf's key."""

    root_pem: str
    chain_pem: str
    leaf_key: ec.EllipticCurvePrivateKey = field(repr=False)

    def sign(self, data: bytes) -> bytes:
        """ES256 signature over ``data``: 64 bytes, r | s (the COSE form), deterministic (RFC 6979)."""
        r, s = decode_dss_signature(self.leaf_key.sign(data, _algorithm()))
        return r.to_bytes(_SCALAR_SIZE, "big") + s.to_bytes(_SCALAR_SIZE, "big")


@dataclass(frozen=True, slots=True)
class _Authority:
    """A name and the key that signs for it."""

    name: x509.Name
    key: ec.EllipticCurvePrivateKey = field(repr=False)


def issue_chain(root_secret: bytes, leaf_secret: bytes, not_before: int, common_name: str) -> CertificateChain:
    """Root and leaf certificate, both P-256 and both valid for 25 years.

    Args:
        root_secret: 32 secret bytes; the root's private scalar.
        leaf_secret: 32 other secret bytes; the leaf's private scalar.
        not_before: First moment of validity, UTC milliseconds, cut to seconds. Verifiers whose clock is behind it
            refuse the chain, so callers take a moment that has passed.
        common_name: The signer as readers show it, 1 to 64 characters.

    Raises:
        UsageError: A secret has another size, both are equal, or the name does not fit.
    """
    if len(root_secret) != SECRET_SIZE or len(leaf_secret) != SECRET_SIZE or root_secret == leaf_secret:
        raise UsageError(f"a certificate chain needs two different secrets of {SECRET_SIZE} bytes")
    if not 1 <= len(common_name) <= NAME_LENGTH_MAX:
        raise UsageError(f"a signer's name has 1 to {NAME_LENGTH_MAX} characters, not {len(common_name)}")
    root_key, leaf_key = _private_key(root_secret), _private_key(leaf_secret)
    # Two homes' roots carry different names, so a verifier that pins both never tries the wrong key.
    root = _Authority(_name(f"Tallystick root {_key_digest(root_key).hex()[:16]}"), root_key)
    start = _EPOCH + timedelta(seconds=not_before // 1000)
    root_certificate = _certificate(root.name, root_key, root, start, _root_extensions())
    leaf_certificate = _certificate(_name(common_name), leaf_key, root, start, _leaf_extensions())
    return CertificateChain(_pem(root_certificate), _pem(leaf_certificate), leaf_key)


def fingerprint(chain: CertificateChain) -> bytes:
    """SHA-256 of the leaf certificate's DER, 32 bytes."""
    return _leaf(chain).fingerprint(SHA256())


def leaf_serial(chain: CertificateChain) -> str:
    """The leaf's serial number, 32 lowercase hex digits: SHA-256 of its public key and first moment, cut to 16 bytes.

    A report on content credentials names the signer by it (``adapters.c2pa.CheckedCredential.signer_serial``).
    """
    return f"{_leaf(chain).serial_number:0{2 * _SERIAL_SIZE}x}"


def _leaf(chain: CertificateChain) -> x509.Certificate:
    """The first certificate of the chain."""
    return x509.load_pem_x509_certificates(chain.chain_pem.encode())[0]


def _algorithm() -> ec.ECDSA:
    """ECDSA over SHA-256 without randomness."""
    return ec.ECDSA(SHA256(), deterministic_signing=True)


def _private_key(secret: bytes) -> ec.EllipticCurvePrivateKey:
    """The key whose scalar is 1 + (secret mod (n - 1)): every secret gives one (FIPS 186-5, A.2.1)."""
    return ec.derive_private_key(1 + int.from_bytes(secret, "big") % (_ORDER - 1), _CURVE)


def _name(common_name: str) -> x509.Name:
    """Organisation and common name."""
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANIZATION),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ],
    )


def _key_digest(key: ec.EllipticCurvePrivateKey, *more: bytes) -> bytes:
    """SHA-256 over the DER of the public key and what else is given."""
    der = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(b"".join((der, *more))).digest()


def _serial(key: ec.EllipticCurvePrivateKey, start: datetime) -> int:
    """A positive serial number of at most 16 bytes that only this key and moment have."""
    moment = int((start - _EPOCH).total_seconds()).to_bytes(8, "big", signed=True)
    return int.from_bytes(_key_digest(key, moment)[:_SERIAL_SIZE], "big") or 1


def _certificate(
    subject: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    issuer: _Authority,
    start: datetime,
    extensions: Sequence[tuple[x509.ExtensionType, bool]],
) -> x509.Certificate:
    """An X.509 v3 certificate; each extension comes with its criticality."""
    issuer_public = issuer.key.public_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.name)
        .public_key(key.public_key())
        .serial_number(_serial(key, start))
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=365 * YEARS_VALID + YEARS_VALID // 4))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_public), critical=False)
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(issuer.key, SHA256(), ecdsa_deterministic=True)


def _root_extensions() -> tuple[tuple[x509.ExtensionType, bool], ...]:
    """An authority that issues leaves and nothing below them."""
    usage = _usage(digital_signature=False, key_cert_sign=True)
    return ((x509.BasicConstraints(ca=True, path_length=0), True), (usage, True))


def _leaf_extensions() -> tuple[tuple[x509.ExtensionType, bool], ...]:
    """What C2PA readers demand of a claim signer; one missing piece and they refuse it."""
    purposes = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION, CLAIM_SIGNING])
    usage = _usage(digital_signature=True, key_cert_sign=False)
    return ((x509.BasicConstraints(ca=False, path_length=None), True), (usage, True), (purposes, False))


def _usage(*, digital_signature: bool, key_cert_sign: bool) -> x509.KeyUsage:
    """Key usage with these bits and no other (an authority also signs revocation lists)."""
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=key_cert_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> str:
    """The certificate as PEM text."""
    return certificate.public_bytes(Encoding.PEM).decode("ascii")
