"""netconsd crashes finds the reports of the recordings in files of any kind."""

from __future__ import annotations

import gzip
import io
import json
import os
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from netconsd.cli.crashes import ROWS_LIMIT, _Command, _Following, _JsonLines, main
from netconsd.cli.crashfeed import PREFILTER, PREFILTER_JSON, Feed
from netconsd.read.reader import Reader, reader_of
from tests.support.captures import DIRECTORY, FORMS, messages
from tests.support.packets import pcap, udp

OOPS = """\
[   10.000000] BUG: kernel NULL pointer dereference, address: 0000000000000000
[   10.000001] #PF: supervisor read access in kernel mode
[   10.000002] Oops: 0000 [#1] PREEMPT SMP NOPTI
[   10.000003] CPU: 0 PID: 182 Comm: sh Tainted: G           OE      6.1.0-56-amd64 #1
[   10.000004] RIP: 0010:crashme_null_read+0x5/0x10 [crashme]
[   10.000005] Call Trace:
[   10.000006]  <TASK>
[   10.000007]  crashme_proc_write+0x4e/0x80 [crashme]
[   10.000008]  vfs_write+0xc8/0x400
[   10.000009]  </TASK>
[   10.000010] ---[ end trace 0000000000000000 ]---
"""
TITLE = "BUG: unable to handle kernel NULL pointer dereference in crashme_null_read"
QUIET = "".join(f"[    {second}.000000] usb 1-1: new device number {second}\n" for second in range(1, 9))

recordings = sorted(DIRECTORY.glob("*.jsonl"))


def found(data: bytes, *, name: str = "file", every: bool = False) -> list[tuple[str, int | None, int | None, int]]:
    """The reports in a file: title, lines, repeats. ``every``: line by line, without passing over any."""
    feed = Feed(name)
    if every:
        pieces = iter(data.splitlines(keepends=True))
        reports = feed.read(Reader(lambda size: next(pieces, b""), year=2026))
    else:
        reports = feed.read(reader_of(io.BytesIO(data), PREFILTER.find, PREFILTER_JSON.find, year=2026))
    rows = [one for one in reports if one is not None] + feed.finish()
    rows.sort(key=lambda one: one.report.first_line or 0)
    return [(one.report.title, one.report.first_line, one.report.last_line, one.repeats) for one in rows]


@pytest.mark.skipif(not recordings, reason="the recordings are not part of a source distribution")
@pytest.mark.parametrize("path", recordings, ids=[path.stem for path in recordings])
def test_recordings_in_all_forms(path: Path) -> None:
    """A recording has the reports that it should have; written as a log of any form it has the same titles."""
    rows = [line.split("\t") for line in (DIRECTORY / "titles.tsv").read_text().splitlines()]
    wanted = [row[2] for row in rows if row[0] == path.stem and row[1] != "0" and row[6] != "repeat"]
    optional = {
        row[2]
        for row in rows
        if row[0] == path.stem and len(row) > 8 and ("(no report)" in row[8] or "role repeat" in row[8])
    }
    titles = [title for title, *_ in found(path.read_bytes())]
    assert [title for title in wanted if title in titles or title not in optional] == titles
    for name, form in FORMS.items():
        assert [title for title, *_ in found(form(messages(path)))] == titles, name


@pytest.mark.skipif(not recordings, reason="the recordings are not part of a source distribution")
def test_line_by_line_or_whole() -> None:
    """Feeding a file line by line, each line looked at, gives the same reports as blocks with lines passed over."""
    log = b"".join(QUIET.encode() * 50 + FORMS["console"](messages(path)) for path in recordings[::4])
    whole = found(log)
    assert len(whole) > 20
    assert found(log, every=True) == whole


def test_hosts_are_told_apart() -> None:
    """Lines of several hosts in one file make reports of each, although their lines alternate."""
    lines = OOPS.splitlines(keepends=True)
    log = "".join(f"Nov 28 07:00:00 {host} kernel: {line}" for line in lines for host in ("web01", "web02"))
    assert found(log.encode()) == [(TITLE, 1, 21, 0), (TITLE, 2, 22, 0)]


def test_levels_in_words_are_no_hosts() -> None:
    """OpenWrt's logread has the level where syslog has the host: the lines of a report have several levels."""
    levels = ("kern.alert", "kern.warn", "kern.info")
    lines = [f"Sat Nov 28 07:00:00 2026 {levels[at % 3]} kernel: {line}" for at, line in enumerate(OOPS.split("\n"))]
    assert found("\n".join(lines).encode()) == [(TITLE, 1, 11, 0)]


def test_a_panic_in_the_next_second() -> None:
    """Times of whole seconds make no second report of a panic that came a moment after the end line."""
    oops = "".join(f"Nov 28 07:00:00 web01 kernel: {line}" for line in OOPS.splitlines(keepends=True))
    panic = "Nov 28 07:00:01 web01 kernel: [   10.000100] Kernel panic - not syncing: Fatal exception\n"
    assert found((oops + panic).encode()) == [(TITLE, 1, 12, 0)]


def test_colours_of_dmesg() -> None:
    """A first line is found although dmesg parts it with the escapes of a colour."""
    first, rest = OOPS.split("\n", 1)
    coloured = first.replace("[ ", "\x1b[32m[ ").replace("] BUG: ", "] \x1b[0m\x1b[33mBUG: \x1b[0m\x1b[7m\x1b[31m")
    assert coloured.count("\x1b[") == 6
    assert found(f"{coloured}\x1b[0m\n{rest}".encode())[0][:2] == (TITLE, 1)


def test_netconsole_received_by_syslog_daemons() -> None:
    """The datagrams of two machines, as rsyslog and syslog-ng wrote them, make a report of each machine."""
    lines = [line.split("] ", 1)[1] for line in OOPS.splitlines()]
    traditional = "".join(
        f"Nov 28 07:00:00 {host} 4,{number},{10_000_000 + number},-;{text}#012 role=web\n"
        for number, text in enumerate(lines)
        for host in ("192.0.2.7", "192.0.2.8")
    )
    assert found(traditional.encode()) == [(TITLE, 1, 21, 0), (TITLE, 2, 22, 0)]
    relayed = ""
    for number, text in enumerate(lines):
        word, colon, rest = text.partition(": ")
        tag, space = (word, "  ") if colon and " " not in word else (text.partition(" ")[0], " ")
        rest = rest if space == "  " else text.partition(" ")[2]
        relayed += f"<13>1 2026-11-28T07:00:00Z 192.0.2.7 4,{number},{10_000_000 + number},-;{tag} - - -{space}{rest}\n"
    assert found(relayed.encode()) == [(TITLE, 1, 11, 0)]


def test_hosts_are_bounded() -> None:
    """A file with more hosts than there is room for closes the report of the one silent longest, and says why."""
    first = OOPS.splitlines(keepends=True)[0]
    log = "".join(f"Nov 28 07:00:00 host{number} kernel: {first}" for number in range(20))
    feed = Feed("file", hosts=8)
    reports = [one for one in feed.read(Reader(io.BytesIO(log.encode()).read, year=2026)) if one] + feed.finish()
    assert len(reports) == 20
    assert {one.report.incomplete for one in reports[:12]} == {"the file has too many hosts"}


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log with an oops in line 9."""
    path = tmp_path / "console.log"
    path.write_text(QUIET + OOPS + QUIET)
    return path


def objects(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """The lines that were printed."""
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_json(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--json prints an object for each report, in order, with file, lines and the fields of a report."""
    assert main(["--json", str(log)]) == 0
    (report,) = objects(capsys)
    assert (report["file"], report["title"], report["kind"], report["function"]) == (
        str(log), TITLE, "memory-fault", "crashme_null_read",
    )  # fmt: skip
    assert (report["first_line"], report["last_line"], report["incomplete"]) == (9, 19, None)
    assert report["alternatives"]
    assert (report["release"], report["host"], report["source"], report["received_at"]) == (
        "6.1.0-56-amd64", None, None, None,
    )  # fmt: skip


def test_table(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The table has severity, kind, count, title, and the place."""
    log.write_text(QUIET + OOPS + OOPS.replace("   10.", "   20."))
    assert main([str(log)]) == 0
    head, row, place = capsys.readouterr().out.splitlines()
    assert head.split() == ["severity", "kind", "count", "title"]
    assert row.split(maxsplit=3)[1:] == ["memory-fault", "2", TITLE]
    assert place.strip() == f"{log}:9"


def test_groups(log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--groups adds up the reports of all files by bug; a file without hosts stands for a machine."""
    other = tmp_path / "other.log"
    other.write_text(OOPS)
    assert main(["--groups", "--json", str(log), str(other)]) == 0
    (group,) = objects(capsys)
    assert (group["title"], group["count"]) == (TITLE, 2)
    assert set(group["machines"]) == {str(log), str(other)}
    assert main(["--groups", str(log), str(other)]) == 0
    assert TITLE in capsys.readouterr().out


def test_dumps_of_pstore(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The parts of a dump in files of their own are put together, and the report says in which it begins."""
    lines = OOPS.splitlines(keepends=True)
    for part, text in ((1, lines[6:]), (2, lines[2:6]), (3, lines[:2])):
        (tmp_path / f"dmesg-efi-{part}").write_text(f"Oops#1 Part{part}\n{''.join(text)}")
    assert main(["--json", *(str(tmp_path / f"dmesg-efi-{part}") for part in (1, 2, 3))]) == 0
    (report,) = objects(capsys)
    assert (report["title"], report["file"], report["first_line"]) == (TITLE, str(tmp_path / "dmesg-efi-3"), 2)


def test_status(log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """1 without a report; 2 for a file that cannot be read, with its name and the reason, and the others are read."""
    quiet = tmp_path / "quiet"
    for text in ("", QUIET, "no newline"):
        quiet.write_text(text)
        assert main([str(quiet)]) == 1
    damaged = tmp_path / "damaged.gz"
    damaged.write_bytes(gzip.compress(OOPS.encode() * 100)[:-20])
    packed = tmp_path / "packed.zip"
    packed.write_bytes(b"PK\x03\x04" + bytes(100))
    capsys.readouterr()
    missing = tmp_path / "missing"
    assert main([str(missing), str(tmp_path), str(damaged), str(packed), str(log)]) == 2
    printed = capsys.readouterr()
    assert printed.out.count(TITLE) >= 1
    errors = printed.err.splitlines()
    assert errors[0] == f"netconsd crashes: {missing}: No such file or directory"
    assert errors[1] == f"netconsd crashes: {tmp_path}: Is a directory"
    assert errors[2].startswith(f"netconsd crashes: {damaged}: ")
    assert errors[3] == f"netconsd crashes: {packed} is zip, which is not read: use `unzip` first"
    assert len(errors) == 4


def test_a_capture_with_cut_packets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The user is told that packets of a capture were cut; what is there is searched."""
    path = tmp_path / "cut.pcap"
    path.write_bytes(pcap([udp(line.encode() + b"\n", number=at)[:-1] for at, line in enumerate(OOPS.splitlines())]))
    assert main([str(path)]) == 0
    output = capsys.readouterr()
    assert TITLE in output.out
    assert output.err.startswith(f"netconsd crashes: {path}: 11 datagrams cut by the capture")


def test_standard_input(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a file, and for "-", standard input is read."""
    saved = os.dup(0)
    try:
        for arguments in ([], ["-"]):
            with log.open("rb") as file:
                os.dup2(file.fileno(), 0)
            assert main(arguments) == 0
            assert TITLE in capsys.readouterr().out
    finally:
        os.dup2(saved, 0)
        os.close(saved)


def test_a_terminal_as_standard_input(capsys: pytest.CaptureFixture[str]) -> None:
    """Who names no file, and types nothing into a pipe, reads what the command waits for."""
    saved = os.dup(0)
    master, terminal = os.openpty()
    try:
        os.dup2(terminal, 0)
        # Ctrl-D at the begin of a line is the end of the input.
        os.write(master, b"\x04")
        assert main([]) == 1
        assert capsys.readouterr().err.splitlines()[0] == "netconsd crashes: reads standard input; Ctrl-D ends it"
    finally:
        os.dup2(saved, 0)
        for descriptor in (saved, master, terminal):
            os.close(descriptor)


def test_many_reports(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """More reports than are kept for sorting are all printed, in order."""
    path = tmp_path / "log"
    with path.open("w") as file:
        for number in range(ROWS_LIMIT + 20):
            file.write(f"[{10 * number:5}.000000] unregister_netdevice: waiting for lo{number} to become free.\n")
            file.write(f"[{10 * number + 8:5}.000000] Linux version 6.{number}\n")
    assert main(["--json", str(path)]) == 0
    lines = [report["first_line"] for report in objects(capsys)]
    assert lines == sorted(lines)
    assert len(lines) >= ROWS_LIMIT


def test_memory() -> None:
    """First lines of reports without end, of many hosts, take bounded memory."""
    line = OOPS.splitlines()[0].encode()

    def read(size: int, left: list[int] = [6]) -> bytes:  # noqa: B006
        left[0] -= 1
        return b"".join(
            b"Nov 28 07:00:00 host%d kernel: %s\n" % (number % 500, line) for number in range(100)
        ) if left[0] > 0 else b""  # fmt: skip

    tracemalloc.start()
    try:
        feed = Feed("file", hosts=64)
        for _ in feed.read(Reader(read, PREFILTER.find, PREFILTER_JSON.find, year=2026)):
            pass
        feed.finish()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 64 << 20


class Clock:
    """Monotonic seconds that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def titles(following: _Following) -> list[str]:
    """The titles of the reports that are finished by now."""
    return [one.report.title for one in following.turn()]


def test_follow(tmp_path: Path) -> None:
    """A report is there as soon as it is finished, by its end or by silence; rotation and truncation lose nothing."""
    path = tmp_path / "log"
    clock = Clock()
    following = _Following(str(path), clock)
    assert titles(following) == []
    path.write_text(QUIET + OOPS[:200])
    assert titles(following) == []
    with path.open("a") as file:
        file.write(OOPS[200:])
    assert titles(following) == []
    clock.now = 60.0
    assert titles(following) == [TITLE]
    # A file that is renamed still grows until the next one is there.
    with path.open("a") as file:
        path.rename(tmp_path / "log.1")
        file.write("[   30.000000] Linux version 6.1\n" + OOPS.replace("   10.", "   40."))
    path.write_text(QUIET)
    assert titles(following) + titles(following) + titles(following) == [TITLE]
    path.write_text("")
    assert titles(following) == []
    path.write_text(OOPS)
    assert titles(following) == []
    clock.now = 120.0
    assert titles(following) == [TITLE]
    assert not following.ended


def test_follow_through_rotation(tmp_path: Path) -> None:
    """A crash that begins in a file and ends in the next one is one report, wherever it is cut."""
    lines = OOPS.splitlines(keepends=True)
    for cut in range(1, len(lines)):
        path = tmp_path / f"log-{cut}"
        path.write_text(QUIET + "".join(lines[:cut]))
        clock = Clock()
        following = _Following(str(path), clock)
        found = titles(following)
        path.rename(tmp_path / "log.1")
        path.write_text("".join(lines[cut:]) + QUIET)
        found += titles(following) + titles(following) + titles(following)
        clock.now = 60.0
        found += titles(following)
        assert found == [TITLE], cut
        assert not following.ended


def test_follow_survives_a_bad_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A followed file in whose place a compressed one is put ends with its reports and an error; others go on."""
    bad, good = tmp_path / "bad", tmp_path / "good"
    bad.write_text(OOPS)
    good.write_text(QUIET)
    turns = 0

    def step(_: float) -> None:
        nonlocal turns
        turns += 1
        if turns == 1:
            bad.unlink()
            bad.write_bytes(gzip.compress(b"x"))
        elif turns == 6:
            good.write_text(QUIET + OOPS)
        elif turns == 9:
            raise KeyboardInterrupt

    assert (
        _Command("netconsd crashes", _JsonLines("netconsd crashes")).follow([str(bad), str(good)], step, Clock()) == 2
    )
    printed = capsys.readouterr()
    assert [json.loads(line)["file"] for line in printed.out.splitlines()] == [str(bad), str(good)]
    assert "leave out --follow" in printed.err


def test_follow_standard_input(capsys: pytest.CaptureFixture[str]) -> None:
    """The end of standard input ends --follow; a directory or a compressed file is refused."""
    reading, writing = os.pipe()
    os.write(writing, OOPS.encode())
    os.close(writing)
    saved = os.dup(0)
    os.dup2(reading, 0)
    try:
        assert main(["--follow", "--json"]) == 0
    finally:
        os.dup2(saved, 0)
        os.close(saved)
        os.close(reading)
    assert [report["title"] for report in objects(capsys)] == [TITLE]


def test_follow_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A directory and a compressed file cannot be followed."""
    packed = tmp_path / "log.gz"
    packed.write_bytes(gzip.compress(b"x"))
    assert main(["--follow", str(tmp_path), str(packed)]) == 2
    printed = capsys.readouterr().err
    assert "Is a directory" in printed
    assert "leave out --follow" in printed


def test_titles_on_a_narrow_terminal(
    log: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal of 80 columns a long title is broken between words, and nothing of it is cut."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    for option in ((), ("--groups",)):
        assert main([*option, str(log)]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert max(map(len, lines)) <= 80
        column = lines[0].index("title")
        begin, rest = lines[1][column:], lines[2][column:]
        assert lines[2][:column].isspace()
        assert TITLE.startswith(f"{begin} {rest}")
        assert rest.endswith("crashme_null_read") or lines[3].strip() == "crashme_null_read"


def test_recordings_without_addresses_are_machines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of recordings whose datagrams name no sender, each file stands for a machine, in groups also."""
    lines = [json.dumps({"t": 1.0, "data": f"4,{seq},{seq},-;{line[15:]}\n"}) for seq, line in
             enumerate(OOPS.splitlines(), 1)]  # fmt: skip
    files = [tmp_path / name for name in ("one.jsonl", "two.jsonl")]
    for file in files:
        file.write_text("\n".join(lines))
    assert main(["--groups", "--json", *map(str, files)]) == 0
    (group,) = objects(capsys)
    assert set(group["machines"]) == set(map(str, files))


def test_groups_without_a_time_of_day(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In groups, times are null where the file has no time of day, and Unix time where it has."""
    assert main(["--groups", "--json", str(log)]) == 0
    (group,) = objects(capsys)
    assert (group["first"], group["last"]) == (None, None)
    assert group["machines"] == {str(log): [1, None, None]}
    assert group["releases"] == {"6.1.0-56-amd64": [1, None, None]}
    log.write_text("".join(f"2026-11-22T14:04:05Z {line}" for line in OOPS.splitlines(keepends=True)))
    assert main(["--groups", "--json", str(log)]) == 0
    (group,) = objects(capsys)
    assert group["first"] == group["last"] == 1795356245.0


def test_nothing_found_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a report, people get a line on standard error; programs that read JSON do not."""
    quiet = tmp_path / "quiet"
    quiet.write_text(QUIET)
    assert main(["--groups", str(quiet)]) == 1
    assert capsys.readouterr() == ("", "netconsd crashes: no crash report was found\n")
    assert main(["--json", str(quiet)]) == 1
    assert capsys.readouterr() == ("", "")
