"""netconsd modules: the list of output modules."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from netconsd.cli.modules import main
from tests.support.compilers import SOURCES, compiled, needs_cc
from tests.support.module_files import FUNCTIONS, HEAD, METHODS, PLAIN

Capture = pytest.CaptureFixture[str]

SETTINGS = (
    '"""Keeps what it is given."""\n'
    + HEAD
    + "\n@implementer(IOutputModule)\nclass Keeps:"
    + "\n    def __init__(self, *, file: Path, size: int = 3): self.file = file"
    + METHODS
    + "\n    print('imported')\n"
)


def listed(capture: Capture, *arguments: str | Path, status: int = 0) -> str:
    """Run the command, check its status, and return its output."""
    assert main([str(argument) for argument in arguments]) == status
    return capture.readouterr().out


def test_shipped_modules(capsys: Capture) -> None:
    """Without arguments every shipped module is listed, with its summary and its settings."""
    text = listed(capsys)
    assert "    Prints messages " in text
    assert '    format = "auto"  (one of "auto", "person", "short", "netconsd")\n' in text
    assert "    directory  (path; required)\n        the directory of the files; created " in text
    assert all(len(line) <= 80 for line in text.splitlines() if not line.endswith(".py"))
    assert "`" not in text
    assert "    lacks: directory" in text


def test_settings_of_a_file(tmp_path: Path, capsys: Capture) -> None:
    """A setting has its type and default, and a required setting without a value is lacking."""
    (tmp_path / "keeps.py").write_text(SETTINGS)
    assert listed(capsys, tmp_path / "keeps.py") == (
        f"imported\nkeeps  {tmp_path}/keeps.py\n    Keeps what it is given.\n"
        "    file  (path; required)\n    size = 3  (whole number)\n    lacks: file\n"
    )


def test_a_module_for_reports_only(tmp_path: Path, capsys: Capture) -> None:
    """A module that takes crash reports and no messages is listed as the others."""
    (tmp_path / "keeps.py").write_text(
        SETTINGS.replace("(IOutputModule)", "(IReportModule)").replace("handle", "handle_report")
    )
    assert listed(capsys, tmp_path / "keeps.py").splitlines()[1:4] == [
        f"keeps  {tmp_path}/keeps.py",
        "    Keeps what it is given.",
        "    file  (path; required)",
    ]


def test_descriptions(tmp_path: Path, capsys: Capture) -> None:
    """A setting has the description in the docstring of the constructor, without markup and without other fields."""
    documented = SETTINGS.replace(
        "self.file = file",
        """
        \'\'\'Make one.

        :param Path file: the ``file`` of :class:`~collections.deque`, which
            is kept.
        :param size: in bytes: `many`.

        A paragraph.
        :raises ValueError: never.
        \'\'\'
        self.file = file""",
    )
    (tmp_path / "keeps.py").write_text(documented)
    assert listed(capsys, tmp_path / "keeps.py").splitlines()[3:] == [
        "    file  (path; required)",
        "        the file of collections.deque, which is kept.",
        "    size = 3  (whole number)",
        "        in bytes: many.",
        "    lacks: file",
    ]


def test_given_settings(tmp_path: Path, capsys: Capture) -> None:
    """Values from --set and the file are listed with their origin, and are not lacking."""
    (tmp_path / "keeps.py").write_text(SETTINGS)
    (tmp_path / "n.toml").write_text('modules = ["keeps.py"]\n[module.keeps]\nsize = 7\n')
    text = listed(capsys, "--config", tmp_path / "n.toml", "--set", "keeps.file=/x")
    words = " ".join(text.split())
    assert 'file = "/x" (path; given by --set keeps.file) ' in words
    assert f"size = 7 (whole number; given by {tmp_path}/n.toml:3: [module.keeps] size)" in words
    assert "lacks" not in text


@needs_cc
def test_compiled_modules(tmp_path: Path, capsys: Capture) -> None:
    """A compiled module is listed without settings; other libraries, and broken ones, are listed as such."""
    path = compiled(SOURCES / "shout.c", tmp_path)
    assert listed(capsys, path) == f"shout  {path}\n    A compiled module; it has no settings.\n"
    (tmp_path / "empty.c").write_text("int nothing;\n")
    empty = compiled(tmp_path / "empty.c", tmp_path)
    assert listed(capsys, empty, status=1) == f"empty  {empty}\n    no output module in it\n"
    assert listed(capsys, tmp_path).count("\n\n") == 1
    (tmp_path / "broken.so").write_bytes(b"")
    assert listed(capsys, tmp_path / "broken.so", status=1).endswith("\n    is empty\n")


def test_nothing_is_started(tmp_path: Path, capsys: Capture) -> None:
    """No module is started, and none remains imported."""
    (tmp_path / "one.py").write_text(FUNCTIONS.replace("(worker_count): ...", "(worker_count): raise OSError"))
    before = set(sys.modules)
    listed(capsys, tmp_path)
    assert not {name for name in set(sys.modules) - before if "one" in name}


def test_files_with_several_and_with_none(tmp_path: Path, capsys: Capture) -> None:
    """Each class of a file is listed with its docstring; in a directory, a file without modules is no error."""
    two = PLAIN.replace("class Plain:", 'class Plain:\n    "The first."')
    two += PLAIN.removeprefix(HEAD).replace("class Plain", "class Other")
    (tmp_path / "two.py").write_text(two)
    (tmp_path / "none.py").write_text("")
    text = listed(capsys, tmp_path)
    assert f"two.Plain  {tmp_path}/two.py\n    The first.\n\ntwo.Other" in text
    assert "    no output module in it" in text
    assert listed(capsys, tmp_path / "none.py", status=1).endswith("    no output module in it\n")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("import (", "is not valid Python: "),
        ("import no_such_library", "No module named 'no_such_library'"),
        (SETTINGS.replace("file: Path", "file"), 'the parameter "file" of its constructor has no annotation'),
        (PLAIN.replace("def handle(self, worker, message)", "def handle(self)"), "must be defined as handle(self, "),
    ],
)
def test_a_broken_module(tmp_path: Path, capsys: Capture, text: str, error: str) -> None:
    """A broken module is listed with the reason, the others are listed too, and the status is 1."""
    (tmp_path / "broken.py").write_text(text)
    (tmp_path / "fine.py").write_text(PLAIN)
    printed = listed(capsys, tmp_path, status=1)
    assert "    cannot be loaded: " in printed
    assert error in printed
    assert f"fine  {tmp_path}/fine.py" in printed


def test_wrong_settings(tmp_path: Path, capsys: Capture) -> None:
    """An unknown setting, or one of the wrong type, is an error."""
    (tmp_path / "keeps.py").write_text(SETTINGS)
    printed = listed(capsys, tmp_path, "--set", "keeps.size=x", "--set", "keeps.sice=3", status=1)
    assert '    error: --set keeps.size: "x" is not a whole number\n' in printed
    assert '    error: --set keeps.sice: module keeps has no setting "sice"' in printed
    assert "    lacks: file\n" in printed


def test_no_such_module(capsys: Capture) -> None:
    """The error about an unknown name lists the shipped modules."""
    assert '"prnter"' in listed(capsys, "prnter", status=1)


def test_bad_configuration(capsys: Capture) -> None:
    """A file that cannot be read is an error of one line."""
    assert main(["--config", "/nowhere.toml"]) == 1
    assert capsys.readouterr().err == "netconsd modules: --config: /nowhere.toml: No such file or directory\n"
