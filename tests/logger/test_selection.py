"""The selection of messages by level, sender and pattern, which printer and logger share."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from twisted.logger import capturedLogs, formatEvent

from netconsd.logger import selection
from netconsd.logger.selection import Selection
from netconsd.names import Names
from netconsd.protocol.message import Message
from netconsd.testing import extended_message, legacy_message
from tests.support.loggers import A, B, batch, files, logging

needs_re2 = pytest.mark.skipif(not importlib.util.find_spec("re2"), reason="google-re2 is not installed")


def kept(messages: list[Message], names: Names | None = None, **settings: Any) -> list[str]:
    """Return the texts of the selected messages."""
    selected = Selection(**settings)
    selected.start(1, (names or Names()).all_of)
    texts = [message.text for message in selected.kept(0, messages)]
    assert selected.hidden == len(messages) - len(texts)
    return texts


def test_everything() -> None:
    """Without a setting every message is selected, and the batch is returned as it is."""
    selected = Selection()
    selected.start(1, Names().all_of)
    messages = batch("one")
    assert not selected.active
    assert selected.kept(0, messages) is messages


def test_level() -> None:
    """A level selects the messages of this level, the more severe ones, and those without a level."""
    messages: list[Message] = [extended_message(str(level), level=level) for level in range(8)]
    messages += [legacy_message("none"), legacy_message("<4>old 4"), legacy_message("<5>old 5")]
    assert kept(messages, level="warn") == ["0", "1", "2", "3", "4", "none", "old 4"]
    assert kept(messages, level="emerg") == ["0", "none"]


SENDERS: list[Message] = [
    extended_message("one", address="192.0.2.1"),
    extended_message("two", address="192.0.2.21"),
    extended_message("six", address="2001:db8::7"),
    extended_message("web", address="198.51.100.1", userdata={"host": "Web01.example"}),
]


@pytest.mark.parametrize(
    ("hosts", "texts"),
    [
        (["192.0.2.1"], ["one"]),
        (["192.0.2.0/24"], ["one", "two"]),
        (["192.0.2.9/24"], ["one", "two"]),
        (["2001:DB8:0::7"], ["six"]),
        (["2001:db8::/32", "192.0.2.21"], ["two", "six"]),
        (["192.0.2.?"], ["one"]),
        (["*.2*"], ["one", "two"]),
        (["web01.EXAMPLE"], ["web"]),
        (["web*"], ["web"]),
        (["web[0-9]*"], ["web"]),
        (["web"], []),
        (["203.0.113.0/24"], []),
    ],
)
def test_hosts(hosts: list[str], texts: list[str]) -> None:
    """Senders are selected by address, network, name, and patterns of names and addresses."""
    assert kept(SENDERS, hosts=hosts) == texts


def test_hosts_of_the_file(tmp_path: Path) -> None:
    """The names of the file of names select senders."""
    (tmp_path / "hosts").write_text("192.0.2.21 db1\n")
    names = Names(hosts_file=tmp_path / "hosts")
    names.read()
    assert kept(SENDERS, names, hosts=["db*"]) == ["two"]


@pytest.mark.parametrize("entry", ["", "/etc/hosts", "192.0.2.0/33", "a b", "a\n", "é", "\x1b", "../x"])
def test_wrong_hosts(entry: str) -> None:
    """Another text is an error that names the setting and the text."""
    with pytest.raises(ValueError, match=r"^hosts: ") as caught:
        Selection(hosts=["192.0.2.1", entry])
    assert f'"{entry}" is not an address' in str(caught.value)


def test_hosts_are_bounded() -> None:
    """1000 entries are allowed, because each message is compared with all."""
    Selection(hosts=["a"] * selection.HOSTS_LIMIT)
    with pytest.raises(ValueError, match=r"^hosts: 1001 entries are more than 1000"):
        Selection(hosts=["a"] * 1001)


@needs_re2
def test_patterns() -> None:
    """``keep`` selects the messages that match, ``drop`` those that do not."""
    messages = batch("eth0: up", "eth0: down", "sda: down")
    assert kept(messages, keep="eth0") == ["eth0: up", "eth0: down"]
    assert kept(messages, drop="(?i)DOWN") == ["eth0: up"]
    assert kept(messages, keep="^eth0", drop="up") == ["eth0: down"]


@needs_re2
@pytest.mark.parametrize("setting", ["keep", "drop"])
def test_malformed_patterns(setting: str) -> None:
    """A malformed pattern is an error of the constructor that names the setting."""
    with pytest.raises(ValueError, match=rf"^{setting}: is not a regular expression"):
        kept([], None, **dict[str, Any]({setting: "a("}))


def test_the_logger(tmp_path: Path) -> None:
    """The logger writes the selected messages only, and logs the number of the others at its stop."""
    with capturedLogs() as events, logging(tmp_path / "logs", hosts=(B,), level="info") as logger:
        logger.handle_batch(0, batch("one") + batch("two", "three", address=B))
        logger.handle_batch(0, batch("four", address=A))
    assert files(tmp_path / "logs") == {f"{B}.log": ["two", "three"]}
    texts = [formatEvent(event) for event in events]
    assert texts == ["logger: 2 messages not written, because of level, hosts, keep or drop"]


def test_the_lines_of_the_logger(tmp_path: Path) -> None:
    """The logger has fields, senders and local time on request."""
    settings: dict[str, Any] = {"fields": ("cpu", "release"), "sender": True, "time": "local"}
    with logging(tmp_path / "logs", **settings) as logger:
        logger.handle_batch(0, [extended_message("text", cpu=3, userdata={"host": "web01"})])
    (line,) = (tmp_path / "logs" / f"{A}.log").read_text().splitlines()
    when, sender, rest = line.split(" ", 2)
    assert not when.endswith("Z")
    assert sender == f"web01@{A}"
    assert rest == "[    1.000000] info   text {cpu=3}"


def test_files_by_the_name_in_the_userdata(tmp_path: Path) -> None:
    """With ``{host}`` the name in the userdata selects the file; by default the address does."""
    messages = [extended_message("text", userdata={"host": host}) for host in ("web01", "../x")]
    for name, expected in (("{host}.log", "web01.log"), ("{address}.log", f"{A}.log")):
        with logging(tmp_path / name, name=name) as logger:
            logger.handle_batch(0, messages[:1])
        assert set(files(tmp_path / name)) == {expected}
    with logging(tmp_path / "unsafe", name="{host}.log") as logger:
        logger.handle_batch(0, messages[1:])
    assert set(files(tmp_path / "unsafe")) == {f"{A}.log"}
