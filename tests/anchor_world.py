"""A chain that does what it is told to, and a home that anchors on it: what the tests of anchoring look at.

Knows blocks, a pool of waiting transactions, reorganisations, base fees, other users of a key, and lines that break
before or after a request took effect. Refuses to know Ethereum: tests/node/test_anchor_anvil.py asks a real node.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeVar

from tallystick.anchoring.erc7053 import Erc7053Commit
from tallystick.errors import ChainError
from tallystick.ledger import payloads as say
from tallystick.ledger.transactions import Draft, decode
from tallystick.node.anchor_outbox import Drawer, Target
from tallystick.node.anchor_words import Phase, Terms
from tallystick.node.anchoring import Anchoring, Chains
from tallystick.node.book import Book
from tallystick.node.chain import Chain, Landed, SeenCommit, SignedCall
from tallystick.node.identity import Identity
from tallystick.node.sequencer import Submission
from tallystick.node.solo import SoloEngine
from tallystick.primitives import canonical
from tallystick.primitives.digests import sha256
from tallystick.primitives.keys import SigningKey, keccak256
from tallystick.simulation.disk import Disk, PowerCut, SimulatedStore, SimulatedTiles
from tallystick.simulation.world import START, SimulatedClock

NAME: Final = "eip155:31337"
CONTRACT: Final = "0x" + "C0" * 20
RECORDER: Final = "0x" + "aB" * 20
STRANGER: Final = "0x" + "57" * 20
IDENTITY: Final = Identity(sha256(b"anchors"))
BOB: Final = SigningKey(sha256(b"bob")).address
GWEI: Final = 10**9

T = TypeVar("T")


def payment() -> Draft:
    """Something to log that is no header and no anchor."""
    return Draft(IDENTITY.faucet(), say.Transfer(BOB, "1"))


@dataclass(frozen=True)
class Sighting:
    """One transaction in a block: a commit of ours, somebody's, or something else of our key."""

    sender: str
    nonce: int
    tx_hash: bytes
    commit: Erc7053Commit | None = None
    succeeded: bool = True


@dataclass
class Block:
    hash: bytes
    transactions: list[Sighting] = field(default_factory=list)


@dataclass
class ScriptedChain:
    """The Chain port, in memory. ``faults`` maps a method to what happens at its next calls, such as ``lost after``."""

    name: str = NAME
    embedded: bool = False
    contract: str = CONTRACT
    recorder: str = RECORDER
    confirmations: int = 3
    automine: bool = False
    base_fee: int = 10 * GWEI
    reverts: bool = False
    blocks: list[Block] = field(default_factory=list)
    pool: dict[int, tuple[SignedCall, Erc7053Commit]] = field(default_factory=dict)
    faults: dict[str, list[str]] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)
    sent: list[SignedCall] = field(default_factory=list)
    signed: dict[bytes, Erc7053Commit] = field(default_factory=dict)
    _salt: int = 0

    def __post_init__(self) -> None:
        self.mine()

    # The port.

    def next_nonce(self) -> int:
        return self._asked("next_nonce", self._nonce)

    def sign(self, commit: Erc7053Commit, nonce: int, bump: SignedCall | None = None) -> SignedCall:
        def made() -> SignedCall:
            fee = 2 * self.base_fee
            if bump is not None:
                fee = max(fee, bump.fee_per_gas + -(-bump.fee_per_gas // 8))
            raw = canonical.encode([commit.asset_cid, nonce, fee])
            call = SignedCall(raw, sha256(raw), nonce, fee)
            self.signed[call.tx_hash] = commit
            return call

        return self._asked("sign", made)

    def send(self, call: SignedCall) -> None:
        self._asked("send", lambda: self._take(call))

    def landed(self, tx_hash: bytes) -> Landed | None:
        return self._asked("landed", lambda: self._find(tx_hash))

    def head(self) -> int:
        return self._asked("head", lambda: len(self.blocks) - 1)

    def block_hash(self, number: int) -> bytes | None:
        return self._asked("block_hash", lambda: self.blocks[number].hash if number < len(self.blocks) else None)

    def commits(self, asset_cid: str) -> tuple[SeenCommit, ...]:
        return self._asked("commits", lambda: tuple(seen for seen in self.seen(RECORDER) if _about(seen, asset_cid)))

    # The levers.

    def mine(self, count: int = 1) -> None:
        """Add blocks; the first takes what waits, in the order of nonces, if it pays the base fee."""
        for _ in range(count):
            self._salt += 1
            block = Block(sha256(b"block", str((len(self.blocks), self._salt)).encode()))
            self.blocks.append(block)
            while (waiting := self.pool.get(self._nonce())) is not None and waiting[0].fee_per_gas >= self.base_fee:
                call, commit = self.pool.pop(self._nonce())
                block.transactions.append(Sighting(RECORDER, call.nonce, call.tx_hash, commit, not self.reverts))

    def reorg(self, depth: int, *, back: bool = False) -> None:
        """Replace the newest blocks by empty ones; what stood in them is lost, or waits again."""
        gone = [each for block in self.blocks[-depth:] for each in block.transactions]
        del self.blocks[-depth:]
        lost = {each.nonce: each for each in gone if each.sender == RECORDER and each.commit is not None}
        if back:
            for nonce, each in lost.items():
                call = next(sent for sent in self.sent if sent.tx_hash == each.tx_hash)
                self.pool.setdefault(nonce, (call, each.commit or Erc7053Commit("", "")))
        held, self.pool = self.pool, {}
        self.mine(depth)
        self.pool = held

    def foreign(self) -> None:
        """Another program with the same key spends its next nonce."""
        tx_hash = sha256(b"foreign", str(self._nonce()).encode())
        self.pool.pop(self._nonce(), None)
        self.mine(0)
        block = Block(sha256(b"foreign block", tx_hash), [Sighting(RECORDER, self._nonce(), tx_hash)])
        self.blocks.append(block)

    def stranger(self, commit: Erc7053Commit) -> None:
        """Somebody else commits the same thing."""
        self.blocks.append(Block(sha256(b"s", commit.asset_cid.encode()), [Sighting(STRANGER, 0, bytes(32), commit)]))

    def seen(self, recorder: str | None = None) -> list[SeenCommit]:
        """Every successful commit that stands in the chain now."""
        return [
            SeenCommit(
                each.sender,
                keccak256(each.commit.asset_cid.encode()),
                each.commit.commit_data,
                Landed(each.tx_hash, number, block.hash, succeeded=True),
            )
            for number, block in enumerate(self.blocks)
            for each in block.transactions
            if each.commit is not None and each.succeeded and recorder in {None, each.sender}
        ]

    def _nonce(self) -> int:
        return sum(each.sender == RECORDER for block in self.blocks for each in block.transactions)

    def _find(self, tx_hash: bytes) -> Landed | None:
        for number, block in enumerate(self.blocks):
            for each in block.transactions:
                if each.tx_hash == tx_hash:
                    return Landed(tx_hash, number, block.hash, each.succeeded)
        return None

    def _take(self, call: SignedCall) -> None:
        self.sent.append(call)
        if self._find(call.tx_hash) is not None:
            return
        if call.nonce < self._nonce():
            raise ChainError("nonce too low")
        held = self.pool.get(call.nonce)
        if held is not None and held[0] != call and call.fee_per_gas < held[0].fee_per_gas * 9 // 8:
            raise ChainError("replacement transaction underpriced")
        self.pool[call.nonce] = (call, self.signed[call.tx_hash])
        if self.automine:
            self.mine()

    def _asked(self, method: str, act: Callable[[], T]) -> T:
        """Let the line break, the asking process die, or the chain go on, before the act or after it."""
        self.asked[method] += 1
        fault = self.faults[method].pop(0) if self.faults.get(method) else ""
        self._strike(fault, "before")
        done = act()
        self._strike(fault, "after")
        return done

    def _strike(self, fault: str, moment: str) -> None:
        if fault == f"lost {moment}":
            raise ChainError(f"the line broke {moment} it")
        if fault == f"killed {moment}":
            raise PowerCut
        if fault == f"mined {moment}":
            self.mine()


def _about(seen: SeenCommit, asset_cid: str) -> bool:
    return seen.asset_cid_hash == keccak256(asset_cid.encode())


class AnchorWorld:
    """One home with its disk, and the chain that it anchors on."""

    def __init__(self, chain: ScriptedChain | None = None, fee_cap: int | None = None) -> None:
        self.chain, self.disk, self.clock = chain or ScriptedChain(), Disk(), SimulatedClock(START)
        self.told: list[str] = []
        self.fee_cap = fee_cap
        self.reachable = True
        self.open()

    def open(self) -> None:
        """Start the home's process, again."""
        genesis = IDENTITY.genesis(START)
        store = SimulatedStore(self.disk)
        engine = SoloEngine(IDENTITY.parameters(genesis), store, SimulatedTiles(self.disk), self.clock)
        self.book = Book(engine, lambda _transaction, _index: None)
        self.drawer = Drawer(store)
        self.anchoring = Anchoring(
            self.book,
            self.drawer,
            IDENTITY.coordinator(),
            self.clock,
            Chains(self._connect, NAME, RECORDER),
            tell=self.told.append,
            terms=lambda chain, _target: Terms(chain.confirmations, self.fee_cap),
        )

    def _connect(self, _target: Target) -> Chain:
        if not self.reachable:
            raise ChainError("nobody answers")
        return self.chain

    def restart(self) -> None:
        """Power comes back after a cut."""
        self.disk.restart(random.Random(0))
        self.open()

    def grow(self, entries: int = 1) -> None:
        """Log something that is no header and no anchor."""
        self.book.must(Submission((payment(),) * entries))

    def pass_time(self, milliseconds: int) -> None:
        self.clock.time += milliseconds

    def turn(self, *, asked: bool = False) -> int | None:
        """Take a turn; a process that is killed in it comes back at once."""
        try:
            return self.anchoring.turn(asked=asked)
        except PowerCut:
            self.restart()
            return 0

    def settle(self, turns: int = 60, *, mine: bool = True) -> None:
        """Take turns as the loop would, while the chain grows, until nothing is in flight."""
        for _ in range(turns):
            wait = self.turn()
            if mine:
                self.chain.mine()
            if wait is None:
                return
            self.pass_time(wait)
        raise AssertionError((self.anchoring.state, self.told))

    @property
    def phase(self) -> Phase:
        return self.anchoring.state.phase

    @property
    def anchored(self) -> list[say.Anchored]:
        """Every Anchored entry of the log."""
        payloads = [decode(entry).payload for entry in self.disk.entries]
        return [each for each in payloads if isinstance(each, say.Anchored)]

    def nonces(self) -> set[int]:
        """Every nonce that anything was ever sent with."""
        return {call.nonce for call in self.chain.sent}

    def check(self, anchors: int = 1) -> None:
        """So many anchors were logged; each stands in the chain once, where its entry says, and nothing beside them."""
        seen, anchored = self.chain.seen(RECORDER), self.anchored
        assert len(anchored) == anchors
        assert len({each.asset_cid for each in anchored}) == anchors
        assert len(seen) == anchors, [each.landed for each in seen]
        stands = {(each.landed.tx_hash.hex(), each.landed.block, each.landed.block_hash.hex()) for each in seen}
        assert {(each.tx_hash, each.block, each.block_hash) for each in anchored} == stands
