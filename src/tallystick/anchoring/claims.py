"""What content credentials say about a job's output: the C2PA manifest, as data.

Knows the assertion ``org.tallystick.job``, the actions and how they name the input (docs/spec/content-credentials.md).
Refuses to know how a manifest is serialised, signed and read: that is the business of whoever holds the C2PA library.
The manifest travels inside the delivered file, so it holds nothing that must not travel with it: no digest of the
input, no path, and of names only the titles that the caller hands in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import msgspec

from tallystick.errors import CredentialError, MalformedError
from tallystick.job import SEATS_MAX, JobId, TaskType
from tallystick.primitives.cids import parse_raw_cid

JOB_LABEL: Final = "org.tallystick.job"
ACTIONS_LABEL: Final = "c2pa.actions.v2"
CREATED_LABELS: Final = ("c2pa.actions", ACTIONS_LABEL, "c2pa.ingredient", JOB_LABEL)
"""Assertions that the signer itself vouches for; C2PA calls the others gathered."""

SOFTWARE: Final = "tallystick"
KERNEL_PARAMETER: Final = "org.tallystick.kernel"
PARENT: Final = "input"
"""The name by which the first action points at the ingredient inside one manifest definition."""

ALGORITHMICALLY_ENHANCED: Final = "http://cv.iptc.org/newscodes/digitalsourcetype/algorithmicallyEnhanced"
"""IPTC digital source type: minor corrections by an algorithm to media that came from somewhere else."""

EDITS: Final = {TaskType.IMAGE_UPSCALING: "c2pa.resized"}
"""The C2PA action of a task type; every other edit is ``c2pa.edited``."""

NameText = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]


class JobAssertion(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename="camel", kw_only=True
):
    """Content of the assertion ``org.tallystick.job``, in camelCase; ``simulated`` is written when it is true only.

    ``completed_nid`` is the NID of the job's JobCompleted entry, ``chain_id`` the log it stands in.
    """

    version: Literal[1]
    job_id: JobId
    chain_id: NameText
    completed_nid: NameText
    task_type: TaskType
    kernel: NameText
    workers: Annotated[int, msgspec.Meta(ge=1, le=SEATS_MAX)]
    software_version: NameText
    simulated: bool = False


@dataclass(frozen=True, slots=True)
class JobClaim:
    """What the credentials of one output say: the job's provenance and the output's title."""

    job_id: str
    chain_id: str
    completed_nid: str
    task_type: TaskType
    kernel: str
    workers: int
    software_version: str
    simulated: bool
    title: str
    digital_source_type: str = ALGORITHMICALLY_ENHANCED

    def assertion(self) -> dict[str, Any]:
        """The assertion ``org.tallystick.job``: JSON-able, checked.

        Raises:
            CredentialError: A field does not fit the format, so no verifier would accept it.
        """
        content = JobAssertion(
            version=1,
            job_id=self.job_id,
            chain_id=self.chain_id,
            completed_nid=self.completed_nid,
            task_type=self.task_type,
            kernel=self.kernel,
            workers=self.workers,
            software_version=self.software_version,
            simulated=self.simulated,
        )
        data: dict[str, Any] = msgspec.to_builtins(content)
        read_assertion(data)
        return data


def read_assertion(data: object) -> JobAssertion:
    """The typed content of an assertion ``org.tallystick.job`` as a C2PA reader reports it.

    Raises:
        CredentialError: It is not of version 1, lacks a field, or has one that is unknown or malformed.
    """
    try:
        assertion = msgspec.convert(data, JobAssertion)
        parse_raw_cid(assertion.completed_nid)
    except (msgspec.ValidationError, MalformedError) as error:
        raise CredentialError(f"the assertion {JOB_LABEL} is malformed: {error}") from error
    return assertion


def manifest(claim: JobClaim, mime: str) -> dict[str, Any]:
    """The manifest definition (C2PA builder JSON) of a file of type ``mime``.

    The first action opens the parent ingredient, the second says what was done to it: a manifest that does not begin
    with c2pa.created or c2pa.opened cannot be signed (C2PA, "Actions").
    """
    software = {"name": SOFTWARE, "version": claim.software_version}
    opened = {"action": "c2pa.opened", "parameters": {"ingredientIds": [PARENT]}}
    edited = {
        "action": EDITS.get(claim.task_type, "c2pa.edited"),
        "softwareAgent": software,
        "digitalSourceType": claim.digital_source_type,
        "parameters": {KERNEL_PARAMETER: claim.kernel},
    }
    return {
        "claim_generator_info": [software],
        "title": claim.title,
        "format": mime,
        "assertions": [
            {"label": ACTIONS_LABEL, "data": {"actions": [opened, edited]}},
            {"label": JOB_LABEL, "data": claim.assertion()},
        ],
    }


def parent(title: str, mime: str) -> dict[str, Any]:
    """The ingredient definition of the job's input, as the caller wants it named."""
    return {"title": title, "format": mime, "relationship": "parentOf", "label": PARENT}
