"""The tests of tally.py for pytest."""

import json
from pathlib import Path

import pytest
from tally import Tally

from netconsd.testing import extended_message, legacy_message


def test_counts_by_sender_and_level(tmp_path: Path) -> None:
    """Messages are counted by sender and level over all workers; legacy messages without a level are not counted."""
    tally = Tally(file=tmp_path / "tally.json")
    tally.start(worker_count=2)
    tally.handle(0, extended_message("one", address="192.0.2.1", level=4))
    tally.handle(1, extended_message("two", address="192.0.2.2", level=3))
    tally.handle(0, extended_message("three", address="192.0.2.1", level=4))
    tally.handle(0, legacy_message("four", address="192.0.2.1"))
    tally.stop()
    counts = json.loads((tmp_path / "tally.json").read_text())
    assert counts == {"192.0.2.1": {"warn": 2}, "192.0.2.2": {"err": 1}}


def test_unknown_level_is_refused(tmp_path: Path) -> None:
    """An unknown level is an error."""
    with pytest.raises(ValueError, match="no such level: loud"):
        Tally(file=tmp_path / "tally.json", levels=("loud",))
