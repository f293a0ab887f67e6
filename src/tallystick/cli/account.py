"""`tally account`: who holds what on this home's ledger. The parts sum to the supply, which never changes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tallystick.cli.exits import DONE
from tallystick.cli.home import Reading, home_path, read_home
from tallystick.cli.screen import Screen
from tallystick.cli.words import cpc, letter, short
from tallystick.ledger.records import BURNED, Account, Escrow, Node, Record, account_key, supply
from tallystick.primitives.keys import address_of

ADDRESS_HEAD, ADDRESS_TAIL = 9, 4


@dataclass(frozen=True, slots=True)
class Holding:
    """One account: its name, address and free wei."""

    name: str
    address: str
    free: int

    def as_json(self) -> dict[str, object]:
        """Return the account as JSON shows it."""
        return {"name": self.name, "address": self.address, "balanceWei": str(self.free)}


def show_account(*, as_json: bool) -> int:
    """Print accounts, workers' bonds, escrows and the supply."""
    screen = Screen(as_json=as_json)
    with read_home(home_path()) as home:
        records = home.engine.view.records
        names = _worker_names(home)
        nodes = (each for each in records.values() if isinstance(each, Node))
        workers = sorted(nodes, key=lambda node: (names.get(node.worker, ""), node.worker))
        held = _escrow(records.values())
        holdings, total = _holdings(home, workers, names), supply(records)
    document = {
        "accounts": [each.as_json() for each in holdings],
        "workers": [_worker_json(each) for each in workers],
        "escrowWei": str(held),
        "bondedWei": str(sum(int(each.bond) for each in workers)),
        "burnedWei": str(sum(each.free for each in holdings if each.name == BURNED)),
        "supplyWei": str(total),
    }
    screen.result(document)
    if not as_json:
        _show(screen, holdings, held, total)
        _show_workers(screen, workers, names)
    return DONE


def _worker_names(home: Reading) -> dict[str, str]:
    """Return the names of this home's workers by key, as their jobs' logs show them."""
    pools = {(wish.operators, wish.workers) for wish in home.wishes.every()}
    return {
        home.identity.worker(operators, seat).public.hex(): f"worker {seat + 1}"
        for operators, workers in pools
        for seat in range(workers)
    }


def _escrow(records: Iterable[Record]) -> int:
    return sum(int(each.balance) + int(each.dispute_bond) for each in records if isinstance(each, Escrow))


def _holdings(home: Reading, workers: list[Node], known: dict[str, str]) -> list[Holding]:
    """Return every account that holds something, and the requester's in any case, named where this home knows it."""
    identity, records = home.identity, home.engine.view.records
    names = {
        identity.requester().address: "requester",
        identity.coordinator().address: "coordinator",
        identity.arbiter().address: "arbiter",
        identity.faucet().address: "faucet",
        BURNED: BURNED,
    }
    for index, payout in enumerate(dict.fromkeys(node.payout for node in workers)):
        names[payout] = f"operator {letter(index)}, paid out"
    for node in workers:
        names[address_of(bytes.fromhex(node.worker))] = known.get(node.worker, "worker")
    prefix = account_key("")
    held = {key.removeprefix(prefix): int(each.balance) for key, each in records.items() if isinstance(each, Account)}
    order = [*names, *sorted(address for address in held if address not in names)]
    requester = identity.requester().address
    return [
        Holding(names.get(address, "account"), address, held.get(address, 0))
        for address in order
        if held.get(address) or address == requester
    ]


def _worker_json(node: Node) -> dict[str, object]:
    return {
        "key": node.worker,
        "operator": node.operator,
        "payout": node.payout,
        "bondWei": node.bond,
        "lockedWei": node.locked,
        "simulated": node.simulated,
    }


def _show(screen: Screen, holdings: list[Holding], held: int, total: int) -> None:
    rows = [[each.name, _address(each.address), cpc(each.free)] for each in holdings]
    screen.table(("ACCOUNT", "ADDRESS", "FREE"), rows, right=(2,))
    screen.line()
    supplied = f"{cpc(total)}: accounts, bonds and escrows together; it never changes"
    screen.pairs([("In escrow", cpc(held)), ("Supply", supplied)])


def _show_workers(screen: Screen, workers: list[Node], names: dict[str, str]) -> None:
    if not workers:
        return
    screen.line()
    rows = [
        [
            names.get(node.worker, "worker"),
            short(node.worker, 10),
            short(node.operator, 10),
            cpc(int(node.bond)),
            cpc(int(node.locked)),
            "simulated" if node.simulated else node.tier.value,
        ]
        for node in workers
    ]
    screen.table(("WORKER", "KEY", "OPERATOR", "BOND", "LOCKED", "TIER"), rows, right=(3, 4))


def _address(address: str) -> str:
    return "" if address == BURNED else short(address, ADDRESS_HEAD, ADDRESS_TAIL)
