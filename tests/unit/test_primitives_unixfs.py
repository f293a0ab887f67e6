"""Files as trees of blocks, and CARs of them: known roots, every byte back, nothing believed.

The known roots are those of npm ipfs-unixfs-importer 17.1.1; tests/conformance/test_ipfs.py asks it again.
"""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Iterator
from itertools import pairwise

import pytest

from tallystick.errors import MalformedError, NotCanonicalError, TallyError, TooLargeError, VerificationError
from tallystick.primitives import car, unixfs, varint
from tallystick.primitives.cids import Cid, Codec
from tallystick.primitives.unixfs import FileTree, Link, TreeBuilder

PERIOD = bytes(i * i % 251 for i in range(251))


def stretch(size: int) -> Iterator[bytes]:
    """Bytes i * i mod 251, in pieces that fit no chunk."""
    piece = PERIOD * 4096
    while size > 0:
        yield piece[:size]
        size -= len(piece)


def tree_of(data: bytes, chunk: int = 4, width: int = 3, step: int = 7) -> FileTree:
    builder = TreeBuilder(chunk, width)
    for start in range(0, len(data), step):
        builder.update(data[start : start + step])
    return builder.finish()


ROOTS = {
    0: "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku",
    1: "bafkreidogqfzz75tpkmjzjke425xqcrmpcib2p5tg44hnbirumdbpl5adu",
    262143: "bafkreifyp67apbzuhxn7rlwywvddlvljuxd3jebzes7bowbzspxjoq46ry",
    262144: "bafkreibn3bnba3ahjnbe5jub3xffeqhkryrekvstw3jmefah3defwvakbe",
    262145: "bafybeidxmprmzr4otzchu6p3f76uv6h6qm5w5mck43gcl7pmesxrcsmxou",
    1048576: "bafybeihxvtrjjwqlbq4cuntyvwgnse66qvdnl4l74wcdp2mmx7ofq7cymy",
    45613055: "bafybeifcv4rfu65olnczgm32tfqx4cdt3ik5jqeyahihz75zugzuzyp354",
    45613056: "bafybeihzgoxybtqz5yjuvf4g4hxli4xo5gq3ksidauvsy2cpkj34n74tzi",
    45613057: "bafybeiddo5iaa4lo5m64uqpi4rrhf57lz646asej57rg6wvk6xqg2tpqhe",
}
SMALL = {  # chunks of 4 bytes, 3 links a node
    4: "bafkreia6qd5rfi5cimksxkcnmqaus3m2bctps66pjqrwqsop6umnsswhzm",
    5: "bafybeibfbds53lfaug7uhjsj2hvncychmnrpqwl3refiuspfa7pu5zpx7a",
    12: "bafybeig4qjqo6xcese6zpbdeb5czx4shjlji5s2btglhdihamyolgbfaqm",
    13: "bafybeideu5co5fjpx3nl3wnligdqeedgykz6pflxv7pv2uku556a5ctrki",
    36: "bafybeib5x56d5ctvy3z2k6v6vogulsoofenu7dn5sl7unsfl4f4n6d6bfm",
    37: "bafybeifp7h7ukwkny7kzyb24hpyr7o2naex2p3islhcxw3xc5cei4nnpgi",
    109: "bafybeihzc6giefwicuqea3bkhqc4c6npz6oicivdz3a4kvn3n3l3yzzjqm",
}


@pytest.mark.parametrize("size", ROOTS)
def test_the_profile_gives_the_roots_that_ipfs_gives(size: int) -> None:
    tree = unixfs.file_tree(stretch(size))
    assert (str(tree.root), tree.size) == (ROOTS[size], size)


@pytest.mark.parametrize("size", SMALL)
def test_small_chunks_reach_every_level(size: int) -> None:
    tree = tree_of(b"".join(stretch(size)))
    assert str(tree.root) == SMALL[size]
    assert len(tree.levels) == {4: 0, 5: 1, 12: 1, 13: 2, 36: 2, 37: 3, 109: 4}[size]


@pytest.mark.parametrize("step", [1, 3, 4, 5, 12, 1000])
def test_pieces_make_no_difference(step: int) -> None:
    data = b"".join(stretch(97))
    assert tree_of(data, step=step) == tree_of(data)


def test_a_large_file_is_never_held() -> None:
    tracemalloc.start()
    try:
        tree = unixfs.file_tree(stretch(32 << 20))
        for _ in tree.blocks(_Endless().read):
            pass
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 6 << 20  # one piece of 1 MiB, a block or two


class _Endless:
    """The same bytes as ``stretch``, without an end."""

    def __init__(self) -> None:
        self.at = 0

    def read(self, count: int) -> bytes:
        start, self.at = self.at % 251, self.at + count
        return (PERIOD * (count // 251 + 2))[start : start + count]


@pytest.mark.parametrize("size", [0, 1, 4, 5, 12, 13, 37, 109])
def test_a_car_gives_the_file_back(size: int) -> None:
    data = b"".join(stretch(size))
    tree = tree_of(data)
    written = b"".join(car.write(tree.root, tree.blocks(io.BytesIO(data).read)))
    sizes = [len(block) for _, block in tree.blocks(io.BytesIO(data).read)]
    assert len(written) == car.length(tree.root, sizes)
    reader = car.CarReader(io.BytesIO(written).read, bytes_max=len(written))
    assert reader.root == tree.root
    assert b"".join(unixfs.content(reader.root, reader.in_order())) == data


def test_blocks_come_depth_first_and_again_where_they_occur_again() -> None:
    data = b"abcd" * 10
    tree = tree_of(data)
    blocks = list(tree.blocks(io.BytesIO(data).read))
    assert [cid.codec.name for cid, _ in blocks] == [
        *("DAG_PB", "DAG_PB"),
        *("DAG_PB", "RAW", "RAW", "RAW") * 3,
        *("DAG_PB", "DAG_PB", "RAW"),
    ]
    assert len({cid for cid, _ in blocks if cid.codec is Codec.RAW}) == 1


@pytest.mark.parametrize("size", [0, 3, 5, 36, 37, 110])
def test_every_block_is_found_by_its_name_and_heads_a_car_of_what_lies_below_it(size: int) -> None:
    data = bytes(range(size))
    tree = tree_of(data)
    for cid, block in tree.blocks(io.BytesIO(data).read):
        place = tree.find(cid)
        assert place is not None
        part = data[place.offset : place.offset + place.length]
        assert block == (tree.node(place) if place.height else part)
        below = dict(tree.blocks(io.BytesIO(part).read, place))
        assert b"".join(unixfs.content(cid, below.__getitem__)) == part
    assert tree.find(Cid.of(Codec.RAW, b"another")) is None
    assert tree.find(Cid.of(Codec.DAG_PB, b"another")) is None


@pytest.mark.parametrize("at", [0, 5, 36])
def test_a_file_that_changed_is_not_sent(at: int) -> None:
    data = bytearray(range(37))
    tree = tree_of(bytes(data))
    data[at] ^= 1
    with pytest.raises(VerificationError, match="block"):
        list(tree.blocks(io.BytesIO(data).read))
    with pytest.raises(VerificationError, match="block"):
        list(tree.blocks(io.BytesIO(bytes(range(36))).read))


def test_a_tampered_block_is_refused() -> None:
    data = bytes(range(37))
    tree = tree_of(data)
    good = dict(tree.blocks(io.BytesIO(data).read))
    assert b"".join(unixfs.content(tree.root, good.__getitem__)) == data
    for cid, block in good.items():
        bad = good | {cid: bytes([block[0] ^ 1]) + block[1:]}
        with pytest.raises(VerificationError, match="block"):
            list(unixfs.content(tree.root, bad.__getitem__))


def test_a_node_that_promises_other_sizes_is_refused() -> None:
    leaf, blocks = Cid.of(Codec.RAW, b"abcd"), {}
    blocks[leaf] = b"abcd"
    liar = unixfs.encode_node([Link(leaf, 4, 5)])
    blocks[Cid.of(Codec.DAG_PB, liar)] = liar
    with pytest.raises(VerificationError, match="expected 5, actual 4"):
        list(unixfs.content(Cid.of(Codec.DAG_PB, liar), blocks.__getitem__))
    above = unixfs.encode_node([Link(Cid.of(Codec.DAG_PB, liar), 60, 4)])
    blocks[Cid.of(Codec.DAG_PB, above)] = above
    with pytest.raises(VerificationError, match="expected 4, actual 5"):
        list(unixfs.content(Cid.of(Codec.DAG_PB, above), blocks.__getitem__))


def test_depth_is_bounded_and_other_codecs_are_no_file() -> None:
    blocks = {Cid.of(Codec.RAW, b"x"): b"x"}
    name = next(iter(blocks))
    for _ in range(unixfs.DEPTH_MAX + 1):
        node = unixfs.encode_node([Link(name, 1, 1)])
        name = Cid.of(Codec.DAG_PB, node)
        blocks[name] = node
    with pytest.raises(MalformedError, match="within 8 levels"):
        list(unixfs.content(name, blocks.__getitem__))
    with pytest.raises(MalformedError, match="no dag-pb node"):
        list(unixfs.content(Cid.of(Codec.DAG_CBOR, b"\xa0"), lambda _: b"\xa0"))


NODE = unixfs.encode_node([Link(Cid.of(Codec.RAW, b"abcd"), 4, 4), Link(Cid.of(Codec.RAW, b"ef"), 2, 2)])


def test_a_node_reads_back() -> None:
    assert unixfs.encode_node(unixfs.parse_node(NODE)) == NODE
    assert unixfs.parse_node(unixfs.encode_node([])) == ()


@pytest.mark.parametrize(
    ("block", "error"),
    [
        (b"", MalformedError),
        (b"\x0a\x02\x08\x01", MalformedError),  # a directory
        (NODE + b"\0", NotCanonicalError),
        (NODE[:-2], MalformedError),
        (NODE[NODE.rindex(b"\x0a\x08\x08\x02") :], MalformedError),  # sizes without links
        (NODE[NODE.rindex(b"\x0a\x08\x08\x02") :] + NODE[: NODE.rindex(b"\x0a\x08\x08\x02")], MalformedError),
        (NODE.replace(b"\x12\x00\x18", b"\x12\x01a\x18"), MalformedError),  # a link with a name
        (NODE.replace(b"\x18\x06", b"\x18\x07"), NotCanonicalError),  # the size is not the sum
        (NODE.replace(b"\x08\x02\x18\x06", b"\x08\x02\x18\x86\x00"), NotCanonicalError),  # a varint too long
        (bytes(unixfs.NODE_BYTES_MAX + 1), TooLargeError),
        (unixfs.encode_node([Link(Cid.of(Codec.RAW, b""), 1, 2**62)]), TooLargeError),
    ],
)
def test_what_encode_would_not_write_is_refused(block: bytes, error: type[TallyError]) -> None:
    with pytest.raises(error):
        unixfs.parse_node(block)


@pytest.mark.parametrize("cut", range(len(NODE)))
def test_a_cut_node_is_malformed(cut: int) -> None:
    with pytest.raises(MalformedError):
        unixfs.parse_node(NODE[:cut])


# CARs.

ROOT = Cid.of(Codec.RAW, b"hello world")
CAR = bytes.fromhex(
    "3aa265726f6f747381d82a58250001551220b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde967766572"
    "73696f6e01"
    "2f01551220b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde968656c6c6f20776f726c64"
)


def read(data: bytes, **limits: int) -> list[tuple[Cid, bytes]]:
    return list(car.CarReader(io.BytesIO(data).read, **({"bytes_max": 1 << 20} | limits)))


def test_a_known_car() -> None:
    assert b"".join(car.write(ROOT, [(ROOT, b"hello world")])) == CAR
    assert read(CAR) == [(ROOT, b"hello world")]
    assert read(CAR[:59]) == []


def unpacked(source: io.BytesIO) -> bytes:
    reader = car.CarReader(source.read, bytes_max=1 << 20)
    return b"".join(unixfs.content(reader.root, reader.in_order()))


@pytest.mark.parametrize("cut", [*range(59), *range(60, len(CAR))])
def test_a_cut_car_is_malformed(cut: int) -> None:
    with pytest.raises(MalformedError):
        read(CAR[:cut])


@pytest.mark.parametrize("at", range(len(CAR)))
def test_every_byte_of_a_car_counts(at: int) -> None:
    reader = io.BytesIO(CAR[:at] + bytes([CAR[at] ^ 1]) + CAR[at + 1 :])
    with pytest.raises((MalformedError, VerificationError)):
        unpacked(reader)


def test_a_car_is_bounded() -> None:
    assert read(CAR, bytes_max=len(CAR), block_bytes_max=11)
    with pytest.raises(TooLargeError, match="a section of 47 bytes"):
        read(CAR, bytes_max=len(CAR) - 1)
    with pytest.raises(TooLargeError, match="the limit is 46"):
        read(CAR, block_bytes_max=10)
    with pytest.raises(TooLargeError, match="section"):
        read(CAR + varint.encode(1 << 40))
    with pytest.raises(TooLargeError, match="header"):
        read(varint.encode(59) + CAR[1:])


def test_blocks_out_of_order_are_refused() -> None:
    data = bytes(range(9))
    tree = tree_of(data)
    blocks = list(tree.blocks(io.BytesIO(data).read))
    for wrong in (blocks[:-1], blocks[1:], [*blocks[:1], *reversed(blocks[1:])]):
        written = b"".join(car.write(tree.root, wrong))
        reader = car.CarReader(io.BytesIO(written).read, bytes_max=len(written))
        with pytest.raises(VerificationError, match="next block"):
            list(unixfs.content(tree.root, reader.in_order()))


# Varints.


@pytest.mark.parametrize(
    ("value", "data"), [(0, "00"), (1, "01"), (127, "7f"), (128, "8001"), (300, "ac02"), (2**63 - 1, "ff" * 8 + "7f")]
)
def test_known_varints(value: int, data: str) -> None:
    assert varint.encode(value).hex() == data
    assert varint.decode(b"\x05" + bytes.fromhex(data) + b"\x01", 1) == (value, 1 + len(data) // 2)


@pytest.mark.parametrize("data", ["", "80", "ff" * 8, "ff" * 9 + "01", "80" * 9 + "01"])
def test_a_varint_must_end(data: str) -> None:
    with pytest.raises(MalformedError, match="does not end"):
        varint.decode(bytes.fromhex(data))


@pytest.mark.parametrize("data", ["8000", "ff00", "808000"])
def test_a_varint_has_one_spelling(data: str) -> None:
    with pytest.raises(NotCanonicalError, match="zero byte"):
        varint.decode(bytes.fromhex(data))


@pytest.mark.parametrize("value", [-1, 2**63])
def test_numbers_outside_are_not_written(value: int) -> None:
    with pytest.raises(ValueError, match="not within"):
        varint.encode(value)


def test_longer_varints_are_longer_numbers() -> None:
    values = [1 << 7 * count for count in range(1, 9)]
    written = [varint.encode(value) for value in values]
    assert all(len(second) == len(first) + 1 for first, second in pairwise(written))
