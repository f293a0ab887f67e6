"""``kill -9`` of a real process at twenty moments of a running job: what was acknowledged stays, and the job ends."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pytest
from PIL import Image

from tallystick.adapters.pillow import decode_image
from tallystick.audit.findings import Result
from tallystick.cli.home import Home, open_home
from tallystick.cli.verify import examine
from tallystick.kernels.lanczos import resample
from tallystick.ledger import payloads as say
from tallystick.ledger.records import Account, Escrow, Job, account_key, job_key, supply
from tallystick.ledger.records import Node as Registered
from tallystick.ledger.states import JobPhase
from tallystick.ledger.transactions import decode
from tallystick.node.identity import FAUCET_CPC
from tallystick.primitives.amounts import WEI_PER_CPC
from tests.node.ordering_process import JOB

MOMENTS: Final = 20
SEED: Final = 7053
DRIVER: Final = Path(__file__).with_name("ordering_process.py")
ROOT: Final = Path(__file__).resolve().parents[2]


@dataclass
class Life:
    """One process: what it said before it ended, how long it lived from ``ready``, and whether it was killed."""

    acknowledged: dict[int, str]
    seconds: float
    killed: bool
    done: bool


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture whose 2x output has 80 blocks of 32 pixels."""
    path = tmp_path_factory.mktemp("kill") / "input.png"
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (128, 150, 3), np.uint8)).save(path)
    return path


@dataclass(frozen=True)
class Moment:
    """When to kill: so many entries were acknowledged, and so many seconds passed since.

    Counted in entries and not from the start, so that it strikes the same stretch of work on a fast and a slow machine.
    """

    entries: int
    seconds: float


def live(folder: Path, source: Path, moment: Moment | None = None) -> Life:
    """Run the process, and kill it at its moment."""
    command = [sys.executable, str(DRIVER), str(folder / "home"), str(source), str(folder / "output.png")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    environment.pop("TALLY_PASSPHRASE", None)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        begun = time.monotonic()
        heard = ""
        if moment is not None:
            while heard.count("\n") < moment.entries and (line := process.stdout.readline()):
                heard += line
            time.sleep(moment.seconds)
            process.send_signal(signal.SIGKILL)
        lines = (heard + process.stdout.read()).splitlines()
        lived = time.monotonic() - begun
        code = process.wait()
    assert code in {0, -signal.SIGKILL}
    # A line that the kill cut in two was not said.
    said = [line.split() for line in lines if len(line.split()) == 2 and len(line.split()[1]) == 66]
    return Life({int(index): digest for index, digest in said}, lived, code != 0, "done" in lines)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, source: Path) -> Life:
    """A life that nobody cut short: how long the job takes."""
    life = live(tmp_path_factory.mktemp("whole"), source)
    assert life.done
    return life


def test_the_unharmed_process_says_every_entry(whole: Life) -> None:
    assert sorted(whole.acknowledged) == list(range(len(whole.acknowledged)))


def moments() -> Iterator[tuple[float, float]]:
    """One seeded moment in each twentieth of the job: a share of its entries, and a share of an entry's time."""
    rng = random.Random(SEED)
    return (((number + rng.random()) / MOMENTS, rng.random()) for number in range(MOMENTS))


KILLED: Final[list[bool]] = []


@pytest.mark.parametrize(("share", "rest"), list(moments()), ids=lambda part: f"{part:.3f}")
def test_a_killed_job_loses_nothing_and_ends(
    tmp_path: Path, source: Path, whole: Life, share: float, rest: float
) -> None:
    count = len(whole.acknowledged)
    life = live(tmp_path, source, Moment(int(share * count), rest * whole.seconds / count))
    KILLED.append(life.killed)
    resumed: dict[int, str] = {}
    with open_home(
        tmp_path / "home", watch=lambda transaction, index: resumed.update({index: transaction.tx_hash}), threads=2
    ) as home:
        log = [decode(entry).tx_hash for entry in home.store.entries(0, home.store.size())]
        assert life.acknowledged.items() <= dict(enumerate(log)).items()
        for job_id in home.node.wishes.unfinished():
            home.node.run(job_id)
        assert resumed.keys().isdisjoint(range(len(log)))
        if home.node.wishes.every():
            assert_ended_well(home, tmp_path / "output.png", source)
        else:
            assert life.acknowledged == {}
        after = [decode(entry).tx_hash for entry in home.store.entries(0, home.store.size())]
        assert after[: len(log)] == log
        assert resumed.items() <= dict(enumerate(after)).items()


def assert_ended_well(home: Home, output: Path, source: Path) -> None:
    """Delivered once with the right pixels, paid once, nothing locked, nothing left behind."""
    records = home.node.book.engine.view.records
    assert supply(records) == FAUCET_CPC * WEI_PER_CPC
    assert {record.balance for record in records.values() if isinstance(record, Escrow)} == {"0"}
    assert {record.locked for record in records.values() if isinstance(record, Registered)} == {"0"}
    job = records[job_key(JOB)]
    assert isinstance(job, Job)
    assert (job.phase, job.attempt) == (JobPhase.PUBLISHED, 1)
    entries = [decode(entry).payload for entry in home.store.entries(0, home.store.size())]
    (settled,) = [each for each in entries if isinstance(each, say.JobSettled)]
    assert sum(isinstance(each, say.ArtifactPublished) for each in entries) == 1
    for line in settled.lines:
        account = records.get(account_key(line.payee))
        assert (account.balance if isinstance(account, Account) else "0") == line.amount
    assert [line.amount == "0" for line in settled.lines] == [True, False, False]
    pixels = decode_image(output.read_bytes()).raster.samples
    picture = decode_image(source.read_bytes()).raster
    assert np.array_equal(pixels, resample(picture.samples, (2 * picture.width, 2 * picture.height)))
    assert home.node.wishes.is_done(JOB)
    assert output.with_name("output.png.c2pa").exists()
    assert output.with_name("output.png.bundle.json").read_bytes() == home.node.bundle(JOB)
    assert list((home.path / "jobs").iterdir()) == []
    report = examine([output, source], home.path / "trust.toml", recompute=True)
    assert report.result is Result.HOLDS, [each for each in report.findings if each.result is not Result.HOLDS]


def test_the_moments_lay_within_the_job() -> None:
    """A process may end while its kill is on the way, but most kills must have struck."""
    if len(KILLED) == MOMENTS:
        assert sum(KILLED) >= MOMENTS * 3 // 4


def test_a_second_process_is_locked_out_and_told_by_whom(tmp_path: Path, source: Path) -> None:
    with open_home(tmp_path / "home"):
        command = [sys.executable, str(DRIVER), str(tmp_path / "home"), str(source), str(tmp_path / "output.png")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
        refused = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert refused.returncode != 0
    assert "HomeError" in refused.stderr
    assert str(os.getpid()) in refused.stderr
    assert refused.stdout == "ready\n"
