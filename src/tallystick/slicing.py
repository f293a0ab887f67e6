"""Cuts a job into macro jobs, micro jobs and blocks, and says where the copies go.

``plan(spec, seed)`` is deterministic: the same order and the same 32 bytes give the same plan on any machine. It knows
the grid and the pool's operators; it refuses to know workers' results and money. Rules: docs/spec/plan.md. Counts and
seats follow from the order alone, whatever the seed: prices, bonds and holders are known before it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import chain
from typing import Final

from tallystick.errors import PolicyError, UsageError
from tallystick.hiding import Frame, frame, hide
from tallystick.job import MICROJOBS_MAX, PPM, JobSpec, Placement, TaskType, VerificationClass
from tallystick.kernels.lanczos import KERNEL_NAME, Region, target_size
from tallystick.primitives.digests import Tag, draw

SLOTS_MAX: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Layout:
    """The counts of a job: T blocks, their copies, slots held by workers, micro jobs of at most ``size`` slots."""

    columns: int
    rows: int
    copies: int
    slots: int
    size: int
    microjobs: int

    @property
    def blocks(self) -> int:
        """T, the number of blocks of the output."""
        return self.columns * self.rows

    def slots_of(self, microjob: int) -> int:
        """Slots of one micro job; only the last may be short."""
        return min(self.size, self.slots - microjob * self.size)


@dataclass(frozen=True, slots=True)
class Slot:
    """One execution of one block: ``copy`` marks the second execution of a duplicated block."""

    block: int
    copy: bool


@dataclass(frozen=True, slots=True)
class MicroJob:
    """The unit that one worker commits to: its index, macro job, seat in the pool and slots in order."""

    index: int
    macrojob: int
    seat: int
    slots: tuple[Slot, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """Who computes what: micro jobs of the workers, and the blocks whose copies the referee computes."""

    layout: Layout
    microjobs: tuple[MicroJob, ...]
    referee_copies: tuple[int, ...]

    def duplicated(self) -> frozenset[int]:
        """Blocks that are executed twice by plan."""
        held = (slot.block for microjob in self.microjobs for slot in microjob.slots if slot.copy)
        return frozenset(chain(held, self.referee_copies))


@dataclass(frozen=True, slots=True)
class Move:
    """A micro job is given to another seat; what lies in it stays."""

    microjob: int
    seat: int


def reassign(drawn: Plan, moves: Iterable[Move]) -> Plan:
    """Return the plan as it stands after these moves, in their order; the plan before them is the assigned one."""
    microjobs = list(drawn.microjobs)
    for move in moves:
        microjobs[move.microjob] = replace(microjobs[move.microjob], seat=move.seat)
    return replace(drawn, microjobs=tuple(microjobs))


def share(rate: int, count: int) -> int:
    """Return ⌊rate·count + ½⌋ for a rate in parts per million."""
    return (2 * rate * count + PPM) // (2 * PPM)


def layout(spec: JobSpec) -> Layout:
    """Count blocks, copies and micro jobs of a job.

    Micro jobs shrink until there are at least two per worker, never below one block (DESIGN section 6).

    Raises:
        UsageError: the job would need more micro jobs or blocks than one job may have.
        PolicyError: the placement is hidden, and no size keeps the checkers from the operators of what they check.
    """
    if spec.policy.placement is Placement.HIDDEN:
        return _hidden_layout(spec)
    side = spec.grid.block
    columns, rows = -(-spec.task.target_width // side), -(-spec.task.target_height // side)
    blocks = columns * rows
    copies = share(spec.policy.duplicates, blocks)
    slots = blocks if spec.referee_copies else blocks + copies
    workers = len(spec.pool)
    size = spec.grid.blocks_per_microjob
    while size > 1 and -(-slots // size) < 2 * workers:
        size -= 1
    microjobs = -(-slots // size)
    if slots > SLOTS_MAX or microjobs > MICROJOBS_MAX:
        raise _too_many(spec, blocks, microjobs)
    return Layout(columns=columns, rows=rows, copies=copies, slots=slots, size=size, microjobs=microjobs)


def _too_many(spec: JobSpec, blocks: int, microjobs: int) -> UsageError:
    made = f"{blocks} blocks make {microjobs} micro jobs, more than {MICROJOBS_MAX}"
    return UsageError(f"{made}: use a block side above {spec.grid.block}")


def _hidden_layout(spec: JobSpec) -> Layout:
    """Count a hidden placement: the largest size that gives two micro jobs a worker, else the least that can be kept.

    Raises:
        UsageError: there are too many micro jobs.
        PolicyError: no size keeps every checker from the operators of what it checks.
    """
    side = spec.grid.block
    columns, rows = -(-spec.task.target_width // side), -(-spec.task.target_height // side)
    blocks = columns * rows
    sizes = range(min(spec.grid.blocks_per_microjob, blocks), 0, -1)
    kept: Frame | None = None
    crowded = -(-blocks // sizes[0]) if -(-blocks // sizes[0]) > MICROJOBS_MAX else 0
    for size in sizes:
        framed = _frame(spec, blocks, size) if -(-blocks // size) <= MICROJOBS_MAX else None
        if framed is None:
            continue
        if framed.slots > SLOTS_MAX or framed.microjobs > MICROJOBS_MAX:
            crowded = crowded or framed.microjobs
            continue
        kept = framed
        if framed.microjobs >= 2 * len(spec.pool):
            break
    if kept is None and crowded:
        raise _too_many(spec, blocks, crowded)
    if kept is None:
        message = "the hidden micro jobs cannot be kept from the operators of what they check"
        raise PolicyError(f"{message}: divide the pool more evenly among operators, or use --placement spread")
    return Layout(columns, rows, kept.copies, kept.slots, kept.size, kept.microjobs)


def _frame(spec: JobSpec, blocks: int, size: int) -> Frame | None:
    """Return who checks whom, as far as the order alone says it; the referee is no operator of the pool."""
    operators = () if spec.referee_copies else tuple(place.operator for place in spec.pool)
    return frame(blocks, size, spec.grid.microjobs_per_macrojob, operators)


def seat_of(spec: JobSpec, microjob: int) -> int:
    """Return the seat that holds a micro job: the pool in turn, the slots inside are permuted by the seed."""
    return microjob % len(spec.pool)


def microjobs_held(spec: JobSpec, counts: Layout, seat: int) -> range:
    """Return the micro jobs that a seat holds; the inverse of ``seat_of``."""
    return range(seat, counts.microjobs, len(spec.pool))


def microjobs_of_seat(spec: JobSpec, counts: Layout, seat: int) -> int:
    """Return how many micro jobs a seat holds open; its bond must cover the stake of all of them."""
    return len(microjobs_held(spec, counts, seat))


def slots_of_seat(spec: JobSpec, counts: Layout, seat: int) -> int:
    """Return how many slots the micro jobs of a seat hold."""
    return sum(counts.slots_of(index) for index in microjobs_held(spec, counts, seat))


def block_region(spec: JobSpec, counts: Layout, block: int) -> Region:
    """Return the output pixels of a block; blocks are numbered row by row, edge blocks are smaller."""
    row, column = divmod(block, counts.columns)
    side = spec.grid.block
    x0, y0 = column * side, row * side
    return Region(x0, y0, min(x0 + side, spec.task.target_width), min(y0 + side, spec.task.target_height))


def block_length(spec: JobSpec, counts: Layout, block: int) -> int:
    """Return how many bytes a block's samples have: interleaved rows, one or two bytes a sample."""
    row, column = divmod(block, counts.columns)
    side, task = spec.grid.block, spec.task
    width = min(side, task.target_width - column * side)
    return width * min(side, task.target_height - row * side) * task.channels * (task.depth // 8)


def check_task(spec: JobSpec) -> None:
    """Check that an order asks for something that can be planned, computed and judged, before money is locked for it.

    Raises:
        UsageError: task, kernel, class or ringers are not built yet, the output's size is not the scaled input's, or a
            hidden placement comes with a rate of copies.
    """
    task, policy = spec.task, spec.policy
    if policy.placement is Placement.HIDDEN and policy.duplicates:
        raise UsageError("the grid says how many copies a hidden placement has: leave the rate of duplicates at 0")
    if (spec.task_type, policy.law, policy.ringers) != (TaskType.IMAGE_UPSCALING, VerificationClass.EXACT, 0):
        asked = f"{spec.task_type.value}, {policy.law.name}, ringers {policy.ringers}"
        raise UsageError(f"{asked} is not built yet: order image-upscaling, EXACT, without ringers")
    if task.kernel != KERNEL_NAME:
        raise UsageError(f"there is no reference for kernel {task.kernel!r}: use {KERNEL_NAME}")
    size = target_size(task.source_width, task.ratio), target_size(task.source_height, task.ratio)
    if size != (task.target_width, task.target_height):
        asked = f"{task.target_width} x {task.target_height}"
        raise UsageError(f"the output must be {size[0]} x {size[1]}, not {asked}: that is the input times {task.scale}")


def check_separable(spec: JobSpec, counts: Layout) -> None:
    """Check that every copy can be kept from its original's operator, whatever the seed.

    That is possible exactly when no operator holds more slots than there are blocks: then the others have room for one
    execution of every pair. A hidden placement has no layout where it is not possible.

    Raises:
        PolicyError: one operator holds too much of the pool.
    """
    if spec.referee_copies or spec.policy.placement is Placement.HIDDEN:
        return
    held: Counter[str] = Counter()
    for seat, place in enumerate(spec.pool):
        held[place.operator] += slots_of_seat(spec, counts, seat)
    operator, slots = held.most_common(1)[0]
    if slots > counts.blocks:
        message = f"operator {operator} would hold {slots} of {counts.slots} slots, so that some of the {counts.copies}"
        raise PolicyError(f"{message} copies would meet their originals: add operators, or use fewer duplicates")


def plan(spec: JobSpec, seed: bytes) -> Plan:
    """Lay out the job: blocks and copies into micro jobs, by 32 bytes that nobody chose alone.

    Raises:
        UsageError: the task is not built yet, or the job is too large.
        PolicyError: a copy cannot be kept away from its original's operator.
    """
    check_task(spec)
    counts = layout(spec)
    check_separable(spec, counts)
    lay = _hidden if spec.policy.placement is Placement.HIDDEN else _spread
    order, referee_copies = lay(spec, counts, seed)
    microjobs = tuple(
        MicroJob(
            index=index,
            macrojob=index // spec.grid.microjobs_per_macrojob,
            seat=seat_of(spec, index),
            slots=tuple(order[index * counts.size : index * counts.size + counts.slots_of(index)]),
        )
        for index in range(counts.microjobs)
    )
    return Plan(layout=counts, microjobs=microjobs, referee_copies=referee_copies)


def _spread(spec: JobSpec, counts: Layout, seed: bytes) -> tuple[list[Slot], tuple[int, ...]]:
    """Return all slots in order, and the referee's copies: every micro job is part work, part check."""
    duplicated = tuple(sorted(draw(Tag.DUPLICATES.prefix + seed, counts.copies, counts.blocks)))
    items = [Slot(block, copy=False) for block in range(counts.blocks)]
    if not spec.referee_copies:
        items += [Slot(block, copy=True) for block in duplicated]
    order = [items[index] for index in draw(Tag.PERMUTATION.prefix + seed, counts.slots, counts.slots)]
    if not spec.referee_copies:
        _separate_copies(spec, counts, order)
    return order, duplicated if spec.referee_copies else ()


def _hidden(spec: JobSpec, counts: Layout, seed: bytes) -> tuple[list[Slot], tuple[int, ...]]:
    """Return all slots in order, and the referee's copies: some micro jobs are work, the others checks."""
    framed = _frame(spec, counts.blocks, counts.size)
    if framed is None:
        raise PolicyError(f"micro jobs of {counts.size} blocks cannot be checked in hiding")
    hiding = hide(framed, seed)
    held = {index: [Slot(block, copy=False) for block in blocks] for index, blocks in hiding.ordinary.items()}
    held |= {
        each.checker: [Slot(block, copy=True) for block in each.blocks]
        for each in hiding.groups
        if each.checker is not None
    }
    copies = sorted(block for each in hiding.groups if each.checker is None for block in each.blocks)
    return [slot for index in range(counts.microjobs) for slot in held[index]], tuple(copies)


def _separate_copies(spec: JobSpec, counts: Layout, order: list[Slot]) -> None:
    """Swap slots until no operator holds a block and its copy.

    The search begins where the next block's original lies, which is as random as the permutation: a copy that had to
    move is not to be known by its place.
    """
    operators = [spec.pool[seat_of(spec, position // counts.size)].operator for position in range(counts.slots)]
    place = {slot: position for position, slot in enumerate(order)}

    def partner(slot: Slot) -> int | None:
        return place.get(Slot(slot.block, copy=not slot.copy))

    def fits(slot: Slot, position: int) -> bool:
        other = partner(slot)
        return other is None or operators[other] != operators[position]

    def swap(one: int, two: int) -> None:
        order[one], order[two] = order[two], order[one]
        place[order[one]], place[order[two]] = one, two

    def swapped(one: int, two: int) -> bool:
        """Swap, and take it back unless both slots fit where they came to lie."""
        swap(one, two)
        if fits(order[one], one) and fits(order[two], two):
            return True
        swap(one, two)
        return False

    for slot in [slot for slot in order if slot.copy]:
        here = place[slot]
        if fits(slot, here):
            continue
        start = place[Slot((slot.block + 1) % counts.blocks, copy=False)]
        # check_separable proved that a place exists, and no swap brings together what an earlier one parted.
        next(step for step in range(counts.slots) if swapped(here, (start + step) % counts.slots))
