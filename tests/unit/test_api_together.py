"""Who asks at one time shares a turn, a wake-up, or neither: answers find their askers, errands keep their order.

Knows: one event loop, threads that speak into it. Refuses to know: HTTP, and what acts do.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence

import pytest

from tallystick.api.post import Post
from tallystick.api.together import Together
from tallystick.errors import ConflictError, StoreError, TallyError


async def until(ready: Callable[[], bool]) -> None:
    for _ in range(5000):
        if ready():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it did not come")


def test_whoever_asks_during_a_turn_is_in_the_next_one_and_every_answer_finds_its_asker() -> None:
    turns: list[list[int]] = []
    first, go = threading.Event(), threading.Event()

    def act(wishes: Sequence[int]) -> Sequence[int]:
        turns.append(list(wishes))
        first.set()
        go.wait(5)
        return [10 * wish for wish in wishes]

    async def run() -> list[int]:
        together = Together(act)
        early = asyncio.create_task(together(1))
        await until(first.is_set)
        late = [asyncio.create_task(together(wish)) for wish in (2, 3, 4)]
        await asyncio.sleep(0.01)
        go.set()
        return await asyncio.gather(early, *late)

    assert asyncio.run(run()) == [10, 20, 30, 40]
    assert turns == [[1], [2, 3, 4]]


def test_a_refusal_is_one_askers_and_a_failure_everybodys() -> None:
    def act(wishes: Sequence[int]) -> Sequence[int | TallyError]:
        if 9 in wishes:
            raise StoreError("the disk is full")
        return [ConflictError("odd") if wish % 2 else wish for wish in wishes]

    async def run() -> tuple[list[int | BaseException], ...]:
        together = Together(act)
        some = await asyncio.gather(*(together(wish) for wish in (2, 3)), return_exceptions=True)
        none = await asyncio.gather(*(together(wish) for wish in (2, 9)), return_exceptions=True)
        after = await asyncio.gather(together(4))
        return some, none, after  # type: ignore[return-value]

    some, none, after = asyncio.run(run())
    assert some[0] == 2
    assert isinstance(some[1], ConflictError)
    assert [type(each) for each in none] == [StoreError, StoreError]
    assert after == [4]


def test_an_asker_that_goes_away_takes_nothing_from_the_others() -> None:
    go = threading.Event()

    def act(wishes: Sequence[int]) -> Sequence[int]:
        go.wait(5)
        return wishes

    async def run() -> int:
        together = Together(act)
        gone, stays = asyncio.create_task(together(1)), asyncio.create_task(together(2))
        await asyncio.sleep(0.01)
        gone.cancel()
        go.set()
        return await asyncio.wait_for(stays, 5)

    assert asyncio.run(run()) == 2


def test_errands_from_threads_run_in_the_loop_in_order_and_once() -> None:
    async def run() -> tuple[list[int], set[int]]:
        post, done, where = Post(), list[int](), set[int]()
        post.open()

        def errand(number: int) -> Callable[[], None]:
            return lambda: (done.append(number), where.add(threading.get_ident()))[0]

        def send() -> None:
            for number in range(1000):
                post(errand(number))

        sender = threading.Thread(target=send)
        sender.start()
        await until(lambda: len(done) == 1000)
        sender.join()
        return done, where

    done, where = asyncio.run(run())
    assert done == list(range(1000))
    assert where == {threading.get_ident()}


def test_an_errand_that_fails_holds_up_nobody() -> None:
    done: list[int] = []

    async def run() -> list[str]:
        loop, post, told = asyncio.get_running_loop(), Post(), list[str]()
        loop.set_exception_handler(lambda _, context: told.append(str(context["exception"])))
        post.open()
        post(lambda: done.append(1))
        post(lambda: done.append(1 // 0))
        post(lambda: done.append(2))
        await until(lambda: len(done) == 2)
        return told

    told = asyncio.run(asyncio.wait_for(run(), 5))
    assert (done, len(told)) == ([1, 2], 1)
    assert "zero" in told[0]


def test_an_errand_of_an_errand_has_its_turn_behind_other_work() -> None:
    async def run() -> list[str]:
        post, said = Post(), list[str]()
        post.open()
        post(lambda: (said.append("first"), post(lambda: said.append("second")))[0])
        asyncio.get_running_loop().call_soon(said.append, "other")
        await asyncio.sleep(0.01)
        return said

    assert asyncio.run(run()) == ["first", "other", "second"]


@pytest.mark.parametrize("opened", [True, False])
def test_an_errand_into_a_loop_that_ended_goes_nowhere(*, opened: bool) -> None:
    post, done = Post(), list[int]()

    async def run() -> None:
        if opened:
            post.open()

    asyncio.run(run())
    post(lambda: done.append(1))
    assert done == []
