"""Finds the crash reports in messages of any number of senders, such as those of offline.py."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from netconsd import Message
from netconsd.crashes import Report
from netconsd.embedding import Recogniser


def reports_of(messages: Iterable[Message]) -> Iterator[Report]:
    """Yield the reports of messages in the order of their arrival."""
    recognisers: defaultdict[bytes, Recogniser] = defaultdict(Recogniser)
    for message in messages:
        # A recogniser is for one sender; the second argument is the time.
        yield from recognisers[message.source.key].take(message, message.received_at)
    for recogniser in recognisers.values():
        yield from recogniser.finish()
