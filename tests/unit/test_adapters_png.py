from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tallystick.adapters.png import CHUNK_MAX, PngWriter, filtered, write_png
from tallystick.errors import UsageError
from tallystick.kernels.raster import Raster


def noise(height: int, width: int, channels: int, dtype: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(1).integers(0, np.iinfo(dtype).max + 1, (height, width, channels)).astype(dtype)


def smooth(height: int, width: int, channels: int) -> np.ndarray:
    y, x, c = np.indices((height, width, channels))
    return (127 + 90 * np.sin(x / 9 + c) * np.cos(y / 13)).astype(np.uint8)


def written(samples: np.ndarray, **options: object) -> bytes:
    file = io.BytesIO()
    write_png(file, Raster(samples), **options)
    return file.getvalue()


def chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """Kind and body of every chunk, with its checksum verified."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    found, position = [], 8
    while position < len(data):
        (length,) = struct.unpack_from(">I", data, position)
        kind, body = data[position + 4 : position + 8], data[position + 8 : position + 8 + length]
        assert struct.unpack_from(">I", data, position + 8 + length) == (zlib.crc32(kind + body),)
        found.append((kind, body))
        position += length + 12
    return found


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (37, 53)])
def test_pillow_reads_the_same_samples_back(channels: int, size: tuple[int, int]) -> None:
    for samples in (noise(*size, channels), smooth(*size, channels)):
        back = np.asarray(Image.open(io.BytesIO(written(samples)))).reshape(samples.shape)
        assert np.array_equal(back, samples)


def test_16_bit_grey_comes_back() -> None:
    samples = noise(29, 31, 1, np.uint16)
    picture = Image.open(io.BytesIO(written(samples)))
    assert picture.mode == "I;16"
    assert np.array_equal(np.asarray(picture)[..., None], samples)


def test_16_bit_colour_is_filtered_over_whole_pixels() -> None:
    samples = noise(11, 13, 3, np.uint16)
    body = zlib.decompress(b"".join(body for kind, body in chunks(written(samples)) if kind == b"IDAT"))
    rows = np.frombuffer(body, np.uint8).reshape(11, 1 + 13 * 6)
    assert np.array_equal(unfiltered(rows, 6), samples.astype(">u2").view(np.uint8).reshape(11, -1))


def unfiltered(rows: np.ndarray, pixel_bytes: int) -> np.ndarray:
    """Undo the filters byte by byte, as PNG 9.2 writes them."""
    result = np.zeros((rows.shape[0], rows.shape[1] - 1), np.uint8)
    for y, row in enumerate(rows.tolist()):
        for x, value in enumerate(row[1:]):
            a = int(result[y, x - pixel_bytes]) if x >= pixel_bytes else 0
            b = int(result[y - 1, x]) if y else 0
            c = int(result[y - 1, x - pixel_bytes]) if y and x >= pixel_bytes else 0
            nearest = min((abs(b - c), 0, a), (abs(a - c), 1, b), (abs(a + b - 2 * c), 2, c))[2]
            result[y, x] = (value + {0: 0, 1: a, 2: b, 3: (a + b) // 2, 4: nearest}[row[0]]) & 255
    return result


def test_every_filter_is_used_where_it_is_smallest() -> None:
    across = np.tile(np.arange(0, 120, 3, dtype=np.uint8), (4, 1))
    data = np.concatenate([across, across, smooth(6, 40, 1)[..., 0]])
    above = np.concatenate([np.zeros((1, 40), np.uint8), data[:-1]])
    rows = np.frombuffer(filtered(data, above, 1), np.uint8).reshape(data.shape[0], -1)
    assert rows[0, 0] == 1
    assert rows[1, 0] == 2
    assert 4 in rows[:, 0]
    assert np.array_equal(unfiltered(rows, 1), data)


def test_strips_of_any_height_give_the_same_picture() -> None:
    samples = smooth(100, 70, 3)
    file = io.BytesIO()
    with PngWriter(file, 70, 100, 3, 8) as writer:
        for start, stop in ((0, 1), (1, 8), (8, 8), (8, 99), (99, 100)):
            writer.write(samples[start:stop])
    assert file.getvalue() == written(samples)


def test_chunks_stay_small_and_the_colour_profile_is_embedded() -> None:
    found = chunks(written(noise(900, 1500, 3), icc_profile=b"a profile", level=1))
    kinds = [kind for kind, _ in found]
    assert kinds == [b"IHDR", b"iCCP", *[b"IDAT"] * (len(kinds) - 3), b"IEND"]
    sizes = [len(body) for kind, body in found if kind == b"IDAT"]
    assert len(sizes) > 3
    assert set(sizes[:-1]) == {CHUNK_MAX}
    assert Image.open(io.BytesIO(written(noise(2, 2, 3), icc_profile=b"a profile"))).info["icc_profile"] == b"a profile"


def test_size_is_comparable_to_pillows_at_its_own_default() -> None:
    source = Path(__file__).resolve().parents[2] / "src" / "tallystick" / "cli" / "picture.png"
    samples = np.asarray(Image.open(source)).copy()
    theirs = io.BytesIO()
    Image.fromarray(samples).save(theirs, "PNG")
    assert len(written(samples)) < 1.15 * len(theirs.getvalue())


def test_wrong_rows_and_shapes_are_refused() -> None:
    writer = PngWriter(io.BytesIO(), 5, 4, 3, 8)
    for rows in (noise(1, 4, 3), noise(1, 5, 1), noise(1, 5, 3, np.uint16), noise(5, 5, 3), noise(1, 5, 3)[0]):
        with pytest.raises(UsageError, match="do not continue"):
            writer.write(rows)
    writer.write(noise(3, 5, 3))
    with pytest.raises(UsageError, match="1 rows of the PNG are missing"):
        writer.finish()
    for shape in ((0, 1, 1, 8), (1, 0, 1, 8), (1, 1, 5, 8), (1, 1, 1, 4), (1 << 31, 1, 1, 8)):
        with pytest.raises(UsageError):
            PngWriter(io.BytesIO(), *shape)


def test_an_error_in_the_block_is_not_covered_by_missing_rows() -> None:
    def break_off() -> None:
        with PngWriter(io.BytesIO(), 5, 4, 3, 8):
            raise KeyError("the worker is gone")

    with pytest.raises(KeyError):
        break_off()


def test_finishing_twice_writes_one_end() -> None:
    file = io.BytesIO()
    writer = PngWriter(file, 1, 1, 1, 8)
    writer.write(noise(1, 1, 1))
    writer.finish()
    writer.finish()
    assert [kind for kind, _ in chunks(file.getvalue())] == [b"IHDR", b"IDAT", b"IEND"]
