"""One thread owns the ledger; everybody else hands it submissions and hears what became of them.

What waits when the thread is free goes into one block together: under load the group grows and the cost per entry
falls. A caller is answered after the store's COMMIT, never before.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from tallystick.errors import BlockFullError, StoreError, TallyError, VerificationError
from tallystick.ledger.payloads import JobSettled
from tallystick.ledger.transactions import Transaction
from tallystick.node.book import Book, Watch
from tallystick.node.feed import Feed
from tallystick.node.ports import CheckSettlement, Engine
from tallystick.node.sequencer import Accepted, Block, Outcome, Refused, Submission

IDLE_SECONDS: Final = 1.0
GROUP_MAX: Final = 2000
QUEUE_MAX: Final = 50_000
"""Submissions that may wait; whoever asks for somebody outside is refused beyond it."""

Told = Callable[[Outcome, Block | None], None]


@dataclass(slots=True)
class _Request:
    """One submission, who judges settlements in it, and who wants to hear of it."""

    submission: Submission
    check: CheckSettlement | None
    told: Told


@dataclass(slots=True)
class _Answers:
    """Collects the outcomes of one caller's submissions, which may end up in several blocks."""

    outcomes: list[Outcome | None]
    block: Block | None = None
    left: int = 0
    ready: threading.Event = field(default_factory=threading.Event)

    def take(self, place: int, outcome: Outcome, block: Block | None) -> None:
        """Note one outcome; the last one wakes the caller."""
        self.outcomes[place] = outcome
        self.block = block or self.block
        self.left -= 1
        if not self.left:
            self.ready.set()


class SharedBook(Book):
    """The ledger for many threads. ``lock`` guards reads of the log's tree and index; state may be read without."""

    def __init__(self, engine: Engine, watch: Watch, feed: Feed) -> None:
        """Write through an engine that no other thread uses; call ``start``."""
        super().__init__(engine, watch)
        self.lock = threading.RLock()
        self._feed = feed
        self._requests: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        self._again: deque[_Request] = deque()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="ledger", daemon=True)

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def close(self) -> None:
        """Commit what waits, publish, and end."""
        self._closed.set()
        self._requests.put(None)
        self._thread.join()

    def entries_of(self, job_id: str) -> tuple[tuple[int, Transaction], ...]:
        """Return a job's entries with their log positions."""
        with self.lock:
            return super().entries_of(job_id)

    @property
    def depth(self) -> int:
        """How many submissions wait."""
        return self._requests.qsize()

    @property
    def alive(self) -> bool:
        """Whether the thread serves."""
        return self._thread.is_alive()

    def post(self, submission: Submission, told: Told, check: CheckSettlement | None = None) -> None:
        """Hand a submission over; ``told`` hears of it in the ledger's thread, so it must be quick.

        Raises:
            StoreError: the node is closing.
        """
        if self._closed.is_set():
            raise StoreError("the node is closing: nothing more is taken")
        self._requests.put(_Request(submission, check, told))

    def log(
        self, submissions: Sequence[Submission], check_settlement: CheckSettlement | None = None
    ) -> tuple[tuple[Outcome, ...], Block | None]:
        """Commit submissions and wait; the block is the last one that took any of them."""
        answers = _Answers([None] * len(submissions), left=len(submissions))
        for place, submission in enumerate(submissions):

            def told(outcome: Outcome, block: Block | None, place: int = place) -> None:
                answers.take(place, outcome, block)

            self.post(submission, told, check_settlement)
        if not submissions:
            return (), None
        while not answers.ready.wait(IDLE_SECONDS):
            if not self._thread.is_alive():
                raise StoreError("the ledger's thread has ended: nothing more is taken")
        return tuple(outcome for outcome in answers.outcomes if outcome is not None), answers.block

    def _serve(self) -> None:
        while True:
            group = self._gather()
            if group:
                self._commit(group)
            elif self._closed.is_set():
                break
            else:
                self._publish()
        self._publish()

    def _gather(self) -> list[_Request]:
        """Take what waits, at most a group; nothing when nothing came for a while."""
        group = [self._again.popleft() for _ in range(min(len(self._again), GROUP_MAX))]
        with suppress(queue.Empty):
            while len(group) < GROUP_MAX:
                wait = not group and not self._closed.is_set()
                request = self._requests.get(block=wait, timeout=IDLE_SECONDS if wait else None)
                if request is not None:
                    group.append(request)
        return group

    def _publish(self) -> None:
        """Let readers see everything; what fails now is made up with the next block or at the next start."""
        try:
            with self.lock:
                self.engine.publish()
        except (OSError, StoreError) as error:
            self._feed.troubled(error)

    def _commit(self, group: Sequence[_Request]) -> None:
        """Commit a group; a settlement that does not hold takes only its own request down with it."""
        try:
            outcomes, block = self._run(group)
        except VerificationError as error:
            if len(group) > 1:
                for request in group:
                    self._commit([request])
            else:
                group[0].told(Refused(error), None)
            return
        except (TallyError, OSError) as error:
            self._feed.troubled(error)
            failure = error if isinstance(error, TallyError) else StoreError(f"the disk refused the batch: {error}")
            for request in group:
                request.told(Refused(failure), None)
            return
        self._answer(group, outcomes, block)
        if block is not None:
            self._tend()

    def _tend(self) -> None:
        """Publish and snapshot after the answers: both may fail, and what is durable stays so."""
        try:
            self.engine.tend()
        except (OSError, StoreError) as error:
            self._feed.troubled(error)

    def _answer(self, group: Sequence[_Request], outcomes: Sequence[Outcome], block: Block | None) -> None:
        if block is not None:
            for index, transaction in enumerate((*block.transactions, block.header), block.first):
                self._watch(transaction, index)
        for request, outcome in zip(group, outcomes, strict=True):
            if isinstance(outcome, Refused) and isinstance(outcome.error, BlockFullError):
                self._again.append(request)
            else:
                request.told(outcome, block if isinstance(outcome, Accepted) else None)
        if block is not None:
            self._feed.notify()

    def _run(self, group: Sequence[_Request]) -> tuple[tuple[Outcome, ...], Block | None]:
        """Take a group through the engine; readers wait only while the block becomes theirs."""
        proposed = self.engine.propose([request.submission for request in group])
        if not isinstance(proposed, Block):
            return proposed, None
        self.engine.process(proposed, _checking(group))
        self.engine.finalize(proposed)
        self.engine.write(proposed, self.lock)
        return proposed.outcomes, proposed


def _checking(group: Sequence[_Request]) -> CheckSettlement:
    """Return the check that sends a settlement to the request which made it."""
    checks: dict[tuple[str, int], CheckSettlement | None] = {}
    for request in group:
        for item in request.submission.items:
            if isinstance(item.payload, JobSettled):
                checks[item.payload.job_id, item.payload.attempt] = request.check

    def check(claimed: JobSettled) -> None:
        known = checks.get((claimed.job_id, claimed.attempt))
        if known is None:
            raise VerificationError("JobSettled", expected="evidence", actual="none")
        known(claimed)

    return check
