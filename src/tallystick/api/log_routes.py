"""The log to the world: C2SP tlog-tiles below ``/log/``, receipts by name with their proofs, consistency of two sizes.

Knows paths, caching and status codes (docs/spec/log-http.md). Refuses to know how the log is kept and signed: it asks a
``LogSource``. Everything here is public: entries hold nothing private.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Annotated, Any, Final

import msgspec
from litestar import HttpMethod, Request, Response, get, route
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import OpenAPIResponse, Operation
from litestar.params import PathParameter, QueryParameter

from tallystick.api.aside import aside
from tallystick.api.callers import ConnectionScope, header
from tallystick.api.ranges import OCTETS, answer_bytes, choose
from tallystick.errors import AbsentError, MalformedError
from tallystick.node.public_log import LogSource, digest_of
from tallystick.primitives.canonical import INTEGER_MAX, format_base64
from tallystick.primitives.cids import raw_cid
from tallystick.primitives.digests import sha256
from tallystick.primitives.merkle import leaf_hash
from tallystick.primitives.notes import Checkpoint, split_note
from tallystick.receipts.log import CHECKPOINT_PATH, TileName

PREFIX: Final = "/log/"
GENESIS_PATH: Final = "genesis.json"
PLAIN: Final = "text/plain"
"""The framework adds the charset, which is UTF-8."""
JSON: Final = "application/json"
TAG: Final = ["log"]
IMMUTABLE: Final = "public, max-age=31536000, immutable"
SHORT: Final = "public, max-age=2"
OPEN: Final[Mapping[str, str]] = MappingProxyType(
    {"access-control-allow-origin": "*", "cross-origin-resource-policy": "cross-origin"}
)
"""Any page may read what anybody may read."""
_ETAG_CHARACTERS: Final = 32

Custodial = Callable[[str], bool]
"""Tells whether this node holds the key of a sender (compressed, in hex), and so signed for it."""
FilePath = Annotated[str, PathParameter(description="`checkpoint`, `genesis.json`, or the path of a tile")]
ReceiptName = Annotated[str, PathParameter(description="NID (`bafkrei…`) or txHash (`0x…`)", max_length=80)]
Size = Annotated[int, QueryParameter(ge=0, le=INTEGER_MAX)]


class Receipt(msgspec.Struct, frozen=True, omit_defaults=True):
    """An entry of the log, its place, and its two names; ``entry`` is canonical JSON, so it can be hashed again."""

    index: int
    nid: str
    tx_hash: str
    leaf_hash: str
    entry: dict[str, Any]
    custodial: bool | None = None
    """Whether this node holds the sender's key; left out where it does not say."""


class LogView(msgspec.Struct, frozen=True):
    """The log as of its newest durable checkpoint."""

    origin: str
    size: int
    root: str
    checkpoint: str


class ConsistencyView(msgspec.Struct, frozen=True):
    """RFC 9162 section 2.1.4: hashes and roots in base64."""

    first: int
    second: int
    first_root: str
    second_root: str
    proof: tuple[str, ...]


def log_routes(source: LogSource, custodial: Custodial | None = None) -> list[HTTPRouteHandler]:
    """Return the handlers of everything about the log."""
    return [*_file_routes(source), *_receipt_routes(source, custodial), *_proof_routes(source)]


def _file_routes(source: LogSource) -> list[HTTPRouteHandler]:
    @route(
        "/log/{path:path}",
        http_method=[HttpMethod.GET, HttpMethod.HEAD],
        tags=TAG,
        media_type=OCTETS,
        responses=bytes_by_range(OCTETS, "A checkpoint, a tile, a bundle of entries, or `genesis.json`."),
        operation_class=LogFileOperation,
    )
    async def log_file(request: Request[Any, Any, Any], path: FilePath) -> Response[Any]:  # noqa: ARG001 - for the document
        """Return a file of the log by C2SP tlog-tiles: `checkpoint`, `tile/<L>/<N>[.p/<W>]`, `tile/entries/…`."""
        facts: ConnectionScope = dict(request.scope)
        return await aside(partial(_file, source, facts))

    return [log_file]


def _receipt_routes(source: LogSource, custodial: Custodial | None) -> list[HTTPRouteHandler]:
    @get("/api/v1/receipts/{name:str}", tags=TAG)
    async def receipt(name: ReceiptName) -> Response[Receipt]:
        """Return an entry by its NID or its txHash."""
        view = await aside(lambda: _receipt(source, custodial, name))
        return Response(view, headers={"cache-control": SHORT, **OPEN})

    @get(
        "/api/v1/receipts/{name:str}/proof",
        tags=TAG,
        media_type=PLAIN,
        responses={200: ResponseSpec(str, media_type=PLAIN, description="A C2SP tlog-proof.")},
    )
    async def proof(name: ReceiptName) -> Response[str]:
        """Return the proof that an entry stands in the log: one file, checked offline with the log's key."""
        index, text = await aside(lambda: _proof(source, name))
        disposition = f'attachment; filename="{index}.tlog-proof"'
        headers = {"cache-control": SHORT, "content-disposition": disposition, **OPEN}
        return Response(text, media_type=PLAIN, headers=headers)

    return [receipt, proof]


def _proof_routes(source: LogSource) -> list[HTTPRouteHandler]:
    @get("/api/v1/log", tags=TAG)
    async def log() -> Response[LogView]:
        """Return size, root and signed checkpoint of the log."""
        return Response(await aside(lambda: _log(source)), headers={"cache-control": SHORT, **OPEN})

    @get("/api/v1/log/consistency", tags=TAG)
    async def consistency(first: Size, second: Size) -> Response[ConsistencyView]:
        """Prove that the log of `first` entries is a beginning of the log of `second` entries."""
        view = await aside(lambda: _consistency(source, first, second))
        return Response(view, headers={"cache-control": IMMUTABLE, **OPEN})

    return [log, consistency]


def _file(source: LogSource, scope: ConnectionScope) -> Response[Any]:
    """Answer with a file by the path as it was sent: an escaped or doubled character names nothing here."""
    raw = bytes(scope.get("raw_path") or scope["path"].encode()).decode("latin-1")
    path = raw.partition("?")[0].removeprefix(PREFIX)
    if path == CHECKPOINT_PATH:
        return _answer(scope, _newest(source).encode(), PLAIN, SHORT)
    if path == GENESIS_PATH:
        return _answer(scope, source.genesis(), JSON, IMMUTABLE)
    try:
        name = TileName.parse(path)
    except MalformedError as error:
        raise AbsentError("the log has checkpoint, genesis.json, and tile/<level>/<index>[.p/<width>]") from error
    data = source.tile(name)
    if data is None:
        raise AbsentError(f"the log is not large enough for {name.path}")
    return _answer(scope, data, OCTETS, IMMUTABLE, compress=name.level is None)


def _answer(
    scope: ConnectionScope, data: bytes, media_type: str, caching: str, *, compress: bool = False
) -> Response[Any]:
    """Answer a GET or HEAD, conditionally; what is compressed is another representation with a name of its own."""
    etag = sha256(data).hex()[:_ETAG_CHARACTERS]
    headers = {"cache-control": caching, **OPEN}
    if compress:
        headers["vary"] = "accept-encoding"
        if _takes_gzip(header(scope, b"accept-encoding") or ""):
            headers["content-encoding"] = "gzip"
            data, etag = gzip.compress(data, compresslevel=1, mtime=0), f"{etag}-gzip"
    return answer_bytes(choose(scope, len(data), etag, headers), data, media_type)


def _takes_gzip(accepted: str) -> bool:
    wishes = [each.replace(" ", "").lower().partition(";q=") for each in accepted.split(",")]
    return any(name == "gzip" and weight.strip("0.") != "" if mark else name == "gzip" for name, mark, weight in wishes)


def _newest(source: LogSource) -> str:
    checkpoint = source.checkpoint()
    if checkpoint is None:
        raise AbsentError("the log is empty: it has no checkpoint yet")
    return checkpoint


def _find(source: LogSource, name: str) -> int:
    """Return where an entry stands.

    Raises:
        MalformedError: the name is neither an NID nor a txHash.
        AbsentError: there is no such entry.
    """
    index = source.index_of(digest_of(name))
    if index is None:
        raise AbsentError(f"the log holds no entry {name}")
    return index


def _receipt(source: LogSource, custodial: Custodial | None, name: str) -> Receipt:
    index = _find(source, name)
    entry = source.entry(index)
    digest, fields = sha256(entry), msgspec.json.decode(entry)
    held = None if custodial is None else custodial(str(fields["sender"]))
    return Receipt(index, raw_cid(digest), f"0x{digest.hex()}", leaf_hash(entry).hex(), fields, held)


def _proof(source: LogSource, name: str) -> tuple[int, str]:
    index = _find(source, name)
    return index, source.prove(index).encode()


def _log(source: LogSource) -> LogView:
    note = _newest(source)
    held = Checkpoint.parse(split_note(note)[0])
    return LogView(held.origin, held.size, format_base64(held.root), note)


def _consistency(source: LogSource, first: int, second: int) -> ConsistencyView:
    proof = source.consistency(first, second)
    if proof is None:
        raise AbsentError(f"the log never grew from {first} to {second} entries")
    old, new = (format_base64(source.root(size)) for size in (first, second))
    return ConsistencyView(first, second, old, new, tuple(map(format_base64, proof)))


def bytes_by_range(media_type: str, description: str) -> dict[int, ResponseSpec]:
    """Describe the answers of a route that gives bytes, wholly or in part."""
    told = {200: description, 206: "A range of it.", 304: "The asker holds it.", 416: "It has no such range."}
    return {status: ResponseSpec(bytes, media_type=media_type, description=text) for status, text in told.items()}


def also(operation: Operation, *media_types: str) -> None:
    """Name further media types of a route's bytes: the framework describes one only."""
    for status in ("200", "206", "304"):
        answer = (operation.responses or {}).get(status)
        if isinstance(answer, OpenAPIResponse) and answer.content is not None:
            (known,) = answer.content.values()
            answer.content |= dict.fromkeys(media_types, known)


@dataclass
class LogFileOperation(Operation):
    """The operation of a route that answers with files of several kinds."""

    def __post_init__(self) -> None:
        """Name the kinds."""
        also(self, f"{PLAIN}; charset=utf-8", JSON)
