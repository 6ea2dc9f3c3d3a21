"""SIGINT and SIGTERM, in this process: the first one stops, whenever it comes."""

from __future__ import annotations

import signal

import pytest

from netconsd.daemon.signals import StopSignals

BOTH = [signal.SIGINT, signal.SIGTERM]


@pytest.fixture
def stopped() -> list[signal.Signals]:
    """What asked to stop."""
    return []


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


@pytest.mark.parametrize("number", BOTH)
def test_what_is_ignored_stays_ignored(stopped: list[signal.Signals], number: signal.Signals) -> None:
    """In the background of a shell's script SIGINT is ignored, and stays so; the other signal stops."""
    signal.signal(number, signal.SIG_IGN)
    signals = StopSignals(stopped.append)
    signal.raise_signal(number)
    signals.reactor_runs()
    signal.raise_signal(number)
    assert stopped == []
    (other,) = set(BOTH) - {number}
    signal.raise_signal(other)
    assert stopped == [other]


def test_one_that_comes_in_between(stopped: list[signal.Signals], monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal in the moment in which the reactor begins to run stops once, too."""
    signals = StopSignals(stopped.append)
    take_both = signals._take_both

    def interrupted() -> None:
        take_both()
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(signals, "_take_both", interrupted)
    signals.reactor_runs()
    assert stopped == [signal.SIGTERM]
