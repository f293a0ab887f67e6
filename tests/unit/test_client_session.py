"""A worker's session without a socket: what it says to an honest node, and what a hostile one cannot make it do."""

from __future__ import annotations

from typing import Any, Final

import msgspec
import pytest

from tallystick import wire
from tallystick.client.offers import Bounds, Terms, input_length
from tallystick.client.session import SIGNED_AGAIN_MAX, WAITING_MAX, Session
from tallystick.client.signals import (
    Advanced,
    Broke,
    Compute,
    Computed,
    Dialed,
    Drain,
    Drop,
    Failed,
    Heard,
    Instruction,
    Join,
    Joined,
    Leave,
    Recorded,
    Send,
    Stimulus,
    Tell,
    Tick,
    Upload,
    Uploaded,
)
from tallystick.client.stages import Line
from tallystick.commitment import Commitment, Opening, Output, Place, check_commitment, check_leaf, check_openings
from tallystick.errors import MalformedError, TransitionError, VerificationError
from tallystick.job import JobSpec, spec_digest
from tallystick.ledger.payloads import SubmitResult
from tallystick.ledger.transactions import check_signed, decode
from tallystick.node.worker import Worker
from tallystick.primitives import merkle
from tallystick.primitives.digests import field_commitment, sha256
from tallystick.primitives.keys import check_signature
from tallystick.slicing import block_length, layout
from tests.orders import CHAIN, META, START, key, make_order

NOW: Final = START
BOND: Final = 10**18
KEY: Final = key("worker 0")
SALT, DIGEST = bytes(16), sha256(b"input")
TICKET: Final = "/api/v1/assignments/abc"


def order(**changes: Any) -> JobSpec:  # noqa: ANN401 - any field
    job_id = changes.get("job_id", "job-1")
    committed = field_commitment(sha256(job_id.encode()), "input", SALT, DIGEST)
    return make_order(**{"input": committed.hex(), **changes})


def payload(spec: JobSpec, microjob: int, **changes: Any) -> wire.JobPayload:  # noqa: ANN401 - any field
    counts = layout(spec)
    blocks = tuple((microjob * counts.size + index) % counts.blocks for index in range(counts.slots_of(microjob)))
    made = wire.JobPayload(
        spec=spec,
        attempt=spec.attempt,
        microjob=microjob,
        macrojob=0,
        blocks=blocks,
        input=wire.InputPart(f"{TICKET}/input", input_length(spec.task), DIGEST.hex(), SALT.hex()),
        output=wire.OutputPart(f"{TICKET}/output", sum(block_length(spec, counts, block) for block in blocks)),
        lease_ends=NOW + 5_000,
    )
    return msgspec.structs.replace(made, **changes)


def offer(spec: JobSpec | None = None, microjob: int = 0, **changes: Any) -> wire.Job:  # noqa: ANN401 - as payload
    spec = spec or order()
    return wire.Job(wire.piece_id(spec.job_id, spec.attempt, microjob), spec.job_id, payload(spec, microjob, **changes))


def ready(**changes: Any) -> wire.Ready:  # noqa: ANN401 - any field
    made = wire.Ready(KEY.address, True, str(BOND), "0", 5, 1000, 3000, 60_000)  # noqa: FBT003 - a message
    return msgspec.structs.replace(made, **changes)


def digests(job: wire.Job) -> tuple[bytes, ...]:
    return tuple(sha256(b"block", block.to_bytes(4, "big")) for block in job.payload.blocks)


class Spoken:
    """A session with a node that says what a test wants."""

    def __init__(self, **terms: Any) -> None:  # noqa: ANN401 - any field of Terms
        worker = Worker(KEY, sha256(b"secret"), "numpy")
        self.session = Session(worker, Terms(**{"capacity": 2, "software": "test", "bond": BOND, **terms}))
        self.now = NOW

    def do(self, stimulus: Stimulus) -> list[Instruction]:
        return list(self.session.handle(stimulus, self.now))

    def hear(self, message: wire.FromNode) -> list[Instruction]:
        """Hear a message as it comes over the wire."""
        return self.do(Heard(wire.read_from_node(wire.spell(message))))

    def open(self, **changes: Any) -> list[Instruction]:  # noqa: ANN401 - any field of Ready
        self.do(Dialed())
        self.hear(wire.Auth(wire.PROTOCOL, CHAIN, "12" * 32))
        return self.hear(ready(**changes))

    def upload(self, job: wire.Job) -> list[Instruction]:
        """Take a piece, compute and upload it."""
        self.hear(job)
        self.do(Computed(job.job_id, digests(job)))
        return self.do(Uploaded(job.job_id))


def sent(instructions: list[Instruction], kind: type) -> list[Any]:
    return [each.message for each in instructions if isinstance(each, Send) and isinstance(each.message, kind)]


def only(instructions: list[Instruction], kind: type) -> Any:  # noqa: ANN401 - an instruction
    found = [each for each in instructions if isinstance(each, kind)]
    assert len(found) == 1, instructions
    return found[0]


def root_of(instructions: list[Instruction]) -> tuple[wire.CommitmentMessage, Any]:
    (message,) = sent(instructions, wire.CommitmentMessage)
    return message, decode(message.entry.encode())


def receipt(message: wire.CommitmentMessage) -> wire.Receipt:
    entry = decode(message.entry.encode())
    return wire.Receipt(message.job_id, 7, entry.nid, entry.tx_hash)


def test_a_piece_goes_from_the_greeting_to_the_opening() -> None:
    line, job = Spoken(), offer()
    line.do(Dialed())
    (hello,) = sent(line.hear(wire.Auth(wire.PROTOCOL, CHAIN, "12" * 32)), wire.Hello)
    check_signature(KEY.public, wire.hello_digest(CHAIN, "12" * 32), bytes.fromhex(hello.signature))
    assert line.hear(ready()) == []
    assert only(line.hear(job), Compute).piece.name == job.job_id
    after = line.do(Computed(job.job_id, digests(job)))
    assert [type(each) for each in after] == [Upload]
    message, entry = root_of(line.do(Uploaded(job.job_id)))
    check_signed(entry)
    assert (entry.nonce, entry.chain_id, type(entry.payload)) == (5, CHAIN, SubmitResult)
    assert bytes.fromhex(message.meta) == META
    after = line.hear(receipt(message))
    assert [type(each) for each in after] == [Recorded, Send, Drop]
    (result,) = sent(after, wire.JobResult)
    assert (result.result_hash, result.worker_address) == (entry.payload.result_hash, KEY.address)
    delivered = tuple(each.hex() for each in digests(job))
    asked = wire.Challenge(job.job_id, "ab" * 32, delivered, job.payload)
    (opening,) = sent(line.hear(asked), wire.OpeningMessage)
    place = Place(spec_digest(job.payload.spec), 0, KEY.public)
    opened = [Opening(bytes.fromhex(each.salt), bytes.fromhex(each.leaf)) for each in opening.openings]
    root, signature = bytes.fromhex(entry.payload.result_hash), bytes.fromhex(entry.payload.signature)
    signed = Commitment(place, len(opened), bytes(32), root, signature)
    check_commitment(signed)
    check_openings(signed, opened)
    lengths = [block_length(job.payload.spec, layout(job.payload.spec), block) for block in job.payload.blocks]
    for slot, (each, digest, length) in enumerate(zip(opened, digests(job), lengths, strict=True)):
        check_leaf(place, slot, each, job.payload.spec.policy.law, Output(digest, length, META))


def test_a_root_carries_its_openings_in_trust() -> None:
    line, job = Spoken(), offer()
    line.open()
    message, entry = root_of(line.upload(job))
    hexes = tuple(each.hex() for each in digests(job))
    (opening,) = sent(line.hear(wire.Challenge(job.job_id, "ab" * 32, hexes, job.payload)), wire.OpeningMessage)
    assert message.openings == opening.openings
    assert merkle.root([bytes.fromhex(each.leaf) for each in message.openings]).hex() == entry.payload.result_hash


def test_a_restarted_worker_signs_the_same_root_and_opens_it_without_remembering() -> None:
    job = offer()
    lives = []
    for _ in range(2):
        line = Spoken()
        line.open()
        lives.append(root_of(line.upload(job)))
    assert lives[0] == lives[1]
    line = Spoken()
    line.open()
    shown = wire.Challenge(job.job_id, "ab" * 32, tuple(each.hex() for each in digests(job)), job.payload)
    assert len(sent(line.hear(shown), wire.OpeningMessage)) == 1


HOSTILE: Final[dict[str, Any]] = {
    "another ledger": lambda: offer(order(chain_id="tally-test-ffffffffffffffff")),
    "no seat of ours": lambda: offer(order(pool=order().pool[1:])),
    "another attempt than the order's": lambda: offer(attempt=2),
    "a name of another job": lambda: msgspec.structs.replace(offer(), job_id="job-2:1:0"),
    "a task of another job": lambda: msgspec.structs.replace(offer(), task_id="job-2"),
    "a micro job beyond the order": lambda: msgspec.structs.replace(
        offer(), job_id="job-1:1:8", payload=msgspec.structs.replace(offer().payload, microjob=8)
    ),
    "a block beyond the order": lambda: offer(blocks=(0, 1, 2, 24)),
    "a block twice": lambda: offer(blocks=(0, 1, 2, 2)),
    "too few blocks": lambda: offer(blocks=(0, 1, 2)),
    "a kernel that nobody has": lambda: offer(order(kernel="lanczos9/v1")),
    "a size that is not the scaled input's": lambda: offer(order(target_width=97)),
    "another input than the order committed to": lambda: offer(order(input="cd" * 32)),
    "an input of another length": lambda: offer(input=wire.InputPart("/a", 12, DIGEST.hex(), SALT.hex())),
    "an output of another length": lambda: offer(output=wire.OutputPart("/a", 12)),
    "a path to another host": lambda: offer(
        output=msgspec.structs.replace(offer().payload.output, path="//evil.example/a")
    ),
    "a path that is an address": lambda: offer(
        output=msgspec.structs.replace(offer().payload.output, path="http://evil.example/a")
    ),
    "a path that climbs": lambda: offer(output=msgspec.structs.replace(offer().payload.output, path="/a/../b")),
    "a path with a new line": lambda: offer(output=msgspec.structs.replace(offer().payload.output, path="/a\r\nb")),
    "a lease in the past": lambda: offer(lease_ends=NOW),
    "an order whose time for roots is over": lambda: offer(order(commit=NOW - 1), lease_ends=NOW + 1),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_piece_that_does_not_fit_is_not_taken(name: str) -> None:
    line = Spoken()
    line.open()
    after = line.hear(HOSTILE[name]())
    assert "is not taken" in only(after, Tell).text
    assert line.session.held == {}
    assert [type(each) for each in line.hear(offer())] == [Compute]  # and the line goes on


def test_a_piece_larger_than_the_worker_allows_is_not_taken() -> None:
    line = Spoken(bounds=Bounds(input_bytes=100))
    line.open()
    assert "at most 100" in only(line.hear(offer()), Tell).text


def test_more_pieces_than_there_is_room_for_are_not_taken() -> None:
    line, spec = Spoken(), order()
    line.open()
    assert [type(line.hear(offer(spec, index))[0]) for index in range(3)] == [Compute, Compute, Tell]
    (declined,) = sent(line.hear(offer(spec, 3)), wire.Declined)
    assert declined.job_id == "job-1:1:3"


def test_a_piece_of_an_earlier_line_gives_way_to_what_the_node_offers_now() -> None:
    line, spec = Spoken(), order()
    line.open()
    for index in (0, 1):
        line.hear(offer(spec, index))
    line.do(Broke())
    line.open()
    line.hear(offer(spec, 1))
    after = line.hear(offer(spec, 2))
    assert [type(each) for each in after] == [Drop, Compute]
    assert list(line.session.held) == ["job-1:1:1", "job-1:1:2"]
    assert [type(each) for each in line.hear(offer(spec, 3))] == [Tell, Send]


def test_roots_without_receipts_are_bounded_too() -> None:
    line = Spoken(capacity=1)
    line.open()
    taken = 0
    for number in range(WAITING_MAX + 10):
        job = offer(order(job_id=f"job-{number}"))
        taken += bool(sent(line.upload(job), wire.CommitmentMessage))
    assert taken == WAITING_MAX + 1


@pytest.mark.parametrize(
    ("line_is", "message"),
    [
        (Line.DIALED, ready()),
        (Line.DIALED, offer()),
        (Line.GREETED, wire.Auth(wire.PROTOCOL, CHAIN, "00" * 32)),
        (Line.GREETED, offer()),
        (Line.OPEN, wire.Auth(wire.PROTOCOL, CHAIN, "00" * 32)),
        (Line.OPEN, ready()),
        (Line.DOWN, offer()),
    ],
)
def test_what_may_not_come_now_ends_the_line(line_is: Line, message: wire.FromNode) -> None:
    line = Spoken()
    line.open()
    line.session.line = line_is
    with pytest.raises(TransitionError):
        line.hear(message)


def test_a_node_of_another_ledger_protocol_or_worker_gets_nothing() -> None:
    line = Spoken(chain_id=CHAIN)
    line.do(Dialed())
    with pytest.raises(VerificationError, match="ledger of the node"):
        line.hear(wire.Auth(wire.PROTOCOL, "tally-test-ffffffffffffffff", "00" * 32))
    line.do(Dialed())
    with pytest.raises(MalformedError, match="protocol"):
        line.hear(wire.Auth("tallystick/worker/v9", CHAIN, "00" * 32))
    line.do(Dialed())
    line.hear(wire.Auth(wire.PROTOCOL, CHAIN, "00" * 32))
    with pytest.raises(VerificationError, match="worker"):
        line.hear(ready(worker_address=key("worker 1").address))


def test_the_first_ledger_stays_the_only_one_across_lines() -> None:
    line = Spoken()
    line.open()
    line.do(Broke())
    line.do(Dialed())
    with pytest.raises(VerificationError, match="ledger"):
        line.hear(wire.Auth(wire.PROTOCOL, "tally-test-ffffffffffffffff", "00" * 32))


@pytest.mark.parametrize("text", ["", "{}", '{"type":"hello"}', '{"type":"job"}', "[" * 100_000, "\ud800"])
def test_what_is_no_message_of_a_node_is_malformed(text: str) -> None:
    with pytest.raises(MalformedError):
        wire.read_from_node(text)


def test_nonces_count_on_in_the_order_sent() -> None:
    line = Spoken()
    line.open()
    nonces = [root_of(line.upload(offer(order(job_id=f"job-{number}"))))[1].nonce for number in range(3)]
    assert nonces == [5, 6, 7]


def test_a_wrong_number_is_signed_again_and_so_is_what_came_after_it() -> None:
    line = Spoken()
    line.open()
    first, second = (offer(order(job_id=f"job-{number}")) for number in range(2))
    line.upload(first)
    line.upload(second)
    again = line.hear(wire.Refused(first.job_id, "the next nonce is 9", 9))
    entries = [decode(message.entry.encode()) for message in sent(again, wire.CommitmentMessage)]
    assert [(entry.payload.task_id, entry.nonce) for entry in entries] == [("job-0", 9), ("job-1", 10)]
    # The node had refused the second as well, before it read that one: nothing is to be done about it.
    assert line.hear(wire.Refused(second.job_id, "the next nonce is 9", 9)) == []
    for message in sent(again, wire.CommitmentMessage):
        assert len(sent(line.hear(receipt(message)), wire.JobResult)) == 1


def test_a_refusal_that_is_not_about_the_number_lets_the_piece_go_and_closes_the_gap() -> None:
    line = Spoken()
    line.open()
    first, second = (offer(order(job_id=f"job-{number}")) for number in range(2))
    line.upload(first)
    line.upload(second)
    after = line.hear(wire.Refused(first.job_id, "it was given to another worker", 5))
    assert only(after, Drop).piece == first.job_id
    assert root_of(after)[1].nonce == 5
    assert list(line.session.held) == [second.job_id]


def test_a_node_that_refuses_for_ever_is_not_answered_for_ever() -> None:
    line, job = Spoken(), offer()
    line.open()
    line.upload(job)
    answers = 0
    for nonce in range(100, 200):
        answers += len(sent(line.hear(wire.Refused(job.job_id, "no", nonce)), wire.CommitmentMessage))
    assert answers == SIGNED_AGAIN_MAX
    assert line.session.held == {}


def test_a_lost_line_repeats_the_entry_that_may_stand_and_numbers_the_others_again() -> None:
    line = Spoken()
    line.open()
    before = [root_of(line.upload(offer(order(job_id=f"job-{number}"))))[1] for number in range(2)]
    line.do(Broke())
    after = line.open(nonce=6)
    entries = [decode(message.entry.encode()) for message in sent(after, wire.CommitmentMessage)]
    assert entries == before  # the first has number 5, which is taken, perhaps by itself; the second fits as it is
    line.do(Broke())
    after = line.open(nonce=9)
    assert [decode(each.entry.encode()).nonce for each in sent(after, wire.CommitmentMessage)] == [5, 6]
    line.do(Broke())
    after = line.open(nonce=5)
    assert [decode(each.entry.encode()).nonce for each in sent(after, wire.CommitmentMessage)] == [5, 6]


def test_what_ends_while_the_line_is_down_is_committed_when_it_is_back() -> None:
    line, job = Spoken(), offer()
    line.open()
    line.hear(job)
    line.do(Broke())
    assert sent(line.do(Computed(job.job_id, digests(job))), wire.Progress) == []
    assert line.do(Uploaded(job.job_id)) == []
    assert root_of(line.open(nonce=5))[1].nonce == 5


def test_a_piece_that_is_offered_again_only_learns_its_new_places() -> None:
    line, job = Spoken(), offer()
    line.open()
    line.hear(job)
    moved = msgspec.structs.replace(job.payload.output, path="/api/v1/assignments/def/output")
    assert line.hear(offer(output=moved, lease_ends=NOW + 9_000)) == []
    assert line.session.held[job.job_id].payload.output.path == moved.path
    other = offer(blocks=tuple(reversed(job.payload.blocks)))
    after = line.hear(other)
    assert "other contents" in only(after, Tell).text
    assert sent(after, wire.Declined) == [], "the piece itself goes on"
    assert line.session.held[job.job_id].payload.blocks == job.payload.blocks


def moved_offer(**changes: Any) -> wire.Job:  # noqa: ANN401 - as payload
    """The usual offer with another ticket."""
    part = msgspec.structs.replace(offer().payload.output, path="/api/v1/assignments/def/output")
    source = msgspec.structs.replace(offer().payload.input, path="/api/v1/assignments/def/input")
    return offer(output=part, input=source, **changes)


def test_a_node_that_lost_its_places_gets_an_upload_again_at_the_new_one() -> None:
    line, job = Spoken(), offer()
    line.open()
    line.hear(job)
    line.do(Computed(job.job_id, digests(job)))
    assert line.hear(moved_offer()) == []
    again = only(line.do(Failed(job.job_id, "no such assignment")), Upload)
    assert again.piece.payload.output.path.endswith("def/output")
    assert root_of(line.do(Uploaded(job.job_id)))[1].nonce == 5


def test_an_upload_that_ended_at_the_old_place_is_made_at_the_new_one() -> None:
    line, job = Spoken(), offer()
    line.open()
    line.hear(job)
    line.do(Computed(job.job_id, digests(job)))
    line.hear(moved_offer())
    assert [type(each) for each in line.do(Uploaded(job.job_id))] == [Upload]
    assert len(sent(line.do(Uploaded(job.job_id)), wire.CommitmentMessage)) == 1


def test_a_fetch_that_failed_at_the_old_place_is_made_at_the_new_one() -> None:
    line, job = Spoken(), offer()
    line.open()
    line.hear(job)
    line.hear(moved_offer())
    assert [type(each) for each in line.do(Failed(job.job_id, "no such assignment"))] == [Compute]


@pytest.mark.parametrize("heard", ["receipt before", "receipt after", "refusal"])
def test_a_node_that_lost_delivered_bytes_gets_them_again_under_the_same_root(heard: str) -> None:
    line, job = Spoken(), offer()
    line.open()
    message, entry = root_of(line.upload(job))
    assert [type(each) for each in line.hear(moved_offer())] == [Compute]
    if heard == "receipt before":
        assert [type(each) for each in line.hear(receipt(message))] == [Recorded]
    if heard == "refusal":
        assert line.hear(wire.Refused(job.job_id, "not held", 6)) == []
    line.do(Computed(job.job_id, digests(job)))
    after = line.do(Uploaded(job.job_id))
    if heard != "receipt before":
        again, entry_again = root_of(after)
        assert entry_again.payload == entry.payload
        after = line.hear(receipt(again))
    assert len(sent(after, wire.JobResult)) == 1
    assert line.session.held == {}


def test_new_places_are_held_to_the_same_rules() -> None:
    line, job = Spoken(), offer()
    line.open()
    line.hear(job)
    part = msgspec.structs.replace(job.payload.output, path="//evil.example/output")
    assert "no path of this node" in only(line.hear(offer(output=part)), Tell).text
    assert line.session.held[job.job_id].payload == job.payload


def test_a_piece_whose_root_stands_is_computed_again_but_not_signed_again() -> None:
    line, job = Spoken(), offer()
    line.open()
    message, _ = root_of(line.upload(job))
    line.hear(receipt(message))
    after = line.upload(job)
    assert sent(after, wire.CommitmentMessage) == []
    assert len(sent(after, wire.JobResult)) == 1


def test_a_machine_that_computes_otherwise_the_second_time_says_so_and_signs_nothing() -> None:
    line, job = Spoken(), offer()
    line.open()
    message, _ = root_of(line.upload(job))
    line.hear(receipt(message))
    line.hear(job)
    line.do(Computed(job.job_id, digests(job)[::-1]))
    after = line.do(Uploaded(job.job_id))
    assert "this machine errs" in only(after, Tell).text
    assert sent(after, wire.JobResult) == []


def test_a_known_name_with_another_order_is_not_taken() -> None:
    line, job = Spoken(), offer()
    line.open()
    message, _ = root_of(line.upload(job))
    line.hear(receipt(message))
    assert "is not taken" in only(line.hear(offer(order(stake="40001"))), Tell).text


def test_leaves_are_opened_only_over_the_bytes_that_were_signed() -> None:
    line, job = Spoken(), offer()
    line.open()
    hexes = tuple(each.hex() for each in digests(job))
    early = wire.Challenge(job.job_id, "ab" * 32, hexes, job.payload)
    line.hear(job)
    assert "not signed yet" in only(line.hear(early), Tell).text
    line.do(Computed(job.job_id, digests(job)))
    line.do(Uploaded(job.job_id))
    forged = msgspec.structs.replace(early, outputs=("ee" * 32, *hexes[1:]))
    assert "the bytes that the node shows" in only(line.hear(forged), Tell).text
    other = msgspec.structs.replace(early, payload=payload(order(stake="40001"), 0))
    assert "the bytes that the node shows" in only(line.hear(other), Tell).text
    short = msgspec.structs.replace(early, outputs=hexes[1:])
    assert "3 outputs for 4 blocks" in only(line.hear(short), Tell).text
    strange = msgspec.structs.replace(early, payload=payload(order(pool=order().pool[1:]), 0))
    assert "pool of the order" in only(line.hear(strange), Tell).text
    assert len(sent(line.hear(early), wire.OpeningMessage)) == 1


def test_the_rhythm_is_kept_whatever_else_is_said_and_bounded_whatever_the_node_wants() -> None:
    line = Spoken()
    line.open(heartbeat_ms=0)
    assert line.do(Tick()) == []
    line.now += 100
    assert len(sent(line.do(Tick()), wire.Heartbeat)) == 1
    line.do(Broke())
    line.open(heartbeat_ms=2**50)
    line.now += 60_000
    assert len(sent(line.do(Tick()), wire.Heartbeat)) == 1
    line.now -= 3_600_000  # the clock was set back
    assert len(sent(line.do(Tick()), wire.Heartbeat)) == 1
    line.do(Broke())
    line.now += 3_600_000
    assert line.do(Tick()) == []


def test_progress_of_a_long_piece_is_told_once_a_second() -> None:
    line, job = Spoken(), offer()
    line.open()
    line.hear(job)
    told = []
    for done, step in ((1, 0), (2, 999), (2, 1), (3, 999), (3, 1)):
        line.now += step
        told.append(len(sent(line.do(Advanced(job.job_id, done)), wire.Progress)))
    assert told == [0, 0, 1, 0, 1]
    assert sent(line.do(Computed(job.job_id, digests(job))), wire.Progress) == []


def test_a_cancelled_piece_is_dropped_at_any_stage_and_later_news_of_it_are_nothing() -> None:
    line, job = Spoken(), offer()
    line.open()
    line.hear(job)
    assert only(line.hear(wire.Cancel(job.job_id, "its lease is over")), Drop).piece == job.job_id
    assert line.do(Computed(job.job_id, digests(job))) == []
    line.upload(job)
    assert only(line.hear(wire.Cancel(job.job_id, "over")), Drop).piece == job.job_id
    assert line.hear(wire.Cancel("job-9:1:1", "over")) == []
    assert line.do(Failed(job.job_id, "late")) == []


def test_a_failed_piece_is_let_go_with_its_reason() -> None:
    line, job = Spoken(), offer()
    line.open()
    line.hear(job)
    after = line.do(Failed(job.job_id, "the disk is full" + "." * 2000))
    assert "the disk is full" in only(after, Tell).text
    (declined,) = sent(after, wire.Declined)
    assert wire.read_from_worker(wire.spell(declined)) == declined
    assert only(after, Drop).piece == job.job_id


def test_a_lease_that_ended_long_ago_is_given_up_unless_the_root_is_signed() -> None:
    line, job, other = Spoken(), offer(), offer(order(job_id="job-2"))
    line.open()
    line.upload(job)
    line.hear(other)
    line.now += 5_000 + 60_001
    assert only(line.do(Tick()), Drop).piece == other.job_id
    assert list(line.session.held) == [job.job_id]


def test_a_worker_that_the_ledger_does_not_know_joins_before_it_signs_anything_else() -> None:
    line, job = Spoken(), offer()
    join = only(line.open(registered=False, bond="0", nonce=0), Join)
    assert join == Join(nonce=0, registered=False, missing=BOND)
    assert line.upload(job) == []
    assert root_of(line.do(Joined(2)))[1].nonce == 2


def test_a_bond_that_is_too_small_is_filled_and_a_large_one_left_alone() -> None:
    assert only(Spoken().open(bond=str(BOND - 3)), Join).missing == 3
    assert Spoken().open(bond=str(BOND + 3)) == []
    assert only(Spoken().open(bond="much"), Join).missing == BOND


def test_a_refusal_during_the_registration_waits_for_its_end() -> None:
    line, job = Spoken(), offer()
    line.open()
    line.upload(job)
    line.do(Broke())
    after = line.open(bond="0", nonce=6)
    assert only(after, Join).nonce == 6
    assert line.hear(wire.Refused(job.job_id, "the next nonce is 6", 6)) == []
    assert root_of(line.do(Joined(7)))[1].nonce == 7


def test_a_leaving_worker_ends_what_is_in_hand_and_goes() -> None:
    line, job = Spoken(), offer()
    line.open()
    message, _ = root_of(line.upload(job))
    assert len(sent(line.do(Drain()), wire.Drain)) == 1
    assert line.do(Drain()) == []
    after = line.hear(offer(order(job_id="job-2")))
    assert "is leaving" in only(after, Tell).text
    assert len(sent(after, wire.Declined)) == 1
    assert isinstance(line.hear(receipt(message))[-1], Leave)


def test_an_idle_worker_leaves_at_once_and_a_new_line_says_that_it_leaves() -> None:
    line = Spoken()
    line.open()
    assert [type(each) for each in line.do(Drain())] == [Send, Leave]
    line, job = Spoken(), offer()
    line.open()
    line.hear(job)
    line.do(Broke())
    line.do(Drain())
    assert len(sent(line.open(), wire.Drain)) == 1


def test_a_receipt_for_nothing_changes_nothing_and_a_strange_one_is_told() -> None:
    line, job = Spoken(), offer()
    line.open()
    assert line.hear(wire.Receipt("job-9:1:1", 1, "x", "y")) == []
    message, _ = root_of(line.upload(job))
    after = line.hear(msgspec.structs.replace(receipt(message), tx_hash="0x12"))
    assert "an earlier life" in only(after, Tell).text
    assert line.hear(receipt(message)) == []
