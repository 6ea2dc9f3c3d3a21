"""A module that calls a library in one of its methods, in a file of its own: the file says whose a thread is."""

from __future__ import annotations

import threading
from collections.abc import Callable

from zope.interface import implementer

from netconsd.interfaces import IReloadable
from netconsd.protocol.message import Message
from netconsd.testing import RecordingModule


@implementer(IReloadable)
class Lazy(RecordingModule):
    """A module that calls a function in one of its methods."""

    def __init__(self, call: Callable[[], object], method: str) -> None:
        super().__init__()
        self._call, self._method = call, method
        self.called = threading.Event()

    def _may_call(self, method: str) -> None:
        if method == self._method:
            self._call()
            self.called.set()

    def handle(self, worker: int, message: Message) -> None:
        self._may_call("handle")

    def reload(self) -> None:
        self._may_call("reload")

    def stop(self) -> None:
        self._may_call("stop")
