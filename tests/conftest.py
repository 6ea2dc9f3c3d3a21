"""Every run of the tests says which build it tests, fails if that is not the one meant, and can be interrupted."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

import netconsd
from netconsd.build import COMPILED, KIND

PACKAGE = Path(netconsd.__file__).parent
EXPECTED = {"compiled": True, "plain": False}


def pytest_report_header() -> str:
    """The build, at the top of the output."""
    return f"netconsd: {KIND}"


def pytest_sessionstart() -> None:
    """NETCONSD_EXPECT_BUILD is ``compiled`` or ``plain``. A compiled file wins over a newer source."""
    expected = os.environ.get("NETCONSD_EXPECT_BUILD")
    if expected is not None and EXPECTED[expected] != COMPILED:
        pytest.exit(f"NETCONSD_EXPECT_BUILD is {expected}, but this build is {KIND}", returncode=1)
    # A shell ignores it for what it starts in the background, and so would the processes of tests that send it.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for source in PACKAGE.rglob("*.pxd"):
        for compiled in source.parent.glob(f"{source.stem}.*.so"):
            if compiled.stat().st_mtime < max(path.stat().st_mtime for path in source.parent.glob(f"{source.stem}.p*")):
                pytest.exit(f"{compiled.name} is older than its source: run python setup.py build_ext --inplace", 1)


@pytest.fixture(autouse=True)
def _signals_that_stop() -> Iterator[None]:
    """Put back what handled SIGINT and SIGTERM: a daemon in the tests' own process keeps them to its end."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        if signal.getsignal(number) is not handler:
            signal.signal(number, handler)
