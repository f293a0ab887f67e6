"""The end of an order at a node: its files brought here, what became of it, and the command that brings them again.

What comes back is checked before it is called done: each file against the digest that the node names, all of it as
`tally verify` does, and the order against what was asked for. The node's own word about its keys is written beside the
output and pinned by nobody but the user: until then the check says that the files agree with each other, not with whom.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from tallystick.cli.asking import Asked, read_scale, spell_scale
from tallystick.cli.ending import Outcome, outcome, show, show_files
from tallystick.cli.exits import DONE, FAILED, InterruptionError, one_line, say
from tallystick.cli.far import Far
from tallystick.cli.home import TRUST_FILE, home_path
from tallystick.cli.lifecycle import Lifecycle
from tallystick.cli.screen import Screen
from tallystick.cli.words import command, near
from tallystick.errors import NodeError, VerificationError
from tallystick.node.delivery import bundle_path, sidecar_path

if TYPE_CHECKING:
    from tallystick.client.connected import Client
    from tallystick.node.views import JobView

TRUST_SUFFIX: Final = ".trust.toml"
OUT_OPTION: Final = "--out"
CREDENTIALS: Final = "credentials"
"""The one step that may stay open: without a reader of C2PA the bytes of the file are judged all the same."""


def again(far: Far, job_id: str, output: str = "") -> str:
    """Return the command that shows an order to its end, and brings its files to ``output`` where that is named."""
    where = (OUT_OPTION, near(output)) if output else ()
    return command("watch", job_id, *where, *far.words())


def deliver(far: Far, node: Client, view: JobView, life: Lifecycle, asked: Asked | None = None) -> int:
    """Bring the files of an order that has ended to where the log says, and show its end; return the exit code.

    ``asked`` is what the buyer wanted, where this process knows it.

    Raises:
        InterruptionError: somebody pressed Ctrl-C; what came goes on where it broke off.
        VerificationError: the files do not hold, or are of another order.
        TallyError: the node stays away, or gives other bytes than it named.
    """
    screen = life.screen
    if "bundle" not in view.files:
        return _failed(screen, view)
    try:
        ended = _fetch(node, view, life.output)
        trust = None if far.own else _keep_trust(node, ended.output)
        with screen.live("the files are checked"):
            _check(ended, home_path() / TRUST_FILE if trust is None else Path(trust), asked)
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
        ended = outcome(view.job_id, output, bundle.read_bytes())
    except StopIteration as error:
        raise NodeError(f"the node's bundle of job {view.job_id} lacks entries") from error
    if ended.spec.job_id != view.job_id:
        raise VerificationError("job of the node's bundle", expected=view.job_id, actual=ended.spec.job_id)
    return ended


def _check(ended: Outcome, trust: Path, asked: Asked | None) -> None:
    """Check the files as a stranger would, and that they answer what was asked for.

    Raises:
        VerificationError: they do not, or it cannot be told.
    """
    from tallystick.audit.findings import Result
    from tallystick.cli.verify import examine

    files = [Path(each) for each in (ended.output, bundle_path(ended.output), sidecar_path(ended.output))]
    for each in examine(files, trust).findings:
        if each.result is Result.DOES_NOT_HOLD or (each.result is Result.CANNOT_TELL and each.name != CREDENTIALS):
            what = f"step {each.step} of the check, {each.name}; do not use {near(ended.output)}"
            raise VerificationError(what, expected=each.expected or "that it holds", actual=each.actual)
    if asked is not None:
        check_asked(ended, asked)


def check_asked(ended: Outcome, asked: Asked) -> None:
    """Check that the order in the bundle is over the buyer's own picture, at its scale.

    Raises:
        VerificationError: it is another one.
    """
    from tallystick.adapters.pillow import decode_image
    from tallystick.kernels.raster import raster_digest

    pairs = (
        ("scale of the order", spell_scale(read_scale(asked.wish.scale)), spell_scale(ended.spec.task.ratio)),
        ("picture of the order", raster_digest(decode_image(asked.data).raster).hex(), ended.source),
    )
    for what, expected, actual in pairs:
        if expected != actual:
            raise VerificationError(f"{what}; do not use {near(ended.output)}", expected=expected, actual=actual)


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
