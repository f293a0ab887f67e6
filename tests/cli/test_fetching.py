"""The files of an order that somebody else gave, or that one was kept from waiting for."""

from __future__ import annotations

import shlex
import signal
from pathlib import Path

import pytest

from tallystick.cli.asking import target_of
from tallystick.errors import UsageError
from tests.cli.runs import Running, picture, tally
from tests.machines import working
from tests.node_process import serving

SMALL = ("--block", "16")


def test_an_interrupted_order_says_how_its_files_are_fetched_and_they_verify(tmp_path: Path) -> None:
    source = picture(tmp_path / "photo.png")
    with serving(tmp_path / "node") as node:
        running = Running("submit", "upscale", source, *SMALL, "--node", node.url, cwd=tmp_path)
        running.stop_at("no worker is connected")
        done = running.send(signal.SIGINT, signal.SIGCONT)
        assert done.code == 130, done
        assert "Traceback" not in done.err
        said = next(line for line in done.err.splitlines() if line.startswith("interrupted; job "))
        words = shlex.split(said.partition("`")[2].partition("`")[0])
        words = words[words.index("watch") :]
        assert words[2:4] == ["--out", "photo@2x.png"]
        with working(tmp_path, node.url, 2):
            fetched = tally(*words, "--json", cwd=tmp_path)
            assert fetched.code == 0, fetched
        assert fetched.json["output"] == str(tmp_path / "photo@2x.png")
        assert {"sidecar", "bundle", "costWei", "trust", "node"} <= set(fetched.json)
        checked = tally("verify", "photo@2x.png", "--trust", fetched.json["trust"], cwd=tmp_path)
        assert checked.code == 0, checked
        plain = tally("watch", words[1], "--node", node.url, cwd=tmp_path)
        assert plain.code == 0, plain
        assert "--out photo@2x.png" in plain.out
        told = tally("watch", words[1], "--node", node.url, "--out", "again.png", cwd=tmp_path)
        assert told.code == 0, told
        for word in ("WORKER", "Cost", "Sidecar", "Bundle", "Trust", "Check it"):
            assert word in told.out
        assert (tmp_path / "again.png").read_bytes() == (tmp_path / "photo@2x.png").read_bytes()
        tally("watch", words[1], "--node", node.url, "--out", "a.jpg", cwd=tmp_path).refused(2, "must end in .png")


def test_a_place_for_files_is_looked_at_before_anything_travels(tmp_path: Path) -> None:
    assert target_of(tmp_path / "x.png") == tmp_path / "x.png"
    (tmp_path / "y.png.bundle.json").mkdir()
    for name, words in (("x.jpg", "must end in"), ("nowhere/x.png", "is not there"), ("y.png", "is a folder")):
        with pytest.raises(UsageError, match=words):
            target_of(tmp_path / name)
