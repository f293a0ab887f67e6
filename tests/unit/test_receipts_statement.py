"""Exports verify before they are parsed, name their entry, and are read by the words of the DSSE specification."""

from __future__ import annotations

import base64
import hashlib
import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.hashes import SHA256

from tallystick.errors import CommitmentError, MalformedError, NotCanonicalError, SignatureError, TooLargeError
from tallystick.primitives import canonical
from tallystick.primitives.cids import raw_cid
from tallystick.receipts.statement import (
    PAYLOAD_TYPE,
    PREDICATE_TYPE,
    key_id,
    open_envelope,
    read_statement,
    seal_envelope,
    sigstore_bundle,
    state,
)

KEY = ec.derive_private_key(0x1234567890ABCDEF, ec.SECP256R1())
PUBLIC = KEY.public_key()
ENTRY = canonical.encode({"type": "JobCompleted", "nonce": 7, "payload": {"text": "\u00fc"}})
DIGEST = hashlib.sha256(b"output").digest()
PAYLOAD = state(ENTRY, {"output.png": DIGEST}, simulated=False)
ENVELOPE = seal_envelope(PAYLOAD, KEY)


def changed(field: str, value: object) -> bytes:
    return canonical.encode({**json.loads(ENVELOPE), field: value})


def test_a_statement_travels_in_its_envelope() -> None:
    assert open_envelope(ENVELOPE, PUBLIC) == PAYLOAD
    statement, entry = read_statement(PAYLOAD)
    assert entry == ENTRY
    assert statement.predicate.nid == raw_cid(hashlib.sha256(ENTRY).digest())
    assert statement.predicate.tx_hash == "0x" + hashlib.sha256(ENTRY).hexdigest()
    assert [(subject.name, subject.digest.sha256) for subject in statement.subject] == [("output.png", DIGEST.hex())]


def test_the_statement_has_the_fields_of_in_toto() -> None:
    document = json.loads(PAYLOAD)
    assert sorted(document) == ["_type", "predicate", "predicateType", "subject"]
    assert document["_type"] == "https://in-toto.io/Statement/v1"
    assert document["predicateType"] == PREDICATE_TYPE
    assert document["subject"] == [{"name": "output.png", "digest": {"sha256": DIGEST.hex()}}]
    assert document["predicate"]["entry"] == json.loads(ENTRY)
    assert document["predicate"]["simulated"] is False


def test_simulated_is_repeated_in_the_signed_bytes() -> None:
    payload = state(ENTRY, {"output.png": DIGEST}, simulated=True)
    assert json.loads(payload)["predicate"]["simulated"] is True
    assert read_statement(payload)[0].predicate.simulated


def test_the_signature_is_over_the_pre_authentication_encoding() -> None:
    """Verified without our code: PAE from the words of DSSE, the signature by the library."""
    document = json.loads(ENVELOPE)
    payload = base64.b64decode(document["payload"])
    pae = b" ".join([b"DSSEv1", b"28", b"application/vnd.in-toto+json", str(len(payload)).encode(), payload])
    (line,) = document["signatures"]
    PUBLIC.verify(base64.b64decode(line["sig"]), pae, ec.ECDSA(SHA256()))
    assert document["payloadType"] == PAYLOAD_TYPE
    assert len(PAYLOAD_TYPE) == 28
    assert line["keyid"] == key_id(PUBLIC)


def test_sealing_is_deterministic() -> None:
    assert seal_envelope(PAYLOAD, KEY) == ENVELOPE


def test_every_flipped_bit_of_the_payload_or_signature_is_refused() -> None:
    document = json.loads(ENVELOPE)
    for at in range(len(PAYLOAD)):
        bad = bytearray(PAYLOAD)
        bad[at] ^= 1
        with pytest.raises(SignatureError):
            open_envelope(changed("payload", canonical.format_base64(bytes(bad))), PUBLIC)
    (line,) = document["signatures"]
    signature = base64.b64decode(line["sig"])
    for at in range(len(signature)):
        bad = bytearray(signature)
        bad[at] ^= 1
        twisted = [{**line, "sig": canonical.format_base64(bytes(bad))}]
        with pytest.raises(SignatureError):
            open_envelope(changed("signatures", twisted), PUBLIC)


def test_another_key_or_payload_type_is_refused() -> None:
    other = ec.derive_private_key(99, ec.SECP256R1())
    with pytest.raises(SignatureError, match="key of the envelope"):
        open_envelope(ENVELOPE, other.public_key())
    with pytest.raises(SignatureError, match="payload type"):
        open_envelope(changed("payloadType", "application/json"), PUBLIC)
    (line,) = json.loads(seal_envelope(PAYLOAD, other))["signatures"]
    relabelled = changed("signatures", [{**line, "keyid": key_id(PUBLIC)}])
    with pytest.raises(SignatureError, match="envelope"):
        open_envelope(relabelled, PUBLIC)


def test_what_is_no_envelope_is_malformed() -> None:
    (line,) = json.loads(ENVELOPE)["signatures"]
    for data in (
        b"",
        b"{}",
        ENVELOPE[:-1],
        changed("signatures", []),
        changed("signatures", [line, line]),
        changed("x", 1),
    ):
        with pytest.raises(MalformedError):
            open_envelope(data, PUBLIC)
    with pytest.raises(NotCanonicalError):
        open_envelope(json.dumps(json.loads(ENVELOPE)).encode(), PUBLIC)
    with pytest.raises(MalformedError, match="base64"):
        open_envelope(changed("payload", "%%%%"), PUBLIC)
    with pytest.raises(TooLargeError):
        open_envelope(b" " * 262_145, PUBLIC)


def test_only_p256_signs_exports() -> None:
    other = ec.derive_private_key(99, ec.SECP256K1())
    with pytest.raises(ValueError, match="P-256"):
        seal_envelope(PAYLOAD, other)
    with pytest.raises(ValueError, match="P-256"):
        open_envelope(ENVELOPE, other.public_key())


@pytest.mark.parametrize(("field", "value"), [("nid", raw_cid(bytes(32))), ("txHash", "0x" + "00" * 32)])
def test_a_statement_that_names_another_entry_is_refused(field: str, value: str) -> None:
    document = json.loads(PAYLOAD)
    document["predicate"][field] = value
    with pytest.raises(CommitmentError, match=r"NID|txHash"):
        read_statement(canonical.encode(document))


def test_another_type_of_statement_is_malformed() -> None:
    document = json.loads(PAYLOAD)
    for field, value in (
        ("_type", "https://in-toto.io/Statement/v0.1"),
        ("predicateType", "https://slsa.dev/provenance/v1"),
        ("subject", []),
        ("subject", [{"name": "x", "digest": {"sha256": "00"}}]),
        ("subject", [{"name": "x", "digest": {"sha512": "00"}}]),
    ):
        with pytest.raises(MalformedError):
            read_statement(canonical.encode({**document, field: value}))


def test_a_second_spelling_of_the_entry_inside_is_refused() -> None:
    with pytest.raises(NotCanonicalError):
        read_statement(PAYLOAD.replace(b'"nonce":7', b'"nonce": 7'))
    with pytest.raises(NotCanonicalError):
        state(b'{"b":1,"a":2}', {"x": DIGEST}, simulated=False)


def test_a_subject_must_have_a_digest() -> None:
    for subjects in ({}, {"x": b""}, {"x": DIGEST, "y": DIGEST[:-1]}):
        with pytest.raises(ValueError, match="subject"):
            state(ENTRY, subjects, simulated=False)


def test_the_sigstore_bundle_holds_the_same_envelope() -> None:
    bundle = json.loads(sigstore_bundle(ENVELOPE, PUBLIC))
    assert bundle["mediaType"] == "application/vnd.dev.sigstore.bundle.v0.3+json"
    assert bundle["dsseEnvelope"] == json.loads(ENVELOPE)
    assert bundle["verificationMaterial"] == {"publicKey": {"hint": key_id(PUBLIC)}, "tlogEntries": []}


def test_the_signature_is_der_of_two_integers() -> None:
    (line,) = json.loads(ENVELOPE)["signatures"]
    r, s = utils.decode_dss_signature(base64.b64decode(line["sig"]))
    assert r > 0
    assert s > 0
