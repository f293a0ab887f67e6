"""Who asks a node in tests: holders of tokens and of keys."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tallystick.cli.home import load_master
from tallystick.node.identity import Identity
from tallystick.node.signed_requests import Asked, content_digest, sign_request
from tallystick.node.tokens import Scope
from tallystick.primitives.digests import sha256
from tallystick.primitives.keys import SigningKey
from tests.node_process import NodeProcess, environment


@dataclass(frozen=True)
class Guarded:
    """A node that wants credentials, and a token for each scope; the account is named after the scope."""

    node: NodeProcess
    tokens: dict[Scope, str]
    http: httpx.Client

    def bearer(self, scope: Scope) -> dict[str, str]:
        """Headers of a token's holder."""
        return {"authorization": f"Bearer {self.tokens[scope]}"}


def tally(home: Path, *words: str) -> Any:  # noqa: ANN401 - a JSON document
    """Run a verb with --json in a home."""
    done = subprocess.run(
        [sys.executable, "-m", "tallystick", *words, "--json"],
        env=environment(home),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def tokens_of(home: Path) -> dict[Scope, str]:
    """Make a token for every scope."""
    return {
        scope: tally(home, "token", "create", "--scope", scope.value, "--account", scope.value)["token"]
        for scope in Scope
    }


def identity(home: Path) -> Identity:
    """The keys of a home."""
    return Identity(load_master(home)[0])


def signed(
    node: NodeProcess, key: SigningKey, method: str, target: str, body: bytes = b"", *, now: int | None = None
) -> dict[str, str]:
    """Headers of a request that a key signs."""
    chain_id = httpx.get(f"{node.url}/api/v1/node", timeout=20).json()["chain_id"]
    moment = time.time_ns() // 1_000_000 if now is None else now
    text = sign_request(key, chain_id, Asked(method, target, sha256(body)), now=moment, nonce=os.urandom(16))
    return {"authorization": text, "content-digest": content_digest(body)}
