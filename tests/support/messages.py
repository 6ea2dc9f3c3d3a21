"""Strategies for messages with any value in each field."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from netconsd.protocol.message import FIELDS, ExtendedMessage
from netconsd.testing import extended_message, source
from tests.support.strategies import bodies, numbers

times = st.floats(0, 4e9, allow_nan=False)
sources = st.builds(source, st.ip_addresses().map(str), st.integers(0, 65535))
counts = st.integers(0, 2**63 - 1)
short = st.none() | st.binary(min_size=1, max_size=20)


@st.composite
def extended_messages(draw: st.DrawFn) -> ExtendedMessage:
    """Draw a message with any value in each field."""
    message = extended_message("", received_at=draw(times))
    values: dict[str, Any] = {
        "_source": sources,
        "_raw": bodies,
        "_prefix": st.integers(0, 2047),
        "_seq": numbers,
        "_ts_usec": numbers,
        "_caller": short,
        "_release": short,
        "_msgid": st.integers(-1, 2**32 - 1),
        "_missing": numbers,
        "_lost": st.integers(-1, 2**63 - 1),
        "_likely_lost": numbers,
        "_limited": counts,
    }
    for name in FIELDS:
        if name != "_received_at":
            setattr(message, name, draw(values.get(name, st.booleans())))
    return message
