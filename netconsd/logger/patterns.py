"""The file of patterns whose lines the logger drops, in the format of the C daemon's logger.

::

    # Noise of the fleet.
    ignore:
      - ^usb .*: new .*-speed USB device
      - (?i)audit

A line that begins with ``#``, and an empty one, is skipped. ``ignore:`` begins the list; each item is ``- `` or two
spaces and ``- ``, and what stands behind it, to the end of the line, is a regular expression of RE2, without quotes
around it. Another line without indentation begins a section that is none of ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from netconsd.protocol.message import Message

__all__ = ["IgnoreError", "Patterns", "parse", "read"]

# For the automaton of all patterns, which RE2 builds while it matches, and throws away when it is full. RE2's own
# default of 8 MiB is used up by about a thousand patterns; whoever logs can make us build as much as is allowed here.
MAX_MEMORY: Final = 64 * 1024 * 1024

_SECTION: Final = "ignore:"
_BULLETS: Final = ("  - ", "- ")


class IgnoreError(ValueError):
    """Patterns that cannot be used: ``str()`` begins with the file and the line, and is for the user as it is."""


def parse(text: str, path: str) -> list[tuple[int, str]]:
    """Return the patterns of a file, each with the number of its line.

    :param path: for the texts of errors.
    :raises IgnoreError: for an indented line that is no item, an item before any section, and a pattern that every
        line would match because it is empty. The C daemon skips the former and obeys the latter, in silence.
    """
    found = []
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
            raise IgnoreError(f'{path}:{number}: stands before any "{_SECTION}"')
        if bullet is None:
            raise IgnoreError(f'{path}:{number}: is not a pattern: write "  - " and a regular expression')
        if not line.removeprefix(bullet).strip():
            raise IgnoreError(f"{path}:{number}: an empty pattern would drop every line")
        found.append((number, line.removeprefix(bullet)))
    return found


class Patterns:
    """Which messages to drop; all patterns are looked for at once, in time that grows with the line only.

    Immutable: any number of threads may use it.
    """

    def __init__(self, patterns: Sequence[tuple[int, str]], path: str) -> None:
        """
        :param patterns: as :func:`parse` returns them.
        :raises ModuleNotFoundError: without google-re2.
        :raises IgnoreError: for a pattern that RE2 does not take, or too many of them.
        """
        # Not everybody has it, and nobody needs it who drops nothing.
        import re2

        options = re2.Options()
        options.max_mem = MAX_MEMORY
        # It would write to stderr, which nobody reads.
        options.log_errors = False
        found: Any = re2.Set.SearchSet(options)
        for number, pattern in patterns:
            try:
                # Compiled by itself first: an error of the set does not say what is wrong.
                re2.compile(pattern, options)
                found.Add(pattern)
            except re2.error as error:
                reason = error.args[0]
                words = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
                raise IgnoreError(f"{path}:{number}: is not a regular expression of RE2: {words}") from error
        try:
            found.Compile()
        except re2.error as error:
            raise IgnoreError(f"{path}: all patterns together need more than {MAX_MEMORY >> 20} MiB") from error
        self._match = found.Match
        #: How many there are.
        self.count = len(patterns)

    def kept(self, messages: Sequence[Message]) -> list[Message]:
        """Return the messages that match no pattern, in order.

        What is looked at is what the C daemon's logger looks at, without the newline: of an extended message the
        text as it was sent, still escaped; of a legacy one the line with its prefix. A line on which RE2 runs out of
        memory is kept.
        """
        if not self.count:
            return list(messages)
        match = self._match
        # A NUL can stand in place of the newline (docs/wire section 4).
        return [message for message in messages if not match(message.raw.partition(b"\n")[0].rstrip(b"\0"))]


def read(path: str) -> Patterns:
    """Read a file of patterns.

    :raises OSError: if it cannot be read.
    :raises IgnoreError: if something in it is wrong.
    :raises ModuleNotFoundError: without google-re2.
    """
    with open(path, "rb") as file:
        content = file.read()
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start) + 1
        raise IgnoreError(f"{path}:{number}: is not UTF-8") from error
    return Patterns(parse(text, path), path)
