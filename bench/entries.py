"""Durable entries per second through the ledger, over the rate of bare signature checks (target: a quarter).

Inside an entry's time: decode the bytes that a client sent (typed, spelled again, compared), check its signature,
`apply()`, the block with header and state root, SQLite with `synchronous=FULL`, the log's tiles, the signed checkpoint.
Clients, 16 of them, sign beforehand. The floor is coincurve's verification of the same signatures, the key parsed each
time (the ledger keeps the last 4096 parsed keys). Both are wall time in one thread, measured in turn.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from coincurve import PublicKey

from tallystick.adapters.local import SystemClock
from tallystick.adapters.sqlite import SqliteStore
from tallystick.adapters.tiles import FolderTiles
from tallystick.ledger.payloads import Transfer
from tallystick.ledger.transactions import Draft, Transaction, decode, sign
from tallystick.node.identity import Identity
from tallystick.node.sequencer import Submission
from tallystick.node.solo import SoloEngine
from tallystick.primitives import canonical
from tallystick.primitives.keys import SigningKey, _der

ACCOUNTS = 16
BATCHES = (1, 64, 256, 512)
TARGET = 0.25


def main(entries: int = 8192, rounds: int = 5) -> dict[str, object]:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        engine, store = _ledger(Path(folder))
        senders = [SigningKey(bytes([1 + n]) * 32) for n in range(ACCOUNTS)]
        _fund(engine, senders)
        result = _measure(engine, senders, entries, rounds)
        store.close()
    return result


def _ledger(folder: Path) -> tuple[SoloEngine, SqliteStore]:
    identity, clock = Identity(bytes(range(32))), SystemClock()
    store = SqliteStore(folder / "ledger.sqlite")
    genesis = identity.genesis(clock.now())
    store.create(canonical.encode(genesis))
    return SoloEngine(identity.parameters(genesis), store, FolderTiles(folder / "log"), clock), store


def _fund(engine: SoloEngine, senders: Sequence[SigningKey]) -> None:
    """Give every sender an account, so that transfers move money that is there."""
    faucet = Identity(bytes(range(32))).faucet()
    engine.run([Submission(tuple(Draft(faucet, Transfer(key.address, "1000000000")) for key in senders))])


def _signed(engine: SoloEngine, senders: Sequence[SigningKey], first: int, count: int) -> list[Transaction]:
    """Entries as clients would send them, the senders in turn, every nonce in its place."""
    made = []
    for index in range(first, first + count):
        key, to = senders[index % ACCOUNTS], senders[(index * 7 + 1) % ACCOUNTS]
        made.append(sign(Draft(key, Transfer(to.address, "1")), engine.parameters.chain_id, index // ACCOUNTS))
    return made


def _measure(engine: SoloEngine, senders: Sequence[SigningKey], entries: int, rounds: int) -> dict[str, object]:
    rates: dict[int, list[float]] = {batch: [] for batch in BATCHES}
    floors: list[float] = []
    made = 0
    for _ in range(rounds):
        for batch in BATCHES:
            count = min(entries, 64) if batch == 1 else entries
            sent = _signed(engine, senders, made, count)
            made += count
            floors.append(_rate(len(sent), lambda sent=sent: _verify(sent)))
            waiting = [transaction.entry for transaction in sent]
            rates[batch].append(_rate(count, lambda w=waiting, b=batch: _commit(engine, w, b)))
    floor = statistics.median(floors)
    best = max(BATCHES, key=lambda batch: statistics.median(rates[batch]))
    print(f"signature floor, coincurve with key parse: {floor:,.0f}/s")
    for batch in BATCHES:
        rate = statistics.median(rates[batch])
        print(f"  batches of {batch:3}: {rate:8,.0f} durable entries/s, {rate / floor:5.1%} of the floor")
    flushes = _flushes()
    ratio = statistics.median(rates[best]) / floor
    print(f"fdatasync of one page beside it: {flushes:,.0f}/s")
    print(f"target {TARGET:.0%}: {'reached' if ratio >= TARGET else 'missed'} with batches of {best}")
    return {
        "floor_verifications_per_s": round(floor),
        "entries_per_s_by_batch": {str(batch): round(statistics.median(rates[batch])) for batch in BATCHES},
        "best_ratio_to_floor": round(ratio, 3),
        "fdatasyncs_per_s": round(flushes),
    }


def _rate(count: int, act: Callable[[], object]) -> float:
    begun = time.perf_counter()
    act()
    return count / (time.perf_counter() - begun)


def _verify(sent: Sequence[Transaction]) -> None:
    """Verify signatures and nothing else; what is signed does not matter to the cost, so a digest stands for it."""
    for transaction in sent:
        PublicKey(transaction.sender).verify(_der(transaction.signature), transaction.digest, hasher=None)


def _commit(engine: SoloEngine, waiting: Sequence[bytes], batch: int) -> None:
    """Take entries in as they come from clients, so many to a block."""
    for start in range(0, len(waiting), batch):
        group = [Submission((decode(entry),)) for entry in waiting[start : start + batch]]
        _, block = engine.run(group)
        if block is None or len(block.transactions) != len(group):
            raise SystemExit("an entry of the benchmark was refused")


def _flushes(seconds: float = 0.5) -> float:
    with tempfile.TemporaryFile() as file:
        begun, count = time.perf_counter(), 0
        while time.perf_counter() - begun < seconds:
            os.pwrite(file.fileno(), bytes(4096), 4096 * (count % 256))
            os.fdatasync(file.fileno())
            count += 1
        return count / (time.perf_counter() - begun)


if __name__ == "__main__":
    main()
