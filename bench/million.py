"""The start of a ledger of a million entries by its snapshot, over a full replay (target: 10 s); what keeping it costs.

The log is real: transfers signed by 16 clients, two thirds of them to addresses that nobody paid before, in blocks of
256, through the engine and SQLite. So the state has two records for every three entries. Each start is a process of its
own: interpreter, imports, the ledger's file, checkpoint and tree held against one another. The replay opens the same
file and is given no snapshot. The starts by snapshot are five, in turn with those of an empty ledger; the middle one
counts. All read a file that was just written, so the system has it in memory.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from bench._command import Ended, run
from tallystick.adapters.local import SystemClock
from tallystick.adapters.sqlite import SqliteStore
from tallystick.adapters.tiles import NoTiles
from tallystick.ledger.genesis import Genesis
from tallystick.ledger.payloads import Transfer
from tallystick.ledger.transactions import Draft
from tallystick.node.identity import Identity
from tallystick.node.sequencer import Block, Submission
from tallystick.node.solo import SNAPSHOT_EVERY, SoloEngine
from tallystick.primitives import canonical
from tallystick.primitives.bech32 import encode_address
from tallystick.primitives.digests import sha256, u64
from tallystick.primitives.keys import ACCOUNT_PREFIX, SigningKey

ENTRIES: Final = 1_000_000
BLOCK: Final = 256
SENDERS: Final = 16
FLOAT_WEI: Final = 10**15
TARGET_S: Final = 10.0
LAST: Final = 10
MASTER: Final = bytes(range(32))
ROOT: Final = Path(__file__).resolve().parent.parent


class NoSnapshot(SqliteStore):
    """The same file for somebody who does not know its snapshot."""

    def snapshot(self) -> Iterator[bytes]:
        """Yield nothing."""
        return iter(())


class Watched(SqliteStore):
    """Notes how large each piece of the snapshot is."""

    sizes: list[int]

    def save_snapshot(self, first: int, size: int, data: bytes) -> None:
        """Make a piece durable."""
        super().save_snapshot(first, size, data)
        self.sizes.append(len(data))


def main(entries: int = ENTRIES, snapshot_every: int = SNAPSHOT_EVERY, rounds: int = 5) -> dict[str, object]:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.sqlite"
        began = time.perf_counter()
        pauses, pieces = build(path, entries, snapshot_every)
        built, size = time.perf_counter() - began, path.stat().st_size
        empty = Path(folder) / "empty.sqlite"
        build(empty, 0, snapshot_every)
        by_replay = _start(path, by_snapshot=False)
        in_turn = [[_start(each, by_snapshot=True) for each in (empty, path)] for _ in range(rounds)]
        nothing, by_snapshot = (_middle([each[column] for each in in_turn]) for column in (0, 1))
    last, piece = pauses[-LAST:], statistics.median(pieces[-LAST:])
    faster = by_replay.cpu / by_snapshot.cpu
    print(f"  {entries:,} entries in a file of {size / 1e6:,.0f} MB, written in {built:,.0f} s")
    for name, each in (("empty ledger", nothing), ("by snapshot", by_snapshot), ("full replay", by_replay)):
        print(
            f"  start, {name:12} {each.wall:7.2f} s of wall, {each.cpu:7.2f} s of CPU, {each.peak / 1e6:6,.0f} MB peak"
        )
    print(f"  a full replay takes {faster:.0f} times the CPU of a start by snapshot")
    print(
        f"  a piece of the snapshot every {snapshot_every:,} entries stops the ledger for "
        f"{1000 * statistics.median(last):.0f} ms at the end ({1000 * max(last):.0f} at most); {piece / 1e6:.1f} MB"
    )
    print(f"  target {TARGET_S:.0f} s: {'reached' if by_snapshot.wall < TARGET_S else 'missed'}")
    return {
        "entries": entries,
        "file_bytes": size,
        "start_by_snapshot_s": round(by_snapshot.wall, 2),
        "start_by_replay_s": round(by_replay.wall, 2),
        "start_of_an_empty_ledger_s": round(nothing.wall, 2),
        "start_by_snapshot_cpu_s": round(by_snapshot.cpu, 2),
        "start_by_replay_cpu_s": round(by_replay.cpu, 2),
        "start_of_an_empty_ledger_cpu_s": round(nothing.cpu, 2),
        "replay_over_snapshot": round(faster, 1),
        "peak_rss_by_snapshot_bytes": by_snapshot.peak,
        "peak_rss_by_replay_bytes": by_replay.peak,
        "peak_rss_of_an_empty_ledger_bytes": nothing.peak,
        "snapshot_every": snapshot_every,
        "snapshot_pause_ms": round(1000 * statistics.median(last)),
        "snapshot_pause_ms_at_most": round(1000 * max(last)),
        "snapshot_piece_bytes": round(piece),
    }


def build(path: Path, entries: int, snapshot_every: int) -> tuple[list[float], list[int]]:
    """Write a ledger of at least so many entries; return how long each piece of its snapshot took, and its bytes."""
    identity, clock = Identity(MASTER), SystemClock()
    store = Watched(path)
    store.sizes = []
    store.create(canonical.encode(identity.genesis(clock.now())))
    engine = _opened(store)
    senders = [SigningKey(sha256(b"sender", bytes([n]))) for n in range(SENDERS)]
    _write(engine, [Draft(identity.faucet(), Transfer(key.address, str(FLOAT_WEI))) for key in senders])
    pauses: list[float] = []
    kept = number = 0
    while engine.tree.size < entries:
        _write(engine, [Draft(senders[n % SENDERS], Transfer(_payee(n), "1")) for n in range(number, number + BLOCK)])
        number += BLOCK
        if engine.tree.size - kept >= snapshot_every:
            begun = time.perf_counter()
            engine.snapshot()
            pauses.append(time.perf_counter() - begun)
            kept = engine.tree.size
    store.close()
    return pauses or [0.0], store.sizes or [0]


def _write(engine: SoloEngine, drafts: Sequence[Draft]) -> None:
    """Make a block durable; nobody reads this log's tiles."""
    block = engine.propose([Submission(tuple(drafts))])
    if not isinstance(block, Block):
        raise SystemExit("a block of the benchmark was refused")
    engine.write(block)


def _payee(number: int) -> str:
    """Two of three transfers go to a new address; nobody needs its key for that."""
    return encode_address(ACCOUNT_PREFIX, sha256(u64(number if number % 3 else number % 999))[:20])


def _opened(store: SqliteStore) -> SoloEngine:
    genesis = canonical.decode(store.genesis() or b"", Genesis, what="genesis")
    return SoloEngine(Identity(MASTER).parameters(genesis), store, NoTiles(store), SystemClock())


def _middle(starts: Sequence[Ended]) -> Ended:
    """The start with the median wall time."""
    return sorted(starts, key=lambda each: each.wall)[len(starts) // 2]


def _start(path: Path, *, by_snapshot: bool) -> Ended:
    kind = "SqliteStore" if by_snapshot else "NoSnapshot"
    return run([sys.executable, "-m", "bench.million", kind, str(path)], {"PYTHONPATH": str(ROOT)})


if __name__ == "__main__":
    KINDS = {"SqliteStore": SqliteStore, "NoSnapshot": NoSnapshot}
    _opened(KINDS[sys.argv[1]](Path(sys.argv[2]), read_only=True))
