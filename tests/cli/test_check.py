"""netconsd check: the effective settings, or all that is wrong, without starting anything."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from netconsd.cli.check import main
from netconsd.daemon.config import OPTIONS
from tests.support.module_files import FUNCTIONS, written

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _forgetting(tmp_path: Path) -> Iterator[None]:
    """What was imported of a test's modules is forgotten; the command itself ends with its process."""
    with written(tmp_path):
        yield


def test_every_option_with_its_origin(tmp_path: Path, capsys: Capture) -> None:
    """Each option stands there with its value, and with where that came from."""
    file = tmp_path / "n.toml"
    file.write_text('workers = 5\nport = 7\nmodules = ["printer"]\n[module.printer]\ncolor = "never"\n')
    assert main(["--config", str(file), "-u", "9"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[0] for line in lines[: len(OPTIONS)]] == list(OPTIONS)
    assert ["port", "9", "--port"] in lines
    assert ["workers", "5", f"{file}:1"] in lines
    assert ["batch", "512", "default"] in lines
    assert ["color", "=", '"never"', f"{file}:5:", "[module.printer]", "color"] in lines


def test_everything_wrong_at_once(tmp_path: Path, capsys: Capture) -> None:
    """What is wrong with options, the file and modules is told in one go, and the status is 1."""
    (tmp_path / "broken.py").write_text("import (")
    file = tmp_path / "n.toml"
    file.write_text('colour = 1\nworkers = 0\nmodules = ["broken.py", "logger"]\n')
    assert main(["--config", str(file), "-u", "70000", "--set", "nothing"]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    for text in (
        f'netconsd check: {file}:1: unknown key "colour"',
        f"netconsd check: {file}:2: workers: 0 is not between 1 and 64\n",
        "netconsd check: --port: 70000 is not between 0 and 65535\n",
        "netconsd check: --set: 'nothing' is not NAME.KEY=VALUE\n",
        "broken.py:1: SyntaxError",
        'module logger needs the setting "directory"',
    ):
        assert text in told.err


def test_nothing_is_started(tmp_path: Path, capsys: Capture) -> None:
    """A port in use is no matter, no directory is made, and no module is started."""
    (tmp_path / "x.py").write_text(FUNCTIONS.replace("(worker_count): ...", "(worker_count): raise OSError"))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = str(taken.getsockname()[1])
        logs = tmp_path / "logs"
        assert main(["-a127.0.0.1", "-u", port, "--set", f"logger.directory={logs}", "logger", f"{tmp_path}/x.py"]) == 0
    assert not logs.exists()


def test_modules_that_would_not_start(tmp_path: Path, capsys: Capture) -> None:
    """Of a directory it is said what does not start and why; without any module, that messages go nowhere."""
    (tmp_path / "empty.py").write_text("")
    assert main([str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert f"not started: empty  {tmp_path}/empty.py: no output module in it\n" in told
    assert "There is no output module" in told


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help(capsys: Capture, flag: str) -> None:
    """Its help begins with a line that is true, and has the options of the daemon."""
    with pytest.raises(SystemExit) as caught:
        main([flag])
    assert caught.value.code == 0
    told = capsys.readouterr().out
    assert told.startswith("Usage: netconsd check [options] [MODULE ...]\n")
    assert "--max-sources=" in told


def test_unknown_option() -> None:
    """An option that there is not is one line that does not speak of twistd."""
    with pytest.raises(SystemExit) as caught:
        main(["--prot", "1"])
    assert caught.value.code == "netconsd: option --prot not recognized (netconsd check --help lists the options)"
