"""``netconsd crashes --store``: the bugs of a store, one bug, and new reports."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from netconsd.store import layout
from netconsd.store.findings import REPORTS, Findings, line_of
from netconsd.testing import crash_report, extended_message, source

pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'netconsd[store]'")
from netconsd.cli import crashes, storedcrashes

T0 = 1_795_859_200.0


def write(store: Path, *reports: Any) -> None:
    """Add reports to a store."""
    findings = Findings(store, 1)
    for report in reports:
        findings.append(0, REPORTS, report.received_at, line_of(report))
    findings.close()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Return a store with two reports of a bug, on two days, and one of another bug."""
    (tmp_path / layout.JOURNAL).mkdir()
    one = crash_report(received_at=T0)
    write(
        tmp_path,
        one,
        replace(one, received_at=T0 + 86400),
        replace(one, received_at=T0, title="another bug in that", alternatives=()),
    )
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], store: Path, *options: str, status: int = 0) -> str:
    """Run the command, and return its output."""
    assert crashes.main(["--store", str(store), *options]) == status
    return capsys.readouterr().out


def test_the_bugs(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each bug with its reports, the most frequent first, and the id by which --show finds it."""
    title = crash_report().title
    _, first, about, second, _ = run(capsys, store).splitlines()
    assert first.endswith(title)
    assert second.endswith("another bug in that")
    assert run(capsys, store, "--show", about.split(";")[0].strip()).startswith(f"{title}\n")
    assert time.strftime("last %Y-%m-%d %H:%M", time.localtime(T0 + 86400)) in about
    found = [json.loads(line) for line in run(capsys, store, "--json").splitlines()]
    assert [(bug["title"], bug["count"]) for bug in found] == [(title, 2), ("another bug in that", 1)]
    assert (found[0]["first"], found[0]["last"]) == (T0, T0 + 86400)


def test_one_bug(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By its id, its title or a part of it, with its messages."""
    report = crash_report()
    [bug] = [json.loads(line) for line in run(capsys, store, "--json").splitlines() if report.title in line]
    shown = run(capsys, store, "--show", bug["id"])
    assert shown == run(capsys, store, "--show", report.title)
    assert shown.startswith(f"{report.title}\nid         {bug['id']}\n")
    for message in (*report.before, *report.messages):
        assert message.text in shown
    assert run(capsys, store, "--show", "ANOTHER").startswith("another bug in that\n")
    assert json.loads(run(capsys, store, "--show", bug["id"], "--json"))["messages"] == [
        message.text for message in report.messages
    ]
    assert run(capsys, store, "--show", bug["id"][: storedcrashes.PREFIX_LENGTH].upper()) == shown
    run(capsys, store, "--show", "i", status=2)
    run(capsys, store, "--show", "no such bug", status=1)


def test_a_bug_of_the_fleet(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A bug of many machines names the first ones and the number of the others; JSON has all."""
    one = crash_report(received_at=T0, title="everywhere", alternatives=())
    write(store, *(replace(one, source=source(f"192.0.2.{host}")) for host in range(1, 31)))
    shown = run(capsys, store, "--show", "everywhere")
    assert "192.0.2.1 (1), 192.0.2.10 (1), " in shown
    assert " and 20 more; --json has all\n" in shown
    assert len(json.loads(run(capsys, store, "--show", "everywhere", "--json"))["machines"]) == 30


def named(name: str, address: str, received_at: float, title: str = "of a named machine") -> Any:
    """Return a report of a machine that sends its name."""
    message = extended_message("BUG", address=address, userdata={"host": name}, received_at=received_at)
    report = crash_report(received_at=received_at, address=address, title=title)
    return replace(report, alternatives=(), messages=(message,))


def test_the_last_machine_of_a_bug(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A bug has the machine of its last report, by the name that the printer shows; JSON has addresses."""
    write(store, named("web02", "192.0.2.8", T0 + 7), named("web01", "192.0.2.7", T0 + 9))
    assert " on web01@192.0.2.7" in run(capsys, store, "--host", "192.0.2.0/24")
    shown = run(capsys, store, "--show", "of a named machine")
    assert "machines   web01@192.0.2.7 (1), web02@192.0.2.8 (1)\n" in shown
    machines = json.loads(run(capsys, store, "--show", "of a named machine", "--json"))["machines"]
    assert sorted(machines) == ["192.0.2.7", "192.0.2.8"]


@pytest.mark.parametrize(
    ("options", "titles"),
    [
        (["--host", "192.0.2.7"], ["a"]),
        (["--host", "WEB*"], ["a", "b"]),
        (["--host", "host=web02"], ["b"]),
        (["--host", "web01@192.0.2.7", "--host", "192.0.2.8"], ["a", "b"]),
        (["--host", "192.0.2.7", "-S", f"@{T0 + 2:.0f}"], []),
        (["--host", "web*", "-S", f"@{T0 + 2:.0f}"], ["b"]),
        (["--host", "web*", "-U", f"@{T0 + 2:.0f}"], ["a"]),
    ],
)
def test_chosen_reports(store: Path, options: list[str], titles: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Reports by machine and by time, as bugs and one by one."""
    write(store, named("web01", "192.0.2.7", T0 + 1, "a"), named("web02", "192.0.2.8", T0 + 3, "b"))
    status = 0 if titles else 1
    for shown in ([], ["--reports"]):
        found = run(capsys, store, *options, *shown, "--json", status=status).splitlines()
        assert [json.loads(line)["title"] for line in found] == titles


def test_each_report(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--reports: each report, the oldest first, with its time and the name of its machine."""
    write(store, named("web01", "192.0.2.7", T0 + 172800))
    *_, before, last = run(capsys, store, "--reports").splitlines()
    assert before.endswith("of a named machine")
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(T0 + 172800))
    assert last.strip() == f"{stamp}, web01@192.0.2.7"


def test_following(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The reports that are there, then each new one, once, also of the next day."""
    new = [replace(crash_report(), received_at=T0 + 86400 * day, title=f"new {day}") for day in (1, 2)]
    turns: Iterator[Callable[[], object]] = iter(
        [lambda: write(store, new[0]), lambda: write(store, new[1]), lambda: None]
    )

    def sleep(seconds: float) -> None:
        turn = next(turns, None)
        if turn is None:
            raise KeyboardInterrupt
        turn()

    shown: list[str] = []
    status = storedcrashes.run(
        str(store),
        "x",
        show=None,
        follow=True,
        as_json=False,
        rows=lambda file, found: shown.append(found.report.title),
        groups=lambda groups, names: None,
        sleep=sleep,
    )
    assert status == 0
    assert shown[-2:] == ["new 1", "new 2"]
    assert len(shown) == 5


@pytest.mark.parametrize(
    "options",
    [
        ["--show", "x"],
        ["--store", "x", "file"],
        ["--host", "x"],
        ["--since", "2h", "file"],
        ["--reports"],
        ["--store", "x", "--reports", "--groups"],
        ["--store", "x", "--follow", "--until", "2h"],
        ["--store", "x", "--since", "never"],
    ],
)
def test_wrong_options(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Options that contradict each other are an error."""
    with pytest.raises(SystemExit) as ended:
        crashes.main(options)
    assert ended.value.code == 2


def test_a_wrong_network(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A network that is none is an error."""
    with pytest.raises(SystemExit) as ended:
        run(capsys, store, "--host", "192.0.2.0/99")
    assert ended.value.code == 2


def test_no_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A directory that is no store is an error."""
    run(capsys, tmp_path / "none", status=2)
