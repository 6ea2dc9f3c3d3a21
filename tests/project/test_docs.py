"""The examples in docs/ work, and the lists in docs/ are complete."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from netconsd.daemon.config import configure
from netconsd.outputs.loader import load
from netconsd.outputs.setting_types import ModuleSetting
from netconsd.settings import OPTIONS, Settings
from netconsd.testing import crash_datagrams, crash_report, event, extended, extended_message, fragments, source
from tests.support.servers import free_port

DOCS = Path(__file__).parents[2] / "docs"
EXAMPLES = DOCS / "examples"


def module(name: str, **settings: object) -> Any:
    """Load a module of the examples as the daemon does."""
    values = {key: ModuleSetting(value, f"--set {name}.{key}", EXAMPLES) for key, value in settings.items()}
    return load([EXAMPLES / f"{name}.py"], {name: values} if values else {}).loaded[0].module


def script(name: str) -> ModuleType:
    """Import an example that is not an output module."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    imported = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(imported)
    return imported


def test_errors_prints_errors_only(capfd: pytest.CaptureFixture[str]) -> None:
    """errors.py prints errors and worse, without terminal escape sequences."""
    errors = module("errors")
    errors.start(1)
    errors.handle(0, extended_message("fine", level=4))
    errors.handle(0, extended_message("not \x1b[31m fine", level=3))
    errors.stop()
    assert capfd.readouterr().err == "192.0.2.1: not \\x1b[31m fine\n"


def test_tally_of_the_settings_in_the_docs(tmp_path: Path) -> None:
    """tally.py accepts the settings in the docs and writes on reload."""
    tally = module("tally", file=str(tmp_path / "out.json"), levels=["err", "crit"])
    tally.start(2)
    tally.handle(1, extended_message("no", level=3))
    tally.handle(1, extended_message("not counted", level=6))
    tally.reload()
    assert json.loads((tmp_path / "out.json").read_text()) == {"192.0.2.1": {"err": 1}}


def test_reboots_prints_reboots_only(capfd: pytest.CaptureFixture[str]) -> None:
    """reboots.py prints the reason of each reboot, and no other event."""
    reboots = module("reboots")
    reboots.start(1)
    reboots.handle_event(0, event("rebooted", "rebooted after a crash: kernel BUG in f", how="crash"))
    reboots.handle_event(0, event("silent", "silent for 15 minutes"))
    reboots.stop()
    assert capfd.readouterr().err == "192.0.2.1 crash: rebooted after a crash: kernel BUG in f\n"


def test_incidents_has_a_line_for_each_crash_and_reboot(tmp_path: Path) -> None:
    """incidents.py writes crashes and reboots; with fatal = true, only the crashes that took their machine down."""
    file = tmp_path / "incidents"
    incidents = module("incidents", file=str(file))
    assert incidents.wants_events
    incidents.start(2)
    incidents.handle_report(1, crash_report("kernel BUG in f", severity="dead", fatal=True, address="192.0.2.7"))
    incidents.handle_event(1, event("rebooted", "rebooted after a crash: kernel BUG in f", address="192.0.2.7"))
    incidents.handle_event(0, event("silent", "silent for 15 minutes"))
    incidents.stop()
    lines = ["192.0.2.7 dead kernel BUG in f", "192.0.2.7 rebooted after a crash: kernel BUG in f"]
    assert file.read_text().splitlines() == lines
    incidents = module("incidents", file=str(file), fatal=True)
    assert not incidents.wants_events
    incidents.start(1)
    incidents.handle_report(0, crash_report("WARNING in f", severity="notice"))
    incidents.handle_report(0, crash_report("kernel panic: f", severity="dead", fatal=True, address="192.0.2.8"))
    incidents.stop()
    assert file.read_text().splitlines() == [*lines, "192.0.2.8 dead kernel panic: f"]


def test_reports_of_two_senders() -> None:
    """reports.py finds a crash in a recording of offline.py, for each sender."""
    recording = [
        (100 + when / 100, source(address), datagram)
        for when, datagram in enumerate(crash_datagrams())
        for address in ("192.0.2.7", "192.0.2.8")
    ]
    reports = script("reports").reports_of(script("offline").messages_of(recording))
    assert sorted((report.source.address, report.title) for report in reports) == [
        (address, "BUG: unable to handle kernel NULL pointer dereference in widget_read")
        for address in ("192.0.2.7", "192.0.2.8")
    ]


@pytest.mark.slow
def test_the_tests_of_tally_pass() -> None:
    """test_tally.py passes, run in its directory."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir=.", "test_tally.py"],
        cwd=EXAMPLES, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "2 passed" in done.stdout, done.stdout + done.stderr


def test_sqlite_writes_all_messages(tmp_path: Path) -> None:
    """sqlite.py writes the messages of all workers to its database."""
    file = tmp_path / "messages.db"
    sqlite = module("sqlite", file=str(file))
    sqlite.start(2)
    sqlite.handle_batch(0, [extended_message("one", seq=7, level=4), extended_message("two", seq=8)])
    sqlite.handle_batch(1, [extended_message("three", address="2001:db8::1")])
    sqlite.stop()
    with closing(sqlite3.connect(file)) as database:
        rows = database.execute("SELECT address, seq, level, text FROM messages").fetchall()
    assert rows == [("192.0.2.1", 7, 4, "one"), ("192.0.2.1", 8, 6, "two"), ("2001:db8::1", 1, 6, "three")]


def test_offline_reassembles_a_recording() -> None:
    """offline.py yields the messages of a recording in order, fragments reassembled."""
    sender = source("192.0.2.7")
    first, second = fragments(extended("x" * 1500, seq=2), size=1000)
    recording = [extended("one", seq=1), extended("three", seq=3), second, first]
    messages = script("offline").messages_of((when / 100, sender, data) for when, data in enumerate(recording))
    assert [(message.text[:5], message.received_at) for message in messages] == [
        ("one", 0.0),
        ("xxxxx", 0.02),
        ("three", 0.01),
    ]


@contextmanager
def running(*command: str, environment: dict[str, str] | None = None, cwd: Path) -> Iterator[Iterator[str]]:
    """Run a program and yield its lines of output; then stop it, and check that it ends without a traceback."""
    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield iter(process.stdout.readline, "")
        process.terminate()
        rest = process.stdout.read()
        # After the stop, Twisted ends the process by the signal that it received.
        assert process.wait() in (0, -signal.SIGTERM), rest
        assert "Traceback" not in rest
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def line_with(lines: Iterator[str], text: str) -> str:
    """The next line that contains the text."""
    seen = []
    for line in lines:
        seen.append(line)
        if text in line:
            return line
    raise AssertionError(f"no {text!r} in {seen}")


def send(port: int, datagram: bytes) -> None:
    """Send a datagram to this machine."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(datagram, ("127.0.0.1", port))


def environment_with(**variables: int) -> dict[str, str]:
    """The environment of this process with these variables."""
    return {**os.environ, "PYTHONPATH": str(DOCS.parent)} | {name: str(value) for name, value in variables.items()}


@pytest.mark.slow
def test_listener_prints_what_it_receives(tmp_path: Path) -> None:
    """listener.py runs on the default reactor and prints messages."""
    with running(str(EXAMPLES / "listener.py"), "0", cwd=tmp_path, environment=environment_with()) as lines:
        port = int(line_with(lines, "listening on port").split()[-1])
        send(port, extended("hello", seq=1))
        assert line_with(lines, "127.0.0.1") == "127.0.0.1 hello\n"


@pytest.mark.slow
def test_embedded_shows_what_it_receives(tmp_path: Path) -> None:
    """embedded.py runs under twistd and sends the received messages to TCP clients."""
    udp, tcp = free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_STREAM)
    twistd = ["-c", "from twisted.scripts.twistd import run; run()", "-ny", str(EXAMPLES / "embedded.py")]
    environment = environment_with(NETCONSD_PORT=udp, SHOW_PORT=tcp)
    with running(*twistd, cwd=tmp_path, environment=environment) as lines:
        line_with(lines, f"UDP port {udp}")
        send(udp, extended("hello \x1b from the kernel"))
        shown = b""
        # A worker's thread delivers the message, so several connections may be needed.
        while not shown:
            with socket.create_connection(("127.0.0.1", tcp)) as connection:
                shown = connection.makefile("rb").read()
        assert shown == b"127.0.0.1 hello \\x1b from the kernel\n"


def test_configuration_file_has_every_option_with_its_default() -> None:
    """netconsd.toml has all options, each with its default."""
    file = EXAMPLES / "netconsd.toml"
    configuration = configure({}, config=str(file))
    assert configuration.settings == Settings()
    keys = set(re.findall(r"^#? ?([a-z-]+) = ", file.read_text().partition("[module")[0], re.MULTILINE))
    assert keys == {*OPTIONS, "modules"}


def test_every_option_is_documented() -> None:
    """docs/options has every option of the command line."""
    text = (DOCS / "options.rst").read_text()
    assert [name for name in [*OPTIONS, "modules", "config", "set"] if f"`--{name}" not in text] == []


def test_datagrams_of_the_docs() -> None:
    """The datagrams to try in docs/wire are decoded with the documented sequence numbers."""
    from netconsd import ExtendedMessage
    from netconsd.protocol.decode import decode

    text = (DOCS / "wire.rst").read_text().partition("Datagrams to try")[2]
    literals = re.findall(r'^   (b".*")$', text, re.MULTILINE)
    decoded = [decode(ast.literal_eval(literal), source(), 0.0) for literal in literals]
    assert [message.seq if isinstance(message, ExtendedMessage) else None for message in decoded] == [
        None, None, 339, 417, 444, 397,
    ]  # fmt: skip


BORDER = re.compile(r" *=+( +=+)+")


def rows(page: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the number and the cells of each line in the body of a simple table that begins a row."""
    table: list[tuple[int, str]] = []
    for number, line in enumerate([*page.read_text(encoding="utf-8").split("\n"), ""], 1):
        if line and (table or BORDER.fullmatch(line)):
            table.append((number, line))
            continue
        borders = [index for index, (_, each) in enumerate(table) if BORDER.fullmatch(each)]
        if len(borders) > 1:
            starts = [match.start() for match in re.finditer("=+", table[0][1])]
            for begun, text in table[borders[-2] + 1 : borders[-1]]:
                cells = [text[start:end].strip() for start, end in zip(starts, [*starts[1:], None], strict=True)]
                if cells[0]:
                    yield begun, cells
        table = []


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.rst")), ids=lambda page: page.stem)
def test_the_first_cell_of_a_row_has_one_line(page: Path) -> None:
    """A line with a first cell begins a row (docutils, simple tables), so that a first cell of two lines is cut."""
    for number, cells in rows(page):
        assert any(cells[1:]), f"{page.name}:{number}: {cells[0]!r} is alone in its row"
        assert not cells[0].endswith(","), f"{page.name}:{number}: {cells[0]!r} goes on in the next row"
