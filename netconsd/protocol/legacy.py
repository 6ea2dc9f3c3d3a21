"""Puts the lines of one sender's legacy text together from its datagrams (docs/wire section 2)."""

from __future__ import annotations

from netconsd.protocol.message import LegacyMessage, Source

# The kernel's longest record is some 1000 bytes, but other senders may send up to 64 KiB in a datagram. A stranger that
# never sends a newline gets a line of this length now and then instead of our memory.
LINE_LIMIT = 65536
# A datagram of nothing but newlines would be a message per byte: one of 64 KiB, a third of a second for a module that
# takes 5 us for each. So what a datagram may become is bounded by its size, and a queue of so many KiB has a bound in
# messages, too. A kernel's datagram of 1000 bytes has a dozen lines; with time stamps there is no room for 63.
LINES_PER_KIB = 128
# What an unfinished line costs besides its bytes.
LINE_OVERHEAD = 200

_LINES_PER_KIB = LINES_PER_KIB


class LineBuffer:
    """Text that has not ended in a newline yet; it is never empty."""

    __slots__ = ("_text", "deadline", "started_at")

    def __init__(self, text: bytes, received_at: float, deadline: float) -> None:
        # A bytearray, because a stranger may send the line byte by byte: a list of pieces would be 40 times its size.
        self._text = bytearray(text)
        #: When the first byte of the line was received.
        self.started_at = received_at
        #: When to give up waiting for the newline.
        self.deadline = deadline

    def append(self, text: bytes) -> None:
        self._text += text

    @property
    def size(self) -> int:
        return len(self._text)

    @property
    def cost(self) -> int:
        """About how many bytes of memory the line takes."""
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
    """Append to ``lines`` those that ``text`` completes, ``pending`` being what came before it.

    Of more than :data:`LINES_PER_KIB` lines for each KiB that has been begun, the last ones are one, newlines and all.

    :param deadline: when to give up waiting, should a line begin with this text.
    :returns: the unfinished line, if there is one.
    """
    start = 0
    length = len(text)
    room = _LINES_PER_KIB * (1 + length // 1024)
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
