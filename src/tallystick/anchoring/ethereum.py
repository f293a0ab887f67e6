"""Signed Ethereum transactions as bytes: what a chain takes, and who signed it.

Knows the two kinds that carry a contract call: legacy with a chain id (EIP-155) and dynamic fee (EIP-1559, type 2),
both without access list. Refuses to know nonces, prices and what a call means. The tests hold it to eth-account.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tallystick.errors import MalformedError, SignatureError
from tallystick.primitives import rlp
from tallystick.primitives.keys import (
    SIGNATURE_SIZE,
    SigningKey,
    checksum_evm_address,
    evm_address_of,
    keccak256,
    recover,
)

ADDRESS_SIZE: Final = 20
TRANSACTION_BYTES_MAX: Final = 128 * 1024
"""What nodes take at most (go-ethereum, ``txMaxSize``)."""

_WHAT: Final = "Ethereum transaction"
_DYNAMIC: Final = b"\x02"
_DYNAMIC_FIELDS: Final = 12
_LEGACY_FIELDS: Final = 9
_TYPED_MAX: Final = 0x7F
_V_BASE: Final = 35
_NONCE_BYTES: Final = 8
_WORD: Final = 32


@dataclass(frozen=True, slots=True)
class Transaction:
    """One transaction without its signature; amounts in the chain's wei.

    ``tip`` is the most paid to the block's maker for one unit of gas (EIP-1559), None makes it a legacy one, whose
    ``fee`` is the whole price; ``to`` has 20 bytes, none when ``data`` creates a contract.
    """

    chain_id: int
    nonce: int
    fee: int
    tip: int | None
    gas: int
    to: bytes
    data: bytes
    value: int = 0

    def sign(self, key: SigningKey) -> bytes:
        """The raw transaction; the same key and fields give the same bytes."""
        signature = key.sign_recoverable(keccak256(self._signed_bytes()))
        parity = signature[SIGNATURE_SIZE]
        mark = parity if self.tip is not None else 2 * self.chain_id + _V_BASE + parity
        r, s = signature[:_WORD].lstrip(b"\0"), signature[_WORD:SIGNATURE_SIZE].lstrip(b"\0")
        raw = rlp.encode([*self._fields(), rlp.integer(mark), r, s])
        return raw if self.tip is None else _DYNAMIC + raw

    def sender(self, signature: bytes) -> str:
        """The EIP-55 address whose key made a signature (r | s | parity). Raises ``SignatureError`` as ``recover``."""
        return evm_address_of(recover(keccak256(self._signed_bytes()), signature))

    def _signed_bytes(self) -> bytes:
        if self.tip is None:
            return rlp.encode([*self._fields(), rlp.integer(self.chain_id), b"", b""])
        return _DYNAMIC + rlp.encode(self._fields())

    def _fields(self) -> list[rlp.Item]:
        number = rlp.integer
        tail: list[rlp.Item] = [number(self.gas), self.to, number(self.value), self.data]
        if self.tip is None:
            return [number(self.nonce), number(self.fee), *tail]
        return [number(self.chain_id), number(self.nonce), number(self.tip), number(self.fee), *tail, []]


def read_transaction(raw: bytes) -> tuple[Transaction, str]:
    """Read a raw transaction: its fields and the EIP-55 address of its signer.

    Raises:
        MalformedError: It is none of the two kinds, carries an access list or no chain id, is too large, or is not the
            one spelling of its fields.
        SignatureError: No key gives this signature, or it has a high s, which chains refuse (EIP-2).
    """
    if not 0 < len(raw) <= TRANSACTION_BYTES_MAX:
        raise MalformedError(_WHAT, f"{len(raw)} bytes, 1 to {TRANSACTION_BYTES_MAX} are allowed")
    transaction, signature = _dynamic(raw[1:]) if raw[:1] == _DYNAMIC else _legacy(raw)
    if len(transaction.to) not in {0, ADDRESS_SIZE}:
        raise MalformedError(_WHAT, f"its receiver has {len(transaction.to)} bytes")
    return transaction, transaction.sender(signature)


def transaction_hash(raw: bytes) -> bytes:
    """The hash by which a chain knows a raw transaction, 32 bytes."""
    return keccak256(raw)


def contract_address(creator: str, nonce: int) -> str:
    """EIP-55 address of the contract that a creating transaction makes (yellow paper, section 7)."""
    return checksum_evm_address(keccak256(rlp.encode([address_bytes(creator), rlp.integer(nonce)]))[-ADDRESS_SIZE:])


def address_bytes(text: str) -> bytes:
    """The 20 bytes of an EIP-55 address.

    Raises:
        MalformedError: It is not ``0x`` and 40 hex digits, or its letters' case is not that of the checksum.
    """
    try:
        data = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        data = b""
    if len(data) != ADDRESS_SIZE or checksum_evm_address(data) != text:
        raise MalformedError("EVM address", f"{text[:80]!r} is not 0x and 40 hex digits with the case of EIP-55")
    return data


def _dynamic(body: bytes) -> tuple[Transaction, bytes]:
    match _items(body, _DYNAMIC_FIELDS):
        case [chain_id, nonce, tip, fee, gas, bytes(to), value, bytes(data), [], parity, r, s]:
            number = rlp.read_integer
            transaction = Transaction(
                chain_id=number(chain_id),
                nonce=number(nonce, _NONCE_BYTES),
                fee=number(fee),
                tip=number(tip),
                gas=number(gas, _NONCE_BYTES),
                to=to,
                data=data,
                value=number(value),
            )
            return transaction, _signature(r, s, number(parity))
    raise MalformedError(_WHAT, "a field has the wrong form, or there is an access list")


def _legacy(raw: bytes) -> tuple[Transaction, bytes]:
    if raw[0] <= _TYPED_MAX:
        raise MalformedError(_WHAT, f"type {raw[0]} is not taken, only legacy and type 2")
    match _items(raw, _LEGACY_FIELDS):
        case [nonce, fee, gas, bytes(to), value, bytes(data), mark, r, s]:
            number = rlp.read_integer
            chain_id, parity = divmod(number(mark) - _V_BASE, 2)
            if chain_id < 0:
                raise MalformedError(_WHAT, "it names no chain (EIP-155), so it could be sent to any")
            transaction = Transaction(
                chain_id=chain_id,
                nonce=number(nonce, _NONCE_BYTES),
                fee=number(fee),
                tip=None,
                gas=number(gas, _NONCE_BYTES),
                to=to,
                data=data,
                value=number(value),
            )
            return transaction, _signature(r, s, parity)
    raise MalformedError(_WHAT, "a field has the wrong form")


def _items(body: bytes, count: int) -> list[rlp.Read]:
    items = rlp.decode(body)
    if not isinstance(items, list) or len(items) != count:
        raise MalformedError(_WHAT, f"it is not a list of {count} fields")
    return items


def _signature(r: rlp.Read, s: rlp.Read, parity: int) -> bytes:
    if parity > 1:
        raise SignatureError("parity of the signature", expected="0 or 1", actual=parity)
    return b"".join(rlp.read_integer(part).to_bytes(_WORD, "big") for part in (r, s)) + bytes((parity,))
