"""``netconsd crashes``: finds the crash reports in files of kernel logs (docs/tools)."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, BinaryIO, Final, cast

from netconsd.cli.crashfeed import PREFILTER, PREFILTER_JSON, Feed, Found
from netconsd.cli.following import Followed
from netconsd.cli.inputs import COLUMNS, STDIN, Progress, opened
from netconsd.cli.when import joined, time_of
from netconsd.crash.groups import Group, Groups
from netconsd.daemon.stdout import put
from netconsd.read import pstore
from netconsd.read.blocks import BLOCK
from netconsd.read.compressed import UnreadableError, errors
from netconsd.read.reader import PART_BITS, Kept, Reader, dump_entries, parts_of, reader_of
from netconsd.rendering import printable

#: Reports of a file that wait for its end, where they are sorted by line and their repeats are known. Beyond, the first
#: ones are printed with the repeats until then.
ROWS_LIMIT: Final = 1000
#: Seconds between two looks at files that are followed.
INTERVAL: Final = 0.25
_INDENT: Final = " " * 10
# Columns of a text on a terminal that is too narrow for the table: then the terminal breaks the lines.
_LEAST_ROOM: Final = 24
# The time of a report without a time of day, in groups; null in JSON.
_UNDATED: Final = 0.0

_DESCRIPTION = """
Find the crash reports in logs of Linux kernels. A file is the log of a serial console, the output of dmesg or
journalctl -k (any -o), syslog, a copy of /dev/kmsg, a file of netconsd's logger or jsonl, a dump of pstore, a recording
(JSON lines with t and data) or a capture of packets (pcap, pcapng); compressed or not. The kind is recognised by the
content.
"""
_EPILOG = """
The exit status is 0 if a report was found, 1 if none was, and 2 if a file could not be read; the other files are read.
"""


def main(arguments: Sequence[str] | None = None, prog: str = "netconsd crashes") -> int:
    """Print the reports.

    :returns: 0 if there was a report, 1 if not, 2 if a file could not be read.
    :raises SystemExit: with 2, if an option is wrong; with 1, if standard output cannot be written.
    """
    options = _parser(prog).parse_args(joined(sys.argv[1:] if arguments is None else arguments))
    if options.follow and options.groups:
        _parser(prog).error("--follow prints reports as they finish, and --groups adds up all: use one of the two")
    if options.show is not None and options.store is None:
        _parser(prog).error("--show is for a store: write --store as well")
    chosen = options.host or options.since is not None or options.until is not None
    if options.store is None and (chosen or options.reports):
        _parser(prog).error("--host, --since, --until and --reports are for a store: write --store as well")
    if options.follow and (chosen or options.reports):
        _parser(prog).error("--follow shows new reports: leave out --host, --since, --until and --reports")
    if options.reports and (options.groups or options.show is not None):
        _parser(prog).error("--reports prints each report: leave out --groups and --show")
    show = _JsonLines(prog) if options.json else _Table(prog)
    groups = _GroupOutput(prog, options.json) if options.groups else None
    if options.store is not None:
        if options.files:
            _parser(prog).error("give files or --store, not both")
        return _stored(options, prog, show)
    command = _Command(prog, groups if groups is not None else show)
    if STDIN in (options.files or [STDIN]) and os.isatty(0):
        print(f"{prog}: reads standard input; Ctrl-D ends it", file=sys.stderr)
    if options.follow:
        return command.follow(options.files or [STDIN], time.sleep, time.monotonic)
    for name in options.files or [STDIN]:
        command.read(name)
    command.read_dumps()
    if groups is not None:
        groups.finish()
    if command.status() == 1 and not options.json:
        print(f"{prog}: no crash report was found", file=sys.stderr)
    return command.status()


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=prog, description=_DESCRIPTION, epilog=_EPILOG, allow_abbrev=False)
    add = parser.add_argument
    add("--json", action="store_true", help="print one JSON object a line (docs/tools has the fields)")
    add("--groups", action="store_true", help="print the bugs: the reports of all files added up by bug")
    add("-f", "--follow", action="store_true", help="go on as files grow, are truncated or replaced, like tail -F")
    add("--store", nargs="?", const="", metavar="DIR", help="the bugs in a store [default: that of the module store]")
    add("--show", metavar="NAME", help="one bug of the store, by its id or title or a part of one, with its messages")
    add("--reports", action="store_true", help="each report of the store with its time and machine, not the bugs")
    add(
        *("--host",),
        action="append",
        default=[],
        metavar="HOST",
        help="reports in the store of an address, a network, a name with * for any characters, or userdata KEY=VALUE; "
        "repeatable",
    )
    add("-S", "--since", metavar="TIME", help='reports in the store from a time on, such as "2h", "yesterday", "07:00"')
    add("-U", "--until", metavar="TIME", help="reports in the store up to a time")
    add("files", metavar="FILE", nargs="*", help='a file to read; standard input for "-" or without a file')
    return parser


def _stored(options: argparse.Namespace, prog: str, show: _Output) -> int:
    # Here, as files are read without pyarrow.
    from netconsd.cli import storedcrashes

    now = time.time()
    parser = _parser(prog)
    since, until = (time_of(parser, f"--{name}", getattr(options, name), now) for name in ("since", "until"))
    try:
        return storedcrashes.run(
            options.store,
            prog,
            show=options.show,
            follow=options.follow,
            as_json=options.json,
            rows=show.add,
            groups=lambda groups, names: _GroupOutput(prog, options.json, groups, stored=names).finish(),
            each=options.reports,
            since=since,
            until=until,
            hosts=options.host,
        )
    except ValueError as error:
        parser.error(f"--{str(error).replace('hosts:', 'host:', 1)}")


class _Output:
    """Prints reports."""

    def __init__(self, prog: str) -> None:
        self._put: Callable[[str], None] = lambda text: put(text, prog)

    def add(self, file: str, found: Found) -> None:
        raise NotImplementedError


class _JsonLines(_Output):
    """A JSON object for each report."""

    def add(self, file: str, found: Found) -> None:
        self._put(json.dumps(_fields(file, found)))


def _fields(file: str, found: Found) -> dict[str, Any]:
    fields = found.report.fields()
    if not found.dated:
        fields["received_at"] = None
    if found.host is None or fields["source"]["address"] != found.host.partition("%")[0]:
        # Only a name is known.
        fields["source"] = None
    return {"file": file, "host": found.host, **fields, "repeats": found.repeats}


class _Table(_Output):
    """A line for each report: severity, marks, times it came, title, place."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog)
        self._headed = False
        self._width = shutil.get_terminal_size((COLUMNS, 24)).columns if sys.stdout and sys.stdout.isatty() else 0

    def add(self, file: str, found: Found) -> None:
        if not self._headed:
            self._headed = True
            self._put(f"{'severity':8}  {'kind':16}  {'count':>5}  title")
        report = found.report
        if report.first_line is not None:
            marks = [f"{printable(file)}:{report.first_line}"]
        else:  # of a store
            marks = [time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(report.received_at))]
        if found.host is not None:
            marks.append(printable(found.host))
        if report.fatal:
            marks.append("fatal")
        if report.incomplete is not None:
            marks.append(f"incomplete: {report.incomplete}")
        if report.consequence_of is not None:
            marks.append("a consequence")
        head = f"{report.severity:8}  {report.kind:16}  {1 + found.repeats:5}  "
        self._put(
            "\n".join([*_wrapped(head, report.title, self._width), *_wrapped(_INDENT, ", ".join(marks), self._width)])
        )


class _GroupOutput(_Output):
    """The bugs of all files."""

    def __init__(
        self, prog: str, as_json: bool, groups: Groups | None = None, *, stored: dict[str, str] | None = None
    ) -> None:
        """:param stored: of a store: the machines as they are shown, by address. The id of each group, by which
        ``--show`` finds it, and its last time and machine are printed."""
        super().__init__(prog)
        self._stored = stored
        self._json = as_json
        self._groups = Groups() if groups is None else groups
        self._names: dict[str, str] = {}
        self._width = shutil.get_terminal_size((COLUMNS, 24)).columns if sys.stdout and sys.stdout.isatty() else 0

    def add(self, file: str, found: Found) -> None:
        report = found.report
        if report.source is not None:
            # Machines are shown by name, or by the file that stands for one.
            self._names[report.source.address] = found.host or file
        at = report.received_at if found.dated else _UNDATED
        self._groups.add(replace(report, repeats=found.repeats, received_at=at))

    def finish(self) -> None:
        """Print the groups, those with most reports first."""
        loose = self._groups.loose
        found = sorted([*self._groups, *loose], key=lambda group: (-group.count, group.title))
        if not self._json and found:
            self._put(f"{'severity':8}  {'kind':16}  {'count':>5}  {'machines':>8}  title")
        for group in found:
            is_loose = any(group is one for one in loose)
            if self._json:
                self._put(json.dumps(self._fields(group) | {"loose": is_loose}))
            else:
                self._put(self._text(group, is_loose))

    def _fields(self, group: Group) -> dict[str, Any]:
        fields = group.fields()
        fields |= {"first": fields["first"] or None, "last": fields["last"] or None}
        machines = {self._names.get(name, name): seen for name, seen in fields["machines"].items()}
        for name, counts in (("machines", machines), ("releases", fields["releases"])):
            fields[name] = {key: [count, first or None, last or None] for key, (count, first, last) in counts.items()}
        lone = fields["lone_machine"]
        fields["lone_machine"] = None if lone is None else self._names.get(lone, lone)
        return fields

    def _text(self, group: Group, is_loose: bool) -> str:
        head = f"{group.severity:8}  {group.kind:16}  {group.count:5}  {len(group.machines):8}  "
        marks = []
        if self._stored is not None:
            last = time.strftime("%Y-%m-%d %H:%M", time.localtime(group.last))
            machine = max(group.machines, key=lambda name: group.machines[name].last, default=None)
            where = f" on {printable(self._stored.get(machine, machine))}" if machine is not None else ""
            marks.append(f"{group.id}; last {last}{where}")
        if group.releases:
            marks.append(", ".join(map(printable, group.releases)))
        if group.fatal:
            marks.append(f"{group.fatal} fatal")
        if group.incomplete:
            marks.append(
                f"{group.incomplete} incomplete" if not is_loose else "incomplete, and no whole report names it"
            )
        lone = group.lone_machine
        if lone is not None and len(self._names) > 1:
            marks.append(f"mostly on {printable(self._names.get(lone, lone))}: this machine, not the kernel")
        lines = _wrapped(head, group.title, self._width)
        if marks:
            lines += _wrapped(_INDENT, "; ".join(marks), self._width)
        return "\n".join(lines)


def _wrapped(head: str, text: str, width: int) -> list[str]:
    """Return the lines of a text behind ``head``, below each other on a terminal of this width; 0: no terminal.

    A title ends with its function: nothing is cut.
    """
    room = width - len(head)
    if not width or len(text) <= room:
        return [head + text]
    first, *rest = textwrap.wrap(text, max(room, _LEAST_ROOM), break_on_hyphens=False)
    return [head + first, *(f"{'':{len(head)}}{line}" for line in rest)]


@dataclass
class _Dump:
    """The parts of a dump of pstore in one file."""

    file: str
    parts: list[pstore.Part]


class _Command:
    """Reads files, and gives the reports to an output."""

    def __init__(self, prog: str, output: _Output) -> None:
        self._prog = prog
        self._output = output
        self._dumps: list[_Dump] = []
        self._found = False
        self._failed = False

    def status(self) -> int:
        """The exit status."""
        return 2 if self._failed else 0 if self._found else 1

    def read(self, name: str) -> None:
        """Read a file; a dump of pstore is kept for :meth:`read_dumps`."""
        shown = "standard input" if name == STDIN else name
        try:
            with opened(name) as file:
                progress = Progress(file, shown)
                counted = cast(BinaryIO, progress)
                year = time.gmtime(os.fstat(file.fileno()).st_mtime if name != STDIN else time.time()).tm_year
                try:
                    head = counted.read(BLOCK)
                    parts = parts_of(counted, head) if len(head) < BLOCK or pstore.is_pstore(head) else []
                    if parts:
                        self._dumps.append(_Dump(name, parts))
                        return
                    again = cast(BinaryIO, _Again(head, counted))
                    self._reports(name, reader_of(again, PREFILTER.find, PREFILTER_JSON.find, year=year))
                finally:
                    progress.clear()
        except UnreadableError as error:
            self._fail(f"{printable(shown)} {error}")
        except errors() as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or "ends early"
            self._fail(f"{printable(shown)}: {printable(reason)}")

    def read_dumps(self) -> None:
        """Read the dumps of pstore: the parts of a dump can be files of their own, in any order."""
        parts = [(dump.file, part) for dump in self._dumps for part in dump.parts]
        parts.sort(key=lambda item: (os.path.dirname(item[0]), item[1].count, -item[1].part))
        if parts:
            entries = dump_entries([part for _, part in parts], time.gmtime().tm_year)
            self._reports(parts[0][0], Kept(entries), [file for file, _ in parts])

    def follow(self, names: list[str], sleep: Callable[[float], object], clock: Callable[[], float]) -> int:
        """Print reports as they finish, until the ends of all pipes, or until interrupted."""
        following: list[_Following] = []
        for name in names:
            try:
                following.append(_Following(name, clock))
            except (OSError, UnreadableError) as error:
                reason = error.strerror if isinstance(error, OSError) else f"{error}"
                self._fail(f"{printable(name)}: {reason}")
        try:
            while following:
                for one in list(following):
                    try:
                        for found in one.turn():
                            self._print(one.name, found)
                    except (OSError, UnreadableError) as error:
                        self._end(one, error)
                        following.remove(one)
                    if one.ended:
                        following.remove(one)
                if following:
                    sleep(INTERVAL)
        except KeyboardInterrupt:
            for one in following:
                for found in one.feed.finish():
                    self._print(one.name, found)
        return self.status()

    def _end(self, one: _Following, error: OSError | UnreadableError) -> None:
        """Print what a file had that cannot be read any more; the others go on."""
        for found in one.feed.finish():
            self._print(one.name, found)
        reason = error.strerror if isinstance(error, OSError) else f"{error}"
        self._fail(f"{printable(one.name)}: {reason}")

    def _reports(self, name: str, reader: Reader | Kept, files: Sequence[str] = ()) -> None:
        """Print the reports of a file in the order of their first lines; a damaged file's up to the damage."""
        feed = Feed(name)
        rows: list[Found] = []
        try:
            for found in feed.read(reader):
                if found is not None:
                    rows.append(found)
                    if len(rows) > ROWS_LIMIT:
                        rows.sort(key=_first_line)
                        self._print(name, rows.pop(0), files)
        finally:
            rows += feed.finish()
            for found in sorted(rows, key=_first_line):
                self._print(name, found, files)
            shown = "standard input" if name == STDIN else printable(name)
            for fault in reader.faults():
                print(f"{self._prog}: {shown}: {fault}", file=sys.stderr)

    def _print(self, name: str, found: Found, files: Sequence[str] = ()) -> None:
        self._found = True
        report = found.report
        if files and report.first_line is not None and report.last_line is not None:
            name = files[report.first_line >> PART_BITS]
            line = (1 << PART_BITS) - 1
            found.report = replace(report, first_line=report.first_line & line, last_line=report.last_line & line)
        self._output.add(name, found)

    def _fail(self, text: str) -> None:
        self._failed = True
        print(f"{self._prog}: {text}", file=sys.stderr)


def _first_line(found: Found) -> int:
    return found.report.first_line or 0


class _Following:
    """A file that is followed, and the reports in it."""

    def __init__(self, name: str, clock: Callable[[], float]) -> None:
        self.name = name
        self.feed = Feed(name)
        self.ended = False
        self._clock = clock
        self._heard = clock()
        self._file = Followed(name)
        self._reports = self._begin()

    def turn(self) -> Iterator[Found]:
        """Yield the reports that are finished by now."""
        for found in self._reports:
            if found is None:
                break
            yield found
        else:
            if self._file.take_truncated():
                yield from self.feed.finish()
                self.feed = Feed(self.name)
            if self._file.replaced():
                # A crash can begin in one file and end in the next.
                self._reports = self._begin()
            else:
                yield from self.feed.finish()
                self.ended = True
            return
        now = self._clock()
        if self._file.take_heard():
            self._heard = now
        yield from self.feed.silence(now - self._heard)

    def _begin(self) -> Iterator[Found | None]:
        reader = Reader(self._file.read, PREFILTER.find, PREFILTER_JSON.find, year=time.gmtime().tm_year)
        return self.feed.read(reader)


class _Again:
    """A file of which the begin was already read."""

    def __init__(self, head: bytes, file: BinaryIO) -> None:
        self._head = head
        self._file = file

    def read(self, size: int) -> bytes:
        if self._head:
            data, self._head = self._head[:size], self._head[size:]
            return data
        return self._file.read(size)
