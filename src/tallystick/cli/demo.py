"""`tally demo`: a whole job before one's eyes, with liars among the workers; then its proof, and a broken copy of it.

Everything is played by one process with play money, and every line that could be taken for more says simulated.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final

from tallystick.adapters.local import SystemClock
from tallystick.adapters.pillow import decode_image
from tallystick.audit.findings import Finding, Report, Result
from tallystick.cli.anchor import anchor_quietly
from tallystick.cli.asking import new_job_id, place, read_input
from tallystick.cli.ending import Outcome, show, show_files
from tallystick.cli.exits import DONE, FAILED
from tallystick.cli.home import TRUST_FILE, Home, open_home
from tallystick.cli.lifecycle import Lifecycle
from tallystick.cli.running import meet, resume, run_job
from tallystick.cli.screen import Screen
from tallystick.cli.submit import show_order
from tallystick.cli.verify import examine
from tallystick.cli.words import command, count, cpc, near
from tallystick.errors import ChainError, UsageError
from tallystick.job import PPM, parse_scale
from tallystick.kernels.lanczos import target_size
from tallystick.kernels.raster import Raster
from tallystick.ledger.records import supply
from tallystick.node.delivery import bundle_path, sidecar_path
from tallystick.node.ordering import DEFAULT_BLOCK, DEFAULT_DUPLICATES, Wish
from tallystick.primitives.amounts import parse_wei
from tallystick.primitives.digests import sha256

WORKERS: Final = 3
SCALE: Final = "2"
BLOCKS_WANTED: Final = 24
BLOCK_SIDE_LEAST: Final = 16
PICTURE: Final = "picture.png"
HOME_FOLDER: Final = "home"
TAMPERED: Final = ".tampered.png"


@dataclass(frozen=True, slots=True)
class Stage:
    """Where the demonstration plays: its folder, the input's path and bytes, and where the output goes."""

    folder: Path
    source: Path
    data: bytes
    output: Path

    @property
    def home(self) -> Path:
        """The demonstration's own home."""
        return self.folder / HOME_FOLDER

    @property
    def trust(self) -> Path:
        """What a stranger pins to check this home."""
        return self.home / TRUST_FILE

    @property
    def tampered(self) -> Path:
        """The copy of the output with one byte flipped."""
        return self.output.with_name(f"{self.output.stem}{TAMPERED}")


@dataclass(frozen=True, slots=True)
class Proof:
    """What the audit says of the result, and of the copy in which one byte was flipped."""

    whole: Report
    broken: Report
    position: int

    @property
    def as_it_should_be(self) -> bool:
        """Whether the result holds and the copy does not."""
        return self.whole.result is Result.HOLDS and self.broken.result is Result.DOES_NOT_HOLD


def demo(input_: Path | None, dishonest: int, out: Path, *, as_json: bool) -> int:
    """Play the demonstration; return the exit code."""
    stage = _set_stage(input_, out)
    screen = Screen(as_json=as_json, story=True)
    life = Lifecycle(screen)
    _introduce(screen, dishonest)
    with open_home(stage.home, watch=life.heard) as home:
        meet(home, life)
        resume(home, screen, life)
        wish = _wish(stage, dishonest)
        ended = _play(home, screen, life, wish, stage.data)
        screen.heading("3  The verdict")
        show(screen, ended, life.cast)
        _explain(screen, ended, supply(home.engine.view.records))
        anchored = _anchor(home, screen, stage, wish.job_id)
    proof = _prove(stage)
    _show_proof(screen, stage, proof)
    screen.heading("6  What you have now")
    show_files(screen, ended)
    tries = _commands(stage, input_)
    screen.heading("Try next")
    for line in tries:
        screen.line(f"  {line}")
    screen.result({**_document(stage, ended, proof, tries), "anchored": anchored})
    return DONE if proof.as_it_should_be else FAILED


def _set_stage(input_: Path | None, out: Path) -> Stage:
    """Make the folder and read the picture: the caller's, or the bundled one, copied there.

    Raises:
        UsageError: the folder cannot be used, or the input cannot be read.
    """
    folder = out.expanduser().absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        source = folder / PICTURE if input_ is None else input_.absolute()
        if input_ is None:
            source.write_bytes(resources.files("tallystick.cli").joinpath(PICTURE).read_bytes())
    except OSError as error:
        raise UsageError(f"the folder {folder} cannot be used: {error.strerror}; name another with --out") from error
    data = read_input(source)
    output = place(source, folder / f"{source.stem}@{SCALE}x.png", parse_scale(SCALE))
    return Stage(folder, source, data, output)


def _wish(stage: Stage, dishonest: int) -> Wish:
    return Wish(
        job_id=new_job_id(),
        input=sha256(stage.data).hex(),
        input_name=stage.source.name,
        output_path=str(stage.output),
        scale=SCALE,
        created=SystemClock().now(),
        block=_block_side(decode_image(stage.data).raster),
        workers=WORKERS,
        operators=WORKERS,
        duplicates=DEFAULT_DUPLICATES,
        audit=PPM,
        simulated=True,
        dishonest=dishonest,
    )


def _block_side(raster: Raster) -> int:
    """Return a side that gives a small picture enough blocks for something to be seen."""
    width, height = (target_size(size, parse_scale(SCALE)) for size in (raster.width, raster.height))
    side = DEFAULT_BLOCK
    while side > BLOCK_SIDE_LEAST and -(-width // side) * -(-height // side) < BLOCKS_WANTED:
        side //= 2
    return side


def _introduce(screen: Screen, dishonest: int) -> None:
    liars = {0: "all of them honest", WORKERS: "all of them lying"}.get(dishonest, f"{dishonest} of them lying")
    screen.line(f"A job on three machines that nobody trusts, {liars}", style="bold")
    screen.paragraph(
        "One process plays buyer, coordinator and three operators, with play money: all of it is signed as simulated."
    )


def _play(home: Home, screen: Screen, life: Lifecycle, wish: Wish, data: bytes) -> Outcome:
    screen.heading("1  The order")
    offer = home.node.offer(wish, data)
    show_order(screen, offer)
    screen.heading("2  The log: every line is one signed entry")
    life.follow(offer.spec)
    home.node.accept(offer, data)
    return run_job(home, screen, life, wish.job_id, offer.picture)


def _explain(screen: Screen, ended: Outcome, total: int) -> None:
    """Say how the liars were seen, and that no money was made or lost."""
    if ended.fallen:
        honest = "the honest are paid, " if any(parse_wei(line.amount) for line in ended.settled.lines) else ""
        screen.paragraph(
            "Every worker had signed the root over its bytes before anybody knew what would be audited. Then the "
            "buyer's secret drew the audit, the referee ran the same integer arithmetic, and the bits differed: what "
            f"is signed cannot be denied. A liar is unpaid and loses its bond, {honest}the output is right."
        )
    else:
        screen.paragraph("Every block was recomputed by the referee, bit for bit the same: all workers are paid.")
    burned = parse_wei(ended.settled.burned)
    lost = f", of which {cpc(burned)} were burned in this job" if burned else ""
    screen.paragraph(f"The ledger still sums to {cpc(total)}{lost}.")


def _anchor(home: Home, screen: Screen, stage: Stage, job_id: str) -> str | None:
    """Anchor the last checkpoint on this home's own chain and write the bundle again; return the chain's name.

    Without an EVM on this machine nothing is anchored, and the audit says so.
    """
    try:
        newest = anchor_quietly(home)
    except ChainError as error:
        screen.paragraph(f"The checkpoint over it is not anchored: {error}")
        return None
    if newest is None:
        return None
    home.node.ports.desk.write(bundle_path(str(stage.output)), home.node.bundle(job_id))
    screen.paragraph(
        f"The checkpoint over it is anchored in block {newest.payload.block} of {newest.payload.chain}, which this "
        "home runs itself: that shows how it is done, and dates nothing for anybody else."
    )
    return newest.payload.chain


def _prove(stage: Stage) -> Proof:
    """Audit the three files against the trust file, then a copy of the output in which one byte is flipped."""
    output = str(stage.output)
    beside = [Path(bundle_path(output)), Path(sidecar_path(output))]
    whole = examine([stage.output, *beside, stage.source], stage.trust, recompute=True)
    data = bytearray(stage.output.read_bytes())
    position = len(data) // 2
    data[position] ^= 1
    stage.tampered.write_bytes(data)
    return Proof(whole, examine([stage.tampered, *beside], stage.trust), position)


def _show_proof(screen: Screen, stage: Stage, proof: Proof) -> None:
    screen.heading("4  The proof, checked offline as a stranger would: three files and a trust file")
    for line in _findings(proof.whole):
        screen.paragraph(line)
    _say_result(screen, proof.whole)
    screen.heading(f"5  The same with byte {proof.position} of {near(stage.tampered)} flipped")
    for finding in proof.broken.findings:
        if finding.result is Result.DOES_NOT_HOLD:
            screen.paragraph(_finding(finding))
    _say_result(screen, proof.broken)


def _findings(report: Report) -> Iterator[str]:
    """Spell what holds on few lines, and everything else on its own."""
    held = [finding.name for finding in report.findings if finding.result is Result.HOLDS]
    yield f"{count(len(held), 'step')} of {len(report.findings)} hold: {', '.join(held)}"
    for finding in report.findings:
        if finding.result is not Result.HOLDS:
            yield _finding(finding)


def _finding(finding: Finding) -> str:
    due = "" if finding.expected is None else f"expected {finding.expected}; found "
    return f"[{finding.step}] {finding.result.value.replace('-', ' ')}  {finding.name}: {due}{finding.actual}"


def _say_result(screen: Screen, report: Report) -> None:
    style = {Result.HOLDS: "bold green", Result.DOES_NOT_HOLD: "bold red"}.get(report.result, "bold yellow")
    screen.line(f"=> {report.result.value.replace('-', ' ')}", style=style)


def _commands(stage: Stage, input_: Path | None) -> list[str]:
    trust, folder = near(stage.trust), near(stage.folder)
    mine = [] if input_ is None else ["--input", near(stage.source)]
    return [
        command("verify", near(stage.output), "--trust", trust),
        command("demo", "--dishonest", "3", *mine, "--out", folder),
        command("submit", "upscale", near(stage.source), "--scale", "3/2"),
    ]


def _document(stage: Stage, ended: Outcome, proof: Proof, tries: list[str]) -> dict[str, object]:
    """Return what `demo --json` prints: submit's document, and what the demonstration shows beyond it."""
    return {
        **ended.as_json(),
        "simulated": ended.spec.simulated,
        "input": str(stage.source),
        "trust": str(stage.trust),
        "workers": [
            {
                "key": line.worker,
                "payee": line.payee,
                "accepted": line.accepted,
                "refuted": line.refuted + line.unavailable,
                "paidWei": line.amount,
                "slashedWei": line.slashed,
            }
            for line in ended.settled.lines
        ],
        "refuted": [
            {"block": line.block, "worker": slot.worker, "reason": slot.reason.value} for line, slot in ended.fallen
        ],
        "refereeBlocks": ended.recomputed,
        "blocks": len(ended.verdicts),
        "verified": proof.whole.result.value,
        "tampered": {"output": str(stage.tampered), "byte": proof.position, "verified": proof.broken.result.value},
        "next": tries,
    }
