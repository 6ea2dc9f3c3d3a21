"""The file of patterns, and the messages that match."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
from twisted.logger import capturedLogs

from netconsd.logger.patterns import Patterns, PatternsError, parse, read
from netconsd.protocol.message import Message
from netconsd.testing import extended_message, legacy_message

needs_re2 = pytest.mark.skipif(importlib.util.find_spec("re2") is None, reason="google-re2 is not installed")


@pytest.fixture(params=["re2", "re"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The library that searches; a test runs with both, or with one where google-re2 is not installed."""
    name: str = request.param
    if name == "re":
        monkeypatch.setitem(sys.modules, "re2", None)
    elif importlib.util.find_spec("re2") is None:
        pytest.skip("google-re2 is not installed")
    return name


def kept(patterns: list[str], *messages: Message) -> list[Message]:
    """Return the messages that match none of the patterns."""
    return Patterns(list(enumerate(patterns, 1)), "file").kept(messages)


def test_the_format() -> None:
    """Items of the section ``ignore:`` are patterns to the end of the line; comments and other sections are skipped."""
    text = (
        "# noise\n"
        "rename:\n"
        "  - not ours\n"
        "    whatever it is\n"
        "\n"
        "ignore: \r\n"
        "  - (?i).*debug.*\n"
        "# between\n"
        "- ^a - b #c \n"
        '  - "quoted"\n'
        "other:\n"
        "- nor this\n"
        "ignore:\n"
        "  - last"
    )
    assert parse(text, "f") == [(7, "(?i).*debug.*"), (9, "^a - b #c "), (10, '"quoted"'), (14, "last")]


def test_files_without_patterns() -> None:
    """A file with comments only, or an empty list, has no patterns."""
    assert parse("", "f") == parse("# nothing\n\n", "f") == parse("ignore:\n", "f") == []


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("ignore:\n   - three spaces", 'f:2: is not a pattern: write "  - " and a regular expression'),
        ("ignore:\n\t- tab", 'f:2: is not a pattern: write "  - " and a regular expression'),
        ("ignore:\n  -no space", 'f:2: is not a pattern: write "  - " and a regular expression'),
        ("ignore:\n  - ok\n  -  ", "f:3: an empty pattern would drop every line"),
        ("# forgotten\n  - audit", 'f:2: stands before any "ignore:"'),
    ],
)
def test_malformed_files(text: str, error: str) -> None:
    """A line that the C daemon would skip, or an empty pattern, is an error with the number of the line."""
    with pytest.raises(PatternsError) as caught:
        parse(text, "f")
    assert str(caught.value) == error


def test_not_utf8(tmp_path: Path) -> None:
    """A file in another encoding is an error with the number of the line."""
    path = tmp_path / "p.txt"
    path.write_bytes(b"ignore:\n  - \xff\n")
    with pytest.raises(PatternsError, match=rf"^{path}:2: is not UTF-8$"):
        read(str(path))


@needs_re2
@pytest.mark.parametrize(
    ("pattern", "reason"),
    [("a(", "missing ): a("), ("x{1001}", "invalid repetition size: {1001}"), ("(?<=a)b", "invalid perl operator")],
)
def test_patterns_that_re2_rejects(pattern: str, reason: str) -> None:
    """A pattern that RE2 rejects is an error with the number of its line and RE2's reason."""
    with pytest.raises(PatternsError) as caught:
        Patterns([(1, "fine"), (7, pattern)], "f")
    assert str(caught.value).startswith("f:7: is not a regular expression of RE2: ")
    assert reason in str(caught.value)


@needs_re2
def test_patterns_beyond_the_memory_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """More patterns than the memory allows are an error: none of them is used."""
    monkeypatch.setattr("netconsd.logger.patterns.MAX_MEMORY", 20_000)
    with pytest.raises(PatternsError, match=r"^f: all patterns together need more than"):
        Patterns([(number, f"(a|b){{90}}{number}") for number in range(100)], "f")


@pytest.mark.usefixtures("library")
def test_any_pattern_anywhere() -> None:
    """A message that matches any pattern at any place is dropped; the others are kept, in order."""
    one, two, three, four = (extended_message(text) for text in ("usb 1-1: x", "eth0: link", "AUDIT: y", "xusb"))
    assert kept([r"^usb \d", "(?i)audit"], one, two, three, four) == [two, four]
    assert kept([], one, two) == [one, two]


@pytest.mark.usefixtures("library")
def test_matched_bytes() -> None:
    """Patterns match the text of an extended message as sent, still escaped, and a legacy line with its prefix."""
    extended = extended_message("a\tb\nc", userdata={"rack": "r17"})
    legacy = legacy_message(b"<6>[   12.345678] usb 1-1: USB disconnect\xff")
    assert kept([r"^a\\x09b\\x0ac$"], extended) == []
    assert kept(["rack"], extended) == [extended], "userdata is no text"
    assert kept([r"12\.\d+\] usb.*DISCONNECT"], legacy) == [legacy], "case counts"
    assert kept([r"^<6>\[\s*[\d.]+\] usb.*disconnect"], legacy) == []


@pytest.mark.usefixtures("library")
def test_the_end_of_a_line() -> None:
    """``$`` is the end of the text, before a newline or a NUL."""
    message = extended_message("over\0")
    assert kept(["over$"], extended_message("over"), legacy_message("over")) == []
    assert kept(["over$"], legacy_message(b"over\0")) == []
    assert kept(["over$"], message) == [message], "an escaped NUL is a part of the text"


@needs_re2
def test_matching_takes_linear_time() -> None:
    """A line that takes a backtracking engine hours is matched in time linear in its length."""
    assert len(kept([r"(a+)+$", r"(a|aa)+$"], legacy_message(b"a" * 60000 + b"b"))) == 1


@pytest.mark.usefixtures("library")
def test_a_pattern_over_the_whole_line_of_a_kernel() -> None:
    """The pattern may match at the end of a line of usual length."""
    assert kept(["failed$"], legacy_message("<3>[   12.345678] " + "x" * 200 + " failed")) == []


@pytest.mark.parametrize("name", ["re2", "re"])
def test_the_library_in_use_is_logged(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without google-re2 one warning says so and names the file; with it there is none."""
    if name == "re":
        monkeypatch.setitem(sys.modules, "re2", None)
    elif importlib.util.find_spec("re2") is None:
        pytest.skip("google-re2 is not installed")
    path = tmp_path / "patterns.txt"
    path.write_text("ignore:\n  - noise\n")
    with capturedLogs() as events:
        assert read(str(path)).library == name
    assert [event["path"] for event in events] == [str(path)] * (name == "re")


@pytest.mark.usefixtures("library")
def test_the_example_in_the_docs() -> None:
    """docs/examples/patterns.txt is valid, and drops the lines that it describes."""
    patterns = read(str(Path(__file__).parents[2] / "docs/examples/patterns.txt"))
    assert patterns.count == 3
    usb = extended_message("USB usb 1-1: new high-speed USB device")
    selftest = legacy_message("[    1.000000] netconsd selftest x")
    other = extended_message("usb 1-1: device descriptor read/64, error -71")
    assert patterns.kept([usb, other, selftest]) == [other]
