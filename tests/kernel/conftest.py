"""One boot per kernel, whose messages all tests look at."""

from __future__ import annotations

import pytest

from tests.kernel.boot import Booted, boot
from tests.kernel.daemon import Recorded
from tests.kernel.kernels import find_kernels, missing

KERNELS = [] if missing() else find_kernels()


@pytest.fixture(scope="session", params=KERNELS, ids=lambda kernel: kernel.release)
def booted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Booted:
    """What a kernel sent from its boot to its crash, for each of the kernels."""
    return boot(request.param, tmp_path_factory.mktemp("boot"))


@pytest.fixture(params=["extended", "release", "configfs"])
def extended(booted: Booted, request: pytest.FixtureRequest) -> list[Recorded]:
    """What a target with the extended format sent, for each way of making one."""
    return booted.sent(request.param)


@pytest.fixture
def legacy(booted: Booted) -> list[Recorded]:
    """What the target with the legacy format sent."""
    return booted.sent("legacy")
