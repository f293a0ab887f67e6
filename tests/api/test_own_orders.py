"""Who may have an order signed by whom, over HTTP: the routes of buyers with keys, while nobody works."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx

from tallystick.node.tokens import Scope
from tallystick.primitives.digests import sha256
from tallystick.primitives.keys import SigningKey
from tests.api.askers import Guarded, identity, signed
from tests.api.test_jobs import JOBS, QUOTES, UPLOADS, form_of
from tests.cli.runs import picture

ANN, BOB = SigningKey(sha256(b"ann")), SigningKey(sha256(b"bob"))


def ask(guarded: Guarded, key: SigningKey, method: str, path: str, body: object = None) -> httpx.Response:
    """Make a request that a key signs."""
    content = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = signed(guarded.node, key, method, path, content)
    if method == "PATCH":
        headers |= {"upload-offset": "0", "content-type": "application/octet-stream"}
    else:
        headers |= {"content-type": "application/json"}
    return guarded.http.request(method, path, content=content, headers=headers)


def bring(guarded: Guarded, key: SigningKey, data: bytes) -> None:
    form = {"length": len(data), "sha256": sha256(data).hex()}
    upload_id = ask(guarded, key, "POST", UPLOADS, form).json()["upload_id"]
    assert ask(guarded, key, "PATCH", f"{UPLOADS}/{upload_id}", data).json()["complete"]


def order(guarded: Guarded, key: SigningKey, data: bytes, **more: object) -> Any:  # noqa: ANN401 - JSON
    answer = ask(guarded, key, "POST", JOBS, form_of(data, **more))
    assert answer.status_code == 202, answer.text
    return answer.json()


def test_a_key_is_never_signed_for_without_asking(guarded: Guarded, tmp_path: Path) -> None:
    data = picture(tmp_path / "a.png").read_bytes()
    bring(guarded, ANN, data)
    for own_key in ({}, {"own_key": None}, {"own_key": True}):
        assert order(guarded, ANN, data, **own_key)["requester"] == ANN.public.hex()
        labels = ask(guarded, ANN, "POST", QUOTES, form_of(data, **own_key)).json()["labels"]
        assert "independence: none" not in labels
    assert order(guarded, ANN, data, own_key=False)["requester"] is None
    labels = ask(guarded, ANN, "POST", QUOTES, form_of(data, own_key=False)).json()["labels"]
    assert "independence: none" in labels


def test_a_token_and_the_homes_own_keys_cannot_ask_for_it(guarded: Guarded, tmp_path: Path) -> None:
    data = picture(tmp_path / "b.png").read_bytes()
    home = identity(guarded.node.home)
    for key in (home.requester(), home.coordinator()):
        bring(guarded, key, data)
        refused = ask(guarded, key, "POST", JOBS, form_of(data, own_key=True))
        assert (refused.status_code, refused.json()["code"]) == (400, "usage")
        assert order(guarded, key, data)["requester"] is None
    form = {"length": len(data), "sha256": sha256(data).hex()}
    bearer = guarded.bearer(Scope.REQUESTER)
    upload_id = guarded.http.post(UPLOADS, json=form, headers=bearer).json()["upload_id"]
    guarded.http.patch(f"{UPLOADS}/{upload_id}", content=data, headers={**bearer, "upload-offset": "0"})
    refused = guarded.http.post(JOBS, json=form_of(data, own_key=True), headers=bearer)
    assert (refused.status_code, refused.json()["code"]) == (400, "usage")


def test_offer_order_and_secret_are_the_buyers_alone(guarded: Guarded, tmp_path: Path) -> None:
    data = picture(tmp_path / "c.png").read_bytes()
    bring(guarded, ANN, data)
    where = f"{JOBS}/{order(guarded, ANN, data)['job_id']}"
    calls = (("GET", "offer", None), ("POST", "order", {"escrow": "{}", "order": "{}"}))
    calls += (("POST", "secret", {"secret": "00" * 32}),)
    operator = identity(guarded.node.home).requester()
    for method, last, body in calls:
        for stranger in (BOB, operator):
            assert ask(guarded, stranger, method, f"{where}/{last}", body).status_code == 404
    assert ask(guarded, ANN, "GET", f"{where}/offer").status_code == 409
    assert ask(guarded, ANN, "POST", f"{where}/order", {"escrow": "{}", "order": "{}"}).status_code == 400
    assert ask(guarded, ANN, "POST", f"{where}/secret", {"secret": "00" * 32}).status_code == 409
    assert ask(guarded, ANN, "POST", f"{where}/secret", {"secret": "00"}).status_code in {400, 422}
    assert ask(guarded, ANN, "POST", f"{where}/cancel", {}).json()["state"] == "cancelled"
    assert ask(guarded, ANN, "GET", f"{where}/offer").status_code == 409
