"""Crash groups in the console: states, merges and splits that last, who and when, and damaged lines."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from netconsd.crash.groups import Groups
from netconsd.crashes import Report
from netconsd.testing import crash_report, extended_message
from tests.console.stores import T0, add, small, write

pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'netconsd[store]'")
from netconsd.console.failure import Refused
from netconsd.store import triage
from tests.console.asking import Ask, asker

NULL = "BUG: unable to handle kernel NULL pointer dereference in widget_read"
DAY = 86400.0


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """The small store."""
    return small(tmp_path / "store")


@pytest.fixture
def ask(directory: Path) -> Ask:
    """Ask the small store."""
    return asker(directory)


def groups(ask: Ask, **parameters: Any) -> dict[str, dict[str, Any]]:
    """Return the groups by title."""
    return {group["title"]: group for group in ask("crash_list", **parameters).object["groups"]}


def act(ask: Ask, group: str, action: str, **fields: Any) -> dict[str, Any]:
    """Decide about a group as ann."""
    return ask("triage", id=group, body={"action": action, "who": "ann", **fields}).object


def report(title: str = "BUG: x in y", at: float = T0, **fields: Any) -> Report:
    """Return a report."""
    return crash_report(title, received_at=at, **fields)


def test_a_list_of_crashes(ask: Ask) -> None:
    """Groups with how far they spread, and since when; the latest first."""
    found = groups(ask)
    assert list(found) == ["WARNING in other_thing", NULL]
    group = found[NULL]
    assert (group["count"], group["state"], group["muted"], group["new_in"]) == (1, "new", False, "6.12.1")
    assert group["machines"] == {"192.0.2.1": [1, T0 + 5, T0 + 5]}
    assert group["sparkline"] == [0] * 23 + [1]


@pytest.mark.parametrize(
    ("parameters", "count"),
    [
        ({"new_in": "7.3"}, 1),
        ({"new_in": "6"}, 2),
        ({"new_in": "8"}, 0),
        ({"release": "6.12"}, 1),
        ({"state": "new"}, 2),
        ({"state": ["resolved", "known"]}, 0),
        ({"host": "192.0.2.1"}, 2),
        ({"host": "192.0.2.2"}, 0),
        ({"since": T0 + 6}, 1),
        ({"muted": "1"}, 0),
        ({"muted": "0"}, 2),
    ],
)
def test_conditions(ask: Ask, parameters: dict[str, Any], count: int) -> None:
    """Each condition chooses what it says."""
    assert len(groups(ask, **parameters)) == count


def test_states(directory: Path) -> None:
    """A group is new for a day, then known; resolved when somebody says so; regressed by a later report."""
    ask = asker(directory, now=T0 + 100)
    later = asker(directory, now=T0 + 2 * DAY)
    id_ = groups(ask)[NULL]["id"]
    assert groups(later)[NULL]["state"] == "known"
    assert act(ask, id_, "resolve", why="fixed by 1a2b3c")["state"] == "resolved"
    assert groups(later)[NULL]["state"] == "resolved"
    add(directory, report(NULL, T0 + 200))
    assert groups(later)[NULL]["state"] == "regressed"
    assert act(later, id_, "resolve")["state"] == "resolved"
    assert act(later, id_, "reopen")["state"] == "known"
    assert act(later, id_, "mute")["muted"] is True
    assert act(later, id_, "unmute")["muted"] is False
    history = later("crash", id=id_).object["history"]
    assert [(line["who"], line["what"], line["why"]) for line in history[:2]] == [
        ("ann", "resolve", "fixed by 1a2b3c"),
        ("ann", "resolve", ""),
    ]
    assert history[0]["when"] == T0 + 100


def test_a_merge_lasts_and_says_why(directory: Path) -> None:
    """Two groups that were merged are one, for another process and for later reports; a split undoes it."""
    ask = asker(directory)
    found = groups(ask)
    first, other = found[NULL]["id"], found["WARNING in other_thing"]["id"]
    act(ask, other, "merge", into=first, why="one driver")
    add(directory, report("WARNING in other_thing", T0 + 50, address="192.0.2.8"))
    again = asker(directory)
    (group,) = groups(again).values()
    assert (group["id"], group["count"], sorted(group["machines"])) == (first, 3, ["192.0.2.1", "192.0.2.8"])
    assert group["merged_from"] == [
        {"id": other, "title": "WARNING in other_thing", "who": "ann", "when": T0 + 100, "why": "one driver"}
    ]
    assert "merged by ann: one driver" in group["why"]
    assert again("crash", id=other).object["id"] == first
    act(again, first, "split", into=other)
    assert len(groups(ask)) == 2


def test_merges_in_a_circle(directory: Path) -> None:
    """Two people who merge two groups into each other lose neither."""
    ask = asker(directory)
    ids = [group["id"] for group in groups(ask).values()]
    for one, other in (ids, ids[::-1]):
        triage.append(directory, {"when": T0, "who": "ann", "what": "merge", "group": one, "into": other, "why": ""})
    (group,) = groups(ask).values()
    assert group["count"] == 2


def test_a_split_lasts(directory: Path) -> None:
    """A title that was split off has a group of its own, with its later reports; it can be merged again."""
    add(
        directory,
        report("BUG: one", T0 + 10, alternatives=("shared",)),
        report("BUG: two", T0 + 11, alternatives=("shared",)),
    )
    ask = asker(directory)
    (group,) = [group for group in groups(ask).values() if group["title"] == "BUG: one"]
    page = ask("crash", id=group["id"]).object
    assert page["titles"] == {"BUG: one": 1, "BUG: two": 1}
    assert any("share a title" in why for why in page["why"])
    two = next(each["id"] for each in page["reports"] if each["title"] == "BUG: two")
    act(ask, group["id"], "split", report=two, why="not the same lock")
    add(directory, report("BUG: two", T0 + 12, alternatives=("shared",)))
    found = groups(asker(directory))
    assert (found["BUG: one"]["count"], found["BUG: two"]["count"]) == (1, 2)
    assert found["BUG: two"]["why"] == ["split off by ann: not the same lock"]
    act(ask, found["BUG: two"]["id"], "merge", into=found["BUG: one"]["id"])
    assert groups(ask)["BUG: one"]["count"] == 3


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"action": "delete"}, "action"),
        ({"action": "mute", "why": "x" * 3000}, "why"),
        ({"action": "mute", "why": 5}, "why"),
        ({"action": "merge", "into": "SELF"}, "into"),
        ({"action": "split", "report": "2026-01-01-0"}, "report"),
        ({"action": "split", "into": "123456789abc"}, "into"),
        ({"action": "split", "report": "OWN"}, "report"),
        ({"action": "mute", "colour": "red"}, "colour"),
    ],
)
def test_wrong_decisions(ask: Ask, directory: Path, body: dict[str, Any], field: str) -> None:
    """A wrong decision is refused, named, and not written."""
    group = groups(ask)[NULL]
    own = ask("crash", id=group["id"]).object["reports"][0]["id"]
    words = {"SELF": group["id"], "OWN": own}
    with pytest.raises(Refused) as error:
        ask("triage", id=group["id"], body={name: words.get(str(value), value) for name, value in body.items()})
    assert (error.value.status, error.value.field) == (400, field)
    assert not (directory / triage.NAME).exists()


def test_no_crash(ask: Ask) -> None:
    """An id of no crash is 404."""
    for query in ("crash", "triage"):
        with pytest.raises(Refused) as error:
            ask(query, id="123456789abc", body={"action": "mute"})
        assert error.value.status == 404


def test_a_crash_page(directory: Path) -> None:
    """The page has the report's messages, which frames are questionable, the minute before, and its reports."""
    add(directory, report("BUG: before", T0 + 30, before=(extended_message("calm", received_at=T0 + 29),)))
    ask = asker(directory)
    page = ask("crash", id=groups(ask)["BUG: before"]["id"]).object
    assert [row["text"] for row in page["before"]] == ["calm"]
    questionable = [row["text"] for row in page["sample"]["messages"] if row["questionable"]]
    assert questionable == [" ? __die_body.cold+0x19/0x27", " ? page_fault_oops+0x15c/0x2e0"]
    (line,) = page["reports"]
    assert ask("crash", id=page["id"], report=line["id"]).object["sample"]["id"] == line["id"]
    with pytest.raises(Refused):
        ask("crash", id=page["id"], report="2026-11-22-99")


def test_a_crash_page_shows_the_last_whole_report(directory: Path) -> None:
    """Who opens a crash after it happened again sees the minute before that one; an incomplete report only if no other
    is there."""
    title = "BUG: again"
    add(directory, report(title, T0 + 30, incomplete="12 messages are missing"))
    assert shown_at(asker(directory), title) == T0 + 30
    add(directory, report(title, T0 + 31), report(title, T0 + 60))
    assert shown_at(asker(directory), title) == T0 + 60
    add(directory, report(title, T0 + 90, incomplete="12 messages are missing"))
    assert shown_at(asker(directory), title) == T0 + 60


def shown_at(ask: Ask, title: str) -> float:
    """Return the time of the report that the page of a crash shows."""
    at: float = ask("crash", id=groups(ask)[title]["id"]).object["sample"]["received_at"]
    return at


def test_the_only_machine_is_not_the_cause(tmp_path: Path) -> None:
    """A bug that one machine alone has again and again is a hint to the machine only if there are others."""
    directory = tmp_path / "store"
    write(directory, [extended_message("one", address="192.0.2.1", received_at=T0)])
    add(directory, *(report("BUG: again", T0 + at) for at in range(5)))
    assert groups(asker(directory))["BUG: again"]["lone_machine"] is None
    write(directory, [extended_message("another", address="192.0.2.2", received_at=T0)], number=2)
    assert groups(asker(directory))["BUG: again"]["lone_machine"] == "192.0.2.1"


def test_a_crash_as_text(ask: Ask) -> None:
    """A crash as the kernel's tools, people and machines take it."""
    id_ = groups(ask)[NULL]["id"]
    text = ask("crash", id=id_, format="text")
    assert text.head["type"].startswith("text/plain")
    assert text.data.startswith(b"BUG: kernel NULL pointer dereference, address: 0000000000000008\n#PF: ")
    mail = ask("crash", id=id_, format="mail").data.decode()
    assert mail.startswith(f"Subject: {NULL}\n\nKernel: 6.12.1\n")
    assert "RIP: 0010:widget_read" in mail
    assert ask("crash", id=id_, format="json").object["sample"]["messages"][0]["format"] == "extended"


def test_hostile_reports(directory: Path) -> None:
    """Control characters of a report are escapes in the texts for people."""
    add(directory, report("BUG: hostile", T0 + 40, lines=("a\x1b[31m\u202eb",), release="6.1\x1b[0m"))
    ask = asker(directory)
    id_ = groups(ask)["BUG: hostile"]["id"]
    for form in ("text", "mail"):
        data = ask("crash", id=id_, format=form).data
        assert b"\x1b" not in data
        assert "\u202e" not in data.decode()


def test_any_title_finds_its_group(directory: Path) -> None:
    """The id of any title of a group finds it: a live tail has no other."""
    add(
        directory,
        report("BUG: one", T0 + 10, alternatives=("shared",)),
        report("BUG: two", T0 + 11, alternatives=("shared",)),
    )
    ask = asker(directory)
    entry = next(each for each in ask("host", address="192.0.2.1").object["reports"] if each["title"] == "BUG: two")
    assert ask("crash", id=entry["group"]).object["title"] == "BUG: one"


def test_incomplete_reports(directory: Path) -> None:
    """An incomplete report without a group is listed, with its report and what is missing."""
    add(directory, report("BUG: torn", T0 + 10, incomplete="12 messages are missing"))
    ask = asker(directory)
    group = groups(ask)["BUG: torn"]
    assert group["incomplete"] == 1
    assert ask("crash", id=group["id"]).object["reports"][0]["incomplete"] == "12 messages are missing"


def test_new_reports_are_read_once(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second query reads only what was added; a file that was deleted is forgotten; torn lines are named."""
    ask = asker(directory)
    groups(ask)
    made: list[Any] = []
    real = Report.from_fields

    def counted(*given: Any) -> Report:
        made.append(1)
        return real(*given)

    monkeypatch.setattr(Report, "from_fields", counted)
    groups(ask)
    assert made == []
    add(directory, report("BUG: new", T0 + 20))
    assert "BUG: new" in groups(ask)
    assert made == [1]
    (file,) = (directory / "reports").iterdir()
    with file.open("ab") as opened:
        opened.write(b'{"torn\n')
    assert file.name in ask("crash_list").object["damaged"][0]["text"]
    file.unlink()
    assert groups(ask) == {}


def test_groups_are_made_again_only_for_something_new(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list, which asks each second, costs no grouping while no report and no decision is new."""
    ask = asker(directory)
    before = groups(ask)
    added: list[Report] = []
    monkeypatch.setattr(Groups, "add", _noting(added, Groups.add))
    assert groups(ask) == before
    assert added == []
    act(ask, before[NULL]["id"], "mute")
    assert groups(ask)[NULL]["muted"]
    add(directory, report("BUG: new", T0 + 40))
    assert "BUG: new" in groups(ask)
    assert added


def _noting(added: list[Report], original: Callable[[Groups, Report], Any]) -> Any:
    def add(self: Groups, report: Report) -> Any:
        added.append(report)
        return original(self, report)

    return add


def test_the_bound_of_reports(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound, the newest reports are kept, and the list says that it is not complete."""
    monkeypatch.setattr("netconsd.console.crashes.REPORTS", 2)
    add(directory, report("BUG: new", T0 + 20))
    found = asker(directory)("crash_list").object
    assert [group["title"] for group in found["groups"]] == ["BUG: new", "WARNING in other_thing"]
    assert found["complete"] is False


def test_decisions_are_appended_and_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A decision is one line, synced before the answer; after a torn line it begins a new one."""
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", lambda fd: synced.append(os.fstat(fd).st_size))
    entry = {"when": 1.0, "who": "ann", "what": "mute", "group": "abc", "why": "\u202e\n"}
    triage.append(tmp_path, entry)
    size = (tmp_path / triage.NAME).stat().st_size
    assert synced == [size]
    with (tmp_path / triage.NAME).open("ab") as file:
        file.write(b'{"version":1,"when":2')
    triage.append(tmp_path, entry | {"what": "unmute"})
    found, damaged = triage.read(tmp_path)
    assert ([line["what"] for line in found], damaged) == (["mute", "unmute"], 1)
    assert (tmp_path / triage.NAME).stat().st_mode & 0o777 == 0o640 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.parametrize(
    "line",
    [
        b"[]",
        b"{}",
        b'{"version":2,"when":1,"what":"mute","group":"a"}',
        b'{"version":1,"when":1,"what":"x","group":"a"}',
        b'{"version":1,"when":"x","what":"mute","group":"a"}',
        b'{"version":1,"when":NaN,"what":"mute","group":"a"}',
        b'{"version":1,"when":1e400,"what":"mute","group":"a"}',
        b'{"version":1,"when":true,"what":"mute","group":"a"}',
        b'{"version":1,"when":1,"what":"mute","group":5}',
        b'{"version":1,"when":1,"what":"merge","group":"a","into":[]}',
        b"\xff",
        b"[" * 100000,
    ],
)
def test_lines_that_are_no_decisions(tmp_path: Path, line: bytes) -> None:
    """A line of another form is passed over and counted."""
    (tmp_path / triage.NAME).write_bytes(line + b"\n")
    assert triage.read(tmp_path) == ([], 1)


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A decision that does not fit on the disk is an error, and spoils no later one."""
    entry = {"when": T0, "who": "ann", "what": "mute", "group": "0123456789ab", "why": ""}
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda fd, data: write(fd, data[:20]))
        with pytest.raises(OSError, match=r"No space left.*triage\.jsonl"):
            triage.append(tmp_path, entry)
    triage.append(tmp_path, entry)
    assert triage.read(tmp_path) == ([{"version": 1, **entry}], 1)


def test_a_store_that_is_made_again(directory: Path) -> None:
    """The reports of a store that was deleted and made again are those of the new one, in files of the same names."""
    ask = asker(directory)
    before = ask("crash_list").object["reports"]
    assert before > 1
    for path in (directory / "reports").iterdir():
        path.unlink()
    add(directory, crash_report("BUG: new", received_at=T0))
    found = ask("crash_list").object
    assert (found["reports"], [group["title"] for group in found["groups"]]) == (1, ["BUG: new"])


def test_two_processes_append(tmp_path: Path) -> None:
    """Lines of several writers are all whole."""
    entry = {"when": 1.0, "who": "ann" * 500, "what": "mute", "group": "abc", "why": "x" * 2000}

    def write() -> None:
        for _ in range(20):
            triage.append(tmp_path, entry)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found, damaged = triage.read(tmp_path)
    assert (len(found), damaged) == (80, 0)
    assert json.loads((tmp_path / triage.NAME).read_bytes().splitlines()[0])["who"] == entry["who"]
