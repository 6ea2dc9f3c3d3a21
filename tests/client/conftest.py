"""One network for all tests that need one; every test starts with machines that do not know each other."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.client.network import REQUIRE, Network, missing


@pytest.fixture(scope="session")
def _machines() -> Iterator[Network]:
    if reason := missing():
        if os.environ.get(REQUIRE) == "1":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    with Network() as network:
        yield network


@pytest.fixture
def network(_machines: Network) -> Network:
    """A sender, a router and a server, with empty neighbour tables."""
    _machines.forget_neighbours()
    return _machines
