"""Routes of orders that their buyers sign: the offer, the signed order, the secret at the end."""

from __future__ import annotations

from functools import partial
from http import HTTPStatus
from typing import Final

from litestar import get, post

from tallystick.api.aside import aside
from tallystick.api.guard import Caller
from tallystick.api.house import Asker, Here, House
from tallystick.api.jobs import CONFLICT, JOB, TAG, own
from tallystick.api.parameters import JobPath
from tallystick.errors import AbsentError
from tallystick.node.ordering import Wish
from tallystick.node.views import JobView, OfferView, SecretForm, SignedOrder


def theirs(house: House, caller: Caller, job_id: str) -> Wish:
    """Return the wish of an order that is the caller's own; not even an operator speaks for its buyer.

    Raises:
        AbsentError: it is another account's, or there is none.
    """
    if own(house, caller, job_id).account != caller.account:
        raise AbsentError(f"there is no job {job_id} of this account")
    return house.host.node.wishes.get(job_id)


@get(f"{JOB}/offer", tags=TAG, responses=CONFLICT)
async def show_offer(house: Here, caller: Asker, job_id: JobPath) -> OfferView:
    """Return what the buyer of an order is asked to sign, once its workers are found."""
    return await aside(partial(_offer, house, caller, job_id))


@post(f"{JOB}/order", tags=TAG, status_code=HTTPStatus.OK, responses=CONFLICT)
async def sign_order(house: Here, caller: Asker, job_id: JobPath, data: SignedOrder) -> JobView:
    """Log the escrow and the order that a buyer signed, both or none; they are durable when this answers."""
    return await aside(partial(_take, house, caller, job_id, data))


@post(f"{JOB}/secret", tags=TAG, status_code=HTTPStatus.OK, responses=CONFLICT)
async def reveal(house: Here, caller: Asker, job_id: JobPath, data: SecretForm) -> JobView:
    """Take the buyer's secret, from which the challenge is drawn; it is asked for once the uploads closed."""
    return await aside(partial(_reveal, house, caller, job_id, data))


def _offer(house: House, caller: Caller, job_id: str) -> OfferView:
    return house.host.node.own.offer(theirs(house, caller, job_id))


def _take(house: House, caller: Caller, job_id: str, data: SignedOrder) -> JobView:
    house.host.node.own.take(theirs(house, caller, job_id), data.escrow.encode(), data.order.encode())
    return own(house, caller, job_id)


def _reveal(house: House, caller: Caller, job_id: str, data: SecretForm) -> JobView:
    house.host.node.own.reveal(theirs(house, caller, job_id), bytes.fromhex(data.secret))
    return own(house, caller, job_id)


ROUTES: Final = (show_offer, sign_order, reveal)
