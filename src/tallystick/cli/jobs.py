"""`tally jobs`: what was ordered from this home and where it stands. Listing takes no lock; resuming does."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.text import Text

from tallystick.cli.ending import Outcome
from tallystick.cli.exits import DONE, FAILED
from tallystick.cli.home import Reading, home_path, is_home, open_home, read_home
from tallystick.cli.lifecycle import Lifecycle
from tallystick.cli.lock import lock_holder
from tallystick.cli.running import meet, resume
from tallystick.cli.screen import Screen
from tallystick.cli.words import command, count, cpc, near, served_words
from tallystick.ledger.states import JobPhase
from tallystick.node.billing import Bill, bill
from tallystick.node.ordering import Wish

RUNNING = "running"
INTERRUPTED = "interrupted"
_STYLES = {RUNNING: "cyan", INTERRUPTED: "bold yellow", JobPhase.PUBLISHED.value: "green"}


@dataclass(frozen=True, slots=True)
class Listed:
    """One line of the listing; ``standing`` is the ledger's phase, or what an unfinished job waits for."""

    wish: Wish
    standing: str
    phase: JobPhase
    attempt: int
    bill: Bill

    def as_json(self) -> dict[str, object]:
        """Return the job as `jobs --json` shows it; times are RFC 3339 in UTC, amounts decimal wei."""
        return {
            "jobId": self.wish.job_id,
            "state": self.standing,
            "phase": self.phase.value,
            "attempt": self.attempt,
            "createdAt": _moment(self.wish.created),
            "output": self.wish.output_path,
            "lockedWei": str(self.bill.held),
            "costWei": str(self.bill.cost),
        }


def list_jobs(*, as_json: bool) -> int:
    """Print every job of this home, oldest first."""
    screen, path = Screen(as_json=as_json), home_path()
    listed: list[Listed] = []
    if is_home(path):
        busy = lock_holder(path) is not None
        with read_home(path) as home:
            busy = busy or lock_holder(path) is not None
            listed = [_listed(home, wish, busy=busy) for wish in home.wishes.every()]
    screen.result({"jobs": [each.as_json() for each in listed]})
    if not as_json:
        _show(screen, path, listed)
    return DONE


def _listed(home: Reading, wish: Wish, *, busy: bool) -> Listed:
    job = home.book.job(wish.job_id)
    phase = JobPhase.ABSENT if job is None else job.phase
    ended = home.wishes.is_done(wish.job_id) or home.wishes.is_given_up(wish.job_id)
    standing = phase.value if ended else RUNNING if busy else INTERRUPTED
    entries = [entry for _, entry in home.book.entries_of(wish.job_id)]
    return Listed(wish, standing, phase, job.attempt if job else 0, bill(entries))


def _show(screen: Screen, path: Path, listed: list[Listed]) -> None:
    if not listed:
        screen.line(f"No jobs in {path}")
        screen.line(f"Order one: {command('submit', 'upscale')} PICTURE")
        return
    rows: list[list[str | Text]] = [
        [
            each.wish.job_id,
            Text(each.standing, style=_STYLES.get(each.standing, "default")),
            _moment(each.wish.created)[:16].replace("T", " "),
            f"{cpc(each.bill.held)} locked" if each.bill.held else cpc(each.bill.cost),
            near(each.wish.output_path),
        ]
        for each in listed
    ]
    screen.table(("JOB", "STATE", "ORDERED (UTC)", "COST", "OUTPUT"), rows, right=(3,))
    interrupted = [each.wish for each in listed if each.standing == INTERRUPTED]
    waiting = sum(wish.local for wish in interrupted)
    if interrupted:
        screen.line()
    if waiting < len(interrupted):
        screen.line(served_words(len(interrupted) - waiting))
    if waiting:
        screen.line(f"{count(waiting, 'job')} interrupted: `{command('jobs', '--resume')}` goes on")


def resume_jobs(*, as_json: bool) -> int:
    """Bring every interrupted job to its end; exit 1 if one cannot go on. What only a node can end is passed over."""
    screen, path = Screen(as_json=as_json), home_path()
    life = Lifecycle(screen)
    done: list[Outcome] = []
    failed: list[tuple[str, Exception]] = []
    if is_home(path):
        with open_home(path, watch=life.heard) as home:
            meet(home, life)
            done, failed = resume(home, screen, life)
    screen.result({"resumed": [each.as_json() for each in done], "failed": [job_id for job_id, _ in failed]})
    if not as_json and not done and not failed:
        screen.line("No job is interrupted that this command could end")
    return FAILED if failed else DONE


def _moment(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
