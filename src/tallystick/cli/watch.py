"""`tally watch JOB`, `tally jobs --node` and `--cancel`: orders at a node, as they go and stand, and what they made."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.text import Text

from tallystick.cli.asking import target_of
from tallystick.cli.exits import DONE, FAILED, one_line
from tallystick.cli.far import Far, Named
from tallystick.cli.far_files import again, deliver
from tallystick.cli.following import follow
from tallystick.cli.home import home_path
from tallystick.cli.lifecycle import Lifecycle
from tallystick.cli.screen import Screen
from tallystick.cli.words import command, cpc
from tallystick.errors import UsageError

if TYPE_CHECKING:
    from tallystick.node.views import JobView

_STYLES: Final = {"running": "cyan", "done": "green", "failed": "bold red", "cancelled": "yellow"}


def watch(job_id: str, named: Named, out: Path | None, *, as_json: bool) -> int:
    """Show an order until it has ended, and bring its files to ``out``; exit 1 if it ended without a result.

    Raises:
        UsageError: no node is named, and none runs in this home; or the output cannot be written there.
    """
    output = "" if out is None else str(target_of(out))
    far = _found(named)
    screen = Screen(as_json=as_json)
    life = Lifecycle(screen, output=output)
    view = follow(far, job_id, screen, life)
    if output:
        with far.client() as node:
            return deliver(far, node, view, life)
    screen.result({**as_document(view), "node": far.url})
    if not as_json:
        screen.pairs(_pairs(view))
        if view.files:
            more = again(far, job_id, Path(view.output_name).name)
            screen.pairs([("Files", f"`{more}` fetches them")])
    return DONE if view.files else FAILED


def cancel_far_job(job_id: str, named: Named, *, as_json: bool) -> int:
    """Take an order out of a node's queue, and say so.

    Raises:
        UsageError: no node is named, and none runs in this home.
        AbsentError: the node knows no such order of this account.
        ConflictError: its price is locked, or it has ended.
    """
    far = _found(named)
    with far.client() as node:
        view = node.cancel(job_id)
    screen = Screen(as_json=as_json)
    screen.result({**as_document(view), "node": far.url})
    if not as_json:
        screen.line(f"Job {view.job_id} is {view.state.value}: nothing was locked, nothing is owed")
    return DONE


def _found(named: Named) -> Far:
    far = named.find()
    if far is None:
        raise UsageError(f"no node runs in {home_path()}: name one with --node URL; `{command('jobs')}` lists its jobs")
    return far


def list_far_jobs(far: Far, *, as_json: bool) -> int:
    """Print every order of this account at a node, oldest first."""
    screen = Screen(as_json=as_json)
    with far.client() as node:
        views = list(node.jobs())[::-1]
    screen.result({"node": far.url, "jobs": [as_document(view) for view in views]})
    if as_json:
        return DONE
    if not views:
        screen.line(f"No jobs of this account at {far.url}")
        return DONE
    rows: list[list[str | Text]] = [
        [
            view.job_id,
            Text(view.state.value, style=_STYLES.get(view.state.value, "default")),
            view.created_at[:16].replace("T", " "),
            _money(view),
            one_line(view.input_name),
            one_line(view.waiting)[:60],
        ]
        for view in views
    ]
    screen.table(("JOB", "STATE", "ORDERED (UTC)", "COST", "INPUT", ""), rows, right=(3,))
    return DONE


def as_document(view: JobView) -> dict[str, object]:
    """Return an order as --json shows it."""
    return {
        "jobId": view.job_id,
        "state": view.state.value,
        "phase": view.phase.value,
        "attempt": view.attempt,
        "createdAt": view.created_at,
        "lockedWei": view.locked_wei,
        "costWei": view.cost_wei,
        "waiting": view.waiting,
        "files": list(view.files),
    }


def _money(view: JobView) -> str:
    if int(view.locked_wei):
        return f"{cpc(int(view.locked_wei))} locked"
    return "" if view.cost_wei is None else cpc(int(view.cost_wei))


def _pairs(view: JobView) -> list[tuple[str, str]]:
    pairs = [("Job", f"{view.job_id} is {view.state.value}"), ("Cost", _money(view) or "nothing")]
    if view.waiting:
        pairs.append(("Reason", one_line(view.waiting)))
    return pairs
