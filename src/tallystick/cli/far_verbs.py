"""The verbs `tally worker` and `tally watch`: their options and help. Whatever is heavy loads inside the verb."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Node = Annotated[
    str | None,
    typer.Option("--node", metavar="URL", envvar="TALLY_NODE", help="A node; default: one that runs in this home."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, all else on stderr.")]
Token = Annotated[
    str | None, typer.Option("--token", metavar="TOKEN", envvar="TALLY_TOKEN", help="A token of the node, if it asks.")
]
TlsCa = Annotated[Path | None, typer.Option("--tls-ca", metavar="FILE", help="Who signed the node's certificate, PEM.")]


def worker(  # noqa: PLR0917 - typer calls by name; the order is that of the help
    url: Annotated[str, typer.Argument(metavar="URL", envvar="TALLY_NODE", help="The node: http://HOST:PORT.")],
    backend: Annotated[str, typer.Option("--backend", metavar="NAME", help="What computes.")] = "numpy",
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, max=63, metavar="N", help="Kernels at once; default: all cores.")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="A name, hence a key, of its own; default: 1, 2, …")
    ] = None,
    stake: Annotated[str, typer.Option("--stake", metavar="CPC", help="The bond it stands with.")] = "10",
    token: Token = None,
    tls_ca: TlsCa = None,
    drain_seconds: Annotated[
        float, typer.Option("--drain-seconds", min=0, metavar="S", help="How long leaving may take.")
    ] = 30.0,
    as_json: Json = False,
) -> None:
    """Work for a node, and be paid for what verifies.

    Makes a key in this home at first use, registers and bonds it, then computes until Ctrl-C or SIGTERM: the first
    ends what is in hand, the second ends at once. With --json one line per receipt.
    """
    from tallystick.cli.worker import Wanted, work

    verify = None if tls_ca is None else str(tls_ca)
    wanted = Wanted(url, backend, threads, name, stake, token, verify, drain_seconds)
    raise typer.Exit(work(wanted, as_json=as_json))


def watch(
    job: Annotated[str, typer.Argument(metavar="JOB", help="A job's name, as `tally jobs` shows it.")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Fetch its output here, its evidence beside it.")
    ] = None,
    node: Node = None,
    token: Token = None,
    tls_ca: TlsCa = None,
    as_json: Json = False,
) -> None:
    """Follow a job at a node until it has ended, and fetch its files with --out."""
    from tallystick.cli.far import Named
    from tallystick.cli.watch import watch as follow

    raise typer.Exit(follow(job, Named(node, token, tls_ca), out, as_json=as_json))
