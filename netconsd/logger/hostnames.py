"""Host names of addresses: the parser of a file like hosts(5), and a cache of the names from DNS."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Final, NamedTuple

from netconsd.logger.template import HOST_LIMIT, host_name
from netconsd.rendering import printable

#: Cached addresses, some 20 MB; beyond, the least recently used one is forgotten. Each forged address
#: takes an entry.
CACHE_LIMIT: Final = 65536
# Unanswered lookups. Beyond, a flood of new addresses starts no lookups; a later message of the sender
# does. Names in the cache stay.
LOOKUPS_LIMIT: Final = 128
# Seconds until the next lookup after one without an answer. The previous name stays in use.
RETRY: Final = 60.0


class HostsError(ValueError):
    """A malformed hosts file: ``str()`` begins with the file and the line, and is for the user."""


def parse_hosts(text: str, path: str) -> dict[str, str]:
    """Read the format of hosts(5): an address and a name per line, ``#`` begins a comment, aliases are ignored.

    A link-local address can name its interface, ``fe80::1%eth0``.

    :param path: for the texts of errors.
    :returns: names by address, as :attr:`netconsd.message.Source.address` writes it; the first line of an address
        counts.
    :raises HostsError: for a line without an address and a name, or with a name that is not safe as a file name.
    """
    names: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        plain, percent, interface = words[0].partition("%")
        try:
            address = ip_address(plain)
        except ValueError:
            raise HostsError(f'{path}:{number}: "{printable(words[0])}" is not an IPv4 or IPv6 address') from None
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        if len(words) < 2:
            raise HostsError(f"{path}:{number}: has an address and no name")
        name = host_name(words[1])
        if name is None:
            raise HostsError(
                f'{path}:{number}: "{printable(words[1])}" is not a host name: labels of letters, digits, "-" and "_", '
                f"the last not a number, at most {HOST_LIMIT} bytes in all"
            )
        # A name of a link-local address can be for one interface.
        names.setdefault(f"{address}{percent}{interface}", name)
    return names


class DnsName(NamedTuple):
    """The answer of DNS for an address."""

    name: str | None
    """The name, verified and safe (:func:`netconsd.logger.template.host_name`); None if the address has none."""
    seconds: float
    """Seconds for which the answer is valid."""


@dataclass(slots=True)
class _Entry:
    #: When the next lookup is due.
    due: float
    name: str | None = None
    pending: bool = True


class NameCache:
    """The names of senders, without waiting: an address without a cached name is looked up meanwhile.

    For one thread at a time, except :meth:`answered`.
    """

    def __init__(self, look_up: Callable[[str, Callable[[str, DnsName | None], None]], object], limit: int) -> None:
        """
        :param look_up: called with an address and :meth:`answered`, which it must call exactly once.
        :param limit: addresses in the cache.
        """
        self._look_up = look_up
        self._limit = limit
        # The least recently used one first.
        self._entries: dict[str, _Entry] = {}
        self._pending = 0
        self._answers: deque[tuple[str, DnsName | None]] = deque()

    def answered(self, address: str, answer: DnsName | None) -> None:
        """Store the answer for :meth:`begin`; None if no server answered. Any thread."""
        self._answers.append((address, answer))

    @property
    def pending(self) -> int:
        """The number of lookups without an answer. Any thread."""
        return self._pending - len(self._answers)

    def begin(self, now: float) -> None:
        """Use the stored answers from here on; called between two batches.

        :param now: seconds of any clock.
        """
        while self._answers:
            address, answer = self._answers.popleft()
            self._pending -= 1
            entry = self._entries.get(address)
            if entry is None:
                continue
            entry.pending = False
            entry.due = now + (RETRY if answer is None else answer.seconds)
            if answer is not None:
                entry.name = answer.name

    def name(self, address: str, now: float) -> str:
        """Return the name of an address, or the address if no name is known."""
        entry = self._entries.pop(address, None)
        if entry is None:
            if self._pending >= LOOKUPS_LIMIT:
                return address
            entry = _Entry(now)
            self._start_lookup(address)
            while len(self._entries) >= self._limit:
                del self._entries[next(iter(self._entries))]
        elif entry.due <= now and not entry.pending and self._pending < LOOKUPS_LIMIT:
            entry.pending = True
            self._start_lookup(address)
        self._entries[address] = entry
        return entry.name or address

    def names(self) -> dict[str, str]:
        """Return the names that are known, by address."""
        return {address: entry.name for address, entry in self._entries.items() if entry.name}

    def _start_lookup(self, address: str) -> None:
        self._pending += 1
        self._look_up(address, self.answered)
