from __future__ import annotations

from pathlib import Path

import pytest

from tallystick.audit.trust import AnchorPin, CoordinatorPin, CredentialPin, LogPin, Trust, parse, spell
from tallystick.errors import MalformedError
from tallystick.primitives.keys import SigningKey
from tallystick.primitives.notes import NoteSigner, WitnessSigner

KEY = SigningKey(b"\x01" * 32).public.hex()
VKEY = NoteSigner("log.example/one", b"\x02" * 32).vkey
ROOT = "-----BEGIN CERTIFICATE-----\nMIIB\nAAAA\n-----END CERTIFICATE-----\n"
CHAIN = "tally-0123456789abcdef"
CONTRACT, RECORDER, BLOCK = "0x" + "cC" * 20, "0x" + "aB" * 20, "b1" * 32

FILE = f"""\
version = 1
chain_id = "{CHAIN}"

[log]
origin = "log.example/one"
vkey = "{VKEY}"
first = 0

[[coordinator]]
key = "{KEY}"
first = 0
last = 41

[c2pa]
root = '''
{ROOT}'''

[[anchor]]
chain = "eip155:1"
contract = "{CONTRACT}"
recorder = "{RECORDER}"

[[anchor]]
chain = "eip155:1"
contract = "{CONTRACT}"
recorder = "{RECORDER}"
asset_cid = "bafkrei"
block_hash = "{BLOCK}"
"""

TRUST = Trust(
    version=1,
    chain_id=CHAIN,
    log=LogPin(origin="log.example/one", vkey=VKEY, first=0),
    coordinators=(CoordinatorPin(key=KEY, first=0, last=41),),
    c2pa=CredentialPin(ROOT),
    anchors=(
        AnchorPin(chain="eip155:1", contract=CONTRACT, recorder=RECORDER),
        AnchorPin(chain="eip155:1", contract=CONTRACT, recorder=RECORDER, asset_cid="bafkrei", block_hash=BLOCK),
    ),
)


def test_a_file_reads_as_it_is_written() -> None:
    assert parse(FILE.encode()) == TRUST
    assert spell(TRUST) == FILE.encode()


def test_a_name_with_quotes_and_umlauts_survives() -> None:
    odd = Trust(1, CHAIN, LogPin(origin='a "b" \\ ü', vkey=VKEY, first=3, last=3), TRUST.coordinators)
    assert parse(spell(odd)) == odd


def test_the_certificate_and_the_last_index_may_be_absent() -> None:
    text = FILE.split("[c2pa]", maxsplit=1)[0].replace("last = 41\n", "")
    trust = parse(text.encode())
    assert trust.c2pa is None
    assert trust.coordinators[0].covers(10**15)
    assert trust.anchors == ()


def test_pins_of_a_chain_are_found_by_its_name() -> None:
    assert TRUST.anchors_on("eip155:1") == TRUST.anchors
    assert TRUST.anchors_on("eip155:10") == ()


def test_a_range_includes_both_its_ends() -> None:
    pin = CoordinatorPin(key=KEY, first=3, last=5)
    assert [index for index in range(9) if pin.covers(index)] == [3, 4, 5]


def test_a_key_may_be_pinned_for_several_ranges() -> None:
    other = SigningKey(b"\x07" * 32).public.hex()
    pins = (
        CoordinatorPin(key=KEY, first=0, last=1),
        CoordinatorPin(key=other, first=2),
        CoordinatorPin(key=KEY, first=9),
    )
    assert Trust(1, CHAIN, TRUST.log, pins).pins(KEY) == (pins[0], pins[2])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("version = 1", "version = 2"),
        ("version = 1", "version = true"),
        ("version = 1", "version = 1\nextra = 1"),
        ("version = 1", "version = 1\nversion = 1"),
        ("[log]", "[log]\nwitness = 1"),
        ("last = 41", "last = 41\nuntil = 3"),
        ("[c2pa]", "[c2pa]\nleaf = ''"),
        (CHAIN, CHAIN[:-1]),
        (CHAIN, CHAIN + "\\n"),
        (CHAIN, CHAIN.upper()),
        ("first = 0\n\n", "first = -1\n\n"),
        ("first = 0\n\n", "\n\n"),
        ("first = 0\nlast = 41", "first = 42\nlast = 41"),
        ("first = 0\nlast", "first = 0.0\nlast"),
        ("first = 0\nlast", "first = 1979-05-27\nlast"),
        ("first = 0\nlast", f"first = {'9' * 5000}\nlast"),
        (KEY, KEY[:-1]),
        (KEY, "04" + KEY[2:]),
        (KEY, "02" + "ff" * 32),
        (VKEY, VKEY[:-4] + "AAA="),
        (VKEY, WitnessSigner("w", b"\x03" * 32).vkey),
        ("-----BEGIN CERTIFICATE-----", "-----BEGIN PRIVATE KEY-----"),
        ("AAAA", "AA'A"),
        ("[[coordinator]]", "[coordinator]"),
        ("[[coordinator]]", "[[coordinators]]"),
        ("[log]", "[log"),
        ("[log]", "x = " + "[" * 3000),
        ("[[anchor]]", "[anchor]"),
        ('chain = "eip155:1"', 'chain = "1"'),
        (CONTRACT, CONTRACT[:-1]),
        (RECORDER, RECORDER[2:]),
        ('asset_cid = "bafkrei"\n', ""),
        (f'block_hash = "{BLOCK}"\n', ""),
        (BLOCK, "0x" + BLOCK),
        ('asset_cid = "bafkrei"', 'asset_cid = "bafkrei"\nblock = 7'),
    ],
)
def test_any_other_file_is_refused(old: str, new: str) -> None:
    assert old in FILE
    with pytest.raises(MalformedError):
        parse(FILE.replace(old, new, 1).encode())


@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b"\x00", b"{}", b"version = 1\n", b"# " + b"a" * 70_000])
def test_what_is_no_trust_file_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedError):
        parse(data)


def test_the_example_in_the_documentation_is_a_trust_file() -> None:
    page = (Path(__file__).parents[2] / "docs" / "spec" / "trust-file.md").read_text(encoding="utf-8")
    example = page.split("```toml\n", 1)[1].split("```", 1)[0].replace("…", "AAAA")
    assert parse(example.encode()).pins(KEY)[0].last == 41
