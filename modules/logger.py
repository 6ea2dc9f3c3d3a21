"""Writes messages to files, one per sender.

A message is a line, as :func:`netconsd.logger.lines.log_lines` renders it::

    2026-11-22T14:04:05.123456Z [   12.345678] warn   [3 lost before] [T123] eth0: link is down

There is no ``fsync``: written lines survive the end of the daemon, not a loss of power.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from twisted.logger import Logger as Log
from zope.interface import implementer

from netconsd.interfaces import IBatchOutputModule, ICheckable, ICountsLosses, IReloadable
from netconsd.logger.checks import check_all, check_directory
from netconsd.logger.files import DIRECTORY_MODE, LogFiles
from netconsd.logger.filter import Filter
from netconsd.logger.lines import by_file
from netconsd.logger.names import SenderNames
from netconsd.logger.patterns import read
from netconsd.logger.template import ADDRESS, HOST, PORT, checked_template
from netconsd.message import Message, Source

# File names cached per worker. Bounded, because an attacker can forge any number of senders.
FILE_NAMES_LIMIT: Final = 4096

log = Log("netconsd.logger")


@implementer(IBatchOutputModule, IReloadable, ICountsLosses, ICheckable)
class Logger:
    """Writes one line per message, to one file per sender, with one write per batch and file.

    Lines that cannot be written are dropped and counted, and the failure is logged once per worker and kind; other
    files are not affected.
    """

    def __init__(
        self,
        *,
        directory: Path,
        name: str | None = None,
        max_open_files: int = 256,
        rotate_bytes: int = 0,
        rotate_keep: int = 5,
        ignore: Path | None = None,
        statistics: bool = False,
        hosts: Path | None = None,
        reverse_dns: str | None = None,
    ) -> None:
        """
        :param directory: the directory of the files; created at the start if it does not exist.
        :param name: the name of a file, with the fields ``{address}`` or ``{host}``, one of which is required, and
            ``{port}``; by default ``{address}.log``, or ``{host}.log`` if ``hosts`` or ``reverse_dns`` is set.
        :param max_open_files: open files at a time over all workers, at least one each; beyond, the file that was
            written least recently is closed.
        :param rotate_bytes: before a file would grow beyond this size, it is renamed to ``NAME.1``, ``NAME.1`` to
            ``NAME.2``, and so on; only a single larger batch makes a larger file. 0: never.
        :param rotate_keep: how many renamed files are kept.
        :param ignore: a file of patterns (:mod:`netconsd.logger.patterns`); lines that match one are dropped.
        :param statistics: whether the received and dropped messages are logged each minute.
        :param hosts: a file of names, in the format of hosts(5), for ``{host}``.
        :param reverse_dns: DNS for the names of other senders: ``system`` for the servers of /etc/resolv.conf, or the
            address of a server, with ``:PORT`` if that is not 53 (then IPv6 in brackets).
        :raises ValueError: if a setting is out of range, with a text that names the setting.
        """
        self._names = SenderNames(hosts, reverse_dns) if hosts or reverse_dns else None
        self._template = checked_template(name, has_hosts=self._names is not None)
        for setting, value, least in (
            ("max_open_files", max_open_files, 1),
            ("rotate_bytes", rotate_bytes, 0),
            ("rotate_keep", rotate_keep, 1),
        ):
            if value < least:
                raise ValueError(f"{setting}: {value} is less than {least}")
        # The daemon changes its working directory before it starts.
        self._directory = directory.absolute()
        self._max_open_files = max_open_files
        self._rotate_bytes = rotate_bytes
        self._rotate_keep = rotate_keep
        self._ignore = ignore.absolute() if ignore else None
        self._statistics = statistics
        self._filter: Filter | None = None
        self._generation = 0
        self._files: list[LogFiles] = []
        # By worker and Source.key, for the thread of that worker.
        self._file_names: list[dict[bytes, str]] = []
        #: Twisted's reactor by default; set at the start.
        self.reactor: Any = None

    @property
    def dropped_by_error(self) -> int:
        """Lines that could not be written since the start; any thread."""
        return sum(files.dropped for files in self._files)

    def lost(self, worker: int) -> int:
        """Return how many lines of a worker could not be written since the start; any thread."""
        return self._files[worker].dropped

    def check(self) -> None:
        """Test the directory, and read the files that the settings name.

        :raises ExceptionGroup: with everything for which :meth:`start` would fail.
        """
        attempts: list[Any] = [partial(check_directory, self._directory)]
        if self._names:
            attempts.append(self._names.check)
        if self._ignore:
            attempts.append(partial(read, str(self._ignore)))
        check_all(*attempts)

    def start(self, worker_count: int) -> None:
        """Create the directory, and read the files that the settings name.

        :raises RuntimeError: if the directory or a file in it cannot be created, or a file cannot be read.
        :raises ValueError: if a line of such a file is malformed.
        :raises ModuleNotFoundError: if there are patterns and no google-re2.
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
        share = max(1, self._max_open_files // worker_count)
        rotating = threading.Lock()
        self._files = [
            LogFiles(str(self._directory), share, self._rotate_bytes, self._rotate_keep, self._generation, rotating)
            for _ in range(worker_count)
        ]

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
        files = self._files[worker]
        now = messages[-1].received_at
        files.begin(self._generation, now)
        if self._filter:
            messages = self._filter.kept(worker, messages)
        if self._names:
            self._names.begin(worker, now)
        file_name = partial(self._file_name, worker, now)
        for name, group in by_file(messages, self._file_names[worker], file_name).items():
            files.append(name, group)

    def stop(self) -> None:
        """Close the files; log the lines dropped by patterns, and by failures that are not over."""
        if self._names:
            self._names.stop()
        if self._filter:
            self._filter.stop()
        for files in self._files:
            files.stop()

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
