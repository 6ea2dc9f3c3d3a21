"""Programs that tests call: a test whose program is missing skips, and says which one."""

from __future__ import annotations

import os
import shutil

import pytest

#: With ``1``, a missing program or right fails a test instead of skipping it.
REQUIRE = "NETCONSD_REQUIRE_CLIENT_TEST"

# Debian packages with another name than the program.
_PACKAGES = {"cc": "gcc", "ip": "iproute2", "ping": "iputils-ping", "setpriv": "util-linux"}


def require(*programs: str) -> None:
    """Skip the test if one of the programs is missing; fail it with :data:`REQUIRE`."""
    for program in programs:
        if shutil.which(program) is None:
            skip_or_fail(f"{program} is missing: apt-get install {_PACKAGES.get(program, program)}")


def skip_or_fail(reason: str) -> None:
    """Skip the test for a reason; fail it with :data:`REQUIRE`."""
    if os.environ.get(REQUIRE) == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
