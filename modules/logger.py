"""Writes messages to files, one per sender.

A message is a line, and a line is a message, as :func:`netconsd.logger.lines.log_lines` has it::

    2026-11-22T14:04:05.123456Z [   12.345678] warn   [3 lost before] [T123] eth0: link is down

Nothing is synchronised to the disk (``fsync``): what is written survives the daemon, not a loss of power.
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

from netconsd.interfaces import IBatchOutputModule, ICountsLosses, IReloadable
from netconsd.logger.files import DIRECTORY_MODE, LogFiles
from netconsd.logger.filter import Intake
from netconsd.logger.lines import by_file
from netconsd.logger.names import Naming
from netconsd.logger.template import HOST, check_template
from netconsd.protocol.message import Message, Source

# How many names of files a worker remembers. Senders are as many as somebody forges.
NAMES: Final = 4096

log = Log("netconsd.logger")


@implementer(IBatchOutputModule, IReloadable, ICountsLosses)
class Logger:
    """One line per message, one file per sender, one write per batch and file.

    What cannot be written is lost, counted and said once per worker and kind of trouble; it touches no other file.
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
        :param directory: where the files are; it is made if need be.
        :param name: the name of a file, with the fields ``{address}`` or ``{host}``, of which one is required, and
            ``{port}``; by default ``{address}.log``, and ``{host}.log`` with one of the last two settings.
        :param max_open_files: how many files are open at a time, over all workers, at least one each; beyond that,
            the one that was written longest ago is closed.
        :param rotate_bytes: before a file would grow beyond this, it is renamed to ``NAME.1``, that to ``NAME.2``, and
            so on; only a batch that is larger by itself makes a larger file. 0: never.
        :param rotate_keep: how many of the renamed files are kept.
        :param ignore: a file of patterns (:mod:`netconsd.logger.patterns`); lines that match one are dropped.
        :param statistics: whether a line about what was received, dropped and lost is logged each minute.
        :param hosts: a file of names, in the format of hosts(5), for ``{host}``.
        :param reverse_dns: where to ask for the names of other senders: ``system`` for the servers of
            /etc/resolv.conf, or the address of a server, with ``:PORT`` if that is not 53 (IPv6 in brackets then).
        :raises ValueError: if one of them is out of range, with a text that names it.
        """
        naming = Naming(hosts, reverse_dns) if hosts or reverse_dns else None
        if name is None:
            name = "{host}.log" if naming else "{address}.log"
        check_template(name)
        if naming and HOST not in name:
            raise ValueError(f'name: "{name}" does not contain {{host}}, which hosts and reverse_dns are for')
        if HOST in name and not naming:
            raise ValueError(f'name: "{name}" contains {{host}}: set hosts or reverse_dns, or take {{address}}')
        for setting, value, least in (
            ("max_open_files", max_open_files, 1),
            ("rotate_bytes", rotate_bytes, 0),
            ("rotate_keep", rotate_keep, 1),
        ):
            if value < least:
                raise ValueError(f"{setting}: {value} is less than {least}")
        # The daemon changes its working directory before it starts.
        self._directory = directory.absolute()
        self._name = name
        self._max_open_files = max_open_files
        self._rotate_bytes = rotate_bytes
        self._rotate_keep = rotate_keep
        self._ignore = ignore.absolute() if ignore else None
        self._statistics = statistics
        self._naming = naming
        self._generation = 0
        self._workers: list[LogFiles] = []
        # By worker and Source.key, for the thread of that worker.
        self._names: list[dict[bytes, str]] = []
        self._intake: Intake | None = None
        #: By default the installed one, from the start on.
        self.reactor: Any = None

    @property
    def dropped_lines(self) -> int:
        """How many lines matched a pattern since the start; read it in any thread."""
        return self._intake.dropped if self._intake else 0

    @property
    def lost_lines(self) -> int:
        """How many lines could not be written since the start; read it in any thread."""
        return sum(map(self.lost, range(len(self._workers))))

    def lost(self, worker: int) -> int:
        """How many lines of a worker could not be written since the start; read it in any thread."""
        return self._workers[worker].lost_lines

    def start(self, worker_count: int) -> None:
        """Make the directory, and read the files that the settings name.

        :raises RuntimeError: if it cannot be made, no file can be made in it, or a file cannot be read.
        :raises ValueError: if a line of such a file is wrong.
        :raises ModuleNotFoundError: if there are patterns and no google-re2.
        """
        try:
            self._directory.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
            # Asking for permissions would not find a read-only file system, nor mean much to root.
            with tempfile.TemporaryFile(dir=self._directory):
                pass
        except OSError as error:
            raise RuntimeError(f"cannot write in {self._directory}: {error.strerror}") from error
        if self._naming or self._ignore or self._statistics:
            try:
                self._start_options(worker_count)
            except OSError as error:
                raise RuntimeError(_cannot_read(error)) from error
        self._names = [{} for _ in range(worker_count)]
        share = max(1, self._max_open_files // worker_count)
        rotating = threading.Lock()
        self._workers = [
            LogFiles(str(self._directory), share, self._rotate_bytes, self._rotate_keep, self._generation, rotating)
            for _ in range(worker_count)
        ]

    def reload(self) -> None:
        """Open files anew: each worker does, before its next batch. Read patterns and names anew.

        If something is wrong with those, that is logged, and what was read before stays.
        """
        self._generation += 1
        for read in (self._intake, self._naming):
            try:
                if read:
                    read.reload()
            except (OSError, ValueError) as error:
                words = _cannot_read(error) if isinstance(error, OSError) else str(error)
                log.error("logger: {words}; what was read before stays", words=words)

    def handle_batch(self, worker: int, messages: Sequence[Message]) -> None:
        """Append the messages to the files of their senders."""
        files = self._workers[worker]
        now = messages[-1].received_at
        files.begin(self._generation, now)
        if self._intake:
            messages = self._intake.admitted(worker, messages)
        naming = self._naming
        if naming:
            naming.begin(worker, now)
        for name, group in by_file(messages, self._names[worker], partial(self._name_of, worker, now)).items():
            files.append(name, group)

    def _name_of(self, worker: int, now: float, source: Source) -> str:
        """The file of a sender. Two can have one, as a name without {port} leaves the port out."""
        name = self._name.replace("{address}", source.address).replace("{port}", str(source.port))
        if self._naming:
            # Not remembered: the host's name may be found meanwhile.
            return name.replace(HOST, self._naming.name(worker, source.address, now))
        names = self._names[worker]
        if len(names) >= NAMES:
            names.clear()
        names[source.key] = name
        return name

    def stop(self) -> None:
        """Close the files, and say what was dropped, and what was lost to a trouble that is not over."""
        if self._naming:
            self._naming.stop()
        if self._intake:
            self._intake.stop()
        for files in self._workers:
            files.stop()

    def _start_options(self, worker_count: int) -> None:
        if self.reactor is None:
            from twisted.internet import reactor

            self.reactor = reactor
        if self._naming:
            self._naming.start(worker_count, self.reactor)
        if self._ignore or self._statistics:
            self._intake = Intake(
                self._ignore,
                self._statistics,
                lost=lambda: self.lost_lines,
                worker_count=worker_count,
                reactor=self.reactor,
            )


def _cannot_read(error: OSError) -> str:
    return f"cannot read {error.filename}: {error.strerror}"
