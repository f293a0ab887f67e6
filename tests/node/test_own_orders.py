"""Orders by a buyer's own key: what the node offers, what the buyer signs, who draws the challenge, what kills survive.

Knows: the host, the exchange, the client's scripts, workers as threads. Refuses to know: HTTP and sockets.
"""

from __future__ import annotations

import io
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from PIL import Image

from tallystick.client import calls
from tallystick.client.buying import attend
from tallystick.errors import (
    CommitmentError,
    ConflictError,
    FundsError,
    NonceError,
    PriceError,
    SignatureError,
    TallyError,
    UsageError,
    VerificationError,
)
from tallystick.job import PPM
from tallystick.kernels.lanczos import resample
from tallystick.ledger import payloads as say
from tallystick.ledger.records import supply
from tallystick.ledger.transactions import Draft, decode, sign
from tallystick.node.ordering import INDEPENDENCE_NONE, Windows
from tallystick.node.own_orders import UNSIGNED
from tallystick.node.sequencer import Submission
from tallystick.node.views import BuyerStep, JobState, SignedOrder
from tests.buyers import Desk, key_of
from tests.remote_world import LineWorker, RemoteWorld, Stalling, form, picture, remote_world
from tests.worlds import SUPPLY

RICH = 10**21


def hire(world: RemoteWorld, *names: str) -> None:
    for name in names:
        world.hire(name)


def asked(data: bytes, **more: Any) -> Any:  # noqa: ANN401 - an OrderForm
    return form(data, **{"audit": PPM, "price_max": str(RICH), **more})


def payloads_of(world: RemoteWorld, job_id: str, kind: type) -> list[Any]:
    return [entry.payload for _, entry in world.book.entries_of(job_id) if isinstance(entry.payload, kind)]


def check(world: RemoteWorld, job_id: str, data: bytes) -> None:
    delivered = np.asarray(Image.open(world.host.file(job_id, "output")))
    source = np.asarray(Image.open(io.BytesIO(data)))
    assert np.array_equal(delivered, resample(source, (source.shape[1] * 2, source.shape[0] * 2)))
    assert world.locked() == []
    assert supply(world.records()) == SUPPLY  # type: ignore[arg-type]
    assert world.troubles == []


def wants(desk: Desk, job_id: str, step: BuyerStep) -> None:
    desk.until(job_id, lambda view: view.wanted is step)


def test_the_buyer_signs_and_reveals_and_the_node_never_signs_for_it(tmp_path: Path) -> None:
    data = picture()
    with remote_world(tmp_path) as world:
        hire(world, "one", "two")
        desk = Desk(world, "ann")
        job = desk.submit(asked(data), data)
        assert job.requester == desk.key.public.hex()
        waiting = desk.until(job.job_id, lambda view: view.wanted is BuyerStep.ORDER)
        assert (waiting.state, waiting.waiting) == (JobState.QUEUED, UNSIGNED)
        assert world.book.job(job.job_id) is None, "nothing may be locked before the buyer signed"
        assert desk.through(job.job_id).state is JobState.DONE
        check(world, job.job_id, data)
        entries = [entry for _, entry in world.book.entries_of(job.job_id)]
        for entry in entries:
            theirs = isinstance(entry.payload, say.EscrowLocked | say.JobSubmitted)
            assert (entry.sender == desk.key.public) == theirs
        spec = world.book.order(job.job_id, 1).spec
        assert INDEPENDENCE_NONE not in spec.labels
        assert spec.labels == ()
        (drawn,) = payloads_of(world, job.job_id, say.ChallengeDrawn)
        assert drawn.drawn_by is say.Drawer.BUYER
        assert drawn.secret == desk.buyer.secret(spec).hex()


def test_who_asks_for_custody_gets_it_with_its_label(tmp_path: Path) -> None:
    data = picture()
    with remote_world(tmp_path) as world:
        hire(world, "one", "two")
        job = world.host.submit("ann", asked(data, own_key=False), data)
        world.wait(job.job_id)
        assert INDEPENDENCE_NONE in world.book.order(job.job_id, 1).spec.labels
        with pytest.raises(ConflictError, match="no offer"):
            world.host.node.own.offer(world.host.node.wishes.get(job.job_id))
        with pytest.raises(ConflictError, match="no buyer's secret"):
            world.host.node.own.reveal(world.host.node.wishes.get(job.job_id), bytes(32))


def test_a_silent_buyer_leaves_the_draw_to_the_operator_at_the_reveal_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tallystick.node.forms.windows", lambda _: Windows(commit=5_000, upload=6_000, reveal=7_000))
    data = picture()
    with remote_world(tmp_path) as world:
        hire(world, "one", "two")
        desk = Desk(world, "ann")
        job = desk.submit(asked(data), data)
        wants(desk, job.job_id, BuyerStep.ORDER)
        begin = time.monotonic()
        desk.attend(job.job_id)
        world.wait(job.job_id)
        assert time.monotonic() - begin > 5, "the buyer was not given its time"
        check(world, job.job_id, data)
        (drawn,) = payloads_of(world, job.job_id, say.ChallengeDrawn)
        assert drawn.drawn_by is say.Drawer.OPERATOR
        with pytest.raises(ConflictError, match="once the uploads closed"):
            world.host.node.own.reveal(world.host.node.wishes.get(job.job_id), bytes(32))


def test_a_secret_is_taken_once_the_uploads_closed_and_only_if_it_opens_the_commitment(tmp_path: Path) -> None:
    data = picture()
    with remote_world(tmp_path) as world:
        hire(world, "one", "two")
        desk, own = Desk(world, "ann"), world.host.node.own
        job = desk.submit(asked(data), data)
        wish = world.host.node.wishes.get(job.job_id)
        wants(desk, job.job_id, BuyerStep.ORDER)
        with pytest.raises(ConflictError):
            own.reveal(wish, bytes(32))
        desk.attend(job.job_id)
        wants(desk, job.job_id, BuyerStep.SECRET)
        with pytest.raises(CommitmentError):
            own.reveal(wish, bytes(32))
        assert desk.view(job.job_id).wanted is BuyerStep.SECRET, "a wrong secret was kept"
        assert desk.through(job.job_id).state is JobState.DONE
        assert payloads_of(world, job.job_id, say.ChallengeDrawn)[0].drawn_by is say.Drawer.BUYER


def _price(body: dict[str, Any]) -> None:
    body["order"]["spec"]["price"]["block"] = str(10**20)


def _times(body: dict[str, Any]) -> None:
    body["order"]["spec"]["deadlines"]["commit"] += 1


def _label(body: dict[str, Any]) -> None:
    body["order"]["spec"]["labels"] = ["simulated: true"]


def _scale(body: dict[str, Any]) -> None:
    task = body["order"]["spec"]["task"]
    task |= {"scale": "3", "target_width": task["source_width"] * 3, "target_height": task["source_height"] * 3}


def _audit(body: dict[str, Any]) -> None:
    body["order"]["spec"]["policy"] |= {"audit": 500_000, "audit_blocks": 1}


def _input(body: dict[str, Any]) -> None:
    body["order"]["spec"]["input"] = "11" * 32


def _salt(body: dict[str, Any]) -> None:
    body["input_salt"] = "11" * 16


def _requester(body: dict[str, Any]) -> None:
    body["order"]["spec"]["requester"] = key_of("bob").public.hex()


def _chain(body: dict[str, Any]) -> None:
    body["chain_id"] = body["order"]["spec"]["chain_id"] = "tally-dev-0000000000000000"


def _nonce(body: dict[str, Any]) -> None:
    body["nonce"] += 1


def _escrow(body: dict[str, Any]) -> None:
    body["escrow"]["reserve"] = str(int(body["escrow"]["reserve"]) + 1)


def _job(body: dict[str, Any]) -> None:
    body["job_id"] = body["order"]["spec"]["job_id"] = body["escrow"]["job_id"] = "up-other"


def _promise(body: dict[str, Any]) -> None:
    body["order"]["buyer_commitment"] = "22" * 32


def _simulated(body: dict[str, Any]) -> None:
    body["order"]["spec"]["simulated"] = True


ALTERED = (
    _price,
    _times,
    _label,
    _scale,
    _audit,
    _input,
    _salt,
    _requester,
    _chain,
    _nonce,
    _escrow,
    _job,
    _promise,
    _simulated,
)


def test_an_offer_that_the_node_altered_is_not_signed(tmp_path: Path) -> None:
    data = picture()
    with remote_world(tmp_path) as world:
        hire(world, "one", "two")
        desk = Desk(world, "ann")
        job = desk.submit(asked(data), data)
        wants(desk, job.job_id, BuyerStep.ORDER)
        for change in ALTERED:
            desk.alter = {"offer": change}
            with pytest.raises((VerificationError, PriceError)):
                desk.run(attend(desk.view(job.job_id), desk.buyer))
            assert world.book.job(job.job_id) is None, change
        desk.alter = {"offer": lambda body: body.pop("order")}
        with pytest.raises(TallyError):
            desk.run(attend(desk.view(job.job_id), desk.buyer))
        desk.alter = {}
        assert desk.through(job.job_id).state is JobState.DONE


def test_a_node_that_says_too_early_that_uploads_closed_learns_nothing(tmp_path: Path) -> None:
    data = picture()
    with remote_world(tmp_path) as world:
        hire(world, "one", "two")
        desk = Desk(world, "ann")
        job = desk.submit(asked(data), data)
        wants(desk, job.job_id, BuyerStep.ORDER)
        desk.attend(job.job_id)

        def forged(body: dict[str, Any]) -> None:
            body["entries"] = [
                each for each in body["entries"] if each["entry"]["type"] in {"EscrowLocked", "JobSubmitted"}
            ]

        desk.alter = {"entries": forged}
        lie = msgspec.structs.replace(desk.view(job.job_id), wanted=BuyerStep.SECRET)
        with pytest.raises(VerificationError, match="end of the uploads"):
            desk.run(attend(lie, desk.buyer))
        desk.alter = {}
        assert desk.through(job.job_id).state is JobState.DONE


def test_what_a_buyer_hands_in_is_held_to_the_offer(tmp_path: Path) -> None:
    data = picture()
    with remote_world(tmp_path) as world:
        hire(world, "one", "two")
        ann, bob = Desk(world, "ann"), Desk(world, "bob")
        job = ann.submit(asked(data), data)
        wants(ann, job.job_id, BuyerStep.ORDER)
        own, wish = world.host.node.own, world.host.node.wishes.get(job.job_id)
        offer = own.offer(wish)
        escrow = msgspec.convert(offer.escrow, say.EscrowLocked)
        order = msgspec.convert(offer.order, say.JobSubmitted)
        for desk in (ann, bob):
            faucet = world.home.identity.faucet()
            world.book.must(Submission((Draft(faucet, say.Transfer(desk.key.address, str(RICH))),)))

        def hand_in(key: Any, *items: Any, nonce: int = 0) -> None:  # noqa: ANN401 - keys and payloads
            texts = [sign(Draft(key, each), offer.chain_id, nonce + place).entry for place, each in enumerate(items)]
            own.take(wish, texts[0], texts[1])

        with pytest.raises(VerificationError, match="sender"):
            hand_in(bob.key, escrow, order)
        with pytest.raises(NonceError):
            hand_in(ann.key, escrow, order, nonce=1)
        with pytest.raises(ConflictError, match="not what job"):
            hand_in(ann.key, msgspec.structs.replace(escrow, work="1"), order)
        other = msgspec.structs.replace(order, spec=msgspec.structs.replace(order.spec, labels=("x: y",)))
        with pytest.raises(ConflictError, match="not what job"):
            hand_in(ann.key, escrow, other)
        with pytest.raises(ConflictError, match="not what job"):
            hand_in(ann.key, order, escrow)
        good = [sign(Draft(ann.key, each), offer.chain_id, place).entry for place, each in enumerate((escrow, order))]
        broken = good[1].replace(decode(good[1]).signature.hex().encode(), decode(good[0]).signature.hex().encode())
        with pytest.raises(SignatureError):
            own.take(wish, good[0], broken)
        assert world.book.job(job.job_id) is None
        assert world.locked() == []
        own.take(wish, good[0], good[1])
        own.take(wish, good[0], good[1])  # the reply was lost: the same again is no second order
        assert len(payloads_of(world, job.job_id, say.JobSubmitted)) == 1


def test_bonds_that_went_to_another_order_lead_to_a_new_offer(tmp_path: Path) -> None:
    data = picture()
    with remote_world(tmp_path) as world:
        hire(world, "one", "two")
        desk = Desk(world, "ann")
        job = desk.submit(asked(data), data)
        wants(desk, job.job_id, BuyerStep.ORDER)
        own, wish = world.host.node.own, world.host.node.wishes.get(job.job_id)
        first = own.offer(wish)
        worker = world.workers["one"]
        worker.leave()
        bond = world.book.free_bond(worker.public)
        world.book.must(Submission((Draft(worker.honest.key, say.StakeWithdrawn(str(bond))),)))
        with pytest.raises(ConflictError, match="a new offer is made"):
            desk.run(_signed(desk, job.job_id, first))
        world.hire("three")
        assert desk.through(job.job_id).state is JobState.DONE
        pool = {seat.worker for seat in world.book.order(job.job_id, 1).spec.pool}
        assert worker.public not in pool


def _signed(desk: Desk, job_id: str, offer: Any) -> Any:  # noqa: ANN401 - a script
    escrow, order = desk.buyer.check(desk.buyer.terms[job_id], offer)
    yield from calls.faucet(desk.key.address, RICH)
    signed = [
        sign(Draft(desk.key, each), offer.chain_id, place).entry.decode()  # type: ignore[arg-type]
        for place, each in enumerate((escrow, order))
    ]
    yield from calls.sign_order(job_id, SignedOrder(*signed))


@pytest.mark.parametrize("moment", ["offer", "order", "secret"])
def test_a_restart_between_offer_order_and_secret_goes_on(tmp_path: Path, moment: str) -> None:
    """The world is left without an orderly end of the job; tests/node/test_own_process.py does it with SIGKILL."""
    data = picture()
    with remote_world(tmp_path) as world:
        hire(world, "one", "two")
        desk = Desk(world, "ann")
        job = desk.submit(asked(data), data)
        wants(desk, job.job_id, BuyerStep.ORDER)
        offered = world.host.node.own.offer(world.host.node.wishes.get(job.job_id))
        if moment != "offer":
            desk.attend(job.job_id)
            wants(desk, job.job_id, BuyerStep.SECRET)
        if moment == "secret":
            secret = desk.buyer.secret(world.book.order(job.job_id, 1).spec)
            world.host.node.own.tell = lambda _job, _fact: None  # killed after it was kept, before it was used
            world.host.node.own.reveal(world.host.node.wishes.get(job.job_id), secret)
    with remote_world(tmp_path) as world:
        again = Desk(world, "ann")
        again.buyer.terms = desk.buyer.terms if moment == "offer" else {}
        if moment == "offer":
            assert world.host.node.own.offer(world.host.node.wishes.get(job.job_id)) == offered
        for name in ("one", "two"):
            worker = world.workers[name] = LineWorker(world, name)
            worker.connect()
        if moment == "secret":
            world.wait(job.job_id)
        assert again.through(job.job_id).state is JobState.DONE
        check(world, job.job_id, data)
        assert payloads_of(world, job.job_id, say.ChallengeDrawn)[0].drawn_by is say.Drawer.BUYER


def test_a_missed_attempt_is_refunded_and_its_successor_signed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tallystick.node.forms.windows", lambda _: Windows(commit=4_000, upload=8_000, reveal=12_000))
    data = picture()
    with remote_world(tmp_path) as world:
        world.hire("slow", Stalling)
        desk = Desk(world, "ann")
        job = desk.submit(asked(data), data)
        wants(desk, job.job_id, BuyerStep.ORDER)
        desk.attend(job.job_id)
        spec = world.book.order(job.job_id, 1).spec
        assert int(desk.view(job.job_id).locked_wei) > 0
    time.sleep(4.5)
    with remote_world(tmp_path) as world:
        hire(world, "one", "two")
        again = Desk(world, "ann")
        again.buyer.terms = desk.buyer.terms
        wants(again, job.job_id, BuyerStep.ORDER)
        assert world.locked() == [], "the missed attempt still holds money"
        done = again.through(job.job_id)
        assert (done.state, done.waiting) == (JobState.DONE, "")
        assert done.attempt >= 2
        check(world, job.job_id, data)
        assert again.buyer.secret(world.book.order(job.job_id, done.attempt).spec) != again.buyer.secret(spec)


def test_a_cancelled_order_cannot_be_signed_any_more(tmp_path: Path) -> None:
    data = picture()
    with remote_world(tmp_path) as world:
        hire(world, "one", "two")
        desk = Desk(world, "ann")
        job = desk.submit(asked(data), data)
        wants(desk, job.job_id, BuyerStep.ORDER)
        offer = world.host.node.own.offer(world.host.node.wishes.get(job.job_id))
        assert world.host.cancel(job.job_id).state is JobState.CANCELLED
        with pytest.raises(ConflictError, match="no offer"):
            desk.run(_signed(desk, job.job_id, offer))
        assert desk.view(job.job_id).wanted is None
        assert world.book.job(job.job_id) is None


def test_an_order_that_is_never_signed_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tallystick.node.own_orders.OFFER_MS", 200)
    monkeypatch.setattr("tallystick.node.own_orders.PATIENCE_MS", 1_000)
    data = picture()
    with remote_world(tmp_path) as world:
        hire(world, "one", "two")
        desk = Desk(world, "ann")
        job = desk.submit(asked(data), data)
        ended = desk.until(job.job_id, lambda view: view.state is JobState.FAILED)
        assert "did not sign" in ended.waiting
        assert world.locked() == []


def test_two_orders_of_one_key_are_signed_one_after_the_other(tmp_path: Path) -> None:
    data = picture()
    with remote_world(tmp_path) as world:
        hire(world, "one", "two")
        desk = Desk(world, "ann")
        jobs = [desk.submit(asked(data), data).job_id for _ in range(2)]
        for job_id in jobs:
            wants(desk, job_id, BuyerStep.ORDER)
        for job_id in jobs:
            assert desk.through(job_id).state is JobState.DONE
        for job_id in jobs:
            check(world, job_id, data)


def test_nobody_signs_blindly(tmp_path: Path) -> None:
    data = picture()
    with remote_world(tmp_path) as world:
        desk = Desk(world, "ann")
        with pytest.raises(UsageError, match="price_max"):
            desk.submit(asked(data, price_max=None), data)
        desk.buyer.decode = None
        with pytest.raises(UsageError, match="decode"):
            desk.submit(asked(data), data)
        hire(world, "one", "two")
        desk = Desk(world, "ann")
        job = desk.submit(asked(data), data)
        desk.buyer.terms.clear()
        wants(desk, job.job_id, BuyerStep.ORDER)
        with pytest.raises(UsageError, match="only the client that ordered it"):
            desk.attend(job.job_id)


def test_a_buyer_without_the_money_is_told_so_where_there_is_no_faucet(tmp_path: Path) -> None:
    data = picture()
    with remote_world(tmp_path) as world:
        hire(world, "one", "two")
        desk = Desk(world, "ann", alter={"node": lambda body: body.update(network="main")})
        job = desk.submit(asked(data), data)
        wants(desk, job.job_id, BuyerStep.ORDER)
        with pytest.raises(FundsError, match="short of"):
            desk.attend(job.job_id)
