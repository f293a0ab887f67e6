"""How the program ends: every error as one line on stderr, and as JSON on stdout where JSON was asked for.

    0    done; what was asked for holds
    1    it does not hold, was refused, or failed
    2    it cannot be told or done: wrong usage, unreadable input, no home
    70   a bug of ours; TALLY_DEBUG=1 prints where
    130  interrupted; 143 where SIGTERM did it

Knows exit codes and the shape of an error. Refuses to know any verb.
"""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Final, TextIO

from tallystick.errors import (
    IncompleteError,
    KeystoreError,
    MalformedError,
    PriceError,
    TallyError,
    UsageError,
)

DEBUG_VARIABLE: Final = "TALLY_DEBUG"
DONE, FAILED, CANNOT, BUG, INTERRUPTED, TERMINATED = 0, 1, 2, 70, 130, 143
_terminated: Final = threading.Event()

_CANNOT_ERRORS: Final = (UsageError, MalformedError, IncompleteError, KeystoreError)


class InterruptionError(Exception):
    """Somebody pressed Ctrl-C or sent SIGTERM; the message says what stands and how to go on."""


def exit_code(error: Exception) -> int:
    """Return the process's answer to an error."""
    match error:
        case InterruptionError():
            return TERMINATED if _terminated.is_set() else INTERRUPTED
        case PriceError():
            return FAILED
        case _ if isinstance(error, _CANNOT_ERRORS):
            return CANNOT
        case TallyError() | OSError() | MemoryError():
            return FAILED
        case _:
            return BUG


def explain(error: Exception) -> str:
    """Return one line for a person."""
    match error:
        case TallyError() | InterruptionError():
            text = str(error)
        case OSError():
            where = f"{error.filename}: " if error.filename else ""
            text = f"{where}{error.strerror or error}"
        case MemoryError():
            text = "the memory of this machine does not suffice"
        case _:
            text = f"a bug in tally, {type(error).__name__}: {error}; {DEBUG_VARIABLE}=1 prints where; please report it"
    return one_line(text)


def one_line(text: str) -> str:
    """Return text without line breaks and terminal codes: it may quote names and files that strangers wrote."""
    return "".join(each if each.isprintable() else " " if each.isspace() else "?" for each in text)


def report(error: Exception, *, as_json: bool) -> int:
    """Say an error and return the exit code; whoever interrupts again changes neither."""
    heed_nothing()
    if os.environ.get(DEBUG_VARIABLE):
        import traceback

        traceback.print_exception(error, file=sys.stderr)
    text = explain(error)
    if isinstance(error, InterruptionError) and not as_json:
        say(text)
    else:
        complain(text, type(error).__name__, as_json=as_json)
    return exit_code(error)


def complain(text: str, kind: str, *, as_json: bool) -> None:
    """Say one line on stderr, and the same as JSON on stdout where JSON was asked for."""
    say(f"error: {text}")
    if as_json:
        emit({"error": {"type": kind, "message": text}})


def say(text: str) -> None:
    """Write one line to stderr."""
    _write(sys.stderr, text)


def emit(value: object) -> None:
    """Write one JSON document to stdout."""
    _write(sys.stdout, json.dumps(value))


def _write(stream: TextIO, text: str) -> None:
    """Write a line; nobody listening is no error."""
    try:
        stream.write(f"{text}\n")
        stream.flush()
    except BrokenPipeError:
        hang_up(stream.fileno())


def steady() -> None:
    """Make both streams usable whatever the caller left: closed ones lead nowhere, odd characters are spelled out."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - open until the exit
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def heed_termination() -> None:
    """Let SIGTERM stop what runs as Ctrl-C does, and be remembered for the exit code."""
    signal.signal(signal.SIGTERM, _stop)


def _stop(_signal: int, frame: FrameType | None) -> None:
    _terminated.set()
    interrupt = signal.getsignal(signal.SIGINT)
    if not callable(interrupt):  # a shell's background job ignores Ctrl-C, and must end all the same
        raise KeyboardInterrupt
    interrupt(signal.SIGINT, frame)


def heed_nothing() -> None:
    """Ignore both from now on: the end is near, and its words and its exit code shall arrive.

    A handler would not do: Python takes handlers away before the process has ended, and the signal kills it then.
    """
    if signal.getsignal(signal.SIGTERM) is _stop:  # else the process is somebody else's, who answers to signals
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


def hang_up(descriptor: int) -> None:
    """Point a stream that nobody reads any more at nothing, so that later writes and the exit stay quiet."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, descriptor)
    os.close(nothing)
