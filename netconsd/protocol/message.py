"""The messages that output modules receive: values that can be kept, compared, hashed, pickled and shared by threads.

Decoded text, dictionary and userdata are computed on first access, in a critical section. Two threads with the first
access at the same time may both compute them; they get equal values.

The decoder (:mod:`netconsd.protocol.decode`) fills in the header, the sender's stream (:mod:`netconsd.protocol.stream`)
the marks. A message does not change after it has left the stream.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Any

from netconsd.protocol.body import Body, msgid_of, parse, readable, text_of
from netconsd.protocol.locked import critical_section

if TYPE_CHECKING:
    # Cython reads this line and takes its directive for the decorator.
    from cython import critical_section  # type: ignore[import-untyped, no-redef]

MAPPED_IPV4 = bytes(10) + b"\xff\xff"

# "<N>" with console_msg_format=syslog, "[   12.345678]" with printk.time=1, "[  T123]" with CONFIG_PRINTK_CALLER; only
# the brackets are followed by a space (docs/wire section 2). The digits are bounded so that ts_usec fits 64 bits.
_LEGACY_PREFIX = re.compile(
    rb"(?:<(?P<prefix>[0-9]{1,4})>)?"
    rb"(?:\[ *(?P<seconds>[0-9]{1,13})\.(?P<micros>[0-9]{6})\])?"
    rb"(?:\[ *(?P<caller>[TC][0-9]{1,10})\])?"
)
# facility * 8 + level, with a facility of eight bits.
PREFIX_LIMIT = 2047


# The place of the interface's number in the address of a link-local sender's key. On the wire these bytes are zero: a
# link-local address has 54 zero bits after its prefix fe80::/10 (RFC 4291 section 2.5.6).
SCOPE_AT = 4
SCOPE_END = 8
_NO_SCOPE = bytes(SCOPE_END - SCOPE_AT)

_interface_name: Callable[[int], str] = str


def name_interfaces(name_of: Callable[[int], str]) -> None:
    """Set the function that returns the name of an interface for its number, or raises OSError; without it ``str``."""
    global _interface_name
    _interface_name = name_of


def is_link_local(address: bytes) -> bool:
    """Return whether an address of 16 bytes is in fe80::/10, so that it names a machine on one interface only."""
    return len(address) >= 16 and address[0] == 0xFE and address[1] & 0xC0 == 0x80


def with_scope(address: bytes, scope: int) -> bytes:
    """Return the address for a key: a link-local one with its interface's number (``sin6_scope_id``), others as is."""
    if not is_link_local(address):
        return address
    return address[:SCOPE_AT] + scope.to_bytes(SCOPE_END - SCOPE_AT, "big") + address[SCOPE_END:]


def without_scope(address: bytes) -> bytes:
    """Return the address as on the wire: the opposite of :func:`with_scope`."""
    return address[:SCOPE_AT] + _NO_SCOPE + address[SCOPE_END:] if is_link_local(address) else address


class Source:
    """One sender: an address and a port, and the interface of a link-local address. Equal sources are the same sender.

    The name of an interface is looked up once for each object.
    """

    __slots__ = ("_address", "_key", "_shared")

    def __init__(self, packed: bytes, port: int, scope: int = 0) -> None:
        """
        :param packed: the 16 bytes of the sender's ``in6_addr``; IPv4 as ``::ffff:a.b.c.d``.
        :param port: its UDP port.
        :param scope: the number of the interface of a link-local address, 0 if unknown; ignored for others.
        """
        self._key = with_scope(packed, scope) + port.to_bytes(2, "big")
        self._address: str | None = None
        self._shared = False

    @classmethod
    def from_key(cls, key: bytes) -> Source:
        """Return the sender with this :attr:`key`."""
        return source_of(key)

    @property
    def packed(self) -> bytes:
        """The 16 bytes of the ``in6_addr``; IPv4 as ``::ffff:a.b.c.d``, a link-local address without its interface."""
        return without_scope(self._key[:16])

    @property
    def port(self) -> int:
        """The sender's UDP port."""
        return int.from_bytes(self._key[16:], "big")

    @property
    @critical_section
    def address(self) -> str:
        """The address in its usual notation: ``192.0.2.7``, ``2001:db8::7``, or ``fe80::7%eth0`` if link-local.

        An interface that does not exist any more has its number in place of its name.
        """
        if self._address is None:
            packed = self.packed
            if packed.startswith(MAPPED_IPV4):
                self._address = str(IPv4Address(packed[12:]))
            else:
                self._address = str(IPv6Address(packed))
            scope = self.scope
            if scope:
                try:
                    name = _interface_name(scope)
                except OSError:
                    name = str(scope)
                self._address = f"{self._address}%{name}"
        return self._address

    @property
    def scope(self) -> int:
        """The number of the interface of a link-local address (``sin6_scope_id``); 0 for other addresses."""
        return int.from_bytes(self._key[SCOPE_AT:SCOPE_END], "big") if is_link_local(self._key) else 0

    @property
    def interface(self) -> str | None:
        """The name of the interface on which a link-local sender is; ``None`` for other addresses."""
        return self.address.partition("%")[2] or None

    @property
    def key(self) -> bytes:
        """The 16 bytes of the address and the 2 of the port, in network order; different for different senders.

        The bytes 4 to 7 of a link-local address are the number of its interface.
        """
        return self._key

    @property
    @critical_section
    def shared(self) -> bool:
        """True once the address is known to have several senders: the port tells them apart.

        A host that sends from another port than before is no further sender, as far as netconsd can tell. May become
        true at any time while the sender is in the table.
        """
        return self._shared

    @critical_section
    def share(self) -> None:
        """Make :attr:`shared` true. For the sender's stream."""
        self._shared = True

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Source) and self._key == other.key

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        return f"<Source {self.address} port {self.port}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return Source, (self.packed, self.port, self.scope)


def source_of(key: bytes) -> Source:
    """Return the same as :meth:`Source.from_key`, and keep the key itself: a million senders cost no second copy."""
    source = Source.__new__(Source)
    source._key = key
    source._address = None
    source._shared = False
    return source


class Message:
    """The fields of a message of either format."""

    __slots__ = ("_boot", "_limited", "_new", "_raw", "_received_at", "_source", "_text")

    def __init__(self, source: Source, received_at: float, raw: bytes) -> None:
        self._source = source
        self._received_at = received_at
        self._raw = raw
        self._text: str | None = None
        self._new = False
        self._boot = False
        self._limited = 0

    @property
    def source(self) -> Source:
        """The sender. All messages of a sender share this object until the sender expires."""
        return self._source

    @property
    def received_at(self) -> float:
        """Unix time in seconds at which the message's first datagram was received."""
        return self._received_at

    @property
    def raw(self) -> bytes:
        """The received bytes: the body, reassembled from its fragments (extended), or the line (legacy)."""
        return self._raw

    @property
    def text(self) -> str:
        """The decoded text without the final newline. It can contain any character; ``printable`` escapes controls."""
        raise NotImplementedError

    @property
    def level(self) -> int | None:
        """The log level, 0 (emergency) to 7 (debug); ``None`` if not sent (legacy)."""
        return None

    @property
    def facility(self) -> int | None:
        """The facility, 0 (kernel) to 255; ``None`` if not sent (legacy)."""
        return None

    @property
    def ts_usec(self) -> int | None:
        """Microseconds since the sender booted, by the sender's clock; ``None`` if not sent (legacy)."""
        return None

    @property
    def caller(self) -> str | None:
        """The thread (``T`` and a number) or processor (``C`` and a number) that logged; ``None`` if not sent."""
        return None

    @property
    def new(self) -> bool:
        """True for the first message of a sender since netconsd started, or since netconsd forgot the sender."""
        return self._new

    @property
    def boot(self) -> bool:
        """True for the first message after the sender was rebooted, as far as netconsd can tell."""
        return self._boot

    @property
    def limited(self) -> int:
        """The number of the sender's datagrams that ``--rate`` dropped just before this message."""
        return self._limited

    def _state(self) -> tuple[Any, ...]:
        """Return the arguments of the constructor for an equal message."""
        return self._source, self._received_at, self._raw

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Message) and type(other) is type(self) and self._state() == other._state()

    def __hash__(self) -> int:
        return hash(self._state())

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._state()


class LegacyMessage(Message):
    """One line of console text (docs/wire section 2); several only from a datagram that is nearly all newlines."""

    __slots__ = ("_fields",)

    def __init__(self, source: Source, received_at: float, raw: bytes) -> None:
        Message.__init__(self, source, received_at, raw)
        self._fields: tuple[int | None, int | None, str | None, str] | None = None

    @critical_section
    def _parsed(self) -> tuple[int | None, int | None, str | None, str]:
        """Return (facility * 8 + level, ts_usec, caller, text), parsed on the first call."""
        if self._fields is None:
            self._fields = legacy_fields(self._raw)
        return self._fields

    @property
    def text(self) -> str:
        """The line without its prefix (``<N>``, timestamp, caller) and its end (newline, NULs, a carriage return)."""
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


def legacy_fields(raw: bytes) -> tuple[int | None, int | None, str | None, str]:
    """Return (facility * 8 + level, ts_usec, caller, text) of a legacy line."""
    line = _without_end(raw)
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
    return prefix, ts_usec, caller, readable(line[end:])


def _without_end(line: bytes) -> bytes:
    """Return a legacy line without its newline, one carriage return before it, and the NULs that end a datagram."""
    if not line.endswith((b"\n", b"\0")):
        return line
    text = line if line.endswith(b"\n") else line.rstrip(b"\0")
    return text.removesuffix(b"\n").removesuffix(b"\r")


def datagram_text(raw: bytes) -> str:
    """Return the text of a :class:`LegacyDatagram` with these bytes."""
    return readable(_without_end(raw))


class LegacyDatagram(Message):
    """A whole datagram of legacy text: one line, several lines or a part of a line; never empty. If records follow the
    text (docs/wire section 3), only the text.

    Only modules that provide :class:`netconsd.interfaces.ITakesLegacyDatagrams` receive it. Level, facility, ts_usec
    and caller are ``None`` here; the :class:`LegacyMessage` of each line has them.
    """

    __slots__ = ()

    @property
    def text(self) -> str:
        """The decoded text without its end, as that of a line."""
        return datagram_text(self._raw)

    def __repr__(self) -> str:
        return f"<LegacyDatagram from {self._source.address}: {self._raw!r}>"


# The fields of an extended message, in the order of the constructor and of pickles. A new field is added here, with its
# type in the class and in the .pxd. The decoder sets a field of the header, the stream a mark (default: _set_defaults).
_HEADER = (
    *("_source", "_received_at", "_raw", "_prefix", "_seq", "_ts_usec", "_continuation", "_caller", "_release"),
    *("_msgid", "_replayed", "_emergency"),
)
_MARKS = (
    *("_incomplete", "_seq_reset", "_out_of_order", "_missing", "_lost"),
    *("_new", "_boot", "_limited", "_likely_lost"),
)
FIELDS = _HEADER + _MARKS


class ExtendedMessage(Message):
    """One record with its metadata (docs/wire sections 3 and 4)."""

    __slots__ = tuple(sorted({"_body", *FIELDS} - set(Message.__slots__)))

    _prefix: int  # facility * 8 + level
    _seq: int
    _ts_usec: int
    _continuation: bool
    _caller: bytes | None
    _release: bytes | None  # of the header
    _msgid: int  # -1 for none
    _replayed: bool
    _emergency: bool
    _incomplete: bool
    _seq_reset: bool
    _out_of_order: bool
    _missing: int
    _lost: int  # -1 for unknown
    _likely_lost: int

    def __init__(self, *fields: Any) -> None:
        """For pickles and tests (:func:`netconsd.testing.extended_message`); the decoder fills in a message directly.

        :param fields: the values of :data:`FIELDS`, of which the marks can be omitted.
        """
        self._set_defaults()
        for name, field in zip(FIELDS, fields, strict=False):
            setattr(self, name, field)

    def _set_defaults(self) -> None:
        """Set everything but the header."""
        self._text = None
        self._body: Body | None = None
        self._incomplete = False
        self._seq_reset = False
        self._out_of_order = False
        self._missing = 0
        self._lost = -1
        self._new = False
        self._boot = False
        self._limited = 0
        self._likely_lost = 0

    def _reassembled(self, body: bytes) -> ExtendedMessage:
        """Turn the first fragment into the whole message, and return it. Before, it has no msgid."""
        self._raw = body
        self._msgid = msgid_of(body)
        return self

    @critical_section
    def _parsed(self) -> Body:
        if self._body is None:
            self._body = parse(self._raw)
        return self._body

    @property
    @critical_section
    def text(self) -> str:
        """The unescaped, decoded text; several lines if the record had several."""
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
        """The record's sequence number since the sender booted. Records that were never sent have numbers as well."""
        return self._seq

    @property
    def release(self) -> str | None:
        """The kernel's release, from the header or else from the sysdata; ``None`` if not sent."""
        return self._parsed().release if self._release is None else readable(self._release)

    @property
    def continuation(self) -> bool:
        """True if the record continues an earlier record."""
        return self._continuation

    @property
    def dictionary(self) -> Mapping[str, str]:
        """``SUBSYSTEM`` and ``DEVICE`` of messages about a device; read-only."""
        return self._parsed().dictionary

    @property
    def userdata(self) -> Mapping[str, str]:
        """The keys and values that the sender's administrator attached to every message; read-only."""
        return self._parsed().userdata

    @property
    def cpu(self) -> int | None:
        """The processor that logged the message; ``None`` if not sent. Untrusted, like everything after the text."""
        return self._parsed().cpu

    @property
    def taskname(self) -> str | None:
        """The name of the task that logged the message: up to 15 bytes that any process on the sender can choose."""
        return self._parsed().taskname

    @property
    def msgid(self) -> int | None:
        """The sender's count of messages to this target, modulo 2^32; a gap is loss. ``None`` if not sent."""
        return None if self._msgid < 0 else self._msgid

    @property
    def seq_reset(self) -> bool:
        """True if the sequence starts again here: the sender's first message, a reboot, or a buffer sent again."""
        return self._seq_reset

    @property
    def out_of_order(self) -> bool:
        """True if messages with higher sequence numbers were delivered before this one."""
        return self._out_of_order

    @property
    def incomplete(self) -> bool:
        """True if fragments were lost; the text shows the places as ``[netconsd: 966 bytes lost]``."""
        return self._incomplete

    @property
    def replayed(self) -> bool:
        """True if the message is part of a buffer that is sent a second time, or the sender marked it as sent before.

        The whole buffer is marked, also records that netconsd had not received before.
        """
        return self._replayed

    @property
    def emergency(self) -> bool:
        """True if a user-space sender sent the message again after a long time without answer (docs/wire section 7)."""
        return self._emergency

    @property
    def missing(self) -> int:
        """The number of records just before this one that were not received: suppressed by the sender, or lost."""
        return self._missing

    @property
    def lost(self) -> int | None:
        """The number of messages lost just before this one, by msgid; ``None`` if unknown."""
        return None if self._lost < 0 else self._lost

    @property
    def likely_lost(self) -> int:
        """The number of the :attr:`missing` records that were probably lost; 0 where :attr:`lost` is known.

        Gaps are counted as loss in the stream of a sender that usually has none.
        """
        return self._likely_lost

    def _state(self) -> tuple[Any, ...]:
        return tuple([getattr(self, name) for name in FIELDS])

    def __repr__(self) -> str:
        return f"<ExtendedMessage {self._seq} from {self._source.address}: {self._raw!r}>"
