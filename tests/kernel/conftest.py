"""One boot per kernel; all tests check its messages."""

from __future__ import annotations

import pytest

from tests.kernel.boot import Booted, boot
from tests.kernel.daemon import Recorded
from tests.kernel.kernels import find_kernels, missing

KERNELS = [] if missing() else find_kernels()


@pytest.fixture(scope="session", params=KERNELS, ids=lambda kernel: kernel.release)
def booted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Booted:
    """The messages of one kernel from its boot to its crash, for each kernel."""
    return boot(request.param, tmp_path_factory.mktemp("boot"))


@pytest.fixture(params=["extended", "release", "configfs"])
def extended(booted: Booted, request: pytest.FixtureRequest) -> list[Recorded]:
    """The messages of a target with the extended format, for each way to make one."""
    return booted.sent(request.param)


@pytest.fixture
def legacy(booted: Booted) -> list[Recorded]:
    """The messages of the target with the legacy format."""
    return booted.sent("legacy")
