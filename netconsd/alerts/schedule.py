"""When a recipient is notified, and of what.

1. **Together.** People get the changes of ``wait`` seconds in one notification. Alertmanager groups itself: it gets a
   change at once, and again all alerts that last, each :data:`~netconsd.alerts.recipients.REPOST_SECONDS`.
2. **Limited.** People get ``per_hour`` notifications in an hour at most: half of them at once if there is cause, the
   others evenly spaced, so that nobody hears nothing for an hour after a burst. Changes beyond wait, and are notified
   together.
3. **Reminded.** People are notified again of alerts that last for ``remind`` seconds, together with those that last for
   half of it.
4. **Refused.** A notification that is refused is sent in halves until the alert is alone that the recipient refuses. If
   it accepts others, that alert is given up and counted; if it refuses all, they wait: its settings are wrong.
5. **Failed.** A recipient that fails is called again after a pause, which doubles from :data:`PAUSE_SECONDS` to
   :data:`PAUSE_LIMIT`; it is at least its Retry-After.
6. **Apart.** Each recipient is called in a thread of its own: one that hangs delays no other.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from netconsd.alerts.alert import Alert
from netconsd.alerts.book import Book
from netconsd.alerts.recipients import REPOST_SECONDS, Partly, Recipient
from netconsd.streams.sink import Refused, TryLater, reason_of

#: Seconds before a recipient that failed is notified again: the first time, and at most.
PAUSE_SECONDS: Final = 5.0
PAUSE_LIMIT: Final = 300.0
#: The same for Alertmanager, which takes an alert for over that is not posted again.
POST_PAUSE_LIMIT: Final = 60.0
#: Seconds for which a recipient may ask to wait.
RETRY_AFTER_LIMIT: Final = 3600.0
#: Calls for one notification that is refused: halves find one bad alert among 10,000 with 27.
CALLS_LIMIT: Final = 40
#: Seconds after which a call that goes on is a fault: some times the timeout, which is for each read and write.
SLOW_SECONDS: Final = 120.0
#: Seconds after which the process is ended, and started again: a server that sends a byte now and then.
HANG_SECONDS: Final = 600.0
#: Seconds between two looks for alerts to be reminded of.
LOOK_SECONDS: Final = 60.0
#: Seconds by which the clock is set back at least; less is a correction.
STEP_SECONDS: Final = 60.0
#: Seconds for which the stop waits for calls: the daemon ends the process after five, of which the drain has three.
STOP_SECONDS: Final = 1.0

BEGIN: Final = "begin"
LASTS: Final = "lasts"
END: Final = "end"

#: An alert, and whether it began, lasts or ended.
Change = tuple[str, Alert]


@dataclass(frozen=True)
class Limits:
    """The settings of notifications; docs/alerts describes them."""

    wait: float = 10.0
    per_hour: int = 20
    #: 0 for no reminders.
    remind: float = 86_400.0
    shortest: float = 60.0


def in_thread(function: Callable[[], None]) -> None:
    """Call a function in a new thread.

    :raises RuntimeError: if there is no thread.
    """
    threading.Thread(target=function, name="netconsd alerts", daemon=True).start()


class _Call:
    """A notification under way. ``done`` is set last, by the thread of the call."""

    def __init__(self, changes: Sequence[Change], begun_at: float, *, reposts: bool) -> None:
        self.changes = changes
        self.begun_at = begun_at
        self.reposts = reposts
        #: Of the changes, those that the recipient has, and those that it refused.
        self.told: list[Change] = []
        self.refused: list[Change] = []
        self.calls = 0
        self.error: Exception | None = None
        self.done = threading.Event()


class Schedule:
    """The notifications of one recipient. For one thread, that of the book."""

    def __init__(
        self,
        recipient: Recipient,
        limits: Limits,
        start: Callable[[Callable[[], None]], object] = in_thread,
        warn: Callable[[str], object] = lambda text: None,
    ) -> None:
        """
        :param start: runs a function, in another thread or at once.
        :param warn: logs a text.
        """
        self.recipient = recipient
        self._limits = limits
        self._start = start
        self._warn = warn
        #: A reason for which it was not notified; "" if there is none.
        self.fault = ""
        self.notifications = 0
        self.failures = 0
        #: Alerts that it refused, and that are given up.
        self.refused = 0
        self._call: _Call | None = None
        self._now = float("-inf")
        self._not_before = float("-inf")
        self._pause = PAUSE_SECONDS
        # When the oldest change that it was not notified of was seen.
        self._waiting_since: float | None = None
        # The times of its notifications in the last hour.
        self._times: list[float] = []
        self._posted_at = float("-inf")
        self._looked_at = float("-inf")
        # When it was notified of the begin of an alert, by identity, in the last minutes.
        self._begun_at: dict[str, float] = {}

    def turn(self, book: Book, now: float) -> bool:
        """Take the outcome of the call, and begin a new one if its time has come.

        :returns: whether the alerts of the book were changed: somebody was notified of them.
        """
        if now < self._now - STEP_SECONDS:
            self._forget()
        self._now = now
        changed = self._finish(now)
        if self._call is not None:
            if now - self._call.begun_at >= SLOW_SECONDS:
                self.fault = f"not notified: no answer for {int(now - self._call.begun_at)} s; alerts wait"
            return changed
        changes, reposts = self._due(book, now)
        if not changes or now < self._not_before:
            return changed
        book.count_machines(alert for _, alert in changes)
        call = self._call = _Call(changes, now, reposts=reposts)
        # The book goes on while the recipient is called.
        name = self.recipient.name
        copies = [(s, replace(a, told={}, told_at={name: a.told_at.get(name, a.since)})) for s, a in changes]
        try:
            self._start(lambda: self._run(call, copies, now))
        except RuntimeError as error:
            call.error = error
            call.done.set()
        return self._finish(now) or changed

    def _forget(self) -> None:
        """Forget all times: the clock was set back, and a day's wait for the time before would be a silence."""
        self._not_before = self._posted_at = self._looked_at = float("-inf")
        self._waiting_since = None
        self._times.clear()
        self._begun_at.clear()

    def hangs(self, now: float) -> bool:
        """Return whether a call goes on for so long that only the end of the process ends it."""
        return self._call is not None and now - self._call.begun_at >= HANG_SECONDS

    def wait(self, seconds: float, now: float) -> bool:
        """Wait for the call, at the stop; return as :meth:`turn`."""
        if self._call is not None:
            self._call.done.wait(seconds)
        return self._finish(now)

    def _due(self, book: Book, now: float) -> tuple[list[Change], bool]:
        """Return the changes of which the recipient is to be notified now, and whether everything is posted again."""
        name = self.recipient.name
        untold = book.untold(name)
        if not untold:
            self._waiting_since = None
        elif self._waiting_since is None:
            self._waiting_since = now
        if self.recipient.each:
            return self._to_post(book, untold, now)
        lasting = self._to_remind(book, now)
        if self._is_over(now):
            return [], False
        if not lasting and (self._waiting_since is None or now - self._waiting_since < self._limits.wait):
            return [], False
        changes = [(BEGIN, alert) for alert in untold if alert.ended is None]
        changes += [(LASTS, alert) for alert in lasting]
        return changes + [(END, alert) for alert in untold if alert.ended is not None], False

    def _to_remind(self, book: Book, now: float) -> list[Alert]:
        remind = self._limits.remind
        if not remind or now - self._looked_at < min(LOOK_SECONDS, remind):
            return []
        self._looked_at = now
        name = self.recipient.name
        told = [alert for alert in book.alerts.values() if alert.ended is None and alert.told.get(name) == BEGIN]
        ages = [now - alert.told_at.get(name, alert.since) for alert in told]
        if max(ages, default=0.0) < remind:
            return []
        return [alert for alert, age in zip(told, ages, strict=True) if age >= remind / 2]

    def _to_post(self, book: Book, untold: Sequence[Alert], now: float) -> tuple[list[Change], bool]:
        """Return the alerts for Alertmanager.

        It says nothing of an alert that ends before it would have said that it fires: such an alert ends later there.
        """
        name = self.recipient.name
        self._begun_at = {key: at for key, at in self._begun_at.items() if now - at < self._limits.shortest}
        ended = [alert for alert in untold if alert.told.get(name) == BEGIN and alert.id not in self._begun_at]
        reposts = now - self._posted_at >= REPOST_SECONDS
        if reposts:
            over = {alert.id for alert in ended}
            begun = [a for a in book.alerts.values() if a.id not in over and a.told.get(name) != END]
        else:
            begun = [alert for alert in untold if name not in alert.told]
        return [*((BEGIN, alert) for alert in begun), *((END, alert) for alert in ended)], reposts

    def _is_over(self, now: float) -> bool:
        """Return whether the recipient had all its notifications for now (rule 2)."""
        self._times = [at for at in self._times if now - at < 3600.0]
        most = self._limits.per_hour
        burst = (most + 1) // 2
        if len(self._times) < burst:
            return False
        return len(self._times) >= most or now - self._times[-1] < 3600.0 / (most - burst)

    def _run(self, call: _Call, copies: Sequence[Change], now: float) -> None:
        """Notify the recipient; in the thread of the call."""
        try:
            self._tell(call, copies, call.changes, now)
            if call.refused and not call.told:
                raise self._last_refusal
        except Exception as error:
            # Any one: a defect here must not keep the others from being notified.
            call.error = error
        finally:
            call.done.set()

    _last_refusal: Exception = Refused("")

    def _tell(self, call: _Call, copies: Sequence[Change], changes: Sequence[Change], now: float) -> None:
        call.calls += 1
        if call.calls > CALLS_LIMIT:
            raise self._last_refusal
        begun, lasting, ended = ([alert for state, alert in copies if state == each] for each in (BEGIN, LASTS, END))
        try:
            self.recipient.tell(begun, ended, now, lasting=lasting)
        except Partly:
            call.told += changes
            raise
        except Refused as error:
            self._last_refusal = error
            if self.recipient.each or len(changes) == 1:
                call.refused += changes
                return
            half = len(changes) // 2
            self._tell(call, copies[:half], changes[:half], now)
            self._tell(call, copies[half:], changes[half:], now)
        else:
            call.told += changes

    def _finish(self, now: float) -> bool:
        """Take the outcome of the call, if it is over."""
        call = self._call
        if call is None or not call.done.is_set():
            return False
        self._call = None
        self.fault = ""
        name = self.recipient.name
        changed = False
        if call.told and call.refused:
            # Given up: whoever accepts other alerts never accepts these.
            self.refused += len(call.refused)
            self.fault = f"{len(call.refused)} of {len(call.changes)} refused: {reason_of(self._last_refusal)}"
            self._warn(f"{name}: {self.fault}; it is not notified of: {call.refused[0][1].id}")
            call.told += call.refused
        for state, alert in call.told:
            word = END if state == END else BEGIN
            if alert.told.get(name) != word or state == LASTS:
                changed = True
                alert.told_at[name] = now
                self._begun_at[alert.id] = now
            alert.told[name] = word
        if call.told:
            self._pause, self._waiting_since = PAUSE_SECONDS, None
            if call.reposts:
                self._posted_at = call.begun_at
            if not self.recipient.each:
                self._times.append(now)
            self.notifications += 1
        if isinstance(call.error, Partly):
            self.fault = str(call.error)
            self._warn(f"{name}: {call.error}")
        elif call.error is not None:
            self._failed(call.error, now)
        return changed

    def _failed(self, error: Exception, now: float) -> None:
        text = reason_of(error)
        if not isinstance(error, (OSError, TryLater, Refused)):
            text = f"{type(error).__name__}: {text}"
        if self._pause == PAUSE_SECONDS:
            self._warn(f"{self.recipient.name} was not notified: {text}; alerts wait")
        self.fault = f"not notified: {text}"
        self.failures += 1
        asked = error.retry_after if isinstance(error, TryLater) else None
        self._not_before = now + max(self._pause, min(asked or 0.0, RETRY_AFTER_LIMIT))
        self._pause = min(2 * self._pause, POST_PAUSE_LIMIT if self.recipient.each else PAUSE_LIMIT)
