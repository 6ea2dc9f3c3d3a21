"""The recipients of alerts: Alertmanager, a webhook, mail, a command. They block, each call within its limit of time.

People get one notification for all changes of some seconds, and a limited number in an hour; beyond, changes wait and
are notified together. Alertmanager groups and limits itself: it gets each alert, again and again while it lasts.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import smtplib
import ssl
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Final, Literal, Protocol
from urllib.parse import urlsplit

import netconsd
from netconsd.alerts.alert import Alert
from netconsd.alerts.texts import body, headline, link, subject
from netconsd.streams.http import Http
from netconsd.streams.sink import Refused, TryLater, reason_of

Form = Literal["generic", "slack", "matrix"]
Security = Literal["none", "starttls", "tls"]

#: Seconds between two posts of an alert that lasts, and those after which Alertmanager takes it for over if none comes:
#: as Prometheus does, four times that and some reserve.
REPOST_SECONDS: Final = 60.0
ENDS_SECONDS: Final = 300.0
#: Alerts in one post.
POST_LIMIT: Final = 500
#: Characters of a mail's subject.
SUBJECT_LIMIT: Final = 200
#: Bytes of the output of a command that are shown.
SHOWN_BYTES: Final = 300


class Partly(Exception):
    """A recipient was notified, except of some alerts, or some of its addresses; ``str()`` says which."""


class Recipient(Protocol):
    """One that is notified of alerts. For one thread."""

    name: str
    #: False for people: their notifications are grouped and limited.
    each: bool

    def tell(self, begun: Sequence[Alert], ended: Sequence[Alert], now: float, *, lasting: Sequence[Alert] = ()) -> str:
        """Tell of alerts that began, of some that ended, and of others that last; return the answer for people.

        :raises OSError: if they were not notified; also :class:`TryLater`.
        :raises Refused: if the recipient took them for wrong: some of them are to be left out.
        :raises Partly: if some were notified.
        """


class Alertmanager:
    """Posts to ``/api/v2/alerts``."""

    each = True

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        timeout: float,
        console_url: str | None,
        ca_file: Path | None = None,
    ) -> None:
        """
        :raises ValueError: if the URL is none.
        """
        _check_url(url)
        self.name = f"alertmanager {url}"
        self._http = Http(url, timeout=timeout, headers=headers, ca_file=ca_file)
        self._console_url = console_url

    def tell(self, begun: Sequence[Alert], ended: Sequence[Alert], now: float, *, lasting: Sequence[Alert] = ()) -> str:
        """Post alerts. A batch that is refused is posted one by one: 400 is answered for one bad alert, although the
        others fire."""
        alerts = [self._alert(alert, now, lasts=True) for alert in [*begun, *lasting]]
        alerts += [self._alert(alert, now, lasts=False) for alert in ended]
        text = ""
        try:
            for first in range(0, len(alerts), POST_LIMIT):
                text = self._post(alerts[first : first + POST_LIMIT])
        finally:
            # A connection that is kept for a minute is one that the other side may have closed.
            self._http.close()
        return text

    def _post(self, alerts: list[dict[str, Any]]) -> str:
        data = json.dumps(alerts).encode("ascii")
        try:
            return self._http.request("POST", "/api/v2/alerts", data, {"Content-Type": "application/json"}).text
        except Refused:
            if len(alerts) == 1:
                raise
        refused: list[Refused] = []
        text = ""
        for alert in alerts:
            try:
                text = self._post([alert])
            except Refused as error:
                refused.append(error)
        if len(refused) == len(alerts):
            raise refused[0]
        if refused:
            raise Partly(f"{len(refused)} of {len(alerts)} refused: {refused[0]}")
        return text

    def _alert(self, alert: Alert, now: float, *, lasts: bool) -> dict[str, Any]:
        labels = {"alertname": f"netconsd_{alert.rule}", "severity": alert.severity}
        # The labels are the identity: they stay the same while it lasts.
        labels |= {"title": alert.subject} if alert.rule in ("new", "spread") else {"instance": alert.subject}
        annotations = {"summary": headline(alert), "description": body([alert], [], None, now)}
        if alert.name:
            annotations["name"] = alert.name
        found: dict[str, Any] = {
            # An empty label counts as missing, and is none that Alertmanager takes.
            "labels": {name: value for name, value in labels.items() if value},
            "annotations": annotations,
            "startsAt": _rfc3339(alert.since),
            "endsAt": _rfc3339(now + ENDS_SECONDS if lasts else _end(alert, now)),
        }
        if self._console_url is not None:
            found["generatorURL"] = link(alert, self._console_url)
        return found


class Webhook:
    """Posts a notification as JSON."""

    each = False

    def __init__(
        self,
        url: str,
        form: Form,
        headers: Mapping[str, str],
        timeout: float,
        console_url: str | None,
        ca_file: Path | None = None,
    ) -> None:
        """
        :raises ValueError: if the URL is none.
        """
        _check_url(url)
        parts = urlsplit(url)
        # A path can be a secret; the errors of the connection name the server only.
        self._http = Http(f"{parts.scheme}://{parts.netloc}", timeout=timeout, headers=headers, ca_file=ca_file)
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self.name = f"webhook {parts.scheme}://{parts.netloc}"
        self._form = form
        self._console_url = console_url

    def tell(self, begun: Sequence[Alert], ended: Sequence[Alert], now: float, *, lasting: Sequence[Alert] = ()) -> str:
        """Post a notification."""
        title = subject(begun, ended, lasting)
        text = body(begun, ended, self._console_url, now, lasting)
        method, path = "POST", self._path
        if self._form == "slack":
            shown = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
            data: dict[str, Any] = {"text": shown}
        elif self._form == "matrix":
            data = {"msgtype": "m.text", "body": text}
            # The transaction's id: a second copy is recognised (Client-Server API, PUT send).
            method, path = "PUT", f"{path.rstrip('/')}/{_digest(begun, ended, lasting)}"
        else:
            data = payload(begun, ended, title, text, self._console_url, lasting)
        try:
            return self._http.request(
                method, path, json.dumps(data).encode("ascii"), {"Content-Type": "application/json"}
            ).text
        finally:
            self._http.close()


class Mail:
    """Sends a mail by SMTP, with smtplib: twisted.mail would end its lines in CR CR LF."""

    each = False

    def __init__(
        self,
        server: tuple[str, int],
        sender: str,
        to: Sequence[str],
        *,
        security: Security,
        login: tuple[str, Path] | None,
        ca_file: Path | None,
        timeout: float,
        console_url: str | None,
    ) -> None:
        """
        :param login: the user's name, and the file with the password.
        """
        self.name = f"mail {server[0]}:{server[1]}"
        self._server = server
        self._sender = sender
        self._to = list(to)
        self._security = security
        self._login = login
        self._ca_file = ca_file
        self._timeout = timeout
        self._console_url = console_url

    def tell(self, begun: Sequence[Alert], ended: Sequence[Alert], now: float, *, lasting: Sequence[Alert] = ()) -> str:
        """Send a mail to all addresses; if the server refuses some of them, the others have it."""
        message = EmailMessage(policy=SMTP)
        title = subject(begun, ended, lasting)
        message["Subject"] = f"[netconsd] {title}"[:SUBJECT_LIMIT]
        message["From"] = self._sender
        message["To"] = ", ".join(self._to)
        message["Date"] = format_datetime(datetime.fromtimestamp(now, UTC))
        message["Message-ID"] = f"<{_digest(begun, ended, lasting)}@netconsd>"
        message["Auto-Submitted"] = "auto-generated"
        # A server need not take lines of 8 bits, or of more than 998 bytes.
        message.set_content(body(begun, ended, self._console_url, now, lasting), cte="quoted-printable")
        context = ssl.create_default_context(cafile=None if self._ca_file is None else str(self._ca_file))
        host, port = self._server
        client = (
            smtplib.SMTP_SSL(host, port, timeout=self._timeout, context=context)
            if self._security == "tls"
            else smtplib.SMTP(host, port, timeout=self._timeout)
        )
        try:
            if self._security == "starttls":
                client.starttls(context=context)
            if self._login is not None:
                user, file = self._login
                client.login(user, file.read_text(encoding="utf-8").strip())
            refused = client.send_message(message)
            # The server has the mail: what happens to the farewell must not have it sent again.
            with suppress(OSError):
                client.quit()
        except smtplib.SMTPDataError as error:
            if 500 <= error.smtp_code < 600:
                # About this mail: its size or its words.
                raise Refused(f"{error.smtp_code} {_text(error.smtp_error)}") from error
            raise
        finally:
            client.close()
        if refused:
            address, (code, text) = next(iter(refused.items()))
            raise Partly(f"refused for {address}: {code} {_text(text)}")
        return f"accepted for {len(self._to)}"


class Command:
    """Runs a program with the notification as JSON on its standard input."""

    each = False

    def __init__(self, words: Sequence[str], timeout: float, console_url: str | None) -> None:
        self.name = f"command {words[0]}"
        self._words = list(words)
        self._timeout = timeout
        self._console_url = console_url

    def tell(self, begun: Sequence[Alert], ended: Sequence[Alert], now: float, *, lasting: Sequence[Alert] = ()) -> str:
        """Run the program.

        :raises TryLater: if its status is not 0, or it takes too long: it is killed then.
        """
        title = subject(begun, ended, lasting)
        text = body(begun, ended, self._console_url, now, lasting)
        data = json.dumps(payload(begun, ended, title, text, self._console_url, lasting)).encode("ascii")
        # Files, and not pipes: a child of the program that goes on would keep those open.
        with TemporaryFile() as stdin, TemporaryFile() as stdout:
            stdin.write(data)
            stdin.seek(0)
            try:
                process = subprocess.Popen(
                    self._words,
                    stdin=stdin,
                    stdout=stdout,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    env=_environment(),
                )
            except OSError as error:
                raise TryLater(reason_of(error)) from error
            _free(process.pid)
            try:
                status = process.wait(self._timeout)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                raise TryLater(f"it did not end in {self._timeout:g} s") from None
            if status:
                stdout.seek(0)
                said = " ".join(stdout.read(SHOWN_BYTES).decode(errors="replace").split())
                raise TryLater(f"it ended with status {status}: {said}")
        return "status 0"


def payload(
    begun: Sequence[Alert],
    ended: Sequence[Alert],
    title: str,
    text: str,
    console_url: str | None,
    lasting: Sequence[Alert] = (),
) -> dict[str, Any]:
    """Return the generic form of a notification; docs/alerts has the table."""

    def fields(alert: Alert) -> dict[str, Any]:
        found = alert.fields()
        del found["told"], found["told_at"]
        found |= {"id": alert.id, "headline": headline(alert)}
        return found if console_url is None else {**found, "link": link(alert, console_url)}

    return {
        "version": 1,
        "title": title,
        "text": text,
        "begun": [fields(alert) for alert in begun],
        "lasting": [fields(alert) for alert in lasting],
        "ended": [fields(alert) for alert in ended],
    }


def _digest(begun: Sequence[Alert], ended: Sequence[Alert], lasting: Sequence[Alert]) -> str:
    lines = [f"{alert.id} {alert.since} {alert.ended}" for alert in [*begun, *ended]]
    # Each reminder is one of its own: the time of the one before belongs to it.
    lines += [f"{alert.id} {alert.since} lasts {alert.told_at}" for alert in lasting]
    text = "\n".join(lines)
    return sha256(text.encode(errors="surrogatepass")).hexdigest()[:32]


def _check_url(url: str) -> None:
    """
    :raises ValueError: if a URL has a password, which would be in the log, or characters that no request can have.
    """
    parts = urlsplit(url)
    if "@" in parts.netloc:
        raise ValueError("write a password as a header, such as Authorization: Basic BASE64, and not into the URL")
    if not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError("write the URL with %XX for spaces and characters that are not ASCII")


def _text(answer: bytes | str) -> str:
    """Return a mail server's answer as a line for people."""
    shown = answer.decode(errors="replace") if isinstance(answer, bytes) else answer
    return " ".join(shown.split())[:SHOWN_BYTES]


def _environment() -> dict[str, str]:
    """Return the environment of a program: that of the daemon, without what its stream's process needs."""
    found = dict(os.environ)
    own = str(Path(netconsd.__file__).resolve().parents[1])
    paths = found.pop("PYTHONPATH", "").split(":")
    if paths[0] == own:
        # Another Python would import this one's packages.
        del paths[0]
        found.pop("OMP_NUM_THREADS", None)
    return {**found, "PYTHONPATH": ":".join(paths)} if any(paths) else found


def _free(process: int) -> None:
    """Lift the limit of memory that the stream's process has from a program: node and java reserve more than that."""
    with suppress(OSError, ValueError):
        hard = resource.prlimit(process, resource.RLIMIT_AS)[1]
        resource.prlimit(process, resource.RLIMIT_AS, (hard, hard))


def _end(alert: Alert, now: float) -> float:
    """Return an end that Alertmanager takes: it refuses one that is not after the begin, and ignores one in the
    future."""
    return max(min(alert.ended or now, now), alert.since + 0.001)


def _rfc3339(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
