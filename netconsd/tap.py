"""``twistd netconsd``: its options, and the service that they make.

twistd asks for both before it changes its directory and becomes a daemon. So relative paths mean what the user's shell
means, and what is wrong is said on the terminal: as ``SystemExit`` with one message.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from getopt import GetoptError, gnu_getopt
from typing import Any

from twisted.application.service import IService
from twisted.logger import Logger
from twisted.python import usage

import netconsd
from netconsd.build import KIND
from netconsd.daemon.config import OPTIONS, Configuration, configure
from netconsd.daemon.process import Daemon, Receiver, timelimit_of_modules
from netconsd.daemon.stdout import put
from netconsd.daemon.systemd import Notifier, listening_sockets
from netconsd.outputs.loader import ModuleError, load
from netconsd.settings import ConfigError, Settings

__all__ = ["DEFAULTS", "Options", "makeService"]

_DEFAULT = Settings()
#: The defaults of the options, by their long names, in the words of ``--help``.
DEFAULTS: dict[str, str] = {"allow": "all"}


def _parameter(long: str, short: str | None, text: str, default: object) -> list[str | None]:
    DEFAULTS[long] = str(default)
    # No default for usage.Options: what the user did not say may be in the file.
    return [long, short, None, f"{text} [default: {default}]"]


class Options(usage.Options):
    """The options of the daemon; after parsing, :attr:`configuration` is what they and the file say."""

    synopsis = "[options] [MODULE ...]"
    longdesc = (
        "Receives the kernel logs that Linux machines send with netconsole and hands them to output modules. "
        "A MODULE is a .py file, a .so file as for the C daemon, a directory of such files, or the name of one that "
        "comes with netconsd: printer, logger, selftest. The command line wins over the file of --config, whose keys "
        "are the long options."
    )
    optParameters = [
        _parameter("port", "u", "UDP port; 0 takes any free one", _DEFAULT.port),
        _parameter("address", "a", "IPv4 or IPv6 address to listen on", "all of both"),
        _parameter("listeners", "l", "sockets that share the port", _DEFAULT.listeners),
        _parameter("workers", "w", "threads that call the modules", _DEFAULT.workers),
        _parameter("batch", "b", "datagrams to read in one go", _DEFAULT.batch),
        _parameter(
            "gc",
            "g",
            "INTERVAL/AGE in ms: every INTERVAL, forget the senders that were silent for AGE; an INTERVAL of 0: never",
            f"{_DEFAULT.gc_interval * 1000:.0f}/{_DEFAULT.gc_age * 1000:.0f}",
        ),
        _parameter("rcvbuf", None, "bytes of receive buffer per listener", _DEFAULT.rcvbuf),
        _parameter("queue", None, "datagrams that may wait for each worker", _DEFAULT.queue),
        _parameter("max-sources", None, "senders to remember", _DEFAULT.max_sources),
        _parameter("reorder", None, "ms to wait for messages that are late", f"{_DEFAULT.reorder * 1000:.0f}"),
        _parameter("pause", None, "ms to wait between reads under load", f"{_DEFAULT.pause * 1000:.0f}"),
        _parameter("rate", None, "datagrams per second that a sender may send; 0: any number", _DEFAULT.rate),
        _parameter("stop-timeout", None, "ms that a stop waits for modules", f"{_DEFAULT.stop_timeout * 1000:.0f}"),
        _parameter("metrics", None, "[ADDRESS:]PORT for Prometheus, by HTTP; on localhost if without ADDRESS", "none"),
        ["config", None, None, "configuration file (TOML)"],
    ]

    configuration: Configuration
    """All that was asked for; there only if it can be."""
    hint = "--help lists the options; those of twistd itself, such as -n, stand before netconsd"
    """Goes with an option that cannot be."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._modules: list[str] = []
        self._sets: list[str] = []
        self._selftest = False
        self["acks"] = self["allow"] = None

    def opt_modules(self, module: str) -> None:
        """output module, as MODULE; may be given several times"""  # noqa: D403 - printed by --help
        self._modules.append(module)

    def opt_set(self, setting: str) -> None:
        """NAME.KEY=VALUE: a setting of the module NAME; may be given several times"""
        self._sets.append(setting)

    def opt_allow(self, network: str) -> None:
        """take datagrams from this network only; may be given several times"""  # noqa: D403 - printed by --help
        self["allow"] = f"{self['allow']},{network}" if self["allow"] else network

    def opt_acks(self) -> None:
        """tell senders in user space what arrived, so that they repeat what did not"""  # noqa: D403
        self["acks"] = "yes"

    def opt_selftest(self) -> None:
        """send known messages to ourselves first, and end with status 1 unless they come through"""  # noqa: D403
        self._selftest = True

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
        """Parse the command line, and read the file. Options may stand behind the modules, as with the C daemon.

        :raises SystemExit: with the text for the user, if either cannot be.
        """
        try:
            super().parseOptions(self._options_first(options))  # type: ignore[no-untyped-call]
        except usage.UsageError as error:
            raise SystemExit(f"netconsd: {error} ({self.hint})") from None
        except ConfigError as error:
            raise SystemExit(f"netconsd: {error}") from None

    def _options_first(self, options: Sequence[str] | None) -> Sequence[str] | None:
        if options is None:
            return None
        try:
            found, modules = gnu_getopt(list(options), self.shortOpt, self.longOpt)
        except GetoptError:
            return options  # for Twisted to say what is wrong with them
        first = [part for name, value in found for part in ([name, value] if self._takes_value(name) else [name])]
        return [*first, "--", *modules]

    def _takes_value(self, name: str) -> bool:
        return f"{name[2:]}=" in self.longOpt if name.startswith("--") else f"{name[1:]}:" in self.shortOpt

    def asked_for(self) -> dict[str, Any]:
        """What was on the command line, as the arguments of :func:`netconsd.daemon.config.configure`."""
        given = {name: self[name] for name in OPTIONS if self[name] is not None}
        return {
            "given": given,
            "modules": self._modules,
            "sets": self._sets,
            "config": self["config"],
            "selftest": self._selftest,
        }

    def postOptions(self) -> None:
        """Check it all.

        :raises ConfigError: see :func:`netconsd.daemon.config.configure`.
        """
        self.configuration = configure(**self.asked_for())


def makeService(
    options: Options, *, receiver: Callable[[dict[str, Any], Settings], Receiver] | None = None
) -> IService:
    """Load the modules and make the daemon's service.

    :param options: parsed ones.
    :param receiver: makes what receives, from modules by name and settings; by default a
        :class:`~netconsd.service.NetconsdService`.
    :raises SystemExit: with the text for the user, if a module cannot be loaded.
    """
    configuration = options.configuration
    timelimit = timelimit_of_modules(configuration.settings.stop_timeout)
    if receiver is None:
        from netconsd.service import NetconsdService

        receiver = partial(NetconsdService, sockets=listening_sockets, timelimit=timelimit)
    log = Logger("netconsd")
    try:
        selection = load(configuration.modules, configuration.module_settings, configuration.spare)
    except ModuleError as error:
        raise SystemExit(f"netconsd: {error}") from None
    for skipped in selection.skipped:
        log.info(
            "Module {name} ({path}) does not start: {reason}",
            name=skipped.name,
            path=skipped.path,
            reason=skipped.reason,
        )
    if not selection.loaded:
        log.warn("There is no output module, so messages go nowhere; try --modules printer")
    modules = {loaded.name: loaded.module for loaded in selection.loaded}
    made = receiver(modules, configuration.settings)
    return Daemon(made, options.parent or {}, notifier=Notifier(), timelimit=timelimit)
