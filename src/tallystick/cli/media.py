"""Image files and content credentials as the node's ports want them, wired from their adapters."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from tallystick.adapters.c2pa import ContentCredentials
from tallystick.adapters.certificates import CertificateChain
from tallystick.adapters.desk import FolderDesk
from tallystick.adapters.pillow import DecodedImage, decode_image
from tallystick.adapters.png import PngWriter
from tallystick.anchoring.claims import JobClaim
from tallystick.job import JobSpec
from tallystick.kernels.raster import Samples

if TYPE_CHECKING:
    from tallystick.node.ports import ImageSink

PNG_MIME = "image/png"
INPUT_TITLE = "input"
OPAQUE_MIME = "application/octet-stream"
_MAGIC = {
    b"\x89PNG\r\n\x1a\n": PNG_MIME,
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF8": "image/gif",
}


class NamedDesk(FolderDesk):
    """The buyer's files; what goes wrong names the file that was to be written, and leaves nothing half written."""

    def write(self, path: str, data: bytes) -> None:
        """Replace a file atomically and durably."""
        with _named(path):
            super().write(path, data)

    def replace(self, source: str, target: str) -> None:
        """Move a finished file into place, also across file systems."""
        with _named(target):
            super().replace(source, target)


@contextmanager
def _named(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        Path(path).with_name(f".{Path(path).name}.tmp").unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror or str(error), path) from error


class PngFile:
    """A PNG being written under a path."""

    def __init__(self, path: str, spec: JobSpec, icc_profile: bytes | None) -> None:
        """Begin the file."""
        task = spec.task
        self._path = Path(path)
        self._file: BinaryIO = self._path.open("wb")
        self._writer = PngWriter(
            self._file, task.target_width, task.target_height, task.channels, task.depth, icc_profile=icc_profile
        )

    def write(self, rows: Samples) -> None:
        """Append rows."""
        with _named(str(self._path)):
            self._writer.write(rows)

    def finish(self) -> None:
        """Complete the file."""
        with _named(str(self._path)):
            self._writer.finish()
            self._file.close()

    def abort(self) -> None:
        """Close and delete what was begun."""
        self._file.close()
        self._path.unlink(missing_ok=True)


class HomeImages:
    """Reads what Pillow reads faithfully, writes PNG."""

    def decode(self, data: bytes) -> DecodedImage:
        """Return the decoded, oriented image."""
        return decode_image(data)

    def writer(self, path: str, spec: JobSpec, icc_profile: bytes | None) -> ImageSink:
        """Begin the output file of a job."""
        return PngFile(path, spec, icc_profile)


class HomeCredentials:
    """Signs with the home's own authority; the input appears under the title "input", never under its path."""

    def __init__(self, chain: CertificateChain) -> None:
        """Sign with this chain's leaf."""
        self._signer = ContentCredentials(chain.chain_pem, chain.sign)

    def embed(self, source: str, target: str, claim: JobClaim, origin: str) -> None:
        """Write the image with its credentials inside."""
        self._signer.sign_embedded(Path(source), Path(target), PNG_MIME, claim, _parent(origin))

    def sidecar(self, asset: str, claim: JobClaim, origin: str) -> bytes:
        """Return a detached manifest over the delivered bytes."""
        return self._signer.sign_sidecar(Path(asset), claim, _parent(origin))


def _parent(origin: str) -> tuple[str, str, Path]:
    path = Path(origin)
    with path.open("rb") as handle:
        head = handle.read(16)
    mime = next((mime for magic, mime in _MAGIC.items() if head.startswith(magic)), OPAQUE_MIME)
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        mime = "image/webp"
    return INPUT_TITLE, mime, path
