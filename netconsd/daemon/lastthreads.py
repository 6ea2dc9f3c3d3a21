"""Ends a process whose stop is complete, but which a thread of a module would keep from its end."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from twisted.logger import Logger, LogPublisher, globalLogPublisher

from netconsd.rendering import printable

# Seconds from the end of the stop to the end of the process: normally some milliseconds.
END_SECONDS = 2.0


def end_despite_threads(
    end: Callable[[], object],
    *,
    sleep: Callable[[float], object] = time.sleep,
    thread: Callable[..., Any] = threading.Thread,
) -> None:
    """Watch the end of the process, in a thread: after :data:`END_SECONDS` log what keeps it, and call ``end``.

    The log is that of the call: when the reactor has stopped, twistd removes it, and Python waits for threads after
    that. Python waits for every thread that is no daemon thread, and the reactor for its pool: for ever, if a module's
    function does not return there.
    """

    log = Logger("netconsd", observer=LogPublisher(*globalLogPublisher._observers))

    def watch() -> None:
        sleep(END_SECONDS)
        log.warn(
            "netconsd has stopped, and ends without waiting for {threads}", threads=", ".join(_remaining()) or "its end"
        )
        end()

    # RuntimeError: the system has no more threads; a second signal still ends the process.
    with suppress(RuntimeError):
        thread(target=watch, name="netconsd-end", daemon=True).start()


def _remaining() -> list[str]:
    """The threads that keep the process, each with the line that it executes."""
    frames = sys._current_frames()
    texts = []
    for thread in threading.enumerate():
        frame = frames.get(thread.ident or 0)
        if thread is not threading.main_thread() and not thread.daemon and frame is not None:
            # The innermost line is mostly in a library: the outermost ones but those of threading name the module.
            places = []
            while frame is not None:
                if not frame.f_code.co_filename.endswith(("/threading.py", "/_threads/_threadworker.py")):
                    places.append(f"{frame.f_code.co_filename}:{frame.f_lineno}")
                frame = frame.f_back
            texts.append(f"the thread {printable(thread.name)!r}" + (f" ({places[0]})" if places else ""))
    return texts
