"""`tally receipt` hands out one file for an entry, and `tally verify` believes it offline, and no other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tallystick.ledger.transactions import decode
from tallystick.receipts.tlog_proof import TlogProof
from tests.cli.runs import picture, tally


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a home in which one job was done."""
    folder = tmp_path_factory.mktemp("used")
    done = tally("submit", "upscale", picture(folder / "p.png"), "--block", "16", cwd=folder)
    assert done.code == 0, done
    return folder


@pytest.fixture(scope="module")
def entry(used: Path) -> bytes:
    """The first entry of the home's log."""
    (path,) = [each for each in (used / "home/log/tile/entries").rglob("*") if each.is_file()][-1:]
    data = path.read_bytes()
    return data[2 : 2 + int.from_bytes(data[:2], "big")]


def test_a_receipt_is_written_and_holds(used: Path, entry: bytes, tmp_path: Path) -> None:
    transaction, out = decode(entry), tmp_path / "first.tlog-proof"
    for name in (transaction.nid, transaction.tx_hash):
        assert tally("receipt", name, "--out", out, cwd=used).code == 0
        assert TlogProof.parse(out.read_text()).extra == entry
        done = tally("verify", out, "--json", cwd=used)
        assert done.code == 0, done
        report = json.loads(done.out)
        assert report["result"] == "holds"
        assert transaction.nid in report["findings"][-1]["actual"]
    printed = tally("receipt", transaction.nid, cwd=used)
    assert (printed.code, printed.out) == (0, out.read_text())


def test_a_bent_receipt_does_not_hold(used: Path, entry: bytes, tmp_path: Path) -> None:
    out = tmp_path / "first.tlog-proof"
    tally("receipt", decode(entry).nid, "--out", out, cwd=used)
    out.write_text(out.read_text().replace("\nindex 0\n", "\nindex 1\n"))
    done = tally("verify", out, cwd=used)
    assert done.code == 1, done
    assert "does not hold" in done.out


@pytest.mark.parametrize("name", ["bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku", "0x" + "00" * 32, "x"])
def test_what_the_log_does_not_hold_cannot_be_handed_out(used: Path, name: str) -> None:
    done = tally("receipt", name, cwd=used)
    assert (done.code, done.out) == (2, "")
