"""Who holds which micro job: the seat of the plan, until a MicroJobReassigned gave it to another one.

Every rule that asks for a holder asks here. JobScheduled's root stays that of the seats before any move.
"""

from __future__ import annotations

from typing import Final

from tallystick.job import JobSpec
from tallystick.ledger.records import Moved, Overlay, moved_key
from tallystick.slicing import seat_of

MOVES_MAX: Final = 16
"""How often one micro job may be given away: a coordinator cannot move work for ever instead of having it done."""


def moved(work: Overlay, spec: JobSpec, microjob: int) -> Moved:
    """Return where a micro job lies and how often it was moved."""
    found = work.find(Moved, moved_key(spec.job_id, spec.attempt, microjob))
    return Moved(seat_of(spec, microjob), 0) if found is None else found


def holder(work: Overlay, spec: JobSpec, microjob: int) -> int:
    """Return the seat that holds a micro job."""
    return moved(work, spec, microjob).seat


def holders(work: Overlay, spec: JobSpec, microjobs: int) -> tuple[int, ...]:
    """Return the seat that holds each of so many micro jobs."""
    return tuple(holder(work, spec, index) for index in range(microjobs))
