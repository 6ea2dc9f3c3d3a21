"""The loader finds modules and selects those that start."""

from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path

import pytest
from zope.interface.verify import verifyObject

from netconsd.interfaces import IBatchOutputModule, IOutputModule, IReportModule
from netconsd.outputs import loader
from netconsd.outputs.loader import Selection, available, load
from tests.support.module_files import (
    FUNCTIONS,
    HEAD,
    METHODS,
    PLAIN,
    Write,
    names,
    refusal,
    skipped,
    text,
    with_settings,
)


def test_class(write: Write) -> None:
    """A file with a class that implements an interface is a module with the name of the file."""
    path = write("plain.py", PLAIN)
    (loaded,) = load([path], {}).loaded
    assert (loaded.name, loaded.path) == ("plain", path)
    assert verifyObject(IOutputModule, loaded.module)


def test_batch_class(write: Write) -> None:
    """A class may implement IBatchOutputModule instead."""
    path = write("b.py", PLAIN.replace("IOutputModule)", "IBatchOutputModule)").replace("handle", "handle_batch"))
    (loaded,) = load([path], {}).loaded
    assert verifyObject(IBatchOutputModule, loaded.module)


def test_reports_only(write: Write) -> None:
    """A class may take crash reports and no messages."""
    text = PLAIN.replace("IOutputModule)", "IReportModule)").replace("handle", "handle_report")
    (loaded,) = load([write("r.py", text)], {}).loaded
    assert verifyObject(IReportModule, loaded.module)
    assert not IOutputModule.providedBy(loaded.module)


def test_functions(write: Write) -> None:
    """A file with moduleProvides and three functions is a module."""
    (loaded,) = load([write("functions.py", FUNCTIONS)], {}).loaded
    assert loaded.name == "functions"
    assert verifyObject(IOutputModule, loaded.module)


def test_several_classes(write: Write) -> None:
    """Several modules in one file are named by file and class, in the order of the file."""
    path = write("pair.py", PLAIN + "\n@implementer(IOutputModule)\nclass Another:" + METHODS)
    assert names(load([path], {})) == ["pair.Plain", "pair.Another"]


def test_classes_that_are_no_modules(write: Write) -> None:
    """Private classes, imported classes and aliases are not modules of the file."""
    write("other.py", PLAIN)
    source = PLAIN + "\nAlias = Plain\nclass _Private(Plain): ...\nfrom netconsd.outputs.loader import Loaded\n"
    assert names(load([write("one.py", source)], {})) == ["one"]


def test_base_of_a_module(write: Write) -> None:
    """The base class of a module in the file needs no declaration."""
    source = HEAD + "\nclass Base:" + METHODS + "\n@implementer(IOutputModule)\nclass Real(Base): ...\n"
    assert names(load([write("real.py", source)], {})) == ["real"]


def test_directory(write: Write, tmp_path: Path) -> None:
    """A directory loads its Python files, sorted, without private files, hidden files and subdirectories."""
    for name in ("b.py", "a.py", "_private.py", ".hidden.py", "notes.txt", "sub.py/deep.py", "sub/c.py"):
        write(f"dir/{name}", PLAIN)
    assert names(load([tmp_path / "dir"], {})) == ["a", "b"]


def test_directory_skips(write: Write) -> None:
    """In a directory, modules that lack a setting and files without a module are skipped, with the reason."""
    write("d/needy.py", with_settings("*", "where: Path", "size: int", "name: str = 'x'"))
    write("d/helper.py", "x = 1")
    write("d/plain.py", PLAIN)
    before = set(sys.modules)
    selection = load([write("d/easy.py", with_settings("*", "name: str = 'x'")).parent], {})
    assert names(selection) == ["easy", "plain"]
    assert skipped(selection) == {
        "needy": "set needy.where, needy.size",
        "helper": "no output module in it",
    }
    stay = {name for name in set(sys.modules) - before if name.startswith("_netconsd_")}
    assert {name.split("_")[2] for name in stay} == {"easy", "plain"}, "skipped files are not kept"


def test_directory_with_settings(write: Write) -> None:
    """In a directory, a module with its required settings starts."""
    path = write("d/needy.py", with_settings("*", "where: Path"))
    selection = load([path.parent], {"needy": {"where": text("logs")}})
    assert selection.loaded[0].module.settings == {"where": Path("/base/logs")}


def test_named_in_a_directory(write: Write) -> None:
    """If a module in a directory is configured, a missing setting is an error."""
    path = write("d/needy.py", with_settings("*", "where: Path", "size: int = 1"))
    assert refusal(path.parent, settings={"needy": {"size": text("1")}}) == (
        'module needy needs the setting "where" (path): --set needy.where=... or [module.needy] where = ...'
    )
    assert "needs the setting" in refusal(path.parent, settings={"needy": {}})


def test_file_once(write: Write) -> None:
    """A file specified by name, directory and links is loaded once, as if specified by name."""
    path = write("d/plain.py", with_settings("*", "where: Path"))
    (path.parent / "zlink.py").symlink_to(path)
    (path.parent.parent / "again").symlink_to(path.parent)
    assert list(skipped(load([path.parent, path.parent.parent / "again"], {}))) == ["plain"]
    assert "needs the setting" in refusal(path.parent, path)


def test_bare_name(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bare name is a shipped module, unless a file or directory has that name."""
    write("shipped/plain.py", PLAIN)
    write("here/other/mine.py", PLAIN)
    monkeypatch.setattr(loader, "SHIPPED", tmp_path / "shipped")
    monkeypatch.chdir(tmp_path / "here")
    assert load(["plain"], {}).loaded[0].path == tmp_path / "shipped/plain.py"
    assert names(load(["other"], {})) == ["mine"]
    missing = "is shipped with netconsd, and no file or directory has that name"
    assert refusal("plian") == f'no module "plian" {missing}; did you mean "plain"?'
    assert refusal("zzz") == f'no module "zzz" {missing}; shipped are plain'


@pytest.mark.parametrize("file", ["journal/1", "_private.py", "notes.txt"])
def test_a_directory_of_a_shipped_module(file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory with the files of a module, as ``store``, is not taken for a directory of modules: the module would
    be left out at the second start."""
    path = tmp_path / "printer" / file
    path.parent.mkdir(parents=True)
    path.touch()
    monkeypatch.chdir(tmp_path)
    assert [each.name for each in load(["printer"], {}).loaded] == ["printer"]


def test_relative_paths(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths are relative to the working directory, and absolute in the result."""
    path = write("plain.py", PLAIN)
    monkeypatch.chdir(tmp_path)
    assert load(["plain.py"], {}).loaded[0].path == path
    assert load(["./plain.py"], {}).loaded[0].path == path


def test_imported_under_a_unique_name(write: Write) -> None:
    """The file is in sys.modules under a unique name only, so that dataclasses, pickle and typing work."""
    source = (
        HEAD
        + """
from dataclasses import dataclass
@implementer(IOutputModule)
@dataclass(kw_only=True)
class Plain:
    where: Path = Path("x")
"""
        + METHODS
    )
    path = write("json.py", source)
    search_path = list(sys.path)
    (loaded,) = load([path], {"json": {"where": text("y")}}).loaded
    assert loaded.module.where == Path("/base/y")
    assert pickle.loads(pickle.dumps(loaded.module)) == loaded.module
    assert sys.path == search_path
    assert sys.modules["json"].__name__ == "json"
    assert [entry.name for entry in path.parent.iterdir()] == ["json.py"], "no bytecode is written"
    assert load([path], {}).loaded[0].module != loaded.module, "loading twice gives two"


def test_nothing() -> None:
    """Without specifications no module is loaded."""
    assert load([], {}) == Selection((), ())


def test_only_if_named(write: Write) -> None:
    """From a directory, a module with ``only_if_named`` starts only if the configuration has settings of it."""
    path = write("d/sends.py", PLAIN + "    only_if_named = True\n")
    assert skipped(load([path.parent], {})) == {"sends": "name it to start it"}
    assert names(load([path], {})) == names(load([path.parent], {"sends": {}})) == ["sends"]


def test_lines_about_the_others(write: Write) -> None:
    """The modules that could start are one line with the reasons; files without a module have a line each."""
    directory = write("d/needy.py", with_settings("*", "size: int")).parent
    write("d/sends.py", PLAIN + "    only_if_named = True\n")
    helper = write("d/helper.py", "")
    assert available(load([directory], {}).skipped) == [
        "available, not started: needy (set needy.size), sends (name it to start it)",
        f"not used: {helper}: no output module in it",
    ]
    assert available([]) == []


def test_files_that_are_no_modules(write: Write, tmp_path: Path) -> None:
    """In a directory, a FIFO is not opened, which would block, and tests are not imported; a named test is."""
    for name in ("test_a.py", "a_test.py", "conftest.py"):
        write(f"d/{name}", "raise SystemExit")
    for name in ("fifo.py", "fifo.so"):
        os.mkfifo(tmp_path / "d" / name)
    assert {(skip.path.name, skip.reason) for skip in load([tmp_path / "d"], {}).skipped} == {
        *((name, "a test, by its name") for name in ("test_a.py", "a_test.py", "conftest.py")),
        *((name, "not a regular file") for name in ("fifo.py", "fifo.so")),
    }
    assert names(load([write("test_it.py", PLAIN)], {})) == ["test_it"]


@pytest.mark.parametrize("name", ["fifo.py", "fifo.so"])
def test_a_named_fifo(tmp_path: Path, name: str) -> None:
    """A FIFO that is named is an error, and is not opened."""
    os.mkfifo(tmp_path / name)
    assert refusal(tmp_path / name) == f"{tmp_path / name}: is not a regular file"
