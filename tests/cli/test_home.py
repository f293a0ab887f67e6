"""Verbs over one home: who may work in it, what is read without its lock, and how a job outlives its process."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest

from tallystick.adapters.sqlite import SqliteStore
from tallystick.cli import app
from tallystick.cli import home as homes
from tallystick.errors import HomeError
from tallystick.node.wishes import Wishes
from tests.cli.runs import PROGRAM, Running, environment, picture, supply, tally

Capsys = pytest.CaptureFixture[str]
LONG = ("--block", "32", "--json")
RIGHT, WRONG = {"TALLY_PASSPHRASE": "correct horse"}, {"TALLY_PASSPHRASE": "wrong horse"}


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a home in which one job was done."""
    folder = tmp_path_factory.mktemp("used")
    assert tally("submit", "upscale", picture(folder / "p.png"), "--block", "16", cwd=folder).code == 0
    return folder


@pytest.fixture
def halted(tmp_path: Path) -> Running:
    """A job whose process was halted after its micro jobs were handed out, lock in hand."""
    running = Running("submit", "upscale", picture(tmp_path / "p.png", 300, 200), *LONG, cwd=tmp_path)
    running.stop_at("JobStarted")
    return running


def test_a_killed_job_is_listed_as_interrupted_and_goes_on(halted: Running, tmp_path: Path) -> None:
    [listed] = tally("jobs", "--json", cwd=tmp_path).json["jobs"]
    assert (listed["state"], listed["phase"], listed["costWei"]) == ("running", "running", "0")
    assert int(listed["lockedWei"]) > 0
    assert halted.send(signal.SIGKILL).code == -signal.SIGKILL
    [listed] = tally("jobs", "--json", cwd=tmp_path).json["jobs"]
    assert listed["state"] == "interrupted"
    assert "interrupted" in tally("jobs", cwd=tmp_path).out
    resumed = tally("jobs", "--resume", "--json", cwd=tmp_path)
    assert resumed.code == 0, resumed
    assert [each["jobId"] for each in resumed.json["resumed"]] == [listed["jobId"]]
    [listed] = tally("jobs", "--json", cwd=tmp_path).json["jobs"]
    assert (listed["state"], listed["lockedWei"]) == ("published", "0")
    assert supply(tmp_path)["escrowWei"] == "0"
    assert tally("verify", "p@2x.png", cwd=tmp_path).code == 0


def test_a_job_that_was_given_up_is_not_listed_as_interrupted(halted: Running, tmp_path: Path) -> None:
    halted.send(signal.SIGKILL)
    [listed] = tally("jobs", "--json", cwd=tmp_path).json["jobs"]
    store = SqliteStore(tmp_path / "home" / "ledger.sqlite")
    Wishes(store).give_up(listed["jobId"])
    store.close()
    [given_up] = tally("jobs", "--json", cwd=tmp_path).json["jobs"]
    assert (listed["state"], given_up["state"]) == ("interrupted", "running")


def test_a_submit_first_finishes_what_was_interrupted(halted: Running, tmp_path: Path) -> None:
    halted.send(signal.SIGKILL)
    picture(tmp_path / "q.png", 9, 6)
    done = tally("submit", "upscale", "q.png", "--json", cwd=tmp_path)
    assert done.code == 0, done
    assert Path(done.json["output"]).name == "q@2x.png"
    assert [each["state"] for each in tally("jobs", "--json", cwd=tmp_path).json["jobs"]] == ["published"] * 2
    assert tally("verify", "p@2x.png", cwd=tmp_path).code == 0


def test_a_second_writer_is_refused_and_readers_are_not(halted: Running, tmp_path: Path) -> None:
    done = tally("submit", "upscale", "p.png", "--out", "other.png", "--json", cwd=tmp_path)
    done.refused(2, "another tally process")
    assert done.error["type"] == "HomeError"
    tally("jobs", "--resume", cwd=tmp_path).refused(2, "another tally process")
    assert tally("account", "--json", cwd=tmp_path).code == 0
    assert tally("keys", "log", cwd=tmp_path).code == 0
    checks = {each["name"]: each["found"] for each in tally("doctor", "--json", cwd=tmp_path).json["checks"]}
    assert checks["lock"].startswith("process ")
    [listed] = tally("jobs", "--json", cwd=tmp_path).json["jobs"]
    tally("bundle", listed["jobId"], "--out", "b.json", cwd=tmp_path).refused(2, "no finished result")
    halted.send(signal.SIGKILL)


def test_an_interrupt_says_how_to_go_on(halted: Running, tmp_path: Path) -> None:
    done = halted.send(signal.SIGINT, signal.SIGCONT)
    assert done.code == 130, done
    assert done.error["type"] == "InterruptionError"
    assert "jobs --resume` goes on" in done.err
    assert "Traceback" not in done.err
    assert tally("jobs", "--resume", cwd=tmp_path).code == 0


@pytest.mark.parametrize("ignored", [False, True])
def test_a_termination_ends_as_an_interrupt_does(tmp_path: Path, *, ignored: bool) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN) if ignored else signal.getsignal(signal.SIGINT)
    try:
        running = Running("submit", "upscale", picture(tmp_path / "p.png", 300, 200), *LONG, cwd=tmp_path)
    finally:
        signal.signal(signal.SIGINT, before)
    running.stop_at("JobStarted")
    done = running.send(signal.SIGTERM, signal.SIGCONT)
    assert done.code == 143, done
    assert done.error["type"] == "InterruptionError"
    assert "jobs --resume` goes on" in done.err
    assert "Traceback" not in done.err
    assert tally("jobs", "--resume", cwd=tmp_path).code == 0


def test_an_interrupt_before_the_order_is_a_document_too(monkeypatch: pytest.MonkeyPatch, capsys: Capsys) -> None:
    def interrupted(*_: object, **__: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("tallystick.cli.doctor.examine", interrupted)
    assert app.answer(["doctor", "--json"]) == 130
    said = capsys.readouterr()
    assert json.loads(said.out) == {"error": {"type": "InterruptionError", "message": "interrupted"}}
    assert said.err.count("\n") == 1


@pytest.mark.parametrize("words", ["verify p@2x.png", "verify p@2x.png --json", "verify nowhere --json"])
def test_an_answer_that_nobody_got_is_not_does_not_hold(words: str, used: Path) -> None:
    called = f"{' '.join(PROGRAM)} {words}"
    for script in (f"{called} | true; exit ${{PIPESTATUS[0]}}", f"{called} >/dev/full"):
        done = subprocess.run(
            ["bash", "-c", script], cwd=used, env=environment(used / "home"), capture_output=True, check=False
        )
        assert b"Traceback" not in done.stderr
        assert done.returncode == 2, script


def test_a_log_that_nobody_reads_does_not_stop_a_paid_job(tmp_path: Path) -> None:
    picture(tmp_path / "p.png", 9, 6)
    with subprocess.Popen(
        [*PROGRAM, "submit", "upscale", "p.png"],
        cwd=tmp_path,
        env=environment(tmp_path / "home"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        process.stderr.close()
    assert process.returncode == 0
    assert tally("verify", "p@2x.png", cwd=tmp_path).code == 0


@pytest.mark.parametrize("words", ["jobs", "jobs --json", "keys ca --out -", "account", "--help", "doctor"])
def test_a_reader_that_goes_away_is_no_error(words: str, used: Path) -> None:
    script = f"{{ {' '.join(PROGRAM)} {words}; echo $? >&3; }} 3>&2 | true"
    done = subprocess.run(
        ["bash", "-c", script], cwd=used, env=environment(used / "home"), capture_output=True, text=True, check=False
    )
    assert done.stderr in {"0\n", "1\n"}


def test_a_closed_stdout_is_no_error(used: Path) -> None:
    done = subprocess.run(
        ["bash", "-c", f"{' '.join(PROGRAM)} jobs >&-"],
        cwd=used,
        env=environment(used / "home"),
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_home_that_is_not_there_is_not_made_by_reading(tmp_path: Path) -> None:
    assert tally("jobs", "--json", cwd=tmp_path).json == {"jobs": []}
    assert "No jobs in" in tally("jobs", cwd=tmp_path).out
    assert tally("jobs", "--resume", "--json", cwd=tmp_path).json == {"resumed": [], "failed": []}
    tally("account", cwd=tmp_path).refused(2, "there is no home in")
    tally("bundle", "up-nothing", "--out", "b.json", cwd=tmp_path).refused(2, "there is no home in")
    assert tally("doctor", cwd=tmp_path).code == 0
    assert list(tmp_path.iterdir()) == []


def test_a_home_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    picture(tmp_path / "p.png", 9, 6)
    (tmp_path / "file").write_bytes(b"")
    for home in (Path("/proc/tally"), tmp_path / "file", tmp_path / "file" / "below"):
        tally("submit", "upscale", "p.png", cwd=tmp_path, home=home).refused(2, "TALLY_HOME")
    done = tally("doctor", "--json", cwd=tmp_path, home=tmp_path / "file" / "below")
    assert (done.code, done.json["ok"]) == (1, False)


def test_without_a_home_variable_the_users_data_folder_counts(tmp_path: Path) -> None:
    bare = {name: value for name, value in environment(None).items() if name != "XDG_DATA_HOME"}
    for more, place in (
        ({"HOME": str(tmp_path / "me")}, tmp_path / "me" / ".local" / "share" / "tallystick"),
        ({"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path / "data")}, tmp_path / "data" / "tallystick"),
    ):
        done = subprocess.run([*PROGRAM, "jobs"], env=bare | more, capture_output=True, text=True, check=False)
        assert str(place) in done.stdout


def test_an_unset_home_is_no_crash(tmp_path: Path) -> None:
    bare = {name: value for name, value in environment(None).items() if name != "HOME"}
    done = subprocess.run([*PROGRAM, "doctor"], env=bare, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode in {0, 2}
    assert "Traceback" not in done.stderr


def test_an_account_without_a_folder_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> Path:
        message = "Could not determine home directory."
        raise RuntimeError(message)

    monkeypatch.delenv("TALLY_HOME", raising=False)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setattr(homes.Path, "home", nowhere)
    with pytest.raises(HomeError, match="set TALLY_HOME"):
        homes.home_path()


def test_a_passphrase_seals_the_home_and_only_it_opens_it(tmp_path: Path) -> None:
    picture(tmp_path / "p.png", 9, 6)
    assert tally("submit", "upscale", "p.png", cwd=tmp_path, **RIGHT).code == 0
    assert b'encrypted":true' in (tmp_path / "home" / "master.key").read_bytes()
    wrong = tally("jobs", "--json", cwd=tmp_path, **WRONG)
    wrong.refused(2, "the passphrase does not open the keystore")
    assert wrong.error["type"] == "KeystoreError"
    tally("account", cwd=tmp_path).refused(2, "TALLY_PASSPHRASE")
    assert len(tally("jobs", "--json", cwd=tmp_path, **RIGHT).json["jobs"]) == 1
    assert tally("keys", "list", "--json", cwd=tmp_path, **RIGHT).json["encrypted"] is True
    assert "is encrypted" in tally("doctor", cwd=tmp_path, **RIGHT).out


def test_a_passphrase_for_a_plain_home_is_refused(used: Path) -> None:
    tally("jobs", cwd=used, **WRONG).refused(2, "not encrypted")


def test_the_keys_of_a_home_are_its_own(used: Path) -> None:
    home = used / "home"
    assert (home / "master.key").stat().st_mode & 0o777 == 0o600
    assert home.stat().st_mode & 0o777 == 0o700
    secret = json.loads((home / "master.key").read_bytes())["master"]
    for words in ("keys list", "keys list --json", "keys trust", "keys ca", "keys log", "account --json", "doctor"):
        done = tally(*words.split(), cwd=used)
        assert done.code == 0
        assert secret not in done.out + done.err


def test_what_is_handed_out_goes_to_files_or_stdout(used: Path, tmp_path: Path) -> None:
    for words, begin in (("keys ca", "-----BEGIN CERTIFICATE"), ("keys trust", "version = 1")):
        file = tmp_path / words.split()[1]
        assert tally(*words.split(), "--out", file, cwd=used).code == 0
        assert file.read_text(encoding="utf-8").startswith(begin)
        assert tally(*words.split(), "--out", "-", cwd=used).out == file.read_text(encoding="utf-8")
        tally(*words.split(), "--out", tmp_path, cwd=used).refused(2, "is a folder")
        tally(*words.split(), "--out", tmp_path / "no" / "x", cwd=used).refused(2, "cannot be written")
    vkey = tally("keys", "log", cwd=used).out.strip()
    assert f'vkey = "{vkey}"' in (tmp_path / "trust").read_text(encoding="utf-8")


def test_a_device_is_written_to_and_never_replaced(used: Path) -> None:
    assert tally("keys", "ca", "--out", "/dev/null", cwd=used).code == 0
    assert Path("/dev/null").is_char_device()


def test_a_bundle_can_be_written_again_later_and_holds(used: Path, tmp_path: Path) -> None:
    [job] = tally("jobs", "--json", cwd=used).json["jobs"]
    picture(used / "later.png", 9, 6)
    again = tmp_path / "again.json"
    assert tally("bundle", job["jobId"], "--out", again, cwd=used).code == 0
    assert tally("verify", again, used / "p@2x.png", cwd=used).code == 0
    assert tally("bundle", job["jobId"], "--out", "-", cwd=used).out == again.read_text(encoding="utf-8")
    tally("bundle", "up-unknown2", "--out", again, cwd=used).refused(2, "no finished result")


def test_a_new_home_is_made_where_its_keys_are_asked_for(tmp_path: Path) -> None:
    done = tally("keys", "log", cwd=tmp_path)
    assert done.code == 0
    assert done.out == tally("keys", "log", cwd=tmp_path).out


def test_a_damaged_ledger_is_one_line(tmp_path: Path) -> None:
    tally("keys", "log", cwd=tmp_path)
    (tmp_path / "home" / "ledger.sqlite").write_bytes(b"SQLite format 3\0" + bytes(5000))
    tally("jobs", cwd=tmp_path).refused(1, "ledger")
    done = tally("doctor", "--json", cwd=tmp_path)
    assert done.code == 1
    assert [each["level"] for each in done.json["checks"] if each["name"] == "ledger"] == ["missing"]


def test_the_doctor_names_what_is_loose(tmp_path: Path) -> None:
    tally("keys", "log", cwd=tmp_path)
    home = tmp_path / "home"
    home.chmod(0o755)
    (home / "master.key").chmod(0o644)
    done = tally("doctor", cwd=tmp_path)
    assert done.code == 0
    assert f"chmod 700 {home}" in done.out
    assert f"chmod 600 {home / 'master.key'}" in done.out
    assert "not encrypted" in done.out
    assert "anchor" in done.out


def test_verify_too_prints_a_document_where_json_was_asked_for(used: Path) -> None:
    for words in ("verify nowhere.json --json", "verify --json", "verify p.png --json"):
        done = tally(*words.split(), cwd=used)
        assert done.code == 2
        assert done.error["type"] == "UsageError"
        assert done.err.count("\n") == 1


@pytest.mark.parametrize("emptied", [False, True], ids=["removed", "emptied"])
def test_a_lost_ledger_is_never_replaced_by_a_new_one(tmp_path: Path, *, emptied: bool) -> None:
    picture(tmp_path / "p.png", 9, 6)
    assert tally("submit", "upscale", "p.png", cwd=tmp_path).code == 0
    home = tmp_path / "home"
    for file in home.glob("ledger.sqlite*"):
        file.unlink()
    if emptied:
        (home / "ledger.sqlite").touch()
    published = [home / "trust.toml", *(path for path in (home / "log").rglob("*") if path.is_file())]
    kept = {path: path.read_bytes() for path in published}
    said = f"ledger.sqlite is {'empty' if emptied else 'missing'} beside its published log: put it back"
    for words in ("submit upscale p.png", "jobs", "jobs --resume", "account", "keys list", "keys trust", "keys log"):
        tally(*words.split(), cwd=tmp_path).refused(2, said)
    done = tally("doctor", "--json", cwd=tmp_path)
    [ledger] = [each for each in done.json["checks"] if each["name"] == "ledger"]
    assert (done.code, ledger["level"]) == (1, "missing")
    assert said in ledger["found"]
    assert kept == {path: path.read_bytes() for path in kept}


def test_a_ledger_file_without_a_ledger_is_lost_too(tmp_path: Path) -> None:
    tally("keys", "log", cwd=tmp_path)
    (tmp_path / "home" / "log" / "checkpoint").write_bytes(b"published")
    for file in (tmp_path / "home").glob("ledger.sqlite*"):
        file.unlink()
    SqliteStore(tmp_path / "home" / "ledger.sqlite").close()
    assert (tmp_path / "home" / "ledger.sqlite").stat().st_size > 0
    for words in ("submit upscale p.png", "jobs"):
        picture(tmp_path / "p.png", 9, 6)
        tally(*words.split(), cwd=tmp_path).refused(2, "is empty beside its published log")


def test_a_home_is_sealed_in_place_and_only_once(tmp_path: Path) -> None:
    tally("keys", "seal", cwd=tmp_path, **RIGHT).refused(2, "there is no ")
    key, file = tally("keys", "log", cwd=tmp_path).out, tmp_path / "home" / "master.key"
    refused = tally("jobs", cwd=tmp_path, **RIGHT)
    refused.refused(2, "keys seal` encrypts it")
    assert "keys seal" in tally("doctor", cwd=tmp_path).out
    tally("keys", "seal", cwd=tmp_path).refused(2, "no passphrase is set")
    secret = json.loads(file.read_bytes())["master"]
    assert tally("keys", "seal", cwd=tmp_path, **RIGHT).code == 0
    assert secret.encode() not in file.read_bytes()
    assert file.stat().st_mode & 0o777 == 0o600
    assert not (file.parent / ".master.tmp").exists()
    assert tally("keys", "log", cwd=tmp_path, **RIGHT).out == key
    sealed = file.read_bytes()
    tally("keys", "seal", cwd=tmp_path, **WRONG).refused(2, "encrypted already")
    assert file.read_bytes() == sealed


def test_the_doctor_of_a_sealed_home_asks_for_the_passphrase_and_no_backup(tmp_path: Path) -> None:
    tally("keys", "log", cwd=tmp_path, **RIGHT)
    done = tally("doctor", cwd=tmp_path)
    assert done.code == 1
    assert "the passphrase is missing" in done.out
    assert "backup" not in done.out
    wrong = tally("doctor", cwd=tmp_path, **WRONG)
    assert (wrong.code, "does not open" in wrong.out, "from a backup" in wrong.out) == (1, True, False)


def test_a_new_home_is_announced_once(tmp_path: Path) -> None:
    for words in ("keys list", "keys trust", "keys ca"):
        done = tally(*words.split(), cwd=tmp_path, home=tmp_path / words)
        assert done.err == f"made a new home in {tmp_path / words}\n"
        assert tally(*words.split(), cwd=tmp_path, home=tmp_path / words).err == ""


def test_the_doctor_says_that_a_running_job_runs(halted: Running, tmp_path: Path) -> None:
    checks = {each["name"]: each["found"] for each in tally("doctor", "--json", cwd=tmp_path).json["checks"]}
    assert checks["jobs"] == "1 running"
    halted.send(signal.SIGKILL)
    checks = {each["name"]: each["found"] for each in tally("doctor", "--json", cwd=tmp_path).json["checks"]}
    assert checks["jobs"] == "1 interrupted"
