"""The pure modules only compute: they import no socket, clock, thread, log or reactor, directly or through others."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import netconsd
from tests.support.syntax import imports, syntax

PACKAGE = Path(netconsd.__file__).parent

# Everything in protocol/, and the parts of the sending side that compute loads and faults.
PURE = [
    *(f"protocol.{file.stem}" for file in sorted((PACKAGE / "protocol").glob("*.py")) if file.stem != "__init__"),
    *("send.fleet", "send.link", "send.packets", "send.reliable"),
]

# The modules that pure modules may import besides each other. None of them reads a clock, opens a file or socket,
# starts a thread or logs.
COMPUTES_ONLY = {
    *("__future__", "array", "bisect", "collections", "collections.abc", "dataclasses", "enum", "functools", "heapq"),
    *("ipaddress", "itertools", "math", "operator", "re", "struct", "types", "typing", "cython"),
}
# Built-in functions that reach out of the process, or around this test.
REACHES_OUT = {"open", "print", "input", "exec", "eval", "compile", "__import__", "breakpoint"}


def file_of(name: str) -> Path:
    """The file of a module of netconsd."""
    path = PACKAGE.joinpath(*name.split("."))
    if path.is_dir():
        return path / "__init__.py"
    compiled = path.with_suffix(".pyx")
    return compiled if compiled.exists() else path.with_suffix(".py")


def reachable(name: str) -> set[str]:
    """The full names of all modules that importing a module of netconsd loads, through others of netconsd as well."""
    seen: set[str] = set()
    todo = [f"netconsd.{name}"]
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            if name.startswith("netconsd."):
                todo += imports(file_of(name.removeprefix("netconsd.")))
    return seen


def test_reader_of_imports() -> None:
    """The reader of imports used here sees the imports of modules that are not pure."""
    assert {"threading", "netconsd.protocol.message", "netconsd.protocol.decode"} <= imports(file_of("testing"))
    assert "netconsd.protocol.body" in reachable("testing")
    assert any(name.startswith("twisted") for name in reachable("service"))


@pytest.mark.parametrize("name", PURE)
def test_pure(name: str) -> None:
    """A pure module imports, directly and through others, only pure modules and modules that only compute."""
    assert reachable(name) <= {f"netconsd.{pure}" for pure in PURE} | COMPUTES_ONLY


@pytest.mark.parametrize("name", PURE)
def test_calls_nothing_that_reaches_out(name: str) -> None:
    """A pure module opens, prints and evaluates nothing."""
    called = {node.id for node in ast.walk(syntax(file_of(name))) if isinstance(node, ast.Name)}
    assert not called & REACHES_OUT


def test_package_imports_no_more() -> None:
    """Importing the package itself loads pure modules only, except for the interfaces, which need zope.interface."""
    names = imports(file_of("__init__"))
    allowed = {f"netconsd.{pure}" for pure in PURE} | COMPUTES_ONLY | {"netconsd.interfaces", "zope.interface"}
    assert set().union(*(reachable(name.removeprefix("netconsd.")) for name in names)) <= allowed


def test_import_brings_no_twisted() -> None:
    """Importing the pure modules loads no part of Twisted, no socket and no log."""
    rooms = ", ".join(f"netconsd.{name}" for name in PURE)
    code = f"import sys; before = set(sys.modules); import {rooms}; print(*set(sys.modules) - before)"
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent
    )
    loaded = set(process.stdout.split())
    assert loaded.issuperset(f"netconsd.{name}" for name in PURE)
    assert not loaded & {"twisted", "socket", "select", "logging", "asyncio"}
