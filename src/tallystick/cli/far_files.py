"""The end of an order at a node: its files brought here, what became of it, and the command that brings them again.

What comes back is checked like anybody's: each file against the digest that the node names, and all of it by
`tally verify`. The node's own word about its keys is written beside the output and pinned by nobody but the user.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from tallystick.cli.ending import Outcome, outcome, show, show_files
from tallystick.cli.exits import DONE, FAILED, InterruptionError, one_line, say
from tallystick.cli.far import Far
from tallystick.cli.lifecycle import Lifecycle
from tallystick.cli.screen import Screen
from tallystick.cli.words import command, near
from tallystick.errors import NodeError
from tallystick.node.delivery import bundle_path, sidecar_path

if TYPE_CHECKING:
    from tallystick.client.connected import Client
    from tallystick.node.views import JobView

TRUST_SUFFIX: Final = ".trust.toml"
OUT_OPTION: Final = "--out"


def again(far: Far, job_id: str, output: str = "") -> str:
    """Return the command that shows an order to its end, and brings its files to ``output`` where that is named."""
    where = (OUT_OPTION, near(output)) if output else ()
    return command("watch", job_id, *where, *far.words())


def deliver(far: Far, node: Client, view: JobView, life: Lifecycle) -> int:
    """Bring the files of an order that has ended to where the log says, and show its end; return the exit code.

    Raises:
        InterruptionError: somebody pressed Ctrl-C; what came goes on where it broke off.
        TallyError: the node stays away, or gives other bytes than it named.
    """
    screen = life.screen
    if "bundle" not in view.files:
        return _failed(screen, view)
    try:
        ended = _fetch(node, view, life.output)
        trust = None if far.own else _keep_trust(node, ended.output)
    except KeyboardInterrupt as error:
        more = again(far, view.job_id, life.output)
        raise InterruptionError(f"interrupted; job {view.job_id} is done: `{more}` fetches its files") from error
    screen.result({**ended.as_json(), "node": far.url, "trust": trust})
    if not screen.as_json:
        _show_end(screen, ended, life, trust)
    return DONE


def _failed(screen: Screen, view: JobView) -> int:
    screen.result({"jobId": view.job_id, "state": view.state.value, "reason": view.waiting})
    say(f"error: job {view.job_id} is {view.state.value}: {one_line(view.waiting) or 'nothing was delivered'}")
    return FAILED


def _fetch(node: Client, view: JobView, output: str) -> Outcome:
    """Bring sidecar, output and bundle here; the bundle last, since it says that there is something to check."""
    node.download(view.job_id, "sidecar", sidecar_path(output))
    node.download(view.job_id, "output", output)
    bundle = node.download(view.job_id, "bundle", bundle_path(output))
    try:
        return outcome(view.job_id, output, bundle.read_bytes())
    except StopIteration as error:
        raise NodeError(f"the node's bundle of job {view.job_id} lacks entries") from error


def _keep_trust(node: Client, output: str) -> str:
    """Write down what the node says of its keys; whether that is true, only its operator can tell by another way."""
    path = Path(output + TRUST_SUFFIX)
    path.write_text(node.trust(), encoding="utf-8")
    return str(path)


def _show_end(screen: Screen, ended: Outcome, life: Lifecycle, trust: str | None) -> None:
    screen.line()
    show(screen, ended, life.cast)
    screen.line()
    show_files(screen, ended)
    screen.line()
    output = near(ended.output)
    if trust is None:
        screen.pairs([("Check it", command("verify", output))])
        return
    pin = f"{near(trust)} holds the node's keys as the node itself names them: compare them with what its operator"
    screen.pairs(
        [
            ("Trust", f"{pin} publishes elsewhere, and pin them then"),
            ("Check it", command("verify", output, "--trust", near(trust))),
        ]
    )
