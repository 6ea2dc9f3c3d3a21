"""Standard output through a pager, as git does it: only on a terminal, and with less's options FRX."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress

from netconsd.daemon.stdout import put


class Output:
    """Lines for the standard output, or for a pager in front of it. For one thread."""

    def __init__(self, prog: str, pager: str) -> None:
        """
        :param pager: the command of a shell; empty for none.
        """
        self._prog = prog
        self._command = pager
        self._pager: subprocess.Popen[bytes] | None = None
        self._closed = False

    def write(self, data: bytes) -> None:
        """Write bytes at once. The pager is started with the first ones, so that an error before is not hidden by it.

        :raises SystemExit: with 1, if they cannot be written.
        """
        if self._command and self._pager is None:
            environment = {"LESS": "FRX", "LV": "-c", **os.environ}
            self._pager = subprocess.Popen(self._command, shell=True, stdin=subprocess.PIPE, env=environment)
        if self._pager is None or self._pager.stdin is None:
            put(data, self._prog)
            return
        try:
            self._pager.stdin.write(data)
            self._pager.stdin.flush()
        except OSError:
            self._closed = True

    @property
    def closed(self) -> bool:
        """True once the pager has ended: nothing more needs to be found."""
        return self._closed or (self._pager is not None and self._pager.poll() is not None)

    @property
    def paged(self) -> bool:
        """True once a pager has the terminal."""
        return self._pager is not None

    def finish(self) -> None:
        """Wait until the person has left the pager."""
        if self._pager is None or self._pager.stdin is None:
            return
        # Ctrl-C is for the pager.
        previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            with suppress(OSError):
                self._pager.stdin.close()
            self._pager.wait()
        finally:
            signal.signal(signal.SIGINT, previous)


def pager_of(environment: Mapping[str, str], is_terminal: Callable[[], bool]) -> str:
    """Return the command of the pager: ``NETCONSD_PAGER``, ``PAGER``, or less if it is installed; empty for none.

    ``cat`` and an empty variable mean none.
    """
    if not is_terminal() or environment.get("TERM") == "dumb":
        return ""
    pager = environment.get("NETCONSD_PAGER", environment.get("PAGER"))
    if pager is None:
        pager = "less" if shutil.which("less", path=environment.get("PATH")) else ""
    return "" if pager.strip() == "cat" else pager.strip()


def is_terminal() -> bool:
    """Return whether the standard output is a terminal."""
    return sys.stdout is not None and sys.stdout.isatty()
