"""Prints the text of every error and worse: a module that is a file with three functions."""

from __future__ import annotations

import sys

from zope.interface import moduleProvides

from netconsd import IOutputModule, Message
from netconsd.rendering import printable

moduleProvides(IOutputModule)

ERROR = 3


def start(worker_count: int) -> None:
    """Nothing to prepare."""


def handle(worker: int, message: Message) -> None:
    """Called in a worker's thread, for every message."""
    if message.level is not None and message.level <= ERROR:
        # One write per line, so that the lines of two workers do not mix. twistd uses sys.stderr for its log.
        stream = sys.__stderr__
        if stream is not None:
            stream.write(f"{message.source.address}: {printable(message.text)}\n")


def stop() -> None:
    """Nothing to finish."""
