"""How a worker enters a ledger: registered with its operator's consent, bonded, with play money where there is some.

Knows the entries of a worker and the calls that log them. Refuses to know how keys are kept.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from tallystick.client import calls
from tallystick.client.signals import Join
from tallystick.client.steps import Script
from tallystick.errors import NonceError, UnreachableError
from tallystick.ledger import payloads as say
from tallystick.ledger.accounts import operator_digest
from tallystick.ledger.transactions import Draft, sign
from tallystick.primitives.keys import SigningKey

TRIES: Final = 3


@dataclass(frozen=True, slots=True)
class Papers:
    """Who a worker is before the ledger: its key, who answers for it, where its pay goes, what it runs."""

    key: SigningKey = field(repr=False)
    operator: SigningKey = field(repr=False)
    payout: str
    backend: str

    def registration(self, chain_id: str) -> say.NodeRegistered:
        """Return the entry that registers it, with its operator's consent for this ledger."""
        consent = self.operator.sign(operator_digest(chain_id, self.key.public, self.payout))
        return say.NodeRegistered(
            operator=self.operator.public.hex(),
            operator_signature=consent.hex(),
            payout=self.payout,
            tier=say.Tier.DECLARED,
            backend=self.backend,
            simulated=False,
        )


def enter(papers: Papers, chain_id: str, wanted: Join) -> Script[int]:
    """Bring a worker into the ledger and return the nonce of its next entry.

    Raises:
        TallyError: the node or the ledger refuses; what was logged before stands.
    """
    nonce = wanted.nonce
    if not wanted.registered:
        nonce = yield from _log(papers, chain_id, papers.registration(chain_id), nonce)
    if wanted.missing:
        yield from _afford(papers.key.address, wanted.missing)
        nonce = yield from _log(papers, chain_id, say.StakeDeposited(str(wanted.missing)), nonce)
    return nonce


def _afford(address: str, amount: int) -> Script[None]:
    """Have an amount on the account: what is missing comes from the faucet; a lost reply is looked up, not repeated."""
    for left in range(TRIES, 0, -1):
        account = yield from calls.account(address)
        short = amount - int(account.balance_wei)
        if short <= 0:
            return
        try:
            yield from calls.faucet(address, short)
        except UnreachableError:
            if left == 1:
                raise
        else:
            return


def _log(papers: Papers, chain_id: str, payload: say.Payload, nonce: int) -> Script[int]:
    for left in range(TRIES, 0, -1):
        entry = sign(Draft(papers.key, payload), chain_id, nonce)
        try:
            yield from calls.transaction(entry.entry)
        except NonceError:
            if left == 1:
                raise
            nonce = (yield from calls.account(papers.key.address)).nonce
        else:
            break
    return nonce + 1
