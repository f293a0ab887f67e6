"""The shipped samples answer as the README says: a good bundle holds, a tampered one does not."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SAMPLES = Path(__file__).resolve().parent.parent.parent / "docs" / "samples"


def verify(*names: str, folder: Path = SAMPLES) -> tuple[int, dict[str, object]]:
    paths = [str(folder / name) if "." in name else name for name in names]
    command = [sys.executable, "-m", "tallystick", "verify", *paths, "--trust", str(folder / "trust.toml"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, json.loads(done.stdout)


@pytest.mark.parametrize(
    "names",
    [
        ("good.png.bundle.json",),
        ("good.png",),
        ("good.png.bundle.json", "good.png", "good.png.c2pa"),
        ("good.png", "photo.png", "--recompute"),
    ],
)
def test_the_good_sample_holds(names: tuple[str, ...]) -> None:
    code, answer = verify(*names)
    assert (code, answer["result"]) == (0, "holds"), answer


def test_the_tampered_sample_does_not_hold() -> None:
    code, answer = verify("tampered.bundle.json")
    assert (code, answer["result"]) == (1, "does-not-hold"), answer


def test_the_tampered_sample_differs_in_one_amount_only() -> None:
    good = json.loads((SAMPLES / "good.png.bundle.json").read_bytes())
    bad = json.loads((SAMPLES / "tampered.bundle.json").read_bytes())
    settled = [
        next(each["entry"] for each in bundle["entries"] if each["entry"]["type"] == "JobSettled")["payload"]
        for bundle in (good, bad)
    ]
    differing = [
        (one["amount"], two["amount"])
        for one, two in zip(settled[0]["lines"], settled[1]["lines"], strict=True)
        if one != two
    ]
    assert len(differing) == 1
    assert int(differing[0][1]) == int(differing[0][0]) + 1


def test_another_home_does_not_vouch_for_the_good_sample(tmp_path: Path) -> None:
    for name in ("good.png.bundle.json", "trust.toml"):
        shutil.copy(SAMPLES / name, tmp_path / name)
    trust = tmp_path / "trust.toml"
    text = trust.read_text()
    origin = next(line for line in text.splitlines() if line.startswith("chain_id"))
    trust.write_text(text.replace(origin, 'chain_id = "tally-dev-0123456789abcdef"'))
    code, answer = verify("good.png.bundle.json", folder=tmp_path)
    assert (code, answer["result"]) == (1, "does-not-hold"), answer
