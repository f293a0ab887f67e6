"""The node's end of a worker's line: proves who called, passes messages between the socket and the exchange.

Knows frames, close codes and patience. Refuses to know what a piece is worth: the exchange and the ledger decide.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, Final

from litestar import WebSocket, websocket
from litestar.exceptions import WebSocketException

from tallystick import wire
from tallystick.api.house import Here, House
from tallystick.api.lines import GOING_AWAY
from tallystick.api.socket_line import Patience, SocketLine
from tallystick.commitment import Opening
from tallystick.errors import MalformedError, SignatureError, StoreError, TallyError, TooLargeError
from tallystick.ledger.records import Node as Registered
from tallystick.ledger.records import Overlay, node_key
from tallystick.node.exchange import Exchange
from tallystick.node.floor import Piece
from tallystick.primitives.keys import address_of, check_signature

LINES_MAX: Final = 8192
POLICY, TOO_BIG, BAD_DATA, TRY_LATER = 1008, 1009, 1007, 1013


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
    """Keep the line open: this task reads, and another writes while there is anything to say."""
    exchange = house.host.exchange
    house.post.open()
    limit = asyncio.timeout(None)
    line = SocketLine(socket, house.post, limit)
    await socket.send_text(wire.spell(ready(house, exchange, hello.public_key)))
    number = exchange.open_line(hello.public_key, hello.capacity, hello.backend, line)
    try:
        async with house.lines.limited(limit):
            await _read(socket, exchange, number, line.patience)
    except TimeoutError:
        return (GOING_AWAY, "the node stops") if house.lines.closing else (POLICY, line.reason)
    except TallyError as error:
        return _farewell(error), str(error)
    finally:
        exchange.close_line(number)
        await line.close()
    return 1000, "goodbye"


def _farewell(error: TallyError) -> int:
    if isinstance(error, TooLargeError):
        return TOO_BIG
    return BAD_DATA if isinstance(error, MalformedError) else POLICY


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


ROUTES: Final = (worker,)
