"""The commands in the README and the guides are run, in the order in which a reader would type them.

A fenced `console` or `python` block is preceded by one of three comments:

    <!-- run -->                             it is executed here
    <!-- run, each in its own terminal -->   so are its commands, and they go on while the reader reads on
    <!-- not run: REASON -->                 it cannot be, and the reason is written down

In a `console` block, a line that begins with `$ ` is a command (a trailing backslash, or a next line that begins with
`> `, continues it); it must exit with 0, or with N where it ends in `# exits N`. The lines below it are its output as
documented: each must appear in what was printed, in this order; `…` stands for any text, and a line of `…` alone for
anything left out. A command in its own terminal must print its lines soon, and ends with Ctrl-C when the document does.
A `python` block is one program.

One document is one reader: its blocks share a folder that looks like a fresh clone, an empty home, and a network that
reaches nothing but itself, so that its ports are free. What a document starts in the background it must stop itself.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.own_network import own_network

ROOT = Path(__file__).resolve().parent.parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs" / "guides").glob("*.md"))]
SECONDS_MAX = 300
SOON_SECONDS = 60
LEAVING_SECONDS = 20
LEFT_OUT = {".git", ".venv", "tally-demo", "build", "dist"}

BLOCK = re.compile(
    r"(?P<before>[^\n]*)\n+(?P<indent> *)```(?P<kind>console|python)\n(?P<body>.*?)\n(?P=indent)```", re.DOTALL
)
RUN, BESIDE = "<!-- run -->", "<!-- run, each in its own terminal -->"
MARK = re.compile(rf"{RUN}|{BESIDE}|<!-- not run: \S.* -->")
PORT = re.compile(r"(?:127\.0\.0\.1|0\.0\.0\.0|localhost):(\d+)")
EXITS = re.compile(r"\s+# exits (\d+)$")


@dataclass
class Block:
    """A fenced block: the line above it, what it is written in, and its text."""

    mark: str
    kind: str
    body: str


@dataclass
class Step:
    """One command of a document, what it must exit with, and the output the document shows for it."""

    command: str
    exit_code: int = 0
    shown: list[str] = field(default_factory=list)


def blocks(document: str) -> list[Block]:
    """Every block that somebody could run."""
    found = BLOCK.finditer("\n" + document)
    return [Block(each["before"].strip(), each["kind"], textwrap.dedent(each["body"])) for each in found]


def steps(block: Block) -> list[Step]:
    """Commands of one block; a console block that does not begin with a command raises ValueError."""
    if block.kind == "python":
        return [Step("python - <<'END_OF_PROGRAM'\n" + block.body + "\nEND_OF_PROGRAM")]
    parsed: list[Step] = []
    continued = False
    for line in map(str.rstrip, block.body.splitlines()):
        if continued or (parsed and not parsed[-1].shown and line.startswith("> ")):
            parsed[-1].command += "\n" + (line if continued else line.removeprefix("> "))
        elif line.startswith("$ "):
            parsed.append(Step(line.removeprefix("$ ")))
        elif not parsed:
            message = f"a console block begins with its output: {line!r}"
            raise ValueError(message)
        elif line:
            parsed[-1].shown.append(line.strip())
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


@dataclass
class Terminal:
    """A command that goes on while the reader reads on."""

    step: Step
    process: subprocess.Popen[str]
    screen: Path

    def wait_shown(self) -> None:
        """Wait until it printed what the document shows."""
        until = time.monotonic() + SOON_SECONDS
        while (lacking := missing(self.step.shown, self.said())) is not None:
            late = self.process.poll() is not None or time.monotonic() > until
            assert not late, f"it never said {lacking!r}\n{self.where()}"
            time.sleep(0.05)

    def interrupt(self) -> None:
        """Press Ctrl-C, and hold its exit code to the document's."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGINT)
        code = self.process.wait(LEAVING_SECONDS)
        assert code == self.step.exit_code, f"exit {code} after Ctrl-C\n{self.where()}"

    def said(self) -> str:
        return self.screen.read_text(encoding="utf-8")

    def where(self) -> str:
        return f"$ {self.step.command}\n{self.said()}"


class Reader:
    """Somebody with a fresh clone and an empty home, who types what one document says.

    Everything that is started holds one end of a pipe, so that whatever is still alive at the end is noticed.
    """

    def __init__(self, folder: Path) -> None:
        self.clone, self.home, self.folder = clone_like(folder / "clone"), folder / "home", folder
        self.home.mkdir()
        self.bash = shutil.which("bash") or "/bin/sh"
        self.lifeline, self._held = os.pipe()
        self.open = ExitStack()
        self.inside = self.open.enter_context(own_network())
        self.groups: list[int] = []
        self.terminals: list[Terminal] = []

    def start(self, step: Step, output: int) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*self.inside, self.bash, "-c", step.command],
            cwd=self.clone,
            env=environment(self.home),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            pass_fds=(self._held,),
        )
        self.groups.append(process.pid)
        return process

    def type(self, step: Step) -> None:
        """Type a command and hold what it prints and returns to the document."""
        process = self.start(step, subprocess.PIPE)
        printed, _ = process.communicate(timeout=SECONDS_MAX)
        where = f"$ {step.command}\n{printed}"
        assert process.returncode == step.exit_code, f"exit {process.returncode}, expected {step.exit_code}\n{where}"
        lacking = missing(step.shown, printed)
        assert lacking is None, f"it did not say {lacking!r}\n{where}"

    def open_terminal(self, step: Step) -> None:
        """Type a command into a terminal of its own, and wait until it says what the document shows."""
        screen = self.folder / f"terminal-{len(self.terminals)}"
        with screen.open("w", encoding="utf-8") as output:
            terminal = Terminal(step, self.start(step, output.fileno()), screen)
        self.terminals.append(terminal)
        terminal.wait_shown()

    def leave(self) -> None:
        """Press Ctrl-C in every terminal, the newest first; nothing else may be left."""
        while self.terminals:
            self.terminals.pop().interrupt()
        os.close(self._held)
        self._held = -1
        ended, _, _ = select.select([self.lifeline], [], [], LEAVING_SECONDS)
        assert ended, "the document leaves something running that it started"

    def drop(self) -> None:
        """End whatever a failure left running."""
        for group in self.groups:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGKILL)
        for terminal in self.terminals:
            terminal.process.wait(LEAVING_SECONDS)
        for end in (self.lifeline, self._held):
            if end >= 0:
                os.close(end)
        self.open.close()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_commands_do_what_the_document_says(document: Path, tmp_path: Path) -> None:
    reader = Reader(tmp_path)
    try:
        for block in blocks(document.read_text(encoding="utf-8")):
            assert MARK.fullmatch(block.mark), f"{document.name}: a block without `{RUN}`: {block.body[:80]}"
            for step in steps(block):
                if block.mark == BESIDE:
                    reader.open_terminal(step)
                elif block.mark == RUN:
                    reader.type(step)
        reader.leave()
    finally:
        reader.drop()


def test_each_document_has_ports_of_its_own() -> None:
    """Where a machine gives no network of one's own, documents that run at one time must not meet; 7053 is README's."""
    owners: dict[str, set[str]] = {}
    for document in DOCUMENTS:
        run = [block for block in blocks(document.read_text(encoding="utf-8")) if block.mark in {RUN, BESIDE}]
        for port in {port for block in run for port in PORT.findall(block.body)}:
            owners.setdefault(port, set()).add(document.name)
    assert owners["7053"] == {"README.md"}
    assert {port: names for port, names in owners.items() if len(names) > 1} == {}


def test_marks_and_bodies_are_read() -> None:
    plain = "Text.\n\n<!-- run -->\n```console\n$ a\nout\n```\n"
    listed = "\n1. Item:\n   <!-- not run: no GPU -->\n   ```python\n   if a:\n       b()\n   ```\n"
    assert blocks(plain + listed) == [
        Block("<!-- run -->", "console", "$ a\nout"),
        Block("<!-- not run: no GPU -->", "python", "if a:\n    b()"),
    ]


@pytest.mark.parametrize("kind", ["console", "python"])
def test_an_unmarked_block_is_seen_and_refused(kind: str) -> None:
    [block] = blocks(f"Run this:\n\n```{kind}\n$ a\n```\n")
    assert not MARK.fullmatch(block.mark)
    assert not MARK.fullmatch("<!-- not run: -->")


def test_a_command_carries_its_continuation_exit_code_and_output() -> None:
    parsed = steps(Block(RUN, "console", "$ a \\\n--b\none\n$ c  # exits 2\n\ntwo\n$ until d\n> do e; done\n> three"))
    assert parsed == [
        Step("a \\\n--b", 0, ["one"]),
        Step("c  # exits 2", 2, ["two"]),
        Step("until d\ndo e; done\nthree"),
    ]
    with pytest.raises(ValueError, match="begins with its output"):
        steps(Block(RUN, "console", "out\n$ a"))


def test_a_program_is_one_command(tmp_path: Path) -> None:
    reader = Reader(tmp_path)
    try:
        [step] = steps(Block(RUN, "python", "import sys\n\nsys.exit(len('$ab'))"))
        step.exit_code = 3
        reader.type(step)
        reader.leave()
    finally:
        reader.drop()


def test_what_goes_on_must_say_its_lines_and_end_with_ctrl_c(tmp_path: Path) -> None:
    reader = Reader(tmp_path)
    try:
        reader.open_terminal(
            Step("trap 'echo caught; exit 7' INT; echo here; while :; do sleep 0.05; done", 7, ["here"])
        )
        with pytest.raises(AssertionError, match="never said 'there'"):
            reader.open_terminal(Step("echo here", 0, ["there"]))
        assert [terminal.process.poll() for terminal in reader.terminals] == [None, 0]
        reader.leave()
    finally:
        reader.drop()


def test_a_document_that_leaves_something_running_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "LEAVING_SECONDS", 0.3)
    reader = Reader(tmp_path)
    try:
        reader.type(Step("(sleep 60 > left.out 2>&1 &)"))
        with pytest.raises(AssertionError, match="leaves something running"):
            reader.leave()
    finally:
        reader.drop()


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
