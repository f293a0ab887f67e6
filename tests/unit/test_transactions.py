import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from tallystick.errors import MalformedError, NotCanonicalError, SignatureError, TooLargeError, VerificationError
from tallystick.job import MICROJOBS_MAX, SEATS_MAX
from tallystick.ledger import payloads as say
from tallystick.ledger.context import GAS, gas_of
from tallystick.ledger.machine import check
from tallystick.ledger.payloads import PAYLOAD_TYPES
from tallystick.ledger.transactions import ENTRY_BYTES_MAX, Draft, check_signed, decode, sign
from tallystick.primitives.cids import raw_cid
from tallystick.primitives.digests import sha256
from tallystick.primitives.keys import ORDER, check_signature
from tests.orders import CHAIN, key, make_order

PAYLOAD = say.Transfer(key("b").address, "1")
ENTRY = sign(Draft(key("a"), PAYLOAD), CHAIN, 7)


def respelled(change: Callable[[dict[str, Any]], None]) -> bytes:
    value = json.loads(ENTRY.entry)
    change(value)
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def test_an_entry_is_one_line_of_canonical_json_with_its_names() -> None:
    assert ENTRY.entry == respelled(lambda _value: None)
    assert list(json.loads(ENTRY.entry)) == ["chain_id", "gas_price", "nonce", "payload", "sender", "signature", "type"]
    assert ENTRY.tx_hash == "0x" + sha256(ENTRY.entry).hex()
    assert ENTRY.nid == raw_cid(sha256(ENTRY.entry))
    assert (ENTRY.type, ENTRY.address) == ("Transfer", key("a").address)
    assert decode(ENTRY.entry) == ENTRY


def test_the_signature_covers_everything_but_itself() -> None:
    unsigned = json.loads(ENTRY.entry)
    signature = bytes.fromhex(unsigned.pop("signature"))
    covered = json.dumps(unsigned, sort_keys=True, separators=(",", ":")).encode()
    check_signature(key("a").public, sha256(b"tallystick/tx/v1\n", covered), signature)
    check(ENTRY, CHAIN)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("chain_id", "another"),
        ("nonce", 8),
        ("gas_price", 1),
        ("sender", key("c").public.hex()),
        ("payload", {"amount": "2", "to": key("b").address}),
        ("signature", "00" * 64),
        ("signature", "11" * 64),
    ],
)
def test_every_changed_field_breaks_the_signature(field: str, value: object) -> None:
    changed = decode(respelled(lambda entry: entry.update({field: value})))
    with pytest.raises(SignatureError):
        check_signed(changed)


def test_an_entry_of_another_chain_is_refused_before_its_signature_is_looked_at() -> None:
    with pytest.raises(VerificationError, match="chain id of the entry: expected other, actual tally-test"):
        check(ENTRY, "other")


def test_the_malleable_twin_of_a_signature_is_refused() -> None:
    r, s = ENTRY.signature[:32], int.from_bytes(ENTRY.signature[32:], "big")
    twin = (r + (ORDER - s).to_bytes(32, "big")).hex()
    with pytest.raises(SignatureError, match="low one"):
        check_signed(decode(respelled(lambda entry: entry.update(signature=twin))))


HOSTILE: dict[str, tuple[bytes, type[MalformedError]]] = {
    "empty": (b"", MalformedError),
    "no JSON": (b"\x00\xff", MalformedError),
    "text that is no UTF-8": (ENTRY.entry.replace(b'"Transfer"', b'"Transf\xff"'), MalformedError),
    "truncated": (ENTRY.entry[:-1], MalformedError),
    "trailing byte": (ENTRY.entry + b"\n", NotCanonicalError),
    "white space": (json.dumps(json.loads(ENTRY.entry), sort_keys=True).encode(), NotCanonicalError),
    "duplicate key": (ENTRY.entry.replace(b'"nonce":7', b'"nonce":7,"nonce":7'), NotCanonicalError),
    "duplicate key in the payload": (
        ENTRY.entry.replace(b'"amount":"1"', b'"amount":"1","amount":"1"'),
        NotCanonicalError,
    ),
    "other order": (
        json.dumps(dict(reversed(json.loads(ENTRY.entry).items())), separators=(",", ":")).encode(),
        NotCanonicalError,
    ),
    "escaped text": (ENTRY.entry.replace(b'"Transfer"', b'"\\u0054ransfer"'), NotCanonicalError),
    "float": (ENTRY.entry.replace(b'"nonce":7', b'"nonce":7.0'), MalformedError),
    "exponent": (ENTRY.entry.replace(b'"nonce":7', b'"nonce":7e0'), MalformedError),
    "number as text": (ENTRY.entry.replace(b'"nonce":7', b'"nonce":"7"'), MalformedError),
    "negative nonce": (ENTRY.entry.replace(b'"nonce":7', b'"nonce":-7'), MalformedError),
    "nonce beyond 2^53": (ENTRY.entry.replace(b'"nonce":7', b'"nonce":9007199254740992'), MalformedError),
    "unknown field": (respelled(lambda entry: entry.update(memo="x")), MalformedError),
    "unknown field in the payload": (respelled(lambda entry: entry["payload"].update(memo="x")), MalformedError),
    "missing field": (respelled(lambda entry: entry.pop("nonce") and None), MalformedError),
    "unknown type": (respelled(lambda entry: entry.update(type="Mint")), MalformedError),
    "another type's payload": (respelled(lambda entry: entry.update(type="StakeDeposited")), MalformedError),
    "upper case hex": (
        ENTRY.entry.replace(ENTRY.sender.hex().encode(), ENTRY.sender.hex().upper().encode()),
        MalformedError,
    ),
    "leading zero in an amount": (ENTRY.entry.replace(b'"1"', b'"01"'), MalformedError),
    "newline after an amount": (ENTRY.entry.replace(b'"1"', b'"1\\n"'), MalformedError),
    "deeply nested": (ENTRY.entry.replace(b'"1"', b"[" * 20_000 + b"]" * 20_000), MalformedError),
    "lone surrogate": (ENTRY.entry.replace(CHAIN.encode(), b"\\ud800"), MalformedError),
    "an array": (b"[]", MalformedError),
    "one byte too many": (b"x" * (ENTRY_BYTES_MAX + 1), TooLargeError),
}


@pytest.mark.parametrize("fault", HOSTILE)
def test_a_hostile_spelling_is_malformed(fault: str) -> None:
    data, kind = HOSTILE[fault]
    with pytest.raises(kind):
        decode(data)


def test_an_optional_field_has_one_spelling_too() -> None:
    result = say.SubmitResult("job", 1, 0, 1, "00" * 32, key("a").address, "00" * 32, "00" * 64)
    entry = sign(Draft(key("a"), result), CHAIN, 0).entry
    assert b'"nonce":null' in entry
    assert b'"proof":null' in entry
    assert isinstance(decode(entry).payload, say.SubmitResult)
    with pytest.raises(NotCanonicalError):
        decode(entry.replace(b'"proof":null,', b""))


def test_every_type_has_a_name_and_gas() -> None:
    assert set(GAS) == set(PAYLOAD_TYPES)
    assert len(PAYLOAD_TYPES) == 23
    assert gas_of(ENTRY) == 21_000
    assert (GAS["SUBMIT_RESULT"], GAS["StakeDeposited"], GAS["BlockHeader"]) == (80_000, 40_000, 0)


def test_an_entry_of_65535_bytes_fits_and_one_more_does_not() -> None:
    """Labels fill the order to the byte."""
    spec = make_order()
    room = ENTRY_BYTES_MAX - len(_submitted(spec))
    labels = tuple(sorted(f"x: {number:04}".ljust(80, "a") for number in range(room // 83 - 1)))
    filled = msgspec.structs.replace(spec, labels=labels)
    rest = ENTRY_BYTES_MAX - len(_submitted(filled))
    exact = msgspec.structs.replace(
        filled,
        labels=(
            *labels,
            "x: z".ljust(min(rest - 3, 83), "z"),
        ),
    )
    short = ENTRY_BYTES_MAX - len(_submitted(exact))
    assert 0 <= short < 83
    padded = msgspec.structs.replace(exact, chain_id=spec.chain_id + "a" * short)
    entry = _submitted(padded)
    assert len(entry) == ENTRY_BYTES_MAX
    decode(entry)
    with pytest.raises(TooLargeError, match="65536 bytes"):
        _submitted(msgspec.structs.replace(padded, chain_id=padded.chain_id + "a"))
    with pytest.raises(TooLargeError):
        decode(entry + b"x")


def _submitted(spec: object) -> bytes:
    payload = say.JobSubmitted(spec, "00" * 32, "00" * 32, 0)  # type: ignore[arg-type]
    return sign(Draft(key("requester"), payload), CHAIN, 0).entry


def test_the_largest_settlement_fits_into_an_entry() -> None:
    most, amount = 2**20, "9" * 78
    line = say.SettlementLine(key("w").public.hex(), key("w").address, most, most, most, 8192, 8192, amount, amount)
    settled = say.JobSettled(
        job_id="j" * 64,
        attempt=1000,
        assign_secret="00" * 32,
        lines=(line,) * SEATS_MAX,
        copies=most,
        audited=most,
        redone=most,
        referee_fee=amount,
        burned=amount,
        refund=amount,
        verdicts=most,
        verdicts_root="00" * 32,
        results=MICROJOBS_MAX,
        results_root="00" * 32,
        occurred_at=2**53 - 1,
    )
    assert decode(sign(Draft(key("c"), settled, 2**53 - 1), CHAIN, 2**53 - 1).entry).payload == settled


def test_the_largest_closing_and_order_fit_into_an_entry() -> None:
    missing = tuple(range(MICROJOBS_MAX))
    closed = say.UploadsClosed("j" * 64, 1000, "00" * 32, missing, 2**53 - 1)
    assert decode(sign(Draft(key("c"), closed), CHAIN, 2**53 - 1).entry).payload == closed
    assert len(_submitted(make_order("a" * SEATS_MAX))) < ENTRY_BYTES_MAX


def test_a_closing_of_more_micro_jobs_than_a_job_can_have_is_malformed() -> None:
    closed = say.UploadsClosed("j", 1, "00" * 32, tuple(range(MICROJOBS_MAX + 1)), 0)
    with pytest.raises(MalformedError):
        decode(sign(Draft(key("c"), closed), CHAIN, 0).entry)
