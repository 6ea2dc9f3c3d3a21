"""The process of the live tail: it reads the store's journal as it is written, and makes the frames that viewers get.

``python -m netconsd.console.tail DIRECTORY OPTIONS``. Requests are lines of JSON, ``{"add": NUMBER, "filter":
PARAMETERS}``, ``{"remove": NUMBER}`` and ``{"names": {...}}``; it answers with frames (frames.py), at least one a
second.

Rules:

1. Each message is looked at once per filter, encoded once, and only if it is shown: at most
   :data:`~netconsd.console.limits.TICK_MESSAGES` a tick and filter, the newest. The others are counted as dropped.
2. Messages are shown in the order of ``received_at``, then of sender, boot and seq: the same order in which a search
   finds them (queries.py), so that a viewer who reconnects continues at a place in it. For that, each waits for one
   more tick. A message that is later than that is shown when it is found.
3. A filter that takes too much of the processor is refused, so that it does not delay the others.
4. Crash reports and events are followed in their own files, at most
   :data:`~netconsd.console.limits.TICK_FINDINGS` a tick and filter, the newest.

A process of its own, so that neither the reactor nor a worker of netconsd waits for it, and the lock of the interpreter
is not shared. It has no nice value: it does little, and a viewer waits for it.
"""

from __future__ import annotations

import json
import resource
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from netconsd.console.failure import Refused
from netconsd.console.filters import Filter, Parameters, read
from netconsd.console.frames import NOTE, SHOWN, Input, Output
from netconsd.console.kept import Kept
from netconsd.console.limits import (
    CLOCK_SECONDS,
    FAILED_TICKS,
    PIECE_BYTES,
    PROCESS_BYTES,
    SLOW_MESSAGE_SECONDS,
    SLOW_SECONDS,
    SLOW_TICK_SECONDS,
    SLOW_TICKS,
    TICK_FINDINGS,
    TICK_MESSAGES,
    TICK_SECONDS,
)
from netconsd.console.messages import Encoder
from netconsd.console.replay import frame_begin, frame_end
from netconsd.crash.groups import group_id
from netconsd.jsonl import finding_to_json
from netconsd.message import Source
from netconsd.names import Names
from netconsd.store import layout
from netconsd.store.findings import EVENTS, REPORTS, day_files, event_of, report_of
from netconsd.store.follow import Follow
from netconsd.store.index import hosts_of
from netconsd.store.query import Files, Query, Search, in_order
from netconsd.store.reader import stored

#: The order of rule 2, after the time.
_ORDER: Final = ("received_at", "host", "port", "boot", "seq", "number")
_TOO_SLOW: Final = "this filter takes too long for a live tail: use a simpler regular expression, or the search"
_SENDER: Final = ("host", "port", "scope_id", "boot", "received_at")
#: Ticks between two events of the rate.
_RATE_TICKS: Final = round(1 / TICK_SECONDS)


@dataclass(frozen=True, slots=True)
class Encoded:
    """A message, encoded for all filters."""

    id: str
    usec: int
    message: bytes
    #: Its frame without the begin, at its own time.
    end: bytes


class Rows:
    """The rows of a tick in the order of rule 2, and their work that all filters share: rule 1."""

    def __init__(self, table: pa.Table, encoder: Encoder) -> None:
        self.table = table
        self._encoder = encoder
        self._made: dict[int, Encoded] = {}
        #: The rows by sender: their numbers in the table, the rows, and their senders.
        self._grouped: tuple[pa.Array, pa.Table, pa.Table] | None = None

    def matching(self, search: Search, *, by_sender: bool) -> pa.Array | None:
        """Return the numbers of the matching rows, in any order; None if there are none.

        :param by_sender: the search chooses senders.
        """
        if not by_sender:
            return search.indices(self.table, lambda: hosts_of(self.table))
        if self._grouped is None:
            order = pc.sort_indices(_keys(self.table, _SENDER), sort_keys=[(name, "ascending") for name in _SENDER])
            rows = self.table.take(order)
            self._grouped = order, rows, hosts_of(rows)
        order, rows, hosts = self._grouped
        found = search.indices(rows, lambda: hosts)
        return None if found is None else order.take(found)

    def encode(self, numbers: Iterable[int]) -> None:
        """Encode rows: all that are wanted together, as a few cost as much as a hundred."""
        wanted = sorted(numbers)
        for number, each in zip(wanted, stored(self.table.take(pa.array(wanted, pa.int64()))), strict=True):
            id_, usec, message = each.id, round(each.message.received_at * 1e6), self._encoder.message(each)
            self._made[number] = Encoded(id_, usec, message, frame_end(usec, id_, message))

    def encoded(self, numbers: Iterable[int]) -> list[Encoded]:
        """Return the messages of rows that were encoded."""
        return [self._made[number] for number in numbers]


class Channel:
    """A filter that somebody follows."""

    def __init__(self, number: int, stream: str, chosen: Filter, files: Files) -> None:
        self.number = number
        # New messages are of the last boot, and have no end.
        self._query = chosen.since(0.0).query
        self._search = Search(files, self._query)
        self._stream = stream
        self._shown = 0
        self._rates: Counter[int] = Counter()
        #: Seconds of the processor in the last ticks, and those that it may take.
        self._cost = 0.0
        self._allowed = 0.0
        self._cost_ticks = 0
        self._usec = 0

    def has(self, finding: Finding) -> bool:
        """Return whether the filter has the machine of a report or an event."""
        selection = self._query.selection
        if selection is None:
            return True
        userdata = json.dumps(finding.userdata)
        return selection.has(finding.address, userdata) or selection.has_userdata(userdata)

    def choose(self, rows: Rows) -> tuple[list[int], int]:
        """Return the numbers of the rows that are shown, in their order, and how many more there are."""
        found = rows.matching(self._search, by_sender=self._query.selection is not None)
        if found is None:
            return [], 0
        for each in pc.value_counts(pc.fill_null(rows.table.column("level").take(found), 8)).to_pylist():
            self._rates[each["values"]] += each["counts"]
        dropped = max(0, len(found) - TICK_MESSAGES)
        if dropped:
            found = found.take(pc.top_k_unstable(found, TICK_MESSAGES))
        return sorted(found.to_pylist()), dropped

    def pieces(self, messages: Iterable[Encoded], dropped: int) -> list[tuple[dict[str, Any], bytes]]:
        """Return the frames of messages, in pieces: each with its head.

        :param dropped: the number of those before them that are not shown.
        """
        made: list[tuple[dict[str, Any], bytes]] = []
        data: list[bytes] = []
        ids: list[str] = []
        ends: list[int] = []
        usecs: list[int] = []
        size = 0
        if dropped:
            data.append(b'event: dropped\ndata: {"count":%d}\n\n' % dropped)
            size = len(data[0])
        for each in messages:
            self._shown += 1
            # A late message has the place of the one before, so that places only increase; until the clock is set
            # back, as no message would be found after such a place.
            usec = each.usec
            if usec > self._usec or usec < self._usec - CLOCK_SECONDS * 1e6:
                self._usec = usec
            end = each.end if self._usec == usec else frame_end(self._usec, each.id, each.message)
            piece = frame_begin(self._stream, self._shown) + end
            data.append(piece)
            size += len(piece)
            ids.append(each.id)
            ends.append(size)
            usecs.append(self._usec)
            if size > PIECE_BYTES:
                made.append((self._head(ids, ends, usecs), b"".join(data)))
                data, ids, ends, usecs, size = [], [], [], [], 0
        if data:
            made.append((self._head(ids, ends, usecs), b"".join(data)))
        return made

    def is_slow(self, seconds: float, messages: int) -> bool:
        """Add the cost of a tick, and return whether the filter takes too much."""
        self._cost_ticks += 1
        if self._cost_ticks > SLOW_TICKS:
            self._cost, self._allowed, self._cost_ticks = 0.0, 0.0, 1
        self._cost += seconds
        self._allowed += SLOW_TICK_SECONDS + messages * SLOW_MESSAGE_SECONDS
        return self._cost > max(SLOW_SECONDS, self._allowed)

    def others(self, findings: list[Finding], with_rate: bool) -> list[tuple[dict[str, Any], bytes]]:
        """Return the frames of reports and events, and of the rate, in pieces: each with its head."""
        mine = [finding for finding in findings if self.has(finding)]
        made: list[tuple[dict[str, Any], bytes]] = []
        data: list[bytes] = []
        size = count = 0
        if len(mine) > TICK_FINDINGS:
            data.append(b'event: dropped\ndata: {"count":%d}\n\n' % (len(mine) - TICK_FINDINGS))
        for finding in mine[-TICK_FINDINGS:]:
            data.append(finding.frame)
            size += len(finding.frame)
            count += 1
            if size > PIECE_BYTES:
                made.append((self._head([], [], [], count), b"".join(data)))
                data, size, count = [], 0, 0
        if with_rate and (rate := self.rate()) is not None:
            data.append(rate)
        if data:
            made.append((self._head([], [], [], count), b"".join(data)))
        return made

    def _head(self, ids: list[str], ends: list[int], usecs: list[int], findings: int = 0) -> dict[str, Any]:
        first = self._shown - len(ids) + 1
        return {
            "channel": self.number,
            "first": first,
            "ids": ids,
            "ends": ends,
            "usecs": usecs,
            "findings": findings,
        }

    def rate(self) -> bytes | None:
        """Return the event of the messages since the last call, by level; None if there were none."""
        if not self._rates:
            return None
        rates = [self._rates.get(level, 0) for level in range(9)]
        self._rates.clear()
        return b"event: rate\ndata: %b\n\n" % json.dumps({"levels": rates}).encode()


@dataclass(frozen=True, slots=True)
class Finding:
    """A crash report or an event."""

    address: str
    #: Those of its machine, as far as they are known.
    userdata: dict[str, str]
    frame: bytes


class FindingFiles:
    """Reads the lines that are appended to the files of reports and events."""

    def __init__(self, directory: Path, names: Names) -> None:
        self._directory = directory
        self._names = names
        self._read: dict[Path, int] = {}
        for kind in (REPORTS, EVENTS):
            for path in day_files(directory, kind):
                with suppress(FileNotFoundError):
                    self._read[path] = path.stat().st_size

    def new(self) -> list[Finding]:
        """Return those of the lines that were not read before."""
        found = []
        for kind in (REPORTS, EVENTS):
            # Older files are not appended to.
            for path in day_files(self._directory, kind)[-2:]:
                at = self._read.get(path, 0)
                try:
                    size = path.stat().st_size
                    # A file that is smaller than before is another one, of a store that was made again.
                    at = min(at, size) if size >= at else 0
                    if size == at:
                        continue
                    with path.open("rb") as file:
                        file.seek(at)
                        for line in file:
                            if not line.endswith(b"\n"):
                                break  # being written
                            at += len(line)
                            with suppress(ValueError, RecursionError):
                                found.append(self._finding(kind, line))
                except FileNotFoundError:
                    continue
                self._read[path] = at
        return found

    def _finding(self, kind: str, line: bytes) -> Finding:
        if kind == EVENTS:
            event = event_of(line)
            return Finding(event.source.address, self._userdata(event.source), _frame("event", finding_to_json(event)))
        report = report_of(line)
        fields = json.loads(finding_to_json(report))
        fields["group"] = group_id(report.title)
        source = report.source
        userdata = {} if source is None else self._userdata(source)
        for message in report.messages[:1]:
            userdata |= getattr(message, "userdata", {})
        return Finding(
            "" if source is None else source.address, userdata, _frame("report", json.dumps(fields).encode())
        )

    def _userdata(self, source: Source) -> dict[str, str]:
        claimed = self._names.claimed(source.address, source.port)
        return {} if claimed is None else {"host": claimed, self._names.host_key: claimed}


def _frame(kind: str, fields: bytes) -> bytes:
    return b'event: finding\ndata: {"kind":"%b","finding":%b}\n\n' % (kind.encode(), fields)


class Tail:
    """Follows a store for any number of filters. For one thread."""

    def __init__(
        self,
        directory: Path,
        stream: str,
        encoder: Encoder,
        output: Output,
        processor: Callable[[], float] = time.process_time,
    ) -> None:
        """
        :param stream: names this run in cursors.
        :param processor: seconds of the processor that this process has used.
        """
        self._processor = processor
        self._directory = directory
        self._stream = stream
        self._encoder = encoder
        self._output = output
        self._files: Files | None = None
        self._kept: Kept | None = None
        #: Ticks in a row that could not read the store.
        self._failed = 0
        self._follow: Follow | None = None
        self._findings: FindingFiles | None = None
        self._channels: dict[int, Channel] = {}
        self._held: pa.Table | None = None
        self._ticks = 0

    def take(self, request: dict[str, Any]) -> None:
        """Do what the console asks for."""
        if "remove" in request:
            self._channels.pop(request["remove"], None)
            return
        if "names" in request:
            self._encoder.names.put(request["names"])
            return
        number = request["add"]
        try:
            parameters = Parameters(request["filter"], time.time(), self._encoder.names)
            chosen = read(parameters)
            parameters.end()
            if self._files is None:
                self._begin()
            assert self._files is not None
            self._channels[number] = Channel(number, f"{self._stream}-{number}", chosen, self._files)
        except Refused as error:
            self._refuse(number, error)
        except OSError as error:
            text = f"there is no store in {self._directory}: {error.strerror}; start netconsd with the module store"
            self._refuse(number, Refused(503, text))
        else:
            self._output.note(NOTE, {"added": number})

    def _refuse(self, number: int, error: Refused) -> None:
        self._output.note(NOTE, {"refused": number, "status": error.status, "error": error.text, "field": error.field})

    def _begin(self) -> None:
        self._kept = Kept(self._directory / layout.JOURNAL)
        files = Files(self._directory)
        self._follow = Follow(files, Query(), time.time)
        self._findings = FindingFiles(self._directory, self._encoder.names)
        self._files = files

    def tick(self) -> bool:
        """Look for new messages, and send what viewers get.

        :returns: False if the store is gone, is another one, or cannot be read for some seconds: then viewers have to
            come again, to a tail that says so.
        """
        self._ticks += 1
        if self._ticks % _RATE_TICKS == 0:
            # Also a sign of life.
            self._output.note(SHOWN, {"addresses": self._encoder.shown()})
            if self._kept is not None and not self._kept.is_there():
                return False
        if self._follow is None or self._findings is None:
            return True
        try:
            rows, findings = self._follow.poll(), self._findings.new()
            self._failed = 0
        except OSError:
            rows, findings = None, []
            self._failed += 1
            if self._failed > FAILED_TICKS:
                return False
        ready = self._ready(rows)
        if ready is not None:
            shared = Rows(ready, self._encoder)
            chosen = []
            for channel in list(self._channels.values()):
                begun = self._processor()
                numbers, dropped = channel.choose(shared)
                if channel.is_slow(self._processor() - begun, ready.num_rows):
                    del self._channels[channel.number]
                    self._refuse(channel.number, Refused(400, _TOO_SLOW, "grep"))
                else:
                    chosen.append((channel, numbers, dropped))
            shared.encode({number for _, numbers, _ in chosen for number in numbers})
            for channel, numbers, dropped in chosen:
                for head, data in channel.pieces(shared.encoded(numbers), dropped):
                    self._send(head, data)
        for channel in self._channels.values():
            for head, data in channel.others(findings, self._ticks % _RATE_TICKS == 0):
                self._send(head, data)
        return True

    def _ready(self, new: pa.Table | None) -> pa.Table | None:
        """Return the rows that are shown now (rule 2): all that are not later than those of the last tick."""
        held, self._held = self._held, new
        if held is None:
            return None
        if new is None:
            return _sorted(held)
        end = pc.max(held.column("received_at"))
        early = pc.less_equal(new.column("received_at"), end)
        self._held = new.filter(pc.invert(early))
        if not self._held.num_rows:
            self._held = None
        return _sorted(in_order([held, new.filter(early)]))

    def _send(self, head: dict[str, Any], data: bytes) -> None:
        self._output.send(b"c", json.dumps(head).encode() + b"\n" + data)


def _keys(rows: pa.Table, names: tuple[str, ...]) -> pa.Table:
    """Return columns by which rows can be sorted."""
    return pa.table(
        {
            name: rows.column(name).cast(pa.string()) if name == "host" else pc.fill_null(rows.column(name), 0)
            for name in names
        }
    )


def _sorted(rows: pa.Table) -> pa.Table:
    return rows.take(pc.sort_indices(_keys(rows, _ORDER), sort_keys=[(name, "ascending") for name in _ORDER]))


def main(arguments: list[str]) -> int:
    """Follow the store until the socket is closed."""
    # Ctrl-C in a terminal is for the daemon, which closes the socket.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_AS, (PROCESS_BYTES, PROCESS_BYTES))
    # Two threads of Arrow on a small machine would take the processors of the reception.
    pa.set_cpu_count(1)
    connection = socket.socket(fileno=0)
    given, output = Input(connection), Output(connection)
    options = json.loads(arguments[1])
    encoder = Encoder(Names(options["host_key"]))
    tail = Tail(Path(arguments[0]), options["stream"], encoder, output)
    next_tick = time.monotonic()
    while True:
        while given.ready(max(0.0, next_tick - time.monotonic())):
            request = given.line()
            if request is None:
                return 0
            tail.take(request)
        now = time.monotonic()
        if now >= next_tick:
            next_tick = max(next_tick + TICK_SECONDS, now)
            try:
                if not tail.tick():
                    return 0
            except ConnectionError:
                return 0
            except Exception:
                # Viewers reconnect, to another process.
                output.fault()
                return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (ConnectionError, KeyboardInterrupt):
        sys.exit(0)
