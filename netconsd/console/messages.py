"""Stored messages as JSON: the object of :mod:`netconsd.jsonl`, with ``id``, ``boot_id`` and ``name``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from netconsd.console.limits import SHOWN_ADDRESSES
from netconsd.jsonl import to_json
from netconsd.names import Names

if TYPE_CHECKING:
    from netconsd.store.reader import Stored


class Encoder:
    """Encodes messages, and knows the names of their senders. For one thread."""

    def __init__(self, names: Names) -> None:
        """:param names: of the userdata, and those that the daemon sends (netconsd/console/naming.py)."""
        self.names = names
        self._shown: set[str] = set()

    def message(self, stored: Stored) -> bytes:
        """Return a message as an object in ASCII."""
        message = stored.message
        self.names.learn([message])
        source = message.source
        name = json.dumps(self._known(source.address, source.port, message.received_at))
        return (
            f'{to_json(message)[:-1].decode()},"id":{json.dumps(stored.id)},"boot_id":{stored.boot},"name":{name}}}'
        ).encode()

    def name(self, address: str, port: int, userdata: str, now: float) -> str | None:
        """Return the name of a sender.

        :param userdata: the last ones, a JSON object; empty for none.
        """
        if userdata and self.names.host_key:
            self.names.claim(address, port, str(json.loads(userdata).get(self.names.host_key, "")))
        return self._known(address, port, now)

    def shown(self) -> list[str]:
        """Return the addresses whose names were wanted since the last call, at most SHOWN_ADDRESSES: DNS is asked."""
        found, self._shown = list(self._shown), set()
        return found

    def _known(self, address: str, port: int, now: float) -> str | None:
        if len(self._shown) < SHOWN_ADDRESSES:
            self._shown.add(address)
        return self.names.known(address, port, now) or None
