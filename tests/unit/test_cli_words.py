"""What people type and read: rates, ratios, names, amounts."""

from __future__ import annotations

import errno
import os
from fractions import Fraction
from pathlib import Path

import pytest

from tallystick.adapters.desk import FolderDesk
from tallystick.adapters.sqlite import SqliteStore
from tallystick.cli import exits, words
from tallystick.cli.asking import amount, new_job_id, rate, read_scale, spell_scale
from tallystick.errors import (
    HomeError,
    IncompleteError,
    KeystoreError,
    MalformedError,
    PriceError,
    RuleError,
    StoreError,
    UsageError,
    VerificationError,
)


@pytest.mark.parametrize(
    ("text", "ppm"),
    [
        ("0", 0),
        ("1", 1_000_000),
        ("0.13", 130_000),
        (".5", 500_000),
        ("1.0", 1_000_000),
        ("0.000001", 1),
        ("1.", 10**6),
    ],
)
def test_a_rate_is_read_exactly(text: str, ppm: int) -> None:
    assert rate(text, "--rate") == ppm


@pytest.mark.parametrize(
    "text",
    ["", ".", "1.000001", "2", "-0", "+1", "1e-1", "nan", "inf", "0.0000001", "1/2", " 1", "1\n", "\u0660", "0,5"],
)
def test_another_rate_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--rate"):
        rate(text, "--rate")


@pytest.mark.parametrize(("text", "ratio"), [("2", 2), ("1.5", Fraction(3, 2)), ("3/2", Fraction(3, 2)), ("0.1", 0.1)])
def test_a_scale_is_a_ratio(text: str, ratio: float) -> None:
    assert float(read_scale(text)) == float(ratio)


@pytest.mark.parametrize("text", ["", "0", "1e2", "-2", "+2", "2x", "1_0", " 2", "2\n", "3 / 2", "1001", "\u0662"])
def test_another_scale_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--scale"):
        read_scale(text)


@pytest.mark.parametrize(
    ("ratio", "name"),
    [
        (Fraction(2), "2"),
        (Fraction(100), "100"),
        (Fraction(3, 2), "1.5"),
        (Fraction(1, 8), "0.125"),
        (Fraction(1, 1000), "0.001"),
        (Fraction(4, 3), "4-3"),
        (Fraction(10, 7), "10-7"),
        (Fraction(1, 65536), "0.0000152587890625"),
    ],
)
def test_a_name_spells_the_scale_exactly(ratio: Fraction, name: str) -> None:
    assert spell_scale(ratio) == name


@pytest.mark.parametrize("text", ["", "1e3", "-1", "1,5", "0.0000000000000000001"])
def test_an_amount_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--max-price"):
        amount(text, "--max-price")


@pytest.mark.parametrize(
    ("wei", "said"),
    [
        (0, "0 CPC"),
        (10**18, "1 CPC"),
        (10**9, "0.000000001 CPC"),
        (10**9 + 1, "~0.000000001 CPC"),
        (10**18 + 499_999_999, "~1 CPC"),
        (10**18 + 500_000_000, "~1.000000001 CPC"),
        (7, "7 wei"),
    ],
)
def test_an_amount_is_exact_or_says_that_it_is_not(wei: int, said: str) -> None:
    assert words.cpc(wei) == said


def test_names_of_operators_do_not_run_out() -> None:
    names = [words.letter(index) for index in range(800)]
    assert (names[0], names[25], names[26], names[701], names[702]) == ("A", "Z", "AA", "ZZ", "AAA")
    assert len(set(names)) == 800


def test_job_names_are_distinct_and_canonical() -> None:
    names = {new_job_id() for _ in range(1000)}
    assert len(names) == 1000
    assert all(name.startswith("up-") and name.islower() and len(name) == 11 for name in names)


def test_what_strangers_wrote_cannot_steer_the_terminal() -> None:
    assert words.one_line("a\nb\x1b[31mc\u202ed") == "a b?[31mc?d"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (PriceError("x"), 1),
        (UsageError("x"), 2),
        (HomeError("x"), 2),
        (MalformedError("x", "y"), 2),
        (IncompleteError("x"), 2),
        (KeystoreError("x"), 2),
        (VerificationError("x"), 1),
        (RuleError("x"), 1),
        (StoreError("x"), 1),
        (OSError(errno.ENOSPC, "No space left on device", "/x"), 1),
        (MemoryError(), 1),
        (exits.InterruptionError("x"), 130),
        (ZeroDivisionError("x"), 70),
    ],
)
def test_every_error_has_its_exit_code_and_one_line(
    error: Exception, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exits.report(error, as_json=False) == code
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("\n") == 1
    assert shown.err.startswith("error: ") is (code != 130)


def test_a_bug_shows_its_place_only_where_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    exits.report(ZeroDivisionError("x"), as_json=False)
    assert "TALLY_DEBUG=1" in capsys.readouterr().err
    monkeypatch.setenv("TALLY_DEBUG", "1")
    exits.report(ZeroDivisionError("x"), as_json=False)
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_a_file_moves_into_place_across_file_systems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = tmp_path / "made", tmp_path / "there" / "out.png"
    target.parent.mkdir()
    source.write_bytes(b"pixels")
    rename = Path.replace

    def across(self: Path, to: str | Path) -> Path:
        if self.parent != Path(to).parent:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return rename(self, to)

    monkeypatch.setattr(Path, "replace", across)
    FolderDesk().replace(str(source), str(target))
    assert target.read_bytes() == b"pixels"
    assert [path.name for path in tmp_path.rglob("*")] == ["there", "out.png"]


def test_a_reader_sees_one_moment_and_leaves_no_trace_in_a_closed_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "ledger.sqlite"
    writer = SqliteStore(file)
    writer.put_private([("a", b"1")])
    reader = SqliteStore(file, read_only=True)
    writer.put_private([("b", b"2")])
    assert (reader.private("a"), reader.private("b")) == (b"1", None)
    with pytest.raises(StoreError):
        reader.put_private([("c", b"3")])
    reader.close()
    writer.close()
    monkeypatch.setattr(os, "access", lambda *_: False)
    closed = SqliteStore(file, read_only=True)
    assert closed.private("b") == b"2"
    assert [path.name for path in tmp_path.iterdir()] == ["ledger.sqlite"]
    closed.close()


def test_a_hidden_placement_says_what_slips() -> None:
    many = words.hidden_words(16, one_operator=False)
    for part in ("a share c of their work", "recognises the hidden micro job", "of 16 with m/16", "--placement spread"):
        assert part in many
    alone = words.hidden_words(4, one_operator=True)
    assert "the referee computes the copies" in alone
    assert "league" not in alone
    assert "every block is computed twice" in words.hidden_words(1, one_operator=False)
    assert "of b with m/b" in words.hidden_words(None, one_operator=False)
