"""What a test needs from its machine: named when it is missing, a failure where everything is promised.

Knows: the one environment variable ``TALLY_DEMAND``, and which Pythons the embedded EVM has wheels for. Refuses to
know: how anything is installed.
"""

from __future__ import annotations

import importlib.util
import os
import sys

import pytest

VARIABLE = "TALLY_DEMAND"
PYREVM_BELOW = (3, 13)


def demand(name: str, present: object, how: str) -> None:
    """Skip the running test unless ``present`` is true; fail it instead where ``TALLY_DEMAND=all``.

    Args:
        name: What the test needs, as a person would call it.
        present: Its path, module or any truth of its being there.
        how: One sentence that says how to get it.
    """
    if present:
        return
    reason = f"{name} is not here: {how}"
    if os.environ.get(VARIABLE) == "all":
        pytest.fail(f"{reason} ({VARIABLE}=all: nothing may be skipped)", pytrace=False)
    pytest.skip(reason)


def demand_pyrevm() -> None:
    """Skip the running test where Python is too new for the embedded EVM, also under ``TALLY_DEMAND=all``."""
    if sys.version_info >= PYREVM_BELOW:
        pytest.skip(f"pyrevm has no wheels for Python {sys.version_info.major}.{sys.version_info.minor}")
    demand("pyrevm", importlib.util.find_spec("pyrevm"), "make test installs it")
