"""A library that starts a thread lazily, in a file of its own: the thread's stack has no line of a module."""

from __future__ import annotations

import threading

from tests.support.scripted_lane import PATIENCE


class Library:
    """A library with a worker thread whose stack has no line of a module: that of an Event only."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.threads: list[threading.Thread] = []

    def send(self) -> None:
        """Start the thread, as with the first message that is sent."""
        # By default a thread is a daemon thread if the one that makes it is.
        thread = threading.Thread(target=self.release.wait, args=(PATIENCE,), name="sender", daemon=False)
        self.threads.append(thread)
        thread.start()

    def send_by_another(self) -> None:
        """Start a thread that starts the thread and ends."""
        first = threading.Thread(target=self.send)
        first.start()
        first.join(PATIENCE)
