"""What people muted in the console, as the alerts see it."""

from __future__ import annotations

from pathlib import Path

import pytest

from netconsd.alerts.muted import Muted
from netconsd.crash.groups import group_id
from netconsd.store import triage


def decided(store: Path, what: str, group: str, **fields: object) -> None:
    """Write a decision, as the console does."""
    triage.append(store, {"when": 1.0, "who": "ann", "what": what, "group": group, **fields})


def test_decisions(tmp_path: Path) -> None:
    """Each decision holds at once: of a bug, of the one into which it was merged, and of a title that was split off."""
    is_muted = Muted(tmp_path)
    assert not is_muted(["BUG: x"])
    decided(tmp_path, "mute", group_id("BUG: x"))
    assert is_muted(["BUG: x"])
    assert is_muted(["BUG: other", "BUG: x"])
    assert not is_muted(["BUG: y"])
    decided(tmp_path, "merge", group_id("BUG: y"), into=group_id("BUG: x"))
    assert is_muted(["BUG: y"])
    decided(tmp_path, "split", group_id("BUG: x"), title="BUG: x")
    assert not is_muted(["BUG: x"])
    decided(tmp_path, "mute", triage.split_id("BUG: x"))
    assert is_muted(["BUG: x"])
    decided(tmp_path, "unmute", group_id("BUG: x"))
    assert not is_muted(["BUG: y"])
    (tmp_path / triage.NAME).unlink()
    assert not is_muted(["BUG: x"])


def test_without_a_store() -> None:
    """Nothing is muted."""
    assert not Muted(None)(["BUG: x"])


def test_a_file_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read before holds, and the log says so once."""
    warnings: list[str] = []
    is_muted = Muted(tmp_path, warnings.append)
    decided(tmp_path, "mute", group_id("BUG: x"))
    assert is_muted(["BUG: x"])
    decided(tmp_path, "mute", group_id("BUG: y"))

    def refuse(directory: Path) -> None:
        raise PermissionError(13, "Permission denied", str(directory))

    with monkeypatch.context() as patch:
        patch.setattr(triage, "read", refuse)
        assert [is_muted(["BUG: x"]), is_muted(["BUG: y"])] == [True, False]
    assert is_muted(["BUG: y"])
    (warning,) = warnings
    assert "Permission denied" in warning
