"""A process of the console, on a socket that the reactor reads. For the reactor's thread."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.protocols.basic import Int32StringReceiver
from twisted.python.failure import Failure

import netconsd
from netconsd.console.frames import FAULT, FRAME_BYTES

#: Seconds between two looks whether a process has ended that was killed, or has closed its socket.
_REAP_SECONDS: Final = 0.05

log = Logger("netconsd.console")


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
        self._module = ""
        self._killed = False

    def stringReceived(self, string: bytes) -> None:  # noqa: N802 - Twisted's name
        if self._ended is None:
            return
        if string[:1] == FAULT:
            log.error(
                "A process of the console ({module}) failed, which is a defect of netconsd; please report it\n{text}",
                module=self._module,
                text=json.loads(string[1:])["text"],
            )
        else:
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
        self._killed = True
        if self._process is not None:
            self._process.kill()
        self.transport.abortConnection()
        self._end()

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        # A process that ends by itself closes its socket a moment before its status is there.
        self._reap(kill=self._killed)
        self._end()

    def _end(self) -> None:
        ended, self._ended = self._ended, None
        if ended is not None:
            ended()

    def _reap(self, *, kill: bool) -> None:
        if self._process is None:
            return
        status = self._process.poll()
        if status is None:
            if kill:
                self._process.kill()
            # Not waited for in the reactor: a process in the middle of a read of a bad disk ends when that does.
            self._reactor.callLater(_REAP_SECONDS, self._reap, kill=True)
        elif status and not self._killed:
            self._killed = True
            log.warn(
                "console: a process ({module}) ended: {how}; another is started when it is needed",
                module=self._module,
                how=_how(status),
            )


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
        process._module = module
        process._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=theirs.fileno(),
            stdout=theirs.fileno(),
            cwd="/",
            env=environment(),
            # Ctrl-C in the terminal of the daemon interrupts the daemon only, which closes the socket.
            process_group=0,
        )
        factory = Factory()
        factory.noisy = False
        factory.buildProtocol = lambda address: process  # type: ignore[assignment,method-assign]
        # The reactor has duplicated the descriptor.
        reactor.adoptStreamConnection(ours.fileno(), socket.AF_UNIX, factory)
    return process


def _how(status: int) -> str:
    if status > 0:
        return f"exit status {status}"
    reason = ", as by the kernel when memory is short" if status == -signal.SIGKILL else ""
    return f"killed by {signal.Signals(-status).name}{reason}"


def environment() -> dict[str, str]:
    """Return the environment of a process: it imports the same netconsd as this one, from any directory."""
    package = str(Path(netconsd.__file__).resolve().parents[1])
    paths = [package, *filter(None, os.environ.get("PYTHONPATH", "").split(":"))]
    # A thread of Arrow per processor would cost the reception its own.
    return {**os.environ, "PYTHONPATH": ":".join(paths), "OMP_NUM_THREADS": "1"}
