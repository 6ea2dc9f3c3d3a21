"""Outputs.after: a function is called when every module has returned from everything before it."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from zope.interface import implementer

from netconsd.interfaces import IBatchOutputModule, IReportModule
from netconsd.message import Message
from netconsd.outputs.runner import Outputs
from netconsd.testing import crash_report, extended_message
from tests.support.scripted_lane import PATIENCE, Mailbox


@implementer(IBatchOutputModule, IReportModule)
class Gated:
    """Waits in each call until the gate is open."""

    def __init__(self, events: list[str], name: str) -> None:
        self._events = events
        self._name = name
        self.gate = threading.Event()

    def start(self, worker_count: int) -> None:
        pass

    def handle_batch(self, worker: int, messages: list[Message]) -> None:
        assert self.gate.wait(PATIENCE)
        self._events.append(f"{self._name} {len(messages)}")

    def handle_report(self, worker: int, report: Any) -> None:
        self._events.append(f"{self._name} report")

    def stop(self) -> None:
        pass


def started(reactor: Any = None, **modules: Gated) -> Outputs:
    """Return outputs with started modules."""
    outputs = Outputs(modules, 1)
    with pytest.raises(StopIteration):
        outputs.start(reactor or Mailbox()).send(None)
    return outputs


def test_a_single_module() -> None:
    """With one module, which is called in the worker's thread, the function is called at once."""
    events: list[str] = []
    module = Gated(events, "one")
    module.gate.set()
    outputs = started(one=module)
    outputs.deliver(0, [extended_message("text")])
    outputs.after(0, lambda: events.append("after"))
    assert events == ["one 1", "after"]


def test_without_modules() -> None:
    """Without modules, the function is called at once."""
    called: list[int] = []
    started().after(0, lambda: called.append(1))
    assert called == [1]


def test_the_slowest_of_several() -> None:
    """With queues, the function is called once, after the last module, and behind the reports before it."""
    events: list[str] = []
    reached = threading.Event()

    def note() -> None:
        events.append("after")
        reached.set()

    one, two = Gated(events, "one"), Gated(events, "two")
    mailbox = Mailbox()
    outputs = started(mailbox, one=one, two=two)
    try:
        outputs.deliver(0, [extended_message("text")])
        outputs.publish(0, [crash_report()])
        outputs.after(0, note)
        outputs.deliver(0, [extended_message("text"), extended_message("text")])
        one.gate.set()
        assert not reached.wait(0.05)
        two.gate.set()
        assert reached.wait(PATIENCE)
    finally:
        one.gate.set()
        two.gate.set()
        mailbox.wait_for(outputs.finish())
    before = events[: events.index("after")]
    assert before.count("one 1") == before.count("two 1") == 1
    assert before.count("one report") == before.count("two report") == 1
    assert events.count("after") == 1
