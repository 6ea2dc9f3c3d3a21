"""Stored messages as JSON: the object of :mod:`netconsd.jsonl`, with ``id``, ``boot_id`` and ``name``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from netconsd.jsonl import to_json
from netconsd.names import Names

if TYPE_CHECKING:
    from netconsd.store.reader import Stored


class Encoder:
    """Encodes messages, and knows the names of their senders. For one thread."""

    def __init__(self, names: Names) -> None:
        self._names = names

    def message(self, stored: Stored) -> bytes:
        """Return a message as an object in ASCII."""
        message = stored.message
        self._names.learn([message])
        source = message.source
        name = json.dumps(self._names.known(source.address, source.port, message.received_at) or None)
        return (
            f'{to_json(message)[:-1].decode()},"id":{json.dumps(stored.id)},"boot_id":{stored.boot},"name":{name}}}'
        ).encode()

    def name(self, address: str, port: int, userdata: str, now: float) -> str | None:
        """Return the name of a sender.

        :param userdata: the last ones, a JSON object; empty for none.
        """
        found = str(json.loads(userdata).get(self._names.host_key, "")) if userdata and self._names.host_key else ""
        return found or self._names.known(address, port, now) or None
