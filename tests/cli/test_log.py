"""``netconsd log``: formats, options, rows of losses and boots, context, following, Ctrl-C and the pager."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from netconsd.jsonl import from_json
from netconsd.protocol.message import LegacyMessage, Message
from netconsd.store import layout
from netconsd.store.journal import Journal
from netconsd.testing import extended_message, legacy_message, source
from tests.support.nameserver import nameserver
from tests.support.scripted_lane import PATIENCE

pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'netconsd[store]'")
from modules.store import Store as StoreModule
from netconsd.cli import log
from netconsd.cli.pager import pager_of
from netconsd.store.compactor import Compactor
from netconsd.store.reader import Store

T0 = 1_795_859_200.0


def said(text: str, seconds: float, host: int = 1, **fields: Any) -> Message:
    """Return a message of a host."""
    fields.setdefault("seq", int(seconds * 10))
    return extended_message(text, address=f"192.0.2.{host}", received_at=T0 + seconds, **fields)


def open_journal(directory: Path, number: int) -> Journal:
    """Return a journal that is written."""
    (directory / layout.JOURNAL).mkdir(exist_ok=True)
    return Journal(
        directory / layout.JOURNAL, 1, first_number=number, part_bytes=1 << 30, part_seconds=1e9, most_bytes=1 << 40
    )


def write(directory: Path, number: int, messages: list[Message]) -> None:
    """Add messages to a store as one part of its journal."""
    journal = open_journal(directory, number)
    journal.append(0, messages)
    journal.close()


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Local time is UTC, and no setting of the person who runs the tests counts."""
    import time

    for name in ("NO_COLOR", "PAGER", "NETCONSD_PAGER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Return a store: a segment and a journal."""
    first = said("Linux version 7.3.1", 0, level=5, ts_usec=0, release="7.3.1", userdata={"host": "web01"})
    first._new = first._boot = True
    lost: Any = said("link is down", 2, level=4, ts_usec=2_000_000, caller="T7")
    lost._lost = 12
    write(tmp_path, 1, [first, said("eth0: up", 1, ts_usec=1_000_000), lost])
    compactor = Compactor(tmp_path)
    compactor.recover()
    compactor.compact()
    guess: Any = said("disk\nis gone\x1b[2J", 3, 2, level=2, ts_usec=3_000_000)
    guess._lost, guess._likely_lost = -1, 3
    write(tmp_path, 2, [guess, legacy_message("plain line\n", address="192.0.2.3", received_at=T0 + 4)])
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], store: Path, *options: str, status: int = 0) -> str:
    """Run the command, and return its output."""
    assert log.main(["--store", str(store), *options]) == status
    return capsys.readouterr().out


def test_short(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Losses and boots have rows of their own; a text cannot look like another message, nor move the cursor."""
    assert run(capsys, store, "-o", "short") == (
        "-- web01@192.0.2.1: booted --\n"
        "11-28 09:46:40 web01@192.0.2.1 notice [new] Linux version 7.3.1\n"
        "11-28 09:46:41 web01@192.0.2.1 info   eth0: up\n"
        "-- web01@192.0.2.1: 12 lost --\n"
        "11-28 09:46:42 web01@192.0.2.1 warn   link is down\n"
        "-- 192.0.2.2: 3 missing --\n"
        "11-28 09:46:43 192.0.2.2       crit   disk\n"
        "                                      is gone\\x1b[2J\n"
        "11-28 09:46:44 192.0.2.3       -      plain line\n"
    )


def test_long_lines_on_a_terminal() -> None:
    """They are broken at the terminal's width, below the sender or the text: no text can look like another message."""
    text = "word " * 20 + "x" * 200
    for width, format, indent in ((80, "short", 15), (200, "full", 68)):
        lines = log.Lines(format, False, ("seq",), width=width).of_message(said(text, 1)).decode().splitlines()
        assert all(len(line) <= width for line in lines)
        assert all(line.startswith(" " * indent) and line[indent] != " " for line in lines[1:])
        column = lines[0].index("word")
        assert (lines[0][column:] + "".join(line[indent:] for line in lines[1:-1])).replace(" ", "") == text.replace(
            " ", ""
        )
        assert lines[-1].strip() == "{seq=10}"
    # Elsewhere a message has a line for each line of its text.
    assert len(log.Lines("short", False).of_message(said(text, 1)).splitlines()) == 1


def test_full(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The date with the year and the offset, the uptime, the caller, and the fields that were asked for."""
    assert run(capsys, store, "--grep", "link", "--fields", "seq,release") == (
        "-- 192.0.2.1: 12 lost --\n"
        "2026-11-28 09:46:42.000+00:00 192.0.2.1       [    2.000000] warn   [T7] link is down {seq=20}\n"
    )


def test_dmesg(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The lines of dmesg, which tools for these read."""
    assert run(capsys, store, "-o", "dmesg", "--host", "192.0.2.1") == (
        "-- web01@192.0.2.1: booted --\n[    0.000000] Linux version 7.3.1\n[    1.000000] eth0: up\n"
        "-- web01@192.0.2.1: 12 lost --\n[    2.000000] [    T7] link is down\n"
    )


def test_json_and_raw(store: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """JSON is what jsonl writes, with the identity; raw is the received bytes."""
    expected = list(Store(store).messages())
    assert log.main(["--store", str(store), "-o", "json"]) == 0
    lines = capsysbinary.readouterr().out.splitlines()
    assert [from_json(line) for line in lines] == [each.message for each in expected]
    assert [(json.loads(line)["id"], json.loads(line)["boot_id"]) for line in lines] == [
        (each.id, each.boot) for each in expected
    ]
    assert log.main(["--store", str(store), "-o", "raw"]) == 0
    assert capsysbinary.readouterr().out == b"".join(each.message.raw for each in expected)


def test_raw_on_a_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    """Bytes that would reach the terminal's control, or are no UTF-8, are escapes; other lines are as received."""
    (tmp_path / layout.JOURNAL).mkdir()
    journal = Journal(tmp_path / layout.JOURNAL, 1, first_number=1, part_bytes=9999, part_seconds=9, most_bytes=9999)
    for raw in ("grüße\n".encode(), b"\x1b]0;x\x07 \x9b2J\n"):
        journal.append(0, [LegacyMessage(source(), 1.0, raw)])
    journal.close()
    monkeypatch.setattr(log, "is_terminal", lambda: True)
    assert log.main(["--store", str(tmp_path), "-o", "raw", "--no-pager"]) == 0
    assert capsysbinary.readouterr().out == "grüße\n\\x1b]0;x\\x07 \\x9b2J\n".encode()


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (["-n", "2"], "34"),
        (["-r"], "43210"),
        (["-r", "-n", "2"], "43"),
        (["--level", "warn"], "23"),
        (["--level", "warning"], "23"),
        (["-p", "4"], "23"),
        (["--level", "notice..warn"], "02"),
        (["--level", "5..5"], "0"),
        (["--level", "info"], "0123"),
        (["-n"], "01234"),
        (["-n", "0"], ""),
        (["-S", "2026-11-28 09:46:42", "-U", "2026-11-28 09:46:43"], "23"),
        (["--since", "-2000d"], "01234"),
        (["--host", "web01@192.0.2.2"], "3"),
        (["--host", "192.0.2.0/31"], "012"),
        (["-g", "eth0", "-b"], "1"),
        (["--host", "web*"], "012"),
        (["--host", "192.0.2.2", "--host", "192.0.2.3"], "34"),
        (["--host", "host=web01"], "0"),
        (["--since", "2026-11-28 09:46:42"], "234"),
        (["--until", f"@{T0 + 1:.0f}"], "01"),
        (["--grep", "LINUX"], ""),
        (["--grep", "linux"], "0"),
        (["--exclude", "l"], "013"),
        (["--release", "7.3"], "0"),
        (["--boot", "--grep", "e"], "0123"),
        (["--boot", "-1"], ""),
    ],
)
def test_options(store: Path, capsys: pytest.CaptureFixture[str], options: list[str], wanted: str) -> None:
    """Each option chooses its messages, by their places in the store."""
    texts = [each.message.text for each in Store(store).messages()]
    if options == ["--exclude", "l"]:
        wanted = "".join(str(place) for place, text in enumerate(texts) if "l" not in text.lower())
    if options[:1] == ["--boot"] and len(options) == 3:
        wanted = "".join(str(place) for place, text in enumerate(texts) if "e" in text.lower())
    lines = run(capsys, store, "-o", "json", *options, status=0 if wanted else 1).splitlines()
    assert "".join(str(texts.index(json.loads(line)["text"])) for line in lines) == wanted


@pytest.mark.parametrize(
    "options",
    [
        ["--since", "soon"],
        ["--grep", "("],
        ["--host", "192.0.2.0/99"],
        ["--boot", "17"],
        ["--level", "8"],
        ["--level", "err.."],
        ["--level", "loud"],
        ["--fields", "nothing"],
        ["-o", "json", "--fields", "seq"],
        ["-f", "-r"],
        ["-f", "--boot", "-1"],
        ["-f", "--context", "1"],
        ["-n", "-1"],
    ],
)
def test_wrong_options(store: Path, capsys: pytest.CaptureFixture[str], options: list[str]) -> None:
    """The error names the option."""
    with pytest.raises(SystemExit) as ended:
        log.main(["--store", str(store), *options])
    assert ended.value.code == 2
    name = {"-o": "--fields", "-f": "--follow"}.get(options[0], options[0])
    assert name in capsys.readouterr().err.splitlines()[-1]


def test_nothing_found_says_so(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On standard error, so that an empty screen is no riddle."""
    assert log.main(["--store", str(store), "--grep", "absent"]) == 1
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", "netconsd log: no message was found\n")


@pytest.mark.parametrize("name", ["db07", "DB*", "me@db07"])
def test_names_of_the_hosts_file(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    """Machines are shown and chosen by the administrator's names, of the option or the configuration."""
    names, config = tmp_path / "names", tmp_path / "netconsd.toml"
    names.write_text("192.0.2.2 db07\n")
    config.write_text(f'hosts-file = "names"\nmodules = ["store"]\n[module.store]\ndirectory = "{store}"\n')
    for options in (["--store", str(store), "--hosts-file", str(names)], ["--config", str(config)]):
        assert log.main([*options, "-o", "short", "--host", name]) == 0
        assert capsys.readouterr().out.splitlines()[1] == "11-28 09:46:43 db07            crit   disk"


def test_names_of_dns(store: Path) -> None:
    """The same with reverse DNS, as the daemon asks it: machines are shown and chosen by verified names at once."""
    with nameserver() as server:
        server.records = {
            "1.2.0.192.in-addr.arpa": [("PTR", "mail.example.org", 300)],
            "2.2.0.192.in-addr.arpa": [("PTR", "db07.example.org", 300)],
            "3.2.0.192.in-addr.arpa": [("PTR", "liar.example.org", 300)],
            "mail.example.org": [("A", "192.0.2.1", 300)],
            "db07.example.org": [("A", "192.0.2.2", 300)],
            "liar.example.org": [("A", "192.0.2.99", 300)],
        }
        at = f"127.0.0.1:{server.address[1]}"
        for options, wanted in (
            (["--host", "db*"], ["db07.example.org"]),
            (["--host", "liar*"], []),
            ([], [*["web01@mail.example.org"] * 3, "db07.example.org", "192.0.2.3"]),
        ):
            running = Running(store, "-o", "short", "--reverse-dns", at, *options)
            with running.process as process:
                while process.poll() is None:
                    # The socket does not block.
                    select.select([server._socket], [], [], 0.05)
                    server.answer()
                assert process.stdout is not None
                lines = process.stdout.read().decode().splitlines()
            found = [line.split()[2] for line in lines if line.startswith("11-28")]
            assert found == wanted


@contextmanager
def other_user(group: int) -> Iterator[None]:
    """Run the block as a user who is in this group."""
    os.setgroups([group])
    os.setegid(65534)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups([0])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_another_user_of_the_group(capsys: pytest.CaptureFixture[str]) -> None:
    """The group can read everything that a daemon writes, and nobody else can; the error says who can."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        directory = Path(name) / "store"
        before = os.umask(0o022)
        try:
            module = StoreModule(directory=directory)
            module.start(1)
            module.handle_batch(0, [said("one", 1)])
            module.finish()
            write(directory, 99, [said("two", 2)])
        finally:
            os.umask(before)
        for path in [directory, *directory.rglob("*")]:
            os.chown(path, 0, 4242)
            assert path.stat().st_mode & 0o777 == (0o750 if path.is_dir() else 0o640), path
        with other_user(4242):
            assert run(capsys, directory, "-o", "raw") == "one\ntwo\n"
        with other_user(4243):
            assert log.main(["--store", str(directory)]) == 2
        error = capsys.readouterr().err
        assert "Permission denied" in error
        assert "the group 4242 may read the store" in error


def test_no_store_and_damage(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No store, and a store that is read in part, are errors; the rest is shown."""
    run(capsys, store / "none", status=2)
    [part] = (store / layout.JOURNAL).glob("*.journal")
    data = bytearray(part.read_bytes())
    data[100] ^= 1
    part.write_bytes(data + bytes(1))
    assert log.main(["--store", str(store), "-o", "json"]) == 2
    shown = capsys.readouterr()
    assert len(shown.out.splitlines()) == 3
    assert str(part) in shown.err


def test_context(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The messages of the same machine around each match, once; groups are apart."""
    messages = [said(f"line {number}", number, 1 + number % 2) for number in range(40)]
    write(tmp_path, 1, messages[:17])
    compactor = Compactor(tmp_path)
    compactor.recover()
    compactor.compact()
    write(tmp_path, 2, messages[17:])
    out = run(capsys, tmp_path, "-o", "raw", "--grep", "line (16|18|31)$", "--context", "1")
    assert out == "line 14\nline 16\nline 18\nline 20\n--\nline 29\nline 31\nline 33\n"
    out = run(capsys, tmp_path, "-o", "raw", "--grep", "line (16|18|31)$", "--context", "1", "-r")
    assert out == "line 33\nline 31\nline 29\n--\nline 20\nline 18\nline 16\nline 14\n"


class Running:
    """The command in another process."""

    def __init__(self, store: Path, *options: str) -> None:
        command = [sys.executable, "-m", "netconsd", "log", "--store", str(store), *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE)
        self._data = b""

    def line(self) -> str:
        """Return the next line, when it is there."""
        assert self.process.stdout is not None
        fd = self.process.stdout.fileno()
        while b"\n" not in self._data:
            assert select.select([fd], [], [], PATIENCE)[0], "no line came"
            data = os.read(fd, 65536)
            assert data, "the command has ended"
            self._data += data
        line, _, self._data = self._data.partition(b"\n")
        return line.decode()


def test_follow(store: Path) -> None:
    """The last messages, then each new one as it is written by another process; Ctrl-C ends it with 0."""
    journal = open_journal(store, 3)
    running = Running(store, "-f", "-n", "1", "-o", "raw")
    assert running.line() == "plain line"
    for number in range(3):
        journal.append(0, [said(f"new {number}", 100 + number)])
        assert running.line() == f"new {number}"
    running.process.send_signal(signal.SIGINT)
    with running.process:
        assert running.process.wait(PATIENCE) == 0
    journal.close()


def test_ctrl_c_keeps_what_was_found(
    store: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest messages that were found are printed, in order, and the status says that there may be more."""
    from netconsd.store import query

    search = query.Search.matches

    def interrupted(self: Any, table: Any) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        return search(self, table)

    monkeypatch.setattr(query.Search, "matches", interrupted)
    assert run(capsys, store, "-o", "json", "-n", "5", status=130).count("\n") == 2


def test_the_pager(tmp_path: Path) -> None:
    """On a terminal only; NETCONSD_PAGER, PAGER, less if it is installed; none for cat or an empty name."""
    less = tmp_path / "less"
    less.touch(0o755)
    installed = {"PATH": str(tmp_path)}
    assert pager_of(installed, lambda: False) == ""
    assert pager_of(installed, lambda: True) == "less"
    assert pager_of({**installed, "PAGER": "more"}, lambda: True) == "more"
    assert pager_of({**installed, "PAGER": "more", "NETCONSD_PAGER": ""}, lambda: True) == ""
    assert pager_of({**installed, "PAGER": "cat"}, lambda: True) == ""
    assert pager_of({**installed, "TERM": "dumb"}, lambda: True) == ""
    less.unlink()
    assert pager_of(installed, lambda: True) == ""
