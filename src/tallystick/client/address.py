"""Where a node is, as a person writes it: ``http://127.0.0.1:7053`` or ``https://node.example``.

Knows URLs. Refuses what would send credentials elsewhere: other schemes, paths, names and passwords inside.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from tallystick.errors import UsageError

SOCKET_PATH: Final = "/worker"
_SOCKET_SCHEMES: Final = {"http": "ws", "https": "wss"}


@dataclass(frozen=True, slots=True)
class Address:
    """A node's address; ``authority`` is host and port as they stand in a URL."""

    scheme: str
    authority: str
    host: str

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read an address; without a scheme it is ``http``.

        Raises:
            UsageError: it is none.
        """
        wrong = UsageError(f"{text!r} is no address of a node: write http://HOST:PORT or https://HOST")
        if not text.isascii() or not text.isprintable() or " " in text:
            raise wrong
        try:
            parts = urlsplit(text if "://" in text else f"http://{text}")
            port = parts.port
        except ValueError:
            raise wrong from None
        host = parts.hostname
        if not host or parts.scheme not in _SOCKET_SCHEMES or parts.path not in {"", "/"} or port == 0:
            raise wrong
        if parts.username is not None or parts.query or parts.fragment:
            raise wrong
        name = f"[{host}]" if ":" in host else host
        return cls(parts.scheme, name if port is None else f"{name}:{port}", host)

    @property
    def url(self) -> str:
        """The address as it is asked by HTTP."""
        return f"{self.scheme}://{self.authority}"

    @property
    def socket(self) -> str:
        """The address of a worker's line."""
        return f"{_SOCKET_SCHEMES[self.scheme]}://{self.authority}{SOCKET_PATH}"

    @property
    def is_secure(self) -> bool:
        """Whether the way there is encrypted."""
        return self.scheme == "https"

    @property
    def is_loopback(self) -> bool:
        """Whether it is this machine: no proxy stands in between."""
        try:
            return self.host == "localhost" or ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        return self.url
