"""Private notes of a home about uploads: which bytes a micro job delivered, kept so that a restart knows them."""

from __future__ import annotations

import msgspec

from tallystick.commitment import Output
from tallystick.primitives import canonical
from tallystick.primitives.canonical import Count, DigestHex

DELIVERY_BYTES_MAX = 1 << 24


class _Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    digest: DigestHex
    length: Count
    meta: DigestHex


def delivery_key(job_id: str, attempt: int, microjob: int) -> str:
    """Key of one delivery among the private values."""
    return f"{deliveries_prefix(job_id, attempt)}{microjob}"


def deliveries_prefix(job_id: str, attempt: int) -> str:
    """Prefix of all deliveries of an attempt."""
    return f"delivery/{job_id}/{attempt}/"


def spell_delivery(outputs: tuple[Output, ...]) -> bytes:
    """Spell the digests and lengths of a delivery."""
    return canonical.encode([_Kept(x.digest.hex(), x.length, x.meta.hex()) for x in outputs])


def parse_delivery(data: bytes) -> tuple[Output, ...]:
    """Read them back."""
    kept = canonical.decode(data, tuple[_Kept, ...], what="kept delivery", bytes_max=DELIVERY_BYTES_MAX)
    return tuple(Output(bytes.fromhex(x.digest), x.length, bytes.fromhex(x.meta)) for x in kept)
