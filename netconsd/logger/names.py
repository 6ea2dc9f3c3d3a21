"""The name of each sender, without ever waiting for it: the administrator's file first, then reverse DNS."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from netconsd.logger.hostnames import CACHE_LIMIT, HostNames, HostsError, parse_hosts

if TYPE_CHECKING:
    from netconsd.logger.reversedns import ReverseDns, Server

__all__ = ["Naming"]

RESOLV_CONF: Final = Path("/etc/resolv.conf")


class Naming:
    """Gives names to senders; an address whose name is not known, or not yet, is its own name.

    ``begin`` and ``name`` are for the threads of the workers, all else for the reactor's.
    """

    def __init__(self, hosts: Path | None, reverse_dns: str | None, *, resolv_conf: Path = RESOLV_CONF) -> None:
        """
        :param hosts: a file in the format of hosts(5).
        :param reverse_dns: ``system``, or a server; None: DNS is not asked.
        :param resolv_conf: where ``system`` finds the servers.
        :raises ValueError: if ``reverse_dns`` is neither, with a text that names it.
        """
        self._hosts = hosts.absolute() if hosts else None
        self._server = None if reverse_dns in (None, "system") else _server(str(reverse_dns))
        self._asks = reverse_dns is not None
        self._resolv_conf = resolv_conf
        self._static: dict[str, str] = {}
        self._dns: ReverseDns | None = None
        self._names: list[HostNames] = []

    def start(self, worker_count: int, reactor: Any) -> None:
        """Read the file and get ready to ask.

        :raises OSError: if a file cannot be read.
        :raises HostsError: if a line in it is wrong.
        """
        self._static = self._read_hosts()
        self._names = []
        if self._asks:
            # Twisted's DNS costs some megabytes, for those who ask only.
            from netconsd.logger.reversedns import ReverseDns

            self._dns = ReverseDns(self._servers(), reactor)
            ask = partial(reactor.callFromThread, self._dns.ask)
            self._names = [HostNames(ask, max(1, CACHE_LIMIT // worker_count)) for _ in range(worker_count)]

    def reload(self) -> None:
        """Read the files again; if one of them is wrong, all stays as it was.

        :raises OSError: as :meth:`start`.
        :raises HostsError: as :meth:`start`.
        """
        self._static = self._read_hosts()
        if self._dns is not None:
            self._dns.servers = self._servers()

    def stop(self) -> None:
        """Ask no more."""
        if self._dns is not None:
            self._dns.stop()

    @property
    def servers(self) -> Sequence[Server]:
        """Who is asked; nobody before the start, or without DNS."""
        return self._dns.servers if self._dns is not None else ()

    @property
    def remembered(self) -> int:
        """How many addresses are remembered, with their names or that they have none; read it in any thread."""
        return sum(len(names) for names in self._names)

    def begin(self, worker: int, now: float) -> None:
        """Let names that were found be used from here on."""
        if self._names:
            self._names[worker].begin(now)

    def name(self, worker: int, address: str, now: float) -> str:
        """Return the name of an address as it may stand in the name of a file, or the address."""
        name = self._static.get(address)
        if name is None:
            name = self._names[worker].name(address, now) if self._names else address
        return name

    def _read_hosts(self) -> dict[str, str]:
        if self._hosts is None:
            return {}
        try:
            text = self._hosts.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise HostsError(f"{self._hosts}: is not UTF-8") from error
        return parse_hosts(text, str(self._hosts))

    def _servers(self) -> list[Server]:
        from netconsd.logger.reversedns import nameservers

        if self._server is not None:
            return [self._server]
        try:
            return nameservers(self._resolv_conf.read_text(encoding="utf-8", errors="replace"))
        except FileNotFoundError:
            return nameservers("")


def _server(text: str) -> Server:
    """Read an address, ``ADDRESS:PORT`` or ``[ADDRESS]:PORT``."""
    host, port = text, "53"
    if text.startswith("["):
        host, _, port = text[1:].partition("]:")
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    try:
        ip_address(host)
        number = int(port) if port.isascii() and port.isdigit() else 0
    except ValueError:
        number = 0
    if not 0 < number < 65536:
        raise ValueError(f'reverse_dns: "{text}" is neither "system" nor the address of a server, as 192.0.2.53:53')
    return host, number
