"""What `tally doctor` looks for is what the project declares; what the source imports by name is declared."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tallystick.cli import doctor

ROOT = Path(__file__).parents[2]


def declared() -> set[str]:
    """Names of the base's dependencies."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return {re.split(r"[><=!~; ]", line)[0] for line in project["dependencies"]}


def test_the_doctor_looks_for_every_declared_package() -> None:
    apart = {"pyrevm"}  # there is no wheel for every Python, so it has a line of its own
    assert {name for name, _ in doctor.PACKAGES} | apart == declared()
    assert [name for name, _ in doctor.PACKAGES] == sorted(name for name, _ in doctor.PACKAGES)


def imported(path: Path) -> set[str]:
    """First names of what a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {each.name.partition(".")[0] for each in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


def test_what_the_source_imports_is_declared() -> None:
    found = set().union(*(imported(path) for path in (ROOT / "src").rglob("*.py")))
    known = {module for _, module in doctor.PACKAGES} | {"pyrevm", "tallystick"}
    assert {"anyio", "litestar"} <= found
    assert {name for name in found - known if name not in sys.stdlib_module_names} == set()


def test_a_missing_package_is_named_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "find_spec", lambda module: None if module == "granian" else object())
    [line] = doctor._packages()
    assert (line.level, line.found) == (doctor.Level.MISSING, "not installed: granian")
    assert line.advice.endswith("pip install granian")


def test_looking_for_packages_loads_none_of_them() -> None:
    program = "import sys; from tallystick.cli import doctor; list(doctor._packages()); print(*sys.modules, sep='\\n')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not {"anyio", "granian", "httpx", "litestar", "websockets"} & set(done.stdout.split())
