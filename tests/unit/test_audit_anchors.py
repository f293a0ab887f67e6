"""What an audit makes of anchors: claimed, pinned, asked for; and what nobody gets past it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
import pytest

from tallystick.anchoring.erc7053 import EMBEDDED_CHAIN, anchor_commitment
from tallystick.audit.anchors import Committed, Inquiry
from tallystick.audit.bundle import AnchorProof, Bundle, parse, spell
from tallystick.audit.findings import Finding, Result
from tallystick.audit.trust import AnchorPin, CoordinatorPin, Trust
from tallystick.audit.verify import Shown, verify_bundle
from tallystick.errors import ChainError, MalformedError
from tallystick.ledger import payloads as say
from tallystick.ledger.transactions import Draft, decode, sign
from tallystick.primitives import merkle
from tallystick.primitives.keys import SigningKey
from tallystick.primitives.notes import Checkpoint, NoteSigner, WitnessSigner, split_note
from tests.audit_world import Ledger, Played, Wish, enrolled, play, secret
from tests.history_world import GENESIS, LOG, TRUST, Shelf, shelve
from tests.ledger_world import COORDINATOR, World, make_run

replace = msgspec.structs.replace
REMOTE = "eip155:10507"
CONTRACT = "0x7EC2F14ABE8b0Ea2F657bBb62b6fEfDe161c9001"
RECORDER = "0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf"
OTHER = "0x" + "5" * 40
BLOCK, TX = "b1" * 32, "7a" * 32
HOLDS, FAILS, UNTOLD, NOTE = Result.HOLDS, Result.DOES_NOT_HOLD, Result.CANNOT_TELL, Result.NOTE


@dataclass
class View:
    """A chain in memory: commits by contract, recorder and CID."""

    name: str = REMOTE
    tip: int = 112
    written: dict[tuple[str, str, str], list[Committed]] = field(default_factory=dict)
    down: bool = False

    def head(self) -> int:
        if self.down:
            raise ChainError("https://rpc.example does not answer eth_blockNumber")
        return self.tip

    def commits(self, contract: str, recorder: str, asset_cid: str, near: int | None) -> Sequence[Committed]:
        assert near in {None, 100}
        return self.written.get((contract, recorder, asset_cid), [])

    def write(self, note: str, recorder: str = RECORDER, *, data: str | None = None, block: int = 100) -> View:
        commit = anchor_commitment(note)
        committed = Committed(data or commit.commit_data, bytes.fromhex(TX), block, bytes.fromhex(BLOCK))
        self.written.setdefault((CONTRACT, recorder, commit.asset_cid), []).append(committed)
        return self


def payload(note: str, **changes: object) -> say.Anchored:
    """The entry over a checkpoint, as an honest coordinator logs it."""
    said = Checkpoint.parse(split_note(note)[0])
    honest = say.Anchored(
        origin=said.origin,
        size=said.size,
        root=said.root.hex(),
        asset_cid=anchor_commitment(note).asset_cid,
        chain=REMOTE,
        contract=CONTRACT,
        recorder=RECORDER,
        tx_hash=TX,
        block=100,
        block_hash=BLOCK,
    )
    return replace(honest, **changes)


@dataclass
class Anchored:
    """A job's bundle under a later checkpoint, with anchors in it."""

    played: Played
    notes: list[str] = field(default_factory=list)
    indices: list[int] = field(default_factory=list)

    @property
    def ledger(self) -> Ledger:
        return self.played.ledger

    def anchor(self, note: str | None = None, **changes: object) -> Anchored:
        """Log an anchor of the present checkpoint, or of another."""
        note = note or self.ledger.checkpoint()
        said = payload(note, **changes)
        self.indices.append(self.ledger.block((self.ledger.coordinator, said), lawful=False))
        self.notes.append(note)
        return self

    def bundle(self) -> Bundle:
        proofs = tuple(self._proof(index, note) for index, note in zip(self.indices, self.notes, strict=True))
        entries = self.ledger.logged([each.index for each in self.played.bundle.entries])
        return replace(self.played.bundle, entries=entries, checkpoint=self.ledger.checkpoint(), anchors=proofs)

    def _proof(self, index: int, note: str) -> AnchorProof:
        leaves, size = self.ledger.leaves(), Checkpoint.parse(split_note(note)[0]).size
        path = merkle.consistency_proof(leaves, min(size, len(leaves)), len(leaves))
        return AnchorProof(self.ledger.logged([index])[0], note, tuple(each.hex() for each in path))


@pytest.fixture
def job() -> Anchored:
    return Anchored(play(Wish(workers=1, operators=1, size=(3, 2))))


def finding(bundle: Bundle, trust: Trust, view: View | None = None, confirmations: int = 12) -> Finding:
    """Step 19, of a bundle that is in order otherwise."""
    asked = None if view is None else Inquiry(view, confirmations)
    report = verify_bundle(Shown(spell(bundle)), trust, inquiry=asked)
    assert {each.result for each in report.findings if each.step != 19} <= {HOLDS, NOTE}
    line = report.findings[18]
    assert report.result is (line.result if line.result in {FAILS, UNTOLD} else HOLDS)
    return line


def pin(**changes: object) -> AnchorPin:
    return replace(AnchorPin(chain=REMOTE, contract=CONTRACT, recorder=RECORDER), **changes)


def test_a_bundle_without_anchors_is_spelled_as_before_there_were_any(job: Anchored) -> None:
    data = spell(job.played.bundle)
    assert b'"anchors"' not in data
    assert parse(data) == job.played.bundle
    with pytest.raises(MalformedError):
        parse(b'{"anchors":[],' + data[1:])


def test_offline_an_anchor_is_unconfirmed_or_self(job: Anchored) -> None:
    remote = finding(job.anchor().bundle(), job.played.trust)
    assert (remote.result, str(remote.actual).split(":")[0]) == (NOTE, "unconfirmed")
    assert f"{REMOTE}, block 100" in str(remote.actual)
    both = finding(job.anchor(chain=EMBEDDED_CHAIN).bundle(), job.played.trust)
    assert both.result is NOTE
    assert "; self: eip155:7053" in str(both.actual)


def test_a_pinned_block_holds_offline_for_its_own_checkpoint_only(job: Anchored) -> None:
    bundle = job.anchor().bundle()
    cid = payload(job.notes[0]).asset_cid
    trust = replace(job.played.trust, anchors=(pin(asset_cid=cid, block_hash=BLOCK),))
    held = finding(bundle, trust)
    assert (held.result, str(held.actual).split(":")[0]) == (HOLDS, "pinned")
    other = replace(job.played.trust, anchors=(pin(asset_cid="bafkother", block_hash=BLOCK),))
    assert finding(bundle, other).result is NOTE
    moved = replace(job.played.trust, anchors=(pin(asset_cid=cid, block_hash="ee" * 32),))
    assert finding(bundle, moved).result is FAILS


@pytest.mark.parametrize("changes", [{"recorder": OTHER}, {"contract": OTHER}])
def test_on_a_pinned_chain_nobody_else_counts(job: Anchored, changes: dict[str, str]) -> None:
    bundle = job.anchor().bundle()
    assert finding(bundle, replace(job.played.trust, anchors=(pin(**changes),))).result is FAILS
    assert finding(bundle, replace(job.played.trust, anchors=(pin(**changes), pin()))).result is NOTE
    assert finding(bundle, replace(job.played.trust, anchors=(pin(chain="eip155:1", **changes),))).result is NOTE
    lower = pin(contract=CONTRACT.lower(), recorder=RECORDER.lower())
    assert finding(bundle, replace(job.played.trust, anchors=(lower,))).result is NOTE


def test_a_chain_that_holds_the_commit_confirms_it(job: Anchored) -> None:
    bundle = job.anchor().bundle()
    line = finding(bundle, job.played.trust, View().write(job.notes[0]))
    assert line.result is HOLDS
    assert f"{REMOTE} holds it in block 100, 12 blocks deep, by {RECORDER}" in str(line.actual)


def test_a_strangers_commit_of_the_same_checkpoint_confirms_nothing(job: Anchored) -> None:
    bundle = job.anchor().bundle()
    line = finding(bundle, job.played.trust, View().write(job.notes[0], OTHER))
    assert (line.result, line.actual) == (FAILS, "none")
    both = View().write(job.notes[0], OTHER, data="junk", block=1).write(job.notes[0])
    assert finding(bundle, job.played.trust, both).result is HOLDS


def test_a_commit_counts_when_enough_blocks_stand_on_top(job: Anchored) -> None:
    bundle = job.anchor().bundle()
    young = finding(bundle, job.played.trust, View(tip=111).write(job.notes[0]))
    assert young.result is UNTOLD
    assert "11 of the 12 blocks" in str(young.actual)
    assert finding(bundle, job.played.trust, View(tip=111).write(job.notes[0]), 11).result is HOLDS
    assert finding(bundle, job.played.trust, View(tip=99).write(job.notes[0]), 0).result is UNTOLD


def test_a_chain_that_does_not_answer_or_is_another_cannot_tell(job: Anchored) -> None:
    bundle = job.anchor().bundle()
    assert finding(bundle, job.played.trust, View(down=True)).result is UNTOLD
    other = finding(bundle, job.played.trust, View(name="eip155:1"))
    assert (other.result, "eip155:1 was asked" in str(other.actual)) == (UNTOLD, True)
    assert finding(job.played.bundle, job.played.trust, View()).result is UNTOLD


def test_junk_beside_the_commit_changes_nothing_and_junk_alone_does_not_hold(job: Anchored) -> None:
    bundle = job.anchor().bundle()
    junk = View().write(job.notes[0], data="junk", block=1)
    assert finding(bundle, job.played.trust, junk).result is FAILS
    assert finding(bundle, job.played.trust, junk.write(job.notes[0])).result is HOLDS
    thief = NoteSigner(job.ledger.log.name, secret("thief")).sign(split_note(job.notes[0])[0])
    forged = View()
    forged.written[CONTRACT, RECORDER, payload(job.notes[0]).asset_cid] = View().write(thief).written.popitem()[1]
    assert finding(bundle, job.played.trust, forged).result is FAILS


def test_a_commit_in_another_block_than_logged_is_said(job: Anchored) -> None:
    bundle = job.anchor(block_hash="cc" * 32).bundle()
    line = finding(bundle, job.played.trust, View().write(job.notes[0]))
    assert line.result is HOLDS
    assert "not in block 100 as was logged" in str(line.actual)


def test_without_an_anchor_in_it_a_pinned_recorders_commit_of_the_bundles_own_checkpoint_counts(job: Anchored) -> None:
    bundle = job.played.bundle
    view, trust = View().write(bundle.checkpoint), replace(job.played.trust, anchors=(pin(),))
    assert finding(bundle, trust, view).result is HOLDS
    assert finding(bundle, job.played.trust, view).result is UNTOLD
    assert finding(bundle, trust, View().write(bundle.checkpoint, OTHER)).result is UNTOLD


# What the coordinator may claim wrongly, and what anybody may change.


@pytest.mark.parametrize(
    "changes",
    [
        {"root": "ab" * 32},
        {"size": 3},
        {"size": 10**6},
        {"origin": "log.example/away"},
        {"asset_cid": "bafkreidf633lmdwmjtrzrh7c7zofkpkqbypx7voujcxan3fdujtf6b3vnm"},
    ],
    ids=str,
)
def test_an_anchor_of_anything_but_its_checkpoint_does_not_hold(job: Anchored, changes: dict[str, object]) -> None:
    assert finding(job.anchor(**changes).bundle(), job.played.trust).result is FAILS


def test_an_anchor_outside_the_coordinators_pinned_range_does_not_hold(job: Anchored) -> None:
    bundle, key = job.anchor().bundle(), job.ledger.coordinator.public.hex()
    until = replace(job.played.trust, coordinators=(CoordinatorPin(key=key, first=0, last=job.indices[0] - 1),))
    assert finding(bundle, until).result is FAILS
    until = replace(job.played.trust, coordinators=(CoordinatorPin(key=key, first=0, last=job.indices[0]),))
    assert finding(bundle, until).result is NOTE


def test_an_anchor_in_the_log_that_its_sender_never_signed_does_not_hold(job: Anchored) -> None:
    bundle = job.anchor().bundle()
    assert finding(bundle, job.played.trust).result is NOTE
    entries, index = job.ledger.log_entries, job.indices[0]
    other = entries[index + 1].entry.split(b'"signature":"')[1][:128]
    old = entries[index].entry.split(b'"signature":"')[1][:128]
    entries[index] = decode(entries[index].entry.replace(old, other))
    assert finding(job.bundle(), job.played.trust).result is FAILS


def test_a_checkpoint_of_another_history_does_not_hold(job: Anchored) -> None:
    said = Checkpoint.parse(split_note(job.ledger.checkpoint())[0])
    fork = job.ledger.log.sign(Checkpoint(said.origin, said.size, bytes(32)).text())
    line = finding(job.anchor(fork).bundle(), job.played.trust, View().write(fork))
    assert line.result is FAILS
    assert "consist" in f"{line.expected}"


def test_a_checkpoint_that_does_not_cover_the_job_does_not_hold() -> None:
    ledger = enrolled(Wish(workers=1, operators=1))
    early = ledger.checkpoint()
    job = Anchored(play(Wish(workers=1, operators=1, size=(3, 2)), ledger))
    line = finding(job.anchor(early).bundle(), job.played.trust, View().write(early))
    assert (line.result, "the job's last" in str(line.expected)) == (FAILS, True)


def test_what_a_worker_bonds_after_the_job_needs_no_anchor(job: Anchored) -> None:
    job.anchor()
    later = job.ledger.block((job.ledger.workers[0], say.StakeDeposited("1")))
    bundle = job.bundle()
    longer = replace(bundle, entries=(*bundle.entries, *job.ledger.logged([later])))
    assert later > longer.anchors[0].logged.index
    assert str(finding(longer, job.played.trust).actual).startswith("unconfirmed: ")


def test_the_jobs_very_last_entry_must_be_covered() -> None:
    ledger = enrolled(Wish(workers=1, operators=1))
    job = Anchored(play(Wish(workers=1, operators=1, size=(3, 2)), ledger))
    entries = ledger.log_entries
    last = max(at for at, each in enumerate(entries) if isinstance(each.payload, say.ArtifactPublished))
    notes = [
        ledger.log.sign(Checkpoint(ledger.genesis.log_origin, size, merkle.root(ledger.leaves()[:size])).text())
        for size in (last, last + 1)
    ]
    assert finding(Anchored(job.played).anchor(notes[0]).bundle(), job.played.trust).result is FAILS
    assert finding(Anchored(job.played).anchor(notes[1]).bundle(), job.played.trust).result is NOTE


def test_a_checkpoint_from_the_future_of_its_entry_does_not_hold(job: Anchored) -> None:
    size = len(job.ledger.log_entries)
    job.anchor()
    job.ledger.block((job.ledger.stranger, say.Transfer(job.ledger.requester.address, "1")))
    later = job.ledger.checkpoint()
    twin = Anchored(play(Wish(workers=1, operators=1, size=(3, 2))))
    assert len(twin.ledger.log_entries) == size
    twin.anchor(later)
    twin.ledger.block((twin.ledger.stranger, say.Transfer(twin.ledger.requester.address, "1")))
    assert finding(twin.bundle(), twin.played.trust, View().write(later)).result is FAILS


def test_whoever_is_not_the_coordinator_cannot_anchor(job: Anchored) -> None:
    note = job.ledger.checkpoint()
    job.indices.append(job.ledger.block((job.ledger.stranger, payload(note)), lawful=False))
    job.notes.append(note)
    assert finding(job.bundle(), job.played.trust).result is FAILS


def edits(bundle: Bundle, job: Anchored) -> dict[str, Bundle]:
    one, two = bundle.anchors
    thief = SigningKey(secret("thief"))
    entry = sign(Draft(thief, payload(job.notes[0])), job.ledger.chain, 0).entry
    witness = WitnessSigner("witness", secret("w")).cosign(one.checkpoint, 1)
    swapped = replace(one, logged=replace(one.logged, entry=msgspec.Raw(entry)))

    def first(**changes: object) -> Bundle:
        return replace(bundle, anchors=(replace(one, **changes), two))

    return {
        "order": replace(bundle, anchors=(two, one)),
        "twice": replace(bundle, anchors=(one, one)),
        "another's entry": replace(bundle, anchors=(swapped, two)),
        "a transfer": first(logged=job.ledger.logged([one.logged.index + 1])[0]),
        "index": first(logged=replace(one.logged, index=one.logged.index + 1)),
        "proof": first(logged=replace(one.logged, proof=one.logged.proof[1:])),
        "the other's checkpoint": first(checkpoint=two.checkpoint),
        "a witness on the checkpoint": first(checkpoint=witness),
        "consistency cut": first(consistency=one.consistency[1:]),
        "consistency longer": first(consistency=(*one.consistency, "00" * 32)),
        "consistency changed": first(consistency=("00" * 32, *one.consistency[1:])),
    }


def test_nothing_of_an_anchor_can_be_changed(job: Anchored) -> None:
    bundle = job.anchor().anchor(chain="eip155:1").bundle()
    assert finding(bundle, job.played.trust).result is NOTE
    for name, changed in edits(bundle, job).items():
        assert finding(changed, job.played.trust).result in {FAILS, UNTOLD}, name


# A whole log.


class LogWorld:
    """A log with a job, and anchors in it."""

    def __init__(self) -> None:
        self.world = World(GENESIS)
        self.world.enlist()
        make_run(world=self.world).until("published")

    def note(self) -> str:
        entries = self.world.entries
        root = merkle.root([merkle.leaf_hash(each) for each in entries])
        return LOG.sign(Checkpoint(LOG.name, len(entries), root).text())

    def anchor(self, note: str | None = None, **changes: object) -> str:
        note = note or self.note()
        self.world.send((COORDINATOR, payload(note, **changes)))
        return note

    def shelf(self) -> Shelf:
        return shelve(self.world.entries)

    def finding(self, trust: Trust = TRUST, view: View | None = None) -> Finding:
        report = self.shelf().audit(trust, None if view is None else Inquiry(view))
        assert {each.result for each in report.findings[:7]} == {HOLDS, NOTE}
        return report.findings[7]


@pytest.fixture
def log() -> LogWorld:
    return LogWorld()


def test_a_log_says_how_far_it_is_anchored(log: LogWorld) -> None:
    assert log.finding().actual == "not anchored"
    log.anchor()
    size = len(log.world.entries)
    log.anchor()
    line = log.finding()
    assert line.result is NOTE
    assert str(line.actual).startswith(f"{size} entries: unconfirmed: {REMOTE}")


def test_a_logs_newest_anchor_is_asked_for(log: LogWorld) -> None:
    log.anchor()
    newest = log.anchor()
    assert log.finding(view=View()).result is FAILS
    line = log.finding(view=View().write(newest))
    assert line.result is HOLDS
    assert "entries" in str(line.actual)
    assert log.finding(view=View(name="eip155:1")).result is UNTOLD
    assert log.finding(view=View(down=True)).result is UNTOLD
    cid = anchor_commitment(newest).asset_cid
    assert log.finding(replace(TRUST, anchors=(pin(asset_cid=cid, block_hash=BLOCK),))).result is HOLDS
    assert log.finding(replace(TRUST, anchors=(pin(recorder=OTHER),))).result is FAILS


@pytest.mark.parametrize(
    "changes", [{"root": "ab" * 32}, {"size": 3}, {"size": 10**6}, {"origin": "elsewhere"}], ids=str
)
def test_a_log_whose_anchor_names_what_it_never_was_does_not_hold(log: LogWorld, changes: dict[str, object]) -> None:
    log.anchor(**changes)
    assert log.finding().result is FAILS


def test_an_older_anchor_is_held_to_the_log_as_well(log: LogWorld) -> None:
    log.anchor(root="ab" * 32)
    newest = log.anchor()
    assert log.finding(view=View().write(newest)).result is FAILS


def test_a_chain_with_another_history_than_the_shelf_does_not_confirm_it(log: LogWorld) -> None:
    """The operator anchored one log and shows another: the entry names its own root, the commit another one."""
    said = Checkpoint.parse(split_note(log.note())[0])
    fork = LOG.sign(Checkpoint(said.origin, said.size, bytes(32)).text())
    log.anchor(asset_cid=anchor_commitment(fork).asset_cid)
    line = log.finding(view=View().write(fork))
    assert (line.result, "size and root in the commit" in str(line.expected)) == (FAILS, True)
