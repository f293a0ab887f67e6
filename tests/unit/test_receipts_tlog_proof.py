"""A tlog-proof holds for its entry, its log and its witnesses, and for nothing else."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pytest

from tallystick.errors import InclusionError, MalformedError, NoteError, TooLargeError, UsageError
from tallystick.primitives.merkle import leaf_hash
from tallystick.primitives.notes import NoteSigner, WitnessSigner
from tallystick.receipts.log import head
from tallystick.receipts.proofs import LogTree
from tallystick.receipts.tlog_proof import TlogProof, check, prove

ORIGIN = "log.example/tallystick"
LOG = NoteSigner(ORIGIN, b"\x01" * 32)
WITNESSES = [WitnessSigner(f"witness.example/w{i}", bytes((0x10 + i,)) * 32) for i in range(3)]
LEAVES = [leaf_hash(b"entry %d" % i) for i in range(11)]
TREE = LogTree(LEAVES)
NOTE = LOG.sign(head(ORIGIN, TREE).text())
COSIGNED = WITNESSES[1].cosign(WITNESSES[0].cosign(NOTE, 1000), 2000)
PROOF = prove(TREE, 5, COSIGNED)
VERIFIERS = [witness.verifier for witness in WITNESSES]


def verify(proof: TlogProof = PROOF, leaf: bytes = LEAVES[5], **changes: Any) -> None:  # noqa: ANN401
    policy: dict[str, Any] = {"origin": ORIGIN, "log": [LOG.verifier], "witnesses": VERIFIERS, "quorum": 2} | changes
    checkpoint = check(proof, leaf, **policy)
    assert (checkpoint.size, checkpoint.root) == (11, TREE.root())


def test_every_entry_is_proved_and_survives_the_text() -> None:
    for index, leaf in enumerate(LEAVES):
        proof = prove(TREE, index, COSIGNED)
        assert TlogProof.parse(proof.encode()) == proof
        verify(proof, leaf)


def test_the_text_is_that_of_the_specification() -> None:
    lines = PROOF.encode().split("\n")
    assert lines[0] == "c2sp.org/tlog-proof@v1"
    assert lines[1] == "index 5"
    assert [base64.b64decode(line) for line in lines[2:6]] == list(TREE.inclusion(5))
    assert lines[6] == ""
    assert "\n".join(lines[7:]) == COSIGNED


def test_a_log_of_one_entry_needs_no_hash() -> None:
    tree = LogTree(LEAVES[:1])
    proof = prove(tree, 0, LOG.sign(head(ORIGIN, tree).text()))
    assert proof.encode().startswith("c2sp.org/tlog-proof@v1\nindex 0\n\nlog.example")
    assert TlogProof.parse(proof.encode()) == proof
    last = replace(proof, index=2**53 - 1)
    assert TlogProof.parse(last.encode()) == last
    check(proof, LEAVES[0], origin=ORIGIN, log=[LOG.verifier])


def test_extra_data_travels_and_changes_nothing() -> None:
    proof = prove(TREE, 5, COSIGNED, extra=b"not believed")
    assert "\nextra bm90IGJlbGlldmVk\nindex 5\n" in proof.encode()
    assert TlogProof.parse(proof.encode()) == proof
    verify(proof)


def test_a_proof_may_be_older_than_the_tree() -> None:
    grown = LogTree([*LEAVES, leaf_hash(b"later")])
    assert prove(grown, 5, COSIGNED) == PROOF


def test_another_entry_index_or_path_is_refused() -> None:
    faults = [
        (PROOF, LEAVES[4]),
        (replace(PROOF, index=4), LEAVES[5]),
        (replace(PROOF, index=11), LEAVES[5]),
        (replace(PROOF, hashes=PROOF.hashes[:-1]), LEAVES[5]),
        (replace(PROOF, hashes=(*PROOF.hashes, LEAVES[0])), LEAVES[5]),
        (replace(PROOF, hashes=PROOF.hashes[::-1]), LEAVES[5]),
    ]
    for proof, leaf in faults:
        with pytest.raises(InclusionError):
            verify(proof, leaf)


def test_another_log_is_refused() -> None:
    stranger = NoteSigner("stranger.example/log", b"\x02" * 32)
    with pytest.raises(NoteError, match="signer of the note"):
        verify(log=[stranger.verifier])
    with pytest.raises(NoteError, match="origin"):
        verify(origin="log.example/other")
    borrowed = replace(PROOF, checkpoint=stranger.sign(head(ORIGIN, TREE).text()))
    with pytest.raises(NoteError, match="signer of the note"):
        verify(borrowed)


def test_the_witnesses_are_counted() -> None:
    verify(quorum=0)
    verify(quorum=0, witnesses=[])
    verify(quorum=1, witnesses=VERIFIERS[1:])
    with pytest.raises(NoteError, match="at least 3"):
        verify(quorum=3)
    with pytest.raises(NoteError, match="signer of the note"):
        verify(quorum=1, witnesses=VERIFIERS[2:])
    twice = WITNESSES[0].cosign(WITNESSES[0].cosign(NOTE, 1000), 2000)
    with pytest.raises(NoteError, match="at least 2"):
        verify(replace(PROOF, checkpoint=twice))


def test_a_broken_cosignature_is_refused_even_without_need_of_it() -> None:
    head_, last = COSIGNED.rsplit(" ", 1)
    blob = bytearray(base64.b64decode(last))
    blob[20] ^= 1
    broken = f"{head_} {base64.b64encode(bytes(blob)).decode()}\n"
    with pytest.raises(NoteError, match="w1"):
        verify(replace(PROOF, checkpoint=broken), quorum=1)


def test_the_log_never_counts_as_its_own_witness() -> None:
    same_name = WitnessSigner(ORIGIN, b"\x33" * 32)
    with pytest.raises(NoteError):
        verify(replace(PROOF, checkpoint=NOTE), witnesses=[same_name.verifier], quorum=1)
    same_key = WitnessSigner("witness.example/self", b"\x01" * 32)
    with pytest.raises(UsageError, match="log itself"):
        verify(witnesses=[same_key.verifier], quorum=1)


def test_a_policy_that_counts_twice_or_cannot_be_met_is_refused() -> None:
    twin = WitnessSigner("witness.example/twin", b"\x10" * 32)
    with pytest.raises(UsageError, match="share one key"):
        verify(witnesses=[*VERIFIERS, twin.verifier])
    for quorum in (4, -1):
        with pytest.raises(UsageError, match="quorum"):
            verify(quorum=quorum)


TEXT = PROOF.encode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        TEXT[1:],
        TEXT.replace("@v1", "@v2"),
        TEXT.replace("index 5", "index 05"),
        TEXT.replace("index 5", "index +5"),
        TEXT.replace("index 5", "index  5"),
        TEXT.replace("index 5", "index 5 "),
        TEXT.replace("index 5", "Index 5"),
        TEXT.replace("index 5", "index \u0665"),
        TEXT.replace("index 5", "index 9007199254740992"),
        TEXT.replace("index 5", "index " + "9" * 5000),
        TEXT.replace("index 5\n", ""),
        TEXT.replace("index 5\n", "index 5\nextra AAAA\n"),
        TEXT.replace("index 5\n", "extra \nindex 5\n"),
        TEXT.replace("index 5\n", "extra AA\nindex 5\n"),
        TEXT.replace("index 5\n", "extra AAAA\nextra AAAA\nindex 5\n"),
        TEXT.replace("index 5\n", "index 5\nAAAA\n"),
        TEXT.replace("index 5\n", "index 5\nnot base64\n"),
        TEXT.replace("index 5\n", "index 5\n\n"),
        TEXT.replace("\n", "\r\n"),
        TEXT[: TEXT.index("\n\n") + 1],
        TEXT[: TEXT.index("\n\n") + 2],
        TEXT[:-1],
    ],
)
def test_a_text_with_one_fault_is_malformed(text: str) -> None:
    with pytest.raises(MalformedError):
        TlogProof.parse(text)


def test_malleable_hashes_and_too_many_are_refused() -> None:
    line = TEXT.split("\n")[2]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    twin = line[:-2] + alphabet[alphabet.index(line[-2]) ^ 1] + "="
    assert base64.b64decode(twin) == base64.b64decode(line)
    with pytest.raises(MalformedError, match="canonical"):
        TlogProof.parse(TEXT.replace(line, twin))
    assert len(TlogProof.parse(TEXT.replace(line, "\n".join([line] * 60))).hashes) == 63
    with pytest.raises(TooLargeError, match="hashes"):
        TlogProof.parse(TEXT.replace(line, "\n".join([line] * 64)))
    with pytest.raises(TooLargeError, match="characters"):
        TlogProof.parse(TEXT + "x" * (1 << 20))


def test_every_single_character_change_of_the_file_is_refused() -> None:
    accepted = []
    for at, character in enumerate(TEXT):
        changed = TEXT[:at] + ("A" if character != "A" else "B") + TEXT[at + 1 :]
        try:
            verify(TlogProof.parse(changed))
        except (MalformedError, NoteError, InclusionError):
            continue
        accepted.append(at)
    assert accepted == []
