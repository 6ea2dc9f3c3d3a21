"""Names for senders: from a file of the administrator's, and from DNS, of which what came last is remembered."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address
from typing import Final, NamedTuple

from netconsd.logger.template import HOST_LIMIT, host_name
from netconsd.rendering import printable

__all__ = ["CACHE_LIMIT", "Found", "HostNames", "HostsError", "parse_hosts"]

#: Addresses remembered over all workers; beyond, the one that was used longest ago is forgotten. Some 20 MB: who
#: forges addresses makes us ask for each.
CACHE_LIMIT: Final = 65536
# Questions of a worker that are not answered yet. What a flood of new addresses asks beyond is asked later, with
# further messages of those senders; the names of known senders stay.
ASKED_LIMIT: Final = 128
# Seconds until we ask again when no answer came. Meanwhile the last name stays.
RETRY: Final = 60.0


class HostsError(ValueError):
    """A file of hosts that cannot be used: ``str()`` begins with the file and the line, and is for the user."""


def parse_hosts(text: str, path: str) -> dict[str, str]:
    """Read the format of hosts(5): an address and a name per line, ``#`` begins a comment; aliases are not used.

    :param path: for the texts of errors.
    :returns: names by address, as :attr:`netconsd.message.Source.address` writes them; the first line of an address
        counts.
    :raises HostsError: for a line that has not both, or a name that cannot stand in the name of a file.
    """
    names: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        try:
            address = ip_address(words[0].partition("%")[0])
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
        names.setdefault(str(address), name)
    return names


class Found(NamedTuple):
    """What DNS says about an address."""

    name: str | None
    """Its name, checked and safe (:func:`netconsd.logger.template.host_name`); None: it has none."""
    seconds: float
    """How long that is true."""


class _Entry:
    __slots__ = ("asking", "due", "name")

    def __init__(self, due: float) -> None:
        self.name: str | None = None
        #: When to ask again.
        self.due = due
        self.asking = True


class HostNames:
    """The names of one worker's senders, at once: what is not known yet is the address, and is asked for.

    For the worker's thread, but for :meth:`answered`.
    """

    def __init__(self, ask: Callable[[str, Callable[[str, Found | None], None]], object], limit: int) -> None:
        """
        :param ask: called with an address and :meth:`answered`, which it calls exactly once, sooner or later.
        :param limit: how many addresses are remembered.
        """
        self._ask = ask
        self._limit = limit
        # The one used longest ago first.
        self._entries: dict[str, _Entry] = {}
        self._asked = 0
        self._answers: deque[tuple[str, Found | None]] = deque()

    def __len__(self) -> int:
        return len(self._entries)

    def answered(self, address: str, found: Found | None) -> None:
        """Take an answer, in any thread; None: nobody knows, for now."""
        self._answers.append((address, found))

    def begin(self, now: float) -> None:
        """Let the answers that came be true from here on, which is between two batches.

        :param now: time in seconds, of any clock.
        """
        while self._answers:
            address, found = self._answers.popleft()
            self._asked -= 1
            entry = self._entries.get(address)
            if entry is None:
                continue
            entry.asking = False
            entry.due = now + (RETRY if found is None else found.seconds)
            if found is not None:
                entry.name = found.name

    def name(self, address: str, now: float) -> str:
        """Return the name of an address, or the address; never waits."""
        entry = self._entries.pop(address, None)
        if entry is None:
            if self._asked >= ASKED_LIMIT:
                return address
            entry = _Entry(now)
            self._question(address)
            while len(self._entries) >= self._limit:
                del self._entries[next(iter(self._entries))]
        elif entry.due <= now and not entry.asking and self._asked < ASKED_LIMIT:
            entry.asking = True
            self._question(address)
        self._entries[address] = entry
        return entry.name or address

    def _question(self, address: str) -> None:
        self._asked += 1
        self._ask(address, self.answered)
