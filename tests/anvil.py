"""A real Ethereum node for tests: anvil from npm on a free loopback port, and the levers that it has.

Knows anvil's command line and its `anvil_*` methods. Refuses to know what is tested with it. A test that wants it
writes a fixture of its own around `running_anvil`; a faulty line to it is `tests/faulty_rpc.py`.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx

from tests.demand import demand
from tests.npm import installed

FOLDER: Final = Path(__file__).parent / "conformance" / "anvil"
START_S: Final = 20
STOP_S: Final = 10
SETTLE_S: Final = 10
CHAIN_ID: Final = 31337


@functools.cache
def direct_client() -> httpx.Client:
    """A client for the own machine; one, since making it reads every certificate authority of the world."""
    return httpx.Client(trust_env=False, timeout=10, limits=httpx.Limits(max_keepalive_connections=0))


class AnvilError(Exception):
    """Anvil answered with an error, or did not start."""


def anvil_program() -> Path:
    """The locked binary, installed when it is missing; its npm wrapper runs nothing on installation."""
    installed(FOLDER)
    found = sorted((FOLDER / "node_modules" / "@foundry-rs").glob("anvil-*/bin/anvil*"))
    demand("anvil", found, "its lock has no package for this machine")
    return found[0]


class Anvil:
    """One node; `stop` keeps its state in a file and `start` takes it up again on the same port."""

    def __init__(self, folder: Path) -> None:
        self._program, self._port = anvil_program(), 0
        self._state, self._said = folder / "anvil-state.json", folder / "anvil.log"
        self._client = direct_client()
        self._automine = True
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it listens; the same after a restart."""
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Start on a free port, or the earlier one; it listens on return. Its ten public accounts hold money."""
        with self._said.open("w") as said:
            self._process = subprocess.Popen(
                [self._program, "--port", str(self._port), "--chain-id", str(CHAIN_ID), "--state", self._state],
                stdout=said,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env={**os.environ, "NO_COLOR": "1"},
            )
        deadline = time.monotonic() + START_S
        while not (found := re.search(r"^Listening on 127\.0\.0\.1:(\d+)$", self._said.read_text(), re.MULTILINE)):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AnvilError(f"anvil did not start: {self._said.read_text()[-500:]}")
            time.sleep(0.005)
        self._port = int(found[1])

    def stop(self) -> None:
        """Stop it, if it runs; its blocks are kept, what waited for a block is not."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGINT)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def rpc(self, method: str, *params: object) -> Any:  # noqa: ANN401 - whatever the method answers
        """Ask it anything; an error is raised as `AnvilError`."""
        asked = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        answer = self._client.post(self.url, json=asked).json()
        if "error" in answer:
            raise AnvilError(f"{method}: {answer['error']}")
        return answer["result"]

    def mine(self, blocks: int = 1) -> None:
        """Add blocks; the first takes what waits."""
        self.rpc("anvil_mine", hex(blocks))

    def reorg(self, depth: int) -> None:
        """Replace the newest blocks by as many empty ones: what stood in them is in no block and waits no more."""
        self.rpc("anvil_reorg", depth, [])

    def snapshot(self) -> str:
        """Remember the present, for `revert`."""
        return str(self.rpc("evm_snapshot"))

    def revert(self, snapshot: str) -> None:
        """Go back: later blocks are gone."""
        if not self.rpc("evm_revert", snapshot):
            raise AnvilError(f"there is no snapshot {snapshot}")

    def set_automine(self, *, on: bool) -> None:
        """Whether each transaction gets a block at once; otherwise it waits for `mine`."""
        self._automine = on
        self.rpc("evm_setAutomine", on)

    def settle(self) -> None:
        """Wait until nothing waits for a block of its own: a transaction is answered before automine has mined it."""
        deadline = time.monotonic() + SETTLE_S
        while self._automine and self.waiting():
            if time.monotonic() > deadline:
                raise AnvilError("a transaction still waits, though each gets a block at once")
            time.sleep(0.002)

    def set_next_base_fee(self, wei: int) -> None:
        """Fix the base fee of the next block."""
        self.rpc("anvil_setNextBlockBaseFeePerGas", hex(wei))

    def set_balance(self, address: str, wei: int = 10**18) -> None:
        """Give an account money."""
        self.rpc("anvil_setBalance", address, hex(wei))

    def drop_waiting(self) -> None:
        """Forget every transaction that waits for a block."""
        self.rpc("anvil_dropAllTransactions")

    def waiting(self) -> int:
        """How many transactions wait for a block."""
        return int(self.rpc("txpool_status")["pending"], 16)

    def height(self) -> int:
        """Number of the newest block."""
        return int(self.rpc("eth_blockNumber"), 16)


@contextlib.contextmanager
def running_anvil(folder: Path) -> Iterator[Anvil]:
    """A started node with its state in `folder`, stopped at the end."""
    anvil = Anvil(folder)
    anvil.start()
    try:
        yield anvil
    finally:
        anvil.stop()
