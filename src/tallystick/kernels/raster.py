"""Rasters and their bytes: what a picture is once it has left its file.

Knows the order and width of samples and the digest over them; refuses to know about colour spaces and file formats.
The byte format is docs/spec/raster.md.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tallystick.errors import MalformedError, UsageError
from tallystick.primitives.digests import Tag, u8, u32

Samples: TypeAlias = NDArray[np.uint8] | NDArray[np.uint16]

BYTE: Final = 8
DIMENSIONS: Final = 3
CHANNELS_MAX: Final = 4
ALPHA_CHANNELS: Final = frozenset({2, 4})
DEPTH_OF: Final[dict[np.dtype[np.generic], int]] = {np.dtype(np.uint8): BYTE, np.dtype(np.uint16): 16}

_BIG_ENDIAN: Final = np.dtype(">u2")


def _check_samples(samples: Samples) -> None:
    """Refuse an array that is not a raster's: uint8 or uint16, three dimensions, 1 to 4 channels."""
    if samples.dtype not in DEPTH_OF or samples.ndim != DIMENSIONS or not 1 <= samples.shape[2] <= CHANNELS_MAX:
        raise UsageError(
            f"samples of {samples.dtype} {samples.shape} are no raster: "
            "it takes uint8 or uint16 of (height, width, 1 to 4 channels)"
        )


@dataclass(frozen=True, slots=True, eq=False)
class Raster:
    """A decoded, upright picture.

    Attributes:
        samples: uint8 or uint16 (height, width, channels), C-contiguous, not empty; with 2 and 4 channels the last is
            alpha, not premultiplied.

    Raises:
        UsageError: the samples are of another kind.
    """

    samples: Samples

    def __post_init__(self) -> None:
        _check_samples(self.samples)
        if not self.samples.size or not self.samples.flags.c_contiguous:
            raise UsageError("a raster's samples are not empty and lie in memory row by row")

    @property
    def width(self) -> int:
        """Columns."""
        return int(self.samples.shape[1])

    @property
    def height(self) -> int:
        """Rows."""
        return int(self.samples.shape[0])

    @property
    def channels(self) -> int:
        """1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha."""
        return int(self.samples.shape[2])

    @property
    def depth(self) -> int:
        """Bits per sample: 8 or 16."""
        return DEPTH_OF[self.samples.dtype]


def block_bytes(samples: Samples) -> bytes:
    """The bytes of a rectangle of samples: interleaved rows, top to bottom, 16-bit samples big-endian.

    Raises:
        UsageError: the samples are not uint8 or uint16 (height, width, 1 to 4 channels).
    """
    _check_samples(samples)
    if DEPTH_OF[samples.dtype] == BYTE:
        return samples.tobytes()
    return samples.astype(_BIG_ENDIAN).tobytes()


def samples_from_bytes(data: bytes, height: int, width: int, channels: int, depth: int) -> Samples:
    """The samples of a rectangle from its bytes; the inverse of ``block_bytes``. The array may be read-only.

    Raises:
        UsageError: the depth is neither 8 nor 16.
        MalformedError: the bytes are not as many as the rectangle has.
    """
    if depth not in DEPTH_OF.values():
        raise UsageError(f"a depth of {depth} bits is not supported: 8 or 16")
    expected = height * width * channels * depth // 8
    if len(data) != expected:
        raise MalformedError(f"a block of {width} x {height} x {channels}", f"{len(data)} bytes instead of {expected}")
    shape = (height, width, channels)
    if depth == BYTE:
        return np.frombuffer(data, np.uint8).reshape(shape)
    return np.frombuffer(data, _BIG_ENDIAN).astype(np.uint16).reshape(shape)


class RasterDigest:
    """SHA-256(tag | width | height | channels | depth | samples) of a raster, fed with rows from top to bottom."""

    def __init__(self, width: int, height: int, channels: int, depth: int) -> None:
        """Begin with the raster's shape (see ``Raster``)."""
        head = Tag.RASTER.value.encode() + u32(width) + u32(height) + u8(channels) + u8(depth)
        self._hash = hashlib.sha256(head)
        self._row_shape: Final = (width, channels)
        self._depth: Final = depth
        self._rows_left = height

    def update(self, rows: Samples) -> RasterDigest:
        """Take the next rows, (n, width, channels), and return itself.

        Raises:
            UsageError: the rows are of another width, kind or depth, or more than the raster has.
        """
        _check_samples(rows)
        if rows.shape[1:] != self._row_shape or DEPTH_OF[rows.dtype] != self._depth or rows.shape[0] > self._rows_left:
            raise UsageError(f"rows of {rows.dtype} {rows.shape} do not continue this raster")
        self._rows_left -= rows.shape[0]
        plain = DEPTH_OF[rows.dtype] == BYTE and rows.flags.c_contiguous
        self._hash.update(rows.data if plain else block_bytes(rows))
        return self

    def digest(self) -> bytes:
        """The 32 bytes, once every row was given.

        Raises:
            UsageError: rows are missing.
        """
        if self._rows_left:
            raise UsageError(f"{self._rows_left} rows of the raster are missing")
        return self._hash.digest()


def raster_digest(raster: Raster) -> bytes:
    """The digest of a whole raster, 32 bytes."""
    digest = RasterDigest(raster.width, raster.height, raster.channels, raster.depth)
    rows_at_once = max(1, (1 << 20) // (raster.width * raster.channels))
    for y in range(0, raster.height, rows_at_once):
        digest.update(raster.samples[y : y + rows_at_once])
    return digest.digest()
