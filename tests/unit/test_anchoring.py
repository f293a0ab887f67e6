"""What the record says to others, as data: the C2PA manifest and the ERC-7053 commit."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tallystick.anchoring import erc7053
from tallystick.anchoring.claims import ALGORITHMICALLY_ENHANCED, JobClaim, manifest, parent, read_assertion
from tallystick.anchoring.erc7053 import (
    Erc7053Commit,
    anchor_commitment,
    commit_calldata,
    commit_topics,
    read_commitment,
)
from tallystick.errors import CommitmentError, CredentialError, MalformedError, NotCanonicalError
from tallystick.job import TaskType
from tallystick.primitives.cids import raw_cid
from tallystick.primitives.digests import sha256
from tallystick.primitives.keys import keccak256
from tallystick.primitives.notes import Checkpoint, NoteSigner

PAGE = Path(__file__).parents[2] / "docs" / "spec" / "erc7053-anchor.md"
ORIGIN = "example.org/tally"
NOTE = NoteSigner(ORIGIN, bytes(range(32))).sign(Checkpoint(ORIGIN, 7, sha256(b"tallystick")).text())
CLAIM = JobClaim(
    job_id="job_7",
    chain_id="tally-0123456789abcdef",
    completed_nid=raw_cid(sha256(b"entry")),
    task_type=TaskType.IMAGE_UPSCALING,
    kernel="lanczos3-fixed/v1",
    workers=3,
    software_version="0.1.0",
    simulated=False,
    title="out@2x.png",
)


def test_the_assertion_says_what_ran_and_where_it_is_recorded() -> None:
    assert CLAIM.assertion() == {
        "version": 1,
        "jobId": "job_7",
        "chainId": "tally-0123456789abcdef",
        "completedNid": CLAIM.completed_nid,
        "taskType": "image-upscaling",
        "kernel": "lanczos3-fixed/v1",
        "workers": 3,
        "softwareVersion": "0.1.0",
    }


def test_what_was_simulated_says_so() -> None:
    simulated = replace(CLAIM, simulated=True).assertion()
    assert simulated == {**CLAIM.assertion(), "simulated": True}
    assert read_assertion(simulated).simulated
    assert not read_assertion(CLAIM.assertion()).simulated


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"completed_nid": "bafkrei"}, "CID"),
        ({"completed_nid": CLAIM.completed_nid.upper()}, "CID"),
        ({"job_id": "Job 7"}, "jobId"),
        ({"workers": 0}, "workers"),
        ({"kernel": ""}, "kernel"),
        ({"chain_id": "x" * 129}, "chainId"),
    ],
    ids=["no NID", "upper case", "job id", "nobody", "no kernel", "long chain id"],
)
def test_a_claim_that_no_verifier_would_accept_is_not_made(change: dict[str, Any], named: str) -> None:
    with pytest.raises(CredentialError, match=named):
        replace(CLAIM, **change).assertion()


@pytest.mark.parametrize(
    "change",
    [{"version": 2}, {"extra": 1}, {"workers": "3"}, {"taskType": "mining"}, {"simulated": 1}],
    ids=["version", "unknown field", "text for a number", "unknown task", "number for a truth"],
)
def test_a_malformed_assertion_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(CredentialError):
        read_assertion({**CLAIM.assertion(), **change})


@pytest.mark.parametrize("field", sorted(CLAIM.assertion()))
def test_every_field_is_needed(field: str) -> None:
    with pytest.raises(CredentialError):
        read_assertion({key: value for key, value in CLAIM.assertion().items() if key != field})


def test_an_assertion_is_an_object() -> None:
    with pytest.raises(CredentialError):
        read_assertion("job_7")


def test_the_manifest_opens_the_input_and_says_what_was_done() -> None:
    definition = manifest(CLAIM, "image/png")
    assert (definition["title"], definition["format"]) == ("out@2x.png", "image/png")
    assert definition["claim_generator_info"] == [{"name": "tallystick", "version": "0.1.0"}]
    actions, job = definition["assertions"]
    opened, resized = actions["data"]["actions"]
    assert opened == {"action": "c2pa.opened", "parameters": {"ingredientIds": [parent("x", "y")["label"]]}}
    assert (resized["action"], resized["digitalSourceType"]) == ("c2pa.resized", ALGORITHMICALLY_ENHANCED)
    assert resized["parameters"] == {"org.tallystick.kernel": "lanczos3-fixed/v1"}
    assert (job["label"], job["data"]) == ("org.tallystick.job", CLAIM.assertion())


def test_other_work_is_an_edit() -> None:
    definition = manifest(replace(CLAIM, task_type=TaskType.COMMAND), "image/png")
    assert definition["assertions"][0]["data"]["actions"][1]["action"] == "c2pa.edited"


def test_selector_and_topic_are_those_of_the_standard() -> None:
    assert keccak256(erc7053.FUNCTION.encode())[:4] == erc7053.COMMIT_SELECTOR
    assert keccak256(erc7053.EVENT.encode()) == erc7053.COMMIT_TOPIC


def test_the_page_shows_what_the_code_computes() -> None:
    page = PAGE.read_text("utf-8")
    commit = anchor_commitment(NOTE)
    (note,) = re.findall(r"```text\n(.*?)```", page, re.DOTALL)
    (data,) = re.findall(r"```json\n(.*?)\n```", page, re.DOTALL)
    assert (note, data) == (NOTE, commit.commit_data)
    assert f"`assetCid`: `{commit.asset_cid}`" in page
    call = commit_calldata(commit)
    assert f"calldata: {len(call)} bytes, SHA-256 `{sha256(call).hex()}`" in page
    topic0, _, topic2 = commit_topics(bytes(20), commit.asset_cid)
    assert f"| `{topic0.hex()}` |" in page
    assert f"topic 2: `{topic2.hex()}`" in page
    assert f"| `{erc7053.COMMIT_SELECTOR.hex()}` |" in page


@pytest.mark.parametrize("length", [0, 1, 31, 32, 33, 64])
def test_arguments_of_every_length_are_padded_to_words(length: int) -> None:
    call = commit_calldata(Erc7053Commit("a" * length, "é" * length))
    assert decoded(call) == ["a" * length, "é" * length]
    assert len(call) % 32 == 4


def decoded(call: bytes) -> list[str]:
    """The two strings of ABI calldata, read by offset as a contract reads them."""
    body = call[4:]
    texts = []
    for argument in range(2):
        at = int.from_bytes(body[32 * argument : 32 * argument + 32], "big")
        size = int.from_bytes(body[at : at + 32], "big")
        texts.append(body[at + 32 : at + 32 + size].decode())
    return texts


def test_a_commit_is_read_back() -> None:
    assert read_commitment(anchor_commitment(NOTE)) == NOTE


def test_topics_find_the_recorders_commit_only() -> None:
    ours = commit_topics(b"\x01" * 20, "bafkrei")
    assert [len(topic) for topic in ours] == [32, 32, 32]
    assert ours[1] == bytes(12) + b"\x01" * 20
    assert ours != commit_topics(b"\x02" * 20, "bafkrei")
    with pytest.raises(ValueError, match="20 bytes"):
        commit_topics(b"\x01" * 19, "bafkrei")


def test_a_commit_for_another_checkpoint_is_refused() -> None:
    commit, other = anchor_commitment(NOTE), anchor_commitment(NOTE.replace("\n7\n", "\n8\n"))
    with pytest.raises(CommitmentError):
        read_commitment(replace(commit, asset_cid=other.asset_cid))
    with pytest.raises(CommitmentError):
        read_commitment(replace(other, commit_data=commit.commit_data))
    with pytest.raises(CommitmentError):  # both CIDs agree, the bytes do not
        read_commitment(replace(commit, commit_data=commit.commit_data.replace("\\n7\\n", "\\n8\\n")))
    with pytest.raises(CommitmentError):  # the argument is right, the copy inside is not
        read_commitment(replace(commit, commit_data=commit.commit_data.replace(commit.asset_cid, other.asset_cid)))


def test_commit_data_has_one_spelling() -> None:
    commit = anchor_commitment(NOTE)
    with pytest.raises(NotCanonicalError):
        read_commitment(replace(commit, commit_data=commit.commit_data.replace(":", ": ", 1)))
    for text in ("", "{}", "null", commit.commit_data.replace("anchor/v1", "anchor/v2"), "\ud800"):
        with pytest.raises(MalformedError):
            read_commitment(replace(commit, commit_data=text))
    with pytest.raises(MalformedError):
        read_commitment(replace(commit, asset_cid="Qm"))


@pytest.mark.parametrize("note", ["", "hello\n", NOTE[:-1], NOTE.replace("\n7\n", "\n07\n"), NOTE.split("\n\n")[0]])
def test_only_signed_checkpoints_are_anchored(note: str) -> None:
    with pytest.raises(MalformedError):
        anchor_commitment(note)
