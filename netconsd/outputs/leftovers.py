"""Names the threads that modules leave behind: they would keep the process from its end."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from twisted.internet.defer import Deferred

from netconsd.rendering import printable

# A thread that a module has told to end may need a moment.
GRACE_SECONDS = 1.0
LOOK_SECONDS = 0.05


class Leftovers:
    """The threads that began since the construction and are no daemon threads. For the reactor's thread.

    A thread is a module's if it began while the module started, or runs a function of the module's file.
    """

    def __init__(self) -> None:
        self._before = set(threading.enumerate())
        # Those that began while a module started, by that module's name.
        self._of: dict[threading.Thread, str] = {}

    def note(self, name: str) -> None:
        """Take the threads that are new since the last call for those of a module."""
        for thread in self._new():
            # The reactor ends the threads of its pool. They count as a module's while they run its function.
            if not thread.name.startswith("PoolThread-"):
                self._of.setdefault(thread, name)

    async def left(self, modules: Mapping[str, Any], reactor: Any) -> list[str]:
        """Return a text for each thread that is alive, after a moment in which it may end.

        :param modules: the stopped modules, by name.
        """
        if not self._threads(modules):
            return []
        end = reactor.seconds() + GRACE_SECONDS
        while self._threads(modules) and reactor.seconds() < end:
            moment: Deferred[None] = Deferred()
            reactor.callLater(LOOK_SECONDS, moment.callback, None)
            await moment
        return [
            f"Module {name} has left the thread {printable(thread.name)!r} running"
            for thread, name in self._threads(modules)
        ]

    def _new(self) -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread not in self._before and not thread.daemon]

    def _threads(self, modules: Mapping[str, Any]) -> list[tuple[threading.Thread, str]]:
        frames = sys._current_frames()
        owners = [
            (thread, _owner(frames.get(thread.ident or 0), modules) or self._of.get(thread)) for thread in self._new()
        ]
        # Other threads belong to the program that embeds netconsd, or to the reactor's pool, which the reactor ends.
        return [(thread, name) for thread, name in owners if name]


def _owner(frame: FrameType | None, modules: Mapping[str, Any]) -> str | None:
    """The module whose file the thread runs, by its stack."""
    files = {_file(module): name for name, module in modules.items()}
    while frame is not None:
        name = files.get(frame.f_code.co_filename)
        if name is not None:
            return name
        frame = frame.f_back
    return None


def _file(module: Any) -> str | None:
    file: str | None = getattr(module, "__file__", None)
    file = file or getattr(sys.modules.get(type(module).__module__), "__file__", None)
    # A compiled module (netconsd.outputs.native) has no Python file of its own.
    return None if file is None or Path(file).parent == Path(__file__).parent else file
