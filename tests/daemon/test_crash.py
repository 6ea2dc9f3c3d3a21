"""A process that crashes, or that a thread of a module would keep from its end, names the module."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from netconsd.daemon.lastthreads import END_SECONDS, end_despite_threads
from tests.support.compilers import SOURCES, compiled, needs_cc
from tests.support.daemons import daemon_log
from tests.support.processes import SECONDS, Daemon, environment

HANGS = """
import threading
from twisted.internet.threads import deferToThread
from zope.interface import moduleProvides
from netconsd.interfaces import IOutputModule
moduleProvides(IOutputModule)
def upload():
    print("uploading", flush=True)
    threading.Event().wait()
def start(worker_count):
    {start}
def handle(worker, message): ...
def stop(): ...
"""


@needs_cc
@pytest.mark.parametrize("beside", [(), ("printer",)], ids=["alone", "beside"])
def test_a_crash_names_the_file(tmp_path: Path, beside: tuple[str, ...]) -> None:
    """A compiled module that crashes ends the process by the signal; the output has the stack, with its file."""
    library = compiled(SOURCES / "crash.c", tmp_path)
    # The printer's line could come into the middle of one of the stack.
    shell = ["sh", "-c", 'unset PYTHONFAULTHANDLER; exec "$@" >printed', "sh"]
    with Daemon(tmp_path, library, *beside, prefix=shell) as daemon:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"text\n", ("127.0.0.1", daemon.port))
        output = daemon.end()
        assert daemon.process.returncode == -signal.SIGSEGV
    lines = [line.strip() for line in output.splitlines()]
    crash = next(number for number, line in enumerate(lines) if line.endswith("Segmentation fault"))
    # The first frame of the thread that crashed.
    thread = next(number for number in range(crash, len(lines)) if lines[number].startswith("Current thread"))
    assert f'File "{library}", line 1 in netconsd_output_handler' in lines[thread + 1 : thread + 4]


@pytest.mark.parametrize(
    ("start", "text"),
    [
        ('threading.Thread(target=upload, name="uploader").start()', "Module hangs has left the thread 'uploader' run"),
        ("deferToThread(upload)", "Module hangs has left the thread 'PoolThread-"),
    ],
    ids=["thread", "pool"],
)
def test_a_thread_does_not_keep_the_process(tmp_path: Path, start: str, text: str) -> None:
    """A thread of a module that never ends is named, and the process ends with the status of a stop all the same; the
    log says so, although twistd has ended it before."""
    (tmp_path / "hangs.py").write_text(HANGS.format(start=start))
    with Daemon(tmp_path, "hangs.py") as daemon:
        # The reactor begins the threads of its pool late.
        if not any("uploading" in line for line in daemon.seen):
            daemon.line("(uploading)")
        daemon.process.send_signal(signal.SIGTERM)
        output = daemon.end()
        assert daemon.process.wait(SECONDS) == 0
    assert text in output
    (last,) = [line for line in output.splitlines() if "ends without waiting for" in line]
    assert f"{tmp_path}/hangs.py:9" in last


def test_the_end_is_watched() -> None:
    """After END_SECONDS the watch logs, and ends the process; a system without threads is no error."""
    done: list[object] = []

    class Now:
        def __init__(self, *, target: Any, name: str, daemon: bool) -> None:
            assert daemon
            self.start = target

    with daemon_log() as logged:
        end_despite_threads(lambda: done.append("end"), sleep=done.append, thread=Now)
    assert done == [END_SECONDS, "end"]
    (line,) = logged()
    assert line.startswith("warn: netconsd has stopped, and ends without waiting for ")

    class Fails(Now):
        def __init__(self, **arguments: Any) -> None:
            raise RuntimeError("can't start new thread")

    end_despite_threads(lambda: done.append("never"), thread=Fails)
    assert done == [END_SECONDS, "end"]


CRASH = """
import faulthandler, sys
from netconsd.daemon.crash import log_crashes
log_crashes(sys.argv[1] + "/none/log")
assert not faulthandler.is_enabled()
log_crashes(sys.argv[1] + "/log")
faulthandler._sigabrt()
"""


def test_where_a_crash_is_logged(tmp_path: Path) -> None:
    """A crash is written to the log of a process in the background; an output that cannot be opened is no error."""
    crash = subprocess.run(
        [sys.executable, "-c", CRASH, tmp_path], env=environment(), capture_output=True, check=False, timeout=SECONDS
    )
    assert (crash.returncode, crash.stderr) == (-signal.SIGABRT, b"")
    assert "Fatal Python error: Aborted" in (tmp_path / "log").read_text()
