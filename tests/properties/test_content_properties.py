"""Any bytes, any chunking: the file comes back from its blocks and its CAR, and nothing else is taken for it."""

from __future__ import annotations

import io
from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from tallystick.errors import MalformedError, TallyError
from tallystick.primitives import car, unixfs, varint
from tallystick.primitives.cids import Cid, Codec
from tallystick.primitives.unixfs import FileTree, Link, TreeBuilder

FILES = st.tuples(st.binary(max_size=400), st.integers(1, 9), st.integers(2, 5), st.integers(1, 50))
CIDS = st.builds(Cid, st.sampled_from(Codec), st.binary(min_size=32, max_size=32))
SIZES = st.integers(0, 2**40)
LINKS = st.lists(st.builds(Link, CIDS, SIZES, SIZES), max_size=20)


def tree_of(data: bytes, chunk: int, width: int, step: int) -> FileTree:
    builder = TreeBuilder(chunk, width)
    for start in range(0, len(data), step):
        builder.update(data[start : start + step])
    return builder.finish()


@given(FILES)
def test_a_file_comes_back_from_its_car(case: tuple[bytes, int, int, int]) -> None:
    data = case[0]
    tree = tree_of(*case)
    blocks = list(tree.blocks(io.BytesIO(data).read))
    written = b"".join(car.write(tree.root, blocks))
    assert len(written) == car.length(tree.root, (len(block) for _, block in blocks))
    reader = car.CarReader(io.BytesIO(written).read, bytes_max=len(written))
    assert b"".join(unixfs.content(tree.root, reader.in_order())) == data
    assert tree == tree_of(data, case[1], case[2], len(data) + 1)


@given(FILES, st.data())
def test_every_place_leads_to_its_part_of_the_file(case: tuple[bytes, int, int, int], draw: st.DataObject) -> None:
    data, tree = case[0], tree_of(*case)
    place = draw.draw(st.sampled_from(list(tree.places())))
    part = data[place.offset : place.offset + place.length]
    below = dict(tree.blocks(io.BytesIO(part).read, place))
    assert b"".join(unixfs.content(place.cid, below.__getitem__)) == part
    found = tree.find(place.cid)
    assert found is not None
    assert data[found.offset : found.offset + found.length] == part


@given(LINKS)
def test_nodes_read_back(links: list[Link]) -> None:
    assert unixfs.parse_node(unixfs.encode_node(links)) == tuple(links)


@given(LINKS, st.data())
def test_another_node_is_another_block(links: list[Link], draw: st.DataObject) -> None:
    block = bytearray(unixfs.encode_node(links))
    at = draw.draw(st.integers(0, len(block) - 1))
    block[at] ^= draw.draw(st.integers(1, 255))
    try:
        read = unixfs.parse_node(bytes(block))
    except TallyError:
        return
    assert unixfs.encode_node(read) == bytes(block)  # another CID, size or digest, spelled as it must be


@given(st.binary(max_size=300))
def test_any_bytes_are_a_node_or_refused(block: bytes) -> None:
    with suppress(MalformedError):
        assert unixfs.encode_node(unixfs.parse_node(block)) == block


@given(st.binary(max_size=300))
def test_any_bytes_are_a_car_or_refused(data: bytes) -> None:
    try:
        for cid, block in car.CarReader(io.BytesIO(data).read, bytes_max=1 << 20):
            cid.check(block)
    except TallyError:
        pass


@given(CIDS)
def test_cids_have_one_text_and_one_spelling_in_bytes(cid: Cid) -> None:
    assert Cid.parse(str(cid)) == Cid.decode(cid.encode()) == cid


@given(st.text(max_size=70))
def test_any_text_is_a_cid_or_refused(text: str) -> None:
    with suppress(MalformedError):
        assert str(Cid.parse(text)) == text


@given(st.integers(0, 2**63 - 1), st.binary(max_size=3))
def test_varints_read_back(value: int, tail: bytes) -> None:
    written = varint.encode(value)
    assert varint.decode(written + tail) == (value, len(written))
