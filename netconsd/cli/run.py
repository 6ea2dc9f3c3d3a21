"""``netconsd run``: the daemon in the foreground, without a pid file."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

from twisted.application.service import IService

from netconsd.daemon.signals import StopSignals
from netconsd.tap import Options, makeService


class _Options(Options):
    """The daemon's options, with the texts of this command."""

    synopsis = "Usage: netconsd [run] [options] [MODULE ...]"
    hint = "netconsd run --help lists the options"


def main(arguments: Sequence[str] | None = None, prog: str = "netconsd run") -> int:
    """Run the daemon until a signal stops it.

    :returns: 0 after SIGTERM. After SIGINT, a closed terminal (SIGHUP) or a closed pipe (SIGPIPE) the process ends by
        that signal, so that a shell's loop around it ends as well.
    :raises SystemExit: with the text for the user, for errors in the options or modules; status 1.
    """
    options = _Options()
    options.parseOptions(list(sys.argv[1:] if arguments is None else arguments))
    number = foreground(options, prog)
    if number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)
    return 0


def foreground(
    options: Options, prog: str, make: Callable[[Options, StopSignals], IService] = makeService
) -> int | None:
    """Run the daemon as twistd does in the foreground, and return the signal that stopped it.

    :param make: makes the daemon's service of the options.
    """
    from twisted.application.service import Application

    # twistd's own run() would search everything installed for plugins, name its own options in texts, and end the
    # process by SIGTERM, so that we could not return a status.
    from twisted.scripts._twistd_unix import ServerOptions, UnixApplicationRunner

    class Runner(UnixApplicationRunner):
        def createOrGetApplication(self) -> Any:  # noqa: N802 - Twisted's name
            application = Application("netconsd")
            make(options, stop_signals).setServiceParent(application)
            return application

    process = ServerOptions()
    # --originalname: otherwise Twisted looks for a way to rename the process.
    process.parseOptions(["--nodaemon", "--pidfile=", "--originalname", "--no_save"])
    sys.argv[0] = prog
    # Before the modules are loaded: a signal in the meantime stops the daemon in order.
    stop_signals = StopSignals()
    runner: Any = Runner(process)  # type: ignore[no-untyped-call]
    runner.run()
    number: int | None = runner._exitSignal
    return number
