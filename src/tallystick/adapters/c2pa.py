"""Content credentials through c2pa-python: signing outputs, embedded and beside them, and reading them back.

Knows the library's settings and its traps. Refuses to know what a claim says (anchoring), where keys live (the caller
signs) and the network: nothing is fetched, neither when signing nor when checking. The library loads at first use.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO, Final

import msgspec

from tallystick.anchoring.claims import CREATED_LABELS, JOB_LABEL, JobClaim, manifest, parent, read_assertion
from tallystick.errors import CredentialError, UsageError

OPAQUE: Final = "application/octet-stream"
"""The type under which sidecars are signed: with an image's own type, the library strips what is embedded in it."""

Ingredient = tuple[str, str, Path]
"""Title as it shall be shown, MIME type, and where the bytes are (the path itself goes nowhere)."""

_SPILL_MB: Final = 16
"""Copies above this size go through temporary files; the library's default keeps half a gigabyte of each in memory."""

_OFFLINE: Final = {"ocsp_fetch": False, "remote_manifest_fetch": False}
_CORE: Final = {"backing_store_memory_threshold_in_mb": _SPILL_MB}


class CredentialState(Enum):
    """The library's three answers. Anyone with an authority of his own reaches VALID."""

    TRUSTED = "Trusted"
    VALID = "Valid"
    INVALID = "Invalid"


@dataclass(frozen=True, slots=True)
class CheckedCredential:
    """Credentials that hold: what they say, and who signed them (the certificate's serial number in hex)."""

    state: CredentialState
    claim: dict[str, Any]
    signer_serial: str
    title: str


@dataclass(frozen=True, slots=True)
class ContentCredentials:
    """Signs outputs. ``sign`` gives the raw ES256 signature (r | s), so the key may live anywhere."""

    chain_pem: str
    sign: Callable[[bytes], bytes]

    def sign_embedded(
        self, source: Path, destination: Path, mime: str, claim: JobClaim, ingredient: Ingredient
    ) -> None:
        """Write ``source`` with its credentials inside to ``destination``.

        Raises:
            UsageError: Both paths are one file.
            CredentialError: The library refuses (an expired certificate, a damaged file); nothing is left behind.
        """
        if destination.exists() and destination.samefile(source):
            raise UsageError(f"{destination.name} cannot be signed into itself; choose another destination")
        with source.open("rb") as data, destination.open("w+b") as signed:
            try:
                self._sign(data, signed, mime, claim, ingredient, embed=True)
            except BaseException:
                destination.unlink()
                raise

    def sign_sidecar(self, path: Path, claim: JobClaim, ingredient: Ingredient) -> bytes:
        """The credentials of the file as it lies there, byte for byte, to be kept beside it.

        Raises:
            CredentialError: The library refuses.
        """
        with path.open("rb") as data:
            return self._sign(data, _Nowhere(), OPAQUE, claim, ingredient, embed=False)

    def _sign(
        self, data: BinaryIO, signed: io.IOBase, mime: str, claim: JobClaim, ingredient: Ingredient, *, embed: bool
    ) -> bytes:
        """The manifest store that the library made; the asset goes to ``signed``."""
        library = _library()
        title, parent_mime, parent_path = ingredient
        with _refusals("content credentials could not be made"), _context(library, _SIGNING) as context:
            signer = library.Signer.from_callback(self.sign, library.C2paSigningAlg.ES256, self.chain_pem)
            with signer, library.Builder(manifest(claim, mime), context=context) as builder:
                if not embed:
                    builder.set_no_embed()
                with parent_path.open("rb") as parent_data:
                    spelling = _passable_as(parent_mime, parent_data)
                    builder.add_ingredient(parent(title, parent_mime), spelling, parent_data)
                return bytes(builder.sign(signer, mime, data, signed))


@dataclass(frozen=True, slots=True)
class CredentialChecker:
    """Reads credentials; ``root_pem`` is the only authority whose signers are trusted."""

    root_pem: str

    def check(self, data: bytes | Path, mime: str, store: bytes | None = None) -> CheckedCredential:
        """What the credentials of ``data`` say, embedded ones or those in ``store``.

        Args:
            data: The file, as bytes or where it lies.
            mime: Its type; for a sidecar ``application/octet-stream``.
            store: The sidecar's bytes. With it, nothing embedded is looked at.

        Raises:
            CredentialError: They are not Trusted, missing, damaged, or do not carry exactly one job assertion.
        """
        with _opened(data) as stream, _refusals("content credentials do not hold"):
            report = _report(self._settings(), stream, mime, store)
            state = CredentialState(report["validation_state"])
            if state is not CredentialState.TRUSTED:
                raise CredentialError(
                    "state of the content credentials",
                    expected=CredentialState.TRUSTED.value,
                    actual=f"{state.value} ({', '.join(_failures(report)) or 'no reason given'})",
                )
            return _checked(report["manifests"][report["active_manifest"]])

    def _settings(self) -> dict[str, Any]:
        """Trust in this root alone."""
        return {
            "version": 1,
            "core": _CORE,
            "verify": {**_OFFLINE, "verify_trust": True},
            "trust": {"user_anchors": self.root_pem},
        }


_SIGNING: Final = {
    "version": 1,
    "core": _CORE,
    "builder": {"thumbnail": {"enabled": False}, "created_assertion_labels": list(CREATED_LABELS)},
    "verify": {**_OFFLINE, "verify_after_sign": True},
}


class _Nowhere(io.RawIOBase):
    """Takes the copy that the library insists on writing, and keeps its length only."""

    def __init__(self) -> None:
        """Start empty."""
        self._position = 0
        self._length = 0

    def writable(self) -> bool:
        """It takes everything."""
        return True

    def seekable(self) -> bool:
        """Positions count, bytes do not."""
        return True

    def write(self, data: Any, /) -> int:  # noqa: ANN401 - the base class takes any buffer
        """Forget the bytes."""
        self._position += len(data)
        self._length = max(self._length, self._position)
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move, as a file would."""
        self._position = offset + (0, self._position, self._length)[whence]
        return self._position

    def tell(self) -> int:
        """Where the next byte would go."""
        return self._position


def _library() -> ModuleType:
    """c2pa-python, loaded on first use: importing this module must stay cheap."""
    return import_module("c2pa")


@contextmanager
def _refusals(what: str) -> Iterator[None]:
    """Every exception from inside is a refusal: the library raises many kinds over damaged input."""
    try:
        yield
    except CredentialError:
        raise
    except Exception as error:
        raise CredentialError(f"{what}: {type(error).__name__.lstrip('_')}: {error}") from error


@contextmanager
def _opened(data: bytes | Path) -> Iterator[BinaryIO]:
    """A stream over bytes or over a file."""
    with io.BytesIO(data) if isinstance(data, bytes) else data.open("rb") as stream:
        yield stream


def _context(library: ModuleType, settings: dict[str, Any]) -> Any:  # noqa: ANN401 - the library ships no types
    """The library's context, free of its process-wide settings."""
    return library.Context.from_dict(settings)


def _passable_as(mime: str, stream: BinaryIO) -> str:
    """``mime`` if the input carries credentials that hold, so that they are passed on; otherwise the opaque type.

    Opaque, the library looks at nothing inside: a damaged or remote manifest in an input never stops a job nor spoils
    its output's credentials, and the ids in the input's metadata stay where they are.
    """
    try:
        state = CredentialState(
            _report({"version": 1, "core": _CORE, "verify": _OFFLINE}, stream, mime)["validation_state"]
        )
    except (_library().C2paError, ValueError):
        state = CredentialState.INVALID
    stream.seek(0)
    return OPAQUE if state is CredentialState.INVALID else mime


def _report(settings: dict[str, Any], stream: BinaryIO, mime: str, store: bytes | None = None) -> dict[str, Any]:
    """The library's report on ``stream``, as it is."""
    library = _library()
    with _context(library, settings) as context, library.Reader(mime, stream, store, context=context) as reader:
        report: dict[str, Any] = msgspec.json.decode(reader.json())
    return report


def _failures(report: dict[str, Any]) -> list[str]:
    """The status codes that speak against the active manifest."""
    active = report.get("validation_results", {}).get("activeManifest", {})
    return [str(failure["code"]) for failure in active.get("failure", [])]


def _checked(active: dict[str, Any]) -> CheckedCredential:
    """What a trusted manifest says, if it is about a job and the signer vouches for that itself."""
    jobs = [
        found
        for found in active["assertions"]
        if found["label"].partition("__")[0] == JOB_LABEL and found.get("created") is True
    ]
    if len(jobs) != 1:
        raise CredentialError(f"content credentials lack {JOB_LABEL}", expected="one assertion", actual=len(jobs))
    claim: dict[str, Any] = jobs[0]["data"]
    read_assertion(claim)
    serial = int(active["signature_info"]["cert_serial_number"])
    return CheckedCredential(CredentialState.TRUSTED, claim, f"{serial:032x}", str(active["title"]))
