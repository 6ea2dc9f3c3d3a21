"""netconsd check: the effective settings, or all errors, without starting anything."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from netconsd.cli.check import main
from netconsd.settings import OPTIONS
from tests.support.module_files import FUNCTIONS, written

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _forgetting(tmp_path: Path) -> Iterator[None]:
    """Forget the modules that a test imported; the command itself ends with its process."""
    with written(tmp_path):
        yield


def test_every_option_with_its_origin(tmp_path: Path, capsys: Capture) -> None:
    """Each option is listed with its value and its origin."""
    file = tmp_path / "n.toml"
    file.write_text('workers = 5\nport = 7\nmodules = ["printer"]\n[module.printer]\ncolor = "never"\n')
    assert main(["--config", str(file), "-u", "9"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[0] for line in lines[: len(OPTIONS)]] == list(OPTIONS)
    assert ["port", "9", "--port"] in lines
    assert ["workers", "5", f"{file}:1"] in lines
    assert ["batch", "512", "default"] in lines
    assert ["color", "=", '"never"', f"{file}:5:", "[module.printer]", "color"] in lines


def test_all_errors(tmp_path: Path, capsys: Capture) -> None:
    """All errors of options, the file and modules are printed, and the status is 1."""
    (tmp_path / "broken.py").write_text("import (")
    file = tmp_path / "n.toml"
    file.write_text('colour = 1\nworkers = 0\nmodules = ["broken.py", "logger"]\n')
    assert main(["--config", str(file), "-u", "70000", "--set", "nothing"]) == 1
    output = capsys.readouterr()
    assert output.out == ""
    for text in (
        f'netconsd check: {file}:1: unknown key "colour"',
        f"netconsd check: {file}:2: workers: 0 ",
        "netconsd check: --port: 70000 ",
        "netconsd check: --set: 'nothing' is not NAME.KEY=VALUE\n",
        "broken.py:1: SyntaxError",
        '"directory"',
    ):
        assert text in output.err


def test_the_file_of_names(tmp_path: Path, capsys: Capture) -> None:
    """A file of names that cannot be read, or has a malformed line, is an error."""
    assert main(["--hosts-file", str(tmp_path / "gone"), "printer"]) == 1
    assert f"netconsd check: --hosts-file: cannot read {tmp_path}/gone: No such file" in capsys.readouterr().err
    (tmp_path / "names").write_text("web1 192.0.2.1\n")
    assert main(["--hosts-file", str(tmp_path / "names"), "printer"]) == 1
    assert f"--hosts-file: {tmp_path}/names:1: " in capsys.readouterr().err


def test_nothing_is_started(tmp_path: Path, capsys: Capture) -> None:
    """A port in use is no error, no directory is created, and no module is started."""
    (tmp_path / "x.py").write_text(FUNCTIONS.replace("(worker_count): ...", "(worker_count): raise OSError"))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = str(taken.getsockname()[1])
        logs = tmp_path / "logs"
        assert main(["-a127.0.0.1", "-u", port, "--set", f"logger.directory={logs}", "logger", f"{tmp_path}/x.py"]) == 0
    assert not logs.exists()


def test_modules_that_would_not_start(tmp_path: Path, capsys: Capture) -> None:
    """The modules of a directory that would not start are listed with the reason; a missing module is reported."""
    (tmp_path / "empty.py").write_text("")
    assert main([str(tmp_path)]) == 0
    output = capsys.readouterr().out
    assert f"not started: empty  {tmp_path}/empty.py: no output module in it\n" in output
    assert "There is no output module" in output


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help(capsys: Capture, flag: str) -> None:
    """Its help has its own usage, and the options of the daemon."""
    with pytest.raises(SystemExit) as caught:
        main([flag])
    assert caught.value.code == 0
    output = capsys.readouterr().out
    assert output.startswith("Usage: netconsd check [options] [MODULE ...]\n")
    assert "--max-sources=" in output


def test_unknown_option() -> None:
    """The error about an unknown option names this command instead of twistd."""
    with pytest.raises(SystemExit) as caught:
        main(["--prot", "1"])
    assert caught.value.code == "netconsd: option --prot not recognized (netconsd check --help lists the options)"
