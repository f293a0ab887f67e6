"""Content credentials against the reference library: what is Trusted, and that nothing else is accepted."""

from __future__ import annotations

import base64
import hashlib
import http.server
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import c2pa
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tallystick.adapters.c2pa import CheckedCredential, ContentCredentials, CredentialChecker, CredentialState
from tallystick.adapters.certificates import issue_chain, leaf_serial
from tallystick.anchoring.claims import ALGORITHMICALLY_ENHANCED, JOB_LABEL, manifest, parent
from tallystick.errors import CredentialError, UsageError
from tests.conformance.credentials import (
    CLAIM,
    DAY,
    EMBEDDED,
    OPAQUE,
    PNG,
    SIDECAR,
    TITLE,
    YEAR,
    Delivery,
    chunk,
    deliver,
    flip,
    home,
    now,
    repaired,
    with_manifest,
    without,
)


@pytest.fixture(scope="module")
def delivery(tmp_path_factory: pytest.TempPathFactory) -> Delivery:
    return deliver(tmp_path_factory.mktemp("private-folder"), home())


@pytest.fixture(scope="module")
def signed(delivery: Delivery) -> bytes:
    return delivery.output.read_bytes()


def expected(delivery: Delivery) -> CheckedCredential:
    return CheckedCredential(CredentialState.TRUSTED, CLAIM.assertion(), leaf_serial(delivery.chain), TITLE)


def report(delivery: Delivery, path: Path) -> dict[str, Any]:
    context = c2pa.Context.from_dict({"version": 1, "trust": {"user_anchors": delivery.chain.root_pem}})
    with context, c2pa.Reader(str(path), context=context) as reader:
        active: dict[str, Any] = reader.get_active_manifest()
    return active


def test_embedded_credentials_are_trusted_and_say_what_was_claimed(delivery: Delivery) -> None:
    assert delivery.checker.check(delivery.output, PNG) == expected(delivery)
    assert delivery.checker.check(delivery.output.read_bytes(), PNG) == expected(delivery)


def test_the_sidecar_is_trusted_over_a_file_that_carries_a_manifest_itself(delivery: Delivery, signed: bytes) -> None:
    assert chunk(signed, b"caBX")
    assert delivery.checker.check(delivery.output, OPAQUE, delivery.sidecar) == expected(delivery)


def test_signing_beside_leaves_the_file_as_it_was(delivery: Delivery, signed: bytes) -> None:
    delivery.signer.sign_sidecar(delivery.output, CLAIM, delivery.input)
    assert delivery.output.read_bytes() == signed


def test_the_pixels_are_those_of_the_unsigned_file(delivery: Delivery, signed: bytes) -> None:
    assert without(signed, b"caBX") == delivery.plain.read_bytes()


def test_the_input_is_opened_and_resized_by_an_algorithm(delivery: Delivery) -> None:
    active = report(delivery, delivery.output)
    (ingredient,) = active["ingredients"]
    assert (ingredient["title"], ingredient["format"], ingredient["relationship"]) == ("harbour.png", PNG, "parentOf")
    actions, job = active["assertions"]
    assert (job["label"], job["created"], actions["created"]) == (JOB_LABEL, True, True)
    opened, resized = actions["data"]["actions"]
    assert opened["action"] == "c2pa.opened"
    assert opened["parameters"]["ingredients"][0]["url"].endswith("c2pa.assertions/c2pa.ingredient.v3")
    assert (resized["action"], resized["digitalSourceType"]) == ("c2pa.resized", ALGORITHMICALLY_ENHANCED)
    assert resized["parameters"] == {"org.tallystick.kernel": "lanczos3-fixed/v1"}


def test_nothing_travels_that_must_stay_at_home(delivery: Delivery, signed: bytes) -> None:
    digest = hashlib.sha256(delivery.input[2].read_bytes()).digest()
    secrets = [b"private-folder", digest, digest.hex().encode(), base64.b64encode(digest), b"c2pa.thumbnail", b"jpeg"]
    assert [secret for secret in secrets if secret in signed + delivery.sidecar] == []


@pytest.mark.parametrize("attack", EMBEDDED.values(), ids=EMBEDDED.keys())
def test_a_damaged_file_is_refused(delivery: Delivery, signed: bytes, attack: Callable[[bytes], bytes]) -> None:
    damaged = attack(signed)
    assert damaged != signed
    with pytest.raises(CredentialError):
        delivery.checker.check(damaged, PNG)


@pytest.mark.parametrize("attack", EMBEDDED.values(), ids=EMBEDDED.keys())
def test_the_sidecar_refuses_the_damaged_file(
    delivery: Delivery, signed: bytes, attack: Callable[[bytes], bytes]
) -> None:
    with pytest.raises(CredentialError):
        delivery.checker.check(attack(signed), OPAQUE, delivery.sidecar)


@pytest.mark.parametrize("attack", SIDECAR.values(), ids=SIDECAR.keys())
def test_a_damaged_sidecar_is_refused_even_over_a_file_with_good_credentials(
    delivery: Delivery, attack: Callable[[bytes], bytes]
) -> None:
    with pytest.raises(CredentialError):
        delivery.checker.check(delivery.output, OPAQUE, attack(delivery.sidecar))


def test_the_evidence_names_what_the_library_found(delivery: Delivery, signed: bytes) -> None:
    with pytest.raises(CredentialError, match=r"dataHash\.mismatch") as refusal:
        delivery.checker.check(repaired(flip(signed, signed.index(b"IDAT") + 40)), PNG)
    assert refusal.value.expected == "Trusted"
    with pytest.raises(CredentialError, match=r"hashedURI\.mismatch"):
        delivery.checker.check(repaired(signed.replace(b"ejobIdejob_7", b"ejobIdejob_8")), PNG)


def test_signed_again_by_another_authority_it_is_only_valid_and_refused(delivery: Delivery, tmp_path: Path) -> None:
    forged = deliver(tmp_path, home(seed=2))
    assert forged.checker.check(forged.output, PNG).state is CredentialState.TRUSTED
    for mime, store in ((PNG, None), (OPAQUE, forged.sidecar)):
        with pytest.raises(CredentialError, match=r"actual Valid \(signingCredential\.untrusted\)"):
            delivery.checker.check(forged.output, mime, store)


def test_another_leaf_in_the_signature_is_refused(delivery: Delivery, signed: bytes) -> None:
    ours = der(delivery.chain.chain_pem)
    others = (
        der(issue_chain(b"o" * 32, bytes([seed]) * 32, now() - DAY, "Tallystick home").chain_pem) for seed in range(99)
    )
    swapped = signed.replace(ours, next(other for other in others if len(other) == len(ours)))
    assert swapped != signed
    with pytest.raises(CredentialError, match=r"claimSignature\.mismatch"):
        delivery.checker.check(repaired(swapped), PNG)


def der(pem: str) -> bytes:
    return x509.load_pem_x509_certificate(pem.encode()).public_bytes(Encoding.DER)


def test_credentials_do_not_move_to_another_picture(delivery: Delivery, signed: bytes) -> None:
    other = delivery.input[2].read_bytes()
    with pytest.raises(CredentialError, match=r"dataHash\.mismatch"):
        delivery.checker.check(with_manifest(other, chunk(signed, b"caBX")), PNG)
    with pytest.raises(CredentialError, match=r"dataHash\.mismatch"):
        delivery.checker.check(other, OPAQUE, delivery.sidecar)


def test_an_embedded_manifest_is_no_sidecar(delivery: Delivery, signed: bytes) -> None:
    store = chunk(signed, b"caBX")[8:-4]
    with pytest.raises(CredentialError):
        delivery.checker.check(delivery.plain, OPAQUE, store)


def sign_by_hand(
    delivery: Delivery, path: Path, definition: dict[str, Any], created: Sequence[str], url: str | None = None
) -> None:
    """Sign with the right key what the adapter would not sign: any definition, or a mere link to ``url``."""
    settings = {"version": 1, "builder": {"created_assertion_labels": list(created)}}
    with (
        c2pa.Context.from_dict(settings) as context,
        c2pa.Signer.from_callback(delivery.chain.sign, c2pa.C2paSigningAlg.ES256, delivery.chain.chain_pem) as signer,
        c2pa.Builder(definition, context=context) as builder,
        delivery.plain.open("rb") as source,
        delivery.input[2].open("rb") as harbour,
        path.open("w+b") as destination,
    ):
        if url is not None:
            builder.set_no_embed()
            builder.set_remote_url(url)
        builder.add_ingredient(parent("harbour.png", PNG), PNG, harbour)
        builder.sign(signer, PNG, source, destination)


@pytest.mark.parametrize(
    ("assertions", "created"),
    [
        ([], [JOB_LABEL]),
        ([CLAIM.assertion()] * 2, [JOB_LABEL]),
        ([CLAIM.assertion()], []),
        ([{"version": 1}], [JOB_LABEL]),
    ],
    ids=["none", "two", "gathered from elsewhere", "malformed"],
)
def test_a_trusted_signer_must_vouch_for_exactly_one_job(
    delivery: Delivery, tmp_path: Path, assertions: list[dict[str, object]], created: list[str]
) -> None:
    definition = manifest(CLAIM, PNG)
    definition["assertions"][1:] = [{"label": JOB_LABEL, "data": data} for data in assertions]
    path = tmp_path / "signed.png"
    sign_by_hand(delivery, path, definition, created)
    with c2pa.Reader(str(path)) as reader:
        assert reader.get_validation_state() == "Valid"
    with pytest.raises(CredentialError, match=r"org\.tallystick\.job"):
        delivery.checker.check(path, PNG)


def test_credentials_are_trusted_twenty_years_later(tmp_path: Path) -> None:
    old = deliver(tmp_path, home(age=20 * YEAR))
    assert old.checker.check(old.output, PNG).title == TITLE
    assert old.checker.check(old.output, OPAQUE, old.sidecar).title == TITLE


@pytest.mark.parametrize("age", [26 * YEAR, -DAY], ids=["expired", "not yet valid"])
def test_nothing_is_signed_outside_the_certificates_time(delivery: Delivery, tmp_path: Path, age: int) -> None:
    chain = home(age=age)
    signer = ContentCredentials(chain.chain_pem, chain.sign)
    with pytest.raises(CredentialError):
        signer.sign_embedded(delivery.plain, tmp_path / "out.png", PNG, CLAIM, delivery.input)
    assert not (tmp_path / "out.png").exists()


def test_a_file_is_not_signed_into_itself(delivery: Delivery) -> None:
    before = delivery.plain.read_bytes()
    with pytest.raises(UsageError):
        delivery.signer.sign_embedded(delivery.plain, delivery.plain, PNG, CLAIM, delivery.input)
    assert delivery.plain.read_bytes() == before


def test_credentials_of_the_input_are_passed_on(delivery: Delivery, tmp_path: Path) -> None:
    out = tmp_path / "again.png"
    delivery.signer.sign_embedded(delivery.plain, out, PNG, CLAIM, ("first.png", PNG, delivery.output))
    delivery.checker.check(out, PNG)
    (ingredient,) = report(delivery, out)["ingredients"]
    assert ingredient["active_manifest"]
    assert ingredient["title"] == "first.png"


DAMAGED: dict[str, Callable[[bytes], bytes]] = {
    "pixel flipped": lambda png: repaired(flip(png, png.index(b"IDAT") + 40)),
    "box damaged": lambda png: repaired(flip(png, png.index(b"jumd") - 1)),
    "claim damaged": lambda png: repaired(flip(png, png.index(b"xmp", png.index(b"c2pa.claim")))),
    "cut": lambda png: png[:-30],
    "another type than its name says": lambda _: b"\xff\xd8\xff\xe0 tally",
    "empty": lambda _: b"",
}


@pytest.mark.parametrize("attack", DAMAGED.values(), ids=DAMAGED.keys())
def test_damaged_credentials_of_an_input_neither_stop_nor_spoil_the_output(
    delivery: Delivery, signed: bytes, tmp_path: Path, attack: Callable[[bytes], bytes]
) -> None:
    source, out = tmp_path / "in.png", tmp_path / "out.png"
    source.write_bytes(attack(signed))
    delivery.signer.sign_embedded(delivery.plain, out, PNG, CLAIM, ("in.png", PNG, source))
    assert delivery.checker.check(out, PNG) == expected(delivery)
    (ingredient,) = report(delivery, out)["ingredients"]
    assert "active_manifest" not in ingredient


@pytest.fixture
def listener() -> Iterator[tuple[str, list[str]]]:
    """An HTTP server and the paths that were asked of it."""
    asked: list[str] = []

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/manifest", asked
    server.shutdown()
    thread.join()
    server.server_close()


def test_no_manifest_is_fetched(delivery: Delivery, tmp_path: Path, listener: tuple[str, list[str]]) -> None:
    url, asked = listener
    remote, out = tmp_path / "remote.png", tmp_path / "out.png"
    sign_by_hand(delivery, remote, manifest(CLAIM, PNG), [JOB_LABEL], url)
    assert url.encode() in remote.read_bytes()
    asked.clear()  # the library's own check after signing may have asked
    with pytest.raises(CredentialError):
        delivery.checker.check(remote, PNG)
    delivery.signer.sign_embedded(delivery.plain, out, PNG, CLAIM, ("remote.png", PNG, remote))
    assert delivery.checker.check(out, PNG) == expected(delivery)
    assert asked == []


def test_a_root_that_is_no_certificate_trusts_nobody(delivery: Delivery) -> None:
    for root in ("", "no certificate"):
        with pytest.raises(CredentialError):
            CredentialChecker(root).check(delivery.output, PNG)


def test_a_malformed_claim_is_not_signed(delivery: Delivery) -> None:
    with pytest.raises(CredentialError, match="CID"):
        delivery.signer.sign_sidecar(delivery.plain, replace(CLAIM, completed_nid="bafy"), delivery.input)


def test_importing_the_adapter_loads_no_library() -> None:
    code = "import sys, tallystick.adapters.c2pa; sys.exit('c2pa' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
