"""Compiled modules in a netconsd process: from the socket to their output."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

from tests.support.compilers import EXAMPLES, SOURCES, compiled, needs_cc
from tests.support.processes import Daemon

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
    with Daemon(tmp_path, "-w1", shout, lines, "python.py", prefix=["env", "-u", "PYTHONUNBUFFERED"]) as daemon:
        sender = send(daemon.port, b"one\ntwo\n", b"6.12.1,6,1,5140900,-;caf\\xc3\\xa9\n DEVICE=c1:3\n")
        daemon.line("(python: café)")
        daemon.process.send_signal(signal.SIGTERM)
        output = [*daemon.seen, *daemon.end().splitlines(True)]
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
    # What modules in Python print is not in the log.
    assert [line for line in output if line.startswith("python: ")] == [
        "python: one\n",
        "python: two\n",
        "python: café\n",
    ]
    assert "Traceback" not in "".join(output)


def send(port: int, *datagrams: bytes) -> int:
    """Send datagrams from one socket; return its port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect(("127.0.0.1", port))
        for datagram in datagrams:
            sender.send(datagram)
        return int(sender.getsockname()[1])
