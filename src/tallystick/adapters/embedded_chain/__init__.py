"""The node's own chain: an EVM whose every transaction lies in a file and is run again when it is opened.

Knows blocks of one transaction each, made the moment one is sent, and the CommitRegistry that the first one creates.
Refuses to be more than a stand-in: the node makes every block, so an anchor here is "self" and convinces nobody else.
Specification: docs/spec/embedded-chain.md.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tallystick.adapters.embedded_chain.execution import (
    BLOCK_GAS,
    SPEC,
    EvmLog,
    Executed,
    Execution,
    check_pyrevm,
    decode_logs,
    encode_logs,
)
from tallystick.adapters.embedded_chain.storage import Block, ChainFile, Genesis
from tallystick.anchoring.erc7053 import (
    CommitEvent,
    Erc7053Commit,
    commit_calldata,
    read_event,
)
from tallystick.anchoring.ethereum import Transaction, address_bytes, contract_address, transaction_hash
from tallystick.errors import ChainError, ChainRefusedError
from tallystick.node.chain import Landed, SeenCommit, SignedCall
from tallystick.node.ports import Clock
from tallystick.primitives.keys import SigningKey, evm_address_of, keccak256

CHAIN_ID: Final = 7053

_CREATION_GAS: Final = 1_000_000
_CALL_GAS: Final = 100_000
_BYTE_GAS: Final = 64
"""More than calldata (16), log (8) and memory (under 16 within the size of a transaction) cost for one byte."""


class EmbeddedChain:
    """A ``Chain`` in one file, safe for several threads of one process; gas is free and no account holds money."""

    embedded = True
    confirmations = 0

    def __init__(self, path: Path, key: SigningKey, creation: bytes, clock: Clock) -> None:
        """Open the chain, or make it: its first block creates the registry from the code ``creation``.

        Every block is run again, so opening takes time in proportion to their number.

        Raises:
            ChainError: pyrevm is missing, the file is another chain's, or a block does not give what the file says.
        """
        check_pyrevm()  # before a file is made that nobody here could open
        self.name = f"eip155:{CHAIN_ID}"
        self.recorder = evm_address_of(key.public)
        self.contract = contract_address(self.recorder, 0)
        self._key, self._clock, self._lock = key, clock, threading.RLock()
        self._genesis = Genesis("tallystick/chain/v1", CHAIN_ID, self.recorder, SPEC, BLOCK_GAS)
        self._state: _State | None = None
        """None from the moment in which the EVM may be ahead of the file until the file is run again."""
        self._file = ChainFile(path, self._genesis)
        try:
            if self._open().head == 0:
                self._mine(self._signed(Transaction(CHAIN_ID, 0, 0, 0, _CREATION_GAS, b"", creation)).raw)
        except ChainError:
            self._file.close()
            raise

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._file.close()

    def next_nonce(self) -> int:
        """See ``Chain.next_nonce``."""
        with self._lock:
            return self._open().execution.nonce(self.recorder)

    def sign(self, commit: Erc7053Commit, nonce: int, bump: SignedCall | None = None) -> SignedCall:
        """See ``Chain.sign``. The fee is a number that nobody charges: it tells replacements apart."""
        data = commit_calldata(commit)
        gas = min(BLOCK_GAS, _CALL_GAS + _BYTE_GAS * len(data))
        fee = 0 if bump is None else bump.fee_per_gas + bump.fee_per_gas // 8 + 1
        return self._signed(Transaction(CHAIN_ID, nonce, fee, 0, gas, address_bytes(self.contract), data))

    def send(self, call: SignedCall) -> None:
        """See ``Chain.send``: on return the block that holds the call is durable.

        Raises:
            ChainRefusedError: No block may hold it.
            ChainError: The file could not be written.
        """
        with self._lock:
            if self._file.holding(transaction_hash(call.raw)) is None:
                self._mine(call.raw)

    def landed(self, tx_hash: bytes) -> Landed | None:
        """See ``Chain.landed``."""
        with self._lock:
            block = self._file.holding(tx_hash)
        return None if block is None else _landed(block)

    def head(self) -> int:
        """See ``Chain.head``."""
        with self._lock:
            return self._open().head

    def block_hash(self, number: int) -> bytes | None:
        """See ``Chain.block_hash``; block 0 is the genesis document."""
        if number == 0:
            return self._genesis.hash()
        with self._lock:
            block = self._file.block(number)
        return None if block is None else block.hash

    def commits(self, asset_cid: str) -> tuple[SeenCommit, ...]:
        """See ``Chain.commits``."""
        cid_hash = keccak256(asset_cid.encode("utf-8"))
        with self._lock:
            numbers = tuple(self._open().commits.get(cid_hash, ()))
            blocks = [block for block in map(self._file.block, numbers) if block is not None]
        return tuple(
            SeenCommit(self.recorder, cid_hash, event.commit_data, _landed(block))
            for block in blocks
            for event in self._events(decode_logs(block.logs))
            if event.asset_cid_hash == cid_hash
        )

    def _events(self, logs: Sequence[EvmLog]) -> tuple[CommitEvent, ...]:
        """The recorder's commits among the logs of one block."""
        read = (read_event(log.topics, log.data) for log in logs if log.contract == self.contract)
        return tuple(event for event in read if event.recorder == self.recorder)

    def _signed(self, transaction: Transaction) -> SignedCall:
        raw = transaction.sign(self._key)
        return SignedCall(raw, transaction_hash(raw), transaction.nonce, transaction.fee)

    def _mine(self, raw: bytes) -> None:
        """Run a transaction in a block of its own and make the block durable; else the EVM is dropped."""
        state, self._state = self._open(), None
        time = max(self._clock.now() // 1000, state.time + 1)
        try:
            executed = state.execution.run(raw, number=state.head + 1, time=time)
        except ChainRefusedError:
            self._state = state
            raise
        block = _block(raw, executed, state.head + 1, time).chained(state.hash)
        self._file.append(block)
        self._state = self._after(state, block, executed)

    def _open(self) -> _State:
        """The state after the last block of the file, run again if need be.

        Raises:
            ChainError: A block does not give again what the file says.
        """
        if self._state is None:
            state = _State(Execution(CHAIN_ID), 0, 0, self._genesis.hash(), {})
            for block in self._file.blocks():
                try:
                    executed = state.execution.run(block.raw, number=block.number, time=block.time)
                except ChainRefusedError as error:
                    raise ChainError(
                        f"block {block.number} of the embedded chain cannot be run again: {error}"
                    ) from error
                again = _block(block.raw, executed, state.head + 1, block.time).chained(state.hash)
                if again != block or block.time <= state.time:
                    raise ChainError(
                        f"block {block.number} of the embedded chain differs when it is run again: "
                        f"{_shown(again)}, the file says {_shown(block)}"
                    )
                state = self._after(state, block, executed)
            self._state = state
        return self._state

    def _after(self, state: _State, block: Block, executed: Executed) -> _State:
        """The state after one more block."""
        if block.number == 1 and not executed.succeeded:
            raise ChainError("the first block of the embedded chain creates no registry")
        for event in self._events(executed.logs):
            state.commits.setdefault(event.asset_cid_hash, []).append(block.number)
        return _State(state.execution, block.number, block.time, block.hash, state.commits)


@dataclass(frozen=True, slots=True)
class _State:
    """The chain after its newest block; ``commits`` has the recorder's block numbers by keccak256 of the CID."""

    execution: Execution
    head: int
    time: int
    hash: bytes
    commits: dict[bytes, list[int]]


def _block(raw: bytes, executed: Executed, number: int, time: int) -> Block:
    logs = encode_logs(executed.logs)
    return Block(number, time, raw, transaction_hash(raw), executed.succeeded, executed.gas, logs, b"")


def _shown(block: Block) -> str:
    return f"block {block.number}, succeeded {block.succeeded}, gas {block.gas}, hash {block.hash.hex()}"


def _landed(block: Block) -> Landed:
    return Landed(block.tx_hash, block.number, block.hash, block.succeeded)
