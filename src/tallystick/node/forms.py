"""From a buyer's form to a wish of this node: names, rates and deadlines, as values alone."""

from __future__ import annotations

from typing import Final

import msgspec

from tallystick.node.ordering import DEFAULT_AUDIT, Windows, Wish
from tallystick.node.views import OrderForm

MINUTE_MS: Final = 60_000


def wish_of(form: OrderForm, account: str, job_id: str, output_path: str, now: int, *, requester: str = "") -> Wish:
    """Return the wish that a form of an account stands for; its workers are on other machines.

    ``requester`` is the key in hex of a buyer that signs for itself.
    """
    return Wish(
        job_id=job_id,
        input=form.input,
        input_name=form.input_name,
        output_path=output_path,
        scale=form.scale,
        created=now,
        block=form.block,
        workers=form.workers,
        placement=form.placement,
        duplicates=form.duplicates,
        audit=DEFAULT_AUDIT if form.audit is None else form.audit,
        audit_blocks=form.audit_blocks,
        windows=windows(form.minutes),
        account=account,
        remote=True,
        price_max=form.price_max or "",
        workers_least=min(form.workers, form.workers_least),
        audit_least=form.audit is None,
        requester=requester,
    )


def windows(minutes: int) -> Windows:
    """Return deadlines: so many minutes to commit, a sixth more for the bytes, as much again for openings."""
    commit, usual = minutes * MINUTE_MS, Windows()
    more = max(MINUTE_MS, commit // 6)
    return Windows(
        commit=commit,
        upload=commit + more,
        reveal=commit + 2 * more,
        judge=usual.judge,
        dispute=usual.dispute,
        refund=usual.refund,
    )


def strangers(wish: Wish) -> Wish:
    """Return the wish as if every worker had an operator of its own: a price does not depend on who they are."""
    return msgspec.structs.replace(wish, operators=wish.workers)
