"""Whether a micro job may be given to another seat: nobody computes a block and what it is checked by.

The plan keeps a copy and its original with different operators (docs/spec/plan.md). A move must not bring them
together, nor tell an operator who once held the one which block of the other is checked. The ledger cannot see this,
since the plan is secret until settlement: the coordinator chooses by these rules, and an audit holds it to them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import permutations

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
        self._twins: dict[int, dict[int, int]] = defaultdict(dict)
        for block, twins in sorted(places.items()):
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
