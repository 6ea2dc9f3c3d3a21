"""What each recipient of alerts gets, its words, and its errors."""

from __future__ import annotations

import json
import os
import resource
import ssl
import sys
from ast import literal_eval
from collections.abc import Iterator
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import Any

import pytest

from netconsd.alerts.alert import Alert
from netconsd.alerts.book import Book, Conditions
from netconsd.alerts.recipients import Alertmanager, Command, Mail, Partly, Webhook
from netconsd.alerts.texts import body, headline, link, subject
from netconsd.streams.module import environment
from netconsd.streams.record import Record
from netconsd.streams.sink import Refused, TryLater
from netconsd.testing import extended_message
from tests.support.http_server import Answers, Request, serving
from tests.support.scripted_lane import PATIENCE
from tests.support.servers import certificate, free_port

T0 = 1_795_000_000.0
CONSOLE = "https://logs.example.com/"


def died(host: int = 1, **fields: Any) -> Alert:
    """Return an alert."""
    address = f"192.0.2.{host}"
    values: dict[str, Any] = {"text": "BUG: a < b & é", "address": address, "name": f"web0{host}", "severity": "dead"}
    return Alert("died", address, since=T0, last=T0, **{**values, **fields})


def over(host: int = 2) -> Alert:
    """Return an alert that ended."""
    return died(host, ended=T0 + 60, why="booted")


def test_words() -> None:
    """A text says what, where, since when, how many others, and where to look."""
    alert = died(machines=4, others=["web02", "web03", "web04"], count=2)
    assert subject([alert], []) == "web01 died: BUG: a < b & é"
    assert body([alert], [over()], CONSOLE, T0 + 300) == (
        "web01 died: BUG: a < b & é\n"
        "  since 2026-11-18 11:06:40 UTC (5 minutes ago), web01 (192.0.2.1)\n"
        "  2 times, last 2026-11-18 11:06:40 UTC\n"
        "  also on 3 other machines: web02, web03, web04\n"
        "  https://logs.example.com/machines/192.0.2.1\n"
        "\n"
        "over: web02 died: BUG: a < b & é\n"
        "  from 2026-11-18 11:06:40 UTC to 2026-11-18 11:07:40 UTC: booted\n"
    )
    assert subject([], [over()]) == "over: web02 died: BUG: a < b & é"
    assert subject([died(), died(2, text="b")], [over(3)]) == ("web01 died: BUG: a < b & é; 1 further alert; 1 over")


def test_machines_together() -> None:
    """Alerts of one kind are one paragraph, with the number of machines and some of their names."""
    fleet = [died(host) for host in range(1, 5001)]
    text = body(fleet, [over(host) for host in range(1, 31)], CONSOLE, T0 + 300)
    assert text == (
        "5000 machines died: BUG: a < b & é\n"
        "  web01, web02, web03, web04, web05, ...\n"
        "  since 2026-11-18 11:06:40 UTC (5 minutes ago), first web01 (192.0.2.1)\n"
        "  https://logs.example.com/crashes?q=BUG%3A%20a%20%3C%20b%20%26%20%C3%A9\n"
        "\n"
        "over: 30 machines died: BUG: a < b & é\n"
        "  web01, web02, web03, web04, web05, ...\n"
        "  from 2026-11-18 11:06:40 UTC to 2026-11-18 11:07:40 UTC\n"
    )
    assert subject(fleet, []) == "5000 machines died: BUG: a < b & é"


@pytest.mark.parametrize(
    ("rule", "text", "one", "two"),
    [
        (
            "silent", "silent for 20 minutes; usually for at most 61 s",
            "web01 is silent for 20 minutes; usually for at most 61 s", "2 machines are silent",
        ),
        (
            "rebooted", "rebooted; nothing announced it", "web01 rebooted unannounced: nothing announced it",
            "2 machines rebooted unannounced",
        ),
        (
            "losses", "200 messages lost on the way", "web01 loses messages: 200 messages lost on the way",
            "2 machines lose messages",
        ),
        ("pattern", "MCE: 1", "web01 says: MCE: 1", "2 machines say, as web01: MCE: 1"),
    ],
)  # fmt: skip
def test_the_words_of_each_rule(rule: str, text: str, one: str, two: str) -> None:
    """One machine with its own numbers; several ones by their number, and all of them in a list of machines."""
    first, second = (Alert(rule, f"192.0.2.{n}", text, f"192.0.2.{n}", f"web0{n}", "hung", T0, T0) for n in (1, 2))
    second.text = f"{text}2"
    assert subject([first], []) == one
    assert subject([first, second], []) == two
    assert "https://logs.example.com/machines\n" in body([first, second], [], CONSOLE, T0)


def test_the_worst_is_first() -> None:
    """The order is that of gravity, and of machines of one kind there are more first."""
    said = Alert("pattern", "192.0.2.9", "x", "192.0.2.9", "", "notice", T0, T0)
    spread = Alert("spread", "BUG: x", "BUG: x", "192.0.2.1", "", "dead", T0, T0, machines=1000)
    text = body([said, died(1, text="BUG: y"), died(2), died(3), spread], [], None, T0)
    heads = [line for line in text.splitlines() if line and not line.startswith(" ")]
    assert heads == [
        "on 1000 or more machines: BUG: x", "2 machines died: BUG: a < b & é", "web01 died: BUG: y", "192.0.2.9 says: x"
    ]  # fmt: skip


def test_a_new_title_with_which_a_machine_died() -> None:
    """Both alerts are one paragraph."""
    new = Alert("new", "BUG: x", "BUG: x", "192.0.2.1", "web01", "dead", T0, T0)
    alerts = [new, died(text="BUG: x")]
    assert body(alerts, [], None, T0) == (
        "web01 died: BUG: x\n  since 2026-11-18 11:06:40 UTC (0 seconds ago), web01 (192.0.2.1)\n  the title is new\n"
    )
    assert subject(alerts, []) == "web01 died: BUG: x"


def test_a_reminder() -> None:
    """It says that an alert still lasts, and since when."""
    assert subject([], [], [died()]) == "still: web01 died: BUG: a < b & é"
    assert body([], [], None, T0 + 90_000, [died()]) == (
        "still: web01 died: BUG: a < b & é\n  since 2026-11-18 11:06:40 UTC (1 day ago), web01 (192.0.2.1)\n"
    )


def test_a_bounded_text() -> None:
    """A text has a bounded number of alerts, and the number of the others."""
    text = body([died(host, text=f"BUG: {host}") for host in range(200)], [], None, T0)
    assert text.count("since") == 20
    assert text.endswith("\n\n180 further alerts\n")
    assert body([], [died(host, text=f"{host}", ended=T0) for host in range(21)], None, T0).endswith(
        "over: 1 further alert\n"
    )


@pytest.mark.parametrize(
    ("rule", "line", "path"),
    [
        ("new", "new on web01: BUG: x", "crashes?q=BUG%3A%20x"),
        ("spread", "on 3 machines: BUG: x", "crashes?q=BUG%3A%20x"),
        ("silent", "web01 is silent: BUG: x", "machines/fe80::1%25eth0"),
        ("rebooted", "web01 rebooted unannounced: BUG: x", "machines/fe80::1%25eth0"),
        ("losses", "web01 loses messages: BUG: x", "machines/fe80::1%25eth0"),
        ("pattern", "web01 says: BUG: x", "machines/fe80::1%25eth0"),
        ("test", "BUG: x", ""),
    ],
)
def test_lines_and_links(rule: str, line: str, path: str) -> None:
    """Each rule has its words, and its page of the console."""
    alert = Alert(rule, "BUG: x", "BUG: x", "fe80::1%eth0", "web01", "dead", T0, T0, machines=3)
    assert headline(alert) == line
    assert link(alert, CONSOLE) == CONSOLE + path


@pytest.fixture
def server() -> Iterator[Answers]:
    """A server."""
    with serving() as answers:
        yield answers


def test_alertmanager(server: Answers) -> None:
    """An alert that lasts ends in the future; one that ended, after its begin."""
    manager = Alertmanager(server.url, {"X-Key": "1"}, 10.0, CONSOLE)
    assert manager.tell([died()], [died(2, ended=T0)], T0 + 9) == "200 OK"
    (request,) = server.requests
    first, second = json.loads(request.body)
    assert (request.path, request.headers["X-Key"]) == ("/api/v2/alerts", "1")
    assert first["labels"] == {"alertname": "netconsd_died", "severity": "dead", "instance": "192.0.2.1"}
    assert first["annotations"]["summary"] == "web01 died: BUG: a < b & é"
    assert (first["startsAt"], first["endsAt"]) == ("2026-11-18T11:06:40.000000Z", "2026-11-18T11:11:49.000000Z")
    assert first["generatorURL"] == "https://logs.example.com/machines/192.0.2.1"
    assert second["endsAt"] == "2026-11-18T11:06:40.001000Z"


def test_an_end_in_the_future(server: Answers) -> None:
    """Clocks differ: Alertmanager would not take an end in the future, so it is now."""
    Alertmanager(server.url, {}, 10.0, None).tell([], [over()], T0 + 30)
    assert json.loads(server.requests[0].body)[0]["endsAt"] == "2026-11-18T11:07:10.000000Z"


def test_a_bad_alert_among_good_ones(server: Answers) -> None:
    """After 400, each alert is posted alone: the good ones are there, and the error says how many are not."""

    def answer(request: Request) -> tuple[int, dict[str, str], bytes]:
        return (400, {}, b"bad") if b"192.0.2.2" in request.body else (200, {}, b"")

    server.answer = answer
    manager = Alertmanager(server.url, {}, 10.0, None)
    with pytest.raises(Partly, match=r"^1 of 3 refused: 400"):
        manager.tell([died(1), died(2), died(3)], [], T0)
    alone = [json.loads(request.body)[0]["labels"]["instance"] for request in server.requests[1:]]
    assert alone == ["192.0.2.1", "192.0.2.2", "192.0.2.3"]
    with pytest.raises(Refused):
        manager.tell([died(2)], [], T0)


def test_many_alerts(server: Answers) -> None:
    """A fleet's alerts are posted in pieces."""
    Alertmanager(server.url, {}, 10.0, None).tell([died(host) for host in range(1200)], [], T0)
    assert [len(json.loads(request.body)) for request in server.requests] == [500, 500, 200]


def test_a_generic_webhook(server: Answers) -> None:
    """The URL's query and the headers arrive, and the alerts with all their fields."""
    hook = Webhook(f"{server.url}/hook?key=1", "generic", {"X-Key": "2"}, 10.0, CONSOLE)
    assert hook.tell([died()], [over()], T0) == "200 OK"
    (request,) = server.requests
    assert (request.method, request.path, request.headers["X-Key"]) == ("POST", "/hook?key=1", "2")
    found = json.loads(request.body)
    assert set(found) == {"version", "title", "text", "begun", "lasting", "ended"}
    (alert,) = found["begun"]
    assert (alert["id"], alert["since"], alert["ended"]) == ("died/192.0.2.1", T0, None)
    assert alert["link"] == "https://logs.example.com/machines/192.0.2.1"
    assert found["ended"][0]["why"] == "booted"


def test_slack(server: Answers) -> None:
    """The three characters that Slack interprets are escaped."""
    Webhook(f"{server.url}/services/T/B/secret", "slack", {}, 10.0, None).tell([died()], [], T0)
    found = json.loads(server.requests[0].body)
    assert list(found) == ["text"]
    assert found["text"].startswith("web01 died: BUG: a &lt; b &amp; é\n")


def test_matrix(server: Answers) -> None:
    """A message of a room, whose transaction is the same for the same notification."""
    hook = Webhook(f"{server.url}/_matrix/client/v3/rooms/!r:x/send/m.room.message", "matrix", {}, 10.0, None)
    for alert in (died(), died(), died(2)):
        hook.tell([alert], [], T0)
    assert {request.method for request in server.requests} == {"PUT"}
    first, second, third = [request.path.rpartition("/")[2] for request in server.requests]
    assert first == second != third
    assert json.loads(server.requests[0].body)["msgtype"] == "m.text"


def test_a_webhook_that_fails(server: Answers) -> None:
    """The error has the answer and its Retry-After, and not the path, which can be a secret."""
    server.answer = lambda request: (429, {"Retry-After": "17"}, b"slow down")
    with pytest.raises(TryLater, match="429") as caught:
        Webhook(f"{server.url}/secret", "slack", {}, 10.0, None).tell([died()], [], T0)
    assert caught.value.retry_after == 17.0
    assert "secret" not in str(caught.value)


def test_a_command(tmp_path: Path) -> None:
    """A program gets the notification; its status, its end and its absence are errors."""
    out = tmp_path / "out"
    script = f"import sys; open({str(out)!r}, 'w').write(sys.stdin.read())"
    assert Command([sys.executable, "-c", script], 30.0, None).tell([died()], [], T0) == "status 0"
    assert json.loads(out.read_text())["begun"][0]["id"] == "died/192.0.2.1"
    with pytest.raises(TryLater, match="status 3: no pager"):
        Command([sys.executable, "-c", "print('no pager'); raise SystemExit(3)"], 30.0, None).tell([died()], [], T0)
    with pytest.raises(TryLater, match="No such file"):
        Command(["/does/not/exist"], 30.0, None).tell([died()], [], T0)


#: Ends when its limit of memory is lifted, which happens after its start.
_UNTIL_FREE = "import resource as r\nwhile r.getrlimit(r.RLIMIT_AS)[0] != r.getrlimit(r.RLIMIT_AS)[1]: pass\n"


def test_the_surroundings_of_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program has the daemon's environment and memory, and not those of the stream's process: it can be another
    Python, or reserve more address space, as node and java do."""
    before = os.environ.get("PYTHONPATH")
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    out = tmp_path / "out"
    script = f"{_UNTIL_FREE}import os; open({str(out)!r}, 'w').write(repr(dict(os.environ)))"
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (1 << 40, hard))
    try:
        assert Command([sys.executable, "-c", script], 30.0, None).tell([died()], [], T0) == "status 0"
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    found = literal_eval(out.read_text())
    assert found.get("PYTHONPATH") == before
    assert "OMP_NUM_THREADS" not in found


def test_a_command_that_hangs() -> None:
    """It is killed with its children, also if they hold its output."""
    with pytest.raises(TryLater, match=r"did not end in 0\.2 s"):
        Command(["sh", "-c", "sleep 1000 & sleep 1000"], 0.2, None).tell([died()], [], T0)


class Mailbox:
    """Takes the mails of a server."""

    def __init__(self) -> None:
        self.mails: list[Any] = []
        self.refused = "552 full"
        self.answer = "250 kept"
        self.answers_quit = True

    async def handle_RCPT(  # noqa: N802
        self, server: Any, session: Any, envelope: Any, address: str, options: Any
    ) -> str:
        """Refuse one address."""
        if address.startswith("full"):
            return self.refused
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        """Keep a mail."""
        self.mails.append(envelope)
        return self.answer

    async def handle_QUIT(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        """End without an answer, if a test asks for it."""
        if not self.answers_quit:
            server.transport.abort()
        return "221 bye"


@pytest.fixture
def mailbox() -> Iterator[tuple[Mailbox, int]]:
    """A mail server, and its port."""
    controller = pytest.importorskip("aiosmtpd.controller")
    mailbox = Mailbox()
    server = controller.Controller(mailbox, hostname="127.0.0.1", port=free_port(), ready_timeout=PATIENCE)
    server.start()
    yield mailbox, server.server.sockets[0].getsockname()[1]
    server.stop()


def mail(port: int, *to: str, **settings: Any) -> Mail:
    """Return a recipient."""
    values: dict[str, Any] = {
        "security": "none", "login": None, "ca_file": None, "timeout": PATIENCE, "console_url": CONSOLE
    }  # fmt: skip
    return Mail(("127.0.0.1", port), "netconsd@example.com", to or ("ops@example.com",), **{**values, **settings})


@pytest.mark.parametrize("text", ["é" + "x" * 5000, "é"])
def test_a_mail(mailbox: tuple[Mailbox, int], text: str) -> None:
    """A mail arrives as it was written: its lines end in CR LF, once, no line is longer than SMTP allows, and each byte
    has 7 bits."""
    box, port = mailbox
    alert = died(text=text)
    assert mail(port).tell([alert], [], T0) == "accepted for 1"
    (envelope,) = box.mails
    assert (envelope.mail_from, envelope.rcpt_tos) == ("netconsd@example.com", ["ops@example.com"])
    data = envelope.original_content
    assert b"\r\r" not in data
    assert data.isascii()
    assert b"\n" not in data.replace(b"\r\n", b"")
    assert max(map(len, data.split(b"\r\n"))) < 998
    parsed = message_from_bytes(data, policy=default)
    assert parsed["Subject"].startswith("[netconsd] web01 died: é")
    assert parsed["Auto-Submitted"] == "auto-generated"
    assert "https://logs.example.com/machines/192.0.2.1" in parsed.get_content()


def test_an_address_that_is_refused(mailbox: tuple[Mailbox, int]) -> None:
    """The others have the mail, and the error names the one that has not; if all are refused, it is sent again."""
    box, port = mailbox
    with pytest.raises(Partly, match=r"full@example\.com: 552 full"):
        mail(port, "ops@example.com", "full@example.com").tell([died()], [], T0)
    assert len(box.mails) == 1
    with pytest.raises(OSError, match="552"):
        mail(port, "full@example.com").tell([died()], [], T0)


def test_a_farewell_that_fails(mailbox: tuple[Mailbox, int]) -> None:
    """A server that ends without answering QUIT has the mail: it is not sent again."""
    box, port = mailbox
    box.answers_quit = False
    assert mail(port).tell([died()], [], T0) == "accepted for 1"
    assert len(box.mails) == 1


def test_a_mail_that_is_refused(mailbox: tuple[Mailbox, int]) -> None:
    """5xx after the mail is about its words or its size; 4xx passes."""
    box, port = mailbox
    box.answer = "554 5.7.1 spam"
    with pytest.raises(Refused, match=r"^554 5\.7\.1 spam$"):
        mail(port).tell([died()], [], T0)
    box.answer = "451 later"
    with pytest.raises(OSError, match="451"):
        mail(port).tell([died()], [], T0)


def test_a_strange_name(mailbox: tuple[Mailbox, int]) -> None:
    """No text of a stranger ends the subject, or becomes a header."""
    box, port = mailbox
    book = Book(Conditions(["pattern"]), ["a"], None)
    text = b"x\r\nBcc: all@example.com\r\n\r\n\xff\xe2\x80\xae"
    book.take(Record(extended_message(text, received_at=T0), "i", 1))
    mail(port).tell([*book.alerts.values()], [], T0)
    parsed = message_from_bytes(box.mails[0].original_content, policy=default)
    assert parsed["Bcc"] is None
    assert "x\\x0d\\x0aBcc: all@example.com" in parsed["Subject"]


def test_no_mail_in_clear_text(mailbox: tuple[Mailbox, int]) -> None:
    """With starttls, nothing is sent to a server that does not have it."""
    box, port = mailbox
    with pytest.raises(OSError, match="STARTTLS"):
        mail(port, security="starttls").tell([died()], [], T0)
    assert box.mails == []


def test_mail_with_a_password(tmp_path: Path) -> None:
    """With starttls and a password: a server that asks for both has the mail."""
    controller = pytest.importorskip("aiosmtpd.controller")
    smtp = pytest.importorskip("aiosmtpd.smtp")
    cert, key = certificate(tmp_path)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(cert, key)
    password = tmp_path / "password"
    password.write_text("secret\n")

    def authenticate(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> Any:
        return smtp.AuthResult(handled=False, success=data.login == b"user" and data.password == b"secret")

    box = Mailbox()
    server = controller.Controller(
        box, hostname="127.0.0.1", port=free_port(), tls_context=tls, authenticator=authenticate, auth_required=True,
        require_starttls=True, decode_data=False, ready_timeout=PATIENCE,
    )  # fmt: skip
    server.start()
    port = server.server.sockets[0].getsockname()[1]
    settings = {"security": "starttls", "login": ("user", password), "ca_file": cert}
    recipient = mail(port, **settings)
    recipient._server = ("localhost", port)
    try:
        assert recipient.tell([died()], [], T0) == "accepted for 1"
        password.write_text("wrong")
        with pytest.raises(OSError, match="535"):
            recipient.tell([died()], [], T0)
    finally:
        server.stop()
    assert len(box.mails) == 1
