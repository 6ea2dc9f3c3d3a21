"""The parameters of the API as conditions on messages: those of ``netconsd log``.

Needs pyarrow: the extra ``netconsd[store]``. For the processes that read the store.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import translate
from typing import Any, Final

from netconsd.console.failure import Refused
from netconsd.names import Names
from netconsd.rendering import LEVELS
from netconsd.store.query import Query
from netconsd.store.when import moment

#: The names of a filter.
FILTER: Final = (*("host", "level", "grep", "exclude", "case", "since", "until", "boot", "release", "caller", "seq"),)
_CASES: Final = {"smart": None, "ignore": True, "match": False}
#: Conditions on hosts in one filter.
_HOSTS: Final = 100


class Parameters:
    """The parameters of a request, each read once; :meth:`end` refuses those that were not read."""

    def __init__(self, values: Mapping[str, Sequence[str]], now: float, names: Names) -> None:
        """
        :param now: Unix time.
        :param names: of machines, by which they can be chosen.
        """
        self._values = values
        self._read: set[str] = set()
        self.now = now
        self.names = names

    def text(self, name: str) -> str | None:
        """Return a parameter that may be given once; None if it is absent or empty."""
        found = self.texts(name)
        if len(found) > 1:
            raise Refused(400, f"{name}: is given {len(found)} times; give it once", name)
        return found[0] if found else None

    def texts(self, name: str) -> list[str]:
        """Return the values of a parameter, without empty ones: forms send those for fields without a value."""
        self._read.add(name)
        return [value for value in self._values.get(name, ()) if value]

    def whole(self, name: str, default: int, least: int, most: int) -> int:
        """Return a whole number."""
        text = self.text(name)
        if text is None:
            return default
        if not re.fullmatch(r"-?\d{1,18}", text, re.ASCII) or not least <= int(text) <= most:
            raise Refused(400, f"{name}: {shown(text)} is not a whole number from {least} to {most}", name)
        return int(text)

    def flag(self, name: str) -> bool:
        """Return whether a parameter is ``1``."""
        return self.choice(name, ("0", "1")) == "1"

    def choice(self, name: str, choices: Sequence[str]) -> str:
        """Return one of these; the first is the default."""
        text = self.text(name)
        if text is not None and text not in choices:
            raise Refused(400, f"{name}: {shown(text)} is not one of {', '.join(choices)}", name)
        return text or choices[0]

    def time(self, name: str) -> float | None:
        """Return a Unix time."""
        text = self.text(name)
        if text is None:
            return None
        if re.fullmatch(r"-?\d{1,12}(\.\d{1,9})?", text, re.ASCII):
            return float(text)
        try:
            return moment(text, self.now)
        except (ValueError, OverflowError):
            raise Refused(
                400,
                f'{name}: {shown(text)} is not a time: write Unix seconds, "2h", "2026-11-28 07:00" or "yesterday"',
                name,
            ) from None

    def end(self) -> None:
        """Refuse parameters that nothing has read: a misspelt condition would find everything."""
        for name in self._values:
            if name not in self._read:
                known = ", ".join(sorted(self._read)) or "none"
                raise Refused(400, f"{shown(name)}: is not a parameter here; there are: {known}", name)


@dataclass(frozen=True)
class Filter:
    """The conditions on a message."""

    query: Query

    @property
    def only_time_and_level(self) -> bool:
        """True if the indexes answer, which have the number of messages by minute and level."""
        plain = Query(since=self.query.since, until=self.query.until, level=self.query.level)
        return self.query == plain

    def since(self, at: float) -> Filter:
        """Return the filter from a time on, without an end."""
        return replace(self, query=replace(self.query, since=at, until=None, boot=None))


def read(parameters: Parameters) -> Filter:
    """Read the conditions.

    :raises Refused: if one is wrong.
    """
    hosts = parameters.texts("host")
    if len(hosts) > _HOSTS:
        raise Refused(400, f"host: is given {len(hosts)} times; {_HOSTS} is the most", "host")
    level = parameters.text("level")
    if level is not None:
        level = LEVELS[int(level)] if re.fullmatch("[0-7]", level) else level
        if level not in LEVELS:
            raise Refused(400, f"level: {shown(level)} is not one of {', '.join(LEVELS)} or 0 to 7", "level")
    boot = parameters.text("boot")
    if boot is not None and (not re.fullmatch(r"-?\d{1,12}", boot, re.ASCII) or 0 < int(boot) < 1_000_000):
        raise Refused(400, f"boot: {shown(boot)} is not a boot: write 0, -1 and so on, or the id of a boot", "boot")
    seq = parameters.text("seq")
    arguments: dict[str, Any] = {
        "since": parameters.time("since"),
        "until": parameters.time("until"),
        "hosts": _with_names(hosts, parameters.names),
        "level": None if level is None else LEVELS.index(level),
        "grep": parameters.text("grep"),
        "exclude": parameters.text("exclude"),
        "ignore_case": _CASES[parameters.choice("case", tuple(_CASES))],
        "boot": None if boot is None else int(boot),
        "release": parameters.text("release"),
        "caller": parameters.text("caller"),
        "seq": None if seq is None else parameters.whole("seq", 0, 0, (1 << 59)),
    }
    try:
        query = Query(**arguments)
    except ValueError as error:
        text = str(error).replace("hosts:", "host:", 1)
        for pattern in (arguments["grep"], arguments["exclude"]):
            # The reason is behind it.
            text = text.replace(pattern, shown(pattern)) if pattern else text
        raise Refused(400, shown(text, 400), text.partition(":")[0]) from None
    return Filter(query)


def _with_names(hosts: Sequence[str], names: Names) -> tuple[str, ...]:
    """Return the conditions for machines, in which names of the daemon's are addresses, as in ``netconsd log``.

    ``web01@192.0.2.7``, as machines are shown, is this address.
    """
    found: dict[str, None] = {}
    known = names.of_file() if hosts else {}
    for host in hosts:
        name, at, place = host.partition("@")
        if at and name and place and "=" not in host:
            host = place
        found[host] = None
        if "=" in host or "/" in host:
            continue
        if names.host_key not in ("", "host"):
            found[f"{names.host_key}={host}"] = None
        matches = re.compile(translate(host.lower())).fullmatch
        found |= {address: None for address, name in known.items() if matches(name.lower())}
    return tuple(found)


def shown(text: str, most: int = 80) -> str:
    """Return a stranger's text for an error: short and printable."""
    clean = "".join(character if character.isprintable() else "?" for character in text[: most + 1])
    return clean if len(clean) <= most else f"{clean[:most]}..."
