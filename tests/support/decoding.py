"""Decoders that assert the kind of a datagram."""

from __future__ import annotations

from netconsd.protocol.decode import Fragment, decode
from netconsd.protocol.message import ExtendedMessage
from netconsd.testing import source

SENDER = source()


def read(datagram: bytes) -> ExtendedMessage:
    """Decode a whole extended message."""
    message = decode(datagram, SENDER, 12.5)
    assert isinstance(message, ExtendedMessage)
    return message


def piece(datagram: bytes) -> Fragment:
    """Decode a fragment."""
    fragment = decode(datagram, SENDER, 12.5)
    assert isinstance(fragment, Fragment)
    return fragment


def is_text(datagram: bytes) -> bool:
    """Return true for legacy text."""
    return decode(datagram, SENDER, 12.5) is None
