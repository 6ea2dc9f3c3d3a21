"""Modules that want to know where messages come from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail
from zope.interface import implementer

from netconsd.interfaces import IListening, IOutputModule
from netconsd.outputs.loader import ModuleError
from netconsd.outputs.runner import Outputs
from netconsd.protocol.message import Message
from netconsd.testing import RecordingModule

WHERE = [("192.0.2.1", 1514)]


@implementer(IOutputModule, IListening)
class Listening:
    """A module that is told, and answers what a test wants."""

    def __init__(self, answer: Any = None) -> None:
        self.answer = answer
        self.told: list[Sequence[tuple[str, int]]] = []

    def start(self, worker_count: int) -> None: ...
    def handle(self, worker: int, message: Message) -> None: ...
    def stop(self) -> None: ...

    def listening(self, addresses: Sequence[tuple[str, int]]) -> Any:
        self.told.append(addresses)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def told(**modules: Any) -> Deferred[None]:
    """Start the modules, and tell them."""
    outputs = Outputs(modules, 1)
    reactor: Any = None
    started = Deferred.fromCoroutine(outputs.start(reactor))
    assert started.called
    return Deferred.fromCoroutine(outputs.listening(WHERE))


def test_who_is_told() -> None:
    """Modules that ask for it are told, one after the other, each when the one before is done; others are not."""
    until: Deferred[None] = Deferred()
    first, second = Listening(until), Listening()
    done = told(first=first, other=RecordingModule(), second=second)
    assert (first.told, second.told) == ([WHERE], [])
    until.callback(None)
    assert done.called
    assert second.told == [WHERE]


@pytest.mark.parametrize("error", [OSError("no route"), fail(OSError("no route"))])
def test_who_does_not_agree(error: Any) -> None:
    """What such a module raises, at once or later, is an error that names the module."""
    done = told(first=Listening(error))
    caught: list[Any] = []
    done.addErrback(caught.append)
    assert caught[0].check(ModuleError)
    assert caught[0].getErrorMessage() == "first: OSError: no route"
