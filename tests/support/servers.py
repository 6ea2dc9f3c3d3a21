"""Real servers as processes, on free ports of 127.0.0.1: they can be killed, stopped and started again."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import SystemRandom

import pytest

from tests.support.scripted_lane import PATIENCE

ROOT = Path(__file__).parents[2]
#: Where .ci/install-servers and .ci/install-victorialogs put the programs.
SERVERS = Path(os.environ.get("NETCONSD_SERVERS", ROOT / "build/servers"))
#: CI has the servers of Debian, and must not skip their tests.
REQUIRED = os.environ.get("NETCONSD_REQUIRE_SERVERS_TEST") == "1"
VICTORIALOGS = Path(os.environ.get("NETCONSD_VICTORIALOGS", ROOT / "build/victorialogs/victoria-logs"))

#: Services of the system have ports below.
FIRST_PORT = 10_000

#: Where .ci/install-kafka puts the classes.
KAFKA = Path(os.environ.get("NETCONSD_KAFKA", ROOT / "build/kafka"))


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """Return a port of 127.0.0.1 that is free now, for a process that binds it seconds later.

    The kernel gives the ports of its own range to any program that asks for one meanwhile, such as another test.
    """
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = SystemRandom().randrange(FIRST_PORT, first) if first > FIRST_PORT else 0
        with socket.socket(type=kind) as bound, suppress(OSError):
            bound.bind(("127.0.0.1", port))
            return int(bound.getsockname()[1])


def program(name: str) -> Path:
    """Return a program of .ci/install-servers, or skip the test."""
    found = SERVERS / "usr/sbin" / name
    if not found.exists():
        text = f"needs {name}: bash .ci/install-servers"
        if REQUIRED:
            pytest.fail(text)
        pytest.skip(text)
    return found


def libraries() -> dict[str, str]:
    """Return the environment of a program of .ci/install-servers: its libraries are not those of the system."""
    folders = {str(file.parent) for file in SERVERS.rglob("*.so.*")}
    return {**os.environ, "LD_LIBRARY_PATH": ":".join(sorted(folders))}


def until(condition: Callable[[], object], what: str = "the condition", patience: float = PATIENCE) -> None:
    """Wait for a condition."""
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.02)


class ServerProcess:
    """A server that is started and killed by the test."""

    #: Seconds for its start.
    patience = PATIENCE

    def __init__(self, command: list[str], log: Path, ready: Callable[[], bool], environment: dict[str, str]) -> None:
        self._command = command
        self._log = log
        self._ready = ready
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and return when it listens."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, env=self._environment)

        def ready() -> bool:
            assert self._process is not None
            assert self._process.poll() is None, self._log.read_text(errors="replace")
            return self._ready()

        until(ready, f"the start of {self._command[0]}", self.patience)

    def kill(self, number: int = signal.SIGKILL) -> None:
        """End it by a signal."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(PATIENCE)
            self._process = None

    def signal(self, number: int) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def pause(self) -> None:
        """Let it hang."""
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it continue."""
        self.signal(signal.SIGCONT)


@contextmanager
def running(server: ServerProcess) -> Iterator[ServerProcess]:
    """Run a server for a block."""
    server.start()
    try:
        yield server
    finally:
        server.kill()


def listens(port: int) -> Callable[[], bool]:
    """Return a function that returns whether a port accepts connections."""

    def tried() -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", port)) == 0

    return tried


def certificate(directory: Path) -> tuple[Path, Path]:
    """Make a certificate for localhost, and return the files of the certificate and the key."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    cert, key = directory / "cert.pem", directory / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", cert],
        check=True, capture_output=True,
    )  # fmt: skip
    return cert, key
