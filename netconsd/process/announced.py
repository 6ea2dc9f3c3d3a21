"""Which messages of a partition of Kafka may have been processed before, without a commit of their offsets.

A broker keeps a text with each committed offset (its metadata). A processor writes into it how far it may go:

1. No message at the offset ``until`` of the last commit, or after it, was given to modules. The offset is at most
   :data:`RESERVE` ahead, and the commit that raises it is sent before the messages are processed. Nothing waits for its
   answer: if it is lost together with the processor, the messages behind it are not counted.
2. A processor that gives a partition away commits the offset of the first message that it did not process.
3. The processor that takes the partition over counts the messages before ``until``, as far as they were in the broker
   then. A processor that was killed while it waited for messages may have had none of these.
"""

from __future__ import annotations

import re
from typing import Final

#: Messages of a partition: those of one call for messages. More are counted that were not processed; with fewer, each
#: call would need a commit.
RESERVE: Final = 64
_TEXT: Final = re.compile(r"netconsd: until (\d{1,18})")


class Announced:
    """The messages of one partition: those of the processor before, and the announcement of this one."""

    def __init__(self, again: int = 0) -> None:
        """:param again: messages before this offset may have been processed before."""
        self._again = again
        #: As it was announced last.
        self.until = 0
        self._next = 0

    def take(self, offset: int) -> bool:
        """Note a message, and return whether it may have been processed before."""
        self._next = offset + 1
        return offset < self._again

    def is_due(self) -> bool:
        """Return whether half of the reserve is taken."""
        return self._next + RESERVE // 2 > self.until

    def is_spent(self) -> bool:
        """Return whether messages were taken that are not announced."""
        return self._next > self.until

    def text(self) -> str:
        """Announce further messages: return the text of a commit."""
        return self._text(self._next + RESERVE)

    def last_text(self, unprocessed: int | None) -> str:
        """Return the text of the commit with which the partition is given away.

        :param unprocessed: the first message that was taken and not processed; None if all were.
        """
        return self._text(self._next if unprocessed is None else unprocessed)

    def _text(self, until: int) -> str:
        # What the processor before may have processed, and this one did not come to, is for the next one to count.
        self.until = max(until, self._again)
        return f"netconsd: until {self.until}"


def until_of(text: str | None) -> int:
    """Return the offset in the text of a commit; 0 for a text of another program, or of none."""
    found = _TEXT.fullmatch(text or "")
    return 0 if found is None else int(found[1])
