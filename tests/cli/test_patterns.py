"""netconsd patterns shows the forms of a store's messages, each message once, from segments and journal."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from netconsd.message import Message
from netconsd.store import layout
from netconsd.store.journal import Journal, parts
from netconsd.testing import extended_message

pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'netconsd[store]'")
from netconsd.cli.patterns import main, new_in, version
from netconsd.store.compactor import Compactor
from netconsd.store.patterns import Pattern

NOW = 1_800_000_000.0
HOUR = 3600.0


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is always the same time."""
    monkeypatch.setattr("netconsd.cli.patterns.time.time", lambda: NOW)


def said(text: str, *, host: int = 1, ago: float = 0.0, level: int = 6, release: str | None = None) -> Message:
    """Return a message of a host, received so many hours ago."""
    return extended_message(
        text, address=f"192.0.2.{host}", received_at=NOW - ago * HOUR, level=level, sysrelease=release
    )


def fill(directory: Path, messages: list[Message], number: int, *, compact: bool) -> None:
    """Add messages to a store as a part of the journal, or as a segment."""
    journal = Journal(
        directory / layout.JOURNAL, 1, first_number=number, part_bytes=1, part_seconds=1e9, most_bytes=1 << 40
    )
    journal.append(0, messages)
    journal.sync()
    journal.close()
    if compact:
        compactor = Compactor(directory)
        compactor.recover()
        compactor.compact()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Return a store: two segments of other times, and a journal."""
    (tmp_path / layout.JOURNAL).mkdir()
    old = [said(f"eth0: link up {number}", host=number, ago=50, release="6.1.0") for number in range(3)]
    old += [said("task 7 blocked", ago=49, level=3, release="6.1.0")]
    new = [said(f"task {number} blocked", host=number % 5, ago=3, level=3, release="7.3.1") for number in range(40)]
    new += [said("eth1: link up 9", host=9, ago=2, release="7.3.1"), said("only now 1", ago=2, release="7.3.1")]
    fill(tmp_path, old, 1, compact=True)
    fill(tmp_path, new, 2, compact=True)
    fill(tmp_path, [said("only now 2", host=7, release="7.3.2"), said("no release", level=0)], 3, compact=False)
    return tmp_path


def shown(capsys: pytest.CaptureFixture[str], store: Path, *options: str) -> dict[str, Any]:
    """Return the patterns that are printed as JSON, by form."""
    status = main(["--store", str(store), "--json", *options])
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert status == (0 if printed else 1)
    return {each["form"]: each for each in printed}


def test_each_message_is_counted_once(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Counts, machines, times, level and releases over segments and journal, the most frequent first."""
    found = shown(capsys, store)
    assert {form: each["count"] for form, each in found.items()} == {
        "task <N> blocked": 41, "<DEV>: link up <N>": 4, "only now <N>": 2, "no release": 1,
    }  # fmt: skip
    assert list(found)[:2] == ["task <N> blocked", "<DEV>: link up <N>"]
    assert found["only now <N>"] == {
        "form": "only now <N>",
        "count": 2,
        "hosts": 2,
        "first": NOW - 2 * HOUR,
        "last": NOW,
        "level": 6,
        "releases": {"7.3.1": 1, "7.3.2": 1},
        "example": "only now 1",
    }
    assert (found["task <N> blocked"]["level"], found["task <N> blocked"]["hosts"]) == (3, 5)
    # The same after the journal has become a segment.
    compactor = Compactor(store)
    compactor.recover()
    compactor.compact()
    assert shown(capsys, store) == found


def test_what_is_new_in_a_release(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Patterns of this release and later ones that no older kernel has."""
    assert {form: each["count"] for form, each in shown(capsys, store, "--new-in", "7.3").items()} == {
        "only now <N>": 2
    }
    assert list(shown(capsys, store, "--new-in", "7.3.2")) == []


def test_what_is_rising(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Patterns that are much more frequent in the last day than before, the steepest first."""
    found = shown(capsys, store, "--rising")
    assert list(found) == ["task <N> blocked"]
    # 40 in 24 hours; 1 in the 26 hours before.
    assert found["task <N> blocked"]["ratio"] == pytest.approx(40 / 24 * 26)
    assert list(shown(capsys, store, "--rising", "--since", "100h")) == []


def test_since_and_level(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Patterns with a message since a time, and with one of a level or a more severe one."""
    assert set(shown(capsys, store, "--since", "1h")) == {"only now <N>", "no release"}
    assert set(shown(capsys, store, "--level", "err")) == {"task <N> blocked", "no release"}
    assert set(shown(capsys, store, "--level", "emerg")) == {"no release"}


def test_the_table(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line for each pattern, a second one for its kernels; the rest is counted."""
    assert main(["--store", str(store), "-n", "1"]) == 0
    out, err = capsys.readouterr()
    head, first, second = out.splitlines()
    assert head.split() == ["messages", "machines", "first", "seen", "level", "pattern"]
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(NOW - 49 * HOUR))
    assert first.split(maxsplit=5) == ["41", "5", *when.split(), "err", "task <N> blocked"]
    assert second.strip() == "6.1.0: 1, 7.3.1: 40"
    assert "3 patterns more; -n 0 shows all" in err


def test_grep(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Patterns by an expression, as of netconsd log: in the form, or in the example, which has the numbers."""
    assert set(shown(capsys, store, "--grep", "TASK|only")) == {"only now <N>"}
    assert set(shown(capsys, store, "--grep", "task 7")) == {"task <N> blocked"}
    with pytest.raises(SystemExit):
        main(["--store", str(store), "--grep", "("])
    assert "--grep" in capsys.readouterr().err


def test_first_seen_is_of_the_whole_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--since chooses patterns; "since when" is answered for all that is stored."""
    (tmp_path / layout.JOURNAL).mkdir()
    fill(tmp_path, [said("link up 1", ago=50)], 1, compact=True)
    fill(tmp_path, [said("link up 2", ago=0.5)], 2, compact=True)
    assert shown(capsys, tmp_path, "--since", "1h")["link up <N>"]["first"] == NOW - 50 * HOUR


def test_hints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An empty or a full list that means something else than it seems to says so."""
    (tmp_path / layout.JOURNAL).mkdir()
    fill(tmp_path, [said("new", release="7.3.1", level=6), said("bad", release="7.3.1", level=2)], 1, compact=True)
    for options, text in (
        (["--new-in", "7.4"], "no kernel of 7.4 or later"),
        (["--new-in", "7.3"], "no kernel before 7.3"),
        (["--rising"], "nothing can be compared"),
        (["--grep", "absent"], "no pattern was found"),
    ):
        main(["--store", str(tmp_path), *options])
        assert text in capsys.readouterr().err
    fill(tmp_path, [said("old", release="6.1.0"), said("bad")], 2, compact=True)
    assert main(["--store", str(tmp_path), "--new-in", "7.3"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    # The most severe first; a message of a kernel that sends no release can be an old one.
    assert [line.split()[-1] for line in out.splitlines()[1::2]] == ["bad", "new"]
    assert out.splitlines()[2].strip() == "7.3.1: 1, no release: 1"


def test_a_narrow_terminal(store: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is cut: a pattern has the width of the terminal, below its numbers; on a wide one it is beside them."""
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    (store / layout.JOURNAL).mkdir(exist_ok=True)
    words = " ".join("word" for _ in range(30))
    fill(store, [said(words)] * 50, 9, compact=True)
    assert main(["--store", str(store), "-n", "1"]) == 0
    head, numbers, *lines = capsys.readouterr().out.splitlines()
    assert head.split()[-1] == "kernels"
    assert numbers.split()[:2] == ["50", "1"]
    assert " ".join(line.strip() for line in lines) == words
    assert all(line.startswith("    word") and len(line) <= 80 for line in lines)
    monkeypatch.setenv("COLUMNS", "120")
    assert main(["--store", str(store), "-n", "1"]) == 0
    _, first, *rest = capsys.readouterr().out.splitlines()
    assert " ".join([first[47:], *(line[47:] for line in rest)]) == words


def test_an_empty_text(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The pattern of empty texts is shown as a word, as an empty column looks wrong; JSON has it as it is."""
    fill(store, [said("")] * 60, 9, compact=True)
    assert main(["--store", str(store), "-n", "1"]) == 0
    assert capsys.readouterr().out.splitlines()[1].endswith("  (empty)")
    assert shown(capsys, store, "-n", "1").keys() == {""}


def test_damage_is_named(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An index that is damaged is named, and the messages of its segment are counted without it; the status is 2."""
    assert main(["--store", str(store), "--json"]) == 0
    whole = capsys.readouterr().out
    path = layout.segment_files(store)[0].index
    data = bytearray(path.read_bytes())
    data[40] ^= 1
    path.write_bytes(data)
    assert main(["--store", str(store), "--json"]) == 2
    out, err = capsys.readouterr()
    assert str(path) in err
    assert out == whole


def test_files_that_a_kill_has_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Parts that became a segment, and segments that were merged, are not counted again before they are removed."""
    store, kept = tmp_path / "store", tmp_path / "kept"
    (store / layout.JOURNAL).mkdir(parents=True)
    for number in range(1, 9):
        fill(store, [said(f"text {number}", ago=1)], number, compact=False)
        shutil.copytree(store, kept, dirs_exist_ok=True)
        compactor = Compactor(store)
        compactor.recover()
        compactor.compact()
    shutil.copytree(store, kept, dirs_exist_ok=True)
    while compactor.merge():
        pass
    assert len(layout.segment_files(store)) == 1
    shutil.copytree(kept, store, dirs_exist_ok=True)
    assert (len(layout.segment_files(store)), len(parts(store / layout.JOURNAL))) == (9, 8)
    assert shown(capsys, store)["text <N>"]["count"] == 8


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--since", "soon"], "--since: soon is not a time"),
        (["--new-in", "x"], "--new-in: x is not a release"),
        (["-n", "-1"], "-1 is not a number"),
    ],
)
def test_wrong_options(arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The error names the option."""
    with pytest.raises(SystemExit):
        main(arguments)
    assert text in capsys.readouterr().err


def test_no_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The error names the directory and the option."""
    assert main(["--store", str(tmp_path / "none")]) == 2
    assert f"{tmp_path}/none" in capsys.readouterr().err


def test_releases_are_compared_by_their_numbers() -> None:
    """6.12 is newer than 6.9; a release candidate and a distribution's suffix do not matter."""
    assert version("6.12.3-amd64") == (6, 12, 3)
    assert version("next-2026") == ()
    pattern = Pattern("x", 6, 9, 0.0, 1.0, "x", set(), {"6.12.0-rc1": 3, "(others)": 1, "6.12": 2})
    assert new_in(pattern, "6.12") == 5
    pattern.releases["6.9.9"] = 1
    assert new_in(pattern, "6.12") == 0
    assert new_in(pattern, "6.13") == 0
