"""The trust file: whose signatures count, on which chain, over which stretch of the log (docs/spec/trust-file.md).

Knows the TOML of one file and refuses every key it does not know. Refuses to know where the file lies.
"""

from __future__ import annotations

import tomllib
from typing import Annotated, Final

import msgspec

from tallystick.errors import MalformedError, SignatureError, TooLargeError
from tallystick.ledger.payloads import ChainName, EvmAddress
from tallystick.primitives.canonical import Count, DigestHex, PublicKeyHex
from tallystick.primitives.keys import parse_public
from tallystick.primitives.notes import ED25519, NoteVerifier

TRUST_BYTES_MAX: Final = 65_536
_WHAT: Final = "trust file"

ChainId = Annotated[str, msgspec.Meta(pattern=r"\A[a-z][a-z0-9-]{0,31}-[0-9a-f]{16}\Z")]
OneLine = Annotated[str, msgspec.Meta(pattern=r"\A[^\x00-\x1f\x7f]{1,200}\Z")]
Certificate = Annotated[
    str,
    msgspec.Meta(
        pattern=r"\A\s*-----BEGIN CERTIFICATE-----\n[A-Za-z0-9+/=\n]{1,16384}\n-----END CERTIFICATE-----\s*\Z"
    ),
]


class _Range(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A stretch of log indices, both ends included; without ``last`` it is open."""

    first: Count
    last: Count | None = None

    def __post_init__(self) -> None:
        """Refuse a range that ends before it begins."""
        if self.last is not None and self.last < self.first:
            message = f"a range cannot end at {self.last} and begin at {self.first}"
            raise ValueError(message)

    def covers(self, index: int) -> bool:
        """Tell whether a log index lies inside."""
        return self.first <= index and (self.last is None or index <= self.last)


class LogPin(_Range, frozen=True, kw_only=True):
    """The log: its origin, and the key that signs its checkpoints, valid for entries of the range."""

    origin: OneLine
    vkey: OneLine


class CoordinatorPin(_Range, frozen=True, kw_only=True):
    """A coordinator's key, valid for entries of the range."""

    key: PublicKeyHex


class CredentialPin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The certificate (PEM) under which content credentials are trusted."""

    root: Certificate


class AnchorPin(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Whose commits count on a chain; ``asset_cid`` with ``block_hash`` says that this block holds that checkpoint."""

    chain: ChainName
    contract: EvmAddress
    recorder: EvmAddress
    asset_cid: OneLine | None = None
    block_hash: DigestHex | None = None

    def __post_init__(self) -> None:
        """Refuse a block without its checkpoint, and a checkpoint without its block."""
        if (self.asset_cid is None) is not (self.block_hash is None):
            message = "asset_cid and block_hash are pinned together or not at all"
            raise ValueError(message)


class Trust(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that an audit takes on faith."""

    version: Annotated[int, msgspec.Meta(ge=1, le=1)]
    chain_id: ChainId
    log: LogPin
    coordinators: Annotated[tuple[CoordinatorPin, ...], msgspec.Meta(min_length=1, max_length=256)] = msgspec.field(
        name="coordinator"
    )
    c2pa: CredentialPin | None = None
    anchors: Annotated[tuple[AnchorPin, ...], msgspec.Meta(max_length=256)] = msgspec.field(name="anchor", default=())

    def pins(self, key: str) -> tuple[CoordinatorPin, ...]:
        """Return the pins of a coordinator's key, given in hex."""
        return tuple(pin for pin in self.coordinators if pin.key == key)

    def anchors_on(self, chain: str) -> tuple[AnchorPin, ...]:
        """Return what is pinned of a chain."""
        return tuple(pin for pin in self.anchors if pin.chain == chain)


def parse(data: bytes) -> Trust:
    """Read a trust file.

    Raises:
        MalformedError: it is no TOML of this form, has an unknown key, or pins what is no key.
    """
    if len(data) > TRUST_BYTES_MAX:
        raise TooLargeError(_WHAT, f"{len(data)} bytes, the limit is {TRUST_BYTES_MAX}")
    try:
        trust = msgspec.convert(tomllib.loads(data.decode("utf-8")), Trust)
    except RecursionError as error:
        raise MalformedError(_WHAT, "it is nested too deeply") from error
    except (ValueError, msgspec.ValidationError) as error:
        raise MalformedError(_WHAT, str(error)) from error
    _check_keys(trust)
    return trust


def spell(trust: Trust) -> bytes:
    """Return the file of a trust, readable for people; ``parse`` gives the same trust again."""
    lines = [f"version = {trust.version}", f"chain_id = {_quoted(trust.chain_id)}", "", "[log]"]
    lines += [f"origin = {_quoted(trust.log.origin)}", f"vkey = {_quoted(trust.log.vkey)}", *_ends(trust.log)]
    for pin in trust.coordinators:
        lines += ["", "[[coordinator]]", f"key = {_quoted(pin.key)}", *_ends(pin)]
    if trust.c2pa is not None:
        lines += ["", "[c2pa]", f"root = '''\n{trust.c2pa.root}'''"]
    for anchor in trust.anchors:
        named = {name: value for name, value in msgspec.structs.asdict(anchor).items() if value is not None}
        lines += ["", "[[anchor]]", *(f"{name} = {_quoted(value)}" for name, value in named.items())]
    return ("\n".join(lines) + "\n").encode()


def _check_keys(trust: Trust) -> None:
    if NoteVerifier.parse(trust.log.vkey).algorithm != ED25519:
        raise MalformedError(_WHAT, "log.vkey is a witness's key; a log signs with a plain Ed25519 key")
    for pin in trust.coordinators:
        try:
            parse_public(bytes.fromhex(pin.key))
        except SignatureError as error:
            raise MalformedError(_WHAT, f"coordinator key {pin.key} is no point of secp256k1") from error


def _ends(pin: _Range) -> list[str]:
    return [f"first = {pin.first}"] + ([] if pin.last is None else [f"last = {pin.last}"])


def _quoted(text: str) -> str:
    """Spell a basic string of TOML 1.0; without control characters, JSON spells the same."""
    return msgspec.json.encode(text).decode()
