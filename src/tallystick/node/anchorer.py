"""Anchors one checkpoint exactly once: a pure machine, (state, stimulus, now) -> (state, instructions).

Knows that a signed transaction becomes durable before it is sent; that an error on sending proves nothing; that of
several transactions with one nonce one lands; that a block can vanish. So it sends the same bytes until they are final,
raises the fee under the same nonce, and takes another nonce only after a final block shows that somebody else used it.
Refuses to know how a chain is reached, who signs, and when an anchor is due.

Whoever runs it carries the instructions out in order and hands the answer to the last one back as the next stimulus.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import msgspec

from tallystick.errors import TransitionError
from tallystick.node.anchor_outbox import KeptCall, Outbox, Standing
from tallystick.node.anchor_words import (
    MACHINE,
    SECOND,
    Begin,
    Failed,
    Keep,
    Kept,
    Log,
    Logged,
    Look,
    Looked,
    Observe,
    Phase,
    Saw,
    Send,
    Sent,
    Sign,
    Signed,
    State,
    Stimulus,
    Tell,
    Terms,
    Turn,
    Wait,
    Woke,
)

VARIANTS_MAX: Final = 16
"""So many transactions are signed for one nonce; at 12.5 % each the last offers more than five times the first fee."""

Handler = Callable[[State, Any, int, Terms], Turn]


def restore(outbox: Outbox | None, now: int) -> State:
    """Return the state that a kept outbox stands for; whether anything of it was sent, nobody knows."""
    if outbox is None or outbox.standing is Standing.LOGGED:
        return State()
    if outbox.standing is Standing.REVERTED or not outbox.calls:
        return State(Phase.REVERTED, outbox)
    return State(Phase.WATCHING, outbox, nonce=outbox.calls[-1].nonce, signed_at=now)


def step(state: State, stimulus: Stimulus, now: int, terms: Terms) -> Turn:
    """Take one stimulus at a time in ms UTC; return the next state, and what is to be done.

    Raises:
        TransitionError: the stimulus cannot come in this phase.
    """
    handler = TRANSITIONS.get((state.phase, type(stimulus)))
    if handler is None:
        raise TransitionError(MACHINE, state.phase.value, type(stimulus).__name__)
    return handler(state, stimulus, now, terms)


def _begin(state: State, begin: Begin, _now: int, _terms: Terms) -> Turn:
    begun = State(Phase.LOOKING, begin.outbox, held_fee=state.held_fee, failures=state.failures)
    return begun, (Look(begun.commit),)


def _rest(state: State, _woke: Woke | Kept, _now: int, _terms: Terms) -> Turn:
    return state, (Wait(None),)


def _look(state: State, _woke: Woke, _now: int, _terms: Terms) -> Turn:
    return replace(state, phase=Phase.LOOKING), (Look(state.commit),)


def _looked(state: State, looked: Looked, now: int, terms: Terms) -> Turn:
    """Adopt a commit that is there already; otherwise sign, never beside a call that may still land."""
    if looked.own:
        found = replace(state, phase=Phase.LANDED, landed=looked.own[0], failures=0)
        return _observe(found, Woke(), now, terms)
    if state.calls and looked.nonce <= state.calls[-1].nonce:
        return replace(state, phase=Phase.WATCHING, foreign=None), (Wait(terms.poll),)
    signing = replace(state, phase=Phase.SIGNING, nonce=looked.nonce, foreign=None)
    return signing, (Sign(state.commit, looked.nonce, None),)


def _signed(state: State, signed: Signed, now: int, terms: Terms) -> Turn:
    """Remember the variant before anybody sees it; one that is too dear is forgotten."""
    fee = signed.call.fee_per_gas
    if terms.fee_cap is not None and fee > terms.fee_cap:
        told = () if state.held_fee else (Tell(f"the chain asks {fee} wei per gas, the cap is {terms.fee_cap}"),)
        return _unsigned(replace(state, held_fee=fee), now), (*told, Wait(terms.resend))
    outbox = _outbox(state)
    outbox = msgspec.structs.replace(outbox, calls=(*outbox.calls, KeptCall.of(signed.call)))
    keeping = replace(state, phase=Phase.KEEPING, outbox=outbox, signed_at=now, sent_at=0, held_fee=None)
    return keeping, (Keep(outbox),)


def _unsigned(state: State, now: int) -> State:
    """Go back to where nothing is signed: to the calls that are out already, or to nothing at all."""
    if state.calls:
        return replace(state, phase=Phase.WATCHING, signed_at=now)
    return State(held_fee=state.held_fee, failures=state.failures)


def _keep(state: State, _woke: Woke, _now: int, _terms: Terms) -> Turn:
    return state, (Keep(_outbox(state)),)


def _send(state: State, _stimulus: Kept | Woke, _now: int, _terms: Terms) -> Turn:
    return replace(state, phase=Phase.SENDING), (Send(state.calls[-1]),)


def _sent(state: State, _sent: Sent, now: int, terms: Terms) -> Turn:
    return _observe(replace(state, phase=Phase.WATCHING, sent_at=now), Woke(), now, terms)


def _watch(state: State, woke: Woke, now: int, terms: Terms) -> Turn:
    return _observe(replace(state, phase=Phase.WATCHING), woke, now, terms)


def _observe(state: State, _woke: Woke, _now: int, _terms: Terms) -> Turn:
    """Ask for every variant, the newest first; where one was seen, for that one before the others."""
    hashes = [call.tx_hash for call in reversed(state.calls)]
    if state.landed is not None:
        hashes = [state.landed.tx_hash, *(each for each in hashes if each != state.landed.tx_hash)]
    return state, (Observe(tuple(hashes), None if state.foreign is None else state.foreign[0]),)


def _failed(state: State, _failed: Failed, now: int, terms: Terms) -> Turn:
    """Nothing is known: what was out stays out, what was only meant is meant again."""
    ms = min(SECOND << min(state.failures, 20), terms.backoff_most)
    state = replace(state, failures=state.failures + 1)
    if state.phase in {Phase.LOOKING, Phase.SIGNING}:
        held = _unsigned(state, state.signed_at if state.calls else now)
        return held, (Wait(ms),)
    phase = Phase.WATCHING if state.phase is Phase.SENDING else state.phase
    return replace(state, phase=phase), (Wait(ms),)


def _saw_waiting(state: State, saw: Saw, now: int, terms: Terms) -> Turn:
    """No variant was in a block when we last looked."""
    state = replace(state, failures=0)
    if saw.landed is not None:
        return _saw_landed(replace(state, phase=Phase.LANDED, landed=saw.landed, foreign=None), saw, now, terms)
    newest = state.calls[-1]
    if saw.nonce > newest.nonce:
        return _saw_foreign(state, saw, newest.nonce, terms)
    state = replace(state, foreign=None)
    if saw.nonce < newest.nonce:
        return _saw_gap(state, saw, newest.nonce, terms)
    state = replace(state, gap=None)
    if now - state.signed_at >= terms.patience and len(state.calls) < VARIANTS_MAX:
        return replace(state, phase=Phase.SIGNING), (Sign(state.commit, newest.nonce, newest),)
    if now - state.sent_at >= terms.resend:
        return _send(state, Woke(), now, terms)
    return state, (Wait(terms.poll),)


def _saw_gap(state: State, saw: Saw, nonce: int, terms: Terms) -> Turn:
    """Whoever used the nonce before ours must use it again: a commit of ours in that place would be a second one."""
    text = f"nonce {saw.nonce} lies open again, and the commit with nonce {nonce} waits behind it: send it anew"
    told = () if state.gap == saw.nonce else (Tell(text),)
    return replace(state, gap=saw.nonce), (*told, Wait(terms.poll))


def _saw_foreign(state: State, saw: Saw, nonce: int, terms: Terms) -> Turn:
    """Somebody else used our nonce; once that is final ours can never land, and not before."""
    if saw.head_hash is None:
        return state, (Wait(terms.poll),)
    if state.foreign is None or saw.hash_marked != state.foreign[1]:
        text = f"nonce {nonce} was used by another transaction of this key: waiting until that is final"
        told = () if state.foreign is not None else (Tell(text),)
        return replace(state, foreign=(saw.head, saw.head_hash)), (*told, Wait(terms.poll))
    if saw.head - state.foreign[0] < terms.confirmations:
        return state, (Wait(terms.poll),)
    text = f"nonce {nonce} is lost to another transaction of this key, so ours can never land: signing for the next one"
    return replace(state, phase=Phase.LOOKING, foreign=None), (Tell(text), Look(state.commit))


def _saw_landed(state: State, saw: Saw, now: int, terms: Terms) -> Turn:
    """A variant was in a block; it counts when enough others stand on top and it is still there."""
    state = replace(state, failures=0)
    if saw.landed is None:
        return _vanished(state, now, terms)
    moved = state.landed is not None and saw.landed.block_hash != state.landed.block_hash
    told = (Tell(f"the chain was reorganised: the commit stands in block {saw.landed.block} now"),) if moved else ()
    state = replace(state, landed=saw.landed)
    deep = saw.head - saw.landed.block >= terms.confirmations
    if not deep or saw.hash_there != saw.landed.block_hash:
        return state, (*told, Wait(terms.poll))
    if saw.landed.succeeded:
        return replace(state, phase=Phase.LOGGING), (*told, Log(_outbox(state), saw.landed))
    outbox = msgspec.structs.replace(_outbox(state), standing=Standing.REVERTED)
    text = f"the commit {saw.landed.tx_hash.hex()} failed in block {saw.landed.block}: it is not sent again by itself"
    return replace(state, phase=Phase.REVERTED, outbox=outbox), (*told, Tell(text), Keep(outbox))


def _vanished(state: State, now: int, terms: Terms) -> Turn:
    """The block is gone: the very bytes that stood in it go out again, so that they are the ones to land."""
    told = Tell("the chain was reorganised: the commit is in no block any more and is sent again")
    again = [call for call in state.calls if state.landed is not None and call.tx_hash == state.landed.tx_hash]
    if again:
        sending = replace(state, phase=Phase.SENDING, landed=None, signed_at=now, sent_at=0)
        return sending, (told, Send(again[0]))
    state = replace(state, landed=None)
    if state.calls:
        state, instructions = _send(state, Woke(), now, terms)
    else:
        state, instructions = _look(state, Woke(), now, terms)
    return state, (told, *instructions)


def _log(state: State, _woke: Woke, _now: int, _terms: Terms) -> Turn:
    if state.landed is None:
        raise TransitionError(MACHINE, state.phase.value, "Log without a block")
    return state, (Log(_outbox(state), state.landed),)


def _logged(_state: State, _logged: Logged, _now: int, _terms: Terms) -> Turn:
    return State(), (Wait(None),)


def _outbox(state: State) -> Outbox:
    if state.outbox is None:
        raise TransitionError(MACHINE, state.phase.value, "outbox")
    return state.outbox


TRANSITIONS: Final[dict[tuple[Phase, type], Handler]] = {
    (Phase.IDLE, Begin): _begin,
    (Phase.IDLE, Woke): _rest,
    (Phase.LOOKING, Looked): _looked,
    (Phase.LOOKING, Failed): _failed,
    (Phase.LOOKING, Woke): _look,
    (Phase.SIGNING, Signed): _signed,
    (Phase.SIGNING, Failed): _failed,
    (Phase.SIGNING, Woke): _look,
    (Phase.KEEPING, Kept): _send,
    (Phase.KEEPING, Woke): _keep,
    (Phase.SENDING, Sent): _sent,
    (Phase.SENDING, Failed): _failed,
    (Phase.SENDING, Woke): _watch,
    (Phase.WATCHING, Saw): _saw_waiting,
    (Phase.WATCHING, Failed): _failed,
    (Phase.WATCHING, Woke): _observe,
    (Phase.LANDED, Saw): _saw_landed,
    (Phase.LANDED, Failed): _failed,
    (Phase.LANDED, Woke): _observe,
    (Phase.LOGGING, Logged): _logged,
    (Phase.LOGGING, Woke): _log,
    (Phase.REVERTED, Begin): _begin,
    (Phase.REVERTED, Kept): _rest,
    (Phase.REVERTED, Woke): _rest,
}
"""What can happen in which phase; everything else is a mistake of whoever runs the machine."""
