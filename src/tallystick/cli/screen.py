"""Where words go: results on stdout, the way there on stderr; with --json nothing on stdout but one document.

Knows terminals: width, colours, a live line at the bottom while a person looks. A reader that goes away never stops a
job that was paid for.
"""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from tallystick.cli.exits import emit, hang_up

WIDE: Final = 10_000
"""The width of a stream that is no terminal and names none: lines go out as long as they are."""


class PatientConsole(Console):
    """A console whose reader may go away: later words go nowhere, and nothing is raised."""

    def on_broken_pipe(self) -> None:
        """Go on without a reader."""
        self.quiet = True
        hang_up(self.file.fileno())


def _console(*, stderr: bool) -> PatientConsole:
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() or os.environ.get("COLUMNS") else WIDE
    return PatientConsole(stderr=stderr, width=width, highlight=False, emoji=False, markup=False)


class Screen:
    """The two streams of one run. ``log`` is for the way, ``out`` for the result."""

    def __init__(self, *, as_json: bool, story: bool = False) -> None:
        """Choose the streams; a ``story`` is its own result, so all of it goes to stdout."""
        self.as_json = as_json
        error = _console(stderr=True)
        self.out = error if as_json else _console(stderr=False)
        self.log = self.out if story else error
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def line(self, text: str | Text = "", style: str | None = None) -> None:
        """Print one line of the result; it is cut by nothing."""
        self.out.print(text, style=style, soft_wrap=True)

    def note(self, text: str | Text, style: str | None = None) -> None:
        """Print one line about the way, above the live line."""
        self.log.print(text, style=style, soft_wrap=True)

    def paragraph(self, text: str) -> None:
        """Print prose of the result, wrapped between words."""
        for line in textwrap.wrap(text, max(20, self.out.width), break_on_hyphens=False):
            self.out.print(line, soft_wrap=True)

    def heading(self, text: str) -> None:
        """Print the heading of a part."""
        self.line()
        self.line(text, style="bold")

    def pairs(self, pairs: Sequence[tuple[str, str]], *, log: bool = False) -> None:
        """Print names with their values in two columns; long values wrap inside theirs, unless the stream is a file."""
        indent = 2 + max(len(name) for name, _ in pairs)
        console = self.log if log else self.out
        for name, value in pairs:
            lines = textwrap.wrap(value, max(20, console.width - indent), break_on_hyphens=False) or [""]
            for number, line in enumerate(lines):
                said = Text(f"{name if number == 0 else '':<{indent}}", style="bold")
                console.print(said.append(line, style="not bold"), soft_wrap=True)

    def table(self, titles: Sequence[str], rows: Sequence[Sequence[str | Text]], right: Sequence[int] = ()) -> None:
        """Print a table without lines; columns listed in ``right`` align right."""
        cells = [[cell if isinstance(cell, Text) else Text(cell) for cell in row] for row in rows]
        widths = [max(len(title), *(row[i].cell_len for row in cells)) for i, title in enumerate(titles)]
        for row in ([Text(title, style="dim") for title in titles], *cells):
            line = Text()
            for index, (cell, width) in enumerate(zip(row, widths, strict=True)):
                room = " " * (width - cell.cell_len)
                line.append(room if index in right else "").append_text(cell).append("" if index in right else room)
                line.append("  ")
            line.rstrip()
            self.out.print(line, soft_wrap=True)

    def result(self, value: object) -> None:
        """Print the one JSON document, where JSON was asked for."""
        if self.as_json:
            emit(value)

    @contextmanager
    def live(self, what: str) -> Iterator[None]:
        """Show a live line while the block runs, if a person looks."""
        if not self.log.is_terminal:
            yield
            return
        bar = BarColumn(bar_width=24)
        columns = (SpinnerColumn(), TextColumn("{task.description}"), bar, TextColumn("{task.fields[counted]}"))
        with Progress(*columns, TimeElapsedColumn(), console=self.log, transient=True) as progress:
            self._progress, self._task = progress, progress.add_task(what, total=None, counted="")
            try:
                yield
            finally:
                self._progress = None

    def now(self, what: str, done: int = 0, total: int | None = None) -> None:
        """Say in the live line what is going on, and how far it is."""
        if self._progress is None or self._task is None:
            return
        if total is None:  # a task that was counted to its end would stand still
            self._progress.remove_task(self._task)
            self._task = self._progress.add_task(what, total=None, counted="")
        else:
            self._progress.update(self._task, description=what, completed=done, total=total, counted=f"{done}/{total}")
