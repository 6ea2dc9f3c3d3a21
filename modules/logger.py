"""Writes messages to files, one per sender.

A message is a line, as :func:`netconsd.logger.lines.log_lines` renders it::

    2026-11-22T14:04:05.123456Z [   12.345678] warn   [3 lost before] [T123] eth0: link is down

There is no ``fsync``: written lines survive the end of the daemon, not a loss of power.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from twisted.logger import Logger as Log
from zope.interface import implementer

from netconsd.interfaces import IBatchOutputModule, ICountsLosses, ICountsUnknownLosses, IReloadable
from netconsd.logger.descriptors import PROCESS
from netconsd.logger.files import DIRECTORY_MODE, LogFiles
from netconsd.logger.filter import Filter
from netconsd.logger.lines import by_file, log_lines
from netconsd.logger.names import SenderNames
from netconsd.logger.rotation import NEVER, Compress, checked_rotation
from netconsd.logger.template import ADDRESS, HOST, PORT, checked_template
from netconsd.logger.upkeep import Record, Upkeep
from netconsd.message import Message, Source
from netconsd.units import Duration, Size

# File names cached per worker. Bounded, because an attacker can forge any number of senders.
FILE_NAMES_LIMIT: Final = 4096

log = Log("netconsd.logger")


@implementer(IBatchOutputModule, IReloadable, ICountsLosses, ICountsUnknownLosses)
class Logger:
    """Writes one line per message, to one file per sender, with one write per batch and file.

    Lines that cannot be written are dropped and counted, and the failure is logged once per kind; other files are not
    affected.
    """

    def __init__(
        self,
        *,
        directory: Path,
        name: str | None = None,
        max_open_files: int = 256,
        rotate_bytes: Size = NEVER,
        rotate_every: Duration | None = None,
        rotate_keep: int | None = None,
        compress: Compress = "no",
        keep_age: Duration | None = None,
        keep_size: Size | None = None,
        ignore: Path | None = None,
        statistics: bool = False,
        hosts: Path | None = None,
        reverse_dns: str | None = None,
    ) -> None:
        """
        :param directory: the directory of the files; created at the start if it does not exist.
        :param name: the name of a file, with the fields ``{address}`` or ``{host}``, one of which is required, and
            ``{port}``; by default ``{address}.log``, or ``{host}.log`` if ``hosts`` or ``reverse_dns`` is set.
        :param max_open_files: open files at a time over all workers; beyond, the file that was written least recently
            is closed. Fewer if the process may not open so many (:mod:`netconsd.logger.descriptors`).
        :param rotate_bytes: before a file would grow beyond this size, it is renamed to ``NAME.1``, ``NAME.1`` to
            ``NAME.2``, and so on; only a single larger batch makes a larger file. 0: never.
        :param rotate_every: a file is also renamed before a line of the next period: 1h, 1d, 1w; a day begins at
            midnight UTC, a week on Monday.
        :param rotate_keep: how many renamed files of a name are kept: by default 5, or 1000 with ``keep_age`` or
            ``keep_size``.
        :param compress: ``gzip`` or ``zstd``: renamed files are compressed, to ``NAME.1.gz`` or ``NAME.1.zst``.
        :param keep_age: files are deleted when their last line is so old.
        :param keep_size: while all files together are larger, the ones written least recently are deleted.
        :param ignore: a file of patterns (:mod:`netconsd.logger.patterns`); lines that match one are dropped.
        :param statistics: whether the received and dropped messages are logged each minute.
        :param hosts: a file of names, in the format of hosts(5), for ``{host}``.
        :param reverse_dns: DNS for the names of other senders: ``system`` for the servers of /etc/resolv.conf, or the
            address of a server, with ``:PORT`` if that is not 53 (then IPv6 in brackets).
        :raises ValueError: if a setting is out of range, with a text that names the setting.
        """
        self._names = SenderNames(hosts, reverse_dns) if hosts or reverse_dns else None
        self._template = checked_template(name, has_hosts=self._names is not None)
        if max_open_files < 1:
            raise ValueError(f"max_open_files: {max_open_files} is less than 1")
        self._rotation = checked_rotation(rotate_bytes, rotate_every, rotate_keep, compress, keep_age, keep_size)
        # The daemon changes its working directory before it starts.
        self._directory = directory.absolute()
        self._max_open_files = max_open_files
        self._ignore = ignore.absolute() if ignore else None
        self._statistics = statistics
        self._filter: Filter | None = None
        self._generation = 0
        self._files: LogFiles | None = None
        self._open_files = 0
        self._upkeep: Upkeep | None = None
        # By worker and Source.key, for the thread of that worker.
        self._file_names: list[dict[bytes, str]] = []
        #: Twisted's reactor by default; set at the start.
        self.reactor: Any = None

    @property
    def dropped_by_error(self) -> int:
        """Lines that could not be written since the start; any thread."""
        return sum(self._files.dropped) if self._files else 0

    def lost(self, worker: int) -> int:
        """Return how many lines of a worker could not be written since the start; any thread."""
        return self._files.dropped[worker] if self._files else 0

    def unknown_losses(self, worker: int) -> int:
        """Return how often an unknown number of lines could not be written since the start; any thread."""
        return self._files.unknown_losses[worker] if self._files else 0

    def start(self, worker_count: int) -> None:
        """Create the directory, and read the files that the settings name.

        :raises RuntimeError: if the directory or a file in it cannot be created, or a file cannot be read.
        :raises ValueError: if a line of such a file is malformed.
        :raises ModuleNotFoundError: if there are patterns and no google-re2, or no library for ``compress``.
        """
        try:
            self._directory.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
            # Permissions would not show a read-only file system, and do not apply to root.
            with tempfile.TemporaryFile(dir=self._directory):
                pass
        except OSError as error:
            raise RuntimeError(f"cannot write in {self._directory}: {error.strerror}") from error
        if self._names or self._ignore or self._statistics:
            try:
                self._start_options(worker_count)
            except OSError as error:
                raise RuntimeError(_cannot_read(error)) from error
        self._file_names = [{} for _ in range(worker_count)]
        directory = str(self._directory)
        self._open_files = PROCESS.take(self._max_open_files, "logger")
        record = Record(directory, "logger") if self._rotation.has_upkeep else None
        self._files = files = LogFiles(
            directory,
            self._open_files,
            self._rotation,
            worker_count,
            created=record.add if record else None,
            rotated=self._rotated,
        )
        if record:
            self._upkeep = Upkeep(directory, files, self._rotation, record.names, shorten=record.shorten)
            self._upkeep.start()

    def reload(self) -> None:
        """Reopen files (each worker does before its next batch); read patterns and names again.

        An error in those is logged, and the previous patterns or names stay in use.
        """
        self._generation += 1
        for part in (self._filter, self._names):
            try:
                if part:
                    part.reload()
            except (OSError, ValueError) as error:
                text = _cannot_read(error) if isinstance(error, OSError) else str(error)
                log.error("logger: {text}; the previous content stays in use", text=text)

    def handle_batch(self, worker: int, messages: Sequence[Message]) -> None:
        """Append the messages to the files of their senders."""
        files = self._files
        assert files is not None, "the start precedes the first message"
        now = messages[-1].received_at
        files.begin(self._generation, now)
        if self._filter:
            messages = self._filter.kept(worker, messages)
        if self._names:
            self._names.begin(worker, now)
        file_name = partial(self._file_name, worker, now)
        for name, group in by_file(messages, self._file_names[worker], file_name).items():
            files.append(worker, name, log_lines(group), len(group), now)

    def stop(self) -> None:
        """Close the files; log the lines dropped by patterns, and by failures that are not over."""
        if self._names:
            self._names.stop()
        if self._filter:
            self._filter.stop()
        if self._upkeep:
            self._upkeep.stop()
            self._upkeep = None
        if self._files:
            self._files.stop()
            PROCESS.give_back(self._open_files)
            self._open_files = 0

    def _rotated(self, name: str) -> None:
        if self._upkeep:
            self._upkeep.rotated(name)

    def _file_name(self, worker: int, now: float, source: Source) -> str:
        """The file of a sender; senders of one address share a file if the template has no port."""
        name = self._template.replace(ADDRESS, source.address).replace(PORT, str(source.port))
        if self._names:
            # Not cached, because the name of the host may become known later.
            return name.replace(HOST, self._names.name(worker, source.address, now))
        file_names = self._file_names[worker]
        if len(file_names) >= FILE_NAMES_LIMIT:
            file_names.clear()
        file_names[source.key] = name
        return name

    def _start_options(self, worker_count: int) -> None:
        if self.reactor is None:
            from twisted.internet import reactor

            self.reactor = reactor
        if self._names:
            self._names.start(worker_count, self.reactor)
        if self._ignore or self._statistics:
            self._filter = Filter(
                self._ignore,
                self._statistics,
                dropped_by_error=lambda: self.dropped_by_error,
                worker_count=worker_count,
                reactor=self.reactor,
            )


def _cannot_read(error: OSError) -> str:
    return f"cannot read {error.filename}: {error.strerror}"
