"""The names of senders for people: one place for the printer, the logger, ``/senders`` and your own modules.

Three sources of names, none of which is ever part of a sender's identity:

1. the userdata ``host=...`` of a message (``--host-key``). The sender chooses it, so it is shown beside the address:
   ``web01@192.0.2.7``;
2. the administrator's file of names (``--hosts-file``), shown instead of the address;
3. reverse DNS (``--reverse-dns``), shown instead of the address once it was verified.

Every name is a host name as :func:`netconsd.logger.template.host_name` allows it: letters, digits, ``-``, ``_`` and
dots, at most 128 bytes. Others are ignored, so that a name is safe in a line and in the name of a file.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from netconsd.logger.checks import read_regular
from netconsd.logger.hostnames import CACHE_LIMIT, HostsError, NameCache, parse_hosts
from netconsd.logger.template import host_name
from netconsd.protocol.message import ExtendedMessage, Message
from netconsd.protocol.plural import plural
from netconsd.rendering import place
from netconsd.settings import name_server

if TYPE_CHECKING:
    from netconsd.logger.reversedns import ReverseDns, Server

__all__ = ["Names"]

RESOLV_CONF: Final = Path("/etc/resolv.conf")
# Senders whose userdata name is remembered for /senders, some 15 MB. Beyond, the one learned first is forgotten: each
# forged address and port takes an entry.
CLAIMS_LIMIT: Final = 65536


class Names:
    """The names of senders. Without arguments, only the userdata ``host=`` names them.

    ``sender``, ``host``, ``known`` and ``learn`` are for any thread, the rest for the reactor's.
    """

    def __init__(
        self,
        host_key: str = "host",
        hosts_file: str | Path | None = None,
        reverse_dns: str | None = None,
        *,
        resolv_conf: Path = RESOLV_CONF,
    ) -> None:
        """
        :param host_key: the key of the userdata whose value names the sender; empty for none.
        :param hosts_file: a file in the format of hosts(5).
        :param reverse_dns: ``system``, or a server as 192.0.2.53:53; None for no DNS.
        :param resolv_conf: the file in which ``system`` finds the servers.
        :raises ValueError: if ``reverse_dns`` is malformed.
        """
        self.host_key = host_key
        self._hosts_file = Path(hosts_file).absolute() if hosts_file else None
        self._server = None if reverse_dns in (None, "system") else name_server(str(reverse_dns))
        self._uses_dns = reverse_dns is not None
        self._resolv_conf = resolv_conf
        self._file_names: dict[str, str] = {}
        self._dns: ReverseDns | None = None
        self._cache: NameCache | None = None
        # By address and port.
        self._claims: dict[tuple[str, int], str] = {}
        # For the cache, and for changes of the claims.
        self._lock = threading.Lock()

    @property
    def hosts_file(self) -> Path | None:
        """The path of the file of names."""
        return self._hosts_file

    def read(self) -> None:
        """Read the file of names; after an error the previous names stay in use.

        :raises HostsError: if the file cannot be read or a line is malformed; the text begins with the path.
        """
        if self._hosts_file is None:
            return
        try:
            text = read_regular(str(self._hosts_file)).decode()
        except UnicodeDecodeError as error:
            raise HostsError(f"{self._hosts_file}: is not UTF-8") from error
        except OSError as error:
            raise HostsError(f"cannot read {self._hosts_file}: {error.strerror}") from error
        self._file_names = parse_hosts(text, str(self._hosts_file))

    def add(self, address: str, name: str) -> None:
        """Show a name instead of an address, as if the file of names had it; ignored if it is no host name.

        The caller bounds the number of addresses.
        """
        if host_name(name) is not None:
            self._file_names.setdefault(address, name)

    def of_file(self) -> dict[str, str]:
        """Return the names of the file, and those that were added, by address."""
        return dict(self._file_names)

    def of_dns(self, now: float) -> dict[str, str]:
        """Return the names of DNS, by address.

        :param now: Unix time in seconds.
        """
        if self._cache is None:
            return {}
        with self._lock:
            self._cache.begin(now)
            return self._cache.names()

    def put(self, changes: Mapping[str, str | None]) -> None:
        """Take the names of another process's :class:`Names`, by address; None forgets one.

        That process has checked the names, and bounds their number.
        """
        for address, name in changes.items():
            if name is None:
                self._file_names.pop(address, None)
            else:
                self._file_names[address] = name

    @property
    def asks_dns(self) -> bool:
        """True if reverse DNS is wanted."""
        return self._uses_dns

    @property
    def pending(self) -> int:
        """The number of addresses whose name DNS is asked for at present."""
        return self._cache.pending if self._cache is not None else 0

    def start(self, reactor: Any) -> None:
        """Begin to ask DNS, if that is wanted."""
        if self._uses_dns:
            # Imported here, because Twisted's DNS takes some megabytes.
            from netconsd.logger.reversedns import ReverseDns

            self._dns = ReverseDns(self._servers(), reactor)
            self._cache = NameCache(partial(reactor.callFromThread, self._dns.look_up), CACHE_LIMIT)

    def reload(self, setting: str = "--hosts-file") -> list[str]:
        """Read the file of names and the servers of DNS again, as SIGHUP does.

        An error is logged, and the previous names stay in use.

        :param setting: the place of the setting that names the file, for the error.
        :returns: the files that were read.
        """
        # Imported here, because it takes a quarter of the time in which `netconsd log` starts.
        from twisted.logger import Logger

        files = []
        if self._hosts_file is not None:
            try:
                self.read()
                files.append(str(self._hosts_file))
            except HostsError as error:
                Logger("netconsd").error(
                    "{setting}: {text}; the previous names stay in use", setting=setting, text=str(error)
                )
            else:
                Logger("netconsd").info(
                    "{count} from {path}", count=plural(len(self._file_names), "name"), path=self._hosts_file
                )
        if self._dns is not None:
            self._dns.servers = self._servers()
            if self._server is None:
                files.append(str(self._resolv_conf))
        return files

    def stop(self) -> None:
        """Close the sockets of DNS; known names stay in use."""
        if self._dns is not None:
            self._dns.stop()

    def sender(self, message: Message) -> str:
        """Return the sender for people, without a space: ``192.0.2.7``, ``web01``, ``web01@192.0.2.7:6665``.

        Before the ``@`` is a name that the sender chose. The rest is a name of the file or of DNS, or the address, with
        the port where several senders have this address.
        """
        source = message.source
        claimed = self._claimed(message)
        shown = place(source, self._known(source.address, message.received_at))
        return f"{claimed}@{shown}" if claimed else shown

    def host(self, message: Message) -> str:
        """Return the best name of the sending machine for the name of a file, or its address."""
        address = message.source.address
        return self._claimed(message) or self._known(address, message.received_at) or address

    def all_of(self, message: Message) -> list[str]:
        """Return the address of the sender and its names, for a comparison with the names of a setting."""
        address = message.source.address
        names = (self._claimed(message), self._known(address, message.received_at))
        return [address, *(name for name in names if name)]

    def known(self, address: str, port: int, now: float) -> str:
        """Return the name of a sender as :meth:`sender` shows it, without address and port; empty if none is known.

        :param now: Unix time in seconds.
        """
        claimed = self._claims.get((address, port))
        name = self._known(address, now)
        return f"{claimed}@{name}" if claimed and name else claimed or name or ""

    def learn(self, messages: Sequence[Message]) -> None:
        """Remember the name in the userdata of the last message for :meth:`known`.

        Only of the last, so that a batch of any size costs the same; senders of many messages are soon all known.
        """
        message = messages[-1]
        claimed = self._of_userdata(message)
        if claimed is not None:
            self._claim((message.source.address, message.source.port), claimed)

    def claim(self, address: str, port: int, value: str) -> None:
        """Remember the name in the userdata of a sender, as :meth:`learn`; ignored if it is no host name."""
        claimed = _host_name(value)
        if claimed is not None:
            self._claim((address, port), claimed)

    def claimed(self, address: str, port: int) -> str | None:
        """Return the name in the userdata of a sender, if it was learned."""
        return self._claims.get((address, port))

    def _claim(self, key: tuple[str, int], claimed: str) -> None:
        if self._claims.get(key) == claimed:
            return
        with self._lock:
            self._claims.pop(key, None)
            if len(self._claims) >= CLAIMS_LIMIT:
                del self._claims[next(iter(self._claims))]
            self._claims[key] = claimed

    def _claimed(self, message: Message) -> str | None:
        """The name in the userdata of the message, otherwise in that of an earlier message of the sender."""
        claimed = self._of_userdata(message)
        if claimed is None and self._claims:
            claimed = self._claims.get((message.source.address, message.source.port))
        return claimed

    def _of_userdata(self, message: Message) -> str | None:
        if not self.host_key or not isinstance(message, ExtendedMessage):
            return None
        value = message.userdata.get(self.host_key)
        return _host_name(value) if value else None

    def _known(self, address: str, now: float) -> str | None:
        """The name of the file, otherwise that of DNS."""
        name = self._file_names.get(address)
        if name is None and "%" in address:
            # A link-local address without an interface in the file is meant on every interface. DNS has none.
            return self._file_names.get(address.partition("%")[0])
        if name is not None or self._cache is None:
            return name
        with self._lock:
            self._cache.begin(now)
            name = self._cache.name(address, now)
        return None if name == address else name

    def _servers(self) -> list[Server]:
        from netconsd.logger.reversedns import nameservers

        if self._server is not None:
            return [self._server]
        try:
            return nameservers(self._resolv_conf.read_text(encoding="utf-8", errors="replace"))
        except FileNotFoundError:
            return nameservers("")


def _host_name(value: str) -> str | None:
    # A value of 100 KiB is not even looked at.
    return host_name(value) if len(value) < 256 else None
