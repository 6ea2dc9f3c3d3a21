"""The bugs that people muted in the console, by the decisions in the store's directory."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from netconsd.store import triage


class Muted:
    """Says which titles are muted. The decisions are read again when their file changed. For one thread."""

    def __init__(self, store: Path | None, warn: Callable[[str], object] = lambda text: None) -> None:
        """
        :param store: the directory of the store; without one nothing is muted.
        """
        self._store = store
        self._warn = warn
        self._read: tuple[int, int] | None = None
        self._state = triage.State()
        self._warned = False

    def __call__(self, names: Iterable[str]) -> bool:
        """Return whether a bug is muted.

        :param names: the title of its report, and the alternatives.
        """
        if self._store is not None:
            self._look(self._store)
        return self._state.is_muted(names)

    def _look(self, store: Path) -> None:
        path = store / triage.NAME
        try:
            status = path.stat()
            found = status.st_ino, status.st_size
            if found != self._read:
                self._state = triage.state_of(triage.read(store)[0])
                self._read = found
        except FileNotFoundError:
            self._read, self._state = None, triage.State()
        except OSError as error:
            # What was read before holds; without it, an alert too many is better than one too few.
            if not self._warned:
                self._warned = True
                self._warn(f"cannot read what is muted: {error}")
