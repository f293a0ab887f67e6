"""The examples printed in docs/spec are recomputed, and its table of tags is complete."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tallystick.primitives import canonical, keystore
from tallystick.primitives.cids import raw_cid
from tallystick.primitives.digests import Tag, draw, field_commitment, sha256, tagged
from tallystick.primitives.keys import SigningKey, check_signature, evm_address_of
from tallystick.primitives.merkle import leaf_hash
from tallystick.primitives.notes import NoteSigner, WitnessSigner
from tallystick.receipts import log, tlog_proof
from tallystick.receipts.proofs import LogTree

PAGES = Path(__file__).resolve().parents[2] / "docs" / "spec"


def page(name: str) -> str:
    return (PAGES / f"{name}.md").read_text(encoding="utf-8")


def blocks(text: str) -> list[str]:
    """The fenced blocks of a page, in order, each with its last newline."""
    return re.findall(r"^```[a-z]*\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def test_canonical_json() -> None:
    text = page("canonical-json")
    spelled = blocks(text)[1].removesuffix("\n").encode()
    value = canonical.decode(spelled, dict, what="example")
    assert value["payload"] == {"amount": "1500000000000000000", "memo": 'café "x"\n'}
    assert canonical.encode(json.loads(spelled)) == spelled
    assert f"content, {len(spelled)} bytes" in text
    assert f"`{sha256(spelled).hex()}`" in text
    assert f"`{field_commitment(sha256(b'job'), 'input', bytes(range(16)), b'photo.png').hex()}`" in text
    drawn = draw(b"tallystick/draw/v1\n" + bytes(64), 8, 1000)
    assert f"`{' '.join(map(str, drawn))}`" in text


def test_every_tag_stands_in_the_table_once() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \| .+ \|$", page("canonical-json"), flags=re.MULTILINE)
    assert rows == [tag.value.removeprefix("tallystick/").removesuffix("/v1\n") for tag in Tag]


def test_log_and_checkpoint() -> None:
    text = page("log-and-checkpoint")
    entries = [b"one", b"two", b"three"]
    tree = LogTree(map(leaf_hash, entries))
    signer, witness = (
        NoteSigner("log.example/tallystick", bytes(range(32))),
        WitnessSigner("witness.example/w1", bytes(range(32, 64))),
    )
    note = witness.cosign(signer.sign(log.head(signer.name, tree).text()), 1_700_000_000)
    leaves, proof, keys = blocks(text)
    assert leaves == "".join(f"{tree.leaf(i).hex()}\n" for i in range(3))
    assert proof == tlog_proof.prove(tree, 2, note).encode()
    assert keys == f"{signer.vkey}\n{witness.vkey}\n"
    checked = tlog_proof.check(
        tlog_proof.TlogProof.parse(proof),
        leaf_hash(b"three"),
        origin=signer.name,
        log=[signer.verifier],
        witnesses=[witness.verifier],
        quorum=1,
    )
    assert checked.root == tree.root()
    assert tree.consistency(2, 3) == (tree.leaf(2),)
    files = {name.path: data for name, data in log.growth(tree, 0, 3, entries.__getitem__)}
    assert sorted(files) == ["tile/0/000.p/3", "tile/entries/000.p/3"]
    assert f"`{files['tile/entries/000.p/3'].hex()}`" in text
    assert len(files["tile/0/000.p/3"]) == 96


def test_addresses_and_cids() -> None:
    text = page("addresses-and-cids")
    key = SigningKey(sha256(b"tallystick example key"))
    digest = tagged(Tag.TX, b"example")
    rows = dict(re.findall(r"^\| ([A-Za-z ]+) \| `([0-9a-zA-Z]+)` \|$", text, flags=re.MULTILINE))
    assert rows == {
        "public key": key.public.hex(),
        "address": key.address,
        "EVM address": evm_address_of(key.public),
        "digest": digest.hex(),
        "signature": key.sign(digest).hex(),
        "NID of the empty entry": raw_cid(sha256(b"")),
    }
    check_signature(key.public, digest, bytes.fromhex(rows["signature"]))


def test_keystore() -> None:
    text = page("keystore")
    master, passphrase = bytes(range(32)), "correct horse battery staple"
    _, _, sealed, plain = blocks(text)
    assert sealed.encode() == keystore.seal(master, passphrase, salt=bytes(range(16)), nonce=bytes(range(12))) + b"\n"
    assert plain.encode() == keystore.seal(master, None, salt=b"", nonce=b"") + b"\n"
    assert keystore.unseal(sealed.removesuffix("\n").encode(), passphrase) == master
    assert f"The key for the purpose `log`: `{keystore.derive(master, 'log').hex()}`" in text
