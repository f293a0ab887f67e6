"""The node's own chain: what it takes, that it loses nothing, and that it refuses a file that says something else."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import apsw
import pytest

from tallystick.adapters.artifacts import creation_code
from tallystick.adapters.embedded_chain import CHAIN_ID, EmbeddedChain
from tallystick.adapters.embedded_chain.execution import SPEC, Execution
from tallystick.anchoring.erc7053 import Erc7053Commit, anchor_commitment, commit_calldata, commit_topics
from tallystick.anchoring.ethereum import Transaction, address_bytes, contract_address, transaction_hash
from tallystick.errors import ChainError, ChainRefusedError
from tallystick.node.chain import Chain, SignedCall
from tallystick.primitives.cids import raw_cid
from tallystick.primitives.digests import sha256
from tallystick.primitives.keys import SigningKey, evm_address_of, keccak256
from tallystick.primitives.notes import Checkpoint, NoteSigner
from tests.demand import demand_pyrevm

PAGE = Path(__file__).parents[2] / "docs" / "spec" / "embedded-chain.md"
ORIGIN = "example.org/tally"
NOTE = NoteSigner(ORIGIN, bytes(range(32))).sign(Checkpoint(ORIGIN, 7, sha256(b"tallystick")).text())
KEY, STRANGER = SigningKey(b"\x22" * 32), SigningKey(b"\x33" * 32)
COMMITS = [Erc7053Commit(raw_cid(sha256(bytes((n,)))), f'{{"n":{n},"é":"{"x" * 40 * n}"}}') for n in range(4)]
CREATE = Transaction(CHAIN_ID, 0, 0, 0, 1_000_000, b"", creation_code())


@dataclass
class Watch:
    """A clock that stands where it is put."""

    ms: int = 1_700_000_000_000

    def now(self) -> int:
        return self.ms


@pytest.fixture(autouse=True)
def _pyrevm() -> None:
    demand_pyrevm()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "chain.sqlite"


def opened(path: Path, clock: Watch | None = None) -> EmbeddedChain:
    return EmbeddedChain(path, KEY, creation_code(), clock or Watch())


@pytest.fixture
def chain(path: Path) -> Iterator[EmbeddedChain]:
    chain = opened(path)
    yield chain
    chain.close()


def sent(chain: Chain, commit: Erc7053Commit) -> SignedCall:
    call = chain.sign(commit, chain.next_nonce())
    chain.send(call)
    return call


def other(transaction: Transaction, key: SigningKey = KEY) -> SignedCall:
    raw = transaction.sign(key)
    return SignedCall(raw, transaction_hash(raw), transaction.nonce, transaction.fee)


def test_it_says_that_it_is_the_nodes_own(chain: EmbeddedChain) -> None:
    port: Chain = chain
    assert (port.name, port.embedded, port.confirmations) == ("eip155:7053", True, 0)
    assert port.recorder == evm_address_of(KEY.public)
    assert port.contract == contract_address(port.recorder, 0)


def test_its_first_block_creates_the_registry(chain: EmbeddedChain) -> None:
    assert (chain.head(), chain.next_nonce()) == (1, 1)
    assert chain.block_hash(0) != chain.block_hash(1)
    assert chain.block_hash(2) is None


def test_a_commit_is_found_by_its_cid(chain: EmbeddedChain) -> None:
    calls = [sent(chain, commit) for commit in (COMMITS[1], COMMITS[2], COMMITS[1])]
    first, again = chain.commits(COMMITS[1].asset_cid)
    assert (first.landed.block, again.landed.block) == (2, 4)
    assert first.landed == chain.landed(calls[0].tx_hash)
    assert (first.recorder, first.commit_data) == (chain.recorder, COMMITS[1].commit_data)
    assert first.asset_cid_hash == keccak256(COMMITS[1].asset_cid.encode())
    assert first.landed.block_hash == chain.block_hash(2)
    assert first.landed.succeeded
    assert chain.commits(COMMITS[3].asset_cid) == ()


def test_a_strangers_commit_is_left_out(chain: EmbeddedChain) -> None:
    call = Transaction(CHAIN_ID, 0, 0, 0, 200_000, address_bytes(chain.contract), commit_calldata(COMMITS[1]))
    chain.send(other(call, STRANGER))
    assert chain.head() == 2
    assert chain.commits(COMMITS[1].asset_cid) == ()


def test_a_commit_in_another_contract_is_left_out(chain: EmbeddedChain) -> None:
    chain.send(other(replace(CREATE, nonce=1)))
    registry = address_bytes(contract_address(chain.recorder, 1))
    chain.send(other(Transaction(CHAIN_ID, 2, 0, 0, 200_000, registry, commit_calldata(COMMITS[1]))))
    assert chain.head() == 3
    assert chain.commits(COMMITS[1].asset_cid) == ()


def test_sending_again_pays_nothing_again(chain: EmbeddedChain) -> None:
    call = sent(chain, COMMITS[1])
    chain.send(call)
    assert (chain.head(), chain.next_nonce()) == (2, 2)


def test_of_two_calls_with_one_nonce_one_lands(chain: EmbeddedChain) -> None:
    call = chain.sign(COMMITS[1], 1)
    bumped = chain.sign(COMMITS[1], 1, call)
    twice = chain.sign(COMMITS[1], 1, bumped)
    assert call.fee_per_gas < bumped.fee_per_gas < twice.fee_per_gas
    assert twice.fee_per_gas * 8 >= bumped.fee_per_gas * 9
    chain.send(bumped)
    with pytest.raises(ChainRefusedError, match="nonce"):
        chain.send(call)
    assert chain.landed(call.tx_hash) is None
    assert chain.landed(bumped.tx_hash) is not None


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"chain_id": 1}, "chain id 1"),
        ({"nonce": 2}, "nonce 2"),
        ({"nonce": 0}, "nonce 0"),
        ({"value": 1}, "value 1"),
        ({"tip": 1, "fee": 1}, "price of gas 1"),
        ({"tip": None, "fee": 1}, "price of gas 1"),
        ({"gas": 30_000_001}, "gas above the block's 1"),
        ({"gas": 21_000}, "gas"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_what_no_block_may_hold_leaves_no_trace(chain: EmbeddedChain, change: dict[str, int], named: str) -> None:
    good = Transaction(CHAIN_ID, 1, 0, 0, 200_000, address_bytes(chain.contract), commit_calldata(COMMITS[1]))
    with pytest.raises(ChainRefusedError, match=named):
        chain.send(other(replace(good, **change)))
    assert (chain.head(), chain.next_nonce()) == (1, 1)
    chain.send(other(good))
    assert len(chain.commits(COMMITS[1].asset_cid)) == 1


@pytest.mark.parametrize("raw", [b"", b"junk", b"\x02\xc0"])
def test_junk_is_refused(chain: EmbeddedChain, raw: bytes) -> None:
    with pytest.raises(ChainRefusedError):
        chain.send(SignedCall(raw, b"", 1, 0))
    assert chain.head() == 1


@pytest.mark.parametrize("gas", [24_000, 200_000], ids=["out of gas", "reverts"])
def test_what_reverts_is_in_a_block_and_uses_its_nonce(chain: EmbeddedChain, path: Path, gas: int) -> None:
    call = other(Transaction(CHAIN_ID, 1, 0, 0, gas, address_bytes(chain.contract), b"\xde\xad\xbe\xef" * 8))
    chain.send(call)
    landed = chain.landed(call.tx_hash)
    assert landed is not None
    assert not landed.succeeded
    assert chain.next_nonce() == 2
    sent(chain, COMMITS[1])
    chain.close()
    again = opened(path)
    assert (again.landed(call.tx_hash), again.next_nonce()) == (landed, 3)
    again.close()


def test_everything_is_there_after_a_restart(path: Path) -> None:
    chain = opened(path)
    calls = [sent(chain, commit) for commit in COMMITS]
    before = [chain.landed(call.tx_hash) for call in calls], [chain.commits(c.asset_cid) for c in COMMITS]
    hashes = [chain.block_hash(n) for n in range(6)]
    chain.close()
    again = opened(path)
    assert ([again.landed(call.tx_hash) for call in calls], [again.commits(c.asset_cid) for c in COMMITS]) == before
    assert [again.block_hash(n) for n in range(6)] == hashes
    assert (again.head(), again.next_nonce()) == (5, 5)
    assert sent(again, COMMITS[1]).nonce == 5
    again.close()


def test_time_goes_on_whatever_the_clock_does(path: Path) -> None:
    clock = Watch()
    chain = opened(path, clock)
    clock.ms -= 86_400_000
    sent(chain, COMMITS[0])
    clock.ms += 2 * 86_400_000
    sent(chain, COMMITS[1])
    chain.close()
    times = [row[0] for row in apsw.Connection(str(path)).execute("select time from block order by number")]
    assert times == [1_700_000_000, 1_700_000_001, 1_700_086_400]
    opened(path).close()


TAMPERED = {
    "gas": "update block set gas = gas + 1 where number = 3",
    "verdict": "update block set succeeded = 0 where number = 3",
    "time": "update block set time = time + 1 where number = 3",
    "time goes back": "update block set time = 5 where number = 3",
    "logs": "update block set logs = (select logs from block where number = 2) where number = 3",
    "hash": "update block set hash = zeroblob(32) where number = 4",
    "transaction hash": "update block set tx_hash = zeroblob(32) where number = 3",
    "transaction": "update block set raw = x'c0' where number = 3",
    "lost in the middle": "delete from block where number = 3",
    "lost first": "delete from block where number = 1",
    "renumbered": "update block set number = 9 where number = 4",
}


@pytest.mark.parametrize("statement", TAMPERED.values(), ids=TAMPERED.keys())
def test_an_edited_file_is_refused(path: Path, statement: str) -> None:
    chain = opened(path)
    for commit in COMMITS[:3]:
        sent(chain, commit)
    chain.close()
    with apsw.Connection(str(path)) as db:
        db.execute(statement)
    with pytest.raises(ChainError, match=r"^block \d of the embedded chain"):
        opened(path)


def test_a_file_of_another_recorder_is_refused(path: Path) -> None:
    opened(path).close()
    with pytest.raises(ChainError, match="another chain"):
        EmbeddedChain(path, STRANGER, creation_code(), Watch())


def test_a_file_of_another_kind_is_refused(path: Path) -> None:
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(ChainError, match=r"chain\.sqlite"):
        opened(path)


def test_a_first_block_that_creates_nothing_is_refused(path: Path) -> None:
    with pytest.raises(ChainError, match="no registry"):
        EmbeddedChain(path, KEY, b"\xfe", Watch())


def test_what_was_not_made_durable_did_not_happen(chain: EmbeddedChain, path: Path) -> None:
    sent(chain, COMMITS[0])
    call = chain.sign(COMMITS[1], 2)
    with apsw.Connection(str(path)) as db:
        db.execute("create trigger full before insert on block begin select raise(abort, 'disk full'); end")
    with pytest.raises(ChainError, match="durable"):
        chain.send(call)
    assert (chain.head(), chain.next_nonce(), chain.landed(call.tx_hash)) == (2, 2, None)
    with apsw.Connection(str(path)) as db:
        db.execute("drop trigger full")
    chain.send(call)
    assert chain.head() == 3
    chain.close()
    opened(path).close()


def test_another_writer_is_noticed(chain: EmbeddedChain, path: Path) -> None:
    """Two nodes on one home are kept apart by its lock; were it lost, neither chain would fork in silence."""
    second = opened(path)
    sent(second, COMMITS[0])
    call = chain.sign(COMMITS[1], 1)
    with pytest.raises(ChainError, match="another process"):
        chain.send(call)
    assert (chain.head(), chain.next_nonce()) == (2, 2)
    second.close()


def test_threads_take_turns(chain: EmbeddedChain) -> None:
    calls = [chain.sign(COMMITS[1], nonce) for nonce in range(1, 9)]
    failed = []

    def send(call: SignedCall) -> None:
        while chain.next_nonce() < call.nonce:
            pass
        try:
            chain.send(call)
        except ChainError as error:
            failed.append(error)

    threads = [threading.Thread(target=send, args=(call,)) for call in calls for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert len(chain.commits(COMMITS[1].asset_cid)) == 8


PROCESS = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests.unit.test_embedded_chain import COMMITS, opened, sent
chain = opened(Path(sys.argv[1]))
while True:
    print(sent(chain, COMMITS[1]).tx_hash.hex(), flush=True)
"""


def test_kill_9_loses_nothing_acknowledged(path: Path) -> None:
    root = str(Path(__file__).parents[2])
    acknowledged = []
    for lines in (3, 17, 40):
        command = [sys.executable, "-c", PROCESS, str(path), root]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            acknowledged += [process.stdout.readline().strip() for _ in range(lines)]
            process.kill()
    chain = opened(path)
    assert all(chain.landed(bytes.fromhex(tx_hash)) for tx_hash in acknowledged)
    assert len(set(acknowledged)) == 60
    assert chain.next_nonce() == chain.head() == len(chain.commits(COMMITS[1].asset_cid)) + 1
    chain.close()


def test_a_python_without_pyrevm_says_so(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    module = "tallystick.adapters.embedded_chain.execution.find_spec"
    monkeypatch.setattr(module, lambda name: None if name == "pyrevm" else found(name))
    with pytest.raises(ChainError, match=r"pyrevm.*3\.13.*JSON-RPC"):
        opened(path)
    assert not path.exists()


def test_the_page_holds(path: Path) -> None:
    """docs/spec/embedded-chain.md, computed again from its words alone."""
    page = PAGE.read_text(encoding="utf-8")
    chain = opened(path)
    call = sent(chain, anchor_commitment(NOTE))
    document = re.findall(r"```json\n(.*)\n```", page)[0].encode()
    sha = hashlib.sha256
    parent = sha(b"tallystick/chain-genesis/v1\n" + sha(document).digest()).digest()
    hashes = [parent]
    for row in apsw.Connection(str(path)).execute(
        "select number, time, tx_hash, succeeded, gas, logs from block order by number"
    ):
        number, seconds, tx_hash, succeeded, gas, logs = row
        body = struct.pack(">QQ32sBQ", number, seconds, tx_hash, succeeded, gas) + sha(logs).digest()
        parent = sha(b"tallystick/chain-block/v1\n" + parent + body).digest()
        hashes.append(parent)
    assert hashes == [chain.block_hash(n) for n in range(3)]
    assert re.findall(r"^- hash\(\d\): `(\w+)`", page, re.MULTILINE) == [digest.hex() for digest in hashes]
    assert f"stands at `{chain.contract}`" in page
    assert f"transaction `{call.tx_hash.hex()}`" in page
    chain.close()


def test_the_event_is_the_one_of_the_standard() -> None:
    execution = Execution(CHAIN_ID)
    execution.run(CREATE.sign(KEY), number=1, time=1)
    registry = contract_address(evm_address_of(KEY.public), 0)
    call = Transaction(CHAIN_ID, 1, 0, 0, 200_000, address_bytes(registry), commit_calldata(COMMITS[1]))
    (log,) = execution.run(call.sign(KEY), number=2, time=2).logs
    sender = address_bytes(evm_address_of(KEY.public))
    assert (log.contract, log.topics) == (registry, commit_topics(sender, COMMITS[1].asset_cid))


def test_contracts_learn_chain_number_and_time() -> None:
    """CHAINID, NUMBER and TIMESTAMP as an event: pyrevm's own chain id would be 1."""
    emit = bytes.fromhex("46600052436020524260405260606000a000")
    create = bytes((0x60, len(emit), 0x60, 0x0C, 0x60, 0, 0x39, 0x60, len(emit), 0x60, 0, 0xF3)) + emit
    execution = Execution(CHAIN_ID)
    execution.run(replace(CREATE, data=create).sign(KEY), number=1, time=1)
    contract = address_bytes(contract_address(evm_address_of(KEY.public), 0))
    (log,) = execution.run(replace(CREATE, nonce=1, to=contract, data=b"").sign(KEY), number=77, time=99).logs
    assert [int.from_bytes(log.data[at : at + 32], "big") for at in (0, 32, 64)] == [CHAIN_ID, 77, 99]


def test_the_rules_of_the_evm_are_named_as_pyrevm_knows_them() -> None:
    """A name that it does not know gives its newest rules without a word: PUSH0 tells a known name of an older set."""
    import pyrevm

    def takes_push0(spec: str) -> bool:
        evm = pyrevm.EVM(spec_id=spec)
        evm.insert_account_info("0x" + "22" * 20, pyrevm.AccountInfo(code=b"\x5f\x5f\xf3"))
        try:
            evm.message_call("0x" + "11" * 20, "0x" + "22" * 20)
        except RuntimeError:
            return False
        return True

    assert SPEC == "Cancun"
    assert [takes_push0(name) for name in ("London", "LONDON", "Cancun")] == [False, True, True]
