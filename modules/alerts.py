"""Tells people, Alertmanager or a program of crashes, deaths, silence and losses of machines (docs/alerts).

A stream: reports and events wait in its spool, and its process applies the rules and tells the recipients, so that one
that hangs costs nothing else. The alerts that last, and who knows of them, are in ``alerts.json`` in its directory.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from socket import gethostname
from typing import Any, Final, Literal

from netconsd.alerts.alert import RULES, Alert
from netconsd.alerts.book import Book, Conditions
from netconsd.alerts.muted import Muted
from netconsd.alerts.recipients import (
    Alertmanager,
    Command,
    Form,
    Mail,
    Partly,
    Recipient,
    Security,
    Webhook,
)
from netconsd.alerts.schedule import STOP_SECONDS, Limits, Schedule, in_thread
from netconsd.crash.report import Report
from netconsd.interfaces import ModuleMetric
from netconsd.message import Message
from netconsd.streams.cursor import Cursor
from netconsd.streams.http import header_lines
from netconsd.streams.module import Stream
from netconsd.streams.record import Record
from netconsd.streams.sink import Answer, Encoded, Refused, TryLater, reason_of
from netconsd.units import Duration

Rule = Literal["new", "spread", "died", "silent", "rebooted", "losses"]

STATE: Final = "alerts.json"
#: Machines that the daemon heard again after its start, a line for each.
HEARD: Final = "heard"
#: How long a recipient may take, for each read and write.
TIMEOUT: Final = Duration("10s")


class Alerts(Stream):
    """Applies the rules to reports, events and messages, and tells the recipients."""

    def __init__(
        self,
        *,
        rules: list[Rule] | None = None,
        pattern: str | None = None,
        spread_machines: int = 5,
        spread_within: Duration = Duration("1h"),  # noqa: B008
        losses: int = 100,
        quiet: Duration = Duration("1h"),  # noqa: B008
        wait: Duration = Duration("10s"),  # noqa: B008
        per_hour: int = 20,
        remind: Duration = Duration("1d"),  # noqa: B008
        console_url: str | None = None,
        alertmanager: list[str] | None = None,
        alertmanager_headers: list[str] | None = None,
        shortest: Duration = Duration("1m"),  # noqa: B008
        webhook: str | None = None,
        webhook_form: Form = "generic",
        webhook_headers: list[str] | None = None,
        email_to: list[str] | None = None,
        email_from: str = "netconsd@localhost",
        smtp: str = "127.0.0.1:25",
        smtp_security: Security = "none",
        smtp_user: str | None = None,
        smtp_password_file: Path | None = None,
        ca_file: Path | None = None,
        command: list[str] | None = None,
        timeout: Duration = TIMEOUT,
        **settings: Any,
    ) -> None:
        """
        :param rules: new, spread, died, silent, rebooted, losses: those that begin alerts; by default all.
        :param pattern: a regular expression; a message that matches begins an alert of its machine.
        :param spread_machines: on so many machines a title begins the alert spread.
        :param spread_within: the time in which that counts.
        :param losses: so many lost messages of one machine begin an alert.
        :param quiet: how long nothing may come before an alert ends.
        :param wait: how long a change waits for others, to be notified together.
        :param per_hour: the most notifications of one recipient in an hour; later changes are notified together.
        :param remind: after this time, people are notified again of alerts that last; 0s for never.
        :param console_url: the console's address, for links, as https://logs.example.com:8514.
        :param alertmanager: the URLs of Alertmanager, as http://127.0.0.1:9093; all members of a cluster.
        :param alertmanager_headers: of each request, each as NAME: VALUE, as for a password.
        :param shortest: how long Alertmanager has an alert at least: more than its group_wait, or it says nothing.
        :param webhook: a URL to which notifications are posted.
        :param webhook_form: generic, slack or matrix.
        :param webhook_headers: of each request, each as NAME: VALUE.
        :param email_to: the addresses that get mail.
        :param email_from: the sender's address.
        :param smtp: the mail server, as HOST:PORT.
        :param smtp_security: none, starttls or tls.
        :param smtp_user: the name for the mail server.
        :param smtp_password_file: the file with its password.
        :param ca_file: the certificates that are trusted for https and the mail server, instead of the system's.
        :param command: a program and its arguments; it gets each notification as JSON.
        :param timeout: how long a recipient may take.
        :raises ValueError: if a setting is wrong, with a text that names the setting.
        """
        for name in ("kinds", "keep", "drop"):
            if settings.pop(name, None) is not None:
                raise ValueError(f"{name}: the rules choose the records; set rules or pattern")
        kinds: list[Any] = ["reports", "events", *(["messages"] if pattern is not None else [])]
        try:
            # The messages that arrive in the process match: it searches none again.
            super().__init__(kinds=kinds, keep=pattern, **settings)
        except ValueError as error:
            raise ValueError(re.sub("^keep: ", "pattern: ", str(error))) from None
        for name, value, least, most in (
            *(("spread_machines", spread_machines, 2, 1000), ("losses", losses, 1, 1 << 31)),
            *(("per_hour", per_hour, 1, 3600), ("quiet", quiet, 60, 604_800), ("wait", wait, 0, 3600)),
            *(("spread_within", spread_within, 60, 604_800), ("timeout", timeout, 0.1, 60)),
            *(("shortest", shortest, 0, 3600), ("remind", remind, 0, 2_592_000)),
        ):
            if not least <= value <= most:
                raise ValueError(f"{name}: {value} is not from {least} to {most}")
        wanted = [*(rules if rules is not None else [rule for rule in RULES if rule != "pattern"])]
        if not wanted and pattern is None:
            raise ValueError(
                f"rules: name some of {', '.join(rule for rule in RULES if rule != 'pattern')}, or a pattern"
            )
        self._conditions = Conditions(
            frozenset([*wanted, "pattern"]), spread_machines, float(spread_within), losses, float(quiet)
        )
        if 0 < remind < 60:
            raise ValueError(f"remind: {remind} is less than 1m")
        self._notify = Limits(float(wait), per_hour, float(remind), float(shortest))
        if console_url is not None and not re.fullmatch(r"https?://[^\s@?#]+", console_url):
            raise ValueError(f'console_url: "{console_url}" is not a URL such as https://logs.example.com:8514')
        recipients: list[Recipient] = []
        limit = float(timeout)
        headers = _of("alertmanager_headers", lambda: header_lines(alertmanager_headers or []))
        for url in dict.fromkeys(alertmanager or ()):
            recipients += [_of("alertmanager", partial(Alertmanager, url, headers, limit, console_url, ca_file))]
        headers = _of("webhook_headers", lambda: header_lines(webhook_headers or []))
        if webhook is not None:
            recipients.append(
                _of("webhook", lambda: Webhook(webhook, webhook_form, headers, limit, console_url, ca_file))
            )
        if email_to:
            if (smtp_user is None) != (smtp_password_file is None):
                raise ValueError("smtp_user: needs smtp_password_file, and that needs smtp_user")
            for name, addresses in (("email_to", email_to), ("email_from", [email_from])):
                if not all(re.fullmatch(r"[^\s@,<>]+@[^\s@,<>]+", address) for address in addresses):
                    raise ValueError(f"{name}: write addresses such as ops@example.com")
            login = None
            if smtp_user is not None and smtp_password_file is not None:
                if smtp_security == "none":
                    raise ValueError("smtp_user: a password needs smtp_security = starttls or tls")
                login = smtp_user, smtp_password_file
            recipients.append(
                Mail(
                    _of("smtp", lambda: _address(smtp)), email_from, email_to, security=smtp_security, login=login,
                    ca_file=ca_file, timeout=limit, console_url=console_url,
                )
            )  # fmt: skip
        if command:
            recipients.append(Command(command, limit, console_url))
        self._recipients = recipients
        self._schedules: list[Schedule] = []
        self._book: Book | None = None
        self._file: Cursor | None = None
        self._changed = False
        self._taken: set[str] = set()
        # Of the daemon: addresses that died or were silent when it started. Of the process: what it read of them.
        self._awaited: set[str] = set()
        self._heard_file = Path(HEARD)
        self._heard_bytes = 0
        # The sums of the processes before this one.
        #: Runs the call of a recipient.
        self.call: Callable[[Callable[[], None]], object] = in_thread
        #: Ends the process.
        self.hang: Callable[[], object] = partial(signal.raise_signal, signal.SIGALRM)
        self.now: Callable[[], float] = time.time
        self.numbers: dict[str, int] = {}

    def check(self) -> None:
        """Test the directory.

        :raises RuntimeError: if it cannot be used, or there is no recipient.
        """
        self._check_recipients()
        super().check()

    def _check_recipients(self) -> None:
        if not self._recipients:
            raise RuntimeError("name a recipient: set alertmanager, webhook, email_to or command")

    def start(self, worker_count: int) -> None:
        """As :meth:`netconsd.streams.module.Stream.start`.

        :raises RuntimeError: also if there is no recipient.
        """
        self._check_recipients()
        super().start(worker_count)
        # No event will say that these are back: the daemon before this one knew that they were away.
        with suppress(OSError, KeyError, TypeError):
            self._awaited = Book.awaited(Cursor(self._directory / STATE).load())
            (self._directory / HEARD).write_bytes(b"")

    def handle_batch(self, worker: int, messages: list[Message]) -> None:
        """As :meth:`netconsd.streams.module.Stream.handle_batch`; the first message of a machine that was away before
        the start is noted for the process."""
        if self._awaited:
            for message in messages:
                if message.new and message.source.address in self._awaited:
                    self._note(message.source.address, message.received_at)
        super().handle_batch(worker, messages)

    def handle_report(self, worker: int, report: Report) -> None:
        """As :meth:`netconsd.streams.module.Stream.handle_report`, but of the messages only the first, which has the
        name: 1 kB instead of 40, so that the crashes of a fleet have room in the spool, and are read at once."""
        super().handle_report(worker, replace(report, messages=report.messages[:1], before=(), frames=()))

    def _note(self, address: str, at: float) -> None:
        try:
            with (self._directory / HEARD).open("a") as file:
                file.write(f"{address} {at}\n")
        except OSError as error:
            self._complain("write", error)
        else:
            self._awaited.discard(address)

    def begin(self, directory: Path, warn: Callable[[str], object]) -> None:
        """Read the alerts of the run before."""
        self._file = Cursor(directory / STATE)
        self._heard_file = directory / HEARD
        names = [recipient.name for recipient in self._recipients]
        fields = self._file.load()
        is_muted = Muted(self._store, warn)
        try:
            self._book = Book(self._conditions, names, fields, is_muted)
        except (TypeError, ValueError, AttributeError):
            warn(f"{directory / STATE} is damaged: all titles are new again")
            self._book = Book(self._conditions, names, None, is_muted)
        self._schedules = [Schedule(each, self._notify, self.call, warn) for each in self._recipients]

    def encode(self, record: Record) -> bytes:
        """Return nothing: the rules take the record."""
        return b""

    def send(self, batch: Sequence[Encoded]) -> Answer:
        """Apply the rules to a batch, and keep the alerts on disk.

        :raises OSError: if the disk is full; the recipients are notified nevertheless.
        """
        assert self._book is not None, "begin() is called before"
        for each in batch:
            # A batch that could not be kept comes again.
            if each.record.id not in self._taken:
                self._book.take(each.record)
        self._taken = {each.record.id for each in batch}
        try:
            self._save()
        except OSError:
            self.tick()
            raise
        self._taken = set()
        return Answer(f"{len(batch)} seen")

    def _hear(self, book: Book) -> None:
        """Take the machines that are back."""
        with suppress(OSError), self._heard_file.open() as file:
            size = os.fstat(file.fileno()).st_size
            if size < self._heard_bytes:
                self._heard_bytes = 0  # of a daemon that was started meanwhile
            if size == self._heard_bytes:
                return
            file.seek(self._heard_bytes)
            for line in file:
                if not line.endswith("\n"):
                    break
                self._heard_bytes += len(line)
                address, _, at = line.partition(" ")
                book.heard(address, float(at))
            self._changed = True

    def _save(self) -> None:
        if self._file is not None and self._book is not None:
            self._changed = True
            self._file.save(self._book.fields(), sync=True)
            self._changed = False

    def tick(self) -> None:
        """Notify each recipient, if its time has come."""
        book = self._book
        if book is None:
            return
        now = self.now()
        before = len(book.alerts)
        self._hear(book)
        book.expire(now)
        for schedule in self._schedules:
            self._changed = schedule.turn(book, now) or self._changed
        book.expire(now)
        if self._changed or len(book.alerts) != before:
            # If the disk is full, the next turn tries again.
            with suppress(OSError):
                self._save()
        self._report(book)
        if any(schedule.hangs(now) for schedule in self._schedules):
            self.hang()

    def _report(self, book: Book) -> None:
        self.fault = "; ".join(f"{each.recipient.name}: {each.fault}" for each in self._schedules if each.fault)
        self.numbers = {
            "firing": sum(alert.ended is None for alert in book.alerts.values()),
            "begun": book.begun,
            "beyond": book.dropped,
            "notifications": sum(each.notifications for each in self._schedules),
            "failures": sum(each.failures for each in self._schedules),
            "refused": sum(each.refused for each in self._schedules),
        }

    def close(self) -> None:
        """Wait a little for the calls under way: nobody is to be notified twice."""
        if self._book is not None:
            now = self.now()
            for schedule in self._schedules:
                self._changed = schedule.wait(STOP_SECONDS / len(self._schedules), now) or self._changed
            if self._changed:
                with suppress(OSError):
                    self._save()

    def metrics(self) -> list[ModuleMetric]:
        """Return the numbers of the stream, and of the alerts."""
        found = self._reported.get("numbers", {}).get
        return [
            *super().metrics(),
            ModuleMetric("alerts_firing", "Alerts that last.", found("firing", 0)),
            ModuleMetric("alerts_begun", "Alerts that began.", self.counted("begun"), counter=True),
            ModuleMetric("alerts_notifications", "Notifications sent.", self.counted("notifications"), counter=True),
            ModuleMetric("alerts_failures", "Notifications not sent.", self.counted("failures"), counter=True),
            ModuleMetric("alerts_refused", "Alerts that a recipient refused.", self.counted("refused"), counter=True),
            ModuleMetric("alerts_dropped", "Alerts beyond the limit.", self.counted("beyond"), counter=True),
        ]

    def send_test(self) -> str:
        """Tell each recipient of a test, in the calling thread, and return their answers.

        :raises RuntimeError: if one of them was not notified; all others were.
        """
        self._check_recipients()
        now = self.now()
        text = "a test of netconsd; nothing happened"
        test = Alert("test", "127.0.0.1", text, "127.0.0.1", gethostname(), "notice", now, now)
        answers, failures = [], []
        for recipient in self._recipients:
            try:
                answers.append(f"{recipient.name}: {recipient.tell([test], [], now)}")
            except (OSError, TryLater, Refused, Partly) as error:
                failures.append(f"{recipient.name} was not notified: {reason_of(error)}")
        if failures:
            raise RuntimeError("; ".join([*failures, *answers]))
        return "; ".join(answers)


def _of(name: str, made: Callable[[], Any]) -> Any:
    """Return what a function returns; its error names a setting."""
    try:
        return made()
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _address(text: str) -> tuple[str, int]:
    match = re.fullmatch(r"(?:\[([^\[\]]+)\]|([^:\[\]]+)):(\d{1,5})", text)
    if match is None or not 1 <= int(match[3]) <= 65_535:
        raise ValueError(f'"{text}" is not HOST:PORT, such as 127.0.0.1:25')
    return match[1] or match[2], int(match[3])
