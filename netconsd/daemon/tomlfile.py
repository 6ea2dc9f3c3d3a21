"""A TOML file that knows the lines of its values, for error texts."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from netconsd.settings import ConfigError


class TomlFile:
    """A parsed file.

    :param name: its path as the user wrote it, for error texts.
    :param cwd: the base of a relative path.
    :raises ConfigError: with the line, if it cannot be read or is not TOML.
    """

    def __init__(self, name: str, cwd: Path) -> None:
        path = cwd / name
        self.name = name
        self.directory = path.parent
        """The base of relative paths in the file; absolute."""
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ConfigError(f"--config: {name}: {error.strerror}") from error
        except ValueError as error:  # a null byte in the path
            raise ConfigError(f"--config: {name!r}: {error}") from error
        try:
            # Some editors begin a file with a byte order mark, which TOML does not have.
            self._text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise ConfigError(f"{name}:{line}: is not UTF-8") from error
        try:
            self.values: dict[str, Any] = tomllib.loads(self._text)
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{name}{_located(error, self._text)}") from error

    def place(self, *path: str) -> str:
        """Return ``name:line`` of the key with this path, or of its table; the name alone if neither is found.

        It searches for keys and headers line by line, so a text of several lines that contains the same key can give a
        wrong line.
        """
        line = self.line(*path)
        return f"{self.name}:{line}" if line else self.name

    def line(self, *path: str) -> int:
        """Return the number of the line for :meth:`place`, or 0."""
        best, best_line = 0, 0
        for number, here in _paths(self._text):
            common = min(len(here), len(path))
            if best < common and here[:common] == path[:common]:
                best, best_line = common, number
        return best_line


def _paths(text: str) -> Iterator[tuple[int, tuple[str, ...]]]:
    """The line of each header and assignment, with its path."""
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if line.lstrip().startswith("["):
            table = _keys(line) or table
            yield number, table
        elif "=" in line:
            yield number, table + _keys(line.partition("=")[0] + "= 0")


def _keys(line: str) -> tuple[str, ...]:
    """Return the path in a header or an assignment, such as ``("module", "printer")``; empty for any other line."""
    try:
        value: Any = tomllib.loads(line)
    except (ValueError, RecursionError):
        return ()
    path = []
    while value and isinstance(value, (dict, list)):
        if isinstance(value, list):
            value = value[0]
            continue
        key, value = next(iter(value.items()))
        path.append(key)
    return tuple(path)


def _given_twice(text: str, number: int) -> str:
    """The error of a key or table that an earlier line gave."""
    lines = text.splitlines()
    paths = dict(_paths(text))
    # A value can end on a later line than its key.
    line = max((each for each in paths if each <= number), default=number)
    path = paths.get(line, ())
    earlier = next((each for each, other in paths.items() if each < line and other == path), None)
    name = ".".join(path) or lines[number - 1].strip()
    if earlier is None:
        # A table below a key that is a value, as [modules.printer] below modules = [...].
        above = next(
            (each for each, other in paths.items() if each < line and other and other == path[: len(other)]), 0
        )
        hint = f"; settings of a module are in [module.{path[1]}]" if path[:1] == ("modules",) and path[1:] else ""
        return f"{name}: contradicts line {above}{hint}" if above else f"{name}: is given twice{hint}"
    return f"{name}: is given twice, also in line {earlier}; remove one of them"


def _located(error: Exception, text: str) -> str:
    """Return ``:line: reason`` for the text of a parser's error."""
    reason = str(error)
    if match := re.fullmatch(r"(?s)(.*) \(at line (\d+), column (\d+)\)", reason):
        reason, line, column = match[1], int(match[2]), f" (column {match[3]})"
    elif reason.endswith(" (at end of document)"):
        reason, line, column = reason.removesuffix(" (at end of document)"), len(text.splitlines()) or 1, ""
    else:
        return f": {reason}"
    if reason.startswith("Cannot "):
        # Overwrite a value, declare a table twice, mutate a namespace: the second of two keys or tables.
        return f":{line}: {_given_twice(text, line)}"
    hint = "; text stands in quotes" if reason.startswith(("Invalid value", "Expected newline")) else ""
    return f":{line}: {reason}{column}{hint}"
