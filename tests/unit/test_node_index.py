"""The index of a log: where the entries of a job, a worker and a digest stand, noted or put back in pieces."""

from __future__ import annotations

import json
import random
import threading
from hashlib import sha256
from typing import Final

import pytest

from tallystick.errors import MalformedError
from tallystick.node import index as module
from tallystick.node.index import LogIndex

RNG: Final = random.Random(7)


def entry(number: int, kind: str = "Transfer", sender: str = "02aa", **payload: object) -> bytes:
    return json.dumps({"type": kind, "sender": sender, "payload": payload, "number": number}).encode()


ENTRIES: Final = [
    entry(0, "NodeRegistered", "02bb"),
    entry(1, "JobSubmitted", spec={"job_id": "one"}),
    entry(2, "BlockHeader"),
    entry(3, "MicroJobCommitted", task_id="two"),
    entry(4, "JobCompleted", job_id="one"),
    entry(5),
    entry(6, "BlockHeader"),
    entry(7, "StakeDeposited", "02bb"),
    entry(8, "BlockHeader"),
    entry(9, "Anchored", "02cc"),
    entry(10, "JobFailed", job_id="one"),
    entry(11, "JobSettled", job_id="one"),
    entry(12, "BlockHeader"),
]


def noted(entries: list[bytes], first: int = 0) -> LogIndex:
    index = LogIndex()
    for at, each in enumerate(entries, first):
        index.note(at, each)
    return index


def content(index: LogIndex) -> tuple[object, ...]:
    return (
        index.headers.tolist(),
        (index.anchors.tolist(), index.newest_event),
        {name: each.tolist() for name, each in index.jobs.items()},
        {name: each.tolist() for name, each in index.nodes.items()},
        [index.find(sha256(each).digest()) for each in ENTRIES],
    )


WHOLE: Final = content(noted(ENTRIES))


def test_it_knows_jobs_workers_headers_anchors_and_digests() -> None:
    headers, jobs, nodes = [2, 6, 8, 12], {"one": [1, 4, 10, 11], "two": [3]}, {"02bb": [0, 7]}
    assert (headers, ([9], 10), jobs, nodes, [(at,) for at in range(len(ENTRIES))]) == WHOLE
    assert noted(ENTRIES).find(sha256(b"never logged").digest()) == ()


@pytest.mark.parametrize("cut", range(len(ENTRIES) + 1))
def test_pieces_put_back_give_the_same_index(cut: int) -> None:
    first = LogIndex()
    for at, each in enumerate(ENTRIES[:cut]):
        first.note(at, each)
    one = first.grown(0)
    first.settle()
    for at, each in enumerate(ENTRIES[cut:], cut):
        first.note(at, each)
    two = first.grown(cut)
    assert len(one[0]) == 8 * cut
    assert len(two[0]) == 8 * (len(ENTRIES) - cut)
    second = LogIndex()
    second.extend(0, *one)
    second.extend(cut, *two)
    assert content(first) == content(second) == WHOLE
    assert second.grown(len(ENTRIES)) == (b"", module.Growth([], {}, {}))


def test_headers_around_a_stretch() -> None:
    index = noted(ENTRIES)
    assert [index.headers_over(*span) for span in ((0, 1), (3, 4), (3, 7), (7, 7))] == [[2], [2, 6], [2, 6, 8], [6, 8]]


@pytest.mark.parametrize("data", [b"", b"\xff", b"{}", b'{"type":1,"sender":"","payload":{}}', b"[" * 5000])
def test_what_is_no_entry_is_refused_and_leaves_nothing(data: bytes) -> None:
    index = LogIndex()
    with pytest.raises(MalformedError, match="entry 5"):
        index.note(5, data)
    assert index.grown(0) == (b"", module.Growth([], {}, {}))


def test_every_digest_is_found_among_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RECENT_MIN", 100)
    index, digests = LogIndex(), [sha256(bytes([at & 255, at >> 8])).digest() for at in range(5_050)]
    keys = b"".join(digest[:8] for digest in digests[:3_000])
    index.extend(0, keys, module.Growth([], {}, {}))
    for at, digest in enumerate(digests[3_000:], 3_000):
        index._digests.note(int.from_bytes(digest[:8], "big"), at)
    assert [index.find(digest) for digest in digests] == [(at,) for at in range(5_050)]
    assert 0 < len(index._digests._recent) < 100


@pytest.mark.parametrize("key", [0, 1, 2**53 + 1, 2**63, 2**64 - 1])
@pytest.mark.parametrize("laid", [0, 1, 2, 3])
def test_entries_that_share_a_key_are_all_found_and_neighbours_are_not(key: int, laid: int) -> None:
    """Who wants to can make two entries that share 8 bytes; the finder must see both."""
    near = {(key + 1) % 2**64, (key - 1) % 2**64}
    digests = module._Digests()
    for at, each in enumerate([key, *near, key, key]):
        digests.note(each, at)
        if at == laid:
            digests.sort()
    assert digests.find(key) == (0, 3, 4)
    assert [len(digests.find(each)) for each in near] == [1, 1]


def test_a_finder_in_another_thread_never_misses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RECENT_MIN", 64)
    digests, missed, done = module._Digests(), list[int](), threading.Event()
    keys = [RNG.getrandbits(64) for _ in range(20_000)]
    known = [0]

    def look() -> None:
        while not done.is_set():
            at = RNG.randrange(known[0] + 1) - 1
            if at >= 0 and digests.find(keys[at]) != (at,):
                missed.append(at)

    threads = [threading.Thread(target=look) for _ in range(2)]
    for thread in threads:
        thread.start()
    for at, key in enumerate(keys):
        digests.note(key, at)
        known[0] = at
    done.set()
    for thread in threads:
        thread.join()
    assert missed == []
