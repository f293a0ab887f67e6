"""A home that signs, a picture to sign, and ways to damage the result."""

from __future__ import annotations

import io
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from tallystick.adapters.c2pa import ContentCredentials, CredentialChecker
from tallystick.adapters.certificates import CertificateChain, issue_chain
from tallystick.anchoring.claims import JobClaim
from tallystick.job import TaskType

PNG = "image/png"
OPAQUE = "application/octet-stream"
DAY = 86_400_000
YEAR = 365 * DAY
TITLE = "harbour@2x.png"
CLAIM = JobClaim(
    job_id="job_7",
    chain_id="tally-0123456789abcdef",
    completed_nid="bafkreifjjcie6lypi6ny7amxnfftagclbuxndqonfipmb64f2km2devei4",
    task_type=TaskType.IMAGE_UPSCALING,
    kernel="lanczos3-fixed/v1",
    workers=3,
    software_version="0.1.0",
    simulated=True,
    title=TITLE,
)


@dataclass(frozen=True, slots=True)
class Delivery:
    """A folder with ``harbour.png``, its signed enlargement and the sidecar, and who signed."""

    folder: Path
    chain: CertificateChain
    sidecar: bytes

    @property
    def input(self) -> tuple[str, str, Path]:
        return ("harbour.png", PNG, self.folder / "harbour.png")

    @property
    def plain(self) -> Path:
        return self.folder / "plain.png"

    @property
    def output(self) -> Path:
        return self.folder / TITLE

    @property
    def signer(self) -> ContentCredentials:
        return ContentCredentials(self.chain.chain_pem, self.chain.sign)

    @property
    def checker(self) -> CredentialChecker:
        return CredentialChecker(self.chain.root_pem)


def now() -> int:
    return time.time_ns() // 1_000_000


def home(seed: int = 1, age: int = DAY) -> CertificateChain:
    return issue_chain(bytes([seed]) * 32, bytes([seed, 0]) * 16, now() - age, "Tallystick home")


def deliver(folder: Path, chain: CertificateChain) -> Delivery:
    """Sign a picture of 48 by 32 pixels, embedded and beside the embedded."""
    folder.mkdir(parents=True, exist_ok=True)
    delivery = Delivery(folder, chain, b"")
    picture = Image.radial_gradient("L").resize((24, 16)).convert("RGB")
    picture.save(folder / "harbour.png")
    picture.resize((48, 32)).save(delivery.plain)
    delivery.signer.sign_embedded(delivery.plain, delivery.output, PNG, CLAIM, delivery.input)
    sidecar = delivery.signer.sign_sidecar(delivery.output, CLAIM, delivery.input)
    return Delivery(folder, chain, sidecar)


def flip(data: bytes, index: int) -> bytes:
    return data[:index] + bytes([data[index] ^ 1]) + data[index + 1 :]


def chunks(png: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Type, first and last position of every chunk."""
    start = 8
    while start < len(png):
        (size,) = struct.unpack_from(">I", png, start)
        yield png[start + 4 : start + 8], start, start + 12 + size
        start += 12 + size


def chunk(png: bytes, kind: bytes) -> bytes:
    return b"".join(png[start:end] for name, start, end in chunks(png) if name == kind)


def without(png: bytes, kind: bytes) -> bytes:
    return png[:8] + b"".join(png[start:end] for name, start, end in chunks(png) if name != kind)


def with_manifest(png: bytes, manifest: bytes) -> bytes:
    """``png`` with another picture's manifest chunk where the library puts it, after the header."""
    return png[:33] + manifest + png[33:]


def repaired(png: bytes) -> bytes:
    """The same file with every checksum right, so that only the credentials can tell."""
    parts = [png[:8]]
    for _, start, end in chunks(png):
        parts += [png[start : end - 4], struct.pack(">I", zlib.crc32(png[start + 4 : end - 4]))]
    return b"".join(parts)


def encoded_again(png: bytes) -> bytes:
    out = io.BytesIO()
    Image.open(io.BytesIO(png)).save(out, "PNG")
    return out.getvalue()


# Every attack of one byte or one chunk on a file with embedded credentials.
EMBEDDED: dict[str, Callable[[bytes], bytes]] = {
    "pixel flipped": lambda png: repaired(flip(png, png.index(b"IDAT") + 40)),
    "byte of the header flipped": lambda png: repaired(flip(png, 24)),
    "bytes appended": lambda png: png + b"\0",
    "job assertion changed": lambda png: repaired(png.replace(b"ejobIdejob_7", b"ejobIdejob_8")),
    "simulation denied": lambda png: repaired(png.replace(b"isimulated\xf5", b"isimulated\xf4")),
    "ingredient renamed": lambda png: repaired(png.replace(b"harbour.png", b"harvest.png")),
    "title changed": lambda png: repaired(png.replace(TITLE.encode(), TITLE.upper().encode())),
    "manifest stripped": lambda png: without(png, b"caBX"),
    "encoded again": encoded_again,
    "box structure damaged": lambda png: repaired(flip(png, png.index(b"jumd") - 1)),
    "box of the signature damaged": lambda png: repaired(flip(png, png.index(b"c2pa.signature"))),
    "cut in the manifest": lambda png: png[:4000],
    "cut in the pixels": lambda png: png[:-30],
    "cut to nothing": lambda _: b"",
    "not a picture": lambda _: b"tally" * 99,
}

# And on the store beside it.
SIDECAR: dict[str, Callable[[bytes], bytes]] = {
    "job assertion changed": lambda store: store.replace(b"ejobIdejob_7", b"ejobIdejob_8"),
    "cut": lambda store: store[:-1],
    "cut in half": lambda store: store[: len(store) // 2],
    "empty": lambda _: b"",
    "garbage": lambda store: b"\xff" * len(store),
    "doubled": lambda store: store[:-200] + store,
}
