"""`tally demo`: with nobody lying, one, two and all three; it tells, proves and breaks what it says."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tallystick.cli.ending import outcome, show
from tallystick.cli.lifecycle import Cast
from tallystick.cli.screen import Screen
from tests.cli.runs import Done, environment, picture, tally

ANCHOR = "anchor: self: eip155:7053" if find_spec("pyrevm") else "anchor: not anchored"


def play(folder: Path, *words: str) -> Done:
    """Run the demonstration where no other home may be touched."""
    return tally("demo", *words, cwd=folder, home=folder / "untouched")


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Done]:
    """The demonstration without arguments, as a person reads it."""
    folder = tmp_path_factory.mktemp("told")
    return folder, play(folder)


def test_it_ends_well_and_says_what_happened(told: tuple[Path, Done]) -> None:
    _, done = told
    assert done.code == 0, done
    for words in (
        "1 of them lying",
        "simulated",
        "JobSettled",
        "of worker 1 refuted: wrong bytes",
        "The ledger still sums to 1000000000 CPC",
        ANCHOR,
        "=> holds",
        "=> does not hold",
        "Try next",
    ):
        assert words in done.out
    assert done.out.index("=> holds") < done.out.index("=> does not hold")
    assert done.err == ""


def test_it_has_a_home_of_its_own(told: tuple[Path, Done]) -> None:
    folder, _ = told
    assert not (folder / "untouched").exists()
    assert (folder / "tally-demo" / "home" / "trust.toml").is_file()


def test_the_three_commands_at_its_end_work_when_pasted(told: tuple[Path, Done]) -> None:
    folder, done = told
    commands = [line.strip() for line in done.out.split("Try next\n")[1].splitlines() if line.strip()]
    assert len(commands) == 3
    for command in commands:
        ran = subprocess.run(
            shlex.split(command), cwd=folder, env=environment(folder / "mine"), capture_output=True, check=False
        )
        assert ran.returncode == 0, (command, ran.stderr)


@pytest.fixture(scope="module", params=[0, 1, 2, 3])
def played(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[int, Any]:
    """The document of a demonstration with so many liars."""
    folder = tmp_path_factory.mktemp("played")
    done = play(folder, "--dishonest", str(request.param), "--json", "--out", "here")
    assert done.code == 0, done
    return request.param, done.json


def test_liars_are_refuted_unpaid_and_slashed_and_nobody_else_is(played: tuple[int, Any]) -> None:
    liars, document = played
    for seat, worker in enumerate(document["workers"]):
        lied = seat < liars
        assert (worker["refuted"] > 0) is lied
        assert (worker["paidWei"] == "0") is lied
        assert (worker["slashedWei"] != "0") is lied
    named = {each["worker"] for each in document["refuted"]}
    assert named == {worker["key"] for worker in document["workers"][:liars]}
    assert {each["reason"] for each in document["refuted"]} <= {"reference-differs"}


def test_the_result_holds_and_the_broken_copy_does_not(played: tuple[int, Any]) -> None:
    _, document = played
    assert (document["verified"], document["tampered"]["verified"]) == ("holds", "does-not-hold")
    assert document["simulated"] is True
    assert "simulated: true" in document["labels"]
    whole, broken = (Path(path).read_bytes() for path in (document["output"], document["tampered"]["output"]))
    different = [place for place, (one, other) in enumerate(zip(whole, broken, strict=True)) if one != other]
    assert different == [document["tampered"]["byte"]]


def test_the_checkpoint_is_anchored_on_a_chain_of_its_own_or_says_that_it_is_not(played: tuple[int, Any]) -> None:
    _, document = played
    bundle = json.loads(Path(document["bundle"]).read_bytes())
    anchors = [each["logged"]["entry"]["payload"] for each in bundle.get("anchors", [])]
    if find_spec("pyrevm") is None:
        assert (document["anchored"], anchors) == (None, [])
        return
    assert document["anchored"] == "eip155:7053"
    [anchored] = anchors
    assert anchored["chain"] == "eip155:7053"
    assert anchored["size"] > max(each["index"] for each in bundle["entries"])


def test_three_operators_answer_for_three_workers(played: tuple[int, Any]) -> None:
    _, document = played
    entries = [each["entry"] for each in json.loads(Path(document["bundle"]).read_bytes())["entries"]]
    registered = [each["payload"] for each in entries if each["type"] == "NodeRegistered"]
    assert len({each["operator"] for each in registered}) == len({each["payout"] for each in registered}) == 3
    assert all(each["simulated"] for each in registered)
    [spec] = [each["payload"]["spec"] for each in entries if each["type"] == "JobSubmitted"]
    assert (spec["simulated"], spec["policy"]["audit"], spec["policy"]["duplicates"]) == (True, 1_000_000, 62_500)


def test_the_referee_recomputed_everything(played: tuple[int, Any]) -> None:
    _, document = played
    assert document["refereeBlocks"] == document["blocks"]


def test_three_liars_change_no_byte_of_the_picture(told: tuple[Path, Done], tmp_path: Path) -> None:
    done = play(tmp_path, "--dishonest", "3")
    assert done.code == 0
    assert "the referee computed everything" in done.out
    assert "the honest are paid" in told[1].out
    assert "the honest are paid" not in done.out
    assert re.search(r"^referee .* 30 computed +~0\.0014 CPC$", done.out, re.MULTILINE), done.out
    assert "Cost     ~0.0014 CPC of " in done.out
    bundles = (folder / "tally-demo" / "picture@2x.png.bundle.json" for folder in (told[0], tmp_path))
    assert len({json.loads(path.read_bytes())["disclosures"]["output"]["value"] for path in bundles}) == 1


def test_twice_in_one_folder_makes_two_jobs(tmp_path: Path) -> None:
    first, second = (play(tmp_path, "--json").json for _ in range(2))
    assert first["jobId"] != second["jobId"]
    listed = tally("jobs", "--json", cwd=tmp_path, home=tmp_path / "tally-demo" / "home").json["jobs"]
    assert [each["jobId"] for each in listed] == [first["jobId"], second["jobId"]]
    assert [each["state"] for each in listed] == ["published", "published"]


def test_a_picture_of_ones_own_may_be_tiny(tmp_path: Path) -> None:
    source = picture(tmp_path / "mine.png", 1, 1, "L")
    done = play(tmp_path, "--input", str(source), "--json")
    assert done.code == 0, done
    assert Path(done.json["output"]) == tmp_path / "tally-demo" / "mine@2x.png"
    assert done.json["input"] == str(source)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--dishonest 4", "--dishonest"),
        ("--dishonest -1", "--dishonest"),
        ("--input nowhere.png", "nowhere.png is not there"),
        ("--out file", "cannot be used"),
        ("--out /proc/demo", "cannot be used"),
    ],
)
def test_wrong_usage_is_one_line(words: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    play(tmp_path, *words.split()).refused(2, said)


def test_a_narrow_terminal_is_filled_and_not_overrun(tmp_path: Path) -> None:
    done = tally("demo", cwd=tmp_path, home=tmp_path / "untouched", COLUMNS="80")
    story, _ = done.out.split("6  What you have now")
    assert max(map(len, story.splitlines())) <= 80


def test_what_the_referee_got_out_of_bonds_stands_apart_from_what_the_buyer_paid(
    told: tuple[Path, Done], capsys: pytest.CaptureFixture[str]
) -> None:
    output = told[0] / "tally-demo" / "picture@2x.png"
    ended = outcome("job", str(output), output.with_name(f"{output.name}.bundle.json").read_bytes())
    assert ended.fee_from_slashes == 0
    burned, fee = int(ended.settled.burned) - 10**15, int(ended.settled.referee_fee) + 10**15
    settled = msgspec.structs.replace(ended.settled, burned=str(burned), referee_fee=str(fee))
    show(Screen(as_json=False), replace(ended, settled=settled), Cast())
    shown = capsys.readouterr().out
    assert re.search(r"computed +~0\.0014 CPC\n +from bonds +0\.001 CPC\n", shown), shown
