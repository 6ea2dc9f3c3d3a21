"""Sends the records of a spool to a sink: batches, retries, splits, dead letters.

Rules:

1. A batch has at most ``batch_records`` records and ``batch_bytes`` bytes, but one record at least. It is sent when it
   is full, or ``batch_seconds`` after the last one.
2. One batch is under way at a time, so that the order is kept.
3. A batch that was not accepted is sent again after a pause: it doubles from :data:`PAUSE_SECONDS` to
   :data:`PAUSE_LIMIT`, and a random part of it, up to half, is taken off, so that streams of many machines do not come
   at once. It is at least the server's Retry-After, of which :data:`RETRY_AFTER_LIMIT` is the most.
4. A batch that the server refuses is sent in halves, and so is a block of messages. A record that is refused alone
   becomes a dead letter, and so does one that cannot be encoded.
5. The cursor moves after the batch was accepted; for a sink with ``settle``, that many seconds later if the server
   survived. Otherwise, the batches of that time are sent again.
6. Batches that may have been sent before are compared with the records of the server (``Sink.stored``), until it has
   none of a batch.
7. At the stop, what is in the spool is sent if the server answers, for :data:`DRAIN_SECONDS` at most.
"""

from __future__ import annotations

import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from random import random
from typing import Any, Final

from netconsd.rendering import printable
from netconsd.streams.deadletters import DeadLetters
from netconsd.streams.record import Record
from netconsd.streams.sink import Encoded, Refused, Sink, TryLater, reason_of
from netconsd.streams.spool import Spooled

#: Seconds before a batch is sent again: the first time, and at most.
PAUSE_SECONDS: Final = 0.5
PAUSE_LIMIT: Final = 60.0
#: Seconds that a server can ask to wait. Beyond, it is asked again: an hour is also a mistake's length.
RETRY_AFTER_LIMIT: Final = 3600.0
#: Seconds of the drain at the stop. The daemon's own stop waits for modules for longer.
DRAIN_SECONDS: Final = 3.0
#: Seconds for which a batch can fail before the stream counts as not working: a restart of a server takes less.
FAULT_SECONDS: Final = 30.0
#: Seconds for which a refused record is a fault.
REFUSED_SECONDS: Final = 300.0
#: Bytes that were accepted, and whose settle time is not over: they are in memory, to be sent again. Beyond, nothing is
#: read.
UNSETTLED_BYTES: Final = 32 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of a batch."""

    records: int = 1000
    size: int = 1 << 20
    seconds: float = 1.0


@dataclass(slots=True)
class Counts:
    """The numbers of a stream since its start. Every record that was read is sent, dead or dropped, or still waits."""

    queued: int = 0
    sent: int = 0
    retried: int = 0
    refused: int = 0
    dropped: int = 0
    dead: int = 0
    #: When the oldest record that was read and not delivered was received; None if there is none.
    oldest: float | None = None
    #: The reason for which records are not delivered; "" if they are.
    fault: str = ""
    #: Why records were refused in the last minutes, or dropped; "" if none was.
    refusal: str = ""
    #: Of the sink (:attr:`Sink.fault`, :attr:`Sink.numbers`).
    sink_fault: str = ""
    numbers: dict[str, int] = field(default_factory=dict)

    def fields(self) -> dict[str, Any]:
        """Return everything as JSON can hold it."""
        return asdict(self)


@dataclass(slots=True)
class _Batch:
    """Records up to a place of the spool."""

    position: Mapping[str, Any]
    #: All records that were read, for the cursor.
    records: list[Record]
    #: When the oldest of them was received.
    oldest: float
    #: Those that are sent; refused ones are taken out.
    encoded: list[Encoded]
    #: When it was accepted.
    accepted_at: float = 0.0

    def size(self) -> int:
        return sum(len(each.data) for each in self.encoded)


class _TakenBack(Exception):
    """Batches that were accepted have to be sent again."""


class _Stopped(Exception):
    """The stream stops, and the batch was not delivered."""


class Delivery:
    """One stream. For one thread."""

    def __init__(
        self,
        sink: Sink,
        spool: Spooled,
        dead: DeadLetters,
        limits: Limits,
        *,
        clock: Callable[[], float],
        wall: Callable[[], float],
        wait: Callable[[float], bool],
        report: Callable[[Counts], object] = lambda counts: None,
        warn: Callable[[str], object] = lambda text: None,
        jitter: Callable[[], float] = random,
        unsettled_bytes: int = UNSETTLED_BYTES,
    ) -> None:
        """
        :param clock: monotonic, in seconds.
        :param wall: Unix time in seconds.
        :param wait: waits for so many seconds, or less, and returns true if the stream shall stop.
        :param report: called with the counts at each turn.
        :param jitter: a random number from 0 to 1.
        """
        self.counts = Counts()
        self._sink = sink
        self._spool = spool
        self._dead = dead
        self._limits = limits
        self._clock = clock
        self._wall = wall
        self._wait = wait
        self._report = report
        self._warn = warn
        self._jitter = jitter
        self._unsettled_bytes = unsettled_bytes
        self._again: deque[_Batch] = deque()
        self._unsettled: deque[_Batch] = deque()
        # Whether the server has accepted records of the current batch, which it can lose while the others wait.
        self._some_accepted = False
        # Whether the next batch may have been sent before (rule 6).
        self._doubtful = True
        self._attempts = 0
        self._failing_since: float | None = None
        self._refused_at = float("-inf")
        self._last_warning = ""
        self._stop_at: float | None = None
        self._next_send = float("-inf")
        self._committed: Mapping[str, Any] | None = None
        self._current: _Batch | None = None
        self._dropped_before = 0
        # Records that became dead letters, and whose batch may be sent again.
        self._refused_ids: set[str] = set()

    def run(self) -> None:
        """Send until the stream shall stop."""
        try:
            while self._turn():
                self._tell()
            self._settle_at_stop()
        except _Stopped:
            pass
        finally:
            self._sink.close()
            self._spool.close()
            self._tell()

    def _turn(self) -> bool:
        """Send a batch, or wait for one; return false to stop."""
        self._tick()
        self._settle()
        if self._again:
            batch = self._again.popleft()
        else:
            pause = self._next_send - self._clock()
            if pause > 0 and self._paused(pause):
                pause = 0.0
            if sum(batch.size() for batch in self._unsettled) >= self._unsettled_bytes:
                self._paused(self._limits.seconds)
                return self._stop_at is None
            read = self._read()
            if read is None:
                if self._spool.full:
                    # Records that are not wanted.
                    return self._stop_at is None or self._clock() < self._stop_at
                self._next_send = self._clock() + self._limits.seconds
                return self._stop_at is None
            batch = read
        self._current = batch
        try:
            self._deliver(batch)
        except _TakenBack:
            self._again.appendleft(batch)
            self._take_back()
            return True
        finally:
            self._current = None
        batch.accepted_at = self._clock()
        self._unsettled.append(batch)
        self._settle()
        if not self._spool.full and not self._again:
            self._next_send = self._clock() + self._limits.seconds
        return self._stop_at is None or self._clock() < self._stop_at

    def _tick(self) -> None:
        try:
            self._sink.tick()
        except Exception:
            # A defect of the sink: its records are sent nevertheless.
            self._warn(traceback.format_exc())
        self.counts.sink_fault = self._sink.fault
        self.counts.numbers = dict(self._sink.numbers)

    def _read(self) -> _Batch | None:
        """Return the next batch; None if there is nothing to send."""
        self._spool.full = False
        try:
            records, position = self._spool.read(self._limits.records)
        except OSError as error:
            self._fail(f"cannot read the spool: {error}")
            return None
        except TryLater as error:
            # The broker did not say how blocks are made.
            self._later(str(error), error.retry_after)
            return None
        self.counts.dropped += self._spool_dropped()
        if not records:
            if position and position != self._committed and not self._unsettled:
                self._commit(position, [])
            if self._failing_since is not None and not self._attempts:
                self._succeeded()
            return None
        self.counts.queued += sum(record.count for record in records)
        batch = _Batch(position, records, min(record.received_at for record in records), [])
        for record in records:
            try:
                batch.encoded.append(Encoded(record, self._sink.encode(record)))
            except Exception as error:
                # Of a ValueError the text is the reason; any other one is a defect of the sink, for which the stream
                # must not stop at this record for ever.
                self._refuse(
                    record, str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
                )
        return batch

    def _spool_dropped(self) -> int:
        now = self._spool.dropped
        new, self._dropped_before = now - self._dropped_before, now
        return new

    def _deliver(self, batch: _Batch) -> None:
        """Return when every record of a batch is accepted or refused.

        :raises _TakenBack: if batches before it have to be sent again first.
        :raises _Stopped: if the stream shall stop meanwhile.
        """
        accepted: list[Encoded] = []
        self._some_accepted = False
        for piece in self._pieces(batch.encoded):
            accepted += self._send(piece)
        batch.encoded = accepted

    def _pieces(self, encoded: Sequence[Encoded]) -> Iterator[list[Encoded]]:
        piece: list[Encoded] = []
        size = 0
        for each in encoded:
            if piece and size + len(each.data) > self._limits.size:
                yield piece
                piece, size = [], 0
            piece.append(each)
            size += len(each.data)
        if piece:
            yield piece

    def _send(self, piece: list[Encoded]) -> list[Encoded]:
        """Return the records that were accepted, when all others were refused."""
        left = piece
        accepted: list[Encoded] = []
        while left:
            try:
                if self._doubtful:
                    if self._sink.settle and not self._unsettled and not self._some_accepted:
                        # A server that was started again since the last batch has lost none of this one.
                        self._sink.survived()
                    known = self._sink.stored(left)
                    self._doubtful = bool(known)
                    accepted += [each for place, each in enumerate(left) if place in known]
                    self._some_accepted = self._some_accepted or bool(accepted)
                    left = [each for place, each in enumerate(left) if place not in known]
                    if not left:
                        self._succeeded()
                        break
                answer = self._sink.send(left)
            except Refused as error:
                self._succeeded()
                if len(left) == 1:
                    left = self._halves(left[0], str(error))
                    if not left:
                        break
                half = len(left) // 2
                # Not in one expression: the first half is to be delivered before the second one.
                accepted += self._send(left[:half])
                accepted += self._send(left[half:])
                break
            except (TryLater, OSError) as error:
                self._later(reason_of(error), error.retry_after if isinstance(error, TryLater) else None)
                continue
            except Exception as error:
                self._warn(traceback.format_exc())
                self._later(f"{type(error).__name__}: {error}", None)
                continue
            for place, reason in answer.refused.items():
                # One after the other, for the order.
                for each in self._halves(left[place], reason):
                    accepted += self._send([each])
            accepted += [
                each for place, each in enumerate(left) if place not in answer.refused and place not in answer.later
            ]
            self._some_accepted = self._some_accepted or bool(accepted)
            left = [each for place, each in enumerate(left) if place in answer.later]
            if left:
                self._later(answer.text, answer.retry_after)
            else:
                self._succeeded()
        return accepted

    def _halves(self, refused: Encoded, reason: str) -> list[Encoded]:
        """Return the halves of a refused block; a record that is one thing becomes a dead letter."""
        halves = self._spool.halves(refused.record)
        if not halves:
            self._refuse(refused.record, reason)
        return [Encoded(half, self._sink.encode(half)) for half in halves]

    def _later(self, text: str, retry_after: float | None) -> None:
        """Wait before the next attempt (rule 3)."""
        self.counts.retried += 1
        self._doubtful = True
        self._sink.close()
        self._fail(text)
        pause = min(PAUSE_LIMIT, PAUSE_SECONDS * 2.0 ** min(self._attempts, 10)) * (1 - self._jitter() / 2)
        if retry_after is not None:
            pause = max(pause, min(retry_after, RETRY_AFTER_LIMIT))
        self._attempts += 1
        if self._paused(pause):
            raise _Stopped
        if (self._unsettled or self._some_accepted) and self._lost():
            raise _TakenBack

    def _lost(self) -> bool:
        """Return whether the server lost what it had accepted; false if it does not answer."""
        try:
            return not self._sink.survived()
        except (OSError, TryLater):
            return False

    def _fail(self, text: str) -> None:
        # A server's answer can have any character, and is for the log.
        text = printable(text)
        now = self._clock()
        if self._failing_since is None:
            self._failing_since = now
        if text != self._last_warning:
            self._last_warning = text
            self._warn(f"not delivered: {text}; records wait in the spool")
        if now - self._failing_since >= FAULT_SECONDS:
            self.counts.fault = f"not delivered: {text}"

    def _succeeded(self) -> None:
        self._attempts = 0
        self._failing_since = None
        self._last_warning = ""
        self.counts.fault = ""

    def _refuse(self, record: Record, reason: str) -> None:
        """Make a record a dead letter (rule 4)."""
        if record.id in self._refused_ids:
            return  # its batch was sent again
        if self._sink.settle:
            self._refused_ids.add(record.id)
        self.counts.refused += 1
        self._refused_at = self._clock()
        if self._dead.write(record, reason, self._wall()):
            self.counts.dead += 1
            self.counts.refusal = "the server refuses records; the file of dead letters has them with its answers"
        else:
            self.counts.dropped += 1
            self.counts.refusal = "the file of dead letters is full, or its disk: refused records are dropped"

    def _settle(self) -> None:
        """Move the cursor behind the batches that the server keeps (rule 5)."""
        due = [batch for batch in self._unsettled if batch.accepted_at + self._sink.settle <= self._clock()]
        if not due:
            return
        if self._sink.settle:
            try:
                survived = self._sink.survived()
            except (OSError, TryLater):
                return
            if not survived:
                self._take_back()
                return
        for batch in due:
            self._unsettled.popleft()
            self._finish(batch)
        if not self._unsettled:
            self._refused_ids.clear()

    def _finish(self, batch: _Batch) -> None:
        self.counts.sent += sum(each.record.count for each in batch.encoded)
        self._commit(batch.position, batch.records)

    def _commit(self, position: Mapping[str, Any], records: list[Record]) -> None:
        try:
            self._spool.commit(position, records)
            self._committed = position
        except OSError as error:
            # The records were delivered; after a restart they would be sent again.
            self._warn(f"cannot write the cursor: {error}")

    def _take_back(self) -> None:
        self.counts.retried += 1
        self._warn("the server ended after it had accepted records: those of the last seconds are sent again")
        self._again.extendleft(reversed(self._unsettled))
        self._unsettled.clear()
        self._doubtful = True

    def _settle_at_stop(self) -> None:
        if not self._unsettled:
            return
        try:
            if not self._sink.kept():
                return
        except (OSError, TryLater):
            return
        while self._unsettled:
            self._finish(self._unsettled.popleft())

    def _update_oldest(self) -> None:
        waiting = [*self._unsettled, *self._again, *([] if self._current is None else [self._current])]
        self.counts.oldest = min((batch.oldest for batch in waiting), default=None)

    def _paused(self, seconds: float) -> bool:
        """Wait, and return whether the stream shall stop."""
        self._tell()
        if self._stop_at is not None:
            return True
        if self._wait(seconds):
            self._stop_at = self._clock() + DRAIN_SECONDS
        return self._stop_at is not None

    def _tell(self) -> None:
        self._update_oldest()
        if self.counts.refusal and self._clock() - self._refused_at >= REFUSED_SECONDS:
            self.counts.refusal = ""
        self._report(self.counts)
