"""Failing system calls and allocations: every datagram that was read is returned or counted."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.compilers import SOURCES, compiled, needs_cc
from tests.support.receivers import Socket, key_of, needs_compiled, together

ROOT = Path(__file__).parents[2]
# More allocations than one read makes.
ALLOCATIONS = 1000


def test_a_batch_that_cannot_be_sorted_is_counted(make: Any, here: Socket) -> None:
    """If an allocation fails after datagrams were read, all of them are counted as dropped, and the next read works."""
    testcapi = pytest.importorskip("_testcapi", reason="this Python has no _testcapi, which makes allocations fail")
    sender = here.sender()
    for number in range(ALLOCATIONS):
        for datagram in (b"1" * 300, b"2" * 600, b"3" * 3000):
            sender.send(datagram)
        receiver = make(here.bound, 4, 1, 2)
        testcapi.set_nomemory(number, number + 1)
        try:
            receiver.receive()
        except MemoryError:
            pass
        finally:
            testcapi.remove_mem_hooks()
        if receiver.dropped_read_error:
            break
        # The allocation failed before the datagrams were read.
        make(here.bound, 4, 1, 2).receive()
    assert receiver.dropped_read_error == receiver.datagrams == 3
    assert receiver.dropped_bytes == receiver.received_bytes == 3900
    sender.send(b"4")
    assert together(receiver.receive()) == [(key_of(sender), b"4")]


# Results of recvmmsg(2). Each step has the datagrams to send and the errors of the calls of the next read; 0 is a real
# call.
CHILD = """
import ctypes, json, socket, sys
from netconsd.receive._recvmmsg import Receiver
shim = ctypes.CDLL(sys.argv[1])
ours, theirs = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
ours.bind(("127.0.0.1", 0))
theirs.connect(ours.getsockname())
receiver = Receiver(ours, 2, 4, 1)
results = []
for sent, errors in json.loads(sys.argv[2]):
    for datagram in sent:
        theirs.send(datagram.encode())
    shim.script((ctypes.c_int * len(errors))(*errors), len(errors))
    try:
        results.append([datagram.decode() for _, datagrams in receiver.receive() for datagram in datagrams])
    except OSError as error:
        results.append(error.errno)
print(json.dumps([results, receiver.datagrams, receiver.received_bytes, receiver.dropped_read_error]))
"""


def reads(directory: Path, *steps: tuple[str, list[int]]) -> Any:
    """The results or errors of the compiled receiver in each step, with two datagrams per call, and its counters."""
    shim = compiled(SOURCES / "recvmmsg.c", directory)
    preload = ":".join(filter(None, (os.environ.get("LD_PRELOAD"), str(shim))))
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(shim), json.dumps(steps)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "LD_PRELOAD": preload},
        capture_output=True, text=True, check=False, timeout=50,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@needs_cc
@needs_compiled
def test_an_interrupted_call_is_repeated(tmp_path: Path) -> None:
    """EINTR ends no read, neither before nor between its calls, so that the last read before a stop is complete."""
    interrupted = [errno.EINTR, errno.EINTR, 0, errno.EINTR, 0]
    assert reads(tmp_path, ("abc", interrupted), ("", [errno.EINTR])) == [[["a", "b", "c"], []], 3, 3, 0]


@needs_cc
@needs_compiled
@pytest.mark.parametrize("error", [errno.ENOMEM, errno.ENOBUFS, errno.EBADF, errno.EIO, 4095])
def test_an_error_is_raised_after_the_datagrams_before_it_were_returned(tmp_path: Path, error: int) -> None:
    """An error after some datagrams drops none of them; the next read raises the error, and later reads work."""
    steps: list[tuple[str, list[int]]]
    steps = [("abcde", [0, 0, error]), ("f", []), ("g", []), ("h", [error]), ("", [])]
    results = [["a", "b", "c", "d"], error, ["e", "f", "g"], error, ["h"]]
    assert reads(tmp_path, *steps) == [results, 8, 8, 0]


@needs_cc
@needs_compiled
def test_nothing_to_read_is_no_error(tmp_path: Path) -> None:
    """EAGAIN ends a read, with and without datagrams before it."""
    assert reads(tmp_path, ("ab", [0, errno.EAGAIN]), ("", [errno.EAGAIN]), ("c", [])) == [
        [["a", "b"], [], ["c"]],
        3,
        3,
        0,
    ]
