"""What became of a job, read from its own bundle: who was paid, who was refuted and why, what it cost, what it proves.

``Outcome`` is data; ``show`` prints it. Refuses to know how the job was run.
"""

from __future__ import annotations

from dataclasses import dataclass

from rich.text import Text

from tallystick.audit.bundle import Bundle, parse
from tallystick.cli.lifecycle import Cast
from tallystick.cli.screen import Screen
from tallystick.cli.words import count, cpc, explained, near, short
from tallystick.job import JobSpec
from tallystick.ledger import payloads as say
from tallystick.ledger.transactions import decode
from tallystick.node.billing import Bill, bill
from tallystick.node.delivery import bundle_path, sidecar_path
from tallystick.primitives.amounts import parse_wei
from tallystick.primitives.keys import address_of
from tallystick.verification.verdict import BlockVerdict, Reason, SlotVerdict, Source, Verdict

REFUTED_SHOWN = 6

REASONS = {
    Reason.NEVER_COMMITTED: "it never committed to anything",
    Reason.NOT_DELIVERED: "it committed and did not deliver",
    Reason.NOT_OPENED: "it did not open its commitment",
    Reason.OPENING_DIFFERS: "its opening does not give the root it signed",
    Reason.LEAF_DIFFERS: "it delivered other bytes than it had signed",
    Reason.REFERENCE_DIFFERS: "wrong bytes",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """A finished job."""

    job_id: str
    output: str
    spec: JobSpec
    settled: say.JobSettled
    drawn_by: say.Drawer
    verdicts: tuple[BlockVerdict, ...]
    bill: Bill
    entries: int
    coordinator: str
    source: str
    """Digest of the input's raster, as the bundle discloses it."""

    @property
    def labels(self) -> list[str]:
        """Return what a reader of the result must know, those of the order first."""
        drawn = ["challenge: operator-drawn"] if self.drawn_by is say.Drawer.OPERATOR else []
        return [*self.spec.labels, *drawn]

    @property
    def fallen(self) -> list[tuple[BlockVerdict, SlotVerdict]]:
        """Return every executed slot that was not upheld, by block."""
        return [(line, slot) for line in self.verdicts for slot in line.slots if slot.verdict is not Verdict.UPHELD]

    @property
    def by_referee(self) -> int:
        """Return how many blocks of the output are the referee's own bytes."""
        return sum(line.source is Source.REFEREE for line in self.verdicts)

    @property
    def recomputed(self) -> int:
        """Return how many blocks the referee computed."""
        return self.settled.copies + self.settled.audited + self.settled.redone

    @property
    def fee_from_slashes(self) -> int:
        """Return what the referee got out of the liars' bonds, in wei; the buyer pays the rest of its fee."""
        return sum(parse_wei(line.slashed) for line in self.settled.lines) - parse_wei(self.settled.burned)

    def as_json(self) -> dict[str, object]:
        """Return the document that `submit --json` prints."""
        return {
            "jobId": self.job_id,
            "output": self.output,
            "sidecar": sidecar_path(self.output),
            "bundle": bundle_path(self.output),
            "costWei": str(self.bill.cost),
            "labels": self.labels,
        }


def outcome(job_id: str, output: str, data: bytes) -> Outcome:
    """Read a job's outcome from its bundle."""
    bundle: Bundle = parse(data)
    entries = [decode(bytes(each.entry)) for each in bundle.entries]
    payloads = [entry.payload for entry in entries]
    attempt = bundle.attempt
    return Outcome(
        job_id=job_id,
        output=output,
        spec=next(x.spec for x in payloads if isinstance(x, say.JobSubmitted) and x.spec.attempt == attempt),
        settled=next(x for x in payloads if isinstance(x, say.JobSettled)),
        drawn_by=next(x.drawn_by for x in payloads if isinstance(x, say.ChallengeDrawn) and x.attempt == attempt),
        verdicts=bundle.verdicts,
        bill=bill(entries),
        entries=len(entries),
        coordinator=address_of(bytes.fromhex(bundle.genesis.coordinator)),
        source=bundle.disclosures.input.value,
    )


def show(screen: Screen, ended: Outcome, cast: Cast) -> None:
    """Print the verdict: a table of workers, every refuted block, what the referee did."""
    rows = [*(_row(line, cast) for line in ended.settled.lines), *_referee_rows(ended)]
    screen.table(("WORKER", "ACCOUNT", "ACCEPTED", "REFUTED", "PAID", "SLASHED"), rows, right=(2, 3, 4, 5))
    fallen = ended.fallen
    if fallen:
        screen.line()
    for line, slot in fallen[:REFUTED_SHOWN]:
        screen.line(_refutation(line, slot, cast))
    if len(fallen) > REFUTED_SHOWN:
        rest = len(fallen) - REFUTED_SHOWN
        screen.line(f"… and {count(rest, 'more block')}: the bundle's verdict list names every one")
    screen.line()
    screen.paragraph(referee_words(ended))


def _row(line: say.SettlementLine, cast: Cast) -> list[str | Text]:
    fallen = line.refuted + line.unavailable
    style = "red" if fallen else "green"
    paid, slashed = parse_wei(line.amount), parse_wei(line.slashed)
    return [
        Text(cast.name(line.worker), style=style),
        short(line.payee, 9, 4),
        str(line.accepted),
        Text(str(fallen), style="red" if fallen else "dim"),
        Text(cpc(paid), style="green" if paid else "dim"),
        Text(cpc(slashed), style="red" if slashed else "dim"),
    ]


def _referee_rows(ended: Outcome) -> list[list[str | Text]]:
    """The coordinator's pay: with the workers' it is the cost; what came out of bonds stands apart."""
    slashed = ended.fee_from_slashes
    bought, account = parse_wei(ended.settled.referee_fee) - slashed, short(ended.coordinator, 9, 4)
    rows: list[list[str | Text]] = [["referee", account, f"{ended.recomputed} computed", "", cpc(bought), ""]]
    if slashed:
        rows.append(["", "", "", "from bonds", cpc(slashed), ""])
    return rows


def _refutation(line: BlockVerdict, slot: SlotVerdict, cast: Cast) -> Text:
    said = Text(f"block {line.block}", style="bold")
    copy = " (copy)" if slot.copy else ""
    said.append(f"{copy} of {cast.name(slot.worker)} refuted: {REASONS[slot.reason]}", style="red")
    if slot.reason is Reason.REFERENCE_DIFFERS and slot.digest and line.reference:
        said.append(f" ({slot.digest[:8]}…, due {line.reference[:8]}…)", style="dim")
    return said


def referee_words(ended: Outcome) -> str:
    """Say what the referee recomputed, and whose blocks stand in the output."""
    settled, blocks = ended.settled, len(ended.verdicts)
    met = not ended.fallen  # then only moves can have had anything redone
    counted = (
        (settled.copies, "as copies"),
        (settled.audited, "drawn by the challenge"),
        (settled.redone, "whose copies lost their independence" if met else "because their worker was caught"),
    )
    why = ", ".join(f"{number} {what}" for number, what in counted if number)
    own = f"{ended.by_referee} of the output's {count(blocks, 'block')} are the referee's own bytes."
    if ended.recomputed == blocks and all(line.faulted for line in settled.lines):
        said = f"No worker could be relied on: the referee computed everything, all {blocks} blocks. {own}"
    elif ended.recomputed:
        said = f"The referee recomputed {ended.recomputed} of {count(blocks, 'block')} ({why})."
        said = f"{said} {own}" if ended.by_referee else said
    else:
        said = "Nothing was recomputed."
    return said


def show_files(screen: Screen, ended: Outcome) -> None:
    """Print cost, files and labels."""
    back = f" of {cpc(ended.bill.locked)} locked; {cpc(ended.bill.returned)} returned"
    pairs = [
        ("Cost", cpc(ended.bill.cost) + back),
        ("Output", near(ended.output)),
        ("Sidecar", near(sidecar_path(ended.output))),
        ("Bundle", near(bundle_path(ended.output))),
    ]
    pairs += [("Label" if index == 0 else "", f"{name} ({means})") for index, (name, means) in _labels(ended)]
    screen.pairs(pairs)


def _labels(ended: Outcome) -> list[tuple[int, tuple[str, str]]]:
    return list(enumerate(explained(ended.labels)))
