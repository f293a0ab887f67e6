"""Any chain behind JSON-RPC as a ``Chain``: commits signed, sent and found again.

Knows the contract, whose commits are looked for, and how far back. Believes nothing that it can check: chain id,
contract code, topics, hash of the CID, and that an event's block is in the present chain. What it cannot check is
whether the node tells the truth about that chain; who must know asks a node of their own.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from tallystick.adapters.json_rpc import account
from tallystick.adapters.json_rpc.account import FEE_CAP, Account
from tallystick.adapters.json_rpc.replies import (
    BlockHead,
    Data,
    LogReply,
    ReceiptReply,
    checksummed,
    count,
    number,
    octets,
)
from tallystick.adapters.json_rpc.transport import JsonRpc, read
from tallystick.anchoring.erc7053 import Erc7053Commit, commit_calldata, commit_topics
from tallystick.anchoring.ethereum import address_bytes, contract_address
from tallystick.errors import ChainError, ChainRefusedError, UsageError
from tallystick.node.chain import Landed, SeenCommit, SignedCall
from tallystick.primitives.keys import SigningKey, evm_address_of

__all__ = ["FEE_CAP", "ChainSettings", "JsonRpc", "JsonRpcChain", "deploy"]

WINDOW: Final = 2048
"""Blocks that every public node was found to search at once."""

WINDOWS_MAX: Final = 20_000

_COMMIT_GAS: Final = 200_000
_BYTE_GAS: Final = 64
_CREATION_GAS: Final = 2_000_000
_SUCCESS: Final = 1
_POLL_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class ChainSettings:
    """Which chain, and how it is used.

    ``contract`` is the EIP-55 address of an ERC-7053 contract, ``confirmations`` how many blocks on top make a block
    final, ``fee_cap`` the most to pay for one unit of gas in wei. A search for commits begins at ``first_block`` and
    ends at ``last_block``, where that is None at the head.
    """

    chain_id: int
    contract: str
    confirmations: int = 12
    fee_cap: int = FEE_CAP
    first_block: int = 0
    last_block: int | None = None


class JsonRpcChain:
    """A ``Chain`` behind a node. Safe for several threads: it keeps nothing but that the chain was the right one."""

    embedded = False

    def __init__(self, rpc: JsonRpc, settings: ChainSettings, recorder: SigningKey | str) -> None:
        """Take the recorder's key, or its EIP-55 address to read only; nothing is asked yet, so the node may be down.

        Raises:
            MalformedError: An address is none.
            UsageError: The key is a public one, and the chain is not one for tests.
        """
        address_bytes(settings.contract)
        self._rpc, self._settings = rpc, settings
        self._account: Account | None = None
        if isinstance(recorder, SigningKey):
            self._account = Account(rpc, settings.chain_id, recorder, settings.fee_cap)
        self.name = f"eip155:{settings.chain_id}"
        self.contract = settings.contract
        self.confirmations = settings.confirmations
        self.recorder = recorder if isinstance(recorder, str) else evm_address_of(recorder.public)
        self._recorder_bytes: Final = address_bytes(self.recorder)
        self._right_chain = self._has_code = False

    def next_nonce(self) -> int:
        """See ``Chain.next_nonce``."""
        return account.mined_nonce(self._ready(), self.recorder)

    def sign(self, commit: Erc7053Commit, nonce: int, bump: SignedCall | None = None) -> SignedCall:
        """See ``Chain.sign``.

        Raises:
            UsageError: There is no key, or ``bump`` has another nonce.
            ChainRefusedError: Fees or gas are above the caps, the contract is none, or the call would revert.
            ChainError: The node cannot be asked, or is one of another chain.
        """
        if self._account is None:
            raise UsageError(f"there is no key of {self.recorder} here: commits can be looked for, not made")
        self._check_code()
        data = commit_calldata(commit)
        call = {"to": self.contract, "data": "0x" + data.hex()}
        return self._account.sign(call, nonce, _COMMIT_GAS + _BYTE_GAS * len(data), bump)

    def send(self, call: SignedCall) -> None:
        """See ``Chain.send``."""
        account.send(self._ready(), call)

    def landed(self, tx_hash: bytes) -> Landed | None:
        """See ``Chain.landed``; a transaction that made no commit of ours did not succeed, whatever its status."""
        found = account.receipt(self._ready(), tx_hash)
        return None if found is None else _landed(found, succeeded=self._committed(found))

    def head(self) -> int:
        """See ``Chain.head``."""
        return account.head_number(self._ready())

    def block_hash(self, number: int) -> bytes | None:
        """See ``Chain.block_hash``."""
        answer = self._ready().call("eth_getBlockByNumber", hex(number), False)  # noqa: FBT003 - without transactions
        block: BlockHead | None = read(answer, BlockHead | None, f"block {number}")
        if block is not None and count(block.number) != number:
            raise ChainError(f"{self._rpc.where} gives block {block.number} when it is asked for block {number}")
        return None if block is None else octets(block.hash)

    def commits(self, asset_cid: str) -> tuple[SeenCommit, ...]:
        """See ``Chain.commits``. Looks from the first block to the last; what a reorganisation took is left out.

        Raises:
            ChainError: The node cannot be asked, or answers with events that nobody asked for.
        """
        topics, head = commit_topics(self._recorder_bytes, asset_cid), self.head()
        last = head if self._settings.last_block is None else min(head, self._settings.last_block)
        logs = sorted(self._search(topics, self._settings.first_block, last), key=LogReply.order)
        return tuple(
            self._seen(log) for log in logs if self.block_hash(count(log.block_number)) == octets(log.block_hash)
        )

    def _search(self, topics: tuple[bytes, ...], first: int, last: int) -> Iterator[LogReply]:
        """All blocks at once, or piece by piece where the node takes no such range."""
        if first > last:  # somebody named a block that is not there yet
            return
        try:
            yield from self._window(topics, first, last)
        except ChainRefusedError as refusal:
            pieces = range(first, last + 1, WINDOW)
            if len(pieces) <= 1:
                raise
            if len(pieces) > WINDOWS_MAX:
                raise ChainError(
                    f"{last - first} blocks are too many to search: name a first block nearer to the commit"
                ) from refusal
            for start in pieces:
                yield from self._window(topics, start, min(last, start + WINDOW - 1))

    def _window(self, topics: tuple[bytes, ...], first: int, last: int) -> tuple[LogReply, ...]:
        wanted = tuple("0x" + topic.hex() for topic in topics)
        asked = {"address": self.contract, "fromBlock": hex(first), "toBlock": hex(last), "topics": wanted}
        logs: tuple[LogReply, ...] = read(self._rpc.call("eth_getLogs", asked), tuple[LogReply, ...], "the events")
        for log in logs:
            inside = first <= count(log.block_number) <= last and not log.removed
            ours = checksummed(log.address) == self.contract and tuple(octets(t) for t in log.topics) == topics
            if not (inside and ours):
                raise ChainError(f"{self._rpc.where} answers with an event that nobody asked for")
        return logs

    def _seen(self, log: LogReply) -> SeenCommit:
        event = log.event()
        landed = Landed(octets(log.transaction_hash), count(log.block_number), octets(log.block_hash), succeeded=True)
        return SeenCommit(event.recorder, event.asset_cid_hash, event.commit_data, landed)

    def _committed(self, found: ReceiptReply) -> bool:
        logs = (log for log in found.logs if checksummed(log.address) == self.contract)
        recorder = self._recorder_bytes.rjust(32, b"\0")
        topics = commit_topics(self._recorder_bytes, "")[0], recorder
        made = any(tuple(octets(t) for t in log.topics[:2]) == topics for log in logs)
        return number(found.status) == _SUCCESS and made

    def _ready(self) -> JsonRpc:
        """The node, once it has said that its chain is the right one."""
        if not self._right_chain:
            account.check_chain_id(self._rpc, self._settings.chain_id)
            self._right_chain = True
        return self._rpc

    def _check_code(self) -> None:
        """Refuse an address without code: a call to it succeeds, costs its fee and writes nothing."""
        if not self._has_code:
            code = read(self._ready().call("eth_getCode", self.contract, "latest"), Data, "the code of the contract")
            if not octets(code):
                raise ChainRefusedError(f"there is no contract at {self.contract} on {self.name}")
            self._has_code = True


def deploy(rpc: JsonRpc, chain_id: int, key: SigningKey, creation: bytes, *, wait_s: float = 60.0) -> str:
    """Create a CommitRegistry and wait until it stands: its EIP-55 address.

    One transaction is signed and only that one is sent, however often, so it is paid for once at most.

    Raises:
        ChainRefusedError: The chain does not take the transaction or its fee.
        ChainError: It did not land in time, reverted, or created nothing; the message names the transaction.
    """
    account.check_chain_id(rpc, chain_id)
    owner = Account(rpc, chain_id, key)
    nonce = account.mined_nonce(rpc, owner.address)
    call = owner.sign({"data": "0x" + creation.hex()}, nonce, _CREATION_GAS)
    deadline, failure = time.monotonic() + wait_s, "it is in no block"
    while time.monotonic() < deadline:
        try:
            account.send(rpc, call)
            found = account.receipt(rpc, call.tx_hash)
        except ChainRefusedError:
            raise
        except ChainError as error:
            found, failure = None, str(error)
        if found is not None:
            return _created(found, contract_address(owner.address, nonce))
        time.sleep(_POLL_S)
    raise ChainError(
        f"the transaction 0x{call.tx_hash.hex()} that creates the registry did not land in time: {failure}"
    )


def _created(found: ReceiptReply, expected: str) -> str:
    made = found.contract_address
    if number(found.status) != _SUCCESS or made is None or checksummed(made) != expected:
        raise ChainError(
            f"the transaction {found.transaction_hash} created no registry: the chain may not know the EVM's rules of "
            "2024 (Cancun), for which it was compiled"
        )
    return expected


def _landed(found: ReceiptReply, *, succeeded: bool) -> Landed:
    return Landed(octets(found.transaction_hash), count(found.block_number), octets(found.block_hash), succeeded)
