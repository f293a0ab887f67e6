"""`tally anchor` on a home's own chain: what it does, says and remembers; tests/conformance asks a real node."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import msgspec
import pytest

from tallystick.adapters.embedded_chain import CHAIN_ID
from tallystick.anchoring.erc7053 import EMBEDDED_CHAIN
from tallystick.audit.bundle import Bundle, parse
from tallystick.cli.chains import Asked, _fee, address, target_of
from tallystick.cli.home import locked
from tallystick.cli.node_file import Standing, announced
from tallystick.errors import UsageError
from tallystick.ledger.payloads import StakeDeposited
from tallystick.ledger.transactions import decode
from tallystick.node.anchor_outbox import Target
from tallystick.node.identity import Identity
from tests.cli.runs import picture, tally
from tests.demand import demand_pyrevm
from tests.node_process import serving

CONTRACT = "0x7EC2F14ABE8b0Ea2F657bBb62b6fEfDe161c9001"


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with one finished job."""
    folder = tmp_path_factory.mktemp("used")
    picture(folder / "p.png", 24, 16)
    assert tally("submit", "upscale", "p.png", "--block", "16", "--yes", cwd=folder).code == 0
    return folder


@pytest.fixture
def folder(used: Path, tmp_path: Path) -> Path:
    shutil.copytree(used, tmp_path / "folder")
    return tmp_path / "folder"


def test_the_two_rooms_that_know_the_embedded_chains_name_agree() -> None:
    assert f"eip155:{CHAIN_ID}" == EMBEDDED_CHAIN


def test_a_home_anchors_on_its_own_chain_once(folder: Path) -> None:
    demand_pyrevm()
    before = tally("anchor", "status", "--json", cwd=folder).json
    assert (before["newest"], before["waitingEntries"] > 9) == (None, True)
    first = tally("anchor", "--json", cwd=folder).json
    assert (first["anchored"], first["chain"], first["waitingEntries"]) == (True, EMBEDDED_CHAIN, 0)
    second = tally("anchor", "--json", cwd=folder)
    assert (second.code, second.json["anchored"]) == (0, False)
    assert second.json["newest"] == first["newest"]
    assert second.json["recorder"] == before["recorder"] == first["newest"]["recorder"]
    assert tally("verify", "home/log", cwd=folder).out.count("self: eip155:7053") == 1


def test_a_bundle_that_is_written_again_after_another_job_still_carries_its_anchor(folder: Path) -> None:
    demand_pyrevm()
    anchored = tally("anchor", cwd=folder)
    assert "bundle JOB --out OUT.bundle.json` writes it again" in anchored.out.splitlines()[-1]
    job = tally("jobs", "--json", cwd=folder).json["jobs"][0]["jobId"]

    def written(name: str) -> tuple[Bundle, str]:
        assert tally("bundle", job, "--out", name, cwd=folder).code == 0
        done = tally("verify", name, cwd=folder)
        assert done.code == 0, done
        return parse((folder / name).read_bytes()), done.out

    before, said = written("before.json")
    assert "anchor: self: eip155:7053" in said
    picture(folder / "larger.png", 512, 512)
    assert tally("submit", "upscale", "larger.png", "--block", "16", "--yes", cwd=folder).code == 0
    log = [decode(bytes(each.entry)) for each in before.entries]
    workers = {each.sender for each in log if isinstance(each.payload, StakeDeposited)}
    assert workers
    other = next(each["jobId"] for each in tally("jobs", "--json", cwd=folder).json["jobs"] if each["jobId"] != job)
    assert tally("bundle", other, "--out", "other.json", cwd=folder).code == 0
    later = [
        each.index
        for each in parse((folder / "other.json").read_bytes()).entries
        if isinstance((said := decode(bytes(each.entry))).payload, StakeDeposited) and said.sender in workers
    ]
    assert max(later) > before.anchors[0].logged.index, "the second job raised no bond: this test shows nothing"
    after, said = written("after.json")
    assert "anchor: self: eip155:7053" in said
    assert [each.index for each in after.entries] == [each.index for each in before.entries]
    assert [each.logged.index for each in after.anchors] == [each.logged.index for each in before.anchors]


def test_an_empty_log_has_nothing_to_anchor(tmp_path: Path) -> None:
    done = tally("anchor", "--json", cwd=tmp_path)
    assert (done.code, done.json["anchored"]) == (0, False)
    tally("anchor", "status", cwd=tmp_path / "home", home=tmp_path / "nowhere").refused(2, "there is no home")


def test_a_policy_is_remembered(folder: Path) -> None:
    assert tally("anchor", "policy", "--json", cwd=folder).json == {"policy": "off"}
    assert tally("anchor", "policy", "250", cwd=folder).out == "every 250 entries\n"
    assert tally("anchor", "status", "--json", cwd=folder).json["policy"] == "250"
    tally("anchor", "policy", "never", cwd=folder).refused(2, "is no anchoring policy")


def test_a_node_that_works_in_the_home_is_asked_and_the_screen_is_the_same(folder: Path, tmp_path: Path) -> None:
    demand_pyrevm()
    shutil.copytree(folder, tmp_path / "alone")
    alone = tally("anchor", "--json", cwd=tmp_path / "alone").json
    with serving(folder / "home") as node:
        assert tally("anchor", "policy", "5000", cwd=folder).out == "every 5000 entries\n"
        assert tally("anchor", "policy", "off", "--json", cwd=folder).json == {"policy": "off"}
        assert tally("anchor", "policy", "--json", cwd=folder).json == {"policy": "off"}
        tally("anchor", "policy", "never", cwd=folder).refused(2, "is no anchoring policy")
        first = tally("anchor", "--embedded", "--json", cwd=folder)
        assert (first.code, first.json["anchored"], first.json["rpc"]) == (0, True, None), first
        assert sorted(first.json) == sorted(alone)
        assert sorted(first.json["newest"]) == sorted(alone["newest"])
        second = tally("anchor", cwd=folder)
        assert second.code == 0, second
        assert second.out.startswith("nothing new to anchor")
        assert tally("anchor", "status", "--json", cwd=folder).json["newest"] == first.json["newest"]
        served = tally("anchor", "status", cwd=folder).out
        tally("anchor", "--fee-cap", "5", cwd=folder).refused(2, "name the chain: --rpc URL")
        assert node.stop() == 0
    assert tally("anchor", "status", cwd=folder).out == served


def test_a_node_that_is_asked_and_does_not_answer_is_named(folder: Path) -> None:
    with locked(folder / "home"), announced(folder / "home", Standing("http://127.0.0.1:9", os.getpid(), 1)):
        tally("anchor", "status", cwd=folder).refused(1, "127.0.0.1:9 does not answer GET")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--contract", CONTRACT), "name the chain: --rpc URL"),
        (("--deploy",), "name the chain: --rpc URL"),
        (("--fee-cap", "5"), "name the chain: --rpc URL"),
        (("--rpc", "ftp://x"), "must be http:// or https://"),
        (("--embedded", "--rpc", "http://x"), "goes with no other option"),
        (("--rpc", "http://127.0.0.1:9", "--fee-cap", "cheap"), "no number of gwei"),
    ],
)
def test_words_that_name_no_chain_change_nothing(folder: Path, words: tuple[str, ...], said: str) -> None:
    tally("anchor", *words, cwd=folder).refused(2, said)
    assert tally("anchor", "status", "--json", cwd=folder).json["embedded"] is True


@pytest.mark.parametrize(
    ("text", "wei"), [("1", 10**9), ("0.5", 5 * 10**8), ("500", 5 * 10**11), ("0.000000001", 1), ("2.50", 25 * 10**8)]
)
def test_a_fee_cap_is_read_in_gwei(text: str, wei: int) -> None:
    assert _fee(text) == wei


@pytest.mark.parametrize("text", ["", "0", "-1", "1e9", ".5", "1.", "1.0000000001", "9" * 20, "٣", "1_0", "0.0"])
def test_what_is_no_fee_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        _fee(text)


def test_an_address_may_be_spelled_small_and_otherwise_carries_its_checksum() -> None:
    assert address(CONTRACT) == address(CONTRACT.lower()) == CONTRACT
    for wrong in (CONTRACT.upper(), CONTRACT[:-1], CONTRACT[2:], CONTRACT.replace("7EC2", "7eC2"), ""):
        with pytest.raises(UsageError):
            address(wrong)


def test_terms_change_without_asking_the_chain_and_the_own_chain_forgets_the_other() -> None:
    kept, identity = Target("http://one.example", "eip155:1", CONTRACT, None, 3, 77), Identity(bytes(32))
    changed = target_of(Asked(fee_cap="7", confirmations=9), kept, identity)
    assert changed == msgspec.structs.replace(kept, fee_cap=str(7 * 10**9), confirmations=9)
    assert target_of(Asked(embedded=True), kept, identity) == Target()
