"""Times as people write them, on a command line or in a page, in the forms of journalctl (systemd.time(7))."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final
from zoneinfo import ZoneInfo

# Seconds of a unit; a month and a year are those of systemd.time(7).
_UNITS: Final = {
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1.0),
    **dict.fromkeys(("m", "min", "minute", "minutes", "mins"), 60.0),
    **dict.fromkeys(("h", "hr", "hour", "hours"), 3600.0),
    **dict.fromkeys(("d", "day", "days"), 86400.0),
    **dict.fromkeys(("w", "week", "weeks"), 604800.0),
    **dict.fromkeys(("month", "months"), 2629800.0),
    **dict.fromkeys(("y", "year", "years"), 31557600.0),
}
_PART: Final = re.compile(r"(\d{1,9}(?:\.\d{1,6})?) ?([a-z]+) ?", re.ASCII)
_SPAN: Final = re.compile(rf"([+-]?)((?:{_PART.pattern})+?)( ?ago)?", re.ASCII)
_STAMP: Final = re.compile(
    r"(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]* )?"
    r"(?:(?:(?P<year>\d{4})-)?(?P<month>\d\d?)-(?P<day>\d\d?)|(?P<word>today|yesterday|tomorrow))?"
    r"(?:(?P<between>[t ])?(?P<hour>\d\d?):(?P<minute>\d\d)(?::(?P<second>\d\d)(?P<fraction>\.\d{1,9})?)?)?"
    r"(?: ?(?P<utc>z|utc)| ?(?P<offset>[+-]\d\d:?\d\d)| (?P<zone>[a-z_]+(?:/[a-z0-9_+-]+)+))?",
    re.ASCII | re.IGNORECASE,
)
_WORDS: Final = {"yesterday": -1, "today": 0, "tomorrow": 1}


def moment(text: str, now: float) -> float:
    """Return the Unix time of a text: ``2h``, ``-1h30m``, ``3 days ago``, ``2026-11-28 07:00``, ``07:00``, ``today``.

    Times of day are those of the machine's zone, if no zone is behind them: ``UTC``, ``Z``, ``+01:00`` or
    ``Europe/Berlin``. A date without a year is the last one. A span without ``+`` is in the past. ``@`` and a number is
    a Unix time.

    :raises ValueError: with a text that says which forms there are.
    """
    words = " ".join(text.split())
    found = _moment(words, now)
    if found is None:
        raise ValueError(f'{text} is not a time: write "2h", "3 days ago", "2026-11-28 07:00", "07:00" or "yesterday"')
    return found


def _moment(words: str, now: float) -> float | None:
    lower = words.lower()
    if lower == "now":
        return now
    if re.fullmatch(r"@\d{1,12}(\.\d{1,9})?", words, re.ASCII):
        return float(words[1:])
    if span := _SPAN.fullmatch(lower):
        parts = _PART.findall(span[2])
        if not all(unit in _UNITS for _, unit in parts) or (span[1] == "+" and lower.endswith("ago")):
            return None
        seconds = sum(float(count) * _UNITS[unit] for count, unit in parts)
        return now + seconds if span[1] == "+" else now - seconds
    stamp = _STAMP.fullmatch(words)
    if stamp is None:
        return None
    dated = bool(stamp["day"] or stamp["word"])
    if not (dated or stamp["hour"]) or (stamp["hour"] and dated != bool(stamp["between"])):
        return None
    try:
        return _of_stamp(stamp, now)
    # An unknown zone is a KeyError.
    except (KeyError, OverflowError, OSError, ValueError):
        return None


def _of_stamp(stamp: re.Match[str], now: float) -> float:
    zone: tzinfo | None = None
    if stamp["utc"]:
        zone = UTC
    elif stamp["offset"]:
        zone = datetime.strptime(stamp["offset"], "%z").tzinfo
    elif stamp["zone"]:
        zone = ZoneInfo(stamp["zone"])
    today = datetime.fromtimestamp(now, zone)
    day = today
    if stamp["word"]:
        day = today + timedelta(days=_WORDS[stamp["word"].lower()])
    elif stamp["day"]:
        year = int(stamp["year"] or today.year)
        day = datetime(year, int(stamp["month"]), int(stamp["day"]), tzinfo=zone)
        if not stamp["year"] and day > today:
            day = day.replace(year=year - 1)
    hour, minute, second = (int(stamp[name] or 0) for name in ("hour", "minute", "second"))
    clock = datetime(day.year, day.month, day.day, hour, minute, second, tzinfo=zone)
    return clock.timestamp() + float(stamp["fraction"] or 0)
