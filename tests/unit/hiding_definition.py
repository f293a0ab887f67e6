"""The hidden placement, written again from docs/spec/plan.md alone: slow, plain, and without the product's code.

Knows: the page's words, in their order. Refuses to know: `tallystick.hiding`. Draws are checked on their own, so they
are the product's.
"""

from __future__ import annotations

from hashlib import sha256
from itertools import chain
from math import ceil, floor, gcd

from tallystick.primitives.digests import draw

Counts = tuple[int, int, int]
"""Size b, checkers K, micro jobs M."""


def u32(number: int) -> bytes:
    return number.to_bytes(4, "big")


def operators_of(operators: str, microjobs: int) -> list[str]:
    return [operators[index % len(operators)] for index in range(microjobs)]


def rooms(operators: str, blocks: int, size: int, group: int, checkers: int) -> dict[str, int]:
    ordinary, most, least = ceil(blocks / size), min(group, size), 1 if blocks % size == 0 else 2
    every = operators_of(operators, ordinary + checkers)
    full = every if blocks % size == 0 else every[:-1]
    found = {}
    for operator in set(operators):
        held = every.count(operator)
        bounds = [full.count(operator)]
        if most > 1:
            bounds.append(floor((most * checkers - held) / (most - 1)))
        if least == 2:
            bounds.append(ordinary - held)
        found[operator] = 0 if held > ordinary else max(0, min(bounds))
    return found


def keeps(operators: str, blocks: int, size: int, group: int, checkers: int) -> bool:
    ordinary, most, least = ceil(blocks / size), min(group, size), 1 if blocks % size == 0 else 2
    if least > most or least * checkers > ordinary:
        return False
    if len(set(operators)) == 1:
        return True
    every = operators_of(operators, ordinary + checkers)
    if any(every.count(operator) > most * checkers for operator in set(operators)):
        return False
    return sum(rooms(operators, blocks, size, group, checkers).values()) >= checkers


def counted(operators: str, blocks: int, largest: int, group: int) -> Counts | None:
    """Size, checkers and micro jobs of an order, None where it must be refused."""
    one, kept = len(set(operators)) == 1, None
    for size in range(min(largest, blocks), 0, -1):
        ordinary = ceil(blocks / size)
        fewest = ceil(ordinary / min(group, size))
        for checkers in [fewest] if one else [fewest, fewest + 1]:
            if keeps(operators, blocks, size, group, checkers):
                kept = size, checkers, ordinary if one else ordinary + checkers
                break
        else:
            continue
        if kept[2] >= 2 * len(operators):
            break
    return kept


def placed(operators: str, blocks: int, group: int, counts: Counts, rho: bytes) -> list[list[tuple[int, bool]]]:
    """The (block, copy) pairs of every micro job; with one operator a last list holds the referee's, sorted."""
    size, checkers, microjobs = counts
    one, short = len(set(operators)) == 1, blocks % size != 0
    z = sha256(b"tallystick/hidden/v1\n" + rho).digest()
    every = operators_of(operators, microjobs)
    chosen: list[int] = []
    if not one:
        room = rooms(operators, blocks, size, group, checkers)
        candidates = microjobs - short
        for index in draw(z + b"checkers", candidates, candidates):
            mine = [other for other in chosen if every[other] == every[index]]
            if len(chosen) < checkers and len(mine) < room[every[index]]:
                chosen.append(index)
        chosen.sort()
    ordinary = [index for index in range(microjobs) if index not in chosen]
    permuted = list(draw(b"tallystick/permutation/v1\n" + rho, blocks, blocks))
    slots = {index: permuted[size * place :][:size] for place, index in enumerate(ordinary)}
    owners = [None if one else every[checker] for checker in (chosen or range(checkers))]
    groups = _members(every, ordinary, owners, (1 + short, min(group, size)), z)
    copies = [_copies(number, members, slots, size, z) for number, members in enumerate(groups)]
    plan = {index: [(block, False) for block in held] for index, held in slots.items()}
    plan |= {index: [(block, True) for block in blocks] for index, blocks in zip(chosen, copies, strict=False)}
    listed = [plan[index] for index in range(microjobs)]
    return [*listed, [(block, True) for block in sorted(chain(*copies))]] if one else listed


def _members(
    every: list[str], ordinary: list[int], owners: list[str | None], bounds: tuple[int, int], z: bytes
) -> list[list[int]]:
    least, most = bounds
    sizes = [least] * len(owners)
    while sum(sizes) < len(ordinary):
        open_still = []
        for number, owner in enumerate(owners):
            together = sum(sizes[other] for other in range(len(owners)) if owners[other] == owner)
            others = sum(owner is None or every[index] != owner for index in ordinary)
            if sizes[number] < most and together < others:
                open_still.append(number)
        sizes[min(open_still, key=lambda number: (sizes[number], number))] += 1
    places = [number for number, size in enumerate(sizes) for _ in range(size)]
    members = [ordinary[place] for place in draw(z + b"members", len(ordinary), len(ordinary))]
    for here in range(len(members)):
        mine = owners[places[here]]
        if mine is None or every[members[here]] != mine:
            continue
        there = here
        while every[members[there]] == mine or owners[places[there]] == mine:
            there = (there + 1) % len(members)
        members[here], members[there] = members[there], members[here]
    return [sorted(m for m, place in zip(members, places, strict=True) if place == n) for n in range(len(owners))]


def _copies(number: int, members: list[int], slots: dict[int, list[int]], size: int, z: bytes) -> list[int]:
    count = len(members)
    (start,) = draw(z + b"start" + u32(number), 1, count)
    steps = [step for step in range(1, count + 1) if gcd(step, count) == 1]
    step = steps[draw(z + b"step" + u32(number), 1, len(steps))[0]]
    blocks = []
    for k in range(count):
        member = members[(start + k * step) % count]
        (slot,) = draw(z + b"block" + u32(member), 1, len(slots[member]))
        blocks.append(slots[member][slot])
    rest = sorted(block for member in members for block in slots[member] if block not in blocks)
    more = draw(z + b"fill" + u32(number), size - count, len(rest)) if size > count else ()
    return blocks + [rest[place] for place in more]
