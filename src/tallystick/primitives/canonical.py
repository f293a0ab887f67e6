"""Canonical JSON: one value, one spelling, and decoders that refuse every other.

Knows the RFC 8785 subset of docs/spec/canonical-json.md (ASCII keys in order, strings, integers within 2^53 - 1,
booleans, null, no floats), the strict base64 of the text formats and the field types of the wire.
Refuses to know what the values mean.
"""

from __future__ import annotations

import base64
import binascii
from functools import lru_cache
from types import UnionType
from typing import Annotated, Any, Final, TypeVar, overload

import msgspec
from msgspec import Meta, inspect

from tallystick.errors import MalformedError, NotCanonicalError, TooLargeError

BYTES_MAX: Final = 65_535
"""Default bound of one document: the largest entry that a C2SP entry bundle can carry."""

INTEGER_MAX: Final = 2**53 - 1
"""Largest integer that every JSON reader holds exactly; larger ones travel as strings."""

# "(?![\s\S])" is the end of the text and nothing else: "$" would let a trailing newline through.
DigestHex = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}(?![\s\S])")]
"""A 32-byte digest: 64 lowercase hex digits."""
PublicKeyHex = Annotated[str, Meta(pattern=r"^0[23][0-9a-f]{64}(?![\s\S])")]
"""A compressed secp256k1 key: 66 lowercase hex digits that begin with 02 or 03 (the point itself is checked later)."""
SignatureHex = Annotated[str, Meta(pattern=r"^[0-9a-f]{128}(?![\s\S])")]
"""A compact signature r | s: 128 lowercase hex digits."""
SaltHex = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}(?![\s\S])")]
"""A 16-byte salt: 32 lowercase hex digits."""
AddressText = Annotated[str, Meta(pattern=r"^cpc1[02-9ac-hj-np-z]{38}(?![\s\S])")]
"""An account address (the checksum is verified by ``keys.parse_address``)."""
Count = Annotated[int, Meta(ge=0, le=INTEGER_MAX)]
"""A count, size, height or time in milliseconds: 0 .. 2^53 - 1."""
Integer = Annotated[int, Meta(ge=-INTEGER_MAX, le=INTEGER_MAX)]
"""A signed integer within +-(2^53 - 1)."""
RatePpm = Annotated[int, Meta(ge=0, le=1_000_000)]
"""A rate in parts per million, 0 .. 1,000,000."""

T = TypeVar("T")

_ENCODER: Final = msgspec.json.Encoder(order="sorted")
_LOOSE: Final = msgspec.json.Decoder()


def encode(value: object) -> bytes:
    """Canonical bytes of a value made of structs, dicts with ASCII keys, lists, strings, integers, booleans and None.

    The caller's types keep floats, other keys and integers beyond +-(2^53 - 1) out; ``decode`` refuses them.
    Raises ``NotCanonicalError`` for text that has no UTF-8 form (a lone surrogate).
    """
    try:
        return _ENCODER.encode(value)
    except UnicodeEncodeError as error:
        raise NotCanonicalError("value", f"it holds text that has no UTF-8 form: {error.reason}") from error


@overload
def decode(data: bytes, type_: type[T], *, what: str, bytes_max: int = BYTES_MAX) -> T: ...


@overload
def decode(data: bytes, type_: UnionType, *, what: str, bytes_max: int = BYTES_MAX) -> Any: ...  # noqa: ANN401 - one of the union


def decode(data: bytes, type_: Any, *, what: str, bytes_max: int = BYTES_MAX) -> Any:
    """Read canonical bytes into ``type_``; whatever ``encode`` would spell otherwise is refused.

    ``what`` names the document in the error. Raises ``TooLargeError`` above ``bytes_max`` bytes, ``MalformedError``
    for what is no JSON of this type (also when nested too deeply), ``NotCanonicalError`` for another spelling:
    duplicate keys, key order, white space, escapes, floats, keys outside ASCII, integers beyond +-(2^53 - 1).
    """
    if len(data) > bytes_max:
        raise TooLargeError(what, f"{len(data)} bytes, the limit is {bytes_max}")
    decoder, closed = _decoder(type_)
    try:
        value = decoder.decode(data)
        spelling = _ENCODER.encode(value)
        if spelling != data:
            raise NotCanonicalError(what, _first_difference(data, spelling))
        if not closed or not data.isascii():
            _check_subset(data, what)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise MalformedError(what, str(error)) from error
    except RecursionError as error:
        raise MalformedError(what, "it is nested too deeply") from error
    return value


def parse_base64(text: str, what: str) -> bytes:
    """Read standard base64 with padding; any spelling that does not re-encode to itself is refused.

    Raises ``MalformedError`` for what is no base64, ``NotCanonicalError`` for a second spelling of the same bytes.
    """
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedError(what, f"{text[:80]!r} is not base64") from error
    if base64.b64encode(data).decode("ascii") != text:
        raise NotCanonicalError(what, f"{text[:80]!r} is not the canonical base64 of its bytes")
    return data


def format_base64(data: bytes) -> str:
    """Standard base64 with padding."""
    return base64.b64encode(data).decode("ascii")


@lru_cache(maxsize=512)
def _decoder(type_: Any) -> tuple[msgspec.json.Decoder[Any], bool]:  # noqa: ANN401 - any type that msgspec can read
    return msgspec.json.Decoder(type_), _is_closed(type_)


def _is_closed(type_: object) -> bool:
    """True when the type alone keeps floats and large integers out, so that no second walk is needed."""
    pending: list[inspect.Type] = [inspect.type_info(type_)]
    seen: set[object] = set()
    while pending:
        info = pending.pop()
        if isinstance(info, inspect.StructType):
            if info.cls not in seen:
                seen.add(info.cls)
                pending += [field.type for field in info.fields]
        elif isinstance(info, inspect.IntType):
            if info.ge is None or info.le is None or info.ge < -INTEGER_MAX or info.le > INTEGER_MAX:
                return False
        elif not isinstance(info, _LEAVES):
            children = _children(info)
            if children is None:
                return False
            pending += children
    return True


_LEAVES: Final = (
    inspect.StrType,
    inspect.BoolType,
    inspect.NoneType,
    inspect.LiteralType,
    inspect.EnumType,
    inspect.BytesType,
)


def _children(info: inspect.Type) -> list[inspect.Type] | None:
    """The types inside a composite one; None for a type that could hold anything."""
    if isinstance(info, inspect.Metadata):
        return [info.type]
    if isinstance(info, inspect.UnionType):
        return list(info.types)
    if isinstance(info, inspect.ListType | inspect.VarTupleType):
        return [info.item_type]
    if isinstance(info, inspect.TupleType):
        return list(info.item_types)
    if isinstance(info, inspect.DictType):
        return [info.key_type, info.value_type]
    return None


def _check_subset(data: bytes, what: str) -> None:
    """Refuse floats, large integers, keys outside ASCII, and other spellings where the type left bytes as found."""
    value = _LOOSE.decode(data)
    spelling = _ENCODER.encode(value)
    if spelling != data:
        raise NotCanonicalError(what, _first_difference(data, spelling))
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            for key in item:
                if not key.isascii():
                    raise NotCanonicalError(what, f"the key {key!r} is not ASCII")
            pending += item.values()
        elif isinstance(item, list):
            pending += item
        elif isinstance(item, float):
            raise NotCanonicalError(what, f"{item!r} is not an integer; write it as a string")
        elif isinstance(item, int) and abs(item) > INTEGER_MAX:
            raise NotCanonicalError(what, f"{item} lies beyond 2^53 - 1; write it as a string")


def _first_difference(actual: bytes, expected: bytes) -> str:
    shorter = min(len(actual), len(expected))
    at = next((i for i in range(shorter) if actual[i] != expected[i]), shorter)
    return f"byte {at} is {actual[at : at + 12]!r} where the canonical form has {expected[at : at + 12]!r}"
