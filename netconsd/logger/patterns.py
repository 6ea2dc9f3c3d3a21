"""The file of patterns of the setting ``ignore``, in the format of the C daemon's logger::

    # Noise of the fleet.
    ignore:
      - ^usb .*: new .*-speed USB device
      - (?i)audit

Empty lines and lines that begin with ``#`` are skipped. ``ignore:`` begins the list. An item is ``- `` or two spaces
and ``- ``; the rest of its line is a regular expression of RE2, without quotes around it. Any other line without
indentation begins a section that is skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from twisted.logger import Logger

from netconsd.logger.bounded_re import LINE_LIMIT, search_of
from netconsd.logger.checks import read_regular
from netconsd.protocol.message import Message

# Bytes of the automaton of all patterns, which RE2 builds from the lines that it matches. A sender can fill it. RE2's
# default of 8 MiB is full with about a thousand patterns.
MAX_MEMORY: Final = 64 * 1024 * 1024

_SECTION: Final = "ignore:"
_BULLETS: Final = ("  - ", "- ")


class PatternsError(ValueError):
    """A malformed file of patterns: ``str()`` begins with the file and the line, and is for the user."""


def parse(text: str, path: str) -> list[tuple[int, str]]:
    """Return the patterns of a file, each with the number of its line.

    :param path: for the texts of errors.
    :raises PatternsError: for an indented line that is no item, an item before any section, and an empty pattern,
        which would match every line. The C daemon skips the first two and uses the third, without an error.
    """
    patterns = []
    section = ""
    for number, line in enumerate(text.split("\n"), 1):
        line = line.removesuffix("\r")
        if not line or line.startswith("#"):
            continue
        if not line.startswith((" ", "\t", "-")):
            section = line.rstrip()
            continue
        if section and section != _SECTION:
            continue
        bullet = next((bullet for bullet in _BULLETS if line.startswith(bullet)), None)
        if not section:
            raise PatternsError(f'{path}:{number}: stands before any "{_SECTION}"')
        if bullet is None:
            raise PatternsError(f'{path}:{number}: is not a pattern: write "  - " and a regular expression')
        if not line.removeprefix(bullet).strip():
            raise PatternsError(f"{path}:{number}: an empty pattern would drop every line")
        patterns.append((number, line.removeprefix(bullet)))
    return patterns


#: Returns whether a line matches any pattern.
_Match = Callable[[bytes], Any]


class Patterns:
    """A set of patterns. Immutable; any thread.

    With google-re2 it is searched in one pass, in time linear in the length of a line. google-re2 has no wheels for
    every Python, and turns the GIL of a free-threaded one on; without it, Python's ``re`` searches for one pattern
    after the other, within the bounds of :mod:`netconsd.logger.bounded_re`.
    """

    def __init__(self, patterns: Sequence[tuple[int, str]], path: str) -> None:
        """
        :param patterns: as :func:`parse` returns them; the line 0 is none.
        :raises PatternsError: for a pattern that the library rejects, or for too many patterns.
        """
        # Imported here, because only users of patterns need the library.
        try:
            import re2
        except ModuleNotFoundError:
            re2 = None
        #: The library that searches: ``re2`` or ``re``.
        self.library = "re" if re2 is None else "re2"
        self._match = _re_match(patterns, path) if re2 is None else _re2_match(re2, patterns, path)
        #: The number of patterns.
        self.count = len(patterns)

    def kept(self, messages: Sequence[Message]) -> list[Message]:
        """Return the messages that match no pattern, in order.

        Patterns are matched against the same bytes as in the C daemon's logger, without the newline: the text of an
        extended message as it was sent, still escaped; a legacy line with its prefix. A line on which RE2 runs out of
        memory is kept.
        """
        if not self.count:
            return list(messages)
        match = self._match
        # A NUL can replace the newline (docs/wire section 4).
        return [message for message in messages if not match(message.raw.partition(b"\n")[0].rstrip(b"\0"))]


def _re2_match(re2: Any, patterns: Sequence[tuple[int, str]], path: str) -> _Match:
    options = re2.Options()
    options.max_mem = MAX_MEMORY
    # RE2 would write to stderr, which the daemon does not log.
    options.log_errors = False
    search: Any = re2.Set.SearchSet(options)
    for number, pattern in patterns:
        try:
            # Compiled alone first, because an error of the set has no reason.
            re2.compile(pattern, options)
            search.Add(pattern)
        except re2.error as error:
            reason = error.args[0]
            text = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
            raise PatternsError(f"{_at(path, number)}: is not a regular expression of RE2: {text}") from error
    try:
        search.Compile()
    except re2.error as error:
        raise PatternsError(f"{path}: all patterns together need more than {MAX_MEMORY >> 20} MiB") from error
    match: _Match = search.Match
    return match


def _re_match(patterns: Sequence[tuple[int, str]], path: str) -> _Match:
    searches = []
    for number, pattern in patterns:
        try:
            searches.append(search_of(pattern).search)
        except ValueError as error:
            raise PatternsError(f"{_at(path, number)}: {error}") from error
    return lambda line: any(search(line, 0, LINE_LIMIT) for search in searches)


def _at(path: str, number: int) -> str:
    return f"{path}:{number}" if number else path


def read(path: str) -> Patterns:
    """Read a file of patterns; log it if google-re2 is not available.

    :raises OSError: if the file cannot be read.
    :raises PatternsError: if a line is malformed.
    """
    content = read_regular(path)
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start) + 1
        raise PatternsError(f"{path}:{number}: is not UTF-8") from error
    patterns = Patterns(parse(text, path), path)
    if patterns.library == "re":
        Logger("netconsd.logger").warn(
            "The patterns of {path} are searched by Python's re in the first {bytes} bytes of a line, because "
            "google-re2 is not installed (pip install google-re2)",
            path=path,
            bytes=LINE_LIMIT,
        )
    return patterns
