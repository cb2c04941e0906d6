"""The house rules that a machine can hold: who imports whom, and how long things may grow."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SDK = ROOT / "sdk" / "flagloop"
SERVER = ROOT / "server" / "flagloop_server"
SOURCES = sorted([*SDK.rglob("*.py"), *SERVER.rglob("*.py"), *(ROOT / "examples").rglob("*.py")])

NO_IO = {"flask", "requests", "sqlite3", "sqlite_utils", "socket", "urllib3", "http", "uvicorn"}

# Room -> top-level modules (or flagloop rooms) that it must not import, anywhere in its code.
FORBIDDEN = {
    "sdk/flagloop": {"flagloop_server", "flask", "sqlite_utils", "uvicorn"},
    "sdk/flagloop/document": NO_IO
    | {"flagloop.evaluation", "flagloop.events", "flagloop.sync", "flagloop.client"},
    "sdk/flagloop/evaluation": NO_IO
    | {
        "time",
        "logging",
        "threading.Thread",
        "flagloop.events",
        "flagloop.sync",
        "flagloop.client",
    },
    "sdk/flagloop/events": {"requests", "flagloop.sync", "flagloop.client"},
    "sdk/flagloop/sync": {"flagloop.evaluation.ruleset", "flagloop.events", "flagloop.client"},
    "server/flagloop_server/edge": {"flask", "sqlite3", "sqlite_utils", "flagloop.evaluation"},
    "server/flagloop_server/store": {"flask", "flagloop_server.web", "flagloop_server.edge"},
    "server/flagloop_server/web": {"sqlite3", "sqlite_utils", "scipy", "numpy"},
    "server/flagloop_server/analysis": NO_IO | {"flagloop_server.config"},
}


def imports(path: Path) -> Iterator[str]:
    """Every module or name that a file imports, absolute, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function of a file, nested ones too."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without its docstring."""
    lines = (node.end_lineno or node.lineno) - node.lineno + 1
    first = node.body[0]
    if ast.get_docstring(node) is not None:
        lines -= (first.end_lineno or first.lineno) - first.lineno + 1
    return lines


def name(path: Path) -> str:
    """The path as it is spoken of."""
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("room", sorted(FORBIDDEN))
def test_rooms_import_only_what_they_may_know(room: str) -> None:
    """Imports point down: document <- evaluation <- events, sync beside, the client on top."""
    found = [
        f"{name(path)} imports {module}"
        for path in sorted((ROOT / room).rglob("*.py"))
        for module in imports(path)
        for bad in FORBIDDEN[room]
        if module == bad or module.startswith(bad + ".")
    ]
    assert not found


def test_no_file_is_longer_than_500_lines() -> None:
    """A file that outgrows 500 lines becomes a folder."""
    files = [*SOURCES, *(ROOT / "tests").rglob("*.py")]
    long = {name(p): n for p in files if (n := len(p.read_text("utf-8").splitlines())) > 500}
    assert not long


def test_functions_are_short() -> None:
    """No function over 60 lines, and nine in ten at most 25."""
    sizes = {f"{name(p)}:{f.name}": length(f) for p in SOURCES for f in functions(p)}
    assert not {place: n for place, n in sizes.items() if n > 60}
    over = [place for place, n in sizes.items() if n > 25]
    assert len(over) <= len(sizes) / 10, over


def test_functions_take_at_most_six_positional_parameters() -> None:
    """More than six positional parameters cannot be read at the call."""
    wide = [
        f"{name(path)}:{node.name}"
        for path in SOURCES
        for node in functions(path)
        if len([a for a in node.args.posonlyargs + node.args.args if a.arg not in ("self", "cls")])
        > 6
    ]
    assert not wide


def test_every_function_says_what_it_returns() -> None:
    """Return annotations everywhere."""
    bare = [
        f"{name(path)}:{node.name}"
        for path in SOURCES
        for node in functions(path)
        if node.returns is None and node.name != "__init__"
    ]
    assert not bare


def test_no_globals_and_broad_excepts_only_at_the_edges() -> None:
    """`except Exception` belongs to the client's verbs and to the loops, nowhere else."""
    edges = {
        "sdk/flagloop/client.py",
        "sdk/flagloop/events/delivery.py",
        "sdk/flagloop/sync/refresh.py",
    }
    bad = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Global):
                bad.append(f"{name(path)}:{node.lineno} global")
            if isinstance(node, ast.ExceptHandler) and name(path) not in edges:
                caught = ast.unparse(node.type) if node.type else "everything"
                if caught in ("Exception", "BaseException", "everything"):
                    bad.append(f"{name(path)}:{node.lineno} except {caught}")
    assert not bad


def test_every_test_says_what_it_holds() -> None:
    """Each test has a sentence as docstring, and none sleeps."""
    bad = []
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in functions(path):
            if node.name.startswith("test_") and not ast.get_docstring(node):
                bad.append(f"{name(path)}:{node.name} has no docstring")
    assert not bad
