"""A process of the console, on a socket that the reactor reads. For the reactor's thread."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from twisted.internet.protocol import Factory
from twisted.protocols.basic import Int32StringReceiver
from twisted.python.failure import Failure

import netconsd
from netconsd.console.frames import FRAME_BYTES

#: Seconds between two looks whether a killed process has ended.
_REAP_SECONDS: Final = 0.05


class Process(Int32StringReceiver):
    """A running process. Its frames are given to ``frame``, its end to ``ended``, once."""

    MAX_LENGTH = FRAME_BYTES
    transport: Any

    def __init__(self, frame: Callable[[bytes, bytes], object], ended: Callable[[], object]) -> None:
        """
        :param frame: called with the kind and the data of each frame.
        """
        self._frame = frame
        self._ended: Callable[[], object] | None = ended
        self._process: subprocess.Popen[bytes] | None = None
        self._reactor: Any = None

    def stringReceived(self, string: bytes) -> None:  # noqa: N802 - Twisted's name
        if self._ended is not None:
            self._frame(string[:1], string[1:])

    def request(self, fields: dict[str, Any]) -> None:
        """Send a line of JSON."""
        self.transport.write(json.dumps(fields).encode() + b"\n")

    def pause(self) -> None:
        """Read no frames; the process blocks when the socket is full."""
        self.transport.pauseProducing()

    def resume(self) -> None:
        """Read frames again."""
        self.transport.resumeProducing()

    def kill(self) -> None:
        """End the process now; ``ended`` is called before this returns, if it was not before."""
        if self._process is not None:
            self._process.kill()
        self.transport.abortConnection()
        self._end()

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        if self._process is not None:
            self._process.kill()
        self._reap()
        self._end()

    def _end(self) -> None:
        ended, self._ended = self._ended, None
        if ended is not None:
            ended()

    def _reap(self) -> None:
        # Not waited for in the reactor: a process in the middle of a read of a bad disk ends when that does.
        if self._process is not None and self._process.poll() is None:
            self._reactor.callLater(_REAP_SECONDS, self._reap)


def start(
    reactor: Any,
    module: str,
    arguments: Sequence[str],
    frame: Callable[[bytes, bytes], object],
    ended: Callable[[], object],
) -> Process:
    """Start ``python -m MODULE ARGUMENTS``.

    :raises OSError: if the machine has no more processes or memory.
    """
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        process = Process(frame, ended)
        process._reactor = reactor
        process._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=theirs.fileno(),
            stdout=theirs.fileno(),
            cwd="/",
            env=environment(),
        )
        factory = Factory()
        factory.noisy = False
        factory.buildProtocol = lambda address: process  # type: ignore[assignment,method-assign]
        # The reactor has duplicated the descriptor.
        reactor.adoptStreamConnection(ours.fileno(), socket.AF_UNIX, factory)
    return process


def environment() -> dict[str, str]:
    """Return the environment of a process: it imports the same netconsd as this one, from any directory."""
    package = str(Path(netconsd.__file__).resolve().parents[1])
    paths = [package, *filter(None, os.environ.get("PYTHONPATH", "").split(":"))]
    # A thread of Arrow per processor would cost the reception its own.
    return {**os.environ, "PYTHONPATH": ":".join(paths), "OMP_NUM_THREADS": "1"}
