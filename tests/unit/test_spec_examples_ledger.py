"""The examples printed in docs/spec and docs/guides are computed again, and the generated parts are current."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from scripts import generate_transactions
from tallystick import commitment
from tallystick.commitment import Output, Place
from tallystick.job import JobSpec, Placement, VerificationClass, spec_digest
from tallystick.ledger import payloads as say
from tallystick.ledger.block import Tip, header_payload
from tallystick.ledger.context import Context
from tallystick.ledger.genesis import Allocation, Genesis, chain_id, genesis_digest
from tallystick.ledger.records import Account, state_root
from tallystick.ledger.settlement import Counted, exposure, quote, settle
from tallystick.ledger.states import ESCROW_TRANSITIONS, JOB_TRANSITIONS
from tallystick.ledger.transactions import Draft, sign
from tallystick.primitives.canonical import encode
from tallystick.primitives.digests import sha256, tagged
from tallystick.primitives.keys import SigningKey
from tallystick.primitives.merkle import leaf_hash
from tallystick.slicing import layout, plan
from tallystick.verification.challenge import audited_microjobs, audited_slots, challenge
from tallystick.verification.judge import FAULTS, judge, wanted
from tallystick.verification.verdict import Reason
from tests.orders import SEED, Behave, evidence_of, forging, make_order, references

PAGES = Path(__file__).resolve().parents[2] / "docs" / "spec"
LIAR: dict[int, Behave] = {5: lambda spec, drawn, index: forging(spec, drawn, index, slots=(0,))}
ONES = SigningKey(b"\x01" * 32)


def blocks(name: str) -> list[str]:
    """The fenced blocks of a page, in order, without their last newline."""
    text = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    return re.findall(r"^```[a-z]*\n(.*?)\n```$", text, flags=re.MULTILINE | re.DOTALL)


def entry() -> list[str]:
    genesis, _ = genesis_page()
    transfer = say.Transfer("cpc19pup6qpkj492wau7jrnqlglrlskzuvs6ctfq9f", "1500000000000000000")
    signed = sign(Draft(ONES, transfer), chain_id(msgspec.json.decode(genesis, type=Genesis)), 0)
    covered = signed.entry.replace(b'"signature":"' + signed.signature.hex().encode() + b'",', b"")
    assert ONES.sign(sha256(b"tallystick/tx/v1\n", covered)) == signed.signature
    return [covered.decode(), signed.entry.decode(), f"{signed.tx_hash}\n{signed.nid}"]


def genesis_page() -> list[str]:
    genesis = Genesis(
        version=1,
        network="tally-example",
        time=1_700_000_000_000,
        log_origin="log.example/tallystick",
        log_vkey="log.example/tallystick+8beab00b+Aenx/hzUPMgaTWOKSHGzUFsAPiqyK1SGWMuLhNA3Hn2B",
        coordinator=ONES.public.hex(),
        arbiter=ONES.public.hex(),
        allocations=(Allocation(ONES.address, "1000000000000000000000"),),
        gas_price_min=0,
        gas_limit=50_000_000,
    )
    return [encode(genesis).decode(), f"{genesis_digest(genesis).hex()}\n{chain_id(genesis)}"]


def header() -> list[str]:
    genesis = msgspec.json.decode(genesis_page()[0], type=Genesis)
    writes = {f"account/{ONES.address}": Account("998500000000000000000", 2)}
    context = Context(chain_id(genesis), ONES.public, ONES.public, 0, genesis.gas_limit, 1, genesis.time + 1)
    payload = header_payload(
        Tip(0, genesis_digest(genesis), bytes(32), genesis.time),
        context,
        tx_root=leaf_hash(b"entry"),
        writes=writes,
        gas_used=21_000,
        results_root=None,
    )
    digest = sha256(b"tallystick/changes/v1\n", encode(writes))
    assert payload.state_root == sha256(b"tallystick/state/v1\n", bytes(32), digest).hex()
    roots = f"{digest.hex()}\n{state_root(bytes(32), writes).hex()}"
    return [encode(writes).decode(), roots, encode(payload).decode()]


def jobspec() -> list[str]:
    spec = make_order()
    return [encode(spec).decode(), spec_digest(spec).hex()]


def plan_page() -> list[str]:
    return [shown_plan(make_order()), shown_plan(make_order(placement=Placement.HIDDEN, duplicates=0))]


def shown_plan(spec: JobSpec) -> str:
    drawn = plan(spec, SEED)
    counts = drawn.layout
    head = f"T {counts.blocks}, copies {counts.copies}, slots {counts.slots}, size {counts.size}, M {counts.microjobs}"
    lines = [
        f"{each.index} {each.macrojob} {each.seat}: " + " ".join(f"{s.block}{'c' * s.copy}" for s in each.slots)
        for each in drawn.microjobs
    ]
    return "\n".join([head, *lines])


def commitment_page() -> list[str]:
    job, worker = bytes(range(32)), b"\x02" + bytes(range(1, 33))
    place, output = Place(job, 3, worker), Output(sha256(b"hello"), 5, sha256(b"{}"))
    salt = commitment.leaf_salt(b"\x11" * 32, job, 3, 7)
    preimage = commitment.leaf_preimage(place, 7, salt, VerificationClass.EXACT, output)
    leaf = leaf_hash(preimage)
    signed = commitment.commitment_digest(place, 1, bytes(32), leaf)
    assert signed == tagged(commitment.Tag.COMMITMENT, job, b"\0\0\0\3", b"\0\0\0\1", worker, bytes(32), leaf)
    return [f"{salt.hex()}\n{preimage.hex()}\n{leaf.hex()}", f"{leaf.hex()}\n{signed.hex()}"]


def challenge_page() -> list[str]:
    chal = challenge(*(sha256(word) for word in (b"job", b"roots", b"header", b"secret")))
    spec = make_order(audit_blocks=2)
    audited = audited_microjobs(spec, layout(spec), chal)
    slots = [f"{index}: " + " ".join(map(str, audited_slots(spec, chal, index, 4))) for index in audited]
    return ["\n".join([chal.hex(), " ".join(map(str, audited)), *slots])]


def verdicts() -> list[str]:
    evidence = evidence_of(make_order(audit=0), LIAR)
    judgement = judge(evidence, references(evidence, wanted))
    block = evidence.plan.microjobs[5].slots[0].block
    assert block in evidence.plan.duplicated()
    return [encode(judgement.blocks[block]).decode(), judgement.root().hex()]


def settlement() -> list[str]:
    spec = make_order()
    evidence = evidence_of(spec, LIAR)
    judgement = judge(evidence, references(evidence, wanted))
    price, referee = quote(spec), judgement.referee
    lines = [
        Counted(each.worker.hex(), each.accepted, each.refuted, each.unavailable, each.faulted, each.absent)
        for each in judgement.workers
    ]
    bonds = [exposure(spec, layout(spec), seat) for seat in range(3)]
    checked = referee.copies + referee.audited
    division = settle(spec, price.total, lines, checked=checked, redone=referee.redone, bonds=bonds)
    assert division.paid + division.referee_fee + division.burned + division.refund == price.total + sum(
        division.slashes
    )
    parts = f"work {price.work} + duplicates {price.duplicates} + audits {price.audits} + reserve {price.reserve}"
    shown = [f"escrow    {parts} = {price.total}", f"bonds     {' '.join(map(str, bonds))}"]
    for seat, (line, amount, slash) in enumerate(zip(lines, division.amounts, division.slashes, strict=True)):
        counts = f"accepted {line.accepted}, refuted {line.refuted}, faulted {line.faulted}"
        shown.append(f"seat {seat}    {counts}: pay {amount}, slash {slash}")
    done = f"copies {referee.copies}, audited {referee.audited}, redone {referee.redone}"
    out = f"{division.paid} + {division.referee_fee} + {division.burned} + {division.refund}"
    shown += [
        f"referee   {done}: fee {division.referee_fee}",
        f"burned    {division.burned}",
        f"refund    {division.refund}",
        f"together  {out} = {price.total} + {sum(division.slashes)}",
    ]
    return ["\n".join(shown)]


EXAMPLES: dict[str, Callable[[], list[str]]] = {
    "entry": entry,
    "header": header,
    "genesis": genesis_page,
    "jobspec": jobspec,
    "plan": plan_page,
    "commitment": commitment_page,
    "challenge": challenge_page,
    "verdicts": verdicts,
    "settlement": settlement,
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_printed_example_is_what_the_code_computes(name: str) -> None:
    examples = EXAMPLES[name]()
    assert blocks(name)[-len(examples) :] == examples


def test_the_generated_tables_and_diagrams_are_current() -> None:
    page = generate_transactions.PAGE.read_text(encoding="utf-8")
    assert generate_transactions.render(page) == page


def test_the_diagrams_draw_every_transition() -> None:
    job, escrow = blocks("transactions")
    assert sum(line.count(",") + 1 for line in job.splitlines() if ":" in line) == len(JOB_TRANSITIONS)
    arrows = sum(len(targets) for targets in ESCROW_TRANSITIONS.values())
    assert sum(line.count(",") + 1 for line in escrow.splitlines() if ":" in line) == arrows


def test_a_page_without_its_marks_is_refused() -> None:
    with pytest.raises(SystemExit, match="no place for types"):
        generate_transactions.render("# Transactions\n")


def test_every_reason_stands_in_the_table_of_verdicts() -> None:
    text = (PAGES / "verdicts.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([a-z-]+)` \| .*? \| .*? \| (.*?) ?\|$", text, flags=re.MULTILINE))
    assert set(rows) == {reason.value for reason in Reason}
    assert {name for name, costs in rows.items() if "full S" in costs} == {reason.value for reason in FAULTS}


def test_every_rule_of_a_type_is_described() -> None:
    text = (PAGES / "transactions.md").read_text(encoding="utf-8")
    described = re.findall(r"^- \*\*(.*?)\*\*", text, flags=re.MULTILINE)
    named = {name for group in described for name in group.split(", ")}
    assert named == set(say.PAYLOAD_TYPES) - {"ArtifactPublished"}
