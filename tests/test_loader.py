"""The loader: which modules start, and what a user or an author is told when one cannot."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from zope.interface import Interface
from zope.interface.verify import verifyObject

from netconsd import loader
from netconsd.interfaces import IBatchOutputModule, IOutputModule
from netconsd.loader import ModuleError, Selection, Setting, load

Write = Callable[..., Path]

HEAD = """
from __future__ import annotations
from pathlib import Path
from zope.interface import implementer, moduleProvides
from netconsd.interfaces import IBatchOutputModule, IOutputModule, IReloadable
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


@pytest.fixture(autouse=True)
def _clean_modules() -> Iterator[None]:
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("_netconsd_"):
            del sys.modules[name]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a file of modules, below the test's directory."""

    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text))
        return path

    return write


def with_settings(*parameters: str, body: str = "") -> str:
    """A module whose constructor has these parameters, and keeps their values in ``settings``."""
    return (
        HEAD
        + "import typing\n@implementer(IOutputModule)\nclass Output:"
        + METHODS
        + f"\n    def __init__({', '.join(('self', *parameters))}):\n"
        + (body or "        self.settings = {k: v for k, v in locals().items() if k != 'self'}\n")
    )


def text(value: str, key: str = "x.y") -> Setting:
    """A setting as ``--set`` gives it."""
    return Setting(value, f"--set {key}", Path("/base"), typed=False)


def toml(value: object, origin: str = "netconsd.toml:3: [module.x] y") -> Setting:
    """A setting as a file gives it."""
    return Setting(value, origin, Path("/base"))


def names(selection: Selection) -> list[str]:
    """The names of the modules that start."""
    return [loaded.name for loaded in selection.loaded]


def skipped(selection: Selection) -> dict[str, str]:
    """The reasons of those that do not, by name."""
    return {skip.name: skip.reason for skip in selection.skipped}


def refusal(*specs: str | Path, settings: dict[str, dict[str, Setting]] | None = None) -> str:
    """Load what cannot be loaded, and return the text for the user."""
    before = set(sys.modules)
    with pytest.raises(ModuleError) as caught:
        load(specs, settings or {})
    assert {name for name in set(sys.modules) - before if name.startswith("_netconsd_")} == set()
    return str(caught.value)


def line_of(path: Path, part: str) -> int:
    """The number of the line that has some text."""
    return next(number for number, line in enumerate(path.read_text().splitlines(), 1) if part in line)


# -- what is found ---------------------------------------------------------------------------------------------------


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
    source = PLAIN + "\nAlias = Plain\nclass _Private(Plain): ...\nfrom netconsd.loader import Loaded\n"
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
    """From a directory, what needs a setting, holds no module or is compiled does not start, and says why."""
    write("d/needy.py", with_settings("*", "where: Path", "size: int", "name: str = 'x'"))
    write("d/helper.py", "x = 1")
    write("d/native.so", "")
    write("d/plain.py", PLAIN)
    before = set(sys.modules)
    selection = load([write("d/easy.py", with_settings("*", "name: str = 'x'")).parent], {})
    assert names(selection) == ["easy", "plain"]
    assert skipped(selection) == {
        "needy": 'needs the settings "where" (path), "size" (whole number)',
        "helper": "no output module in it",
        "native": "compiled modules (.so) need a later version of netconsd",
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


# -- settings --------------------------------------------------------------------------------------------------------


def test_settings(write: Write) -> None:
    """Settings are the keyword-only parameters, converted by their annotations, from text and from TOML."""
    path = write("x.py", with_settings("*", "n: int = 1", "b: bool = False", "p: Path", "c: typing.Literal['r'] = 'r'"))
    given = {"n": text("5"), "b": text("yes"), "p": toml("logs")}
    assert load([path], {"x": given}).loaded[0].module.settings == {
        "n": 5,
        "b": True,
        "p": Path("/base/logs"),
        "c": "r",
    }


def test_unknown_setting(write: Write) -> None:
    """A setting that a module does not have is an error with those that it has, their types and defaults."""
    path = write("x.py", with_settings("*", "size: int = 10", "where: Path", "name: str | None = None"))
    assert refusal(path, settings={"x": {"siez": text("1", "x.siez"), "where": text("y")}}) == (
        '--set x.siez: module x has no setting "siez"; it has size (whole number, default 10), '
        'where (path, required), name (text, default none); did you mean "size"?'
    )


def test_no_settings(write: Write) -> None:
    """A module without settings says so, be it a class or a file."""
    for source in (PLAIN, FUNCTIONS):
        told = refusal(write("x.py", source), settings={"x": {"y": text("1")}})
        assert told == '--set x.y: module x has no setting "y"; it has none'


def test_badly_typed_settings(write: Write) -> None:
    """Values of the wrong type are all told, each with its origin."""
    path = write("x.py", with_settings("*", "y: int = 1", "z: bool = False"))
    told = refusal(path, settings={"x": {"y": toml("big"), "z": text("perhaps", "x.z")}})
    assert told == (
        "2 things are wrong with the output modules:\n"
        '  - netconsd.toml:3: [module.x] y: "big" is not a whole number\n'
        '  - --set x.z: "perhaps" is not true or false'
    )


def test_settings_for_nobody(write: Write) -> None:
    """Settings for a module that was not found are an error with the names that were."""
    path = write("d/logger.py", PLAIN)
    write("d/needy.py", with_settings("*", "where: Path"))
    assert refusal(path.parent, settings={"loger": {"y": text("1", "loger.y")}}) == (
        '--set loger.y: no module "loger" was found, only logger, needy; did you mean "logger"?'
    )
    assert refusal(settings={"loger": {}}) == 'settings of loger: no module "loger" was found, only none at all'


def test_spare_settings(write: Write) -> None:
    """Settings that are called spare need no module, but are used by the one that has their name."""
    path = write("x.py", with_settings("*", "y: int = 1"))
    selection = load([path], {"x": {"y": text("2")}, "z": {"y": text("3")}}, spare={"x", "z"})
    assert selection.loaded[0].module.settings == {"y": 2}


def test_settings_for_one_of_several(write: Write) -> None:
    """Where a file has several modules, its name alone is not enough, and the text says what is."""
    path = write("pair.py", PLAIN + "\n@implementer(IOutputModule)\nclass Another:" + METHODS)
    assert refusal(path, settings={"pair": {"y": text("1", "pair.y")}}) == (
        '--set pair.y: no module "pair" was found, only pair.Plain, pair.Another; '
        'write [module."pair.Plain"] or --set pair.Plain.KEY=VALUE'
    )


def test_settings_of_a_failed_file(write: Write) -> None:
    """Settings for a module whose file failed are not told as unknown on top."""
    path = write("x.py", "1 +")
    assert refusal(path, settings={"x": {"y": text("1")}, "x.A": {}}) == f"{path}:1: SyntaxError: invalid syntax"


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        (("*", "y"), 'the parameter "y" of its constructor has no annotation, as in "y: str"'),
        (
            ("y: str",),
            'the parameter "y" of its constructor must be keyword-only to be a setting: write "def __init__(',
        ),
        (("*", "y: bytes = b''"), 'the parameter "y" of its constructor: the type bytes is not one that a setting can'),
        (("*", "y: Gone = 1"), "the annotations of its constructor cannot be read: name 'Gone' is not defined"),
    ],
)
def test_bad_constructor(write: Write, parameters: tuple[str, ...], reason: str) -> None:
    """A constructor whose settings cannot be read is an error for the author, from a directory, too."""
    path = write("d/x.py", with_settings(*parameters))
    for spec in (path, path.parent):
        assert refusal(spec).startswith(f"{path}: module x: {reason}")


def test_positional_with_default(write: Write) -> None:
    """A parameter with a default that may be given by position is no setting and no obstacle."""
    path = write("x.py", with_settings("clock=None", "*args", "y: int = 1", "**more"))
    assert load([path], {"x": {"y": text("2")}}).loaded[0].module.settings["y"] == 2
    assert 'no setting "clock"; it has y (whole number, default 1)' in refusal(
        path, settings={"x": {"clock": text("1")}}
    )


# -- what can be wrong with files ------------------------------------------------------------------------------------


def test_missing_file(tmp_path: Path) -> None:
    """A file or directory that does not exist is named, as is a file of another kind."""
    assert refusal(tmp_path / "gone.py") == f"{tmp_path}/gone.py: No such file or directory"
    assert refusal(f"{tmp_path}/gone") == f"{tmp_path}/gone: No such file or directory"
    (tmp_path / "notes.txt").touch()
    told = refusal(tmp_path / "notes.txt")
    assert told == f"{tmp_path}/notes.txt: is neither a .py file, nor a .so file, nor a directory"
    assert "null byte" in refusal("a/\0.py")


def test_broken_link(tmp_path: Path) -> None:
    """A link in a directory that leads nowhere is an error: somebody wanted that module."""
    (tmp_path / "gone.py").symlink_to(tmp_path / "nowhere.py")
    assert refusal(tmp_path) == f"{tmp_path}/gone.py: No such file or directory"


def test_compiled(write: Write) -> None:
    """A compiled module that is asked for by name is refused until it is supported."""
    path = write("native.so", "")
    assert refusal(path) == f"{path}: compiled modules (.so) need a later version of netconsd"


def test_no_module_in_file(write: Write) -> None:
    """A file that is asked for by name has to have a module in it."""
    path = write("x.py", "y = 1")
    assert refusal(path) == f"{path}: no output module in it (docs/modules says what makes one)"


def test_forgotten_decorator(write: Write) -> None:
    """A class with the methods but without the declaration is an error that says what to write, wherever it is."""
    path = write("d/x.py", "class Forgot:" + METHODS)
    for spec in (path, path.parent):
        assert refusal(spec) == (
            f"{path}: class Forgot has the methods of an output module, but does not say that it is one: "
            "write @implementer(IOutputModule) above it"
        )
    path = write("d/x.py", PLAIN + "class Forgot:" + METHODS.replace("handle", "handle_batch"))
    assert refusal(path).endswith("write @implementer(IBatchOutputModule) above it")


def test_forgotten_declaration(write: Write) -> None:
    """So is a file with the three functions and no declaration."""
    path = write("x.py", FUNCTIONS.replace("\nmoduleProvides", "\n# moduleProvides"))
    assert refusal(path) == (
        f"{path}: the file has the functions of an output module, but does not say that it is one: "
        "write moduleProvides(IOutputModule) above them"
    )


def test_both_interfaces(write: Write) -> None:
    """A class or file that claims both interfaces is an error."""
    path = write("x.py", PLAIN.replace("@implementer(", "@implementer(IBatchOutputModule, "))
    reason = "implements both IOutputModule and IBatchOutputModule; a module is one of them"
    assert refusal(path) == f"{path}: class Plain {reason}"
    path = write("x.py", FUNCTIONS.replace("moduleProvides(", "moduleProvides(IBatchOutputModule, "))
    assert refusal(path) == f"{path}: the file {reason}"


def test_file_and_class(write: Write) -> None:
    """A file that is a module cannot have modules in it."""
    path = write("x.py", PLAIN + FUNCTIONS.replace("from __future__ import annotations", ""))
    assert refusal(path) == f"{path}: the file says that it is an output module, but class Plain is, too"


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("def handle(self, worker, message)", "def other(self)", "Plain.handle(self, worker, message) is missing"),
        (
            "(self, worker, message)",
            "(self, message)",
            "Plain.handle must be defined as handle(self, worker, message), not handle(self, message)",
        ),
        ("def stop(self)", "def stop()", "Plain.stop must be defined as stop(self), not stop()"),
        ("def stop(self): ...", "stop = 1", "Plain.stop is not a method; write def stop(self)"),
        (
            "def handle",
            "async def handle",
            "Plain.handle is called in a worker's thread, where nothing awaits it: no async def",
        ),
    ],
)
def test_broken_contract(write: Write, old: str, new: str, reason: str) -> None:
    """A class that does not have what its interface asks for is told in plain words."""
    path = write("x.py", PLAIN.replace(old, new))
    assert refusal(path) == f"{path}: {reason}"


def test_broken_contract_in_several_ways(write: Write) -> None:
    """Everything that is missing is told at once."""
    path = write("x.py", HEAD + "\n@implementer(IOutputModule)\nclass Plain:\n    def start(self, worker_count): ...\n")
    told = refusal(path)
    assert "Plain.handle(self, worker, message) is missing" in told
    assert "Plain.stop(self) is missing" in told
    assert ", and " in told


def test_broken_contract_of_a_file(write: Write) -> None:
    """A file's functions are told without self."""
    path = write("x.py", FUNCTIONS.replace("handle(worker, message)", "handle(message)"))
    assert refusal(path) == f"{path}: handle must be defined as handle(worker, message), not handle(message)"


def test_broken_reload(write: Write) -> None:
    """A module that says it can be reloaded has to have the method."""
    path = write("x.py", PLAIN.replace("@implementer(", "@implementer(IReloadable, "))
    assert refusal(path) == f"{path}: Plain.reload(self) is missing"


def test_property_that_raises(write: Write) -> None:
    """Looking at a module's methods cannot break the loader."""
    path = write("x.py", PLAIN.replace("    def stop(self): ...", "    @property\n    def stop(self): 1 / 0"))
    assert refusal(path) == f"{path}: looking at its methods raised ZeroDivisionError: division by zero"


def test_syntax_error(write: Write) -> None:
    """A syntax error is told with file and line."""
    path = write("x.py", "y = 1\ndef f(:\n")
    assert refusal(path).startswith(f"{path}:2: SyntaxError: ")
    path = write("x.py", "if 1:\nx = 1\n")
    assert refusal(path).startswith(f"{path}:2: IndentationError: ")


@pytest.mark.parametrize("source", [b"x = '\0'", b"x = '\xff'", b"# coding: nonsense\n", b"-" * 100_000 + b"1"])
def test_not_python(tmp_path: Path, source: bytes) -> None:
    """Bytes that are no Python at all are one line with the path."""
    path = tmp_path / "x.py"
    path.write_bytes(source)
    told = refusal(path)
    assert told.startswith(str(path))
    assert "\n" not in told


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        (
            "import no_such_library",
            "ModuleNotFoundError: No module named 'no_such_library'; install it, or import it in start(), so that only",
        ),
        ("from pathlib import nothing", "ImportError: cannot import name 'nothing' from 'pathlib' ("),
        ("import sys; sys.exit(3)", "the file ends the program when it is imported (SystemExit: 3)"),
        ("raise GeneratorExit", "GeneratorExit"),
        ("raise RuntimeError('a\\n  b')", "RuntimeError: a b"),
    ],
)
def test_import_raises(write: Write, statement: str, reason: str) -> None:
    """Whatever happens while a file is imported is one line with file and line number."""
    path = write("x.py", f"import os\n\n{statement}\n")
    told = refusal(path)
    assert told.startswith(f"{path}:3: {reason}")
    assert "\n" not in told


def test_interrupt(write: Write) -> None:
    """Only the user's own interrupt gets through, and nothing half imported stays."""
    path = write("x.py", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        load([path], {})
    assert not [name for name in sys.modules if name.startswith("_netconsd_x")]


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("raise ValueError('y: no such field')", "ValueError: y: no such field"),
        ("raise SystemExit(1)", "SystemExit: 1"),
        ("raise Odd()", "Odd"),
    ],
)
def test_constructor_raises(write: Write, statement: str, reason: str) -> None:
    """What a constructor raises is told with its line and the module's name."""
    path = write("x.py", with_settings("*", "y: int = 1", body=f"        {statement}\n"))
    path.write_text(path.read_text() + "class Odd(Exception):\n    def __str__(self): 1 / 0\n")
    assert refusal(path) == f"{path}:{line_of(path, statement)}: module x cannot be made: {reason}"


def test_abstract(write: Write) -> None:
    """A class that cannot be made is told with Python's reason."""
    source = PLAIN.replace("class Plain:", "class Plain(abc.ABC):\n    @abc.abstractmethod\n    def extra(self): ...")
    path = write("x.py", "import abc\n" + source.replace("from __future__ import annotations", ""))
    assert refusal(path).startswith(f"{path}: module x cannot be made: TypeError: Can't instantiate abstract class")


def test_same_name(write: Write) -> None:
    """Two files with modules of one name are an error that names both."""
    first, second = write("a/x.py", PLAIN), write("b/x.py", PLAIN)
    told = refusal(first, second.parent)
    assert told == f'two modules are called "x": {first} and {second}; rename one of the files'
    second.write_text("y = 1")
    assert names(load([first, second.parent], {})) == ["x"], "a helper may have the name of a module"


def test_all_failures_at_once(write: Write, tmp_path: Path) -> None:
    """All failures of all files are in one text, and what did load is not kept either."""
    good, bad, worse = write("good.py", PLAIN), write("bad.py", "1 +"), write("d/worse.py", "1 / 0")
    assert refusal(good, bad, worse.parent, tmp_path / "gone.py", settings={"goad": {}}) == (
        "4 things are wrong with the output modules:\n"
        f"  - {tmp_path}/gone.py: No such file or directory\n"
        f"  - {bad}:1: SyntaxError: invalid syntax\n"
        f"  - {worse}:1: ZeroDivisionError: division by zero\n"
        '  - settings of goad: no module "goad" was found, only good; did you mean "good"?'
    )


def test_nothing() -> None:
    """Nothing asked for is nothing loaded."""
    assert load([], {}) == Selection((), ())


def test_interfaces_are_the_public_ones() -> None:
    """What the loader looks for are the interfaces that authors import."""
    assert all(isinstance(interface, type(Interface)) for interface in (IOutputModule, IBatchOutputModule))
    module: Any = sys.modules["netconsd.modulefile"]
    assert list(module._INTERFACES) == [IOutputModule, IBatchOutputModule]
