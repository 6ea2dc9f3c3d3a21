"""Fixtures of the receivers' tests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from netconsd.receive.recvfrom import Receiver as PlainReceiver
from tests.support.receivers import Socket, compiled_receiver, needs_compiled


@pytest.fixture(params=[pytest.param("compiled", marks=needs_compiled), "plain"])
def make(request: pytest.FixtureRequest) -> Any:
    """Either receiver's class: ``make(socket, batch, batches, lanes, allowed)``."""
    return compiled_receiver() if request.param == "compiled" else PlainReceiver


@pytest.fixture
def here() -> Iterator[Socket]:
    """An IPv4 socket, closed after the test."""
    opened = Socket()
    yield opened
    opened.close()
