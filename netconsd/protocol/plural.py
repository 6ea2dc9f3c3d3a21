"""A count with its noun, for log lines and error texts."""

from __future__ import annotations


def plural(count: float, noun: str, nouns: str = "", *, form: str = "") -> str:
    """Return ``1 message`` or ``2 messages``.

    :param noun: the noun in the singular.
    :param nouns: its plural, if that is not the singular and an ``s``.
    :param form: the format of the number, as ``,`` for ``1,000 messages``.
    """
    return f"{count:{form}} {noun if count == 1 else nouns or noun + 's'}"
