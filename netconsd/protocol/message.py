"""What the outputs get: immutable values that can be kept, compared, hashed, pickled and shared between threads.

What costs something to compute (decoded text, dictionary, userdata) is computed when it is first asked for. Two threads
that ask at once may both compute it; they get equal values.

A message is finished by the stream it came through (:mod:`netconsd.protocol.stream`), which sets the marks that only
order can tell; from the moment it leaves that stream it never changes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from netconsd.protocol.body import Body, msgid_of, parse, readable, text_of

__all__ = ["ExtendedMessage", "LegacyDatagram", "LegacyMessage", "Message", "Source"]

MAPPED_IPV4 = bytes(10) + b"\xff\xff"

# "<N>" with console_msg_format=syslog, "[   12.345678]" with printk.time=1, "[  T123]" with CONFIG_PRINTK_CALLER; a
# space follows the brackets only (docs/wire section 2). The digits are bounded so that ts_usec fits 64 bits.
_LEGACY_PREFIX = re.compile(
    rb"(?:<(?P<prefix>[0-9]{1,4})>)?"
    rb"(?:\[ *(?P<seconds>[0-9]{1,13})\.(?P<micros>[0-9]{6})\])?"
    rb"(?:\[ *(?P<caller>[TC][0-9]{1,10})\])?"
)
# facility * 8 + level, where the facility has eight bits.
PREFIX_LIMIT = 2047


class Source:
    """One sender: an address and a port. Equal sources are the same sender."""

    __slots__ = ("_address", "_key")

    def __init__(self, packed: bytes, port: int) -> None:
        """
        :param packed: the 16 bytes of the sender's ``in6_addr``; IPv4 as ``::ffff:a.b.c.d``.
        :param port: its UDP port.
        """
        self._key = packed + port.to_bytes(2, "big")
        self._address: str | None = None

    @classmethod
    def from_key(cls, key: bytes) -> Source:
        """The sender with this :attr:`key`."""
        return source_of(key)

    @property
    def packed(self) -> bytes:
        """The 16 bytes of the ``in6_addr``; IPv4 as ``::ffff:a.b.c.d``."""
        return self._key[:16]

    @property
    def port(self) -> int:
        """The UDP port that the sender sends from."""
        return int.from_bytes(self._key[16:], "big")

    @property
    def address(self) -> str:
        """The address as people write it: ``192.0.2.7`` or ``2001:db8::7``."""
        if self._address is None:
            packed = self._key[:16]
            if packed.startswith(MAPPED_IPV4):
                self._address = str(IPv4Address(packed[12:]))
            else:
                self._address = str(IPv6Address(packed))
        return self._address

    @property
    def key(self) -> bytes:
        """The 16 bytes of the address and the two of the port, in network order: what senders are told apart by."""
        return self._key

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Source) and self._key == other.key

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        return f"<Source {self.address} port {self.port}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return Source, (self.packed, self.port)


def source_of(key: bytes) -> Source:
    """As :meth:`Source.from_key`. The key is kept, not copied: a million senders have theirs once in memory."""
    source = Source.__new__(Source)
    source._key = key
    source._address = None
    return source


class Message:
    """What every message has, of either format."""

    __slots__ = ("_raw", "_received_at", "_source", "_text")

    def __init__(self, source: Source, received_at: float, raw: bytes) -> None:
        self._source = source
        self._received_at = received_at
        self._raw = raw
        self._text: str | None = None

    @property
    def source(self) -> Source:
        """Who sent it; the same object for all messages of a sender, as long as the sender is remembered."""
        return self._source

    @property
    def received_at(self) -> float:
        """When it was received: Unix time in seconds, of the datagram that began it."""
        return self._received_at

    @property
    def raw(self) -> bytes:
        """The bytes it came from: the body, put together from its fragments (extended), or the line (legacy)."""
        return self._raw

    @property
    def text(self) -> str:
        """The text, decoded, without the final newline. It can hold any character: show it through ``printable``."""
        raise NotImplementedError

    @property
    def level(self) -> int | None:
        """The log level, 0 (emergency) to 7 (debug); ``None`` if the sender did not say (legacy)."""
        return None

    @property
    def facility(self) -> int | None:
        """The facility, 0 (kernel) to 255; ``None`` if the sender did not say (legacy)."""
        return None

    @property
    def ts_usec(self) -> int | None:
        """Microseconds since the sender booted, by its clock; ``None`` if it did not say (legacy)."""
        return None

    @property
    def caller(self) -> str | None:
        """Who logged it: ``T`` and a thread's number or ``C`` and a processor's; ``None`` if the sender did not say."""
        return None

    def _state(self) -> tuple[Any, ...]:
        """The arguments of the constructor that makes an equal message."""
        return self._source, self._received_at, self._raw

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Message) and type(other) is type(self) and self._state() == other._state()

    def __hash__(self) -> int:
        return hash(self._state())

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._state()


class LegacyMessage(Message):
    """One line of console text (docs/wire section 2); more than one only where a datagram was nearly all newlines."""

    __slots__ = ("_fields",)

    def __init__(self, source: Source, received_at: float, raw: bytes) -> None:
        Message.__init__(self, source, received_at, raw)
        self._fields: tuple[int | None, int | None, str | None, str] | None = None

    def _parsed(self) -> tuple[int | None, int | None, str | None, str]:
        """(facility * 8 + level, ts_usec, caller, text), read from the line when first asked for."""
        if self._fields is None:
            line = self._raw.removesuffix(b"\n")
            match = _LEGACY_PREFIX.match(line)
            assert match is not None, "every part of the pattern is optional"
            prefix = None if match["prefix"] is None else int(match["prefix"])
            ts_usec = caller = None
            end = match.end()
            if prefix is not None and prefix > PREFIX_LIMIT:
                prefix, end = None, 0
            else:
                if match["seconds"] is not None:
                    ts_usec = int(match["seconds"]) * 1_000_000 + int(match["micros"])
                if match["caller"] is not None:
                    caller = readable(match["caller"])
                if (ts_usec is not None or caller is not None) and line[end : end + 1] == b" ":
                    end += 1
            self._fields = prefix, ts_usec, caller, readable(line[end:])
        return self._fields

    @property
    def text(self) -> str:
        """The line without its newline and without what stands in front: ``<N>``, time stamp and caller."""
        return self._parsed()[3]

    @property
    def level(self) -> int | None:
        prefix = self._parsed()[0]
        return None if prefix is None else prefix & 7

    @property
    def facility(self) -> int | None:
        prefix = self._parsed()[0]
        return None if prefix is None else prefix >> 3

    @property
    def ts_usec(self) -> int | None:
        return self._parsed()[1]

    @property
    def caller(self) -> str | None:
        return self._parsed()[2]

    def __repr__(self) -> str:
        return f"<LegacyMessage from {self._source.address}: {self._raw!r}>"


class LegacyDatagram(Message):
    """Legacy text as it arrived, whole: perhaps several lines, perhaps a part of one; never empty.

    Only for modules that provide :class:`netconsd.interfaces.ITakesLegacyDatagrams`. What a line says of itself, its
    :class:`LegacyMessage` knows: level, facility, ts_usec and caller are ``None`` here.
    """

    __slots__ = ()

    @property
    def text(self) -> str:
        """All of it, decoded, without the final newline."""
        return readable(self._raw.removesuffix(b"\n"))

    def __repr__(self) -> str:
        return f"<LegacyDatagram from {self._source.address}: {self._raw!r}>"


class ExtendedMessage(Message):
    """One record with its metadata (docs/wire sections 3 and 4)."""

    __slots__ = (
        "_body",
        "_caller",
        "_continuation",
        "_emergency",
        "_incomplete",
        "_lost",
        "_missing",
        "_msgid",
        "_out_of_order",
        "_prefix",
        "_release",
        "_replayed",
        "_seq",
        "_seq_reset",
        "_ts_usec",
    )

    def __init__(
        self,
        source: Source,
        received_at: float,
        raw: bytes,
        prefix: int,
        seq: int,
        ts_usec: int,
        continuation: bool,
        caller: bytes | None,
        release: bytes | None,
        msgid: int,
        replayed: bool = False,
        emergency: bool = False,
        incomplete: bool = False,
        seq_reset: bool = False,
        out_of_order: bool = False,
        missing: int = 0,
        lost: int = -1,
    ) -> None:
        """Made by :mod:`netconsd.protocol.decode`, and by :mod:`netconsd.testing` for tests.

        :param prefix: facility * 8 + level.
        :param msgid: -1 where there is none.
        :param lost: -1 where it is unknown.
        """
        self._fill(
            source,
            received_at,
            raw,
            prefix,
            seq,
            ts_usec,
            continuation,
            caller,
            release,
            msgid,
            replayed,
            emergency,
            incomplete,
            seq_reset,
            out_of_order,
            missing,
            lost,
        )

    def _fill(
        self,
        source: Source,
        received_at: float,
        raw: bytes,
        prefix: int,
        seq: int,
        ts_usec: int,
        continuation: bool,
        caller: bytes | None,
        release: bytes | None,
        msgid: int,
        replayed: bool,
        emergency: bool,
        incomplete: bool,
        seq_reset: bool,
        out_of_order: bool,
        missing: int,
        lost: int,
    ) -> None:
        # Compiled, a call of this costs a fifth of a call of the class, which takes its arguments in a tuple.
        self._source = source
        self._received_at = received_at
        self._raw = raw
        self._text = None
        self._body: Body | None = None
        self._prefix = prefix
        self._seq = seq
        self._ts_usec = ts_usec
        self._continuation = continuation
        self._caller = caller
        self._release = release
        self._msgid = msgid
        self._replayed = replayed
        self._emergency = emergency
        self._incomplete = incomplete
        self._seq_reset = seq_reset
        self._out_of_order = out_of_order
        self._missing = missing
        self._lost = lost

    def _parsed(self) -> Body:
        if self._body is None:
            self._body = parse(self._raw)
        return self._body

    @property
    def text(self) -> str:
        """The text, unescaped and decoded; several lines if the record had several."""
        if self._text is None:
            self._text = text_of(self._raw)
        return self._text

    @property
    def level(self) -> int:
        return self._prefix & 7

    @property
    def facility(self) -> int:
        return self._prefix >> 3

    @property
    def ts_usec(self) -> int:
        return self._ts_usec

    @property
    def caller(self) -> str | None:
        return None if self._caller is None else readable(self._caller)

    @property
    def seq(self) -> int:
        """The record's number since the sender booted; records that were never sent use up numbers, too."""
        return self._seq

    @property
    def release(self) -> str | None:
        """The kernel's release, from the header or else from the sysdata; ``None`` if the sender did not say."""
        return self._parsed().release if self._release is None else readable(self._release)

    @property
    def continuation(self) -> bool:
        """Whether the record continues an earlier one."""
        return self._continuation

    @property
    def dictionary(self) -> Mapping[str, str]:
        """``SUBSYSTEM`` and ``DEVICE`` of messages about a device; read-only."""
        return self._parsed().dictionary

    @property
    def userdata(self) -> Mapping[str, str]:
        """What the sender's administrator attached to every message; read-only."""
        return self._parsed().userdata

    @property
    def cpu(self) -> int | None:
        """The processor that logged it, if the sender says so. Untrusted, as is all that follows the text."""
        return self._parsed().cpu

    @property
    def taskname(self) -> str | None:
        """The name of the task that logged it: up to 15 bytes that any process on the sender can choose."""
        return self._parsed().taskname

    @property
    def msgid(self) -> int | None:
        """The sender's count of messages to this target, modulo 2^32; a gap is loss. ``None`` if it does not count."""
        return None if self._msgid < 0 else self._msgid

    @property
    def seq_reset(self) -> bool:
        """Whether counting starts anew here: the first message of a sender, a reboot, or a buffer sent again."""
        return self._seq_reset

    @property
    def out_of_order(self) -> bool:
        """Whether it came after its place had been given up: later messages were handed out before it."""
        return self._out_of_order

    @property
    def incomplete(self) -> bool:
        """Whether fragments of it were lost; the text shows where, as ``[netconsd: 966 bytes lost]``."""
        return self._incomplete

    @property
    def replayed(self) -> bool:
        """Whether the sender said that it had sent this message before (in an emergency)."""
        return self._replayed

    @property
    def emergency(self) -> bool:
        """Whether a user-space sender, unanswered for long, sent this message again (docs/wire section 7)."""
        return self._emergency

    @property
    def missing(self) -> int:
        """How many sequence numbers were not seen just before this message: suppressed by the sender, or lost."""
        return self._missing

    @property
    def lost(self) -> int | None:
        """How many messages were lost just before this one, by msgid; ``None`` if that is unknown."""
        return None if self._lost < 0 else self._lost

    def with_body(self, body: bytes, incomplete: bool) -> ExtendedMessage:
        """The message with this header and this body: the one that the fragments came from."""
        message = ExtendedMessage.__new__(ExtendedMessage)
        message._fill(
            self._source,
            self._received_at,
            body,
            self._prefix,
            self._seq,
            self._ts_usec,
            self._continuation,
            self._caller,
            self._release,
            msgid_of(body),
            self._replayed,
            self._emergency,
            incomplete,
            False,
            False,
            0,
            -1,
        )
        return message

    def _state(self) -> tuple[Any, ...]:
        return (
            self._source,
            self._received_at,
            self._raw,
            self._prefix,
            self._seq,
            self._ts_usec,
            self._continuation,
            self._caller,
            self._release,
            self._msgid,
            self._replayed,
            self._emergency,
            self._incomplete,
            self._seq_reset,
            self._out_of_order,
            self._missing,
            self._lost,
        )

    def __repr__(self) -> str:
        return f"<ExtendedMessage {self._seq} from {self._source.address}: {self._raw!r}>"
