"""The rules of alerts: their begin, their end, their bounds, and what a restart keeps."""

from __future__ import annotations

import json
from typing import Any

import pytest

from netconsd.alerts import book as book_module
from netconsd.alerts.book import GIVEN_UP_SECONDS, Book, Conditions
from netconsd.streams.record import Record
from netconsd.testing import crash_report, event, extended_message

T0 = 1_795_000_000.0
ALL = ("new", "spread", "died", "silent", "rebooted", "losses", "pattern")


def made(*rules: str, recipients: tuple[str, ...] = ("a",), fields: Any = None, **conditions: Any) -> Book:
    """Return a book."""
    return Book(Conditions(rules or ALL, **conditions), recipients, fields)


def crashed(title: str = "BUG: x", *, host: int = 1, at: float = T0, name: str = "", **fields: Any) -> Record:
    """Return the record of a crash report."""
    return Record(crash_report(title, address=f"192.0.2.{host}", received_at=at, **fields), "i", None, name)


def happened(kind: str, *, host: int = 1, at: float = T0, **details: Any) -> Record:
    """Return the record of an event."""
    return Record(event(kind, f"it {kind}", address=f"192.0.2.{host}", received_at=at, **details), "i", None)


def lasting(book: Book) -> list[str]:
    """Return the identities of the alerts that last."""
    return [alert.id for alert in book.alerts.values() if alert.ended is None]


def test_a_new_title() -> None:
    """A title that was not seen before begins an alert; further reports are added to it."""
    book = made("new")
    book.take(crashed(name="web01"))
    book.take(crashed(host=2, at=T0 + 5, name="web02"))
    (alert,) = book.alerts.values()
    book.count_machines([alert])
    assert (alert.id, alert.machine, alert.since, alert.last) == ("new/BUG: x", "web01 (192.0.2.1)", T0, T0 + 5)
    assert (alert.count, alert.machines, alert.others) == (2, 2, ["web02"])


def test_a_muted_bug() -> None:
    """A bug that is muted, by its title or an alternative, begins no alert of its own; what lasts of it ends. A machine
    that it kills has died."""
    muted: set[str] = set()
    book = Book(Conditions(ALL, spread_machines=2), ("a",), None, lambda names: not muted.isdisjoint(names))
    for host in (1, 2):
        book.take(crashed("BUG: y", alternatives=("BUG: x",), host=host))
    book.take(crashed("BUG: z", host=3))
    assert lasting(book) == ["new/BUG: y", "spread/BUG: y", "new/BUG: z"]
    muted.add("BUG: y")
    book.expire(T0 + 1)
    assert lasting(book) == ["new/BUG: z"]
    assert book.alerts["new/BUG: y"].why == "the bug was muted in the console"
    muted.add("BUG: x")
    book.take(crashed("BUG: w", alternatives=("BUG: x",), host=4, fatal=True))
    assert lasting(book) == ["new/BUG: z", "died/192.0.2.4"]


def test_a_known_title() -> None:
    """A title whose alert is over is not new again; neither is one of which an alternative is known."""
    book = made("new")
    book.take(crashed())
    book.expire(T0 + 3600)
    assert lasting(book) == []
    book.take(crashed(at=T0 + 4000))
    book.take(crashed("BUG: y", alternatives=("BUG: x",), at=T0 + 4001))
    assert lasting(book) == []
    book.take(crashed("BUG: z", at=T0 + 4002))
    assert lasting(book) == ["new/BUG: z"]


def test_what_followed_from_another_report() -> None:
    """A report that followed from another one is neither new nor spreads; a reboot's report has an event."""
    book = made(spread_machines=2)
    book.take(crashed(consequence_of="BUG: w"))
    book.take(crashed(host=2, consequence_of="BUG: w"))
    book.take(crashed("rebooted", kind="reboot"))
    assert lasting(book) == []


def test_a_title_on_many_machines() -> None:
    """So many machines within the time: one machine with many reports does not count, and neither do old ones."""
    book = made("spread", spread_machines=3, spread_seconds=100.0)
    for host, at in ((1, 0), (1, 1), (1, 2), (2, 3), (3, 104)):
        book.take(crashed(host=host, at=T0 + at))
    assert lasting(book) == []
    book.take(crashed(host=4, at=T0 + 104))
    assert lasting(book) == []
    book.take(crashed(host=5, at=T0 + 105))
    assert lasting(book) == ["spread/BUG: x"]


@pytest.mark.parametrize("fields", [{"fatal": True}, {"severity": "dead"}])
def test_a_machine_died(fields: dict[str, Any]) -> None:
    """A report with which the machine went down, until it booted; another machine's boot is none."""
    book = made("died")
    book.take(crashed(**fields))
    book.take(crashed("WARNING: y", host=2))
    book.take(happened("rebooted", host=2, at=T0 + 60, how="crash"))
    assert lasting(book) == ["died/192.0.2.1"]
    book.take(happened("rebooted", at=T0 + 60, how="crash"))
    assert lasting(book) == []
    assert book.alerts["died/192.0.2.1"].ended == T0 + 60


def test_an_event_before_the_death() -> None:
    """An event of the time before, which comes late, ends nothing."""
    book = made("died")
    book.take(crashed(fatal=True))
    book.take(happened("rebooted", at=T0 - 5, how="crash"))
    assert lasting(book) == ["died/192.0.2.1"]


@pytest.mark.parametrize("kind", ["booted", "logging-started", "rebooted"])
def test_a_death_in_the_instant_of_the_boot(kind: str) -> None:
    """The messages of a batch have one time of receipt: a machine that crashes as soon as it is heard is dead,
    whichever record is here first. A reboot of that instant is after the crash: the machine was known before."""
    book = made("died")
    book.take(crashed(fatal=True))
    book.take(happened(kind, how="crash"))
    assert bool(lasting(book)) == (kind != "rebooted")
    if kind != "rebooted":
        book = made("died")
        book.take(happened(kind))
        book.take(crashed(fatal=True))
        assert lasting(book) == ["died/192.0.2.1"]


def test_a_boot_before_the_report() -> None:
    """A report that is here later than the boot after it begins an alert that is over: it is not lost, and ends."""
    book = made("died")
    book.take(happened("rebooted", at=T0 + 60, how="crash"))
    book.take(crashed(fatal=True))
    (alert,) = book.untold("a")
    assert (alert.id, alert.since, alert.ended) == ("died/192.0.2.1", T0, T0 + 60)
    book.take(crashed(fatal=True, at=T0 + 70))
    assert lasting(book) == ["died/192.0.2.1"]


def test_a_silent_machine() -> None:
    """Silent until it is heard again."""
    book = made("silent")
    book.take(happened("silent"))
    book.expire(T0 + GIVEN_UP_SECONDS - 1)
    assert lasting(book) == ["silent/192.0.2.1"]
    book.take(happened("heard-again", at=T0 + 9))
    assert lasting(book) == []


def test_silent_since() -> None:
    """An alert of silence begins when the machine was heard last, and not when that was noticed."""
    book = made("silent")
    book.take(happened("silent", seconds=1200, usual=60))
    (alert,) = book.alerts.values()
    assert (alert.since, alert.last) == (T0 - 1200, T0)


def test_heard_again_after_a_restart() -> None:
    """A message ends silence and, some minutes after the last report, death: no event says so if netconsd was started
    meanwhile. The last words of a machine that died do not."""
    book = made("died", "silent")
    book.take(crashed(fatal=True))
    book.take(happened("silent", host=2))
    book.take(happened("silent", host=3))
    assert Book.awaited(book.fields()) == {"192.0.2.1", "192.0.2.2", "192.0.2.3"}
    book.heard("192.0.2.1", T0 + 300)
    book.heard("192.0.2.2", T0 + 1)
    book.heard("192.0.2.3", T0 - 1)
    book.heard("192.0.2.4", T0 + 1)
    assert lasting(book) == ["died/192.0.2.1", "silent/192.0.2.3"]
    book.heard("192.0.2.1", T0 + 301)
    assert Book.awaited(book.fields()) == {"192.0.2.3"}
    assert Book.awaited(None) == set()


def test_kdump() -> None:
    """The kernel for kdump writes the dump: the machine is dead until the boot after it, which is no alert itself."""
    book = made("died", "rebooted")
    book.take(crashed(fatal=True))
    book.take(happened("rebooted", at=T0 + 20, how="kdump"))
    assert lasting(book) == ["died/192.0.2.1"]
    book.take(happened("rebooted", at=T0 + 300, how="unannounced"))
    assert lasting(book) == []
    book.take(happened("rebooted", at=T0 + 900, how="unannounced"))
    assert lasting(book) == ["rebooted/192.0.2.1"]
    book = made("died")
    book.take(happened("rebooted", at=T0 + 20, how="kdump"))
    book.take(crashed(fatal=True))
    assert lasting(book) == ["died/192.0.2.1"]


def test_the_number_of_machines() -> None:
    """Each alert of a title has the machines of about its time: also those after its first report, not those of last
    year."""
    book = made("died", "spread", spread_machines=3, spread_seconds=3600.0)
    for host, at in ((9, -86_400.0), (8, -7200.0), *((host, float(host)) for host in range(1, 8))):
        book.take(crashed(host=host, at=T0 + at, name=f"web{host}", fatal=True))
    book.count_machines(book.alerts.values())
    died, spread = book.alerts["died/192.0.2.2"], book.alerts["spread/BUG: x"]
    assert (died.machines, died.others) == (7, ["web3", "web4", "web5", "web6", "web7"])
    assert spread.machines == 7
    assert book.alerts["died/192.0.2.9"].machines == 8


def test_a_machine_that_never_comes_back() -> None:
    """It is given up after a week: netconsd may have been away when it came."""
    book = made("silent")
    book.take(happened("silent"))
    book.expire(T0 + GIVEN_UP_SECONDS)
    assert lasting(book) == []
    assert book.alerts["silent/192.0.2.1"].why.startswith("nothing was heard of it for 7 days")


@pytest.mark.parametrize(("how", "begins"), [("unannounced", True), ("restart", False), ("crash", False)])
def test_a_reboot(how: str, begins: bool) -> None:
    """Only a reboot that nothing announced."""
    book = made("rebooted")
    book.take(happened("rebooted", how=how))
    assert bool(lasting(book)) == begins


def test_losses() -> None:
    """The sum of the kinds of losses; what --rate dropped is among them."""
    book = made("losses", losses=100)
    book.take(happened("lost", by_msgid=60, by_kernel=39, limited=60))
    assert lasting(book) == []
    book.take(happened("lost", by_msgid=60, by_seq=40))
    assert lasting(book) == ["losses/192.0.2.1"]


def test_a_pattern() -> None:
    """A message that matches, by machine; others are not handed over."""
    book = made("pattern")
    for text in ("CPU0: thermal\x1b[2J", "MCE"):
        book.take(Record(extended_message(text, received_at=T0), "i", 1))
    (alert,) = book.alerts.values()
    assert (alert.id, alert.text, alert.count) == ("pattern/192.0.2.1", "CPU0: thermal\\x1b[2J", 2)


def test_rules_that_are_not_wanted() -> None:
    """Only the rules of the settings begin alerts."""
    book = made("silent")
    book.take(crashed(fatal=True))
    book.take(happened("rebooted", how="unannounced"))
    assert lasting(book) == []


def test_an_alert_is_quiet() -> None:
    """An alert without a record for the time ends, and begins again with the next one."""
    book = made("losses", quiet=100.0)
    book.take(happened("lost", by_msgid=1000))
    book.take(happened("lost", by_msgid=1000, at=T0 + 50))
    book.expire(T0 + 149)
    assert lasting(book) == ["losses/192.0.2.1"]
    book.expire(T0 + 150)
    assert lasting(book) == []
    book.take(happened("lost", by_msgid=1000, at=T0 + 151))
    assert book.alerts["losses/192.0.2.1"].since == T0 + 151
    assert book.begun == 2


def test_who_was_told() -> None:
    """An alert is untold until its begin, and again its end, was notified; it is forgotten when all know of its end."""
    book = made("silent", recipients=("a", "b"))
    book.take(happened("silent"))
    (alert,) = book.untold("a")
    alert.told["a"] = "begin"
    assert (book.untold("a"), book.untold("b")) == ([], [alert])
    book.take(happened("heard-again", at=T0 + 1))
    assert book.untold("a") == book.untold("b") == [alert]
    alert.told["a"] = "end"
    book.expire(T0 + 2)
    assert book.untold("b") == [alert]
    alert.told["b"] = "end"
    book.expire(T0 + 2)
    assert book.alerts == {}


def test_a_restart() -> None:
    """Alerts, titles and machines of titles are kept over a restart, as JSON."""
    book = made(spread_machines=2)
    book.take(crashed(fatal=True, name="web01"))
    book.alerts["died/192.0.2.1"].told["a"] = "begin"
    again = made(spread_machines=2, fields=json.loads(json.dumps(book.fields())))
    assert again.fields() == book.fields()
    assert [alert.id for alert in again.untold("a")] == ["new/BUG: x"]
    again.take(crashed(host=2, at=T0 + 1))
    assert lasting(again)[-1] == "spread/BUG: x"


def test_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Further alerts are counted; titles and machines that were seen longest ago are forgotten. A stranger can forge
    all of them."""
    for name, most in (("ALERTS", 3), ("TITLES", 4), ("MACHINES", 5), ("SPREAD", 2)):
        monkeypatch.setattr(book_module, f"{name}_LIMIT", most)
    book = made("new", "silent")
    for number in range(10):
        book.take(crashed(f"BUG: {number}"))
        book.take(crashed("BUG: same", host=number))
        book.take(happened("silent", host=number))
    fields = book.fields()
    assert len(fields["alerts"]) == 3
    assert book.dropped + book.begun == 10 + 1 + 10
    assert len(fields["titles"]) == 4
    assert list(fields["spread"]) == ["BUG: 9", "BUG: same"]
    assert [*fields["spread"]["BUG: same"]] == [f"192.0.2.{number}" for number in range(5, 10)]


def test_a_long_text() -> None:
    """A message of any length is a line of bounded length."""
    book = made("pattern")
    book.take(Record(extended_message("x" * 5000, received_at=T0), "i", 1))
    assert len(book.alerts["pattern/192.0.2.1"].text) == 300
