"""A process that may be killed: orders one picture in a home and runs it, saying each durable entry as it hears of it.

Lines on stdout: ``ready`` before the home is opened, ``<index> <txHash>`` for every entry that is durable, ``done``.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from tallystick.cli.home import open_home
from tallystick.job import PPM
from tallystick.ledger.transactions import Transaction
from tallystick.node.ordering import Wish

JOB = "killed"


def heard(transaction: Transaction, index: int) -> None:
    """Say that an entry is durable; the line has left the process when this returns."""
    print(index, transaction.tx_hash, flush=True)


def main(home: Path, source: Path, output: Path) -> None:
    """Order, unless an earlier process did, and run what is unfinished."""
    data = source.read_bytes()
    wish = Wish(
        job_id=JOB,
        input=hashlib.sha256(data).hexdigest(),
        input_name="input.png",
        output_path=str(output),
        scale="2",
        created=1,
        block=32,
        operators=3,
        audit=PPM,
        duplicates=62_500,
        simulated=True,
        dishonest=1,
    )
    print("ready", flush=True)
    with open_home(home, watch=heard, threads=2) as opened:
        if not opened.node.wishes.every():
            opened.node.accept(opened.node.offer(wish, data), data)
        for job_id in opened.node.wishes.unfinished():
            opened.node.run(job_id)
    print("done", flush=True)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
