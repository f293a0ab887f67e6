"""Times as the world reads them: RFC 3339, UTC, milliseconds."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Final

SECOND_MS: Final = 1000


def rfc3339(moment: int) -> str:
    """Spell UTC milliseconds."""
    seconds, rest = divmod(moment, SECOND_MS)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest:03d}Z"


def from_datetime(moment: datetime) -> int:
    """Return UTC milliseconds of a moment that names its offset."""
    return int(moment.timestamp() * SECOND_MS)
