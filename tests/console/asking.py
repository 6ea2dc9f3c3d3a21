"""Asks the queries of the console in the test's own process."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from netconsd.console.frames import DATA, HEAD, NOTE
from netconsd.console.messages import Encoder
from netconsd.console.queries import Reader
from netconsd.console.worker import Answer
from netconsd.names import Names
from tests.console.stores import T0


class Recorded:
    """Keeps what an answer sends."""

    def __init__(self) -> None:
        self.head: dict[str, Any] = {}
        self.notes: list[dict[str, Any]] = []
        self.data = b""

    def note(self, kind: bytes, fields: dict[str, Any]) -> None:
        if kind == HEAD:
            assert not self.head, "an answer has one head"
            self.head = fields
        else:
            assert kind == NOTE
            self.notes.append(fields)

    def send(self, kind: bytes, data: bytes) -> None:
        assert kind == DATA
        self.data += data

    def write(self, data: bytes) -> None:
        assert self.head, "data come after the head"
        self.data += data

    def flush(self) -> None:
        pass

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.data.splitlines()]

    @property
    def object(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.data)
        return found

    @property
    def texts(self) -> list[str]:
        return [line["message"]["text"] for line in self.lines if "message" in line]


Ask = Callable[..., Recorded]


def asker(
    directory: Path,
    *,
    now: float = T0 + 100,
    cancelled: Callable[[], bool] = lambda: False,
    names: Names | None = None,
) -> Ask:
    """Return a function that asks one reader."""
    reader = Reader(directory, Encoder(names or Names("host")), lambda: now)

    def ask(query: str, body: dict[str, Any] | None = None, **parameters: Any) -> Recorded:
        values = {
            name: [str(one) for one in value] if isinstance(value, list) else [str(value)]
            for name, value in parameters.items()
        }
        recorded = Recorded()
        output: Any = recorded
        reader.answer({"query": query, "parameters": values, "body": body}, Answer(output, cancelled))
        return recorded

    return ask
