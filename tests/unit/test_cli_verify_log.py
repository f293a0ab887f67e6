"""`tally verify` with the folder of a log: a real home's, whole, growing, copied badly, and bent by somebody."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from tallystick.audit import trust as trusts
from tallystick.cli.home import open_home
from tallystick.cli.verify import verify
from tests.cli.runs import picture, tally
from tests.history_world import TRUST, Shelf, honest_log, resigned, shelve
from tests.ledger_world import STRANGER

APP = typer.Typer()
APP.command()(verify)


@dataclass(frozen=True)
class Copy:
    """A folder of a log, and the keys to trust."""

    log: Path
    trust: Path

    def run(self, *more: object) -> Result:
        done = CliRunner().invoke(APP, [*map(str, more or (self.log,)), "--trust", str(self.trust)])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done

    def file(self, pattern: str) -> Path:
        """Return the newest file of a pattern: a partial tile is written for every size."""
        return max(self.log.glob(pattern), key=lambda path: (len(path.name), path.name))


def one_line(done: Result, words: str) -> None:
    assert done.exit_code == 2, done.output
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert words in done.stderr


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a home in which one job was done."""
    folder = tmp_path_factory.mktemp("used")
    done = tally("submit", "upscale", picture(folder / "p.png"), "--block", "16", cwd=folder)
    assert done.code == 0, done
    return folder


@pytest.fixture
def copy(used: Path, tmp_path: Path) -> Copy:
    shutil.copytree(used / "home" / "log", tmp_path / "log")
    shutil.copyfile(used / "home" / "trust.toml", tmp_path / "trust.toml")
    return Copy(tmp_path / "log", tmp_path / "trust.toml")


def lay_out(folder: Path, shelf: Shelf) -> Copy:
    for path, data in {**shelf.files, "checkpoint": shelf.checkpoint.encode(), "genesis.json": shelf.genesis}.items():
        (folder / "log" / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / "log" / path).write_bytes(data)
    (folder / "trust.toml").write_bytes(trusts.spell(TRUST))
    return Copy(folder / "log", folder / "trust.toml")


def test_a_real_homes_log_holds(copy: Copy) -> None:
    done = copy.run()
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert len(lines) == 9
    assert lines[0].startswith("[1/8] holds          genesis: chain tally-")
    assert "jobs: 1 published; open escrows: none" in lines[6]
    assert (lines[-1], done.stderr) == ("holds", "")


def test_json_has_the_form_of_a_bundles_answer(copy: Copy) -> None:
    answer = json.loads(copy.run(copy.log, "--json").stdout)
    assert list(answer) == ["result", "findings"]
    assert answer["result"] == "holds"
    assert [each["step"] for each in answer["findings"]] == list(range(1, 9))
    assert set(answer["findings"][0]) == {"step", "name", "result", "expected", "actual"}


def test_a_home_verifies_its_own_log_while_another_process_writes_there(used: Path) -> None:
    with open_home(used / "home"):
        done = tally("verify", used / "home" / "log", cwd=used)
    assert done.code == 0, done
    assert done.out.startswith("pinned keys: this home's own, ")


def test_a_home_publishes_its_genesis_and_writes_it_only_when_it_differs(used: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(used / "home", home)
    file = home / "log" / "genesis.json"
    before = (file.read_bytes(), file.stat().st_ino)
    with open_home(home) as opened:
        assert opened.store.genesis() == before[0]
    assert (file.read_bytes(), file.stat().st_ino) == before
    file.write_bytes(b"other")
    with open_home(home):
        assert file.read_bytes() == before[0]
    file.unlink()
    with open_home(home):
        assert file.read_bytes() == before[0]


def test_a_log_that_grew_after_its_checkpoint_was_read_holds(copy: Copy, used: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(used / "home", home)
    earlier = (copy.log / "checkpoint").read_bytes()
    held = int(earlier.split(b"\n")[1])
    picture(tmp_path / "q.png", 9, 6)
    assert tally("submit", "upscale", "q.png", cwd=tmp_path).code == 0
    grown = Copy(home / "log", copy.trust)
    size = int(grown.run().stdout.splitlines()[1].partition("checkpoint: ")[2].partition(" ")[0])
    assert size > held
    (home / "log" / "checkpoint").write_bytes(earlier)
    assert grown.run().exit_code == 0
    for path in (home / "log" / "tile").glob(f"*/000.p/{held}"):
        path.unlink()
    done = grown.run()
    assert done.exit_code == 0, done.output


def test_a_full_tile_stands_for_the_partial_one_of_a_smaller_checkpoint(tmp_path: Path) -> None:
    entries = honest_log(transfers=90)
    laid = lay_out(tmp_path, shelve(entries))
    (laid.log / "checkpoint").write_text(shelve(entries[:-3]).checkpoint, encoding="utf-8")
    assert laid.run().exit_code == 0
    sizes = [int(path.name) for path in (laid.log / "tile" / "entries").glob("001.p/*")]
    assert sizes == [len(entries) - 256]


def test_a_log_and_a_bundle_are_verified_each(copy: Copy, used: Path) -> None:
    done = copy.run(copy.log, used / "p@2x.png")
    assert done.exit_code == 0, done.output
    assert [line for line in done.stdout.splitlines() if line == "holds"] == ["holds", "holds"]
    assert str(copy.log) in done.stdout.splitlines()
    both = copy.run(copy.log, used / "p@2x.png", "--json").stdout.splitlines()
    assert [len(json.loads(line)["findings"]) for line in both] == [8, 21]
    again = copy.run(copy.log, used / "p@2x.png", used / "p.png", "--recompute")
    assert again.exit_code == 0, again.output


def test_recomputing_needs_a_bundle(copy: Copy) -> None:
    one_line(copy.run(copy.log, "--recompute"), "a log has none")
    assert json.loads(copy.run(copy.log, "--recompute", "--json").stdout)["error"]["type"] == "UsageError"


def test_a_folder_that_is_no_log_is_one_line(copy: Copy) -> None:
    one_line(copy.run(copy.log.parent), f"but {copy.log} does")
    one_line(copy.run(copy.log / "tile"), "is a folder and no log")


def test_a_log_without_its_genesis_cannot_be_told(copy: Copy) -> None:
    (copy.log / "genesis.json").unlink()
    one_line(copy.run(), "holds no genesis.json")


def test_a_foreign_genesis_does_not_hold(copy: Copy, tmp_path: Path) -> None:
    other = lay_out(tmp_path / "other", shelve(honest_log(transfers=1)))
    shutil.copyfile(other.log / "genesis.json", copy.log / "genesis.json")
    done = copy.run()
    assert done.exit_code == 1
    assert done.stdout.splitlines()[-1] == "does not hold (step 1)"


def test_another_homes_keys_do_not_hold(copy: Copy) -> None:
    copy.trust.write_bytes(trusts.spell(TRUST))
    done = copy.run()
    assert done.exit_code == 1
    assert done.stdout.splitlines()[-1] == "does not hold (step 1, 2)"


def test_no_flipped_byte_of_the_folder_exits_0(copy: Copy) -> None:
    for pattern in ("checkpoint", "genesis.json", "tile/entries/000.p/*", "tile/0/000.p/*"):
        path = copy.file(pattern)
        data = path.read_bytes()
        for position in (*range(4), *range(4, len(data), max(1, len(data) // 20)), len(data) - 1):
            flipped = bytearray(data)
            flipped[position] ^= 0x01
            path.write_bytes(flipped)
            assert copy.run().exit_code in {1, 2}, (pattern, position)
        path.write_bytes(data)
    assert copy.run().exit_code == 0


def test_files_cut_short_or_extended_never_exit_0(copy: Copy) -> None:
    for pattern in ("checkpoint", "genesis.json", "tile/entries/000.p/*", "tile/0/000.p/*"):
        path = copy.file(pattern)
        data = path.read_bytes()
        for other in (b"", data[:-1], data + b"\n", data * 2, b"\xff" * len(data), bytes(len(data))):
            path.write_bytes(other)
            assert copy.run().exit_code in {1, 2}, (pattern, len(other))
        path.write_bytes(data)


def test_tiles_that_were_not_copied_are_named(copy: Copy) -> None:
    copy.file("tile/entries/000.p/*").unlink()
    done = copy.run()
    assert done.exit_code == 2
    assert "the log shows no tile/entries/000.p/" in done.stdout
    assert "lag behind its checkpoint" in done.stdout
    shutil.rmtree(copy.log / "tile")
    assert copy.run().exit_code == 2


@pytest.mark.parametrize("pattern", ["checkpoint", "genesis.json", "tile/entries/000.p/*", "tile/0/000.p/*"])
def test_what_is_no_regular_file_is_not_read(copy: Copy, pattern: str) -> None:
    path = copy.file(pattern)
    data = path.read_bytes()
    makes = {
        path.mkdir: "cannot be read",
        lambda: os.mkfifo(path): "no regular file",
        lambda: path.symlink_to("/dev/zero"): "no regular file",
        lambda: _loop(path): "cannot be read",
    }
    for make, words in makes.items():
        path.unlink()
        make()
        done = copy.run()
        assert done.exit_code == 2
        assert words in done.output
        path.rmdir() if path.is_dir() else path.unlink()
        path.write_bytes(data)
    with path.open("wb") as file:
        file.truncate(1 << 40)
    done = copy.run()
    assert done.exit_code == 2
    assert "more than " in done.output


def _loop(path: Path) -> None:
    path.symlink_to(path.name)


def test_links_to_the_right_bytes_and_odd_names_are_harmless(copy: Copy) -> None:
    for pattern in ("checkpoint", "genesis.json", "tile/entries/000.p/*"):
        path = copy.file(pattern)
        aside = copy.log.parent / path.name
        path.rename(aside)
        path.symlink_to(aside)
    for name in (
        "tile/entries/000.p/0",
        "tile/entries/000.p/..x",
        "tile/0/-1",
        "tile/x/y",
        "\x1b[2J\n",
        "checkpoint.tmp",
    ):
        (copy.log / name).parent.mkdir(exist_ok=True)
        (copy.log / name).write_bytes(b"odd")
    (copy.log / "self").symlink_to(".")
    assert copy.run().exit_code == 0
    assert copy.run(copy.log / "self").exit_code == 0


def test_what_the_operator_bent_exits_1_and_names_the_step(tmp_path: Path) -> None:
    entries = honest_log(transfers=2)
    entries[-2] = resigned(entries[-2], STRANGER)
    done = lay_out(tmp_path, shelve(entries)).run()
    assert done.exit_code == 1
    assert done.stdout.splitlines()[-1] == "does not hold (step 5)"
