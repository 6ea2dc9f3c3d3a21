"""The HTTP port for monitoring: bound together with the UDP sockets, and open until the service has stopped."""

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

# A monitor has one or two connections. An attacker who opens more must neither use up the file descriptors that modules
# need nor block the monitor, so a connection beyond the limit ends the oldest one.
CONNECTIONS_LIMIT = 32


class MonitoringPort:
    """The port: bound by the constructor, open from ``start`` to ``stop``."""

    def __init__(self, watched: Watched) -> None:
        """:raises ConfigError: if the address cannot be bound, or prometheus_client is not installed."""
        try:
            self._connections = _Connections(site(watched))
        except ModuleNotFoundError as error:
            package = (error.name or "").partition(".")[0]
            raise ConfigError(
                f"metrics: needs the Python package {package}, which is not installed; pip install 'netconsd[metrics]'"
            ) from error
        self._socket = _bind(watched.settings.metrics or "")
        self._port: IListeningPort | None = None
        self.address, self.port = self._socket.getsockname()[:2]

    @property
    def url(self) -> str:
        return f"http://{f'[{self.address}]' if ':' in self.address else self.address}:{self.port}/metrics"

    def start(self, reactor: Any) -> None:
        self._port = reactor.adoptStreamPort(self._socket.fileno(), self._socket.family, self._connections)
        # The reactor has duplicated the descriptor.
        self._socket.close()

    def close(self) -> None:
        """Release a port that was not started."""
        self._socket.close()

    async def stop(self) -> None:
        """Close the port and all connections."""
        self.close()
        if self._port is not None:
            await maybeDeferred(self._port.stopListening)
            self._port = None
        await self._connections.close()


class _Connections(WrappingFactory[ProtocolWrapper]):
    """Bounds the number of connections, and ends them at the stop."""

    noisy = False

    def __init__(self, wrapped: Site) -> None:
        super().__init__(wrapped)  # type: ignore[no-untyped-call]
        self._empty: Deferred[None] | None = None
        # The oldest first; without connections that are being aborted.
        self._open: dict[ProtocolWrapper, None] = {}

    def logPrefix(self) -> str:
        return "netconsd monitoring"

    def buildProtocol(self, addr: Any) -> Any:
        if len(self._open) >= CONNECTIONS_LIMIT:
            oldest = next(iter(self._open))
            del self._open[oldest]
            # Protocols of this factory are over TCP, so the method exists.
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
        """Abort all connections; fires when none is left."""
        if self.protocols:
            self._empty = Deferred()
            for protocol in list(self.protocols):
                protocol.transport.abortConnection()
            await self._empty


def _bind(metrics: str) -> socket.socket:
    address, port = metrics_address(metrics)
    bound = socket.socket(
        socket.AF_INET6 if ":" in address else socket.AF_INET,
        socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC,
    )
    try:
        # The kernel remembers closed connections for a minute; a restart must not wait for that.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((address, port))
        # With SO_REUSEADDR a port of another listening socket can be bound, and only listen() fails.
        bound.listen()
    except OSError as error:
        bound.close()
        raise ConfigError(f"metrics: {metrics} {_reason(error)}") from error
    return bound


def _reason(error: OSError) -> str:
    if error.errno == EADDRINUSE:
        return "is in use already; stop the program that has it (ss -tlpn shows it) or take another port"
    if error.errno == EACCES:
        return "may not be bound by this user; take a port from 1024 up or start as root"
    return f"cannot be bound: {strerror(error.errno or 0)}"
