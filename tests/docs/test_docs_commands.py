"""The commands in the README and the guides are run, in the order in which a reader would type them.

A fenced `console` block is preceded by one of two comments:

    <!-- run -->                  its commands are executed here
    <!-- not run: REASON -->      they cannot be, and the reason is written down

In a block, a line that begins with `$ ` is a command (a trailing backslash continues it); it must exit with 0, or with
N where it ends in `# exits N`. The lines below it are its output as documented: each must appear in what was printed,
in this order; `…` stands for any text, and a line of `…` alone for anything left out.

One document is one reader: its blocks share a folder that looks like a fresh clone, and an empty home.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs" / "guides").glob("*.md"))]
SECONDS_MAX = 300
LEFT_OUT = {".git", ".venv", "tally-demo", "build", "dist"}

BLOCK = re.compile(r"(?P<before>[^\n]*)\n+(?P<indent> *)```console\n(?P<body>.*?)\n(?P=indent)```", re.DOTALL)
MARK = re.compile(r"<!-- (?:run|not run: \S.*) -->")
EXITS = re.compile(r"\s+# exits (\d+)$")


@dataclass
class Step:
    """One command of a document, what it must exit with, and the output the document shows for it."""

    command: str
    exit_code: int = 0
    shown: list[str] = field(default_factory=list)


def blocks(document: str) -> list[tuple[str, list[str]]]:
    """Mark (the line above) and lines of every console block."""
    found = BLOCK.finditer("\n" + document)
    return [(block["before"].strip(), [line.strip() for line in block["body"].splitlines()]) for block in found]


def steps(lines: list[str]) -> list[Step]:
    """Commands of one block; a block that does not begin with a command raises ValueError."""
    parsed: list[Step] = []
    continued = False
    for line in lines:
        if continued:
            parsed[-1].command += "\n" + line
        elif line.startswith("$ "):
            parsed.append(Step(line.removeprefix("$ ")))
        elif not parsed:
            message = f"a console block begins with its output: {line!r}"
            raise ValueError(message)
        elif line:
            parsed[-1].shown.append(line)
        continued = line.endswith("\\")
    for step in parsed:
        ending = EXITS.search(step.command)
        step.exit_code = int(ending[1]) if ending else 0
    return parsed


def missing(shown: list[str], printed: str) -> str | None:
    """The first documented line that was not printed in its place; None where all were."""
    rest = iter([line.strip() for line in printed.splitlines()])
    for line in shown:
        if not line.strip("… "):
            continue
        pattern = re.compile(".*".join(re.escape(part) for part in line.split("…")))
        if not any(pattern.fullmatch(candidate) for candidate in rest):
            return line
    return None


def clone_like(folder: Path) -> Path:
    """Make a folder whose entries are the checkout's, so that `make demo` and `docs/samples/...` mean what they say."""
    folder.mkdir()
    for entry in ROOT.iterdir():
        if entry.name not in LEFT_OUT:
            (folder / entry.name).symlink_to(entry)
    (folder / ".venv").symlink_to(Path(sys.prefix))
    return folder


def environment(home: Path) -> dict[str, str]:
    """A new user's environment: this interpreter's commands first, an empty home, no terminal."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TALLY_", "PYTEST_", "COLUMNS"))}
    return kept | {"PATH": path, "HOME": str(home), "TALLY_HOME": str(home / "tally"), "COLUMNS": "120"}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_commands_do_what_the_document_says(document: Path, tmp_path: Path) -> None:
    folder, home = clone_like(tmp_path / "clone"), tmp_path / "home"
    home.mkdir()
    bash = shutil.which("bash") or "/bin/sh"
    for mark, lines in blocks(document.read_text(encoding="utf-8")):
        assert MARK.fullmatch(mark), f"{document.name}: a console block without `<!-- run -->`: {lines[0]}"
        for step in steps(lines) if mark == "<!-- run -->" else []:
            done = subprocess.run(
                [bash, "-c", step.command],
                cwd=folder,
                env=environment(home),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=SECONDS_MAX,
                check=False,
            )
            where = f"{document.name}: $ {step.command}\n{done.stdout}"
            assert done.returncode == step.exit_code, f"exit {done.returncode}, expected {step.exit_code}\n{where}"
            assert missing(step.shown, done.stdout) is None, where


def test_marks_and_bodies_are_read() -> None:
    plain = "Text.\n\n<!-- run -->\n```console\n$ a\nout\n```\n"
    document = plain + "\n1. Item:\n   <!-- not run: no GPU -->\n   ```console\n   $ b\n   ```\n"
    assert blocks(document) == [("<!-- run -->", ["$ a", "out"]), ("<!-- not run: no GPU -->", ["$ b"])]


def test_an_unmarked_block_is_seen_and_refused() -> None:
    [(mark, _)] = blocks("Run this:\n\n```console\n$ a\n```\n")
    assert not MARK.fullmatch(mark)
    assert not MARK.fullmatch("<!-- not run: -->")


def test_a_command_carries_its_continuation_exit_code_and_output() -> None:
    parsed = steps(["$ a \\", "--b", "one", "$ c  # exits 2", "", "two"])
    assert parsed == [Step("a \\\n--b", 0, ["one"]), Step("c  # exits 2", 2, ["two"])]
    with pytest.raises(ValueError, match="begins with its output"):
        steps(["out", "$ a"])


@pytest.mark.parametrize(
    ("shown", "printed", "first_missing"),
    [
        (["a"], "x\na\ny", None),
        (["a", "b"], "a\n\n b ", None),
        (["a", "b"], "b\na", "b"),
        (["cost … CPC"], "cost 0.5 CPC", None),
        (["cost … CPC"], "cost 0.5 ETH", "cost … CPC"),
        (["a", "…", "b"], "a\nx\nb", None),
        (["a.c"], "abc", "a.c"),
        (["a"], "ab", "a"),
    ],
)
def test_documented_output_is_held_to_what_was_printed(
    shown: list[str], printed: str, first_missing: str | None
) -> None:
    assert missing(shown, printed) == first_missing
