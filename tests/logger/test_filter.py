"""The logger's patterns and statistics."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from modules.logger import Logger
from netconsd.logger.patterns import IgnoreError
from netconsd.outputs.runner import Outputs
from tests.support.loggers import A, B, Turns, batch, files, logging, said

needs_re2 = pytest.mark.skipif(importlib.util.find_spec("re2") is None, reason="google-re2 is not installed")


@pytest.fixture
def patterns(tmp_path: Path) -> Path:
    """A file with the pattern ``noise``."""
    path = tmp_path / "patterns.txt"
    path.write_text("ignore:\n  - noise\n")
    return path


@needs_re2
def test_dropped_lines(tmp_path: Path, patterns: Path) -> None:
    """Lines that match are not written, and counted; the stop says how many there were."""
    with said() as words, logging(tmp_path / "logs", ignore=patterns) as logger:
        logger.handle_batch(0, batch("one", "noise", "two", "more noise"))
        assert logger.dropped_lines == 2
    assert files(tmp_path / "logs") == {f"{A}.log": ["one", "two"]}
    assert words == [
        f"logger: 1 patterns from {patterns}",
        "logger: 2 lines matched a pattern and were dropped",
    ]


@needs_re2
def test_no_file_for_a_machine_whose_every_line_is_dropped(tmp_path: Path, patterns: Path) -> None:
    """A machine that says nothing but noise has no file, and a batch of nothing else touches no file."""
    with logging(tmp_path / "logs", ignore=patterns) as logger:
        logger.handle_batch(0, batch("noise", address=B) + batch("text"))
        logger.handle_batch(0, batch("noise"))
    assert files(tmp_path / "logs") == {f"{A}.log": ["text"]}


@needs_re2
def test_patterns_are_reread(tmp_path: Path, patterns: Path) -> None:
    """After a reload the new patterns count, in all workers."""
    with logging(tmp_path / "logs", worker_count=2, ignore=patterns) as logger:
        patterns.write_text("ignore:\n- text\n")
        logger.reload()
        logger.handle_batch(0, batch("noise", "text"))
        logger.handle_batch(1, batch("noise", "text", address=B))
        assert logger.dropped_lines == 2
    assert files(tmp_path / "logs") == {f"{A}.log": ["noise"], f"{B}.log": ["noise"]}


@needs_re2
@pytest.mark.parametrize("bad", ["ignore:\n  - a(\n", None, b"\xff"])
def test_a_bad_file_at_a_reload(tmp_path: Path, patterns: Path, bad: str | bytes | None) -> None:
    """A file that went wrong, or away, leaves the patterns as they were, and the log says so; files are reopened."""
    logs = tmp_path / "logs"
    with logging(logs, ignore=patterns) as logger:
        logger.handle_batch(0, batch("before"))
        (logs / f"{A}.log").rename(logs / "old")
        if bad is None:
            patterns.unlink()
        else:
            patterns.write_bytes(bad.encode() if isinstance(bad, str) else bad)
        with said() as words:
            logger.reload()
        logger.handle_batch(0, batch("noise", "text"))
    assert files(logs) == {"old": ["before"], f"{A}.log": ["text"]}
    assert len(words) == 1
    assert str(patterns) in words[0]
    assert words[0].endswith("; what was read before stays")


@needs_re2
def test_a_bad_file_at_the_start(tmp_path: Path, patterns: Path) -> None:
    """At the start a bad or missing file is an error that names it."""
    patterns.write_text("ignore:\n  - a(\n")
    with pytest.raises(IgnoreError, match=rf"^{patterns}:2: is not a regular expression of RE2: missing \)"):
        Logger(directory=tmp_path, ignore=patterns).start(1)
    with pytest.raises(RuntimeError, match=rf"^cannot read {tmp_path}/gone: No such file or directory$"):
        Logger(directory=tmp_path, ignore=tmp_path / "gone").start(1)


def test_re2_is_needed_by_patterns_only(tmp_path: Path, patterns: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has no patterns needs no google-re2; who has some is told what to install."""
    monkeypatch.setitem(sys.modules, "re2", None)
    with logging(tmp_path / "logs", statistics=True) as logger:
        logger.handle_batch(0, batch("text"))
    outputs = Outputs({"logger": Logger(directory=tmp_path, ignore=patterns)}, 1)
    unused: Any = None
    started = Deferred.fromCoroutine(outputs.start(unused))
    failures: list[Any] = []
    started.addErrback(failures.append)
    assert failures[0].getErrorMessage() == (
        "logger: did not start: it needs the Python package that provides 're2', which is not installed: "
        "pip install 'netconsd[logger]'"
    )


def test_statistics(tmp_path: Path) -> None:
    """A minute after the start, and each minute from then on until the stop, a line says what came in."""
    turns = Turns()
    with logging(tmp_path / "logs", worker_count=2, statistics=True, reactor=turns) as logger:
        logger.handle_batch(0, batch(*"abc"))
        logger.handle_batch(1, batch(*"de", address=B))
        with said() as words:
            turns.advance(59.0)
        assert words == []
        with said() as words:
            turns.advance(1.0)
            turns.advance(60.0)
    since = "0 dropped, 0 lost; since the start: 5 received, 0 dropped, 0 lost"
    assert words == [
        f"logger: in 60 s: 5 received from 2 hosts (0.1 per second), {since}",
        f"logger: in 60 s: 0 received from 0 hosts (0.0 per second), {since}",
    ]
    assert turns.getDelayedCalls() == []


def test_no_statistics_unless_asked_for(tmp_path: Path) -> None:
    """Without the setting nothing is counted and no reactor is needed."""
    logger = Logger(directory=tmp_path / "logs")
    logger.start(1)
    logger.handle_batch(0, batch("text"))
    logger.stop()
    assert logger.reactor is None


@needs_re2
def test_statistics_count_what_was_dropped_and_lost(tmp_path: Path, patterns: Path) -> None:
    """A machine whose every line was dropped counts as a host; lines that could not be written are lost."""
    turns = Turns()
    with logging(tmp_path / "logs", ignore=patterns, statistics=True, reactor=turns) as logger:
        (tmp_path / "logs" / f"{A}.log").symlink_to("/dev/full")
        logger.handle_batch(0, batch("noise", address=B) + batch("text"))
        with said() as words:
            turns.advance(60.0)
    assert words[0].startswith("logger: in 60 s: 2 received from 2 hosts (0.0 per second), 1 dropped, 1 lost; ")
