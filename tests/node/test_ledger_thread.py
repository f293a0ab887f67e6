"""One thread writes the ledger for many: grouping, order, what fails alone, and what a closing node owes.

Knows: the shared book over a real home. Refuses to know: jobs.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tallystick.cli.home import open_home
from tallystick.errors import FundsError, StoreError
from tallystick.ledger import payloads as say
from tallystick.ledger.transactions import Draft, sign
from tallystick.node.feed import Feed
from tallystick.node.ledger_thread import SharedBook
from tallystick.node.sequencer import Accepted, Block, Outcome, Refused, Submission
from tallystick.primitives.keys import SigningKey

TARGET = SigningKey(b"\x07" * 32).address


@contextmanager
def shared(path: Path, *, started: bool = True) -> Iterator[tuple[SharedBook, Any, list[Exception]]]:
    troubles: list[Exception] = []
    with open_home(path) as home:
        book = SharedBook(home.engine, lambda _transaction, _index: None, Feed(troubles.append))
        if started:
            book.start()
        try:
            yield book, home, troubles
        finally:
            if not started:
                book.start()
            book.close()


def pay(home: Any, amount: int = 1) -> Submission:  # noqa: ANN401 - an opened home
    return Submission((Draft(home.identity.faucet(), say.Transfer(TARGET, str(amount))),))


def test_what_waits_goes_into_one_block_in_the_order_in_which_it_came(tmp_path: Path) -> None:
    told: list[tuple[int, Outcome, Block | None]] = []
    with shared(tmp_path, started=False) as (book, home, _):
        for number in range(50):
            book.post(pay(home), lambda outcome, block, number=number: told.append((number, outcome, block)))
        assert book.depth == 50
        book.start()
        book.must(pay(home))
        assert [number for number, _, _ in told] == list(range(50))
        assert len({id(block) for _, _, block in told}) == 1
        indices = [outcome.indices[0] for _, outcome, _ in told if isinstance(outcome, Accepted)]
        assert indices == list(range(50))
        book.start = lambda: None  # type: ignore[method-assign]


def test_a_refused_one_does_not_touch_its_neighbours(tmp_path: Path) -> None:
    with shared(tmp_path) as (book, home, _):
        poor = SigningKey(b"\x09" * 32)
        bad = Submission((Draft(poor, say.Transfer(TARGET, "5")),))
        outcomes, block = book.log([pay(home), bad, pay(home)])
        assert [type(outcome) for outcome in outcomes] == [Accepted, Refused, Accepted]
        assert isinstance(outcomes[1], Refused)
        assert isinstance(outcomes[1].error, FundsError)
        assert block is not None
        with pytest.raises(FundsError):
            book.must(bad)


def test_many_threads_lose_nothing_and_every_entry_is_durable_when_told(tmp_path: Path) -> None:
    answers: list[int] = []
    with shared(tmp_path) as (book, home, troubles):

        def work() -> None:
            for _ in range(40):
                accepted, _block = book.must(pay(home))
                assert home.store.size() > accepted.indices[0]
                answers.append(accepted.indices[0])

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(answers)) == 320
        assert troubles == []
        assert book.engine.tree.size == home.store.size()
        headers = len(book.engine.index.headers)
        assert headers < 320, "nothing was grouped"


def test_a_disk_that_refuses_is_told_to_every_waiter_and_the_node_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with shared(tmp_path) as (book, home, troubles):
        book.must(pay(home))

        def full(_batch: object) -> None:
            raise StoreError("the disk is full")

        with monkeypatch.context() as patch:
            patch.setattr(type(home.store), "append", lambda _self, batch: full(batch))
            with pytest.raises(StoreError, match="full"):
                book.must(pay(home))
        assert troubles
        accepted, _ = book.must(pay(home))
        assert accepted.indices[0] == 2, "the refused one left a trace"


def test_a_closed_book_takes_nothing_and_has_committed_what_it_took(tmp_path: Path) -> None:
    told: list[Outcome] = []
    with shared(tmp_path) as (book, home, _):
        for _ in range(100):
            book.post(pay(home), lambda outcome, _block: told.append(outcome))
        book.close()
        assert len(told) == 100
        assert all(isinstance(outcome, Accepted) for outcome in told)
        assert not book.alive
        with pytest.raises(StoreError, match="closing"):
            book.must(pay(home))
        book.close = lambda: None  # type: ignore[method-assign]


def test_a_settlement_without_evidence_takes_only_itself_down(tmp_path: Path) -> None:
    """The rules refuse it before evidence is asked for: nobody but the coordinator may settle."""
    with shared(tmp_path) as (book, home, _):
        stranger = SigningKey(b"\x0b" * 32)
        forged = say.JobSettled(
            job_id="job-1",
            attempt=1,
            assign_secret="00" * 32,
            lines=(),
            copies=0,
            audited=0,
            redone=0,
            referee_fee="0",
            burned="0",
            refund="0",
            verdicts=0,
            verdicts_root="00" * 32,
            results=0,
            results_root="00" * 32,
            occurred_at=1,
        )
        entry = sign(Draft(stranger, forged), book.engine.parameters.chain_id, 0)
        outcomes, _ = book.log([pay(home), Submission((entry,)), pay(home)])
        assert [type(outcome) for outcome in outcomes] == [Accepted, Refused, Accepted]
