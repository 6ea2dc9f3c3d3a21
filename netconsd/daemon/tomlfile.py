"""A TOML file that knows the lines of its values, for error texts."""

from __future__ import annotations

import re
import tomllib
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
        table: tuple[str, ...] = ()
        best, best_line = 0, 0
        for number, line in enumerate(self._text.splitlines(), start=1):
            if line.lstrip().startswith("["):
                here = table = _keys(line) or table
            elif "=" in line:
                here = table + _keys(line.partition("=")[0] + "= 0")
            else:
                continue
            common = min(len(here), len(path))
            if best < common and here[:common] == path[:common]:
                best, best_line = common, number
        return f"{self.name}:{best_line}" if best else self.name


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


def _located(error: Exception, text: str) -> str:
    """Return ``:line: reason`` for the text of a parser's error."""
    reason = str(error)
    if match := re.fullmatch(r"(?s)(.*) \(at line (\d+), column (\d+)\)", reason):
        return f":{match[2]}: {match[1]} (column {match[3]})"
    if reason.endswith(" (at end of document)"):
        return f":{len(text.splitlines()) or 1}: {reason.removesuffix(' (at end of document)')}"
    return f": {reason}"
