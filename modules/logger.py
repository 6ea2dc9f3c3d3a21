"""Writes messages to files, one per sender.

A message is a line, as :func:`netconsd.logger.lines.log_lines` renders it::

    2026-11-22T14:04:05.123456Z [   12.345678] warn   [3 lost] [T123] eth0: link is down

There is no ``fsync``: written lines survive the end of the daemon, not a loss of power.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

from twisted.logger import Logger as Log
from zope.interface import implementer

from netconsd.crashes import Report
from netconsd.interfaces import (
    IBatchOutputModule,
    ICheckable,
    ICountsLosses,
    ICountsUnknownLosses,
    IReloadable,
    IReportModule,
    IUsesNames,
)
from netconsd.logger.checks import cannot_read, check_all, check_directory
from netconsd.logger.compression import compressor
from netconsd.logger.crashfiles import CrashFiles
from netconsd.logger.files import DIRECTORY_MODE
from netconsd.logger.filter import Filter
from netconsd.logger.findings import carrier
from netconsd.logger.kept import KeptFiles
from netconsd.logger.lines import LineForm, by_file
from netconsd.logger.patterns import read
from netconsd.logger.rotation import NEVER, Compress, checked_rotation
from netconsd.logger.selection import Level, Selection
from netconsd.logger.template import ADDRESS, HOST, PORT, checked_template
from netconsd.message import Message
from netconsd.names import Names
from netconsd.protocol.plural import plural
from netconsd.rendering import Field
from netconsd.units import Duration, Size

# File names cached per worker. Bounded, because an attacker can forge any number of senders.
FILE_NAMES_LIMIT: Final = 4096

log = Log("netconsd.logger")


@implementer(
    IBatchOutputModule, IReportModule, IReloadable, ICountsLosses, ICountsUnknownLosses, IUsesNames, ICheckable
)
class Logger:
    """Writes one line per message, to one file per sender, with one write per batch and file.

    Lines that cannot be written are dropped and counted, and the failure is logged once per kind; other files are not
    affected.
    """

    def __init__(
        self,
        *,
        directory: Path,
        name: str = "{address}.log",
        max_open_files: int = 256,
        rotate_bytes: Size = NEVER,
        rotate_every: Duration | None = None,
        rotate_keep: int | None = None,
        compress: Compress = "no",
        keep_age: Duration | None = None,
        keep_size: Size | None = None,
        ignore: Path | None = None,
        statistics: bool = False,
        crashes: bool = False,
        crashes_keep: int = 1000,
        fields: tuple[Field, ...] = (),
        sender: bool = False,
        time: Literal["utc", "local"] = "utc",
        level: Level | None = None,
        hosts: tuple[str, ...] = (),
        keep: str | None = None,
        drop: str | None = None,
    ) -> None:
        """
        :param directory: the directory of the files; created at the start if it does not exist.
        :param name: the name of a file, with the fields ``{address}`` or ``{host}``, one of which is required, and
            ``{port}``. ``{host}`` is the name of the sender (:class:`netconsd.names.Names`), otherwise its address.
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
        :param crashes: whether each crash report is written to a file of its own, in the directory ``crashes`` in
            ``directory``.
        :param crashes_keep: the most files of crash reports, of 1 MiB at most each; the oldest is removed.
        :param fields: the fields of a message at the end of its line, as far as they were sent; ``all``: every one.
        :param sender: whether each line has the sender, by name if that is known; otherwise only lines of addresses
            with several senders have it.
        :param time: ``utc``, or ``local`` with the offset from UTC.
        :param level: the least severe level to write; messages without a level are written.
        :param hosts: the senders to write, with their crash reports: addresses, networks, and names, in which ``*``
            stands for any characters. Empty: all.
        :param keep: a regular expression; other lines are not written.
        :param drop: a regular expression; lines that match are not written.
        :raises ValueError: if a setting is out of range, with a text that names the setting.
        """
        self._names = Names()
        self._template = checked_template(name)
        self._selection = Selection(level, hosts, keep, drop)
        self._fields = fields
        self._sender = sender
        self._local = time == "local"
        self._form = LineForm()
        if max_open_files < 1:
            raise ValueError(f"max_open_files: {max_open_files} is less than 1")
        self._rotation = checked_rotation(rotate_bytes, rotate_every, rotate_keep, compress, keep_age, keep_size)
        if crashes_keep < 1:
            raise ValueError(f"crashes_keep: {crashes_keep} is less than 1")
        # The daemon changes its working directory before it starts.
        self._directory = directory.absolute()
        self._kept = KeptFiles(str(self._directory), self._rotation, most=max_open_files)
        self.wants_reports = crashes
        self._crash_files = CrashFiles(self._directory / "crashes", crashes_keep)
        self._ignore = ignore.absolute() if ignore else None
        self._statistics = statistics
        self._filter: Filter | None = None
        # By worker and Source.key, for the thread of that worker.
        self._file_names: list[dict[bytes, str]] = []
        #: Twisted's reactor by default; set at the start.
        self.reactor: Any = None

    @property
    def dropped_by_error(self) -> int:
        """Lines that could not be written since the start; any thread."""
        return self._kept.dropped

    def lost(self, worker: int) -> int:
        """Return how many lines of a worker could not be written since the start; any thread."""
        return self._kept.lost(worker)

    def unknown_losses(self, worker: int) -> int:
        """Return how often an unknown number of lines could not be written since the start; any thread."""
        return self._kept.unknown_losses(worker)

    def use_names(self, names: Names) -> None:
        """Show these names of senders."""
        self._names = names

    def check(self) -> None:
        """Test the directory, and read the files that the settings name.

        :raises ExceptionGroup: with everything for which :meth:`start` would fail.
        """
        attempts: dict[str, Any] = {"directory": partial(check_directory, self._directory)}
        if self.wants_reports:
            attempts["crashes"] = partial(check_directory, self._directory / "crashes")
        if self._rotation.compress != "no":
            attempts["compress"] = partial(compressor, self._rotation.compress)
        if self._ignore:
            attempts["ignore"] = partial(read, str(self._ignore))
        check_all(**attempts)

    def start(self, worker_count: int) -> None:
        """Create the directory, and read the files that the settings name.

        :raises RuntimeError: if the directory or a file in it cannot be created, or a file cannot be read.
        :raises ValueError: if a line of such a file is malformed.
        :raises ModuleNotFoundError: if there is no library for ``compress``.
        """
        try:
            self._directory.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
            # Permissions would not show a read-only file system, and do not apply to root.
            with tempfile.TemporaryFile(dir=self._directory):
                pass
        except OSError as error:
            raise RuntimeError(f"directory: cannot write in {self._directory}: {error.strerror}") from error
        if self.wants_reports:
            try:
                self._crash_files.start()
            except OSError as error:
                raise RuntimeError(f"crashes: cannot write in {error.filename}: {error.strerror}") from error
        self._selection.start(worker_count, self._names.all_of)
        if self._ignore or self._statistics:
            try:
                self._start_options(worker_count)
            except OSError as error:
                raise RuntimeError(f"ignore: {cannot_read(error)}") from error
            except ValueError as error:
                raise ValueError(f"ignore: {error}") from error
        self._file_names = [{} for _ in range(worker_count)]
        self._form = LineForm(self._fields, local=self._local, sender=self._sender, sender_of=self._names.sender)
        self._kept.start(worker_count)

    def reload(self) -> None:
        """Reopen files (each worker does before its next batch); read patterns again.

        An error in those is logged, and the previous patterns stay in use.
        """
        self._kept.reload()
        try:
            if self._filter:
                self._filter.reload()
        except (OSError, ValueError) as error:
            text = cannot_read(error) if isinstance(error, OSError) else str(error)
            log.error("logger: {text}; the previous content stays in use", text=text)

    def handle_batch(self, worker: int, messages: Sequence[Message]) -> None:
        """Append the messages to the files of their senders."""
        files = self._kept.files
        assert files is not None, "the start precedes the first message"
        now = messages[-1].received_at
        files.begin(self._kept.generation, now)
        if self._filter:
            messages = self._filter.kept(worker, messages)
        if self._selection.active:
            messages = self._selection.kept(worker, messages)
        groups = by_file(messages, self._file_names[worker], partial(self._file_name, worker))
        files.append_groups(worker, groups, self._form, now)

    def handle_report(self, worker: int, report: Report) -> None:
        """Write a crash report to a file of its own.

        :raises OSError: if the file cannot be written.
        """
        if self._selection.is_wanted(carrier(report)):
            self._crash_files.write(report, self._names.host)

    def stop(self) -> None:
        """Close the files; log the lines dropped by patterns, and by failures that are not over."""
        if self._filter:
            self._filter.stop()
        if self._selection.hidden:
            count = plural(self._selection.hidden, "message")
            log.info("logger: {count} not written, because of level, hosts, keep or drop", count=count)
        self._kept.stop()

    def _file_name(self, worker: int, message: Message) -> str:
        """The file of a sender; senders of one address share a file if the template has no port."""
        source = message.source
        name = self._template.replace(ADDRESS, source.address).replace(PORT, str(source.port))
        if HOST in name:
            # Not cached, because the name of the host may become known later.
            return name.replace(HOST, self._names.host(message))
        file_names = self._file_names[worker]
        if len(file_names) >= FILE_NAMES_LIMIT:
            file_names.clear()
        file_names[source.key] = name
        return name

    def _start_options(self, worker_count: int) -> None:
        if self.reactor is None:
            from twisted.internet import reactor

            self.reactor = reactor
        self._filter = Filter(
            self._ignore,
            self._statistics,
            dropped_by_error=lambda: self.dropped_by_error,
            worker_count=worker_count,
            reactor=self.reactor,
        )
