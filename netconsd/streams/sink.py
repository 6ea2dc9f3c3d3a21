"""The interface between a stream and the part of it that knows a server: the sink.

All methods of a sink are called by one thread of the stream's process. They may block, but each call ends within the
sink's own limit of time: a call that hangs stops the stream, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from netconsd.streams.record import Record


class Refused(Exception):
    """The server refuses the batch, and would refuse it again; ``str()`` is its answer.

    The stream then sends the batch in halves, until the refused record is alone and becomes a dead letter. Raise it
    only for an answer about records: a wrong password refuses all of them, and is :class:`TryLater`.
    """


class TryLater(Exception):
    """The batch was not accepted now; ``str()`` is the reason. An OSError of :meth:`Sink.send` means the same."""

    def __init__(self, text: str, retry_after: float | None = None) -> None:
        """
        :param retry_after: seconds for which the server asks to wait (RFC 9110, Retry-After).
        """
        super().__init__(text)
        self.retry_after = retry_after


def reason_of(error: Exception) -> str:
    """Return an error as a text for people: of an OSError, the system's words without its number."""
    strerror = error.strerror if isinstance(error, OSError) else None
    return strerror or str(error) or type(error).__name__


class Encoded(NamedTuple):
    """A record and its bytes."""

    record: Record
    data: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """A server's answer to a batch. Records that it does not name were accepted."""

    #: The answer for people, as ``200 OK``; :option:`netconsd check --send` shows it.
    text: str = "sent"
    #: Places in the batch of the records that the server refuses, each with its reason: they become dead letters.
    refused: Mapping[int, str] = field(default_factory=dict)
    #: Places in the batch of the records that the server asks for again.
    later: frozenset[int] = frozenset()
    #: Seconds to wait before that.
    retry_after: float | None = None


class Sink:
    """The methods that a stream's class has for its server, with the defaults of the optional ones."""

    #: Seconds for which the server can lose records that it accepted, if it is killed. The stream moves its cursor that
    #: much later, and only if :meth:`survived`.
    settle = 0.0
    #: Whether a record is read after those that were received before it, as far as they are on the disk: for servers
    #: that search by time in the order of arrival. Otherwise only the messages of a machine are in order.
    by_time = False
    #: A reason for which the stream does not work, besides answers to batches; "" if there is none.
    fault = ""
    #: For sinks that send blocks, the receiver's name in them.
    receiver = ""
    #: Numbers of its own since the start of the process, for its ``metrics()``: ``counted(NAME)`` is the sum over
    #: all processes.
    numbers: Mapping[str, int] = MappingProxyType({})

    def begin(self, directory: Path, warn: Callable[[str], object]) -> None:
        """Called once in the stream's process, before all other calls.

        :param directory: that of the stream, for files of the sink's own.
        :param warn: logs a text.
        """

    def tick(self) -> None:
        """Called at each turn, about each ``batch_seconds``, also if there are no records."""

    def shape(self) -> tuple[int, int]:
        """Return the number of partitions, and the most bytes of a message; for sinks that send blocks only.

        :raises TryLater: if the server does not say.
        """
        raise NotImplementedError

    def encode(self, record: Record) -> bytes:
        """Return a record as the server takes it.

        :raises ValueError: if the server would refuse or cut the record; the text is the reason in the dead letter.
        """
        raise NotImplementedError

    def send(self, batch: Sequence[Encoded]) -> Answer:
        """Send records, at least one, and wait for the server's answer.

        :raises Refused: if the server refuses the batch.
        :raises TryLater: if nothing is known to have arrived; also OSError.
        """
        raise NotImplementedError

    def survived(self) -> bool:
        """Return false if the server, since the last call, lost records that it had accepted, or may have.

        :raises OSError: if the server does not answer: the call is repeated later.
        """
        return True

    def kept(self) -> bool:
        """Have the server keep what it accepted, at the stop, and return whether it did; false leads to a second copy
        after the next start, and not to a loss.

        :raises TryLater: if the server does not answer; also OSError.
        """
        return False

    def stored(self, batch: Sequence[Encoded]) -> frozenset[int]:
        """Return the places of the records that the server has already.

        Called before a batch that may have been sent before: after a start, and after a connection was lost.

        :raises TryLater: if the server does not answer; also OSError.
        """
        return frozenset()

    def close(self) -> None:
        """Close the connection. The next :meth:`send` opens it again."""
