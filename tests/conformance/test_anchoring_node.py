"""`tally anchor` through a running node, on a real chain: the same words, one commit, no URL in what it says."""

from __future__ import annotations

import sys
from pathlib import Path

import httpx

from tallystick import Client
from tallystick.cli.chains import ANCHOR_KEY
from tallystick.cli.home import load_master
from tallystick.node.identity import Identity
from tallystick.primitives.keys import SigningKey, evm_address_of
from tests.anvil import CHAIN_ID, running_anvil
from tests.cli.runs import picture, tally
from tests.demand import PYREVM_BELOW
from tests.node_process import serving

KEY = "k3y-of-the-chain"


def grow(url: str) -> None:
    """Log something that an anchor is worth."""
    with Client(url) as client:
        client.faucet(SigningKey(b"\x44" * 32).address, 1)


def test_the_chain_of_a_served_home_is_named_deployed_and_used_through_its_node(tmp_path: Path) -> None:
    picture(tmp_path / "p.png", 24, 16)
    assert tally("submit", "upscale", "p.png", "--block", "16", "--yes", cwd=tmp_path).code == 0
    recorder = evm_address_of(Identity(load_master(tmp_path / "home")[0]).key(ANCHOR_KEY).public)
    with running_anvil(tmp_path) as anvil, serving(tmp_path / "home") as node:
        anvil.set_balance(recorder)
        url = f"{anvil.url}/?key={KEY}"
        first = tally("anchor", "--rpc", url, "--deploy", "--confirmations", "0", "--json", cwd=tmp_path)
        assert first.code == 0, first
        assert (first.json["anchored"], first.json["chain"]) == (True, f"eip155:{CHAIN_ID}")
        assert first.json["rpc"] == anvil.url
        again = tally("anchor", "--fee-cap", "100", "--wait", "30", cwd=tmp_path)
        assert again.code == 0, again
        assert again.out.startswith("nothing new to anchor")
        assert f"by {anvil.url}" in again.out
        anvil.stop()
        grow(node.url)
        tally("anchor", cwd=tmp_path).refused(1, f"nothing was sent: {anvil.url} does not answer")
        anvil.start()
        last = tally("anchor", "--json", cwd=tmp_path)
        assert (last.code, last.json["anchored"]) == (0, True), last
        logs = anvil.rpc("eth_getLogs", {"address": first.json["contract"], "fromBlock": "0x0", "toBlock": "latest"})
        assert [each["transactionHash"] for each in logs] == [each.json["newest"]["txHash"] for each in (first, last)]
        shown = httpx.get(f"{node.url}/api/v1/anchors", timeout=20).text
        for said in (first.out, first.err, again.out, again.err, shown, node.said()):
            assert KEY not in said
        if sys.version_info >= PYREVM_BELOW:
            return
        grow(node.url)
        own = tally("anchor", "--embedded", "--json", cwd=tmp_path)
        assert (own.code, own.json["anchored"], own.json["embedded"]) == (0, True, True), own
        assert node.stop() == 0
