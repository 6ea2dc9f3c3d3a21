"""``twistd netconsd``: its options, and the service made from them.

twistd calls both before it changes its directory and becomes a daemon. So relative paths are those of the user's shell,
and errors are on the terminal: ``SystemExit`` with one message.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from functools import partial
from getopt import GetoptError, gnu_getopt
from pathlib import Path
from typing import Any

from twisted.application.service import IService
from twisted.logger import Logger
from twisted.python import usage

import netconsd
from netconsd.build import KIND
from netconsd.daemon.config import Configuration, configure, working_directory
from netconsd.daemon.process import Daemon
from netconsd.daemon.signals import StopSignals
from netconsd.daemon.stdout import put
from netconsd.daemon.systemd import Notifier, listening_sockets
from netconsd.outputs.errors import joined
from netconsd.outputs.loader import ModuleError, Selection, available, changed_errors, load
from netconsd.service import NetconsdService
from netconsd.settings import OPTIONS, ConfigError, Option, Settings

__all__ = ["Options", "makeService"]


def _help(option: Option) -> str:
    # twistd's help has no place for it. A word such as PORT says nothing new.
    form = "" if option.value.isalpha() else f"{option.value}: "
    values = f"{option.values}; " if option.values else ""
    return f"{form}{option.help} [{values}default: {option.default}]"


#: The options that may be given several times.
REPEATABLE = ("modules", "set", "allow")


class Options(usage.Options):
    """The options of the daemon; after parsing, :attr:`configuration` is the result of options, file and defaults."""

    synopsis = "[options] [MODULE ...]"
    longdesc = (
        "Receives the kernel logs that Linux machines send with netconsole and hands them to output modules. "
        "A MODULE is a .py file, a .so file as for the C daemon, a directory of such files, or the name of one that "
        "comes with netconsd: printer, logger, jsonl, selftest. The command line takes precedence over the file of "
        "--config, whose keys are the long options."
    )
    # No default for usage.Options: an option that is not given may be in the file.
    optParameters = [
        *([each.name, each.short, None, _help(each)] for each in OPTIONS.values() if each.value),
        ["config", None, None, "configuration file (TOML)"],
    ]
    optFlags = [
        *([each.name, each.short, each.help] for each in OPTIONS.values() if not each.value),
        ["selftest", None, "send test messages to the own port first; exit with status 1 unless they arrive intact"],
    ]

    configuration: Configuration
    """Set by parsing, if there is no error."""
    hint = "--help lists the options; those of twistd itself, such as -n, stand before netconsd"
    """Added to the text about an unknown option."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._modules: list[str] = []
        self._sets: list[str] = []
        self._networks: list[str] = []
        # twistd changes the working directory, to which a reload is relative.
        self._cwd: Path | None = None

    def opt_allow(self, network: str) -> None:
        self._networks.append(network)

    opt_allow.__doc__ = _help(OPTIONS["allow"])

    def opt_modules(self, module: str) -> None:
        """output module, as MODULE; may be given several times"""  # noqa: D403 - printed by --help
        self._modules.append(module)

    def opt_set(self, setting: str) -> None:
        """NAME.KEY=VALUE: a setting of the module NAME; may be given several times"""
        self._sets.append(setting)

    def opt_version(self) -> None:
        """print the version and exit"""  # noqa: D403
        put(f"netconsd {netconsd.__version__} ({KIND})", "netconsd")
        raise SystemExit(0)

    def opt_help(self) -> None:
        """print this and exit"""  # noqa: D403
        put(str(self), "netconsd")
        raise SystemExit(0)

    opt_h = opt_help

    def parseArgs(self, *modules: str) -> None:
        """Take module paths, as the C daemon does."""
        self._modules += modules

    def parseOptions(self, options: Sequence[str] | None = None) -> None:  # noqa: N802 - Twisted's name
        """Parse the command line, and read the file. Options may follow the modules, as with the C daemon.

        :raises SystemExit: with the text for the user, if either has an error.
        """
        try:
            self._cwd = working_directory()
            super().parseOptions(self._options_first(options))  # type: ignore[no-untyped-call]
        except usage.UsageError as error:
            raise SystemExit(f"netconsd: {self._explained(str(error))} ({self.hint})") from None
        except ConfigError as error:
            raise SystemExit(f"netconsd: {error}") from None

    def _options_first(self, options: Sequence[str] | None) -> Sequence[str] | None:
        if options is None:
            return None
        try:
            pairs, modules = gnu_getopt(list(options), self.shortOpt, self.longOpt)
        except GetoptError:
            return options  # usage.Options raises the error
        self._refuse_twice(pairs)
        first = [part for name, value in pairs for part in ([name, value] if self._takes_value(name) else [name])]
        return [*first, "--", *modules]

    def _refuse_twice(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Raise UsageError for an option with two values, one of which would have no effect."""
        given: dict[str, str] = {}
        for name, value in pairs:
            long = self._long_name(name)
            if long in REPEATABLE or not self._takes_value(name):
                continue
            if given.setdefault(long, value) != value:
                hint = "; without it, all addresses are listened on" if long == "address" else ""
                raise usage.UsageError(f"--{long} is given twice, as {given[long]} and {value}{hint}")

    def _long_name(self, name: str) -> str:
        """The long name of an option as getopt returns it: ``-u`` or ``--port``, both ``port``."""
        letters = {option.short: option.name for option in OPTIONS.values()}
        return name[2:] if name.startswith("--") else letters.get(name[1:], name[1:]) or ""

    def _explained(self, text: str) -> str:
        """The text of getopt's error, with a similar option instead of an unknown one."""
        match = re.fullmatch(r"option --(\S+) not recognized", text)
        if not match:
            return text
        known = {long.rstrip("="): None for long in self.longOpt}
        close = get_close_matches(match[1].replace("_", "-"), known, n=1)
        return f"there is no option --{match[1]}" + (f"; did you mean --{close[0]}?" if close else "")

    def _takes_value(self, name: str) -> bool:
        return f"{name[2:]}=" in self.longOpt if name.startswith("--") else f"{name[1:]}:" in self.shortOpt

    def command_line(self) -> dict[str, Any]:
        """Return the command line as the arguments of :func:`netconsd.daemon.config.configure`."""
        options = {
            option.name: self[option.name] if option.value else "on"
            for option in OPTIONS.values()
            if self.get(option.name) not in (None, 0)
        }
        if self._networks:
            options["allow"] = ",".join(self._networks)
        return {
            "options": options,
            "modules": self._modules,
            "sets": self._sets,
            "config": self["config"],
            "selftest": self["selftest"],
            "cwd": self._cwd,
        }

    def reread(self, selection: Selection | None = None) -> Configuration:
        """Read the file again, with the same command line.

        :param selection: the loaded modules, whose new settings are checked.
        :raises ConfigError: if it has errors, or cannot be read twice.
        """
        name = self["config"]
        if name is not None and self._cwd is not None and not os.path.isfile(self._cwd / name):
            # A pipe was read to its end at the start; to open it again would block.
            raise ConfigError(f"--config: {name} is not a file that can be read again")
        errors: list[str] = []
        new = configure(**self.command_line(), errors=errors)
        if selection is not None:
            before = self.configuration.module_settings
            errors += changed_errors(selection, before, new.module_settings, new.spare, new.modules)
        if errors:
            raise ConfigError(joined(errors, "errors in the options"))
        return new

    def postOptions(self) -> None:
        """Set :attr:`configuration`.

        :raises ConfigError: see :func:`netconsd.daemon.config.configure`.
        """
        self.configuration = configure(**self.command_line())


def makeService(
    options: Options,
    stop_signals: StopSignals | None = None,
    *,
    make: Callable[[Mapping[str, Any], Settings], NetconsdService] | None = None,
) -> IService:
    """Load the modules and return the daemon's service.

    :param options: parsed ones.
    :param stop_signals: the handlers of SIGINT and SIGTERM, if they are installed already.
    :param make: makes the service; by default one that receives from sockets.
    :raises SystemExit: with the text for the user, if a module cannot be loaded.
    """
    configuration = options.configuration
    log = Logger("netconsd")
    try:
        selection = load(configuration.modules, configuration.module_settings, configuration.spare)
    except ModuleError as error:
        raise SystemExit(f"netconsd: {error}") from None
    for line in available(selection.skipped):
        log.info("{line}", line=line)
    if not selection.loaded:
        log.warn("There is no output module, so messages are dropped; try --modules printer")
    modules = {loaded.name: loaded.module for loaded in selection.loaded}
    make = make or partial(NetconsdService, sockets=listening_sockets)
    service = make(modules, configuration.settings)
    return Daemon(
        service,
        options.parent or {},
        notifier=Notifier(),
        stop_signals=stop_signals,
        configuration=configuration,
        # Without a file nothing can have changed.
        reread=None if options["config"] is None else partial(options.reread, selection),
    )
