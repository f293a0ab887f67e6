"""A log as a stranger finds it, whole or bent by those who hold its keys: entries on a shelf in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import msgspec

from tallystick.audit.anchors import Inquiry
from tallystick.audit.findings import Finding, Report, Result
from tallystick.audit.history import ShownLog, verify_history
from tallystick.audit.trust import CoordinatorPin, LogPin, Trust
from tallystick.errors import TooLargeError
from tallystick.ledger import payloads as say
from tallystick.ledger.genesis import Genesis, chain_id
from tallystick.ledger.transactions import Draft, Transaction, decode, sign
from tallystick.primitives import canonical
from tallystick.primitives.digests import sha256
from tallystick.primitives.keys import SigningKey
from tallystick.primitives.merkle import CompactRangeBuilder, leaf_hash
from tallystick.primitives.notes import NoteSigner
from tallystick.receipts.log import growth, head
from tallystick.receipts.proofs import LogTree
from tests.ledger_world import COORDINATOR, REQUESTER, STRANGER, World, make_genesis, make_run

LOG = NoteSigner("tally.test/log", sha256(b"log"))
GENESIS = make_genesis(log_origin=LOG.name, log_vkey=LOG.vkey)


def trust_in(genesis: Genesis) -> Trust:
    """Pin a ledger of these tests."""
    return Trust(
        version=1,
        chain_id=chain_id(genesis),
        log=LogPin(origin=LOG.name, vkey=LOG.vkey, first=0),
        coordinators=(CoordinatorPin(key=COORDINATOR.public.hex(), first=0),),
    )


TRUST = trust_in(GENESIS)


def honest_log(
    transfers: int = 8, genesis: Genesis = GENESIS, phase: str = "published", amount: int = 1
) -> list[bytes]:
    """One job brought to a phase, then blocks in each of which two people move money, every time a wei more."""
    world = World(genesis)
    world.enlist()
    make_run(world=world).until(phase)
    for more in range(amount, amount + transfers):
        world.send(
            (STRANGER, say.Transfer(REQUESTER.address, str(more))),
            (REQUESTER, say.Transfer(STRANGER.address, str(more))),
        )
    return world.entries


@dataclass
class Shelf:
    """The files of a log by path, its checkpoint and its genesis; every one may be replaced."""

    files: dict[str, bytes]
    checkpoint: str
    genesis: bytes = field(default_factory=lambda: canonical.encode(GENESIS))

    def audit(self, trust: Trust = TRUST, inquiry: Inquiry | None = None) -> Report:
        return verify_history(ShownLog(self.genesis, self.checkpoint.encode(), self.fetch), trust, inquiry)

    def fetch(self, path: str, bytes_max: int) -> bytes | None:
        data = self.files.get(path)
        if data is not None and len(data) > bytes_max:
            raise TooLargeError(path, f"{len(data)} bytes, the limit is {bytes_max}")
        return data


def shelve(entries: Sequence[bytes], signer: NoteSigner = LOG, origin: str = LOG.name) -> Shelf:
    """Lay entries out as an operator does who hashes and signs whatever they are."""
    tree = LogTree(map(leaf_hash, entries))
    files = {name.path: data for name, data in growth(tree, 0, tree.size, entries.__getitem__)}
    return Shelf(files, signer.sign(head(origin, tree).text()))


def told(report: Report, result: Result) -> Finding:
    """Hold a report to its result, and return the first finding of that result."""
    assert report.result is result, report
    return next(each for each in report.findings if each.result is result)


def broken(entries: Sequence[bytes]) -> Finding:
    """Return the first finding that does not hold over these entries, hashed and signed by the true log key."""
    return told(shelve(entries).audit(), Result.DOES_NOT_HOLD)


def place(entries: Sequence[bytes], kind: type) -> int:
    """Where the last entry of a type stands."""
    return max(at for at, entry in enumerate(entries) if isinstance(decode(entry).payload, kind))


def resigned(entry: bytes, key: SigningKey, **changes: object) -> bytes:
    """Change what an entry says, and sign it with this key under the same number."""
    old = decode(entry)
    payload = msgspec.structs.replace(old.payload, **changes)
    return sign(Draft(key, payload, old.gas_price), old.chain_id, old.nonce).entry


def rechained(entries: Iterable[bytes]) -> list[bytes]:
    """Make the headers one chain again, as the coordinator can: `prev_hash` and `tx_root` fit what stands there."""
    tree, done, previous = CompactRangeBuilder(), list[bytes](), ""
    for entry in entries:
        transaction = decode(entry)
        if isinstance(transaction.payload, say.BlockHeader):
            transaction = _chained(transaction, previous, tree)
            previous = transaction.digest.hex()
        done.append(transaction.entry)
        tree.append(leaf_hash(transaction.entry))
    return done


def _chained(header: Transaction, previous: str, tree: CompactRangeBuilder) -> Transaction:
    changes = {"tx_root": tree.root().hex()} | ({"prev_hash": previous} if previous else {})
    return decode(resigned(header.entry, COORDINATOR, **changes))


def edited(entries: Sequence[bytes], at: int, edit: Callable[[bytes], bytes]) -> list[bytes]:
    """Replace one entry by what becomes of it."""
    return [*entries[:at], edit(entries[at]), *entries[at + 1 :]]
