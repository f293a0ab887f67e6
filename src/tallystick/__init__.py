"""Tallystick runs GPU jobs on machines one does not trust, pays only for work that verifies, and keeps proof of it.

``Client`` and ``AsyncClient`` speak to a node; they load at first use, so that nobody else waits for them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tallystick.client.connected import AsyncClient, Client

__version__ = "0.1.0"
__all__ = ["AsyncClient", "Client", "__version__"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever is asked for
    """Load the SDK when somebody asks for it."""
    if name not in {"AsyncClient", "Client"}:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("tallystick.client.connected"), name)
