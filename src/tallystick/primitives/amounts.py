"""Money as integer wei and its two spellings: wei for machines, CPC for people.

Knows the decimal spellings and their bounds. Refuses to know floats, signs, exponents and what an amount is for.
"""

from __future__ import annotations

import re
from typing import Annotated, Final, NewType

from msgspec import Meta

from tallystick.errors import MalformedError

Wei = NewType("Wei", int)
"""An amount in wei, 0 .. 2^256 - 1."""

WEI_PER_CPC: Final = 10**18
WEI_MAX: Final = 2**256 - 1
_WEI_DIGITS_MAX: Final = 78
_CPC_DECIMALS: Final = 18

# "(?![\s\S])" is the end of the text and nothing else: "$" would let a trailing newline through.
WeiText = Annotated[str, Meta(pattern=r"^(0|[1-9][0-9]{0,77})(?![\s\S])", max_length=_WEI_DIGITS_MAX)]
"""An amount on the wire: canonical decimal wei, at most 78 digits. ``parse_wei`` also applies the bound 2^256 - 1."""

_WEI: Final = re.compile(r"0|[1-9][0-9]{0,77}")
_CPC: Final = re.compile(r"(0|[1-9][0-9]{0,59})(?:\.([0-9]{1,18}))?")


def parse_wei(text: str) -> Wei:
    """Read a canonical decimal amount of wei (no sign, no leading zero, below 2^256).

    Raises ``MalformedError`` for any other spelling.
    """
    if _WEI.fullmatch(text) is None:
        raise MalformedError("amount in wei", f"{text[:90]!r} is not a canonical decimal integer of at most 78 digits")
    return _bounded(int(text), "amount in wei")


def format_wei(amount: Wei) -> str:
    """Spell an amount as canonical decimal wei. Raises ``MalformedError`` outside 0 .. 2^256 - 1."""
    return str(_bounded(amount, "amount in wei"))


def parse_cpc(text: str) -> Wei:
    """Read an amount that a person wrote in CPC, such as ``1.5``: digits, at most 18 decimals, no sign, no exponent.

    Raises ``MalformedError`` for any other spelling.
    """
    match = _CPC.fullmatch(text)
    if match is None:
        raise MalformedError("amount in CPC", f"{text[:90]!r} is not a number such as 1.5 with at most 18 decimals")
    whole, decimals = match.group(1), match.group(2) or ""
    return _bounded(int(whole) * WEI_PER_CPC + int(decimals.ljust(_CPC_DECIMALS, "0")), "amount in CPC")


def format_cpc(amount: Wei) -> str:
    """Spell an amount in CPC without trailing zeros: ``1.5``, ``0``. Raises ``MalformedError`` outside the range."""
    whole, rest = divmod(_bounded(amount, "amount in wei"), WEI_PER_CPC)
    decimals = f"{rest:018d}".rstrip("0")
    return f"{whole}.{decimals}" if decimals else str(whole)


def _bounded(amount: int, what: str) -> Wei:
    if not 0 <= amount <= WEI_MAX:
        raise MalformedError(what, "it must lie between 0 and 2^256 - 1 wei")
    return Wei(amount)
