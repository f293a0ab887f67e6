"""`tally submit upscale INPUT --node URL`: the same price, question, progress and files as at home.

What comes back is checked like anybody's: each file against the digest that the node names, and all of it by
`tally verify`. The node's own word about its keys is written beside the output and pinned by nobody but the user.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from tallystick.cli.asking import Asked, Words, ask
from tallystick.cli.exits import FAILED, say
from tallystick.cli.far import Far
from tallystick.cli.far_files import again, deliver
from tallystick.cli.following import follow
from tallystick.cli.lifecycle import Lifecycle
from tallystick.cli.screen import Screen
from tallystick.cli.words import count, cpc, hidden_words, near, share
from tallystick.errors import UsageError
from tallystick.job import Placement

if TYPE_CHECKING:
    from tallystick.client.connected import Client
    from tallystick.node.views import JobView, OrderForm, PriceView

KEY_BYTES: Final = 16
_CHANNELS: Final = {1: "grey", 2: "grey with alpha", 3: "RGB", 4: "RGBA"}
_FILE_NAME: Final = re.compile(r"[A-Za-z0-9_@][A-Za-z0-9_@. +-]{0,119}")


def upscale(words: Words, far: Far, *, yes: bool, as_json: bool) -> int:
    """Run one order at a node from its price to its proof; return the exit code."""
    from tallystick.adapters.local import SystemClock
    from tallystick.adapters.pillow import decode_image
    from tallystick.cli.submit import agreed, check_price
    from tallystick.client import calls

    if words.own_key and (far.own or far.token):
        raise UsageError("--own-key signs by this home's key: at a node of another home, and without a token")
    if words.workers_least is not None and words.workers_least > words.workers:
        raise UsageError(f"--workers-least {words.workers_least} is more than --workers {words.workers}")
    asked = ask(words, SystemClock().now())
    screen = Screen(as_json=as_json)
    life = Lifecycle(screen, output=asked.wish.output_path)
    with far.client(decode_image) as node:
        form = _form(asked, words)
        with _uploaded(node, asked, screen):
            price = node.run(calls.price(form))
            _show_order(screen, far, asked, price, own_key=words.own_key)
            check_price(asked, int(price.total))
            if not yes and not agreed(int(price.total)):
                say("nothing was locked")
                return FAILED
            view = _order(node, form, asked, price)
        screen.note(f"\nJob {view.job_id} is ordered: `{again(far, view.job_id, life.output)}` shows it")
        view = follow(far, view.job_id, screen, life, node.buyer if words.own_key else None)
        return deliver(far, node, view, life, asked)


@contextmanager
def _uploaded(node: Client, asked: Asked, screen: Screen) -> Iterator[None]:
    """Keep the picture at the node for as long as the question is open."""
    from tallystick.client import calls
    from tallystick.client.files import Source

    with screen.live("the picture travels to the node"):
        state = node.run(calls.upload(Source.of(asked.data)))
    try:
        yield
    finally:
        node.run(calls.forget(state))


def _order(node: Client, form: OrderForm, asked: Asked, price: PriceView) -> JobView:
    """Order; what is signed here costs at most what was shown, where no other maximum was named."""
    from tallystick.client import calls

    if form.price_max is None:
        form = msgspec.structs.replace(form, price_max=price.total)
    view = node.run(calls.order(form, secrets.token_hex(KEY_BYTES)))
    if node.buyer is not None:
        node.buyer.remember(view, form, asked.data)
    return view


def _form(asked: Asked, words: Words) -> OrderForm:
    """Return the order as a node takes it; a name that it would not take stays at home."""
    from tallystick.node.ordering import DEFAULT_AUDIT
    from tallystick.node.views import DEFAULT_MINUTES, OrderForm

    wish, name = asked.wish, Path(asked.wish.output_path).name
    return OrderForm(
        input=wish.input,
        scale=wish.scale,
        input_name=wish.input_name[:200] or "input",
        output_name=name if _FILE_NAME.fullmatch(name) else "output.png",
        block=wish.block,
        workers=wish.workers,
        placement=wish.placement,
        duplicates=wish.duplicates,
        audit=None if wish.audit == DEFAULT_AUDIT else wish.audit,
        price_max=None if asked.price_max is None else str(asked.price_max),
        minutes=words.minutes or DEFAULT_MINUTES,
        workers_least=words.workers_least or 1,
        own_key=words.own_key,
    )


def _show_order(screen: Screen, far: Far, asked: Asked, price: PriceView, *, own_key: bool) -> None:
    """Print what is asked for, the law, and the price with its parts."""
    named = (("work", price.work), ("copies", price.duplicates), ("audits", price.audits), ("reserve", price.reserve))
    spelled = " + ".join(f"{name} {cpc(int(part))}" for name, part in named if int(part))
    pixels = f"{price.source[0]} x {price.source[1]} to {price.target[0]} x {price.target[1]}"
    kind = f"{_CHANNELS.get(price.channels, '?')} {price.depth} bit"
    hands = f"up to {count(price.workers, 'worker')} of {count(price.operators, 'operator')}"
    hands += "; none is connected now" if price.assumed else ""
    audits = f"audits at {share(price.audit_rate)} (at most {count(price.audited_blocks, 'block')})"
    output = asked.wish.output_path
    replaced = " (replaces the file there)" if Path(output).exists() else ""
    pairs = [
        ("Order", f"{asked.wish.input_name}, {kind}, {pixels}"),
        ("Work", f"{count(price.blocks, 'block')} in {count(price.microjobs, 'micro job')} for {hands}"),
        ("Law", f"bits must be equal; {count(price.copies, 'copy', 'copies')}; {audits}"),
        ("Price", f"{cpc(int(price.total))} at most = {spelled}; unused wei return"),
    ]
    if asked.wish.placement is Placement.HIDDEN:
        pairs.append(("Hidden", hidden_words(price.microjob_blocks, one_operator=price.operators == 1)))
    pairs += [
        ("Node", far.url + (", which runs in this home" if far.own else "")),
        ("Signed", "with this home's key, here" if own_key else "by the node, for this account"),
        ("Output", f"{near(output)}{replaced}"),
    ]
    screen.pairs(pairs, log=True)
