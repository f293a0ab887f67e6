"""What a worker of this home needs before lost work can be given to it: stake for every micro job it may take over."""

from __future__ import annotations

from tallystick.job import JobSpec
from tallystick.ledger import payloads as say
from tallystick.ledger.records import Node, View, node_key
from tallystick.ledger.transactions import Draft
from tallystick.primitives.amounts import parse_wei
from tallystick.primitives.keys import SigningKey


def top_up(spec: JobSpec, key: SigningKey, faucet: SigningKey, view: View, microjobs: int = 1) -> tuple[Draft, ...]:
    """Return what must stand in the log before a registered worker takes so many over; nothing if its bond does."""
    known = view.get(node_key(key.public.hex()))
    free = int(known.bond) - int(known.locked) if isinstance(known, Node) else 0
    short = microjobs * parse_wei(spec.policy.stake) - free
    if short <= 0:
        return ()
    return Draft(faucet, say.Transfer(key.address, str(short))), Draft(key, say.StakeDeposited(str(short)))
