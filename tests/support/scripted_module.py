"""A module with given results."""

from __future__ import annotations

from typing import Any

from zope.interface import implementer

from netconsd.interfaces import IOutputModule, IReloadable
from netconsd.protocol.message import Message


@implementer(IOutputModule, IReloadable)
class Script:
    """A module that notes its calls, and raises or returns the given outcome of each."""

    def __init__(self, name: str, events: list[str], **outcomes: Any) -> None:
        self.name = name
        self.events = events
        self.outcomes = outcomes

    def _do(self, call: str) -> Any:
        self.events.append(f"{self.name} {call}")
        outcome = self.outcomes.get(call)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def start(self, worker_count: int) -> Any:
        return self._do("start")

    def handle(self, worker: int, message: Message) -> None:
        self._do("handle")

    def reload(self) -> None:
        self._do("reload")

    def stop(self) -> Any:
        return self._do("stop")
