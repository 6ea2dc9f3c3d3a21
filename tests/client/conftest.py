"""One network for all tests that need one. Its neighbour tables are empty at the start of each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.client.network import Network, obstacle
from tests.support.tools import require, skip_or_fail


@pytest.fixture(scope="session")
def _machines() -> Iterator[Network]:
    require("ip")
    if reason := obstacle():
        skip_or_fail(reason)
    with Network() as network:
        yield network


@pytest.fixture
def network(_machines: Network) -> Network:
    """A sender, a router and a server, with empty neighbour tables."""
    _machines.forget_neighbours()
    return _machines
