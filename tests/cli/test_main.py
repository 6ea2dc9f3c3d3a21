"""The netconsd command and its sub-commands."""

from __future__ import annotations

import signal
from configparser import ConfigParser
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any

import pytest

import netconsd
from netconsd.cli import run
from netconsd.cli.main import COMMANDS, main

ROOT = Path(__file__).parents[2]


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    """``netconsd --help`` lists each command, and each command has a main."""
    assert main(["--help"]) == 0
    listed = capsys.readouterr().out
    for name in COMMANDS:
        assert f"\n  {name} " in listed
        assert callable(import_module(f"netconsd.cli.{name.replace('-', '_')}").main)


def test_no_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    """Without any argument it prints the help and returns 2."""
    assert main([]) == 2
    assert "Commands:" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """It prints the version of the package and the kind of build."""
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith(f"netconsd {netconsd.__version__} (")


@pytest.mark.parametrize("given", [["run", "-u", "6666", "printer"], ["-u", "6666", "printer"]])
def test_run(given: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """With ``run``, or without a command, the daemon gets all arguments."""
    calls: list[Any] = []

    def called(*arguments: Any) -> int:
        calls.append(arguments)
        return 3

    monkeypatch.setattr(run, "main", called)
    assert main(given) == 3
    assert calls == [(["-u", "6666", "printer"], "netconsd run")]


def test_interrupt(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Ctrl-C before a command handles signals gives the status 130, as in a shell, and no traceback."""
    monkeypatch.setattr(run, "main", lambda *_: signal.raise_signal(signal.SIGINT))
    assert main(["run"]) == 130
    assert capsys.readouterr() == ("", "")


def scripts() -> dict[str, str]:
    """Return the programs of an installation, as ``module:function``."""
    parser = ConfigParser()
    parser.read(ROOT / "setup.cfg")
    lines = parser["options.entry_points"]["console_scripts"].strip().splitlines()
    return {name.strip(): target.strip() for name, _, target in (line.partition("=") for line in lines)}


def test_programs_can_be_called() -> None:
    """Each program of an installation is a function without required arguments."""
    assert {"netconsd", "netconsblaster", "netcons-gen"} <= set(scripts())
    for target in scripts().values():
        module, _, function = target.partition(":")
        signature(getattr(import_module(module), function)).bind()


@pytest.mark.parametrize(("given", "command"), [("chek", "check"), ("rum", "run"), ("module", "modules")])
def test_a_mistyped_command(given: str, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A word that is like a command, and no module or file, is an error that suggests the command."""
    assert main([given, "--help"]) == 2
    error = f'netconsd: no command or module "{given}" was found; did you mean "netconsd {command}"?\n'
    assert capsys.readouterr().err == error


def test_a_file_like_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file or directory of the working directory, and a shipped module, are no mistyped commands."""
    calls: list[Any] = []

    def called(*arguments: Any) -> int:
        calls.append(arguments)
        return 0

    monkeypatch.setattr(run, "main", called)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    for name in ("runs", "printer", "./rum"):
        assert main([name]) == 0
    assert len(calls) == 3


@pytest.mark.parametrize(
    "error", [MemoryError(), ImportError("x.so: failed to map segment from shared object"), ImportError("other")]
)
def test_too_little_memory(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A lack of memory, also of the linker for a compiled file, is one text and status 1; another error is raised."""

    def fails(*_: Any) -> int:
        raise error

    monkeypatch.setattr(run, "main", fails)
    if str(error) == "other":
        with pytest.raises(ImportError):
            main(["run"])
        return
    assert main(["run"]) == 1
    assert capsys.readouterr().err.startswith("netconsd: there is not enough memory; raise the limit (")


def test_a_deleted_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a deleted directory, a command that reads paths ends with one text."""
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    text = "the working directory cannot be used (No such file or directory); cd to one that exists"
    for command in ("run", "check"):
        with pytest.raises(SystemExit) as caught:
            main([command, "printer"])
        assert caught.value.code == f"netconsd: {text}"
    assert main(["modules"]) == 1
    assert text in capsys.readouterr().err
