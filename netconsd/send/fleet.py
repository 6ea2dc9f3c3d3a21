"""The messages of a fleet, built fast: numbers are written into datagrams that were built once.

Pure: the same arguments give the same datagrams.
"""

from __future__ import annotations

from netconsd.protocol.encode import CHUNK, extended, fragments, legacy

#: The message formats (docs/wire sections 2 to 5), with their default sizes in bytes.
FORMATS = {"legacy": 140, "extended": 140, "release": 160, "userdata": 200, "sysdata": 260, "fragments": 2500}
# A receiver accepts bodies of up to 128 KiB; the largest message of today's kernels has 67 kB.
LARGEST = 65536

#: The seq of each sender's first message. Seven digits, as on a machine that has been up for some weeks, so that the
#: datagrams keep their size.
FIRST_SEQ = 1_000_000
#: The first timestamp, in microseconds: 13 digits for the next hundred days, for the same reason.
FIRST_USEC = 10**12

# Placeholders for the numbers. They occur in no text below.
_SEQ = 7777777
_TS_USEC = 8888888888888
_MSGID = 9999999

_RELEASE = "6.12.107+deb13-amd64"
_TEXT = "netconsblaster: the quick brown fox jumps over the lazy dog, "
_USERDATA = {"rack": "r17 b", "role": "web"}


class Template:
    """The datagrams of one message, with placeholders for its numbers."""

    def __init__(self, format: str, size: int | None = None) -> None:
        """
        :param format: one of :data:`FORMATS`.
        :param size: bytes of the datagram; for ``fragments``, of the whole message before it is cut. Exact while the
            numbers have as many digits as at the beginning.
        :raises ValueError: if the format is unknown, or the size impossible.
        """
        if format not in FORMATS:
            raise ValueError(f"no format {format!r}; valid are {', '.join(FORMATS)}")
        size = FORMATS[format] if size is None else size
        smallest, largest = len(_build(format, "")), CHUNK
        if format == "fragments":
            smallest, largest = CHUNK + 1, LARGEST
        if not smallest <= size <= largest:
            raise ValueError(f"{size} is not between {smallest} and {largest} bytes, the limits of the format {format}")
        room = size - len(_build(format, ""))
        whole = _build(format, (_TEXT * (room // len(_TEXT) + 1))[:room])
        self._format = format
        self._pieces = [_with_placeholders(piece) for piece in fragments(whole)]
        #: The only datagram, if its placeholders are seq and timestamp, in this order; otherwise None.
        self.only_piece = self._pieces[0] if format in ("extended", "release", "userdata") else None

    def __len__(self) -> int:
        """Number of datagrams of the message."""
        return len(self._pieces)

    def fill(self, seq: int, ts_usec: int, msgid: int) -> list[bytes]:
        """The datagrams of a message with these numbers; a format without a number ignores it."""
        if self._format == "legacy":
            return [self._pieces[0] % (ts_usec // 1_000_000, ts_usec % 1_000_000, seq)]
        if self._format == "sysdata":
            return [self._pieces[0] % (seq, ts_usec, msgid)]
        return [piece % (seq, ts_usec) for piece in self._pieces]


class Fleet:
    """Messages from a number of senders in turn, each with its own numbers.

    Message ``number`` is from the sender ``first + number % senders``. Nothing is stored per sender, so millions of
    senders cost nothing.
    """

    def __init__(self, template: Template, senders: int, boot_usec: int, first: int = 0) -> None:
        """
        :param senders: number of senders, numbered from ``first`` up.
        :param boot_usec: added to :data:`FIRST_USEC` for the first timestamp; timestamps rise by one per message. The
            next run needs a later value, or a receiver that saw both runs drops its messages as duplicates.
        """
        self.senders = senders
        self._template = template
        self._first_usec = FIRST_USEC + boot_usec
        self._first = first

    def message(self, number: int) -> tuple[int, list[bytes]]:
        """The sender of a message, and its datagrams; messages are numbered from 0."""
        nth, sender = divmod(number, self.senders)
        return self._first + sender, self._template.fill(FIRST_SEQ + nth, self._first_usec + number, nth + 1)

    def batch(self, start: int, end: int) -> tuple[list[int], list[bytes]]:
        """The senders and the datagrams of the messages from ``start`` to before ``end``, in order."""
        numbers = range(start, end)
        count = self.senders
        piece = self._template.only_piece
        if piece is not None:
            # The usual loads. A call per message would take longer than the whole expression.
            first_usec = self._first_usec
            return (
                [self._first + number % count for number in numbers],
                [piece % (FIRST_SEQ + number // count, first_usec + number) for number in numbers],
            )
        messages = [self.message(number) for number in numbers]
        return (
            [sender for sender, pieces in messages for _ in pieces],
            [piece for _, pieces in messages for piece in pieces],
        )

    def is_first(self, number: int) -> bool:
        """True if a message is its sender's first."""
        return number < self.senders


def _build(format: str, text: str) -> bytes:
    if format == "legacy":
        return legacy(f"{_SEQ} {text}", ts_usec=_TS_USEC, level=6)
    has_userdata = format in ("userdata", "sysdata")
    has_sysdata = format == "sysdata"
    return extended(
        text,
        seq=_SEQ,
        ts_usec=_TS_USEC,
        release=None if format == "extended" else _RELEASE,
        userdata=_USERDATA if has_userdata else None,
        cpu=3 if has_sysdata else None,
        taskname="kworker/0:1" if has_sysdata else None,
        sysrelease=_RELEASE if has_sysdata else None,
        msgid=_MSGID if has_sysdata else None,
    )


def _with_placeholders(datagram: bytes) -> bytes:
    """The datagram as a format for ``%``."""
    stamp = b"%d.%06d" % divmod(_TS_USEC, 1_000_000)
    # The text contains no %.
    datagram = datagram.replace(stamp, b"%5d.%06d")
    for number in (_SEQ, _TS_USEC, _MSGID):
        datagram = datagram.replace(b"%d" % number, b"%d")
    return datagram
