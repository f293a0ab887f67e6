"""The SDK: a node's calls as methods, once for code that waits and once for code that awaits.

    from tallystick import Client

    with Client("http://127.0.0.1:7053") as node:
        job = node.submit("photo.png", scale="2", price_max="0.5")
        done = node.wait(job.job_id)
        node.download(done.job_id, "output", "photo@2x.png")

Both classes have the same methods and perform the same scripts (calls.py). Errors are those of ``tallystick.errors``,
with the node's own words; ``UnreachableError`` where no answer came.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import httpx

from tallystick import __version__
from tallystick.client import answers as say
from tallystick.client import buying, calls
from tallystick.client.address import Address
from tallystick.client.buying import Buyer, Decode
from tallystick.client.credentials import Credentials, Nobody, OwnKey, Token
from tallystick.client.feed import Event, Feed
from tallystick.client.files import Source
from tallystick.client.http import Asker, Awaiting, Told, Waiting
from tallystick.client.refusals import refusal
from tallystick.client.steps import PAUSES, Request, Script
from tallystick.errors import UnreachableError, UsageError
from tallystick.node.views import JobView, OrderForm, PriceView
from tallystick.primitives.amounts import parse_cpc
from tallystick.primitives.keys import SigningKey

T = TypeVar("T")
File = Path | str | bytes
IDEMPOTENCY_BYTES: Final = 16
STREAM: Final = "text/event-stream"


def order_form(source: Source, *, price_max: str | None = None, **options: Any) -> OrderForm:  # noqa: ANN401 - its fields
    """Return the form of an order over a file; ``price_max`` in CPC, the rest as ``OrderForm`` names it.

    Raises:
        UsageError: there is no such option.
        MalformedError: the price is no amount.
    """
    most = None if price_max is None else str(parse_cpc(price_max))
    named = {"input_name": source.name, **options} if source.name else options
    try:
        return OrderForm(**{**named, "input": source.sha256, "price_max": most})
    except TypeError as error:
        raise UsageError(f"an order has no such option: {error}") from None


def credentials_of(token: str | None, key: SigningKey | None) -> Credentials:
    """Return who asks.

    Raises:
        UsageError: both a token and a key are named.
    """
    if token is not None and key is not None:
        raise UsageError("name a token or a key, not both: a request has one sender")
    if token is not None:
        return Token(token)
    return Nobody() if key is None else OwnKey(key)


def _now() -> int:
    return time.time_ns() // 1_000_000


def _asker(url: str, token: str | None, key: SigningKey | None, verify: str | None, waits: Told | None) -> Asker:
    return Asker(Address.parse(url), credentials_of(token, key), verify, f"tallystick/{__version__}", waits=waits)


class Client:
    """A node, asked by code that waits for each answer.

    ``token`` or ``key`` say who asks, neither on an open loopback; ``verify`` is a PEM file with the authority of the
    node's certificate, where this machine does not know it. A buyer with a key signs its orders itself, and holds them
    against its own picture, which ``decode`` reads (``adapters/pillow.py: decode_image``).
    ``waits`` is told, once, when the node does not answer and is asked again.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        key: SigningKey | None = None,
        verify: str | None = None,
        decode: Decode | None = None,
        waits: Told | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Open a pool of connections; nothing is asked yet."""
        self._http = Waiting(_asker(url, token, key, verify, waits), transport)
        self.buyer = None if key is None else Buyer(key, decode, _now)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _t: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def run(self, script: Script[T]) -> T:
        """Perform any script of ``tallystick.client.calls``."""
        return self._http.run(script)

    def node(self) -> say.NodeInfo:
        """Return what the node says of itself."""
        return self.run(calls.node())

    def trust(self) -> str:
        """Return the node's trust file; whoever pins it believes this node."""
        return self.run(calls.trust())

    def quote(self, file: File, **options: Any) -> PriceView:  # noqa: ANN401 - fields of OrderForm
        """Upload a picture and return what an order would cost now."""
        source = Source.of(file)
        return self.run(calls.quote(source, order_form(source, **options)))

    def submit(self, file: File, **options: Any) -> JobView:  # noqa: ANN401 - fields of OrderForm
        """Upload a picture and order; a lost reply never makes it two orders. With a key, ``wait`` signs the order."""
        source = Source.of(file)
        key = secrets.token_hex(IDEMPOTENCY_BYTES)
        return self.run(buying.submit(source, order_form(source, **options), key, self.buyer))

    def job(self, job_id: str) -> JobView:
        """Return an order."""
        return self.run(calls.job(job_id))

    def jobs(self) -> Iterator[JobView]:
        """Yield all orders, newest first."""
        page = self.run(calls.jobs())
        yield from page.jobs
        while page.cursor:
            page = self.run(calls.jobs(page.cursor))
            yield from page.jobs

    def wait(self, job_id: str) -> JobView:
        """Return an order once it has ended, however it ended; a buyer with a key signs and reveals on the way."""
        return self.run(buying.wait(job_id, self.buyer))

    def cancel(self, job_id: str) -> JobView:
        """Take an order out of the queue."""
        return self.run(calls.cancel(job_id))

    def download(self, job_id: str, kind: str, target: Path | str) -> Path:
        """Fetch ``output``, ``sidecar`` or ``bundle``; the target is written whole, with the right digest, or not."""
        return self.run(calls.download(job_id, kind, Path(target)))

    def events(self, after: int | None = None, job: str | None = None) -> Iterator[Event]:
        """Yield entries of the log as they become durable, without end, across broken connections."""
        feed, misses = Feed(after), 0
        while True:
            try:
                for event in self._stream(calls.events(feed.last, job), feed):
                    misses = 0
                    yield event
            except UnreachableError:
                misses += 1
                if misses > len(PAUSES):
                    raise
            self._http.pause(PAUSES[max(0, misses - 1)])
            feed.restart()

    def _stream(self, request: Request, feed: Feed) -> Iterator[Event]:
        with self._http.stream(request) as (answer, chunks):
            if not answer.fits or answer.media_type != STREAM:
                raise refusal(answer, "the node")
            for chunk in chunks:
                yield from feed.push(chunk)

    def receipt(self, name: str) -> say.ReceiptInfo:
        """Return an entry by NID or txHash."""
        return self.run(calls.receipt(name))

    def proof(self, name: str) -> str:
        """Return the tlog-proof of an entry."""
        return self.run(calls.proof(name))

    def transaction(self, entry: bytes) -> say.ReceiptInfo:
        """Send a signed entry."""
        return self.run(calls.transaction(entry))

    def account(self, address: str) -> say.AccountInfo:
        """Return an account."""
        return self.run(calls.account(address))

    def faucet(self, address: str, amount: int) -> None:
        """Ask for play money, in wei."""
        self.run(calls.faucet(address, amount))

    def workers(self) -> tuple[say.WorkerInfo, ...]:
        """Return the workers that the node knows."""
        return self.run(calls.workers())

    def tokens(self) -> tuple[say.TokenInfo, ...]:
        """Return the node's tokens."""
        return self.run(calls.tokens())

    def make_token(self, form: Mapping[str, object]) -> say.NewToken:
        """Make a token; its text is said this once."""
        return self.run(calls.make_token(form))

    def revoke_token(self, token_id: str) -> say.TokenInfo:
        """End a token."""
        return self.run(calls.revoke_token(token_id))

    def anchors(self) -> say.AnchorsInfo:
        """Return how the node's anchoring stands."""
        return self.run(calls.anchors())

    def anchor(self) -> say.AnchorsInfo:
        """Have the newest checkpoint anchored; ``anchors`` tells when that is done."""
        return self.run(calls.anchor())

    def set_anchor_policy(self, policy: str) -> str:
        """Have the node anchor by itself: after ``1h``, after ``1000`` entries, after every ``event``, or ``off``."""
        return self.run(calls.set_anchor_policy(policy))

    def set_anchor_target(self, target: Mapping[str, object]) -> say.TargetInfo:
        """Have the node anchor on another chain; without ``rpc`` on its own."""
        return self.run(calls.set_anchor_target(target))


class AsyncClient:
    """A node, asked by code that awaits; every method is the same as ``Client``'s."""

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        key: SigningKey | None = None,
        verify: str | None = None,
        decode: Decode | None = None,
        waits: Told | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Open a pool of connections; nothing is asked yet."""
        self._http = Awaiting(_asker(url, token, key, verify, waits), transport)
        self.buyer = None if key is None else Buyer(key, decode, _now)

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _t: TracebackType | None
    ) -> None:
        """Close."""
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    async def run(self, script: Script[T]) -> T:
        """Perform any script of ``tallystick.client.calls``."""
        return await self._http.run(script)

    async def node(self) -> say.NodeInfo:
        """Return what the node says of itself."""
        return await self.run(calls.node())

    async def trust(self) -> str:
        """Return the node's trust file; whoever pins it believes this node."""
        return await self.run(calls.trust())

    async def quote(self, file: File, **options: Any) -> PriceView:  # noqa: ANN401 - fields of OrderForm
        """Upload a picture and return what an order would cost now."""
        source = await asyncio.to_thread(Source.of, file)
        return await self.run(calls.quote(source, order_form(source, **options)))

    async def submit(self, file: File, **options: Any) -> JobView:  # noqa: ANN401 - fields of OrderForm
        """Upload a picture and order; a lost reply never makes it two orders. With a key, ``wait`` signs the order."""
        source = await asyncio.to_thread(Source.of, file)
        key = secrets.token_hex(IDEMPOTENCY_BYTES)
        return await self.run(buying.submit(source, order_form(source, **options), key, self.buyer))

    async def job(self, job_id: str) -> JobView:
        """Return an order."""
        return await self.run(calls.job(job_id))

    async def jobs(self) -> AsyncIterator[JobView]:
        """Yield all orders, newest first."""
        page = await self.run(calls.jobs())
        for each in page.jobs:
            yield each
        while page.cursor:
            page = await self.run(calls.jobs(page.cursor))
            for each in page.jobs:
                yield each

    async def wait(self, job_id: str) -> JobView:
        """Return an order once it has ended, however it ended; a buyer with a key signs and reveals on the way."""
        return await self.run(buying.wait(job_id, self.buyer))

    async def cancel(self, job_id: str) -> JobView:
        """Take an order out of the queue."""
        return await self.run(calls.cancel(job_id))

    async def download(self, job_id: str, kind: str, target: Path | str) -> Path:
        """Fetch ``output``, ``sidecar`` or ``bundle``; the target is written whole, with the right digest, or not."""
        return await self.run(calls.download(job_id, kind, Path(target)))

    async def events(self, after: int | None = None, job: str | None = None) -> AsyncIterator[Event]:
        """Yield entries of the log as they become durable, without end, across broken connections."""
        feed, misses = Feed(after), 0
        while True:
            try:
                async with self._http.stream(calls.events(feed.last, job)) as (answer, chunks):
                    if not answer.fits or answer.media_type != STREAM:
                        raise refusal(answer, "the node")
                    async for chunk in chunks:
                        for event in feed.push(chunk):
                            misses = 0
                            yield event
            except UnreachableError:
                misses += 1
                if misses > len(PAUSES):
                    raise
            await self._http.pause(PAUSES[max(0, misses - 1)])
            feed.restart()

    async def receipt(self, name: str) -> say.ReceiptInfo:
        """Return an entry by NID or txHash."""
        return await self.run(calls.receipt(name))

    async def proof(self, name: str) -> str:
        """Return the tlog-proof of an entry."""
        return await self.run(calls.proof(name))

    async def transaction(self, entry: bytes) -> say.ReceiptInfo:
        """Send a signed entry."""
        return await self.run(calls.transaction(entry))

    async def account(self, address: str) -> say.AccountInfo:
        """Return an account."""
        return await self.run(calls.account(address))

    async def faucet(self, address: str, amount: int) -> None:
        """Ask for play money, in wei."""
        await self.run(calls.faucet(address, amount))

    async def workers(self) -> tuple[say.WorkerInfo, ...]:
        """Return the workers that the node knows."""
        return await self.run(calls.workers())

    async def tokens(self) -> tuple[say.TokenInfo, ...]:
        """Return the node's tokens."""
        return await self.run(calls.tokens())

    async def make_token(self, form: Mapping[str, object]) -> say.NewToken:
        """Make a token; its text is said this once."""
        return await self.run(calls.make_token(form))

    async def revoke_token(self, token_id: str) -> say.TokenInfo:
        """End a token."""
        return await self.run(calls.revoke_token(token_id))

    async def anchors(self) -> say.AnchorsInfo:
        """Return how the node's anchoring stands."""
        return await self.run(calls.anchors())

    async def anchor(self) -> say.AnchorsInfo:
        """Have the newest checkpoint anchored; ``anchors`` tells when that is done."""
        return await self.run(calls.anchor())

    async def set_anchor_policy(self, policy: str) -> str:
        """Have the node anchor by itself: after ``1h``, after ``1000`` entries, after every ``event``, or ``off``."""
        return await self.run(calls.set_anchor_policy(policy))

    async def set_anchor_target(self, target: Mapping[str, object]) -> say.TargetInfo:
        """Have the node anchor on another chain; without ``rpc`` on its own."""
        return await self.run(calls.set_anchor_target(target))
