"""The verb `tally anchor`: its options and help. Whatever is heavy loads inside the verb."""

from __future__ import annotations

from typing import Annotated

import typer

anchor_app = typer.Typer(rich_markup_mode=None)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, all else on stderr.")]


@anchor_app.callback(invoke_without_command=True)
def anchor(  # noqa: PLR0917 - typer calls by name; the order is that of the help
    context: typer.Context,
    rpc: Annotated[
        str | None, typer.Option("--rpc", metavar="URL", help="Anchor on this chain from now on (JSON-RPC).")
    ] = None,
    contract: Annotated[
        str | None, typer.Option("--contract", metavar="ADDRESS", help="The ERC-7053 contract there.")
    ] = None,
    deploy: Annotated[
        bool, typer.Option("--deploy", help="Make a registry of your own there first; it is paid for.")
    ] = False,
    fee_cap: Annotated[
        str | None,
        typer.Option("--fee-cap", metavar="GWEI", help="Wait while one unit of gas costs more; default 500."),
    ] = None,
    confirmations: Annotated[
        int | None,
        typer.Option("--confirmations", min=0, max=10_000, metavar="N", help="Blocks on top that count as final."),
    ] = None,
    embedded: Annotated[bool, typer.Option("--embedded", help="Anchor on this home's own chain from now on.")] = False,
    wait: Annotated[
        int, typer.Option("--wait", min=0, max=86_400, metavar="SECONDS", help="How long to wait until it is final.")
    ] = 300,
    as_json: Json = False,
) -> None:
    """Write the newest checkpoint of this home to a chain, once (ERC-7053).

    Without options: where it was done last, first of all on this home's own chain. What was named is remembered.
    """
    if context.invoked_subcommand is not None:
        return
    from tallystick.cli.anchor import anchor_now
    from tallystick.cli.chains import Asked

    asked = Asked(rpc, contract, deploy, fee_cap, confirmations, embedded)
    raise typer.Exit(anchor_now(asked, wait, as_json=as_json))


@anchor_app.command()
def status(as_json: Json = False) -> None:
    """Say how this home's anchors stand, and who pays for them; asks no chain."""
    from tallystick.cli.anchor import show_status

    raise typer.Exit(show_status(as_json=as_json))


@anchor_app.command()
def policy(
    when: Annotated[
        str | None, typer.Argument(metavar="WHEN", help="1h, 30m, 1000 (entries), event, off; default: show it.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Say when a running node anchors by itself: after a while, after so many entries, after every event, or never."""
    from tallystick.cli.anchor import set_policy

    raise typer.Exit(set_policy(when, as_json=as_json))
