"""The files of crash reports: whole, bounded, and with a safe name whatever a stranger sends."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netconsd.logger import crashfiles
from netconsd.logger.crashfiles import FILE_BYTES, CrashFiles
from netconsd.message import Message
from netconsd.testing import CRASH, crash_report, extended_message
from tests.support.loggers import logging

AT = 1_795_356_245.0  # 2026-11-22T14:04:05Z


def host(message: Message) -> str:
    """The address."""
    return message.source.address


def files_in(directory: Path, keep: int = 1000) -> CrashFiles:
    """Started files of a directory."""
    files = CrashFiles(directory, keep)
    files.start()
    return files


def test_a_file(tmp_path: Path) -> None:
    """Its name has the date, the host and the title; it has the facts, the lines, and the lines before."""
    report = crash_report(
        received_at=AT, function="widget_read", module="widget", before=(extended_message("earlier"),)
    )
    path = files_in(tmp_path).write(report, host)
    title = "BUG-unable-to-handle-kernel-NULL-pointer-dereference-in-widget_read"
    assert path.name == f"2026-11-22-140405-192.0.2.1-{title}.txt"
    text = path.read_text()
    head, lines, before = text.split("\n\n", 2)
    assert head.startswith(
        f"title: {report.title}\nhost: 192.0.2.1\nreceived: 2026-11-22T14:04:05Z\nseverity: degraded"
    )
    assert "function: widget_read [widget]" in head
    assert lines.split("\n") == [line.rstrip() if not line.strip() else line for line in CRASH]
    assert before.endswith("earlier\n")
    assert os.listdir(tmp_path) == [path.name]
    assert path.stat().st_mode & 0o777 == 0o640


def test_the_same_second(tmp_path: Path) -> None:
    """Equal reports get files of their own, up to a bound."""
    files = files_in(tmp_path)
    names = [files.write(crash_report("t", received_at=AT), host).name for _ in range(crashfiles.SAME_NAMES + 5)]
    assert names[:2] == ["2026-11-22-140405-192.0.2.1-t.txt", "2026-11-22-140405-192.0.2.1-t-2.txt"]
    assert len(os.listdir(tmp_path)) == crashfiles.SAME_NAMES


def test_the_number_is_bounded(tmp_path: Path) -> None:
    """The oldest is removed, also one of an earlier run; files that are not ours stay."""
    (tmp_path / "notes.txt").write_text("mine")
    first = files_in(tmp_path, keep=3)
    for second in range(3):
        first.write(crash_report("t", received_at=AT + second), host)
    files_in(tmp_path, keep=3).write(crash_report("t", received_at=AT + 9), host)
    assert sorted(os.listdir(tmp_path)) == [
        *(f"2026-11-22-1404{second:02d}-192.0.2.1-t.txt" for second in (6, 7, 14)),
        "notes.txt",
    ]


def test_the_newest_stays(tmp_path: Path) -> None:
    """The file that was just written stays, also if the clock was set back, and if all are of one second and title."""
    files = files_in(tmp_path, keep=3)
    for second in range(3):
        files.write(crash_report("t", received_at=AT + second), host)
    assert files.write(crash_report("t", received_at=AT - 1e8), host).exists()
    paths = [files.write(crash_report("t", received_at=AT + 5, pid=number), host) for number in range(15)]
    assert [path.exists() for path in paths[-1:]] == [True]
    kept = {text for path in tmp_path.iterdir() for text in path.read_text().splitlines() if text.startswith("task:")}
    assert kept == {f"task: pid {number}" for number in (12, 13, 14)}
    again = files_in(tmp_path, keep=3)
    assert again.write(crash_report("t", received_at=AT - 2e8), host).exists()
    assert len(list(tmp_path.iterdir())) == 3


def test_the_size_is_bounded(tmp_path: Path) -> None:
    """A larger report is cut, and the file says so."""
    path = files_in(tmp_path).write(crash_report(lines=["\xe9" * 1000] * 1000, received_at=AT), host)
    data = path.read_bytes()
    assert FILE_BYTES - 8 <= len(data) <= FILE_BYTES
    assert data.endswith(b"bytes cut]\n")
    data.decode()


@given(title=st.text(), name=st.text(), at=st.floats(0, 4e9))
def test_any_title_and_host(tmp_path_factory: pytest.TempPathFactory, title: str, name: str, at: float) -> None:
    """The name stays in the directory, and has letters, digits, dots, hyphens and underscores only."""
    directory = tmp_path_factory.mktemp("crashes")
    path = files_in(directory).write(crash_report(title, received_at=at, lines=[title, name]), lambda message: name)
    assert path.parent == directory
    assert set(path.name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
    assert len(path.name) < 255
    assert all(character == "\n" or character.isprintable() for character in path.read_text())


def test_a_failure_leaves_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk raises OSError, and neither a file nor a temporary one stays."""
    files = files_in(tmp_path)

    def fail(source: Any, target: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="No space left"):
        files.write(crash_report(received_at=AT), host)
    assert os.listdir(tmp_path) == []


def test_a_link_in_place_of_the_temporary_file(tmp_path: Path) -> None:
    """It is not followed."""
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    directory = tmp_path / "crashes"
    files = files_in(directory)
    (directory / crashfiles._TEMPORARY).symlink_to(victim)
    with pytest.raises(OSError):
        files.write(crash_report(received_at=AT), host)
    files.write(crash_report(received_at=AT), host)
    assert victim.read_text() == "untouched"


def test_the_logger_writes_them_if_asked(tmp_path: Path) -> None:
    """With ``crashes`` the logger takes reports, of the senders that ``hosts`` selects; without it, it takes none."""
    with logging(tmp_path / "a", crashes=True, hosts=("192.0.2.0/24",)) as logger:
        assert logger.wants_reports
        logger.handle_report(0, crash_report(received_at=AT))
        logger.handle_report(0, crash_report(received_at=AT, address="198.51.100.1"))
    assert len(os.listdir(tmp_path / "a/crashes")) == 1
    with logging(tmp_path / "b") as logger:
        assert not logger.wants_reports
    assert not (tmp_path / "b/crashes").exists()


def test_wrong_settings(tmp_path: Path) -> None:
    """No files at all is no bound; a file in place of the directory is an error that names it."""
    with pytest.raises(ValueError, match=r"^crashes_keep: 0 is less than 1$"), logging(tmp_path, crashes_keep=0):
        pass
    (tmp_path / "crashes").write_text("")
    with pytest.raises(RuntimeError, match=r"^crashes: cannot write in .*crashes: "), logging(tmp_path, crashes=True):
        pass
