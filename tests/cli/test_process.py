"""``netconsd process``: its options, and the errors in them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from netconsd.cli import process
from netconsd.cli.process import ProcessOptions

RIGHT = ["--from", "nats://h/logs", "--group", "g"]


def parsed(*arguments: str) -> ProcessOptions:
    """Return parsed options."""
    options = ProcessOptions()
    options.parseOptions(list(arguments))
    return options


def test_right(tmp_path: Path) -> None:
    """The broker's options are beside the daemon's, of which the modules and their settings are as always."""
    file = tmp_path / "broker"
    file.write_text("user=me\n")
    options = parsed(
        *RIGHT, "--partitions", "4", "--subject", "a.b", "--broker-config", str(file), "-w", "3", "printer"
    )
    assert (options.broker.servers, options.group, options.partitions, options.subject) == (("h:4222",), "g", 4, "a.b")
    assert options.properties == {"user": "me"}
    assert options.configuration.settings.workers == 3
    assert options.configuration.modules == ("printer",)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--group", "g"], "--from is missing"),
        (["--from", "nats://h/logs"], "--group is missing"),
        (["--from", "nats://h", "--group", "g"], '--from: "nats://h" is not'),
        (["--from", "nats://h/l", "--group", "a b"], "--group: "),
        ([*RIGHT, "--partitions", "0"], "--partitions: 0 is not from 1 to 1024"),
        ([*RIGHT, "--partitions", "x"], "--partitions: x is not"),
        ([*RIGHT, "--port", "6666"], "--port is about the reception from a socket"),
        ([*RIGHT, "--allow", "192.0.2.0/24"], "--allow is about the reception from a socket"),
        ([*RIGHT, "--acks"], "--acks is about the reception from a socket"),
        ([*RIGHT, "--broker-config", "/none"], "--broker-config: /none: No such file"),
        (["--from", "kafka://h/t", "--group", "g", "--partitions", "4"], "--partitions is for NATS"),
        ([*RIGHT, "--group", "other"], "--group is given twice"),
        ([*RIGHT, "--grup", "x"], "did you mean --group?"),
    ],
)
def test_wrong(arguments: list[str], text: str) -> None:
    """Each error names the option to change."""
    with pytest.raises(SystemExit) as caught:
        process.main(arguments)
    assert text in str(caught.value)


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing library is an error that says how to install it."""
    monkeypatch.setitem(sys.modules, "nats", None)
    monkeypatch.setattr(process, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match=r"pip install 'netconsd\[nats\]'"):
        process.main(RIGHT)
