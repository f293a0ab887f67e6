"""The record under a bundle: its checkpoint, every entry's place in the log, and the headers that close the blocks.

Knows signatures, proofs and the chain of headers. Refuses to know what the entries of a job mean together.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tallystick.audit.bundle import Bundle, LoggedEntry
from tallystick.audit.trust import Trust
from tallystick.errors import IncompleteError, NoteError, VerificationError
from tallystick.ledger import machine
from tallystick.ledger import payloads as say
from tallystick.ledger.context import gas_of
from tallystick.ledger.genesis import Genesis, chain_id, check_chain_id, genesis_digest
from tallystick.ledger.transactions import Transaction, decode
from tallystick.primitives.keys import address_of
from tallystick.primitives.merkle import CompactRange, check_inclusion, leaf_hash
from tallystick.primitives.notes import Checkpoint, NoteVerifier, open_note, split_note


@dataclass(frozen=True, slots=True)
class Entry:
    """One verified entry: its log index, what it says, and its inclusion proof."""

    index: int
    transaction: Transaction
    proof: tuple[bytes, ...]

    @property
    def payload(self) -> say.Payload:
        """What the entry says."""
        return self.transaction.payload

    def __str__(self) -> str:
        """Name the entry in findings."""
        return f"{self.transaction.type} at index {self.index}"


@dataclass(frozen=True, slots=True)
class Block:
    """A covered block: its header, the header's digest, and the log indices [first, index) of its entries."""

    header: say.BlockHeader
    digest: bytes
    first: int
    index: int


@dataclass(frozen=True, slots=True)
class Chain:
    """The covered blocks, in order; every entry of the job lies in one of them."""

    blocks: tuple[Block, ...]

    def block_of(self, entry: Entry) -> Block:
        """Return the block of an entry.

        Raises:
            VerificationError: no covered block holds it.
        """
        at = bisect_left(self.blocks, entry.index, key=lambda block: block.index)
        if at < len(self.blocks) and self.blocks[at].first <= entry.index < self.blocks[at].index:
            return self.blocks[at]
        raise VerificationError(f"block of {entry}", expected="a header that closes over it", actual="none is shown")


_Header = tuple[Entry, say.BlockHeader]


def job_of(payload: say.Payload) -> tuple[str, int] | None:
    """Return the job and the attempt that an entry is about, None for registrations, bonds, headers and the like."""
    match payload:
        case say.JobSubmitted(spec=spec):
            return spec.job_id, spec.attempt
        case say.SubmitResult(task_id=job_id, attempt=attempt):
            return job_id, attempt
        case (
            say.BlockHeader()
            | say.NodeRegistered()
            | say.StakeDeposited()
            | say.StakeWithdrawn()
            | say.Transfer()
            | say.Anchored()
        ):
            return None
        case _:
            return payload.job_id, payload.attempt


def check_genesis(genesis: Genesis, trust: Trust) -> None:
    """Check that a ledger is the pinned one.

    Raises:
        VerificationError: its chain id, its log or its coordinator is another.
    """
    check_chain_id(genesis, trust.chain_id)
    if (genesis.log_origin, genesis.log_vkey) != (trust.log.origin, trust.log.vkey):
        actual = f"{genesis.log_origin} {genesis.log_vkey}"
        raise VerificationError("log", expected=f"{trust.log.origin} {trust.log.vkey}", actual=actual)
    if not trust.pins(genesis.coordinator):
        keys = ", ".join(sorted({pin.key for pin in trust.coordinators}))
        raise VerificationError("coordinator", expected=keys, actual=genesis.coordinator)


def check_checkpoint(note: str, trust: Trust) -> Checkpoint:
    """Open the checkpoint of a bundle, of which nobody may change a byte unseen: the pinned key alone signs it.

    Raises:
        NoteError: the pinned key did not sign it, or somebody whom the trust file does not name signed it as well.
        VerificationError: it is another log's, or outside the range for which the key is pinned.
    """
    checkpoint = open_checkpoint(note, trust)
    signatures = len(split_note(note)[1])
    if signatures != 1:
        raise NoteError("signatures of the checkpoint", expected="the pinned key's alone", actual=signatures)
    return checkpoint


def open_checkpoint(note: str, trust: Trust) -> Checkpoint:
    """Open a checkpoint with the pinned key; signatures of others count for nothing.

    Raises:
        NoteError: the pinned key did not sign it.
        VerificationError: it is another log's, or outside the range for which the key is pinned.
    """
    text, _ = open_note(note, [NoteVerifier.parse(trust.log.vkey)])
    checkpoint = Checkpoint.parse(text)
    if checkpoint.origin != trust.log.origin:
        raise VerificationError("origin of the checkpoint", expected=trust.log.origin, actual=checkpoint.origin)
    if not trust.log.covers(checkpoint.size - 1):
        span = f"{trust.log.first} to {'any' if trust.log.last is None else trust.log.last}"
        raise VerificationError("last index of the checkpoint", expected=span, actual=checkpoint.size - 1)
    return checkpoint


def check_entries(bundle: Bundle, checkpoint: Checkpoint, trust: Trust) -> tuple[Entry, ...]:
    """Decode every entry and check its chain, signature, place in the log and, for coordinators, pinned range.

    Raises:
        MalformedError: bytes that are no entry.
        VerificationError: an entry out of order, of another chain, unsigned, not in the log, or out of a key's range.
    """
    name = chain_id(bundle.genesis)
    previous = -1
    entries = []
    for logged in bundle.entries:
        if logged.index <= previous:
            raise VerificationError("order of the entries", expected=f"index above {previous}", actual=logged.index)
        previous = logged.index
        entries.append(_checked(logged, name, checkpoint, trust))
    _check_nonces(entries)
    return tuple(entries)


def _checked(logged: LoggedEntry, name: str, checkpoint: Checkpoint, trust: Trust) -> Entry:
    data = bytes(logged.entry)
    transaction = decode(data)
    machine.check(transaction, name)
    proof = tuple(bytes.fromhex(each) for each in logged.proof)
    check_inclusion(leaf_hash(data), logged.index, checkpoint.size, proof, checkpoint.root)
    check_pinned_range(transaction, logged.index, trust)
    return Entry(logged.index, transaction, proof)


def check_pinned_range(transaction: Transaction, index: int, trust: Trust) -> None:
    """Check that a coordinator's key is used within the stretch of the log for which it is pinned.

    Raises:
        VerificationError: it is used outside.
    """
    pins = trust.pins(transaction.sender.hex())
    if pins and not any(pin.covers(index) for pin in pins):
        what = f"pinned range of the coordinator's key at index {index}"
        raise VerificationError(what, expected="inside", actual="outside")


def _check_nonces(entries: Sequence[Entry]) -> None:
    """An account's numbers rise with the log, so no entry can stand in it twice."""
    last: dict[bytes, int] = {}
    for entry in entries:
        sender, nonce = entry.transaction.sender, entry.transaction.nonce
        if nonce <= last.get(sender, -1):
            raise VerificationError(f"nonce of {entry}", expected=f"above {last[sender]}", actual=nonce)
        last[sender] = nonce


def check_headers(entries: Sequence[Entry], genesis: Genesis, size: int) -> Chain:
    """Check the chain of headers, from the one before the job's first entry to the one after its last.

    Raises:
        IncompleteError: no entry of a job is shown.
        VerificationError: a header is missing, superfluous, another's, or does not fit the one before or its block.
    """
    job = [entry for entry in entries if job_of(entry.payload) is not None]
    if not job:
        raise IncompleteError("incomplete: the bundle shows no entry of a job")
    headers = [(entry, entry.payload) for entry in entries if isinstance(entry.payload, say.BlockHeader)]
    if not headers:
        raise VerificationError("headers", expected="one after every block of the job", actual="none")
    blocks = tuple(_blocks(headers, genesis, size))
    indices = [entry.index for entry in entries]
    for block in blocks:
        _check_fields(block, genesis)
        shown = entries[bisect_left(indices, block.first) : bisect_left(indices, block.index)]
        _check_gas(block, shown, genesis)
    chain = Chain(blocks)
    _check_cover(chain, job, headers[0][1].height)
    return chain


def _blocks(headers: Sequence[_Header], genesis: Genesis, size: int) -> Iterator[Block]:
    """Link the headers; the first of the log follows the genesis, and any other first one is only a link."""
    coordinator = bytes.fromhex(genesis.coordinator)
    for entry, header in headers:
        if entry.transaction.sender != coordinator:
            actual = entry.transaction.sender.hex()
            raise VerificationError(f"signer of {entry}", expected=genesis.coordinator, actual=actual)
        root = root_before(entry, size).hex()
        if header.tx_root != root:
            raise VerificationError(f"tx_root of {entry}", expected=root, actual=header.tx_root)
    first, opening = headers[0]
    if opening.height == 1:
        _check_link(first, opening, genesis_digest(genesis), 0, genesis.time)
        yield Block(opening, first.transaction.digest, 0, first.index)
    for (before, above), (entry, header) in pairwise(headers):
        _check_link(entry, header, before.transaction.digest, above.height, above.time)
        yield Block(header, entry.transaction.digest, before.index + 1, entry.index)


def _check_link(entry: Entry, header: say.BlockHeader, previous: bytes, height: int, time: int) -> None:
    if (header.prev_hash, header.height) != (previous.hex(), height + 1):
        expected = f"height {height + 1} after {previous.hex()}"
        actual = f"height {header.height} after {header.prev_hash}"
        raise VerificationError(f"link of {entry}", expected=expected, actual=actual)
    if header.time < time:
        raise VerificationError(f"time of {entry}", expected=f"not before {time}", actual=header.time)


def root_before(entry: Entry, size: int) -> bytes:
    """Return the log's root over all entries before one, from its checked inclusion proof in a log of ``size`` alone.

    Every left sibling on the way up is the root of a perfect subtree of what stands before the leaf, and together they
    are the compact range of exactly these leaves.
    """
    lefts, proof = [], iter(entry.proof)
    index, last = entry.index, size - 1
    while last:
        if index & 1:
            lefts.append(next(proof))
        elif index < last:
            next(proof)
        index, last = index >> 1, last >> 1
    return CompactRange(entry.index, tuple(reversed(lefts))).root()


def _check_fields(block: Block, genesis: Genesis) -> None:
    header = block.header
    actual = (header.chain_id, header.proposer, header.gas_limit)
    expected = (chain_id(genesis), address_of(bytes.fromhex(genesis.coordinator)), genesis.gas_limit)
    if actual != expected:
        raise VerificationError(
            f"chain, proposer and gas limit of block {header.height}", expected=expected, actual=actual
        )


def _check_gas(block: Block, shown: Sequence[Entry], genesis: Genesis) -> None:
    """Gas adds up where the whole block is shown; elsewhere it covers at least what is shown."""
    used, whole = sum(gas_of(entry.transaction) for entry in shown), len(shown) == block.index - block.first
    stated = block.header.gas_used
    if stated > genesis.gas_limit or used > stated or (whole and used != stated):
        expected = f"{used}" if whole else f"{used} or more, at most {genesis.gas_limit}"
        raise VerificationError(f"gas used in block {block.header.height}", expected=expected, actual=stated)
    for entry in shown:
        price = entry.transaction.gas_price
        if price < genesis.gas_price_min:
            raise VerificationError(f"gas price of {entry}", expected=f"{genesis.gas_price_min} or more", actual=price)


def _check_cover(chain: Chain, job: Sequence[Entry], first: int) -> None:
    """The headers shown are exactly those from the one before the job's first block to that of its last entry."""
    heights = [chain.block_of(entry).header.height for entry in job]
    expected = (max(1, heights[0] - 1), heights[-1])
    actual = (first, chain.blocks[-1].header.height)
    if actual != expected:
        raise VerificationError("first and last height of the headers", expected=expected, actual=actual)
