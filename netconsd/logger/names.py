"""The name of each sender, without waiting for it: from the administrator's hosts file, then from reverse DNS."""

from __future__ import annotations

from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from twisted.logger import Logger

from netconsd.logger.checks import read_regular
from netconsd.logger.hostnames import CACHE_LIMIT, HostsError, NameCache, parse_hosts
from netconsd.protocol.plural import plural

if TYPE_CHECKING:
    from netconsd.logger.reversedns import ReverseDns, Server

log = Logger("netconsd.logger")

RESOLV_CONF: Final = Path("/etc/resolv.conf")


class SenderNames:
    """Returns a name for each sender: its host name if that is known, otherwise its address.

    ``begin`` and ``name`` are for the threads of the workers, the rest for the reactor's thread.
    """

    def __init__(self, hosts: Path | None, reverse_dns: str | None, *, resolv_conf: Path = RESOLV_CONF) -> None:
        """
        :param hosts: a file in the format of hosts(5).
        :param reverse_dns: ``system``, or a server; None for no DNS.
        :param resolv_conf: the file in which ``system`` finds the servers.
        :raises ValueError: if ``reverse_dns`` is malformed, with a text that names the setting.
        """
        self._hosts = hosts.absolute() if hosts else None
        self._server = None if reverse_dns in (None, "system") else _server(str(reverse_dns))
        self._uses_dns = reverse_dns is not None
        self._resolv_conf = resolv_conf
        self._static: dict[str, str] = {}
        self._dns: ReverseDns | None = None
        self._caches: list[NameCache] = []

    def start(self, worker_count: int, reactor: Any) -> None:
        """Read the files.

        :raises OSError: if a file cannot be read.
        :raises HostsError: if a line of the hosts file is malformed.
        """
        self._static = self._read_hosts()
        self._caches = []
        if self._uses_dns:
            # Imported here, because Twisted's DNS takes some megabytes.
            from netconsd.logger.reversedns import ReverseDns

            self._dns = ReverseDns(self._servers(), reactor)
            look_up = partial(reactor.callFromThread, self._dns.look_up)
            self._caches = [NameCache(look_up, max(1, CACHE_LIMIT // worker_count)) for _ in range(worker_count)]

    def check(self) -> None:
        """Read the files, as :meth:`start` does, and keep nothing.

        :raises OSError: see :meth:`start`.
        :raises HostsError: see :meth:`start`.
        """
        self._read_hosts()
        if self._uses_dns:
            self._servers()

    def reload(self) -> None:
        """Read the files again; an error, as in :meth:`start`, leaves everything as it was."""
        self._static = self._read_hosts()
        if self._hosts is not None:
            log.info("logger: {count} from {path}", count=plural(len(self._static), "name"), path=self._hosts)
        if self._dns is not None:
            self._dns.servers = self._servers()

    def stop(self) -> None:
        if self._dns is not None:
            self._dns.stop()

    def begin(self, worker: int, now: float) -> None:
        """Use the answers that arrived since the last batch."""
        if self._caches:
            self._caches[worker].begin(now)

    def name(self, worker: int, address: str, now: float) -> str:
        """Return the name of an address, safe as a part of a file name, or the address."""
        name = self._static.get(address)
        if name is None:
            name = self._caches[worker].name(address, now) if self._caches else address
        return name

    def _read_hosts(self) -> dict[str, str]:
        if self._hosts is None:
            return {}
        try:
            text = read_regular(str(self._hosts)).decode()
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
    """Parse an address, ``ADDRESS:PORT`` or ``[ADDRESS]:PORT``."""
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
