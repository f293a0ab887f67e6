"""The node's end of a worker's line: proves who called, passes messages between the socket and the exchange.

Knows frames, close codes and patience. Refuses to know what a piece is worth: the exchange and the ledger decide.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from litestar import WebSocket, websocket
from litestar.exceptions import WebSocketException

from tallystick import wire
from tallystick.api.house import Here, House
from tallystick.api.lines import GOING_AWAY
from tallystick.commitment import Opening
from tallystick.errors import AuthorityError, MalformedError, SignatureError, StoreError, TallyError, TooLargeError
from tallystick.ledger.records import Node as Registered
from tallystick.ledger.records import Overlay, node_key
from tallystick.ledger.transactions import Transaction
from tallystick.node.exchange import Exchange
from tallystick.node.floor import Piece
from tallystick.node.pieces import Out
from tallystick.primitives.keys import address_of, check_signature

QUEUE_MAX: Final = 512
"""Messages that wait for a slow worker; one more and its line is closed."""
IDLE_WORDS: Final = 400
"""Heartbeats, progress and refused words that a line may say at once."""
IDLE_WORDS_PER_SECOND: Final = 20.0
"""How fast they come back."""
LINES_MAX: Final = 8192
POLICY, TOO_BIG, BAD_DATA, TRY_LATER = 1008, 1009, 1007, 1013
ASSIGNMENTS: Final = "/api/v1/assignments"


@dataclass(slots=True)
class Patience:
    """How much idle talk is left to a line: a bucket that fills with time."""

    left: float = IDLE_WORDS
    since: float = field(default_factory=time.monotonic)

    def spend(self) -> None:
        """Take one word.

        Raises:
            AuthorityError: there were too many.
        """
        now = time.monotonic()
        self.left = min(IDLE_WORDS, self.left + (now - self.since) * IDLE_WORDS_PER_SECOND) - 1
        self.since = now
        if self.left < 0:
            raise AuthorityError("too many messages that lead nowhere")


@dataclass(slots=True)
class SocketLine:
    """One worker's line as the exchange sees it: everything is queued for the socket's own task."""

    loop: asyncio.AbstractEventLoop
    queue: asyncio.Queue[str | None]
    reason: str = ""
    patience: Patience = field(default_factory=Patience)

    def piece(self, out: Out, lease: int) -> None:
        """Send a micro job."""
        name = _name(out.piece)
        self._say(lambda: wire.Job(name, out.piece.job_id, payload_of(out, lease)))

    def challenge(self, out: Out) -> None:
        """Ask for openings."""
        outputs = tuple(digest.hex() for digest in out.asked)
        self._say(lambda: wire.Challenge(_name(out.piece), out.challenge.hex(), outputs, payload_of(out, 0)))

    def receipt(self, piece: Piece, transaction: Transaction, index: int) -> None:
        """Say that a commitment is durable."""
        self._say(lambda: wire.Receipt(_name(piece), index, transaction.nid, transaction.tx_hash))

    def refused(self, piece: Piece, reason: str, nonce: int) -> None:
        """Say why something does not count; whoever makes the node say so again and again is cut off."""
        self._say(lambda: wire.Refused(_name(piece), reason[:1000], nonce))
        self._soon(self._idle)

    def cancel(self, piece: Piece, reason: str) -> None:
        """Call a piece back."""
        self._say(lambda: wire.Cancel(_name(piece), reason))

    def hang_up(self, reason: str) -> None:
        """Close."""
        self.reason = self.reason or reason
        self._soon(self._end)

    def _say(self, make: Callable[[], wire.FromNode]) -> None:
        self._soon(lambda: self._put(wire.spell(make())))

    def _soon(self, act: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the loop has ended, and the line with it
            self.loop.call_soon_threadsafe(act)

    def _put(self, text: str) -> None:
        try:
            self.queue.put_nowait(text)
        except asyncio.QueueFull:
            self.reason = self.reason or "it reads too slowly"
            self._end()

    def _idle(self) -> None:
        try:
            self.patience.spend()
        except AuthorityError as error:
            self.reason = self.reason or str(error)
            self._end()

    def _end(self) -> None:
        while not self.queue.empty():
            self.queue.get_nowait()
        self.queue.put_nowait(None)


def payload_of(out: Out, lease: int) -> wire.JobPayload:
    """Return what a worker has to know of a piece."""
    base = f"{ASSIGNMENTS}/{out.ticket}"
    return wire.JobPayload(
        spec=out.spec,
        attempt=out.piece.attempt,
        microjob=out.piece.microjob,
        macrojob=out.microjob.macrojob,
        blocks=tuple(slot.block for slot in out.microjob.slots),
        input=wire.InputPart(f"{base}/input", out.source.length, out.source.digest.hex(), out.source.salt.hex()),
        output=wire.OutputPart(f"{base}/output", sum(out.lengths)),
        lease_ends=lease,
    )


@websocket("/worker")
async def worker(socket: WebSocket[Any, Any, Any], house: Here) -> None:
    """Serve one worker until it goes, fails or the node stops."""
    await socket.accept()
    with house.lines.held():
        code, reason = await _serve(socket, house)
        with suppress(WebSocketException, RuntimeError, OSError):  # it may be gone already
            await socket.close(code=code, reason=reason[:100])


async def _serve(socket: WebSocket[Any, Any, Any], house: House) -> tuple[int, str]:
    """Return how the line is to be closed."""
    if house.lines.open > LINES_MAX:
        return TRY_LATER, "too many workers are connected"
    try:
        hello = await _greet(socket, house)
    except TimeoutError:
        return POLICY, "no hello in time"
    except TooLargeError as error:
        return TOO_BIG, str(error)
    except TallyError as error:
        return POLICY, str(error)
    if hello is None:
        return GOING_AWAY, "the node stops"
    return await _converse(socket, house, hello)


async def _greet(socket: WebSocket[Any, Any, Any], house: House) -> wire.Hello | None:
    """Have a worker sign a nonce that is used once; None when the node stops.

    Raises:
        MalformedError: it answers something else.
        SignatureError: the signature is not the one of its key over this nonce.
    """
    nonce = house.entropy.token(32).hex()
    chain_id = house.book.engine.parameters.chain_id
    await socket.send_text(wire.spell(wire.Auth(wire.PROTOCOL, chain_id, nonce)))
    async with house.lobby.waiting():
        frame = await house.lines.unless_closing(_receive(socket))
    if frame is None:
        return None
    hello = wire.read_from_worker(frame)
    if not isinstance(hello, wire.Hello):
        raise MalformedError("frame", "a worker says hello first")
    check_signature(bytes.fromhex(hello.public_key), wire.hello_digest(chain_id, nonce), bytes.fromhex(hello.signature))
    return hello


async def _receive(socket: WebSocket[Any, Any, Any]) -> str:
    """Return the next frame; an empty one stands for the end of the line.

    Raises:
        TooLargeError: it is larger than a frame may be.
        MalformedError: it is binary.
    """
    message: dict[str, Any] = dict(await socket.receive())
    if message["type"] != "websocket.receive":
        return ""
    if message.get("bytes") is not None:
        raise MalformedError("frame", "it is binary, and words travel as text: bytes go by HTTP")
    frame: str = message.get("text") or " "
    if len(frame) > wire.FRAME_BYTES_MAX:
        raise TooLargeError("frame", f"{len(frame)} bytes, at most {wire.FRAME_BYTES_MAX}")
    return frame


async def _converse(socket: WebSocket[Any, Any, Any], house: House, hello: wire.Hello) -> tuple[int, str]:
    """Keep the line open: one task writes, this one reads."""
    exchange = house.host.exchange
    line = SocketLine(asyncio.get_running_loop(), asyncio.Queue(QUEUE_MAX + 2))
    await socket.send_text(wire.spell(ready(house, exchange, hello.public_key)))
    number = exchange.open_line(hello.public_key, hello.capacity, hello.backend, line)
    writer = asyncio.create_task(_write(socket, line))
    reader = asyncio.create_task(_read(socket, exchange, number, line.patience))
    stopping = asyncio.create_task(house.lines.wait_closing())
    tasks: set[asyncio.Task[Any]] = {writer, reader, stopping}
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        exchange.close_line(number)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    if stopping in done:
        return GOING_AWAY, "the node stops"
    if reader in done:
        return _farewell(reader.exception())
    return POLICY, line.reason or "the line broke"


def _farewell(error: BaseException | None) -> tuple[int, str]:
    if error is None:
        return 1000, "goodbye"
    if isinstance(error, TooLargeError):
        return TOO_BIG, str(error)
    if isinstance(error, MalformedError):
        return BAD_DATA, str(error)
    if isinstance(error, TallyError):
        return POLICY, str(error)
    raise error


def ready(house: House, exchange: Exchange, public_key: str) -> wire.Ready:
    """Return what a worker is told when its line is open."""
    node = Overlay(house.book.engine.view).find(Registered, node_key(public_key))
    rhythm = exchange.rhythm
    return wire.Ready(
        worker_address=address_of(bytes.fromhex(public_key)),
        registered=node is not None,
        bond="0" if node is None else node.bond,
        locked="0" if node is None else node.locked,
        nonce=exchange.nonce(public_key),
        heartbeat_ms=rhythm.heartbeat,
        silence_ms=rhythm.silence,
        lease_ms=rhythm.lease,
    )


async def _write(socket: WebSocket[Any, Any, Any], line: SocketLine) -> None:
    while (text := await line.queue.get()) is not None:
        await socket.send_text(text)


async def _read(socket: WebSocket[Any, Any, Any], exchange: Exchange, number: int, patience: Patience) -> None:
    """Take message after message until the worker goes.

    Raises:
        MalformedError: a frame is no message.
        AuthorityError: it talks without end.
        StoreError: the node is closing.
    """
    while frame := await _receive(socket):
        message = wire.read_from_worker(frame)
        exchange.heard(number)
        try:
            useful = take(exchange, number, message)
        except StoreError:
            raise
        except SignatureError as error:
            raise MalformedError("signature", str(error)) from error
        except TallyError as error:
            _answer(exchange, number, message, error)
        else:
            if not useful:
                patience.spend()


def take(exchange: Exchange, number: int, message: wire.FromWorker) -> bool:
    """Pass one message on, and tell whether it led anywhere.

    Raises:
        MalformedError: an entry inside it does not parse, or a hello comes twice.
        AuthorityError: it is about what another worker holds.
        ConflictError: it claims what is not so.
    """
    led = True
    match message:
        case wire.Heartbeat():
            led = False
        case wire.Drain():
            exchange.drain(number)
            led = False
        case wire.Progress(job_id=name, done=done):
            exchange.progress(number, _piece(name), done)
            led = False
        case wire.Declined(job_id=name):
            exchange.decline(number, _piece(name))
            led = False
        case wire.CommitmentMessage(job_id=name, entry=entry, meta=meta, openings=openings):
            kept = None if openings is None else _openings(openings)
            led = exchange.commitment(number, _piece(name), entry.encode(), bytes.fromhex(meta), kept)
        case wire.JobResult(job_id=name, worker_address=address, result_hash=root):
            led = exchange.result(number, _piece(name), address, root)
        case wire.OpeningMessage(job_id=name, openings=openings):
            exchange.opening(number, _piece(name), _openings(openings))
        case wire.Hello():
            raise MalformedError("frame", "hello is said once")
    return led


def _answer(exchange: Exchange, number: int, message: wire.FromWorker, error: TallyError) -> None:
    """Say that a message about a piece does not count; what is about no piece ends the line.

    Raises:
        TallyError: there is no piece to name.
    """
    if isinstance(message, wire.Hello | wire.Heartbeat | wire.Drain):
        raise error
    exchange.refuse(number, _piece(message.job_id), str(error))


def _openings(openings: tuple[wire.OpenedLeaf, ...]) -> tuple[Opening, ...]:
    return tuple(Opening(bytes.fromhex(each.salt), bytes.fromhex(each.leaf)) for each in openings)


def _piece(name: str) -> Piece:
    return Piece(*wire.parse_piece(name))


def _name(piece: Piece) -> str:
    return wire.piece_id(piece.job_id, piece.attempt, piece.microjob)


ROUTES: Final = (worker,)
