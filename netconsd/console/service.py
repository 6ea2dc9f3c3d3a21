"""The console as a part of a process: its port, its processes, and their end. For the reactor's thread."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from errno import EACCES, EADDRINUSE, EADDRNOTAVAIL
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.threads import deferToThreadPool

from netconsd.console import files
from netconsd.console.access import Access
from netconsd.console.api import Api
from netconsd.console.live import Live
from netconsd.console.naming import Naming
from netconsd.console.pool import Pool
from netconsd.console.site import Site
from netconsd.names import Names

DEFAULT_LISTEN: Final = "127.0.0.1:8514"
#: Terminals that show OSC 8 as a link, by a variable of the environment that they set.
_LINKS: Final = (
    "VTE_VERSION",
    "KONSOLE_VERSION",
    "WT_SESSION",
    "KITTY_WINDOW_ID",
    "TERM_PROGRAM",
    "ALACRITTY_WINDOW_ID",
)


@dataclass(frozen=True, slots=True)
class Configured:
    """The settings of a console, checked."""

    address: str
    port: int
    directory: Path
    password_file: Path | None = None
    token_file: Path | None = None
    certificate: Path | None = None
    hosts: tuple[str, ...] = ()
    read_only: bool = False

    @property
    def is_local(self) -> bool:
        """True if only this machine reaches it."""
        return ip_address(self.address).is_loopback

    @property
    def url(self) -> str:
        """The address for a browser on this machine."""
        name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.address, self.address)
        host = f"[{name}]" if ":" in name else name
        return f"{'http' if self.certificate is None else 'https'}://{host}:{self.port}/"


def listen_address(text: str) -> tuple[str, int]:
    """Return the address and port of ``ADDRESS:PORT``, ``[ADDRESS]:PORT`` or ``PORT``.

    :raises ValueError: with a text that says what is wrong.
    """
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") if host else "127.0.0.1"
    host = "127.0.0.1" if host == "localhost" else host
    try:
        address = ip_address(host)
    except ValueError:
        raise ValueError(f'"{text}" is not ADDRESS:PORT, such as {DEFAULT_LISTEN} or [::]:8514') from None
    if not port.isascii() or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f'"{text}": the port is not a number up to 65535')
    return str(address), int(port)


def configured(
    listen: str,
    directory: Path,
    *,
    password_file: Path | None = None,
    token_file: Path | None = None,
    certificate: Path | None = None,
    hosts: Sequence[str] = (),
    read_only: bool = False,
) -> Configured:
    """Check settings.

    :raises ValueError: if one is wrong; the text begins with its name.
    """
    try:
        address, port = listen_address(listen)
    except ValueError as error:
        raise ValueError(f"listen: {error}") from None
    if not ip_address(address).is_loopback and password_file is None and token_file is None:
        raise ValueError(
            f"listen: other machines can reach {address}, so that the console needs a password: set password_file "
            "(netconsd console --hash-password makes it) or token_file, or listen on 127.0.0.1"
        )
    for host in hosts:
        if not host or not all(part.isalnum() or part in "-._" for part in host):
            raise ValueError(f'hosts: "{host}" is not the name of a machine')
    return Configured(address, port, directory, password_file, token_file, certificate, tuple(hosts), read_only)


def link(url: str, environment: Mapping[str, str], is_terminal: bool) -> str:
    """Return a URL, as a link if the terminal knows links (OSC 8)."""
    if is_terminal and any(environment.get(name) for name in _LINKS):
        return f"\x1b]8;;{url}\x1b\\{url}\x1b]8;;\x1b\\"
    return url


class Console:
    """A console: :meth:`check` reads files, :meth:`start` opens the port, :meth:`stop` closes everything."""

    def __init__(
        self,
        settings: Configured,
        *,
        names: Names | None = None,
        receiver: Callable[[], dict[str, Any] | None] = lambda: None,
        static: Path = files.STATIC,
    ) -> None:
        """
        :param names: of machines, which others read and start; without it those of the userdata.
        :param receiver: returns the state of the daemon.
        :param static: the files of the pages.
        """
        self.settings = settings
        self._naming = Naming(names or Names(), time.monotonic, time.time)
        self._receiver = receiver
        self._static = static
        self._access: Access | None = None
        self._site: Site | None = None
        self._pool: Pool | None = None
        self._live: Live | None = None
        self._port: Any = None
        self._threads: Any = None
        self._context: Any = None

    def check(self) -> None:
        """Read the files of passwords, tokens and the certificate.

        :raises ValueError: if one is wrong; the text begins with the name of the setting.
        :raises ModuleNotFoundError: if a library is missing; the text says how to install it.
        """
        settings = self.settings
        self._access = Access(settings.password_file, settings.token_file, settings.hosts, time.monotonic)
        if settings.certificate is not None:
            from netconsd.console.tls import context_factory

            self._context = context_factory(settings.certificate)

    def start(self, reactor: Any) -> str:
        """Open the port; return its URL.

        :raises ValueError: as :meth:`check`, and if the address cannot be bound.
        """
        self.check()
        assert self._access is not None
        settings = self.settings
        bound = _bind(settings)
        with bound:
            directory = str(settings.directory)
            options = {"host_key": self._naming.host_key}
            self._pool = Pool(reactor, [directory, json.dumps(options)], self._naming)
            self._live = Live(reactor, directory, options, self._pool)
            # Threads of its own: Twisted's may all wait for a module or a name server.
            from twisted.python.threadpool import ThreadPool

            self._threads = ThreadPool(0, 1, "netconsd console")
            self._threads.start()
            threads = self._threads
            api = Api(
                reactor,
                self._access,
                self._pool,
                self._live,
                files.load(self._static),
                read_only=settings.read_only,
                secure=settings.certificate is not None,
                receiver=self._receiver,
                in_thread=lambda function: deferToThreadPool(reactor, threads, function),
            )
            self._site = Site(reactor, api.answer)
            factory: Any = self._site
            if self._context is not None:
                from twisted.protocols.tls import TLSMemoryBIOFactory

                factory = TLSMemoryBIOFactory(self._context, False, self._site)
                factory.noisy = False
            self._port = reactor.adoptStreamPort(bound.fileno(), bound.family, factory)
            # Who starts a console often looks at once.
            self._pool.warm()
            address, port = bound.getsockname()[:2]
        self.settings = settings = Configured(
            *(address, port, settings.directory, settings.password_file, settings.token_file, settings.certificate),
            *(settings.hosts, settings.read_only),
        )
        return settings.url

    def reload(self) -> None:
        """Read the files of passwords, tokens and the certificate again; the viewers of live tails have to come again.

        :raises ValueError: if one is wrong; then the previous ones stay in use, of all.
        """
        read = None if self._context is None else self._context.read()
        if self._access is not None:
            self._access.reload()
        if self._context is not None:
            self._context.use(read)
        self._naming.changed()
        if self._live is not None and self._access is not None and self._access.required:
            self._live.end_viewers()

    def stop(self) -> Deferred[Any]:
        """Close the port, all connections and processes."""
        done: Deferred[Any] = maybeDeferred(self._port.stopListening) if self._port is not None else maybeDeferred(int)
        if self._live is not None:
            self._live.close()
        if self._pool is not None:
            self._pool.close()
        if self._site is not None:
            self._site.close()
        if self._threads is not None:
            threads, self._threads = self._threads, None
            # A try of a password takes 60 ms.
            done.addCallback(lambda _: threads.stop())
        return done


def _bind(settings: Configured) -> socket.socket:
    address, port = settings.address, settings.port
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        # The kernel remembers closed connections for a minute; a restart must not wait for that.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((address, port))
        # With SO_REUSEADDR a port of another listening socket can be bound, and only listen() fails.
        bound.listen(128)
    except OSError as error:
        bound.close()
        reason = {
            EADDRINUSE: "is in use already; stop the program that has it (ss -tlpn shows it) or take another port",
            EACCES: "may not be bound by this user; take a port from 1024 up",
            EADDRNOTAVAIL: "is not an address of this machine",
        }.get(error.errno or 0, f"cannot be bound: {os.strerror(error.errno or 0)}")
        raise ValueError(f"listen: {address}:{port} {reason}") from None
    return bound
