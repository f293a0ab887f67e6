"""One turn in a thread for all who ask at one time: whoever asks while a turn is under way is in the next one.

A hop into a thread and back costs more than most of what is done there, and a flush takes as long for one as for
thirty. Knows tasks and turns of one event loop; refuses to know what the act does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Generic, TypeVar

from tallystick.api.aside import aside
from tallystick.errors import TallyError

W = TypeVar("W")
R = TypeVar("R")


class Together(Generic[W, R]):
    """Runs ``act`` over everything that was asked for before its turn began, in order, one turn at a time."""

    def __init__(self, act: Callable[[Sequence[W]], Sequence[R | TallyError]]) -> None:
        """Use an act that gives one answer, or one refusal, for each wish; what it raises is everybody's."""
        self._act = act
        self._asked: list[tuple[W, asyncio.Future[R]]] = []
        self._turns: asyncio.Task[None] | None = None

    async def __call__(self, wish: W) -> R:
        """Return the answer; a caller that goes away still lets the act end.

        Raises:
            TallyError: it was refused.
        """
        answer: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._asked.append((wish, answer))
        if self._turns is None:
            self._turns = asyncio.create_task(self._serve())
        return await answer

    async def _serve(self) -> None:
        try:
            while self._asked:
                asked, self._asked = self._asked, []
                await self._turn([wish for wish, _ in asked], [answer for _, answer in asked])
        finally:
            self._turns = None

    async def _turn(self, wishes: Sequence[W], answers: Sequence[asyncio.Future[R]]) -> None:
        try:
            given = await aside(partial(self._act, wishes))
        except Exception as error:  # noqa: BLE001 - whoever asked raises it
            for answer in answers:
                if not answer.done():
                    answer.set_exception(error)
            return
        except asyncio.CancelledError:
            for answer in answers:
                answer.cancel()
            raise
        for answer, each in zip(answers, given, strict=True):
            if answer.done():
                continue
            if isinstance(each, TallyError):
                answer.set_exception(each)
            else:
                answer.set_result(each)
