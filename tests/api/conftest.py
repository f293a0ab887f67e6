"""Nodes that the tests of the HTTP side share: one open on the loopback, one that asks everybody who they are."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.api.askers import Guarded, tokens_of
from tests.node_process import NodeProcess, serving


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    """A node that is open to this machine."""
    with serving(tmp_path_factory.mktemp("open") / "home") as running:
        yield running


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """A node that wants credentials, with one token for each scope."""
    home = tmp_path_factory.mktemp("guarded") / "home"
    tokens = tokens_of(home)
    with serving(home, "--require-auth") as running, httpx.Client(base_url=running.url, timeout=20) as client:
        yield Guarded(running, tokens, client)


@pytest.fixture(scope="module")
def http(node: NodeProcess) -> Iterator[httpx.Client]:
    """A client of the open node."""
    with httpx.Client(base_url=node.url, timeout=20) as client:
        yield client
