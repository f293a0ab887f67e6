"""`tally worker URL`: works for a node, shows what it earns and why it gets no work, and leaves in order."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from tallystick.cli.exits import DONE, emit, one_line
from tallystick.cli.home import home_path
from tallystick.cli.screen import Screen
from tallystick.cli.slots import master_of, slot
from tallystick.cli.words import count, cpc, short
from tallystick.errors import TallyError, UsageError
from tallystick.primitives.amounts import Wei

if TYPE_CHECKING:
    from tallystick.client.connected import AsyncClient
    from tallystick.client.labor import Labor, News
    from tallystick.client.session import Session
    from tallystick.node.identity import Identity
    from tallystick.node.ports import Executor

LOOK_SECONDS: Final = 5.0
SHOW_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class Wanted:
    """The options of `worker` as they were typed."""

    url: str
    backend: str
    threads: int | None
    name: str | None
    stake: str
    token: str | None
    verify: str | None
    drain_seconds: float


@dataclass(slots=True)
class Standing:
    """What is known of a worker while it runs; ``lack`` says why it gets no work."""

    address: str
    payout: str
    done: int = 0
    earned: int | None = None
    connected: bool = False
    registered: bool = False
    bond: int = 0
    locked: int = 0
    lack: str = "not connected yet"


def work(wanted: Wanted, *, as_json: bool) -> int:
    """Work for a node until a signal ends it; return the exit code."""
    from tallystick.node.identity import Identity

    stake, executor, path = _stake(wanted.stake), _executor(wanted.backend), home_path()
    identity = Identity(master_of(path))
    with slot(path, wanted.name) as place:
        shift = Shift(wanted, identity, place, stake, executor, Screen(as_json=as_json))
        asyncio.run(shift.run())
    return DONE


def _stake(text: str) -> Wei:
    from tallystick.cli.asking import amount

    return amount(text, "--stake")


def _executor(backend: str) -> Executor:
    from tallystick.adapters.local import NumpyExecutor

    if backend != NumpyExecutor.backend:
        raise UsageError(f"--backend {backend!r} is not built yet: use {NumpyExecutor.backend}")
    return NumpyExecutor()


@dataclass(slots=True)
class Shift:
    """One run of a worker, as it is shown."""

    wanted: Wanted
    identity: Identity
    place: str
    stake: Wei
    executor: Executor
    screen: Screen
    standing: Standing = field(init=False)
    _signals: int = 0

    def __post_init__(self) -> None:
        """Know who works."""
        self.standing = Standing(self.identity.remote_worker(self.place).address, self.identity.remote_payout())

    async def run(self) -> None:
        """Work, and show it."""
        from tallystick.client.connected import AsyncClient

        session, labor = self._hire()
        key = None if self.wanted.token else self.identity.remote_worker(self.place)
        loop = asyncio.get_running_loop()
        for sign in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(sign, self._asked_to_leave, labor)
        self._begin()
        async with AsyncClient(self.wanted.url, token=self.wanted.token, key=key, verify=self.wanted.verify) as node:
            looking = asyncio.create_task(self._look(node, session))
            showing = asyncio.create_task(self._show(session))
            try:
                with self.screen.live("dials the node"):
                    await labor.work()
            finally:
                for each in (looking, showing):
                    each.cancel()
                await asyncio.gather(looking, showing, return_exceptions=True)
                self._end()

    def _hire(self) -> tuple[Session, Labor]:
        """Make the session and the runtime of this worker."""
        from tallystick import __version__
        from tallystick.client.address import Address
        from tallystick.client.connected import credentials_of
        from tallystick.client.http import Asker, Awaiting
        from tallystick.client.joining import Papers
        from tallystick.client.labor import Labor
        from tallystick.client.offers import Terms
        from tallystick.client.session import Session
        from tallystick.node.worker import Worker

        threads = self.wanted.threads or max(1, os.cpu_count() or 1)
        key, software = self.identity.remote_worker(self.place), f"tallystick/{__version__}"
        worker = Worker(key, self.identity.remote_worker_secret(self.place), self.executor.backend)
        papers = Papers(key, self.identity.remote_operator(), self.standing.payout, self.executor.backend)
        credentials = credentials_of(self.wanted.token, None if self.wanted.token else key)
        asker = Asker(Address.parse(self.wanted.url), credentials, self.wanted.verify, software)
        session = Session(worker, Terms(capacity=threads + 1, software=software, bond=self.stake))
        return session, Labor(session, Awaiting(asker), self.executor, papers, threads, self._hear)

    def _asked_to_leave(self, labor: Labor) -> None:
        """End what is in hand at the first signal, everything at the second."""
        self._signals += 1
        if self._signals == 1:
            self.screen.note("leaving: what is in hand is ended first; once more ends it at once", style="bold")
            labor.drain(self.wanted.drain_seconds)
        else:
            labor.stop()

    def _begin(self) -> None:
        who = {
            "event": "started",
            "address": self.standing.address,
            "operator": self.identity.remote_operator().address,
            "payout": self.standing.payout,
            "slot": self.place,
            "node": self.wanted.url,
        }
        if self.screen.as_json:
            emit(who)
        pairs = [("Worker", f"{self.standing.address} (slot {self.place})"), ("Pay to", self.standing.payout)]
        self.screen.pairs([*pairs, ("Node", self.wanted.url)], log=True)

    def _end(self) -> None:
        standing = self.standing
        if self.screen.as_json:
            earned = None if standing.earned is None else str(standing.earned)
            emit({"event": "left", "done": standing.done, "earnedWei": earned})
        self.screen.note(f"left after {count(standing.done, 'piece')}; {self._money()}")

    def _hear(self, news: News) -> None:
        """Show what happened."""
        from tallystick.client.labor import Connected, Disconnected
        from tallystick.client.signals import Recorded, Tell

        match news:
            case Connected():
                self.standing.connected, self.standing.lack = True, "the ledger is asked"
                self.screen.note("connected", style="green")
            case Disconnected(reason=reason, seconds=seconds):
                self.standing.connected = False
                self.standing.lack = one_line(reason)[:200]
                self.screen.note(f"not connected: {self.standing.lack}; next try in {seconds:.1f} s", style="yellow")
            case Tell(text=text):
                self.standing.lack = one_line(text)[:300]
                self.screen.note(self.standing.lack, style="dim")
            case Recorded(piece=piece, receipt=receipt):
                self.standing.done += 1
                said = {"event": "receipt", "piece": piece, "index": receipt.index}
                if self.screen.as_json:
                    emit({**said, "nid": receipt.nid, "txHash": receipt.tx_hash})
                elif not self.screen.log.is_terminal:
                    self.screen.note(f"root of {piece} stands as entry {receipt.index}, {short(receipt.nid, 14)}")

    async def _show(self, session: Session) -> None:
        """Keep the live line fresh."""
        while True:
            in_hand = len(session.held)
            doing = f"{count(in_hand, 'piece')} in hand" if in_hand else self._lack()
            self.screen.now(f"{doing}; {self.standing.done} done; {self._money()}")
            await asyncio.sleep(SHOW_SECONDS)

    def _lack(self) -> str:
        """Say why there is nothing to do."""
        standing = self.standing
        if not standing.connected or not standing.registered:
            return standing.lack
        if standing.bond and standing.locked >= standing.bond:
            return "all of the bond is locked: --stake more, or wait until jobs are settled"
        return "no job needs this worker now"

    def _money(self) -> str:
        earned = self.standing.earned
        return "earnings unknown" if earned is None else f"{cpc(earned)} on the pay account"

    async def _look(self, node: AsyncClient, session: Session) -> None:
        """Ask the node now and then what the ledger says of this worker."""
        while True:
            with suppress(TallyError):
                self.standing.earned = int((await node.account(self.standing.payout)).balance_wei)
                for each in await node.workers():
                    if each.address == self.standing.address:
                        self.standing.registered = each.registered
                        self.standing.bond, self.standing.locked = int(each.bond_wei or 0), int(each.locked_wei or 0)
            if session.joining:
                self.standing.lack = "the registration is on its way"
            await asyncio.sleep(LOOK_SECONDS)
