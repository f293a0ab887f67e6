"""Signed notes by the C2SP rules: known keys must verify, unknown ones are ignored, nothing has two spellings."""

from __future__ import annotations

import base64
import hashlib

import pytest

from tallystick.errors import MalformedError, NotCanonicalError, NoteError
from tallystick.primitives.notes import (
    Checkpoint,
    NoteSigner,
    NoteVerifier,
    WitnessSigner,
    open_cosigned,
    open_note,
    split_note,
)

LOG = NoteSigner("log.example/tallystick", b"\x01" * 32)
OTHER = NoteSigner("other.example/log", b"\x02" * 32)
WITNESS = WitnessSigner("witness.example/w1", b"\x03" * 32)
TEXT = Checkpoint("log.example/tallystick", 7, b"\x11" * 32).text()
NOTE = LOG.sign(TEXT)
KNOWN = [LOG.verifier]

# The published example of the Go package x/mod/sumdb/note: "PeterNeumann" signs with Ed25519.
PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETER_NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)


def line_of(name: str, blob: bytes) -> str:
    return f"\u2014 {name} {base64.b64encode(blob).decode()}\n"


def test_the_published_note_of_the_go_implementation_opens() -> None:
    text, names = open_note(PETER_NOTE, [NoteVerifier.parse(PETER)])
    assert text == PETER_NOTE[: PETER_NOTE.index("\n\n") + 1]
    assert names == ("PeterNeumann",)
    with pytest.raises(NoteError):
        open_note(PETER_NOTE.replace("problem is", "problem was"), [NoteVerifier.parse(PETER)])


def test_a_signed_note_opens_with_its_key() -> None:
    assert open_note(NOTE, KNOWN) == (TEXT, ("log.example/tallystick",))
    assert NoteVerifier.parse(LOG.vkey) == LOG.verifier
    assert NoteVerifier.parse(LOG.vkey).vkey == LOG.vkey


def test_unknown_signatures_are_ignored_and_known_ones_counted_once() -> None:
    both = NOTE + OTHER.sign(TEXT).removeprefix(TEXT + "\n")
    assert open_note(both, KNOWN)[1] == (LOG.name,)
    assert open_note(both, [OTHER.verifier, LOG.verifier])[1] == (LOG.name, OTHER.name)
    twice = NOTE + NOTE.removeprefix(TEXT + "\n")
    assert open_note(twice, KNOWN)[1] == (LOG.name,)


def test_a_known_key_that_fails_spoils_the_whole_note() -> None:
    bad = line_of(LOG.name, LOG.verifier.key_id + bytes(64))
    with pytest.raises(NoteError, match=LOG.name):
        open_note(OTHER.sign(TEXT) + bad, [OTHER.verifier, LOG.verifier])


@pytest.mark.parametrize("size", [0, 1, 63, 65, 100])
def test_a_signature_of_another_length_fails(size: int) -> None:
    bad = TEXT + "\n" + line_of(LOG.name, LOG.verifier.key_id + b"\7" * size)
    with pytest.raises((NoteError, MalformedError)):
        open_note(bad, KNOWN)


def test_no_known_signature_is_an_error_that_names_both_sides() -> None:
    with pytest.raises(NoteError) as caught:
        open_note(NOTE, [OTHER.verifier])
    assert (caught.value.expected, caught.value.actual) == (OTHER.name, LOG.name)
    with pytest.raises(NoteError, match="no key at all"):
        open_note(NOTE, [])


def test_a_key_of_the_same_name_or_the_same_id_alone_is_unknown() -> None:
    same_name = NoteSigner(LOG.name, b"\x09" * 32)
    renamed = NoteVerifier("another", LOG.verifier.key_id, LOG.verifier.public)
    for verifier in (same_name.verifier, renamed):
        with pytest.raises(NoteError, match="signer of the note"):
            open_note(NOTE, [verifier])


def test_every_changed_character_of_the_text_is_refused() -> None:
    for at in range(len(TEXT) - 1):
        changed = NOTE[:at] + ("x" if NOTE[at] != "x" else "y") + NOTE[at + 1 :]
        with pytest.raises((NoteError, MalformedError)):
            open_note(changed, KNOWN)


@pytest.mark.parametrize(
    "note",
    [
        "",
        "\n",
        "\n\n",
        TEXT,
        TEXT + "\n",
        NOTE[:-1],
        NOTE + "\n",
        NOTE + " ",
        NOTE + "trailing\n",
        NOTE.replace("\u2014 ", "- "),
        NOTE.replace("\u2014 ", "\u2014"),
        NOTE.replace("\u2014 ", "\u2014  "),
        NOTE.replace("\u2014 ", "\u2013 "),
        NOTE.replace("\n", "\r\n"),
        NOTE.replace("\n7\n", "\n7\t\n"),
        NOTE.replace("\n7\n", "\n7\x00\n"),
        TEXT + "\n\u2014 log.example/tallystick\n",
        TEXT + "\n\u2014 log.example/tallystick \n",
        TEXT + "\n\u2014 log.example/tallystick AAAAAA==\n",
        TEXT + "\n" + line_of("na+me", bytes(68)),
        TEXT + "\n" + line_of("na\u00a0me", bytes(68)),
        TEXT + "\n" + line_of("", bytes(68)),
        TEXT + "\n" + line_of("name", bytes(68)) * 101,
        NOTE + line_of("name\ud800", bytes(68)),
        NOTE.replace("\u2014 log", "\u2014 log.example/tallystick extra log"),
    ],
)
def test_what_is_no_note_is_malformed(note: str) -> None:
    with pytest.raises(MalformedError):
        open_note(note, KNOWN)


def test_a_hundred_signatures_are_read_and_a_huge_note_is_not() -> None:
    assert open_note(NOTE + line_of("name", bytes(68)) * 99, KNOWN)[1] == (LOG.name,)
    with pytest.raises(MalformedError, match="limit"):
        open_note("x" * (1 << 20) + NOTE, KNOWN)


def test_malleable_base64_is_a_second_spelling() -> None:
    blob = base64.b64decode(NOTE.rsplit(" ", 1)[1])
    assert len(blob) % 3 == 2
    text = base64.b64encode(blob).decode()
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    twin = text[:-2] + alphabet[alphabet.index(text[-2]) ^ 1] + "="
    assert base64.b64decode(twin) == blob
    with pytest.raises(NotCanonicalError):
        open_note(NOTE.replace(text, twin), KNOWN)
    with pytest.raises(MalformedError):
        open_note(NOTE.replace(text, text.rstrip("=")), KNOWN)


def test_text_may_contain_empty_lines_and_splits_at_the_last() -> None:
    text = "one\n\n\u2014 not a signature\n\ntwo è\n"
    assert open_note(LOG.sign(text), KNOWN)[0] == text
    assert split_note(LOG.sign(text))[0] == text
    assert open_note(LOG.sign("\n"), KNOWN)[0] == "\n"


@pytest.mark.parametrize("text", ["", "no newline", "tab\t\n", "nul\0\n", "surrogate\ud800\n"])
def test_text_that_no_note_can_carry_is_not_signed(text: str) -> None:
    with pytest.raises(MalformedError):
        LOG.sign(text)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\nb", "a\u2003b", "a\tb"])
def test_names_without_a_note_form_are_refused(name: str) -> None:
    with pytest.raises(MalformedError, match="name of a note key"):
        NoteSigner(name, bytes(32))


def test_a_seed_has_32_bytes_and_does_not_show() -> None:
    with pytest.raises(MalformedError, match="32 bytes"):
        NoteSigner("name", bytes(31))
    assert "01" * 32 not in repr(LOG)
    assert repr(LOG) == f"NoteSigner({LOG.vkey})"


@pytest.mark.parametrize(
    "vkey",
    [
        "",
        "name",
        "name+00000000",
        LOG.vkey + "\n",
        LOG.vkey.replace("+", "+0", 1),
        LOG.vkey.upper(),
        "x" + LOG.vkey,
        LOG.vkey[:-1],
        "a b+" + LOG.vkey.split("+", 1)[1],
        PETER.replace("+AR", "+BR"),
        "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TX",
    ],
)
def test_a_verifier_key_with_one_fault_is_malformed(vkey: str) -> None:
    with pytest.raises(MalformedError, match="verifier key"):
        NoteVerifier.parse(vkey)


@pytest.mark.parametrize(
    "material", [b"\x02" + bytes(32), b"\x06" + bytes(32), b"\x01" + bytes(33), b"\x01" + bytes(31), b"\x01"]
)
def test_a_verifier_key_of_another_kind_or_length_is_malformed(material: bytes) -> None:
    key_id = hashlib.sha256(b"name\n" + material).hexdigest()[:8]
    with pytest.raises(MalformedError, match="not an Ed25519"):
        NoteVerifier.parse(f"name+{key_id}+{base64.b64encode(material).decode()}")


def test_base64_of_a_verifier_key_may_hold_a_plus() -> None:
    found = next(
        signer for seed in range(256) if "+" in (signer := NoteSigner("n", bytes((seed,)) * 32)).vkey.split("+", 2)[2]
    )
    assert NoteVerifier.parse(found.vkey) == found.verifier


def test_a_cosignature_states_its_time_and_covers_it() -> None:
    note = WITNESS.cosign(NOTE, 1_700_000_000)
    known = [LOG.verifier, NoteVerifier.parse(WITNESS.vkey)]
    assert open_cosigned(note, known) == (TEXT, {LOG.name: None, WITNESS.name: 1_700_000_000})
    head, last = note.rsplit(" ", 1)
    blob = bytearray(base64.b64decode(last))
    blob[11] ^= 1
    with pytest.raises(NoteError):
        open_note(f"{head} {base64.b64encode(bytes(blob)).decode()}\n", known)


def test_a_plain_signature_is_no_cosignature() -> None:
    plain = NoteSigner(WITNESS.name, b"\x03" * 32)
    assert plain.verifier.key_id != WITNESS.verifier.key_id
    _, (line,) = split_note(plain.sign(TEXT))
    with pytest.raises(NoteError):
        WITNESS.verifier.check(TEXT, line.signature)


def test_two_keys_of_one_witness_count_once() -> None:
    second = WitnessSigner(WITNESS.name, b"\x04" * 32)
    note = second.cosign(WITNESS.cosign(NOTE, 5), 6)
    _, times = open_cosigned(note, [WITNESS.verifier, second.verifier])
    assert list(times) == [WITNESS.name]


def test_a_checkpoint_is_three_lines_and_extensions() -> None:
    head = Checkpoint("log.example/tallystick", 0, bytes(32), ("extra", "more"))
    assert head.text() == f"log.example/tallystick\n0\n{base64.b64encode(bytes(32)).decode()}\nextra\nmore\n"
    assert Checkpoint.parse(head.text()) == head
    assert Checkpoint.parse(TEXT) == Checkpoint("log.example/tallystick", 7, b"\x11" * 32)


ROOT64 = base64.b64encode(b"\x11" * 32).decode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        f"o\n7\n{ROOT64}",
        "o\n7\n",
        f"\n7\n{ROOT64}\n",
        f"o\n07\n{ROOT64}\n",
        f"o\n+7\n{ROOT64}\n",
        f"o\n-7\n{ROOT64}\n",
        f"o\n7 \n{ROOT64}\n",
        f"o\n\u0667\n{ROOT64}\n",
        f"o\n9007199254740992\n{ROOT64}\n",
        f"o\n{'9' * 5000}\n{ROOT64}\n",
        f"o\n7\n{ROOT64[:-4]}\n",
        f"o\n7\n{ROOT64[:-2]}F=\n",
        f"o\n7\n{ROOT64}\n\n",
        f"o\n7\n{ROOT64}\nx\n\ny\n",
        f"o\r\n7\r\n{ROOT64}\r\n",
    ],
)
def test_a_checkpoint_with_one_fault_is_malformed(text: str) -> None:
    with pytest.raises(MalformedError):
        Checkpoint.parse(text)


@pytest.mark.parametrize(
    ("origin", "size", "root"), [("", 1, bytes(32)), ("a\nb", 1, bytes(32)), ("o", -1, bytes(32)), ("o", 1, bytes(31))]
)
def test_a_checkpoint_without_text_cannot_be_made(origin: str, size: int, root: bytes) -> None:
    with pytest.raises(MalformedError, match="checkpoint"):
        Checkpoint(origin, size, root)
