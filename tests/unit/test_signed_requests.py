"""A signed request is believed once, at its time, for its ledger, method, path and body."""

from __future__ import annotations

import hashlib

import pytest

from tallystick.errors import AccessError, LimitError, MalformedError
from tallystick.node import signed_requests
from tallystick.node.signed_requests import (
    SKEW_MS,
    Asked,
    Gatekeeper,
    content_digest,
    parse_content_digest,
    sign_request,
)
from tallystick.primitives.keys import SigningKey

NOW = 1_700_000_000_000
KEY = SigningKey(bytes([7]) * 32)
ASKED = Asked("POST", "/api/v1/jobs?limit=1", hashlib.sha256(b"{}").digest())
NONCE = bytes(range(16))


def signed(asked: Asked = ASKED, *, chain_id: str = "chain-1", now: int = NOW, nonce: bytes = NONCE) -> str:
    return sign_request(KEY, chain_id, asked, now=now, nonce=nonce).removeprefix("Tally-Key ")


def test_the_key_of_a_signed_request_is_returned() -> None:
    assert Gatekeeper("chain-1", 0).check(signed(), ASKED, NOW) == KEY.public


@pytest.mark.parametrize(
    "asked",
    [
        Asked("PUT", ASKED.target, ASKED.body),
        Asked(ASKED.method, "/api/v1/jobs?limit=2", ASKED.body),
        Asked(ASKED.method, "/api/v1/jobs", ASKED.body),
        Asked(ASKED.method, ASKED.target, hashlib.sha256(b"{ }").digest()),
        Asked(ASKED.method, ASKED.target),
    ],
)
def test_another_request_is_not_covered(asked: Asked) -> None:
    with pytest.raises(AccessError, match="signature"):
        Gatekeeper("chain-1", 0).check(signed(), asked, NOW)


def test_another_ledger_is_not_covered() -> None:
    with pytest.raises(AccessError, match="signature"):
        Gatekeeper("chain-2", 0).check(signed(), ASKED, NOW)


def test_a_request_is_believed_once() -> None:
    gatekeeper = Gatekeeper("chain-1", 0)
    gatekeeper.check(signed(), ASKED, NOW)
    for later in (NOW, NOW + SKEW_MS):
        with pytest.raises(AccessError, match="made before"):
            gatekeeper.check(signed(), ASKED, later)
    gatekeeper.check(signed(nonce=bytes(16)), ASKED, NOW)


@pytest.mark.parametrize(
    ("skew", "believed"), [(SKEW_MS, True), (SKEW_MS + 1, False), (-SKEW_MS, True), (-SKEW_MS - 1, False)]
)
def test_clocks_may_differ_by_a_minute(skew: int, believed: bool) -> None:  # noqa: FBT001 - a column of the table
    gatekeeper = Gatekeeper("chain-1", 0)
    if believed:
        gatekeeper.check(signed(now=NOW - skew), ASKED, NOW)
    else:
        with pytest.raises(AccessError, match="set the clock"):
            gatekeeper.check(signed(now=NOW - skew), ASKED, NOW)


def test_a_nonce_is_remembered_for_as_long_as_it_could_be_replayed() -> None:
    gatekeeper = Gatekeeper("chain-1", 0)
    early = signed(now=NOW + SKEW_MS)
    gatekeeper.check(early, ASKED, NOW)
    for step in range(1, 2 * SKEW_MS, SKEW_MS // 4):
        gatekeeper.check(signed(now=NOW + step, nonce=step.to_bytes(16, "big")), ASKED, NOW + step)
        with pytest.raises(AccessError):
            gatekeeper.check(early, ASKED, NOW + step)


def test_nonces_of_the_life_before_are_refused_with_their_time() -> None:
    with pytest.raises(AccessError, match="before this node started"):
        Gatekeeper("chain-1", NOW + 1).check(signed(), ASKED, NOW + 2)


def test_memory_is_bounded_and_fails_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signed_requests, "REMEMBERED_MAX", 3)
    gatekeeper = Gatekeeper("chain-1", 0)
    for count in range(3):
        gatekeeper.check(signed(nonce=count.to_bytes(16, "big")), ASKED, NOW)
    with pytest.raises(LimitError):
        gatekeeper.check(signed(nonce=bytes([9]) * 16), ASKED, NOW)
    later = NOW + 2 * SKEW_MS + 1
    gatekeeper.check(signed(now=later, nonce=bytes([8]) * 16), ASKED, later)


def test_who_cannot_sign_fills_no_memory() -> None:
    gatekeeper = Gatekeeper("chain-1", 0)
    other = signed(chain_id="chain-2")
    for _ in range(5):
        with pytest.raises(AccessError, match="signature"):
            gatekeeper.check(other, ASKED, NOW)
    assert not gatekeeper._seen


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text.replace("key=", "Key="),
        lambda text: text.replace(", time", "; time"),
        lambda text: text + "\n",
        lambda text: text.replace("nonce=00", "nonce=0"),
        lambda text: text.upper(),
        lambda text: text.replace(f"time={NOW}", f"time=0{NOW}"),
        lambda _text: "",
        lambda text: text.replace(KEY.public.hex(), "02" + "00" * 32),
    ],
)
def test_other_spellings_are_refused(spoil: object) -> None:
    assert callable(spoil)
    with pytest.raises(AccessError):
        Gatekeeper("chain-1", 0).check(spoil(signed()), ASKED, NOW)


def test_content_digest_is_the_one_of_rfc_9530() -> None:
    text = content_digest(b'{"hello": "world"}\n')
    assert text == "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:"
    assert parse_content_digest(text) == hashlib.sha256(b'{"hello": "world"}\n').digest()
    for wrong in ("", "sha-512=:x:", "sha-256=:AA==:", text + ", sha-512=:x:", text.replace("=:", "=", 1)):
        with pytest.raises(MalformedError):
            parse_content_digest(wrong)
