"""One EVM in memory: raw signed transactions in, their logs out.

Knows pyrevm, and does what pyrevm leaves to its caller: signature, chain id, nonces, fee rule, contract addresses.
Refuses to know how anything is kept; whoever holds it drops it when keeping fails. docs/spec/embedded-chain.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from tallystick.anchoring.ethereum import Transaction, address_bytes, contract_address, read_transaction
from tallystick.errors import ChainError, ChainRefusedError, MalformedError, SignatureError
from tallystick.primitives import rlp
from tallystick.primitives.keys import checksum_evm_address

if TYPE_CHECKING:
    import pyrevm

SPEC: Final = "Cancun"
"""The EVM's rules, spelled as revm spells them: it takes every name that it does not know for its newest rules."""

BLOCK_GAS: Final = 30_000_000


@dataclass(frozen=True, slots=True)
class EvmLog:
    """One event: the contract's EIP-55 address, its topics (32 bytes each) and its data."""

    contract: str
    topics: tuple[bytes, ...]
    data: bytes


@dataclass(frozen=True, slots=True)
class Executed:
    """What one transaction did; one that reverted left no logs, but its nonce is used."""

    sender: str
    succeeded: bool
    gas: int
    logs: tuple[EvmLog, ...]


class Execution:
    """The state after every transaction that was run, in order; a new one is the state of genesis."""

    def __init__(self, chain_id: int) -> None:
        """Make an EVM without accounts.

        Raises:
            ChainError: This Python has no pyrevm.
        """
        self._chain_id, self._nonces = chain_id, dict[str, int]()
        self._evm = _new_evm(chain_id)

    def nonce(self, sender: str) -> int:
        """How many transactions of an account (EIP-55) were run."""
        return self._nonces.get(sender, 0)

    def run(self, raw: bytes, *, number: int, time: int) -> Executed:
        """Run a raw transaction as the only one of a block; ``time`` in Unix seconds.

        Raises:
            ChainRefusedError: No block may hold it; nothing changed.
            ChainError: The EVM did what it must not do; this object is of no more use.
        """
        import pyrevm  # noqa: PLC0415 - loaded where a chain is open, not where its name is known

        transaction, sender = self._admitted(raw)
        self._evm.set_block_env(pyrevm.BlockEnv(number=number, timestamp=time, gas_limit=BLOCK_GAS, basefee=0))
        # pyrevm advances an account's nonce on creations only, and contract addresses derive from it. No code is handed
        # over: what it reads back for a plain account is one zero byte, which would make a contract of the sender.
        self._evm.insert_account_info(sender, pyrevm.AccountInfo(nonce=transaction.nonce))
        succeeded = self._call(sender, transaction)
        self._nonces[sender] = transaction.nonce + 1
        if (result := self._evm.result) is None:
            raise ChainError("the EVM ran a transaction and has no result of it")
        return Executed(sender, succeeded, result.gas_used, _logs(result.logs) if succeeded else ())

    def _admitted(self, raw: bytes) -> tuple[Transaction, str]:
        """Check what an EVM takes for granted: who signed, for which chain, as which of the account's transactions."""
        try:
            transaction, sender = read_transaction(raw)
        except (MalformedError, SignatureError) as error:
            raise ChainRefusedError(f"the embedded chain does not take the transaction: {error}") from error
        rules = (
            ("chain id", transaction.chain_id, self._chain_id),
            ("nonce", transaction.nonce, self.nonce(sender)),
            ("value", transaction.value, 0),
            ("price of gas", transaction.fee if transaction.tip is None else transaction.tip, 0),
            ("gas above the block's", max(0, transaction.gas - BLOCK_GAS), 0),
        )
        for name, actual, expected in rules:
            if actual != expected:
                raise ChainRefusedError(f"the embedded chain does not take the {name} {actual}: it must be {expected}")
        return transaction, sender

    def _call(self, sender: str, transaction: Transaction) -> bool:
        """Execute; false for what reverted or ran out of gas, both of which pyrevm tells as it tells a refusal."""
        try:
            if transaction.to:
                receiver = checksum_evm_address(transaction.to)
                self._evm.message_call(sender, receiver, transaction.data, value=0, gas=transaction.gas)
            else:
                made = self._evm.deploy(sender, transaction.data, value=0, gas=transaction.gas)
                expected = contract_address(sender, transaction.nonce)
                if made.lower() != expected.lower():
                    raise ChainError(f"the EVM put a contract at {made}, not at {expected}")
        except RuntimeError as error:
            if self._evm.result is None:
                raise ChainRefusedError(f"the embedded chain does not take the transaction: {error}") from error
            return False
        return True


def encode_logs(logs: Sequence[EvmLog]) -> bytes:
    """Logs as RLP, the form in which Ethereum's receipts hold them: a list of [address, [topic, ...], data]."""
    return rlp.encode([[address_bytes(log.contract), list(log.topics), log.data] for log in logs])


def decode_logs(data: bytes) -> tuple[EvmLog, ...]:
    """Read what ``encode_logs`` wrote.

    Raises:
        MalformedError: It wrote something else.
    """
    logs = []
    for item in rlp.decode(data):
        match item:
            case [bytes(address), [*topics], bytes(body)]:
                texts = tuple(topic for topic in topics if isinstance(topic, bytes))
                logs.append(EvmLog(checksum_evm_address(address), texts, body))
            case _:
                raise MalformedError("logs of a block", "one is not [address, topics, data]")
    return tuple(logs)


def check_pyrevm() -> None:
    """Refuse to go on where there is no EVM.

    Raises:
        ChainError: This Python has no pyrevm.
    """
    if find_spec("pyrevm") is None:
        raise ChainError(
            "the embedded chain runs on pyrevm, which is not here (it has no wheel for Python 3.13 and later): "
            "use Python 3.11 or 3.12, or anchor on a chain by JSON-RPC"
        )


def _new_evm(chain_id: int) -> pyrevm.EVM:
    check_pyrevm()
    import pyrevm  # noqa: PLC0415 - as above

    # Without a chain id pyrevm takes 1, and every signed message of a contract would be for Ethereum's main chain.
    environment = pyrevm.Env(cfg=pyrevm.CfgEnv(chain_id=chain_id))
    return pyrevm.EVM(env=environment, gas_limit=BLOCK_GAS, spec_id=SPEC)


def _logs(logs: Sequence[pyrevm.Log]) -> tuple[EvmLog, ...]:
    return tuple(
        EvmLog(
            checksum_evm_address(bytes.fromhex(log.address.removeprefix("0x"))),
            tuple(bytes.fromhex(str(topic).removeprefix("0x")) for topic in log.topics),
            bytes(log.data[1]),
        )
        for log in logs
    )
