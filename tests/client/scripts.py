"""The script that ``netconsd client`` prints, and the shells that it must run in."""

from __future__ import annotations

import contextlib
import io

from netconsd.cli.client import main
from tests.support.tools import require

#: Their command lines. Debian's busybox prefers its own commands, such as ``ip``, to those of the PATH.
SHELLS = {"dash": ["dash"], "busybox": ["busybox", "sh"], "bash": ["bash", "--posix"]}


def shell(name: str) -> list[str]:
    """The command line of a shell; skips the test if the shell is missing."""
    require(SHELLS[name][0])
    return SHELLS[name]


def script(*arguments: str) -> str:
    """The output of ``netconsd client``."""
    printed = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    with contextlib.redirect_stdout(printed):
        assert main(arguments) == 0
    printed.seek(0)
    return printed.read()
