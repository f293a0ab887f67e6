"""Pictures from files, by Pillow: upright rasters with their colour profile, or one ImageError that says what to do.

Knows file formats, modes and EXIF orientation; refuses to know about jobs and about colour management (a profile is
carried along, gamma chunks are not). What Pillow would silently narrow to 8 bits is refused.

Pillow's readers are called directly: ``Image.open`` would apply Pillow's own pixel bound, which is a process-wide
variable; the bound here is an argument. Two readers look at Pillow's bound inside, so theirs cannot be raised.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import BmpImagePlugin, GifImagePlugin, Image, ImageFile, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from tallystick.errors import ImageError
from tallystick.kernels.raster import Raster, Samples

PIXELS_MAX: Final = 400_000_000

_WHAT: Final = "the picture"
_STRIP_PIXELS: Final = 1 << 20
_ORIENTATION_TAG: Final = 0x0112
_TIFF_ORDER: Final = {b"II*\0": "<", b"MM\0*": ">"}
_TIFF_HEADER: Final = 8
_TIFF_SHORT: Final = 3
_DEEP: Final = 16
_PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_PNG_GREY: Final = 0


@dataclass(frozen=True, slots=True, eq=False)
class DecodedImage:
    """A decoded picture.

    Attributes:
        raster: its samples, upright.
        icc_profile: its colour profile, as it stood in the file.
        source_format: "PNG", "JPEG", "WEBP", "BMP" or "GIF".
        orientation: the EXIF orientation that was undone, 1..8.
    """

    raster: Raster
    icc_profile: bytes | None
    source_format: str
    orientation: int

    @property
    def media_type(self) -> str:
        """The file's media type, such as "image/png"."""
        return f"image/{self.source_format.lower()}"


@dataclass(frozen=True, slots=True)
class _Reader:
    """How one format is recognised and opened; ``pixels_max`` is what Pillow's reader allows inside, if it looks."""

    accepts: Callable[[bytes], bool]
    opener: Callable[[io.BytesIO], ImageFile.ImageFile]
    pixels_max: int = PIXELS_MAX


_READERS: Final[dict[str, _Reader]] = {
    "PNG": _Reader(lambda head: head.startswith(_PNG_SIGNATURE), PngImagePlugin.PngImageFile),
    "JPEG": _Reader(lambda head: head.startswith(b"\xff\xd8\xff"), JpegImagePlugin.JpegImageFile),
    "WEBP": _Reader(lambda head: head[:4] + head[8:12] == b"RIFFWEBP", WebPImagePlugin.WebPImageFile, 178_000_000),
    "BMP": _Reader(lambda head: head.startswith(b"BM"), BmpImagePlugin.BmpImageFile),
    "GIF": _Reader(lambda head: head.startswith((b"GIF87a", b"GIF89a")), GifImagePlugin.GifImageFile, 89_000_000),
}

_UPRIGHT: Final[dict[int, Callable[[Samples], Samples]]] = {
    1: lambda samples: samples,
    2: lambda samples: samples[:, ::-1],
    3: lambda samples: samples[::-1, ::-1],
    4: lambda samples: samples[::-1],
    5: lambda samples: samples.transpose(1, 0, 2),
    6: lambda samples: samples.transpose(1, 0, 2)[:, ::-1],
    7: lambda samples: samples.transpose(1, 0, 2)[::-1, ::-1],
    8: lambda samples: samples.transpose(1, 0, 2)[::-1],
}


def decode_image(data: bytes, *, pixels_max: int = PIXELS_MAX) -> DecodedImage:
    """Decode a PNG, JPEG, WebP, BMP or GIF file.

    1-bit, 2-bit, 4-bit, palette and transparent-colour pictures become 8-bit grey, RGB or RGBA; 16-bit grey PNGs stay
    16-bit. For an RGB picture about 2.4 times the raster is held at the highest.

    Args:
        data: the whole file.
        pixels_max: the largest width * height; at most 178 000 000 for WebP and 89 000 000 for GIF.

    Raises:
        ImageError: not a picture, truncated, corrupt, too large, animated, or of a kind that cannot be kept faithfully
            (16-bit colour, 16-bit grey with transparency, CMYK).
    """
    source_format = next((name for name, reader in _READERS.items() if reader.accepts(data[:16])), None)
    if source_format is None:
        detail = "it is no PNG, JPEG, WebP, BMP or GIF; convert it to PNG" if data else "the file is empty"
        raise ImageError(_WHAT, detail)
    depth = _png_depth(data) if source_format == "PNG" else 8
    try:
        samples, profile, orientation = _read(data, source_format, pixels_max, depth)
    except ImageError:
        raise
    except Exception as error:
        # Pillow's readers raise whatever a damaged file makes them stumble over, from SyntaxError to struct.error.
        detail = " ".join(str(error).split())[:200] or type(error).__name__
        raise ImageError(_WHAT, f"the {source_format} data is damaged or incomplete ({detail})") from error
    # Pillow's own copy is gone before turning makes another.
    turned = _UPRIGHT[orientation](samples)
    upright = turned if turned.flags.c_contiguous else turned.copy()
    return DecodedImage(Raster(upright), profile or None, source_format, orientation)


def _png_depth(data: bytes) -> int:
    """Bits per sample from the IHDR chunk (PNG, third edition, 11.2.1); 16 bits only for grey.

    Pillow reads 16-bit colour as 8 bits and says nothing, so the header is read here first.
    """
    if len(data) < 26 or data[12:16] != b"IHDR":  # noqa: PLR2004
        raise ImageError(_WHAT, "the PNG data is damaged or incomplete (no header)")
    depth, colour = data[24], data[25]
    if depth == _DEEP and colour != _PNG_GREY:
        raise ImageError(_WHAT, "16-bit colour and 16-bit grey with alpha are not supported; convert it to 8 bits")
    return depth


def _read(data: bytes, source_format: str, pixels_max: int, depth: int) -> tuple[Samples, bytes | None, int]:
    """Open, check and load: samples as stored, colour profile, orientation; errors of Pillow pass through."""
    reader = _READERS[source_format]
    with reader.opener(io.BytesIO(data)) as picture:
        _check(picture, min(pixels_max, reader.pixels_max))
        picture.load()
        return _samples(picture, depth), picture.info.get("icc_profile"), _orientation(picture.info.get("exif"))


def _check(picture: ImageFile.ImageFile, pixels_max: int) -> None:
    """Refuse what is too large, animated or in inks, before any pixel is decoded."""
    width, height = picture.size
    if width * height > pixels_max:
        raise ImageError(_WHAT, f"{width} x {height} pixels are more than {pixels_max}; scale it down first")
    if not width * height:
        raise ImageError(_WHAT, f"{width} x {height} pixels are no picture")
    if getattr(picture, "is_animated", False):
        raise ImageError(_WHAT, "it is animated; extract the frame you want as PNG")
    if picture.mode == "CMYK":
        raise ImageError(_WHAT, "it is in CMYK inks; convert it to RGB with its colour profile first")


def _orientation(exif: object) -> int:
    """EXIF orientation 1..8 (TIFF 6.0, image file directory; CIPA DC-008, 4.6.4); 1 where there is none to be read.

    A damaged block says nothing about the pixels: such a picture is shown as it is stored, as every viewer does.
    """
    if not isinstance(exif, bytes):
        return 1
    block = exif.removeprefix(b"Exif\0\0")
    order = _TIFF_ORDER.get(block[:4])
    if order is None or len(block) < _TIFF_HEADER:
        return 1
    (directory,) = struct.unpack_from(order + "I", block, 4)
    entries = block[directory + 2 :]
    count = int.from_bytes(block[directory : directory + 2], "little" if order == "<" else "big")
    for position in range(0, min(12 * count, len(entries) - 11), 12):
        tag, kind, values, value = struct.unpack_from(order + "HHIH", entries, position)
        if (tag, kind, values) == (_ORIENTATION_TAG, _TIFF_SHORT, 1):
            return int(value) if value in _UPRIGHT else 1
    return 1


def _samples(picture: ImageFile.ImageFile, depth: int) -> Samples:
    """The picture's samples (height, width, channels), strip by strip, so that no second whole copy is held."""
    clear = picture.info.get("transparency")
    convert = _converter(picture, depth, clear)
    width, height = picture.size
    rows = max(1, _STRIP_PIXELS // width)

    def strip(y: int) -> Samples:
        return convert(picture.crop((0, y, width, min(y + rows, height))))

    first = strip(0)
    result: Samples = np.empty((height, *first.shape[1:]), first.dtype)
    result[:rows] = first
    for y in range(rows, height, rows):
        result[y : y + rows] = strip(y)
    return result


def _converter(picture: ImageFile.ImageFile, depth: int, clear: object) -> Callable[[Image.Image], Samples]:
    """How strips of this picture become samples; ``clear`` is its transparent colour, level or palette alphas."""
    mode = picture.mode
    if mode in {"P", "PA"}:
        palette_alpha = picture.palette is not None and picture.palette.mode == "RGBA"
        target = "RGBA" if mode == "PA" or clear is not None or palette_alpha else "RGB"
        return lambda strip: np.asarray(strip.convert(target))
    if mode == "I;16":
        if clear is not None:
            raise ImageError(_WHAT, "16-bit grey with a transparent level is not supported; convert it to 8 bits")
        return lambda strip: np.asarray(strip).astype(np.uint16)[..., None]
    if mode in {"1", "L"}:
        # Pillow brings the transparent level to the scale 0..255 for 1 bit, and for no other depth.
        level = _grey_level(clear, 8 if mode == "1" else depth)
        return lambda strip: _keyed(np.asarray(strip.convert("L"))[..., None], level)
    if mode == "RGB":
        return lambda strip: _keyed(np.asarray(strip), _colour_key(clear))
    if mode in {"LA", "RGBA"}:
        return np.asarray
    raise ImageError(_WHAT, f"pictures of kind {mode} are not supported; convert it to 8-bit RGB")


def _grey_level(clear: object, depth: int) -> tuple[int, ...] | None:
    """The transparent level on the scale 0..255, from that of ``depth`` bits."""
    largest = (1 << depth) - 1
    return ((clear & largest) * 255 // largest,) if isinstance(clear, int) else None


def _colour_key(clear: object) -> tuple[int, ...] | None:
    """The transparent colour; PNG states it in 16 bits, of which 8-bit files use the low ones."""
    return tuple(int(level) & 0xFF for level in clear) if isinstance(clear, tuple) else None


def _keyed(strip: NDArray[np.uint8], key: tuple[int, ...] | None) -> NDArray[np.uint8]:
    """The strip with an alpha channel that is zero where the samples equal the key; unchanged without a key."""
    if key is None:
        return strip
    seen = (strip != np.array(key, np.uint8)).any(axis=2, keepdims=True)
    return np.concatenate([strip, seen.astype(np.uint8) * 255], axis=2)
