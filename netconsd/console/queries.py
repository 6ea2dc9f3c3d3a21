"""The queries of the API over a store, in a worker process: each reads its parameters and writes its answer.

Needs pyarrow: the extra ``netconsd[store]``.
"""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from netconsd.console.crashes import Crashes
from netconsd.console.failure import Refused
from netconsd.console.filters import Filter, Parameters, read, shown
from netconsd.console.kept import Kept
from netconsd.console.limits import (
    BUCKETS,
    CLOCK_SECONDS,
    CONTEXT_LIMIT,
    EVENTS,
    PAGE,
    PAGE_LIMIT,
    REPLAY_COUNT_SECONDS,
    REPLAY_MESSAGES,
    SEAM_MESSAGES,
    SEAM_SECONDS,
)
from netconsd.console.messages import Encoder
from netconsd.console.patterns import pattern_list
from netconsd.console.replay import Cursor, frame
from netconsd.console.worker import Answer
from netconsd.crash.event import Event
from netconsd.jsonl import to_json
from netconsd.rendering import LEVELS, marks, printable, uptime
from netconsd.store import layout, segment
from netconsd.store.query import Files, Progress, Query, Search
from netconsd.store.reader import Host, Store, Stored, stored
from netconsd.store.records import Damaged

#: Times that a query begins again.
_TRIALS: Final = 3
_JSON_LINES: Final = "application/jsonl"
#: Seconds between two reports of progress.
_PROGRESS_SECONDS: Final = 0.1
_ID: Final = re.compile(r"[^/\s]{1,80}/(?:\d{1,12}/\d{1,20}|@-?\d{1,17}/\d{1,10})", re.ASCII)
_ADDRESS: Final = re.compile(r"[0-9a-fA-F.:]{2,45}(%[^\s/]{1,16})?")


class Reader:
    """Answers queries over one store. Keeps the heads of the indexes, and the crash reports without messages."""

    def __init__(self, directory: Path, encoder: Encoder, clock: Callable[[], float] = time.time) -> None:
        self.directory = directory
        self._encoder = encoder
        self._clock = clock
        self._store: Store | None = None
        self._kept: Kept | None = None
        self._crashes = Crashes(directory, encoder, lambda: len({host.address for host in self.store.hosts()}))
        self._damaged: dict[str, int] = {}

    def answer(self, request: dict[str, Any], answer: Answer) -> None:
        """Answer a request of the console.

        :raises Refused: if it cannot be answered.
        """
        query: Callable[[Parameters, Answer], None] = getattr(self, f"_{request['query']}")
        parameters = Parameters(request.get("parameters", {}), self._clock(), self._encoder.names)
        self._body = request.get("body")
        self._damaged.clear()
        try:
            self._try(query, parameters, answer)
        except FileNotFoundError as error:
            if (self.directory / layout.JOURNAL).is_dir():
                raise Refused(503, f"{error.filename}: was removed meanwhile: try again", retry=1) from None
            raise Refused(
                503, f"there is no store in {self.directory}: {error.filename}: {error.strerror}; start netconsd with "
                "the module store, or name its directory with console.directory"
            ) from None  # fmt: skip
        except PermissionError as error:
            raise Refused(503, f"{error.filename}: {error.strerror}; run netconsd as a user of its group") from None
        except OSError as error:
            raise Refused(503, f"{error.filename or self.directory}: {error.strerror}") from None

    def _try(self, query: Callable[[Parameters, Answer], None], parameters: Parameters, answer: Answer) -> None:
        """Answer, and begin again if the compactor has removed a file that was listed."""
        for _ in range(_TRIALS):
            try:
                query(parameters, answer)
                return
            except FileNotFoundError:
                if answer.has_begun or not (self.directory / layout.JOURNAL).is_dir():
                    raise
        query(parameters, answer)

    @property
    def store(self) -> Store:
        """The store, which must exist."""
        if self._store is None or self._kept is None or not self._kept.is_there():
            self._kept = Kept(self.directory / layout.JOURNAL)
            # Its files may have the names of those of the one before.
            self._store = Store(self.directory, damaged=self._note)
        return self._store

    @property
    def files(self) -> Files:
        """The files of the store."""
        return self.store._files

    def _note(self, text: str, messages: int) -> None:
        if len(self._damaged) < 100:
            self._damaged[text] = messages

    def _status(self, parameters: Parameters, answer: Answer) -> None:
        parameters.end()
        if not (self.directory / layout.JOURNAL).is_dir():
            answer.object({"store": None})
            return
        segments, parts = self.files.lists()
        heads = [head for _, head in segments if head is not None]
        times = [head.first for head in heads] + [head.last for head in heads]
        size = sum(head.size for head in heads)
        for part in parts:
            try:
                status = part.path.stat()
            except FileNotFoundError:
                continue
            size += status.st_size
            times.append(int(status.st_mtime * 1e6))
        answer.object(
            {
                "store": {
                    "directory": str(self.directory),
                    "first": min(times) / 1e6 if times else None,
                    "last": max(times) / 1e6 if times else None,
                    "segments": len(segments),
                    "bytes": size,
                }
            }
        )

    # Messages.

    def _rows(
        self,
        chosen: Filter,
        *,
        newest_first: bool,
        limit: int | None,
        progress: Callable[[Progress], object] = lambda _: None,
        cancelled: Callable[[], bool],
    ) -> Iterator[pa.Table]:
        """Return the rows of a filter, at most ``limit``."""
        return iter(
            Search(
                self.files,
                chosen.query,
                newest_first=newest_first,
                limit=limit,
                progress=progress,
                cancelled=cancelled,
            )
        )

    def _messages(self, parameters: Parameters, answer: Answer) -> None:
        chosen = read(parameters)
        limit = parameters.whole("limit", PAGE, 1, PAGE_LIMIT)
        newest_first = parameters.choice("order", ("newest", "oldest")) == "newest"
        before, after = parameters.text("before"), parameters.text("after")
        parameters.end()
        if before is not None and after is not None:
            raise Refused(400, "after: before is given as well; give one of them", "after")
        edge: Stored | None = None
        if before is not None or after is not None:
            edge = self._found(before or after or "", "before" if before is not None else "after")
            chosen = _beyond(chosen, edge, earlier=before is not None)
        shown_at = self._clock()
        self.store  # noqa: B018 - raises if there is none, before the answer begins
        answer.begin(_JSON_LINES)

        def progress(state: Progress) -> None:
            nonlocal shown_at
            now = self._clock()
            if now - shown_at >= _PROGRESS_SECONDS or state.done == state.total:
                shown_at = now
                # Before the first segment, the search has reached no time.
                reached = state.reached if abs(state.reached) < 1e12 else None
                answer.line("progress", {"done": state.done, "total": state.total, "reached": reached})
                answer.flush()

        # One more than wanted says whether there are more. Those at the time of the edge can be on its other side.
        rows = self._rows(
            chosen,
            newest_first=newest_first,
            limit=limit + 1 if edge is None else None,
            progress=progress,
            cancelled=answer.cancelled,
        )
        found: Iterable[Stored] = (each for table in rows for each in stored(table))
        if edge is not None:
            found = _after(found, edge, toward_edge=newest_first != (before is not None))
        count = 0
        complete = True
        for each in found:
            if count == limit:
                complete = False
                break
            count += 1
            answer.write(b'{"message":' + self._encoder.message(each) + b"}\n")
            if count == 1:
                answer.flush()
        cancelled = answer.cancelled()
        answer.line(
            "end",
            {"found": count, "complete": complete and not cancelled, "cancelled": cancelled, "damaged": self._faults()},
        )

    def _faults(self) -> list[dict[str, Any]]:
        return [{"text": printable(text), "messages": count} for text, count in self._damaged.items()]

    def _found(self, identity: str, field: str | None = None) -> Stored:
        """Return a message.

        :raises Refused: if the identity is none, or there is no such message.
        """
        if not _ID.fullmatch(identity):
            raise Refused(
                400, f"{field or 'id'}: {shown(identity)} is not HOST/BOOT/SEQ or HOST/@MICROSECONDS/NUMBER", field
            )
        try:
            found = self.store.message(identity)
        except ValueError as error:
            raise Refused(400, shown(str(error), 200), field) from None
        if found is None:
            raise Refused(404, f"{shown(identity)}: is not stored, or not any more", field)
        return found

    def _message(self, parameters: Parameters, answer: Answer) -> None:
        identity = parameters.text("id") or ""
        parameters.end()
        found = self._encoder.message(self._found(identity))
        answer.begin("application/json")
        answer.write(found)

    def _context(self, parameters: Parameters, answer: Answer) -> None:
        identity = parameters.text("id") or ""
        sizes = {name: parameters.whole(name, 50, 0, CONTEXT_LIMIT) for name in ("before", "after")}
        all_hosts = parameters.flag("all_hosts")
        parameters.end()
        edge = self._found(identity, "id")
        hosts = () if all_hosts else (edge.message.source.address,)
        sides = []
        for name, size in sizes.items():
            earlier = name == "before"
            chosen = _beyond(Filter(Query(hosts=hosts)), edge, earlier=earlier)
            rows = self._rows(chosen, newest_first=earlier, limit=None, cancelled=answer.cancelled)
            found = _after((each for table in rows for each in stored(table)), edge, toward_edge=False)
            sides.append([each for _, each in zip(range(size), found, strict=False)])
        messages = [*reversed(sides[0]), edge, *sides[1]]
        answer.begin("application/json")
        answer.write(b'{"messages":[' + b",".join(self._encoder.message(each) for each in messages))
        answer.write(b'],"at":%d}' % len(sides[0]))

    def _replay(self, parameters: Parameters, answer: Answer) -> None:
        """Answer with the frames of a live tail before its ring: those after a cursor, or the last ones."""
        chosen = read(parameters)
        stream = parameters.text("stream") or ""
        cursor = Cursor.read(parameters.text("cursor") or "")
        last = parameters.whole("last", 0, 0, REPLAY_MESSAGES)
        parameters.end()
        limit = last
        if cursor is not None:
            limit, chosen = REPLAY_MESSAGES, chosen.since(cursor.usec / 1e6)
        else:
            chosen = chosen.since(0.0)
        before: set[str] = set()
        taken: list[pa.Table] = []
        count = 0
        rows = self._rows(chosen, newest_first=True, limit=None if cursor else limit, cancelled=answer.cancelled)
        counted = True
        full_at: float | None = None
        for table in rows:
            if count < limit:
                taken.append(table)
            elif full_at is None:
                full_at = self._clock()
            elif self._clock() - full_at > REPLAY_COUNT_SECONDS:
                counted = False
                break
            count += table.num_rows
        messages = [each for table in taken for each in stored(table)]
        beyond = count - len(messages)
        messages.sort(key=_canonical, reverse=True)
        if cursor is not None:
            at = cursor.usec
            same = [each.id for each in messages if _usec(each) == at]
            known = same[same.index(cursor.identity) :] if cursor.identity in same else []
            before = set(known)
            messages = [each for each in messages if _usec(each) > at or each.id not in before]
        beyond += len(messages[limit:])
        messages = messages[:limit]
        messages.reverse()
        answer.begin("text/event-stream")
        if cursor is not None and cursor.usec / 1e6 > parameters.now + CLOCK_SECONDS:
            why = "the clock was set back: messages since then may be missing here"
            answer.write(_dropped({"count": None, "why": why}))
        elif cursor is not None and beyond > 0:
            answer.write(_dropped({"count": beyond} if counted else {"count": beyond, "at_least": True}))
        # A viewer who comes back at once is ahead of the ring, which then brings again what is before the cursor.
        ids = [] if cursor is None else self._shown_before(chosen, cursor, answer) + sorted(before)
        for each in messages:
            ids.append(each.id)
            answer.write(frame(Cursor(stream, 0, _usec(each), each.id), self._encoder.message(each)))
        begin = _usec(messages[0]) if messages and cursor is None else 0
        answer.seam(ids, begin)

    def _shown_before(self, chosen: Filter, cursor: Cursor, answer: Answer) -> list[str]:
        """Return the identities of the messages before the time of a cursor that the ring can bring after it."""
        at = cursor.usec / 1e6
        if at < self._clock() - SEAM_SECONDS:
            return []
        earlier = replace(chosen, query=replace(chosen.query, since=at - SEAM_SECONDS, until=at))
        rows = self._rows(earlier, newest_first=True, limit=SEAM_MESSAGES, cancelled=answer.cancelled)
        return [each.id for table in rows for each in stored(table) if _usec(each) < cursor.usec]

    def _download(self, parameters: Parameters, answer: Answer) -> None:
        chosen = read(parameters)
        form = parameters.choice("format", ("dmesg", "jsonl", "text"))
        parameters.end()
        stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(self._clock()))
        kind = _JSON_LINES if form == "jsonl" else "text/plain; charset=utf-8"
        name = f"netconsd-{stamp}.{'jsonl' if form == 'jsonl' else 'txt'}"
        self.store  # noqa: B018 - raises if there is none, before the answer begins
        answer.begin(kind, **{"Content-Disposition": f'attachment; filename="{name}"'})
        line: Callable[[Stored], bytes] = {"dmesg": _dmesg, "jsonl": _jsonl, "text": _text}[form]
        for table in self._rows(chosen, newest_first=False, limit=None, cancelled=answer.cancelled):
            for each in stored(table):
                answer.write(line(each))
        for text, count in self._damaged.items():
            if form != "jsonl":
                answer.write(f"# damaged: {printable(text)} ({count} messages)\n".encode())

    def _counts(self, parameters: Parameters, answer: Answer) -> None:
        chosen = read(parameters)
        step = parameters.whole("step", 60, 1, 86400 * 30)
        parameters.end()
        counts: Counter[tuple[int, int]] = Counter()
        if step % 60 == 0 and chosen.only_time_and_level:
            query = chosen.query
            for minute, level, count in self.store.counts(since=query.since, until=query.until):
                if query.level is None or (level is not None and level <= query.level):
                    counts[minute // step * step, 8 if level is None else level] += count
                    self._check_buckets(counts, step)
        else:
            for table in self._rows(chosen, newest_first=True, limit=None, cancelled=answer.cancelled):
                at = table.column("received_at").cast(pa.int64())
                # No message is of before 1970.
                bucket = pc.multiply(pc.divide(at, step * 1_000_000), step * 1_000_000)
                grouped = (
                    pa.table({"bucket": bucket, "level": pc.fill_null(table.column("level"), 8)})
                    .group_by(["bucket", "level"])
                    .aggregate([([], "count_all")])
                )
                for row in grouped.to_pylist():
                    counts[row["bucket"] // 1_000_000, row["level"]] += row["count_all"]
                self._check_buckets(counts, step)
        buckets: dict[int, list[int]] = {}
        for (begin, level), count in counts.items():
            buckets.setdefault(begin, [0] * 9)[level] += count
        answer.object(
            {
                "step": step,
                "levels": [*LEVELS, None],
                "buckets": [[begin, *numbers] for begin, numbers in sorted(buckets.items())],
                "cancelled": answer.cancelled(),
                "damaged": self._faults(),
            }
        )

    def _check_buckets(self, counts: Counter[tuple[int, int]], step: int) -> None:
        if len(counts) > BUCKETS and len({begin for begin, _ in counts}) > BUCKETS:
            raise Refused(
                400, f"step: with {step} s there are more than {BUCKETS} buckets: give a greater step or since", "step"
            )

    # Machines.

    def _hosts(self, parameters: Parameters, answer: Answer) -> None:
        chosen = read(parameters)
        silent = parameters.whole("silent", 0, 0, 10**9)
        parameters.end()
        query = chosen.query
        crashes = self._crashes.by_host()
        now = self._clock()
        found = [
            self._host_fields(host, crashes, now)
            for host in self.store.hosts(since=query.since, until=query.until, hosts=query.hosts)
            if now - host.last >= silent
        ]
        answer.object({"hosts": found, "damaged": self._faults()})

    def _host_fields(self, host: Host, crashes: Counter[str], now: float) -> dict[str, Any]:
        return {
            **host.fields(),
            "name": self._encoder.name(host.address, host.port, host.userdata, now),
            "crashes": crashes[host.address],
            "silent_for": max(0.0, now - host.last),
        }

    def _host(self, parameters: Parameters, answer: Answer) -> None:
        address = parameters.text("address") or ""
        port = parameters.whole("port", 0, 0, 65535)
        parameters.end()
        if not _ADDRESS.fullmatch(address):
            raise Refused(400, f"{shown(address)} is not the address of a machine", "address")
        now = self._clock()
        try:
            hosts = self.store.hosts(hosts=[address])
        except ValueError as error:
            raise Refused(400, shown(str(error), 200), "address") from None
        hosts = [host for host in hosts if host.address == address and port in (0, host.port)]
        if not hosts:
            raise Refused(404, f"{address}: no message of this machine is stored", "address")
        host = max(hosts, key=lambda host: host.last)
        events = list(self.store.events(hosts=[address]))[-EVENTS:]
        reports = [entry for entry in self._crashes.entries() if entry.host == address]
        boots = self._boots(address, host.port, answer)
        starts = [boot["boot"] for boot in boots]
        for number, boot in enumerate(boots):
            end = boots[number + 1]["first"] if number + 1 < len(boots) else float("inf")
            boot["crashes"] = sum(boot["first"] <= entry.report.received_at < end for entry in reports)
            boot["how_ended"] = _how_ended(events, boot["last"], end) if number + 1 < len(starts) else None
        fields = self._host_fields(host, self._crashes.by_host(), now)
        fields["ports"] = sorted(host.port for host in hosts)
        fields["boots"] = boots
        fields["events"] = [event_fields(event) for event in events]
        fields["reports"] = [entry.fields() for entry in reports[-EVENTS:]]
        fields["damaged"] = self._faults()
        answer.object(fields)

    def _boots(self, address: str, port: int, answer: Answer) -> list[dict[str, Any]]:
        """Return the boots of a sender, the oldest first: from the indexes, and from segments with several."""
        found: dict[int, dict[str, Any]] = {}

        def add(boot: int, first: int, last: int, rows: int, lost: int, release: str | None) -> None:
            known = found.setdefault(
                boot,
                {"boot": boot, "first": first / 1e6, "last": last / 1e6, "messages": 0, "lost": 0, "release": None},
            )
            known["first"] = min(known["first"], first / 1e6)
            if last / 1e6 >= known["last"]:
                known["last"] = last / 1e6
                known["release"] = release or known["release"]
            known["messages"] += rows
            known["lost"] += lost
            known["release"] = known["release"] or release

        def add_rows(rows: pa.Table) -> None:
            rows = rows.filter(pc.equal(rows.column("port"), port))
            if not rows.num_rows:
                return
            grouped = (
                pa.table(
                    {
                        "boot": rows.column("boot"),
                        "at": rows.column("received_at").cast(pa.int64()),
                        "lost": pc.fill_null(rows.column("lost"), 0),
                        "release": rows.column("release").cast(pa.string()),
                    }
                )
                .group_by("boot")
                .aggregate([("at", "min"), ("at", "max"), ([], "count_all"), ("lost", "sum"), ("release", "max")])
            )
            for row in grouped.to_pylist():
                add(row["boot"], row["at_min"], row["at_max"], row["count_all"], row["lost_sum"], row["release_max"])

        # The index has the numbers of a sender with one boot in the segment.
        segments, _ = self.files.lists()
        unread = []
        for file, head in segments:
            try:
                table = None if head is None else head.table("hosts")
            except Damaged as error:
                self.files.name(f"{file.index}: {error}")
                continue
            if table is None:
                continue
            mine = table.filter(pc.and_(pc.equal(table.column("host"), address), pc.equal(table.column("port"), port)))
            for row in mine.to_pylist():
                if row["boots"] == 1:
                    first, last = (round(row[name].timestamp() * 1e6) for name in ("first", "last"))
                    add(row["boot"], first, last, row["rows"], row["lost"], row["release"])
                else:
                    unread.append((file, row["first_row"], row["rows"]))
        for file, first_row, rows in unread:
            if answer.cancelled():
                break
            try:
                opened, _ = segment.open_segment(file.path)
                with opened:
                    at = 0
                    for group in range(opened.num_row_groups):
                        size = opened.metadata.row_group(group).num_rows
                        if at < first_row + rows and at + size > first_row:
                            columns = ["host", "port", "boot", "received_at", "lost", "release"]
                            table = segment.read_group(opened, group, columns)
                            begin = max(0, first_row - at)
                            add_rows(table.slice(begin, min(size, first_row + rows - at) - begin))
                        at += size
            except Damaged as error:
                self.files.name(f"{file.path}: {error}", rows)
        for table in self._tail(answer):
            mine = table.filter(pc.equal(table.column("host").cast(pa.string()), address))
            if mine.num_rows:
                add_rows(mine)
        return sorted(found.values(), key=lambda boot: (boot["boot"], boot["first"]))

    def _tail(self, answer: Answer) -> Iterator[pa.Table]:
        """Yield the rows of the journal."""
        segments, parts = self.files.lists()
        for table in self.files.tail(segments, parts):
            if answer.cancelled():
                return
            yield table

    # Crashes.

    def _crash_list(self, parameters: Parameters, answer: Answer) -> None:
        self.store  # noqa: B018 - raises if there is none: that is not a store without crashes
        answer.object(self._crashes.listed(parameters) | {"damaged": self._crashes.faults()})

    def _crash(self, parameters: Parameters, answer: Answer) -> None:
        self._crashes.shown(parameters, answer)

    def _triage(self, parameters: Parameters, answer: Answer) -> None:
        parameters.text("id")
        answer.object(self._crashes.act(parameters, self._body, self._clock()))

    # The rest.

    def _patterns(self, parameters: Parameters, answer: Answer) -> None:
        answer.object(pattern_list(self.store, parameters) | {"damaged": self._faults()})

    def _events(self, parameters: Parameters, answer: Answer) -> None:
        query = read(parameters).query
        limit = parameters.whole("limit", EVENTS, 1, EVENTS)
        kinds = parameters.texts("kind")
        parameters.end()
        try:
            found = [
                event
                for event in self.store.events(since=query.since, until=query.until, hosts=query.hosts)
                if not kinds or event.kind in kinds
            ]
        except ValueError as error:
            raise Refused(400, str(error).replace("hosts:", "host:", 1), "host") from None
        answer.object(
            {
                "events": [event_fields(event) for event in found[-limit:]],
                "complete": len(found) <= limit,
                "damaged": self._faults(),
            }
        )


def event_fields(event: Event) -> dict[str, Any]:
    """Return an event as an object."""
    return event.fields() | {"release": event.details.get("release")}


def _how_ended(events: Iterable[Event], last: float, end: float) -> str | None:
    """Return in words how a boot ended: of the event of the next boot."""
    for event in events:
        if event.kind in ("rebooted", "booted") and last - 1.0 <= event.received_at <= end + 60.0:
            return event.text
    return None


def _usec(each: Stored) -> int:
    return round(each.message.received_at * 1e6)


def _canonical(each: Stored) -> tuple[Any, ...]:
    """Return the place of a message in the order of live tails: the same as in netconsd.console.tail."""
    seq = getattr(each.message, "seq", None)
    source = each.message.source
    return (
        _usec(each),
        source.address,
        source.port,
        each.boot,
        seq or 0,
        each.number or 0,
    )


def _dropped(fields: dict[str, Any]) -> bytes:
    return b"event: dropped\ndata: %b\n\n" % json.dumps(fields).encode()


def _beyond(chosen: Filter, edge: Stored, *, earlier: bool) -> Filter:
    """Return a filter that ends or begins at the time of a message."""
    query, at = chosen.query, edge.message.received_at
    if earlier:
        until = at if query.until is None else min(at, query.until)
        if query.since is not None and query.since > until:
            until = query.since
        return replace(chosen, query=replace(query, until=until))
    since = at if query.since is None else max(at, query.since)
    if query.until is not None and query.until < since:
        since = query.until
    return replace(chosen, query=replace(query, since=since))


def _after(found: Iterable[Stored], edge: Stored, *, toward_edge: bool) -> Iterator[Stored]:
    """Yield the messages of a search on one side of a message, which itself may not be among them.

    :param toward_edge: the search ends at its time; otherwise it begins there.
    """
    at = _usec(edge)
    if toward_edge:
        for each in found:
            if each.id == edge.id:
                return
            yield each
        return
    # Until the message itself, those of its time are on the other side; if it is not found, nobody knows.
    same: list[Stored] | None = []
    for each in found:
        if same is not None and _usec(each) == at:
            if each.id == edge.id:
                same = None
            else:
                same.append(each)
            continue
        if same is not None:
            yield from same
            same = None
        yield each
    if same is not None:
        yield from same


def _lines(each: Stored) -> list[str]:
    return each.message.text.rstrip("\n").split("\n")


def _dmesg(each: Stored) -> bytes:
    message = each.message
    caller = "" if message.caller is None else f"[{printable(message.caller):>6}] "
    return "".join(f"{uptime(message.ts_usec)} {caller}{printable(line)}\n" for line in _lines(each)).encode()


def _text(each: Stored) -> bytes:
    message = each.message
    second, usec = divmod(_usec(each), 1_000_000)
    stamp = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(second))}.{usec:06d}Z"
    level = "-" if message.level is None else LEVELS[message.level]
    head = f"{stamp} {message.source.address} {level} {marks(message)}"
    return "".join(f"{head}{printable(line)}\n" for line in _lines(each)).encode()


def _jsonl(each: Stored) -> bytes:
    return to_json(each.message) + b"\n"
