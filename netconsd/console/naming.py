"""The names that the daemon has for machines, for the console's processes. For the reactor's thread.

A process has the names of the userdata from the messages that it reads. Those of the administrator's file and of DNS
are sent to it as they change, so that the pages have the same names as the printer, also after SIGHUP.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Final

from netconsd.console.limits import NAMES_SECONDS
from netconsd.names import Names

_NONE: Final[Mapping[str, str]] = MappingProxyType({})


class Naming:
    """The names of the file and of DNS."""

    def __init__(self, names: Names, clock: Callable[[], float], time: Callable[[], float]) -> None:
        """
        :param clock: monotonic seconds.
        :param time: Unix time.
        """
        self._names = names
        self._clock = clock
        self._time = time
        self._known: Mapping[str, str] = _NONE
        self._looked: float | None = None

    @property
    def host_key(self) -> str:
        """The key of the userdata that has a name."""
        return self._names.host_key

    def known(self) -> Mapping[str, str]:
        """Return the names by address, at most NAMES_SECONDS old: the same object while they are the same."""
        now = self._clock()
        if self._looked is None or now - self._looked >= NAMES_SECONDS:
            self._looked = now
            found = self._names.of_dns(self._time()) | self._names.of_file()
            if found != self._known:
                self._known = found
        return self._known

    def changed(self) -> None:
        """Look again at once: the file was read again."""
        self._looked = None

    def shown(self, addresses: Iterable[str]) -> None:
        """Ask DNS for machines that are shown, if that is wanted; names that are in use stay known."""
        if self._names.asks_dns:
            now = self._time()
            for address in addresses:
                self._names.known(address, 0, now)


class Sent:
    """The names that one process has."""

    def __init__(self, naming: Naming) -> None:
        self._naming = naming
        self._sent: Mapping[str, str] = _NONE

    def changes(self) -> dict[str, str | None]:
        """Return the names that the process lacks, and None for those that are gone; it has them from now on."""
        known, sent = self._naming.known(), self._sent
        if known is sent:
            return {}
        self._sent = known
        gone: dict[str, str | None] = {address: None for address in sent if address not in known}
        return gone | {address: name for address, name in known.items() if sent.get(address) != name}
