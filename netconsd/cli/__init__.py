"""The ``netconsd`` command: the daemon in the foreground, and the tools beside it.

Each sub-command is a file here with ``main(arguments, prog)``, which returns the exit status. It is imported when it is
used, so that no tool needs what another one imports.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

import netconsd
from netconsd.build import KIND
from netconsd.daemon.stdout import put

__all__ = ["COMMANDS", "main"]

#: The sub-commands, as ``netconsd --help`` lists them. Those that the C daemon has as programs are programs here, too.
COMMANDS = {
    "run": "receive messages: the daemon, in the foreground (this is what happens without a command, too)",
    "check": "say whether the daemon would start, and with which settings; nothing is started",
    "modules": "list output modules, their settings, and what each lacks",
    "client": "print the shell script that lets a machine send its kernel log",
    "blaster": "load for a receiver, from a whole fleet, with faults on request (netconsblaster)",
    "gen": "one machine's messages, with gaps, restarts and continuations on request (netcons-gen)",
    "nctx": "send this machine's kernel log from user space, and again what got lost",
    "ncrx": "print what arrives at a port, in order, and tell the senders what is missing",
}

#: The status after Ctrl-C, as a shell would have it: 128 and the number of SIGINT.
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a sub-command; without one, the daemon, whose options are those of the C daemon.

    :param arguments: those of the process by default.
    :returns: the exit status.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help"):
        put(_help(), "netconsd")
        return 0 if given else 2
    if given[0] == "--version":
        put(f"netconsd {netconsd.__version__} ({KIND})", "netconsd")
        return 0
    name = given.pop(0) if given[0] in COMMANDS else "run"
    try:
        status: int = import_module(f"netconsd.cli.{name}").main(given, f"netconsd {name}")
    except KeyboardInterrupt:
        # While a command is read, or its modules are imported, there is nothing to end in good order.
        return INTERRUPTED
    return status


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {summary}" for name, summary in COMMANDS.items()]
    return "\n".join(
        ["usage: netconsd [COMMAND] [OPTION ...]", "", "Commands:", *lines, "", "netconsd COMMAND --help says more."]
    )
