"""Which micro jobs check which: the groups of the hidden placement (docs/spec/plan.md, section "Hidden").

Ordinary micro jobs stand in groups. One more micro job of their shape, the checker, executes one block of every member
of its group again, and others of the group until it is full; no member lies with the checker's operator. Knows counts,
operators and 32 bytes. Refuses to know orders, results and money.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import gcd

from tallystick.primitives.digests import Tag, draw, tagged, u32


@dataclass(frozen=True, slots=True)
class Frame:
    """What follows from the order alone: ``blocks`` in ordinary micro jobs of ``size``, ``checkers`` for their groups.

    ``most`` bounds a group's members. ``operators`` are those of the seats, which take micro jobs in turn; none where
    the referee executes the checkers.
    """

    blocks: int
    size: int
    most: int
    checkers: int
    operators: tuple[str, ...]

    @property
    def ordinary(self) -> int:
        """N, the micro jobs that hold each block once."""
        return -(-self.blocks // self.size)

    @property
    def short(self) -> bool:
        """Whether the last ordinary micro job is short; it is the last of all, since no checker is."""
        return self.blocks % self.size != 0

    @property
    def least(self) -> int:
        """Fewest members of a group: a checker must find as many different blocks as it has slots."""
        return 2 if self.short else 1

    @property
    def microjobs(self) -> int:
        """M, the micro jobs that workers hold."""
        return self.ordinary + (self.checkers if self.operators else 0)

    @property
    def copies(self) -> int:
        """Blocks that are executed twice: every slot of every checker."""
        return self.checkers * self.size

    @property
    def slots(self) -> int:
        """Slots that workers hold."""
        return self.blocks + (self.copies if self.operators else 0)

    def operator(self, microjob: int) -> str:
        """Return who holds a micro job."""
        return self.operators[microjob % len(self.operators)]

    def held(self, microjobs: int) -> Counter[str]:
        """Count the first so many micro jobs by operator."""
        rounds, rest = divmod(microjobs, len(self.operators))
        held = Counter({operator: rounds * seats for operator, seats in Counter(self.operators).items()})
        held.update(self.operators[:rest])
        return held


@dataclass(frozen=True, slots=True)
class Group:
    """A checker, the micro jobs it checks in the order of its slots, and the blocks of all its slots.

    ``checker`` is None where the referee executes it.
    """

    checker: int | None
    members: tuple[int, ...]
    blocks: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Hiding:
    """A hidden placement: the blocks of every ordinary micro job by its index, and the groups."""

    ordinary: Mapping[int, tuple[int, ...]]
    groups: tuple[Group, ...]


def frame(blocks: int, size: int, group: int, operators: tuple[str, ...]) -> Frame | None:
    """Return the frame for micro jobs of ``size`` and groups of at most ``group``; None where it cannot be kept.

    K is the least number of groups, or one more where the least cannot be parted from its operators.
    """
    most, ordinary = min(group, size), -(-blocks // size)
    fewest = -(-ordinary // most)
    for checkers in (fewest, fewest + 1) if operators else (fewest,):
        framed = Frame(blocks, size, most, checkers, operators)
        if _holds(framed):
            return framed
    return None


def _holds(framed: Frame) -> bool:
    """Tell whether every group can have its least and most members, none of them with its checker's operator."""
    if framed.most < framed.least or framed.least * framed.checkers > framed.ordinary:
        return False
    if not framed.operators:
        return True
    if max(framed.held(framed.microjobs).values()) > framed.most * framed.checkers:
        return False
    return sum(_room(framed).values()) >= framed.checkers


def _room(framed: Frame) -> dict[str, int]:
    """Return the most checkers that each operator may hold.

    An operator with h checkers has n - h ordinary micro jobs, which fit into the other groups if (K - h) * most reaches
    them; and the N - n + h ordinary ones of the others must fill its h groups at least.
    """
    full = framed.held(framed.microjobs - framed.short)
    room = {}
    for operator, held in framed.held(framed.microjobs).items():
        bounds = [full[operator]]
        if framed.most > 1:
            bounds.append((framed.most * framed.checkers - held) // (framed.most - 1))
        if framed.least > 1:
            bounds.append(framed.ordinary - held)
        room[operator] = max(0, min(bounds)) if held <= framed.ordinary else 0
    return room


def hide(framed: Frame, seed: bytes) -> Hiding:
    """Choose checkers, groups and blocks by a plan's seed of 32 bytes; the same seed gives the same placement."""
    z = tagged(Tag.HIDDEN, seed)
    order = draw(Tag.PERMUTATION.prefix + seed, framed.blocks, framed.blocks)
    checkers = _checkers(framed, z) if framed.operators else ()
    chosen = frozenset(checkers)
    indices = [index for index in range(framed.microjobs) if index not in chosen]
    ordinary = {index: order[place * framed.size : (place + 1) * framed.size] for place, index in enumerate(indices)}
    groups = tuple(
        Group(
            checker=checkers[number] if checkers else None,
            members=_visited(z, number, members),
            blocks=_checked(z, number, _visited(z, number, members), ordinary, framed.size),
        )
        for number, members in enumerate(_members(framed, z, checkers, indices))
    )
    return Hiding(ordinary, groups)


def _checkers(framed: Frame, z: bytes) -> tuple[int, ...]:
    """Draw which micro jobs are checkers, ascending; whoever has no room left is passed over."""
    room = _room(framed)
    chosen: list[int] = []
    candidates = framed.microjobs - framed.short
    for index in draw(z + b"checkers", candidates, candidates):
        if len(chosen) < framed.checkers and room[framed.operator(index)]:
            room[framed.operator(index)] -= 1
            chosen.append(index)
    return tuple(sorted(chosen))


def _members(framed: Frame, z: bytes, checkers: Sequence[int], indices: Sequence[int]) -> list[list[int]]:
    """Draw the members of every group, ascending, none of them with its checker's operator."""
    sizes = _sizes(framed, checkers)
    members = [indices[place] for place in draw(z + b"members", len(indices), len(indices))]
    if checkers:
        owners = [framed.operator(checker) for checker, size in zip(checkers, sizes, strict=True) for _ in range(size)]
        _part(framed, members, owners)
    ends = [sum(sizes[: number + 1]) for number in range(len(sizes))]
    return [sorted(members[end - size : end]) for end, size in zip(ends, sizes, strict=True)]


def _sizes(framed: Frame, checkers: Sequence[int]) -> list[int]:
    """Fill the groups evenly, but the groups of one operator no further than the others have ordinary micro jobs."""
    sizes = [framed.least] * framed.checkers
    left = framed.ordinary - sum(sizes)
    owners = [framed.operator(checker) for checker in checkers]
    room = {
        operator: framed.ordinary - held + (1 - framed.least) * owners.count(operator)
        for operator, held in (framed.held(framed.microjobs).items() if checkers else ())
    }
    waiting = [(size, number) for number, size in enumerate(sizes)]
    while left:
        size, number = heapq.heappop(waiting)
        if checkers:
            if not room[owners[number]]:
                continue
            room[owners[number]] -= 1
        sizes[number] = size + 1
        left -= 1
        if size + 1 < framed.most:
            heapq.heappush(waiting, (size + 1, number))
    return sizes


def _part(framed: Frame, members: list[int], owners: Sequence[str]) -> None:
    """Swap members until none lies in a group of its own operator; the search begins behind the one that must move.

    A partner is always there: were every micro job of another operator in a group of this one, this operator's own
    would fill all the other groups and more, which the sizes exclude.
    """
    for here, member in enumerate(members):
        own = framed.operator(member)
        if own != owners[here]:
            continue
        places = (place % len(members) for place in range(here + 1, here + len(members)))
        there = next(place for place in places if framed.operator(members[place]) != own != owners[place])
        members[here], members[there] = members[there], member


def _visited(z: bytes, number: int, members: Sequence[int]) -> tuple[int, ...]:
    """Return a group's members in the order (start + k * step) mod n with gcd(step, n) = 1."""
    count = len(members)
    units = [step for step in range(1, count + 1) if gcd(step, count) == 1]
    (start,) = draw(z + b"start" + u32(number), 1, count)
    step = units[draw(z + b"step" + u32(number), 1, len(units))[0]]
    return tuple(members[(start + k * step) % count] for k in range(count))


def _checked(
    z: bytes, number: int, visited: Sequence[int], ordinary: Mapping[int, Sequence[int]], size: int
) -> tuple[int, ...]:
    """Return the blocks of a checker's slots: one of every member, then others of the group."""
    blocks = [ordinary[index][draw(z + b"block" + u32(index), 1, len(ordinary[index]))[0]] for index in visited]
    rest = sorted({block for index in visited for block in ordinary[index]}.difference(blocks))
    fill = draw(z + b"fill" + u32(number), size - len(blocks), len(rest)) if len(blocks) < size else ()
    return (*blocks, *(rest[place] for place in fill))
