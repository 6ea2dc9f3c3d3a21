"""netconsd replay sends the entries of files through lanes into modules, in the time of the files."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from netconsd.cli import storeoptions
from netconsd.cli.inputs import Progress
from netconsd.cli.replay import Replay, main
from netconsd.cli.replayfeed import NAMES_LIMIT, Feed, Times
from netconsd.daemon.config import Configuration
from netconsd.jsonl import from_json, to_json
from netconsd.message import ExtendedMessage, Message
from netconsd.names import Names
from netconsd.protocol.counters import DATAGRAM_OUTCOMES
from netconsd.read.entries import Datagram, Line, Whole
from netconsd.settings import Settings
from netconsd.testing import extended, extended_message, legacy_message
from tests.support.captures import DIRECTORY
from tests.support.packets import ip, pcap, pcapng, udp
from tests.support.scripted_lane import ALICE, BOB, Delivered, lane_with, run

RECORDING = DIRECTORY / "amd64-6.12-null-read-panic.jsonl"
WRITTEN = 1_800_000_000.0


def test_times_are_those_of_the_entries() -> None:
    """A Unix time is kept; seconds begin when the file was written; without a time it is that of the entry before."""
    times = Times()
    times.begin(WRITTEN)
    assert times.at(None) == (WRITTEN, 0.0)
    assert times.at(WRITTEN + 2.5) == (WRITTEN + 2.5, 2.5)
    assert times.at(None) == (WRITTEN + 2.5, 2.5)
    times.begin(WRITTEN)
    assert times.at(0.0) == (WRITTEN, 2.5)
    assert times.at(1.0) == (WRITTEN + 1.0, 3.5)


def test_monotonic_time_never_goes_back() -> None:
    """Neither within a file whose times go back, nor at the begin of an older file."""
    times = Times()
    times.begin(WRITTEN)
    assert times.at(1_700_000_000.0) == (1_700_000_000.0, 0.0)
    assert times.at(1_700_000_003.0) == (1_700_000_003.0, 3.0)
    assert times.at(1_700_000_001.0) == (1_700_000_001.0, 3.0)
    times.begin(WRITTEN)
    assert times.at(1_600_000_000.0) == (1_600_000_000.0, 3.0)


def fed(*entries: Line | Whole | Datagram, names: Names | None = None) -> tuple[list[Message], Feed, Any]:
    """Return the messages that a lane delivers, the feed, and the lane."""
    delivered = Delivered()
    lane = lane_with(delivered)
    feed = Feed([lane], *([] if names is None else [names.add]))
    feed.begin(WRITTEN)
    feed.put(entries)
    run(lane)
    return delivered.messages, feed, lane


def test_datagrams_go_through_the_stream() -> None:
    """They are put in order, repeats are dropped, and each message has the time of its datagram."""
    messages, feed, lane = fed(
        *(
            Datagram(number, float(number), ALICE, extended(f"text {seq}", seq=seq))
            for number, seq in ((0, 1), (1, 2), (2, 2), (3, 3))
        ),
        Datagram(4, 3.0, BOB, b"legacy\n"),
    )
    assert [(message.text, message.received_at - WRITTEN) for message in messages] == [
        ("text 1", 0.0), ("text 2", 1.0), ("text 3", 3.0), ("legacy", 3.0),
    ]  # fmt: skip
    assert lane.counters.dropped_duplicate == 1
    assert sum(getattr(lane.counters, name) for name in DATAGRAM_OUTCOMES) == feed.datagrams == feed.entries == 5


def test_messages_are_delivered_as_they_are() -> None:
    """A message that a file has with all its fields keeps its marks and its place among the datagrams of its sender."""
    kept = [extended_message("b", seq=9, received_at=WRITTEN + 1, new=True, missing=3), legacy_message("c")]
    messages, feed, lane = fed(
        Datagram(1, WRITTEN, ALICE, b"a\n"),
        *(Whole(2, message) for message in kept),
        Datagram(3, WRITTEN + 2, ALICE, b"d\n"),
    )
    assert [message.text for message in messages] == ["a", "b", "c", "d"]
    assert messages[1:3] == kept
    assert [to_json(message) for message in messages[1:3]] == [to_json(message) for message in kept]
    assert (feed.datagrams, feed.messages, lane.backlog) == (2, 2, 0)


def test_lines_are_legacy_text() -> None:
    """A line has prefix and time stamp of the kernel; a text that looks like a record is no record."""
    messages, feed, _ = fed(
        Line(1, WRITTEN, "192.0.2.9", b"<3>[   12.345678] disk failed"),
        Line(2, None, None, b"plain"),
        Line(3, None, None, b"6,7,8,-;not a record"),
    )
    assert [(message.text, message.level, message.ts_usec, message.source.address) for message in messages] == [
        ("disk failed", 3, 12_345_678, "192.0.2.9"),
        ("plain", None, None, "192.0.2.1"),
        ("6,7,8,-;not a record", None, None, "192.0.2.1"),
    ]
    assert feed.lines == 3


def test_hosts_with_a_name_alone_keep_it() -> None:
    """Each gets an address of its own, and modules show the name; the number of names has a bound."""
    names = Names()
    messages, feed, _ = fed(*(Line(1, WRITTEN, host, b"text") for host in ("web01", "web02", "web01")), names=names)
    assert [names.host(message) for message in messages] == ["web01", "web02", "web01"]
    assert len({message.source.address for message in messages}) == 2
    assert all(message.source.address.startswith("2001:db8:") for message in messages)
    feed._hosts.update({f"host{number}": messages[0].source for number in range(NAMES_LIMIT)})
    feed.put([Line(2, None, "web03", b"text")])
    assert "web03" not in feed._hosts


def replay(*arguments: str | Path, stdin: bytes = b"") -> tuple[int, list[str], str]:
    """Run the command; return its status, its output as lines, and its errors."""
    command = [sys.executable, "-m", "netconsd", "replay", *map(str, arguments)]
    done = subprocess.run(command, input=stdin, capture_output=True, check=False)
    return done.returncode, done.stdout.decode().splitlines(), done.stderr.decode()


needs_recordings = pytest.mark.skipif(not RECORDING.exists(), reason="recordings are not part of a source distribution")


@needs_recordings
def test_a_recording_and_its_jsonl(tmp_path: Path) -> None:
    """A recording reaches the modules; the lines of jsonl, replayed, give the same lines again; all numbers add up."""
    settings = ("--modules", "jsonl", "--set")
    first, second = tmp_path / "first", tmp_path / "second"
    status, _, errors = replay(*settings, f"jsonl.file={first}", RECORDING)
    assert status == 0, errors
    texts = [json.loads(line)["text"] for line in first.read_text().splitlines()]
    assert any("NULL pointer dereference" in text for text in texts)
    count = len(RECORDING.read_text().splitlines())
    assert f"{count} entries read = {count} datagrams\n" in errors
    assert f"{count} datagrams and lines = {count} whole; {len(texts)} messages\n" in errors
    assert f"module jsonl: {len(texts)} messages = {len(texts)} handed over\n" in errors
    status, _, errors = replay(*settings, f"jsonl.file={second}", first)
    assert status == 0, errors
    assert list(map(from_json, second.read_bytes().splitlines())) == list(
        map(from_json, first.read_bytes().splitlines())
    )
    assert second.read_bytes() == first.read_bytes()
    assert f"{len(texts)} entries read = {len(texts)} messages\n" in errors


def test_several_files_modules_and_a_bad_file(tmp_path: Path) -> None:
    """The good files are read, compressed or not; each module gets everything; the bad one is named, with status 2."""
    log, packed, path = tmp_path / "messages", tmp_path / "old.gz", tmp_path / "out"
    log.write_text("Nov 28 07:00:00 web01 kernel: [    1.000000] from syslog\n")
    packed.write_bytes(gzip.compress(b"[    2.000000] from a console\n"))
    missing = tmp_path / "missing"
    status, lines, errors = replay(
        *("--modules", "printer", "--modules", "jsonl", "--set", f"jsonl.file={path}", "--workers", "1"),
        *("--set", "printer.events=false", packed, missing, tmp_path, log),
    )
    assert status == 2
    assert f"{missing}: No such file or directory" in errors
    assert f"{tmp_path}: Is a directory" in errors
    assert ["from a console" in lines[0], "from syslog" in lines[1], "web01" in lines[1]] == [True] * 3
    assert [json.loads(line)["text"] for line in path.read_text().splitlines()] == ["from a console", "from syslog"]
    assert "2 entries read = 2 lines\n" in errors
    assert "module printer: 2 messages = 2 handed over\n" in errors


def test_standard_input_and_the_recorded_time() -> None:
    """Without a file standard input is read; --speed waits, and delivers the same."""
    recording = b"".join(b'{"t": %d, "data": "text %d\\n"}\n' % (number, number) for number in range(3))
    status, lines, errors = replay("--speed", "1000", stdin=recording)
    assert (status, [line.rpartition(" ")[2] for line in lines]) == (0, ["0", "1", "2"]), errors


def test_a_failing_module_is_status_1(tmp_path: Path) -> None:
    """Exceptions of a module are logged and counted."""
    module = tmp_path / "bad.py"
    module.write_text(
        "from zope.interface import moduleProvides\nfrom netconsd.interfaces import IOutputModule\n"
        "moduleProvides(IOutputModule)\n"
        "def start(worker_count): pass\ndef stop(): pass\ndef handle(worker, message): 1 / 0\n"
    )
    status, _, errors = replay("--modules", module, stdin=b"text\n")
    assert status == 1
    assert "ZeroDivisionError" in errors
    assert "1 call failed" in errors


@pytest.mark.parametrize("form", [pcap, pcapng])
def test_a_capture(form: Callable[..., bytes], tmp_path: Path) -> None:
    """Its datagrams reach the modules, in order and once; other packets are counted: all that was read adds up."""
    if form is pcapng:
        pytest.importorskip("pcapng")
    texts = [extended(f"text {seq}", seq=seq) for seq in (1, 3, 2, 2)]
    frames = [*map(udp, texts), bytes(60), udp(b"legacy\n", source=bytes((192, 0, 2, 8)))]
    path, out = tmp_path / "capture", tmp_path / "out"
    path.write_bytes(form(frames, seconds=1_800_000_000))
    status, _, errors = replay("--modules", "jsonl", "--set", f"jsonl.file={out}", "--workers", "1", path)
    assert status == 0, errors
    found = [from_json(line) for line in out.read_bytes().splitlines()]
    assert [(each.text, each.source.address, each.received_at) for each in found] == [
        *((f"text {seq}", "192.0.2.7", WRITTEN + 0.25) for seq in (1, 2, 3)), ("legacy", "192.0.2.8", WRITTEN + 0.25),
    ]  # fmt: skip
    assert "5 entries read = 5 datagrams\n" in errors
    assert "1 other line or packet passed over\n" in errors
    assert "5 datagrams and lines = 3 whole + 1 legacy + 1 dropped_duplicate; 4 messages\n" in errors


def test_records_in_a_file(tmp_path: Path) -> None:
    """``cat /dev/kmsg`` in a file: messages have the numbers, levels and dictionaries of the records."""
    path, out = tmp_path / "kmsg", tmp_path / "out"
    path.write_bytes(b"6,801,5140900,-;usb 1-1: new\n SUBSYSTEM=usb\n DEVICE=c189:1\n3,803,5141000,-;sd: a\\x0ab\n")
    status, _, errors = replay("--modules", "jsonl", "--set", f"jsonl.file={out}", path)
    assert status == 0, errors
    assert "2 entries read = 2 datagrams\n" in errors
    found = [from_json(line) for line in out.read_bytes().splitlines()]
    assert [(each.text, each.level, each.ts_usec) for each in found] == [
        ("usb 1-1: new", 6, 5_140_900),
        ("sd: a\nb", 3, 5_141_000),
    ]
    assert isinstance(found[0], ExtendedMessage)
    assert found[0].dictionary == {"SUBSYSTEM": "usb", "DEVICE": "c189:1"}


def test_a_capture_with_a_part_of_a_datagram(tmp_path: Path) -> None:
    """A datagram of which the capture has one fragment only is named, and counted as passed over."""
    path = tmp_path / "capture"
    path.write_bytes(pcap([ip(bytes(1480), more=True), udp(b"legacy\n", number=2)]))
    status, _, errors = replay(path)
    assert status == 0
    assert f"{path}: 1 fragment of datagrams that are not whole" in errors
    assert "1 other line or packet passed over\n" in errors


def test_a_store(tmp_path: Path) -> None:
    """Messages of a store are delivered as they were, with boots, losses and marks; a crash report has those before."""
    pytest.importorskip("pyarrow")
    first, second, out = tmp_path / "first", tmp_path / "second", tmp_path / "out"
    messages: list[Any] = [extended_message(f"text {n}", seq=n, received_at=WRITTEN + n, ts_usec=n) for n in range(9)]
    messages[0]._new = messages[0]._boot = True
    messages[4]._lost, messages[6]._replayed = 12, True
    messages.append(legacy_message("legacy", address="192.0.2.8", received_at=WRITTEN + 9))
    bug = "WARNING: CPU: 0 PID: 1 at fs/x.c:1 some_function+0x1/0x2"
    messages.append(extended_message(bug, seq=10, level=4, received_at=WRITTEN + 10, ts_usec=10))
    source = tmp_path / "messages"
    source.write_bytes(b"".join(to_json(message) + b"\n" for message in messages))
    assert replay("--modules", "store", "--set", f"store.directory={first}", source)[0] == 0
    for place in (["--store", first], [first]):
        out.unlink(missing_ok=True)
        status, _, errors = replay("--modules", "jsonl", "--set", f"jsonl.file={out}", *place)
        assert status == 0, errors
        assert out.read_bytes().splitlines() == source.read_bytes().splitlines()
        assert f"{len(messages)} entries read = {len(messages)} messages\n" in errors
    assert replay("--modules", "store", "--set", f"store.directory={second}", first)[0] == 0
    from netconsd.store.reader import Store

    copies = [[(each.message, each.boot, each.id) for each in Store(place).messages()] for place in (first, second)]
    assert copies[0] == copies[1]
    # Of jsonl, where each message has a sender of its own, and of a store.
    for store in (first, second):
        [report] = Store(store).reports()
        assert [message.text for message in report.before] == [f"text {n}" for n in range(9)]
    status, _, errors = replay("--modules", "store", "--set", f"store.directory={first}", first)
    assert status == 2
    assert f"{first}: the module store writes to it" in errors


def test_a_store_without_the_library(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A store among the files is an error that says how to install the library."""
    monkeypatch.setattr(storeoptions, "find_spec", lambda name: None)
    replayed = Replay({}, Configuration(Settings(workers=1)), [], "x", Clock())
    done = Deferred.fromCoroutine(replayed._read_store(Feed([lane_with(Delivered())]), "kept", "kept", 0.0))
    assert done.called
    assert capsys.readouterr().err == f"x: kept: {storeoptions.LIBRARY_MISSING}\n"


def test_recorded_time() -> None:
    """--speed waits as long as the recording did, divided by the factor, and no longer."""
    reactor, feed = Clock(), Feed([lane_with(Delivered())])
    feed.begin(WRITTEN)
    replayed = Replay({}, Configuration(Settings(workers=1)), [], "x", reactor, speed=10.0)
    done = Deferred.fromCoroutine(
        replayed._put(feed, [Datagram(1, 0.0, ALICE, b"a\n"), Datagram(2, 5.0, ALICE, b"b\n")], 0.0)
    )
    reactor.pump([0.0] * 4)
    assert feed.entries == 1
    reactor.pump([0.05] * 9)
    assert (feed.entries, done.called) == (1, False)
    reactor.pump([0.05] * 2)
    assert (feed.entries, done.called) == (2, True)


def test_a_bar(tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A large file has a bar on a terminal, which goes away; elsewhere there is none."""
    path = tmp_path / "large"
    path.write_bytes(bytes(100))
    for is_terminal in (True, False):
        monkeypatch.setattr("sys.stderr.isatty", lambda is_terminal=is_terminal: is_terminal, raising=False)
        with path.open("rb") as file:
            progress = Progress(file, "large", large=100)
            while progress.read(25):
                pass
            progress.clear()
        shown = capfd.readouterr().err
        if is_terminal:
            assert [part.split("]")[1].split()[0] for part in shown.split("\r\x1b[K")[1:-1]] == [
                "25", "50", "75", "100",
            ]  # fmt: skip
            assert shown.endswith("\r\x1b[K")
        else:
            assert shown == ""


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--speed", "0"], "0 is not a factor"),
        (["--speed", "nan"], "nan is not a factor"),
        (["--modules", "no/such.py"], "no/such.py"),
        (["--set", "printer.nothing=1"], "nothing"),
    ],
)
def test_wrong_options(arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong option ends the command with a text that names it, before anything is read."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert text in f"{caught.value} {capsys.readouterr().err}"
