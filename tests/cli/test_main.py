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
        assert callable(import_module(f"netconsd.cli.{name}").main)


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
