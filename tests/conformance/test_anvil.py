"""Our chains against software that others wrote: an Ethereum node, the compiler, and eth-utils' reading of an ABI."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from eth_utils.abi import event_abi_to_log_topic, function_abi_to_4byte_selector

from tallystick.adapters import json_rpc
from tallystick.adapters.artifacts import creation_code, deployed_code
from tallystick.adapters.embedded_chain import EmbeddedChain
from tallystick.adapters.embedded_chain.execution import Execution
from tallystick.adapters.json_rpc import ChainSettings, JsonRpc, JsonRpcChain, deploy
from tallystick.anchoring.erc7053 import (
    COMMIT_SELECTOR,
    COMMIT_TOPIC,
    Erc7053Commit,
    anchor_commitment,
    commit_calldata,
    read_commitment,
)
from tallystick.anchoring.ethereum import Transaction, address_bytes, contract_address, transaction_hash
from tallystick.errors import ChainError, ChainRefusedError
from tallystick.node.chain import Chain, SignedCall
from tallystick.primitives.digests import sha256
from tallystick.primitives.keys import SigningKey, evm_address_of
from tallystick.primitives.notes import Checkpoint, NoteSigner
from tests.anvil import CHAIN_ID, Anvil, running_anvil
from tests.demand import demand_pyrevm
from tests.faulty_rpc import FaultyRpc, faulty_rpc
from tests.npm import installed

ROOT = Path(__file__).parents[2]
CONTRACTS = ROOT / "contracts"
PAGE = ROOT / "docs" / "spec" / "embedded-chain.md"
KEY, STRANGER = SigningKey(b"\x22" * 32), SigningKey(b"\x33" * 32)
RECORDER = evm_address_of(KEY.public)
REGISTRY = contract_address(RECORDER, 0)
SETTINGS = ChainSettings(CHAIN_ID, REGISTRY, confirmations=2)
ORIGIN = "example.org/tally"
GWEI = 10**9


def commit(size: int) -> Erc7053Commit:
    """The commit of docs/spec/erc7053-anchor.md where `size` is 7, and of other checkpoints."""
    signer = NoteSigner(ORIGIN, bytes(range(32)))
    return anchor_commitment(signer.sign(Checkpoint(ORIGIN, size, sha256(b"tallystick")).text()))


@pytest.fixture
def anvil(tmp_path: Path) -> Iterator[Anvil]:
    """A node whose recorder has money and whose registry stands."""
    with running_anvil(tmp_path) as anvil:
        for key in (KEY, STRANGER):
            anvil.set_balance(evm_address_of(key.public))
        assert deploy(JsonRpc(anvil.url), CHAIN_ID, KEY, creation_code()) == REGISTRY
        yield anvil


@pytest.fixture
def line(anvil: Anvil) -> Iterator[FaultyRpc]:
    with faulty_rpc(anvil) as line:
        yield line


@pytest.fixture
def chain(line: FaultyRpc) -> JsonRpcChain:
    return JsonRpcChain(JsonRpc(line.url), SETTINGS, KEY)


def through(line: FaultyRpc, **settings: object) -> JsonRpcChain:
    return JsonRpcChain(JsonRpc(line.url, deadline_s=2), replace(SETTINGS, **settings), KEY)


def sent(chain: Chain, what: Erc7053Commit) -> SignedCall:
    call = chain.sign(what, chain.next_nonce())
    chain.send(call)
    return call


def forwarded(anvil: Anvil, change: Callable[[Any], Any]) -> Callable[[dict[str, Any]], bytes]:
    """A reply of the node with its result changed."""

    def answer(asked: dict[str, Any]) -> bytes:
        result = change(anvil.rpc(asked["method"], *asked["params"]))
        return json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": result}).encode()

    return answer


# The contract.


def test_the_artifact_is_what_the_compiler_gives() -> None:
    node = installed(CONTRACTS)
    done = subprocess.run([node, "build.mjs", "--check"], cwd=CONTRACTS, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_an_artifact_of_another_source_is_noticed(tmp_path: Path) -> None:
    node = installed(CONTRACTS)
    copy, artifact = tmp_path / "contracts", Path("src/tallystick/adapters/artifacts/CommitRegistry.json")
    copy.mkdir()
    for name in ("build.mjs", "package.json"):
        shutil.copy(CONTRACTS / name, copy / name)
    (copy / "node_modules").symlink_to(CONTRACTS / "node_modules")
    source = (CONTRACTS / "CommitRegistry.sol").read_text()
    (copy / "CommitRegistry.sol").write_text(source.replace("return block.number", "return block.number + 1"))
    (tmp_path / artifact).parent.mkdir(parents=True)
    shutil.copy(ROOT / artifact, tmp_path / artifact)
    done = subprocess.run([node, "build.mjs", "--check"], cwd=copy, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "is not what CommitRegistry.sol gives" in done.stderr


def test_function_and_event_are_those_of_erc_7053() -> None:
    artifact = json.loads((ROOT / "src/tallystick/adapters/artifacts/CommitRegistry.json").read_text())
    event, function = artifact["abi"]
    assert function_abi_to_4byte_selector(function) == COMMIT_SELECTOR == bytes.fromhex("81d14ffc")
    assert event_abi_to_log_topic(event) == COMMIT_TOPIC
    assert COMMIT_TOPIC.hex() == "39b5d1808997c4c413695960efbe703ad3d5c8982d2eb21ff57b01e22a671532"
    assert [(part["name"], part["type"], part["indexed"]) for part in event["inputs"]] == [
        ("recorder", "address", True),
        ("assetCid", "string", True),
        ("commitData", "string", False),
    ]
    assert [(part["name"], part["type"]) for part in function["inputs"]] == [
        ("assetCid", "string"),
        ("commitData", "string"),
    ]
    assert [part["type"] for part in function["outputs"]] == ["uint256"]
    assert not event["anonymous"]


def test_the_registry_stands_where_its_creator_put_it(anvil: Anvil) -> None:
    assert anvil.rpc("eth_getCode", REGISTRY, "latest") == "0x" + deployed_code().hex()


def test_a_call_returns_its_block(anvil: Anvil) -> None:
    asked = {"from": RECORDER, "to": REGISTRY, "data": "0x" + commit_calldata(commit(7)).hex()}
    assert int(anvil.rpc("eth_call", asked, "latest"), 16) in {anvil.height(), anvil.height() + 1}


def test_a_registry_that_the_chain_cannot_run_is_told(anvil: Anvil) -> None:
    with pytest.raises(ChainError):
        deploy(JsonRpc(anvil.url), CHAIN_ID, STRANGER, b"\xfe", wait_s=2)


def test_a_registry_is_created_once_whatever_the_line_loses(anvil: Anvil, line: FaultyRpc) -> None:
    line.drop_reply("eth_sendRawTransaction", 2)
    line.lose_request("eth_getTransactionReceipt")
    made = deploy(JsonRpc(line.url, deadline_s=2), CHAIN_ID, STRANGER, creation_code())
    stranger = evm_address_of(STRANGER.public)
    assert made == contract_address(stranger, 0)
    assert int(anvil.rpc("eth_getTransactionCount", stranger, "latest"), 16) == 1


# A commit.


def test_a_commit_lands_and_is_found(chain: JsonRpcChain, anvil: Anvil) -> None:
    first, second = sent(chain, commit(7)), sent(chain, commit(8))
    landed = chain.landed(first.tx_hash)
    assert landed is not None
    assert landed.succeeded
    assert (landed.block, landed.block_hash) == (2, chain.block_hash(2))
    (seen,) = chain.commits(commit(7).asset_cid)
    assert seen.landed == landed
    assert seen.recorder == RECORDER
    assert Checkpoint.parse(
        read_commitment(Erc7053Commit(commit(7).asset_cid, seen.commit_data)).split("\n\n")[0] + "\n"
    )
    assert chain.commits(commit(9).asset_cid) == ()
    assert chain.landed(b"\0" * 32) is None
    assert (chain.head(), chain.next_nonce()) == (3, 3)
    assert chain.block_hash(4) is None
    assert anvil.rpc("eth_getTransactionByHash", "0x" + second.tx_hash.hex())["type"] == "0x2"


def test_the_embedded_chain_writes_the_same_event(chain: JsonRpcChain, anvil: Anvil) -> None:
    demand_pyrevm()
    call = sent(chain, commit(7))
    (theirs,) = anvil.rpc("eth_getTransactionReceipt", "0x" + call.tx_hash.hex())["logs"]
    execution = Execution(CHAIN_ID)
    create = Transaction(CHAIN_ID, 0, 0, 0, 1_000_000, b"", creation_code())
    execution.run(create.sign(KEY), number=1, time=1)
    same = Transaction(CHAIN_ID, 1, 0, 0, 100_000, address_bytes(REGISTRY), commit_calldata(commit(7)))
    (ours,) = execution.run(same.sign(KEY), number=2, time=2).logs
    assert ours.contract.lower() == theirs["address"]
    assert ["0x" + topic.hex() for topic in ours.topics] == theirs["topics"]
    assert "0x" + ours.data.hex() == theirs["data"]


def test_a_strangers_commit_is_not_ours(chain: JsonRpcChain, anvil: Anvil, line: FaultyRpc) -> None:
    stranger = JsonRpcChain(JsonRpc(line.url), SETTINGS, STRANGER)
    call = sent(stranger, commit(7))
    assert chain.commits(commit(7).asset_cid) == ()
    assert len(stranger.commits(commit(7).asset_cid)) == 1
    reader = JsonRpcChain(JsonRpc(anvil.url), SETTINGS, stranger.recorder)
    assert reader.commits(commit(7).asset_cid) == stranger.commits(commit(7).asset_cid)
    landed = chain.landed(call.tx_hash)
    assert landed is not None
    assert not landed.succeeded


def test_a_call_that_commits_nothing_did_not_succeed(chain: JsonRpcChain) -> None:
    raw = Transaction(CHAIN_ID, 1, 10 * GWEI, 0, 100_000, address_bytes(REGISTRY), b"\xde\xad\xbe\xef").sign(KEY)
    call = SignedCall(raw, transaction_hash(raw), 1, 10 * GWEI)
    chain.send(call)
    landed = chain.landed(call.tx_hash)
    assert landed is not None
    assert not landed.succeeded


def test_the_gas_is_what_the_page_says(chain: JsonRpcChain, anvil: Anvil) -> None:
    demand_pyrevm()
    call = sent(chain, commit(7))
    used = int(anvil.rpc("eth_getTransactionReceipt", "0x" + call.tx_hash.hex())["gasUsed"], 16)
    created = int(anvil.rpc("eth_getBlockByNumber", "0x1", False)["gasUsed"], 16)  # noqa: FBT003 - its API
    execution = Execution(CHAIN_ID)
    create = Transaction(CHAIN_ID, 0, 0, 0, 1_000_000, b"", creation_code())
    same = Transaction(CHAIN_ID, 1, 0, 0, 100_000, address_bytes(REGISTRY), commit_calldata(commit(7)))
    own = [execution.run(t.sign(KEY), number=n, time=n).gas for n, t in ((1, create), (2, same))]
    row = re.compile(r"^\| (?:create the registry|commit [^|]*) \| ([\d,]+) \| ([\d,]+) \|$", re.MULTILINE)
    rows = row.findall(PAGE.read_text(encoding="utf-8"))
    assert [[int(cell.replace(",", "")) for cell in row] for row in rows] == [[own[0], created], [own[1], used]]


def test_a_chain_without_base_fee_takes_our_legacy_transaction(anvil: Anvil, line: FaultyRpc) -> None:
    """The node is told to hide its base fee, as those do that know legacy fees only."""

    def hide(block: Any) -> Any:  # noqa: ANN401 - JSON
        return {name: value for name, value in block.items() if name != "baseFeePerGas"}

    line.answer("eth_getBlockByNumber", forwarded(anvil, hide))
    call = sent(through(line), commit(7))
    assert anvil.rpc("eth_getTransactionByHash", "0x" + call.tx_hash.hex())["type"] == "0x0"
    assert len(through(line).commits(commit(7).asset_cid)) == 1


# Once and only once.


def test_sending_again_is_no_error_while_it_waits_and_after_it_landed(chain: JsonRpcChain, anvil: Anvil) -> None:
    anvil.set_automine(on=False)
    call = sent(chain, commit(7))
    chain.send(call)
    assert (anvil.waiting(), chain.landed(call.tx_hash)) == (1, None)
    assert chain.next_nonce() == 1
    anvil.mine()
    chain.send(call)
    anvil.mine(3)
    chain.send(call)
    assert len(chain.commits(commit(7).asset_cid)) == 1
    assert chain.next_nonce() == 2


def test_a_lost_reply_leaves_it_open_and_sending_again_settles_it(chain: JsonRpcChain, line: FaultyRpc) -> None:
    faulty = through(line)
    call = faulty.sign(commit(7), faulty.next_nonce())
    line.drop_reply("eth_sendRawTransaction")
    with pytest.raises(ChainError) as caught:
        faulty.send(call)
    assert not isinstance(caught.value, ChainRefusedError)
    assert line.forwarded["eth_sendRawTransaction"] == 1
    faulty.send(call)
    assert len(chain.commits(commit(7).asset_cid)) == 1
    assert chain.next_nonce() == 2


def test_a_slow_node_is_given_up(line: FaultyRpc) -> None:
    faulty = JsonRpcChain(JsonRpc(line.url, deadline_s=0.3), SETTINGS, KEY)
    line.delay("eth_blockNumber", 1)
    with pytest.raises(ChainError, match="in time"):
        faulty.head()
    line.heal()
    assert faulty.head() == 1


def test_a_node_that_is_down_is_told_and_found_again(anvil: Anvil, line: FaultyRpc) -> None:
    line.down()
    faulty = through(line)
    for ask in (faulty.next_nonce, faulty.head, lambda: faulty.sign(commit(7), 1), lambda: faulty.landed(b"\0" * 32)):
        with pytest.raises(ChainError, match="does not answer"):
            ask()
    line.up()
    call = sent(faulty, commit(7))
    anvil.stop()
    with pytest.raises(ChainError):
        JsonRpcChain(JsonRpc(anvil.url), SETTINGS, KEY).head()
    anvil.start()
    assert faulty.landed(call.tx_hash) is not None


def test_a_dearer_call_takes_the_place_of_the_first(chain: JsonRpcChain, anvil: Anvil) -> None:
    anvil.set_automine(on=False)
    first = sent(chain, commit(7))
    dearer = chain.sign(commit(7), first.nonce, first)
    assert dearer.fee_per_gas * 8 >= first.fee_per_gas * 9
    chain.send(dearer)
    assert anvil.waiting() == 1
    anvil.mine()
    assert chain.landed(first.tx_hash) is None
    assert chain.landed(dearer.tx_hash) is not None
    assert len(chain.commits(commit(7).asset_cid)) == 1
    with pytest.raises(ChainRefusedError):
        chain.send(first)


def test_a_second_call_with_the_same_nonce_and_no_higher_fee_is_refused(chain: JsonRpcChain, anvil: Anvil) -> None:
    anvil.set_automine(on=False)
    first = chain.sign(commit(7), 1)
    chain.send(first)
    with pytest.raises(ChainRefusedError, match="underpriced"):
        chain.send(chain.sign(commit(8), 1))
    anvil.mine()
    assert chain.landed(first.tx_hash) is not None
    assert chain.commits(commit(8).asset_cid) == ()


def test_a_price_spike_is_waited_for(chain: JsonRpcChain, anvil: Anvil, line: FaultyRpc) -> None:
    capped = through(line, fee_cap=20 * GWEI)
    anvil.set_next_base_fee(50 * GWEI)
    anvil.mine()
    with pytest.raises(ChainRefusedError, match="the cap is 20: wait"):
        capped.sign(commit(7), 1)
    anvil.set_next_base_fee(GWEI)
    anvil.mine()
    call = sent(capped, commit(7))
    assert call.fee_per_gas <= 20 * GWEI
    assert chain.landed(call.tx_hash) is not None


def test_a_reorganisation_takes_a_commit_and_the_same_call_lands_again(chain: JsonRpcChain, anvil: Anvil) -> None:
    call = sent(chain, commit(7))
    before = chain.landed(call.tx_hash)
    anvil.mine()
    assert before is not None
    anvil.reorg(2)
    assert chain.landed(call.tx_hash) is None
    assert chain.commits(commit(7).asset_cid) == ()
    assert chain.block_hash(before.block) != before.block_hash
    assert chain.next_nonce() == call.nonce
    chain.send(call)
    after = chain.landed(call.tx_hash)
    assert after is not None
    assert after.block > before.block
    assert len(chain.commits(commit(7).asset_cid)) == 1


def test_an_account_without_money_is_told(chain: JsonRpcChain, anvil: Anvil) -> None:
    call = chain.sign(commit(7), 1)
    anvil.set_balance(RECORDER, 1)
    with pytest.raises(ChainRefusedError, match=r"(?i)insufficient funds"):
        chain.send(call)


def test_a_node_of_another_chain_is_refused(anvil: Anvil) -> None:
    wrong = JsonRpcChain(JsonRpc(anvil.url), replace(SETTINGS, chain_id=10507), KEY)
    with pytest.raises(ChainError, match=f"chain {CHAIN_ID}, not of chain 10507"):
        wrong.sign(commit(7), 1)


def test_a_transaction_of_the_embedded_chain_is_nothing_here(chain: JsonRpcChain, tmp_path: Path) -> None:
    demand_pyrevm()

    class Watch:
        def now(self) -> int:
            return 1_700_000_000_000

    own = EmbeddedChain(tmp_path / "chain.sqlite", KEY, creation_code(), Watch())
    call = own.sign(commit(7), 1)
    with pytest.raises(ChainRefusedError):
        chain.send(call)
    with pytest.raises(ChainRefusedError, match=f"chain id {CHAIN_ID}"):
        own.send(chain.sign(commit(7), 1))
    own.close()


def test_a_contract_that_is_none_is_refused(anvil: Anvil) -> None:
    empty = contract_address(RECORDER, 99)
    nowhere = JsonRpcChain(JsonRpc(anvil.url), replace(SETTINGS, contract=empty), KEY)
    with pytest.raises(ChainRefusedError, match="no contract"):
        nowhere.sign(commit(7), 1)


# Looking for commits.


def test_far_commits_are_found_through_a_node_that_searches_few_blocks_at_once(
    anvil: Anvil, line: FaultyRpc, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_rpc, "WINDOW", 64)  # anvil takes its time to make thousands of blocks

    def limited(asked: dict[str, Any]) -> bytes:
        query = asked["params"][0]
        if int(query["toBlock"], 16) - int(query["fromBlock"], 16) >= 64:
            error = {"code": -32000, "message": "requested too many blocks, maximum is set to 64"}
            return json.dumps({"jsonrpc": "2.0", "id": asked["id"], "error": error}).encode()
        return forwarded(anvil, lambda logs: logs)(asked)

    line.answer("eth_getLogs", limited)
    chain = through(line)
    for blocks in (61, 2, 60):
        sent(chain, commit(7))
        anvil.mine(blocks)
    sent(chain, commit(7))
    assert [seen.landed.block for seen in chain.commits(commit(7).asset_cid)] == [2, 64, 67, 128]
    assert line.seen["eth_getLogs"] == 4  # all at once, then 0-63, 64-127, 128


HOSTILE = {
    "contract": {"address": "0x" + "11" * 20},
    "recorder": {"topics": ["0x" + COMMIT_TOPIC.hex(), "0x" + "00" * 32, "0x" + "00" * 32]},
    "block number": {"blockNumber": "0xffff"},
    "data": {"data": "0x" + "00" * 64},
    "removed": {"removed": True},
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_node_that_changes_an_event_is_caught(anvil: Anvil, line: FaultyRpc, change: dict[str, Any]) -> None:
    chain = through(line)
    sent(chain, commit(7))
    line.answer("eth_getLogs", forwarded(anvil, lambda logs: [{**log, **change} for log in logs]))
    with pytest.raises(ChainError):
        chain.commits(commit(7).asset_cid)


def test_an_event_of_a_block_that_is_not_in_the_chain_is_left_out(anvil: Anvil, line: FaultyRpc) -> None:
    chain = through(line)
    sent(chain, commit(7))
    line.answer("eth_getLogs", forwarded(anvil, lambda logs: [{**log, "blockHash": "0x" + "11" * 32} for log in logs]))
    assert chain.commits(commit(7).asset_cid) == ()
