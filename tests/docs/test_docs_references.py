"""What documents point at is there: pages, headings, files of the tree, commands with their options, make targets.

Knows: Markdown, the command line's tree of verbs. Refuses to know: what a command does, which test_docs_commands.py
tries.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from tallystick.cli.app import app

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
TEMPLATE = "0000-template.md"
INDEXED = {"docs/adr": "docs/adr/README.md", "docs/spec": "docs/spec/README.md", "docs/guides": "README.md"}
TREES = ("src/", "tests/", "docs/", "scripts/", "vectors/", "bench/", "contracts/", "examples/", "requirements/")

FENCE = re.compile(r"^ *```.*?^ *```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
CODE = re.compile(r"`([^`\n]+)`")
TARGET = re.compile(r"^([a-z]+):", re.MULTILINE)


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


def anchor(heading: str) -> str:
    """The fragment that a heading is reached by."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def headings(page: Path) -> set[str]:
    return {anchor(heading) for heading in HEADING.findall(page.read_text(encoding="utf-8"))}


def broken(page: Path) -> Iterator[str]:
    """Yield every link of a page that leads nowhere."""
    for link in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, fragment = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (fragment and fragment not in headings(target)):
            yield link


def spelled(text: str) -> Iterator[str]:
    """Yield what stands in code: inline, and the commands of console blocks."""
    for block in FENCE.findall(text):
        yield from (line.strip().removeprefix("$ ") for line in block.splitlines() if line.strip().startswith("$ "))
    yield from CODE.findall(FENCE.sub("", text))


def wrong(command: str) -> str | None:
    """What is wrong with the verb or the options of a `tally` command; None where nothing is."""
    words = re.split(r"\s+", re.split(r"[|;&><#()]|\d>", command)[0].strip())[1:]
    here, trail = get_command(app), "tally"
    while isinstance(here, TyperGroup) and words and re.fullmatch(r"[a-z][a-z-]*", words[0]):
        if words[0] not in here.commands:
            return f"{trail} has no verb {words[0]}"
        here, trail = here.commands[words[0]], f"{trail} {words[0]}"
        words = words[1:]
    options = {name for each in here.params for name in (*each.opts, *each.secondary_opts)} | {"--help"}
    for word in words:
        if word.startswith("--") and re.sub(r"[=…].*", "", word) not in options:
            return f"{trail} has no option {word}"
    return None


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != TEMPLATE], ids=named)
def test_links_lead_somewhere(page: Path) -> None:
    assert list(broken(page)) == []


@pytest.mark.parametrize("page", [page for page in PAGES if "/adr/" not in str(page)], ids=named)
def test_files_that_are_named_exist(page: Path) -> None:
    """Decisions may name what is gone; everything else speaks of the tree as it is."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    paths = [word for code in CODE.findall(text) for word in code.split() if word.startswith(TREES)]
    files = [re.sub(r"[:,;].*", "", path) for path in paths if not re.search(r"[<>{}*…]", path)]
    assert [path for path in files if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_commands_that_are_named_exist(page: Path) -> None:
    commands = [re.sub(r"^(\.venv/bin/|[A-Z_]+=\S+ )", "", each) for each in spelled(page.read_text(encoding="utf-8"))]
    assert [found for each in commands if re.match(r"tally( |$)", each) and (found := wrong(each))] == []


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_make_targets_that_are_named_exist(page: Path) -> None:
    targets = set(TARGET.findall((ROOT / "Makefile").read_text(encoding="utf-8")))
    text = page.read_text(encoding="utf-8")
    said = {each for code in spelled(text) for each in re.findall(r"^make ([a-z]+)", code)}
    said |= {each for block in FENCE.findall(text) for each in re.findall(r"^make ([a-z]+)", block, re.MULTILINE)}
    assert said - targets == set()


@pytest.mark.parametrize(("folder", "index"), INDEXED.items())
def test_an_index_names_every_page(folder: str, index: str) -> None:
    page = ROOT / index
    linked = {(page.parent / link).resolve() for link in LINK.findall(page.read_text(encoding="utf-8"))}
    assert set((ROOT / folder).glob("*.md")) - {page} - linked == set()


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("tally submit upscale photo.jpg --audit-rate 1", None),
        ("tally verify OUT --trust FILE | head --lines", None),
        ("tally anchor policy 1h", None),
        ("tally", None),
        ("tally submit downscale photo.jpg", "tally submit has no verb downscale"),
        ("tally verify OUT --gently", "tally verify has no option --gently"),
        ("tally --loudly", "tally has no option --loudly"),
    ],
)
def test_a_command_that_is_not_there_is_seen(command: str, answer: str | None) -> None:
    assert wrong(command) == answer


def test_a_link_that_leads_nowhere_is_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A page's head\n\n[a](page.md) [b](#a-pages-head) [c](#tail) [d](gone.md) [e](https://e.example)\n"
    )
    assert list(broken(page)) == ["#tail", "gone.md"]
