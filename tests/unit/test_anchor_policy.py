from __future__ import annotations

import pytest

from tallystick.errors import UsageError
from tallystick.node.anchor_policy import AnchorPolicy, Backlog, Trigger, due_in, parse

HOUR = 3_600_000


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("off", AnchorPolicy()),
        ("event", AnchorPolicy(Trigger.EVENT)),
        ("1000", AnchorPolicy(Trigger.ENTRIES, 1000)),
        ("1h", AnchorPolicy(Trigger.INTERVAL, HOUR)),
        ("90s", AnchorPolicy(Trigger.INTERVAL, 90_000)),
        ("30m", AnchorPolicy(Trigger.INTERVAL, HOUR // 2)),
        ("2d", AnchorPolicy(Trigger.INTERVAL, 48 * HOUR)),
    ],
)
def test_a_policy_is_read_as_it_is_spelled(text: str, policy: AnchorPolicy) -> None:
    assert parse(text) == policy
    assert str(policy) == text


def test_an_interval_is_spelled_in_its_largest_unit() -> None:
    assert str(parse("120m")) == "2h"


@pytest.mark.parametrize("text", ["", "0", "0h", "-1", "1.5h", "1w", "1 h", "h", "on", "1h\n", "٣", "9" * 10, "+3"])
def test_anything_else_is_refused_with_what_to_give(text: str) -> None:
    with pytest.raises(UsageError, match="give an interval such as"):
        parse(text)


@pytest.mark.parametrize(
    ("policy", "backlog", "expected"),
    [
        ("1h", Backlog(1, event=False, since=None), 0),
        ("1h", Backlog(1, event=False, since=5), HOUR - 5),
        ("1h", Backlog(1, event=False, since=-HOUR), 0),
        ("1h", Backlog(0, event=False, since=None), None),
        ("3", Backlog(2, event=True, since=None), None),
        ("3", Backlog(3, event=False, since=None), 0),
        ("event", Backlog(9, event=False, since=None), None),
        ("event", Backlog(1, event=True, since=10), 0),
        ("off", Backlog(99, event=True, since=None), None),
        ("event", Backlog(0, event=True, since=None), None),
    ],
)
def test_when_an_anchor_is_due(policy: str, backlog: Backlog, expected: int | None) -> None:
    assert due_in(parse(policy), backlog, 10) == expected
