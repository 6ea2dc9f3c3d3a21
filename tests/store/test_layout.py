"""The names of a store's files, and where a store is by default."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from netconsd.store.layout import SEGMENTS, default_directory, default_to_read, segment_files


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"STATE_DIRECTORY": "/var/lib/netconsd:/x", "HOME": "/root"}, "/var/lib/netconsd/store"),
        ({"XDG_STATE_HOME": "/home/me/state", "HOME": "/home/me"}, "/home/me/state/netconsd/store"),
        ({"XDG_STATE_HOME": "relative", "HOME": "/home/me"}, "/home/me/.local/state/netconsd/store"),
        ({}, "/.local/state/netconsd/store"),
    ],
)
def test_the_default_directory(environment: dict[str, str], expected: str) -> None:
    """It is the state directory of the service, or that of the user."""
    assert default_directory(environment) == Path(expected)


def test_commands_read_the_store_of_the_service_if_the_user_has_none(tmp_path: Path) -> None:
    """A user's own store takes precedence; without one, that of the service is read; without both, the user's."""
    own, service = tmp_path / "netconsd" / "store", tmp_path / "service"
    environment = {"XDG_STATE_HOME": str(tmp_path)}
    assert default_to_read(environment, service) == own
    service.mkdir()
    assert default_to_read(environment, service) == service
    own.mkdir(parents=True)
    assert default_to_read(environment, service) == own


def test_a_directory_that_changes_while_it_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first piece of the names was read before a merge, the second after it: they are read again."""
    day = tmp_path / SEGMENTS / "2026-11-28"
    day.mkdir(parents=True)
    old, new = day / "09-1.parquet", day / "09-2-1.parquet"
    old.touch()
    os.utime(day, (1, 1))
    real = os.listdir

    def listed(directory: Path) -> list[str]:
        if directory == day and old.exists():
            new.touch()
            old.unlink()
            return []
        return real(directory)

    monkeypatch.setattr(os, "listdir", listed)
    assert [file.path for file in segment_files(tmp_path)] == [new]
