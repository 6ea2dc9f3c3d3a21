"""Times on a command line, in the forms of journalctl (systemd.time(7)): what a person writes for "since when"."""

from __future__ import annotations

import re
import time
from typing import Final

_UNITS: Final = {"s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "hour": 3600, "d": 86400, "day": 86400, "w": 604800}
_AGO: Final = re.compile(r"-?(\d{1,9}) ?([a-z]+?)s?(?: ago)?")
_FORMS: Final = ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d", "%H:%M:%S", "%H:%M")


def moment(text: str, now: float) -> float:
    """Return the Unix time that a text means: ``2h``, ``3 days ago``, ``2026-11-28 07:00``, ``07:00``, ``yesterday``.

    Times of day are those of the machine's zone, of UTC with ``Z`` or ``UTC`` at the end. ``@`` and a number is a Unix
    time.

    :raises ValueError: with a text that says which forms there are.
    """
    words = text.strip().lower()
    if words == "now":
        return now
    if re.fullmatch(r"@\d{1,12}(\.\d{1,9})?", words):
        return float(words[1:])
    if (match := _AGO.fullmatch(words)) and match[2] in _UNITS:
        return now - int(match[1]) * _UNITS[match[2]]
    stamp = re.sub(r"(z| utc)$", "", words)
    utc = stamp != words
    today = time.gmtime(now) if utc else time.localtime(now)
    days = {"today": 0, "yesterday": 1}
    if stamp in days:
        return _unix((today.tm_year, today.tm_mon, today.tm_mday - days[stamp], 0, 0, 0), utc)
    stamp = stamp.replace("t", " ") if re.match(r"\d{4}-\d\d-\d\dt", stamp) else stamp
    for form in _FORMS:
        try:
            found = time.strptime(re.sub(r"(:\d\d)\.\d+$", r"\1", stamp), form)
        except ValueError:
            continue
        day = found[:3] if "%Y" in form else today[:3]
        return _unix((*day, *found[3:6]), utc)
    raise ValueError(f'{text} is not a time: write "2h", "3 days ago", "2026-11-28 07:00", "07:00" or "yesterday"')


def _unix(parts: tuple[int, ...], utc: bool) -> float:
    year, month, day, hour, minute, second = parts
    if utc:
        import calendar

        return float(calendar.timegm((year, month, day, hour, minute, second)))
    try:
        return time.mktime((year, month, day, hour, minute, second, 0, 0, -1))
    except OverflowError:
        raise ValueError(f"the year {year} has no time here") from None
