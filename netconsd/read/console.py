"""Removes the parts of a line that other programs put before a kernel's text: syslog, journalctl, dmesg, conserver,
``ts``, netconsd's own modules. Each line is looked at by itself, so that a file can be a mixture.

The forms are those of RFC 3164 and RFC 5424, journalctl(1) ``--output``, dmesg(1) ``--time-format`` and ``--decode``,
and :mod:`netconsd.logger.lines`. A record of /dev/kmsg or of netconsole's extended format becomes the line that the
kernel writes of it to its console.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterator
from typing import Final

from netconsd.read.entries import Line
from netconsd.read.months import month_of
from netconsd.rendering import LEVEL_COLUMN, LEVELS

# The parts before a text: a priority, a time of ts or conserver, a time of syslog, dmesg --decode.
_PARTS: Final = 4
#: The pieces of a line between carriage returns or NULs that are looked at: a progress bar has hundreds.
PIECES: Final = 64

_ESCAPE = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[ -/]+[0-~]|[0-Z\\^-~])")
_SEPARATOR = re.compile(rb"[\r\0]+")

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
# As syslog daemons write them; the last ones are other names (syslog(3)).
_SYSLOG_LEVELS: Final = {
    **{name: number for number, name in enumerate(LEVELS)},
    "emergency": 0,
    "panic": 0,
    "critical": 2,
    "error": 3,
    "warning": 4,
    "informational": 6,
}
# Padded as netconsd writes them, with the column for no level.
_COLUMNS = "|".join(LEVEL_COLUMN.values()).encode()
# Whether it is the name of a month is asked later: dmesg and journalctl translate it (strftime(3)).
_MONTH = rb"(?P<month>[A-Za-z\x80-\xff]{2,24}\.?| ?[01]?[0-9](?:\xe6\x9c\x88|\xec\x9b\x94))"
_CLOCK = rb"(?P<hour>[0-2][0-9]):(?P<minute>[0-5][0-9])(?::(?P<second>[0-6][0-9])(?:[.,](?P<fraction>[0-9]{1,9}))?)?"
_ZONE = rb"(?: ?(?P<zone>Z|UTC|GMT|[+-][0-9]{2}:?[0-9]{2}))?"
# journalctl's short-full has the name of the zone as the C library has it: CET, -03.
_NAMED_ZONE = rb" (?P<zone>[A-Z]{2,5}|[+-][0-9]{2}(?:[0-9]{2})?)(?= )"
_WEEKDAY = rb"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) "
_ANY_WEEKDAY = rb"(?:[A-Za-z\x80-\xff]{2,24}\.? )?"
# Times of day, each perhaps in brackets; dmesg -T -d has the difference to the line before in them.
_TIMES = [
    re.compile(rb"\[?" + form + rb"(?:(?: <[ 0-9.,]{1,20}>)?\](?: |(?=[^ ]))|[ ,] ?|$)")
    for form in (
        # Fri 2026-11-28 07:00:00 CET
        _WEEKDAY + rb"(?P<year>[0-9]{4})-(?P<month>[01][0-9])-(?P<day>[0-3][0-9]) " + _CLOCK + _NAMED_ZONE,
        # 2026-11-28T07:00:00.123456+00:00, dmesg's 2026-11-28T07:00:00,123456+00:00, others' 2026/11/28 07:00:00
        rb"(?:"
        + _WEEKDAY
        + rb")?(?P<year>[0-9]{4})(?P<dash>[-/])(?P<month>[01][0-9])(?P=dash)(?P<day>[0-3][0-9])[T ]"
        + _CLOCK
        + _ZONE,
        # Fri Nov 28 07:00:00 2026, with the zone in date(1)
        _ANY_WEEKDAY + _MONTH + rb" {1,2}(?P<day>[0-9]{1,2}) " + _CLOCK + rb"(?: (?P<zone>[A-Z]{2,5}|[+-][0-9]{2,4}))?"
        rb" (?P<year>(?:19|20)[0-9]{2})",
        # Nov 28 07:00:00, dmesg's Nov28 07:00
        _MONTH + rb" {0,2}(?P<day>[0-9]{1,2}) " + _CLOCK,
        # Seconds since 1970.
        rb"(?P<unix>1[0-9]{9}\.[0-9]{3,9})",
    )
]
# tio's default, and the seconds of grabserial: no time of day without a date.
_CLOCK_ONLY = re.compile(
    rb"\[(?:[0-2][0-9]:[0-5][0-9]:[0-6][0-9](?:\.[0-9]{1,9})?|[0-9]{1,9}\.[0-9]{6} [0-9]{1,9}\.[0-9]{6})\] "
)
# Seconds east of Greenwich. Names that several zones have, such as CST and IST, are left out.
_ZONES: Final = {
    name: int(hours * 3600)
    for hours, names in (
        *((-10, "HST"), (-9, "AKST"), (-8, "AKDT PST"), (-7, "PDT MST"), (-6, "MDT"), (-5, "EST CDT"), (-4, "EDT")),
        *((0, "UTC GMT WET Z"), (1, "CET WEST BST"), (2, "CEST EET SAST"), (3, "EEST MSK"), (8, "HKT AWST")),
        *((9, "JST KST"), (9.5, "ACST"), (10, "AEST"), (10.5, "ACDT"), (11, "AEDT"), (12, "NZST"), (13, "NZDT")),
    )
    for name in names.split()
}
# journalctl -o short-monotonic and short-delta, dmesg --show-delta.
_UPTIME = re.compile(rb"\[ *(?P<uptime>[0-9]{1,13}\.[0-9]{6})(?: <[ +0-9.,]*>)?\] ?")
# dmesg --reltime within a minute, and --time-format=delta; the decimal point is that of the language. A number without
# it is the address of a frame.
_DELTA = re.compile(rb"\[(?: *\+[0-9]+[.,][0-9]{6}|<[ 0-9]{1,13}[.,][0-9]{6}>)\] ")
_PRIORITY = re.compile(rb"<(?P<priority>[0-9]{1,3})>(?:1 )?")
_DECODED = re.compile(rb"(?P<facility>" + "|".join(_FACILITIES).encode() + rb") *:" + _LEVEL + rb" *: ")
# As busybox and OpenWrt's logread write a priority: kern.warn.
_NAMED_PRIORITY = (
    rb"(?:(?P<facility>"
    + "|".join(_FACILITIES).encode()
    + rb")\.(?P<level>"
    + "|".join(_SYSLOG_LEVELS).encode()
    + rb") )"
)
_NO_PRIORITY = rb"(?!" + re.sub(rb"\?P<[a-z]+>", b"?:", _NAMED_PRIORITY) + rb")"
_HOST = rb"(?:(?P<host>" + _NO_PRIORITY + rb"[A-Za-z0-9][A-Za-z0-9._:@/%+-]{0,254})|-)"
_BOM = rb"(?:\xef\xbb\xbf)?"
# Structured data of RFC 5424 (section 6.3).
_DATA = rb"(?:-|(?:\[(?:[^\]\\]|\\.){1,1024}\]){1,8})"
# A host, and the tag of the kernel or of a program with its number; RFC 5424 has more fields, metalog has no host.
_TAGGED = re.compile(
    rb"(?:" + _HOST + rb" )?" + _NAMED_PRIORITY + rb"?(?:kernel(?:\[0?\])?:(?: |$)|kernel - - " + _DATA + rb" ?" + _BOM
    + rb"|\[kernel\] )"
)  # fmt: skip
_PROGRAM = re.compile(
    rb"(?:" + _HOST + rb" |" + _NO_PRIORITY.replace(b"?!", b"?=") + rb")" + _NAMED_PRIORITY
    + rb"?(?P<text>[^ :\[\]]{1,128}\[[0-9]{1,10}\]: .*)",
    re.DOTALL,
)  # fmt: skip
_NUMBERED = re.compile(rb"[0-9]{1,5} (?=<[0-9]{1,3}>1 )")
# A record: release, prefix, number, microseconds, flag, keys (WIRE.md, section 3).
_HEADER = (
    rb"(?:[!-+\--~]{1,64},)?(?P<prefix>[0-9]{1,4}),(?P<seq>[0-9]{1,19}),(?P<usec>[0-9]{1,19}),[-c+][^,;]{0,8}"
    rb"(?P<keys>(?:,[^,; ]{1,80}){0,8});"
)
_RECORD = re.compile(_HEADER + rb"(?P<text>.*)", re.DOTALL)
_HIGHEST_PREFIX: Final = 2047
_CALLER = re.compile(rb",caller=([TC][0-9]{1,10})(?:,|$)")
# A kernel's text that a syslog daemon received from netconsole, and took for RFC 3164: it writes the sender and no tag.
# The rest is a kernel's after an address, and where it begins with something that only kernels write.
_ONLY_KERNELS = rb" ?(?:\[ *[0-9]{1,7}\.[0-9]{6}\]|" + re.sub(rb"P<[a-z]+>", b":", _HEADER) + rb")"
_ADDRESS = rb"(?:[0-9]{1,3}\.){3}[0-9]{1,3}|[0-9a-f]{0,4}:[0-9a-f:.]{1,41}(?:%[^ ]{1,15})?"
_SENT = re.compile(
    rb"(?:(?P<host>" + _ADDRESS + rb") |" + _HOST.replace(b"<host>", b"<name>") + rb" (?=" + _ONLY_KERNELS + rb"))"
    rb" ?(?P<text>.*)",
    re.DOTALL,
)  # fmt: skip
# The same in RFC 5424: the first word is taken for a program's name, and a colon behind it is left out.
_NO_COLON: Final = (b";", b"Kernel", b"Modules", b"Call", b"PGD", b"Hardware", b"Rebooting")
_SENT_5424 = re.compile(_HOST + rb" (?P<word>[^ ]{1,128}) - - " + _DATA + rb" ?" + _BOM + rb" ?(?P<text>.*)", re.DOTALL)
# syslog-ng takes the bracket of a kernel's time stamp for that of a program's number.
_WITHOUT_BRACKET = re.compile(rb" *[0-9]{1,7}\.[0-9]{6}\]")
# The priority of messages without one (RFC 3164, section 4.3.3).
_DEFAULT_PRIORITY: Final = 13
# rsyslog writes control characters in octal: #011, #012.
_OCTAL = re.compile(rb"#(0[0-3][0-7]|177)")
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
# What further lines of a text have in common with the first one; the values of a record, the shortest of journalctl's
# parts before a text: "[    1.000000] a kernel: ".
_HEAD = re.compile(rb"(?:<[0-9]{1,4}>)?(?:\[ *[0-9]{1,13}\.[0-9]{6}\](?:\[ *[TC][0-9]{1,10}\])? )?")
_VALUE = re.compile(rb" [A-Za-z_][^ =]{0,63}=")
_LEAST_INDENT: Final = 24
# journalctl's own lines, between the boots and at the begin.
_NOTE = re.compile(rb"-- (?:Boot [0-9a-f]{32}|Reboot|No entries|Logs begin at .{1,99}|Journal begins at .{1,99}) --")
_NEWLINE = re.compile(rb"\\x0a", re.IGNORECASE)
_ESCAPED = re.compile(rb"\\x([0-9a-fA-F]{2})")


def kernel_lines(line: bytes, number: int, year: int) -> Iterator[Line]:
    """Yield the lines of kernel text that a line of a log has: mostly one, several after carriage returns.

    Escape sequences of terminals are left out. Any bytes.

    :param year: the year of times that have none.
    """
    if b"\x1b" in line:
        line = _ESCAPE.sub(b"", line)
    line = line.strip(b"\r\n\0").removeprefix(b"\xef\xbb\xbf")
    if line.startswith(b"-- ") and _NOTE.fullmatch(line):
        return
    if b"\r" not in line and b"\0" not in line:
        yield from _lines(line, number, year)
        return
    for piece in _SEPARATOR.split(line, PIECES)[:PIECES]:
        if piece:
            yield from _lines(piece, number, year)


def record_of(line: bytes) -> tuple[int, int] | None:
    """Return the number and the microseconds of a line that begins with a record's header; None for another line."""
    match = _RECORD.match(line)
    if match is None or int(match["prefix"]) > _HIGHEST_PREFIX:
        return None
    return int(match["seq"]), int(match["usec"])


def further_lines(line: bytes, number: int, before: bytes, last: Line) -> list[Line] | None:
    """Return the entries of a line that continues the one before it; None if it does not continue it.

    journalctl indents further lines of a text up to its first line's text. After a record come its dictionary and
    userdata, which are no lines of the console.

    :param before: the line that may be continued, as it is in the file.
    :param last: its last entry.
    """
    if not line.startswith(b" "):
        return None
    if _VALUE.match(line) and _RECORD.match(before):
        return []
    indent = len(line) - len(line.lstrip(b" "))
    if last.host is None or indent < _LEAST_INDENT or not before.endswith(b": ", 0, indent):
        return None
    head = _HEAD.match(last.text)
    return [Line(number, last.time, last.host, (head[0] if head else b"") + line[indent:].rstrip(b"\r"))]


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
    record = _RECORD.match(text) if text[:1].isalnum() else None
    if record is not None and int(record["prefix"]) <= _HIGHEST_PREFIX:
        stamp = _stamp(int(record["usec"]))
        if caller := _CALLER.search(record["keys"]):
            stamp += b"[%s]" % caller[1].rjust(6)
        # A newline ends the text of a record; one within it is escaped.
        body = _OCTAL.split(record["text"], maxsplit=1)[0] if host is not None else record["text"]
        for each in _texts(number, time, host, int(record["prefix"]), stamp, body):
            unescaped = _ESCAPED.sub(lambda found: bytes.fromhex(found[1].decode()), each.text)
            yield Line(number, time, None if host is None else host.decode(), unescaped)
        return
    if host is not None and b"#" in text:
        text = _OCTAL.sub(lambda found: bytes((int(found[1], 8),)), text)
    first, *further = text.split(b"\n") if b"\n" in text else [text]
    if prefix is not None and not first.startswith(b"<"):
        first = b"<%d>%s" % (prefix, first)
    for part in (first, *further):
        yield Line(number, time, None if host is None else host.decode(), part)


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
    at = match.end() if (match := _NUMBERED.match(line)) else 0
    for _ in range(_PARTS):
        begin = at
        if (match := _PRIORITY.match(line, at)) and _time_at(line, match.end()) is not None:
            prefix, at = int(match["priority"]), match.end()
        if (match := _time_at(line, at)) is not None:
            moment = _moment(match, year)
            if moment is None and match[0][:1] != b"[":
                break
            # In brackets, a month of an unknown language: only the time is not known.
            time, at = moment, match.end()
            if match := _STREAM.match(line, at):
                at = match.end()
        if match := _DECODED.match(line, at):
            prefix = _FACILITIES[match["facility"].decode()] << 3 | LEVELS.index(match["level"].decode())
            at = match.end()
        elif match := _DELTA.match(line, at) or _CLOCK_ONLY.match(line, at):
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
        return time, match["host"], _priority(match, prefix), line[match.end() :]
    if match := _PROGRAM.match(line, at):
        # User space's: syslog's facility "user" tells it from the kernel's text.
        return time, match["host"], _priority(match, 14 if prefix is None else prefix), match["text"]
    if match := _SENT_5424.match(line, at):
        text = match["text"]
        word = match["word"]
        if word != b"-":
            text = b"%s%s %s" % (word, b"" if word.endswith(_NO_COLON) else b":", text)
        elif _WITHOUT_BRACKET.match(text):
            text = b"[" + text
        return time, match["host"], None if prefix == _DEFAULT_PRIORITY else prefix, text
    if (match := _SENT.match(line, at)) and not _LOGGED.match(line, at):
        return time, match["host"] or match["name"], prefix, match["text"]
    return time, None, prefix, line[at:]


def _priority(match: re.Match[bytes], prefix: int | None) -> int | None:
    """Return the priority that a line has in words; without one, ``prefix``."""
    if match["level"] is None:
        return prefix
    return _FACILITIES[match["facility"].decode()] << 3 | _SYSLOG_LEVELS[match["level"].decode()]


def _time_at(line: bytes, at: int) -> re.Match[bytes] | None:
    """Return the match of a time of day."""
    first = line[at : at + 1]
    if not first.isalnum() and first != b"[" and first < b"\x80":
        return None
    for form in _TIMES:
        if match := form.match(line, at):
            return match
    return None


def _moment(match: re.Match[bytes], year: int) -> float | None:
    """Return the Unix time, or None for a date that does not exist."""
    found = {name: value.decode(errors="replace") for name, value in match.groupdict().items() if value is not None}
    if "unix" in found:
        return float(found["unix"])
    # Of the bytes: a superscript is a digit as well, and no number.
    month = int(found["month"]) if match["month"].isdigit() else month_of(match["month"]) or 0
    day = int(found["day"])
    year = int(found.get("year", year))
    if not (1 <= month <= 12 and 1 <= day <= 31 and year >= 1970):
        return None
    second = calendar.timegm((year, month, day, int(found["hour"]), int(found["minute"]), int(found.get("second", 0))))
    return second + float(f"0.{found.get('fraction', '0')}") - _offset(found.get("zone", ""))


def _offset(zone: str) -> int:
    """Return the seconds of a zone east of Greenwich."""
    if not zone or zone[0] not in "+-":
        return _ZONES.get(zone, 0)
    seconds = int(zone[1:3]) * 3600 + int(zone[3:].strip(":") or 0) * 60
    return -seconds if zone[0] == "-" else seconds


def _stamp(usec: int) -> bytes:
    return b"[%5d.%06d]" % divmod(usec, 1_000_000)
