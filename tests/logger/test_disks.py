"""The logger in a daemon, on real file systems that fail for a while."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from netconsd.testing import extended
from tests.support.disks import Disk, missing, private_disk, subject_to_permissions
from tests.support.loopback import send
from tests.support.processes import Daemon
from tests.support.tools import REQUIRE

A, B = "127.0.0.1", "127.0.0.2"

# The logger, which also prints each message and each reload after it has handled it.
MODULE = """
from netconsd.modules.logger import Logger

class Reporting(Logger):
    def handle_batch(self, worker, messages):
        super().handle_batch(worker, messages)
        for message in messages:
            print("handled", message.text.rstrip(".|"), flush=True)
    def reload(self):
        super().reload()
        print("reloaded", flush=True)
"""


@pytest.fixture
def needs_disks() -> None:
    """Skip the test on a machine that cannot mount; fail the test there if the environment requires a mount."""
    if reason := missing():
        if os.environ.get(REQUIRE) == "1":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)


class LoggerDaemon:
    """A daemon with the module above: with a second module, the logger would have a thread of its own."""

    def __init__(self, directory: Path, *prefix: str) -> None:
        (directory / "x.py").write_text(MODULE)
        self.logs = directory / "disk" / "logs"
        self.daemon = Daemon(directory, "-w1", "--set", f"x.directory={self.logs}", "x.py", prefix=prefix)
        self.sent = 0

    def send(self, word: str, count: int = 1, sender: str = A) -> None:
        """Send ``count`` messages, each after the logger handled the previous one."""
        for _ in range(count):
            self.sent += 1
            text = f"{word} {self.sent}"
            # So long that a few of them fill the rest of an allocated page.
            send(self.daemon.port, extended(f"{text:.<900}|", seq=self.sent), sender=sender)
            self.daemon.line(f"(handled {text})$")

    def reload(self) -> None:
        """Reload, and wait until the logger has reloaded."""
        self.daemon.process.send_signal(signal.SIGHUP)
        self.daemon.line("(reloaded)")

    def end(self) -> str:
        """Stop the daemon, which still runs; return its output."""
        self.daemon.process.send_signal(signal.SIGTERM)
        out = "".join(self.daemon.seen) + self.daemon.end()
        assert self.daemon.process.returncode == 0
        assert "Traceback" not in out
        assert f"Total: {self.sent} datagrams received, {self.sent} messages" in out
        return out


@contextmanager
def logging(directory: Path, *prefix: str) -> Iterator[LoggerDaemon]:
    """Yield a daemon, and kill it at the end of the block."""
    (directory / "disk").mkdir()
    logger = LoggerDaemon(directory, *prefix)
    with logger.daemon:
        yield logger


# Each message is from a new port, with the same timestamp. On a loaded machine, the line has the port: a message that
# arrives seconds after the previous ones may be from another sender.
WHOLE = re.compile(r"20\S+Z (?:127\.0\.0\.\d:\d+ )?\[[ .\d]+\] info   (?:\[new\] )?(\w+ \d+)\.+\|")


def whole(lines: list[str]) -> list[str]:
    """Return the words of the lines that are not torn."""
    return [match[1] for line in lines if (match := WHOLE.fullmatch(line))]


def dropped(out: str, reason: str) -> int:
    """Return the number of lines that were dropped for this reason, as logged when the failure was over."""
    assert len(re.findall(rf"logger: cannot write .*: {reason} \(logged once", out)) == 1
    # At the stop, or ten seconds after the last failure.
    ended = rf"logger: (?:(\d+) lines dropped: cannot write .*: {reason}|over .*: {reason}; (\d+) lines dropped)"
    ((at_stop, before),) = re.findall(ended, out)
    return int(at_stop or before)


@pytest.mark.usefixtures("needs_disks")
def test_a_disk_that_is_full_then_read_only_then_writable(tmp_path: Path) -> None:
    """While a disk is full or read-only, lines are dropped, counted and logged. Afterwards lines are written again."""
    with logging(tmp_path, *private_disk(tmp_path / "disk")) as logger:
        disk = Disk(logger.daemon.process.pid, tmp_path / "disk")
        path = disk.path / "logs" / f"{A}.log"
        logger.send("good")
        disk.fill()
        logger.send("full", 12)
        disk.remount("ro")
        logger.send("shut", 5)
        disk.remount("rw")
        disk.empty()
        logger.send("back", 3)
        lines = path.read_text().splitlines()
        out = logger.end()
    words = whole(lines)
    assert words[0] == "good 1"
    assert words[-3:] == ["back 19", "back 20", "back 21"]
    assert dropped(out, "Read-only file system") == 5
    assert 0 < dropped(out, "No space left on device") == 1 + 12 + 3 - len(words)
    # At most one line was torn, and it was ended.
    assert len(lines) - len(words) <= 1


@pytest.mark.usefixtures("needs_disks")
def test_a_file_system_that_vanishes_for_a_while(tmp_path: Path) -> None:
    """While a read-only file system covers the directory, lines are dropped, counted and logged; afterwards the earlier
    files are continued."""
    with logging(tmp_path, *private_disk(tmp_path / "disk")) as logger:
        disk = Disk(logger.daemon.process.pid, tmp_path / "disk")
        logger.send("good", 2)
        disk.cover()
        logger.reload()
        logger.send("gone", 4)
        disk.uncover()
        logger.send("back", 2)
        lines = (disk.path / "logs" / f"{A}.log").read_text().splitlines()
        out = logger.end()
    assert whole(lines) == ["good 1", "good 2", "back 7", "back 8"]
    assert dropped(out, "Read-only file system") == 4


def test_a_read_only_directory(tmp_path: Path) -> None:
    """While no file can be created, lines of new senders are dropped, counted and logged; other files are written."""
    with logging(tmp_path, *subject_to_permissions()) as logger:
        logger.send("good")
        logger.logs.chmod(0o555)
        logger.send("known", 2)
        logger.send("new", 3, sender=B)
        logger.logs.chmod(0o755)
        logger.send("late", 2, sender=B)
        out = logger.end()
    assert whole((logger.logs / f"{A}.log").read_text().splitlines()) == ["good 1", "known 2", "known 3"]
    assert whole((logger.logs / f"{B}.log").read_text().splitlines()) == ["late 7", "late 8"]
    assert dropped(out, "Permission denied") == 3
