"""Feeds the entries of a file to recognisers, one for each host, and returns what they find (netconsd.cli.crashes)."""

from __future__ import annotations

import re
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from ipaddress import ip_address
from itertools import islice
from typing import Final

from netconsd.crash.prefilter import Prefilter
from netconsd.crash.recogniser import FILE_LIMITS, SEEN_LIMIT, Limits, Recogniser
from netconsd.crash.report import Report
from netconsd.crash.rules import LITERALS
from netconsd.protocol.counters import WorkerCounters
from netconsd.protocol.message import MAPPED_IPV4, LegacyMessage, Message, Source
from netconsd.protocol.table import SourceTable
from netconsd.read.entries import Datagram, Line, Whole
from netconsd.read.objects import ALWAYS, UNKNOWN_SENDER
from netconsd.read.reader import Entry, Kept, Reader

#: Hosts of a file with a recogniser of their own; the reports of the one silent longest are closed for a further one.
HOSTS_LIMIT: Final = 4096
#: Lines of a file without a line of an open report's host, after which the report is closed where lines have no time.
IDLE_LINES: Final = 20_000
#: Lines before a report, and the seconds that they are not older than.
BEFORE: Final = 50
BEFORE_SECONDS: Final = 60.0
#: The lines that are searched for those of one host among those of others.
BEFORE_SEARCHED: Final = 2000
# As the daemon has it by default (--reorder): datagrams in a recording can have overtaken each other.
_REORDER_SECONDS: Final = 0.2
# 2001:db8::/32, for documentation (RFC 3849): in the place of an address, for hosts of which a file has only a name.
_NAMED: Final = b"\x20\x01\x0d\xb8"

# What ends the first word of a text in the place of a colon: dmesg's colours, and a relay that takes the word for the
# name of a program (RFC 5424).
_COLON = re.compile(rb"([A-Za-z]{3,24}): (?=.)")
_PARTED: Final = {
    match[1] + end for text in LITERALS if (match := _COLON.match(text)) for end in (b": \x1b[0m", b" - - - ")
}
PREFILTER: Final = Prefilter((*LITERALS, *_PARTED, b"WARNING - - - "))
PREFILTER_JSON: Final = Prefilter((*LITERALS, *ALWAYS))


@dataclass(slots=True)
class Found:
    """A report in a file."""

    #: Without its messages.
    report: Report
    #: The name or address of the host, if the file has one.
    host: str | None
    #: False if the lines have no time of day: then the report's ``received_at`` means nothing.
    dated: bool
    #: How often the report came again in the same boot.
    repeats: int = 0


@dataclass(slots=True)
class _Host:
    name: str | None
    source: Source
    recogniser: Recogniser
    now: float = 0.0
    usec: int | None = None
    line: int = 0
    dated: bool = False
    kept: deque[Message] = field(default_factory=lambda: deque(maxlen=BEFORE))
    last: dict[str, Found] = field(default_factory=dict)


class Feed:
    """The recognisers of one file's hosts. For one thread."""

    def __init__(self, name: str, *, limits: Limits = FILE_LIMITS, hosts: int = HOSTS_LIMIT) -> None:
        """
        :param name: stands for the host where lines name none: the file's name.
        """
        self._name = name
        self._limits = limits
        self._hosts_limit = hosts
        # By name or sender's key, the one silent longest first.
        self._hosts: OrderedDict[str | bytes | None, _Host] = OrderedDict()
        self._open: dict[int, _Host] = {}
        self._table: SourceTable | None = None
        # Reports of hosts that had to make room.
        self._evicted: list[Found] = []

    def read(self, reader: Reader | Kept) -> Iterator[Found | None]:
        """Yield the reports as they are finished; None whenever the file has no more entries at present.

        Afterwards call :meth:`finish`, or go on with the file that follows. What a reader raises is raised.
        """
        if self._open:
            reader.every = True
        for entry in reader:
            if entry is None:
                yield None
            else:
                yield from self._take(entry, reader)
                if self._evicted:
                    yield from self._evicted
                    self._evicted = []
                reader.every = bool(self._open)

    def finish(self) -> list[Found]:
        """Return the reports that are still open, at the end of the file."""
        found: list[Found] = []
        if self._table is not None:
            for message in self._table.flush():
                found += self._message(self._host_of(message.source.key, message.source), message, 0)
        for host in self._hosts.values():
            found += self._found(host, host.recogniser.finish())
        self._hosts.clear()
        self._open.clear()
        return found

    def silence(self, seconds: float) -> list[Found]:
        """Return the reports that are finished if nothing more arrived for so long."""
        found: list[Found] = []
        for host in list(self._open.values()):
            found += self._found(host, host.recogniser.expire(host.now + seconds))
        return found

    def _take(self, entry: Entry, reader: Reader | Kept) -> list[Found]:
        if isinstance(entry, Line):
            return self._line(entry, reader)
        if isinstance(entry, Whole):
            source = entry.message.source
            host = self._host_of(source.key, source)
            host.dated = True
            return self._message(host, entry.message, entry.number)
        return self._datagram(entry)

    def _line(self, line: Line, reader: Reader | Kept) -> list[Found]:
        host = self._hosts.get(line.host)
        if host is None:
            host = self._new_host(line.host, line.host, source_of_host(line.host or self._name))
        else:
            self._hosts.move_to_end(line.host)
        message = LegacyMessage(host.source, 0.0, line.text)
        usec = message.ts_usec
        if line.time is not None:
            host.dated = True
            host.now = max(host.now, line.time)
        elif usec is not None and host.usec is not None and usec > host.usec:
            host.now += (usec - host.usec) / 1_000_000
        message._received_at = host.now if line.time is None else line.time
        found = self._quiet(line, host)
        if usec is not None:
            host.usec = usec
        host.line = line.number
        reports = host.recogniser.take(message, host.now, lambda: self._before(line, host, reader), line.number)
        if not isinstance(reader, Reader):
            host.kept.append(message)
        self._note(host)
        return found + self._found(host, reports)

    def _quiet(self, line: Line, taking: _Host) -> list[Found]:
        """Close the reports of other hosts that have been silent: by the time of day, else by the number of lines."""
        found: list[Found] = []
        for host in [host for host in self._open.values() if host is not taking]:
            deadline = host.recogniser.deadline
            if deadline is None:
                continue
            if host.dated and line.time is not None:
                found += self._found(host, host.recogniser.expire(line.time))
            elif line.number - host.line > IDLE_LINES:
                found += self._found(host, host.recogniser.expire(deadline))
        return found

    def _before(self, line: Line, host: _Host, reader: Reader | Kept) -> Sequence[Message]:
        """The host's last lines before one, oldest first."""
        if not isinstance(reader, Reader):
            return list(host.kept)
        messages: list[Message] = []
        for entry in islice(reader.before(line.host), BEFORE_SEARCHED):
            if isinstance(entry, Line) and entry.host == line.host:
                if line.time is not None and entry.time is not None and entry.time < line.time - BEFORE_SECONDS:
                    break
                messages.append(LegacyMessage(host.source, entry.time or host.now, entry.text))
                if len(messages) == BEFORE:
                    break
        return messages[::-1]

    def _datagram(self, datagram: Datagram) -> list[Found]:
        if self._table is None:
            self._table = SourceTable(
                WorkerCounters(), limit=self._hosts_limit, reorder_time=_REORDER_SECONDS, gc_interval=0.0, age=0.0
            )
        messages = self._table.feed([datagram.key], [datagram.data], datagram.time, datagram.time)
        found: list[Found] = []
        for message in messages:
            host = self._host_of(message.source.key, message.source)
            host.dated = datagram.time > 1e9
            found += self._message(host, message, datagram.number)
        return found

    def _message(self, host: _Host, message: Message, number: int) -> list[Found]:
        host.now = max(host.now, message.received_at)
        line = number or host.line
        host.line = line
        wanted = host.recogniser.is_open or message.boot or message.new
        if not wanted and PREFILTER.find(message.raw, 0, len(message.raw)) < 0:
            host.kept.append(message)
            return []
        reports = host.recogniser.take(message, host.now, lambda: list(host.kept), line)
        host.kept.append(message)
        self._note(host)
        found = self._found(host, reports)
        for other in [other for other in self._open.values() if other is not host]:
            found += self._found(other, other.recogniser.expire(message.received_at))
        return found

    def _host_of(self, key: bytes, source: Source) -> _Host:
        host = self._hosts.get(key)
        if host is None:
            if key == UNKNOWN_SENDER:
                return self._new_host(key, None, source_of_host(self._name))
            return self._new_host(key, source.address, source)
        self._hosts.move_to_end(key)
        return host

    def _new_host(self, key: str | bytes | None, name: str | None, source: Source) -> _Host:
        if len(self._hosts) >= self._hosts_limit:
            _, oldest = self._hosts.popitem(last=False)
            self._evicted += self._found(oldest, oldest.recogniser.abandon("the file has too many hosts"))
        host = self._hosts[key] = _Host(name, source, Recogniser(source, limits=self._limits))
        return host

    def _note(self, host: _Host) -> None:
        if host.recogniser.is_open:
            self._open[id(host)] = host
        else:
            self._open.pop(id(host), None)

    def _found(self, host: _Host, reports: Sequence[Report]) -> list[Found]:
        self._note(host)
        for title, count in host.recogniser.take_repeats():
            if title in host.last:
                host.last[title].repeats += count
        found = [Found(replace(report, messages=(), before=()), host.name, host.dated) for report in reports]
        for one in found:
            one.repeats = one.report.repeats
            host.last.pop(one.report.title, None)
            host.last[one.report.title] = one
            if len(host.last) > SEEN_LIMIT:
                del host.last[next(iter(host.last))]
        return found


def source_of_host(name: str) -> Source:
    """Return a sender for a host of which a file has only a name, or its address."""
    try:
        packed = ip_address(name.partition("%")[0]).packed
    except ValueError:
        packed = _NAMED + sha256(name.encode(errors="replace")).digest()[:12]
    return Source(packed if len(packed) == 16 else MAPPED_IPV4 + packed, 0)
