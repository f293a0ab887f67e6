"""C2SP signed notes and checkpoints: text with Ed25519 signatures that name their key.

Knows https://c2sp.org/signed-note, tlog-checkpoint and the timestamped cosignatures of tlog-cosignature (Ed25519).
Refuses to know whether a checkpoint extends another; that is merkle's question. Signature types other than 0x01 and
0x04 are foreign here and ignored, as the specification demands of unknown keys.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from tallystick.errors import MalformedError, NotCanonicalError, NoteError
from tallystick.primitives.canonical import INTEGER_MAX, format_base64, parse_base64
from tallystick.primitives.digests import sha256, u64

ED25519: Final = 0x01
COSIGNATURE: Final = 0x04
SIGNATURES_MAX: Final = 100
NOTE_CHARACTERS_MAX: Final = 1 << 20

_KEY_SIZE: Final = 32
_KEY_ID_SIZE: Final = 4
_TIME_SIZE: Final = 8
_DASH: Final = "\u2014 "
_NAME: Final = re.compile(r"[^\s+]+")
_VKEY: Final = re.compile(r"([^\s+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]+=*)")
_CONTROL: Final = re.compile(r"[\x00-\x09\x0b-\x1f]")
_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,15}")


@dataclass(frozen=True, slots=True)
class NoteVerifier:
    """The public half of a note key."""

    name: str
    key_id: bytes
    """4 bytes, SHA256(name | newline | algorithm | key)[:4]."""
    public: bytes
    """Ed25519 public key, 32 bytes."""
    algorithm: int = ED25519

    @classmethod
    def parse(cls, vkey: str) -> NoteVerifier:
        """Read ``name+keyid+base64(algorithm | key)``.

        Raises ``MalformedError`` for another form, an algorithm other than Ed25519 (0x01) and Ed25519 cosignature
        (0x04), or a key id that does not belong to the key.
        """
        match = _VKEY.fullmatch(vkey)
        if match is None or not _is_name(match.group(1)):
            raise MalformedError("verifier key", f"{vkey[:120]!r} is not name+keyid+base64")
        name, key_id, material = match.group(1), match.group(2), parse_base64(match.group(3), "verifier key")
        if len(material) != 1 + _KEY_SIZE or material[0] not in {ED25519, COSIGNATURE}:
            raise MalformedError("verifier key", f"{vkey[:120]!r} is not an Ed25519 note or cosignature key")
        if bytes.fromhex(key_id) != _key_id(name, material):
            raise MalformedError("verifier key", f"the key id of {vkey[:120]!r} does not belong to its key")
        return cls(name, bytes.fromhex(key_id), material[1:], material[0])

    @property
    def vkey(self) -> str:
        """The text that ``parse`` reads."""
        return f"{self.name}+{self.key_id.hex()}+{format_base64(bytes((self.algorithm,)) + self.public)}"

    def check(self, text: str, signature: bytes) -> int | None:
        """Check the bytes behind the key id; return the cosignature's Unix seconds, None for a plain signature.

        Raises ``NoteError`` when they are no signature of the text by this key.
        """
        seconds, message = None, text
        if self.algorithm == COSIGNATURE:
            seconds = int.from_bytes(signature[:_TIME_SIZE], "big")
            message, signature = _cosigned(text, seconds), signature[_TIME_SIZE:]
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message.encode("utf-8"))
        except InvalidSignature as error:
            raise NoteError("signature of a note", expected=f"a signature by {self.name}", actual="another") from error
        return seconds


class _NamedKey:
    """An Ed25519 secret with a name: what both kinds of signer share."""

    __slots__ = ("_secret", "name", "verifier")

    _algorithm: ClassVar[int]

    def __init__(self, name: str, seed: bytes) -> None:
        """Take the name and a 32-byte seed. Raises ``MalformedError`` for a name with spaces or ``+``."""
        if not _is_name(name):
            raise MalformedError("name of a note key", f"{name!r} must be text without spaces, controls and '+'")
        if len(seed) != _KEY_SIZE:
            raise MalformedError("seed of a note key", "it must have 32 bytes")
        self._secret = Ed25519PrivateKey.from_private_bytes(seed)
        public = self._secret.public_key().public_bytes_raw()
        material = bytes((self._algorithm,)) + public
        self.name = name
        self.verifier = NoteVerifier(name, _key_id(name, material), public, self._algorithm)

    @property
    def vkey(self) -> str:
        """The verifier key that readers pin."""
        return self.verifier.vkey

    def _line(self, signature: bytes) -> str:
        return f"{_DASH}{self.name} {format_base64(self.verifier.key_id + signature)}\n"

    def __repr__(self) -> str:
        """Show the verifier key, never the secret."""
        return f"{type(self).__name__}({self.vkey})"


class NoteSigner(_NamedKey):
    """An Ed25519 key with a name, which signs notes: a log's key (signature type 0x01)."""

    __slots__ = ()
    _algorithm = ED25519

    def sign(self, text: str) -> str:
        """Return the signed note: text, empty line, signature line. ``text`` ends in a newline.

        Raises ``MalformedError`` for text that no note can carry.
        """
        _check_text(text)
        return f"{text}\n{self._line(self._secret.sign(text.encode('utf-8')))}"


class WitnessSigner(_NamedKey):
    """An Ed25519 key with a name, which cosigns checkpoints and states when (C2SP tlog-cosignature, 0x04).

    The signed message does not contain the name: never give two witnesses one key.
    """

    __slots__ = ()
    _algorithm = COSIGNATURE

    def cosign(self, note: str, seconds: int) -> str:
        """Return the note with one more line, the cosignature of its text at ``seconds`` (Unix time).

        Raises ``MalformedError`` for what is no signed note.
        """
        text, _ = split_note(note)
        signature = self._secret.sign(_cosigned(text, seconds).encode("utf-8"))
        return note + self._line(u64(seconds) + signature)


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """One signature line, parsed and not verified."""

    name: str
    key_id: bytes
    signature: bytes


def split_note(note: str) -> tuple[str, tuple[NoteSignature, ...]]:
    """Separate a note at its last empty line into text and signature lines, verifying nothing.

    Raises ``MalformedError`` for what is no signed note: control characters, no empty line, text without its final
    newline, no or more than 100 signature lines, a line that is not ``- name base64`` (with an em dash) of at least
    five bytes; ``NotCanonicalError`` for base64 with a second spelling.
    """
    if len(note) > NOTE_CHARACTERS_MAX:
        raise MalformedError("signed note", f"{len(note)} characters, the limit is {NOTE_CHARACTERS_MAX}")
    at = note.rfind("\n\n")
    if at < 0 or not note.endswith("\n"):
        raise MalformedError("signed note", "it is not text, an empty line and signature lines that end in a newline")
    _check_text(note)
    text, lines = note[: at + 1], note[at + 2 :].split("\n")[:-1]
    if not 1 <= len(lines) <= SIGNATURES_MAX:
        raise MalformedError("signed note", f"{len(lines)} signature lines, between 1 and {SIGNATURES_MAX} are allowed")
    return text, tuple(_parse_line(line) for line in lines)


def open_note(note: str, verifiers: Iterable[NoteVerifier]) -> tuple[str, tuple[str, ...]]:
    """Verify a note and return its text with the names of the known keys that signed it, in order, without repeats.

    Signatures by unknown keys are ignored. Raises ``MalformedError`` for what is no signed note, ``NoteError`` when a
    known key's signature does not verify, or when no known key signed.
    """
    text, times = open_cosigned(note, verifiers)
    return text, tuple(times)


def open_cosigned(note: str, verifiers: Iterable[NoteVerifier]) -> tuple[str, dict[str, int | None]]:
    """Verify a note like ``open_note``; the names come with a cosignature's Unix seconds, None for a plain one.

    Two known keys of one name count once: a quorum counts names.
    """
    text, signatures = split_note(note)
    known = {(verifier.name, verifier.key_id): verifier for verifier in verifiers}
    checked: set[tuple[str, bytes]] = set()
    times: dict[str, int | None] = {}
    for line in signatures:
        verifier = known.get((line.name, line.key_id))
        if verifier is None or (line.name, line.key_id) in checked:
            continue
        checked.add((line.name, line.key_id))
        seconds = verifier.check(text, line.signature)
        times[line.name] = times.get(line.name) if seconds is None else seconds
    if not times:
        found = ", ".join(sorted({line.name for line in signatures}))
        names = ", ".join(sorted(name for name, _ in known)) or "no key at all"
        raise NoteError("signer of the note", expected=names, actual=found)
    return text, times


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The head of a log: origin, number of leaves, root (32 bytes) and opaque extension lines."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a head that has no checkpoint text (``MalformedError``)."""
        if any(not line or "\n" in line for line in (self.origin, *self.extensions)):
            raise MalformedError("checkpoint", "the origin and every extension line must be one non-empty line")
        if not 0 <= self.size <= INTEGER_MAX or len(self.root) != _KEY_SIZE:
            raise MalformedError("checkpoint", "its size must lie within 0 .. 2^53 - 1 and its root have 32 bytes")

    def text(self) -> str:
        """The note text: origin, decimal size, base64 root, extension lines, each ending in a newline."""
        lines = (self.origin, str(self.size), format_base64(self.root), *self.extensions)
        return "".join(f"{line}\n" for line in lines)

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """Read a note text. Raises ``MalformedError`` (``NotCanonicalError`` for malleable base64)."""
        _check_text(text)
        lines = text.split("\n")[:-1]
        if len(lines) < 3:  # noqa: PLR2004 - origin, size, root
            raise MalformedError("checkpoint", f"{len(lines)} lines; it needs origin, size and root")
        origin, size, root, *extensions = lines
        if _SIZE.fullmatch(size) is None:
            raise MalformedError("checkpoint", f"the size {size[:40]!r} is not a canonical decimal number")
        return cls(origin, int(size), parse_base64(root, "root of a checkpoint"), tuple(extensions))


def _parse_line(line: str) -> NoteSignature:
    parts = line.removeprefix(_DASH).split(" ")
    if not line.startswith(_DASH) or len(parts) != 2 or not _is_name(parts[0]):  # noqa: PLR2004 - name and base64
        raise MalformedError("signature line of a note", f"{line[:120]!r} is not an em dash, a name and base64")
    blob = parse_base64(parts[1], "signature line of a note")
    if len(blob) <= _KEY_ID_SIZE:
        raise MalformedError("signature line of a note", f"{line[:120]!r} holds no signature behind its key id")
    return NoteSignature(parts[0], blob[:_KEY_ID_SIZE], blob[_KEY_ID_SIZE:])


def _is_name(name: str) -> bool:
    return _NAME.fullmatch(name) is not None


def _check_text(text: str) -> None:
    if not text.endswith("\n"):
        raise MalformedError("note", "it must end in a newline")
    if _CONTROL.search(text) is not None:
        raise MalformedError("note", "it must not contain control characters other than newline")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise NotCanonicalError("note", "it has no UTF-8 form") from error


def _cosigned(text: str, seconds: int) -> str:
    return f"cosignature/v1\ntime {seconds}\n{text}"


def _key_id(name: str, material: bytes) -> bytes:
    return sha256(name.encode("utf-8"), b"\n", material)[:_KEY_ID_SIZE]
