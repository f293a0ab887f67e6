"""Runs the machine that anchors against a real chain, store and ledger: asks, keeps, sends, logs, says how it stands.

Knows the order in which a chain must be asked, so that what lands meanwhile is never taken for lost: the nonce first.
Refuses to know what follows from the answers (anchorer) and what a chain is made of.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from tallystick.anchoring.erc7053 import anchor_commitment
from tallystick.errors import ChainError, RuleError, StoreError, UsageError
from tallystick.ledger.payloads import Anchored
from tallystick.ledger.records import Anchor, Overlay, anchor_key
from tallystick.ledger.transactions import Draft
from tallystick.node.anchor_outbox import OUTBOX_KEY, Drawer, Outbox, Standing, Target, note_key
from tallystick.node.anchor_policy import Backlog, due_in
from tallystick.node.anchor_status import Status, newest_anchor, reading
from tallystick.node.anchor_words import (
    RESTING,
    SECOND,
    Begin,
    Failed,
    Instruction,
    Keep,
    Kept,
    Log,
    Logged,
    Look,
    Looked,
    Observe,
    Phase,
    Saw,
    Send,
    Sent,
    Sign,
    Signed,
    State,
    Stimulus,
    Tell,
    Terms,
    Wait,
    Woke,
)
from tallystick.node.anchorer import restore, step
from tallystick.node.book import Book
from tallystick.node.chain import Chain, Landed
from tallystick.node.ports import Clock
from tallystick.node.sequencer import Submission
from tallystick.primitives import canonical
from tallystick.primitives.keys import SigningKey
from tallystick.primitives.notes import Checkpoint, split_note

Connect = Callable[[Target], Chain]
"""Reaches the chain of a target; raises ``ChainError`` where it cannot."""


@dataclass(frozen=True, slots=True)
class Chains:
    """The chains of one home: how one is reached, which is its own, and the address that pays and records on each."""

    connect: Connect
    own: str
    recorder: str


class Anchoring:
    """The anchors of one home, one at a time; for one thread. Every value that matters is in the store."""

    def __init__(
        self,
        book: Book,
        drawer: Drawer,
        coordinator: SigningKey,
        clock: Clock,
        chains: Chains,
        *,
        tell: Callable[[str], None],
        terms: Callable[[Chain, Target], Terms] | None = None,
    ) -> None:
        """Go on with what the store holds; nothing is asked yet. ``tell`` hears what a person should know."""
        self._book, self._drawer, self._coordinator, self._clock = book, drawer, coordinator, clock
        self._chains, self._tell = chains, tell
        self._terms = terms or terms_of
        self._chain: Chain | None = None
        self._error: str | None = None
        self._failing_since: int | None = None
        self._failures = 0
        self.state = State()
        self.reload()

    def reload(self) -> None:
        """Take up what the store holds, and reach the chain anew: after a failure, or a change of the target."""
        self.state, self._chain = restore(self._drawer.outbox(), self._clock.now()), None

    def check(self, target: Target) -> None:
        """Refuse a target that could never be reached; nothing is asked of it.

        Raises:
            UsageError: its parts do not make a chain.
        """
        if target.rpc is not None:
            self._chains.connect(target)
        elif target.chain is not None or target.contract is not None:
            raise UsageError("a chain that is not this home's own needs rpc, the URL of one of its nodes")

    @property
    def chain_name(self) -> str:
        """The chain that anchors go to, CAIP-2."""
        return self._drawer.target().chain or self._chains.own

    def turn(self, *, asked: bool = False) -> int | None:
        """Go on as far as possible; return in how many ms to come again, None when only new entries can matter.

        ``asked`` begins an anchor whatever the policy says, also after one that reverted.

        Raises:
            StoreError: the store failed; nothing is lost, and the next turn goes on from what it holds.
        """
        try:
            return self._turn(asked=asked)
        except ChainError as error:
            self._note_failure(str(error))
            return _backoff(self._failures)
        except StoreError:
            self.reload()
            raise

    def _turn(self, *, asked: bool) -> int | None:
        stimulus: Stimulus = Woke()
        if self.state.phase in RESTING:
            wait = self._due(asked=asked)
            if wait != 0:
                return wait
            stimulus = Begin(self._fresh(self._reach()))
        chain = self._reach()
        terms = self._terms(chain, self._drawer.target())
        while True:
            self.state, instructions = step(self.state, stimulus, self._clock.now(), terms)
            for instruction in instructions:
                if isinstance(instruction, Tell):
                    self._tell(instruction.text)
                elif isinstance(instruction, Wait):
                    return instruction.ms if instruction.ms is not None else self._due(asked=False)
                else:
                    stimulus = self._carry_out(chain, instruction)

    def _due(self, *, asked: bool) -> int | None:
        """Return in how many ms a new anchor is due."""
        backlog = self.backlog()
        if asked:
            return 0 if backlog.entries else None
        if self.state.phase is Phase.REVERTED:
            return None
        return due_in(self._drawer.policy(), backlog, self._clock.now())

    def backlog(self) -> Backlog:
        """Count what the newest anchor of this chain does not cover."""
        outbox = self._drawer.outbox()
        with reading(self._book):
            engine, index = self._book.engine, self._book.engine.index
            record = Overlay(engine.view).find(Anchor, anchor_key(self.chain_name))
            covered = 0 if record is None else record.size
            uncounted = sum(len(each) - bisect_left(each, covered) for each in (index.headers, index.anchors))
            entries, event = engine.tree.size - covered - uncounted, index.newest_event >= covered
        logged = outbox is not None and outbox.standing is Standing.LOGGED and outbox.chain == self.chain_name
        return Backlog(entries, event, outbox.logged_at if outbox is not None and logged and record else None)

    def _reach(self) -> Chain:
        """Return the chain; an anchor in flight somewhere else comes first."""
        if self._chain is None:
            self._chain = self._chains.connect(self._drawer.target())
        chain, outbox = self._chain, self.state.outbox
        if outbox is None or self.state.phase in RESTING:
            return chain
        begun = (outbox.chain, outbox.contract, outbox.recorder)
        if begun != (chain.name, chain.contract, chain.recorder):
            self._chain = None
            where = f"{outbox.contract} on {outbox.chain} by {outbox.recorder}"
            raise ChainError(f"an anchor is in flight to {where}: point at that chain again until it is final")
        return chain

    def _fresh(self, chain: Chain) -> Outbox:
        with reading(self._book):
            checkpoint = self._book.engine.checkpoint()
        return Outbox(1, chain.name, chain.contract, chain.recorder, checkpoint)

    def _carry_out(self, chain: Chain, instruction: Instruction) -> Stimulus:
        """Do one thing and return what came of it."""
        match instruction:
            case Keep(outbox):
                self._drawer.put_outbox(outbox)
                return Kept()
            case Log(outbox, landed):
                self._log(outbox, landed)
                return Logged()
            case _:
                return self._ask(chain, instruction)

    def _ask(self, chain: Chain, instruction: Instruction) -> Stimulus:
        """Ask the chain; an error is an answer."""
        try:
            stimulus = _asked(chain, instruction)
        except ChainError as error:
            self._note_failure(str(error))
            return Failed(str(error))
        self._error, self._failing_since, self._failures = None, None, 0
        return stimulus

    def _note_failure(self, text: str) -> None:
        if self._failing_since is None:
            self._failing_since = self._clock.now()
            self._tell(f"anchoring: {text}")
        self._error, self._failures = text, self._failures + 1

    def _log(self, outbox: Outbox, landed: Landed) -> None:
        """Log the anchor; the outbox that says so, and the checkpoint as it was anchored, become durable with it."""
        said = _checkpoint(outbox)
        payload = Anchored(
            origin=said.origin,
            size=said.size,
            root=said.root.hex(),
            asset_cid=anchor_commitment(outbox.checkpoint).asset_cid,
            chain=outbox.chain,
            contract=outbox.contract,
            recorder=outbox.recorder,
            tx_hash=landed.tx_hash.hex(),
            block=landed.block,
            block_hash=landed.block_hash.hex(),
        )
        logged = msgspec.structs.replace(outbox, standing=Standing.LOGGED, logged_at=self._clock.now())
        private = (
            (OUTBOX_KEY, canonical.encode(logged)),
            (note_key(outbox.chain, said.size), outbox.checkpoint.encode("utf-8")),
        )
        try:
            self._book.must(Submission((Draft(self._coordinator, payload),), private))
        except RuleError as error:
            # The commit is paid for and final; what the ledger says of it cannot be had by trying again.
            self._drawer.put_outbox(logged)
            self._tell(f"the commit {landed.tx_hash.hex()} is final, but the ledger refuses its entry: {error}")

    def status(self) -> Status:
        """Say how anchoring stands; asks nothing of the chain."""
        target, flying = self._drawer.target(), self.state.phase not in RESTING
        outbox = self.state.outbox if flying else None
        calls = () if outbox is None else outbox.calls
        newest = newest_anchor(self._book, self.chain_name)
        contract = target.contract if self._chain is None else self._chain.contract
        return Status(
            chain=self.chain_name,
            contract=newest.payload.contract if contract is None and newest is not None else contract,
            recorder=self._chains.recorder,
            embedded=target.rpc is None,
            policy=str(self._drawer.policy()),
            phase=self.state.phase,
            waiting=self.backlog().entries,
            newest=newest,
            size=None if outbox is None else _checkpoint(outbox).size,
            nonce=calls[-1].nonce if calls else None,
            variants=len(calls),
            block=None if self.state.landed is None else self.state.landed.block,
            held_fee=self.state.held_fee,
            error=self._error,
            failing_since=self._failing_since,
        )


BACKOFF_MOST: Final = 60 * SECOND


def _backoff(failures: int) -> int:
    return min(SECOND << min(failures, 20), BACKOFF_MOST)


def terms_of(chain: Chain, target: Target) -> Terms:
    """Return the terms of a target on its chain."""
    confirmations = chain.confirmations if target.confirmations is None else target.confirmations
    return Terms(confirmations, None if target.fee_cap is None else int(target.fee_cap))


def _checkpoint(outbox: Outbox) -> Checkpoint:
    return Checkpoint.parse(split_note(outbox.checkpoint)[0])


def _asked(chain: Chain, instruction: Instruction) -> Stimulus:
    """Ask the chain what an instruction wants to know.

    Raises:
        ChainError: it does not answer, or refuses.
    """
    match instruction:
        case Look(commit):
            nonce = chain.next_nonce()
            seen = [each for each in chain.commits(commit.asset_cid) if each.commit_data == commit.commit_data]
            return Looked(nonce, tuple(each.landed for each in seen))
        case Sign(commit, nonce, bump):
            return Signed(chain.sign(commit, nonce, bump))
        case Send(call):
            chain.send(call)
            return Sent()
        case Observe(hashes, marked):
            return _seen(chain, hashes, marked)
        case _:
            raise TypeError(f"{type(instruction).__name__} is nothing that a chain is asked")


def _seen(chain: Chain, hashes: tuple[bytes, ...], marked: int | None) -> Saw:
    nonce, head = chain.next_nonce(), chain.head()
    landed = next((found for found in map(chain.landed, hashes) if found is not None), None)
    return Saw(
        head=head,
        head_hash=chain.block_hash(head),
        nonce=nonce,
        landed=landed,
        hash_there=None if landed is None else chain.block_hash(landed.block),
        hash_marked=None if marked is None else chain.block_hash(marked),
    )
