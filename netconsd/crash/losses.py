"""The losses of messages, one value for each burst of a sender.

A burst ends after :data:`QUIET_SECONDS` without a loss, or after :data:`LONGEST_SECONDS`: a sender that loses messages
all the time makes one event a minute, and no loss is left out of the sums.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netconsd.protocol.plural import plural

if TYPE_CHECKING:
    from netconsd.protocol.message import Message

#: A machine that crashes loses lines in the same second; a bond that fails over, for some seconds.
QUIET_SECONDS = 5.0
LONGEST_SECONDS = 60.0
#: Open bursts of a worker. A flood with forged gaps ends the oldest early.
LOSSES_LIMIT = 4096


class Loss:
    """The losses of one sender in one burst; times are those of ``now``."""

    __slots__ = ("by_kernel", "by_msgid", "by_seq", "first", "limited", "since", "unsent", "until")

    def __init__(self, first: Message, now: float) -> None:
        self.first = first
        self.since = now
        self.until = now
        #: Lost on the way, counted by the sender's msgid.
        self.by_msgid = 0
        #: Probably lost on the way: seqs not seen of a sender without msgid that usually has no gaps.
        self.by_seq = 0
        #: Dropped by the kernel before they were sent, by its own notice.
        self.by_kernel = 0
        #: Seqs not seen while the msgid runs on: dropped by the kernel, or suppressed by its log level.
        self.unsent = 0
        #: Datagrams that --rate dropped; they are among those that were lost by msgid or seq.
        self.limited = 0

    def is_over(self, now: float) -> bool:
        return now - self.until >= QUIET_SECONDS or now - self.since >= LONGEST_SECONDS

    def add(self, other: Loss) -> None:
        """Add the sums of an earlier burst."""
        self.by_msgid += other.by_msgid
        self.by_seq += other.by_seq
        self.by_kernel += other.by_kernel
        self.unsent += other.unsent
        self.limited += other.limited
        self.since = min(self.since, other.since)

    def text(self) -> str:
        """One sentence for people."""
        parts = []
        if self.by_msgid:
            parts.append(f"{plural(self.by_msgid, 'message')} lost on the way")
        if self.by_seq:
            parts.append(f"{plural(self.by_seq, 'message')} probably lost on the way")
        if self.by_kernel:
            parts.append(f"{plural(self.by_kernel, 'message')} dropped by the kernel before sending")
        if self.unsent:
            parts.append(
                f"{plural(self.unsent, 'record')} not sent: dropped by the kernel or suppressed by its log level,"
                " which is not known"
            )
        if self.limited:
            parts.append(f"{plural(self.limited, 'datagram')} over --rate dropped by netconsd")
        return "; ".join(parts)

    def details(self) -> dict[str, str | int | float]:
        """The sums that are not 0, and the seconds from the first loss to the last."""
        found: dict[str, str | int | float] = {
            name: getattr(self, name)
            for name in ("by_msgid", "by_seq", "by_kernel", "unsent", "limited")
            if getattr(self, name)
        }
        found["seconds"] = round(self.until - self.since, 3)
        return found
