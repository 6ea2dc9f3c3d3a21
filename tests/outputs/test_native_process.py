"""Compiled modules in a twistd netconsd process: from the socket to their output."""

from __future__ import annotations

import signal
import socket
import subprocess
from pathlib import Path

from tests.support.compilers import EXAMPLES, SOURCES, compiled, needs_cc
from tests.support.processes import command, environment, failed, twistd

pytestmark = needs_cc

# Prints each message after the compiled modules, which are before it.
PYTHON = """
from zope.interface import moduleProvides
from netconsd.interfaces import IOutputModule
moduleProvides(IOutputModule)
def start(worker_count): ...
def handle(worker, message):
    print("python:", message.text, flush=True)
def stop(): ...
"""


def test_two_compiled_modules_and_one_in_python(tmp_path: Path) -> None:
    """Datagrams of both formats reach two compiled modules and one in Python, each in its form; the output of the
    compiled modules is complete after SIGTERM."""
    lines = compiled(EXAMPLES / "lines.c", tmp_path)
    shout = compiled(SOURCES / "shout.c", tmp_path)
    (tmp_path / "python.py").write_text(PYTHON)
    # With PYTHONUNBUFFERED, Python turns off the C library's buffers as well.
    buffered = {key: value for key, value in environment().items() if key != "PYTHONUNBUFFERED"}
    with subprocess.Popen(
        command("-n", "netconsd", "-w1", "-u0", "-a127.0.0.1", "--modules", shout, lines, "python.py"),
        cwd=tmp_path,
        env=buffered,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            output = []
            sender = 0
            for line in process.stdout:
                output.append(line)
                if "listens on" in line:
                    port = int(line.partition("UDP port ")[2].partition(";")[0])
                    sender = send(port, b"one\ntwo\n", b"6.12.1,6,1,5140900,-;caf\\xc3\\xa9\n DEVICE=c1:3\n")
                if "python: café" in line:
                    process.send_signal(signal.SIGTERM)
            assert sender, "".join(output)
        finally:
            process.kill()
    for line in (
        "shout: ONE\n",
        "TWO\n",
        "shout: CAF\\XC3\\XA9| DEVICE=C1:3\n",
        "1 workers will call\n",
        f"::ffff:127.0.0.1 port {sender}: one\n",
        "two\n",
        "::ffff:127.0.0.1 6.12.1 #1 at 5140900 us, level 6, facility 0, start: caf\\xc3\\xa9\n",
        " DEVICE=c1:3\n",
        "the end\n",
    ):
        assert output.count(line) == 1, (line, output)
    # twistd logs the output of modules in Python.
    assert [line.rpartition("#info] python: ")[2] for line in output if "#info] python: " in line] == [
        "one\n",
        "two\n",
        "café\n",
    ]
    assert "Traceback" not in "".join(output)


def send(port: int, *datagrams: bytes) -> int:
    """Send datagrams from one socket; return its port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect(("127.0.0.1", port))
        for datagram in datagrams:
            sender.send(datagram)
        return int(sender.getsockname()[1])


def test_a_module_that_fails_to_start_ends_the_process(tmp_path: Path) -> None:
    """An init that does not return 0 ends the start with one line and status 1."""
    refusing = compiled(SOURCES / "lifecycle.c", tmp_path, "-DREFUSE=2", name="refusing")
    error = failed(twistd(tmp_path, "-n", "netconsd", "-u0", "-a127.0.0.1", refusing), tmp_path)
    assert error == f"netconsd: {refusing}: did not start: its netconsd_output_init returned 7, not 0\n"
