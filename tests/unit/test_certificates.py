"""The home's own authority: the profile that readers demand, and bytes that depend on the secrets alone."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding

from tallystick.adapters.certificates import CertificateChain, fingerprint, issue_chain, leaf_serial
from tallystick.errors import UsageError

ROOT, LEAF = bytes(range(32)), bytes(range(32, 64))
START = 1_795_000_000_123  # 2026-11-18T11:06:40.123Z
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def certificates(chain: CertificateChain) -> tuple[x509.Certificate, x509.Certificate]:
    (leaf,) = x509.load_pem_x509_certificates(chain.chain_pem.encode())
    return x509.load_pem_x509_certificate(chain.root_pem.encode()), leaf


@pytest.fixture(scope="module")
def chain() -> CertificateChain:
    return issue_chain(ROOT, LEAF, START, "Tallystick home")


def test_the_chain_holds_the_leaf_alone_and_the_root_issued_both(chain: CertificateChain) -> None:
    root, leaf = certificates(chain)
    leaf.verify_directly_issued_by(root)
    root.verify_directly_issued_by(root)
    assert leaf.subject.rfc4514_string() == "CN=Tallystick home,O=Tallystick"


def test_both_are_valid_for_twenty_five_years_from_the_given_second(chain: CertificateChain) -> None:
    start = datetime.fromtimestamp(START // 1000, UTC)
    for certificate in certificates(chain):
        assert certificate.not_valid_before_utc == start
        assert certificate.not_valid_after_utc == start.replace(year=start.year + 25)


def test_the_leaf_has_the_claim_signers_profile(chain: CertificateChain) -> None:
    root, leaf = certificates(chain)
    extensions = leaf.extensions
    assert extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    usage = extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert (usage.value.digital_signature, usage.value.key_cert_sign, usage.value.content_commitment) == (1, 0, 0)
    purposes = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert [oid.dotted_string for oid in purposes] == ["1.3.6.1.5.5.7.3.4", "1.3.6.1.4.1.62558.2.1"]
    issuer = extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    assert issuer == root.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest


def test_the_root_may_issue_leaves_and_nothing_below_them(chain: CertificateChain) -> None:
    root, _ = certificates(chain)
    constraints = root.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (constraints.critical, constraints.value.ca, constraints.value.path_length) == (True, True, 0)
    usage = root.extensions.get_extension_for_class(x509.KeyUsage).value
    assert (usage.key_cert_sign, usage.digital_signature) == (True, False)


def test_the_same_secrets_and_moment_give_the_same_bytes(chain: CertificateChain) -> None:
    again = issue_chain(ROOT, LEAF, START + 1, "Tallystick home")  # the same second
    assert (again.root_pem, again.chain_pem) == (chain.root_pem, chain.chain_pem)


@pytest.mark.parametrize(
    ("root", "leaf", "start"),
    [(LEAF, ROOT, START), (ROOT, bytes(32), START), (ROOT, LEAF, START + 1000)],
    ids=["swapped", "other leaf", "a second later"],
)
def test_another_leaf_key_or_moment_gives_another_serial(
    chain: CertificateChain, root: bytes, leaf: bytes, start: int
) -> None:
    other = issue_chain(root, leaf, start, "Tallystick home")
    assert leaf_serial(other) != leaf_serial(chain)
    assert fingerprint(other) != fingerprint(chain)


def test_roots_of_two_homes_have_two_names(chain: CertificateChain) -> None:
    other = issue_chain(bytes(32), LEAF, START, "Tallystick home")
    assert certificates(other)[0].subject != certificates(chain)[0].subject


def test_fingerprint_and_serial_are_those_of_the_leaf(chain: CertificateChain) -> None:
    _, leaf = certificates(chain)
    assert fingerprint(chain) == hashlib.sha256(leaf.public_bytes(Encoding.DER)).digest()
    assert leaf_serial(chain) == f"{leaf.serial_number:032x}"


def test_the_signature_is_raw_r_s_and_repeats_itself(chain: CertificateChain) -> None:
    _, leaf = certificates(chain)
    signature = chain.sign(b"claim")
    assert signature == chain.sign(b"claim")
    assert len(signature) == 64
    r, s = (int.from_bytes(half, "big") for half in (signature[:32], signature[32:]))
    public = leaf.public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey)
    public.verify(encode_dss_signature(r, s), b"claim", ec.ECDSA(hashes.SHA256()))


@pytest.mark.parametrize("secret", [bytes(32), b"\xff" * 32, P256_ORDER.to_bytes(32, "big")], ids=["0", "max", "order"])
def test_every_secret_is_a_key(secret: bytes) -> None:
    leaf_serial(issue_chain(secret, LEAF, START, "x"))


@pytest.mark.parametrize(
    ("root", "leaf", "name"),
    [(ROOT[:31], LEAF, "x"), (ROOT, LEAF + b"\0", "x"), (ROOT, ROOT, "x"), (ROOT, LEAF, ""), (ROOT, LEAF, "x" * 65)],
    ids=["short", "long", "equal", "no name", "long name"],
)
def test_what_cannot_be_issued_is_refused(root: bytes, leaf: bytes, name: str) -> None:
    with pytest.raises(UsageError):
        issue_chain(root, leaf, START, name)


def test_the_key_does_not_show(chain: CertificateChain) -> None:
    assert "key" not in repr(chain)
