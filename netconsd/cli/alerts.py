"""``netconsd alerts test``: tells each recipient of the module alerts of a test, and prints their answers."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from netconsd.daemon.config import configure
from netconsd.daemon.foreground import error_head
from netconsd.daemon.stdout import put
from netconsd.outputs.checks import send_tests
from netconsd.outputs.loader import load
from netconsd.tap import Options


class _Options(Options):
    """The daemon's options, whose errors are kept."""

    synopsis = "Usage: netconsd alerts test [options] [MODULE ...]"
    longdesc = (
        "Reads the options and the file of --config as the daemon would, and tells each recipient of the module alerts "
        "of a test, and prints their answers. The status is 0 if all were notified."
    )
    hint = "netconsd alerts test --help lists the options"
    errors: list[str]

    def postOptions(self) -> None:
        """Set :attr:`configuration` and :attr:`errors`."""
        self.errors = []
        self.configuration = configure(**self.command_line(), errors=self.errors)


def main(arguments: Sequence[str] | None = None, prog: str = "netconsd alerts") -> int:
    """Tell each recipient of a test.

    :returns: the exit status: 0 if all were notified, otherwise 1.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] in (["-h"], ["--help"]):
        words.insert(0, "test")
    head = error_head(prog, sys.stderr)
    if words[:1] != ["test"]:
        print(f"{head}write: netconsd alerts test [options]", file=sys.stderr)
        return 2
    options: Any = _Options()
    options.parseOptions(words[1:])
    configuration = options.configuration
    errors = list(options.errors)
    # Others need not be loaded; the module is that of the configuration, or else the shipped one.
    names = [name for name in configuration.modules if name.rpartition("/")[2].partition(".")[0] == "alerts"]
    settings = {name: each for name, each in configuration.module_settings.items() if name == "alerts"}
    selection = load(names or ["alerts"], settings, configuration.spare, errors=errors)
    answers: list[str] = []
    if not errors:
        answers, errors = send_tests(selection.loaded)
    for text in (line for error in errors for line in error.splitlines()):
        print(f"{head}{text}", file=sys.stderr)
    if answers:
        put("\n".join(answers), prog)
    return 1 if errors else 0
