"""One act for all who wait: nobody returns before an act that began after asking, and a failure reaches everybody."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

import pytest

from tallystick.errors import StoreError
from tallystick.node.grouped import Grouped


class Slow:
    """An act that waits until it is let go, and remembers what it did."""

    def __init__(self) -> None:
        self.done: list[tuple[int, ...]] = []
        self.begun, self.go = threading.Semaphore(0), threading.Semaphore(0)
        self.failing: BaseException | None = None

    def __call__(self, wishes: Sequence[int]) -> None:
        self.begun.release()
        assert self.go.acquire(timeout=10)
        if self.failing is not None:
            raise self.failing
        self.done.append(tuple(wishes))


def asking(grouped: Grouped[int], wishes: Sequence[int], errors: list[BaseException]) -> list[threading.Thread]:
    """Threads that ask, all of them certainly in the round that is being gathered; one alone begins its own."""
    threads = [threading.Thread(target=caught, args=(lambda wish=wish: grouped(wish), errors)) for wish in wishes]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 10
    while len(wishes) > 1 and len(grouped._next.wishes) < len(wishes) and time.monotonic() < deadline:
        time.sleep(0.001)
    return threads


def caught(act: Callable[[], object], errors: list[BaseException]) -> None:
    try:
        act()
    except BaseException as error:  # noqa: BLE001 - the test looks at it
        errors.append(error)


def test_those_who_ask_meanwhile_share_the_next_act() -> None:
    act, errors = Slow(), list[BaseException]()
    grouped = Grouped(act)
    first = asking(grouped, [0], errors)
    assert act.begun.acquire(timeout=10)
    rest = asking(grouped, [1, 2, 3, 4, 5], errors)
    assert act.done == []
    act.go.release()
    first[0].join()
    assert act.begun.acquire(timeout=10)
    assert act.done == [(0,)]
    assert all(thread.is_alive() for thread in rest)
    act.go.release()
    for thread in rest:
        thread.join(timeout=10)
    assert sorted(act.done[1]) == [1, 2, 3, 4, 5]
    assert len(act.done) == 2
    assert errors == []


@pytest.mark.parametrize("failing", [StoreError("the disk is full"), ZeroDivisionError()])
def test_a_failure_reaches_everybody_who_shared_it_and_nobody_else(failing: BaseException) -> None:
    act, errors = Slow(), list[BaseException]()
    grouped = Grouped(act)
    first = asking(grouped, [0], errors)
    assert act.begun.acquire(timeout=10)
    rest = asking(grouped, [1, 2, 3], errors)
    act.go.release()
    first[0].join()
    act.failing = failing
    act.go.release()
    for thread in rest:
        thread.join(timeout=10)
    assert len(errors) == 3
    assert sum(isinstance(error, StoreError) for error in errors) == (3 if isinstance(failing, StoreError) else 2)
    act.failing = None
    act.go.release()
    grouped(9)
    assert act.done == [(0,), (9,)]


def test_a_hundred_threads_are_all_served_in_few_acts() -> None:
    served: list[int] = []
    acts = []
    lock = threading.Lock()

    def act(wishes: Sequence[int]) -> None:
        assert lock.acquire(blocking=False), "two acts at one time"
        acts.append(len(wishes))
        served.extend(wishes)
        lock.release()

    grouped = Grouped(act)

    def ask(part: int) -> None:
        for at in range(20):
            grouped(20 * part + at)

    threads = [threading.Thread(target=ask, args=(part,)) for part in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(served) == list(range(2000))
    assert sum(acts) == 2000
