"""Records in a file as the kernel writes them: ``cat /dev/kmsg``, or netconsole's datagrams that ``nc`` or socat wrote.

Each record is a datagram with the lines of values behind it, as :mod:`netconsd.protocol` reads it: with its number, its
dictionary and its gaps. The file does not say when a record arrived, which tells a reboot from a buffer that was read
again; the records' own times stand for that.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Final

from netconsd.read.blocks import Lines
from netconsd.read.console import record_of
from netconsd.read.entries import Datagram
from netconsd.read.objects import UNKNOWN_SENDER

#: Records that are remembered, to recognise those of a buffer that was read again.
REMEMBERED_LIMIT: Final = 65536
# Bytes of the values of a record: 256 items of userdata (WIRE.md, section 4).
_VALUES_LIMIT: Final = 1 << 16
# Seconds between the last record of a boot and the begin of the next boot; microseconds by which a record's time goes
# back at a boot, but not if datagrams overtook each other.
_BOOT: Final = 2.0
_STEP: Final = 1_000_000
# Seconds since the first record, three years: more is taken for a Unix time (netconsd.cli.replayfeed).
_SECONDS_LIMIT: Final = 1e8


def is_records(head: bytes) -> bool:
    """Return whether a file with this begin has records."""
    return record_of(head.split(b"\n", 1)[0]) is not None


def records(read: Callable[[int], bytes | None]) -> Iterator[Datagram]:
    """Yield the datagrams of a file, with seconds since its first record; other lines are datagrams of text."""
    lines = Lines(read)
    clock = _Clock()
    data = b""
    number = 0
    while (line := lines.next()) is not None:
        if data and line.startswith(b" ") and len(data) < _VALUES_LIMIT:
            data += line + b"\n"
            continue
        if data:
            yield from _datagrams(data, number, clock.now)
            data = b""
        found = record_of(line)
        if found is None:
            if line:
                yield Datagram(lines.number, clock.now, UNKNOWN_SENDER, line + b"\n")
            continue
        clock.advance(*found)
        data, number = line + b"\n", lines.number
    if data:
        yield from _datagrams(data, number, clock.now)


def _datagrams(data: bytes, number: int, now: float) -> Iterator[Datagram]:
    """Yield a record; fragments follow each other without a newline, each with the same header."""
    at = data.find(b",ncfrag=", 0, data.find(b";"))
    head = data[: at + len(b",ncfrag=")] if at >= 0 else b""
    for part in data.split(head)[1:] if head else [data]:
        yield Datagram(number, now, UNKNOWN_SENDER, head + part)


class _Clock:
    """The time of a file's records, which stands still while records that were read before come again."""

    def __init__(self) -> None:
        #: Seconds since the first record.
        self.now = 0.0
        self._begin: float | None = None
        self._last = 0, 0
        self._times: OrderedDict[int, int] = OrderedDict()

    def advance(self, seq: int, usec: int) -> None:
        """Take the number and the time of the next record."""
        time = usec / 1e6
        if self._begin is None:
            self._begin = time
        elif seq <= self._last[0] and usec + _STEP < self._last[1] and self._times.get(seq) != usec:
            # The next boot begins after the last record.
            self._begin = -(self.now + _BOOT)
            self._times.clear()
        if time - self._begin >= _SECONDS_LIMIT:
            # Damaged, or of a machine that old: all records after it would have its time.
            return
        self.now = max(self.now, time - self._begin)
        self._last = seq, usec
        self._times[seq] = usec
        if len(self._times) > REMEMBERED_LIMIT:
            self._times.popitem(last=False)
