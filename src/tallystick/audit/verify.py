"""The stranger's check of one job, as a numbered plan (docs/spec/audit.md); the numbers stand again at the code.

 1 bundle        it is the canonical spelling of a bundle
 2 genesis       the ledger is the pinned one: chain id, log, coordinator
 3 checkpoint    the pinned log key signed it, alone, for the pinned origin and range
 4 entries       each is canonical, signed, of this chain, in the log at its index; in order; numbers rise
 5 headers       one chain over exactly the blocks of the job; signer, times, gas; tx_root from the inclusion proofs
 6 lifecycle     every attempt goes through the ledger's tables; nothing else, nothing less; the result is published
 7 pool          every seat registered by its operator, bonded for what it held, paid where it said
 8 secrets       both open what the order committed to
 9 plan          drawn again: assignment, moves that part copies, posted roots with signatures, what was missing
10 challenge     drawn again from all roots, the header that closes the uploads, and the secret
11 verdicts      leaves and openings checked, every verdict given again; JobSettled signed this list
12 results       settled again; their root stands in JobSettled and in its block's header
13 settlement    prices, counts and every amount computed again
14 rules         the ledger's own rule book accepts every entry at its block's time
15 disclosures   input, output, file and sidecar open their salted commitments
16 output        the file shown is the delivered one, and every block of its picture is the accepted one
17 sidecar       the sidecar shown is the published one
18 credentials   embedded and beside the file: Trusted under the pinned root, and about this job
19 anchor        whether a chain dates a checkpoint that covers the job, and whose chain
20 labels        what a reader must know about how the result was made
21 recompute     every block run again with the reference kernel, from the input

Bytes in, report out. A step that fails leaves those that build on it untold: they are not run. What reads pictures and
credentials is an argument. What a bundle cannot show is named in the findings: state roots, balances, other jobs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from tallystick.audit import entries as record
from tallystick.audit import files, judging, lifecycle, payment
from tallystick.audit.anchors import Inquiry, bundle_finding
from tallystick.audit.bundle import Bundle, parse
from tallystick.audit.entries import Chain, Entry
from tallystick.audit.files import Credentials, Decode, Private
from tallystick.audit.findings import Report, Result, found, report
from tallystick.audit.judging import Assigned
from tallystick.audit.lifecycle import Facts
from tallystick.audit.plan import Remark, Step, walk
from tallystick.audit.trust import Trust
from tallystick.kernels.raster import Raster
from tallystick.primitives.amounts import Wei, format_cpc
from tallystick.primitives.notes import Checkpoint
from tallystick.verification.verdict import Evidence, Judgement, Verdict


@dataclass(frozen=True, slots=True)
class Shown:
    """What somebody lays on the table: the bundle, and any of delivered file, sidecar and decoded input."""

    bundle: bytes
    output: bytes | None = None
    sidecar: bytes | None = None
    source: Raster | None = None


@dataclass(slots=True)
class Audit:
    """One audit under way; each step leaves here what later steps build on, and runs only after those."""

    shown: Shown
    trust: Trust
    bundle: Bundle
    decode: Decode | None
    credentials: Credentials | None
    recompute: bool
    inquiry: Inquiry | None
    checkpoint: Checkpoint = field(init=False)
    entries: tuple[Entry, ...] = field(init=False)
    chain: Chain = field(init=False)
    facts: Facts = field(init=False)
    assigned: Assigned = field(init=False)
    chal: bytes = field(init=False)
    evidence: Evidence = field(init=False)
    judgement: Judgement = field(init=False)
    private: Private = field(init=False)


def _genesis(audit: Audit) -> str:  # (2)
    record.check_genesis(audit.bundle.genesis, audit.trust)
    return f"chain {audit.trust.chain_id}, log {audit.trust.log.origin}"


def _checkpoint(audit: Audit) -> str:  # (3)
    audit.checkpoint = record.check_checkpoint(audit.bundle.checkpoint, audit.trust)
    return f"{audit.checkpoint.size} entries, signed by {audit.trust.log.origin}"


def _entries(audit: Audit) -> str:  # (4)
    audit.entries = record.check_entries(audit.bundle, audit.checkpoint, audit.trust)
    return f"{len(audit.entries)} entries are signed and in the log"


def _headers(audit: Audit) -> str:  # (5)
    audit.chain = record.check_headers(audit.entries, audit.bundle.genesis, audit.checkpoint.size)
    first, last = audit.chain.blocks[0].header.height, audit.chain.blocks[-1].header.height
    return f"blocks {first} to {last} are one chain; state roots need the whole log and were not recomputed"


def _lifecycle(audit: Audit) -> str:  # (6)
    audit.facts = lifecycle.check_lifecycle(audit.bundle, audit.entries, audit.chain)
    return f"job {audit.bundle.job_id} is published, attempt {audit.bundle.attempt}"


def _pool(audit: Audit) -> str:  # (7)
    seats = payment.check_pool(audit.facts, audit.entries)
    operators = audit.facts.spec.operators
    return f"{len(seats)} workers of {operators} operator{'s' if operators > 1 else ''} were registered and bonded"


def _secrets(audit: Audit) -> str:  # (8)
    judging.check_secrets(audit.facts)
    return f"the coordinator's and the {audit.facts.drawn.payload.drawn_by.value}'s secret open what was committed"


def _plan(audit: Audit) -> str:  # (9)
    audit.assigned = judging.check_plan(audit.facts, audit.bundle)
    counts, roots = audit.assigned.plan.layout, len(audit.facts.results)
    moved, void = len(audit.facts.moved), len(audit.assigned.void)
    told = f", {moved} times moved" if moved else ""
    told += f", {void} copies met their originals and were recomputed" if void else ""
    return f"{counts.blocks} blocks and {counts.copies} copies in {counts.microjobs} micro jobs{told}, {roots} roots"


def _challenge(audit: Audit) -> str:  # (10)
    audit.chal = judging.check_challenge(audit.facts)
    return f"drawn by the {audit.facts.drawn.payload.drawn_by.value}"


def _verdicts(audit: Audit) -> str:  # (11)
    audit.evidence = judging.check_submissions(audit.facts, audit.bundle, audit.assigned, audit.chal)
    audit.judgement = judging.check_verdicts(audit.facts, audit.bundle, audit.evidence)
    slots = audit.judgement.slots().values()
    counts = [(verdict, sum(slot.verdict is verdict for slot in slots)) for verdict in Verdict]
    return f"{', '.join(f'{count} {verdict.value}' for verdict, count in counts)}; {files.checked(audit.judgement)}"


def _results(audit: Audit) -> str:  # (12)
    count = judging.check_results(audit.facts, audit.evidence, audit.judgement)
    return f"{count} settled results are in the header's compute_root"


def _settlement(audit: Audit) -> str:  # (13)
    division = payment.check_settlement(audit.facts, audit.judgement)
    paid, slashed = format_cpc(Wei(division.paid)), format_cpc(Wei(sum(division.slashes)))
    return f"{paid} CPC paid, {slashed} slashed, {format_cpc(Wei(division.refund))} returned"


def _rules(audit: Audit) -> str:  # (14)
    applied = lifecycle.check_rules(audit.bundle.genesis, audit.entries, audit.chain)
    return f"{applied} entries are allowed; balances and other jobs' locks are not shown and were granted"


def _disclosures(audit: Audit) -> str:  # (15)
    audit.private = files.check_disclosures(audit.facts, audit.bundle)
    return "input, output, file and sidecar open their commitments"


def _output(audit: Audit) -> str:  # (16)
    if audit.shown.output is None:
        return Remark("output not shown")
    count = files.check_output(audit.shown.output, audit.facts, audit.judgement, audit.private, audit.decode)
    return f"the delivered file; all {count} blocks are the accepted ones"


def _sidecar(audit: Audit) -> str:  # (17)
    if audit.shown.sidecar is None:
        return Remark("sidecar not shown")
    files.check_sidecar(audit.shown.sidecar, audit.private)
    return "the published sidecar"


def _credentials(audit: Audit) -> str:  # (18)
    if audit.shown.output is None:
        return Remark("output not shown")
    return files.check_credentials(audit.shown.output, audit.shown.sidecar, audit.facts, audit.credentials)


def _anchor(audit: Audit) -> str:  # (19)
    return bundle_finding(audit.bundle, audit.entries, audit.checkpoint, audit.trust, audit.inquiry)


def _labels(audit: Audit) -> str:  # (20)
    return Remark("; ".join((files.checked(audit.judgement), *files.labels_of(audit.facts))))


def _recompute(audit: Audit) -> str:  # (21)
    if not audit.recompute:
        return Remark("not asked for")
    count = files.check_recomputed(audit.shown.source, audit.facts, audit.judgement, audit.private)
    return f"{count} blocks give the accepted bytes again"


PLAN: Final = (
    Step(2, "genesis", (), _genesis),
    Step(3, "checkpoint", (), _checkpoint),
    Step(4, "entries", (2, 3), _entries),
    Step(5, "headers", (4,), _headers),
    Step(6, "lifecycle", (5,), _lifecycle),
    Step(7, "pool", (6,), _pool),
    Step(8, "secrets", (6,), _secrets),
    Step(9, "plan", (8,), _plan),
    Step(10, "challenge", (9,), _challenge),
    Step(11, "verdicts", (10,), _verdicts),
    Step(12, "results", (11,), _results),
    Step(13, "settlement", (7, 11), _settlement),
    Step(14, "rules", (6,), _rules),
    Step(15, "disclosures", (6,), _disclosures),
    Step(16, "output", (11, 15), _output),
    Step(17, "sidecar", (15,), _sidecar),
    Step(18, "credentials", (6,), _credentials),
    Step(19, "anchor", (4,), _anchor),
    Step(20, "labels", (6, 11), _labels),
    Step(21, "recompute", (11, 15), _recompute),
)
STEPS: Final = len(PLAN) + 1


def verify_bundle(
    shown: Shown,
    trust: Trust,
    *,
    decode: Decode | None = None,
    credentials: Credentials | None = None,
    recompute: bool = False,
    inquiry: Inquiry | None = None,
) -> Report:
    """Check a bundle, and the files shown beside it, against what is pinned; ``inquiry`` is a chain to be asked.

    Raises:
        MalformedError: step 1: the bytes are no bundle, so there is nothing to number findings on.
    """
    audit = Audit(shown, trust, parse(shown.bundle), decode, credentials, recompute, inquiry)  # (1)
    first = found(1, "bundle", Result.HOLDS, f"canonical, {len(shown.bundle)} bytes")
    return report((first, *walk(PLAN, audit)))
