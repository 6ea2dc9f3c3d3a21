"""The pure rooms do nothing but compute: no socket, clock, thread, log or reactor comes near them."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import netconsd
from tests.support.syntax import imports, syntax

PACKAGE = Path(netconsd.__file__).parent

# From the bottom to the top: each may import those before it.
ROOMS = [
    *("protocol.allowlist", "protocol.counters", "protocol.octets", "protocol.translation", "protocol.body"),
    "protocol.message",
    *("protocol.decode", "protocol.reassembly", "protocol.legacy", "protocol.window", "protocol.reorder"),
    *("protocol.rare_counters", "protocol.stream", "protocol.acknowledgement", "protocol.table", "protocol.acks"),
    "protocol.encode",
    *("send.fleet", "send.link", "send.packets", "send.reliable"),
]

# What the pure rooms may import besides each other. None of it reads a clock, opens a file or socket, starts a thread
# or logs. Whoever adds to it has looked.
COMPUTES_ONLY = {
    *("__future__", "array", "bisect", "collections", "collections.abc", "dataclasses", "enum", "functools", "heapq"),
    *("ipaddress", "itertools", "math", "operator", "re", "struct", "types", "typing", "cython"),
}
# Built-in functions that reach out of the process, or around this test.
REACHES_OUT = {"open", "print", "input", "exec", "eval", "compile", "__import__", "breakpoint"}


def file_of(room: str) -> Path:
    """The file of a module of netconsd."""
    path = PACKAGE.joinpath(*room.split("."))
    if path.is_dir():
        return path / "__init__.py"
    compiled = path.with_suffix(".pyx")
    return compiled if compiled.exists() else path.with_suffix(".py")


def reachable(room: str) -> set[str]:
    """All that is imported when a module of netconsd is, through other modules of netconsd as well."""
    seen: set[str] = set()
    todo = [f"netconsd.{room}"]
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            if name.startswith("netconsd."):
                todo += imports(file_of(name.removeprefix("netconsd.")))
    return seen


def test_reader_of_imports() -> None:
    """The reader of imports used here sees what rooms that are not pure import."""
    assert {"threading", "netconsd.protocol.message", "netconsd.protocol.decode"} <= imports(file_of("testing"))
    assert "netconsd.protocol.body" in reachable("testing")
    assert any(name.startswith("twisted") for name in reachable("service"))


@pytest.mark.parametrize("room", ROOMS)
def test_pure(room: str) -> None:
    """A pure room imports, directly and through others, nothing but pure rooms and modules that only compute."""
    assert reachable(room) <= {f"netconsd.{pure}" for pure in ROOMS} | COMPUTES_ONLY


@pytest.mark.parametrize("room", ROOMS)
def test_calls_nothing_that_reaches_out(room: str) -> None:
    """A pure room opens, prints and evaluates nothing."""
    called = {node.id for node in ast.walk(syntax(file_of(room))) if isinstance(node, ast.Name)}
    assert not called & REACHES_OUT


@pytest.mark.parametrize(("index", "room"), list(enumerate(ROOMS)))
def test_knows_only_what_is_below(index: int, room: str) -> None:
    """A room knows only those below it."""
    ours = {name for name in imports(file_of(room)) if name.startswith("netconsd")}
    assert ours <= {f"netconsd.{below}" for below in ROOMS[:index]}


def test_package_imports_no_more() -> None:
    """What importing the package itself brings along is pure, but for the interfaces, which need zope.interface."""
    names = imports(file_of("__init__"))
    allowed = {f"netconsd.{pure}" for pure in ROOMS} | COMPUTES_ONLY | {"netconsd.interfaces", "zope.interface"}
    assert set().union(*(reachable(name.removeprefix("netconsd.")) for name in names)) <= allowed


def test_import_brings_no_twisted() -> None:
    """Importing the pure rooms loads no part of Twisted, no socket and no log."""
    rooms = ", ".join(f"netconsd.{room}" for room in ROOMS)
    code = f"import sys; before = set(sys.modules); import {rooms}; print(*set(sys.modules) - before)"
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent
    )
    loaded = set(process.stdout.split())
    assert loaded.issuperset(f"netconsd.{room}" for room in ROOMS)
    assert not loaded & {"twisted", "socket", "select", "logging", "asyncio"}
