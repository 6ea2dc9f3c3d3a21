"""Splits one sender's legacy text into lines, across datagrams (docs/wire section 2).

1. A line ends at a newline. In a datagram that ends with a NUL, a NUL ends a line as well; elsewhere it is text.
2. The rest of a datagram is an unfinished line, which the next datagram continues (``--framing``: always with ``line``,
   never with ``datagram``).
3. With ``auto``, a datagram that begins with ``<N>``, a kernel's timestamp or ``{`` begins a line, because many senders
   send a line per datagram without a newline. It continues the line only if the datagram before was cut at the kernel's
   1000 bytes.
"""

from __future__ import annotations

import re

from netconsd.protocol import octets
from netconsd.protocol.encode import CHUNK
from netconsd.protocol.message import LegacyMessage, Source

# The longest record of a kernel has about 1000 bytes, but other senders may send up to 64 KiB in a datagram. A sender
# that never sends a newline gets its text cut into lines of this length, so that it does not fill the memory.
LINE_LIMIT = 65536
# A datagram that consists of newlines would be one message per byte: with 64 KiB, a third of a second for a module that
# takes 5 us per message. This bound makes the number of messages proportional to the bytes, so that a bound of a queue
# in KiB is also a bound in messages. A kernel's datagram of 1000 bytes has a dozen lines; with timestamps there is no
# room for 63.
LINES_PER_KIB = 128
# The memory of an unfinished line besides its bytes, with its entry in the schedule. Measured: 236 bytes (CPython 3.11)
# and 301 in a free-threaded Python, whose objects are larger (3.13). The bound of the daemon's memory allows a quarter
# more than the cost (tests/protocol/test_reorder_costs).
LINE_OVERHEAD = 250

# Rule 2: the values of the setting ``framing``, and their places in it.
FRAMINGS = ("auto", "line", "datagram")
AUTO = FRAMINGS.index("auto")
LINE = FRAMINGS.index("line")
DATAGRAM = FRAMINGS.index("datagram")

# Compiled, these are C variables, which are attributes of the module only if put there.
globals().update(LINES_PER_KIB=LINES_PER_KIB, AUTO=AUTO, LINE=LINE, DATAGRAM=DATAGRAM)

# Rule 3. A brace alone is one of the small pieces in which old kernels send a line.
_BEGINNING = re.compile(rb"<[0-9]{1,4}>|\[ *[0-9]{1,13}\.[0-9]{6}\]|\{.", re.DOTALL)
# Rule 1. Senders of C strings fill the rest of their buffer with NULs, which are no lines of their own.
_END = re.compile(rb"\n\0*|\0+")
_NUL = 0
_NEWLINE = ord("\n")


class LineBuffer:
    """An unfinished line, or an unfinished record (:mod:`netconsd.protocol.records`): at least one byte."""

    __slots__ = ("_text", "cut", "deadline", "is_record", "seq", "started_at")

    def __init__(self, text: bytes, received_at: float, deadline: float) -> None:
        # A bytearray, because a line may arrive byte by byte: a list of its parts would take 40 times the memory.
        self._text = bytearray(text)
        #: When the first byte of the line was received (Unix time).
        self.started_at = received_at
        #: When the line is delivered unfinished (monotonic time).
        self.deadline = deadline
        #: Whether the last datagram had a size at which senders cut, so that the next one may begin with anything.
        self.cut = False
        #: Whether this is a record, and its seq.
        self.is_record = False
        self.seq = 0

    def append(self, text: bytes) -> None:
        self._text += text

    @property
    def size(self) -> int:
        return len(self._text)

    @property
    def cost(self) -> int:
        """The approximate memory of the line in bytes."""
        return len(self._text) + LINE_OVERHEAD

    def line(self) -> bytes:
        return bytes(self._text)

    def end(self, size: int) -> bytes:
        """The last bytes."""
        return bytes(self._text[-size:])


def begins_line(datagram: bytes) -> bool:
    """True if a datagram begins a line by rule 3."""
    return _BEGINNING.match(datagram) is not None


def split(
    pending: LineBuffer | None,
    text: bytes,
    source: Source,
    received_at: float,
    deadline: float,
    lines: list[LegacyMessage],
    framing: int = AUTO,
) -> LineBuffer | None:
    """Append the lines that ``text`` finishes to ``lines``; return the unfinished line, if there is one.

    A datagram becomes at most :data:`LINES_PER_KIB` lines for each KiB that it begins; the last one then contains all
    the remaining text, with its newlines.

    :param pending: the unfinished line before this text.
    :param deadline: the deadline of a line that begins with this text and is unfinished.
    :param framing: the index of one of :data:`FRAMINGS`.
    """
    start = 0
    length = len(text)
    if pending is not None and framing == AUTO and not pending.cut and begins_line(text):
        lines.append(LegacyMessage(source, pending.started_at, pending.line()))
        pending = None
    ends_with_nul = length > 0 and text[length - 1] == _NUL
    room = LINES_PER_KIB * (1 + length // 1024)
    while start < length:
        room -= 1
        end = length
        if room and ends_with_nul:
            end = _end_of_string(text, start)
        elif room:
            end = octets.find(text, _NEWLINE, start) + 1 or length
        part = text[start:end]
        start = end
        if pending is not None and pending.size + len(part) > LINE_LIMIT:
            lines.append(LegacyMessage(source, pending.started_at, pending.line()))
            pending = None
        finished = text[end - 1] == _NEWLINE or ends_with_nul or (end == length and framing == DATAGRAM)
        if pending is not None:
            pending.append(part)
            if finished:
                lines.append(LegacyMessage(source, pending.started_at, pending.line()))
                pending = None
        elif finished or len(part) >= LINE_LIMIT:
            lines.append(LegacyMessage(source, received_at, part))
        else:
            pending = LineBuffer(part, received_at, deadline)
    if pending is not None:
        pending.cut = length == CHUNK
    return pending


def _end_of_string(text: bytes, start: int) -> int:
    """Return the index after the newline or the NULs that end the line at ``start``."""
    match = _END.search(text, start)
    return len(text) if match is None else match.end()
