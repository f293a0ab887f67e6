from fractions import Fraction
from itertools import permutations

import msgspec
import pytest

from tallystick.errors import MalformedError, UsageError
from tallystick.job import Deadlines, JobSpec, Upscale, parse_scale, scale_text, spec_digest
from tallystick.primitives import canonical
from tallystick.primitives.digests import sha256
from tests.orders import key, make_order, seats


@pytest.mark.parametrize(
    ("text", "scale"),
    [
        ("2", Fraction(2)),
        ("1.5", Fraction(3, 2)),
        ("3/2", Fraction(3, 2)),
        ("0.5", Fraction(1, 2)),
        ("1000", Fraction(1000)),
    ],
)
def test_a_scale_is_read_exactly_and_spelled_in_lowest_terms(text: str, scale: Fraction) -> None:
    assert parse_scale(text) == scale
    assert parse_scale(scale_text(scale)) == scale
    assert scale_text(Fraction(6, 4)) == "3/2"


@pytest.mark.parametrize("text", ["", "x", "1/0", "0", "-2", "nan", "1001", "1/1001", "1.0000001", "inf"])
def test_any_other_scale_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(UsageError, match=r"--scale .*write"):
        parse_scale(text)


def test_the_six_deadlines_must_increase() -> None:
    moments = (1, 2, 3, 4, 5, 6)
    assert Deadlines(*moments).refund == 6
    for order in permutations(moments):
        if order != moments:
            with pytest.raises(ValueError, match="must increase"):
                Deadlines(*order)
    with pytest.raises(ValueError, match="must increase"):
        Deadlines(1, 2, 3, 3, 5, 6)


@pytest.mark.parametrize(
    ("field", "value", "reason"), [("scale", "4/2", "lowest"), ("scale", "2/1", "lowest"), ("depth", 12, "8 or 16")]
)
def test_an_upscale_has_one_spelling_and_a_real_depth(field: str, value: object, reason: str) -> None:
    fields = msgspec.structs.asdict(make_order().task) | {field: value}
    with pytest.raises(ValueError, match=reason):
        Upscale(**fields)


def test_the_digest_of_an_order_is_the_sha256_of_its_one_spelling() -> None:
    spec = make_order()
    spelled = canonical.encode(spec)
    assert spec_digest(spec) == sha256(spelled)
    assert canonical.decode(spelled, JobSpec, what="order") == spec
    assert spec_digest(make_order(job_id="job-2")) != spec_digest(spec)


def test_a_pool_names_every_worker_once_and_has_at_most_128() -> None:
    spec = make_order("aab")
    assert (spec.operators, spec.referee_copies) == (2, False)
    assert (make_order("aaa").operators, make_order("aaa").referee_copies) == (1, True)
    assert len(make_order("a" * 128).pool) == 128
    for pool, reason in ((seats("ab") * 2, "twice"), (seats("a" * 129), "1 to 128"), ((), "1 to 128")):
        with pytest.raises(ValueError, match=reason):
            msgspec.structs.replace(spec, pool=pool)


def test_labels_stand_in_one_order() -> None:
    assert make_order(labels=("a: x", "b: x")).labels == ("a: x", "b: x")
    for labels in (("b: x", "a: x"), ("a: x", "a: x")):
        with pytest.raises(ValueError, match="sorted and distinct"):
            make_order(labels=labels)


@pytest.mark.parametrize(
    ("part", "field", "value"),
    [
        ("", "job_id", "job-1\n"),
        ("", "job_id", "Job"),
        ("", "attempt", 0),
        ("", "version", 2),
        ("", "labels", ["Label"]),
        ("", "task_type", "upscaling"),
        ("", "requester", "00" * 33),
        ("policy", "audit", 1_000_001),
        ("policy", "stake", "-1"),
        ("policy", "law", 5),
        ("grid", "block", 7),
        ("task", "scale", "0"),
        ("task", "channels", 5),
        ("deadlines", "commit", 2**60),
        ("", "surprise", 1),
    ],
)
def test_a_decoded_order_keeps_its_bounds(part: str, field: str, value: object) -> None:
    plain = msgspec.to_builtins(make_order())
    (plain[part] if part else plain)[field] = value
    with pytest.raises(MalformedError):
        canonical.decode(canonical.encode(plain), JobSpec, what="order")


def test_prices_are_wei() -> None:
    price = make_order().price
    assert (price.block_wei, price.referee_wei) == (1200, 1000)
    assert key("a").public != key("b").public
