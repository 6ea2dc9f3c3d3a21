"""Reads of every message its text, its userdata and its msgid, as an output that stores or forwards them does."""

from __future__ import annotations

from zope.interface import implementer

from netconsd.interfaces import IOutputModule
from netconsd.protocol.message import ExtendedMessage, Message


@implementer(IOutputModule)
class Reads:
    """Keeps nothing but how many messages lacked something, and says so at the end, since then it measured nothing."""

    def __init__(self) -> None:
        self._lacking: list[int] = []

    def start(self, worker_count: int) -> None:
        self._lacking = [0] * worker_count

    def handle(self, worker: int, message: Message) -> None:
        text, userdata, msgid = message.text, None, None
        if isinstance(message, ExtendedMessage):
            userdata, msgid = message.userdata, message.msgid
        if not (text and userdata and msgid):
            self._lacking[worker] += 1

    def stop(self) -> None:
        if sum(self._lacking):
            raise ValueError(f"{sum(self._lacking)} messages had no text, no userdata or no msgid")
