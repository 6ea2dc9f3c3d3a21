"""The logger remembers the names of files, and not too many."""

from __future__ import annotations

from pathlib import Path

from modules.logger import NAMES, Logger
from netconsd.testing import extended_message


def test_names_are_bounded(tmp_path: Path) -> None:
    """More senders than names are remembered all have their files, and the names do not gather without end."""
    logger = Logger(directory=tmp_path, name="{address}-{port}.log", max_open_files=4)
    logger.start(1)
    messages = [extended_message("x", port=1024 + number) for number in range(NAMES + 10)]
    logger.handle_batch(0, messages)
    logger.handle_batch(0, messages[:5])
    logger.stop()
    assert len(list(tmp_path.iterdir())) == NAMES + 10
    assert len(logger._names[0]) <= NAMES
    assert (tmp_path / "192.0.2.1-1024.log").read_bytes().count(b"\n") == 2
