"""netconsd run and twistd as processes whose output a test reads."""

from __future__ import annotations

import os
import re
import select
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import pytest

ROOT = Path(__file__).parents[2]
# The time limit of a process.
SECONDS = 60.0


class Daemon:
    """A daemon on a free port of 127.0.0.1; the constructor returns when it has started.

    :param directory: its working directory.
    :param options: options of ``netconsd run``, and modules.
    :param prefix: a command that executes it, such as ``env``.
    """

    def __init__(self, directory: Path, *options: str | Path, prefix: Sequence[str] = ()) -> None:
        self.process = subprocess.Popen(
            [*prefix, sys.executable, "-m", "netconsd", "run", "-u0", "-a127.0.0.1", *options],
            cwd=directory,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        #: The lines read so far.
        self.seen: list[str] = []
        try:
            self.port = int(self.line(r"UDP port (\d+);"))
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Kill the process if it still runs, and close its output: otherwise a failure would fail later tests too."""
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def line(self, pattern: str) -> str:
        """Read the output up to a line that contains the pattern, and return its first group."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.seen.append(line)
            if match := re.search(pattern, line):
                return match[1]
        pytest.fail("".join(self.seen))

    def end(self) -> str:
        """Return the output up to the end of the process."""
        assert self.process.stdout is not None
        # Not communicate(), which drops the lines that the stream has read ahead for line().
        with self.process.stdout as stdout:
            out = stdout.read()
        self.process.wait(SECONDS)
        return out


TWISTD = "import sys; sys.argv[0] = 'twistd'; from twisted.scripts.twistd import run; sys.exit(run())"


def command(*arguments: str | Path) -> list[str]:
    """Return the command line of twistd."""
    return [sys.executable, "-c", TWISTD, *map(str, arguments)]


def environment() -> dict[str, str]:
    """Return an environment in which Python finds the checkout from any directory."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}


def twistd(cwd: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run twistd until it and the daemon that it leaves behind have ended."""
    # The daemon inherits the pipe, which its end closes: it removes its pid file after the command has returned.
    reading, writing = os.pipe()
    with os.fdopen(reading) as pipe:
        try:
            done = subprocess.run(
                command(*arguments),
                cwd=cwd,
                env=environment(),
                capture_output=True,
                text=True,
                check=False,
                timeout=30,
                pass_fds=[writing],
            )
        finally:
            os.close(writing)
        assert select.select([pipe], [], [], 30)[0], f"a daemon still runs after {done}"
    return done


def failed(done: subprocess.CompletedProcess[str], cwd: Path) -> str:
    """Check that a process failed with status 1, without a traceback or a pid file, and return its text."""
    assert done.returncode == 1, done
    assert "Traceback" not in done.stderr
    assert not list(cwd.glob("*.pid"))
    return done.stderr
