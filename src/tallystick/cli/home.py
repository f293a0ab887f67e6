"""The home folder and everything wired together: the only place that names adapters.

A home has one writing process at a time (file lock). Reading what a stranger needs (trust.toml) takes no lock.
"""

from __future__ import annotations

import fcntl
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tallystick.cli.lock import LOCK_FILE, lock_holder
from tallystick.cli.words import command
from tallystick.errors import HomeError, KeystoreError, UsageError

if TYPE_CHECKING:
    from tallystick.adapters.blobs import FolderBlobs
    from tallystick.adapters.certificates import CertificateChain
    from tallystick.adapters.sqlite import SqliteStore
    from tallystick.ledger.genesis import Genesis
    from tallystick.ledger.transactions import Transaction
    from tallystick.node.book import Book
    from tallystick.node.identity import Identity
    from tallystick.node.ordering import Wish
    from tallystick.node.shell import Node
    from tallystick.node.solo import SoloEngine
    from tallystick.node.wishes import Wishes
    from tallystick.node.worker import Laborer

HOME_VARIABLE: Final = "TALLY_HOME"
PASSPHRASE_VARIABLE: Final = "TALLY_PASSPHRASE"  # noqa: S105 - the variable's name
SEALED_MARK: Final = b'"encrypted":true'
TRUST_FILE: Final = "trust.toml"
KEYSTORE_FILE: Final = "master.key"
LEDGER_FILE: Final = "ledger.sqlite"
LOG_FOLDER: Final = "log"
GENESIS_FILE: Final = "genesis.json"
LOCK_ATTEMPTS: Final = 10
LOCK_WAIT_S: Final = 0.03
DAY_MS: Final = 86_400_000
PUBLISH_EVERY_MS: Final = 1000


def home_path() -> Path:
    """Return the home folder: TALLY_HOME, or the platform's folder for user data.

    Raises:
        HomeError: this account has no folder of its own.
    """
    named, data = os.environ.get(HOME_VARIABLE), os.environ.get("XDG_DATA_HOME")
    try:
        if named:
            return Path(named).expanduser().absolute()
        if sys.platform == "darwin":
            return Path.home() / "Library" / "Application Support" / "tallystick"
        return (Path(data).absolute() if data else Path.home() / ".local" / "share") / "tallystick"
    except RuntimeError as error:
        raise HomeError(f"this account has no folder of its own ({error}): set {HOME_VARIABLE} to a folder") from error


@dataclass(slots=True)
class Home:
    """An opened home: its keys, its store, its node. Made by ``open_home``."""

    path: Path
    identity: Identity
    store: SqliteStore
    engine: SoloEngine
    chain: CertificateChain
    node: Node
    encrypted: bool


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a home's lock; the system releases it when the process ends, however it ends.

    Raises:
        HomeError: another process holds it, or the folder cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        reason = f"{error.strerror}: set {HOME_VARIABLE} to a folder that can be written"
        raise HomeError(f"the home folder {path} cannot be used: {reason}") from error
    try:
        _take_lock(descriptor, path)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _take_lock(descriptor: int, path: Path) -> None:
    """Try for a moment, since a process that merely asks whether the lock is held holds it for microseconds."""
    for attempt in range(LOCK_ATTEMPTS):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(LOCK_WAIT_S if attempt + 1 < LOCK_ATTEMPTS else 0)
        else:
            return
    from tallystick.cli.node_file import running

    if (node := running(path)) is not None:
        stop = "stop it first (Ctrl-C, or SIGTERM to that process)"
        raise HomeError(
            f"a node (process {node.pid}, {node.url}) serves {path}: {stop}, or set {HOME_VARIABLE} to another folder; "
            f"`{command('submit')}`, `{command('jobs')}` and `{command('watch')}` speak to it by themselves"
        )
    who = f"another tally process ({holder})" if (holder := lock_holder(path)) else "another tally process"
    raise HomeError(f"{who} works in {path}: wait for it, or set {HOME_VARIABLE} to a folder of your own")


def load_master(path: Path) -> tuple[bytes, bool]:
    """Return the master key and whether its file is encrypted; made at first use, mode 0600.

    Raises:
        KeystoreError: the passphrase does not open it, or the file is damaged.
    """
    from tallystick.adapters.local import SystemEntropy
    from tallystick.primitives.keystore import unseal

    file, passphrase = path / KEYSTORE_FILE, os.environ.get(PASSPHRASE_VARIABLE) or None
    if not file.exists():
        if (path / LEDGER_FILE).exists():
            raise HomeError(f"{file} is missing beside its ledger: put it back, or set {HOME_VARIABLE} to a new folder")
        _keep_master(path, SystemEntropy().token(32), passphrase)
    data = file.read_bytes()
    encrypted = SEALED_MARK in data
    if passphrase is not None and not encrypted:
        unseal(data, None)  # what is damaged is not merely unsealed
        raise KeystoreError(
            f"{file} is not encrypted, but {PASSPHRASE_VARIABLE} is set: `{command('keys', 'seal')}` encrypts it"
        )
    return unseal(data, passphrase), encrypted


def seal_master(path: Path) -> None:
    """Encrypt the master key of a home in place under TALLY_PASSPHRASE; the file is replaced whole.

    Raises:
        HomeError: there is no home, or another process works in it.
        UsageError: no passphrase is set.
        KeystoreError: it is encrypted already, or damaged.
    """
    from tallystick.primitives.keystore import unseal

    file, passphrase = path / KEYSTORE_FILE, os.environ.get(PASSPHRASE_VARIABLE) or None
    if passphrase is None:
        raise UsageError(f"no passphrase is set: set {PASSPHRASE_VARIABLE} to the one that shall open {file}")
    if not file.exists():
        raise HomeError(f"there is no {file}: a new home is encrypted at once where {PASSPHRASE_VARIABLE} is set")
    with locked(path):
        data = file.read_bytes()
        if SEALED_MARK in data:
            raise KeystoreError(f"{file} is encrypted already: nothing was changed")
        _keep_master(path, unseal(data, None), passphrase)


def _keep_master(path: Path, master: bytes, passphrase: str | None) -> None:
    """Write the keystore beside its place, read it back, and only then move it there."""
    from tallystick.adapters.desk import FolderDesk
    from tallystick.adapters.local import SystemEntropy
    from tallystick.primitives.keystore import seal, unseal

    token, beside = SystemEntropy().token, path / ".master.tmp"
    beside.unlink(missing_ok=True)
    descriptor = os.open(beside, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as handle:
            handle.write(seal(master, passphrase, salt=token(16), nonce=token(12)))
        if unseal(beside.read_bytes(), passphrase) != master:
            raise KeystoreError(f"{beside} does not read back as it was written: nothing was changed")
        FolderDesk().replace(str(beside), str(path / KEYSTORE_FILE))
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def open_home(
    path: Path, *, watch: Callable[[Transaction, int], None] | None = None, threads: int | None = None
) -> Iterator[Home]:
    """Open a home for writing, making it at first use, and close it again.

    Raises:
        HomeError: another process works in it, or it cannot be used.
        KeystoreError: the passphrase does not open it.
        StoreError: its ledger file is damaged.
    """
    from tallystick.adapters.blobs import FolderBlobs
    from tallystick.adapters.sqlite import SqliteStore

    with locked(path):
        check_ledger(path)
        master, encrypted = load_master(path)
        with closing(SqliteStore(path / LEDGER_FILE)) as store, closing(FolderBlobs(path / "blobs")) as blobs:
            home = _wire(path, store, blobs, master, encrypted, watch or _nobody, threads)
            yield home
            home.engine.publish()  # after a failure the next opening makes it up


@dataclass(frozen=True, slots=True)
class Reading:
    """A home as it was at one moment, without its lock; made by ``read_home``."""

    path: Path
    identity: Identity
    store: SqliteStore
    engine: SoloEngine
    book: Book
    wishes: Wishes
    encrypted: bool


@contextmanager
def read_home(path: Path) -> Iterator[Reading]:
    """Open a home for reading; another process may work in it meanwhile.

    Raises:
        HomeError: there is no home.
        KeystoreError: the passphrase does not open it.
        StoreError: its ledger file is damaged.
    """
    from tallystick.adapters.local import SystemClock
    from tallystick.adapters.sqlite import SqliteStore
    from tallystick.adapters.tiles import NoTiles
    from tallystick.ledger.genesis import Genesis
    from tallystick.node.book import Book
    from tallystick.node.identity import Identity
    from tallystick.node.solo import SoloEngine
    from tallystick.node.wishes import Wishes
    from tallystick.primitives import canonical

    if not is_home(path):
        raise HomeError(f"there is no home in {path} yet: the first `tally submit` makes one")
    master, encrypted = load_master(path)
    identity, store = Identity(master), SqliteStore(path / LEDGER_FILE, read_only=True)
    try:
        first = store.genesis()
        if first is None:
            _refuse_published(path, "empty")
            raise HomeError(f"the home in {path} is being made: try again in a moment")
        genesis = canonical.decode(first, Genesis, what="genesis")
        engine = SoloEngine(identity.parameters(genesis), store, NoTiles(store), SystemClock())
        yield Reading(path, identity, store, engine, Book(engine, _nobody), Wishes(store), encrypted)
    finally:
        store.close()


def is_home(path: Path) -> bool:
    """Tell whether a folder holds a home with a ledger.

    Raises:
        HomeError: its ledger is gone, and its published log is not.
    """
    check_ledger(path)
    return (path / LEDGER_FILE).is_file()


def check_ledger(path: Path) -> None:
    """Refuse a home that lost its ledger: a new one under the same log key would be a second history.

    Raises:
        HomeError: the ledger is missing or empty beside its published log.
    """
    file = path / LEDGER_FILE
    if not file.is_file() or file.stat().st_size == 0:
        _refuse_published(path, "empty" if file.is_file() else "missing")


def _refuse_published(path: Path, lack: str) -> None:
    from tallystick.receipts.log import CHECKPOINT_PATH

    if (path / LOG_FOLDER / CHECKPOINT_PATH).exists():
        where = f"{path / LEDGER_FILE} is {lack} beside its published log"
        raise HomeError(f"{where}: put it back, or set {HOME_VARIABLE} to a new folder")


def _nobody(_transaction: Transaction, _index: int) -> None:
    """Hear nothing."""


def _wire(
    path: Path,
    store: SqliteStore,
    blobs: FolderBlobs,
    master: bytes,
    encrypted: bool,
    watch: Callable[[Transaction, int], None],
    threads: int | None,
) -> Home:
    from tallystick.adapters.certificates import issue_chain
    from tallystick.adapters.local import NumpyExecutor, SystemClock
    from tallystick.adapters.tiles import FolderTiles
    from tallystick.cli.media import HomeCredentials, HomeImages, NamedDesk
    from tallystick.ledger.genesis import Genesis
    from tallystick.node.book import Book
    from tallystick.node.identity import Identity
    from tallystick.node.ports import Ports
    from tallystick.node.shell import Node
    from tallystick.node.solo import SoloEngine
    from tallystick.primitives import canonical

    identity, clock = Identity(master), SystemClock()
    if store.genesis() is None:
        _refuse_published(path, "empty")
        store.create(canonical.encode(identity.genesis(clock.now())))
    first, tiles = store.genesis() or b"", FolderTiles(path / LOG_FOLDER)
    genesis = canonical.decode(first, Genesis, what="genesis")
    _publish(path / LOG_FOLDER / GENESIS_FILE, first)  # before any checkpoint, which nobody could check without it
    engine = SoloEngine(identity.parameters(genesis), store, tiles, clock, publish_every=PUBLISH_EVERY_MS)
    chain = issue_chain(*identity.authority(), genesis.time - DAY_MS, f"Tallystick {genesis.log_origin}")
    scratch = path / "jobs"
    scratch.mkdir(exist_ok=True, mode=0o700)
    ports = Ports(
        store=store,
        blobs=blobs,
        clock=clock,
        images=HomeImages(),
        credentials=HomeCredentials(chain),
        desk=NamedDesk(),
        executor=NumpyExecutor(),
        threads=threads or max(1, os.cpu_count() or 1),
        folder=str(scratch),
    )
    node = Node(Book(engine, watch), ports, identity, lambda wish, seat: hire(identity, wish, seat))
    _publish_trust(path, genesis, chain)
    return Home(path, identity, store, engine, chain, node, encrypted)


def hire(identity: Identity, wish: Wish, seat: int) -> Laborer:
    """Return the worker of a seat: honest, or one of the wish's forgers, who sit on the first seats."""
    from tallystick.node.ordering import BACKEND
    from tallystick.node.worker import Worker

    honest = Worker(identity.worker(wish.operators, seat), identity.worker_secret(wish.operators, seat), BACKEND)
    if seat >= wish.dishonest:
        return honest
    from tallystick.simulation.dishonest import Cheat, DishonestWorker, first_slot

    return DishonestWorker(honest, Cheat.FORGE, first_slot)


def _publish_trust(path: Path, genesis: Genesis, chain: CertificateChain) -> None:
    """Write what a stranger needs to check this home's bundles."""
    from tallystick.audit import trust
    from tallystick.ledger.genesis import chain_id

    pins = trust.Trust(
        version=1,
        chain_id=chain_id(genesis),
        log=trust.LogPin(origin=genesis.log_origin, vkey=genesis.log_vkey, first=0),
        coordinators=(trust.CoordinatorPin(key=genesis.coordinator, first=0),),
        c2pa=trust.CredentialPin(root=chain.root_pem),
    )
    _publish(path / TRUST_FILE, trust.spell(pins))


def _publish(file: Path, data: bytes) -> None:
    """Write a file for strangers, unless it already stands there."""
    from tallystick.adapters.desk import FolderDesk

    if not file.exists() or file.read_bytes() != data:
        FolderDesk().write(str(file), data)
