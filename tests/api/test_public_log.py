"""A real node's log, read by a stranger: tiles, proofs, blocks; and whose key signed."""

from __future__ import annotations

import io

import httpx
import pytest

from tallystick.node.tokens import Scope
from tallystick.primitives import canonical, car
from tallystick.primitives.amounts import WEI_PER_CPC
from tallystick.primitives.cids import Cid, Codec, raw_cid
from tallystick.primitives.digests import sha256
from tallystick.primitives.keys import SigningKey
from tallystick.primitives.merkle import leaf_hash
from tallystick.primitives.notes import NoteVerifier
from tallystick.receipts import tlog_proof
from tests.api.askers import Guarded
from tests.conformance.tlog_reader import Reader
from tests.node_process import NodeProcess

BOB = SigningKey(sha256(b"bob")).address


def pour(http: httpx.Client, headers: dict[str, str] | None = None) -> str:
    """Have something recorded; return its NID."""
    form = {"address": BOB, "amount": str(WEI_PER_CPC)}
    answer = http.post("/api/v1/faucet", json=form, headers=headers or {})
    assert answer.status_code == 201, answer.text
    nid: str = answer.json()["nid"]
    return nid


def test_a_stranger_rebuilds_the_root_and_checks_a_receipt(node: NodeProcess, http: httpx.Client) -> None:
    nids = [pour(http) for _ in range(3)]
    genesis = http.get("/log/genesis.json").json()
    head = Reader(f"{node.url}/log", genesis["log_vkey"]).audit()
    view = http.get("/api/v1/log").json()
    assert (head.origin, head.size) == (genesis["log_origin"], view["size"])
    for nid in nids:
        receipt = http.get(f"/api/v1/receipts/{nid}").json()
        entry = canonical.encode(receipt["entry"])
        assert raw_cid(sha256(entry)) == nid
        assert receipt["custodial"] is False  # the faucet is nobody's account
        proof = tlog_proof.TlogProof.parse(http.get(f"/api/v1/receipts/{nid}/proof").text)
        held = tlog_proof.check(
            proof,
            leaf_hash(entry),
            origin=genesis["log_origin"],
            log=[NoteVerifier.parse(genesis["log_vkey"])],
        )
        assert (held.size, held.root) == (head.size, head.root)
        assert proof.index == receipt["index"]


def test_a_receipt_is_a_block_of_ipfs_for_everybody(guarded: Guarded) -> None:
    nid = pour(guarded.http, guarded.bearer(Scope.PROVIDER))
    block = guarded.http.get(f"/ipfs/{nid}?format=raw")
    assert block.status_code == 200
    Cid.parse(nid).check(block.content)
    packed = guarded.http.get(f"/ipfs/{nid}?format=car").content
    assert list(car.CarReader(io.BytesIO(packed).read, bytes_max=1 << 20)) == [(Cid.parse(nid), block.content)]
    assert guarded.http.get(f"/ipfs/{nid}").status_code == 400
    assert guarded.http.get(f"/ipfs/{nid}", headers={"accept": "text/html"}).status_code == 406


@pytest.mark.parametrize("codec", [Codec.RAW, Codec.DAG_PB])
def test_a_blob_is_a_block_for_its_owner_only(guarded: Guarded, codec: Codec) -> None:
    data, owner = b"a blob of the requester", guarded.bearer(Scope.REQUESTER)
    kept = guarded.http.put(
        f"/api/v1/blobs/{sha256(data).hex()}",
        content=data,
        headers={**owner, "content-type": "application/octet-stream"},
    )
    assert kept.status_code in {200, 201}, kept.text
    path = f"/ipfs/{Cid.of(codec, data)}?format=raw"
    assert guarded.http.get(path, headers=owner).status_code == (200 if codec is Codec.RAW else 404)
    for headers in ({}, guarded.bearer(Scope.PROVIDER), guarded.bearer(Scope.REPORTER)):
        assert guarded.http.get(path, headers=headers).status_code == 404
