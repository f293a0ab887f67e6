"""A root that stands is answered by its receipt, also when its piece is over; anything else is not."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tallystick.errors import AuthorityError
from tallystick.job import PPM
from tallystick.ledger import payloads as say
from tallystick.ledger.transactions import Draft, Transaction, sign
from tallystick.node.floor import Piece
from tests.remote_world import LineWorker, RemoteWorld, form, picture, remote_world


@dataclass(slots=True)
class Listening(LineWorker):
    """Keeps the index of every receipt too."""

    places: list[int] = field(default_factory=list)

    def receipt(self, piece: Piece, transaction: Transaction, index: int) -> None:
        LineWorker.receipt(self, piece, transaction, index)
        self.places.append(index)


def done_by(world: RemoteWorld, name: str) -> tuple[Listening, list[tuple[int, Transaction]]]:
    """Have one worker do a job, come back on a line that heard of nothing, and return its entries."""
    data = picture()
    worker = world.hire(name)
    job = world.host.submit("ann", form(data, audit=PPM), data)
    world.wait(job.job_id)
    worker.leave()
    again = Listening(world, name)
    again.connect()
    entries = world.book.entries_of(job.job_id)
    return again, [(place, each) for place, each in entries if isinstance(each.payload, say.SubmitResult)]


def piece_of(transaction: Transaction) -> Piece:
    payload = transaction.payload
    assert isinstance(payload, say.SubmitResult)
    return Piece(payload.task_id, payload.attempt, payload.microjob)


def test_a_lost_receipt_comes_again_after_the_job_whatever_number_the_root_has(tmp_path: Path) -> None:
    with remote_world(tmp_path) as world:
        worker, roots = done_by(world, "one")
        for _, standing in roots:
            anew = sign(Draft(worker.honest.key, standing.payload), chain_of(world), worker._nonce)
            for entry in (standing.entry, anew.entry):
                assert not world.exchange.commitment(worker.number, piece_of(standing), entry, bytes(32))
        assert [each.tx_hash for _, each in worker.receipts] == [x.tx_hash for _, x in roots for _ in range(2)]
        assert worker.places == [place for place, _ in roots for _ in range(2)]
        assert worker.refusals == []


def test_a_root_that_does_not_stand_and_a_strangers_are_not_answered(tmp_path: Path) -> None:
    with remote_world(tmp_path) as world:
        worker, roots = done_by(world, "one")
        standing = roots[0][1]
        piece, chain = piece_of(standing), chain_of(world)
        other = say.SubmitResult(
            **{
                **{name: getattr(standing.payload, name) for name in standing.payload.__struct_fields__},
                "result_hash": "11" * 32,
            }
        )
        forged = sign(Draft(worker.honest.key, other), chain, worker._nonce)
        with pytest.raises(AuthorityError):
            world.exchange.commitment(worker.number, piece, forged.entry, bytes(32))
        elsewhere = Piece(piece.job_id, piece.attempt, piece.microjob + 1)
        with pytest.raises(AuthorityError):
            world.exchange.commitment(worker.number, elsewhere, standing.entry, bytes(32))
        thief = world.hire("thief")
        with pytest.raises(AuthorityError):
            world.exchange.commitment(thief.number, piece, standing.entry, bytes(32))
        time.sleep(0.1)
        assert (worker.receipts, thief.receipts) == ([], [])


def chain_of(world: RemoteWorld) -> str:
    """The name of the ledger."""
    return world.book.engine.parameters.chain_id
