"""PNG files written strip by strip, so that a picture larger than memory's comfort still has one file.

Knows the PNG format (W3C, third edition); refuses to know where the rows come from.
"""

from __future__ import annotations

import struct
import zlib
from types import TracebackType
from typing import BinaryIO, Final, Self

import numpy as np
from numpy.typing import NDArray

from tallystick.errors import UsageError
from tallystick.kernels.raster import CHANNELS_MAX, DEPTH_OF, Raster, Samples, block_bytes

LEVEL: Final = 4
CHUNK_MAX: Final = 1 << 20

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPE: Final = {1: 0, 2: 4, 3: 2, 4: 6}
_SIDE_MAX: Final = (1 << 31) - 1
_STRIP_BYTES: Final = 1 << 18

Bytes = NDArray[np.uint8]


class PngWriter:
    """Writes one PNG to an open file, row by row; memory is bounded by a strip of about 256 KiB and one chunk.

    As a context manager it finishes the file when the block ends without an error.

    Args:
        file: open for writing bytes; not closed here.
        width: columns, 1..2^31-1.
        height: rows, 1..2^31-1.
        channels: 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha.
        depth: bits per sample, 8 or 16.
        icc_profile: colour profile to embed, or None.
        level: zlib level 0..9.

    Raises:
        UsageError: an argument is outside its range.
    """

    def __init__(
        self,
        file: BinaryIO,
        width: int,
        height: int,
        channels: int,
        depth: int,
        *,
        icc_profile: bytes | None = None,
        level: int = LEVEL,
    ) -> None:
        """Write the header."""
        if not (1 <= width <= _SIDE_MAX and 1 <= height <= _SIDE_MAX and 1 <= channels <= CHANNELS_MAX):
            raise UsageError(f"a PNG of {width} x {height} with {channels} channels cannot be written")
        if depth not in DEPTH_OF.values():
            raise UsageError(f"a PNG of {depth} bits per sample is not supported: 8 or 16")
        self._file: Final = file
        self._row_shape: Final = (width, channels)
        self._depth: Final = depth
        self._pixel_bytes: Final = channels * depth // 8
        self._above: Bytes = np.zeros(width * self._pixel_bytes, np.uint8)
        self._rows_left = height
        self._deflate: Final = zlib.compressobj(level)
        self._pending = bytearray()
        self._finished = False
        file.write(_SIGNATURE)
        self._chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, _COLOUR_TYPE[channels], 0, 0, 0))
        if icc_profile is not None:
            self._chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(icc_profile))

    def write(self, rows: Samples) -> None:
        """Write the next rows.

        Args:
            rows: (n, width, channels), uint8 or uint16 as the depth says.

        Raises:
            UsageError: the rows are of another shape or dtype, or more than the picture has.
        """
        fits = rows.ndim == len(self._row_shape) + 1 and rows.shape[1:] == self._row_shape
        if not fits or DEPTH_OF.get(rows.dtype) != self._depth or rows.shape[0] > self._rows_left:
            raise UsageError(f"rows of {rows.dtype} {rows.shape} do not continue this PNG")
        self._rows_left -= rows.shape[0]
        at_once = max(1, _STRIP_BYTES // len(self._above))
        for y in range(0, rows.shape[0], at_once):
            self._strip(rows[y : y + at_once])

    def finish(self) -> None:
        """Write what is left and the end of the file; calling it again does nothing.

        Raises:
            UsageError: rows are missing.
        """
        if self._rows_left:
            raise UsageError(f"{self._rows_left} rows of the PNG are missing")
        if not self._finished:
            self._finished = True
            self._emit(self._deflate.flush(), least=1)
            self._chunk(b"IEND", b"")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.finish()

    def _strip(self, rows: Samples) -> None:
        """Filter and compress a few rows."""
        # Rows of 16 bits are filtered as the bytes they are written as.
        data = np.frombuffer(block_bytes(rows), np.uint8).reshape(rows.shape[0], -1)
        above = np.concatenate([self._above[None], data[:-1]])
        self._above = data[-1]
        self._emit(self._deflate.compress(filtered(data, above, self._pixel_bytes)), least=CHUNK_MAX)

    def _emit(self, compressed: bytes, *, least: int) -> None:
        """Collect compressed bytes and write chunks while at least ``least`` of them wait."""
        self._pending += compressed
        while len(self._pending) >= least:
            self._chunk(b"IDAT", bytes(self._pending[:CHUNK_MAX]))
            del self._pending[:CHUNK_MAX]

    def _chunk(self, kind: bytes, body: bytes) -> None:
        """Write one chunk: length, kind, body, CRC-32 of kind and body."""
        self._file.write(struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)))


def write_png(file: BinaryIO, raster: Raster, *, icc_profile: bytes | None = None, level: int = LEVEL) -> None:
    """Write a whole raster as a PNG.

    Args:
        file: open for writing bytes; not closed here.
        raster: the picture.
        icc_profile: colour profile to embed, or None.
        level: zlib level 0..9.
    """
    shape = (raster.width, raster.height, raster.channels, raster.depth)
    with PngWriter(file, *shape, icc_profile=icc_profile, level=level) as writer:
        writer.write(raster.samples)


def filtered(data: Bytes, above: Bytes, pixel_bytes: int) -> bytes:
    """Rows with their filter bytes (PNG, third edition, 9.2), each with the filter of the smallest absolute sum (12.7).

    Args:
        data: uint8 (rows, row bytes).
        above: uint8, the row above each row, zero above the first.
        pixel_bytes: bytes from a sample to the same sample of the pixel at its left.
    """
    left = _shifted(data, pixel_bytes)
    candidates = (data - left, data - above, data - _paeth(left, above, _shifted(above, pixel_bytes)))
    sums = [np.abs(candidate.view(np.int8)).view(np.uint8).sum(axis=1, dtype=np.uint64) for candidate in candidates]
    best = np.argmin(sums, axis=0)
    result = np.empty((data.shape[0], data.shape[1] + 1), np.uint8)
    for index, (candidate, kind) in enumerate(zip(candidates, (1, 2, 4), strict=True)):
        chosen = best == index
        result[chosen, 0] = kind
        result[chosen, 1:] = candidate[chosen]
    return result.tobytes()


def _shifted(rows: Bytes, pixel_bytes: int) -> Bytes:
    """The same bytes one pixel later, zero before the first."""
    result = np.zeros_like(rows)
    result[:, pixel_bytes:] = rows[:, :-pixel_bytes]
    return result


def _paeth(left: Bytes, above: Bytes, corner: Bytes) -> Bytes:
    """The predictor of filter 4: the nearest to left + above - corner; left, above, corner, in that order."""
    a, b, c = left.astype(np.int16), above.astype(np.int16), corner.astype(np.int16)
    to_left, to_above = np.abs(b - c), np.abs(a - c)
    to_corner = np.abs(a + b - 2 * c)
    nearest = np.where(to_above <= to_corner, above, corner)
    return np.where((to_left <= to_above) & (to_left <= to_corner), left, nearest)
