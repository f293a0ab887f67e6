"""Structured logs: one JSON line per request, one per failure. Knows what may be said.

Never said: headers, tokens, tickets, bodies, query strings, and paths beyond the route's template.
"""

from __future__ import annotations

import logging
import sys
import time
import traceback
from dataclasses import dataclass
from typing import Any, Final, TextIO

import msgspec

LOGGER: Final = "tallystick.api"
_ENCODER: Final = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class Served:
    """One request that was answered; ``route`` is the template, so that no ticket or name of a job is in it."""

    request_id: str
    account: str
    method: str
    route: str
    status: int
    ms: float
    bytes_in: int
    bytes_out: int


class JsonLines(logging.Formatter):
    """Spells a record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line: time (RFC 3339, UTC), level, message and the facts."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {
            "time": f"{moment}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "message": record.getMessage(),
        }
        line.update(getattr(record, "facts", {}))
        if record.exc_info:
            line["trace"] = "".join(traceback.format_exception(*record.exc_info))
        return _ENCODER.encode(line).decode()


class Journal:
    """The server's own log."""

    def __init__(self, stream: TextIO | None = None) -> None:
        """Write to a stream, stderr by default; what libraries say below warnings stays unsaid."""
        handler = logging.StreamHandler(stream or sys.stderr)
        handler.setFormatter(JsonLines())
        self._logger = logging.getLogger(LOGGER)
        self._logger.handlers[:] = [handler]
        self._logger.setLevel(logging.INFO)
        self._logger.propagate = False

    def served(self, served: Served) -> None:
        """Note one request."""
        facts = {name: getattr(served, name) for name in Served.__slots__}
        self._logger.info("request", extra={"facts": facts})

    def failure(self, request_id: str, error: Exception) -> None:
        """Note what went wrong inside, with its stack: for the operator's eyes."""
        facts = {"request_id": request_id, "error": type(error).__name__}
        self._logger.error("%s", str(error) or type(error).__name__, exc_info=error, extra={"facts": facts})

    def note(self, message: str, **facts: str | float) -> None:
        """Note something that is not a request."""
        self._logger.info("%s", message, extra={"facts": facts})

    def warn(self, message: str, **facts: str | float) -> None:
        """Note something that the operator should look at."""
        self._logger.warning("%s", message, extra={"facts": facts})
