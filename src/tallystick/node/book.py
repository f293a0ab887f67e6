"""The ledger as the node's other parts see it: log something, hear what became of it, look up what stands."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tallystick.commitment import Commitment, Place
from tallystick.errors import StoreError
from tallystick.ledger.jobs import posted_roots
from tallystick.ledger.payloads import MicroJobReassigned
from tallystick.ledger.records import (
    Closing,
    Escrow,
    Job,
    Node,
    Order,
    Overlay,
    Result,
    Sealed,
    closing_key,
    escrow_key,
    header_key,
    job_key,
    node_key,
    order_key,
    result_key,
)
from tallystick.ledger.transactions import Transaction, decode
from tallystick.node.ports import CheckSettlement, Engine
from tallystick.node.sequencer import Accepted, Block, Outcome, Refused, Submission
from tallystick.slicing import Move

Watch = Callable[[Transaction, int], None]
"""Hears of every durable entry with its log index."""


class Book:
    """One writer's view of the ledger."""

    def __init__(self, engine: Engine, watch: Watch) -> None:
        """Write through an engine; ``watch`` hears of what became durable."""
        self.engine, self._watch = engine, watch

    def log(
        self, submissions: Sequence[Submission], check_settlement: CheckSettlement | None = None
    ) -> tuple[tuple[Outcome, ...], Block | None]:
        """Commit submissions together; when this returns, what was accepted is durable."""
        outcomes, block = self.engine.run(submissions, check_settlement)
        if block is not None:
            for index, transaction in enumerate((*block.transactions, block.header), block.first):
                self._watch(transaction, index)
        return outcomes, block

    def must(self, submission: Submission, check_settlement: CheckSettlement | None = None) -> tuple[Accepted, Block]:
        """Commit one submission that this node itself made; a refusal is raised."""
        outcomes, block = self.log([submission], check_settlement)
        outcome = outcomes[0]
        if isinstance(outcome, Refused):
            raise outcome.error
        if block is None:
            raise StoreError("a submission was accepted without a block")
        return outcome, block

    def job(self, job_id: str) -> Job | None:
        """Return where a job stands."""
        return Overlay(self.engine.view).find(Job, job_key(job_id))

    def order(self, job_id: str, attempt: int) -> Order:
        """Return the order of an attempt."""
        return Overlay(self.engine.view).need(Order, order_key(job_id, attempt))

    def escrow(self, job_id: str, attempt: int) -> Escrow:
        """Return the escrow of an attempt."""
        return Overlay(self.engine.view).need(Escrow, escrow_key(job_id, attempt))

    def closing(self, job_id: str, attempt: int) -> Closing | None:
        """Return how the uploads of an attempt closed, None before JobStarted."""
        return Overlay(self.engine.view).find(Closing, closing_key(job_id, attempt))

    def header(self, height: int) -> bytes:
        """Return the hash of a block's header."""
        return bytes.fromhex(Overlay(self.engine.view).need(Sealed, header_key(height)).header)

    def payouts(self, workers: Sequence[str]) -> dict[str, str]:
        """Return the payout address of registered workers, by key in hex."""
        view = Overlay(self.engine.view)
        return {worker: view.need(Node, node_key(worker)).payout for worker in workers}

    def payees(self, workers: Sequence[str]) -> Mapping[str, str]:
        """Return the payout addresses of workers as they stand when asked: one without open work may name another."""
        return _Payees(self, tuple(workers))

    def free_bond(self, worker: str) -> int:
        """Return the wei of a worker's bond that no open job holds, zero where nobody registered it."""
        node = Overlay(self.engine.view).find(Node, node_key(worker))
        return 0 if node is None else int(node.bond) - int(node.locked)

    def moves(self, job_id: str, attempt: int) -> tuple[Move, ...]:
        """Return which micro jobs of an attempt were given to another seat, in the order of the log."""
        said = (entry.payload for _, entry in self.entries_of(job_id))
        moved = (each for each in said if isinstance(each, MicroJobReassigned) and each.attempt == attempt)
        return tuple(Move(each.microjob, each.seat) for each in moved)

    def roots(self, job_id: str) -> dict[int, tuple[Commitment, int]]:
        """Return the posted roots of a job's current attempt, with the times of their blocks."""
        view, job = Overlay(self.engine.view), self.job(job_id)
        if job is None:
            return {}
        digest = bytes.fromhex(self.order(job_id, job.attempt).job)
        return {
            index: (_commitment(digest, index, posted), posted.time)
            for index, posted in enumerate(posted_roots(view, job_id, job))
            if posted is not None
        }

    def root(self, order: Order, microjob: int) -> tuple[Commitment, int]:
        """Return one posted root of an order, with the time of its block."""
        key = result_key(order.spec.job_id, order.spec.attempt, microjob)
        posted = Overlay(self.engine.view).need(Result, key)
        return _commitment(bytes.fromhex(order.job), microjob, posted), posted.time

    def entries_of(self, job_id: str) -> tuple[tuple[int, Transaction], ...]:
        """Return a job's entries with their log positions."""
        return tuple((index, decode(self.engine.entry(index))) for index in self.engine.index.jobs.get(job_id, ()))


@dataclass(frozen=True, slots=True)
class _Payees(Mapping[str, str]):
    """Payout addresses by worker key in hex, read from the ledger when they are asked for."""

    book: Book
    workers: tuple[str, ...]

    def __getitem__(self, worker: str) -> str:
        return self.book.payouts([worker])[worker]

    def __iter__(self) -> Iterator[str]:
        return iter(self.workers)

    def __len__(self) -> int:
        return len(self.workers)


def _commitment(job: bytes, microjob: int, posted: Result) -> Commitment:
    return Commitment(
        place=Place(job, microjob, bytes.fromhex(posted.worker)),
        tree_size=posted.tree_size,
        class_id=bytes.fromhex(posted.class_id),
        root=bytes.fromhex(posted.root),
        signature=bytes.fromhex(posted.signature),
    )
