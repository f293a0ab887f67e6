r"""A transaction: the signed entry of the log, its one byte spelling, its names (docs/spec/entry.md).

``signature`` covers SHA-256 of ``tallystick/tx/v1\n`` and the canonical bytes without it. The entry's SHA-256 is both
its txHash (0x, hex) and its NID (raw CID).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, cast

import msgspec

from tallystick.errors import MalformedError, NotCanonicalError, TooLargeError
from tallystick.ledger.payloads import PAYLOAD_TYPES, TYPE_NAMES, Payload
from tallystick.primitives.canonical import Count, PublicKeyHex, SignatureHex, encode
from tallystick.primitives.cids import raw_cid
from tallystick.primitives.digests import Tag, sha256, tagged
from tallystick.primitives.keys import SigningKey, address_of, check_signature

ENTRY_BYTES_MAX: Final = 65_535


class _Unsigned(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    chain_id: str
    gas_price: Count
    nonce: Count
    payload: msgspec.Raw
    sender: PublicKeyHex
    type: str


class _Signed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    chain_id: str
    gas_price: Count
    nonce: Count
    payload: msgspec.Raw
    sender: PublicKeyHex
    signature: SignatureHex
    type: str


@dataclass(frozen=True, slots=True)
class Draft:
    """What somebody wants to say, before it is numbered and signed."""

    key: SigningKey
    payload: Payload
    gas_price: int = 0


@dataclass(frozen=True, slots=True)
class Transaction:
    """A decoded entry with its exact bytes; ``digest`` is their SHA-256."""

    chain_id: str
    sender: bytes
    nonce: int
    gas_price: int
    payload: Payload
    signature: bytes
    entry: bytes
    digest: bytes

    @property
    def type(self) -> str:
        """The type's name as it stands in the entry."""
        return TYPE_NAMES[type(self.payload)]

    @property
    def tx_hash(self) -> str:
        """``0x`` and the SHA-256 of the entry."""
        return "0x" + self.digest.hex()

    @property
    def nid(self) -> str:
        """CIDv1 (raw, sha2-256) of the entry."""
        return raw_cid(self.digest)

    @property
    def address(self) -> str:
        """The sender's ``cpc1…`` address."""
        return address_of(self.sender)


def sign(draft: Draft, chain_id: str, nonce: int) -> Transaction:
    """Number, sign and spell a draft.

    Raises:
        TooLargeError: the entry would exceed 65,535 bytes.
    """
    payload = encode(draft.payload)
    sender, kind = draft.key.public.hex(), TYPE_NAMES[type(draft.payload)]
    unsigned = _Unsigned(chain_id, draft.gas_price, nonce, msgspec.Raw(payload), sender, kind)
    signature = draft.key.sign(tagged(Tag.TX, encode(unsigned)))
    entry = encode(
        _Signed(chain_id, draft.gas_price, nonce, msgspec.Raw(payload), sender, signature.hex(), kind),
    )
    if len(entry) > ENTRY_BYTES_MAX:
        what = f"entry of type {kind}"
        raise TooLargeError(what, f"{len(entry)} bytes, at most {ENTRY_BYTES_MAX} fit into the log")
    return Transaction(
        chain_id, draft.key.public, nonce, draft.gas_price, draft.payload, signature, entry, sha256(entry)
    )


def decode(entry: bytes) -> Transaction:
    """Read one entry strictly: typed, canonical, bounded. The signature is not checked here.

    Raises:
        MalformedError: it does not parse, names an unknown type, or is not the canonical spelling.
    """
    if len(entry) > ENTRY_BYTES_MAX:
        what = "entry"
        raise TooLargeError(what, f"{len(entry)} bytes, at most {ENTRY_BYTES_MAX}")
    try:
        signed = _DECODER.decode(entry)
        kind = PAYLOAD_TYPES.get(signed.type)
        if kind is None:
            what = "entry"
            raise MalformedError(what, f"unknown type {signed.type!r}")
        payload = cast("Payload", _PAYLOAD_DECODERS[kind].decode(signed.payload))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        what = "entry"
        raise MalformedError(what, str(error)) from error
    respelled = msgspec.structs.replace(signed, payload=msgspec.Raw(encode(payload)))
    if encode(respelled) != entry:
        what = "entry"
        raise NotCanonicalError(what, "it is not the canonical spelling of its value")
    return Transaction(
        signed.chain_id,
        bytes.fromhex(signed.sender),
        signed.nonce,
        signed.gas_price,
        payload,
        bytes.fromhex(signed.signature),
        entry,
        sha256(entry),
    )


def check_signed(transaction: Transaction) -> None:
    """Check the entry's signature.

    Raises:
        SignatureError: it is not the sender's over these bytes.
    """
    unsigned = _Unsigned(
        transaction.chain_id,
        transaction.gas_price,
        transaction.nonce,
        msgspec.Raw(encode(transaction.payload)),
        transaction.sender.hex(),
        transaction.type,
    )
    check_signature(transaction.sender, tagged(Tag.TX, encode(unsigned)), transaction.signature)


_DECODER: Final = msgspec.json.Decoder(_Signed)
_PAYLOAD_DECODERS: Final = {kind: msgspec.json.Decoder(kind) for kind in PAYLOAD_TYPES.values()}
