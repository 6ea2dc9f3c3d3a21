"""``netconsd replay``: sends files of kernel logs through workers into output modules (docs/tools)."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.error import ReactorNotRunning
from twisted.internet.task import deferLater
from twisted.logger import (
    FilteringLogObserver,
    ILogFilterPredicate,
    LogEvent,
    Logger,
    PredicateResult,
    globalLogBeginner,
    textFileLogObserver,
)
from twisted.python.failure import Failure
from zope.interface import provider

from netconsd.cli.inputs import STDIN, Bar, Progress, opened
from netconsd.cli.replayfeed import Feed
from netconsd.cli.storeoptions import LIBRARY_MISSING, has_library
from netconsd.crash.watch import watches
from netconsd.daemon.config import Configuration
from netconsd.monitor.log import log_failures
from netconsd.names import Names
from netconsd.outputs.loader import ModuleError, load
from netconsd.outputs.runner import Outputs
from netconsd.protocol.counters import DATAGRAM_OUTCOMES
from netconsd.protocol.plural import plural
from netconsd.read.compressed import UnreadableError, errors
from netconsd.read.entries import Datagram, Line, Whole
from netconsd.read.reader import Kept, Reader, reader_of
from netconsd.receive.lanes import Lane
from netconsd.rendering import printable
from netconsd.store.lock import holder
from netconsd.tap import Options

#: Entries that are queued in one turn of the reactor.
CHUNK: Final = 512
#: Places of a worker's queue beyond which the reading waits. Each datagram of text can have many lines, which take a
#: place each in the queues of modules; these have room for a quarter of ``--queue`` before the reading waits for them.
WAITING_LIMIT: Final = 4096
# Seconds between two looks at full queues, and the longest wait of --speed without a look at the stop.
_LOOK: Final = 0.001
_WAIT: Final = 0.1
_INTERRUPTED: Final = 130

_DESCRIPTION = """
Send the messages of files through the workers into output modules, as if they were received now: to test a module, or
to import old logs. A file is a capture of packets (pcap, pcapng), a recording (JSON lines with t and data), a file of
the module jsonl, of netconsd's or the C daemon's logger, or any other kernel log that netconsd crashes reads;
compressed or not. The kind is recognised by the content. A directory is a store.
"""
_EPILOG = """
The exit status is 0 if everything was delivered, 1 if messages were dropped or a module failed, and 2 if a file could
not be read; the other files are read.
"""


def main(arguments: Sequence[str] | None = None, prog: str = "netconsd replay") -> int:
    """Replay the files.

    :returns: 0; 1 if messages were dropped or a module failed; 2 if a file could not be read; 130 after Ctrl-C.
    :raises SystemExit: with the text for the user, for errors in the options or modules.
    """
    options = _parser(prog).parse_args(arguments)
    configuration = _configuration(options)
    try:
        selection = load(configuration.modules, configuration.module_settings, configuration.spare)
    except ModuleError as error:
        raise SystemExit(f"{prog}: {error}") from None
    to_stderr = textFileLogObserver(sys.stderr)
    # Not that the main loop has ended.
    shown = FilteringLogObserver(to_stderr, [_is_shown])
    globalLogBeginner.beginLoggingTo([shown], redirectStandardIO=False)
    from twisted.internet import reactor

    modules = {loaded.name: loaded.module for loaded in selection.loaded}
    files = [*([] if options.store is None else [options.store]), *options.files] or [STDIN]
    replay = Replay(modules, configuration, files, prog, reactor, speed=options.speed)
    return replay.run()


@provider(ILogFilterPredicate)
def _is_shown(event: LogEvent) -> Any:
    return PredicateResult.no if event["log_namespace"].startswith("twisted.") else PredicateResult.yes


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=prog, description=_DESCRIPTION, epilog=_EPILOG, allow_abbrev=False)
    add = parser.add_argument
    add(
        "--speed",
        type=_speed,
        metavar="FACTOR",
        help="in the recorded time; 10 is ten times as fast [default: at once]",
    )
    add("--modules", action="append", default=[], metavar="MODULE", help="an output module [default: printer]")
    add("--set", action="append", default=[], metavar="NAME.KEY=VALUE", help="a setting of the module NAME")
    add("--config", metavar="FILE", help="the daemon's configuration, for modules, their settings and workers")
    add("--workers", metavar="N", help="workers, as of the daemon")
    add("--store", metavar="DIR", help="replay the messages of a store, before those of files")
    add(
        *("files",),
        metavar="FILE",
        nargs="*",
        help='a file, or the directory of a store; standard input for "-" or without a file',
    )
    return parser


def _speed(text: str) -> float:
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0.001 <= speed <= 1e6:
        raise argparse.ArgumentTypeError(f"{text} is not a factor from 0.001 to 1000000; 1 is the recorded time")
    return speed


def _configuration(options: argparse.Namespace) -> Configuration:
    """Return the daemon's configuration for these options, with the printer if there is no module.

    :raises SystemExit: with the text for the user.
    """
    words = [word for module in options.modules for word in ("--modules", module)]
    words += [word for setting in options.set for word in ("--set", setting)]
    for name in ("config", "workers"):
        value = getattr(options, name)
        words += [] if value is None else [f"--{name}", value]
    for more in ([], ["--modules", "printer"]):
        parsed = Options()
        parsed.parseOptions([*words, *more])
        if parsed.configuration.modules:
            break
    return parsed.configuration


class Replay:
    """One replay of files into modules. For the reactor's thread."""

    def __init__(
        self,
        modules: dict[str, Any],
        configuration: Configuration,
        files: Sequence[str],
        prog: str,
        reactor: Any,
        *,
        speed: float | None = None,
    ) -> None:
        """:param speed: times faster than recorded; None for no waiting."""
        self._settings = settings = configuration.settings
        self._files = files
        self._prog = prog
        self._reactor = reactor
        self._speed = speed
        self._log = Logger("netconsd")
        self._names = Names(settings.host_key, settings.hosts_file)
        self._outputs = Outputs(modules, settings.workers, settings.stop_timeout, self._names, queue=settings.queue)
        self._lanes: list[Lane] = []
        self._feed: Feed | None = None
        self._stopping = False
        self._unread = 0
        self._passed_over = 0

    def run(self) -> int:
        """Run the reactor until everything is delivered, and return the exit status."""
        results: list[Any] = []
        done = Deferred.fromCoroutine(self._run())
        done.addBoth(results.append)
        done.addBoth(lambda _: self._end())
        # At SIGINT and SIGTERM, the messages that were read are delivered before the reactor stops.
        self._reactor.addSystemEventTrigger("before", "shutdown", self._stop, done)
        if not results:
            self._reactor.run()
        (result,) = results
        if isinstance(result, Failure):
            if result.check(ModuleError):
                print(f"{self._prog}: {result.value}", file=sys.stderr)
                return 1
            result.raiseException()
        return int(result)

    def _end(self) -> None:
        try:
            self._reactor.stop()
        except ReactorNotRunning:
            return

    def _stop(self, done: Deferred[None]) -> Deferred[None]:
        self._stopping = not done.called
        return done

    async def _run(self) -> int:
        await self._outputs.start(self._reactor)
        self._start_lanes()
        started = self._reactor.seconds()
        for name in self._files:
            if not self._stopping:
                await self._read(name, started)
        finished = DeferredList([self._finished(lane) for lane in self._lanes])
        for lane in self._lanes:
            lane.stop()
        await finished
        await self._outputs.finish()
        lines, complete = self._totals()
        log_failures(self._log, self._outputs.started)
        await self._outputs.stop()
        for line in lines:
            print(f"{self._prog}: {line}", file=sys.stderr)
        if self._stopping:
            return _INTERRUPTED
        return 2 if self._unread else 0 if complete else 1

    def _start_lanes(self) -> None:
        outputs, settings = self._outputs, self._settings
        wanted = outputs.wants_reports, outputs.wants_events
        watch = watches(*wanted, self._watch_failed, settings.sources_share) if any(wanted) else None
        self._ends: dict[Lane, Deferred[None]] = {}
        for number in range(settings.workers):
            lane = Lane(
                number,
                outputs.deliver,
                settings,
                legacy_datagrams=outputs.legacy_datagrams,
                # Everything from before the deadline is queued: the clock is set after it.
                ask_mark=lambda lane, deadline: self._reactor.callFromThread(lane.mark, deadline),
                watch=None if watch is None else watch(),
                publish=outputs.publish,
                clock=self._now,
            )
            self._lanes.append(lane)
            ended: Deferred[None] = Deferred()
            self._ends[lane] = ended
            lane.start(partial(self._reactor.callFromThread, ended.callback, None))
        self._feed = Feed(self._lanes, self._names.add)

    def _finished(self, lane: Lane) -> Deferred[None]:
        return self._ends[lane]

    def _now(self) -> float:
        """The time of the entries; in any thread."""
        return self._feed.times.now if self._feed is not None else 0.0

    def _watch_failed(self) -> None:
        self._reactor.callFromThread(self._log.failure, "Looking for crash reports failed", Failure())

    async def _read(self, name: str, started: float) -> None:
        feed = self._feed
        assert feed is not None
        shown = "standard input" if name == STDIN else printable(name)
        if name != STDIN and os.path.isdir(name):
            await self._read_store(feed, name, shown, started)
            return
        try:
            with opened(name) as file:
                written = os.fstat(file.fileno()).st_mtime if name != STDIN else time.time()
                progress = Progress(file, shown)
                reader: Reader | Kept = Kept()
                try:
                    reader = reader_of(cast(BinaryIO, progress), year=time.gmtime(written).tm_year, datagrams=True)
                    feed.begin(written)
                    entries = (entry for entry in reader if entry is not None)
                    while not self._stopping and (chunk := list(islice(entries, CHUNK))):
                        await self._put(feed, chunk, started)
                finally:
                    progress.clear()
                    self._passed_over += reader.passed_over
                    for fault in reader.faults():
                        print(f"{self._prog}: {shown}: {fault}", file=sys.stderr)
        except UnreadableError as error:
            self._fail(f"{shown} {error}")
        except errors() as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or "ends early"
            self._fail(f"{shown}: {printable(reason)}")

    async def _read_store(self, feed: Feed, name: str, shown: str, started: float) -> None:
        if not has_library():
            self._fail(f"{shown}: {LIBRARY_MISSING}")
            return
        from netconsd.store.reader import Store

        if holder(Path(name)) == os.getpid():
            self._fail(f"{shown}: the module store writes to it; set another store.directory")
            return
        bar = Bar(shown, True)
        try:
            store = Store(name, damaged=lambda text, _: self._damaged(bar, text))
            messages = store.messages(progress=lambda progress: bar.show(progress.done, progress.total))
            feed.begin(time.time())
            entries = (Whole(number, stored.message) for number, stored in enumerate(messages, 1))
            while not self._stopping and (chunk := list(islice(entries, CHUNK))):
                await self._put(feed, chunk, started)
        except (FileNotFoundError, NotADirectoryError):
            bar.clear()
            self._fail(f"{shown}: Is a directory, and no store")
        except OSError as error:
            bar.clear()
            self._fail(f"{printable(str(error.filename or name))}: {error.strerror}")
        finally:
            bar.clear()

    def _damaged(self, bar: Bar, text: str) -> None:
        bar.clear()
        self._fail(printable(text))

    def _fail(self, text: str) -> None:
        self._unread += 1
        print(f"{self._prog}: {text}", file=sys.stderr)

    async def _put(self, feed: Feed, chunk: Sequence[Line | Whole | Datagram], started: float) -> None:
        if self._speed is None:
            await self._room()
            feed.put(chunk)
            return
        for entry in chunk:
            await self._room()
            at = feed.time_of(entry)
            while not self._stopping and (wait := started + at / self._speed - self._reactor.seconds()) > 0:
                await deferLater(self._reactor, min(wait, _WAIT))
            if self._stopping:
                return
            feed.put([entry])

    async def _room(self) -> None:
        """Return when the queues have room; at least after one turn of the reactor."""
        most = min(WAITING_LIMIT, self._settings.queue // 4)
        await deferLater(self._reactor, 0)
        while any(lane.backlog > most for lane in self._lanes) or any(
            queue.backlog > self._settings.queue // 4 for output in self._outputs.started for queue in output.queues
        ):
            await deferLater(self._reactor, _LOOK)

    def _totals(self) -> tuple[list[str], bool]:
        """Return lines whose numbers add up, and whether everything was delivered."""
        feed, lanes = self._feed, self._lanes
        assert feed is not None
        kinds = {"datagram": feed.datagrams, "line": feed.lines, "message": feed.messages}
        read = " + ".join(plural(count, kind) for kind, count in kinds.items() if count)
        lines = [f"{plural(feed.entries, 'entry', 'entries')} read" + (f" = {read}" if read else "")]
        if self._passed_over:
            lines.append(f"{plural(self._passed_over, 'other line or packet', 'other lines and packets')} passed over")
        dropped = 0
        counters: dict[str, int] = {}
        for lane in lanes:
            for name in (*DATAGRAM_OUTCOMES, "messages", "dropped_error"):
                counters[name] = counters.get(name, 0) + getattr(lane.counters, name)
            counters["dropped_queue_full"] = (
                counters.get("dropped_queue_full", 0) + lane.queue_counters.dropped_queue_full
            )
        # Those of datagrams and lines; others came whole.
        messages = counters["messages"] - sum(lane.counters.taken for lane in lanes)
        outcomes = {name: counters[name] for name in (*DATAGRAM_OUTCOMES, "dropped_error", "dropped_queue_full")}
        parts = " + ".join(f"{count} {name}" for name, count in outcomes.items() if count)
        if parts:
            count = plural(feed.datagrams + feed.lines, "datagram or line", "datagrams and lines")
            lines.append(f"{count} = {parts}; {plural(messages, 'message')}")
        dropped += outcomes["dropped_error"] + outcomes["dropped_queue_full"]
        for output in self._outputs.started:
            own = {
                "handed over": sum(each.messages for each in output.counters),
                "dropped_queue_full": sum(each.dropped_queue_full for each in output.counters),
                "dropped_at_stop": sum(each.dropped_at_stop for each in output.counters),
            }
            reports = sum(each.reports + each.events for each in output.counters)
            lost = sum(output.lost(lane.number) or 0 for lane in lanes)
            failed = sum(each.errors for each in output.counters)
            parts = " + ".join(f"{count} {name}" for name, count in own.items() if count) or "0"
            lines.append(
                f"module {output.name}: {plural(sum(own.values()), 'message')} = {parts}"
                + (f"; {plural(reports, 'report or event', 'reports and events')}" if reports else "")
                + (f"; {plural(lost, 'message')} lost by the module" if lost else "")
                + (f"; {plural(failed, 'call')} failed" if failed else "")
            )
            dropped += own["dropped_queue_full"] + own["dropped_at_stop"] + lost + failed
        return lines, not dropped
