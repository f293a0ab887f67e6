"""What a server is told when it starts: where it listens, how it is guarded, and every bound."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from tallystick.errors import UsageError

DEFAULT_PORT: Final = 7053
PORT_MAX: Final = 65_535
MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Address:
    """Where a node listens."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read ``HOST:PORT``, ``HOST``, ``:PORT`` or ``[IPv6]:PORT``; port 0 is any free one.

        Raises:
            UsageError: it is none of these; names other than localhost are not looked up.
        """
        wrong = UsageError(f"--listen {text!r} is no address: write 127.0.0.1:{DEFAULT_PORT}, or [::1]:{DEFAULT_PORT}")
        host, port = text, str(DEFAULT_PORT)
        if text.startswith("["):
            inside, bracket, rest = text[1:].partition("]")
            if not bracket or (rest and not rest.startswith(":")):
                raise wrong
            host, port = inside, rest[1:] or port
        elif ":" in text:  # an IPv6 address without brackets would swallow its port
            host, _, port = text.partition(":")
        host = "127.0.0.1" if host in {"localhost", ""} else host
        if not port.isascii() or not port.isdigit() or int(port) > PORT_MAX:
            raise wrong
        try:
            ip_address(host)
        except ValueError as error:
            raise wrong from error
        return cls(host, int(port))

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return ip_address(self.host).is_loopback

    @property
    def authority(self) -> str:
        """How it stands in a URL."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much of everything: bytes, seconds, counts."""

    body_bytes: int = MIB
    body_seconds: float = 30.0
    chunk_seconds: float = 20.0
    grace_seconds: float = 10.0
    rate_bytes: int = 4096
    """Fewest bytes per second of a streamed body, once the grace is over."""
    upload_bytes: int = 1024 * MIB
    account_bytes: int = 4096 * MIB
    strangers_bytes: int = 16 * 1024 * MIB
    """Uploads of all together that are known by nothing but a key: keys cost nothing."""
    disk_reserve_bytes: int = 256 * MIB
    uploads_per_account: int = 16
    upload_ms: int = 24 * 3_600_000
    streams: int = 256
    streams_per_account: int = 64
    faucet_cpc: int = 1000
    faucet_account_cpc: int = 10_000
    """What one account gets out of the faucet in an hour; the home itself is not bounded."""
    faucet_all_cpc: int = 100_000
    """What all accounts together get in an hour: at this rate a faucet lasts for a year."""
    blob_bytes: int = 16 * MIB
    blobs_per_account: int = 1000
    strangers_blobs: int = 2000
    decoding: int = 2
    """How many pictures of orders are in memory at once."""


@dataclass(frozen=True, slots=True)
class Settings:
    """One server's settings."""

    folder: Path
    """Where uploads lie, on the disk of the home."""
    home: Path
    """The home's folder, which no answer may name."""
    require_auth: bool = False
    """Whether every caller of what is not public must prove who it is; else the loopback is open."""
    bounds: Bounds = field(default_factory=Bounds)
