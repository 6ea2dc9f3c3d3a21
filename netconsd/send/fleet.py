"""The messages of a fleet, made fast: numbers written into datagrams that were built once.

No socket, clock or random number here: the same fleet is the same datagrams.
"""

from __future__ import annotations

from netconsd.protocol.encode import CHUNK, extended, fragments, legacy

#: What a message can look like (docs/wire sections 2 to 5), with the bytes that it has if nobody says how many.
FORMATS = {"legacy": 140, "extended": 140, "release": 160, "userdata": 200, "sysdata": 260, "fragments": 2500}
# A receiver takes bodies of up to 128 KiB; the largest message of today's kernels has 67 kB.
LARGEST = 65536

#: The number of each sender's first message. Seven digits, as on a machine that has been up for some weeks, so that the
#: datagrams do not grow after every few messages.
FIRST_SEQ = 1_000_000
#: What time stamps begin at, in microseconds: the same machine's, with 13 digits for the next hundred days.
FIRST_USEC = 10**12

# Numbers that occur in no text below, in whose place others are written.
_SEQ = 7777777
_TS_USEC = 8888888888888
_MSGID = 9999999

_RELEASE = "6.12.107+deb13-amd64"
_TEXT = "netconsblaster: the quick brown fox jumps over the lazy dog, "
_USERDATA = {"rack": "r17 b", "role": "web"}


class Template:
    """The datagrams of one message, with room for its numbers."""

    __slots__ = ("_format", "_pieces", "only_piece")

    def __init__(self, format: str, size: int | None = None) -> None:
        """
        :param format: one of :data:`FORMATS`.
        :param size: bytes of the datagram; for ``fragments``, of the whole message before it is cut. It is exact as
            long as the numbers have as many digits as at the beginning.
        :raises ValueError: if there is no such format, or the size cannot be.
        """
        if format not in FORMATS:
            raise ValueError(f"no format {format!r}; valid are {', '.join(FORMATS)}")
        size = FORMATS[format] if size is None else size
        least = len(_build(format, ""))
        most = CHUNK
        if format == "fragments":
            least, most = CHUNK + 1, LARGEST
        if not least <= size <= most:
            raise ValueError(f"{size} is not between {least} and {most} bytes, as messages in the format {format} are")
        whole = _build(format, _text(size - len(_build(format, ""))))
        self._format = format
        self._pieces = [_with_room(piece) for piece in fragments(whole)]
        #: The datagram, with room for seq and time stamp in this order, if it has just these; else None.
        self.only_piece = self._pieces[0] if format in ("extended", "release", "userdata") else None

    def __len__(self) -> int:
        """How many datagrams the message has."""
        return len(self._pieces)

    def fill(self, seq: int, ts_usec: int, msgid: int) -> list[bytes]:
        """The datagrams of a message with these numbers, as far as its format has them."""
        if self._format == "legacy":
            return [self._pieces[0] % (ts_usec // 1_000_000, ts_usec % 1_000_000, seq)]
        if self._format == "sysdata":
            return [self._pieces[0] % (seq, ts_usec, msgid)]
        return [piece % (seq, ts_usec) for piece in self._pieces]


class Fleet:
    """Messages from a number of senders by turns, each sender with its own numbers.

    Message ``number`` is that of the sender ``first + number % senders``: nothing is remembered per sender, so that
    millions cost nothing.
    """

    __slots__ = ("_begin_usec", "_first", "_template", "senders")

    def __init__(self, template: Template, senders: int, boot_usec: int, first: int = 0) -> None:
        """
        :param senders: how many there are, numbered from ``first`` up.
        :param boot_usec: what the time stamps count on from, beyond :data:`FIRST_USEC`: they rise by one with every
            message. Another run has to begin later, or a receiver that saw both takes its messages for repeats.
        """
        self.senders = senders
        self._template = template
        self._begin_usec = FIRST_USEC + boot_usec
        self._first = first

    def message(self, number: int) -> tuple[int, list[bytes]]:
        """The sender of a message and its datagrams; messages are numbered from 0."""
        nth, sender = divmod(number, self.senders)
        return self._first + sender, self._template.fill(FIRST_SEQ + nth, self._begin_usec + number, nth + 1)

    def batch(self, first: int, upto: int) -> tuple[list[int], list[bytes]]:
        """The senders and the datagrams of the messages from ``first`` to before ``upto``, in order."""
        numbers = range(first, upto)
        count = self.senders
        piece = self._template.only_piece
        if piece is not None:
            # What most loads are. A call per message would take longer than all of this.
            begin = self._begin_usec
            return (
                [self._first + number % count for number in numbers],
                [piece % (FIRST_SEQ + number // count, begin + number) for number in numbers],
            )
        messages = [self.message(number) for number in numbers]
        return (
            [sender for sender, pieces in messages for _ in pieces],
            [piece for _, pieces in messages for piece in pieces],
        )

    def is_first(self, number: int) -> bool:
        """Whether a message is its sender's first."""
        return number < self.senders


def _build(format: str, text: str) -> bytes:
    if format == "legacy":
        return legacy(f"{_SEQ} {text}", ts_usec=_TS_USEC, level=6)
    rich = format in ("userdata", "sysdata")
    system = format == "sysdata"
    return extended(
        text,
        seq=_SEQ,
        ts_usec=_TS_USEC,
        release=None if format == "extended" else _RELEASE,
        userdata=_USERDATA if rich else None,
        cpu=3 if system else None,
        taskname="kworker/0:1" if system else None,
        sysrelease=_RELEASE if system else None,
        msgid=_MSGID if system else None,
    )


def _text(size: int) -> str:
    return (_TEXT * (size // len(_TEXT) + 1))[:size]


def _with_room(datagram: bytes) -> bytes:
    """The datagram as a format for ``%``."""
    stamp = b"%d.%06d" % divmod(_TS_USEC, 1_000_000)
    # The text has no % of its own.
    datagram = datagram.replace(stamp, b"%5d.%06d")
    for number in (_SEQ, _TS_USEC, _MSGID):
        datagram = datagram.replace(b"%d" % number, b"%d")
    return datagram
