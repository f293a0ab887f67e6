"""The verbs of `tally`, their options and their help. Whatever is heavy loads inside the verb.

Knows the spelling of every command; refuses to know what any of them does.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import typer
from typer.core import TyperCommand
from typer.main import get_command

from tallystick import __version__
from tallystick.cli import exits
from tallystick.cli.anchor_verbs import anchor_app
from tallystick.cli.far_verbs import Node, TlsCa, Token, watch, worker
from tallystick.cli.node_verbs import node_app, token_app
from tallystick.cli.verify import verify
from tallystick.errors import UsageError

JSON_FLAG: Final = "--json"
STDOUT: Final = Path("-")
PATHS_TYPE: Final = "PATH <list[Path]>"

app = typer.Typer(name="tally", rich_markup_mode=None, pretty_exceptions_enable=False)
submit_app = typer.Typer(rich_markup_mode=None)
keys_app = typer.Typer(rich_markup_mode=None)

Json = Annotated[bool, typer.Option(JSON_FLAG, help="Print one JSON document on stdout, all else on stderr.")]
Out = Annotated[Path, typer.Option("--out", metavar="FILE", help="Where to write; - is stdout.")]


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"tally {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001 - its callback answers
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Run GPU jobs on machines you do not trust: pay for what verifies, keep proof of every step.

    Start with `tally demo`. Exit codes: 0 done or holds, 1 refused or does not hold, 2 cannot be done or told.
    """
    _help_if_alone(context)


def _help_if_alone(context: typer.Context) -> None:
    """Print the help of a group that was called without a verb."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit


@app.command()
def demo(
    input_: Annotated[
        Path | None, typer.Option("--input", metavar="FILE", help="A picture of your own; default: the bundled one.")
    ] = None,
    dishonest: Annotated[int, typer.Option(min=0, max=3, metavar="K", help="How many of the 3 workers lie.")] = 1,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Where files go, with a home of its own inside.")
    ] = Path("tally-demo"),
    as_json: Json = False,
) -> None:
    """Show a whole job: three workers, one of them lies."""
    from tallystick.cli.demo import demo as play

    raise typer.Exit(play(input_, dishonest, out, as_json=as_json))


@submit_app.callback(invoke_without_command=True)
def submit(context: typer.Context) -> None:
    """Order a job: `tally submit upscale PICTURE`."""
    _help_if_alone(context)


@submit_app.command()
def upscale(  # noqa: PLR0917 - typer calls by name; the order is that of the help
    input_: Annotated[Path, typer.Argument(metavar="INPUT", help="A PNG, JPEG, WebP, BMP or GIF picture.")],
    scale: Annotated[str, typer.Option(metavar="RATIO", help="2, 1.5 or 3/2.")] = "2",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="The PNG to write; default: NAME@2x.png beside INPUT.")
    ] = None,
    workers: Annotated[
        int, typer.Option(min=1, max=128, metavar="N", help="How many workers; at a node up to so many.")
    ] = 3,
    block: Annotated[int, typer.Option(min=8, max=4096, metavar="PIXELS", help="The side of a block.")] = 256,
    placement: Annotated[str, typer.Option(metavar="HOW", help="Where copies go: spread or hidden.")] = "spread",
    duplicates: Annotated[
        str | None, typer.Option(metavar="RATE", help="Share of blocks computed twice, 0 to 1; default 0.0625.")
    ] = None,
    audit_rate: Annotated[
        str | None, typer.Option(metavar="RATE", help="Share of micro jobs audited, 0 to 1; default 0.13.")
    ] = None,
    max_price: Annotated[
        str | None, typer.Option(metavar="CPC", help="Lock nothing if it would cost more than this.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before the price is locked.")] = False,
    own_key: Annotated[
        bool,
        typer.Option("--own-key", help="Sign the order with this home's key; else the node signs for its account."),
    ] = False,
    minutes: Annotated[
        int | None,
        typer.Option(min=1, max=10_080, metavar="N", help="How long workers of a node have; default 30."),
    ] = None,
    workers_least: Annotated[
        int | None, typer.Option(min=1, max=128, metavar="N", help="Wait at a node until so many fit; default 1.")
    ] = None,
    node: Node = None,
    token: Token = None,
    tls_ca: TlsCa = None,
    as_json: Json = False,
) -> None:
    """Enlarge or shrink a picture; the price is shown first.

    Writes OUT, OUT.c2pa (content credentials) and OUT.bundle.json (the evidence). `tally verify OUT` checks all three.
    With --node, or while a node runs in this home, its workers do the work; else three of this machine.
    """
    from tallystick.cli.asking import Words
    from tallystick.cli.far import Named
    from tallystick.cli.far_submit import upscale as order_far
    from tallystick.cli.submit import upscale as order

    at_node = (own_key, minutes, workers_least)
    words = Words(input_, scale, out, workers, block, placement, duplicates, audit_rate, max_price, *at_node)
    far = Named(node, token, tls_ca).find()
    code = order(words, yes=yes, as_json=as_json) if far is None else order_far(words, far, yes=yes, as_json=as_json)
    raise typer.Exit(code)


app.add_typer(submit_app, name="submit")


class PathsCommand(TyperCommand):
    """A command over paths, whose help names them as people do."""

    def get_help(self, ctx: Any) -> str:  # noqa: ANN401 - the library keeps its type to itself
        """Return the help without the library's spelling of a list."""
        return super().get_help(ctx).replace("{PATH}...", "PATH...").replace(PATHS_TYPE, "PATH".ljust(len(PATHS_TYPE)))


app.command(cls=PathsCommand, short_help="Check a result and its history, alone and offline.")(verify)


@app.command()
def jobs(
    resume: Annotated[bool, typer.Option("--resume", help="Bring every interrupted job to its end.")] = False,
    cancel: Annotated[
        str | None, typer.Option("--cancel", metavar="JOB", help="Take a job out of a node's queue; nothing is locked.")
    ] = None,
    node: Node = None,
    token: Token = None,
    tls_ca: TlsCa = None,
    as_json: Json = False,
) -> None:
    """List the jobs of this home, or of a node; go on with interrupted ones; cancel one that waits at a node."""
    from tallystick.cli.far import Named
    from tallystick.cli.jobs import list_jobs, resume_jobs
    from tallystick.cli.watch import cancel_far_job, list_far_jobs

    if cancel is not None:
        if resume:
            raise UsageError("--cancel and --resume are two things: say one of them")
        raise typer.Exit(cancel_far_job(cancel, Named(node, token, tls_ca), as_json=as_json))
    far = None if resume and node is None else Named(node, token, tls_ca).find()
    if far is not None and resume:
        raise UsageError("--resume is for this home's own jobs: a node goes on with its jobs by itself")
    if far is not None:
        raise typer.Exit(list_far_jobs(far, as_json=as_json))
    raise typer.Exit(resume_jobs(as_json=as_json) if resume else list_jobs(as_json=as_json))


app.command()(worker)
app.command()(watch)


@app.command()
def bundle(
    job: Annotated[str, typer.Argument(metavar="JOB", help="A job's name, as `tally jobs` shows it.")],
    out: Out,
) -> None:
    """Write the evidence of a finished job."""
    from tallystick.cli.keys import write_bundle

    raise typer.Exit(write_bundle(job, out))


@app.command()
def receipt(
    name: Annotated[str, typer.Argument(metavar="NAME", help="An entry's NID (bafkrei…) or txHash (0x…).")],
    out: Out = STDOUT,
) -> None:
    """Write the proof that an entry stands in the log."""
    from tallystick.cli.keys import write_receipt

    raise typer.Exit(write_receipt(name, out))


@keys_app.callback(invoke_without_command=True)
def keys(context: typer.Context) -> None:
    """Show and hand out this home's public keys; seal the secret one."""
    _help_if_alone(context)


@keys_app.command()
def ca(out: Out = STDOUT) -> None:
    """Write the root of this home's content credentials (PEM)."""
    from tallystick.cli.keys import write_ca

    raise typer.Exit(write_ca(out))


@keys_app.command()
def trust(out: Out = STDOUT) -> None:
    """Write the trust file: what a stranger pins (TOML)."""
    from tallystick.cli.keys import write_trust

    raise typer.Exit(write_trust(out))


@keys_app.command()
def log() -> None:
    """Print the verifier key of this home's log (C2SP vkey)."""
    from tallystick.cli.keys import print_log_key

    raise typer.Exit(print_log_key())


@keys_app.command(name="list")
def list_(as_json: Json = False) -> None:
    """List the public keys of this home and their addresses."""
    from tallystick.cli.keys import list_keys

    raise typer.Exit(list_keys(as_json=as_json))


@keys_app.command()
def seal() -> None:
    """Encrypt this home's master key under TALLY_PASSPHRASE."""
    from tallystick.cli.keys import seal_keys

    raise typer.Exit(seal_keys())


app.add_typer(keys_app, name="keys")
app.add_typer(anchor_app, name="anchor")
app.add_typer(node_app, name="node")
app.add_typer(token_app, name="token")


@app.command()
def account(as_json: Json = False) -> None:
    """Show balances, bonds and escrows; their sum never changes."""
    from tallystick.cli.account import show_account

    raise typer.Exit(show_account(as_json=as_json))


@app.command()
def doctor(as_json: Json = False) -> None:
    """Say what is missing on this machine, and what to do."""
    from tallystick.cli.doctor import examine

    raise typer.Exit(examine(as_json=as_json))


def run() -> NoReturn:
    """Run the process's command and exit."""
    exits.steady()
    exits.heed_termination()
    try:
        code = answer(sys.argv[1:])
        exits.heed_nothing()
    except KeyboardInterrupt:  # it came as something else was being said
        code = exits.report(exits.InterruptionError("interrupted"), as_json=False)
    sys.exit(code)


def answer(arguments: Sequence[str]) -> int:
    """Run a command and return the exit code; no error leaves here."""
    as_json = JSON_FLAG in arguments
    try:
        code = get_command(app).main(args=list(arguments), prog_name="tally", standalone_mode=False)
        sys.stdout.flush()
    except typer.TyperException as error:
        exits.complain(f"{error.format_message()}{_hint(error)}", "UsageError", as_json=as_json)
        return exits.CANNOT
    except BrokenPipeError:
        exits.hang_up(sys.stdout.fileno())
        return exits.DONE
    except Exception as error:  # noqa: BLE001 - the last stop: whatever it is becomes one line and an exit code
        return exits.report(error, as_json=as_json)
    if code == exits.INTERRUPTED:  # before any order: later ones name their job
        return exits.report(exits.InterruptionError("interrupted"), as_json=as_json)
    return int(code or exits.DONE)


def _hint(error: object) -> str:
    context = getattr(error, "ctx", None)
    return f" (see `{context.command_path} --help`)" if context is not None else ""
