"""`tally submit upscale INPUT`: the price, the question, the job, and what it proves."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tallystick.adapters.local import SystemClock
from tallystick.cli.asking import Asked, Words, ask
from tallystick.cli.ending import show, show_files
from tallystick.cli.exits import FAILED, say
from tallystick.cli.home import home_path, open_home
from tallystick.cli.lifecycle import Lifecycle
from tallystick.cli.running import meet, resume, run_job
from tallystick.cli.screen import Screen
from tallystick.cli.words import command, count, cpc, hidden_words, near, share
from tallystick.errors import PriceError, UsageError
from tallystick.job import JobSpec, Placement
from tallystick.ledger.settlement import audited_blocks_max
from tallystick.node.shell import Offer
from tallystick.slicing import layout
from tallystick.slicing import share as rounded

GIB: Final = 1 << 30
PLAY_MONEY: Final = "development ledger: play money from this home's own faucet"


def upscale(words: Words, *, yes: bool, as_json: bool) -> int:
    """Run one order from its price to its proof; return the exit code."""
    if words.own_key:
        raise UsageError("--own-key signs an order at a node elsewhere: name it with --node URL")
    for option, typed in (("--minutes", words.minutes), ("--workers-least", words.workers_least)):
        if typed is not None:
            raise UsageError(f"{option} is about the workers of a node: name it with --node URL; here it means nothing")
    asked = ask(words, SystemClock().now())
    screen = Screen(as_json=as_json)
    life = Lifecycle(screen)
    with open_home(home_path(), watch=life.heard) as home:
        meet(home, life)
        offer = home.node.offer(asked.wish, asked.data)
        replaced = " (replaces the file there)" if Path(asked.wish.output_path).exists() else ""
        show_order(screen, offer, [("Money", PLAY_MONEY), ("Output", f"{near(asked.wish.output_path)}{replaced}")])
        _check_room(offer, home.path)
        check_price(asked, offer.price.total)
        if not yes and not agreed(offer.price.total):
            say("nothing was locked")
            return FAILED
        resume(home, screen, life)
        life.follow(offer.spec)
        screen.note("")
        home.node.accept(offer, asked.data, asked.price_max)
        ended = run_job(home, screen, life, asked.wish.job_id, offer.picture)
        screen.result(ended.as_json())
        if not as_json:
            screen.line()
            show(screen, ended, life.cast)
            screen.line()
            show_files(screen, ended)
            screen.line()
            screen.pairs([("Check it", command("verify", near(ended.output)))])
    return 0


def _check_room(offer: Offer, home: Path) -> None:
    """Check that the blocks fit on the disk at all; what deflate makes of the output nobody knows yet.

    Raises:
        UsageError: they do not.
    """
    task = offer.spec.task
    needed = task.target_width * task.target_height * task.channels * (task.depth // 8)
    free = shutil.disk_usage(home).free
    if free < needed:
        sizes = f"{needed / GIB:.1f} GiB of blocks do not fit into {home}, where {free / GIB:.1f} GiB are free"
        raise UsageError(f"{sizes}: make room, or use a smaller --scale")


def check_price(asked: Asked, total: int) -> None:
    """Check a price in wei against the most that the buyer allows.

    Raises:
        PriceError: it is higher.
    """
    if asked.price_max is not None and total > asked.price_max:
        most = f"--max-price allows {cpc(asked.price_max)}"
        raise PriceError(f"the order would lock {cpc(total)}, {most}: nothing was locked")


def agreed(total: int) -> bool:
    """Ask a person; where none sits, the command itself is the answer."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return True
    sys.stderr.write(f"\nLock {cpc(total)} and start? [Y/n] ")
    sys.stderr.flush()
    answer = sys.stdin.readline()
    return bool(answer) and answer.strip().lower() in {"", "y", "yes"}


def show_order(screen: Screen, offer: Offer, more: Sequence[tuple[str, str]] = ()) -> None:
    """Print what is asked for, the law, the price with its parts, and what else is to be known before."""
    spec, price = offer.spec, offer.price
    task, counts = spec.task, layout(spec)
    parts = [("work", price.work), ("copies", price.duplicates), ("audits", price.audits), ("reserve", price.reserve)]
    spelled = " + ".join(f"{name} {cpc(part)}" for name, part in parts if part)
    pixels = f"{task.source_width} x {task.source_height} to {task.target_width} x {task.target_height}"
    kind = {1: "grey", 2: "grey with alpha", 3: "RGB", 4: "RGBA"}[task.channels]
    hands = f"{count(len(spec.pool), 'worker')} of {count(spec.operators, 'operator')}"
    pairs = [
        ("Job", f"{spec.job_id}: {offer.wish.input_name}, {kind} {task.depth} bit, {pixels}"),
        ("Work", f"{count(counts.blocks, 'block')} in {count(counts.microjobs, 'micro job')} for {hands}"),
        ("Law", law_words(spec)),
        ("Price", f"{cpc(price.total)} at most = {spelled}; unused wei return"),
    ]
    if spec.policy.placement is Placement.HIDDEN:
        pairs.append(("Hidden", hidden_words(counts.size, one_operator=spec.referee_copies)))
    screen.pairs([*pairs, *more], log=True)


def law_words(spec: JobSpec) -> str:
    """Say how the result will be judged."""
    counts, policy = layout(spec), spec.policy
    audited = rounded(policy.audit, counts.microjobs)
    if not counts.copies and not audited:
        return "bits must be equal, but nothing of so small a job is checked at these rates: --audit-rate 1 checks all"
    hidden = policy.placement is Placement.HIDDEN
    copied = f"{100 * counts.copies / counts.blocks:.3g} %, hidden" if hidden else share(policy.duplicates)
    copies = f"{count(counts.copies, 'copy', 'copies')} ({copied})"
    blocks = count(audited_blocks_max(spec, counts), "block")
    drawn = count(audited, "micro job")
    return f"bits must be equal; {copies}; audits at {share(policy.audit)} ({drawn}, at most {blocks})"
