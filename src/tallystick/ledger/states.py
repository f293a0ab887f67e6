"""The two state machines of the ledger as printable tables: a job's attempt, and its escrow.

An absent pair is a TransitionError. The diagrams in docs/spec/transactions.md are generated from these tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Final

from tallystick.errors import TransitionError
from tallystick.ledger import payloads as say


class JobPhase(Enum):
    """Where an attempt of a job is."""

    ABSENT = "absent"
    SUBMITTED = "submitted"
    SCHEDULED = "scheduled"
    RUNNING = "running"
    CLOSED = "closed"
    CHALLENGED = "challenged"
    SETTLED = "settled"
    COMPLETED = "completed"
    PUBLISHED = "published"
    FAILED = "failed"


class EscrowState(Enum):
    """Where the buyer's money is."""

    ABSENT = "absent"
    LOCKED = "locked"
    DISPUTED = "disputed"
    RELEASED = "released"
    REFUNDED = "refunded"
    SPLIT = "split"


OPEN_PHASES: Final = frozenset(
    {JobPhase.SUBMITTED, JobPhase.SCHEDULED, JobPhase.RUNNING, JobPhase.CLOSED, JobPhase.CHALLENGED, JobPhase.SETTLED}
)
UNCLOSED_PHASES: Final = frozenset({JobPhase.SUBMITTED, JobPhase.SCHEDULED, JobPhase.RUNNING})
UPLOADED_PHASES: Final = frozenset({JobPhase.CLOSED, JobPhase.CHALLENGED})

JOB_TRANSITIONS: Final[Mapping[tuple[JobPhase, type], JobPhase]] = MappingProxyType(
    {
        (JobPhase.ABSENT, say.JobSubmitted): JobPhase.SUBMITTED,
        (JobPhase.SUBMITTED, say.JobScheduled): JobPhase.SCHEDULED,
        (JobPhase.SCHEDULED, say.JobStarted): JobPhase.RUNNING,
        (JobPhase.RUNNING, say.SubmitResult): JobPhase.RUNNING,
        (JobPhase.RUNNING, say.JobProgressUpdate): JobPhase.RUNNING,
        (JobPhase.RUNNING, say.MicroJobReassigned): JobPhase.RUNNING,
        (JobPhase.RUNNING, say.UploadsClosed): JobPhase.CLOSED,
        (JobPhase.CLOSED, say.ChallengeDrawn): JobPhase.CHALLENGED,
        (JobPhase.CHALLENGED, say.JobSettled): JobPhase.SETTLED,
        (JobPhase.SETTLED, say.JobCompleted): JobPhase.COMPLETED,
        (JobPhase.COMPLETED, say.ArtifactPublished): JobPhase.PUBLISHED,
        (JobPhase.SUBMITTED, say.JobFailed): JobPhase.FAILED,
        (JobPhase.SCHEDULED, say.JobFailed): JobPhase.FAILED,
        (JobPhase.RUNNING, say.JobFailed): JobPhase.FAILED,
        (JobPhase.CLOSED, say.JobFailed): JobPhase.FAILED,
        (JobPhase.CHALLENGED, say.JobFailed): JobPhase.FAILED,
        (JobPhase.FAILED, say.JobSubmitted): JobPhase.SUBMITTED,
    }
)

ESCROW_TRANSITIONS: Final[Mapping[tuple[EscrowState, type], frozenset[EscrowState]]] = MappingProxyType(
    {
        (EscrowState.ABSENT, say.EscrowLocked): frozenset({EscrowState.LOCKED}),
        (EscrowState.LOCKED, say.JobSettled): frozenset(
            {EscrowState.RELEASED, EscrowState.SPLIT, EscrowState.REFUNDED}
        ),
        (EscrowState.LOCKED, say.EscrowReleased): frozenset(
            {EscrowState.RELEASED, EscrowState.SPLIT, EscrowState.REFUNDED}
        ),
        (EscrowState.LOCKED, say.EscrowRefunded): frozenset({EscrowState.REFUNDED}),
        (EscrowState.LOCKED, say.EscrowDisputed): frozenset({EscrowState.DISPUTED}),
        (EscrowState.DISPUTED, say.EscrowResolved): frozenset(
            {EscrowState.RELEASED, EscrowState.SPLIT, EscrowState.REFUNDED}
        ),
        (EscrowState.DISPUTED, say.EscrowReleased): frozenset(
            {EscrowState.RELEASED, EscrowState.SPLIT, EscrowState.REFUNDED}
        ),
        (EscrowState.DISPUTED, say.JobSettled): frozenset(
            {EscrowState.RELEASED, EscrowState.SPLIT, EscrowState.REFUNDED}
        ),
    }
)


def next_phase(phase: JobPhase, event: type) -> JobPhase:
    """Return the job's phase after an event.

    Raises:
        TransitionError: the table has no such row.
    """
    target = JOB_TRANSITIONS.get((phase, event))
    if target is None:
        raise TransitionError("job", phase.value, say.TYPE_NAMES[event])
    return target


def check_escrow_event(state: EscrowState, event: type) -> None:
    """Check that an event may happen to an escrow at all; rules ask this before they look at anything else.

    Raises:
        TransitionError: the table has no such row.
    """
    if (state, event) not in ESCROW_TRANSITIONS:
        raise TransitionError("escrow", state.value, say.TYPE_NAMES[event])


def check_escrow_step(state: EscrowState, event: type, target: EscrowState) -> None:
    """Check that an event may lead an escrow to a state.

    Raises:
        TransitionError: the table has no such row.
    """
    if target not in ESCROW_TRANSITIONS.get((state, event), frozenset()):
        raise TransitionError("escrow", state.value, f"{say.TYPE_NAMES[event]} to {target.value}")


def event_key(job_id: str, event: str, attempt: int, sequence: int = 0) -> str:
    """Return the published event key; attempt 1, sequence 0 has no suffix (DESIGN section 5)."""
    suffix = "" if (attempt, sequence) == (1, 0) else f"-{attempt}.{sequence}"
    return f"gpu-job-{job_id}-{event}{suffix}"
