"""The daemon under test: a twistd process of its own, and the messages that it hands to an output module."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace, TracebackType
from typing import Self

from tests.support.servers import free_port

RECORDER = Path(__file__).with_name("recorder.py")
CHECKOUT = Path(__file__).parents[2]
TIMEOUT = 30.0  # seconds, for its start and for its stop
PROBE_INTERVAL = 0.1

Recorded = SimpleNamespace
"""A message as recorder.py wrote it, with the attributes of the message; also a crash report or an event."""


class Daemon:
    """``twistd netconsd`` on the loopback address; as a context manager, it is ready for datagrams.

    :param directory: for its log and its messages.
    :raises AssertionError: from the context manager, if it does not start, or ends with an unexpected status.
    """

    def __init__(self, directory: Path) -> None:
        self.port = free_port(socket.SOCK_DGRAM)
        self.messages: list[Recorded] = []
        #: The crash reports and the events, in the order of delivery.
        self.reports: list[Recorded] = []
        self.events: list[Recorded] = []
        self._log = directory / "twistd.log"
        # The recorder writes into a pipe, which select() can wait for. Opened in both directions, so that open and read
        # do not depend on when the recorder opens it.
        path = directory / "messages"
        os.mkfifo(path)
        self._pipe = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        self._partial_line = b""
        self._command = [
            *(sys.executable, "-c", "from twisted.scripts.twistd import run; run()"),
            *("-n", "--pidfile=", "netconsd", "--port", str(self.port), "--address", "127.0.0.1"),
            *("--modules", str(RECORDER), "--set", f"recorder.path={path}"),
        ]

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command, cwd=CHECKOUT, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            self._wait_until_it_answers()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._stop()
        finally:
            self._end()

    def receive(self, timeout: float) -> list[Recorded]:
        """The messages since the last call; waits up to ``timeout`` seconds for the first line of the recorder.

        ``messages``, ``reports`` and ``events`` have all of them so far.
        """
        if not select.select([self._pipe], [], [], timeout)[0]:
            return []
        *lines, self._partial_line = (self._partial_line + os.read(self._pipe, 1 << 20)).split(b"\n")
        received: list[Recorded] = []
        by_kind = {"message": received, "report": self.reports, "event": self.events}
        for line in lines:
            fields = json.loads(line)
            by_kind[fields.pop("found", "message")].append(Recorded(**fields))
        self.messages += [message for message in received if message.text != "probe"]
        return received

    def log(self) -> str:
        """The daemon's log so far."""
        return self._log.read_text("utf-8", "backslashreplace")

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + TIMEOUT
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            while not self.receive(PROBE_INTERVAL):
                assert self._process.poll() is None, f"the daemon did not start:\n{self.log()}"
                assert time.monotonic() < deadline, f"the daemon did not answer:\n{self.log()}"
                probe.sendto(b"probe\n", ("127.0.0.1", self.port))

    def _stop(self) -> None:
        """Stop it by SIGTERM, and receive its held messages."""
        self._process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + TIMEOUT
        while self._process.poll() is None:
            assert time.monotonic() < deadline, f"the daemon did not stop:\n{self.log()}"
            self.receive(PROBE_INTERVAL)
        while self.receive(0):
            pass
        # twistd ends by the signal that stopped it.
        assert self._process.returncode in (0, -signal.SIGTERM), (
            f"the daemon ended with {self._process.returncode}:\n{self.log()}"
        )

    def _end(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        os.close(self._pipe)
