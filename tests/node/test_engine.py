"""The engine: groups enter whole or not at all, blocks have bounds, state follows the disk, damage is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Final

import msgspec
import pytest

from tallystick.errors import BlockFullError, DuplicateError, FundsError, MalformedError, RuleError, StoreError
from tallystick.job import PPM
from tallystick.ledger import payloads as say
from tallystick.ledger.records import Account, account_key, supply
from tallystick.ledger.transactions import Draft, sign
from tallystick.node import solo
from tallystick.node.identity import GAS_LIMIT, Identity
from tallystick.node.sequencer import Accepted, Block, Refused, Submission
from tallystick.node.solo import SoloEngine
from tallystick.primitives.digests import sha256
from tallystick.primitives.keys import SigningKey
from tallystick.primitives.notes import Checkpoint, NoteVerifier, open_note
from tallystick.simulation.dishonest import Cheat
from tallystick.simulation.disk import Disk, Fault, PowerCut, SimulatedStore, SimulatedTiles
from tallystick.simulation.world import START, SimulatedClock, World
from tests.worlds import ALL, KERNEL, PICTURE, SUPPLY, cheating, done

IDENTITY: Final = Identity(sha256(b"engine"))
FAUCET: Final = IDENTITY.faucet()
BOB: Final = SigningKey(sha256(b"bob")).address
TRANSFER_GAS: Final = 21_000


class WatchedStore(SimulatedStore):
    """A store that notes which stretches of entries are read."""

    read: list[tuple[int, int]]

    def entries(self, start: int, stop: int) -> Iterator[bytes]:
        if start < stop:
            self.read.append((start, stop))
        return super().entries(start, stop)


def engine(
    disk: Disk | None = None,
    gas_limit: int = GAS_LIMIT,
    watched: list[tuple[int, int]] | None = None,
    **options: Any,  # noqa: ANN401
) -> SoloEngine:
    """An engine over a simulated disk; ``watched`` takes what it reads."""
    held, genesis = disk or Disk(), msgspec.structs.replace(IDENTITY.genesis(START), gas_limit=gas_limit)
    store = SimulatedStore(held)
    if watched is not None:
        store = WatchedStore(held)
        object.__setattr__(store, "read", watched)
    return SoloEngine(IDENTITY.parameters(genesis), store, SimulatedTiles(held), SimulatedClock(START + 5), **options)


def pay(amount: int = 1, to: str = BOB, key: SigningKey = FAUCET) -> Draft:
    """A transfer that waits to be signed."""
    return Draft(key, say.Transfer(to, str(amount)))


def held(book: SoloEngine, address: str = BOB) -> int:
    """The committed balance of an address."""
    account = book.view.get(account_key(address))
    return int(account.balance) if isinstance(account, Account) else 0


def disk_of(book: SoloEngine) -> Disk:
    """The disk below an engine."""
    store: Any = book._store
    return store.disk


def fill(disk: Disk, blocks: int, **options: Any) -> None:  # noqa: ANN401
    """Write so many blocks of two transfers each."""
    book = engine(disk, **options)
    for number in range(blocks):
        book.run([Submission((pay(number + 1), pay(10)))])


def filled(blocks: int = 3, **options: Any) -> Disk:  # noqa: ANN401
    """A disk with so many blocks of two transfers each."""
    disk = Disk()
    fill(disk, blocks, **options)
    return disk


# Groups and blocks.


def test_a_refused_group_leaves_no_trace_beside_groups_that_stand() -> None:
    book = engine()
    bad = Submission((pay(5), pay(SUPPLY + 1)), (("note", b"of the refused"),))
    first = Submission((pay(1),), (("first", b"too"),))
    outcomes, block = book.run([first, bad, Submission((pay(2),), (("kept", b"yes"),))])
    assert isinstance(block, Block)
    assert [type(outcome) for outcome in outcomes] == [Accepted, Refused, Accepted]
    refused = outcomes[1]
    assert isinstance(refused, Refused)
    assert isinstance(refused.error, FundsError)
    assert [outcome.indices for outcome in outcomes if isinstance(outcome, Accepted)] == [(0,), (1,)]
    assert held(book) == 3
    assert [transaction.nonce for transaction in block.transactions] == [0, 1]
    assert disk_of(book).private == {"first": b"too", "kept": b"yes"}
    assert supply(book.view.records) == SUPPLY


def test_a_block_of_nothing_is_not_made() -> None:
    book = engine()
    outcomes, block = book.run([Submission((pay(SUPPLY + 1),))])
    assert (block, [type(outcome) for outcome in outcomes]) == (None, [Refused])
    assert disk_of(book).acts == []
    assert book.position.tip.height == 0


def test_a_full_block_says_send_it_again_and_one_that_never_fits_does_not() -> None:
    book = engine(gas_limit=2 * TRANSFER_GAS)
    outcomes, block = book.run([Submission((pay(),)) for _ in range(3)])
    assert isinstance(block, Block)
    assert len(block.transactions) == 2
    last = outcomes[2]
    assert isinstance(last, Refused)
    assert isinstance(last.error, BlockFullError)
    again, _ = book.run([Submission((pay(),))])
    assert isinstance(again[0], Accepted)
    (alone,), none = book.run([Submission((pay(), pay(), pay()))])
    assert none is None
    assert isinstance(alone, Refused)
    assert isinstance(alone.error, RuleError)
    assert not isinstance(alone.error, BlockFullError)


def test_a_job_whose_blocks_are_always_full_ends_like_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody may lose a stake because a block had no room left."""
    monkeypatch.setattr("tallystick.simulation.world.WORK_MS", 2)  # all workers end at one moment
    whole = done(0, **ALL)
    monkeypatch.setattr("tallystick.node.identity.GAS_LIMIT", 350_000)
    cramped = done(0, **ALL)
    used = [max(each.gas_used for each in world.payloads(say.BlockHeader)) for world in (whole, cramped)]
    assert used[0] > 350_000 >= used[1]
    (one,), (two,) = whole.payloads(say.JobSettled), cramped.payloads(say.JobSettled)
    assert [line.amount for line in one.lines] == [line.amount for line in two.lines]
    assert [line.slashed for line in two.lines] == ["0"] * 3


def test_one_settlement_a_block() -> None:
    """The second one waits; its own job's rules would have let it pass."""
    world = World(0, executor=KERNEL)
    taken: list[Submission] = []
    for name in ("one", "two"):
        world.accept(PICTURE, **ALL, job_id=name, output_path=f"/buyer/{name}")
        world.disk.fault = Fault(0, "never")
        run = world.book.log

        def log(submissions: Any, check: Any = None, run: Any = run) -> Any:  # noqa: ANN401
            if any(isinstance(item.payload, say.JobSettled) for each in submissions for item in each.items):
                taken.extend(submissions)
                raise PowerCut
            return run(submissions, check)

        world.book.log = log  # type: ignore[method-assign]
        with pytest.raises(PowerCut):
            world.node.run(name)
        world.book.log = run  # type: ignore[method-assign]
    outcomes, block = world.engine.run(taken, lambda _claimed: None)
    assert isinstance(block, Block)
    assert [type(outcome) for outcome in outcomes] == [Accepted, Refused]
    second = outcomes[1]
    assert isinstance(second, Refused)
    assert isinstance(second.error, BlockFullError)
    again, _ = world.engine.run(taken[1:], lambda _claimed: None)
    assert isinstance(again[0], Accepted)


def test_a_settlement_without_evidence_never_becomes_durable() -> None:
    world = World(0, cast={0: cheating(Cheat.NEVER_COMMIT)}, executor=KERNEL)
    world.accept(PICTURE, **ALL)
    run = world.engine.run
    world.engine.run = lambda submissions, _check=None: run(submissions, None)  # type: ignore[method-assign]
    with pytest.raises(Exception, match="JobSettled: expected evidence, actual none"):
        world.node.run("job-1")
    assert world.payloads(say.JobSettled) == []


def test_the_same_signed_entry_enters_once() -> None:
    book = engine()
    entry = sign(pay(7), book.parameters.chain_id, 0)
    first, _ = book.run([Submission((entry,)), Submission((entry,))])
    assert [type(outcome) for outcome in first] == [Accepted, Refused]
    assert held(book) == 7


def test_an_entry_of_another_chain_or_hand_is_refused() -> None:
    book = engine()
    chain = book.parameters.chain_id
    mine, foreign = sign(pay(7), chain, 0), sign(pay(7), "tally-other-0123456789abcdef", 0)
    outcomes, block = book.run([Submission((foreign,)), Submission((replace(mine, signature=bytes(64)),))])
    assert block is None
    assert [type(each.error).__name__ for each in outcomes if isinstance(each, Refused)] == [
        "VerificationError",
        "SignatureError",
    ]


def test_an_entry_that_would_not_decode_never_enters() -> None:
    book = engine()
    (outcome,), block = book.run(
        [Submission((Draft(FAUCET, say.EscrowLocked("Not A Job Id", 1, "1", "0", "0", "0")),))]
    )
    assert block is None
    assert isinstance(outcome, Refused)
    assert isinstance(outcome.error, MalformedError)


def test_a_repeated_event_names_the_first() -> None:
    world = done(0, **ALL)
    order = next(entry for entry in world.entries() if isinstance(entry.payload, say.JobCompleted))
    (outcome,), _ = world.engine.run([Submission((Draft(world.identity.coordinator(), order.payload),))])
    assert isinstance(outcome, Refused)
    assert isinstance(outcome.error, DuplicateError)
    assert outcome.error.first == order.tx_hash


def test_time_never_runs_backwards() -> None:
    book = engine()
    clock: Any = book._clock
    book.run([Submission((pay(),))])
    clock.time -= 60_000
    _, block = book.run([Submission((pay(),))])
    assert isinstance(block, Block)
    assert block.context.time == START + 5


# State follows the disk.


@pytest.mark.parametrize("error", [StoreError, OSError])
def test_a_failed_append_merges_nothing(error: type[BaseException]) -> None:
    book = engine()
    book.run([Submission((pay(1),))])
    before = (dict(book.view.records), book.position, book.tree.size, book.checkpoint(), book.index.headers[:])
    disk_of(book).fault = Fault(1, "append", error=error)
    with pytest.raises(error):
        book.run([Submission((pay(2),), (("note", b"lost"),))])
    assert (dict(book.view.records), book.position, book.tree.size, book.checkpoint(), book.index.headers) == before
    assert disk_of(book).private == {}
    book.run([Submission((pay(4),))])
    assert held(book) == 5
    assert same_state(engine(disk_of(book)), book)


def test_what_fails_after_the_commit_takes_nothing_back_and_is_made_up() -> None:
    disk = Disk()
    book = engine(disk, snapshot_every=2)
    for kind in ("tile", "snapshot"):
        block = book.propose([Submission((pay(1),))])
        assert isinstance(block, Block)
        seen = held(book)
        book.write(block)
        disk.fault = Fault(disk.acts.count(kind), kind, error=OSError)
        assert held(book) == seen + 1
        with pytest.raises(OSError, match="simulated fault"):
            book.tend()
        assert same_state(engine(disk), book)
        book.tend()
        assert disk.tiles["checkpoint"].decode() == book.checkpoint()
        assert disk.snapshot[-1][0] == book.tree.size


def test_readers_are_held_off_while_a_block_becomes_theirs_and_not_while_it_is_flushed() -> None:
    book = engine()
    disk, said = disk_of(book), list[object]()

    class Door:
        """Holds readers off."""

        def __enter__(self) -> None:
            said.append(("closed", list(disk.acts), book.tree.size, held(book)))

        def __exit__(self, *_: object) -> None:
            said.append(("opened", list(disk.acts), book.tree.size, held(book)))

    block = book.propose([Submission((pay(1),))])
    assert isinstance(block, Block)
    book.write(block, Door())
    assert said == [("closed", ["append"], 0, 0), ("opened", ["append"], 2, 1)]


def test_readers_see_committed_state_only() -> None:
    book = engine()
    seen: list[int] = []
    store: Any = book._store
    append = store.append

    class Looking:
        """The store, with somebody reading while a batch is being written."""

        def __getattr__(self, name: str) -> Any:  # noqa: ANN401
            return getattr(store, name)

        def append(self, batch: Any) -> None:  # noqa: ANN401
            seen.append(held(book))
            append(batch)
            seen.append(held(book))

    book._store = Looking()  # type: ignore[assignment]
    book.run([Submission((pay(9),))])
    assert (seen, held(book)) == ([0, 0], 9)


def stand(book: SoloEngine) -> tuple[Any, ...]:
    """Where an engine stands: records, position, tree, and all that its index says."""
    index = book.index
    found = [index.find(sha256(entry)) for entry in disk_of(book).entries]
    return (
        book.view.records,
        book.position,
        [book.tree.root(size) for size in range(book.tree.size + 1)],
        (index.headers, index.jobs, index.nodes, index.anchors, index.newest_event, found),
    )


def same_state(one: SoloEngine, two: SoloEngine) -> bool:
    """Whether two engines stand at the same place with the same records."""
    return stand(one) == stand(two)


@pytest.mark.parametrize("every", [1, 7, 20, 10_000])
def test_a_snapshot_and_a_replay_give_the_same_state(every: int) -> None:
    world = World(0, cast={1: cheating(Cheat.FORGE)}, executor=KERNEL, snapshot_every=every)
    world.accept(PICTURE, **ALL)
    world.node.run("job-1")
    assert bool(world.disk.snapshot) == (every < len(world.disk.entries))
    restored = World(0, disk=world.disk, executor=KERNEL).engine
    world.disk.snapshot.clear()
    replayed = World(0, disk=world.disk, executor=KERNEL).engine
    assert same_state(restored, world.engine)
    assert same_state(replayed, world.engine)
    assert supply(restored.view.records) == SUPPLY


def test_a_restored_engine_goes_on_as_one_that_never_stopped() -> None:
    one, two = filled(4), filled(4, snapshot_every=3)
    for disk in (one, two):
        engine(disk).run([Submission((pay(100),))])
    assert one.entries == two.entries
    assert one.meta == two.meta


def test_a_start_reads_only_what_came_after_the_snapshot() -> None:
    disk = filled(10, snapshot_every=9)
    read: list[tuple[int, int]] = []
    book = engine(disk, watched=read)
    assert read == [(27, 30)]
    disk.snapshot.clear()
    assert same_state(engine(disk), book)


@pytest.mark.parametrize("piece", [0, 1, 2, 3])
def test_a_damaged_piece_counts_for_nothing_and_neither_does_what_follows_it(piece: int) -> None:
    disk = filled(13, snapshot_every=9)
    right, pieces = engine(disk), list(disk.snapshot)
    assert [size for size, _ in pieces] == [9, 18, 27, 36]
    size, data = pieces[piece]
    damages = [flip(data, at) for at in (*range(0, 300, 7), len(data) // 2, len(data) - 1)]
    for damaged in (*damages, data[:31], data[:-1], data + b"0", b"", pieces[piece - 1][1]):
        read: list[tuple[int, int]] = []
        disk.snapshot = [(at, damaged if at == size else held) for at, held in pieces]
        assert same_state(engine(disk, watched=read), right)
        assert read[0] == (9 * piece, 39)
    disk.snapshot = [each for each in pieces if each[0] != size]
    assert same_state(engine(disk), right)


def test_a_snapshot_goes_on_behind_its_last_good_piece() -> None:
    disk = filled(13, snapshot_every=9)
    size, data = disk.snapshot[2]
    disk.snapshot[2] = (size, flip(data, 100))
    book = engine(disk, snapshot_every=9)
    book.run([Submission((pay(1), pay(10)))])
    assert [size for size, _ in disk.snapshot] == [9, 18, 42]
    read: list[tuple[int, int]] = []
    assert same_state(engine(disk, watched=read), book)
    assert read == []


def test_a_snapshot_beyond_the_log_counts_for_nothing() -> None:
    disk, longer = filled(4, snapshot_every=1), filled(5, snapshot_every=100)
    engine(longer).snapshot()
    disk.snapshot = longer.snapshot
    assert same_state(engine(disk), engine(filled(4)))


def test_a_snapshot_whose_records_the_rules_never_gave_leads_nowhere() -> None:
    """It is whole, and its leaves are right; but the blocks that follow do not fit it, and the entries count."""
    disk, longer = filled(4), filled(5)
    book: Any = engine(disk)
    book._merge({account_key(FAUCET.address): Account(str(SUPPLY), 7)})
    book.snapshot()
    disk.entries, disk.meta, disk.tiles = longer.entries, longer.meta, longer.tiles
    read: list[tuple[int, int]] = []
    assert same_state(engine(disk, watched=read), engine(longer))
    assert read == [(12, 15), (0, 15)]


def test_a_snapshot_that_cannot_be_kept_loses_no_entry() -> None:
    disk = filled(2)
    book = engine(disk, snapshot_every=1)
    disk.fault = Fault(0, "snapshot", error=StoreError)
    with pytest.raises(StoreError):
        book.run([Submission((pay(100),))])
    assert held(engine(disk)) == held(book) == 123


# Tiles.


def test_tiles_that_a_crash_left_out_are_made_up_at_the_next_start() -> None:
    whole = filled(5)
    for number in range(whole.acts.count("tile") + whole.acts.count("tile.checkpoint")):
        disk = Disk()
        disk.fault = Fault(number, "tile")
        with pytest.raises(PowerCut):
            fill(disk, 5)
        disk.dead = False
        book = engine(disk)
        assert disk.tiles["checkpoint"].decode() == book.checkpoint()
        for at in range(book.position.tip.height, 5):
            book.run([Submission((pay(at + 1), pay(10)))])
        current = {path: data for path, data in whole.tiles.items() if ".p/" not in path or path.endswith(".p/15")}
        assert current.items() <= disk.tiles.items()


def test_tiles_may_lag_a_while_and_are_published_on_demand() -> None:
    disk, eager = Disk(), Disk()
    book, other = engine(disk, publish_every=1000), engine(eager)
    seen = []
    for number in range(6):
        for each in (book, other):
            each.run([Submission((pay(number + 1),))])
            each._clock.time += 400  # type: ignore[attr-defined]
        seen.append(disk.tiles["checkpoint"].decode() == book.checkpoint())
    assert seen == [True, False, False, True, False, False]
    book.publish()
    assert disk.tiles["checkpoint"] == eager.tiles["checkpoint"]
    newest = {path for path in eager.tiles if path.endswith((".p/12", "checkpoint"))}
    assert {path: disk.tiles[path] for path in newest} == {path: eager.tiles[path] for path in newest}
    tiles = disk.acts.count("tile")
    book.publish()
    assert disk.acts.count("tile") == tiles


def test_tiles_that_could_not_be_written_are_made_up_by_the_next_block() -> None:
    whole = filled(150)
    disk = filled(60)
    book = engine(disk)
    assert len(disk.entries) < 256 < len(whole.entries)
    for number in range(60, 150):
        disk.fault = Fault(disk.acts.count("tile"), "tile", error=OSError) if number % 3 else None
        try:
            book.run([Submission((pay(number + 1), pay(10)))])
        except OSError:
            assert held(book) > 0
    disk.fault = None
    assert disk.entries == whole.entries
    assert {path: data for path, data in whole.tiles.items() if ".p/" not in path} == {
        path: data for path, data in disk.tiles.items() if ".p/" not in path
    }


@pytest.mark.parametrize("foreign", [b"", b"\xff\xfe", b"nonsense\n", b"other/log\n3\nAAAA\n\n-- x AAAA\n"])
def test_a_foreign_checkpoint_among_the_tiles_counts_for_nothing(foreign: bytes) -> None:
    disk = filled(3)
    right = dict(disk.tiles)
    disk.tiles = {"checkpoint": foreign.decode(errors="replace").encode()}
    engine(disk)
    assert disk.tiles["checkpoint"] == right["checkpoint"]
    assert "tile/entries/000.p/9" in disk.tiles


@pytest.mark.parametrize("kept", [0, 1, 2])
def test_an_older_copy_of_the_ledger_is_refused(kept: int) -> None:
    """Going on from it would sign a second history behind a checkpoint that readers have."""
    disk, older = filled(3), filled(kept)
    older.tiles = dict(disk.tiles)
    with pytest.raises(StoreError, match=f"published with 9 entries that the ledger file, with {3 * kept}"):
        engine(older)
    assert older.tiles == disk.tiles


def test_another_history_of_the_same_length_is_refused() -> None:
    disk, other = filled(3), Disk()
    book = engine(other)
    for number in range(3):
        book.run([Submission((pay(number + 100), pay(10)))])
    disk.tiles = dict(other.tiles)
    with pytest.raises(StoreError, match="does not hold"):
        engine(disk)


def test_the_snapshot_of_another_history_counts_for_nothing() -> None:
    disk, other = filled(3, snapshot_every=9), Disk()
    book = engine(other, snapshot_every=9)
    for number in range(3):
        book.run([Submission((pay(number + 100), pay(10)))])
    right = engine(disk)
    assert disk.snapshot
    assert other.snapshot
    disk.snapshot = other.snapshot
    assert same_state(engine(disk), right)


def test_a_checkpoint_always_extends_the_one_before() -> None:
    disk, book = Disk(), None
    book = engine(disk)
    verifier = NoteVerifier.parse(book.genesis.log_vkey)
    sizes = []
    for number in range(4):
        book.run([Submission((pay(number + 1),))])
        text, _ = open_note(book.checkpoint(), [verifier])
        checkpoint = Checkpoint.parse(text)
        assert checkpoint.root == book.tree.root(checkpoint.size)
        sizes.append(checkpoint.size)
    assert sizes == [2, 4, 6, 8]


# Damage.


def flip(data: bytes, at: int) -> bytes:
    """One bit of one byte changed."""
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def reading(disk: Disk) -> None:
    """Open, and read every entry."""
    book = engine(disk)
    list(book.entries(0, book.tree.size))


@pytest.mark.parametrize("snapshot_every", [10_000, 4])
def test_any_flipped_byte_of_an_entry_is_refused(snapshot_every: int) -> None:
    """At open where it is folded in again, when it is read where the snapshot stands for it."""
    disk = filled(3, snapshot_every=snapshot_every)
    right, covered = list(disk.entries), sum(size for size, _ in disk.snapshot)
    assert covered == (6 if snapshot_every == 4 else 0)
    for index, entry in enumerate(right):
        for at in range(0, len(entry), 37):
            disk.entries[index] = flip(entry, at)
            with pytest.raises(StoreError, match=r"damaged|without a block header"):
                engine(disk).entry(index) if index < covered else engine(disk)
            with pytest.raises(StoreError, match=r"damaged|without a block header"):
                reading(disk)
        disk.entries[index] = entry
    reading(disk)


DAMAGES: Final[dict[str, Callable[[Disk], object]]] = {
    "last entry gone": lambda disk: disk.entries.pop(),
    "last block gone": lambda disk: disk.entries.__delitem__(slice(-3, None)),
    "first entry gone": lambda disk: disk.entries.pop(0),
    "all entries gone": lambda disk: disk.entries.clear(),
    "an entry more": lambda disk: disk.entries.append(disk.entries[0]),
    "two entries swapped": lambda disk: disk.entries.insert(0, disk.entries.pop(1)),
    "no checkpoint": lambda disk: disk.meta.pop("checkpoint"),
    "a checkpoint that is no note": lambda disk: disk.meta.update(checkpoint=b"nonsense"),
    "a checkpoint of another key": lambda disk: disk.meta.update(checkpoint=foreign_checkpoint(disk)),
    "an older checkpoint": lambda disk: disk.meta.update(checkpoint=filled(2).meta["checkpoint"]),
    "a header in the middle lost": lambda disk: disk.entries.pop(2),
}


def foreign_checkpoint(disk: Disk) -> bytes:
    """The same checkpoint, signed by somebody else under the same name."""
    text, _ = open_note(disk.meta["checkpoint"].decode(), [NoteVerifier.parse(IDENTITY.log().vkey)])
    mine = IDENTITY.log()
    other = type(mine)(mine.name, sha256(b"another seed"))
    return other.sign(text).encode()


@pytest.mark.parametrize("snapshot_every", [10_000, 4])
@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_refused(damage: str, snapshot_every: int) -> None:
    disk = filled(3, snapshot_every=snapshot_every)
    DAMAGES[damage](disk)
    with pytest.raises(StoreError) as refused:
        reading(disk)
    assert "\n" not in str(refused.value)
    assert disk.acts == filled(3, snapshot_every=snapshot_every).acts, "nothing is written to what is damaged"


def test_the_keys_of_another_home_are_refused() -> None:
    disk = filled(1)
    stranger = Identity(sha256(b"stranger")).parameters(IDENTITY.genesis(START))
    with pytest.raises(StoreError, match="the keys of this home are not the ones that its ledger names"):
        SoloEngine(stranger, SimulatedStore(disk), SimulatedTiles(disk), SimulatedClock())


def test_an_empty_log_has_no_checkpoint() -> None:
    with pytest.raises(StoreError, match="the log is empty"):
        engine().checkpoint()


def test_the_default_distance_of_snapshots_is_used() -> None:
    assert engine()._snapshot_every == solo.SNAPSHOT_EVERY


def test_an_order_that_nobody_can_pay_is_no_promise() -> None:
    """The ledger refuses it only when the wish is already kept."""
    world = World(0, executor=KERNEL)
    faucet = world.identity.faucet()
    world.engine.run([Submission((pay(SUPPLY - 5, key=faucet),))])
    with pytest.raises(FundsError):
        world.accept(PICTURE, **ALL)
    assert (world.node.wishes.every(), world.node.wishes.unfinished()) == ((), ())
    assert (world.locked(), world.supply(), dict(world.disk.files)) == ([], SUPPLY, {})


def test_an_order_that_is_refused_is_no_promise() -> None:
    """Nothing is locked and nothing is left that a restart would try again."""
    world = World(0, executor=KERNEL)
    with pytest.raises(RuleError, match="does not deter"):
        world.accept(PICTURE, block=8, operators=3, audit=0)
    assert world.node.wishes.every() == ()
    assert (world.locked(), world.supply(), dict(world.disk.files)) == ([], SUPPLY, {})
    world.accept(PICTURE, block=8, operators=3, audit=PPM)
    world.node.run("job-1")
