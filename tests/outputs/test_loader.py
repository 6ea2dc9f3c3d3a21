"""The loader: which modules are found and start."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from zope.interface.verify import verifyObject

from netconsd.interfaces import IBatchOutputModule, IOutputModule
from netconsd.outputs import loader
from netconsd.outputs.loader import Selection, load
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
    written,
)


@pytest.fixture
def write(tmp_path: Path) -> Iterator[Write]:
    """Write a file of modules, below the test's directory."""
    with written(tmp_path) as write:
        yield write


def test_class(write: Write) -> None:
    """A file with a class that implements an interface is a module with the file's name."""
    path = write("plain.py", PLAIN)
    (loaded,) = load([path], {}).loaded
    assert (loaded.name, loaded.path) == ("plain", path)
    assert verifyObject(IOutputModule, loaded.module)


def test_batch_class(write: Write) -> None:
    """A class may take batches instead."""
    path = write("b.py", PLAIN.replace("IOutputModule)", "IBatchOutputModule)").replace("handle", "handle_batch"))
    (loaded,) = load([path], {}).loaded
    assert verifyObject(IBatchOutputModule, loaded.module)


def test_functions(write: Write) -> None:
    """A file with moduleProvides and three functions is a module itself."""
    (loaded,) = load([write("functions.py", FUNCTIONS)], {}).loaded
    assert loaded.name == "functions"
    assert verifyObject(IOutputModule, loaded.module)


def test_several_classes(write: Write) -> None:
    """Several modules of one file are called by file and class, in the order of the file."""
    path = write("pair.py", PLAIN + "\n@implementer(IOutputModule)\nclass Another:" + METHODS)
    assert names(load([path], {})) == ["pair.Plain", "pair.Another"]


def test_what_is_no_module(write: Write) -> None:
    """Private classes, imported ones and second names of one are no modules of the file."""
    write("other.py", PLAIN)
    source = PLAIN + "\nAlias = Plain\nclass _Private(Plain): ...\nfrom netconsd.outputs.loader import Loaded\n"
    assert names(load([write("one.py", source)], {})) == ["one"]


def test_base_of_a_module(write: Write) -> None:
    """A class that only lends its methods to a module of the file needs no decorator."""
    source = HEAD + "\nclass Base:" + METHODS + "\n@implementer(IOutputModule)\nclass Real(Base): ...\n"
    assert names(load([write("real.py", source)], {})) == ["real"]


def test_directory(write: Write, tmp_path: Path) -> None:
    """From a directory come its Python files, sorted, without private and hidden ones and without subdirectories."""
    for name in ("b.py", "a.py", "_private.py", ".hidden.py", "notes.txt", "sub.py/deep.py", "sub/c.py"):
        write(f"dir/{name}", PLAIN)
    assert names(load([tmp_path / "dir"], {})) == ["a", "b"]


def test_directory_skips(write: Write) -> None:
    """From a directory, what needs a setting or holds no module does not start, and says why."""
    write("d/needy.py", with_settings("*", "where: Path", "size: int", "name: str = 'x'"))
    write("d/helper.py", "x = 1")
    write("d/plain.py", PLAIN)
    before = set(sys.modules)
    selection = load([write("d/easy.py", with_settings("*", "name: str = 'x'")).parent], {})
    assert names(selection) == ["easy", "plain"]
    assert skipped(selection) == {
        "needy": 'needs the settings "where" (path), "size" (whole number)',
        "helper": "no output module in it",
    }
    stay = {name for name in set(sys.modules) - before if name.startswith("_netconsd_")}
    assert {name.split("_")[2] for name in stay} == {"easy", "plain"}, "skipped files are not kept"


def test_directory_with_settings(write: Write) -> None:
    """From a directory, a module that needs a setting starts if it has it."""
    path = write("d/needy.py", with_settings("*", "where: Path"))
    selection = load([path.parent], {"needy": {"where": text("logs")}})
    assert selection.loaded[0].module.settings == {"where": Path("/base/logs")}


def test_named_in_a_directory(write: Write) -> None:
    """A module of a directory that is in the configuration has to start: what it still lacks is an error."""
    path = write("d/needy.py", with_settings("*", "where: Path", "size: int = 1"))
    assert refusal(path.parent, settings={"needy": {"size": text("1")}}) == (
        'module needy needs the setting "where" (path): --set needy.where=... or [module.needy] where = ...'
    )
    assert "needs the setting" in refusal(path.parent, settings={"needy": {}})


def test_file_once(write: Write) -> None:
    """A file that is reached by name, by directory and by links is loaded once, and having been named counts."""
    path = write("d/plain.py", with_settings("*", "where: Path"))
    (path.parent / "zlink.py").symlink_to(path)
    (path.parent.parent / "again").symlink_to(path.parent)
    assert list(skipped(load([path.parent, path.parent.parent / "again"], {}))) == ["plain"]
    assert "needs the setting" in refusal(path.parent, path)


def test_bare_name(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bare name is a module that netconsd brings along, unless there is a file or directory of that name."""
    write("shipped/plain.py", PLAIN)
    write("here/other/mine.py", PLAIN)
    monkeypatch.setattr(loader, "SHIPPED", tmp_path / "shipped")
    monkeypatch.chdir(tmp_path / "here")
    assert load(["plain"], {}).loaded[0].path == tmp_path / "shipped/plain.py"
    assert names(load(["other"], {})) == ["mine"]
    assert refusal("plian") == (
        'no module "plian" is shipped with netconsd (there are: plain), nor is there a file or directory of that name; '
        'did you mean "plain"?'
    )


def test_relative_paths(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative paths are relative to the working directory, and are absolute in the result."""
    path = write("plain.py", PLAIN)
    monkeypatch.chdir(tmp_path)
    assert load(["plain.py"], {}).loaded[0].path == path
    assert load(["./plain.py"], {}).loaded[0].path == path


def test_imported_by_its_own_name(write: Write) -> None:
    """The file is in sys.modules under a name of its own, so that dataclasses, pickle and typing work, nowhere else."""
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
    """Nothing asked for is nothing loaded."""
    assert load([], {}) == Selection((), ())
