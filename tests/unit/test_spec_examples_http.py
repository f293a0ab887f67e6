"""docs/spec/http.md says what the code does: the table of scopes row by row, and the example bit by bit."""

from __future__ import annotations

import re
from pathlib import Path

from tallystick.api.guard import TABLE, Rule
from tallystick.api.problems import STATUSES
from tallystick.api.settings import Bounds
from tallystick.node.signed_requests import REMEMBERED_MAX, Asked, Gatekeeper, content_digest, sign_request
from tallystick.node.tokens import Scope
from tallystick.primitives.digests import sha256
from tallystick.primitives.keys import SigningKey

PAGE = (Path(__file__).resolve().parent.parent.parent / "docs" / "spec" / "http.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `([A-Z]+) (/\S*)` \| ([a-z, ]+) \|$", re.MULTILINE)
BODY = b'{"address":"cpc1qqqsyqcyq5rqwzqfpg9scrgwpugpzysnrujsuw","amount":"1"}'
CHAIN, NOW = "tally-dev-0123456789abcdef", 1_700_000_000_000


def words(rule: Rule) -> str:
    """A rule as the page spells it."""
    if rule.public:
        return "ticket" if rule.ticket else "public"
    return ", ".join(sorted(rule.scopes - {Scope.OPERATOR})) or "operator"


def test_the_page_has_the_table_row_by_row() -> None:
    shown = {(method, path): scopes for method, path, scopes in ROW.findall(PAGE)}
    assert shown == {route: words(rule) for route, rule in TABLE.items()}


def test_the_example_is_signed_as_it_stands() -> None:
    key = SigningKey(bytes([1]) * 32)
    asked = Asked("POST", "/api/v1/faucet", sha256(BODY))
    text = sign_request(key, CHAIN, asked, now=NOW, nonce=bytes(range(16)))
    assert f"Authorization: {text}\n" in PAGE
    assert f"Content-Digest: {content_digest(BODY)}\n" in PAGE
    assert BODY.decode() in PAGE
    assert CHAIN in PAGE
    assert Gatekeeper(CHAIN, 0).check(text.removeprefix("Tally-Key "), asked, NOW) == key.public


def test_statuses_and_bounds_are_the_ones_of_the_code() -> None:
    listed = {
        int(found)
        for line in PAGE.splitlines()
        if line.startswith(("| 4", "| 5"))
        for found in re.findall(r"\b[45]\d\d\b", line.split("|")[1])
    }
    assert {status for status, _ in STATUSES.values()} - {500, 502} <= listed
    bounds = Bounds()
    assert (bounds.upload_bytes, bounds.account_bytes) == (1 << 30, 4 << 30)
    assert f"{bounds.uploads_per_account} uploads and 4 GiB" in PAGE
    assert f"arrives within {bounds.body_seconds:.0f} s" in PAGE
    assert f"4 KiB/s after its first {bounds.grace_seconds:.0f} s" in PAGE
    assert f"pause for more than {bounds.chunk_seconds:.0f} s" in PAGE
    assert f"{REMEMBERED_MAX:,} nonces" in PAGE
