"""House rules that no linter knows, checked as a test of the package's own source.

Knows: the syntax trees below `src/tallystick`, the text of `.importlinter`, the error tree. Refuses to know: what any
module computes. Limits may only be tightened; an exception is made by improving a rule together with its test, never by
a list of excused files.
"""

from __future__ import annotations

import ast
import configparser
import inspect
import re
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tallystick import errors

SOURCE: Final = Path(__file__).resolve().parent.parent / "src" / "tallystick"
FILES: Final = sorted(SOURCE.rglob("*.py"))
CONTRACTS: Final = SOURCE.parent.parent / ".importlinter"

LINES_PER_FILE_MAX: Final = 400
LINES_PER_FUNCTION_MAX: Final = 70
LINES_PER_FUNCTION_P90_MAX: Final = 40
LINES_PER_FUNCTION_MEDIAN_MAX: Final = 15

ROOMS_BANNED: Final = re.compile(
    r"_*(core|utils?|helpers?|common|misc|services?|managers?|.*_(managers?|utils?|helpers?|services?|v\d+|final|fix))"
)
CLASSES_BANNED: Final = re.compile(r"\w*(Manager|Helper|Util|Service)s?")
# The bare adjective is a word of the domain: what is pretended carries `simulated: true` in its signed bytes.
DOUBLES_BANNED: Final = re.compile(r"_*(mock|fake|dummy|demo|stub|simulat(?!ed$))", re.IGNORECASE)
STATE_NAMES: Final = re.compile(r"(^|\.|_)(status|state|phase)$")
BROAD: Final = frozenset({"", "Exception", "BaseException"})
IMPORT_ERRORS: Final = frozenset({"ImportError", "ModuleNotFoundError"})

COMPOSITION_ROOT: Final = "cli"
GUARDED_ROOMS: Final = frozenset({"adapters", "simulation", COMPOSITION_ROOT})
# `python -m tallystick` is the one door beside the installed command. Every other room may name itself only.
MAY_NAME: Final = {COMPOSITION_ROOT: GUARDED_ROOMS, "__main__": frozenset({COMPOSITION_ROOT})}
DOUBLES_ROOM: Final = "simulation"
VERBS_ALLOWED: Final = {COMPOSITION_ROOT: frozenset({"demo", "simulate"})}
ROOMS_IMPURE: Final = frozenset({"node", "simulation", "wire", "client", "adapters", "dashboard", "api", "cli"})
PURE_IN_NODE: Final = ("ports", "sequencer", "coordinator", "worker")
CONTRACT_OF_ROOM: Final = {"adapters": ("adapters", "swap"), "simulation": ("simulation",)}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def findings(source: str, path: Path) -> Iterator[str]:
    """Yield `rule at line` for every broken rule; `path` is relative to the package."""
    tree = ast.parse(source)
    room, verbs = path.parts[0].removesuffix(".py"), VERBS_ALLOWED.get(path.parts[0], frozenset())
    for part in path.with_suffix("").parts:
        if ROOMS_BANNED.fullmatch(part):
            yield "room-name at line 1"
        if DOUBLES_BANNED.match(part) and room != DOUBLES_ROOM and part not in verbs:
            yield "test-double-in-source at line 1"
    if source.count("\n") > LINES_PER_FILE_MAX:
        yield f"long-file at line {LINES_PER_FILE_MAX + 1}"
    if source.strip() and ast.get_docstring(tree) is None:
        yield "no-module-docstring at line 1"
    for node in ast.walk(tree):
        doubles_allowed = room == DOUBLES_ROOM or getattr(node, "name", "") in verbs
        for rule in (*definition_findings(node, doubles_allowed=doubles_allowed), *statement_findings(node)):
            yield f"{rule} at line {getattr(node, 'lineno', 0)}"
        if any(names(node, guarded) for guarded in GUARDED_ROOMS - MAY_NAME.get(room, {room})):
            yield f"composition-root at line {getattr(node, 'lineno', 0)}"


def definition_findings(node: ast.AST, *, doubles_allowed: bool) -> Iterator[str]:
    """Yield the rules that a function or class breaks by its size or name."""
    if isinstance(node, Function) and length(node) > LINES_PER_FUNCTION_MAX:
        yield "long-function"
    if isinstance(node, ast.ClassDef) and CLASSES_BANNED.fullmatch(node.name):
        yield "vague-class-name"
    if isinstance(node, Function | ast.ClassDef) and DOUBLES_BANNED.match(node.name) and not doubles_allowed:
        yield "test-double-in-source"


def statement_findings(node: ast.AST) -> Iterator[str]:
    """Yield the rules that one statement or expression breaks."""
    match node:
        case ast.Try() | ast.TryStar() if any(caught(handler) & IMPORT_ERRORS for handler in node.handlers):
            yield "import-fallback"
        case ast.ExceptHandler() if caught(node) & BROAD and all(is_nothing(statement) for statement in node.body):
            yield "swallowed-error"
        case ast.Call(func=func, args=args) if ast.unparse(func).endswith("suppress"):
            if any(ast.unparse(arg) in BROAD for arg in args):
                yield "swallowed-error"
        case ast.Compare() | ast.Match() if compares_state_with_text(node):
            yield "text-as-state"
        case ast.Assert():
            yield "assert-in-source"
        case ast.Raise(exc=raised) if raised is not None and "NotImplemented" in ast.unparse(raised):
            yield "not-implemented"


def compares_state_with_text(node: ast.Compare | ast.Match) -> bool:
    """True where a state's name is held against text, by an operator or by `match`."""
    match node:
        case ast.Compare(left=left, comparators=[right]):
            return (is_state(left) and is_text(right)) or (is_text(left) and is_state(right))
        case ast.Match(subject=subject, cases=cases) if is_state(subject):
            patterns = [inner for case in cases for inner in ast.walk(case.pattern)]
            return any(is_text(inner) for inner in patterns if isinstance(inner, ast.expr))
        case _:
            return False


def length(function: Function) -> int:
    """Lines from `def` to the last statement, docstring included, decorators excluded."""
    return (function.end_lineno or function.lineno) - function.lineno + 1


def caught(handler: ast.ExceptHandler) -> set[str]:
    """Names in the `except` clause; the empty name for a bare one."""
    match handler.type:
        case None:
            return {""}
        case ast.Tuple(elts=elements):
            return {ast.unparse(element) for element in elements}
        case single:
            return {ast.unparse(single)}


def is_nothing(statement: ast.stmt) -> bool:
    """True for `pass`, `...` and `continue`."""
    if isinstance(statement, ast.Expr):
        return isinstance(statement.value, ast.Constant) and statement.value.value is ...
    return isinstance(statement, ast.Pass | ast.Continue)


def is_state(node: ast.expr) -> bool:
    """True for a name or attribute that is called a state."""
    return isinstance(node, ast.Name | ast.Attribute) and bool(STATE_NAMES.search(ast.unparse(node)))


def is_text(node: ast.expr) -> bool:
    """True for a non-empty string, or a collection of them."""
    match node:
        case ast.Constant(value=str() as value):
            return bool(value)
        case ast.Tuple(elts=elements) | ast.Set(elts=elements) | ast.List(elts=elements):
            return any(is_text(element) for element in elements)
        case _:
            return False


def names(node: ast.AST, room: str) -> bool:
    """True for an import of `tallystick.<room>`, however it is spelt, and for its dotted name as text."""
    dotted = re.compile(rf"tallystick\.{room}(\.|$)")
    match node:
        case ast.Import(names=aliases):
            return any(dotted.match(alias.name) for alias in aliases)
        case ast.ImportFrom(module="tallystick", names=aliases):
            return any(alias.name == room for alias in aliases)
        case ast.ImportFrom(module=str() as module):
            return bool(dotted.match(module))
        case ast.Constant(value=str() as value):
            return bool(re.fullmatch(rf"tallystick\.{room}(\.\w+)*(:\w+)?", value))
        case _:
            return False


def forgotten(contracts: str, built: set[str]) -> set[str]:
    """Built rooms, and modules of the node, that the contracts still take for absent."""
    parser = configparser.ConfigParser()
    parser.read_string(contracts)
    optional = set(re.findall(r"\((\w+)\)", parser["importlinter:contract:flow"]["layers"]))
    pure = set(re.findall(r"tallystick\.([\w.]+)", parser["importlinter:contract:pure"]["source_modules"]))
    rooms = {name for name in built if "." not in name}
    unprotected = {
        room
        for room, needed in CONTRACT_OF_ROOM.items()
        if {room, COMPOSITION_ROOT} <= rooms and not all(f"importlinter:contract:{name}" in parser for name in needed)
    }
    in_node = {f"node.{name}" for name in PURE_IN_NODE} & built
    return (rooms & optional) | (rooms - ROOMS_IMPURE - pure) | unprotected | (in_node - pure)


def built_rooms() -> set[str]:
    """Top-level names of the package, and those one level below as `room.module`."""
    places = {path.relative_to(SOURCE).with_suffix("").parts[:2] for path in FILES}
    dotted = {".".join(parts) for parts in places} | {parts[0] for parts in places}
    return {name for name in dotted if not name.split(".")[-1].startswith("__")}


def drawn_tree(docstring: str) -> dict[str, str]:
    """Parent of each error as drawn in a docstring; siblings may share a line, joined by a middle dot."""
    parents, path = {}, {0: "TallyError"}
    for line in docstring.splitlines():
        branch = re.match(r"^((?:│   |    )*)[├└]── (.*)", line)
        if branch is None:
            continue
        depth = len(branch[1]) // 4 + 1
        drawn = re.match(r"\w+(?: · \w+)*", branch[2])
        for name in drawn[0].split(" · ") if drawn else ():
            parents[name] = path[depth - 1]
            path[depth] = name
    return parents


def test_every_built_room_stands_under_its_contracts() -> None:
    assert forgotten(CONTRACTS.read_text(encoding="utf-8"), built_rooms()) == set()


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_the_file_keeps_the_house_rules(path: Path) -> None:
    assert list(findings(path.read_text(encoding="utf-8"), path.relative_to(SOURCE))) == []


def test_functions_stay_short_as_a_whole() -> None:
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in FILES]
    lengths = sorted(length(node) for tree in trees for node in ast.walk(tree) if isinstance(node, Function))
    assert statistics.median(lengths) <= LINES_PER_FUNCTION_MEDIAN_MAX
    assert lengths[len(lengths) * 9 // 10] <= LINES_PER_FUNCTION_P90_MAX


def test_the_drawn_error_tree_is_the_real_one() -> None:
    classes = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if kind.__module__ == errors.__name__]
    parents = {kind.__name__: kind.__mro__[1].__name__ for kind in classes if kind is not errors.TallyError}
    assert drawn_tree(inspect.getdoc(errors) or "") == parents


@pytest.mark.parametrize(
    ("rule", "name", "source"),
    [
        ("room-name", "ledger/utils.py", '"""X."""'),
        ("room-name", "core/events.py", '"""X."""'),
        ("room-name", "ledger/escrow_v2.py", '"""X."""'),
        ("long-file", "job.py", '"""X."""' + "\n" * 401),
        ("no-module-docstring", "job.py", "x = 1"),
        ("long-function", "job.py", '"""X."""\ndef f():\n' + "    x = 1\n" * 70),
        ("long-function", "node/shell.py", '"""X."""\nasync def f():\n' + "    x = 1\n" * 70),
        ("test-double-in-source", "node/worker.py", '"""X."""\nclass FakeGpu: ...'),
        ("test-double-in-source", "node/worker.py", '"""X."""\ndef _mock_store(): ...'),
        ("test-double-in-source", "node/fake_store.py", '"""X."""'),
        ("test-double-in-source", "job.py", '"""X."""\ndef demo(): ...'),
        ("test-double-in-source", "job.py", '"""X."""\ndef simulated_answer(): ...'),
        ("vague-class-name", "job.py", '"""X."""\nclass JobManager: ...'),
        ("swallowed-error", "job.py", '"""X."""\ntry:\n    f()\nexcept Exception:\n    pass'),
        ("swallowed-error", "job.py", '"""X."""\ntry:\n    f()\nexcept:\n    ...'),
        ("swallowed-error", "job.py", '"""X."""\nwith suppress(Exception):\n    f()'),
        ("import-fallback", "job.py", '"""X."""\ntry:\n    import a\nexcept (ImportError, KeyError):\n    a = None'),
        ("text-as-state", "job.py", '"""X."""\nif job.status == "done": f()'),
        ("text-as-state", "job.py", '"""X."""\nif "done" != escrow_state: f()'),
        ("text-as-state", "job.py", '"""X."""\nif phase in {"done", "paid"}: f()'),
        ("text-as-state", "job.py", '"""X."""\nmatch job.phase:\n    case "done" | "paid": f()'),
        ("assert-in-source", "job.py", '"""X."""\nassert signature'),
        ("not-implemented", "job.py", '"""X."""\ndef f():\n    raise NotImplementedError'),
        ("composition-root", "node/shell.py", '"""X."""\nfrom tallystick.adapters.sqlite import Store'),
        ("composition-root", "node/shell.py", '"""X."""\ndef f():\n    from tallystick import simulation'),
        ("composition-root", "__main__.py", '"""X."""\nfrom tallystick.adapters.sqlite import Store'),
        ("composition-root", "adapters/c2pa.py", '"""X."""\nimport tallystick.cli.demo'),
        ("composition-root", "node/shell.py", '"""X."""\nload("tallystick.adapters.sqlite:Store")'),
    ],
)
def test_each_rule_fires(rule: str, name: str, source: str) -> None:
    assert [finding.split(" at ")[0] for finding in findings(source, Path(name))] == [rule]


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("simulation/gpu.py", '"""X."""\nclass FakeGpu: ...'),
        ("cli/demo.py", '"""X."""\ndef simulate(): ...\ndef demo(): ...'),
        ("cli/wiring.py", '"""X."""\nfrom tallystick.adapters.sqlite import Store'),
        ("__main__.py", '"""X."""\nfrom tallystick.cli import main'),
        ("adapters/sqlite.py", '"""X."""\nfrom tallystick.adapters import rows'),
        ("job.py", '"""X."""\nif job.phase is Phase.FUNDED or estate == "Essex": f()'),
        ("ledger/nodes.py", '"""X."""\ndef simulated(worker): ...'),
        ("job.py", '"""Like tallystick.adapters and others."""'),
        ("job.py", '"""X."""\ntry:\n    f()\nexcept Exception as error:\n    raise StoreError from error'),
    ],
)
def test_no_rule_fires_where_it_should_not(name: str, source: str) -> None:
    assert list(findings(source, Path(name))) == []


def test_a_forgotten_mark_is_named() -> None:
    contracts = (
        "[importlinter:contract:flow]\nlayers =\n    cli\n    (market)\n    (wire)\n    ledger\n"
        "[importlinter:contract:pure]\nsource_modules =\n    ; tallystick.market\n    tallystick.ledger\n"
        "; [importlinter:contract:simulation]\n"
    )
    assert forgotten(contracts, {"cli", "ledger"}) == set()
    built = {"cli", "ledger", "market", "wire", "audit", "simulation", "node", "node.worker", "node.views"}
    assert forgotten(contracts, built) == {"market", "wire", "audit", "simulation", "node.worker"}


def test_the_tree_is_read_as_it_is_drawn() -> None:
    drawn = (
        "TallyError\n├── AError     the first\n│   ├── BError   below BadError\n│   └── CError · DError\n"
        "└── EError     last\n    └── FError    below the last\n"
    )
    parents = {
        "AError": "TallyError",
        "BError": "AError",
        "CError": "AError",
        "DError": "AError",
        "EError": "TallyError",
        "FError": "EError",
    }
    assert drawn_tree(drawn) == parents
