"""A token opens what its record says, for as long as it says, and only to whoever knows its secret."""

from __future__ import annotations

import pytest

from tallystick.errors import AbsentError, AccessError, UsageError
from tallystick.node.tokens import TOKEN_PREFIX, Scope, Tokens, check_account
from tests.private_store import PrivateStore

NOW = 1_700_000_000_000
ENTROPY = bytes(range(38))


def made(store: PrivateStore, expires: int | None = None) -> tuple[Tokens, str]:
    tokens = Tokens(store)
    return tokens, tokens.create(ENTROPY, (Scope.REQUESTER,), "alice", NOW, expires)


def test_a_token_names_its_account_and_scopes() -> None:
    tokens, text = made(PrivateStore())
    record = tokens.check(text, NOW)
    assert (record.account, record.scopes) == ("alice", (Scope.REQUESTER,))
    assert text == f"tally_{ENTROPY[:6].hex()}_{ENTROPY[6:].hex()}"


def test_the_secret_is_kept_nowhere() -> None:
    store = PrivateStore()
    _, text = made(store)
    secret = text.rpartition("_")[2]
    assert all(secret.encode() not in value and secret not in key for key, value in store.values.items())
    assert all(bytes.fromhex(secret) not in value for value in store.values.values())


def test_a_later_process_knows_it_and_its_end() -> None:
    store = PrivateStore()
    _, text = made(store, expires=NOW + 5)
    again = Tokens(store)
    assert again.check(text, NOW + 4).account == "alice"
    assert again.any_valid(NOW + 4)
    with pytest.raises(AccessError, match="expired"):
        again.check(text, NOW + 5)
    assert not again.any_valid(NOW + 5)


def test_a_revoked_token_opens_nothing_for_ever() -> None:
    store = PrivateStore()
    tokens, text = made(store)
    first = tokens.revoke(ENTROPY[:6].hex(), NOW + 1)
    assert tokens.revoke(ENTROPY[:6].hex(), NOW + 9) == first
    for each in (tokens, Tokens(store)):
        with pytest.raises(AccessError, match="revoked"):
            each.check(text, NOW + 2)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tally_",
        f"tally_{'0' * 12}_{'0' * 64}",
        f"tally_{ENTROPY[:6].hex()}_{'0' * 64}",
        f"tally_{ENTROPY[:6].hex()}_{ENTROPY[6:].hex()}\n",
        f"tally_{ENTROPY[:6].hex()}_{ENTROPY[6:].hex().upper()}",
        f"tally_{ENTROPY[:6].hex()}_{ENTROPY[6:].hex()}0",
    ],
)
def test_what_is_not_the_secret_opens_nothing(text: str) -> None:
    tokens, _ = made(PrivateStore())
    with pytest.raises(AccessError):
        tokens.check(text, NOW)


def test_nothing_tells_a_stranger_whether_a_token_was_revoked() -> None:
    tokens, text = made(PrivateStore())
    tokens.revoke(ENTROPY[:6].hex(), NOW)
    with pytest.raises(AccessError) as known:
        tokens.check(text[:-1] + ("0" if text[-1] != "0" else "1"), NOW)
    with pytest.raises(AccessError) as unknown:
        tokens.check(f"tally_{'f' * 12}_{'0' * 64}", NOW)
    assert str(known.value) == str(unknown.value)


def test_tokens_without_scope_name_or_time_are_refused() -> None:
    tokens = Tokens(PrivateStore())
    for scopes, account, expires in (
        ((), "alice", None),
        ((Scope.REPORTER,), "Alice", None),
        ((Scope.REPORTER,), "", None),
        ((Scope.REPORTER,), "cpc1qqqq", None),
        ((Scope.REPORTER,), "a" * 65, None),
        ((Scope.REPORTER,), "a/b", None),
        ((Scope.REPORTER,), "alice\n", None),
        ((Scope.REPORTER,), "alice", NOW),
    ):
        with pytest.raises(UsageError):
            tokens.create(ENTROPY, scopes, account, NOW, expires)
    assert tokens.every() == ()
    with pytest.raises(AbsentError):
        tokens.revoke("0" * 12, NOW)
    check_account("home")


def test_two_tokens_never_share_an_id() -> None:
    store = PrivateStore()
    tokens, text = made(store)
    with pytest.raises(UsageError, match="already"):
        tokens.create(ENTROPY, (Scope.OPERATOR,), "bob", NOW, None)
    assert tokens.check(text, NOW).account == "alice"
    assert store.private_keys(TOKEN_PREFIX) == (TOKEN_PREFIX + ENTROPY[:6].hex(),)
