"""The script that ``netconsd client`` prints, and the shells that it must run in."""

from __future__ import annotations

import contextlib
import io

from netconsd.cli.client import main

#: How to start each of them. Debian's busybox takes its own commands before those of the PATH: ``ip`` and all.
SHELLS = {"dash": ["dash"], "busybox": ["busybox", "sh"], "bash": ["bash", "--posix"]}


def script(*arguments: str) -> str:
    """What ``netconsd client`` prints."""
    printed = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    with contextlib.redirect_stdout(printed):
        assert main(arguments) == 0
    printed.seek(0)
    return printed.read()
