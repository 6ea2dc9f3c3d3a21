"""Shows a fleet's kernels in a browser: a live tail, a search, machines, crashes, patterns (docs/console).

It reads the store that the module store writes. Without a password it is for this machine alone: 127.0.0.1.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from twisted.logger import Logger as Log
from zope.interface import implementer

from netconsd.console.limits import SILENT
from netconsd.console.receiver import snapshot_fields
from netconsd.console.service import DEFAULT_LISTEN, Console, configured, link
from netconsd.crashes import Event
from netconsd.interfaces import ICheckable, IEventModule, IListening, IReloadable, IUsesNames, IUsesSnapshots
from netconsd.names import Names
from netconsd.store.layout import default_directory

log = Log("netconsd.console")


@implementer(IEventModule, IListening, IReloadable, IUsesNames, IUsesSnapshots, ICheckable)
class ConsoleModule:
    """Serves the pages and the API in the reactor's thread; processes of its own read the store."""

    #: A directory of modules must not open a port.
    only_if_named = True

    def __init__(
        self,
        *,
        listen: str = DEFAULT_LISTEN,
        directory: Path | None = None,
        password_file: Path | None = None,
        token_file: Path | None = None,
        certificate: Path | None = None,
        hosts: list[str] | None = None,
    ) -> None:
        """
        :param listen: the address and port for browsers; beyond 127.0.0.1 and ::1 a password is needed.
        :param directory: the store's; by default that of the module store.
        :param password_file: hashes of passwords, made by netconsd console --hash-password.
        :param token_file: tokens for scripts, one a line.
        :param certificate: the key and the certificate for https, in one file.
        :param hosts: names by which browsers reach the console, besides its addresses and localhost.
        :raises ValueError: if a setting is wrong, with a text that names the setting.
        """
        self._settings = configured(
            listen,
            # The daemon changes its working directory before it starts.
            (directory or default_directory()).absolute(),
            password_file=_absolute(password_file),
            token_file=_absolute(token_file),
            certificate=_absolute(certificate),
            hosts=hosts or (),
        )
        self._names: Names | None = None
        self._snapshot: Callable[[], Any] | None = None
        self._console: Console | None = None
        # The UDP port, as soon as the daemon receives.
        self._port: int | None = None
        # From addresses of silent machines to the times since which they are; several threads write it.
        self._silent: dict[str, float] = {}
        self._lock = threading.Lock()

    def use_names(self, names: Names) -> None:
        """Show the names that the daemon has."""
        self._names = names

    def use_snapshots(self, snapshot: Callable[[], Any]) -> None:
        """Show the state of the daemon."""
        self._snapshot = snapshot

    def _made(self) -> Console:
        _check_library()
        return Console(
            self._settings,
            names=self._names,
            receiver=self._receiver,
        )

    def check(self) -> None:
        """Read the files of passwords, tokens and the certificate.

        :raises ValueError: if one is wrong, with a text that names the setting.
        :raises ModuleNotFoundError: if a library is missing.
        """
        self._made().check()

    def start(self, worker_count: int) -> None:
        """Open the port.

        :raises ValueError: as :meth:`check`, and if the address cannot be used.
        :raises ModuleNotFoundError: if a library is missing.
        """
        from twisted.internet import reactor

        self._console = self._made()
        url = self._console.start(reactor)
        settings = self._settings
        if settings.certificate is None and settings.password_file is not None and not settings.is_local:
            log.warn("console: passwords cross the network in clear text; set certificate, or use a proxy with TLS")
        terminal = sys.stderr is not None and sys.stderr.isatty()
        log.info("console: {url}", url=link(url, os.environ, terminal))

    def listening(self, addresses: Sequence[tuple[str, int]]) -> None:
        """Keep the UDP port, for the page that says how to make a machine send."""
        self._port = addresses[0][1] if addresses else None

    def handle_event(self, worker: int, event: Event) -> None:
        """Keep which machines are silent: at most :data:`~netconsd.console.limits.SILENT`, those of last."""
        address = event.source.address
        if event.kind != "silent" and address not in self._silent:
            return
        with self._lock:
            self._silent.pop(address, None)
            if event.kind == "silent":
                seconds = event.details.get("seconds", 0.0)
                self._silent[address] = event.received_at - (seconds if isinstance(seconds, (int, float)) else 0.0)
                while len(self._silent) > SILENT:
                    del self._silent[next(iter(self._silent))]

    def _receiver(self) -> dict[str, Any] | None:
        if self._snapshot is None:
            return None
        with self._lock:
            silent = dict(self._silent)
        return {"port": self._port, **snapshot_fields(self._snapshot(), silent, time.time())}

    def reload(self) -> None:
        """Read the files of passwords, tokens and the certificate again; an error leaves the previous ones in use."""
        if self._console is not None:
            try:
                self._console.reload()
            except ValueError as error:
                log.error("console.{text}; the previous files stay in use", text=str(error))

    def stop(self) -> Any:
        """Close the port, the connections and the processes.

        :returns: a Deferred.
        """
        return self._console.stop() if self._console is not None else None


def _absolute(path: Path | None) -> Path | None:
    return None if path is None else path.absolute()


def _check_library() -> None:
    if find_spec("pyarrow") is None:
        raise ModuleNotFoundError("the module console needs pyarrow: pip install 'netconsd[console]'", name="pyarrow")
