"""Every call to a node as a script: what is asked, when it may be asked again, what the answer must be.

Knows routes (docs/spec/http.md). Refuses to know how steps are performed. A call that would do its work twice is never
made twice: an order carries one key for all its tries, an upload goes on from where the node says that it stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import Final, Protocol, TypeVar
from urllib.parse import quote as quoted
from urllib.parse import urlencode

import msgspec

from tallystick.client import answers as say
from tallystick.client.files import Part, Source
from tallystick.client.refusals import check, read, read_text, refusal
from tallystick.client.steps import JSON, OCTETS, PAUSES, Answer, Pause, Receive, Request, Script, Sink, ask
from tallystick.errors import (
    ConflictError,
    DuplicateError,
    LimitError,
    NodeError,
    UnreachableError,
    UsageError,
    VerificationError,
)
from tallystick.ledger.transactions import Transaction, decode
from tallystick.node.signed_requests import parse_content_digest
from tallystick.node.views import JobView, OfferView, OrderForm, PriceView, SecretForm, SignedOrder
from tallystick.primitives import canonical
from tallystick.primitives.cids import raw_cid
from tallystick.primitives.digests import sha256

T = TypeVar("T")

API: Final = "/api/v1"
CHUNK_BYTES: Final = 4 << 20
FILE_BYTES_MAX: Final = 1 << 40
POLL_SECONDS: Final = (0.1, 0.2, 0.5, 1.0)
HERE: Final = "the node"


def node() -> Script[say.NodeInfo]:
    """Return what a node says of itself."""
    return (yield from _get(f"{API}/node", say.NodeInfo, public=True))


def ledger() -> Script[str]:
    """Return the name of the ledger that a node keeps."""
    return (yield from node()).chain_id


def trust() -> Script[str]:
    """Return a node's trust file: what it says a stranger should pin. Nothing makes it true."""
    answer = yield from ask(Request("GET", f"{API}/trust", public=True))
    return read_text(answer, HERE)


def upload(source: Source) -> Script[say.UploadState]:
    """Bring a file to a node; a broken connection goes on from where the node stands."""
    form = {"length": source.length, "sha256": source.sha256}
    state = yield from _post(f"{API}/uploads", form, say.UploadState, repeatable=True)
    where = f"{API}/uploads/{quoted(state.upload_id, safe='')}"
    yield from deliver(where, source, say.Progress(state.offset, state.complete))
    return state


def deliver(where: str, source: Source, state: say.Progress, *, public: bool = False) -> Script[None]:
    """Append what is missing of a file at a path that takes ``Upload-Offset``.

    Raises:
        NodeError: the node stands where nobody can go on.
        UnreachableError: it stays away.
    """
    misses = 0
    while not state.complete:
        if state.offset >= source.length:
            raise NodeError(f"all {source.length} bytes lie at {where}, and the node does not call it complete")
        try:
            reached = yield from _append(where, source, state.offset, public=public)
            misses = misses + 1 if reached.offset <= state.offset and not reached.complete else 0
        except (UnreachableError, ConflictError) as error:
            misses += 1
            if misses > len(PAUSES):
                raise
            if isinstance(error, UnreachableError):
                yield Pause(PAUSES[misses - 1])
            reached = yield from _get(where, say.Progress, public=public)
        if misses > len(PAUSES):
            raise NodeError(f"{where} does not go on from {state.offset}")
        state = reached


def _append(where: str, source: Source, offset: int, *, public: bool) -> Script[say.Progress]:
    """Send the next bytes once: the caller looks where they came to lie before it sends more."""
    headers = {"content-type": OCTETS, "upload-offset": str(offset)}
    chunk = source.read(offset, CHUNK_BYTES)
    answer = yield Request("PATCH", where, headers, chunk, repeatable=False, public=public)
    if answer is None:
        raise NodeError(f"PATCH {where} was left without an answer")
    if answer.status in {HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.BAD_GATEWAY}:
        raise UnreachableError(str(refusal(answer, HERE)))
    return read(answer, say.Progress, HERE)


def price(form: OrderForm) -> Script[PriceView]:
    """Return what an order over an uploaded picture would cost now."""
    return (yield from _post(f"{API}/quotes", form, PriceView, repeatable=True))


def order(form: OrderForm, key: str) -> Script[JobView]:
    """Give an order over an uploaded picture; ``key`` makes all its tries one order."""
    return (yield from _post(f"{API}/jobs", form, JobView, repeatable=True, headers={"idempotency-key": key}))


def quote(source: Source, form: OrderForm) -> Script[PriceView]:
    """Upload a picture and return what the order would cost."""
    state = yield from upload(source)
    found = yield from price(form)
    yield from forget(state)
    return found


def submit(source: Source, form: OrderForm, key: str) -> Script[JobView]:
    """Upload a picture and order."""
    state = yield from upload(source)
    view = yield from order(form, key)
    yield from forget(state)
    return view


def forget(state: say.UploadState) -> Script[None]:
    """Give an upload's room back; one that cannot be reached now expires by itself."""
    with suppress(NodeError, LimitError, UsageError):
        yield Request("DELETE", f"{API}/uploads/{quoted(state.upload_id, safe='')}", repeatable=False)


def job(job_id: str) -> Script[JobView]:
    """Return one order."""
    return (yield from _get(_job(job_id), JobView))


def jobs(cursor: str | None = None, limit: int = 50) -> Script[say.JobPage]:
    """Return orders, newest first."""
    query = {"limit": str(limit), **({} if cursor is None else {"cursor": cursor})}
    return (yield from _get(f"{API}/jobs?{urlencode(query)}", say.JobPage))


def wait(job_id: str) -> Script[JobView]:
    """Return an order once it has ended, however it ended."""
    polls = 0
    while True:
        view = yield from job(job_id)
        if view.state in say.ENDED:
            return view
        yield Pause(POLL_SECONDS[min(polls, len(POLL_SECONDS) - 1)])
        polls += 1


def entries(job_id: str) -> Script[tuple[Transaction, ...]]:
    """Return the job's entries, in the order of the log; who signed them is not checked here."""
    found: list[Transaction] = []
    cursor: int | None = 0
    while cursor is not None:
        page = yield from _get(f"{_job(job_id)}/entries?{urlencode({'cursor': cursor})}", say.EntryPage)
        found += [decode(canonical.encode(each.entry)) for each in page.entries]
        if page.cursor is not None and page.cursor <= cursor:
            raise NodeError("the node's list of entries turns in a circle")
        cursor = page.cursor
    return tuple(found)


def offer(job_id: str) -> Script[OfferView]:
    """Return what the buyer of an order is asked to sign."""
    return (yield from _get(f"{_job(job_id)}/offer", OfferView))


def sign_order(job_id: str, signed: SignedOrder) -> Script[JobView]:
    """Hand in the two entries of an order; those that stand already are taken again."""
    return (yield from _post(f"{_job(job_id)}/order", signed, JobView, repeatable=True))


def reveal(job_id: str, secret: SecretForm) -> Script[JobView]:
    """Reveal the buyer's secret."""
    return (yield from _post(f"{_job(job_id)}/secret", secret, JobView, repeatable=True))


def cancel(job_id: str) -> Script[JobView]:
    """Take an order out of the queue."""
    return (yield from _post(f"{_job(job_id)}/cancel", {}, JobView))


def download(job_id: str, kind: str, target: Path) -> Script[Path]:
    """Fetch a delivered file: what an earlier try left goes on, and only right bytes come to stand at the target.

    Raises:
        CommitmentError: the bytes are not those that the node promised.
        NodeError: the node does not say what it promises, or breaks off again and again.
    """
    request = Request("GET", f"{_job(job_id)}/files/{quoted(kind, safe='')}")
    promised = yield from ask(Request("HEAD", request.path))
    check(promised, HERE)
    length, digest = promised.headers.get("content-length", ""), promised.headers.get("repr-digest", "")
    if not length.isdecimal() or int(length) > FILE_BYTES_MAX or not digest:
        raise NodeError(f"{HERE} does not say length and SHA-256 of {request.path}")
    part = Part(target, int(length), parse_content_digest(digest).hex())
    yield from fetch(request, part, promised.headers.get("etag", ""))
    return part.finish()


class Growing(Sink, Protocol):
    """A download that knows how far it is."""

    @property
    def size(self) -> int:
        """How many bytes are here."""
        ...

    @property
    def is_whole(self) -> bool:
        """Whether all bytes are here."""
        ...


def fetch(request: Request, part: Growing, tag: str) -> Script[None]:
    """Receive what is missing, as long as every try brings something."""
    misses = 0
    while not part.is_whole:
        before = part.size
        wanted = request.with_header("range", f"bytes={before}-").with_header("if-range", tag)
        try:
            answer = yield Receive(wanted if before and tag else request, part)
            check(answer or Answer(0, {}), HERE)
        except UnreachableError:
            misses = 0 if part.size > before else misses + 1
            if misses > len(PAUSES):
                raise
            yield Pause(PAUSES[max(0, misses - 1)])
        else:
            misses = 0 if part.size > before else misses + 1
            if misses > len(PAUSES):
                raise NodeError(f"{HERE} gives nothing more of {request.path} after {part.size} bytes")


def receipt(name: str) -> Script[say.ReceiptInfo]:
    """Return an entry by its NID or txHash.

    Raises:
        VerificationError: the node shows another entry.
    """
    found = yield from _get(f"{API}/receipts/{quoted(name, safe='')}", say.ReceiptInfo, public=True)
    if name not in {found.nid, found.tx_hash}:
        raise VerificationError("receipt", expected=name, actual=found.nid)
    digest = bytes.fromhex(found.tx_hash.removeprefix("0x"))
    if found.nid != raw_cid(digest) or (found.entry and sha256(canonical.encode(found.entry)) != digest):
        raise VerificationError("entry of a receipt", expected=found.tx_hash, actual="another entry")
    return found


def proof(name: str) -> Script[str]:
    """Return the tlog-proof of an entry: text that a verifier checks with the log's key."""
    answer = yield from ask(Request("GET", f"{API}/receipts/{quoted(name, safe='')}/proof", public=True))
    return read_text(answer, HERE)


def transaction(entry: bytes) -> Script[say.ReceiptInfo]:
    """Send a signed entry; one that stands already is answered by its receipt.

    Raises:
        MalformedError: it is no entry.
        DuplicateError: another entry took its event.
    """
    sent = decode(entry)
    try:
        request = Request("POST", f"{API}/transactions", {"content-type": JSON}, entry)
        answer = yield from ask(request)
        found = read(answer, say.ReceiptInfo, HERE)
    except DuplicateError as error:
        if error.first != sent.tx_hash:
            raise
        return (yield from receipt(sent.tx_hash))
    if found.tx_hash != sent.tx_hash:
        raise VerificationError("receipt", expected=sent.tx_hash, actual=found.tx_hash)
    return found


def account(address: str) -> Script[say.AccountInfo]:
    """Return an account."""
    return (yield from _get(f"{API}/accounts/{quoted(address, safe='')}", say.AccountInfo, public=True))


def faucet(address: str, amount: int) -> Script[None]:
    """Ask for play money, where the ledger is one of development."""
    yield from _post(f"{API}/faucet", {"address": address, "amount": str(amount)}, dict)


def workers() -> Script[tuple[say.WorkerInfo, ...]]:
    """Return the workers that a node knows."""
    return (yield from _get(f"{API}/workers", say.WorkerPage)).workers


def tokens() -> Script[tuple[say.TokenInfo, ...]]:
    """Return the tokens of a node."""
    return (yield from _get(f"{API}/tokens", say.TokenPage)).tokens


def make_token(form: Mapping[str, object]) -> Script[say.NewToken]:
    """Make a token; its text is said this once."""
    return (yield from _post(f"{API}/tokens", form, say.NewToken))


def revoke_token(token_id: str) -> Script[say.TokenInfo]:
    """End a token."""
    answer = yield from ask(Request("DELETE", f"{API}/tokens/{quoted(token_id, safe='')}", {"accept": JSON}))
    return read(answer, say.TokenInfo, HERE)


def anchors() -> Script[say.AnchorsInfo]:
    """Return how a node's anchoring stands."""
    return (yield from _get(f"{API}/anchors", say.AnchorsInfo))


def anchor() -> Script[say.AnchorsInfo]:
    """Have the newest checkpoint anchored; the answer waits for no chain, and asking twice pays once."""
    return (yield from _post(f"{API}/anchors", {}, say.AnchorsInfo, repeatable=True))


def set_anchor_policy(policy: str) -> Script[str]:
    """Have a node anchor by another policy; return it as the node spells it."""
    return (yield from _put(f"{API}/anchors/policy", {"policy": policy}, say.PolicyInfo)).policy


def set_anchor_target(target: Mapping[str, object]) -> Script[say.TargetInfo]:
    """Have a node anchor on another chain."""
    return (yield from _put(f"{API}/anchors/target", target, say.TargetInfo))


def events(after: int | None, job_id: str | None) -> Request:
    """Return the request that follows the log from behind an index, or from its end."""
    query = {} if job_id is None else {"job": job_id}
    path = f"{API}/events{f'?{urlencode(query)}' if query else ''}"
    headers = {"accept": "text/event-stream"}
    return Request("GET", path, headers if after is None else {**headers, "last-event-id": str(after)})


def _job(job_id: str) -> str:
    return f"{API}/jobs/{quoted(job_id, safe='')}"


def _get(path: str, kind: type[T], *, public: bool = False) -> Script[T]:
    answer = yield from ask(Request("GET", path, {"accept": JSON}, public=public))
    return read(answer, kind, HERE)


def _post(
    path: str, form: object, kind: type[T], *, repeatable: bool = False, headers: Mapping[str, str] | None = None
) -> Script[T]:
    body = msgspec.json.encode(form)
    answer = yield from ask(
        Request("POST", path, {"content-type": JSON, **(headers or {})}, body, repeatable=repeatable)
    )
    return read(answer, kind, HERE)


def _put(path: str, form: object, kind: type[T]) -> Script[T]:
    answer = yield from ask(Request("PUT", path, {"content-type": JSON}, msgspec.json.encode(form)))
    return read(answer, kind, HERE)
