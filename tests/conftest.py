"""Settings that hold for every test."""

from __future__ import annotations

import os
import signal
import sys

import pytest
from hypothesis import HealthCheck, settings

# `ci` derives its examples from the test itself, so two runs of one commit ask the same questions. No deadline: a
# benchmark is never a timed test, and shared cores are slow at random moments.
settings.register_profile("ci", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("local", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ci" if os.environ.get("CI") else "local")

# Runners that start a job in the background make it deaf to SIGINT, and every process that it starts inherits that: the
# tests of an interrupt would then wait for an answer that cannot come.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

RECURSION_LIMIT = sys.getrecursionlimit()


@pytest.fixture(autouse=True)
def _recursion_limit() -> None:
    """Python's own, as the product has it: py_ecc, which a judge brings along, raises it where it is imported."""
    sys.setrecursionlimit(RECURSION_LIMIT)
