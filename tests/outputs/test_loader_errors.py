"""The loader: what a user or an author is told when a module cannot be loaded."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from netconsd.outputs.loader import load
from tests.support.module_files import (
    FUNCTIONS,
    HEAD,
    METHODS,
    PLAIN,
    Write,
    line_of,
    names,
    refusal,
    with_settings,
    written,
)


@pytest.fixture
def write(tmp_path: Path) -> Iterator[Write]:
    """Write a file of modules, below the test's directory."""
    with written(tmp_path) as write:
        yield write


def test_missing_file(tmp_path: Path) -> None:
    """A file or directory that does not exist is named, as is a file of another kind."""
    assert refusal(tmp_path / "gone.py") == f"{tmp_path}/gone.py: No such file or directory"
    assert refusal(f"{tmp_path}/gone") == f"{tmp_path}/gone: No such file or directory"
    (tmp_path / "notes.txt").touch()
    told = refusal(tmp_path / "notes.txt")
    assert told == f"{tmp_path}/notes.txt: is neither a .py file, nor a .so file, nor a directory"
    assert "null" in refusal("a/\0.py")


def test_broken_link(tmp_path: Path) -> None:
    """A link in a directory that leads nowhere is an error: somebody wanted that module."""
    (tmp_path / "gone.py").symlink_to(tmp_path / "nowhere.py")
    assert refusal(tmp_path) == f"{tmp_path}/gone.py: No such file or directory"


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


def test_broken_listening(write: Write) -> None:
    """A module that wants to know where messages come from has to say so, and to have the method."""
    path = write("x.py", PLAIN.replace("@implementer(", "@implementer(IListening, "))
    assert refusal(path) == f"{path}: Plain.listening(self, addresses) is missing"
    path = write("x.py", PLAIN + "\n    def listening(self, addresses): ...\n")
    assert refusal(path) == (
        f"{path}: it has listening(), but does not say so: implement IListening, too, or call it something else"
    )


def test_broken_losses(write: Write) -> None:
    """A module that says it counts what it loses has to have the method; one that does not may call anything lost."""
    path = write("x.py", PLAIN.replace("@implementer(", "@implementer(ICountsLosses, "))
    assert refusal(path) == f"{path}: Plain.lost(self, worker) is missing"
    path = write("x.py", PLAIN + "\n    def lost(self): ...\n")
    assert [loaded.name for loaded in load([path], {}).loaded] == ["x"]


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
    before = set(sys.modules)
    with pytest.raises(KeyboardInterrupt):
        load([path], {})
    assert not [name for name in set(sys.modules) - before if name.startswith("_netconsd_")]


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
