"""The private half of a Store, in memory."""

from __future__ import annotations

from collections.abc import Sequence

from tallystick.node.ports import Store


class PrivateStore(Store):
    """Keeps private values in a dictionary; everything else of the port is not there."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}

    def private(self, key: str) -> bytes | None:
        return self.values.get(key)

    def private_keys(self, prefix: str) -> tuple[str, ...]:
        return tuple(sorted(key for key in self.values if key.startswith(prefix)))

    def put_private(self, values: Sequence[tuple[str, bytes | None]]) -> None:
        for key, value in values:
            if value is None:
                self.values.pop(key, None)
            else:
                self.values[key] = value
