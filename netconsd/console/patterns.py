"""The patterns of a store for the console: those that are frequent, rising, or new in a release.

The numbers are of whole segments, as :meth:`netconsd.store.reader.Store.counts` has them for whole minutes.
"""

from __future__ import annotations

from typing import Any, Final

from netconsd.console.crashes import is_new_in, version
from netconsd.console.failure import Refused
from netconsd.console.filters import Parameters, read, shown
from netconsd.console.limits import PATTERNS
from netconsd.rendering import LEVELS
from netconsd.store.patterns import Pattern
from netconsd.store.reader import Store

#: A pattern is rising if its rate is so many times that of before.
RISING: Final = 4.0
#: Seconds of the time that is compared with the time before, without ``since``.
_RECENT_SECONDS: Final = 86400.0
#: Machines of a pattern that are named; the number of all is given as well.
_HOSTS: Final = 50


def pattern_list(store: Store, parameters: Parameters) -> dict[str, Any]:
    """Return the patterns that meet the parameters, the most rising or frequent first."""
    chosen = read(parameters).query
    new_in, rising = parameters.text("new_in"), parameters.flag("rising")
    limit = parameters.whole("limit", PATTERNS, 1, PATTERNS)
    parameters.end()
    if new_in is not None and not version(new_in):
        raise Refused(400, f"new_in: {shown(new_in)} is not a release, such as 7.3", "new_in")
    begin = chosen.since
    if begin is None and rising:
        begin = parameters.now - _RECENT_SECONDS
    found = store.patterns(since=begin, until=chosen.until, hosts=chosen.hosts)
    # New in the whole store: a pattern of an old kernel is not new because it was not seen of late.
    every = {pattern.form: pattern.releases for pattern in store.patterns()} if new_in is not None else {}
    before = {pattern.form: pattern for pattern in store.patterns(until=begin)} if begin is not None else {}
    shown_: list[dict[str, Any]] = []
    for pattern in found:
        if chosen.level is not None and (pattern.level is None or pattern.level > chosen.level):
            continue
        if new_in is not None and not is_new_in(every.get(pattern.form, pattern.releases), new_in):
            continue
        rise = None if begin is None else _rise(pattern, before, begin, parameters.now)
        if rising and (rise is None or rise < RISING):
            continue
        shown_.append(_fields(pattern, rise))
    shown_.sort(key=lambda row: (-(row["rise"] or 0.0) if rising else 0.0, -row["count"], row["form"]))
    return {"patterns": shown_[:limit], "complete": len(shown_) <= limit, "levels": list(LEVELS)}


def _rise(pattern: Pattern, before: dict[str, Pattern], begin: float, now: float) -> float | None:
    """Return how many times as frequent a pattern is as before; one that was never seen counts as seen once. None if
    nothing is known of before."""
    first = min((each.first for each in before.values()), default=begin)
    if begin - first < 1.0:
        return None
    known = before.get(pattern.form)
    old = max(1, known.count if known is not None else 0) / (begin - first)
    return (pattern.count / max(1.0, now - begin)) / old


def _fields(pattern: Pattern, rise: float | None) -> dict[str, Any]:
    return {
        "form": pattern.form,
        "level": pattern.level,
        "count": pattern.count,
        "first": pattern.first,
        "last": pattern.last,
        "hosts": sorted(pattern.hosts)[:_HOSTS],
        "machines": len(pattern.hosts),
        "releases": pattern.releases,
        "new_in": min((name for name in pattern.releases if version(name)), key=version, default=None),
        "example": pattern.example,
        "rise": rise,
    }
