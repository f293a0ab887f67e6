"""Which seat a micro job should go to, so that nobody computes a block and its check; and what if somebody did.

The plan keeps a copy and its original with different operators (docs/spec/plan.md). A move should not bring them
together, nor tell an operator who once held the one which block of the other is checked. Where every seat that is there
would, the micro job moves all the same: a block with both executions at one operator is a void pair, whose copy checks
nothing, so the referee recomputes it. The ledger cannot see this, since the plan is secret until settlement: the
coordinator chooses by these rules, and an audit holds it to them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Sequence
from itertools import combinations, permutations

from tallystick.errors import VerificationError
from tallystick.job import Seat
from tallystick.slicing import Move, Plan


class Separation:
    """Which operator holds, or ever held, which micro job, from the plan on."""

    def __init__(self, pool: Sequence[Seat], drawn: Plan, moves: Iterable[Move] = ()) -> None:
        """Begin with the plan as it was drawn, and take in the moves that stand."""
        self._operators = tuple(seat.operator for seat in pool)
        self._held = [{self._operators[microjob.seat]} for microjob in drawn.microjobs]
        places: dict[int, set[int]] = {block: set() for block in drawn.duplicated()}
        for microjob in drawn.microjobs:
            for slot in microjob.slots:
                if slot.block in places:
                    places[slot.block].add(microjob.index)
        self._places = {block: tuple(sorted(twins)) for block, twins in sorted(places.items())}
        self._twins: dict[int, dict[int, int]] = defaultdict(dict)
        for block, twins in self._places.items():
            for index, other in permutations(twins, 2):
                self._twins[index].setdefault(other, block)
        for move in moves:
            self.take(move)

    def take(self, move: Move) -> None:
        """Take in a move that stands."""
        self._held[move.microjob].add(self._operators[move.seat])

    def check(self, move: Move, pending: Iterable[Move] = ()) -> None:
        """Check that a move brings no two executions of a block to one operator; ``pending`` moves count as made.

        Raises:
            VerificationError: the new seat's operator holds, or held, another execution of one of the blocks.
        """
        operator, twins = self._operators[move.seat], self._twins.get(move.microjob, {})
        soon = {other.microjob for other in pending if self._operators[other.seat] == operator}
        for other, block in sorted(twins.items()):
            if operator in self._held[other] or other in soon:
                raise VerificationError(
                    f"separation of micro job {move.microjob}, moved to seat {move.seat}",
                    expected="an operator that never held another execution of its blocks",
                    actual=f"{operator}, to whom micro job {other} gave block {block}",
                )

    def void(self) -> dict[int, str]:
        """Return the void pairs, ascending: blocks of which one operator holds or held both executions, and who.

        Of several such operators it is the first in the order of their names.
        """
        found: dict[int, str] = {}
        for block, twins in self._places.items():
            both = [who for one, two in combinations(twins, 2) for who in self._held[one] & self._held[two]]
            if both:
                found[block] = min(both)
        return found


def void_pairs(pool: Sequence[Seat], drawn: Plan, moves: Iterable[Move]) -> frozenset[int]:
    """Return the blocks whose copies check nothing after these moves of the plan as it was drawn."""
    return frozenset(Separation(pool, drawn, moves).void())


def check_recomputed(
    pool: Sequence[Seat], drawn: Plan, moves: Iterable[Move], recomputed: Container[int]
) -> frozenset[int]:
    """Check that the referee recomputed every void pair, and return them.

    Raises:
        VerificationError: it did not; the message names the operator and the block.
    """
    void = Separation(pool, drawn, moves).void()
    for block, operator in void.items():
        if block not in recomputed:
            raise VerificationError(
                f"block {block}, whose copy checks nothing after moves",
                expected="recomputed by the referee",
                actual=f"not; {operator} held both its executions",
            )
    return frozenset(void)
