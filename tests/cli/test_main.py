"""The netconsd command finds its sub-commands."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest

import netconsd
from netconsd.cli import COMMANDS, main, run


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    """``netconsd --help`` names each command, and each command can be imported and has a main."""
    assert main(["--help"]) == 0
    listed = capsys.readouterr().out
    for name in COMMANDS:
        assert f"\n  {name} " in listed
        assert callable(import_module(f"netconsd.cli.{name}").main)


def test_no_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    """Without any argument the help is shown, and the status says that nothing was done."""
    assert main([]) == 2
    assert "Commands:" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """The version is that of the package, with the kind of build."""
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith(f"netconsd {netconsd.__version__} (")


@pytest.mark.parametrize("given", [["run", "-u", "6666", "printer"], ["-u", "6666", "printer"]])
def test_run(given: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """With ``run``, or without a command, the daemon gets all the arguments."""
    calls: list[Any] = []

    def called(*arguments: Any) -> int:
        calls.append(arguments)
        return 3

    monkeypatch.setattr(run, "main", called)
    assert main(given) == 3
    assert calls == [(["-u", "6666", "printer"], "netconsd run")]
