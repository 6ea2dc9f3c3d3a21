"""Reads text, userdata and msgid of every message, like a module that stores or forwards them."""

from __future__ import annotations

from zope.interface import implementer

from netconsd.interfaces import IOutputModule
from netconsd.protocol.message import ExtendedMessage, Message


@implementer(IOutputModule)
class Reads:
    """Counts messages that lack one of them, and fails at the end if there are any: the load was wrong."""

    def __init__(self) -> None:
        self._incomplete: list[int] = []

    def start(self, worker_count: int) -> None:
        self._incomplete = [0] * worker_count

    def handle(self, worker: int, message: Message) -> None:
        text, userdata, msgid = message.text, None, None
        if isinstance(message, ExtendedMessage):
            userdata, msgid = message.userdata, message.msgid
        if not (text and userdata and msgid):
            self._incomplete[worker] += 1

    def stop(self) -> None:
        if sum(self._incomplete):
            raise ValueError(f"{sum(self._incomplete)} messages had no text, no userdata or no msgid")
