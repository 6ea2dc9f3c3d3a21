"""``netconsd log`` on a terminal: the pager, Ctrl-C and the progress line; and following a daemon that writes."""

from __future__ import annotations

import fcntl
import os
import re
import select
import socket
import subprocess
import sys
import termios
from pathlib import Path
from typing import Self

import pytest

from netconsd.store import layout
from netconsd.store.journal import Journal
from netconsd.testing import extended_message
from tests.support.processes import Daemon, environment
from tests.support.scripted_lane import PATIENCE

pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'netconsd[store]'")
from netconsd.store.compactor import Compactor

T0 = 1_795_859_200.0
# More than a pipe and a terminal hold.
COUNT = 3000
#: Runs netconsd with a search that shows its progress at once, and stops after the first segment.
SLOW = """
import os, signal, sys
from netconsd.cli import log, main
signalled, wakeup = os.pipe()
os.set_blocking(wakeup, False)
signal.set_wakeup_fd(wakeup)
log.PROGRESS_SECONDS = 0.0
show = log._ProgressLine.show
def stop(self, progress):
    show(self, progress)
    if progress.done == 1:
        print("searching", file=sys.stderr, flush=True)
        os.read(signalled, 1)
log._ProgressLine.show = stop
sys.exit(main.main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store of two segments."""
    directory = tmp_path_factory.mktemp("store")
    (directory / layout.JOURNAL).mkdir()
    for number in (1, 2):
        journal = Journal(
            directory / layout.JOURNAL, 1, first_number=number, part_bytes=1 << 30, part_seconds=1e9, most_bytes=1 << 40
        )
        first = 0 if number == 1 else COUNT // 2
        journal.append(
            0,
            [
                extended_message(f"text {seq} " + "x" * 100, seq=seq, received_at=T0 + 4000 * number + seq)
                for seq in range(first, first + COUNT // 2)
            ],
        )
        journal.close()
        compactor = Compactor(directory)
        compactor.recover()
        compactor.compact()
    return directory


class Terminal:
    """A command on a terminal of its own; leaves the block when it has ended."""

    def __init__(self, command: list[str], **variables: str) -> None:
        self._fd, theirs = os.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, (24).to_bytes(2, "little") + (80).to_bytes(2, "little") + bytes(4))
        clean = {
            name: value for name, value in environment().items() if name not in ("PAGER", "NETCONSD_PAGER", "LESS")
        }
        self.process = subprocess.Popen(
            command,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**clean, "TERM": "xterm", "TZ": "UTC", **variables},
            start_new_session=True,
            # Ctrl-C is a signal for the process group that the terminal belongs to.
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - this thread is the only one
        )
        os.close(theirs)
        #: The text on the screen so far.
        self.shown = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._fd)

    def until(self, pattern: str) -> None:
        """Read until the screen has a text."""
        while not re.search(pattern, self.shown):
            assert self._read(), f"it has ended: {self.shown}"

    def ended(self) -> int:
        """Read to the end, and return the exit status."""
        while self._read():
            pass
        return self.process.wait(PATIENCE)

    def press(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self._fd, keys)

    def _read(self) -> bool:
        assert select.select([self._fd], [], [], PATIENCE)[0], f"nothing came: {self.shown}"
        try:
            data = os.read(self._fd, 65536)
        except OSError:  # no process has the terminal any more
            return False
        self.shown += data.decode()
        return bool(data)


def netconsd(store: Path, *options: str) -> list[str]:
    """Return the command line of netconsd log."""
    return [sys.executable, "-m", "netconsd", "log", "--store", str(store), *options]


@pytest.fixture
def pager(tmp_path: Path) -> tuple[str, Path]:
    """Return the command of a pager that writes LESS and its input to a file, and the file."""
    path = tmp_path / "paged"
    return f'(echo "LESS=$LESS"; cat) > {path}', path


@pytest.mark.parametrize(("variables", "less"), [({}, "FRX"), ({"LESS": "S"}, "S")])
def test_the_pager(store: Path, pager: tuple[str, Path], variables: dict[str, str], less: str) -> None:
    """It gets everything, with colours, and less's options as git sets them; NETCONSD_PAGER is stronger than PAGER."""
    command, path = pager
    with Terminal(netconsd(store), PAGER="false", NETCONSD_PAGER=command, **variables) as terminal:
        assert terminal.ended() == 0
    first, *lines = path.read_text().splitlines()
    assert first == f"LESS={less}"
    assert [int(seq) for line in lines for seq in re.findall(r"text (\d+)", line)] == list(range(COUNT))
    # At 80 columns the text has two lines, below the sender.
    assert lines[1].startswith(" " * 15 + "x")
    assert "\x1b[" in lines[0]
    assert "text" not in terminal.shown


@pytest.mark.parametrize("options", [["--no-pager"], ["-f"]])
def test_without_the_pager(store: Path, pager: tuple[str, Path], options: list[str]) -> None:
    """The terminal itself gets the lines; the format short at 80 columns."""
    command, path = pager
    with Terminal(netconsd(store, "-n", "3", *options), PAGER=command) as terminal:
        terminal.until(f"text {COUNT - 1} ")
        if options == ["-f"]:
            terminal.press(b"\x03")
        assert terminal.ended() == 0
    assert not path.exists()
    assert re.search(r"^\S*\d\d-\d\d \d\d:\d\d:\d\d 192", terminal.shown)


def test_a_pager_that_quits_early(store: Path) -> None:
    """The search ends with it, without an error, as after q in less."""
    with Terminal(netconsd(store), PAGER="head -n 2") as terminal:
        assert terminal.ended() == 0
    assert len(re.findall("text", terminal.shown)) == 1
    assert "rror" not in terminal.shown


def test_ctrl_c_in_the_pager(store: Path, tmp_path: Path) -> None:
    """It is for the pager, which goes on as less does: the command waits for it."""
    command = f'trap "" INT; cat > {tmp_path}/paged; echo paged; read line < /dev/tty; echo over'
    with Terminal(netconsd(store, "-n", "1"), PAGER=command) as terminal:
        terminal.until("paged")
        terminal.press(b"\x03")
        terminal.until(r"\^C")
        terminal.press(b"\n")
        assert terminal.ended() == 0
    assert "over" in terminal.shown


def test_a_pager_that_quits_while_nothing_is_found(store: Path) -> None:
    """The search ends although no further message would be written."""
    slow = SLOW.replace("done == 1", "done == 2").replace(
        "os.read(signalled, 1)", "while not self._output.closed: pass"
    )
    command = [sys.executable, "-c", slow, "log", "--store", str(store), "-r", "--grep", "text 2999 "]
    with Terminal(command, PAGER="head -n 1") as terminal:
        assert terminal.ended() == 0
    assert terminal.shown.count("text 2999 ") == 1


@pytest.mark.parametrize("options", [["-n", "5000"], ["-r"]])
def test_ctrl_c(store: Path, options: list[str]) -> None:
    """Messages that were found until then are shown, in their order; the status is that of an interrupted command."""
    command = [sys.executable, "-c", SLOW, "log", "--store", str(store), "--no-pager", *options]
    with Terminal(command) as terminal:
        terminal.until("searching")
        terminal.press(b"\x03")
        assert terminal.ended() == 130
    found = [int(seq) for seq in re.findall(r"text (\d+)", terminal.shown)]
    newest = list(range(COUNT // 2, COUNT))
    assert found == (newest if "-n" in options else newest[::-1])
    assert "Traceback" not in terminal.shown


def test_the_progress_line(store: Path) -> None:
    """A long search says how far it is, and takes the line away."""
    command = [sys.executable, "-c", SLOW, "log", "--store", str(store), "--no-pager", "--grep", "absent", "-n", "5"]
    with Terminal(command) as terminal:
        terminal.until(r"searched to \d\d-\d\d \d\d:\d\d, [12] of 2 segments; Ctrl-C ends the search")
        terminal.until("searching")
        terminal.press(b"\x03")
        assert terminal.ended() == 130
    assert "\r\x1b[K" in terminal.shown


def test_following_a_daemon(tmp_path: Path) -> None:
    """History and new messages of a daemon that writes and compacts: each once, in order, none missing at the seam."""
    directory = tmp_path / "store"
    settings = (f"store.directory={directory}", "store.segment_age=1s")
    options = [word for setting in settings for word in ("--set", setting)]
    with (
        Daemon(tmp_path, "-w1", *options, "store") as daemon,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        sender.connect(("127.0.0.1", daemon.port))
        sent = 0

        def send(count: int) -> None:
            nonlocal sent
            for seq in range(sent, sent + count):
                sender.send(b"6,%d,%d,-;text %d\n" % (seq, seq, seq))
            sent += count

        send(100)
        # The journal is there as soon as the daemon has started.
        following = subprocess.Popen(
            netconsd(directory, "-f", "-o", "raw", "--since", "1h"), stdout=subprocess.PIPE, env=environment()
        )
        with following:
            assert following.stdout is not None
            seen: list[int] = []
            while sent < 1000 or len(seen) < sent:
                # While it starts, and then whenever it has all.
                if sent < 1000 and (sent <= 300 or len(seen) == sent):
                    send(50)
                if sent > 300 or select.select([following.stdout], [], [], 0)[0]:
                    line = following.stdout.readline()
                    seen.append(int(line.split()[-1]))
            assert seen == list(range(1000))
            following.terminate()
        daemon.process.terminate()
        daemon.end()
