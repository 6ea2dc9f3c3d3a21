"""The names of a store's files, and where a store is by default."""

from __future__ import annotations

from pathlib import Path

import pytest

from netconsd.store.layout import default_directory, default_to_read


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
