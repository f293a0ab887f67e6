"""Write the tables and diagrams of docs/spec/transactions.md from the code that enforces them.

Run `python scripts/generate_transactions.py` after a change of a payload, a signer, gas or a transition; a test fails
while the page differs. Everything between the markers is generated, everything outside them is written by people.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterable
from enum import Enum
from pathlib import Path

from tallystick.ledger import payloads
from tallystick.ledger.authority import SIGNERS
from tallystick.ledger.context import GAS
from tallystick.ledger.payloads import PAYLOAD_TYPES, TYPE_NAMES
from tallystick.ledger.states import ESCROW_TRANSITIONS, JOB_TRANSITIONS

PAGE = Path(__file__).resolve().parent.parent / "docs" / "spec" / "transactions.md"
WORDS = {
    "AddressText": "address",
    "Attempt": "attempt",
    "ChainName": "chain name",
    "Count": "count",
    "DigestHex": "digest",
    "EvmAddress": "EVM address",
    "JobId": "job id",
    "JobSpec": "order",
    "None": "null",
    "PublicKeyHex": "key",
    "ShortText": "text",
    "Side": "pixels",
    "SignatureHex": "signature",
    "WeiText": "wei",
    "bool": "boolean",
    "str": "text",
}


def spelled(annotation: str) -> str:
    """A field's type in the words of the specification."""
    listed = re.search(r"tuple\[(\w+), \.\.\.\]", annotation)
    if listed:
        inner = listed[1]
        return f"list of {WORDS[inner]}s" if inner in WORDS else f"list of {inner}"
    kind = getattr(payloads, annotation, None)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return " or ".join(f"`{member.value}`" for member in kind)
    return "1" if annotation.startswith("Annotated[int") else WORDS[annotation]


def table() -> str:
    """One row per type: what it says, who signs, what it costs, what it does."""
    rows = ["| type | payload | signer | gas, paid by the signer | effect |", "|---|---|---|---|---|"]
    for name, kind in PAYLOAD_TYPES.items():
        fields = ", ".join(f"`{field}` {spelled(text)}" for field, text in kind.__annotations__.items())
        effect = (inspect.getdoc(kind) or "").split("\n\n")[0].replace("\n", " ").replace("``", "`")
        rows.append(f"| `{name}` | {fields} | {SIGNERS[kind].value} | {GAS[name]} | {effect} |")
    return "\n".join(rows)


def line() -> str:
    """The parts of a settlement line."""
    fields = payloads.SettlementLine.__annotations__.items()
    return "`SettlementLine`: " + ", ".join(f"`{field}` {spelled(text)}" for field, text in fields) + "."


def diagram(steps: Iterable[tuple[Enum, type, Enum]], final: Iterable[Enum]) -> str:
    """A state diagram; events between the same two states share an arrow."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for source, event, target in steps:
        start = "[*]" if source.name == "ABSENT" else source.value
        arrows.setdefault((start, target.value), []).append(TYPE_NAMES[event])
    drawn = [f"    {source} --> {target}: {', '.join(events)}" for (source, target), events in arrows.items()]
    drawn += [f"    {state.value} --> [*]" for state in final]
    return "\n".join(["```mermaid", "stateDiagram-v2", *drawn, "```"])


def job_diagram() -> str:
    """The life of an attempt."""
    steps = [(source, event, target) for (source, event), target in JOB_TRANSITIONS.items()]
    sources = {source for source, _, _ in steps}
    return diagram(steps, dict.fromkeys(target for _, _, target in steps if target not in sources))


def escrow_diagram() -> str:
    """The life of an escrow."""
    steps = [
        (source, event, target)
        for (source, event), targets in ESCROW_TRANSITIONS.items()
        for target in sorted(targets, key=lambda state: state.value)
    ]
    sources = {source for source, _, _ in steps}
    return diagram(steps, dict.fromkeys(target for _, _, target in steps if target not in sources))


GENERATED = {"types": table, "line": line, "job": job_diagram, "escrow": escrow_diagram}


def render(text: str) -> str:
    """The page with every generated part made anew."""
    for name, make in GENERATED.items():
        begin, end = f"<!-- generated: {name} -->\n", "<!-- end -->"
        before, found, rest = text.partition(begin)
        if not found or end not in rest:
            sys.exit(f"{PAGE.name} has no place for {name}: write {begin.strip()} and {end}")
        text = before + begin + make() + "\n" + rest[rest.index(end) :]
    return text


if __name__ == "__main__":
    PAGE.write_text(render(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
