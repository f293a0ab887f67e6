"""An entry for other people's tools: in-toto Statement v1 in a DSSE envelope, and the Sigstore bundle around it.

An export is never the entry's identity: the entry stays signed by its sender and proved by the log. Knows the bytes
of the envelope (P-256, deterministic). Refuses to know where the key is kept. An envelope is verified before its
payload is parsed. Sources: in-toto attestation v1, DSSE v1, Sigstore bundle v0.3.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tallystick.errors import CommitmentError, MalformedError, SignatureError
from tallystick.primitives import canonical
from tallystick.primitives.canonical import DigestHex
from tallystick.primitives.cids import raw_cid
from tallystick.primitives.digests import sha256

STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE: Final = "urn:tallystick:receipt:v1"
PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
BUNDLE_TYPE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
ENVELOPE_BYTES_MAX: Final = 262_144


class Digests(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The digests of a subject: always and only SHA-256."""

    sha256: DigestHex


class Subject(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the statement is about."""

    name: str
    digest: Digests


class Receipt(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """The predicate: the entry itself, its two names and whether a simulation made it."""

    entry: msgspec.Raw
    nid: str
    tx_hash: str
    simulated: bool


class Statement(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"type_": "_type"}):
    """in-toto Statement v1."""

    type_: str
    subject: tuple[Subject, ...]
    predicateType: str  # noqa: N815 - the word of the specification
    predicate: Receipt


class EnvelopeSignature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One DSSE signature; ``keyid`` is the SHA-256 of the DER SubjectPublicKeyInfo, ``sig`` DER in base64."""

    keyid: DigestHex
    sig: str


class Envelope(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """DSSE envelope with exactly one signature."""

    payload: str
    payload_type: str
    signatures: tuple[EnvelopeSignature]


def state(entry: bytes, subjects: Mapping[str, bytes], *, simulated: bool) -> bytes:
    """Write the statement about an entry: canonical bytes, to be put into an envelope.

    ``entry`` is the entry's canonical JSON; ``subjects`` maps names to 32-byte SHA-256 digests (for an event without
    output, the job specification's). Raises ``ValueError`` without a subject or for a digest of another length,
    ``MalformedError`` when the entry is not canonical JSON.
    """
    if not subjects or any(len(digest) != hashlib.sha256().digest_size for digest in subjects.values()):
        msg = "a statement needs at least one subject, each with a digest of 32 bytes"
        raise ValueError(msg)
    canonical.decode(entry, dict, what="entry")
    return canonical.encode(
        Statement(
            type_=STATEMENT_TYPE,
            subject=tuple(Subject(name, Digests(digest.hex())) for name, digest in sorted(subjects.items())),
            predicateType=PREDICATE_TYPE,
            predicate=_receipt(entry, simulated=simulated),
        )
    )


def read_statement(payload: bytes) -> tuple[Statement, bytes]:
    """Read a statement and the entry's bytes out of a verified payload.

    Raises ``MalformedError`` for another type of statement or predicate or another spelling, ``CommitmentError`` when
    NID or txHash do not name the entry.
    """
    statement = canonical.decode(payload, Statement, what="statement", bytes_max=ENVELOPE_BYTES_MAX)
    if (statement.type_, statement.predicateType) != (STATEMENT_TYPE, PREDICATE_TYPE) or not statement.subject:
        raise MalformedError("statement", f"it is not a {PREDICATE_TYPE} about at least one subject")
    entry = bytes(statement.predicate.entry)
    expected = _receipt(entry, simulated=statement.predicate.simulated)
    for name, right, found in (
        ("NID", expected.nid, statement.predicate.nid),
        ("txHash", expected.tx_hash, statement.predicate.tx_hash),
    ):
        if right != found:
            raise CommitmentError(f"{name} of the stated entry", expected=right, actual=found)
    return statement, entry


def seal_envelope(payload: bytes, key: ec.EllipticCurvePrivateKey) -> bytes:
    """Sign a payload with a P-256 key (RFC 6979) and return the DSSE envelope as canonical JSON.

    Raises ``ValueError`` for a key on another curve.
    """
    _check_curve(key.curve)
    signature = key.sign(_pae(PAYLOAD_TYPE, payload), ec.ECDSA(SHA256(), deterministic_signing=True))
    line = EnvelopeSignature(keyid=key_id(key.public_key()), sig=canonical.format_base64(signature))
    return canonical.encode(Envelope(canonical.format_base64(payload), PAYLOAD_TYPE, (line,)))


def open_envelope(data: bytes, public: ec.EllipticCurvePublicKey) -> bytes:
    """Verify a DSSE envelope under a P-256 key and return its payload, not yet parsed.

    Raises ``MalformedError`` for what is no envelope, ``SignatureError`` for another payload type, key or signature,
    ``ValueError`` for a key on another curve.
    """
    _check_curve(public.curve)
    envelope = canonical.decode(data, Envelope, what="DSSE envelope", bytes_max=ENVELOPE_BYTES_MAX)
    (line,) = envelope.signatures
    payload = canonical.parse_base64(envelope.payload, "payload of a DSSE envelope")
    signature = canonical.parse_base64(line.sig, "signature of a DSSE envelope")
    if envelope.payload_type != PAYLOAD_TYPE:
        raise SignatureError("payload type of the envelope", expected=PAYLOAD_TYPE, actual=envelope.payload_type)
    if line.keyid != key_id(public):
        raise SignatureError("key of the envelope", expected=key_id(public), actual=line.keyid)
    try:
        public.verify(signature, _pae(envelope.payload_type, payload), ec.ECDSA(SHA256()))
    except InvalidSignature as error:
        raise SignatureError("envelope", expected=f"a signature by {line.keyid}", actual=line.sig) from error
    return payload


def sigstore_bundle(envelope: bytes, public: ec.EllipticCurvePublicKey) -> bytes:
    """Put a DSSE envelope into a Sigstore bundle v0.3 with a bare public key, which @sigstore/verify reads offline.

    It has no entry of Sigstore's log: the proof that counts is this log's own ``tlog-proof``.
    """
    return canonical.encode(
        {
            "mediaType": BUNDLE_TYPE,
            "verificationMaterial": {"publicKey": {"hint": key_id(public)}, "tlogEntries": []},
            "dsseEnvelope": msgspec.Raw(envelope),
        }
    )


def key_id(public: ec.EllipticCurvePublicKey) -> str:
    """SHA-256 of the DER SubjectPublicKeyInfo in hex."""
    return sha256(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hex()


def _receipt(entry: bytes, *, simulated: bool) -> Receipt:
    digest = sha256(entry)
    return Receipt(entry=msgspec.Raw(entry), nid=raw_cid(digest), tx_hash=f"0x{digest.hex()}", simulated=simulated)


def _pae(payload_type: str, payload: bytes) -> bytes:
    """DSSE pre-authentication encoding: every part behind its decimal length."""
    kind = payload_type.encode("utf-8")
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def _check_curve(curve: ec.EllipticCurve) -> None:
    if not isinstance(curve, ec.SECP256R1):
        msg = f"exports are signed on P-256, not on {curve.name}"
        raise ValueError(msg)  # noqa: TRY004 - the key is of the right type, its curve is the wrong value
