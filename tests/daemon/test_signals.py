"""SIGINT and SIGTERM in this process: the first one stops, a second one aborts."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from netconsd.daemon.signals import StopSignals
from tests.support.daemons import process_settings

BOTH = [signal.SIGINT, signal.SIGTERM]


class Calls:
    """The signals that stopped and those that aborted."""

    def __init__(self) -> None:
        self.stops: list[signal.Signals] = []
        self.aborts: list[signal.Signals] = []

    def signals(self) -> StopSignals:
        """Install the handlers."""
        signals = StopSignals()
        signals.attach(self.stops.append, self.aborts.append)
        return signals


@pytest.fixture
def calls() -> Iterator[Calls]:
    """No calls yet; restores the handlers."""
    with process_settings():
        yield Calls()


@pytest.mark.parametrize("number", BOTH)
def test_the_first_stops_and_the_second_aborts(calls: Calls, number: signal.Signals) -> None:
    """While the reactor runs, the first signal stops and the second one of either kind aborts, both once."""
    calls.signals().reactor_runs()
    for each in (number, *BOTH):
        signal.raise_signal(each)
    assert calls.stops == [number]
    assert calls.aborts == [signal.SIGINT]


def test_signals_during_the_abort_are_ignored(calls: Calls) -> None:
    """A signal while the process logs its totals does not abort within the abort."""

    def abort(number: signal.Signals) -> None:
        calls.aborts.append(number)
        if len(calls.aborts) < 3:
            signal.raise_signal(signal.SIGTERM)

    signals = StopSignals()
    signals.attach(calls.stops.append, abort)
    signals.reactor_runs()
    signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGTERM)
    assert calls.aborts == [signal.SIGTERM]


@pytest.mark.parametrize("number", BOTH)
def test_an_early_signal_is_kept(calls: Calls, number: signal.Signals) -> None:
    """A signal before the reactor runs stops once the reactor runs, and a second one aborts in the meantime."""
    signals = calls.signals()
    signal.raise_signal(number)
    assert (calls.stops, calls.aborts) == ([], [])
    signal.raise_signal(signal.SIGTERM)
    assert calls.aborts == [signal.SIGTERM]
    signals.reactor_runs()
    assert calls.stops == [number]


def test_handlers_are_restored(calls: Calls) -> None:
    """``restore`` sets the handlers from before the construction."""
    before = [signal.getsignal(number) for number in BOTH]
    signals = calls.signals()
    assert [signal.getsignal(number) for number in BOTH] != before
    signals.reactor_runs()
    signals.restore()
    assert [signal.getsignal(number) for number in BOTH] == before


@pytest.mark.parametrize("number", BOTH)
def test_an_ignored_signal_stays_ignored(calls: Calls, number: signal.Signals) -> None:
    """A signal that a shell's script ignores for its background processes stays ignored; the other one stops."""
    signal.signal(number, signal.SIG_IGN)
    signals = calls.signals()
    signal.raise_signal(number)
    signals.reactor_runs()
    signal.raise_signal(number)
    assert calls.stops == []
    (other,) = set(BOTH) - {number}
    signal.raise_signal(other)
    assert calls.stops == [other]


def test_a_signal_while_the_reactor_begins(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal between the installation of the handlers and the check for an early signal stops once."""
    signals = calls.signals()
    install = signals._install

    def interrupted() -> None:
        install()
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(signals, "_install", interrupted)
    signals.reactor_runs()
    assert calls.stops == [signal.SIGTERM]
    assert calls.aborts == []


def test_signals_while_modules_are_loaded(calls: Calls) -> None:
    """Before the callbacks are attached, the first signal is kept, and a second one has its former effect."""
    former: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: former.append(number))
    signals = StopSignals()
    signal.raise_signal(signal.SIGTERM)
    assert (signals.first, former) == (signal.SIGTERM, [])
    signal.raise_signal(signal.SIGTERM)
    assert former == [signal.SIGTERM]


def test_a_signal_before_the_callbacks_stops(calls: Calls) -> None:
    """A signal that arrived while modules were loaded stops once the reactor runs."""
    signals = StopSignals()
    signal.raise_signal(signal.SIGINT)
    signals.attach(calls.stops.append, calls.aborts.append)
    signals.reactor_runs()
    assert (calls.stops, calls.aborts) == ([signal.SIGINT], [])
