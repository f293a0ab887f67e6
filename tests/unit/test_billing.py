"""What a job cost its buyer, from its entries: every exit of an escrow, and several attempts."""

from __future__ import annotations

import pytest

from tallystick.ledger import payloads as say
from tallystick.ledger.transactions import Draft, Transaction, sign
from tallystick.node.billing import Bill, bill
from tests.orders import key, make_order

ORDER = make_order()
PRICE = int(ORDER.price.block)
JOB = ORDER.job_id
LOCKED = 1000 * PRICE


def entries(*payloads: say.Payload) -> list[Transaction]:
    """Sign payloads as they would stand in a log."""
    return [sign(Draft(key("anybody"), payload), ORDER.chain_id, nonce) for nonce, payload in enumerate(payloads)]


def locked(attempt: int = 1) -> say.EscrowLocked:
    """Lock 1000 block prices, spread over the four parts."""
    parts = (str(LOCKED - 6), "1", "2", "3")
    return say.EscrowLocked(JOB, attempt, *parts)


def result(microjob: int, size: int) -> say.SubmitResult:
    """A root over so many blocks."""
    zero = "00" * 32
    return say.SubmitResult(JOB, 1, microjob, size, zero, key("worker").address, zero, "00" * 64)


def uploaded(missing: tuple[int, ...]) -> tuple[say.Payload, ...]:
    """Three micro jobs of 4, 5 and 6 blocks, some of which never arrived."""
    ordered = say.JobSubmitted(ORDER, "00" * 32, "00" * 32, 1)
    roots = (result(0, 4), result(1, 5), result(2, 6))
    return (locked(), ordered, *roots, say.UploadsClosed(JOB, 1, "00" * 32, missing, 2))


def test_an_open_escrow_costs_nothing_yet() -> None:
    assert bill(entries(locked())) == Bill(LOCKED, 0, LOCKED)
    assert bill(entries(locked())).cost == 0


@pytest.mark.parametrize(
    ("missing", "leaving", "cost"),
    [
        ((), say.EscrowRefunded(JOB, 1), 0),
        ((), say.EscrowReleased(JOB, 1), 15 * PRICE),
        ((1,), say.EscrowReleased(JOB, 1), 10 * PRICE),
        ((0, 1, 2), say.EscrowReleased(JOB, 1), 0),
        ((), say.EscrowResolved(JOB, 1, say.Exit.REFUNDED, upheld=False), 0),
        ((2,), say.EscrowResolved(JOB, 1, say.Exit.SPLIT, upheld=True), 9 * PRICE),
    ],
)
def test_every_exit_has_its_cost(missing: tuple[int, ...], leaving: say.Payload, cost: int) -> None:
    found = bill(entries(*uploaded(missing), leaving))
    assert (found.cost, found.held, found.returned) == (cost, 0, LOCKED - cost)


def test_attempts_add_up() -> None:
    found = bill(entries(locked(), say.EscrowRefunded(JOB, 1), locked(2)))
    assert found == Bill(2 * LOCKED, LOCKED, LOCKED)
