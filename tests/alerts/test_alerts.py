"""The module alerts: when recipients are notified, what a failure and a restart do, and its settings."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from netconsd.alerts.alert import Alert
from netconsd.alerts.recipients import Partly
from netconsd.crash.groups import group_id
from netconsd.crash.report import Report
from netconsd.outputs.loader import ModuleError, load
from netconsd.outputs.setting_types import ModuleSetting
from netconsd.store import triage
from netconsd.streams.cursor import Cursor
from netconsd.streams.findingfiles import FindingSource
from netconsd.streams.record import Record
from netconsd.streams.sink import Encoded, Refused, TryLater
from netconsd.testing import crash_report, event, extended_message

T0 = 1_795_000_000.0


class Scripted:
    """A recipient that keeps what it was notified."""

    def __init__(self, name: str, *, each: bool = False) -> None:
        self.name = name
        self.each = each
        self.told: list[tuple[list[str], list[str]]] = []
        self.reminded: list[list[str]] = []
        self.error: Exception | None = None
        self.refuses: set[str] = set()
        self.calls = 0

    def tell(self, begun: Sequence[Alert], ended: Sequence[Alert], now: float, *, lasting: Sequence[Alert] = ()) -> str:
        """Keep the identities."""
        self.calls += 1
        if any(alert.id in self.refuses for alert in [*begun, *ended]):
            raise Refused("400 Bad Request")
        if self.error is not None and not isinstance(self.error, Partly):
            raise self.error
        self.told.append(([alert.id for alert in begun], [alert.id for alert in ended]))
        self.reminded.append([alert.id for alert in lasting])
        if self.error is not None:
            raise self.error
        return "fine"


class Unstarted:
    """A thread that does nothing."""

    def __init__(self, **options: object) -> None:
        pass

    def start(self) -> None:
        """Do nothing."""

    def join(self, timeout: float) -> None:
        """Do nothing."""


class Rig:
    """A module with scripted recipients and time."""

    def __init__(self, directory: Path, *recipients: Scripted, **settings: object) -> None:
        self.directory = directory
        self.module = made(directory, command=["/bin/true"], **settings)
        self.module._recipients = recipients
        self.module.call = lambda function: function()
        self.time = T0
        self.module.now = lambda: self.time
        self.warnings: list[str] = []
        self.module.begin(directory, self.warnings.append)

    def take(self, *bodies: Any) -> None:
        """Hand records to the module."""
        records = [Record(body, "i", None) for body in bodies]
        self.module.send([Encoded(each, self.module.encode(each)) for each in records])

    def turn(self, seconds: float = 0.0) -> None:
        """Let time pass, then take a turn."""
        self.time += seconds
        self.module.tick()


def hello(host: int, *, new: bool = False) -> Any:
    """Return a message, which can be the sender's first one."""
    return extended_message("x", address=f"192.0.2.{host}", received_at=T0 + 60, new=new)


def made(place: Path, /, **settings: object) -> Any:
    """Return a module."""
    typed = {name: ModuleSetting(value, name, place) for name, value in settings.items()}
    return load(["alerts"], {"alerts": typed}).loaded[0].module


def silent(host: int = 1, kind: str = "silent", at: float = T0) -> Any:
    """Return an event."""
    return event(kind, f"it is {kind}", address=f"192.0.2.{host}", received_at=at)


@pytest.fixture
def person() -> Scripted:
    """A recipient that is a person."""
    return Scripted("person")


@pytest.fixture
def rig(tmp_path: Path, person: Scripted) -> Rig:
    """A module for a person."""
    return Rig(tmp_path, person, wait="10s", per_hour=3)


def test_a_bug_that_is_muted_in_the_console(tmp_path: Path, person: Scripted) -> None:
    """The decision of somebody ends the alert, and begins none."""
    rig = Rig(tmp_path, person, wait="0s", store=str(tmp_path))
    rig.take(crash_report("BUG: x", received_at=T0))
    rig.turn()
    entry = {"when": T0, "who": "ann", "what": "mute", "group": group_id("BUG: x")}
    triage.append(tmp_path, entry)
    rig.turn(1)
    assert person.told == [(["new/BUG: x"], []), ([], ["new/BUG: x"])]


def test_changes_are_told_together(rig: Rig, person: Scripted) -> None:
    """All changes of the time are one notification, sent once."""
    rig.take(silent(1))
    rig.turn()
    rig.turn(5)
    rig.take(silent(2), silent(3), silent(3, "heard-again", T0 + 1))
    rig.turn(4.9)
    assert person.told == []
    rig.turn(0.1)
    assert person.told == [(["silent/192.0.2.1", "silent/192.0.2.2"], ["silent/192.0.2.3"])]
    rig.turn(100)
    assert len(person.told) == 1


def test_recovery(rig: Rig, person: Scripted) -> None:
    """The end of an alert is notified, once, and the alert is forgotten."""
    rig.take(silent())
    rig.turn()
    rig.turn(10)
    rig.take(silent(kind="heard-again", at=T0 + 5))
    rig.turn()
    rig.turn(10)
    rig.turn(10)
    assert person.told == [(["silent/192.0.2.1"], []), ([], ["silent/192.0.2.1"])]
    assert rig.module.numbers["firing"] == 0
    assert json.loads((rig.directory / "alerts.json").read_text())["alerts"] == []


def test_the_limit(tmp_path: Path, person: Scripted) -> None:
    """Half of an hour's notifications are sent at once, the others evenly spaced: a burst makes nobody wait for an
    hour, and no hour has more. What waits is notified together: none is lost."""
    rig = Rig(tmp_path, person, wait="10s", per_hour=6)
    times: list[float] = []
    for host in range(1, 240):
        rig.take(silent(host))
        told = len(person.told)
        rig.turn(30)
        times += [rig.time] * (len(person.told) - told)
    assert [round(at - T0) for at in times] == [60, 120, 180, 1380, 2580, 3780, 4980, 6180]
    rig.turn(2000)
    assert sum(len(begun) for begun, _ in person.told) == 239
    assert max(sum(at <= other < at + 3600 for other in times) for at in times) <= 6


def test_one_notification_an_hour(tmp_path: Path, person: Scripted) -> None:
    """The least limit."""
    rig = Rig(tmp_path, person, wait="0s", per_hour=1)
    for host in range(1, 121):
        rig.take(silent(host))
        rig.turn(60)
    assert [len(begun) for begun, _ in person.told] == [1, 60]


def test_a_recipient_fails(tmp_path: Path, person: Scripted) -> None:
    """It is notified later, after longer and longer pauses, and is a fault; others are notified."""
    other = Scripted("other")
    rig = Rig(tmp_path, person, other, wait="0s")
    person.error = OSError(111, "Connection refused")
    rig.take(silent())
    rig.turn()
    assert rig.module.fault == "person: not notified: Connection refused"
    assert len(rig.warnings) == 1
    calls = []
    for _ in range(700):
        rig.turn(1)
        calls.append(person.calls)
    assert [calls.index(number) + 1 for number in range(2, 9)] == [5, 15, 35, 75, 155, 315, 615]
    person.error = None
    rig.turn(300)
    assert person.told == other.told == [(["silent/192.0.2.1"], [])]
    assert rig.module.fault == ""
    assert len(rig.warnings) == 1
    assert (rig.module.numbers["failures"], rig.module.numbers["notifications"]) == (8, 2)


def test_retry_after(rig: Rig, person: Scripted) -> None:
    """A recipient that asks for a pause gets it."""
    person.error = TryLater("429", 60.0)
    rig.take(silent())
    rig.turn()
    rig.turn(10)
    rig.turn(59)
    assert person.calls == 1
    rig.turn(1)
    assert person.calls == 2


def test_told_in_part(rig: Rig, person: Scripted) -> None:
    """A recipient that took some is not notified again; the rest is a fault."""
    person.error = Partly("1 of 2 refused")
    rig.take(silent())
    rig.turn()
    rig.turn(10)
    rig.turn(3600)
    assert len(person.told) == 1
    assert rig.module.fault == "person: 1 of 2 refused"


def test_alertmanager_is_told_again(tmp_path: Path) -> None:
    """It gets a change at once, and everything that lasts each minute; the end once."""
    manager = Scripted("manager", each=True)
    rig = Rig(tmp_path, manager, wait="10s", per_hour=1)
    rig.take(silent(1))
    rig.turn()
    rig.turn(20)
    rig.take(silent(2))
    rig.turn()
    rig.turn(39)
    one, two = "silent/192.0.2.1", "silent/192.0.2.2"
    assert manager.told == [([one], []), ([two], [])]
    rig.turn(1)
    assert manager.told[2:] == [([one, two], [])]
    rig.take(silent(1, "heard-again", T0 + 61))
    rig.turn()
    rig.turn(60)
    assert manager.told[3:] == [([], [one]), ([two], [])]


def test_a_short_alert_for_alertmanager(tmp_path: Path) -> None:
    """Alertmanager has each alert for the shortest time, also one that was over before it could be posted: otherwise
    it would say nothing of it."""
    manager = Scripted("manager", each=True)
    rig = Rig(tmp_path, manager, shortest="1m")
    rig.take(silent(), silent(kind="heard-again", at=T0 + 1))
    rig.turn(5)
    name = "silent/192.0.2.1"
    assert manager.told == [([name], [])]
    rig.turn(59)
    assert manager.told == [([name], [])]
    rig.turn(1)
    assert manager.told == [([name], []), ([], [name])]
    rig.turn(300)
    assert len(manager.told) == 2


def test_an_alert_that_others_do_not_know_of(tmp_path: Path, person: Scripted) -> None:
    """An alert that ended is not posted again while another recipient is away."""
    manager = Scripted("manager", each=True)
    rig = Rig(tmp_path, manager, person, wait="0s", shortest="0s")
    person.error = OSError("down")
    rig.take(silent())
    rig.turn()
    rig.take(silent(kind="heard-again", at=T0 + 1))
    for _ in range(10):
        rig.turn(60)
    assert manager.told == [(["silent/192.0.2.1"], []), ([], ["silent/192.0.2.1"])]


def test_a_restart(tmp_path: Path, person: Scripted) -> None:
    """What was notified is not notified again after a restart; what was not is, and known titles are not new."""
    rig = Rig(tmp_path, person, wait="0s")
    rig.take(crash_report("BUG: x", received_at=T0))
    rig.turn()
    person.error = OSError("down")
    rig.take(silent())
    rig.turn()
    person.error = None
    again = Rig(tmp_path, person, wait="0s")
    again.take(crash_report("BUG: x", address="192.0.2.9", received_at=T0 + 5))
    again.turn()
    again.turn(1)
    assert person.told == [(["new/BUG: x"], []), (["silent/192.0.2.1"], [])]


@pytest.mark.parametrize(
    "text", ["", "x", '{"alerts": [{"x": 1}]}', '{"alerts": 3}', '{"spread": 3}', '{"titles": [[]]}']
)
def test_a_damaged_file(tmp_path: Path, person: Scripted, text: str) -> None:
    """A file that is damaged is said so, or ignored, and alerts begin anew."""
    (tmp_path / "alerts.json").write_text(text)
    rig = Rig(tmp_path, person, wait="0s")
    rig.take(silent(), crash_report("BUG: x", received_at=T0))
    rig.turn()
    assert person.told == [(["silent/192.0.2.1", "new/BUG: x"], [])]


def test_a_recipient_that_hangs(tmp_path: Path, person: Scripted) -> None:
    """A recipient that does not answer delays no other; it is a fault, and the process ends when nothing else helps."""
    other, calls = Scripted("other"), []
    rig = Rig(tmp_path, person, other, wait="0s")
    ended: list[float] = []
    rig.module.hang = lambda: ended.append(rig.time)

    def call(function: Any) -> None:
        calls.append(function)
        if len(calls) > 1:
            function()

    for schedule in rig.module._schedules:
        schedule._start = call
    for host in range(1, 9):
        rig.take(silent(host))
        rig.turn(60)
    assert [begun for begun, _ in other.told] == [[f"silent/192.0.2.{host}"] for host in range(1, 9)]
    assert (person.calls, ended) == (0, [])
    assert rig.module.fault == "person: not notified: no answer for 420 s; alerts wait"
    rig.turn(180)
    assert ended == [T0 + 660]
    calls[0]()
    rig.turn()
    rig.turn()
    assert [begun for begun, _ in person.told] == [
        ["silent/192.0.2.1"], [f"silent/192.0.2.{host}" for host in range(2, 9)]
    ]  # fmt: skip
    assert rig.module.fault == ""


def test_a_change_during_a_call(rig: Rig, person: Scripted) -> None:
    """An alert that ends while a recipient is notified of its begin is notified of its end."""
    calls: list[Any] = []
    rig.module._schedules[0]._start = calls.append
    rig.take(silent())
    rig.turn()
    rig.turn(10)
    rig.take(silent(kind="heard-again", at=T0 + 11))
    calls.pop()()
    rig.turn(1)
    rig.turn(10)
    calls.pop()()
    rig.turn()
    assert person.told == [(["silent/192.0.2.1"], []), ([], ["silent/192.0.2.1"])]


def test_the_stop_waits_for_a_call(rig: Rig, person: Scripted) -> None:
    """What was notified during the stop is kept: it is not notified again after the start."""
    rig.module._schedules[0]._start = lambda function: function()
    rig.take(silent())
    rig.turn()
    rig.time += 10
    schedule = rig.module._schedules[0]
    late: list[Any] = []
    schedule._start = late.append
    rig.module.tick()
    late.pop()()
    rig.module.close()
    told = json.loads((rig.directory / "alerts.json").read_text())["alerts"][0]["told"]
    assert told == {"person": "begin"}


def test_a_clock_that_is_set_back(tmp_path: Path, person: Scripted) -> None:
    """Nobody waits for the time before: not for the wait, the limit, a pause or the next post to Alertmanager."""
    manager = Scripted("manager", each=True)
    rig = Rig(tmp_path, person, manager, wait="10s", per_hour=1)
    rig.take(silent(1))
    rig.turn()
    rig.turn(10)
    rig.take(silent(2))
    person.error = OSError("down")
    rig.turn(3600)
    rig.turn(10)
    person.error = None
    rig.turn(-86_400)
    rig.turn(10)
    one, two = "silent/192.0.2.1", "silent/192.0.2.2"
    assert [begun for begun, _ in person.told] == [[one], [two]]
    assert manager.told[-1] == ([one, two], [])
    count = len(manager.told)
    rig.turn(60)
    assert len(manager.told) == count + 1


def test_no_thread(rig: Rig, person: Scripted) -> None:
    """If no thread can be started, the recipient is notified later."""

    def call(function: Any) -> None:
        raise RuntimeError("can't start new thread")

    schedule = rig.module._schedules[0]
    start, schedule._start = schedule._start, call
    rig.take(silent())
    rig.turn()
    rig.turn(10)
    assert "can't start new thread" in rig.module.fault
    schedule._start = start
    rig.turn(5)
    assert len(person.told) == 1


def test_a_defect(tmp_path: Path, person: Scripted) -> None:
    """An error that nobody expects keeps no other recipient from being notified, and is a fault with its name."""
    other = Scripted("other")
    rig = Rig(tmp_path, person, other, wait="0s")
    person.error = UnicodeEncodeError("ascii", "é", 0, 1, "no")
    rig.take(silent())
    rig.turn()
    assert other.told == [(["silent/192.0.2.1"], [])]
    assert rig.module.fault.startswith("person: not notified: UnicodeEncodeError: ")


def test_a_refused_alert(tmp_path: Path, person: Scripted) -> None:
    """An alert that a recipient refuses does not block the others: it is given up, counted and a fault."""
    rig = Rig(tmp_path, person, wait="10s")
    person.refuses = {"silent/192.0.2.7"}
    rig.take(*[silent(host) for host in range(1, 33)])
    rig.turn()
    rig.turn(10)
    told = [identity for begun, _ in person.told for identity in begun]
    assert told == [f"silent/192.0.2.{host}" for host in range(1, 33) if host != 7]
    assert person.calls <= 11
    assert (rig.module.numbers["refused"], rig.module.numbers["notifications"]) == (1, 1)
    assert rig.module.fault == "person: 1 of 32 refused: 400 Bad Request"
    assert "silent/192.0.2.7" in rig.warnings[0]
    rig.turn(3600)
    assert len(told) == 31


def test_all_are_refused(tmp_path: Path, person: Scripted) -> None:
    """A recipient that refuses everything has wrong settings: the alerts wait until they are mended."""
    rig = Rig(tmp_path, person, wait="0s")
    person.error = Refused("400 no_text")
    rig.take(*[silent(host) for host in range(1, 200)])
    rig.turn()
    assert person.calls <= 40
    assert rig.module.fault == "person: not notified: 400 no_text"
    person.error = None
    rig.turn(5)
    assert len(person.told[0][0]) == 199
    assert (rig.module.fault, rig.module.numbers["refused"]) == ("", 0)


def test_reminders(tmp_path: Path, person: Scripted) -> None:
    """People are notified again of an alert that lasts, together with those that last for half of the time; not of one
    that ended, and Alertmanager not at all: it gets them each minute anyway."""
    rig = Rig(tmp_path, person, wait="0s", remind="1d")
    rig.take(silent(1), silent(2))
    rig.turn()
    rig.turn(20 * 3600)
    rig.take(silent(3, at=T0 + 20 * 3600), silent(2, "heard-again", T0 + 5))
    rig.turn()
    assert person.reminded == [[], []]
    rig.turn(4 * 3600)
    assert person.reminded[2:] == [["silent/192.0.2.1"]]
    rig.turn(20 * 3600)
    assert person.reminded[3:] == [["silent/192.0.2.1", "silent/192.0.2.3"]]
    assert [begun for begun, _ in person.told[2:]] == [[], []]
    again = Rig(tmp_path, person, wait="0s", remind="1d")
    again.time = T0 + 45 * 3600
    again.turn()
    assert len(person.told) == 4


def test_no_reminders(tmp_path: Path, person: Scripted) -> None:
    """None, if they are not wanted."""
    rig = Rig(tmp_path, person, wait="0s", remind="0s")
    rig.take(silent())
    for _ in range(3):
        rig.turn(86_400)
    assert len(person.told) == 1


def test_a_machine_that_is_back_after_a_restart(tmp_path: Path, person: Scripted) -> None:
    """A machine that was silent when the daemon was started, and sends again, is over: its first message is enough."""
    rig = Rig(tmp_path, person, wait="0s")
    rig.take(silent(1), silent(2), silent(3))
    rig.turn()
    daemon = made(tmp_path, command=["x"], directory=".")
    daemon.thread = Unstarted
    daemon.start(1)
    try:
        daemon.handle_batch(0, [hello(1, new=True), hello(2), hello(9, new=True)])
        rig.turn(60)
        assert person.told[1:] == [([], ["silent/192.0.2.1"])]
        daemon.handle_batch(0, [hello(1, new=True), hello(2, new=True)])
        rig.turn(1)
        assert person.told[2:] == [([], ["silent/192.0.2.2"])]
        assert (tmp_path / "heard").read_text().count("\n") == 2
    finally:
        daemon.finish()
    daemon = made(tmp_path, command=["x"], directory=".")
    daemon.thread = Unstarted
    daemon.start(1)
    daemon.handle_batch(0, [hello(3, new=True)])
    daemon.finish()
    rig.turn(10)
    assert person.told[3:] == [([], ["silent/192.0.2.3"])]


def test_a_full_disk(tmp_path: Path, person: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the alerts cannot be kept, people are notified nevertheless; the batch comes again, and counts once."""
    rig = Rig(tmp_path, person, wait="0s")
    save = Cursor.save

    def full(self: Cursor, fields: Any, *, sync: bool = False) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Cursor, "save", full)
    record = Encoded(Record(silent(), "i", None), b"")
    for _ in range(3):
        with pytest.raises(OSError, match="No space"):
            rig.module.send([record])
    assert person.told == [(["silent/192.0.2.1"], [])]
    monkeypatch.setattr(Cursor, "save", save)
    rig.module.send([record])
    (alert,) = json.loads((tmp_path / "alerts.json").read_text())["alerts"]
    assert (alert["count"], alert["told"]) == (1, {"person": "begin"})


def test_counters_over_a_restart_of_the_process(tmp_path: Path) -> None:
    """SIGHUP starts the process again: the counters of the metrics go on."""
    module = made(tmp_path, command=["x"])
    line = json.dumps({"numbers": {"firing": 2, "begun": 5, "failures": 1}})

    def values() -> dict[str, Any]:
        return {metric.name: metric.value for metric in module.metrics()}

    for times in (1, 2):
        module._heard(line)
        module._carry_over()
        assert (values()["alerts_begun"], values()["alerts_failures"]) == (5 * times, times)
    module._heard(line)
    assert (values()["alerts_begun"], values()["alerts_firing"]) == (15, 2)


def test_its_test(tmp_path: Path, person: Scripted) -> None:
    """Each recipient is notified of the test, also after one that fails; the error has both answers."""
    other = Scripted("other")
    rig = Rig(tmp_path, person, other)
    assert rig.module.send_test() == "person: fine; other: fine"
    assert person.told == [(["test/127.0.0.1"], [])]
    person.error = OSError("down")
    with pytest.raises(RuntimeError, match="person was not notified: down; other: fine"):
        rig.module.send_test()


def test_without_a_recipient(tmp_path: Path) -> None:
    """A module without a recipient cannot be started; the error names the settings."""
    module = made(tmp_path, command=[])
    for call in (module.check, module.send_test, lambda: module.start(1)):
        with pytest.raises(RuntimeError, match="alertmanager, webhook, email_to or command"):
            call()


def test_the_size_of_a_report(tmp_path: Path) -> None:
    """A report waits without its messages, except of the first one, which has the machine's name: the crashes of a
    whole fleet have room in the spool."""
    daemon = made(tmp_path, command=["x"], directory=".")
    daemon.thread = Unstarted
    daemon.start(1)
    lines = [extended_message("x" * 1000, received_at=T0) for _ in range(100)]
    report = crash_report("BUG: x", received_at=T0, messages=tuple(lines), before=tuple(lines), fatal=True)
    daemon.handle_report(0, report)
    daemon.finish()
    (path,) = (tmp_path / "reports").iterdir()
    assert path.stat().st_size < 4000
    (record,) = FindingSource(tmp_path, None, name_of=lambda message: message.text[:1]).read(9)
    assert isinstance(record.body, Report)
    assert (record.name, record.body.title, record.body.fatal) == ("x", "BUG: x", True)


def test_messages_only_for_a_pattern(tmp_path: Path) -> None:
    """Without a pattern no message is kept; with it, those that match."""
    module = made(tmp_path, command=["x"])
    assert (module._takes_messages, module.wants_reports, module.wants_events) == (False, True, True)
    daemon = made(tmp_path, command=["x"], pattern="MCE", directory=".")
    daemon.thread = Unstarted
    daemon.start(1)
    daemon.handle_batch(0, [extended_message(text, received_at=T0) for text in ("link up", "MCE", "an MCE")])
    daemon.finish()
    assert daemon._appended == [2]


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"kinds": ["reports"]}, "kinds: "),
        ({"keep": "x"}, "keep: "),
        ({"rules": []}, "rules: "),
        ({"pattern": "("}, "pattern: "),
        ({"spread_machines": 1}, "spread_machines: "),
        ({"losses": 0}, "losses: "),
        ({"per_hour": 0}, "per_hour: "),
        ({"quiet": "1s"}, "quiet: "),
        ({"wait": "2h"}, "wait: "),
        ({"spread_within": "1s"}, "spread_within: "),
        ({"shortest": "2h"}, "shortest: "),
        ({"timeout": "2m"}, "timeout: "),
        ({"remind": "10s"}, "remind: "),
        ({"remind": "31d"}, "remind: "),
        ({"console_url": "logs.example.com"}, "console_url: "),
        ({"alertmanager": ["http://user:secret@x"]}, "alertmanager: write a password as a header"),
        ({"webhook": "http://user:secret@x/"}, "webhook: write a password as a header"),
        ({"webhook": "http://x/a b"}, "webhook: write the URL with %XX"),
        ({"alertmanager": ["x"]}, "alertmanager: "),
        ({"alertmanager_headers": ["x"]}, "alertmanager_headers: "),
        ({"webhook": "x"}, "webhook: "),
        ({"webhook": "http://x", "webhook_headers": ["x"]}, "webhook_headers: "),
        ({"email_to": ["x"]}, "email_to: "),
        ({"email_to": ["a@b"], "email_from": "x"}, "email_from: "),
        ({"email_to": ["a@b"], "smtp": "x"}, "smtp: "),
        ({"email_to": ["a@b"], "smtp_user": "x"}, "smtp_user: "),
        ({"email_to": ["a@b"], "smtp_user": "x", "smtp_password_file": "y"}, "smtp_user: "),
    ],
)
def test_wrong_settings(tmp_path: Path, settings: dict[str, object], name: str) -> None:
    """A wrong setting is named."""
    with pytest.raises(ModuleError, match=name):
        made(tmp_path, **{"command": ["/bin/true"], **settings})
