"""A reader of tiled transparency logs, written from the specifications alone; it shares no code with what it reads.

c2sp.org/tlog-tiles, c2sp.org/tlog-checkpoint, c2sp.org/signed-note and RFC 6962, section 2.1. It fetches a log over
HTTP, verifies the signed checkpoint, and comes to the root in three ways: from the entries, from the tiles of level 0,
and from the tiles of level 1 with what is left over below them. As a program: BASE VKEY prints size and root.
"""

from __future__ import annotations

import base64
import hashlib
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

WIDTH = 256


class Unsound(Exception):  # noqa: N818 - the log is
    """The log is not what its checkpoint says, or not served as the specification demands."""


def need(truth: object, why: str) -> None:
    if not truth:
        raise Unsound(why)


# RFC 6962.


def leaf(entry: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + entry).digest()


def node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def tree_hash(hashes: list[bytes]) -> bytes:
    """MTH over hashes of equally deep perfect subtrees, the last of which may be of a shallower, smaller one."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    split = 1 << (len(hashes) - 1).bit_length() - 1
    return node(tree_hash(hashes[:split]), tree_hash(hashes[split:]))


# c2sp.org/signed-note and c2sp.org/tlog-checkpoint.


@dataclass
class Head:
    origin: str
    size: int
    root: bytes


def verified_head(note: str, vkey: str) -> Head:
    """Verify a checkpoint by the one key that is known; signatures of others are ignored."""
    name, key_id, material = vkey.split("+", 2)
    key = base64.b64decode(material, validate=True)
    need(key[:1] == b"\x01" and len(key) == 33, "the verifier key is no Ed25519 key")
    need(hashlib.sha256(name.encode() + b"\n" + key).digest()[:4].hex() == key_id, "the key id is another key's")
    text, separator, signatures = note.rpartition("\n\n")
    need(separator and signatures.endswith("\n"), "the note has no signatures")
    text += "\n"
    valid = False
    for line in signatures[:-1].split("\n"):
        need(line.startswith("\u2014 "), "a signature line does not begin with an em dash")
        signer, blob = line[2:].split(" ")
        raw = base64.b64decode(blob, validate=True)
        if signer == name and raw[:4].hex() == key_id:
            try:
                Ed25519PublicKey.from_public_bytes(key[1:]).verify(raw[4:], text.encode())
            except InvalidSignature:
                raise Unsound("the checkpoint's signature does not verify") from None
            valid = True
    need(valid, "the log did not sign the checkpoint")
    origin, size, root = text.split("\n")[:3]
    need(size.isdecimal() and str(int(size)) == size, "the size is no canonical decimal")
    digest = base64.b64decode(root, validate=True)
    need(len(digest) == 32, "the root has another length")
    return Head(origin, int(size), digest)


# c2sp.org/tlog-tiles.


def spelled(index: int) -> str:
    """1234067 is x001/x234/067."""
    digits = str(index)
    digits = digits.zfill((len(digits) + 2) // 3 * 3)
    groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
    return "/".join([*(f"x{group}" for group in groups[:-1]), groups[-1]])


class Reader:
    """Reads one log below a prefix."""

    def __init__(self, prefix: str, vkey: str) -> None:
        self.prefix, self.vkey = prefix.rstrip("/"), vkey
        self.fetched = 0

    def get(self, path: str, content_type: str) -> bytes:
        with urllib.request.urlopen(f"{self.prefix}/{path}", timeout=30) as answer:  # noqa: S310 - http by design
            need(answer.headers["content-type"].lower() == content_type, f"{path} is served as another type")
            caching = answer.headers["cache-control"] or ""
            need(("immutable" in caching) == path.startswith("tile/"), f"{path} has the wrong caching: {caching}")
            data: bytes = answer.read()
        self.fetched += 1
        return data

    def head(self) -> Head:
        note = self.get("checkpoint", "text/plain; charset=utf-8").decode()
        return verified_head(note, self.vkey)

    def row(self, level: int, size: int) -> list[bytes]:
        """All hashes of a level in a tree of this size: full tiles, and the partial one at the edge."""
        hashes: list[bytes] = []
        for index, width in widths(size >> 8 * level):
            data = self.get(f"tile/{level}/{spelled(index)}{suffix(width)}", "application/octet-stream")
            need(len(data) == 32 * width, f"tile {level}/{index} has {len(data)} bytes")
            hashes += [data[at : at + 32] for at in range(0, len(data), 32)]
        return hashes

    def entries(self, size: int) -> list[bytes]:
        found: list[bytes] = []
        for index, width in widths(size):
            data = self.get(f"tile/entries/{spelled(index)}{suffix(width)}", "application/octet-stream")
            for _ in range(width):
                length = int.from_bytes(data[:2], "big")
                need(len(data) >= 2 + length, f"bundle {index} ends early")
                found.append(data[2 : 2 + length])
                data = data[2 + length :]
            need(not data, f"bundle {index} goes on behind its entries")
        return found

    def absent(self, path: str) -> None:
        """Hold the log to serving nothing under a path."""
        try:
            with urllib.request.urlopen(f"{self.prefix}/{path}", timeout=30):  # noqa: S310 - http by design
                pass
        except urllib.error.HTTPError as error:
            need(error.code == 404, f"{path} answers {error.code}")
        else:
            raise Unsound(f"{path} is served")

    def audit(self) -> Head:
        """Read the whole log; return its head when everything leads to the same root."""
        head = self.head()
        leaves = self.row(0, head.size)
        need(tree_hash(leaves) == head.root, "the tiles of level 0 lead to another root")
        need([leaf(entry) for entry in self.entries(head.size)] == leaves, "entries are not those of level 0")
        full = head.size // WIDTH
        upper = self.row(1, head.size)
        for index in range(full):
            need(upper[index] == tree_hash(leaves[index * WIDTH : (index + 1) * WIDTH]), f"hash 1/{index} is wrong")
        rest = leaves[full * WIDTH :]
        need(tree_hash([*upper, tree_hash(rest)] if rest else upper) == head.root, "level 1 leads to another root")
        level = 2
        while head.size >> 8 * level:
            below = self.row(level - 1, head.size)
            for index, value in enumerate(self.row(level, head.size)):
                need(value == tree_hash(below[index * WIDTH : (index + 1) * WIDTH]), f"hash {level}/{index} is wrong")
            level += 1
        self.absent(f"tile/{level}/000.p/1")
        self.absent(f"tile/0/{spelled((head.size + WIDTH - 1) // WIDTH)}.p/1")
        return head


def widths(count: int) -> list[tuple[int, int]]:
    """Index and width of every tile over so many hashes; none is empty."""
    return [(at // WIDTH, min(WIDTH, count - at)) for at in range(0, count, WIDTH)]


def suffix(width: int) -> str:
    return "" if width == WIDTH else f".p/{width}"


if __name__ == "__main__":
    found = Reader(sys.argv[1], sys.argv[2]).audit()
    print(found.origin, found.size, found.root.hex())
