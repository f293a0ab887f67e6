"""A second opinion on our content credentials: a C2PA verifier that shares no code with the library that signs.

It checks signature and hashes and knows no roots, so who signed is not its question.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.credentials import CLAIM, EMBEDDED, PNG, SIDECAR, Delivery, chunk, deliver, home, with_manifest
from tests.npm import installed

FOLDER = Path(__file__).with_name("c2pa_ts")

Verify = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def verify() -> Verify:
    """Run the verifier on a file with embedded credentials, or on a file and its store."""
    node = installed(FOLDER)

    def run(*paths: Path) -> dict[str, Any]:
        done = subprocess.run([node, FOLDER / "verify.mjs", *paths], capture_output=True, text=True, check=True)
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    return run


@pytest.fixture(scope="module")
def delivery(tmp_path_factory: pytest.TempPathFactory) -> Delivery:
    return deliver(tmp_path_factory.mktemp("delivery"), home())


@pytest.fixture
def store(delivery: Delivery, tmp_path: Path) -> Path:
    path = tmp_path / "out.png.c2pa"
    path.write_bytes(delivery.sidecar)
    return path


GOOD = {"claimSignature.validated", "assertion.hashedURI.match", "assertion.dataHash.match"}


def test_it_accepts_signature_and_hash_of_the_embedded_credentials(verify: Verify, delivery: Delivery) -> None:
    answer = verify(delivery.output)
    assert answer["valid"], answer
    assert set(answer["codes"]) >= GOOD


def test_it_accepts_signature_and_hash_of_the_sidecar(verify: Verify, delivery: Delivery, store: Path) -> None:
    answer = verify(delivery.output, store)
    assert answer["valid"], answer
    assert set(answer["codes"]) >= GOOD


def test_it_accepts_an_output_whose_input_had_credentials(verify: Verify, delivery: Delivery, tmp_path: Path) -> None:
    again = tmp_path / "again.png"
    claim = ("first.png", PNG, delivery.output)
    delivery.signer.sign_embedded(delivery.plain, again, PNG, CLAIM, claim)
    answer = verify(again)
    assert answer["valid"], answer


# It does not read the size of the outermost description box, which no signature covers; c2pa-rs does, and refuses.
UNREAD = {"box structure damaged"}


@pytest.mark.parametrize("attack", [pytest.param(EMBEDDED[name], id=name) for name in EMBEDDED if name not in UNREAD])
def test_it_refuses_the_damaged_file(
    verify: Verify, delivery: Delivery, tmp_path: Path, attack: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "damaged.png"
    path.write_bytes(attack(delivery.output.read_bytes()))
    assert not verify(path)["valid"]


@pytest.mark.parametrize("attack", SIDECAR.values(), ids=SIDECAR.keys())
def test_it_refuses_the_damaged_sidecar(
    verify: Verify, delivery: Delivery, store: Path, attack: Callable[[bytes], bytes]
) -> None:
    store.write_bytes(attack(delivery.sidecar))
    assert not verify(delivery.output, store)["valid"]


def test_it_refuses_credentials_of_another_picture(
    verify: Verify, delivery: Delivery, store: Path, tmp_path: Path
) -> None:
    moved = tmp_path / "moved.png"
    moved.write_bytes(with_manifest(delivery.input[2].read_bytes(), chunk(delivery.output.read_bytes(), b"caBX")))
    assert "assertion.dataHash.mismatch" in verify(moved)["codes"]
    assert "assertion.dataHash.mismatch" in verify(delivery.plain, store)["codes"]
