"""The ``netconsd`` command: the daemon in the foreground, and the tools."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path

import netconsd
from netconsd.build import KIND
from netconsd.daemon.stdout import NO_MEMORY, put

#: The directory of the shipped modules.
SHIPPED = Path(netconsd.__file__).parent / "modules"

#: The sub-commands in the order of ``netconsd --help``. The tools of the C daemon are programs here as well.
COMMANDS = {
    "run": "receive messages: the daemon, in the foreground (also if only options are given)",
    "console": "receive, store and show messages in a browser: prints the address of its pages",
    "check": "print the settings that the daemon would have, or all errors; nothing is started",
    "alerts": "send a test to each recipient of alerts, and print the answers: netconsd alerts test",
    "modules": "list output modules, their settings, and the settings that they lack",
    "crashes": "find the kernel's crashes in files of logs: consoles, dmesg, journals, dumps, recordings, captures",
    "log": "show stored messages: by machine, time, level, boot and text; --follow shows new ones",
    "hosts": "list the machines of a store: last heard, boots, messages, losses, release",
    "patterns": "group the messages of a store by the form of their texts: what is frequent, new, or rising",
    "process": "take messages out of a broker (NATS JetStream, Kafka), and run the modules on them",
    "replay": "send captures, recordings and logs in files through the workers into output modules",
    "lnav-format": "print or install the formats by which lnav reads the files of logger and jsonl",
    "client": "print the shell script that lets a machine send its kernel log",
    "blaster": "load for a receiver, from a whole fleet, with faults on request (netconsblaster)",
    "gen": "one machine's messages, with gaps, restarts and continuations on request (netcons-gen)",
    "nctx": "send this machine's kernel log from user space, and repeat lost records",
    "ncrx": "print the messages that arrive at a port, in order, and request lost records from the senders",
}

#: The exit status after Ctrl-C, as shells define it: 128 plus the number of SIGINT.
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a sub-command, or the daemon if the first argument is none.

    :param arguments: by default those of the process.
    :returns: the exit status.
    """
    remaining = list(sys.argv[1:] if arguments is None else arguments)
    if not remaining or remaining[0] in ("-h", "--help"):
        put(_help(), "netconsd")
        return 0 if remaining else 2
    if remaining[0] == "--version":
        put(f"netconsd {netconsd.__version__} ({KIND})", "netconsd")
        return 0
    if text := _mistyped(remaining[0]):
        print(f"netconsd: {text}", file=sys.stderr)
        return 2
    name = remaining.pop(0) if remaining[0] in COMMANDS else "run"
    try:
        status: int = import_module(f"netconsd.cli.{name.replace('-', '_')}").main(remaining, f"netconsd {name}")
    except KeyboardInterrupt:
        # While the options are read or modules are imported, nothing runs that has to be stopped in order.
        return INTERRUPTED
    except MemoryError:
        return _no_memory()
    except ImportError as error:
        # The linker's texts; it maps compiled files, of which each needs some memory.
        if not any(text in str(error) for text in ("failed to map", "annot allocate memory", "failed to allocate")):
            raise
        return _no_memory()
    return status


def _no_memory() -> int:
    print(f"netconsd: {NO_MEMORY}", file=sys.stderr)
    return 1


def _mistyped(argument: str) -> str:
    """The text for a first argument that is like a command and nothing else; otherwise empty."""
    if argument in COMMANDS or argument.startswith("-") or "/" in argument or os.path.exists(argument):
        return ""
    if argument in (file.stem for file in SHIPPED.glob("*.py")):
        return ""
    close = get_close_matches(argument, COMMANDS, n=1)
    return f'no command or module "{argument}" was found; did you mean "netconsd {close[0]}"?' if close else ""


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {summary}" for name, summary in COMMANDS.items()]
    last = "netconsd COMMAND --help lists the options of a command."
    return "\n".join(["usage: netconsd [COMMAND] [OPTION ...]", "", "Commands:", *lines, "", last])
