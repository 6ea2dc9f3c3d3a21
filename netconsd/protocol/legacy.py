"""Splits one sender's legacy text into lines, across datagrams (docs/wire section 2)."""

from __future__ import annotations

from netconsd.protocol.message import LegacyMessage, Source

# The longest record of a kernel has about 1000 bytes, but other senders may send up to 64 KiB in a datagram. A sender
# that never sends a newline gets its text cut into lines of this length, so that it does not fill the memory.
LINE_LIMIT = 65536
# A datagram that consists of newlines would be one message per byte: with 64 KiB, a third of a second for a module that
# takes 5 us per message. This bound makes the number of messages proportional to the bytes, so that a bound of a queue
# in KiB is also a bound in messages. A kernel's datagram of 1000 bytes has a dozen lines; with timestamps there is no
# room for 63.
LINES_PER_KIB = 128
# The memory of an unfinished line besides its bytes.
LINE_OVERHEAD = 200

# Compiled, this is a C variable, which is an attribute of the module only if put there.
globals().update(LINES_PER_KIB=LINES_PER_KIB)


class LineBuffer:
    """An unfinished line: at least one byte, and no newline at the end."""

    __slots__ = ("_text", "deadline", "started_at")

    def __init__(self, text: bytes, received_at: float, deadline: float) -> None:
        # A bytearray, because a line may arrive byte by byte: a list of its parts would take 40 times the memory.
        self._text = bytearray(text)
        #: When the first byte of the line was received (Unix time).
        self.started_at = received_at
        #: When the line is delivered unfinished (monotonic time).
        self.deadline = deadline

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


def split(
    pending: LineBuffer | None,
    text: bytes,
    source: Source,
    received_at: float,
    deadline: float,
    lines: list[LegacyMessage],
) -> LineBuffer | None:
    """Append the lines that ``text`` finishes to ``lines``; return the unfinished line, if there is one.

    A datagram becomes at most :data:`LINES_PER_KIB` lines for each KiB that it begins; the last one then contains all
    the remaining text, with its newlines.

    :param pending: the unfinished line before this text.
    :param deadline: the deadline of a line that begins with this text and is unfinished.
    """
    start = 0
    length = len(text)
    room = LINES_PER_KIB * (1 + length // 1024)
    while start < length:
        room -= 1
        end = (text.find(b"\n", start) + 1 or length) if room else length
        part = text[start:end]
        start = end
        if pending is not None and pending.size + len(part) > LINE_LIMIT:
            lines.append(LegacyMessage(source, pending.started_at, pending.line()))
            pending = None
        finished = part.endswith(b"\n")
        if pending is not None:
            pending.append(part)
            if finished:
                lines.append(LegacyMessage(source, pending.started_at, pending.line()))
                pending = None
        elif finished or len(part) >= LINE_LIMIT:
            lines.append(LegacyMessage(source, received_at, part))
        else:
            pending = LineBuffer(part, received_at, deadline)
    return pending
