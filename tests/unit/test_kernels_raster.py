from __future__ import annotations

import hashlib
import struct

import numpy as np
import pytest

from tallystick.errors import MalformedError, UsageError
from tallystick.kernels.raster import Raster, RasterDigest, block_bytes, raster_digest, samples_from_bytes


def ramp(shape: tuple[int, ...], dtype: type) -> np.ndarray:
    return (np.arange(np.prod(shape)) * 977).astype(dtype).reshape(shape)


def test_16_bit_samples_are_big_endian() -> None:
    assert block_bytes(np.array([[[1, 0x0203]], [[4, 5]]], np.uint16)) == bytes([0, 1, 2, 3, 0, 4, 0, 5])


def test_rows_of_a_slice_come_interleaved() -> None:
    samples = ramp((4, 5, 3), np.uint8)
    cut = samples[1:3, 2:4]
    assert block_bytes(cut) == b"".join(bytes(samples[y, x]) for y in (1, 2) for x in (2, 3))


@pytest.mark.parametrize(("dtype", "depth"), [(np.uint8, 8), (np.uint16, 16)])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_bytes_come_back_as_samples(dtype: type, depth: int, channels: int) -> None:
    samples = ramp((3, 7, channels), dtype)
    back = samples_from_bytes(block_bytes(samples), 3, 7, channels, depth)
    assert back.dtype == dtype
    assert np.array_equal(back, samples)


def test_a_block_of_another_length_is_refused() -> None:
    with pytest.raises(MalformedError, match="11 bytes instead of 12"):
        samples_from_bytes(bytes(11), 2, 2, 3, 8)
    with pytest.raises(UsageError, match="12 bits"):
        samples_from_bytes(bytes(12), 2, 2, 3, 12)


@pytest.mark.parametrize(("dtype", "depth"), [(np.uint8, 8), (np.uint16, 16)])
def test_the_digest_is_that_of_the_written_format(dtype: type, depth: int) -> None:
    samples = ramp((300, 70, 3), dtype)
    body = samples.astype(f">u{depth // 8}").tobytes()
    expected = hashlib.sha256(b"tallystick/raster/v1\n" + struct.pack(">IIBB", 70, 300, 3, depth) + body).digest()
    assert raster_digest(Raster(samples)) == expected
    pieces = RasterDigest(70, 300, 3, depth)
    for y in range(0, 300, 7):
        pieces.update(samples[y : y + 7])
    assert pieces.digest() == expected


def test_a_large_raster_is_digested_in_pieces() -> None:
    samples = ramp((1500, 1000, 1), np.uint8)
    whole = RasterDigest(1000, 1500, 1, 8).update(samples).digest()
    assert raster_digest(Raster(samples)) == whole


def test_a_digest_refuses_missing_and_foreign_rows() -> None:
    digest = RasterDigest(5, 4, 3, 8)
    for rows in (
        ramp((1, 4, 3), np.uint8),
        ramp((1, 5, 1), np.uint8),
        ramp((1, 5, 3), np.uint16),
        ramp((5, 5, 3), np.uint8),
    ):
        with pytest.raises(UsageError, match="do not continue"):
            digest.update(rows)
    digest.update(ramp((3, 5, 3), np.uint8))
    with pytest.raises(UsageError, match="1 rows of the raster are missing"):
        digest.digest()


def test_a_raster_knows_its_shape() -> None:
    raster = Raster(ramp((3, 7, 4), np.uint8))
    assert (raster.width, raster.height, raster.channels, raster.depth) == (7, 3, 4, 8)
    assert Raster(ramp((3, 7, 1), np.uint16)).depth == 16


@pytest.mark.parametrize(
    "samples",
    [
        np.zeros((2, 2), np.uint8),
        np.zeros((2, 2, 5), np.uint8),
        np.zeros((2, 0, 3), np.uint8),
        np.zeros((2, 2, 3), np.int16),
        np.zeros((2, 2, 3), ">u2"),
        np.zeros((2, 4, 3), np.uint8)[:, ::2],
    ],
)
def test_other_arrays_are_no_raster(samples: np.ndarray) -> None:
    with pytest.raises(UsageError):
        Raster(samples)
