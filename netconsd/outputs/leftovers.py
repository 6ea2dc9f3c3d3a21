"""Names the threads that modules leave behind: they would keep the process from its end."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any
from weakref import WeakKeyDictionary

from twisted.internet.defer import Deferred

from netconsd.outputs.threadstarts import ignore, listen
from netconsd.rendering import printable

# A thread that a module has told to end may need a moment.
GRACE_SECONDS = 1.0
LOOK_SECONDS = 0.05


class Leftovers:
    """The threads that began since the construction and are no daemon threads. For the reactor's thread.

    A thread is a module's if it runs a function of the module's file, if it was started by one (through any library),
    or by another thread of the module, or if it began while the module started.
    """

    def __init__(self, modules: Mapping[str, Any] | None = None) -> None:
        """:param modules: by name; each thread that they start is noted until :meth:`stop_noting`."""
        self._before = set(threading.enumerate())
        # The module's name of the threads that began while a module started or were started by one. A module may start
        # a thread per message.
        self._of: WeakKeyDictionary[threading.Thread, str] = WeakKeyDictionary()
        self._files = _files(modules or {})
        # One object, because each look at a method makes another one.
        self._listener = self._note_start
        if modules:
            listen(self._listener)

    def stop_noting(self) -> None:
        """Note no further starts of threads."""
        ignore(self._listener)

    def _note_start(self, thread: threading.Thread) -> None:
        """Note a thread for the module by which it is started; in any thread."""
        name = _owner(sys._getframe(), self._files) or self._of.get(threading.current_thread())
        # The reactor ends the threads of its pool.
        if name is not None and not thread.name.startswith("PoolThread-"):
            self._of[thread] = name

    def note(self, name: str) -> None:
        """Take the threads that are new since the last call for those of a module."""
        for thread in self._new():
            # The reactor ends the threads of its pool. They count as a module's while they run its function.
            if not thread.name.startswith("PoolThread-"):
                self._of.setdefault(thread, name)

    async def left(self, modules: Mapping[str, Any], reactor: Any) -> list[str]:
        """Return a text for each thread that is alive, after a moment in which it may end; note no further starts.

        :param modules: the stopped modules, by name.
        """
        self.stop_noting()
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
        files = _files(modules)
        owners = [
            (thread, _owner(frames.get(thread.ident or 0), files) or self._of.get(thread)) for thread in self._new()
        ]
        # Other threads belong to the program that embeds netconsd, or to the reactor's pool, which the reactor ends.
        return [(thread, name) for thread, name in owners if name]


def _files(modules: Mapping[str, Any]) -> dict[str | None, str]:
    return {_file(module): name for name, module in modules.items()}


def _owner(frame: FrameType | None, files: Mapping[str | None, str]) -> str | None:
    """The module whose file the thread runs, by its stack."""
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
