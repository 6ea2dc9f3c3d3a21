"""The logger in a daemon, on real file systems that fail while it writes, and come back."""

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

# Gets each batch after the logger, and is reloaded after it.
MODULE = """
from zope.interface import implementer
from netconsd.interfaces import IOutputModule, IReloadable

@implementer(IOutputModule, IReloadable)
class Output:
    def start(self, worker_count): ...
    def handle(self, worker, message):
        print("handled", message.text.rstrip(".|"), flush=True)
    def reload(self):
        print("reloaded", flush=True)
    def stop(self): ...
"""


@pytest.fixture
def needs_disks() -> None:
    """Skip the test where nothing can be mounted; fail it where that must be possible."""
    if reason := missing():
        if os.environ.get(REQUIRE) == "1":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)


class Logging:
    """A daemon with the logger and the module above."""

    def __init__(self, directory: Path, *prefix: str) -> None:
        (directory / "x.py").write_text(MODULE)
        self.logs = directory / "disk" / "logs"
        self.daemon = Daemon(
            directory, "-w1", "--set", f"logger.directory={self.logs}", "logger", "x.py", prefix=prefix
        )
        self.sent = 0

    def send(self, what: str, count: int = 1, sender: str = A) -> None:
        """Send that many messages, one after the other; the logger has had each when the next is sent."""
        for _ in range(count):
            self.sent += 1
            text = f"{what} {self.sent}"
            # So long that some of them fill what is left of a page that a file has already.
            send(self.daemon.port, extended(f"{text:.<900}|", seq=self.sent), sender=sender)
            self.daemon.line(f"(handled {text})$")

    def reload(self) -> None:
        """Let it open its files anew."""
        self.daemon.process.send_signal(signal.SIGHUP)
        self.daemon.line("(reloaded)")

    def end(self) -> str:
        """Stop the daemon, which goes on until then; return all that it said."""
        self.daemon.process.send_signal(signal.SIGTERM)
        out = "".join(self.daemon.seen) + self.daemon.end()
        assert self.daemon.process.returncode == 0
        assert "Traceback" not in out
        assert f"In all: {self.sent} datagrams received, {self.sent} messages" in out
        return out


@contextmanager
def logging(directory: Path, *prefix: str) -> Iterator[Logging]:
    """Such a daemon, which has ended when the block has."""
    (directory / "disk").mkdir()
    made = Logging(directory, *prefix)
    try:
        yield made
    finally:
        made.daemon.process.kill()
        made.daemon.process.wait()


WHOLE = re.compile(r"20\S+Z \[[ .\d]+\] info   (?:\[start\] )?(\w+ \d+)\.+\|")


def whole(lines: list[str]) -> list[str]:
    """What the lines that are not torn are about."""
    return [found[1] for line in lines if (found := WHOLE.fullmatch(line))]


def lost(out: str, trouble: str) -> int:
    """What the logger says at its end that a trouble cost; it had said once that there is that trouble."""
    assert len(re.findall(rf"logger: cannot write .*: {trouble}; this is said once", out)) == 1
    (count,) = re.findall(rf"logger: cannot write .*: {trouble}: (\d+) lines were lost", out)
    return int(count)


@pytest.mark.usefixtures("needs_disks")
def test_a_disk_that_is_full_then_read_only_then_good(tmp_path: Path) -> None:
    """Lines that find no space, or a file system that has become read-only, are lost, counted and said; other modules
    get everything, and as soon as there is space again lines are written again."""
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
    found = whole(lines)
    assert found[0] == "good 1"
    assert found[-3:] == ["back 19", "back 20", "back 21"]
    assert lost(out, "Read-only file system") == 5
    assert 0 < lost(out, "No space left on device") == 1 + 12 + 3 - len(found)
    # One that was torn, at most; it is ended.
    assert len(lines) - len(found) <= 1


@pytest.mark.usefixtures("needs_disks")
def test_a_file_system_that_vanishes_and_comes_back(tmp_path: Path) -> None:
    """Lines are lost, counted and said while another file system, which cannot be written to, stands in the place of
    the directory; when that is gone, the files that were there before are gone on with."""
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
    assert lost(out, "Read-only file system") == 4


def test_a_directory_that_nobody_may_write_to_for_a_while(tmp_path: Path) -> None:
    """A sender without a file gets none, and loses its lines, counted and said, until one can be made; those that have
    files go on."""
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
    assert lost(out, "Permission denied") == 3
