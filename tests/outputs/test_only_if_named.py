"""Modules that keep, listen or send start only if the user names them."""

from __future__ import annotations

from pathlib import Path

import pytest

from netconsd.outputs.loader import SHIPPED, load
from netconsd.outputs.setting_types import ModuleSetting

MODULE = """
from zope.interface import implementer
from netconsd.interfaces import IOutputModule

@implementer(IOutputModule)
class Keeper:
    only_if_named = True
    def __init__(self, *, size: int = 1): ...
    def start(self, worker_count): ...
    def handle(self, worker, message): ...
    def stop(self): ...
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with such a module, alone in a directory."""
    path = tmp_path / "keeper.py"
    path.write_text(MODULE)
    return path


def test_a_directory_does_not_start_it(file: Path) -> None:
    """The directory of the file starts nothing, and the reason says how to start the module."""
    selection = load([file.parent], {})
    assert selection.loaded == ()
    assert [(skipped.name, skipped.reason) for skipped in selection.skipped] == [("keeper", "name it to start it")]


def test_a_name_starts_it(file: Path) -> None:
    """The path of the file starts the module."""
    assert [loaded.name for loaded in load([file], {}).loaded] == ["keeper"]


@pytest.mark.parametrize("settings", [{}, {"size": ModuleSetting(2, "x", Path("/"))}])
def test_a_table_of_the_configuration_starts_it(file: Path, settings: dict[str, ModuleSetting]) -> None:
    """A module of a directory starts if the configuration names it, with settings or without."""
    assert [loaded.name for loaded in load([file.parent], {"keeper": settings}).loaded] == ["keeper"]


def test_the_shipped_directory_does_not_start_jsonl() -> None:
    """The directory of the shipped modules does not start jsonl, whose bare name does."""
    reasons = {skipped.name: skipped.reason for skipped in load([SHIPPED], {}).skipped}
    assert reasons["jsonl"] == "name it to start it"
    assert [loaded.name for loaded in load(["jsonl"], {}).loaded] == ["jsonl"]
