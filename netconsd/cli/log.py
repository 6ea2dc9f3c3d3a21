"""``netconsd log``: the stored messages of a fleet, as ``journalctl`` shows those of one machine."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, get_args

from netconsd.cli.inputs import COLUMNS, broken, cut
from netconsd.cli.numbers import within
from netconsd.cli.pager import Output, is_terminal, pager_of
from netconsd.cli.storeoptions import Lookup, Place, add_names, add_store, levels, place_of, unreadable
from netconsd.cli.when import joined
from netconsd.jsonl import to_json
from netconsd.message import Message
from netconsd.names import Names
from netconsd.rendering import (
    LEVEL_COLUMN,
    LEVELS,
    Field,
    fields_text,
    marks,
    printable,
    uptime,
    zone,
)
from netconsd.store.when import moment

if TYPE_CHECKING:
    from netconsd.store.query import Progress, Query, Search
    from netconsd.store.reader import Stored

#: Messages that ``--follow`` shows first, as tail and journalctl do.
FOLLOW_LINES: Final = 10
#: Messages that ``-n`` without a number shows, as journalctl does.
LINES: Final = 10
#: Seconds between two looks for new messages.
FOLLOW_SECONDS: Final = 0.25
#: Seconds after which a search shows how far it is.
PROGRESS_SECONDS: Final = 0.5
#: Messages before and after each one; a match with more is read better with ``--since``.
CONTEXT_LIMIT: Final = 1000
#: Columns of the sender: every IPv4 address.
_SENDER_WIDTH: Final = 15
# Every IPv6 address. A longer name moves its own line.
_SENDER_LIMIT: Final = 39
# A terminal with fewer columns breaks the lines itself, as for the printer.
_LEAST_WIDTH: Final = 40
# The date and time in the format short: further lines are below the sender.
_SHORT_INDENT: Final = len("11-28 09:46:40 ")
#: The exit status after Ctrl-C, as shells define it.
_INTERRUPTED: Final = 130

_FORMATS: Final = ("short", "full", "json", "dmesg", "raw")
# As the printer's.
_LEVEL_COLORS: Final = ("1;97;41", "1;97;41", "1;31", "31", "33", "1", "", "2")
_MARK_COLOR: Final = "1;35"
_HEAD_COLOR: Final = "2"
# These have rows of their own.
_ROW_MARKS: Final = re.compile(r"\[(?:boot|\d+ lost|\d+ missing)\] ")

_DESCRIPTION = """
Show the messages of a store, the oldest first. The daemon that writes the store can run meanwhile. Times are local.
"""


def main(arguments: Sequence[str] | None = None, prog: str = "netconsd log") -> int:
    """Print messages.

    :returns: 0 if there was a message, 1 if not, 2 if the store could not be read, wholly or in part, 130 after Ctrl-C;
        what was found until then is printed.
    :raises SystemExit: with 2, if an option is wrong; with 1, if standard output cannot be written.
    """
    parser = _parser(prog)
    options = parser.parse_args(joined(sys.argv[1:] if arguments is None else arguments))
    now = time.time()
    times: dict[str, float | None] = {"since": None, "until": None}
    for name in times:
        if getattr(options, name) is not None:
            try:
                times[name] = moment(getattr(options, name), now)
            except ValueError as error:
                parser.error(f"--{name}: {error}")
    if options.follow and (options.reverse or options.until is not None):
        parser.error("--follow shows new messages: leave out --reverse and --until")
    if options.follow and options.boot not in (None, 0):
        parser.error("--follow shows new messages, which are of the last boot: leave out --boot, or write --boot 0")
    if options.fields and options.output not in (None, "short", "full"):
        parser.error("--fields is for the formats short and full; json has all fields")
    if options.follow and options.context:
        parser.error("--context needs the messages after a match: leave out --follow")
    try:
        from netconsd.store.query import Query
    except ModuleNotFoundError as error:
        if error.name != "pyarrow":
            raise
        print(f'{prog}: needs pyarrow, which is not installed: pip install "netconsd[store]"', file=sys.stderr)
        return 2
    level_from, level = options.level or (0, None)
    try:
        query = Query(
            times["since"],
            times["until"],
            tuple(options.host),
            level,
            options.grep,
            options.exclude,
            None,
            options.boot,
            options.release,
            level_from=level_from,
        )
    except ValueError as error:
        parser.error(f"--{str(error).replace('hosts:', 'host:', 1)}")
    return _Log(options, query, place_of(options, prog), prog).run()


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=prog, description=_DESCRIPTION, allow_abbrev=False)
    add = parser.add_argument
    add_store(parser)
    add(
        *("--host",),
        action="append",
        default=[],
        metavar="HOST",
        help="messages of an address, a network, a name with * for any characters, or with userdata KEY=VALUE; "
        "repeatable: of any of them",
    )
    add(
        *("-p", "--level"),
        type=levels,
        metavar="LEVEL",
        help=f"messages of this level or a more severe one ({', '.join(LEVELS)}; or 0 to 7), or of a range: err..info",
    )
    add("-S", "--since", metavar="TIME", help='from a time on, such as "2h", "yesterday", "2026-11-28 07:00", "07:00"')
    add("-U", "--until", metavar="TIME", help="up to a time")
    add("-g", "--grep", metavar="REGEX", help="messages that match (RE2); without an upper-case letter in any case")
    add("--exclude", metavar="REGEX", help="messages that do not match")
    add(
        *("-b", "--boot"),
        nargs="?",
        const=0,
        type=_boot,
        metavar="N",
        help="of the last boot of each machine, of the one before with -1, or of the boot with this id",
    )
    add("--release", metavar="RELEASE", help="of kernels of a release: 7.3 is 7.3.4 as well; * for any characters")
    add(
        *("-n", "--lines"),
        nargs="?",
        const=LINES,
        type=within(int, 0, 10**9),
        metavar="N",
        help=f"the newest ones, at most so many [without a number: {LINES}]",
    )
    add("-r", "--reverse", action="store_true", help="the newest first")
    add("-f", "--follow", action="store_true", help=f"show new messages as well, after the last {FOLLOW_LINES} or -n")
    add("-o", "--output", choices=_FORMATS, help="the format [default: full; short on a narrow terminal]")
    add(
        *("--context",),
        type=within(int, 0, CONTEXT_LIMIT),
        default=0,
        metavar="N",
        help="with the messages of the machine before and after each one",
    )
    add(
        *("--fields",),
        type=_fields,
        default=(),
        metavar="NAME,...",
        help=f"these fields at the end of a line: {', '.join(get_args(Field))}",
    )
    add_names(parser)
    add("--color", choices=("auto", "always", "never"), default="auto", help="[default: auto]")
    add("--no-pager", action="store_true", help="write to the terminal itself")
    return parser


def _boot(text: str) -> int:
    if not re.fullmatch(r"-?\d{1,12}", text, re.ASCII) or 0 < int(text) < 1_000_000:
        raise argparse.ArgumentTypeError(f"{text} is not a boot: write 0, -1 and so on, or the id of a boot")
    return int(text)


def _fields(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    for name in names:
        if name not in get_args(Field):
            raise argparse.ArgumentTypeError(f"{name} is not one of {', '.join(get_args(Field))}")
    return names


class _Log:
    def __init__(self, options: argparse.Namespace, query: Query, place: Place, prog: str) -> None:
        self._options = options
        self._query = query
        self._directory = place.directory
        self._lookup = Lookup(place.names)
        self._prog = prog
        self._interrupted = False
        self._damaged = False
        self._found = False
        terminal = is_terminal()
        width = shutil.get_terminal_size((COLUMNS, 24)).columns if terminal else 0
        format = options.output or ("short" if 0 < width < 120 else "full")
        colored = options.color == "always" or (options.color == "auto" and terminal and not os.environ.get("NO_COLOR"))
        self._lines = Lines(format, colored, options.fields, place.names, reverse=options.reverse, width=width)
        pager = "" if options.no_pager or options.follow else pager_of(os.environ, is_terminal)
        self._output = Output(prog, pager)
        self._progress = _ProgressLine(self._output)

    def run(self) -> int:
        from netconsd.store.query import Files

        previous = signal.signal(signal.SIGINT, self._interrupt)
        try:
            with self._lookup.running():
                files = Files(self._directory, self._name)
                self._query = replace(self._query, hosts=self._lookup.chosen(self._query.hosts, self._senders))
                if self._options.follow:
                    self._follow(files)
                else:
                    self._show(self._search_all(files))
        except OSError as error:
            self._progress.clear()
            print(f"{self._prog}: {unreadable(error, self._directory)}", file=sys.stderr)
            return 2
        finally:
            self._progress.clear()
            self._output.finish()
            signal.signal(signal.SIGINT, previous)
        if self._interrupted and not self._options.follow:
            return _INTERRUPTED
        if not (self._found or self._damaged or self._options.follow):
            print(f"{self._prog}: no message was found", file=sys.stderr)
        return 2 if self._damaged else 0 if self._found else 1

    def _senders(self) -> list[str]:
        from netconsd.store.reader import Store

        hosts = Store(self._directory).hosts(since=self._query.since, until=self._query.until)
        return list({host.address: None for host in hosts})

    def _interrupt(self, *_: object) -> None:
        if self._interrupted:
            raise KeyboardInterrupt
        # The search ends, and what it found is printed.
        self._interrupted = True

    def _ended(self) -> bool:
        return self._interrupted or self._output.closed

    def _name(self, text: str, messages: int) -> None:
        self._damaged = True
        self._progress.clear()
        count = f" ({messages} of them)" if messages else ""
        print(f"{self._prog}: {printable(text)}{count}", file=sys.stderr)

    def _search(self, files: Any, query: Query, *, newest_first: bool, limit: int | None) -> Search:
        from netconsd.store.query import Search

        return Search(
            files,
            query,
            newest_first=newest_first,
            limit=limit,
            progress=self._progress.show,
            cancelled=self._ended,
        )

    def _search_all(self, files: Any) -> Iterator[Stored | None]:
        """Yield the messages in the order in which they are shown; None between groups of context."""
        reverse, limit = self._options.reverse, self._options.lines
        if self._options.context:
            return self._with_context(files)
        return self._ordered(
            self._search(files, self._query, newest_first=reverse or limit is not None, limit=limit),
            reverse or limit is None,
        )

    def _with_context(self, files: Any) -> Iterator[Stored | None]:
        from netconsd.store.query import Query

        reverse, limit, size = self._options.reverse, self._options.lines, self._options.context
        search = self._search(files, self._query, newest_first=reverse or limit is not None, limit=limit)
        # The newest messages that were shown, so that groups that overlap repeat nothing.
        shown: deque[str] = deque(maxlen=16 * (2 * size + 1))
        last: str | None = None
        for match in self._ordered(search, reverse or limit is None):
            if match is None or self._ended():
                return
            at, host = match.message.received_at, match.message.source.address

            def near(since: float | None, until: float | None, newest_first: bool, match: Stored = match) -> list[Any]:
                """Return the messages beside the match, which is the first or last of its time."""
                around = Query(since, until, (match.message.source.address,))
                # Messages of the same time can be on the other side.
                found = self._ordered(self._search(files, around, newest_first=newest_first, limit=None), True)
                taken: list[Stored] = []
                passed = False
                for each in found:
                    if passed and each is not None:
                        taken.append(each)
                        if len(taken) == size:
                            break
                    passed = passed or each == match
                return taken

            group = [*reversed(near(None, at, True)), match, *near(at, None, False)]
            new = [each for each in group if each.id not in shown]
            if reverse:
                new.reverse()
            if not new:
                continue
            if last is not None and (last != host or len(new) == len(group)):
                yield None
            last = host
            shown.extend(each.id for each in new)
            yield from new

    def _show(self, found: Iterable[Stored | None]) -> None:
        for each in found:
            if self._output.closed:
                return
            self._progress.clear()
            self._found = self._found or each is not None
            self._output.write(b"--\n" if each is None else self._lines.of(each))

    def _follow(self, files: Any) -> None:
        from netconsd.store.follow import Follow

        limit = self._options.lines
        if limit is None and self._query.since is None:
            limit = FOLLOW_LINES
        follow = Follow(files, self._query, time.time)
        try:

            def noted(search: Search) -> Iterator[Any]:
                for rows in search:
                    follow.known(rows)
                    yield rows

            search = self._search(files, self._query, newest_first=limit is not None, limit=limit)
            self._show(self._ordered(noted(search), limit is None))
            self._progress.clear()
            while not self._ended():
                rows = follow.poll()
                if rows is not None:
                    self._show(self._ordered([rows], True))
                else:
                    time.sleep(FOLLOW_SECONDS)
        finally:
            follow.close()

    def _ordered(self, search: Iterable[Any], as_found: bool) -> Iterator[Stored | None]:
        """Yield the messages of tables, as they are found, or in the opposite order at the end."""
        from netconsd.store.reader import stored

        for rows in search if as_found else reversed(list(search)):
            self._lookup.wait(rows.column("host").unique().to_pylist())
            found = stored(rows)
            yield from found if as_found else reversed(list(found))


class Lines:
    """Makes the lines of messages in a format. For one thread."""

    def __init__(
        self,
        format: str,
        colored: bool,
        fields: Sequence[Any] = (),
        names: Names | None = None,
        *,
        reverse: bool = False,
        width: int = 0,
    ) -> None:
        """
        :param reverse: the messages are the newest first, so that a loss is a row after the message.
        :param width: columns of a terminal, in which the formats full and short break long lines, so that a text cannot
            look like another message; 0 for none.
        """
        self._of: Callable[[Stored], bytes] = getattr(self, f"_{format}")
        self._colored = colored
        self._fields = fields
        self._reverse = reverse
        self._names = Names() if names is None else names
        self._sender_width = _SENDER_WIDTH
        self._width = width if width >= _LEAST_WIDTH else 0

    def of(self, stored: Stored) -> bytes:
        """Return the lines of a message, with the rows of a boot and of lost messages before it."""
        # As the printer shows them: later messages without userdata have the name as well.
        self._names.learn((stored.message,))
        return self._of(stored)

    def of_message(self, message: Message) -> bytes:
        """Return the lines of a message that has no place in a store; for the formats full, short and dmesg."""
        from netconsd.store.reader import Stored

        return self._of(Stored(message, 0, None))

    def _json(self, stored: Stored) -> bytes:
        identity = json.dumps(stored.id).encode()
        return b'%b,"id":%b,"boot_id":%d}\n' % (to_json(stored.message)[:-1], identity, stored.boot)

    def _raw(self, stored: Stored) -> bytes:
        raw = stored.message.raw
        return raw if raw.endswith(b"\n") else raw + b"\n"

    def _dmesg(self, stored: Stored) -> bytes:
        message = stored.message
        caller = "" if message.caller is None else f"[{printable(message.caller):>6}] "
        lines = [f"{uptime(message.ts_usec)} {caller}{printable(line)}" for line in _split(message)]
        return self._encoded(stored, lines)

    def _full(self, stored: Stored) -> bytes:
        message = stored.message
        local = time.localtime(message.received_at)
        micros = int(message.received_at * 1000) % 1000
        stamp = f"{time.strftime('%Y-%m-%d %H:%M:%S', local)}.{micros:03d}{zone(local)}"
        caller = "" if message.caller is None else f"[{printable(message.caller)}] "
        return self._person(stored, f"{stamp} {self._sender(message)} {uptime(message.ts_usec):>14} ", 0, caller)

    def _short(self, stored: Stored) -> bytes:
        stamp = time.strftime("%m-%d %H:%M:%S", time.localtime(stored.message.received_at))
        return self._person(stored, f"{stamp} {self._sender(stored.message)} ", _SHORT_INDENT, "")

    def _sender(self, message: Message) -> str:
        sender = printable(self._names.sender(message))
        self._sender_width = max(self._sender_width, min(len(sender), _SENDER_LIMIT))
        return f"{sender:<{self._sender_width}}"

    def _person(self, stored: Stored, head: str, indent: int, caller: str) -> bytes:
        """:param indent: of further lines on a terminal; 0 for that of the text."""
        message = stored.message
        color = _LEVEL_COLORS[6 if message.level is None else message.level]
        level = LEVEL_COLUMN[message.level]
        mark = _ROW_MARKS.sub("", marks(message))
        column = len(head) + len(level) + 1
        indent = indent if indent and self._width else column
        first, *rest = [printable(line) for line in _split(message)]
        first, *more = broken(first, self._width, column + len(mark) + len(caller), indent)
        # Indented, so that a text cannot look like another message.
        rest = [*more, *(part for line in rest for part in broken(line, self._width, indent, indent))]
        lines = [
            self._paint(_HEAD_COLOR, head)
            + self._paint(color, level)
            + " "
            + self._paint(_MARK_COLOR, mark)
            + caller
            + self._paint(color, first)
        ]
        lines += [" " * indent + self._paint(color, line) for line in rest]
        if self._fields:
            fields = fields_text(message, self._fields)
            if not self._width:
                lines[0] += self._paint(_HEAD_COLOR, fields)
            elif fields:
                below = broken(fields.lstrip(), self._width, indent, indent)
                lines += [" " * indent + self._paint(_HEAD_COLOR, line) for line in below]
        return self._encoded(stored, lines)

    def _encoded(self, stored: Stored, lines: list[str]) -> bytes:
        rows = [self._paint(_MARK_COLOR, row) for row in self._rows(stored)]
        lines = [*lines, *reversed(rows)] if self._reverse else [*rows, *lines]
        return "".join(f"{line}\n" for line in lines).encode()

    def _rows(self, stored: Stored) -> list[str]:
        """Return the rows of their own: lost messages, then a boot."""
        message = stored.message
        sender = printable(self._names.sender(message))
        rows = []
        lost, likely = getattr(message, "lost", None), getattr(message, "likely_lost", 0)
        if lost:
            rows.append(f"-- {sender}: {lost} lost --")
        elif lost is None and likely:
            rows.append(f"-- {sender}: {likely} missing --")
        if message.boot:
            rows.append(f"-- {sender}: booted --")
        return rows

    def _paint(self, color: str, text: str) -> str:
        return f"\x1b[{color}m{text}\x1b[0m" if self._colored and color and text else text


def _split(message: Message) -> list[str]:
    return message.text.rstrip("\n").split("\n")


class _ProgressLine:
    """The line on the terminal that says how far a search is, before its first message."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._begun = time.monotonic()
        self._shown = False
        self._active = sys.stderr is not None and sys.stderr.isatty()

    def show(self, progress: Progress) -> None:
        """Show how far the search is, if it is long."""
        if not self._active or self._output.paged or time.monotonic() - self._begun < PROGRESS_SECONDS:
            return
        stamp = time.strftime("%m-%d %H:%M", time.localtime(max(0.0, min(progress.reached, 1e11))))
        text = f"searched to {stamp}, {progress.done:,} of {progress.total:,} segments; Ctrl-C ends the search"
        width = shutil.get_terminal_size((COLUMNS, 24)).columns
        print(f"\r\x1b[K{cut(text, width - 1)}", end="", file=sys.stderr, flush=True)
        self._shown = True

    def clear(self) -> None:
        """Take the line away."""
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
            self._shown = False
        self._begun = time.monotonic()
