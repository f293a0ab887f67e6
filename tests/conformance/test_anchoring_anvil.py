"""Anchors on a real Ethereum node land once, whatever breaks: the line, the process, the chain, the price of gas.

Whether a checkpoint was paid for twice is read from the node: every log of the contract, from its first block on.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tallystick.adapters.artifacts import creation_code
from tallystick.adapters.json_rpc import ChainSettings, JsonRpc, JsonRpcChain, deploy
from tallystick.adapters.local import SystemClock
from tallystick.anchoring.erc7053 import COMMIT_TOPIC, anchor_commitment
from tallystick.cli.chains import ANCHOR_KEY, Reach
from tallystick.cli.home import Home, open_home
from tallystick.ledger import payloads as say
from tallystick.ledger.transactions import decode
from tallystick.node.anchor_outbox import Drawer, Outbox, Target
from tallystick.node.anchor_words import Phase
from tallystick.node.anchoring import Anchoring
from tallystick.node.chain import Chain
from tallystick.primitives.keys import SigningKey, evm_address_of
from tests.anvil import CHAIN_ID, Anvil, running_anvil
from tests.cli.runs import PROGRAM, Done, environment, picture, tally
from tests.faulty_rpc import SEND, FaultyRpc, faulty_rpc

GWEI = 10**9
SOMEBODY = SigningKey(b"\x44" * 32)
RECEIPT = "eth_getTransactionReceipt"
MINUTES = 60_000


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with one finished job."""
    folder = tmp_path_factory.mktemp("used")
    picture(folder / "p.png", 24, 16)
    done = tally("submit", "upscale", "p.png", "--block", "16", "--yes", cwd=folder)
    assert done.code == 0, done
    return folder


@dataclass
class Ground:
    """A home, a chain that knows its key, and a line between them that can break."""

    folder: Path
    anvil: Anvil
    line: FaultyRpc
    contract: str = ""
    recorder: str = ""

    @property
    def words(self) -> tuple[str, ...]:
        return ("--rpc", self.line.url, "--contract", self.contract)

    def tally(self, *words: str) -> Done:
        return tally(*words, cwd=self.folder)

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*PROGRAM, "anchor", *words],
            cwd=self.folder,
            env=environment(self.folder / "home"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def commits(self) -> list[dict[str, Any]]:
        """Every Commit event of the contract by our recorder, as the node itself has it."""
        logs = self.anvil.rpc("eth_getLogs", {"address": self.contract, "fromBlock": "0x0", "toBlock": "latest"})
        padded = "0x" + self.recorder[2:].lower().rjust(64, "0")
        return [each for each in logs if each["topics"][:2] == ["0x" + COMMIT_TOPIC.hex(), padded]]

    def entries(self) -> list[say.Anchored]:
        with open_home(self.folder / "home") as home:
            payloads = [decode(entry).payload for entry in home.store.entries(0, home.store.size())]
        return [each for each in payloads if isinstance(each, say.Anchored)]

    def outbox(self) -> Outbox | None:
        with open_home(self.folder / "home") as home:
            return Drawer(home.store).outbox()

    def check(self, anchors: int = 1) -> None:
        """So many anchors are logged, each is one event in the chain, and there is no other event of ours."""
        entries, events = self.entries(), self.commits()
        assert len(entries) == len(events) == anchors
        assert len({each["topics"][2] for each in events}) == anchors
        assert {f"0x{each.tx_hash}" for each in entries} == {each["transactionHash"] for each in events}
        assert {(each.block, f"0x{each.block_hash}") for each in entries} == {
            (int(each["blockNumber"], 16), each["blockHash"]) for each in events
        }


@pytest.fixture
def ground(used: Path, tmp_path: Path) -> Iterator[Ground]:
    shutil.copytree(used, tmp_path / "folder")
    with running_anvil(tmp_path) as anvil, faulty_rpc(anvil) as line:
        ground = Ground(tmp_path / "folder", anvil, line)
        anvil.set_balance(evm_address_of(SOMEBODY.public))
        ground.contract = deploy(JsonRpc(anvil.url), CHAIN_ID, SOMEBODY, creation_code())
        ground.recorder = ground.tally("anchor", "status", "--json").json["recorder"]
        anvil.set_balance(ground.recorder)
        yield ground


def test_an_anchor_is_one_event_and_one_entry(ground: Ground) -> None:
    done = ground.tally("anchor", *ground.words, "--confirmations", "0", "--json")
    assert done.code == 0, done
    assert done.json["anchored"] is True
    assert (done.json["chain"], done.json["contract"]) == (f"eip155:{CHAIN_ID}", ground.contract)
    again = ground.tally("anchor", "--json")
    assert (again.code, again.json["anchored"]) == (0, False)
    ground.check()


def test_a_registry_of_ones_own_is_made_and_remembered(ground: Ground) -> None:
    done = ground.tally("anchor", "--rpc", ground.line.url, "--deploy", "--confirmations", "0", "--json")
    assert done.code == 0, done
    assert done.json["contract"] != ground.contract
    ground.contract = done.json["contract"]
    ground.check()
    assert ground.tally("anchor", "status", "--json").json["contract"] == ground.contract


def test_a_node_that_is_down_at_the_start(ground: Ground) -> None:
    ground.line.down()
    ground.tally("anchor", *ground.words).refused(1, "does not answer eth_chainId")
    ground.line.up()
    assert ground.tally("anchor", *ground.words, "--confirmations", "0", "--json").code == 0
    ground.check()
    picture(ground.folder / "q.png", 9, 6)
    assert ground.tally("submit", "upscale", "q.png", "--yes").code == 0
    ground.line.down()
    ground.tally("anchor").refused(1, "nothing was sent")
    ground.line.up()
    assert ground.tally("anchor").code == 0
    ground.check(2)


@pytest.mark.parametrize("moment", ["before", "during", "after"])
def test_a_process_that_is_killed_around_its_sending(ground: Ground, moment: str) -> None:
    reached, method = threading.Event(), RECEIPT if moment == "after" else SEND

    def hold(_asked: object) -> bytes:
        reached.set()
        time.sleep(5)
        return b""

    if moment == "during":
        ground.line.delay(SEND, 5)
    else:
        ground.line.answer(method, hold)
    process = ground.start(*ground.words, "--confirmations", "0")
    if moment == "during":
        wait_for(lambda: ground.line.forwarded[SEND] == 1)
    else:
        assert reached.wait(60)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert len(ground.commits()) == (0 if moment == "before" else 1)
    outbox = ground.outbox()
    assert outbox is not None
    assert len(outbox.calls) == 1
    ground.line.heal()
    assert ground.tally("anchor").code == 0
    ground.check()
    assert ground.entries()[0].tx_hash == outbox.calls[0].tx_hash


def test_a_reply_that_is_lost(ground: Ground) -> None:
    ground.line.drop_reply(SEND)
    done = ground.tally("anchor", *ground.words, "--confirmations", "0", "--json")
    assert done.code == 0, done
    assert ground.line.forwarded[SEND] == 1
    ground.check()


def test_a_process_that_is_killed_between_sending_and_recording(ground: Ground) -> None:
    process = ground.start(*ground.words, "--confirmations", "3")
    assert process.stderr is not None
    said = ""
    while "waiting until that is final" not in said:
        line = process.stderr.readline()
        assert line, said
        said += line
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert (len(ground.commits()), ground.entries()) == (1, [])
    ground.anvil.mine(3)
    assert ground.tally("anchor").code == 0
    ground.check()
    assert ground.line.forwarded[SEND] == 1


def test_waiting_may_end_before_it_is_final_and_goes_on_later(ground: Ground) -> None:
    done = ground.tally("anchor", *ground.words, "--confirmations", "3", "--wait", "1", "--json")
    assert (done.code, done.json["anchored"]) == (1, False)
    assert done.json["inFlight"]["block"] == ground.anvil.height()
    ground.anvil.mine(3)
    assert ground.tally("anchor", "--wait", "30").code == 0
    ground.check()


# In this process, where time can be moved.


@dataclass
class MovingClock:
    """The system's clock, moved."""

    ahead: int = 0
    clock: SystemClock = field(default_factory=SystemClock)

    def now(self) -> int:
        return self.clock.now() + self.ahead


@dataclass
class Hands:
    """An anchoring home in this process."""

    home: Home
    clock: MovingClock
    reach: Reach
    told: list[str]
    anchoring: Anchoring = field(init=False)

    def __post_init__(self) -> None:
        self.open()

    def open(self) -> None:
        drawer = Drawer(self.home.store)
        self.anchoring = Anchoring(
            self.home.node.book,
            drawer,
            self.home.identity.coordinator(),
            self.clock,
            self.reach.chains(),
            tell=self.told.append,
        )

    def calls(self) -> tuple[Any, ...]:
        outbox = Drawer(self.home.store).outbox()
        return () if outbox is None else outbox.calls

    def turn(self, *, asked: bool = False) -> Phase:
        self.anchoring.turn(asked=asked)
        return self.anchoring.state.phase


def hands(ground: Ground, home: Home, **changes: object) -> Hands:
    target = Target(ground.line.url, f"eip155:{CHAIN_ID}", ground.contract, None, 2)
    Drawer(home.store).set_target(msgspec.structs.replace(target, **changes))
    clock = MovingClock()
    return Hands(home, clock, Reach(home.path, home.identity, clock), [])


def test_a_chain_that_is_reorganised(ground: Ground) -> None:
    with open_home(ground.folder / "home") as home:
        us = hands(ground, home)
        assert us.turn(asked=True) is Phase.LANDED
        [first] = us.calls()
        ground.anvil.mine(1)
        ground.anvil.reorg(2)
        assert ground.commits() == []
        assert us.turn() is Phase.LANDED
        assert any("sent again" in text for text in us.told)
        assert us.calls() == (first,)
        ground.anvil.mine(2)
        assert us.turn() is Phase.IDLE
    ground.check()
    assert ground.entries()[0].tx_hash == first.tx_hash


def test_a_price_that_jumps_is_followed_under_the_same_nonce(ground: Ground) -> None:
    ground.anvil.set_automine(on=False)
    with open_home(ground.folder / "home") as home:
        us = hands(ground, home)
        assert us.turn(asked=True) is Phase.WATCHING
        ground.anvil.set_next_base_fee(60 * GWEI)
        ground.anvil.mine()
        assert us.turn() is Phase.WATCHING
        assert ground.commits() == []
        us.clock.ahead = 4 * MINUTES
        assert us.turn() is Phase.WATCHING
        first, second = us.calls()
        assert first.nonce == second.nonce
        assert int(second.fee_per_gas) > max(60 * GWEI, int(first.fee_per_gas) * 9 // 8)
        ground.anvil.mine(3)
        assert us.turn() is Phase.IDLE
    ground.check()
    assert ground.entries()[0].tx_hash == second.tx_hash


def test_a_price_above_the_cap_is_waited_out(ground: Ground) -> None:
    ground.anvil.set_next_base_fee(60 * GWEI)
    ground.anvil.mine()
    with open_home(ground.folder / "home") as home:
        us = hands(ground, home, fee_cap=str(20 * GWEI))
        assert us.turn(asked=True) is Phase.IDLE
        assert us.calls() == ()
        assert "the cap is 20" in str(us.anchoring.status().error)
        assert ground.line.forwarded[SEND] == 0
        ground.anvil.set_next_base_fee(5 * GWEI)
        ground.anvil.mine()
        assert us.turn(asked=True) is Phase.LANDED
        ground.anvil.mine(2)
        assert us.turn() is Phase.IDLE
        assert int(us.calls()[0].fee_per_gas) <= 20 * GWEI
    ground.check()


def test_a_nonce_that_another_program_with_our_key_used(ground: Ground) -> None:
    ground.anvil.set_automine(on=False)
    with open_home(ground.folder / "home") as home:
        us = hands(ground, home)
        assert us.turn(asked=True) is Phase.WATCHING
        ground.anvil.drop_waiting()
        other = chain_of(ground, home.identity.key(ANCHOR_KEY))
        twin = anchor_commitment(home.identity.log().sign("tallystick.local/twin\n1\n" + "A" * 43 + "=\n"))
        other.send(other.sign(twin, other.next_nonce()))
        ground.anvil.mine(1)
        assert us.turn() is Phase.WATCHING
        assert len(us.calls()) == 1
        ground.anvil.mine(2)
        assert us.turn() is Phase.WATCHING
        assert [call.nonce for call in us.calls()] == [0, 1]
        ground.anvil.mine(3)
        assert us.turn() is Phase.IDLE
    [entry] = ground.entries()
    assert [each["transactionHash"] for each in ground.commits()][1:] == [f"0x{entry.tx_hash}"]


def test_a_transaction_that_made_no_commit_is_told_and_not_sent_again(ground: Ground) -> None:
    code = ground.anvil.rpc("eth_getCode", ground.contract, "latest")
    ground.anvil.rpc("anvil_setCode", ground.contract, "0x00")
    with open_home(ground.folder / "home") as home:
        us = hands(ground, home)
        us.turn(asked=True)
        ground.anvil.mine(2)
        assert us.turn() is Phase.REVERTED
        us.clock.ahead = 60 * MINUTES
        us.open()
        assert us.turn() is Phase.REVERTED
        assert ground.line.forwarded[SEND] == 1
    ground.anvil.rpc("anvil_setCode", ground.contract, code)
    assert ground.tally("anchor", "--confirmations", "0").code == 0
    ground.check()


def chain_of(ground: Ground, key: SigningKey) -> Chain:
    return JsonRpcChain(JsonRpc(ground.line.url), ChainSettings(CHAIN_ID, ground.contract, confirmations=0), key)


# What a stranger can check.


def verified(ground: Ground, *words: str) -> tuple[int, dict[str, Any]]:
    done = ground.tally("verify", *words, "--trust", "home/trust.toml", "--json")
    answer = json.loads(done.out)
    return done.code, next(each for each in answer["findings"] if each["name"] in {"anchor", "anchors"})


def anchored_bundle(ground: Ground) -> None:
    assert ground.tally("anchor", *ground.words, "--confirmations", "0").code == 0
    job = ground.tally("jobs", "--json").json["jobs"][0]["jobId"]
    assert ground.tally("bundle", job, "--out", "b.bundle.json").code == 0


@pytest.mark.parametrize("path", ["b.bundle.json", "home/log"])
def test_a_chain_is_asked_for_what_a_bundle_and_a_log_claim(ground: Ground, path: str) -> None:
    before = ground.anvil.snapshot()
    anchored_bundle(ground)
    code, finding = verified(ground, path)
    assert (code, finding["result"]) == (0, "note")
    assert "unconfirmed" in finding["actual"]
    asked = (path, "--rpc", ground.line.url)
    code, finding = verified(ground, *asked)
    assert (code, finding["result"]) == (2, "cannot-tell")
    assert "0 of the 12 blocks" in finding["actual"]
    ground.anvil.mine(12)
    code, finding = verified(ground, *asked)
    assert (code, finding["result"]) == (0, "holds"), finding
    assert f"12 blocks deep, by {ground.recorder}" in finding["actual"]
    ground.line.down()
    code, finding = verified(ground, *asked)
    assert (code, finding["result"]) == (2, "cannot-tell")
    ground.line.up()
    ground.anvil.revert(before)
    ground.anvil.mine(20)
    code, finding = verified(ground, *asked)
    assert (code, finding["result"]) == (1, "does-not-hold")


def test_a_strangers_commit_of_the_same_checkpoint_is_not_ours(ground: Ground) -> None:
    before = ground.anvil.snapshot()
    anchored_bundle(ground)
    note = json.loads((ground.folder / "b.bundle.json").read_bytes())["anchors"][0]["checkpoint"]
    ground.anvil.revert(before)
    stranger = chain_of(ground, SOMEBODY)
    stranger.send(stranger.sign(anchor_commitment(note), stranger.next_nonce()))
    ground.anvil.mine(20)
    assert len(stranger.commits(anchor_commitment(note).asset_cid)) == 1
    code, finding = verified(ground, "b.bundle.json", "--rpc", ground.line.url)
    assert (code, finding["result"]) == (1, "does-not-hold")
    assert ground.recorder in finding["expected"]


def test_a_pinned_block_holds_without_asking_anybody(ground: Ground) -> None:
    anchored_bundle(ground)
    [entry] = ground.entries()
    with (ground.folder / "home" / "trust.toml").open("a", encoding="utf-8") as trust:
        trust.write(
            f'\n[[anchor]]\nchain = "{entry.chain}"\ncontract = "{entry.contract}"\nrecorder = "{entry.recorder}"\n'
            f'asset_cid = "{entry.asset_cid}"\nblock_hash = "{entry.block_hash}"\n'
        )
    code, finding = verified(ground, "b.bundle.json")
    assert (code, finding["result"]) == (0, "holds")
    assert "pinned" in finding["actual"]


def test_credentials_in_the_url_are_kept_and_never_shown(ground: Ground) -> None:
    secret = ground.line.url.replace("http://", "http://user:hunter2@") + "/v3/apikey?token=t0ken"
    shown = [
        ground.tally("anchor", "--rpc", secret, "--contract", ground.contract, "--confirmations", "0", "--json"),
        ground.tally("anchor", "status"),
        ground.tally("anchor", "status", "--json"),
    ]
    assert [each.code for each in shown] == [0, 0, 0]
    ground.line.down()
    shown += [ground.tally("verify", "p@2x.png", "--rpc", secret), ground.tally("anchor", "--rpc", secret)]
    for each in shown:
        for word in ("hunter2", "apikey", "t0ken"):
            assert word not in each.out + each.err
    assert shown[2].json["rpc"] == ground.line.url


def wait_for(true: Any, seconds: float = 60) -> None:  # noqa: ANN401 - a condition
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until
        time.sleep(0.01)
