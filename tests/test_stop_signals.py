"""SIGINT and SIGTERM, in this process: the first one stops, whenever it comes."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from netconsd.signals import StopSignals

BOTH = [signal.SIGINT, signal.SIGTERM]


@pytest.fixture
def stopped() -> Iterator[list[signal.Signals]]:
    """What asked to stop; the handlers of before are put back whatever happens."""
    before = {number: signal.getsignal(number) for number in BOTH}
    yield []
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", BOTH)
def test_the_first_stops_and_others_do_nothing(stopped: list[signal.Signals], number: signal.Signals) -> None:
    """While the reactor runs: one stop, however many signals of either kind."""
    signals = StopSignals(stopped.append)
    signals.reactor_runs()
    for each in (number, number, *BOTH):
        signal.raise_signal(each)
    assert stopped == [number]
    assert signals.came == number


@pytest.mark.parametrize("number", BOTH)
def test_one_that_comes_early_is_kept(stopped: list[signal.Signals], number: signal.Signals) -> None:
    """Before the reactor runs, nothing is stopped; then it is, once. A second signal would end the process at once."""
    signals = StopSignals(stopped.append)
    signal.raise_signal(number)
    assert stopped == []
    assert [signal.getsignal(each) for each in BOTH] == [signal.SIG_DFL] * 2
    signals.reactor_runs()
    signal.raise_signal(number)
    assert stopped == [number]


def test_handlers_are_put_back(stopped: list[signal.Signals]) -> None:
    """Afterwards they are who they were."""
    before = [signal.getsignal(number) for number in BOTH]
    signals = StopSignals(stopped.append)
    assert [signal.getsignal(number) for number in BOTH] != before
    signals.reactor_runs()
    signals.let_go()
    assert [signal.getsignal(number) for number in BOTH] == before
