"""What buyers of this home asked for, as private values of its store: kept from before the money is locked.

A wish that is not done is a promise that a restart must keep; nothing here enters the log.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec

from tallystick.errors import IncompleteError, StoreError
from tallystick.node.ordering import Wish
from tallystick.node.ports import Store
from tallystick.primitives import canonical

WISH_PREFIX: Final = "wish/"
DONE_PREFIX: Final = "done/"
REASON_PREFIX: Final = "reason/"
_DELIVERED: Final = b"1"
_GIVEN_UP: Final = b"given-up"
_WISH: Final[msgspec.json.Decoder[Wish]] = msgspec.json.Decoder(Wish)


@dataclass(frozen=True, slots=True)
class Wishes:
    """The wishes of one home, over its store."""

    store: Store

    def keep(self, wish: Wish) -> None:
        """Make a wish durable."""
        self.store.put_private([(WISH_PREFIX + wish.job_id, canonical.encode(wish))])

    def drop(self, job_id: str) -> None:
        """Forget a wish whose order was refused: nothing was ever locked for it."""
        self.store.put_private([(WISH_PREFIX + job_id, None)])

    def get(self, job_id: str) -> Wish:
        """Return what the buyer wanted; what a home kept before a field was there has its default.

        Raises:
            IncompleteError: this home never took such an order.
            StoreError: what is kept is damaged.
        """
        kept = self.store.private(WISH_PREFIX + job_id)
        if kept is None:
            raise IncompleteError(f"job {job_id} was not ordered from this home: `tally jobs` lists those that were")
        try:
            return _WISH.decode(kept)
        except msgspec.DecodeError as error:
            raise StoreError(f"the kept wish of job {job_id} is damaged: {error}") from error

    def every(self) -> tuple[Wish, ...]:
        """Return every wish, oldest first."""
        names = [key.removeprefix(WISH_PREFIX) for key in self.store.private_keys(WISH_PREFIX)]
        return tuple(sorted((self.get(name) for name in names), key=lambda wish: (wish.created, wish.job_id)))

    def finish(self, job_id: str) -> None:
        """Note that a wish is fulfilled."""
        self.store.put_private([(DONE_PREFIX + job_id, _DELIVERED)])

    def give_up(self, job_id: str, reason: str = "its deadlines passed too often") -> None:
        """Note that a wish will not be fulfilled, and why; none of its money is locked."""
        self.store.put_private([(DONE_PREFIX + job_id, _GIVEN_UP), (REASON_PREFIX + job_id, reason.encode())])

    def reason(self, job_id: str) -> str:
        """Return why a wish was given up, empty where it was not."""
        return (self.store.private(REASON_PREFIX + job_id) or b"").decode()

    def is_done(self, job_id: str) -> bool:
        """Tell whether a wish is fulfilled: everything delivered, bundle included."""
        return self.store.private(DONE_PREFIX + job_id) == _DELIVERED

    def is_given_up(self, job_id: str) -> bool:
        """Tell whether a wish was given up."""
        return self.store.private(DONE_PREFIX + job_id) == _GIVEN_UP

    def unfinished(self) -> tuple[str, ...]:
        """Return the jobs that are neither done nor given up, oldest first."""
        ended = {key.removeprefix(DONE_PREFIX) for key in self.store.private_keys(DONE_PREFIX)}
        return tuple(wish.job_id for wish in self.every() if wish.job_id not in ended)
