"""Orders by a buyer's own key over real sockets: the command, the SDK across SIGKILLs, and what an audit says."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tallystick import Client
from tallystick.adapters.pillow import decode_image
from tallystick.client.buying import attend
from tallystick.errors import AbsentError, TallyError, UsageError
from tallystick.ledger import payloads as say
from tallystick.ledger.transactions import decode
from tallystick.node.ordering import INDEPENDENCE_NONE
from tallystick.node.views import BuyerStep, JobState, JobView
from tallystick.primitives.digests import sha256
from tallystick.primitives.keys import SigningKey
from tests.cli.runs import picture, tally
from tests.machines import free_port, patiently, working
from tests.node_process import serving, start

ANN = SigningKey(sha256(b"ann"))
BOB = SigningKey(sha256(b"bob"))


def until(client: Client, job_id: str, step: BuyerStep) -> JobView:
    """Wait until a node asks for something."""
    ends = time.monotonic() + 60
    while (view := patiently(lambda: client.job(job_id))).wanted is not step:
        assert time.monotonic() < ends, view
        time.sleep(0.05)
    return view


def drawn_by(client: Client, job_id: str) -> say.Drawer:
    for event in client.events(job=job_id):
        payload = decode(event.entry).payload
        if isinstance(payload, say.ChallengeDrawn):
            return payload.drawn_by
    raise AssertionError("the log ended")


def test_a_command_orders_with_its_homes_key_and_a_stranger_can_tell(tmp_path: Path) -> None:
    source = picture(tmp_path / "photo.png", 120, 80)
    with serving(tmp_path / "node") as node, working(tmp_path, node.url, 2):
        order = ("submit", "upscale", source, "--block", "32", "--audit-rate", "1", "--node", node.url, "--json")
        done = tally(*order, "--own-key", cwd=tmp_path)
        assert done.code == 0, done
        assert "the offer is checked and signed here, with this home's key" in done.err
        assert "waits: sign the order" not in done.err
        checked = tally("verify", "photo@2x.png", "--trust", "photo@2x.png.trust.toml", "--json", cwd=tmp_path)
        assert checked.code == 0, checked
        assert "independence" not in checked.out
        assert "operator-drawn" not in checked.out
        with Client(node.url) as home:
            assert drawn_by(home, done.json["jobId"]) is say.Drawer.BUYER
        kept = tally(*order, "--out", "kept.png", cwd=tmp_path)
        assert kept.code == 0, kept
        told = tally("verify", "kept.png", "--trust", "kept.png.trust.toml", "--json", cwd=tmp_path)
        assert told.code == 0, told
        assert INDEPENDENCE_NONE in told.out
        here = tally(*order, "--own-key", cwd=tmp_path, TALLY_TOKEN="tally_0_0")  # noqa: S106 - none at all
        assert here.code == 2, here
    tally("submit", "upscale", source, "--own-key", cwd=tmp_path).refused(2, "name it with --node")


def test_a_killed_node_goes_on_between_offer_order_and_secret(tmp_path: Path) -> None:
    source, port = picture(tmp_path / "photo.png", 120, 80), free_port()
    listen = f"127.0.0.1:{port}"
    node = start(tmp_path / "node", listen=listen)
    try:
        with (
            working(tmp_path, node.url, 2),
            Client(node.url, key=ANN, decode=decode_image) as ann,
            Client(node.url, key=BOB, decode=decode_image) as bob,
        ):
            job_id = ann.submit(source, block=32, audit=1_000_000, price_max="1", workers=2).job_id
            until(ann, job_id, BuyerStep.ORDER)
            with pytest.raises(AbsentError):
                bob.run(_offer(job_id))
            node.kill()
            node = start(tmp_path / "node", listen=listen)
            view = until(ann, job_id, BuyerStep.ORDER)
            patiently(lambda: ann.run(attend(view, ann.buyer)))  # type: ignore[arg-type]
            node.kill()
            node = start(tmp_path / "node", listen=listen)
            view = until(ann, job_id, BuyerStep.SECRET)
            with pytest.raises(AbsentError):
                bob.run(_reveal(job_id))
            with pytest.raises(TallyError, match="secret"):
                ann.run(_reveal(job_id))
            node.kill()
            node = start(tmp_path / "node", listen=listen)
            with Client(node.url, key=ANN) as again:
                done = patiently(lambda: again.wait(job_id))
                assert done.state is JobState.DONE, done
                assert drawn_by(again, job_id) is say.Drawer.BUYER
                with pytest.raises(UsageError, match="decode"):
                    again.submit(source)
    finally:
        node.kill()


def _offer(job_id: str):  # noqa: ANN202 - a script
    from tallystick.client import calls

    return calls.offer(job_id)


def _reveal(job_id: str):  # noqa: ANN202 - a script
    from tallystick.client import calls
    from tallystick.node.views import SecretForm

    return calls.reveal(job_id, SecretForm("00" * 32))
