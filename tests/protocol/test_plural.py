"""A count with its noun."""

from __future__ import annotations

from netconsd.protocol.plural import plural


def test_plural() -> None:
    """1 takes the singular, every other count the plural, which is the noun and an s unless it is given."""
    assert [plural(count, "message") for count in (0, 1, 2)] == ["0 messages", "1 message", "2 messages"]
    assert plural(1234, "message", form=",") == "1,234 messages"
    assert [plural(count, "second", form="g") for count in (0.5, 1.0)] == ["0.5 seconds", "1 second"]
    assert [plural(count, "query", "queries") for count in (1, 2)] == ["1 query", "2 queries"]
