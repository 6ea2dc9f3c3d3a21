"""Clients and files that mean harm, or are broken: nothing stays open, hangs, or is half done."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock as Reactor

from netconsd.console import limits, process
from netconsd.console.access import Access
from netconsd.console.frames import FAULT, Output
from netconsd.console.live import Channel, Live
from netconsd.console.service import Console, configured
from tests.console.browser import Browser, lose, request
from tests.console.secrets_of_tests import LINE, Clock, put
from tests.support.loggers import logged
from tests.support.scripted_lane import PATIENCE


@pytest.fixture
def browser() -> Browser:
    """A console for this machine alone."""
    return Browser(Access(None, None, [], Clock()))


def test_a_request_that_drips_ends(browser: Browser) -> None:
    """A client that sends a byte now and then has the time of a request in all, and no line of the log."""
    channel, transport = browser.connect()
    with logged() as lines:
        for byte in request("GET", "/")[:30]:
            if transport.disconnecting:
                break
            channel.dataReceived(bytes([byte]))
            browser.clock.advance(limits.REQUEST_SECONDS / 10)
        assert (transport.disconnecting, transport.aborted) == (True, False)
        # It does not take the end either.
        browser.clock.advance(60)
        assert transport.aborted
    assert lines == []


def test_a_connection_is_kept_between_requests(browser: Browser) -> None:
    """The time of a request begins with its first byte, and its answer takes as long as it takes."""
    channel, transport = browser.connect()
    for _ in range(3):
        browser.clock.advance(limits.REQUEST_SECONDS - 1)
        data = request("GET", "/api/v1/messages")
        channel.dataReceived(data[:10])
        browser.clock.advance(limits.REQUEST_SECONDS - 1)
        channel.dataReceived(data[10:])
        browser.clock.advance(limits.REQUEST_SECONDS * 2)
        browser.pool.queries[-1].object({})
        assert not transport.disconnecting
    browser.clock.advance(limits.REQUEST_SECONDS)
    assert transport.disconnecting


def test_unfinished_requests_do_not_keep_others_out(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection with half a request gives its place to a new one; one that waits for its answer does not."""
    monkeypatch.setattr(limits, "CONNECTIONS", 2)
    busy, busy_transport = browser.connect()
    busy.dataReceived(request("GET", "/api/v1/messages"))
    half, half_transport = browser.connect()
    half.dataReceived(b"GET / HTTP/1.1\r\nHost: local")
    _, third_transport = browser.connect()
    assert (busy_transport.aborted, half_transport.aborted, third_transport.aborted) == (False, True, False)


# The processes.


class Killed:
    """A process that was killed by somebody else."""

    def __init__(self, status: int, looks: int = 0) -> None:
        self.status = status
        self.looks = looks
        self.kills = 0

    def poll(self) -> int | None:
        self.looks -= 1
        return None if self.looks >= 0 else self.status

    def kill(self) -> None:
        self.kills += 1


@pytest.mark.parametrize(
    ("status", "words"), [(-9, "killed by SIGKILL, as by the kernel when memory is short"), (1, "exit status 1")]
)
def test_the_log_says_how_a_process_ended(status: int, words: str) -> None:
    """A process that ends by itself is a line of the log with the reason, also if its status is there a bit later."""
    for looks in (0, 1):
        clock = Reactor()
        ended: list[int] = []
        one = process.Process(lambda kind, data: None, lambda told=ended: told.append(1))  # type: ignore[misc]
        fake: Any = Killed(status, looks)
        one._process, one._reactor, one._module = fake, clock, "netconsd.console.worker"
        with logged() as lines:
            one.connectionLost(None)  # type: ignore[arg-type]
            clock.advance(1)
        assert ended == [1]
        (line,) = lines
        assert words in line
        assert fake.kills == 0


def test_a_process_that_lives_without_its_socket_is_killed() -> None:
    """A process that has closed its socket and goes on is killed and waited for."""
    clock = Reactor()
    one = process.Process(lambda kind, data: None, lambda: None)
    fake: Any = Killed(-9, 3)
    one._process, one._reactor = fake, clock
    with logged():
        one.connectionLost(None)  # type: ignore[arg-type]
        for _ in range(5):
            clock.advance(1)
    assert fake.kills >= 1
    assert clock.getDelayedCalls() == []


class Written:
    """A socket that keeps what is sent."""

    def __init__(self) -> None:
        self.data = b""

    def sendall(self, data: bytes) -> None:
        self.data += data


def frames(data: bytes) -> list[bytes]:
    """Return the frames, each with its kind."""
    found = []
    while data:
        size = int.from_bytes(data[:4], "big")
        found.append(data[4 : 4 + size])
        data = data[4 + size :]
    return found


def test_a_defect_of_a_process_is_in_the_log() -> None:
    """The exception of a process is a line of the daemon's log, and no frame of an answer."""
    socket: Any = Written()
    try:
        raise ZeroDivisionError("a\x1bb")
    except ZeroDivisionError:
        Output(socket).fault()
    (fault,) = frames(socket.data)
    assert fault[:1] == FAULT
    got: list[bytes] = []
    one = process.Process(lambda kind, data: got.append(data), lambda: None)
    with logged() as lines:
        one.stringReceived(fault)
    assert got == []
    assert "ZeroDivisionError" in lines[0]
    assert "\x1b" not in lines[0]


def test_frames_of_an_answer_have_a_bound() -> None:
    """An answer that is written at once is sent in pieces: a frame that is too long would end the process."""
    socket: Any = Written()
    output = Output(socket)
    data = bytes(range(256)) * (limits.PIECE_BYTES // 100)
    output.write(b"begin")
    output.write(data)
    output.flush()
    found = frames(socket.data)
    assert all(len(frame) <= limits.PIECE_BYTES + 1 for frame in found)
    assert b"".join(frame[1:] for frame in found) == b"begin" + data


def test_a_process_without_its_parent_ends(tmp_path: Path) -> None:
    """A process whose daemon was killed ends by itself."""
    pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'netconsd[store]'")
    import socket

    for module, options in (("worker", '{"host_key": "host"}'), ("tail", '{"host_key": "host", "stream": "aa"}')):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            started = subprocess.Popen(
                [sys.executable, "-m", f"netconsd.console.{module}", str(tmp_path), options],
                stdin=theirs.fileno(),
                env=process.environment(),
            )
        assert started.wait(PATIENCE) == 0


# Files that are read again.


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A certificate with its key."""
    pytest.importorskip("OpenSSL", reason="needs pyOpenSSL: pip install 'netconsd[tls]'")
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-keyout", "-", "-out", "-"],
        capture_output=True, check=True, text=True,
    )  # fmt: skip
    return made.stdout


def test_a_reload_is_whole(certificate: str, tmp_path: Path) -> None:
    """If a file is wrong at SIGHUP, none of the new ones is used."""
    passwords = put(tmp_path / "passwords", LINE)
    pem = put(tmp_path / "console.pem", certificate)
    console = Console(configured("[::]:0", tmp_path, password_file=passwords, certificate=pem))
    console.check()
    assert console._access is not None
    before, context = console._access.passwords, console._context._context
    put(passwords, f"alice:{LINE}")
    put(pem, "broken")
    with pytest.raises(ValueError, match=r"^certificate: "):
        console.reload()
    assert (console._access.passwords, console._context._context) == (before, context)
    put(pem, certificate)
    put(passwords, "broken")
    with pytest.raises(ValueError, match=r"^password_file: "):
        console.reload()
    assert (console._access.passwords, console._context._context) == (before, context)
    put(passwords, f"alice:{LINE}")
    console.reload()
    assert console._access.has_names
    assert console._context._context is not context


def test_a_key_with_a_passphrase(certificate: str, tmp_path: Path) -> None:
    """A key that needs a passphrase, or a FIFO, is refused; the daemon asks nobody and waits for nobody."""
    import os

    from netconsd.console.tls import context_factory

    plain = put(tmp_path / "plain.pem", certificate)
    made = subprocess.run(
        ["openssl", "pkey", "-in", str(plain), "-aes256", "-passout", "pass:secret"],
        capture_output=True, check=True, text=True,
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"^certificate: the key in .* has a passphrase"):
        context_factory(put(tmp_path / "locked.pem", made.stdout + certificate.partition("-----BEGIN CERT")[2]))
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(ValueError, match=r"^certificate: cannot read"):
        context_factory(tmp_path / "fifo")


def test_a_wrong_file_at_a_reload_is_one_line(tmp_path: Path) -> None:
    """SIGHUP with a wrong file is a line of the log that names the setting, and no failure of the module."""
    pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'netconsd[store]'")
    from modules.console import ConsoleModule

    passwords = put(tmp_path / "passwords", LINE)
    module = ConsoleModule(password_file=passwords, directory=tmp_path)
    module._console = module._made()
    module._console.check()
    put(passwords, "broken")
    with logged() as lines:
        module.reload()
    (line,) = lines
    assert "console.password_file: " in line
    assert "previous" in line


def test_a_logout_ends_the_live_tails(tmp_path: Path) -> None:
    """The live tails of a session end with it, and those of others do not; the session keeps none that has ended."""
    browser = Browser(Access(put(tmp_path / "passwords", LINE), None, [], Clock()))
    pool: Any = browser.pool
    live = Live(browser.clock, "/nowhere", {}, pool)
    channel = Channel(1, "aa-1")
    channel.waiting = None
    live._channels["[]"] = live._by_number[1] = channel
    browser.api._live = live
    access = browser.api._access
    cookies = []
    for _ in range(2):
        value, session = access.new_session("")
        cookies.append((f"netconsd={value}", session))
    opened = []
    for cookie, _ in (cookies[0], cookies[0], cookies[1]):
        connection, transport = browser.connect()
        connection.dataReceived(request("GET", "/api/v1/live", None, {"Cookie": cookie}))
        browser.turns()
        assert b"retry" in transport.value()
        opened.append((connection, transport))
    lose(opened[0][0])
    cookie, session = cookies[0]
    assert (live.viewers, len(session.tails)) == (2, 1)
    assert browser.ask("POST", "/api/v1/logout", {}, {"Cookie": cookie, "X-CSRF-Token": session.csrf}).status == 200
    assert (live.viewers, session.tails) == (1, set())
    assert opened[1][1].value().endswith(b"0\r\n\r\n")
    assert not opened[2][1].value().endswith(b"0\r\n\r\n")
    live.close()
