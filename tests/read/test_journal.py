"""A journal has the same lines, in whatever form journalctl prints it."""

from __future__ import annotations

import io
import json
import time
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netconsd.read.entries import Line
from netconsd.read.reader import Entry, reader_of

CURSOR = "s=875dae6ed0d047a692205939aa70bc17;i={0:x};b=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa;m=1e8480;t={1:x};x=951b9e4c"
TEXTS = (b"one", b"first\nsecond\n\tthird", b"red \x1b[31m \xff")
TIME = 1795849200.25
#: The texts of the lines, with the head that each has.
LINES = [b"one", b"first", b"second", b"\tthird", b"red \x1b[31m \xff"]


def read(data: bytes) -> list[Entry]:
    """All entries of a file."""
    return [entry for entry in reader_of(io.BytesIO(data), year=2026) if entry is not None]


def fields(number: int) -> dict[str, str]:
    """The fields of an entry but its text, as the journal has them."""
    return {
        "_TRANSPORT": "kernel",
        "PRIORITY": "4",
        "SYSLOG_FACILITY": "0",
        "_KERNEL_DEVICE": "+pci:0000:00:03.0",
        "_SOURCE_MONOTONIC_TIMESTAMP": f"{12_345_678 + number}",
        "_HOSTNAME": "web01",
    }


def realtime(number: int) -> int:
    """The time of an entry."""
    return round(TIME * 1e6) + number


def export() -> bytes:
    """Texts with a newline or bytes that are no UTF-8 have their length before them."""
    data = b""
    for number, text in enumerate(TEXTS):
        head = {"__CURSOR": CURSOR.format(number, realtime(number)), "__REALTIME_TIMESTAMP": str(realtime(number))}
        data += "".join(f"{name}={value}\n" for name, value in (head | fields(number)).items()).encode()
        binary = b"\n" in text or b"\xff" in text
        data += b"MESSAGE\n%b%b\n" % (len(text).to_bytes(8, "little"), text) if binary else b"MESSAGE=%b\n" % text
        data += b"\n"
    return data


def verbose() -> bytes:
    """As systemd prints it, the older ones with a note at the begin."""
    data = b"-- Logs begin at Sat 2026-11-28 07:00:00 CET. --\n"
    for number, text in enumerate(TEXTS):
        cursor = CURSOR.format(number, realtime(number))
        data += f"Sat 2026-11-28 08:00:00.25000{number} CET [{cursor}]\n".encode()
        data += "".join(f"    {name}={value}\n" for name, value in fields(number).items()).encode()
        data += b"    MESSAGE=%b\n" % text.replace(b"\n", b"\n            ")
    return data


def objects(number: int, text: bytes) -> dict[str, Any]:
    """An entry in JSON, where bytes that are no UTF-8 are numbers."""
    shown: Any = list(text) if b"\xff" in text else text.decode()
    return {"__REALTIME_TIMESTAMP": str(realtime(number)), **fields(number), "MESSAGE": shown}


def json_pretty() -> bytes:
    """As systemd 252 indents it."""
    return b"".join(
        json.dumps(objects(number, text), indent="\t", separators=(",", " : ")).encode() + b"\n"
        for number, text in enumerate(TEXTS)
    )


def json_seq() -> bytes:
    """RFC 7464."""
    return b"".join(b"\x1e%b\n" % json.dumps(objects(number, text)).encode() for number, text in enumerate(TEXTS))


def json_sse() -> bytes:
    """Server-Sent Events."""
    return b"".join(b"data: %b\n\n" % json.dumps(objects(number, text)).encode() for number, text in enumerate(TEXTS))


FORMS = [export, verbose, json_pretty, json_seq, json_sse]


@pytest.mark.parametrize("form", FORMS)
def test_forms(form: Any) -> None:
    """Time, host, level and the kernel's time are found; a text of several lines is as many lines."""
    found = read(form())
    numbers = [0, 1, 1, 1, 2]
    assert [(entry.time, entry.host, entry.text) for entry in found if isinstance(entry, Line)] == [
        (realtime(number) / 1e6, "web01", b"<4>[   12.%06d] %b" % (345_678 + number, text))
        for number, text in zip(numbers, LINES, strict=True)
    ]


@pytest.mark.parametrize("form", FORMS)
def test_the_entries_begin_at_their_lines(form: Any) -> None:
    """The number of an entry is that of its first line."""
    data: bytes = form()
    line = data.split(b"\n")[read(data)[-1].number - 1]
    assert line.startswith((b"__CURSOR=", b"Sat ", b"{", b"\x1e{", b"data: {"))


@pytest.mark.parametrize("form", FORMS)
def test_cut_files(form: Any) -> None:
    """A file that is cut anywhere is read up to the cut."""
    data: bytes = form()
    for end in range(0, len(data), 7):
        assert len(read(data[:end])) <= len(LINES)


def test_many_notes() -> None:
    """A file of notes is looked at once, not once for each note."""
    assert read(b"-- Reboot --\n" * 80_000) == []


def test_large_fields() -> None:
    """A field of any size, such as that of a core dump, is passed over; the entry behind it is whole."""
    first = b"__CURSOR=a\nMESSAGE=one\nCOREDUMP\n%b%b\n\n" % ((3 << 20).to_bytes(8, "little"), b"\n=" * (3 << 19))
    second = b"__CURSOR=b\nLARGE=%b\nMESSAGE=two\n\n" % (b"x" * (3 << 20))
    assert [entry.text for entry in read(first + second) if isinstance(entry, Line)] == [b"<6>one", b"<6>two"]


@given(
    st.lists(
        st.sampled_from(
            [
                *(b"__CURSOR=", b"MESSAGE", b"=", b"\n", b"\0", b"\x05\0\0\0\0\0\0\0", b"x", b"\xff" * 8, b"    "),
                *(b"__REALTIME_TIMESTAMP=", b'{\n\t"MESSAGE" : ', b"}"),
            ]
        ),
        max_size=24,
    )
)
def test_any_bytes(parts: list[bytes]) -> None:
    """No bytes raise."""
    for begin in (b"__CURSOR=", b'{\n\t"__CURSOR" : ', verbose()[:160]):
        read(begin + b"".join(parts))


MORE = b"\n" + b" " * 12
VERBOSE = verbose().split(b"\n", 1)[1]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(VERBOSE[:39] + b"t=0" * 80_000, id="many times in a cursor"),
        pytest.param(b"-- \n" * 250_000, id="notes"),
        pytest.param(VERBOSE[:160] + b"\n    MESSAGE=" + b"\xff" * 65_536 + MORE * 20_000, id="further lines"),
        pytest.param(b'{\n\t"MESSAGE" : ""\n' + b"}\n" * 50_000, id="ends of objects"),
    ],
)
def test_hostile_files_take_linear_time(data: bytes) -> None:
    """A file of 1 MB that is made for it takes no longer than a log: each of these took five seconds or more."""
    begin = time.process_time()
    reader = iter(reader_of(io.BytesIO(data), year=2026))
    for _ in range(10):
        next(reader, None)
    assert time.process_time() - begin < 2


def test_an_object_without_an_end_is_bounded() -> None:
    """The lines of an object that does not end are dropped at the limit of an object, and the next one is read."""
    begin = b'{\n\t"MESSAGE" : "one",\n'
    whole = b'{\n\t"MESSAGE" : "two"\n}\n'
    blocks = iter([begin, *[b'\t"A" : "%b",\n' % (b"x" * 90) * 10_000] * 20, whole])

    class Long(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            return next(blocks, b"")

    tracemalloc.start()
    try:
        found = [entry for entry in reader_of(Long(), year=2026) if isinstance(entry, Line)]  # type: ignore[arg-type]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [entry.text for entry in found] == [b"<6>two"]
    assert peak < 12 << 20


def test_a_text_is_no_field_of_the_journal() -> None:
    """A further line of a text that looks like a field is text: user space cannot choose host and level by it."""
    data = VERBOSE.split(b"    MESSAGE=", 1)[0] + b"    MESSAGE=a\n            _HOSTNAME=b\n            PRIORITY=0\n"
    found = [(entry.host, entry.text) for entry in read(data) if isinstance(entry, Line)]
    assert found == [("web01", b"<4>[   12.345678] " + text) for text in (b"a", b"_HOSTNAME=b", b"PRIORITY=0")]


def test_further_lines_of_journalctl_short() -> None:
    """A further line of a text is indented: it is of the same host, time and kernel's time."""
    short = b"Nov 28 07:00:00 web01 kernel: a\n                              b\n                              \tc\n"
    assert read(short) == [
        Line(number, 1795849200.0, "web01", text) for number, text in enumerate((b"a", b"b", b"\tc"), 1)
    ]
    monotonic = b"[   12.345678] web01 kernel: a\n                             b\n"
    assert read(monotonic) == [
        Line(1, None, "web01", b"[   12.345678] a"),
        Line(2, None, "web01", b"[   12.345678] b"),
    ]
    # Another indentation is that of a text.
    other = b"Nov 28 07:00:00 web01 kernel: a\n                               b\n"
    assert read(other)[1] == Line(2, None, None, b" " * 31 + b"b")


def test_the_values_of_a_record_are_no_lines() -> None:
    """The dictionary and userdata behind a record are passed over."""
    data = b"6,8,12345678,-;a\n SUBSYSTEM=usb\n DEVICE=c189:1\n6,9,12345679,-;b\n x\n[   12.345680] c\n k=v\n"
    assert [entry.text for entry in read(data) if isinstance(entry, Line)] == [
        *(b"<6>[   12.345678] a", b"<6>[   12.345679] b", b" x", b"[   12.345680] c", b" k=v")
    ]
