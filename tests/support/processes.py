"""netconsd run as a process whose output a test reads."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# How long a process may take to its end.
SECONDS = 60.0


class Daemon:
    """A daemon on a free port of 127.0.0.1 that has started.

    :param directory: its working directory.
    :param options: options of ``netconsd run``, and modules.
    :param prefix: the command that runs it, by becoming it.
    """

    def __init__(self, directory: Path, *options: str, prefix: Sequence[str] = ()) -> None:
        self.process = subprocess.Popen(
            [*prefix, sys.executable, "-m", "netconsd", "run", "-u0", "-a127.0.0.1", *options],
            cwd=directory,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        #: The lines that were read.
        self.seen: list[str] = []
        self.port = int(self.line(r"UDP port (\d+);"))

    def line(self, pattern: str) -> str:
        """Read what it prints up to a line with this, and return the first group."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.seen.append(line)
            if found := re.search(pattern, line):
                return found[1]
        pytest.fail("".join(self.seen))

    def end(self) -> str:
        """What it prints until it has ended."""
        out, _ = self.process.communicate(timeout=SECONDS)
        return out
