"""Standard output that cannot be written: every command says so, or nothing to a reader who has enough."""

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
        "check printer",
        "modules printer",
        "client --server 192.0.2.1",
        "gen --count 2 -q --interval 0",
        "blaster -n 1 -o 0 -p 9",
    ],
)
def test_commands(command: str) -> None:
    """A full disk is one line and status 1, and a reader who has enough is told nothing."""
    for target, told in (
        (os.open("/dev/full", os.O_WRONLY), "standard output: No space left on device\n"),
        (closed_pipe(), ""),
    ):
        with os.fdopen(target) as stdout:
            done = subprocess.run(
                [sys.executable, "-m", "netconsd", *command.split()],
                cwd=ROOT, env=ENVIRONMENT, stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=30, check=False,
            )  # fmt: skip
        assert done.returncode == 1
        assert done.stderr.partition(": ")[2] == told


def closed_pipe() -> int:
    """The end of a pipe to write to, whose other end is closed."""
    reading, writing = os.pipe()
    os.close(reading)
    return writing


def test_text_and_bytes(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """Text gets a newline, bytes go out as they are, in the order of the calls."""
    put("one", "prog")
    put(b"two \xff", "prog")
    put("three", "prog")
    assert capfdbinary.readouterr().out == b"one\ntwo \xffthree\n"


def test_no_standard_output(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A standard output that is closed is one that cannot be written."""
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(SystemExit) as caught:
        put("text", "prog")
    assert caught.value.code == 1
    assert capsys.readouterr().err == "prog: standard output: Bad file descriptor\n"


def test_what_stays_in_a_buffer(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be written is not tried again: at the end of the process that would be a complaint of Python."""
    stdout = io.TextIOWrapper(io.BufferedWriter(io.FileIO(closed_pipe(), "w")))
    monkeypatch.setattr(sys, "stdout", stdout)
    with pytest.raises(SystemExit):
        put("text", "prog")
    stdout.close()
    assert capsys.readouterr().err == ""
