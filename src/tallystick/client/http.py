"""Performs the steps of scripts over HTTP, once waiting and once awaiting; the only file here that names httpx.

Answers are bounded and never unpacked, redirects are not followed, and this machine is reached without a proxy.
"""

from __future__ import annotations

import asyncio
import secrets
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar

import httpx

from tallystick.client.address import Address
from tallystick.client.calls import ledger
from tallystick.client.credentials import Credentials
from tallystick.client.steps import Answer, Pause, Receive, Request, Script, Step
from tallystick.errors import NodeError, TallyError, UnreachableError, UsageError

T = TypeVar("T")
Told = Callable[[str], None]
"""Takes a line for a person."""

TIMEOUT: Final = httpx.Timeout(connect=4.5, read=60.0, write=60.0, pool=10.0)
STREAM_TIMEOUT: Final = httpx.Timeout(connect=4.5, read=60.0, write=10.0, pool=10.0)
"""A stream says that it lives every 15 seconds."""
CONNECTIONS: Final = httpx.Limits(max_connections=32, max_keepalive_connections=8)
NONCE_BYTES: Final = 16
JITTER: Final = 0.5
"""A pause is this share longer or shorter, by chance, so that many clients do not come back at once."""
PATIENCE_SECONDS: Final = 8.0
"""No pause of a call begins that would end later than this after its first try to connect."""
TOLD_SECONDS: Final = 2.0
"""A wait that goes on for longer is told to whoever listens."""
START: Final = "is a node running there? `tally node start` starts one"
_UNCONNECTED: Final = (httpx.ConnectError, httpx.ConnectTimeout)
_CHANCE: Final = secrets.SystemRandom()


def trusting(verify: str | None) -> ssl.SSLContext | bool:
    """Return how a node's certificate is checked: by this machine's authorities, or by those in a PEM file.

    Raises:
        UsageError: the file cannot be read.
    """
    if verify is None:
        return True
    try:
        return ssl.create_default_context(cafile=verify)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(f"{verify} holds no certificates that can be read: {error}") from error


@dataclass(slots=True)
class Asker:
    """What both drivers share: the node's address, who asks, and the ledger that signatures name."""

    address: Address
    credentials: Credentials
    verify: str | None = None
    software: str = "tallystick"
    chain_id: str = ""
    waits: Told | None = None
    """Is told, once, of a node that does not answer and is asked again."""
    _context: ssl.SSLContext | bool = field(init=False, default=True)

    def __post_init__(self) -> None:
        """Read the certificates once."""
        self._context = trusting(self.verify)

    def options(self) -> dict[str, Any]:
        """Return what an httpx client is made with."""
        return {
            "base_url": self.address.url,
            "verify": self._context,
            "timeout": TIMEOUT,
            "limits": CONNECTIONS,
            "follow_redirects": False,
            "trust_env": not self.address.is_loopback,
            "headers": {"user-agent": self.software, "accept-encoding": "identity"},
        }

    def needs_ledger(self, step: Step) -> bool:
        """Tell whether the ledger's name must be asked for before a step can be signed."""
        request = step.request if isinstance(step, Receive) else step
        return isinstance(request, Request) and not request.public and self.credentials.signs and not self.chain_id

    def headers(self, request: Request) -> Mapping[str, str]:
        """Return a request's headers with those that say who asks."""
        if request.public:
            return request.headers
        now, nonce = time.time_ns() // 1_000_000, secrets.token_bytes(NONCE_BYTES)
        return {**request.headers, **self.credentials.headers(request, self.chain_id, now, nonce)}

    def head(self, response: httpx.Response) -> Answer:
        """Return status and headers of a response."""
        return Answer(response.status_code, {name.lower(): value for name, value in response.headers.items()})

    def lost(self, request: Request, error: Exception) -> NodeError:
        """Return the error of an answer that did not come."""
        said = str(error) or type(error).__name__
        if _caused(error, ssl.SSLCertVerificationError):
            return NodeError(f"the certificate of {self.address} is not trusted: {said}; name its authority (--tls-ca)")
        if self.address.is_secure and _caused(error, ssl.SSLError):
            return NodeError(f"{self.address} does not speak TLS as this machine does: {said}; does it serve http://?")
        hint = f"; {START}" if isinstance(error, _UNCONNECTED) else ""
        return UnreachableError(f"{self.address} does not answer {request.method} {request.path}: {said}{hint}")


@dataclass(slots=True)
class _Patience:
    """How long one call has found nobody there; a node that was reached and broke off is another matter."""

    asker: Asker
    since: float | None = None
    began: float = 0.0
    last: TallyError | None = None

    def begin(self, step: Step) -> None:
        """Note when a step begins; a pause that would last too long does not.

        Raises:
            UnreachableError: nobody was there for long enough.
        """
        self.began = time.monotonic()
        if not isinstance(step, Pause) or self.since is None or self.last is None:
            return
        waited = self.began + step.seconds - self.since
        if waited > PATIENCE_SECONDS:
            raise self.last
        if waited > TOLD_SECONDS and self.asker.waits is not None:
            self.asker.waits(f"{self.asker.address} does not answer, trying again")
            self.asker.waits = None

    def end(self, step: Step, error: TallyError | None = None) -> None:
        """Note how a step ended."""
        if error is not None and isinstance(error.__context__, _UNCONNECTED):
            self.since, self.last = self.began if self.since is None else self.since, error
        elif not isinstance(step, Pause):
            self.since = None


@dataclass(slots=True)
class _Gather:
    """Keeps the body of an answer, which is bounded."""

    limit: int
    data: bytearray = field(default_factory=bytearray)

    def add(self, chunk: bytes) -> None:
        if len(self.data) + len(chunk) > self.limit:
            raise NodeError(f"the node answers with more than {self.limit} bytes")
        self.data += chunk


def _caused(error: BaseException | None, kind: type[ssl.SSLError]) -> bool:
    """Tell whether a failure is one of TLS: trying again changes nothing."""
    while error is not None:
        if isinstance(error, kind):
            return True
        error = error.__cause__ or error.__context__
    return False


def _pause(pause: Pause) -> float:
    return pause.seconds * (1 + JITTER * (2 * _CHANCE.random() - 1))


def _body(request: Request) -> bytes | None:
    """Return what is sent as a body; methods that have none send no length either."""
    return request.body if request.body or request.method in {"POST", "PATCH", "PUT"} else None


class Waiting:
    """Performs scripts and waits for them."""

    def __init__(self, asker: Asker, transport: httpx.BaseTransport | None = None) -> None:
        """Open a pool of connections; ``transport`` stands for the network."""
        self.asker = asker
        self.http = httpx.Client(transport=transport, **asker.options())

    def run(self, script: Script[T]) -> T:
        """Perform a script to its end and return its result."""
        patience = _Patience(self.asker)
        try:
            step = next(script)
            while True:
                if self.asker.needs_ledger(step):
                    self.asker.chain_id = self.run(ledger())
                try:
                    patience.begin(step)
                    answer = self.perform(step)
                except TallyError as error:
                    patience.end(step, error)
                    step = script.throw(error)
                else:
                    patience.end(step)
                    step = script.send(answer)
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            script.close()

    def perform(self, step: Step) -> Answer | None:
        """Perform one step."""
        if isinstance(step, Pause):
            time.sleep(_pause(step))
            return None
        request = step.request if isinstance(step, Receive) else step
        headers = dict(self.asker.headers(request))
        try:
            with self.http.stream(request.method, request.path, headers=headers, content=_body(request)) as response:
                answer = self.asker.head(response)
                gather = _Gather(request.answer_bytes_max)
                sink = step.sink if isinstance(step, Receive) and answer.fits else None
                if sink is not None:
                    sink.begin(answer)
                for chunk in response.iter_raw():
                    (gather.add if sink is None else sink.write)(chunk)
                return Answer(answer.status, answer.headers, bytes(gather.data))
        except (httpx.TransportError, httpx.StreamError) as error:
            raise self.asker.lost(request, error) from None

    def pause(self, seconds: float) -> None:
        """Wait for about so many seconds."""
        time.sleep(_pause(Pause(seconds)))

    @contextmanager
    def stream(self, request: Request) -> Iterator[tuple[Answer, Iterator[bytes]]]:
        """Open an answer that goes on; a refusal comes with its body.

        Raises:
            UnreachableError: it does not come, or breaks.
        """
        if self.asker.needs_ledger(request):
            self.asker.chain_id = self.run(ledger())
        headers = dict(self.asker.headers(request))
        try:
            with self.http.stream(request.method, request.path, headers=headers, timeout=STREAM_TIMEOUT) as response:
                answer = self.asker.head(response)
                if not answer.fits:
                    gather = _Gather(request.answer_bytes_max)
                    for chunk in response.iter_raw():
                        gather.add(chunk)
                    answer = replace(answer, body=bytes(gather.data))
                yield answer, response.iter_raw()
        except (httpx.TransportError, httpx.StreamError) as error:
            raise self.asker.lost(request, error) from None

    def close(self) -> None:
        """Close the connections."""
        self.http.close()


class Awaiting:
    """Performs scripts while others run."""

    def __init__(self, asker: Asker, transport: httpx.AsyncBaseTransport | None = None) -> None:
        """Open a pool of connections; ``transport`` stands for the network."""
        self.asker = asker
        self.http = httpx.AsyncClient(transport=transport, **asker.options())

    async def run(self, script: Script[T]) -> T:
        """Perform a script to its end and return its result."""
        patience = _Patience(self.asker)
        try:
            step = next(script)
            while True:
                if self.asker.needs_ledger(step):
                    self.asker.chain_id = await self.run(ledger())
                try:
                    patience.begin(step)
                    answer = await self.perform(step)
                except TallyError as error:
                    patience.end(step, error)
                    step = script.throw(error)
                else:
                    patience.end(step)
                    step = script.send(answer)
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            script.close()

    async def perform(self, step: Step) -> Answer | None:
        """Perform one step."""
        if isinstance(step, Pause):
            await asyncio.sleep(_pause(step))
            return None
        request = step.request if isinstance(step, Receive) else step
        headers = dict(self.asker.headers(request))
        try:
            async with self.http.stream(
                request.method, request.path, headers=headers, content=_body(request)
            ) as response:
                answer = self.asker.head(response)
                gather = _Gather(request.answer_bytes_max)
                sink = step.sink if isinstance(step, Receive) and answer.fits else None
                if sink is not None:
                    sink.begin(answer)
                async for chunk in response.aiter_raw():
                    (gather.add if sink is None else sink.write)(chunk)
                return Answer(answer.status, answer.headers, bytes(gather.data))
        except (httpx.TransportError, httpx.StreamError) as error:
            raise self.asker.lost(request, error) from None

    async def pause(self, seconds: float) -> None:
        """Wait for about so many seconds."""
        await asyncio.sleep(_pause(Pause(seconds)))

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncIterator[tuple[Answer, AsyncIterator[bytes]]]:
        """Open an answer that goes on; a refusal comes with its body.

        Raises:
            UnreachableError: it does not come, or breaks.
        """
        if self.asker.needs_ledger(request):
            self.asker.chain_id = await self.run(ledger())
        headers = dict(self.asker.headers(request))
        try:
            async with self.http.stream(
                request.method, request.path, headers=headers, timeout=STREAM_TIMEOUT
            ) as response:
                answer = self.asker.head(response)
                if not answer.fits:
                    gather = _Gather(request.answer_bytes_max)
                    async for chunk in response.aiter_raw():
                        gather.add(chunk)
                    answer = replace(answer, body=bytes(gather.data))
                yield answer, response.aiter_raw()
        except (httpx.TransportError, httpx.StreamError) as error:
            raise self.asker.lost(request, error) from None

    async def close(self) -> None:
        """Close the connections."""
        await self.http.aclose()
