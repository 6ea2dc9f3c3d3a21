"""The HTTP port for monitoring: bound with the other sockets, open as long as the service runs."""

from __future__ import annotations

import socket
from errno import EACCES, EADDRINUSE
from os import strerror
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IListeningPort
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.web.server import Site

from netconsd.monitor.pages import Watched, site
from netconsd.settings import ConfigError, metrics_address

__all__ = ["MonitoringPort"]

# A monitor has one or two connections; who opens more must not take the files from the modules, nor keep the monitor
# out: a further connection ends the one that was there longest.
CONNECTIONS_LIMIT = 32


class MonitoringPort:
    """The port: bound when it is made, open from ``start`` to ``stop``."""

    def __init__(self, watched: Watched) -> None:
        """
        :raises ConfigError: if the address cannot be bound, or prometheus_client is missing.
        """
        self._connections = _Connections(_site_or_error(watched))
        self._socket = _bind(watched.settings.metrics or "")
        self._port: IListeningPort | None = None
        self.address, self.port = self._socket.getsockname()[:2]

    @property
    def url(self) -> str:
        """Where the metrics are."""
        return f"http://{f'[{self.address}]' if ':' in self.address else self.address}:{self.port}/metrics"

    def start(self, reactor: Any) -> None:
        """Answer requests."""
        self._port = reactor.adoptStreamPort(self._socket.fileno(), self._socket.family, self._connections)
        # The reactor has a copy.
        self._socket.close()

    def close(self) -> None:
        """Give the port back, if it was not started."""
        self._socket.close()

    async def stop(self) -> None:
        """Close the port, and all connections."""
        self.close()
        if self._port is not None:
            await maybeDeferred(self._port.stopListening)
            self._port = None
        await self._connections.close()


class _Connections(WrappingFactory[ProtocolWrapper]):
    """Bounds the number of connections, and can end them."""

    noisy = False

    def __init__(self, wrapped: Site) -> None:
        super().__init__(wrapped)  # type: ignore[no-untyped-call]
        self._empty: Deferred[None] | None = None
        # In the order in which they came, without those that are being ended.
        self._open: dict[ProtocolWrapper, None] = {}

    def logPrefix(self) -> str:
        """For the reactor's log."""
        return "netconsd monitoring"

    def buildProtocol(self, addr: Any) -> Any:
        if len(self._open) >= CONNECTIONS_LIMIT:
            oldest = next(iter(self._open))
            del self._open[oldest]
            # Protocols here are over TCP.
            transport: Any = oldest.transport
            transport.abortConnection()
        return super().buildProtocol(addr)

    def registerProtocol(self, p: ProtocolWrapper) -> None:
        super().registerProtocol(p)  # type: ignore[no-untyped-call]
        self._open[p] = None

    def unregisterProtocol(self, p: ProtocolWrapper) -> None:
        self._open.pop(p, None)
        super().unregisterProtocol(p)  # type: ignore[no-untyped-call]
        if not self.protocols and self._empty is not None:
            self._empty.callback(None)
            self._empty = None

    async def close(self) -> None:
        """End them all."""
        if self.protocols:
            self._empty = Deferred()
            for protocol in list(self.protocols):
                protocol.transport.abortConnection()
            await self._empty


def _site_or_error(watched: Watched) -> Site:
    try:
        return site(watched)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        raise ConfigError(
            f"metrics: needs the Python package {package}, which is not installed; pip install 'netconsd[metrics]'"
        ) from error


def _bind(metrics: str) -> socket.socket:
    address, port = metrics_address(metrics)
    bound = socket.socket(
        socket.AF_INET6 if ":" in address else socket.AF_INET,
        socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC,
    )
    try:
        # A restart need not wait for the connections of the last run to be forgotten.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((address, port))
        # A port that another socket listens on can be bound with SO_REUSEADDR, but not listened on.
        bound.listen()
    except OSError as error:
        bound.close()
        raise ConfigError(f"metrics: {metrics} {_why(error)}") from error
    return bound


def _why(error: OSError) -> str:
    if error.errno == EADDRINUSE:
        return "is in use already; stop the program that has it (ss -tlpn shows it) or take another port"
    if error.errno == EACCES:
        return "may not be bound by this user; take a port from 1024 up or start as root"
    return f"cannot be bound: {strerror(error.errno or 0)}"
