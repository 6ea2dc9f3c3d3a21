"""twistd netconsd as a process: a start that fails with one message, and signals."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from tests.support.daemons import MODULE

ROOT = Path(__file__).parents[2]

TWISTD = "import sys; sys.argv[0] = 'twistd'; from twisted.scripts.twistd import run; sys.exit(run())"


def command(*arguments: str | Path) -> list[str]:
    """The command line of twistd."""
    return [sys.executable, "-c", TWISTD, *map(str, arguments)]


def environment() -> dict[str, str]:
    """An environment in which the checkout is found from any directory."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}


def twistd(cwd: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run twistd to its end, and to that of the daemon that it leaves behind."""
    # A daemon inherits the pipe, and only its end closes it: the pid file goes after the command has returned.
    reading, writing = os.pipe()
    with os.fdopen(reading) as ended:
        try:
            done = subprocess.run(
                command(*arguments),
                cwd=cwd,
                env=environment(),
                capture_output=True,
                text=True,
                check=False,
                timeout=30,
                pass_fds=[writing],
            )
        finally:
            os.close(writing)
        assert select.select([ended], [], [], 30)[0], f"a daemon still runs after {done}"
    return done


def failed(done: subprocess.CompletedProcess[str], cwd: Path) -> str:
    """Check that a process failed as it should, and return its message."""
    assert done.returncode == 1, done
    assert "Traceback" not in done.stderr
    assert not list(cwd.glob("*.pid")), "the pid file is gone"
    return done.stderr


def test_process_with_a_bad_option(tmp_path: Path) -> None:
    """A port that cannot be ends twistd with status 1 and one line."""
    done = twistd(tmp_path, "-n", "netconsd", "--port", "70000")
    assert done.stdout == ""
    assert failed(done, tmp_path) == "netconsd: --port: 70000 is not between 0 and 65535\n"


def test_process_with_a_broken_module(tmp_path: Path) -> None:
    """All that is wrong with modules is one message, and without -n it is said before twistd becomes a daemon."""
    (tmp_path / "broken.py").write_text("import (")
    for flags in (["-n"], []):
        told = failed(twistd(tmp_path, *flags, "netconsd", "--modules", "broken.py", "gone.py"), tmp_path)
        assert told.startswith("netconsd: 2 things are wrong with the output modules:\n")
        assert f"{tmp_path}/gone.py: No such file or directory" in told
        assert f"{tmp_path}/broken.py:1: SyntaxError: " in told


@pytest.fixture
def busy() -> Iterator[int]:
    """A port that is in use."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def test_process_whose_port_is_in_use(tmp_path: Path, busy: int) -> None:
    """A port in use is one line on stderr, status 1, and no pid file stays."""
    done = twistd(tmp_path, "-n", "netconsd", "-a", "127.0.0.1", "-u", str(busy))
    told = failed(done, tmp_path)
    assert "Traceback" not in done.stdout
    assert told.startswith("netconsd: --port: ")
    assert told.count("\n") == 1
    assert str(busy) in told
    assert "in use" in told


def test_daemon_whose_port_is_in_use(tmp_path: Path, busy: int) -> None:
    """As a daemon the command that started it says so in short and fails, and the log says it in full."""
    done = twistd(tmp_path, "netconsd", "-a", "127.0.0.1", "-u", str(busy))
    told = failed(done, tmp_path)
    assert "--port: " in told
    log = (tmp_path / "twistd.log").read_text()
    assert "Traceback" not in log
    assert f"port {busy} is in use" in log


@pytest.mark.parametrize(
    ("way", "reason"),
    [
        ("raise", "OSError: no such database ({path}:13)"),
        ("later", "OSError: no such database"),
        ("import", "it needs the Python package that provides 'no_such_library', which is not installed"),
    ],
)
def test_process_whose_module_does_not_start(tmp_path: Path, way: str, reason: str) -> None:
    """A module that cannot start, at once or later, ends the process with status 1 and says what it raised."""
    (tmp_path / "x.py").write_text(MODULE)
    done = twistd(tmp_path, "-n", "netconsd", "-u0", "-a127.0.0.1", "--set", f"x.way={way}", "x.py")
    told = failed(done, tmp_path)
    assert told == f"netconsd: x: did not start: {reason.format(path=tmp_path / 'x.py')}\n"


def test_daemon_whose_module_does_not_start(tmp_path: Path) -> None:
    """As a daemon, a module that cannot start makes the command fail and the log say why."""
    (tmp_path / "x.py").write_text(MODULE)
    done = twistd(tmp_path, "netconsd", "-u0", "-a127.0.0.1", "--set", "x.way=raise", "x.py")
    assert "x: did not start: OSError: no such database" in failed(done, tmp_path)
    log = (tmp_path / "twistd.log").read_text()
    assert "x: did not start: OSError: no such database" in log


def test_process_and_signals(tmp_path: Path) -> None:
    """SIGHUP reloads the modules and ends nothing; SIGTERM stops them and takes the pid file away."""
    (tmp_path / "x.py").write_text(MODULE)
    with subprocess.Popen(
        command("-n", "netconsd", "-u0", "-a127.0.0.1", "x.py"),
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            for awaited, number in (("listens on", signal.SIGHUP), ("reloaded", signal.SIGTERM)):
                seen = []
                for line in process.stdout:
                    seen.append(line)
                    if awaited in line:
                        break
                else:
                    pytest.fail("".join(seen))
                process.send_signal(number)
            rest = process.stdout.read()
        finally:
            process.kill()
    assert "stopped" in rest
    assert "Traceback" not in rest
    assert not list(tmp_path.glob("*.pid"))


def test_missing_configuration_is_told_before_the_fork(tmp_path: Path) -> None:
    """A wrong file is told with its line, though twistd was asked to become a daemon."""
    (tmp_path / "n.toml").write_text(
        dedent(
            """
            port = 1514
            worker = 3
            """
        )
    )
    told = failed(twistd(tmp_path, "netconsd", "--config", "n.toml"), tmp_path)
    assert told.startswith('netconsd: n.toml:3: unknown key "worker"; valid are port, ')
    assert told.endswith('did you mean "workers"?\n')


SLOW = """
from twisted.internet.defer import Deferred
from zope.interface import implementer
from netconsd.interfaces import IOutputModule

@implementer(IOutputModule)
class Output:
    def start(self, worker_count): ...
    def handle(self, worker, message): ...
    def stop(self):
        from twisted.internet import reactor
        print("stopping", flush=True)
        stopped = Deferred()
        # When the signals that the test sends next have come.
        reactor.callLater(0.3, stopped.callback, None)
        return stopped
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_further_signals_change_nothing(tmp_path: Path, number: signal.Signals) -> None:
    """A second signal while it stops, of either kind, is no traceback, and the end is that of the first."""
    (tmp_path / "x.py").write_text(SLOW)
    with subprocess.Popen(
        command("-n", "netconsd", "-u0", "-a127.0.0.1", "--modules", "x.py"),
        cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        seen = ""
        for line in process.stdout:
            seen += line
            if "UDP port" in line:
                process.send_signal(number)
            if line == "stopping\n":
                process.send_signal(number)
                process.send_signal(signal.SIGTERM)
    assert "Traceback" not in seen
    assert "Server Shut Down" in seen
    assert process.returncode == -number
