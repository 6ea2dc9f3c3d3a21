"""The errors of the API."""

from __future__ import annotations

import json


class Refused(Exception):
    """A request that is answered with a status and a text that names what to change."""

    def __init__(self, status: int, text: str, field: str | None = None, *, retry: float | None = None) -> None:
        """
        :param field: the parameter that is wrong.
        :param retry: seconds after which the request can be tried again.
        """
        super().__init__(text)
        self.status = status
        self.text = text
        self.field = field
        self.retry = retry

    def body(self) -> bytes:
        """Return the JSON object of the answer."""
        found: dict[str, object] = {"error": self.text}
        if self.field is not None:
            found["field"] = self.field
        return json.dumps(found).encode()
