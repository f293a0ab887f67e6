"""One offline inclusion file, https://c2sp.org/tlog-proof: index, Merkle path and the signed checkpoint, as text.

Knows the format ``c2sp.org/tlog-proof@v1`` and what makes such a file hold. Refuses to know which keys to trust: log
keys, witnesses and quorum are arguments. Extra data is carried and never believed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tallystick.errors import MalformedError, NoteError, TooLargeError, UsageError
from tallystick.primitives.canonical import INTEGER_MAX, format_base64, parse_base64
from tallystick.primitives.merkle import HASH_SIZE, check_inclusion
from tallystick.primitives.notes import Checkpoint, NoteVerifier, open_cosigned, split_note
from tallystick.receipts.proofs import LogTree

MAGIC: Final = "c2sp.org/tlog-proof@v1"
HASHES_MAX: Final = 63
CHARACTERS_MAX: Final = 1 << 20
_INDEX: Final = re.compile(r"index (0|[1-9][0-9]{0,15})")
_EXTRA: Final = "extra "


@dataclass(frozen=True, slots=True)
class TlogProof:
    """A parsed proof: nothing of it is verified yet."""

    index: int
    hashes: tuple[bytes, ...]
    """The leaf's sibling first, 32 bytes each."""
    checkpoint: str
    """The signed note, verbatim, with its cosignatures."""
    extra: bytes = b""
    """Opaque and NOT authenticated."""

    def encode(self) -> str:
        """The text of the file."""
        extra = f"{_EXTRA}{format_base64(self.extra)}\n" if self.extra else ""
        hashes = "".join(f"{format_base64(value)}\n" for value in self.hashes)
        return f"{MAGIC}\n{extra}index {self.index}\n{hashes}\n{self.checkpoint}"

    @classmethod
    def parse(cls, text: str) -> TlogProof:
        """Read a file. Raises ``MalformedError`` for every text that ``encode`` would not write."""
        if len(text) > CHARACTERS_MAX:
            raise TooLargeError("tlog-proof", f"{len(text)} characters, the limit is {CHARACTERS_MAX}")
        header, separator, checkpoint = text.partition("\n\n")
        magic, *lines = header.split("\n")
        if magic != MAGIC or not separator:
            raise MalformedError("tlog-proof", f"it does not begin with {MAGIC!r} and hold a checkpoint")
        Checkpoint.parse(split_note(checkpoint)[0])
        extra = b""
        if lines and lines[0].startswith(_EXTRA):
            extra = parse_base64(lines.pop(0).removeprefix(_EXTRA), "extra line of a tlog-proof")
            if not extra:
                raise MalformedError("tlog-proof", "an extra line without data must be left out")
        match = _INDEX.fullmatch(lines[0]) if lines else None
        if match is None or int(match[1]) > INTEGER_MAX:
            raise MalformedError("tlog-proof", "its index line is missing, or is no canonical decimal number")
        return cls(int(match[1]), _parse_hashes(lines[1:]), checkpoint, extra)


def prove(tree: LogTree, index: int, checkpoint: str, extra: bytes = b"") -> TlogProof:
    """Make the proof of entry ``index`` against a signed checkpoint of this tree.

    Raises ``ValueError`` when the checkpoint's tree is larger than this one or does not hold the entry.
    """
    text, _ = split_note(checkpoint)
    return TlogProof(index, tree.inclusion(index, Checkpoint.parse(text).size), checkpoint, extra)


def check(
    proof: TlogProof,
    leaf: bytes,
    *,
    origin: str,
    log: Sequence[NoteVerifier],
    witnesses: Sequence[NoteVerifier] = (),
    quorum: int = 0,
) -> Checkpoint:
    """Verify a proof for the leaf hash of an entry and return the checkpoint that contains it.

    (1) a key of the log signed the checkpoint; (2) its origin is the expected one; (3) at least ``quorum`` distinct
    witnesses cosigned it; (4) the path leads from the leaf to its root. Raises ``NoteError`` for 1 to 3,
    ``InclusionError`` for 4, ``MalformedError`` for a checkpoint that is none, ``UsageError`` for a quorum above the
    number of witnesses and for a witness whose key another witness or the log has: nobody counts twice.
    """
    _check_policy(log, witnesses, quorum)
    text, _ = open_cosigned(proof.checkpoint, log)  # (1)
    checkpoint = Checkpoint.parse(text)
    if checkpoint.origin != origin:  # (2)
        raise NoteError("origin of the checkpoint", expected=origin, actual=checkpoint.origin)
    if quorum:  # (3)
        _, cosigned = open_cosigned(proof.checkpoint, witnesses)
        if len(cosigned) < quorum:
            names = ", ".join(cosigned)
            raise NoteError("witnesses of the checkpoint", expected=f"at least {quorum}", actual=names)
    check_inclusion(leaf, proof.index, checkpoint.size, proof.hashes, checkpoint.root)  # (4)
    return checkpoint


def _check_policy(log: Sequence[NoteVerifier], witnesses: Sequence[NoteVerifier], quorum: int) -> None:
    names = {witness.name for witness in witnesses}
    if not 0 <= quorum <= len(names):
        msg = f"a quorum of {quorum} cannot be met by {len(names)} witnesses; name more witnesses or lower it"
        raise UsageError(msg)
    holders = {key.public: f"{key.name} (the log itself)" for key in log}
    for witness in witnesses:
        if holders.setdefault(witness.public, witness.name) != witness.name:
            msg = f"{holders[witness.public]} and the witness {witness.name} share one key; drop that witness"
            raise UsageError(msg)


def _parse_hashes(lines: Sequence[str]) -> tuple[bytes, ...]:
    if len(lines) > HASHES_MAX:
        raise TooLargeError("tlog-proof", f"{len(lines)} hashes, the limit is {HASHES_MAX}")
    hashes = tuple(parse_base64(line, "hash of a tlog-proof") for line in lines)
    if any(len(value) != HASH_SIZE for value in hashes):
        raise MalformedError("tlog-proof", f"every hash must have {HASH_SIZE} bytes")
    return hashes
