"""The loader's error texts for users and for authors of modules."""

from __future__ import annotations

import sys
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
    toml,
    with_settings,
)


def test_missing_file(tmp_path: Path) -> None:
    """A missing path and a file of another kind are errors that name the path."""
    assert refusal(tmp_path / "gone.py") == f"{tmp_path}/gone.py: No such file or directory"
    assert refusal(f"{tmp_path}/gone") == f"{tmp_path}/gone: No such file or directory"
    (tmp_path / "notes.txt").touch()
    assert refusal(tmp_path / "notes.txt") == (
        f"{tmp_path}/notes.txt: not a .py file, a .so file or a directory; name one of these with --modules"
    )
    assert "null" in refusal("a/\0.py")


def test_broken_link(tmp_path: Path) -> None:
    """A broken link in a directory is an error, because its module was wanted."""
    (tmp_path / "gone.py").symlink_to(tmp_path / "nowhere.py")
    assert refusal(tmp_path) == f"{tmp_path}/gone.py: No such file or directory"


def test_no_module_in_file(write: Write) -> None:
    """A file specified by name has to contain a module."""
    path = write("x.py", "y = 1")
    assert refusal(path) == f"{path}: no output module in it; docs/modules describes how to write one"


def test_forgotten_decorator(write: Write) -> None:
    """A class with the methods but without a declaration is an error, in a file and in a directory."""
    path = write("d/x.py", "class Forgot:" + METHODS)
    for spec in (path, path.parent):
        assert refusal(spec) == (
            f"{path}: class Forgot has the methods of an output module but does not declare it; "
            "write @implementer(IOutputModule) above the class"
        )
    path = write("d/x.py", PLAIN + "class Forgot:" + METHODS.replace("handle", "handle_batch"))
    assert refusal(path).endswith("write @implementer(IBatchOutputModule) above the class")


def test_forgotten_declaration(write: Write) -> None:
    """A file with the three functions but without a declaration is an error."""
    path = write("x.py", FUNCTIONS.replace("\nmoduleProvides", "\n# moduleProvides"))
    assert refusal(path) == (
        f"{path}: the file has the functions of an output module but does not declare it; "
        "write moduleProvides(IOutputModule) above the functions"
    )


def test_both_interfaces(write: Write) -> None:
    """A class or file that declares both interfaces is an error."""
    path = write("x.py", PLAIN.replace("@implementer(", "@implementer(IBatchOutputModule, "))
    reason = "declares both IOutputModule and IBatchOutputModule; declare one of them"
    assert refusal(path) == f"{path}: class Plain {reason}"
    path = write("x.py", FUNCTIONS.replace("moduleProvides(", "moduleProvides(IBatchOutputModule, "))
    assert refusal(path) == f"{path}: the file {reason}"


def test_file_and_class(write: Write) -> None:
    """A file and a class in it cannot both be modules."""
    path = write("x.py", PLAIN + FUNCTIONS.replace("from __future__ import annotations", ""))
    assert refusal(path) == (
        f"{path}: both the file and class Plain are declared as output modules; remove one of the declarations"
    )


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
            "Plain.handle must not be async, because it is called in a worker's thread, where nothing awaits it",
        ),
    ],
)
def test_broken_contract(write: Write, old: str, new: str, reason: str) -> None:
    """Each difference from the interface has a text that names the method."""
    path = write("x.py", PLAIN.replace(old, new))
    assert refusal(path) == f"{path}: {reason}"


def test_broken_contract_in_several_ways(write: Write) -> None:
    """All differences are in one text."""
    path = write("x.py", HEAD + "\n@implementer(IOutputModule)\nclass Plain:\n    def start(self, worker_count): ...\n")
    assert refusal(path) == (f"{path}: Plain.handle(self, worker, message) is missing, and Plain.stop(self) is missing")


def test_broken_contract_of_a_file(write: Write) -> None:
    """The functions of a file are named without self."""
    path = write("x.py", FUNCTIONS.replace("handle(worker, message)", "handle(message)"))
    assert refusal(path) == f"{path}: handle must be defined as handle(worker, message), not handle(message)"


def test_broken_reload(write: Write) -> None:
    """A module that declares IReloadable needs the method."""
    path = write("x.py", PLAIN.replace("@implementer(", "@implementer(IReloadable, "))
    assert refusal(path) == f"{path}: Plain.reload(self) is missing"


def test_broken_listening(write: Write) -> None:
    """IListening needs its method, and the method needs the declaration."""
    path = write("x.py", PLAIN.replace("@implementer(", "@implementer(IListening, "))
    assert refusal(path) == f"{path}: Plain.listening(self, addresses) is missing"
    path = write("x.py", PLAIN + "\n    def listening(self, addresses): ...\n")
    assert refusal(path) == (
        f"{path}: it has listening() but does not declare IListening; declare it as well, or rename the method"
    )


def test_broken_losses(write: Write) -> None:
    """A module that declares ICountsLosses needs the method; without the declaration, any method may be named lost."""
    path = write("x.py", PLAIN.replace("@implementer(", "@implementer(ICountsLosses, "))
    assert refusal(path) == f"{path}: Plain.lost(self, worker) is missing"
    path = write("x.py", PLAIN + "\n    def lost(self): ...\n")
    assert [loaded.name for loaded in load([path], {}).loaded] == ["x"]


def test_property_that_raises(write: Write) -> None:
    """A property that raises is an error of the module."""
    path = write("x.py", PLAIN.replace("    def stop(self): ...", "    @property\n    def stop(self): 1 / 0"))
    assert refusal(path) == f"{path}: reading its methods raised ZeroDivisionError: division by zero"


def test_syntax_error(write: Write) -> None:
    """A syntax error has file and line."""
    path = write("x.py", "y = 1\ndef f(:\n")
    assert refusal(path).startswith(f"{path}:2: is not valid Python: ")
    path = write("x.py", "if 1:\nx = 1\n")
    assert refusal(path).startswith(f"{path}:2: is not valid Python: expected an indented block")


@pytest.mark.parametrize("source", [b"x = '\0'", b"x = '\xff'", b"# coding: nonsense\n", b"-" * 100_000 + b"1"])
def test_not_python(tmp_path: Path, source: bytes) -> None:
    """A file that is not Python is an error of one line with the path."""
    path = tmp_path / "x.py"
    path.write_bytes(source)
    error = refusal(path)
    assert error.startswith(str(path))
    assert "\n" not in error


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        (
            "import no_such_library",
            "No module named 'no_such_library'; install it, or import it in start(), so that only",
        ),
        ("from pathlib import nothing", "cannot import name 'nothing' from 'pathlib' ("),
        ("import sys; sys.exit(3)", "the file exits the program when it is imported (SystemExit: 3)"),
        ("raise GeneratorExit", "GeneratorExit"),
        ("raise RuntimeError('a\\n  b')", "a b"),
    ],
)
def test_import_raises(write: Write, statement: str, reason: str) -> None:
    """An exception during the import is an error of one line with file and line number."""
    path = write("x.py", f"import os\n\n{statement}\n")
    error = refusal(path)
    assert error.startswith(f"{path}:3: {reason}")
    assert "\n" not in error


def test_interrupt(write: Write) -> None:
    """KeyboardInterrupt is raised to the caller, and the file does not stay in sys.modules."""
    path = write("x.py", "raise KeyboardInterrupt")
    before = set(sys.modules)
    with pytest.raises(KeyboardInterrupt):
        load([path], {})
    assert not [name for name in set(sys.modules) - before if name.startswith("_netconsd_")]


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("raise ValueError('y: no such field')", "y: no such field"),
        ("raise SystemExit(1)", "SystemExit: 1"),
        ("raise Odd()", "Odd"),
    ],
)
def test_constructor_raises(write: Write, statement: str, reason: str) -> None:
    """An exception in a constructor is an error with its line and the name of the module."""
    path = write("x.py", with_settings("*", "y: int = 1", body=f"        {statement}\n"))
    path.write_text(path.read_text() + "class Odd(Exception):\n    def __str__(self): 1 / 0\n")
    assert refusal(path) == f"{path}:{line_of(path, statement)}: module x cannot be created: {reason}"


def test_abstract(write: Write) -> None:
    """A class that cannot be created is an error with Python's reason."""
    source = PLAIN.replace("class Plain:", "class Plain(abc.ABC):\n    @abc.abstractmethod\n    def extra(self): ...")
    path = write("x.py", "import abc\n" + source.replace("from __future__ import annotations", ""))
    assert refusal(path).startswith(f"{path}: module x cannot be created: TypeError: Can't instantiate abstract class")


def test_same_name(write: Write) -> None:
    """Two files whose modules have the same name are an error that names both files."""
    first, second = write("a/x.py", PLAIN), write("b/x.py", PLAIN)
    error = refusal(first, second.parent)
    assert error == f'two modules have the name "x": {first} and {second}; rename one of the files'
    second.write_text("y = 1")
    assert names(load([first, second.parent], {})) == ["x"], "a file without a module may have the name of a module"


def test_all_failures_at_once(write: Write, tmp_path: Path) -> None:
    """All errors of all files are in one text, and no file stays in sys.modules."""
    good, bad, worse = write("good.py", PLAIN), write("bad.py", "1 +"), write("d/worse.py", "1 / 0")
    assert refusal(good, bad, worse.parent, tmp_path / "gone.py", settings={"goad": {}}) == (
        "4 errors in the output modules:\n"
        f"  - {tmp_path}/gone.py: No such file or directory\n"
        f"  - {bad}:1: is not valid Python: invalid syntax\n"
        f"  - {worse}:1: ZeroDivisionError: division by zero\n"
        '  - settings of goad: no module "goad" was found; did you mean "good"?'
    )


def test_every_wrong_setting_of_a_constructor(write: Write) -> None:
    """A ValueError that begins with a setting gets the setting's own place, and the further ones are reported too."""
    body = """
        for name, value in (("y", y), ("z", z)):
            if value < 1:
                raise ValueError(f"{name}: {value} is less than 1")
"""
    path = write("x.py", with_settings("*", "y: int = 1", "z: int = 1", body=body))
    values = {"y": toml(0), "z": toml(-1, "netconsd.toml:4: [module.x] z")}
    assert refusal(path, settings={"x": values}).splitlines() == [
        "2 errors in the output modules:",
        "  - netconsd.toml:3: [module.x] y: 0 is less than 1",
        "  - netconsd.toml:4: [module.x] z: -1 is less than 1",
    ]
