"""A disk that is full, and a process that is killed, at one call of the operating system."""

from __future__ import annotations

import os
from typing import Any

#: The calls that change something, or wait for the disk.
CHANGES = ("open", "pwrite", "ftruncate", "fdatasync", "fsync", "close", "rename", "unlink", "mkdir", "rmdir")


class Killed(BaseException):
    """The process ends here."""


class FailingDisk:
    """``os``, of which the call number ``at`` of :data:`CHANGES` fails; after :class:`Killed`, all later ones too."""

    def __init__(self, at: int = -1, failure: BaseException | None = None) -> None:
        self.at = at
        self.failure = failure
        #: The names of the calls.
        self.names: list[str] = []

    @property
    def calls(self) -> int:
        """The number of calls."""
        return len(self.names)

    @property
    def step(self) -> str:
        """The call that failed, for messages of tests."""
        return f"{self.at}: {self.names[self.at] if self.at < len(self.names) else 'not reached'}"

    def __getattr__(self, name: str) -> Any:
        call = getattr(os, name)
        if name not in CHANGES:
            return call

        def called(*arguments: Any) -> Any:
            number = len(self.names)
            self.names.append(name)
            if number == self.at and self.failure is not None:
                if name == "close":
                    call(*arguments)
                if name == "pwrite":
                    # Half of it is on the disk.
                    call(arguments[0], arguments[1][: len(arguments[1]) // 2], arguments[2])
                raise self.failure
            if isinstance(self.failure, Killed) and number > self.at >= 0 and name != "close":
                raise Killed
            return call(*arguments)

        return called
