"""twistd netconsd as a process: a start that fails with one text, and signals."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemons import MODULE
from tests.support.processes import command, environment, failed, twistd
from tests.support.receivers import needs_compiled


def test_process_with_a_bad_option(tmp_path: Path) -> None:
    """A port out of its bounds ends twistd with status 1 and one line."""
    done = twistd(tmp_path, "-n", "netconsd", "--port", "70000")
    assert done.stdout == ""
    assert failed(done, tmp_path).startswith("netconsd: --port: 70000 ")


def test_process_with_a_broken_module(tmp_path: Path) -> None:
    """All errors of modules are one text, and without -n it is printed before twistd becomes a daemon."""
    (tmp_path / "broken.py").write_text("import (")
    for flags in (["-n"], []):
        text = failed(twistd(tmp_path, *flags, "netconsd", "--modules", "broken.py", "gone.py"), tmp_path)
        assert text.startswith("netconsd: ")
        assert f"{tmp_path}/gone.py: No such file or directory" in text
        assert f"{tmp_path}/broken.py:1: " in text


@pytest.fixture
def busy() -> Iterator[int]:
    """A port that is in use."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def test_process_whose_port_is_in_use(tmp_path: Path, busy: int) -> None:
    """A port in use is one line on stderr and status 1, and no pid file remains."""
    done = twistd(tmp_path, "-n", "netconsd", "-a", "127.0.0.1", "-u", str(busy), "printer")
    text = failed(done, tmp_path)
    assert "Traceback" not in done.stdout
    assert text.startswith("netconsd: --port: ")
    assert text.count("\n") == 1
    assert str(busy) in text
    assert "in use" in text


def test_daemon_whose_port_is_in_use(tmp_path: Path, busy: int) -> None:
    """As a daemon, the command that started it fails with a short text, and the log has the full one."""
    done = twistd(tmp_path, "netconsd", "-a", "127.0.0.1", "-u", str(busy))
    text = failed(done, tmp_path)
    assert "--port: " in text
    log = (tmp_path / "twistd.log").read_text()
    assert "Traceback" not in log
    assert f"port {busy} " in log


@pytest.mark.parametrize(
    ("way", "reason"),
    [
        ("raise", "no such database ({path}:13)"),
        ("later", "no such database"),
    ],
)
def test_process_whose_module_does_not_start(tmp_path: Path, way: str, reason: str) -> None:
    """A module that cannot start, at once or later, ends the process with status 1 and its exception as one line."""
    (tmp_path / "x.py").write_text(MODULE)
    done = twistd(tmp_path, "-n", "netconsd", "-u0", "-a127.0.0.1", "--set", f"x.way={way}", "x.py")
    text = failed(done, tmp_path)
    assert text == f"netconsd: x: did not start: {reason.format(path=tmp_path / 'x.py')}\n"


def test_process_and_signals(tmp_path: Path) -> None:
    """SIGHUP reloads the modules and ends nothing; SIGTERM stops them and removes the pid file."""
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
            for fragment, number in (("listens on", signal.SIGHUP), ("reloaded", signal.SIGTERM)):
                lines = []
                for line in process.stdout:
                    lines.append(line)
                    if fragment in line:
                        break
                else:
                    pytest.fail("".join(lines))
                process.send_signal(number)
            rest = process.stdout.read()
        finally:
            process.kill()
    assert "stopped" in rest
    assert "Traceback" not in rest
    assert not list(tmp_path.glob("*.pid"))


@needs_compiled
def test_process_without_memory(tmp_path: Path) -> None:
    """With too little address space for its buffers, netconsd run ends with status 1 and one text."""
    # 64 listeners with the largest batch reserve 32 GiB, whatever Python itself needs.
    code = (
        "import resource, os, sys\n"
        f"resource.setrlimit(resource.RLIMIT_AS, ({2 << 30}, {2 << 30}))\n"
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    run = [sys.executable, "-m", "netconsd", "run", "-u0", "-a127.0.0.1", "-l64", "-b1024", "--rcvbuf=4096", "printer"]
    done = subprocess.run(
        [sys.executable, "-c", code, *run], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False
    )
    assert failed(done, tmp_path).splitlines()[-1].startswith("netconsd: there is not enough memory; ")
