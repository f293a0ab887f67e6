"""Write the golden vectors: mostly hostile, one fault per file, the file's name says the fault.

Every file holds `desc`, `error` (the class in tallystick.errors that must be raised, null for none) and `input`. Run
`python vectors/generate.py` after a change of a format; tests/vectors fails while the files differ from this program.
Other languages read the same files: the shapes are in vectors/README.md.
"""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tallystick.job import (
    Deadlines,
    Grid,
    JobSpec,
    Placement,
    Price,
    Seat,
    TaskType,
    Upscale,
    VerificationClass,
    VerificationPolicy,
)
from tallystick.kernels.lanczos import KERNEL_NAME
from tallystick.primitives.canonical import encode
from tallystick.primitives.digests import Tag, sha256, tagged
from tallystick.primitives.keys import SigningKey
from tallystick.primitives.merkle import EMPTY_ROOT, consistency_proof, inclusion_proof, leaf_hash, node_hash, root
from tallystick.primitives.notes import Checkpoint, NoteSigner, WitnessSigner, split_note
from tallystick.slicing import plan

HERE = Path(__file__).resolve().parent
Vector = tuple[str, str, str | None, dict[str, Any]]
"""Name, description, error, input."""

LEAVES = [leaf_hash(b"leaf %d" % i) for i in range(16)]
OTHER = bytes([0x5A]) * 32
ORIGIN = "log.example/tallystick"
LOG = NoteSigner(ORIGIN, bytes([1]) * 32)
STRANGER = NoteSigner("stranger.example/log", bytes([2]) * 32)
WITNESS = WitnessSigner("witness.example/w1", bytes([3]) * 32)
TEXT = Checkpoint(ORIGIN, 11, root(LEAVES[:11])).text()
NOTE = LOG.sign(TEXT)
PLAN_SEED = sha256(b"seed")
HIDDEN: dict[str, Any] = {"placement": "hidden", "duplicates": 0}


def canonical_json() -> Iterator[Vector]:
    """A record has exactly the fields alpha (text), many (list of counts) and zeta (count 0 .. 2^53 - 1)."""
    good = '{"alpha":"a/\u00e9","many":[1,2],"zeta":3}'
    yield "good-record", "the one spelling of a record", None, record(good)
    yield (
        "good-escapes",
        "control characters, quote and backslash in their only escapes",
        None,
        value(r'"\u0000\b\t\n\u000b\f\r\u001f\"\\/"'),
    )
    yield "good-integers", "integers up to both bounds", None, value("[0,-1,9007199254740991,-9007199254740991]")
    refused = {
        "key-order": ("keys in another order", '{"many":[1,2],"alpha":"a","zeta":3}'),
        "key-twice-same": ("one key twice with the same value", '{"alpha":"a","alpha":"a","many":[],"zeta":3}'),
        "key-twice-last-wins": ("one key twice, the last value wins", '{"alpha":"b","alpha":"a","many":[],"zeta":3}'),
        "space": ("a space after a comma", '{"alpha":"a", "many":[],"zeta":3}'),
        "newline-at-end": ("a newline behind the value", '{"alpha":"a","many":[],"zeta":3}\n'),
        "escaped-letter": ("a letter written as an escape", '{"alpha":"\\u0061","many":[],"zeta":3}'),
        "escaped-slash": ("a slash written as an escape", '{"alpha":"\\/","many":[],"zeta":3}'),
        "escape-upper-hex": ("an escape with upper-case hex", '{"alpha":"\\u001F","many":[],"zeta":3}'),
        "escape-long-form": ("a newline in its long escape", '{"alpha":"\\u000a","many":[],"zeta":3}'),
        "escaped-pair": ("an astral character as two escapes", '{"alpha":"\\ud83d\\ude00","many":[],"zeta":3}'),
        "minus-zero": ("zero with a sign", '{"alpha":"a","many":[],"zeta":-0}'),
    }
    for name, (desc, text) in refused.items():
        yield name, desc, "NotCanonicalError", record(text)
    yield "key-not-ascii", "a key outside ASCII", "NotCanonicalError", value('{"\u00e9":1}')
    yield "float", "a float", "NotCanonicalError", value("[1.5]")
    yield "float-huge", "a float in exponent form", "NotCanonicalError", value("[1e30]")
    yield "integer-beyond", "an integer beyond 2^53 - 1", "NotCanonicalError", value("[9007199254740992]")
    yield "integer-below", "an integer below -(2^53 - 1)", "NotCanonicalError", value("[-9007199254740992]")
    yield from malformed_json()


def malformed_json() -> Iterator[Vector]:
    """What is no record at all."""
    faults = {
        "empty": ("no bytes", b""),
        "truncated": ("the last byte is missing", b'{"alpha":"a","many":[],"zeta":3'),
        "trailing-byte": ("a byte behind the value", b'{"alpha":"a","many":[],"zeta":3}x'),
        "byte-order-mark": ("a byte order mark", b'\xef\xbb\xbf{"alpha":"a","many":[],"zeta":3}'),
        "field-missing": ("a field is missing", b'{"alpha":"a","zeta":3}'),
        "field-unknown": ("an unknown field", b'{"alpha":"a","beta":1,"many":[],"zeta":3}'),
        "count-negative": ("a negative count", b'{"alpha":"a","many":[],"zeta":-1}'),
        "count-too-large": ("a count of 2^53", b'{"alpha":"a","many":[],"zeta":9007199254740992}'),
        "count-float": ("a count written as a float", b'{"alpha":"a","many":[],"zeta":3.0}'),
        "count-exponent": ("a count with an exponent", b'{"alpha":"a","many":[],"zeta":3e0}'),
        "count-text": ("a count written as text", b'{"alpha":"a","many":[],"zeta":"3"}'),
        "leading-zero": ("a number with a leading zero", b'{"alpha":"a","many":[],"zeta":03}'),
        "not-a-number": ("NaN", b'{"alpha":"a","many":[NaN],"zeta":3}'),
        "utf8-invalid": ("a byte that is no UTF-8", b'{"alpha":"\xff","many":[],"zeta":3}'),
        "utf8-surrogate": ("a surrogate encoded as UTF-8", b'{"alpha":"\xed\xa0\x80","many":[],"zeta":3}'),
        "escape-lone-surrogate": ("half an astral character", b'{"alpha":"\\ud800","many":[],"zeta":3}'),
        "control-character": ("a raw control character", b'{"alpha":"\x01","many":[],"zeta":3}'),
        "comment": ("a comment", b'{"alpha":"a",/**/"many":[],"zeta":3}'),
        "comma-at-end": ("a comma before the brace", b'{"alpha":"a","many":[],"zeta":3,}'),
    }
    for name, (desc, data) in faults.items():
        yield name, desc, "MalformedError", {"type": "record", "hex": data.hex(), "bytes_max": 65535}
    deep = {"type": "any", "hex": (b"[" * 3000).hex(), "bytes_max": 65535}
    yield "nested-too-deeply", "3,000 opening brackets", "MalformedError", deep
    large = {"type": "any", "hex": b'"0123456789"'.hex(), "bytes_max": 11}
    yield "too-large", "twelve bytes where eleven are allowed", "TooLargeError", large


def record(text: str) -> dict[str, Any]:
    return {"type": "record", "hex": text.encode().hex(), "bytes_max": 65535}


def value(text: str) -> dict[str, Any]:
    return {"type": "any", "hex": text.encode().hex(), "bytes_max": 65535}


def inclusion() -> Iterator[Vector]:
    """Claims about leaf 5 of 11, whose path has left and right siblings and a promoted node."""
    leaf, index, size, top = LEAVES[5], 5, 11, root(LEAVES[:11])
    proof = inclusion_proof(LEAVES, index, size)
    yield "good", "leaf 5 of 11", None, included(leaf, index, size, proof, top)
    yield "good-single-leaf", "the only leaf is the root", None, included(leaf, 0, 1, (), leaf)
    last = inclusion_proof(LEAVES, 10, 11)
    yield "good-promoted", "the last leaf of 11 is promoted twice", None, included(LEAVES[10], 10, 11, last, top)
    swapped = (proof[1], proof[0], *proof[2:])
    faults = {
        "another-leaf": ("a leaf that is not there", included(OTHER, index, size, proof, top)),
        "another-root": ("another root", included(leaf, index, size, proof, OTHER)),
        "another-index": ("the sibling's index", included(leaf, 4, size, proof, top)),
        "another-size": ("a size that needs another number of siblings", included(leaf, index, 20, proof, top)),
        "index-at-size": ("the index is the size", included(leaf, 11, size, proof, top)),
        "index-negative": ("a negative index", included(leaf, -1, size, proof, top)),
        "size-zero": ("an empty tree", included(leaf, 0, 0, (), EMPTY_ROOT)),
        "proof-empty": ("no siblings", included(leaf, index, size, (), top)),
        "proof-short": ("the last sibling is missing", included(leaf, index, size, proof[:-1], top)),
        "proof-long": ("one sibling too many", included(leaf, index, size, (*proof, OTHER), top)),
        "proof-root-appended": ("the root as a further sibling", included(leaf, index, size, (*proof, top), top)),
        "proof-order": ("two siblings swapped", included(leaf, index, size, swapped, top)),
        "proof-bit": ("one bit of a sibling flipped", included(leaf, index, size, flipped(proof, 2), top)),
        "hash-short": ("a sibling of 31 bytes", included(leaf, index, size, (proof[0][:31], *proof[1:]), top)),
        "hash-long": ("a sibling of 33 bytes", included(leaf, index, size, (proof[0] + b"\0", *proof[1:]), top)),
        "node-as-leaf": (
            "the two children of a node offered as the data of a leaf of a smaller tree",
            included(leaf_hash(LEAVES[4] + LEAVES[5]), 2, 6, proof[1:], top),
        ),
        "last-leaf-doubled": (
            "the promoted leaf paired with itself",
            included(LEAVES[2], 2, 3, (LEAVES[2], node_hash(LEAVES[0], LEAVES[1])), root(LEAVES[:3])),
        ),
    }
    for name, (desc, claim) in faults.items():
        yield name, desc, "InclusionError", claim


def included(leaf: bytes, index: int, size: int, proof: tuple[bytes, ...], top: bytes) -> dict[str, Any]:
    return {"leaf": leaf.hex(), "index": index, "size": size, "proof": [h.hex() for h in proof], "root": top.hex()}


def flipped(proof: tuple[bytes, ...], at: int) -> tuple[bytes, ...]:
    return (*proof[:at], bytes([proof[at][0] ^ 1]) + proof[at][1:], *proof[at + 1 :])


def consistency() -> Iterator[Vector]:
    """Claims about the growth from 6 to 11 leaves, and from 8, a perfect tree, to 11."""
    old_root, new_root, perfect = root(LEAVES[:6]), root(LEAVES[:11]), root(LEAVES[:8])
    proof = consistency_proof(LEAVES, 6, 11)
    yield "good", "6 to 11 leaves", None, grown(6, 11, proof, old_root, new_root)
    from_perfect = consistency_proof(LEAVES, 8, 11)
    yield "good-perfect", "8 to 11 leaves", None, grown(8, 11, from_perfect, perfect, new_root)
    yield "good-equal", "no growth", None, grown(6, 6, (), old_root, old_root)
    yield "good-empty", "from nothing", None, grown(0, 11, (), EMPTY_ROOT, new_root)
    fork = [OTHER, *LEAVES[1:]]
    forked = grown(6, 11, consistency_proof(fork, 6, 11), old_root, root(fork[:11]))
    swapped = (proof[1], proof[0], *proof[2:])
    faults = {
        "fork": ("the new tree rewrote leaf 0", forked),
        "another-old-root": ("another old root", grown(6, 11, proof, OTHER, new_root)),
        "another-new-root": ("another new root", grown(6, 11, proof, old_root, OTHER)),
        "roots-swapped": ("the roots change places", grown(6, 11, proof, new_root, old_root)),
        "sizes-swapped": ("the tree shrinks", grown(11, 6, proof, new_root, old_root)),
        "another-old-size": ("an old size of 7", grown(7, 11, proof, old_root, new_root)),
        "another-new-size": ("a new size of 17", grown(6, 17, proof, old_root, new_root)),
        "old-size-negative": ("a negative size", grown(-6, 11, proof, old_root, new_root)),
        "proof-empty": ("no hashes", grown(6, 11, (), old_root, new_root)),
        "proof-short": ("the last hash is missing", grown(6, 11, proof[:-1], old_root, new_root)),
        "proof-long": ("one hash too many", grown(6, 11, (*proof, OTHER), old_root, new_root)),
        "proof-order": ("two hashes swapped", grown(6, 11, swapped, old_root, new_root)),
        "proof-bit": ("one bit flipped", grown(6, 11, flipped(proof, 1), old_root, new_root)),
        "hash-short": ("a hash of 31 bytes", grown(6, 11, (proof[0][:31], *proof[1:]), old_root, new_root)),
        "perfect-with-seed": (
            "the old root repeated in the proof of a perfect tree",
            grown(8, 11, (perfect, *from_perfect), perfect, new_root),
        ),
        "equal-with-proof": ("equal sizes with a hash", grown(6, 6, (OTHER,), old_root, old_root)),
        "equal-other-root": ("equal sizes, other roots", grown(6, 6, (), old_root, OTHER)),
        "empty-with-proof": ("from nothing with a hash", grown(0, 11, (OTHER,), EMPTY_ROOT, new_root)),
        "empty-other-root": ("from nothing with a root of its own", grown(0, 11, (), OTHER, new_root)),
    }
    for name, (desc, claim) in faults.items():
        yield name, desc, "ConsistencyError", claim


def grown(old: int, new: int, proof: tuple[bytes, ...], old_root: bytes, new_root: bytes) -> dict[str, Any]:
    return {
        "old_size": old,
        "new_size": new,
        "proof": [h.hex() for h in proof],
        "old_root": old_root.hex(),
        "new_root": new_root.hex(),
    }


def notes() -> Iterator[Vector]:
    """Notes over one checkpoint, opened with the log's key unless the input says otherwise."""
    cosigned = WITNESS.cosign(NOTE, 1_700_000_000)
    yield "good", "signed by the log", None, note(NOTE)
    yield "good-cosigned", "a witness's line behind it", None, note(cosigned, LOG.vkey, WITNESS.vkey)
    strange = NOTE + STRANGER.sign(TEXT).removeprefix(TEXT + "\n")
    yield "good-unknown-ignored", "a stranger's line is ignored", None, note(strange)
    yield "good-empty-lines", "the text itself has empty lines", None, note(LOG.sign("a\n\nb\n\n\nc\n"))
    other_text = NOTE.replace("\n11\n", "\n12\n")
    broken = TEXT + "\n" + NOTE[len(TEXT) + 1 :].replace(NOTE[-20:-5], "A" * 15)
    yield "text-changed", "another size under the same signature", "NoteError", note(other_text)
    yield "signature-changed", "some bits of the signature", "NoteError", note(broken)
    yield "key-unknown", "only a stranger's key is known", "NoteError", note(NOTE, STRANGER.vkey)
    yield "keys-none", "no key is known", "NoteError", {"note": NOTE, "verifiers": []}
    impostor = NoteSigner(ORIGIN, bytes([9]) * 32)
    yield "key-same-name", "another key of the log's name", "NoteError", note(impostor.sign(TEXT))
    poisoned = STRANGER.sign(TEXT) + broken.removeprefix(TEXT + "\n")
    yield (
        "one-known-fails",
        "one known key verifies, another fails",
        "NoteError",
        note(poisoned, LOG.vkey, STRANGER.vkey),
    )
    later = cosigned_at(cosigned)
    yield "cosignature-time", "the witness's time changed", "NoteError", note(later, LOG.vkey, WITNESS.vkey)
    yield from malformed_notes()


def cosigned_at(cosigned: str) -> str:
    """Move the time of a cosignature by one second without signing anew."""
    import base64

    head, last = cosigned.rsplit(" ", 1)
    blob = bytearray(base64.b64decode(last))
    blob[11] ^= 1
    return f"{head} {base64.b64encode(bytes(blob)).decode()}\n"


def malformed_notes() -> Iterator[Vector]:
    """What is no signed note, whoever signed."""
    line = NOTE[len(TEXT) + 1 :]
    blob = line.split(" ")[2][:-1]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    twin = blob[:-2] + alphabet[alphabet.index(blob[-2]) ^ 1] + "="
    assert len(split_note(NOTE)[1]) == 1
    faults = {
        "empty": ("no characters", ""),
        "no-signature": ("text and an empty line only", TEXT + "\n"),
        "no-empty-line": ("the signature follows the text at once", TEXT + line),
        "no-newline-at-end": ("the last newline is missing", NOTE[:-1]),
        "empty-line-at-end": ("an empty line behind the signatures", NOTE + "\n"),
        "hyphen": ("a hyphen for the em dash", NOTE.replace("\u2014", "-")),
        "two-spaces": ("two spaces behind the em dash", NOTE.replace("\u2014 ", "\u2014  ")),
        "carriage-return": ("lines end in CR LF", NOTE.replace("\n", "\r\n")),
        "tab": ("a tab in the text", NOTE.replace("\n11\n", "\n11\t\n")),
        "name-empty": ("a line without a name", NOTE.replace(f"\u2014 {ORIGIN} ", "\u2014  ")),
        "name-plus": ("a plus in a name", NOTE + f"\u2014 a+b {blob}\n"),
        "name-space": ("a no-break space in a name", NOTE + f"\u2014 a\u00a0b {blob}\n"),
        "base64-cut": ("base64 without its padding", NOTE.replace(blob, blob.rstrip("="))),
        "base64-url": ("base64 of the URL alphabet", NOTE + "\u2014 a AAAAA-__\n"),
        "signature-empty": ("a key id and nothing behind it", NOTE + "\u2014 a AAAAAA==\n"),
        "too-many": ("101 signature lines", NOTE + "\u2014 a AAAAAAA=\n" * 100),
    }
    for name, (desc, text) in faults.items():
        yield name, desc, "MalformedError", note(text)
    yield "base64-malleable", "spare bits of the base64 are set", "NotCanonicalError", note(NOTE.replace(blob, twin))


def note(text: str, *vkeys: str) -> dict[str, Any]:
    return {"note": text, "verifiers": list(vkeys) or [LOG.vkey]}


def checkpoints() -> Iterator[Vector]:
    """Texts of checkpoints."""
    top = TEXT.split("\n")[2]
    yield "good", "origin, size, root", None, {"text": TEXT}
    yield "good-extension", "two extension lines", None, {"text": TEXT + "more\nand more\n"}
    yield "good-empty-tree", "no leaf", None, {"text": Checkpoint(ORIGIN, 0, EMPTY_ROOT).text()}
    faults = {
        "empty": ("no characters", ""),
        "root-missing": ("two lines", f"{ORIGIN}\n11\n"),
        "no-newline-at-end": ("the last newline is missing", TEXT[:-1]),
        "origin-empty": ("an empty origin", f"\n11\n{top}\n"),
        "size-leading-zero": ("a size with a leading zero", f"{ORIGIN}\n011\n{top}\n"),
        "size-sign": ("a size with a sign", f"{ORIGIN}\n+11\n{top}\n"),
        "size-hex": ("a size in hex", f"{ORIGIN}\n0xb\n{top}\n"),
        "size-arabic-digits": ("digits outside ASCII", f"{ORIGIN}\n\u0661\u0661\n{top}\n"),
        "size-too-large": ("a size of 2^53", f"{ORIGIN}\n9007199254740992\n{top}\n"),
        "root-short": ("a root of 30 bytes", f"{ORIGIN}\n11\n{top[:40]}\n"),
        "extension-empty": ("an empty extension line", TEXT + "\n"),
        "carriage-return": ("lines end in CR LF", TEXT.replace("\n", "\r\n")),
    }
    for name, (desc, text) in faults.items():
        yield name, desc, "MalformedError", {"text": text}
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    twin = top[:-2] + alphabet[alphabet.index(top[-2]) ^ 1] + "="
    malleable = {"text": f"{ORIGIN}\n11\n{twin}\n"}
    yield "root-malleable", "spare bits of the root's base64 are set", "NotCanonicalError", malleable


def plans() -> Iterator[Vector]:
    """Orders with a seed and what they are laid out to; `tests/vectors` holds a stated plan against its order's."""
    names = {
        "spread": ("every micro job is part work, part check", order("abc")),
        "spread-one-operator": ("the referee computes the copies", order("aaa")),
        "hidden": ("two of seven micro jobs check the others", order("abc", **HIDDEN)),
        "hidden-one-operator": ("the referee checks all six micro jobs", order("aaa", **HIDDEN)),
        "hidden-short-last": (
            "the last micro job is short, so it checks nothing",
            order("ab", target=(80, 40), **HIDDEN),
        ),
    }
    for name, (desc, spec) in names.items():
        yield f"good-{name}", desc, None, laid(spec)
    for name, (desc, error, spec) in refused_orders().items():
        yield name, desc, error, {"spec": json.loads(encode(spec)), "seed": PLAN_SEED.hex()}
    for name, (desc, given) in other_plans().items():
        yield name, desc, "VerificationError", given


def refused_orders() -> dict[str, tuple[str, str, JobSpec]]:
    """Orders that nobody may plan."""
    return {
        "hidden-with-duplicates": (
            "a rate of copies beside the grid's",
            "UsageError",
            order("abc", placement="hidden"),
        ),
        "hidden-one-rules": ("one operator has 15 of 16 seats", "PolicyError", order("a" * 15 + "b", **HIDDEN)),
        "hidden-no-room": (
            "two blocks, and four of five seats with one operator",
            "PolicyError",
            order("a" * 4 + "b", target=(16, 8), **HIDDEN),
        ),
        "spread-copies-meet": (
            "one operator holds more slots than blocks",
            "PolicyError",
            order("aaab", duplicates=1_000_000),
        ),
        "ringers": ("ringers are not built", "UsageError", order("abc", ringers=1)),
        "law": ("tolerant comparison is not built", "UsageError", order("abc", law=3)),
        "target-size": ("the output is not the input times the scale", "UsageError", order("abc", scale="3")),
        "kernel": ("a kernel without a reference", "UsageError", order("abc", kernel="bicubic")),
    }


def other_plans() -> dict[str, tuple[str, dict[str, Any]]]:
    """Plans that are not their order's."""
    hidden, spread, referee = laid(order("abc", **HIDDEN)), laid(order("abc")), laid(order("aaa", **HIDDEN))
    checker = next(index for index, each in enumerate(hidden["microjobs"]) if each["slots"][0][1])
    member = next(index for index, each in enumerate(hidden["microjobs"]) if not each["slots"][0][1])

    def changed(given: dict[str, Any], change: Callable[[Any], Any]) -> dict[str, Any]:
        stated = copy.deepcopy(given)
        change(stated)
        return stated

    def slots(given: dict[str, Any], index: int) -> list[list[int]]:
        found: list[list[int]] = given["microjobs"][index]["slots"]
        return found

    def seen(given: dict[str, Any]) -> None:
        slots(given, checker)[0], slots(given, member)[0] = slots(given, member)[0], slots(given, checker)[0]

    return {
        "seed": ("another seed", changed(spread, lambda it: it.update(seed=bytes(32).hex()))),
        "seat": ("a micro job at the next seat", changed(spread, lambda it: it["microjobs"][1].update(seat=2))),
        "slots-order": ("slots in another order", changed(spread, lambda it: slots(it, 0).reverse())),
        "copy-unmarked": (
            "a copy that is no copy",
            changed(hidden, lambda it: slots(it, checker)[0].__setitem__(1, 0)),
        ),
        "checker-order": ("members visited backwards", changed(hidden, lambda it: slots(it, checker).reverse())),
        "checker-short": ("a checker without its fillers", changed(hidden, lambda it: slots(it, checker).pop())),
        "checker-moved": ("a checker at another place", changed(hidden, lambda it: it["microjobs"].reverse())),
        "checker-mixed": ("work and check in one micro job", changed(hidden, seen)),
        "filler-twice": (
            "a block checked twice",
            changed(hidden, lambda it: slots(it, checker).__setitem__(-1, slots(it, checker)[0])),
        ),
        "referee-fewer": ("one copy less for the referee", changed(referee, lambda it: it["referee_copies"].pop())),
    }


def laid(spec: JobSpec) -> dict[str, Any]:
    drawn = plan(spec, PLAN_SEED)
    return {
        "spec": json.loads(encode(spec)),
        "seed": PLAN_SEED.hex(),
        "microjobs": [
            {"seat": each.seat, "slots": [[slot.block, int(slot.copy)] for slot in each.slots]}
            for each in drawn.microjobs
        ],
        "referee_copies": list(drawn.referee_copies),
    }


def order(operators: str, target: tuple[int, int] = (64, 48), **changes: Any) -> JobSpec:  # noqa: ANN401 - fields
    """An order of 8-pixel blocks at scale 1; operators by letters, the rest by the names below."""
    asked: dict[str, Any] = {
        "placement": "spread",
        "duplicates": 250_000,
        "group": 10,
        "size": 16,
        "ringers": 0,
        "law": 1,
        "scale": "1",
        "kernel": KERNEL_NAME,
    } | changes
    width, height = target
    return JobSpec(
        version=1,
        chain_id="tally-vectors-0123456789abcdef",
        job_id="job-1",
        attempt=1,
        requester=public("requester"),
        task_type=TaskType.IMAGE_UPSCALING,
        task=Upscale(asked["kernel"], asked["scale"], width, height, width, height, 3, 8),
        input="ab" * 32,
        grid=Grid(8, asked["size"], asked["group"]),
        pool=tuple(Seat(public(f"worker {seat}"), public(f"operator {one}")) for seat, one in enumerate(operators)),
        policy=VerificationPolicy(
            law=VerificationClass(asked["law"]),
            placement=Placement(asked["placement"]),
            duplicates=asked["duplicates"],
            audit=130_000,
            audit_blocks=1,
            ringers=asked["ringers"],
            colluding=0,
            gain="0",
            stake="40000",
            absence="3000",
        ),
        price=Price("1200", "1000"),
        deadlines=Deadlines(*range(1_000, 7_000, 1_000)),
        labels=(),
        simulated=False,
    )


def public(name: str) -> str:
    return SigningKey(sha256(b"vector key", name.encode())).public.hex()


MOVE = {"attempt": 1, "job_id": "job-1", "microjob": 3, "occurred_at": 1_700_000_000_000, "seat": 2}
"""The payload of a MicroJobReassigned."""


def reassigned() -> Iterator[Vector]:
    """Whole entries; what follows from a ledger's state is not here."""
    key = SigningKey(bytes([7]) * 32)
    yield "good", "micro job 3 goes to seat 2", None, moved_entry(key, MOVE)
    largest = {**MOVE, "attempt": 1000, "microjob": 2**53 - 1, "seat": 2**53 - 1, "occurred_at": 2**53 - 1}
    yield "good-largest", "the largest numbers that parse", None, moved_entry(key, largest)
    payloads = {
        "attempt-zero": ("attempt 0", {**MOVE, "attempt": 0}),
        "job-id-empty": ("no job id", {**MOVE, "job_id": ""}),
        "microjob-negative": ("a negative micro job", {**MOVE, "microjob": -1}),
        "microjob-float": ("a micro job written as a float", {**MOVE, "microjob": 3.0}),
        "microjob-missing": ("no micro job", {name: each for name, each in MOVE.items() if name != "microjob"}),
        "seat-negative": ("a negative seat", {**MOVE, "seat": -1}),
        "seat-text": ("a seat written as text", {**MOVE, "seat": "2"}),
        "seat-list": ("two seats", {**MOVE, "seat": [1, 2]}),
        "seat-null": ("no seat", {**MOVE, "seat": None}),
        "seat-beyond": ("a seat of 2^53", {**MOVE, "seat": 2**53}),
        "worker-named": ("an unknown field, the worker's key", {**MOVE, "worker": key.public.hex()}),
        "time-text": ("a time as RFC 3339", {**MOVE, "occurred_at": "2026-01-01T00:00:00Z"}),
    }
    for name, (desc, payload) in payloads.items():
        yield name, desc, "MalformedError", moved_entry(key, payload)
    good = moved_entry(key, MOVE)["hex"]
    text = bytes.fromhex(good).decode()
    otherwise = {
        "another-type": (
            "the payload under another type",
            "MalformedError",
            text.replace("MicroJobReassigned", "JobStarted"),
        ),
        "type-misspelled": ("a type that there is not", "MalformedError", text.replace("Reassigned", "Moved")),
        "field-order": (
            "the payload's keys in another order",
            "NotCanonicalError",
            text.replace('"attempt":1,"job_id":"job-1"', '"job_id":"job-1","attempt":1'),
        ),
        "another-seat": ("a seat that was not signed", "SignatureError", text.replace('"seat":2', '"seat":1')),
        "another-micro-job": ("a micro job not signed", "SignatureError", text.replace('"microjob":3', '"microjob":4')),
        "another-chain": ("signed for another chain", "SignatureError", text.replace("tally-vector", "tally-victim")),
    }
    for name, (desc, error, entry) in otherwise.items():
        yield name, desc, error, {"hex": entry.encode().hex()}


def moved_entry(key: SigningKey, payload: dict[str, Any]) -> dict[str, Any]:
    """Sign any payload, well-formed or not, as a MicroJobReassigned."""
    frame = {"chain_id": "tally-vector-0123456789abcdef", "gas_price": 0, "nonce": 0, "payload": payload}
    unsigned = {**frame, "sender": key.public.hex(), "type": "MicroJobReassigned"}
    signature = key.sign(tagged(Tag.TX, spelled(unsigned))).hex()
    return {"hex": spelled({**unsigned, "signature": signature}).hex()}


def spelled(value: dict[str, Any]) -> bytes:
    """Sorted, without spaces; floats and all."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


APART = {
    "operators": ["a", "b", "c", "a"],
    "microjobs": [
        {"seat": 0, "blocks": [0, 1]},
        {"seat": 1, "blocks": [2, 3]},
        {"seat": 2, "blocks": [0, 4]},
        {"seat": 3, "blocks": [5, 2]},
        {"seat": 0, "blocks": [6, 7]},
        {"seat": 1, "blocks": [5, 8]},
    ],
}
"""Blocks 0, 2 and 5 are executed twice: in micro jobs 0 and 2, 1 and 3, 3 and 5."""


def separation() -> Iterator[Vector]:
    """Moves of a plan in the order of the log, the void pairs they make, and what the referee recomputed."""
    good = {
        "good": ("to another seat of the same operator", [[0, 3]], [], []),
        "good-third-operator": ("to operators without an execution of their blocks", [[0, 1], [1, 2]], [], []),
        "good-void-recomputed": ("to the operator of the other execution, and recomputed", [[0, 2]], [0], [0, 6]),
        "good-void-passed": ("where its twin came through", [[0, 1], [0, 3], [2, 1]], [0], [0]),
        "good-all-void": ("three pairs by three moves", [[2, 0], [3, 1]], [0, 2, 5], [0, 1, 2, 5]),
    }
    unseen = {
        "meets-its-twin": ("to the operator of the other execution", [[0, 2]], [0], []),
        "meets-its-twin-from-the-other-side": ("the copy to the original's operator", [[2, 0]], [0], [1, 2, 5]),
        "another-seat-of-that-operator": ("to another seat of the other execution's operator", [[2, 3]], [0], [2]),
        "one-block-is-enough": ("both blocks have their twin there, one is recomputed", [[3, 1]], [2, 5], [2]),
        "the-other-block": ("the same, and the other one is recomputed", [[3, 1]], [2, 5], [5]),
        "follows-its-twin": ("to where the other execution was moved before", [[0, 1], [2, 1]], [0], []),
        "where-its-twin-was": ("to where the other execution lay by plan", [[0, 1], [2, 0]], [0], []),
        "where-its-twin-passed": ("to where the other execution came through", [[0, 1], [0, 3], [2, 1]], [0], []),
        "exchanged": ("two executions change places", [[0, 2], [2, 0]], [0], [7]),
        "apart-again": ("together and apart again: it was seen", [[0, 2], [0, 1]], [0], []),
        "right-after-wrong": ("a right move after a wrong one", [[2, 0], [4, 1]], [0], []),
        "last-of-many": ("the last of four moves", [[4, 1], [0, 3], [4, 2], [5, 0]], [5], [0, 2]),
    }
    claimed = {
        "claimed-without-a-move": ("a void pair where nothing moved", [], [0], [0]),
        "claimed-for-an-innocent-move": ("a void pair, but the move kept it apart", [[0, 1]], [0], [0]),
        "claimed-for-what-is-executed-once": ("a void pair of a block without a copy", [[4, 1]], [6], [6]),
        "not-claimed": ("a void pair that is not listed", [[0, 2]], [], [0]),
    }
    for name, (desc, moves, void, recomputed) in (good | unseen | claimed).items():
        error = None if name in good else "VerificationError"
        yield name, desc, error, {**APART, "moves": moves, "void": void, "recomputed": recomputed}


FORMATS = {
    "canonical-json": canonical_json,
    "inclusion-proof": inclusion,
    "consistency-proof": consistency,
    "signed-note": notes,
    "checkpoint": checkpoints,
    "plan": plans,
    "reassigned": reassigned,
    "separation": separation,
}


def files() -> dict[str, str]:
    """Every vector as its path below `vectors/` and its text."""
    return {
        f"{folder}/{name}.json": json.dumps({"desc": desc, "error": error, "input": given}, indent=1) + "\n"
        for folder, vectors in FORMATS.items()
        for name, desc, error, given in vectors()
    }


def main() -> None:
    """Write the files, and remove those that this program no longer makes."""
    wanted = files()
    for path in HERE.glob("*/*.json"):
        if path.parent.name in FORMATS and str(path.relative_to(HERE)) not in wanted:
            path.unlink()
    for name, text in wanted.items():
        (HERE / name).parent.mkdir(exist_ok=True)
        (HERE / name).write_text(text, encoding="utf-8")
    print(f"{len(wanted)} vectors", file=sys.stderr)


if __name__ == "__main__":
    main()
