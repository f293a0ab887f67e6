"""The verbs `tally node` and `tally token`: their options and help. Whatever is heavy loads inside the verb."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

node_app = typer.Typer(rich_markup_mode=None)
token_app = typer.Typer(rich_markup_mode=None)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, all else on stderr.")]


@node_app.callback(invoke_without_command=True)
def node(context: typer.Context) -> None:
    """Let others reach this home: buyers, workers, auditors."""
    _help_if_alone(context)


@node_app.command()
def start(
    listen: Annotated[
        str, typer.Option("--listen", metavar="HOST:PORT", help="Where to listen; port 0 takes any free one.")
    ] = "127.0.0.1:7053",
    require_auth: Annotated[
        bool, typer.Option("--require-auth", help="Ask for a token or a signature also from this machine.")
    ] = False,
    tls_cert: Annotated[
        Path | None, typer.Option("--tls-cert", metavar="FILE", help="The certificate chain, PEM.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option("--tls-key", metavar="FILE", help="Its key, PEM.")] = None,
    heartbeat: Annotated[
        float,
        typer.Option(
            "--heartbeat",
            metavar="SECONDS",
            min=0.2,
            max=300,
            help="How often workers give a sign; thrice silent: out.",
        ),
    ] = 5,
    lease: Annotated[
        float,
        typer.Option(
            "--lease",
            metavar="SECONDS",
            min=1,
            max=86_400,
            help="How long a worker may hold a micro job.",
        ),
    ] = 600,
    as_json: Json = False,
) -> None:
    """Serve this home until Ctrl-C or SIGTERM.

    This machine needs no credentials unless --require-auth asks for them; to listen elsewhere, make a token first.
    """
    from tallystick.cli.node import Wanted
    from tallystick.cli.node import start as begin

    wanted = Wanted(listen, require_auth, tls_cert, tls_key, heartbeat, lease)
    begin(wanted, as_json=as_json)


@token_app.callback(invoke_without_command=True)
def token(context: typer.Context) -> None:
    """Make, list and revoke tokens: what callers of a node show who hold no key of their own."""
    _help_if_alone(context)


@token_app.command()
def create(
    scope: Annotated[
        str, typer.Option("--scope", metavar="LIST", help="reporter, requester, provider, operator; comma between.")
    ],
    account: Annotated[str, typer.Option("--account", metavar="NAME", help="Whose it is.")] = "home",
    expires: Annotated[
        str | None, typer.Option("--expires", metavar="TIME", help="30d, 12h, 45m; default: never.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a token and print it, once."""
    from tallystick.cli.token import create_token

    raise typer.Exit(create_token(scope, account, expires, as_json=as_json))


@token_app.command(name="list")
def list_(as_json: Json = False) -> None:
    """List tokens; their secrets are not kept."""
    from tallystick.cli.token import list_tokens

    raise typer.Exit(list_tokens(as_json=as_json))


@token_app.command()
def revoke(
    token_id: Annotated[str, typer.Argument(metavar="ID", help="As `tally token list` shows it.")],
    as_json: Json = False,
) -> None:
    """Shut a token for ever."""
    from tallystick.cli.token import revoke_token

    raise typer.Exit(revoke_token(token_id, as_json=as_json))


def _help_if_alone(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit
