"""A command that cannot write its standard output ends with status 1, and with one line unless the pipe is closed."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from netconsd.daemon.stdout import put

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}


@pytest.mark.parametrize(
    "command",
    [
        "--help",
        "--version",
        "run --help",
        "check printer --running",
        "modules printer",
        "client --server 192.0.2.1",
        "gen --count 2 -q --interval 0",
        "blaster -n 1 -o 0 -p 9",
    ],
)
def test_commands(command: str) -> None:
    """A full disk gives one line and status 1, a closed pipe only the status."""
    for target, text in (
        (os.open("/dev/full", os.O_WRONLY), "standard output: No space left on device\n"),
        (closed_pipe(), ""),
    ):
        with os.fdopen(target) as stdout:
            done = subprocess.run(
                [sys.executable, "-m", "netconsd", *command.split()],
                cwd=ROOT, env=ENVIRONMENT, stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=30, check=False,
            )  # fmt: skip
        assert done.returncode == 1
        assert done.stderr.partition(": ")[2] == text


def closed_pipe() -> int:
    """Return the writing end of a pipe whose reading end is closed."""
    reading, writing = os.pipe()
    os.close(reading)
    return writing


def test_text_and_bytes(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """Text gets a newline, bytes are written unchanged, in the order of the calls."""
    put("one", "prog")
    put(b"two \xff", "prog")
    put("three", "prog")
    assert capfdbinary.readouterr().out == b"one\ntwo \xffthree\n"


def test_no_standard_output(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A closed standard output gives one line and status 1."""
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(SystemExit) as caught:
        put("text", "prog")
    assert caught.value.code == 1
    assert capsys.readouterr().err == "prog: standard output: Bad file descriptor\n"


def test_a_buffer_that_cannot_be_written(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Text that could not be written is not written again, which would print an error at the end of the process."""
    stdout = io.TextIOWrapper(io.BufferedWriter(io.FileIO(closed_pipe(), "w")))
    monkeypatch.setattr(sys, "stdout", stdout)
    with pytest.raises(SystemExit):
        put("text", "prog")
    stdout.close()
    assert capsys.readouterr().err == ""
