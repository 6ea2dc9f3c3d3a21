"""The stacks of all threads in the log if the process crashes: in a module in C, for example."""

from __future__ import annotations

import faulthandler
import sys
from contextlib import suppress
from typing import Any


def log_crashes(logfile: str | None = None) -> None:
    """From now on, write the Python stacks of all threads at a crash (SIGSEGV, SIGABRT and others).

    The stack of a compiled module has its ``.so`` file (:mod:`netconsd.outputs.native`). Does nothing if the output is
    enabled already, as by ``PYTHONFAULTHANDLER``, or if it cannot be written.

    :param logfile: the log of a process without a terminal; by default standard error. After a rotation of the log, a
        crash is in the file that was open at the start.
    """
    if faulthandler.is_enabled():
        return
    # A failed open, a closed or replaced standard error, or none at all.
    with suppress(OSError, ValueError, AttributeError, RuntimeError):
        # faulthandler keeps the file, and so its descriptor, open.
        output: Any = sys.__stderr__ if logfile is None else open(logfile, "ab", buffering=0)  # noqa: SIM115
        faulthandler.enable(output)
