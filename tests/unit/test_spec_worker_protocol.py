"""The page of the worker protocol: its examples are messages, its signatures hold, its diagrams are the tables."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final, get_args

from tallystick import wire
from tallystick.client.offers import Bounds, assignment_of, check_offer
from tallystick.client.stages import LINES, NEXT, Line
from tallystick.commitment import Commitment, Opening, Place, check_commitment, check_openings, meta_digest
from tallystick.job import spec_digest
from tallystick.ledger.transactions import check_signed, decode
from tallystick.primitives.keys import address_of, check_signature

PAGE: Final = (Path(__file__).resolve().parents[2] / "docs" / "spec" / "worker-protocol.md").read_text(encoding="utf-8")
EXAMPLES: Final = re.findall(r"```json\n(.*?)\n```", PAGE, re.DOTALL)


def messages() -> dict[type, Any]:
    """Every example by its kind, read by the end that would hear it."""
    found: dict[type, Any] = {}
    for text in EXAMPLES:
        kind = json.loads(text)["type"]
        tags = {each.__struct_config__.tag: each for each in get_args(wire.FromNode)}
        message = wire.read_from_node(text) if kind in tags else wire.read_from_worker(text)
        assert wire.spell(message) == text, "the page shows the one canonical spelling"
        assert type(message) not in found, "one example each"
        found[type(message)] = message
    return found


def test_every_message_has_an_example_that_either_end_reads() -> None:
    assert set(messages()) == {*get_args(wire.FromNode), *get_args(wire.FromWorker)}


def test_the_conversation_holds_together() -> None:
    said = messages()
    auth, hello, job = said[wire.Auth], said[wire.Hello], said[wire.Job]
    public = bytes.fromhex(hello.public_key)
    check_signature(public, wire.hello_digest(auth.chain_id, auth.nonce), bytes.fromhex(hello.signature))
    assert said[wire.Ready].worker_address == address_of(public)
    assignment = assignment_of(job.job_id, job.payload, auth.chain_id, public)
    check_offer(job, assignment, Bounds(), job.payload.lease_ends - 1)
    committed = said[wire.CommitmentMessage]
    entry = decode(committed.entry.encode())
    check_signed(entry)
    assert (entry.sender, entry.nonce) == (public, said[wire.Ready].nonce)
    assert bytes.fromhex(committed.meta) == meta_digest(hello.backend, job.payload.spec.task.kernel)
    place = Place(spec_digest(job.payload.spec), job.payload.microjob, public)
    root, signature = bytes.fromhex(entry.payload.result_hash), bytes.fromhex(entry.payload.signature)
    signed = Commitment(place, len(job.payload.blocks), bytes(32), root, signature)
    check_commitment(signed)
    assert committed.openings == said[wire.OpeningMessage].openings
    check_openings(signed, [Opening(bytes.fromhex(each.salt), bytes.fromhex(each.leaf)) for each in committed.openings])
    receipt = said[wire.Receipt]
    assert (receipt.tx_hash, receipt.nid) == (entry.tx_hash, entry.nid)
    assert said[wire.JobResult].result_hash == entry.payload.result_hash
    assert said[wire.Challenge].payload == job.payload
    names = {message.job_id for message in said.values() if hasattr(message, "job_id")}
    assert names == {job.job_id}


def arrows(diagram: str) -> set[tuple[str, str]]:
    """The arrows between states of a diagram of the page, without its beginning and its end."""
    found = re.search(rf"<!-- states: {diagram} -->\n```mermaid\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    drawn = re.findall(r"^ +(\w+) --> (\w+):", found[1], re.MULTILINE)
    return set(drawn)


def test_the_diagrams_are_the_tables_of_the_code() -> None:
    assert arrows("line") == {(here.value, there.value) for (here, _), there in LINES.items()}
    assert arrows("piece") == {(here.value, there.value) for here, after in NEXT.items() for there in after}
    words = re.search(r"open --> open: (.*)", PAGE)
    assert words is not None
    allowed = {kind.__struct_config__.tag for (line, kind) in LINES if line is Line.OPEN}
    assert set(words[1].split(", ")) == allowed
