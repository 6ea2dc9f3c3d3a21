"""``netconsd run``: the daemon in the foreground, without a pid file."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from twisted.internet.error import ReactorNotRunning
from twisted.logger import Logger

from netconsd.daemon.signals import StopSignals
from netconsd.tap import Options, makeService

__all__ = ["main"]


class _Options(Options):
    """The daemon's, said as this command needs it."""

    synopsis = "Usage: netconsd [run] [options] [MODULE ...]"
    hint = "netconsd run --help lists the options"


def main(arguments: Sequence[str] | None = None, prog: str = "netconsd run") -> int:
    """Run the daemon until it is told to stop.

    :returns: 0 after SIGTERM, which is how a daemon is meant to end. After SIGINT the process ends by that signal, so
        that a shell's loop around it ends as well.
    :raises SystemExit: with the text for the user, if something is wrong with the options or modules; status 1.
    """
    options = _Options()
    options.parseOptions(list(sys.argv[1:] if arguments is None else arguments))
    ended_by = _run(options, prog)
    if ended_by == signal.SIGINT:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.raise_signal(signal.SIGINT)
    return 0


def _run(options: Options, prog: str) -> signal.Signals | None:
    """Run it as twistd does in the foreground; the signal that ended it."""
    from twisted.application.service import Application

    # twistd's own run() would look for plugins in everything that is installed, speak of its own options, and end the
    # process by SIGTERM, so that we could not return a status.
    from twisted.scripts._twistd_unix import ServerOptions, UnixApplicationRunner

    class Runner(UnixApplicationRunner):
        def createOrGetApplication(self) -> Any:  # noqa: N802 - Twisted's name
            application = Application("netconsd")
            makeService(options).setServiceParent(application)
            return application

        def startReactor(self, reactor: Any, oldstdout: Any, oldstderr: Any) -> None:  # noqa: N802
            from twisted.internet import reactor as installed

            installed.callWhenRunning(signals.reactor_runs)
            super().startReactor(reactor, oldstdout, oldstderr)  # type: ignore[no-untyped-call]

    process = ServerOptions()
    # --originalname: else Twisted looks for a way to rename the process.
    process.parseOptions(["--nodaemon", "--pidfile=", "--originalname", "--no_save"])
    sys.argv[0] = prog
    signals = StopSignals(_stop)
    runner: Any = Runner(process)  # type: ignore[no-untyped-call]
    runner.run()
    return signals.came


def _stop(number: signal.Signals) -> None:
    from twisted.internet import reactor

    running: Any = reactor
    running.callFromThread(_stop_reactor, running, number)


def _stop_reactor(reactor: Any, number: signal.Signals) -> None:
    with suppress(ReactorNotRunning):
        reactor.stop()
        Logger("netconsd").info("{name}: netconsd stops", name=number.name)
