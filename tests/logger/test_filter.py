"""The logger's patterns and statistics."""

from __future__ import annotations

from pathlib import Path

import pytest

from modules.logger import Logger
from netconsd.logger import filter as filter_module
from tests.support.loggers import A, B, ManualReactor, batch, files, logged, logging


@pytest.fixture
def patterns(tmp_path: Path) -> Path:
    """A file with the pattern ``noise``."""
    path = tmp_path / "patterns.txt"
    path.write_text("ignore:\n  - noise\n")
    return path


def test_dropped_lines(tmp_path: Path, patterns: Path) -> None:
    """Lines that match are not written but counted, and the number is logged at the stop."""
    with logged() as texts, logging(tmp_path / "logs", ignore=patterns) as logger:
        logger.handle_batch(0, batch("one", "noise", "two", "more noise"))
        assert logger._filter is not None and logger._filter.dropped == 2
    assert files(tmp_path / "logs") == {f"{A}.log": ["one", "two"]}
    # Before them a warning, where google-re2 is not installed.
    assert texts[-2:] == [f"logger: 1 pattern from {patterns}", "logger: 2 lines dropped by a pattern"]


def test_no_file_for_a_sender_without_kept_lines(tmp_path: Path, patterns: Path) -> None:
    """A sender whose every line is dropped has no file, and a batch of dropped lines touches no file."""
    with logging(tmp_path / "logs", ignore=patterns) as logger:
        logger.handle_batch(0, batch("noise", address=B) + batch("text"))
        logger.handle_batch(0, batch("noise"))
    assert files(tmp_path / "logs") == {f"{A}.log": ["text"]}


def test_reload_reads_the_patterns(tmp_path: Path, patterns: Path) -> None:
    """After a reload all workers use the new patterns."""
    with logging(tmp_path / "logs", worker_count=2, ignore=patterns) as logger:
        patterns.write_text("ignore:\n- text\n")
        logger.reload()
        logger.handle_batch(0, batch("noise", "text"))
        logger.handle_batch(1, batch("noise", "text", address=B))
        assert logger._filter is not None and logger._filter.dropped == 2
    assert files(tmp_path / "logs") == {f"{A}.log": ["noise"], f"{B}.log": ["noise"]}


@pytest.mark.parametrize("content", ["ignore:\n  - a(\n", None, b"\xff"])
def test_a_malformed_file_at_a_reload(tmp_path: Path, patterns: Path, content: str | bytes | None) -> None:
    """A malformed or missing file leaves the patterns unchanged and is logged; log files are reopened all the same."""
    logs = tmp_path / "logs"
    with logging(logs, ignore=patterns) as logger:
        logger.handle_batch(0, batch("before"))
        (logs / f"{A}.log").rename(logs / "old")
        if content is None:
            patterns.unlink()
        else:
            patterns.write_bytes(content.encode() if isinstance(content, str) else content)
        with logged() as texts:
            logger.reload()
        logger.handle_batch(0, batch("noise", "text"))
    assert files(logs) == {"old": ["before"], f"{A}.log": ["text"]}
    assert len(texts) == 1
    assert str(patterns) in texts[0]
    assert texts[0].endswith("; the previous content stays in use")


def test_a_malformed_file_at_the_start(tmp_path: Path, patterns: Path) -> None:
    """At the start a malformed or missing file is an error that names the setting and the file."""
    patterns.write_text("ignore:\n  - a(\n")
    with pytest.raises(ValueError, match=rf"^ignore: {patterns}:2: "):
        Logger(directory=tmp_path, ignore=patterns).start(1)
    with pytest.raises(RuntimeError, match=rf"^ignore: cannot read {tmp_path}/gone: No such file or directory$"):
        Logger(directory=tmp_path, ignore=tmp_path / "gone").start(1)


def test_statistics(tmp_path: Path) -> None:
    """Each minute from the start to the stop, one line has the counts since the last line and since the start."""
    reactor = ManualReactor()
    with logging(tmp_path / "logs", worker_count=2, statistics=True, reactor=reactor) as logger:
        logger.handle_batch(0, batch(*"abc"))
        logger.handle_batch(1, batch(*"de", address=B))
        with logged() as texts:
            reactor.advance(59.0)
        assert texts == []
        with logged() as texts:
            reactor.advance(1.0)
            logger.handle_batch(1, batch("f"))
            reactor.advance(60.0)
    first, second = texts
    assert first == (
        "logger: in 60 s: 5 messages from 2 hosts (0.1 per second), 0 dropped by a pattern, 0 by a write error; "
        "since the start: 5 messages, 0 dropped by a pattern, 0 by a write error"
    )
    assert "in 60 s: 1 message from 1 host (0.0 per second), " in second
    assert "since the start: 6 messages, " in second
    assert reactor.getDelayedCalls() == []


def test_no_statistics_by_default(tmp_path: Path) -> None:
    """Without the setting nothing is counted and no reactor is needed."""
    logger = Logger(directory=tmp_path / "logs")
    logger.start(1)
    logger.handle_batch(0, batch("text"))
    logger.stop()
    assert logger.reactor is None


def test_statistics_count_dropped_lines(tmp_path: Path, patterns: Path) -> None:
    """A sender whose every line was dropped counts as a host; lines dropped by a write error are counted apart."""
    reactor = ManualReactor()
    with logging(tmp_path / "logs", ignore=patterns, statistics=True, reactor=reactor) as logger:
        (tmp_path / "logs" / f"{A}.log").symlink_to("/dev/full")
        logger.handle_batch(0, batch("noise", address=B) + batch("text"))
        with logged() as texts:
            reactor.advance(60.0)
    assert "2 messages from 2 hosts (0.0 per second), 1 dropped by a pattern, 1 by a write error; " in texts[0]


def test_forged_hosts_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker counts at most 65,536 forged addresses in an interval, and the line says that there were more."""
    assert filter_module.HOSTS_LIMIT == 65536
    monkeypatch.setattr(filter_module, "HOSTS_LIMIT", 10)
    reactor = ManualReactor()
    with logging(tmp_path / "logs", statistics=True, reactor=reactor) as logger, logged() as texts:
        for host in range(30):
            logger.handle_batch(0, batch("x", address=f"10.0.0.{host}"))
        reactor.advance(60.0)
        logger.handle_batch(0, batch("x"))
        reactor.advance(60.0)
    assert "30 messages from 10 or more hosts" in texts[0]
    assert "1 message from 1 host" in texts[1]
