"""`tally submit upscale`: every spelling, what it writes, what it refuses, and that a refusal locks nothing."""

from __future__ import annotations

import errno
import json
import os
import pty
import re
import shutil
import struct
import subprocess
import zlib
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tallystick.adapters.pillow import decode_image
from tallystick.audit.bundle import parse
from tallystick.cli.exits import explain
from tallystick.cli.media import NamedDesk
from tallystick.job import parse_scale
from tallystick.kernels.lanczos import resample, target_size
from tests.cli.runs import PROGRAM, Done, environment, picture, supply, tally

SMALL = ("--block", "16")


@pytest.fixture(scope="module")
def ordered(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Done]:
    """One job, ordered with everything at its default but the size of its blocks."""
    folder = tmp_path_factory.mktemp("ordered")
    return folder, tally("submit", "upscale", picture(folder / "photo.png"), *SMALL, "--json", cwd=folder)


def test_the_document_has_the_published_fields(ordered: tuple[Path, Done]) -> None:
    folder, done = ordered
    assert done.code == 0, done
    assert sorted(done.json) == ["bundle", "costWei", "jobId", "labels", "output", "sidecar"]
    output = str(folder / "photo@2x.png")
    assert (done.json["output"], done.json["sidecar"]) == (output, f"{output}.c2pa")
    assert done.json["bundle"] == f"{output}.bundle.json"
    assert done.json["labels"] == ["copies: computed by the referee", "deterrence: none", "independence: none"]


def test_stdout_holds_one_document_and_the_log_goes_to_stderr(ordered: tuple[Path, Done]) -> None:
    _, done = ordered
    assert len(done.out.splitlines()) == 1
    steps = [line.split()[0] for line in done.err.splitlines() if "JobProgressUpdate" in line]
    assert steps == [f"[{number}/{len(steps)}]" for number in range(1, len(steps) + 1)]
    order = ["EscrowLocked", "JobSubmitted", "JobScheduled", "JobStarted", "SUBMIT_RESULT", "UploadsClosed"]
    order += ["ChallengeDrawn", "JobSettled", "JobCompleted", "ArtifactPublished"]
    places = [done.err.index(name) for name in order]
    assert places == sorted(places)
    [settled] = [line for line in done.err.splitlines() if "JobSettled" in line]
    assert "upheld" in settled
    assert "CPC paid" in settled
    assert "bafkrei" in settled
    assert " 0x" in settled


def test_the_price_stands_before_the_lock_with_its_parts(ordered: tuple[Path, Done]) -> None:
    _, done = ordered
    price = done.err.index("unused wei return")
    assert price < done.err.index("EscrowLocked")
    for part in ("work", "copies", "audits", "reserve"):
        assert part in done.err[:price]


def test_the_output_is_what_the_kernel_makes_of_the_input_whole(ordered: tuple[Path, Done]) -> None:
    folder, done = ordered
    source = decode_image((folder / "photo.png").read_bytes()).raster
    whole = resample(source.samples, (source.width * 2, source.height * 2))
    assert np.array_equal(decode_image(Path(done.json["output"]).read_bytes()).raster.samples, whole)


def test_the_cost_is_what_left_the_buyer(ordered: tuple[Path, Done]) -> None:
    folder, done = ordered
    document = supply(folder)
    left = sum(
        int(each["balanceWei"]) for each in document["accounts"] if each["name"] in {"coordinator", "operator A"}
    )
    operators = [each for each in document["accounts"] if each["name"].startswith("operator")]
    left += sum(int(each["balanceWei"]) for each in operators if each["name"] != "operator A")
    assert str(left) == done.json["costWei"]
    assert document["escrowWei"] == "0"


def test_every_worker_has_a_key_and_a_bond_of_its_own_and_one_operator(ordered: tuple[Path, Done]) -> None:
    document = supply(ordered[0])
    workers = document["workers"]
    assert len({each["key"] for each in workers}) == len(workers) == 3
    assert len({each["operator"] for each in workers}) == 1
    assert all(int(each["bondWei"]) > 0 for each in workers)
    assert not any(each["simulated"] for each in workers)


def test_the_result_holds_for_a_stranger_with_the_trust_file(ordered: tuple[Path, Done], tmp_path: Path) -> None:
    folder, done = ordered
    trust = tmp_path / "trust.toml"
    assert tally("keys", "trust", "--out", trust, cwd=folder).code == 0
    shown = [done.json[name] for name in ("bundle", "output", "sidecar")]
    found = tally("verify", *shown, "--trust", trust, "--json", cwd=tmp_path, home=tmp_path / "none")
    assert found.code == 0, found
    assert found.json["result"] == "holds"


def test_the_input_is_forgotten_and_no_block_stays(ordered: tuple[Path, Done]) -> None:
    home = ordered[0] / "home"
    assert list((home / "jobs").iterdir()) == []
    assert [path for path in (home / "blobs").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    ("scale", "name"),
    [("2", "@2x"), ("1.5", "@1.5x"), ("3/2", "@1.5x"), ("4/3", "@4-3x"), ("0.5", "@0.5x"), ("1", "@1x")],
)
def test_the_default_name_spells_the_scale(scale: str, name: str, tmp_path: Path) -> None:
    source = picture(tmp_path / "in.tar.png", 9, 6)
    done = tally("submit", "upscale", source.name, "--scale", scale, "--json", cwd=tmp_path)
    assert Path(done.json["output"]) == tmp_path / f"in.tar{name}.png"
    with Image.open(done.json["output"]) as made:
        assert made.size == tuple(target_size(size, parse_scale(scale)) for size in (9, 6))


def test_all_options_enter_the_signed_order(tmp_path: Path) -> None:
    picture(tmp_path / "p.png", 33, 21, "RGBA")
    words = "--scale 3/2 --out q.PNG --workers 7 --block 8 --placement spread --duplicates 0.25 --audit-rate 0.5 --yes"
    done = tally("submit", "upscale", "p.png", *words.split(), "--max-price", "1", "--json", cwd=tmp_path)
    assert done.code == 0, done
    bundle = parse((tmp_path / "q.PNG.bundle.json").read_bytes())
    entries = [json.loads(bytes(each.entry)) for each in bundle.entries]
    [spec] = [each["payload"]["spec"] for each in entries if each["type"] == "JobSubmitted"]
    assert (spec["task"]["scale"], spec["grid"]["block"], len(spec["pool"])) == ("3/2", 8, 7)
    policy = spec["policy"]
    assert (policy["audit"], policy["duplicates"], policy["placement"]) == (500_000, 250_000, "spread")
    assert spec["simulated"] is False


def test_a_hidden_order_says_what_it_does_not_protect_against(tmp_path: Path) -> None:
    picture(tmp_path / "p.png", 33, 21)
    done = tally("submit", "upscale", "p.png", *SMALL, "--placement", "hidden", cwd=tmp_path)
    assert done.code == 0, done
    said = " ".join(done.err.split())
    assert "nothing is hidden among them: the referee computes the copies" in said
    assert re.search(r"meets m forged ones of (\d+) with m/\1", said)
    assert re.search(r"\d+ copies \([0-9.]+ %, hidden\)", said)
    bundle = parse((tmp_path / "p@2x.png.bundle.json").read_bytes())
    entries = [json.loads(bytes(each.entry)) for each in bundle.entries]
    [policy] = [each["payload"]["spec"]["policy"] for each in entries if each["type"] == "JobSubmitted"]
    assert (policy["placement"], policy["duplicates"]) == ("hidden", 0)
    found = tally("verify", "p@2x.png", cwd=tmp_path)
    assert found.code == 0, found


def test_at_audit_rate_one_every_block_is_recomputed_and_nothing_is_duplicated(tmp_path: Path) -> None:
    picture(tmp_path / "p.png")
    done = tally("submit", "upscale", "p.png", *SMALL, "--audit-rate", "1", cwd=tmp_path)
    assert done.code == 0, done
    assert "0 copies (0 %)" in done.err
    assert "recomputed 40 of 40 blocks (40 drawn by the challenge)" in done.out


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(width: int, height: int, depth: int, colour: int, rows: bytes) -> bytes:
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + _chunk(b"IDAT", zlib.compress(rows)) + _chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "the file is empty"),
        (b"I am a text file, whatever my name says\n", "no PNG, JPEG, WebP, BMP or GIF"),
        (_png(1_000_000, 1_000_000, 8, 2, b""), "scale it down first"),
        (_png(4, 4, 16, 2, bytes(4 * 25)), "16-bit colour"),
        (_png(4, 4, 16, 4, bytes(4 * 17)), "16-bit grey with alpha"),
        (_png(50, 50, 8, 2, bytes(9)), "damaged or incomplete"),
    ],
    ids=["empty", "text", "huge", "rgb16", "grey-alpha16", "truncated"],
)
def test_a_hostile_input_is_one_line_and_locks_nothing(data: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(data)
    tally("submit", "upscale", "x.png", cwd=tmp_path).refused(2, words)
    assert tally("jobs", "--json", cwd=tmp_path).json == {"jobs": []}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "x.png"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("nowhere.png", "nowhere.png is not there"),
        (".", "is a folder"),
        ("/dev/zero", "no regular file"),
        ("p.png --out q.jpg", "must end in .png"),
        ("p.png --out nowhere/q.png", "is not there: make it first"),
        ("p.png --out /proc/q.png", "/proc cannot be written"),
        ("p.png --out p.png", "is the input, which is never overwritten"),
        ("p.png --out ./sub/../p.png", "is the input, which is never overwritten"),
        ("p.png --out link.png", "is the input, which is never overwritten"),
        ("p.png --scale 0", "out of range"),
        ("p.png --scale 1e2", "is not a ratio: write 2, 1.5 or 3/2"),
        ("p.png --scale 1/0", "is not a number"),
        ("p.png --scale=-2", "is not a ratio"),
        ("p.png --placement best", "write spread or hidden"),
        ("p.png --duplicates 62500", "between 0 and 1, such as 0.0625"),
        ("p.png --audit-rate 2", "between 0 and 1, such as 0.13"),
        ("p.png --audit-rate 1.000001", "between 0 and 1"),
        ("p.png --audit-rate 0.0000001", "at most 6 decimals"),
        ("p.png --audit-rate=-0.1", "not a number"),
        ("p.png --max-price cheap", "no amount"),
        ("p.png --workers 0", "--workers"),
        ("p.png --workers 129", "--workers"),
        ("p.png --block 7", "--block"),
        ("p.png --block 4097", "--block"),
        ("p.png --colour", "No such option"),
        ("p.png --minutes 5", "--minutes is about the workers of a node"),
        ("p.png --workers-least 1", "--workers-least is about the workers of a node"),
    ],
)
def test_wrong_usage_is_one_line_and_makes_nothing(words: str, said: str, tmp_path: Path) -> None:
    picture(tmp_path / "p.png", 9, 6)
    (tmp_path / "sub").mkdir()
    (tmp_path / "link.png").symlink_to("p.png")
    before = (tmp_path / "p.png").read_bytes()
    tally("submit", "upscale", *words.split(), cwd=tmp_path).refused(2, said)
    assert (tmp_path / "p.png").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.png", "p.png", "sub"]


def test_what_cannot_be_planned_is_refused_before_anything_is_logged(tmp_path: Path) -> None:
    picture(tmp_path / "p.png", 9, 6)
    words = ("--placement", "hidden", "--duplicates", "0.1")
    tally("submit", "upscale", "p.png", *words, cwd=tmp_path).refused(2, "goes with --placement spread")
    tally("submit", "upscale", "p.png", "--scale", "1000", "--block", "8", cwd=tmp_path).refused(2, "use a block side")
    document = supply(tmp_path)
    assert (document["workers"], document["escrowWei"]) == ([], "0")


def test_an_error_is_a_document_where_json_was_asked_for(tmp_path: Path) -> None:
    done = tally("submit", "upscale", "nowhere.png", "--json", cwd=tmp_path)
    assert done.error == {"type": "UsageError", "message": "nowhere.png is not there"}
    assert tally("submit", "upscale", "--json", "--colour", cwd=tmp_path).error["type"] == "UsageError"


def test_over_the_most_it_may_cost_nothing_is_locked(tmp_path: Path) -> None:
    picture(tmp_path / "p.png")
    done = tally("submit", "upscale", "p.png", "--max-price", "0.000000001", "--json", cwd=tmp_path)
    done.refused(1, "nothing was locked")
    assert done.error["type"] == "PriceError"
    assert tally("jobs", "--json", cwd=tmp_path).json == {"jobs": []}
    assert supply(tmp_path)["workers"] == []


def test_a_file_that_somebody_else_put_there_is_not_overwritten_by_default(tmp_path: Path) -> None:
    picture(tmp_path / "p.png", 9, 6)
    (tmp_path / "p@2x.png").write_bytes(b"mine")
    tally("submit", "upscale", "p.png", cwd=tmp_path).refused(2, "is there already, and not from tally")
    assert (tmp_path / "p@2x.png").read_bytes() == b"mine"
    done = tally("submit", "upscale", "p.png", "--out", "p@2x.png", cwd=tmp_path)
    assert done.code == 0
    assert "Output  p@2x.png (replaces the file there)" in done.err
    assert tally("submit", "upscale", "p.png", cwd=tmp_path).code == 0


@pytest.mark.parametrize(("answer", "code", "jobs"), [("n\n", 1, 0), ("\n", 0, 1), ("y\n", 0, 1), ("what\n", 1, 0)])
def test_a_person_is_asked_and_can_say_no(answer: str, code: int, jobs: int, tmp_path: Path) -> None:
    picture(tmp_path / "p.png", 9, 6)
    ours, theirs = pty.openpty()
    words = [*PROGRAM, "submit", "upscale", "p.png"]
    with subprocess.Popen(
        words, cwd=tmp_path, env=environment(tmp_path / "home"), stdin=theirs, stdout=theirs, stderr=subprocess.PIPE
    ) as process:
        os.close(theirs)
        os.write(ours, answer.encode())
        _, error = process.communicate(timeout=60)
    os.close(ours)
    assert process.returncode == code, error
    assert b"[Y/n]" in error
    assert (b"nothing was locked" in error) is (code == 1)
    assert len(tally("jobs", "--json", cwd=tmp_path).json["jobs"]) == jobs


def test_with_yes_a_person_is_not_asked(tmp_path: Path) -> None:
    picture(tmp_path / "p.png", 9, 6)
    ours, theirs = pty.openpty()
    words = [*PROGRAM, "submit", "upscale", "p.png", "--yes"]
    done = subprocess.run(
        words,
        cwd=tmp_path,
        env=environment(tmp_path / "home"),
        stdin=theirs,
        stdout=theirs,
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
    )
    os.close(theirs)
    os.close(ours)
    assert done.returncode == 0
    assert b"[Y/n]" not in done.stderr


def test_the_money_is_named_before_and_adds_up_after(tmp_path: Path) -> None:
    picture(tmp_path / "-rf.png", 64, 64)
    done = tally("submit", "upscale", "./-rf.png", "--block", "16", "--workers", "2", cwd=tmp_path)
    assert done.code == 0, done
    assert done.err.count("development ledger: play money from this home's own faucet") == 1
    assert "Output  ./-rf@2x.png\n" in done.err
    [check] = [line.split("  ", 1)[1] for line in done.out.splitlines() if line.startswith("Check it")]
    ran = subprocess.run(["bash", "-c", check], cwd=tmp_path, env=environment(tmp_path / "home"), check=False)
    assert ran.returncode == 0
    rows = [line for line in done.out.splitlines() if line.startswith(("worker ", "referee "))]
    assert [row.split()[0] for row in rows] == ["worker", "worker", "referee"]
    assert "computed" in rows[2]
    paid = [Fraction(re.findall(r"([0-9.]+) CPC", row)[0]) for row in rows]
    [cost] = [line for line in done.out.splitlines() if line.startswith("Cost")]
    assert abs(sum(paid) - Fraction(re.findall(r"([0-9.]+) CPC", cost)[0])) < Fraction(4, 10**9)
    assert paid[2] > 0


def test_one_copy_is_no_copies(tmp_path: Path) -> None:
    picture(tmp_path / "p.png")
    done = tally("submit", "upscale", "p.png", "--duplicates", "0.1", "--block", "40", cwd=tmp_path)
    assert "; 1 copy (10 %); " in done.err, done.err


def test_a_large_picture_is_announced_in_a_pipe(tmp_path: Path) -> None:
    Image.new("L", (4096, 1025)).save(tmp_path / "p.png")
    done = tally("submit", "upscale", "p.png", "--block", "1024", "--out", "o.png", cwd=tmp_path)
    assert done.code == 0, done
    assert done.err.count("writing o.png …") == 1
    assert done.err.index("JobSettled") < done.err.index("writing o.png …") < done.err.index("JobCompleted")
    picture(tmp_path / "q.png", 9, 6)
    assert "writing" not in tally("submit", "upscale", "q.png", cwd=tmp_path).err


def test_a_full_disk_is_named_by_the_output_and_nothing_is_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = tmp_path / "scratch", tmp_path / "out.png"
    source.write_bytes(b"picture")

    def other_system(_: Path, __: Path) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    def full(origin: str, copied: str) -> None:
        Path(copied).write_bytes(b"pic")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), origin, None, copied)

    monkeypatch.setattr(Path, "replace", other_system)
    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(OSError, match="No space left") as caught:
        NamedDesk().replace(str(source), str(target))
    assert explain(caught.value) == f"{target}: No space left on device"
    assert list(tmp_path.iterdir()) == [source]
