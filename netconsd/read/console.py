"""Removes the parts of a line that other programs put before a kernel's text: syslog, journalctl, dmesg, conserver,
``ts``, netconsd's own modules. Each line is looked at by itself, so that a file can be a mixture.

The forms are those of RFC 3164 and RFC 5424, journalctl(1) ``--output``, dmesg(1) ``--time-format`` and ``--decode``,
and :mod:`netconsd.logger.lines`.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterator
from typing import Final

from netconsd.read.entries import Line
from netconsd.rendering import LEVEL_COLUMN, LEVELS

# The parts before a text: a priority, a time of ts or conserver, a time of syslog, dmesg --decode.
_PARTS: Final = 4
#: The pieces of a line between carriage returns or NULs that are looked at: a progress bar has hundreds.
PIECES: Final = 64

_ESCAPE = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[ -/]+[0-~]|[0-Z\\^-~])")
_SEPARATOR = re.compile(rb"[\r\0]+")

_MONTHS: Final = {name: number for number, name in enumerate(calendar.month_abbr) if name}
_FACILITIES: Final = {
    name: number
    for number, name in enumerate(
        (
            *("kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp"),
            *("", "", "", "", *(f"local{number}" for number in range(8))),
        )
    )
    if name
}

_LEVEL = rb"(?P<level>" + "|".join(LEVELS).encode() + rb")"
# Padded as netconsd writes them, with the column for no level.
_COLUMNS = "|".join(LEVEL_COLUMN.values()).encode()
_MONTH = rb"(?P<month>Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_CLOCK = rb"(?P<hour>[0-2][0-9]):(?P<minute>[0-5][0-9])(?::(?P<second>[0-6][0-9])(?:[.,](?P<fraction>[0-9]{1,9}))?)?"
_ZONE = rb"(?: ?(?P<zone>Z|UTC|GMT|[+-][0-9]{2}:?[0-9]{2}))?"
_WEEKDAY = rb"(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) )?"
# Times of day, each perhaps in brackets.
_TIMES = [
    re.compile(rb"\[?" + form + rb"(?:\](?: |(?=[^ ]))|[ ,] ?|$)")
    for form in (
        # 2026-11-28T07:00:00.123456+00:00, Fri 2026-11-28 07:00:00 UTC, dmesg's 2026-11-28T07:00:00,123456+00:00
        _WEEKDAY + rb"(?P<year>[0-9]{4})-(?P<month>[01][0-9])-(?P<day>[0-3][0-9])[T ]" + _CLOCK + _ZONE,
        # Fri Nov 28 07:00:00 2026
        _WEEKDAY + _MONTH + rb" {1,2}(?P<day>[0-9]{1,2}) " + _CLOCK + rb" (?P<year>(?:19|20)[0-9]{2})",
        # Nov 28 07:00:00, dmesg's Nov28 07:00
        _MONTH + rb" {0,2}(?P<day>[0-9]{1,2}) " + _CLOCK,
        # Seconds since 1970.
        rb"(?P<unix>1[0-9]{9}\.[0-9]{3,9})",
    )
]
# journalctl -o short-monotonic and short-delta, dmesg --show-delta.
_UPTIME = re.compile(rb"\[ *(?P<uptime>[0-9]{1,13}\.[0-9]{6})(?: <[ +0-9.]*>)?\] ?")
# dmesg --reltime within a minute.
_DELTA = re.compile(rb"\[ *\+[0-9]+\.[0-9]{6}\] ")
_PRIORITY = re.compile(rb"<(?P<priority>[0-9]{1,3})>(?:1 )?")
_DECODED = re.compile(rb"(?P<facility>" + "|".join(_FACILITIES).encode() + rb") *:" + _LEVEL + rb" *: ")
_HOST = rb"(?P<host>[A-Za-z0-9][A-Za-z0-9._:-]{0,254})"
# A host, and the tag of the kernel or of a program with its number; RFC 5424 has more fields.
_TAGGED = re.compile(rb"(?:" + _HOST + rb" )?(?:(?P<kernel>kernel)(?:\[0?\])?:(?: |$)|kernel - - - ?)")
_PROGRAM = re.compile(_HOST + rb" (?P<text>[^ :\[\]]{1,128}\[[0-9]{1,10}\]: .*)", re.DOTALL)
# Container runtimes.
_STREAM = re.compile(rb"std(?:out|err) [FP] ")
# netconsd's logger, after the time.
_LOGGED = re.compile(
    rb"(?:(?P<host>[^ \[]{1,300}) )?\[ *(?P<uptime>[0-9]{1,13}\.[0-9]{6}|-)\] (?P<level>" + _COLUMNS + rb") "
    rb"(?:\[(?:new|boot|again|late|incomplete|cont|[0-9]+ (?:lost|missing|over --rate))\] )*"
    rb"(?:\[(?P<caller>[TC][0-9]{1,10})\] )?(?P<text>.*)",
    re.DOTALL,
)
_CMARKS = rb"(?:\[(?:CONT START|CONT|OOS|SEQ RESET)\] )*(?P<text>.*)"
# The printer and the logger of the C daemon.
_PRINTED = re.compile(
    rb" *(?P<host>[0-9a-f:.]{2,46}): (?:(?:[^ ]{0,64} )?S[0-9]{6,20} T(?P<usec>[0-9]{14,20}) F(?P<facility>[0-9]{1,3})/"
    rb"L(?P<level>[0-7]) )?" + _CMARKS,
    re.DOTALL,
)
_CLOGGED = re.compile(
    rb"(?:[^ ]{1,64} )?[0-9]{6,20} (?P<usec>[0-9]{14,20}) (?P<facility>[0-9]{1,3}) (?P<level>[0-7]) " + _CMARKS,
    re.DOTALL,
)
_NEWLINE = re.compile(rb"\\x0a", re.IGNORECASE)


def kernel_lines(line: bytes, number: int, year: int) -> Iterator[Line]:
    """Yield the lines of kernel text that a line of a log has: mostly one, several after carriage returns.

    Escape sequences of terminals are left out. Any bytes.

    :param year: the year of times that have none.
    """
    if b"\x1b" in line:
        line = _ESCAPE.sub(b"", line)
    line = line.strip(b"\r\n\0")
    if b"\r" not in line and b"\0" not in line:
        yield from _lines(line, number, year)
        return
    for piece in _SEPARATOR.split(line, PIECES)[:PIECES]:
        if piece:
            yield from _lines(piece, number, year)


def _lines(line: bytes, number: int, year: int) -> Iterator[Line]:
    logged = _CLOGGED.match(line) if line[:1].isalnum() else _PRINTED.match(line) if b": " in line[:48] else None
    if logged is not None:
        host = logged.groupdict().get("host")
        usec = logged["usec"]
        prefix = None if usec is None else int(logged["facility"]) << 3 | int(logged["level"])
        stamp = b"" if usec is None else _stamp(int(usec))
        yield from _texts(number, None, host, prefix, stamp, logged["text"])
        return
    time, host, prefix, text = _without_parts(line, year)
    logged = _LOGGED.match(text) if time is not None and host is None else None
    if logged is not None:
        name = logged["level"].decode().rstrip()
        level = LEVELS.index(name) if name in LEVELS else None
        stamp = b"" if logged["uptime"] == b"-" else b"[%s]" % logged["uptime"].rjust(12)
        if logged["caller"]:
            stamp += b"[%s]" % logged["caller"].rjust(6)
        yield from _texts(number, time, logged["host"], level, stamp, logged["text"])
        return
    if prefix is not None and not text.startswith(b"<"):
        text = b"<%d>%s" % (prefix, text)
    yield Line(number, time, None if host is None else host.decode(), text)


def _texts(
    number: int, time: float | None, host: bytes | None, prefix: int | None, stamp: bytes, text: bytes
) -> Iterator[Line]:
    """Yield the lines of a text in which a newline is an escape."""
    head = b"" if prefix is None else b"<%d>" % prefix
    if stamp:
        head += stamp + b" "
    for part in _NEWLINE.split(text) if b"\\x0" in text else [text]:
        yield Line(number, time, None if host is None else host.decode("ascii", "replace"), head + part)


def _without_parts(line: bytes, year: int) -> tuple[float | None, bytes | None, int | None, bytes]:
    """Return time, host, facility * 8 + level, and the rest of the line."""
    time: float | None = None
    host: bytes | None = None
    prefix: int | None = None
    at = 0
    for _ in range(_PARTS):
        begin = at
        if (match := _PRIORITY.match(line, at)) and _time_at(line, match.end()) is not None:
            prefix, at = int(match["priority"]), match.end()
        if (match := _time_at(line, at)) is not None:
            moment = _moment(match, year)
            if moment is None:
                break
            time, at = moment, match.end()
            if match := _STREAM.match(line, at):
                at = match.end()
        if match := _DECODED.match(line, at):
            prefix = _FACILITIES[match["facility"].decode()] << 3 | LEVELS.index(match["level"].decode())
            at = match.end()
        elif match := _DELTA.match(line, at):
            at = match.end()
        if at == begin:
            break
    if match := _UPTIME.match(line, at):
        tagged = _TAGGED.match(line, match.end())
        if tagged is not None and tagged["host"] is not None:
            # journalctl's time is the kernel's, if the text has none of its own.
            rest = line[tagged.end() :]
            return time, tagged["host"], prefix, b"[%s] %s" % (match["uptime"].rjust(12), rest)
        return (
            time,
            host,
            prefix,
            b"[%s] %s" % (match["uptime"].rjust(12), line[match.end() :]) if b"<" in match[0] else line[at:],
        )
    if time is None:
        # Without a time, a tag alone.
        return None, None, prefix, line[len(b"kernel: ") :] if line.startswith(b"kernel: ") else line[at:]
    if match := _TAGGED.match(line, at):
        return time, match["host"], prefix, line[match.end() :]
    if match := _PROGRAM.match(line, at):
        # User space's: syslog's facility "user" tells it from the kernel's text.
        return time, match["host"], 14 if prefix is None else prefix, match["text"]
    return time, None, prefix, line[at:]


def _time_at(line: bytes, at: int) -> re.Match[bytes] | None:
    """Return the match of a time of day."""
    first = line[at : at + 1]
    if not first.isalnum() and first != b"[":
        return None
    for form in _TIMES:
        if match := form.match(line, at):
            return match
    return None


def _moment(match: re.Match[bytes], year: int) -> float | None:
    """Return the Unix time, or None for a date that does not exist."""
    found = {name: value.decode() for name, value in match.groupdict().items() if value is not None}
    if "unix" in found:
        return float(found["unix"])
    month = int(found["month"]) if found["month"].isdigit() else _MONTHS[found["month"]]
    day = int(found["day"])
    year = int(found.get("year", year))
    if not (1 <= month <= 12 and 1 <= day <= 31 and year >= 1970):
        return None
    second = calendar.timegm((year, month, day, int(found["hour"]), int(found["minute"]), int(found.get("second", 0))))
    return second + float(f"0.{found.get('fraction', '0')}") - _offset(found.get("zone", ""))


def _offset(zone: str) -> int:
    """Return the seconds of a zone east of Greenwich."""
    if not zone or zone[0] not in "+-":
        return 0
    seconds = int(zone[1:3]) * 3600 + int(zone[-2:]) * 60
    return -seconds if zone[0] == "-" else seconds


def _stamp(usec: int) -> bytes:
    return b"[%5d.%06d]" % divmod(usec, 1_000_000)
