"""Selects the messages that a module shows: by level, by sender, and by patterns. Printer and logger share it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from fnmatch import translate
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final, Literal

from netconsd.logger.patterns import Patterns
from netconsd.protocol.message import Message, Source
from netconsd.rendering import LEVELS

Level = Literal["emerg", "alert", "crit", "err", "warn", "notice", "info", "debug"]

# Entries of the setting ``hosts``, all of which are compared with the sender of every batch.
HOSTS_LIMIT: Final = 1000


class Selection:
    """Returns the selected messages. ``kept`` is for the threads of the workers, the rest for the reactor's thread."""

    def __init__(
        self,
        level: Level | None = None,
        hosts: Sequence[str] = (),
        keep: str | None = None,
        drop: str | None = None,
    ) -> None:
        """
        :param level: messages of this level and of more severe ones are selected, and those without a level.
        :param hosts: addresses, networks, names, and names or addresses with ``*``, ``?`` and ``[...]``; messages of
            other senders are not selected. Empty: all senders.
        :param keep: a regular expression (:mod:`netconsd.logger.patterns`); only messages that match are selected.
        :param drop: a regular expression; messages that match are not selected.
        :raises ValueError: for an entry of ``hosts`` that is none of these, with a text that names the setting.
        """
        self._most = None if level is None else LEVELS.index(level)
        self._hosts = _Hosts(hosts) if hosts else None
        self._expressions = {"keep": keep, "drop": drop}
        self._keep: Patterns | None = None
        self._drop: Patterns | None = None
        self._hidden: list[int] = []
        #: False if every message is selected.
        self.active = level is not None or bool(hosts) or keep is not None or drop is not None

    @property
    def hidden(self) -> int:
        """The messages that were not selected since the start; any thread."""
        return sum(self._hidden)

    def start(self, worker_count: int, names_of: Callable[[Message], Sequence[str]]) -> None:
        """Compile the patterns.

        :param names_of: returns the address of the sender and its names (:meth:`netconsd.names.Names.all_of`).
        :raises ValueError: for a malformed pattern, with a text that names the setting.
        """
        self._names_of = names_of
        self._hidden = [0] * worker_count
        self._keep, self._drop = self._compiled()

    def check(self) -> None:
        """Compile the patterns, as :meth:`start` does, and keep nothing.

        :raises ValueError: for a malformed pattern, with a text that names the setting.
        """
        list(self._compiled())

    def _compiled(self) -> Iterator[Patterns | None]:
        for setting, expression in self._expressions.items():
            yield None if expression is None else Patterns([(1, expression)], setting)

    def kept(self, worker: int, messages: Sequence[Message]) -> Sequence[Message]:
        """Return the selected messages, in order; count the others."""
        if not self.active:
            return messages
        kept = messages
        most = self._most
        if most is not None:
            kept = [message for message in kept if (level := message.level) is None or level <= most]
        if self._hosts is not None:
            kept = self._hosts.kept(kept, self._names_of)
        if self._keep is not None:
            unmatched = {id(message) for message in self._keep.kept(kept)}
            kept = [message for message in kept if id(message) not in unmatched]
        if self._drop is not None:
            kept = self._drop.kept(kept)
        self._hidden[worker] += len(messages) - len(kept)
        return kept

    def is_wanted(self, message: Message | None) -> bool:
        """Return True if ``hosts`` selects the sender of a message; nothing else selects reports and events."""
        return self._hosts is None or (message is not None and bool(self._hosts.kept([message], self._names_of)))


class _Hosts:
    """The entries of the setting ``hosts``."""

    def __init__(self, entries: Sequence[str]) -> None:
        """:raises ValueError: if an entry is no address, network, name or pattern of one, or there are too many."""
        if len(entries) > HOSTS_LIMIT:
            raise ValueError(f"hosts: {len(entries)} entries are more than {HOSTS_LIMIT}; use networks or patterns")
        self._networks: list[IPv4Network | IPv6Network] = []
        globs = []
        for entry in entries:
            try:
                self._networks.append(ip_network(entry, strict=False))
            except ValueError:
                if not re.fullmatch(r"[\w.:%*?!\[\]-]+", entry, re.ASCII):
                    raise ValueError(
                        f'hosts: "{entry}" is not an address, a network such as 192.0.2.0/24, or a name, in which * '
                        "stands for any characters (a file of names is the option --hosts-file)"
                    ) from None
                globs.append(translate(entry.lower()))
        self._globs = re.compile("|".join(globs)) if globs else None

    def kept(self, messages: Sequence[Message], names_of: Callable[[Message], Sequence[str]]) -> list[Message]:
        """Return the messages whose sender is among the entries."""
        in_networks: dict[int, bool] = {}
        kept = []
        for message in messages:
            source = message.source
            # By identity, because most messages of a batch share their sources.
            wanted = in_networks.get(id(source))
            if wanted is None:
                wanted = in_networks[id(source)] = self._in_a_network(source)
            if wanted or (self._globs is not None and any(map(self._globs.match, names_of(message)))):
                kept.append(message)
        return kept

    def _in_a_network(self, source: Source) -> bool:
        address = ip_address(source.address.partition("%")[0])
        return any(address in network for network in self._networks)
