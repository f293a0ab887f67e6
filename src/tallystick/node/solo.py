"""The embedded engine: one sequencer, group commit, no empty blocks. Not Byzantine fault tolerant, and never called so.

ABCI-shaped: check, propose, process, finalize, commit, snapshot. State is a fold over the log; readers see committed
state only, since a block's writes are merged after the store's COMMIT and dropped when it fails. A start follows the
snapshot: it reads the entries that came after it, and every older entry is held against its leaf when it is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

from tallystick.errors import StoreError, TallyError, VerificationError
from tallystick.ledger import machine
from tallystick.ledger.fold import initial_records, replay_block, start
from tallystick.ledger.genesis import Genesis
from tallystick.ledger.payloads import BlockHeader, JobSettled
from tallystick.ledger.records import Record
from tallystick.ledger.transactions import Transaction, decode
from tallystick.node.ports import Batch, CheckSettlement, Clock, Store, Tiles
from tallystick.node.sequencer import Block, Outcome, Parameters, Submission, make_block
from tallystick.node.snapshot import Folded, Kept, restore, spell_piece
from tallystick.primitives.merkle import leaf_hash
from tallystick.primitives.notes import Checkpoint, NoteVerifier, open_note
from tallystick.receipts.log import TILE_WIDTH, growth

SNAPSHOT_EVERY = 20_000


class Committed:
    """The committed state: a plain dictionary that only the engine writes."""

    def __init__(self, records: dict[str, Record]) -> None:
        """Begin with these records."""
        self.records = records

    def get(self, key: str) -> Record | None:
        """Return the record under a key, or None."""
        return self.records.get(key)


class SoloEngine:
    """One sequencer over one store. Not for several threads: the shell's loop owns it."""

    def __init__(
        self,
        parameters: Parameters,
        store: Store,
        tiles: Tiles,
        clock: Clock,
        snapshot_every: int = SNAPSHOT_EVERY,
        publish_every: int = 0,
    ) -> None:
        """Fold the log into state; the newest checkpoint must be over exactly these entries.

        Tiles are published with a commit, at most once in ``publish_every`` ms; whoever sets it calls ``publish`` when
        no commit follows for a while.

        Raises:
            StoreError: the ledger file is damaged, or the keys are another ledger's; nothing was changed.
        """
        self.parameters = parameters
        self._store, self._tiles, self._clock = store, tiles, clock
        self._snapshot_every, self._published = snapshot_every, 0
        self._publish_every, self._publish_from = publish_every, 0
        if (parameters.coordinator.public.hex(), parameters.log.vkey) != (
            self.genesis.coordinator,
            self.genesis.log_vkey,
        ):
            raise StoreError(
                "the keys of this home are not the ones that its ledger names: put the right keystore back"
            )
        self._newest = store.checkpoint()
        self._open()

    def _stand(self, folded: Folded, kept: Kept) -> None:
        """Stand where the log was folded to, of which the snapshot keeps so much."""
        self.view = Committed(folded.records)
        self.position, self.tree, self.index = folded.position, folded.tree, folded.index
        self._kept, self._changed = kept, dict[str, Record]()
        self._bundle: dict[int, bytes] = {}

    def check(self, transaction: Transaction) -> None:
        """Check chain and signature of an entry that somebody sent."""
        machine.check(transaction, self.parameters.chain_id)

    def propose(self, submissions: Sequence[Submission]) -> Block | tuple[Outcome, ...]:
        """Make a block of what is waiting; outcomes only when nothing was accepted."""
        return make_block(self.parameters, self.position, self.view, submissions, self._clock.now())

    def process(self, block: Block, check_settlement: CheckSettlement | None) -> None:
        """Recompute what apply() cannot: a settlement's verdicts from the evidence.

        Raises:
            VerificationError: a settlement differs from its evidence, or comes without any.
        """
        for transaction in block.transactions:
            if isinstance(transaction.payload, JobSettled):
                if check_settlement is None:
                    raise VerificationError("JobSettled", expected="evidence", actual="none")
                check_settlement(transaction.payload)

    def finalize(self, block: Block) -> bytes:
        """Return the hash of the block's header; nothing is durable yet."""
        return block.header.digest

    def commit(self, block: Block) -> None:
        """Make the block durable, let readers see it, and ``tend``; what tending raises takes nothing back."""
        self.write(block)
        self.tend()

    def write(self, block: Block, readers: AbstractContextManager[object] | None = None) -> None:
        """Make the block durable, then let readers see it, held off by ``readers`` for this second step alone.

        When this raises, nothing of the block happened.
        """
        self._store.append(Batch(block.first, block.entries, block.checkpoint, block.private))
        with readers or nullcontext():
            self._newest = block.checkpoint
            self._merge(block.writes)
            self.position = block.position
            for index, entry in enumerate(block.entries, block.first):
                self._note(index, entry)

    def tend(self) -> None:
        """Publish tiles and keep a snapshot, each when it is due; what fails now is made up by a later call."""
        if self._clock.now() >= self._publish_from:
            self.publish()
        if self.tree.size - self._kept.size >= self._snapshot_every:
            self.snapshot()

    def _merge(self, writes: Mapping[str, Record]) -> None:
        """Take a block's writes into the state, and into what the next piece of the snapshot holds."""
        self.view.records.update(writes)
        self._changed.update(writes)

    def _note(self, index: int, entry: bytes) -> None:
        """Take one durable entry into the tree, the index, and the bundle that tiles are cut from."""
        self.tree.append(leaf_hash(entry))
        self.index.note(index, entry)
        if index % TILE_WIDTH == 0:
            self._bundle.clear()
        self._bundle[index] = entry

    def publish(self) -> None:
        """Let readers see everything that is durable."""
        if self._published < self.tree.size:
            self._publish(self.checkpoint())

    def _publish(self, checkpoint: str) -> None:
        """Publish what readers lack; entries that left memory come from the store, and a failure is made up later."""
        self._tiles.publish(growth(self.tree, self._published, self.tree.size, self.entry), checkpoint)
        self._published = self.tree.size
        self._publish_from = self._clock.now() + self._publish_every

    def entry(self, index: int) -> bytes:
        """Return one durable entry, held against its leaf when it is read from the store.

        Raises:
            StoreError: it is damaged, or missing.
        """
        held = self._bundle.get(index)
        return next(self.entries(index, index + 1)) if held is None else held

    def entries(self, start: int, stop: int) -> Iterator[bytes]:
        """Yield durable entries in order, each held against its leaf.

        Raises:
            StoreError: one is damaged, or missing.
        """
        for index, entry in enumerate(self._store.entries(start, stop), start):
            if leaf_hash(entry) != self.tree.leaf(index):
                raise StoreError(f"entry {index} of the ledger file is damaged: restore it from a backup")
            yield entry

    def run(
        self, submissions: Sequence[Submission], check_settlement: CheckSettlement | None = None
    ) -> tuple[tuple[Outcome, ...], Block | None]:
        """Take one group of submissions through propose, process, finalize and commit."""
        proposed = self.propose(submissions)
        if not isinstance(proposed, Block):
            return proposed, None
        self.process(proposed, check_settlement)
        self.finalize(proposed)
        self.commit(proposed)
        return proposed.outcomes, proposed

    def snapshot(self) -> None:
        """Keep what was folded since the last snapshot, so that the next start replays less."""
        if self._kept.size < self.tree.size:
            folded = Folded(self.position, self.view.records, self.tree, self.index)
            kept, data = spell_piece(self._kept, folded, self._changed)
            self._store.save_snapshot(self._kept.size, kept.size, data)
            self._kept, self._changed = kept, {}
            self.index.settle()

    def checkpoint(self) -> str:
        """Return the newest checkpoint over what readers see; the store's may be a block ahead.

        Raises:
            StoreError: the log is still empty.
        """
        if self._newest is None:
            raise StoreError("the log is empty: it has no checkpoint yet")
        return self._newest

    def _open(self) -> None:
        size = self._store.size()
        try:
            folded = self._nothing()
            self._stand(folded, restore(folded, self._store.snapshot(), size))
            self._fold(size)
        except StoreError:
            raise
        except TallyError as error:
            raise StoreError(f"the ledger file is damaged, restore it from a backup: {error}") from error
        self._repair_tiles(size)

    def _fold(self, size: int) -> None:
        """Fold in what came after the snapshot; one that leads nowhere counts for nothing, since the entries count."""
        try:
            self._replay(self.tree.size, size)
            self._check_checkpoint(size)
        except TallyError:
            if not self._kept.size:
                raise
            self._stand(self._nothing(), Kept())
            self._fold(size)

    def _nothing(self) -> Folded:
        return Folded(start(self.genesis), initial_records(self.genesis))

    def _repair_tiles(self, size: int) -> None:
        """Publish what a crash left out or tore: tiles are sound up to their durable mark, and checked from there."""
        seen, mark = self._tiles.published(), self._tiles.durable()
        covered = [0 if note is None else self._agreed_size(note, size) for note in (seen, mark)]
        self._published = covered[1]
        if size and not seen == mark == self.checkpoint():
            self._tiles.repair(growth(self.tree, self._published, size, self.entry), self.checkpoint())
            self._published = size

    def _agreed_size(self, note: str, size: int) -> int:
        """Return how much of the log a published checkpoint covers; one that this log never signed covers nothing.

        Raises:
            StoreError: this log signed it over entries that the store does not hold. Going on would sign two histories.
        """
        try:
            text, _ = open_note(note, [NoteVerifier.parse(self.genesis.log_vkey)])
            held = Checkpoint.parse(text)
        except TallyError:
            return 0
        if held.size > size or self.tree.root(held.size) != held.root:
            raise StoreError(
                f"the log was published with {held.size} entries that the ledger file, with {size}, does not hold: "
                "it is an older copy, put the newest back"
            )
        return held.size

    def _replay(self, start_at: int, stop: int) -> None:
        """Apply every block after the snapshot again."""
        pending: list[bytes] = []
        for index, entry in enumerate(self._store.entries(start_at, stop), start_at):
            pending.append(entry)
            self._note(index, entry)
            if b'"type":"BlockHeader"' in entry and isinstance(decode(entry).payload, BlockHeader):
                replayed = replay_block(self.parameters.genesis, self.position, self.view, pending)
                self.position = replayed.position
                self._merge(replayed.writes)
                pending = []
        if pending:
            raise StoreError(f"the log ends in {len(pending)} entries without a block header")

    def _check_checkpoint(self, size: int) -> None:
        """Hold the newest checkpoint against the entries and against the folded state.

        Raises:
            StoreError: they are not its own.
            NoteError: it is not signed by this ledger's log.
        """
        newest = self._store.checkpoint()
        if newest is None:
            if size:
                raise StoreError(f"the log holds {size} entries and no checkpoint: the ledger file is damaged")
            return
        text, _ = open_note(newest, [NoteVerifier.parse(self.genesis.log_vkey)])
        held = Checkpoint.parse(text)
        for root in (self.position.tree.root(), self.tree.root()):
            if (held.origin, held.size, held.root) != (self.genesis.log_origin, size, root):
                raise StoreError(
                    f"the checkpoint is not over the {size} entries of the log: the ledger file is damaged"
                )

    @property
    def genesis(self) -> Genesis:
        """The ledger's parameters."""
        return self.parameters.genesis
