"""For all tests: the build that is tested, Hypothesis' profile, and signals put back after each test."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import netconsd
from netconsd.build import COMPILED, KIND

PACKAGE = Path(netconsd.__file__).parent
EXPECTED = {"compiled": True, "plain": False}

# One profile wherever the tests run. Without a deadline: a busy or emulated processor is no defect. A test that needs
# more or fewer examples than Hypothesis' default sets `max_examples`, and nothing else.
settings.register_profile("netconsd", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# For a run that is about libraries and not about input: pytest --hypothesis-profile netconsd-brief.
settings.register_profile("netconsd-brief", settings.get_profile("netconsd"), max_examples=20)
settings.load_profile("netconsd")


def pytest_report_header() -> str:
    """The build, at the top of the output."""
    return f"netconsd: {KIND}"


def pytest_sessionstart() -> None:
    """Ends the run if the build is not NETCONSD_EXPECT_BUILD (``compiled`` or ``plain``), or older than its sources.

    A compiled file takes precedence over an edited source, so a stale one would be tested instead.
    """
    expected = os.environ.get("NETCONSD_EXPECT_BUILD")
    if expected is not None and EXPECTED[expected] != COMPILED:
        pytest.exit(f"NETCONSD_EXPECT_BUILD is {expected}, but this build is {KIND}", returncode=1)
    # A shell ignores SIGINT in the commands that it starts in the background; tests that send it need Python's handler.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for source in PACKAGE.rglob("*.pxd"):
        for compiled in source.parent.glob(f"{source.stem}.*.so"):
            newest = max(path.stat().st_mtime for path in source.parent.glob(f"{source.stem}.p*"))
            if compiled.stat().st_mtime < newest:
                pytest.exit(f"{compiled.name} is older than its source: run python setup.py build_ext --inplace", 1)


@pytest.fixture(autouse=True)
def _signal_handlers() -> Iterator[None]:
    """Put back the handlers of SIGINT and SIGTERM: a daemon in the tests' own process keeps its own to the end."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        if signal.getsignal(number) is not handler:
            signal.signal(number, handler)
