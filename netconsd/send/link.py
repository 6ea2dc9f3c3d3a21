"""A link that loses, repeats and reorders datagrams, and counts exactly what it did.

The random numbers are an argument: with the same seed, the same happens.

What a receiver can notice follows from the counters, because the first message of each sender passes unharmed: before
it, no receiver knows that there was something to lose.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields


@dataclass(slots=True)
class Account:
    """What became of the messages that were handed to a link."""

    #: Messages, and the datagrams that they had.
    messages: int = 0
    datagrams: int = 0
    #: Datagrams lost, sent twice, and sent behind a later one of the same sender. They are different ones, but a
    #: datagram that was sent twice can have been reordered as well, both of it together.
    lost: int = 0
    duplicated: int = 0
    reordered: int = 0
    #: Messages of which every datagram was lost, and those of which some were.
    messages_lost: int = 0
    messages_incomplete: int = 0
    #: Lost messages behind the last one of their sender that was sent: nobody can know of them.
    unnoticed: int = 0

    @property
    def sent(self) -> int:
        """Datagrams sent."""
        return self.datagrams - self.lost + self.duplicated

    def add(self, other: Account) -> None:
        """Count what another link did as well."""
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))


class Link:
    """Takes messages in order; gives datagrams. For one thread."""

    __slots__ = ("_duplicate", "_gap", "_held", "_loss", "_random", "_reorder", "account", "flawless")

    def __init__(self, loss: float, duplicate: float, reorder: float, random: Callable[[], float]) -> None:
        """
        :param loss: the part of the datagrams that is lost, from 0 to 1; likewise ``duplicate`` and ``reorder``.
        :param random: gives numbers from 0 to 1, without 1.
        """
        self._loss = loss
        self._duplicate = duplicate
        self._reorder = reorder
        self._random = random
        #: Whether nothing can happen on it.
        self.flawless = not (loss or duplicate or reorder)
        self.account = Account()
        # Per sender, what waits to be overtaken, and how many messages were lost since the last that was not. Both have
        # an entry for a part of the senders at most.
        self._held: dict[int, list[bytes]] = {}
        self._gap: dict[int, int] = {}

    def carry(self, sender: int, pieces: list[bytes], spared: bool, senders: list[int], datagrams: list[bytes]) -> None:
        """Append to the lists, one entry per datagram, what is to be sent now; spared messages pass as they are."""
        account = self.account
        account.messages += 1
        account.datagrams += len(pieces)
        if spared:
            senders += [sender] * len(pieces)
            datagrams += pieces
            return
        kept = 0
        for piece in pieces:
            if self._random() < self._loss:
                account.lost += 1
            else:
                kept += 1
                self._pass(sender, piece, senders, datagrams)
        if kept == 0:
            account.messages_lost += 1
            account.unnoticed += 1
            self._gap[sender] = self._gap.get(sender, 0) + 1
            return
        account.unnoticed -= self._gap.pop(sender, 0)
        if kept < len(pieces):
            account.messages_incomplete += 1

    def passed(self, messages: int, datagrams: int) -> None:
        """Count messages that went by the side of a flawless link."""
        self.account.messages += messages
        self.account.datagrams += datagrams

    def flush(self, senders: list[int], datagrams: list[bytes]) -> None:
        """Append to the lists what still waits to be overtaken; it is not counted as reordered."""
        for sender, copies in self._held.items():
            senders += [sender] * len(copies)
            datagrams += copies
        self._held.clear()

    def _pass(self, sender: int, piece: bytes, senders: list[int], datagrams: list[bytes]) -> None:
        copies = [piece]
        if self._random() < self._duplicate:
            self.account.duplicated += 1
            copies.append(piece)
        overtaken = self._held.pop(sender, None)
        if overtaken is not None:
            self.account.reordered += 1
            copies += overtaken
        elif self._random() < self._reorder:
            self._held[sender] = copies
            return
        senders += [sender] * len(copies)
        datagrams += copies


def counted(account: Account, format: str, senders: int) -> dict[str, int]:
    """What a netconsd to which all of it came counts, by the names of its counters (docs/counters).

    It holds if the daemon heard nothing else, and if what was reordered or came in parts came within its reorder time.

    :param format: that of the messages (:data:`netconsd.send.fleet.FORMATS`).
    :param senders: how many there were.
    """
    sent = {"datagrams": account.sent, "senders": senders}
    if format == "legacy":
        # Lines of text have no numbers: a repeat is another line, and a lost one leaves no gap.
        return {**sent, "messages": account.sent, "dropped_duplicate": 0, "incomplete": 0, "missing": 0, "lost": 0}
    noticed = account.messages_lost - account.unnoticed
    return {
        **sent,
        "messages": account.messages - account.messages_lost,
        "dropped_duplicate": account.duplicated,
        "incomplete": account.messages_incomplete,
        "missing": noticed,
        # Only those with a msgid show that what is missing was sent.
        "lost": noticed if format == "sysdata" else 0,
    }
