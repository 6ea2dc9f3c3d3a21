"""The files of a module with everything around them: its share of descriptors, the record, rotation and upkeep."""

from __future__ import annotations

import time

from netconsd.logger.descriptors import PROCESS
from netconsd.logger.files import LogFiles
from netconsd.logger.rotation import Rotation
from netconsd.logger.upkeep import Record, Upkeep


class KeptFiles:
    """Opens the files of a module, keeps them up, and closes them.

    ``start``, ``reload`` and ``stop`` are for the reactor's thread, the counts for any thread.
    """

    def __init__(
        self, directory: str, rotation: Rotation, *, most: int, title: str = "logger", only: str | None = None
    ) -> None:
        """
        :param most: open files at a time, if the process may open so many (:mod:`netconsd.logger.descriptors`).
        :param title: the module's name, for the log and the record.
        :param only: the only name that is written. Without it the names are recorded in the directory.
        """
        self._directory = directory
        self._rotation = rotation
        self._most = most
        self._title = title
        self._only = only
        #: Set by the start, and kept after the stop with its counts.
        self.files: LogFiles | None = None
        #: For :meth:`netconsd.logger.files.LogFiles.begin`: changes with each reload.
        self.generation = 0
        #: The thread that compresses and deletes; None if it is not needed, and after the stop.
        self.upkeep: Upkeep | None = None
        self._taken = 0

    @property
    def dropped(self) -> int:
        """Lines that could not be written since the start."""
        return sum(self.files.dropped) if self.files else 0

    def lost(self, worker: int) -> int:
        """Return how many lines of a worker could not be written since the start."""
        return self.files.dropped[worker] if self.files else 0

    def unknown_losses(self, worker: int) -> int:
        """Return how often an unknown number of lines could not be written since the start."""
        return self.files.unknown_losses[worker] if self.files else 0

    def start(self, worker_count: int) -> None:
        """Take the descriptors, open the file of ``only``, and start the upkeep if the settings need it.

        :raises OSError: if the file cannot be opened; then nothing is started or taken.
        :raises RuntimeError: if the process may open no file.
        :raises ModuleNotFoundError: if there is no library for the compression.
        """
        self._taken = PROCESS.take(self._most, self._title)
        record = Record(self._directory, self._title) if self._only is None and self._rotation.has_upkeep else None
        self.files = files = LogFiles(
            self._directory,
            self._taken,
            self._rotation,
            worker_count,
            title=self._title,
            created=record.add if record else None,
            rotated=self._rotated,
        )
        try:
            if self._only is not None:
                files.open(self._only, time.time())
            if self._rotation.has_upkeep:
                names = record.names if record else self._only_name
                shorten = record.shorten if record else None
                upkeep = Upkeep(self._directory, files, self._rotation, names, title=self._title, shorten=shorten)
                upkeep.start()
                self.upkeep = upkeep
        except BaseException:
            self.stop()
            raise

    def reload(self) -> None:
        """Have the files reopened, by each worker before its next batch."""
        self.generation += 1

    def stop(self) -> None:
        """Close the files; log the lines dropped by failures that are not over."""
        if self.upkeep:
            self.upkeep.stop()
            self.upkeep = None
        if self.files:
            self.files.stop()
        PROCESS.give_back(self._taken)
        self._taken = 0

    def _only_name(self) -> set[str]:
        return set() if self._only is None else {self._only}

    def _rotated(self, name: str) -> None:
        if self.upkeep:
            self.upkeep.rotated(name)
