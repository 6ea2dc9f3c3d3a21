"""The body of an extended message: text, dictionary and userdata, and round trips (docs/wire section 4)."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from netconsd.protocol.body import (
    CACHED_BODIES,
    CACHED_BYTES,
    MSGID_LIMIT,
    TASKNAME_LIMIT,
    Body,
    msgid_of,
    parse,
    readable,
    text_of,
    unescape,
)
from netconsd.testing import escape, extended
from tests.support.strategies import bodies

NOTHING = Body()


def body_of(datagram: bytes) -> bytes:
    """Return the bytes after the header."""
    return datagram.partition(b";")[2]


# The text (rule 1).


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"hello\n", "hello"),
        (b"hello", "hello"),
        (b"hello\0", "hello"),
        (b"hello\n role=web\n", "hello"),
        (b"hello\n\n\n", "hello"),
        (b"\n role=web\n", ""),
        (b"\n", ""),
        (b"\0", ""),
        (b"", ""),
        (b" leading and trailing \n", " leading and trailing "),
        (b"a\0b\n", "a\0b"),
        (b"a\0\n", "a\0"),
        (b"two nuls\0\0", "two nuls\0"),
    ],
)
def test_text_ends_at_the_first_newline(body: bytes, text: str) -> None:
    """The text ends at the first newline, or at the end of the body, with or without a NUL."""
    assert text_of(body) == text


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        (rb"bad \x1b[31mred\x0asecond line \xc3\xa9 back\x5cslash", "bad \x1b[31mred\nsecond line é back\\slash"),
        (rb"\x09", "\t"),
        (rb"\x00", "\0"),
        (rb"\x7f", "\x7f"),
        (rb"\xE2\x82\xAc", "€"),
        (rb"\x5cx41", r"\x41"),
        (rb"\x5c\x5c", "\\\\"),
        (rb"cut \x0", r"cut \x0"),
        (rb"cut \x", r"cut \x"),
        (rb"cut " + b"\\", "cut \\"),
        (rb"\xg1 \y41 \\x41", r"\xg1 \y41 \A"),
        (rb"\X41", r"\X41"),
        (rb"\xff\xc3", r"\xff\xc3"),
        (b"raw \xc3\xa9 \xff", r"raw é \xff"),
        (rb"\xed\xa0\x80", r"\xed\xa0\x80"),
    ],
)
def test_text_is_unescaped_once_then_decoded(sent: bytes, text: str) -> None:
    r"""Each ``\xNN`` becomes a byte, once; then UTF-8 is decoded; other bytes and truncated escapes stay visible."""
    for end in (b"\n", b"", b"\0"):
        assert text_of(sent + end) == text


def test_newline_inside_a_record() -> None:
    r"""A newline that arrives as ``\x0a`` does not end the text."""
    assert text_of(b"one\\x0atwo\n role=web\n") == "one\ntwo"
    assert parse(b"one\\x0a cpu=3\n role=web\n") == Body(userdata={"role": "web"})


@settings(max_examples=200)
@given(st.binary(max_size=60))
def test_unescape_undoes_escape(data: bytes) -> None:
    """Unescaping restores any bytes that the kernel escaped."""
    assert unescape(escape(data)) == data
    assert text_of(escape(data) + b"\n") == readable(data)


# The dictionary (rule 2).


@pytest.mark.parametrize("device", ["b8:0", "c127:3", "n8", "+sound:card0"])
def test_dictionary(device: str) -> None:
    """SUBSYSTEM and DEVICE directly after the text are the dictionary, for devices of every kind."""
    body = b"text\n SUBSYSTEM=usb\n DEVICE=%b\n role=web\n cpu=3\n" % device.encode()
    expected = Body({"SUBSYSTEM": "usb", "DEVICE": device}, {"role": "web"}, 3, None, None)
    assert parse(body) == expected


@pytest.mark.parametrize(
    ("lines", "dictionary", "userdata"),
    [
        (b" DEVICE=n8\n", {"DEVICE": "n8"}, {}),
        (b" SUBSYSTEM=usb\n", {"SUBSYSTEM": "usb"}, {}),
        (b" SUBSYSTEM=\n", {"SUBSYSTEM": ""}, {}),
        (b" SUBSYSTEM=a=b\n", {"SUBSYSTEM": "a=b"}, {}),
        (b" role=web\n SUBSYSTEM=usb\n", {}, {"role": "web", "SUBSYSTEM": "usb"}),
        (b" SUBSYSTEM=usb\n SUBSYSTEM=mine\n", {"SUBSYSTEM": "usb"}, {"SUBSYSTEM": "mine"}),
        (b" SUBSYSTEM=usb\n DEVICE=n8\n DEVICE=mine\n", {"SUBSYSTEM": "usb", "DEVICE": "n8"}, {"DEVICE": "mine"}),
        (b" SUBSYSTEMS=usb\n", {}, {"SUBSYSTEMS": "usb"}),
        (b" subsystem=usb\n", {}, {"subsystem": "usb"}),
        (b"SUBSYSTEM=usb\n", {}, {}),
    ],
)
def test_dictionary_is_directly_after_the_text(
    lines: bytes, dictionary: dict[str, str], userdata: dict[str, str]
) -> None:
    """Each of the two keys counts once, directly after the text; later lines are userdata."""
    assert parse(b"text\n" + lines) == Body(dictionary=dictionary, userdata=userdata)


def test_dictionary_is_escaped_and_userdata_is_not() -> None:
    r"""A ``\xNN`` is one byte in the dictionary, and four characters in userdata and sysdata."""
    assert parse(
        rb"text" + b"\n" + rb" DEVICE=+\xc3\xa9\x0a\x5cx41" + b"\n" + rb" a=\x41" + b"\n" + rb" taskname=\x42"
    ) == (Body({"DEVICE": "+é\n\\x41"}, {"a": r"\x41"}, None, r"\x42", None))


# The userdata (rule 4).


@pytest.mark.parametrize(
    ("lines", "userdata"),
    [
        (b" rack=r17 b\n role=web\n", {"rack": "r17 b", "role": "web"}),
        (b" a=1\n b=2", {"a": "1", "b": "2"}),
        (b" a=1\n b=2\0", {"a": "1", "b": "2"}),
        (b" a=\n", {"a": ""}),
        (b" a=b=c\n", {"a": "b=c"}),
        (b"  a= 1 \n", {" a": " 1 "}),
        (b" =1\n", {"": "1"}),
        (b" a=1\nsecond\n", {"a": "1\nsecond"}),
        (b" a=1\nx=y\n b=2\n", {"a": "1\nx=y", "b": "2"}),
        (b" a=1\n second\n\n third\n", {"a": "1\n second\n\n third"}),
        (b" a=1\n\n", {"a": "1\n"}),
        (b" a=1\n a=2\n", {"a": "2"}),
        (b"before the first\n a=1\n", {"a": "1"}),
        (b"\xff\n a=\xc3\xa9 \xff\n", {"a": "é \\xff"}),
        (b" \xff=1\n", {"\\xff": "1"}),
    ],
)
def test_userdata(lines: bytes, userdata: dict[str, str]) -> None:
    """Each `` key=value`` line is an item; other lines continue the value before; the last of equal keys counts."""
    assert parse(b"text\n" + lines) == Body(userdata=userdata)


def test_largest_userdata() -> None:
    """256 items of 53 and 199 bytes, the most that a kernel sends, are parsed."""
    userdata = {f"{number:053}": "v" * 199 for number in range(256)}
    assert parse(body_of(extended("text", userdata=userdata, msgid=1))) == Body(userdata=userdata)


@pytest.mark.parametrize("lines", [b"\n" * 131_000, b" a=1\n" * 26_000, b"x" * 131_000, b" taskname=" * 13_000])
def test_many_lines(lines: bytes) -> None:
    """128 KiB of the shortest lines, or of one long line, are parsed in a moment."""
    body = b"text\n a=1\n" + lines
    assert parse(body).cpu is None
    assert text_of(body) == "text"
    assert msgid_of(body) == -1


# Round trips and any bytes.

_words = st.text(st.characters(codec="utf-8", exclude_characters="\0\n"), max_size=12)
_keys = st.text(st.characters(codec="utf-8", exclude_characters="\0\n="), min_size=1, max_size=8).filter(
    lambda key: key not in {"SUBSYSTEM", "DEVICE", "cpu", "taskname", "release", "msgid"}
)
_tasknames = st.lists(
    st.sampled_from(["a", "b c", "=", "\n", " cpu=9", "\n cpu=9", "\n taskname=", "\n x=y", "é", "\n DEVICE=n8"]),
    max_size=5,
).map("".join)


_fields = st.fixed_dictionaries(
    {
        "text": st.text(st.characters(codec="utf-8"), max_size=20),
        "dictionary": st.fixed_dictionaries({}, optional={"SUBSYSTEM": _words, "DEVICE": _words}),
        "userdata": st.dictionaries(_keys, _words, max_size=4),
        "cpu": st.none() | st.integers(0, MSGID_LIMIT),
        "taskname": st.none() | _tasknames,
        "sysrelease": st.none() | st.just("7.2.13+deb14-amd64"),
        "msgid": st.none() | st.integers(0, MSGID_LIMIT),
    }
)


@settings(max_examples=200)
@given(_fields)
def test_round_trip(fields: dict[str, Any]) -> None:
    """Every field that a kernel puts into a body is parsed."""
    assume(fields["taskname"] is None or len(fields["taskname"].encode()) <= TASKNAME_LIMIT)
    body = body_of(extended(**fields))
    assert text_of(body) == fields["text"]
    assert parse(body) == Body(*(fields[name] for name in ("dictionary", "userdata", "cpu", "taskname", "sysrelease")))
    assert msgid_of(body) == (-1 if fields["msgid"] is None else fields["msgid"])


@settings(max_examples=300)
@given(bodies)
def test_any_bytes(body: bytes) -> None:
    """Parsing any bytes raises nothing, and every field is within its bounds."""
    parsed = parse(body)
    assert set(parsed.dictionary) <= {"SUBSYSTEM", "DEVICE"}
    assert parsed.cpu is None or 0 <= parsed.cpu <= MSGID_LIMIT
    assert parsed.taskname is None or len(parsed.taskname) <= 4 * TASKNAME_LIMIT
    assert -1 <= msgid_of(body) <= MSGID_LIMIT
    for text in (text_of(body), *parsed.userdata, *parsed.userdata.values(), *parsed.dictionary.values()):
        assert text.encode().decode() == text


def distinct_body(number: int) -> bytes:
    """Return a body that differs from those of all other numbers."""
    return b"text\n key=%d\n msgid=%d\n" % (number, number)


def test_equal_lines_are_parsed_once() -> None:
    """Bodies that differ only in text and msgid share the parsed lines."""
    assert parse(b"one\n rack=r17\n cpu=1\n msgid=1\n") is parse(b"two\n rack=r17\n cpu=1\n msgid=22\n")


def test_the_cache_is_bounded() -> None:
    """The cache has CACHED_BODIES entries, and no body of more than CACHED_BYTES."""
    first = parse(distinct_body(-1))
    assert parse(distinct_body(-1)) is first
    later = [parse(distinct_body(number)) for number in range(8 * CACHED_BODIES)]
    assert parse(distinct_body(-1)) == first
    # The latest first: one that is gone is put in the place of another when it is looked for.
    kept = sum(parse(distinct_body(number)) is later[number] for number in reversed(range(len(later))))
    assert CACHED_BODIES // 2 < kept <= CACHED_BODIES
    for size, cached in ((CACHED_BYTES, True), (CACHED_BYTES + 1, False)):
        body = b"text\n key=" + b"x" * (size - len(" key=\n")) + b"\n"
        assert (parse(body) is parse(body)) is cached


@given(
    st.one_of(
        st.binary(),
        st.text().map(str.encode),
        st.lists(st.sampled_from([b"\xff", b"\xed\xa0\x80", b"a", b"\xc3", b"\xc3\xa9", b"\xf4\x90\x80\x80"])).map(
            b"".join
        ),
    )
)
def test_bytes_that_are_not_utf8_become_escapes(data: bytes) -> None:
    """Bytes that are not UTF-8 are decoded as with Python's ``backslashreplace``."""
    assert readable(data) == data.decode("utf-8", "backslashreplace")


@given(
    st.lists(st.sampled_from([b"\\", b"x", b"0", b"1", b"a", b"F", b"g", b"\\x41", b"\\x5c", b" ", b"_", b"+"])).map(
        b"".join
    )
)
def test_only_escapes_are_unescaped(data: bytes) -> None:
    """Only a backslash, an x and two hexadecimal digits are an escape, once."""
    expected = re.sub(rb"\\x([0-9a-fA-F]{2})", lambda match: bytes((int(match[1], 16),)), data)
    assert unescape(data) == expected
