"""A job's life as it happens: every durable entry becomes one line of a log, headers only count.

Knows what each type of entry means to a person. Refuses to know streams' details (screen) and to decide anything.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from rich.text import Text

from tallystick.cli.screen import Screen
from tallystick.cli.words import count, cpc, letter, near, short
from tallystick.job import JobSpec
from tallystick.ledger import payloads as say
from tallystick.ledger.transactions import Transaction
from tallystick.node.identity import Identity
from tallystick.primitives.amounts import parse_wei
from tallystick.primitives.keys import address_of
from tallystick.slicing import layout

STEP_WIDTH: Final = 7
TYPE_WIDTH: Final = 17
WHAT_WIDTH: Final = 40
NID_SHOWN: Final = 15
HASH_SHOWN: Final = 11
NID_LEAST: Final = 10
ROOT_SHOWN: Final = 8
MICROJOBS_SHOWN: Final = 16
PIXELS_LARGE: Final = 1 << 24
"""Writing so many pixels takes seconds, in which a pipe would hear nothing."""


@dataclass(slots=True)
class Cast:
    """Who is who: names for the addresses and keys that a log shows."""

    names: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, identity: Identity) -> Cast:
        """Name the keys that a home always has."""
        return cls(
            {
                identity.requester().address: "requester",
                identity.faucet().address: "faucet",
                identity.coordinator().address: "coordinator",
            }
        )

    def seat(self, spec: JobSpec) -> None:
        """Name the workers and operators of an order, by seat."""
        operators = list(dict.fromkeys(seat.operator for seat in spec.pool))
        for number, seat in enumerate(spec.pool, 1):
            self.names[seat.worker] = self.names[address_of(bytes.fromhex(seat.worker))] = f"worker {number}"
            self.names[seat.operator] = f"operator {letter(operators.index(seat.operator))}"

    def name(self, key: str) -> str:
        """Return a name, or the beginning of an address nobody named."""
        return self.names.get(key) or short(key)


@dataclass(slots=True)
class Lifecycle:
    """The log of one run on a screen; ``heard`` is what the node calls with every durable entry."""

    screen: Screen
    cast: Cast = field(default_factory=Cast)
    output: str = ""
    large: bool = False
    microjobs: int = 0
    roots: int = 0
    entries: int = 0
    blocks: int = 0

    def follow(self, spec: JobSpec) -> None:
        """Name the workers of the order that comes next, and count its micro jobs."""
        self.cast.seat(spec)
        self.microjobs, self.roots = layout(spec).microjobs, 0
        self.large = spec.task.target_width * spec.task.target_height >= PIXELS_LARGE

    def heard(self, transaction: Transaction, _index: int) -> None:
        """Show one durable entry."""
        if isinstance(transaction.payload, say.BlockHeader):
            self.blocks += 1
            return
        self.entries += 1
        if isinstance(transaction.payload, say.SubmitResult):
            self.roots += 1
        if isinstance(transaction.payload, say.JobSubmitted):
            self.follow(transaction.payload.spec)
        self._tell_live(transaction.payload)
        if isinstance(transaction.payload, say.UploadsClosed) and self._crowded():
            both = f"{self.roots} times SUBMIT_RESULT and JobProgressUpdate"
            self.screen.note(f"{'':{STEP_WIDTH}} … {both}", style="dim")
        if not (self._crowded() and isinstance(transaction.payload, say.SubmitResult | say.JobProgressUpdate)):
            self.screen.note(self._line(transaction))
        if isinstance(transaction.payload, say.JobSettled) and self.large and not self.screen.log.is_terminal:
            self.screen.note(f"{'':{STEP_WIDTH}} writing {near(self.output) if self.output else 'the output'} …")

    def _crowded(self) -> bool:
        """Tell whether a line for every micro job would hide the rest from a person; a file gets them all."""
        return self.screen.log.is_terminal and self.microjobs > MICROJOBS_SHOWN

    def _line(self, transaction: Transaction) -> Text:
        payload = transaction.payload
        step = ""
        if isinstance(payload, say.JobProgressUpdate):
            total = str(payload.total)
            step = f"[{payload.done:>{len(total)}}/{total}]"
        line = Text(f"{step:>{STEP_WIDTH}} ", style="cyan")
        line.append(f"{transaction.type:<{TYPE_WIDTH}} ", style=_STYLES.get(type(payload), "default"))
        line.append(f"{self.describe(transaction):<{WHAT_WIDTH}}", style="not bold")
        return line.append(self._names(transaction, self.screen.log.width - line.cell_len), style="dim")

    @staticmethod
    def _names(transaction: Transaction, room: int) -> str:
        """Return NID and txHash, which name one digest, as far as there is room."""
        nid, digest = transaction.nid, transaction.tx_hash
        if room >= len(nid) + len(digest) + 4:
            return f"  {nid}  {digest}"
        if room >= NID_SHOWN + HASH_SHOWN + 4:
            return f"  {short(nid, NID_SHOWN - 1)}  {short(digest, HASH_SHOWN - 1)}"
        return f" {short(nid, room - 2)}" if room > NID_LEAST else ""

    def describe(self, transaction: Transaction) -> str:
        """Say in a few words what an entry means."""
        payload, name = transaction.payload, self.cast.name
        sender, said = name(transaction.address), ""
        match payload:
            case say.Transfer(to=to, amount=amount):
                said = f"{sender} gives {name(to)} {cpc(parse_wei(amount))}"
            case say.NodeRegistered(operator=operator, simulated=simulated):
                said = f"{sender} of {name(operator)}{', simulated' if simulated else ''}"
            case say.StakeDeposited(amount=amount):
                said = f"{sender} bonds {cpc(parse_wei(amount))}"
            case say.EscrowLocked():
                parts = (payload.work, payload.duplicates, payload.audits, payload.reserve)
                said = f"{sender} locks {cpc(sum(parse_wei(part) for part in parts))}"
            case say.JobSubmitted(spec=spec):
                again = f", attempt {spec.attempt}" if spec.attempt > 1 else ""
                said = f"{count(layout(spec).blocks, 'block')} to be made{again}"
            case say.SubmitResult(microjob=index, tree_size=size):
                root = payload.result_hash[:ROOT_SHOWN]
                said = f"{sender}: #{index}, {count(size, 'block')}, root {root}…"
            case _:
                said = _STEPS.get(type(payload), "") or _describe_step(payload)
        return said

    def close(self) -> None:
        """Say how much was logged."""
        if self.entries:
            said = f"{count(self.entries, 'entry', 'entries')} in {count(self.blocks, 'block')}"
            self.screen.note(f"{'':{STEP_WIDTH}} {said}, each under a signed header and checkpoint", style="dim")

    def _tell_live(self, payload: say.Payload) -> None:
        match payload:
            case say.JobStarted():
                self.screen.now("the workers compute", 0, self.microjobs)
            case say.JobProgressUpdate(done=done, total=total):
                self.screen.now("the workers compute", done, total)
            case say.ChallengeDrawn():
                self.screen.now("the referee recomputes")
            case say.JobSettled():
                self.screen.now("the output is written")
            case say.JobCompleted():
                self.screen.now("credentials are signed")
            case _:
                return


def _describe_step(payload: say.Payload) -> str:
    """Say what the coordinator found or decided."""
    said = ""
    match payload:
        case say.JobScheduled(microjobs=number):
            said = f"{count(number, 'micro job')}, assignment sealed"
        case say.MicroJobReassigned(microjob=index, seat=seat):
            said = f"#{index} is lost, worker {seat + 1} takes it over"
        case say.UploadsClosed(missing=missing):
            said = f"{count(len(missing), 'micro job')} missing" if missing else "all roots and bytes are in"
        case say.ChallengeDrawn(drawn_by=drawer, challenge=drawn):
            said = f"by the {drawer.value}'s secret: {drawn[:ROOT_SHOWN]}…"
        case say.JobSettled():
            said = _describe_settlement(payload)
        case say.JobCompleted(width=width, height=height):
            said = f"output of {width} x {height}"
        case say.JobFailed(error_code=code):
            said = code.value
        case say.Anchored(size=size, chain=chain):
            said = f"{count(size, 'entry', 'entries')} on {chain}"
    return said


def _describe_settlement(payload: say.JobSettled) -> str:
    accepted = sum(line.accepted for line in payload.lines)
    fallen = sum(line.refuted + line.unavailable for line in payload.lines)
    verdict = f"{accepted} upheld" + (f", {fallen} refuted" if fallen else "")
    return f"{verdict}, {cpc(sum(parse_wei(line.amount) for line in payload.lines))} paid"


_STEPS: Final[dict[type, str]] = {
    say.JobStarted: "handed out to the workers",
    say.JobProgressUpdate: "committed and uploaded",
    say.ArtifactPublished: "file and sidecar signed",
    say.EscrowRefunded: "everything returns to the requester",
    say.EscrowReleased: "timely work is paid, the rest returns",
}

_STYLES: Final[dict[type, str]] = {
    say.JobSettled: "bold",
    say.JobCompleted: "bold green",
    say.ArtifactPublished: "bold green",
    say.JobFailed: "bold red",
    say.MicroJobReassigned: "yellow",
    say.EscrowRefunded: "yellow",
    say.EscrowReleased: "yellow",
}
