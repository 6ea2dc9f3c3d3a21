"""A link that loses, duplicates and reorders datagrams, and counts exactly how many.

The random numbers are an argument: the same seed gives the same faults.

The first message of each sender is never harmed: until then no receiver knows the sender, so it could not notice the
loss. Therefore the counters of a receiver follow from those of the link.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields


@dataclass(slots=True)
class LinkCounters:
    """The outcome of the messages that entered a link."""

    #: Messages that entered, and their datagrams.
    messages: int = 0
    datagrams: int = 0
    #: Datagrams lost, duplicated, and reordered behind a later one of the same sender. A lost datagram has no other
    #: fault; both copies of a duplicated one can be reordered together.
    lost: int = 0
    duplicated: int = 0
    reordered: int = 0
    #: Messages that lost all of their datagrams, and messages that lost some.
    messages_lost: int = 0
    messages_incomplete: int = 0
    #: Lost messages after the last one of their sender that was sent: no receiver can notice them.
    unnoticed: int = 0

    @property
    def sent(self) -> int:
        """Datagrams that left the link."""
        return self.datagrams - self.lost + self.duplicated

    def add(self, other: LinkCounters) -> None:
        """Add the counters of another link."""
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))


class Link:
    """Takes messages in order, and yields datagrams. For one thread."""

    def __init__(self, loss: float, duplicate: float, reorder: float, random: Callable[[], float]) -> None:
        """
        :param loss: the share of the datagrams that is lost, from 0 to 1; likewise ``duplicate`` and ``reorder``.
        :param random: returns numbers from 0 to below 1.
        """
        self._loss = loss
        self._duplicate = duplicate
        self._reorder = reorder
        self._random = random
        #: True if the link has no faults.
        self.flawless = not (loss or duplicate or reorder)
        self.counters = LinkCounters()
        # By sender: the datagrams held until the next one overtakes them, and the messages lost since the last one that
        # was sent. Only senders with such datagrams or messages have an entry.
        self._held: dict[int, list[bytes]] = {}
        self._lost_in_a_row: dict[int, int] = {}

    def transmit(
        self, sender: int, pieces: list[bytes], exempt: bool, senders: list[int], datagrams: list[bytes]
    ) -> None:
        """Pass one message through the link: append the datagrams to send now, and the sender of each, to the lists.

        :param exempt: True for a message that must not be harmed.
        """
        counters = self.counters
        counters.messages += 1
        counters.datagrams += len(pieces)
        if exempt:
            senders += [sender] * len(pieces)
            datagrams += pieces
            return
        kept = 0
        for piece in pieces:
            if self._random() < self._loss:
                counters.lost += 1
            else:
                kept += 1
                self._transmit_piece(sender, piece, senders, datagrams)
        if kept == 0:
            counters.messages_lost += 1
            counters.unnoticed += 1
            self._lost_in_a_row[sender] = self._lost_in_a_row.get(sender, 0) + 1
            return
        counters.unnoticed -= self._lost_in_a_row.pop(sender, 0)
        if kept < len(pieces):
            counters.messages_incomplete += 1

    def count_bypassed(self, messages: int, datagrams: int) -> None:
        """Count messages that were sent without calling :meth:`transmit`, which a flawless link allows."""
        self.counters.messages += messages
        self.counters.datagrams += datagrams

    def flush(self, senders: list[int], datagrams: list[bytes]) -> None:
        """Append the held datagrams to the lists; they are not counted as reordered."""
        for sender, copies in self._held.items():
            senders += [sender] * len(copies)
            datagrams += copies
        self._held.clear()

    def _transmit_piece(self, sender: int, piece: bytes, senders: list[int], datagrams: list[bytes]) -> None:
        copies = [piece]
        if self._random() < self._duplicate:
            self.counters.duplicated += 1
            copies.append(piece)
        overtaken = self._held.pop(sender, None)
        if overtaken is not None:
            self.counters.reordered += 1
            copies += overtaken
        elif self._random() < self._reorder:
            self._held[sender] = copies
            return
        senders += [sender] * len(copies)
        datagrams += copies


def expected_counters(counters: LinkCounters, format: str, senders: int) -> dict[str, int]:
    """The counters (docs/counters) of a netconsd that received every datagram that left the link.

    Valid if the daemon received nothing else, and if reordered datagrams and fragments arrived within its reorder time.

    :param format: of the messages (:data:`netconsd.send.fleet.FORMATS`).
    :param senders: number of senders.
    """
    expected = {"datagrams": counters.sent, "senders": senders}
    if format == "legacy":
        # Lines of text have no numbers: a duplicate is another line, and a lost line leaves no gap.
        messages = counters.sent
        return {**expected, "messages": messages, "dropped_duplicate": 0, "incomplete": 0, "missing": 0, "lost": 0}
    noticed = counters.messages_lost - counters.unnoticed
    return {
        **expected,
        "messages": counters.messages - counters.messages_lost,
        "dropped_duplicate": counters.duplicated,
        "incomplete": counters.messages_incomplete,
        "missing": noticed,
        # Only a msgid shows that a missing message was sent.
        "lost": noticed if format == "sysdata" else 0,
    }
