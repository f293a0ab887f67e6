"""Private notes of a home about a job in progress, so that a restart knows them: what was delivered and opened."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from tallystick.commitment import Opening, Output
from tallystick.primitives import canonical
from tallystick.primitives.canonical import Count, DigestHex

NOTES_BYTES_MAX = 1 << 30
DELIVERIES_PREFIX = "delivery/"


class _Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    digest: DigestHex
    length: Count
    meta: DigestHex


def delivery_key(job_id: str, attempt: int, microjob: int) -> str:
    """Key of one delivery among the private values."""
    return f"{attempt_prefix(job_id, attempt)}{microjob}"


def attempt_prefix(job_id: str, attempt: int) -> str:
    """Prefix of all deliveries of an attempt."""
    return f"{deliveries_prefix(job_id)}{attempt}/"


def deliveries_prefix(job_id: str) -> str:
    """Prefix of all deliveries of a job."""
    return f"{DELIVERIES_PREFIX}{job_id}/"


def openings_prefix(job_id: str) -> str:
    """Prefix of all openings of a job."""
    return f"openings/{job_id}/"


def spell_delivery(outputs: tuple[Output, ...]) -> bytes:
    """Spell the digests and lengths of a delivery."""
    return canonical.encode([_Kept(x.digest.hex(), x.length, x.meta.hex()) for x in outputs])


def parse_delivery(data: bytes) -> tuple[Output, ...]:
    """Read them back."""
    kept = canonical.decode(data, tuple[_Kept, ...], what="kept delivery", bytes_max=NOTES_BYTES_MAX)
    return tuple(Output(bytes.fromhex(x.digest), x.length, bytes.fromhex(x.meta)) for x in kept)


def advance_key(job_id: str, attempt: int, microjob: int) -> str:
    """Key of the openings that a worker gave in trust with its root."""
    return f"{advance_prefix(job_id)}{attempt}/{microjob}"


def advance_prefix(job_id: str) -> str:
    """Prefix of all openings of a job that were given in trust."""
    return f"advance/{job_id}/"


class _KeptOpening(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    salt: DigestHex
    leaf: DigestHex


class _KeptOpenings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    microjob: Count
    openings: tuple[_KeptOpening, ...] | None


def openings_key(job_id: str, attempt: int) -> str:
    """Key of the openings that a settlement rests on."""
    return f"{openings_prefix(job_id)}{attempt}"


def spell_openings(opened: Mapping[int, tuple[Opening, ...] | None]) -> bytes:
    """Spell what every worker opened, None for silence."""

    def spelled(openings: tuple[Opening, ...] | None) -> tuple[_KeptOpening, ...] | None:
        return None if openings is None else tuple(_KeptOpening(x.salt.hex(), x.leaf.hex()) for x in openings)

    return canonical.encode([_KeptOpenings(index, spelled(openings)) for index, openings in sorted(opened.items())])


def parse_openings(data: bytes) -> dict[int, tuple[Opening, ...] | None]:
    """Read them back."""
    kept = canonical.decode(data, tuple[_KeptOpenings, ...], what="kept openings", bytes_max=NOTES_BYTES_MAX)
    return {
        each.microjob: None
        if each.openings is None
        else tuple(Opening(bytes.fromhex(x.salt), bytes.fromhex(x.leaf)) for x in each.openings)
        for each in kept
    }
