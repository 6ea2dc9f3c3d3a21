"""The events of recorded kernels that crashed, rebooted and lost messages."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from netconsd.crash.event import Event
from netconsd.crash.life import GAP_RECORDS, LITERALS, Life
from netconsd.crash.recogniser import Recogniser
from netconsd.crash.report import Report
from netconsd.crash.watch import watches
from netconsd.protocol.counters import WorkerCounters
from netconsd.protocol.message import ExtendedMessage, Message
from netconsd.protocol.stream import NEVER, Stream
from netconsd.protocol.table import SourceTable
from netconsd.testing import extended, source

DATA = Path(__file__).parents[1] / "data"
#: Recordings with the texts of the lines that say something of the machine's life; the other texts are numbers.
LIVES: dict[str, dict[str, Any]] = json.loads((DATA / "lives.json").read_text())
#: The records of those of them that other tests use as well.
BOOTS: dict[str, dict[str, Any]] = json.loads((DATA / "boots.json").read_text())
#: The whole recordings, which are not in the repository, and more of them.
CAPTURES = Path(__file__).parents[2].parent / "shared" / "captures"

NOTHING_WITH_PANIC = "rebooted; nothing of a crash arrived, and this kernel sends none with panic=1"
NOTHING_UNLESS = "rebooted; nothing of a crash arrived, and this kernel sends none unless panic=0"
AFTER_SYSRQ = "rebooted after a crash: kernel panic: sysrq triggered crash"
NULL = "unable to handle kernel NULL pointer dereference"
STARTED = "netconsole started sending"

#: The events of each recording, decided by reading it: seconds, and a text or the begin of one.
EXPECTED: dict[str, list[tuple[float, str]]] = {
    "amd64-5.10-kmsg-bytes": [(7.03, "booted")],
    "amd64-6.1-kmsg-bytes": [(8.5, "booted")],
    "amd64-6.12-kmsg-bytes": [(6.18, "booted"), (6.18, STARTED)],
    "amd64-6.1-crash-loop": [(9.31, "booted"), (19.99, AFTER_SYSRQ), (31.11, AFTER_SYSRQ), (45.71, AFTER_SYSRQ)],
    "amd64-6.12-crash-loop": [
        *((6.64, "booted kernel 6.12.117+deb13-amd64"), (6.64, STARTED)),
        *((at, text) for at in (16.09, 29.49, 38.99, 48.9) for text in (AFTER_SYSRQ, STARTED)),
    ],
    # The target is a module parameter, so that the whole log is sent in each boot, with the command line.
    "amd64-7.3-crash-loop-parameter": [
        *((6.46, "booted kernel 7.3.4+deb13-amd64"), (6.47, STARTED)),
        *((21.64, NOTHING_WITH_PANIC), (21.66, STARTED), (33.31, NOTHING_WITH_PANIC), (33.35, STARTED)),
        *((42.95, NOTHING_WITH_PANIC), (42.97, STARTED)),
    ],
    "amd64-6.1-kdump-sysrq-c": [(9.43, "booted"), (19.53, AFTER_SYSRQ)],
    "amd64-6.12-kdump-sysrq-c": [(6.23, "booted"), (6.23, STARTED), (15.08, AFTER_SYSRQ), (15.08, STARTED)],
    # The oops ends without a panic, but with kdump it is fatal.
    "amd64-6.12-kdump-null-read": [
        *((6.9, "booted"), (6.9, STARTED)),
        (16.47, f"rebooted after a crash: BUG: {NULL} in crashme_null_read"),
        (16.48, STARTED),
    ],
    "amd64-7.3-kdump-post-notifiers": [(6.17, "booted"), (6.17, STARTED), (16.09, NOTHING_UNLESS), (16.09, STARTED)],
    "amd64-7.3-kexec-e": [(7.79, "booted"), (7.79, STARTED), (24.78, NOTHING_UNLESS), (24.78, STARTED)],
    "amd64-7.3-watchdog-hw": [
        *((8.06, "booted"), (8.06, STARTED)),
        *((24.57, AFTER_SYSRQ), (24.57, STARTED), (41.3, AFTER_SYSRQ), (41.3, STARTED)),
    ],
    # A buffer that is sent again within a panic is no boot, and starts nothing.
    "amd64-6.1-panic-replay": [(7.81, "booted")],
    "amd64-6.12-panic-replay-panic5": [(6.49, "booted"), (6.49, STARTED)],
    "amd64-6.12rt-panic-replay": [(6.52, "booted kernel 6.12.117+deb13-rt-amd64"), (6.52, STARTED)],
    "amd64-7.3-panic-print": [(6.69, "booted"), (6.69, STARTED)],
    "amd64-7.3-panic-replay-panic5": [(6.36, "booted"), (6.36, STARTED)],
    "amd64-7.3-no-auto-verbose": [(6.23, "booted"), (6.23, STARTED)],
    "amd64-7.3-oops-then-hang": [(6.57, "booted"), (6.57, STARTED)],
    "amd64-6.12-oops-then-panic5": [(6.34, "booted"), (6.34, STARTED)],
    "amd64-6.12-oops-only": [(7.29, "booted"), (9.32, "14 messages probably lost on the way")],
    "amd64-6.12-mtu500": [(9.12, "booted")],
    # A bridge and a macvlan drop messages while their port has no carrier.
    "amd64-7.3-bridge": [(7.7, "booted"), (7.7, STARTED), (10.83, "8 messages lost on the way")],
    "amd64-7.3-macvlan": [(7.29, "booted"), (7.3, STARTED), (10.46, "1 message lost on the way")],
    "amd64-6.12-fifo-warn": [(6.0, "booted"), (6.0, STARTED)],
    "amd64-6.12rt-fifo-warn-nothrottle": [(13.26, "booted"), (13.26, STARTED)],
    "amd64-6.1rt-fifo-warn-nothrottle": [(14.1, "booted"), (14.1, STARTED)],
    "amd64-7.3-fifo-warn-nothrottle": [(13.48, "booted"), (13.48, STARTED)],
    "amd64-7.3rt-fifo-warn": [(6.62, "booted kernel 7.3.4+deb13-rt-amd64"), (6.62, STARTED)],
    # Neither a reboot nor a power-off sent a line that announces it.
    "amd64-6.12-reboot": [
        *((18.31, "booted kernel 6.12.117+deb13-amd64"), (18.34, STARTED)),
        *((38.51, "rebooted; nothing announced it, and nothing of a crash arrived"), (38.56, STARTED)),
    ],
    "amd64-6.12-poweroff": [(33.14, "booted"), (33.14, STARTED)],
    # The target is disabled and enabled again.
    "amd64-6.12-userdata": [(12.88, "booted"), (12.88, STARTED), (13.15, STARTED)],
    "amd64-6.12-nic-comes-back": [(11.45, "booted"), (11.45, STARTED)],
    "amd64-7.3-nic-comes-back": [
        *((16.31, "booted"), (16.31, STARTED)),
        (20.6, "netconsole sends again through the interface eth0"),
    ],
}


def excerpt(name: str) -> list[tuple[float, bytes]]:
    """(seconds, datagram) of the records of a recording in the repository."""
    life = LIVES[name]
    release = life["release"]
    return [
        (at, extended(life["texts"].get(str(index), f"text {text}"), seq=seq, ts_usec=ts, msgid=msgid, release=release))
        for index, (at, seq, ts, msgid, text) in enumerate(life.get("records") or BOOTS[name]["records"])
    ]


def whole(name: str) -> list[tuple[float, bytes]]:
    """(seconds, datagram) of a whole recording."""
    (file,) = CAPTURES.glob(f"**/{name}.jsonl")
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    return [(row["t"], row["data"].encode("latin-1")) for row in rows]


def is_for_life(message: Message) -> bool:
    """True for the messages that a worker passes on."""
    if message.new or message.boot or message.limited or any(literal in message.raw for literal in LITERALS):
        return True
    return isinstance(message, ExtendedMessage) and bool(
        message.lost or message.likely_lost or message.missing >= GAP_RECORDS
    )


def events_of(recording: list[tuple[float, bytes]]) -> list[Event]:
    """Play a recording through a stream and a recogniser, with a sweep each second."""
    stream = Stream(source(), WorkerCounters(), 0.2)
    recogniser = Recogniser(stream.source)
    life = Life()
    events: list[Event] = []
    messages = 0

    def note(reports: Sequence[Report], now: float) -> None:
        for report in reports:
            assert life.reported(report, now) == []
        for title, count in recogniser.take_repeats():
            events.extend(life.repeated(stream.source, title, count, now, now))

    def deliver(out: list[Message], now: float) -> None:
        nonlocal messages
        messages += len(out)
        for message in out:
            note(recogniser.take(message, now), now)
            if is_for_life(message):
                events.extend(life.take(message, now))

    now = 0.0
    swept = 0.0
    for at, datagram in recording:
        while stream.deadline <= at:
            out: list[Message] = []
            now = stream.deadline
            stream.expire(now, out)
            deliver(out, now)
        while swept + 1.0 <= at:
            swept += 1.0
            note(recogniser.expire(swept), swept)
            events += life.sweep([(stream.source, stream.last_seen, messages)], swept, swept)
        out = []
        now = at
        stream.feed(datagram, now, now, out)
        deliver(out, now)
    while stream.deadline != NEVER:
        out = []
        now = stream.deadline
        stream.expire(now, out)
        deliver(out, now)
    note(recogniser.finish(), now)
    return events + life.finish(now)


def watched(recording: list[tuple[float, bytes]]) -> list[Event]:
    """Play a recording through a worker's table of senders and its watch; the reports are left out."""
    table = SourceTable(WorkerCounters(), limit=9, reorder_time=0.2, gc_interval=60.0, age=3600.0)
    watch = watches(True, True, lambda: pytest.fail("the watch has failed"))()
    found: list[Event | Report] = []
    for at, datagram in recording:
        while (now := min(table.next_deadline(), watch.next_deadline())) < at:
            found += watch.look(table.advance(now), now)
            found += watch.advance(now, now, table.heard)
        found += watch.look(table.feed([source().key], [datagram], at, at), at)
    found += watch.look(table.flush(), at)
    found += watch.finish(at)
    fatal = [report.received_at for report in found if isinstance(report, Report) and report.fatal]
    events = [event for event in found if isinstance(event, Event)]
    # A module gets the report of a crash before the event that names it.
    assert len(fatal) >= sum(event.details.get("how") == "crash" for event in events)
    for event in events:
        if event.details.get("how") == "crash":
            earlier = found[: found.index(event)]
            assert event.details["title"] in [report.title for report in earlier if isinstance(report, Report)]
    return events


def assert_expected(expected: list[tuple[float, str]], events: list[Event]) -> None:
    """Compare the times, and the begins of the texts."""
    found = [(round(event.received_at, 2), event.text) for event in sorted(events, key=lambda event: event.received_at)]
    assert [at for at, _ in found] == [at for at, _ in expected]
    for (_, text), (_, begin) in zip(found, expected, strict=True):
        assert text.startswith(begin)


@pytest.mark.parametrize("play", [events_of, watched])
@pytest.mark.parametrize("name", LIVES)
def test_a_recording(name: str, play: Callable[[list[tuple[float, bytes]]], list[Event]]) -> None:
    """Each recording yields the events that a reader finds in it, and no other; so it does in a worker."""
    recording = excerpt(name)
    # The repository has three of the four boots of a crash loop.
    assert_expected([row for row in EXPECTED[name] if row[0] < recording[-1][0] + 1], play(recording))


@pytest.mark.parametrize("play", [events_of, watched])
@pytest.mark.parametrize("name", EXPECTED)
@pytest.mark.skipif(not CAPTURES.is_dir(), reason="the whole recordings are not here")
def test_a_whole_recording(name: str, play: Callable[[list[tuple[float, bytes]]], list[Event]]) -> None:
    """The same of the whole recordings, where they are."""
    assert_expected(EXPECTED[name], play(whole(name)))


@pytest.mark.parametrize("name", LIVES)
def test_details_of_a_reboot(name: str) -> None:
    """Each reboot says how, in one of the words of docs/events, and names the release if it was sent."""
    for event in events_of(excerpt(name)):
        if event.kind == "rebooted":
            assert event.details["how"] in {"crash", "kdump", "unannounced"}
            # Without an `r` in the target's parameter, only the first lines of the kernel's log name the release.
            release = event.details.get("release", "")
            assert release == (LIVES[name]["release"] or release)
            assert str(release).startswith(name.split("-")[1]) or "Linux version" not in str(LIVES[name]["texts"])
            assert 4 < float(event.details["uptime"]) < 20
