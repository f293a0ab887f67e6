"""The pages docs/spec/audit.md and docs/spec/bundle.md say what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from tallystick.audit.bundle import Bundle, BundledSubmission, Disclosures
from tallystick.audit.verify import PLAN

SPEC = Path(__file__).parents[2] / "docs" / "spec"


def test_the_plan_in_the_documentation_is_the_plan() -> None:
    page = (SPEC / "audit.md").read_text(encoding="utf-8").partition("\n## A receipt\n")[0]
    rows = re.findall(r"^\| (\d+) \| (\w+) \| ([\d, ]*?) ?\|", page, re.MULTILINE)
    documented = [(int(number), name, tuple(map(int, re.findall(r"\d+", needs)))) for number, name, needs in rows]
    assert documented[0] == (1, "bundle", ())
    # Step 1 lies under the two steps that nothing else lies under; the code runs none without it.
    built = [
        (step.number, step.name, step.needs or ((1,) if step.name in {"genesis", "checkpoint"} else ()))
        for step in PLAN
    ]
    assert documented[1:] == built


def test_every_field_of_a_bundle_is_documented() -> None:
    page = (SPEC / "bundle.md").read_text(encoding="utf-8")
    for kind in (Bundle, BundledSubmission, Disclosures):
        for field in msgspec.structs.fields(kind):
            assert f"`{field.name}`" in page
