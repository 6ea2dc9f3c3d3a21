"""Modules that provide IListening."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail
from zope.interface import implementer

from netconsd.interfaces import IListening, IOutputModule
from netconsd.outputs.loader import ModuleError
from netconsd.protocol.message import Message
from netconsd.testing import RecordingModule
from tests.support.outputs import Synchronous

WHERE = [("192.0.2.1", 1514)]


@implementer(IOutputModule, IListening)
class Listening:
    """A module that keeps the addresses, and returns or raises the given answer."""

    def __init__(self, answer: Any = None) -> None:
        self.answer = answer
        self.addresses: list[Sequence[tuple[str, int]]] = []

    def start(self, worker_count: int) -> None: ...
    def handle(self, worker: int, message: Message) -> None: ...
    def stop(self) -> None: ...

    def listening(self, addresses: Sequence[tuple[str, int]]) -> Any:
        self.addresses.append(addresses)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def listening(**modules: Any) -> Deferred[None]:
    """Start the modules, and call ``listening``."""
    outputs = Synchronous(modules, 1)
    reactor: Any = None
    started = Deferred.fromCoroutine(outputs.start(reactor))
    assert started.called
    return Deferred.fromCoroutine(outputs.listening(WHERE))


def test_listening_modules_are_called_in_order() -> None:
    """Modules with IListening are called one after the other, each when the one before is done."""
    until: Deferred[None] = Deferred()
    first, second = Listening(until), Listening()
    done = listening(first=first, other=RecordingModule(), second=second)
    assert (first.addresses, second.addresses) == ([WHERE], [])
    until.callback(None)
    assert done.called
    assert second.addresses == [WHERE]


@pytest.mark.parametrize("error", [OSError("no route"), fail(OSError("no route"))])
def test_a_module_that_fails(error: Any) -> None:
    """An exception, at once or later, becomes a ModuleError that names the module."""
    done = listening(first=Listening(error))
    caught: list[Any] = []
    done.addErrback(caught.append)
    assert caught[0].check(ModuleError)
    assert caught[0].getErrorMessage() == "first: no route"
