"""Which node a command speaks to, and as whom: the named one, or the one that runs in this home.

Without a token requests are signed by this home's own buyer key, so an order belongs to the same account wherever it is
given; the key is made at first use and needs no ledger.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tallystick.cli.exits import say
from tallystick.cli.home import home_path
from tallystick.cli.node_file import running
from tallystick.cli.slots import master_of

if TYPE_CHECKING:
    from tallystick.client.buying import Decode
    from tallystick.client.connected import AsyncClient, Client

NODE_OPTION: Final = "--node"
TLS_OPTION: Final = "--tls-ca"


@dataclass(frozen=True, slots=True)
class Far:
    """A node to speak to; ``own`` when it runs in this very home, whose keys are pinned here."""

    url: str
    token: str | None = field(repr=False)
    verify: str | None
    own: bool

    def client(self, decode: Decode | None = None) -> Client:
        """Return a client that waits; one that signs orders needs to see pictures."""
        from tallystick.client.connected import Client

        return Client(self.url, decode=decode, **self._who())

    def async_client(self) -> AsyncClient:
        """Return a client that awaits."""
        from tallystick.client.connected import AsyncClient

        return AsyncClient(self.url, **self._who())

    def words(self) -> tuple[str, ...]:
        """Return what names this node on a command line, nothing where that is understood."""
        trusted = () if self.verify is None else (TLS_OPTION, self.verify)
        return () if self.own else (NODE_OPTION, self.url, *trusted)

    def _who(self) -> dict[str, Any]:
        from tallystick.node.identity import Identity

        key = None if self.token else Identity(master_of(home_path())).requester()
        return {"token": self.token or None, "key": key, "verify": self.verify, "waits": say}


@dataclass(frozen=True, slots=True)
class Named:
    """The options that name a node, as they were typed."""

    node: str | None = None
    token: str | None = field(default=None, repr=False)
    tls_ca: Path | None = None

    def find(self) -> Far | None:
        """Return the node to speak to; None when no node is named and none runs in this home."""
        verify = None if self.tls_ca is None else str(self.tls_ca)
        if self.node is not None:
            return Far(self.node, self.token, verify, own=False)
        standing = running(home_path())
        if standing is None:
            return None
        return Far(standing.url, self.token, verify or standing.certificate, own=True)
