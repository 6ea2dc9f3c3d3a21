"""The HTTP port for monitoring: bound together with the UDP sockets, and open until the service has stopped."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from errno import EACCES, EADDRINUSE
from os import strerror
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import ServerFactory
from twisted.python.failure import Failure

from netconsd.monitor.connection import Connection, Turns
from netconsd.monitor.pages import Answer, Pages, Watched
from netconsd.monitor.request import Request
from netconsd.settings import ConfigError, metrics_address

# A monitor has one or two connections. An attacker who opens more must neither use up the file descriptors that modules
# need nor block the monitor, so a connection beyond the limit ends the oldest one.
CONNECTIONS_LIMIT = 32


class MonitoringPort:
    """The port: bound by the constructor, open from ``start`` to ``stop``."""

    def __init__(self, watched: Watched, *, thread: Callable[..., Any] = threading.Thread) -> None:
        """:raises ConfigError: if the address cannot be bound, or prometheus_client is not installed."""
        try:
            self._pages = Pages(watched, self._in_thread)
        except ModuleNotFoundError as error:
            package = (error.name or "").partition(".")[0]
            raise ConfigError(
                f"metrics: needs the Python package {package}, which is not installed; pip install 'netconsd[metrics]'"
            ) from error
        self._make_thread = thread
        self._reactor: Any = None
        self._socket = _bind(watched.settings.metrics or "")
        self._port: IListeningPort | None = None
        self._connections: ConnectionFactory | None = None
        self.address, self.port = self._socket.getsockname()[:2]

    @property
    def url(self) -> str:
        return f"http://{f'[{self.address}]' if ':' in self.address else self.address}:{self.port}/metrics"

    def start(self, reactor: Any) -> None:
        self._reactor = reactor
        self._connections = ConnectionFactory(reactor, self._pages.get)
        self._port = reactor.adoptStreamPort(self._socket.fileno(), self._socket.family, self._connections)
        # The reactor has duplicated the descriptor.
        self._socket.close()

    def close(self) -> None:
        """Release a port that was not started."""
        self._socket.close()

    async def stop(self) -> None:
        """Close the port and all connections, whatever they do."""
        self.close()
        if self._port is not None:
            await maybeDeferred(self._port.stopListening)
            self._port = None
        if self._connections is not None:
            await self._connections.close()

    def _in_thread(self, function: Callable[[], Any]) -> Deferred[Any]:
        """Call a function in a thread of its own: Twisted's threads may all wait for a module or a name server."""
        done: Deferred[Any] = Deferred()

        def call() -> None:
            result: Any
            try:
                result = function()
            except BaseException:
                result = Failure()
            self._reactor.callFromThread(done.callback, result)

        try:
            self._make_thread(target=call, args=(), name="netconsd-page", daemon=True).start()
        except RuntimeError:
            # The system has no more threads.
            done.errback()
        return done


class ConnectionFactory(ServerFactory):
    """Bounds the number of connections, and ends them at the stop."""

    noisy = False

    def __init__(self, reactor: Any, answer: Callable[[Request], Answer | Deferred[Answer]]) -> None:
        self.reactor = reactor
        self.turns = Turns(reactor)
        self.answer = answer
        self._empty: Deferred[None] | None = None
        self._connections: set[Connection] = set()
        # The oldest first; without connections that are being aborted.
        self._open: dict[Connection, None] = {}

    def logPrefix(self) -> str:
        return "netconsd monitoring"

    def buildProtocol(self, addr: Any) -> Connection:
        if len(self._open) >= CONNECTIONS_LIMIT:
            oldest = next(iter(self._open))
            del self._open[oldest]
            oldest.abort()
        return Connection(self)

    def opened(self, connection: Connection) -> None:
        """Called by a connection that has begun."""
        self._connections.add(connection)
        self._open[connection] = None

    def closed(self, connection: Connection) -> None:
        """Called by a connection that has ended."""
        self._connections.discard(connection)
        self._open.pop(connection, None)
        if not self._connections and self._empty is not None:
            self._empty.callback(None)
            self._empty = None

    async def close(self) -> None:
        """Abort all connections; fires when none is left."""
        self.turns.close()
        if self._connections:
            self._empty = Deferred()
            for connection in list(self._connections):
                connection.abort()
            await self._empty
        # Work of a connection that was already done in this turn.
        self.turns.close()


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
