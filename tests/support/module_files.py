"""Writes files of output modules, and describes the loader's results."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent

import pytest

from netconsd.outputs.loader import ModuleError, Selection, load
from netconsd.outputs.setting_types import ModuleSetting

Write = Callable[..., Path]

HEAD = """
from __future__ import annotations
from pathlib import Path
from zope.interface import implementer, moduleProvides
from netconsd.interfaces import IBatchOutputModule, ICountsLosses, IListening, IOutputModule, IReloadable, IReportModule
"""

METHODS = """
    def start(self, worker_count): ...
    def handle(self, worker, message): ...
    def stop(self): ...
"""

PLAIN = HEAD + "\n@implementer(IOutputModule)\nclass Plain:" + METHODS

FUNCTIONS = (
    HEAD
    + """
moduleProvides(IOutputModule)
def start(worker_count): ...
def handle(worker, message): ...
def stop(): ...
"""
)


@contextmanager
def written(directory: Path) -> Iterator[Write]:
    """A function that writes files of modules into a directory; their imports are removed at the end."""
    before = set(sys.modules)

    def write(name: str, text: str) -> Path:
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text))
        return path

    yield write
    for name in set(sys.modules) - before:
        if name.startswith("_netconsd_"):
            del sys.modules[name]


def with_settings(*parameters: str, body: str = "") -> str:
    """The source of a module whose constructor has these parameters and keeps their values in ``settings``."""
    return (
        HEAD
        + "import typing\n@implementer(IOutputModule)\nclass Output:"
        + METHODS
        + f"\n    def __init__({', '.join(('self', *parameters))}):\n"
        + (body or "        self.settings = {k: v for k, v in locals().items() if k != 'self'}\n")
    )


def text(value: str, key: str = "x.y") -> ModuleSetting:
    """A setting as from ``--set``."""
    return ModuleSetting(value, f"--set {key}", Path("/base"), typed=False)


def toml(value: object, origin: str = "netconsd.toml:3: [module.x] y") -> ModuleSetting:
    """A setting as from a TOML file."""
    return ModuleSetting(value, origin, Path("/base"))


def names(selection: Selection) -> list[str]:
    """The names of the modules that start."""
    return [loaded.name for loaded in selection.loaded]


def skipped(selection: Selection) -> dict[str, str]:
    """The reasons of the skipped modules by name."""
    return {skip.name: skip.reason for skip in selection.skipped}


def refusal(*specs: str | Path, settings: dict[str, dict[str, ModuleSetting]] | None = None) -> str:
    """The text of the ModuleError of ``load``, which leaves no import."""
    before = set(sys.modules)
    with pytest.raises(ModuleError) as caught:
        load(specs, settings or {})
    assert {name for name in set(sys.modules) - before if name.startswith("_netconsd_")} == set()
    return str(caught.value)


def line_of(path: Path, part: str) -> int:
    """The number of the first line that contains ``part``."""
    return next(number for number, line in enumerate(path.read_text().splitlines(), 1) if part in line)
