"""netconsd run as a process under a service manager, which receives its states and passes it a socket."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from netconsd.testing import extended

ROOT = Path(__file__).parents[2]
SECONDS = 30.0

# Moves the passed descriptor to 3, and is the process that LISTEN_PID names.
WRAPPER = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.executable, [sys.executable, "-m", "netconsd", *sys.argv[2:]])
"""

# Blocks in start(), and in handle() for the message "hang", until the pipe's other end is opened and closed.
MODULE = """
from pathlib import Path
from zope.interface import implementer
from netconsd.interfaces import IOutputModule

@implementer(IOutputModule)
class Output:
    def __init__(self, *, pipe: Path):
        self.pipe = pipe
    def start(self, worker_count):
        self.pipe.read_text()
    def handle(self, worker, message):
        print("handled", message.text, flush=True)
        if message.text == "hang":
            self.pipe.read_text()
    def stop(self):
        pass
"""


class Manager:
    """A service manager with one service."""

    def __init__(self, directory: Path) -> None:
        self.pipe = directory / "pipe"
        os.mkfifo(self.pipe)
        self.notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notified.bind(str(directory / "notify"))
        self.notified.settimeout(SECONDS)
        self.passed = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.passed.bind(("127.0.0.1", 0))
        (directory / "x.py").write_text(MODULE)
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-c", WRAPPER, str(self.passed.fileno()), "run"),
                *("--set", f"x.pipe={self.pipe}", "--reorder", "0", "x.py"),
            ],
            cwd=directory,
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "NOTIFY_SOCKET": str(directory / "notify"),
                "WATCHDOG_USEC": "400000",
                "LISTEN_FDS": "1",
            },
            pass_fds=[self.passed.fileno()],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def send(self, text: str, seq: int) -> None:
        """Send a message to the passed socket."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending:
            sending.bind(("127.0.0.2", 0))
            sending.sendto(extended(text, seq=seq), self.passed.getsockname())

    def release(self) -> None:
        """Wait until the module blocks, and end that."""
        self.pipe.write_text("")

    def next_state(self, *, without: str | tuple[str, ...] = ("WATCHDOG=1", "STATUS=")) -> str:
        """Return the next state that does not begin with these; on a loaded machine, a worker can be late."""
        while True:
            state = self.notified.recv(4096).decode()
            if not state.startswith(without):
                return state

    def wait_for_line(self, text: str) -> None:
        """Read the output of the process up to a line with this."""
        assert self.process.stdout is not None
        lines = []
        for line in self.process.stdout:
            lines.append(line)
            if text in line:
                return
        pytest.fail("".join(lines))


@contextmanager
def managed(directory: Path) -> Iterator[Manager]:
    """A service manager, which is cleaned up at the end."""
    manager = Manager(directory)
    try:
        with manager.notified, manager.passed, manager.process:
            try:
                yield manager
            finally:
                manager.process.kill()
    finally:
        manager.pipe.unlink()


def test_life_under_a_service_manager(tmp_path: Path) -> None:
    """READY is sent when the modules have started; an earlier datagram is delivered; reload and stop are reported."""
    with managed(tmp_path) as manager:
        manager.send("sent before the start", 1)
        with manager.pipe.open("w"):  # the module is in start() now
            manager.notified.setblocking(False)
            with pytest.raises(BlockingIOError):
                manager.notified.recv(4096)
            manager.notified.settimeout(SECONDS)
        assert manager.next_state().startswith("READY=1\nSTATUS=")
        manager.wait_for_line("handled sent before the start")
        assert manager.next_state(without=("READY", "STATUS=")).startswith("WATCHDOG=1\nSTATUS=")
        manager.process.send_signal(signal.SIGHUP)
        assert manager.next_state().startswith("RELOADING=1\nMONOTONIC_USEC=")
        assert manager.next_state().startswith("READY=1\n")
        manager.process.send_signal(signal.SIGTERM)
        assert manager.next_state().startswith("STOPPING=1\n")
        assert manager.process.wait(SECONDS) == 0
        # Our copy of the socket is open: datagrams wait in it for the next start.
        manager.send("sent after the end", 2)
        assert manager.passed.recv(4096).endswith(b"sent after the end\n")


def test_a_worker_that_hangs(tmp_path: Path) -> None:
    """While a module hangs, the watchdog is not answered; it is answered again when the module returns."""
    with managed(tmp_path) as manager:
        manager.release()
        assert manager.next_state().startswith("READY=1\n")
        manager.send("hang", 1)
        assert manager.next_state(without="WATCHDOG=1").startswith("STATUS=Worker ")
        assert manager.next_state(without="never").startswith("STATUS=Worker ")
        manager.release()
        assert manager.next_state(without="STATUS").startswith("WATCHDOG=1\n")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, -signal.SIGINT)])
def test_signal_during_the_start(tmp_path: Path, number: int, status: int) -> None:
    """A signal that arrives while the modules start stops the daemon in order when they have started."""
    with managed(tmp_path) as manager:
        manager.send("sent before the start", 1)
        with manager.pipe.open("w"):
            manager.process.send_signal(number)
        manager.wait_for_line("handled sent before the start")
        manager.wait_for_line("Total: 1 datagram")
        assert manager.process.wait(SECONDS) == status


# Blocks while it is imported, until the other end of the pipe is opened and closed.
SLOW_IMPORT = """
from pathlib import Path
from zope.interface import moduleProvides
from netconsd.interfaces import IOutputModule

moduleProvides(IOutputModule)
Path(__file__).with_name("pipe").read_text()

def start(worker_count): pass
def handle(worker, message): pass
def stop(): pass
"""


HANGING_START = """
from twisted.internet.defer import Deferred
from zope.interface import moduleProvides
from netconsd.interfaces import IOutputModule

moduleProvides(IOutputModule)

def start(worker_count):
    print("starting", flush=True)
    return Deferred()
def handle(worker, message): pass
def stop(): pass
"""


@contextmanager
def unready(directory: Path, module: str) -> Iterator[subprocess.Popen[str]]:
    """``netconsd run`` with one module, which is not ready yet."""
    (directory / "x.py").write_text(module)
    command = [sys.executable, "-m", "netconsd", "run", "--address", "127.0.0.1", "--port", "0", "x.py"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, cwd=directory, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, -signal.SIGINT)])
def test_signal_while_modules_are_loaded(tmp_path: Path, number: int, status: int) -> None:
    """A signal that arrives during the import of a module stops the daemon in order when it has started."""
    os.mkfifo(tmp_path / "pipe")
    with unready(tmp_path, SLOW_IMPORT) as process:
        with (tmp_path / "pipe").open("w"):
            process.send_signal(number)
        output, _ = process.communicate(timeout=SECONDS)
        assert process.returncode == status
    assert "Total: 0 datagrams received" in output


def test_a_signal_stops_a_start_that_hangs(tmp_path: Path) -> None:
    """SIGTERM during a start that never ends stops the daemon with status 0: it is no failed start."""
    with unready(tmp_path, HANGING_START) as process:
        assert process.stdout is not None
        assert any("starting" in line for line in process.stdout)
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=SECONDS)
        assert process.returncode == 0, output
    assert "Traceback" not in output


def test_second_signal_during_the_start(tmp_path: Path) -> None:
    """A second signal ends a process whose module hangs in its start, with status 1."""
    with managed(tmp_path) as manager, manager.pipe.open("w"):
        manager.process.send_signal(signal.SIGINT)
        while manager.process.poll() is None:
            manager.process.send_signal(signal.SIGTERM)
        assert manager.process.returncode == 1


def test_second_signal_during_the_stop(tmp_path: Path) -> None:
    """A second signal ends a process whose module hangs in its worker, with status 1 and the totals."""
    with managed(tmp_path) as manager:
        manager.release()
        assert manager.next_state().startswith("READY=1\n")
        manager.send("hang", 1)
        manager.wait_for_line("handled hang")
        manager.process.send_signal(signal.SIGTERM)
        while not manager.next_state().startswith("STOPPING=1\n"):
            pass
        manager.process.send_signal(signal.SIGINT)
        assert manager.process.stdout is not None
        rest = manager.process.stdout.read()
        assert manager.process.wait(SECONDS) == 1
    assert "Total: 1 datagram" in rest
    assert "Traceback" not in rest


def test_passed_socket_of_the_wrong_kind(tmp_path: Path) -> None:
    """A passed socket that is not a UDP socket is one line on stderr and status 1."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as stream:
        done = subprocess.run(
            [sys.executable, "-c", WRAPPER, str(stream.fileno()), "run", "printer"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), "LISTEN_FDS": "1"},
            pass_fds=[stream.fileno()],
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
        )
    assert done.returncode == 1
    assert done.stderr == (
        "netconsd: LISTEN_FDS: the passed descriptor 3 is not a bound UDP socket; "
        "the socket unit needs ListenDatagram=\n"
    )
