"""The sysdata at the end of a body: each part is optional, and a task name forges none (docs/wire section 4)."""

from __future__ import annotations

import pytest

from netconsd.protocol.body import MSGID_LIMIT, TASKNAME_LIMIT, Body, msgid_of, parse
from netconsd.testing import extended

NOTHING = Body()
SYSDATA = [b" cpu=3\n", b" taskname=kworker/0:1\n", b" release=7.2.13+deb14-amd64\n", b" msgid=17\n"]


@pytest.mark.parametrize("userdata", [{}, {"rack": "r17 b"}])
@pytest.mark.parametrize("present", range(16))
def test_sysdata_each_optional(present: int, userdata: dict[str, str]) -> None:
    """Each of cpu, taskname, release and msgid is optional; the others and the userdata are parsed without it."""
    has = [bool(present >> bit & 1) for bit in range(4)]
    body = b"text\n" + b" rack=r17 b\n" * len(userdata)
    body += b"".join(line for line, sent in zip(SYSDATA, has, strict=True) if sent)
    expected = Body(
        {}, userdata, 3 if has[0] else None, "kworker/0:1" if has[1] else None, "7.2.13+deb14-amd64" if has[2] else None
    )
    for end in (body, body.removesuffix(b"\n"), body.removesuffix(b"\n") + b"\0"):
        assert parse(end) == expected
        assert msgid_of(end) == (17 if has[3] else -1)


@pytest.mark.parametrize(
    ("lines", "userdata"),
    [
        (b" msgid=1\n role=web\n", {"msgid": "1", "role": "web"}),
        (b" release=7.2\n role=web\n msgid=1\n", {"release": "7.2", "role": "web"}),
        (b" cpu=3\n role=web\n msgid=1\n", {"cpu": "3", "role": "web"}),
        (b" taskname=a\n role=webserver17\n msgid=1\n", {"taskname": "a", "role": "webserver17"}),
        (b" msgid=1\n msgid=2\n", {"msgid": "1"}),
    ],
)
def test_sysdata_is_read_from_the_end(lines: bytes, userdata: dict[str, str]) -> None:
    """A sysdata key that is not at the end, or is repeated, is userdata."""
    assert parse(b"text\n" + lines) == Body(userdata=userdata)


def test_sysdata_out_of_order() -> None:
    """A line after its place is not sysdata: the order is cpu, taskname, release, msgid."""
    assert parse(b"text\n release=7.2\n cpu=3\n") == Body(cpu=3, userdata={"release": "7.2"})
    assert parse(b"text\n msgid=1\n cpu=3\n") == Body(cpu=3, userdata={"msgid": "1"})
    assert parse(b"text\n msgid=1\n release=7\n") == Body(release="7", userdata={"msgid": "1"})


@pytest.mark.parametrize(
    ("digits", "msgid"),
    [
        (b"0", 0),
        (b"1", 1),
        (b"17", 17),
        (b"0000000017", 17),
        (b"00000000017", -1),
        (b"4294967295", MSGID_LIMIT),
        (b"4294967296", -1),
        (b"9999999999", -1),
        (b"10000000000", -1),
        (b"1" * 60_000, -1),
        (b"", -1),
        (b"-1", -1),
        (b"+1", -1),
        (b"1x", -1),
        (b" 1", -1),
        (b"1 ", -1),
        (b"1_0", -1),
        ("٣".encode(), -1),
    ],
)
def test_numbers_of_the_sysdata(digits: bytes, msgid: int) -> None:
    """Msgid and cpu are decimal, of at most ten digits, below 2^32; any other line is userdata."""
    line = b"text\n msgid=" + digits
    for body in (line, line + b"\n", line + b"\0"):
        assert msgid_of(body) == msgid
        assert ("msgid" in parse(body).userdata) == (msgid < 0)
    cpu = parse(b"text\n cpu=" + digits + b"\n")
    assert cpu.cpu == (None if msgid < 0 else msgid)
    assert ("cpu" in cpu.userdata) == (msgid < 0)


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"\n", b"5", b"5\n", b" msgid=5\n", b"msgid=5", b"xmsgid=5", b"text msgid=5\n", b"text\nmsgid=5\n"),
        *(
            b"text\n  msgid=5\n",
            b"text\n xmsgid=5\n",
            b"text\n Msgid=5\n",
            b"text\n msgid=5\n\n",
            b"text\n msgid=5\0\n",
        ),
    ],
)
def test_no_msgid(body: bytes) -> None:
    """A msgid is a whole line, the last one, and not the text."""
    assert msgid_of(body) == -1


# The task name, which any process on the sender can choose.


@pytest.mark.parametrize(
    "name",
    [
        *("a", "", "with space", "a=b", "kworker/0:1", "0123456789abcde", "ééééééé", "a\n cpu=99"),
        *("12345678\n cpu=9", "a\n taskname=b", "\n taskname=b", "abcd\n taskname=", "a\n role=web", "a\n release=x"),
        *("a\n msgid=7", "\n\n\n", "a\n", "\na", "a\nb\nc\nd\ne\nf\ng\nh", " cpu=9", " msgid=1"),
    ],
)
@pytest.mark.parametrize("userdata", [{}, {"rack": "r17 b"}])
def test_taskname_forges_nothing(name: str, userdata: dict[str, str]) -> None:
    """All lines of a task name of up to 15 bytes are part of the task name, whatever they look like."""
    assert len(name.encode()) <= TASKNAME_LIMIT
    body = extended("x", userdata=userdata, cpu=1, taskname=name, sysrelease="7.2.13", msgid=8).partition(b";")[2]
    assert parse(body) == Body({}, userdata, 1, name, "7.2.13")
    assert msgid_of(body) == 8


def test_taskname_of_sixteen_bytes() -> None:
    """A line with more than 15 bytes is not a task name, because no kernel sends it, and includes no further line."""
    assert parse(b"x\n taskname=0123456789abcde\n").taskname == "0123456789abcde"
    assert parse(b"x\n taskname=0123456789abcdef\n") == Body(userdata={"taskname": "0123456789abcdef"})
    forged = parse(b"x\n cpu=1\n taskname=12345678\n cpu=9\n msgid=8\n")
    assert (forged.cpu, forged.taskname) == (1, "12345678\n cpu=9")
    impossible = parse(b"x\n taskname=123456789\n cpu=9\n msgid=8\n")
    assert (impossible.cpu, impossible.taskname) == (9, None)
    assert impossible.userdata == {"taskname": "123456789"}


def test_taskname_counts_bytes() -> None:
    """The 15 bytes are counted as sent; a task name that is not UTF-8 is shown in more characters."""
    assert parse(b"x\n taskname=" + b"\xff" * 15 + b"\n").taskname == "\\xff" * 15
    assert parse(b"x\n taskname=" + b"\xff" * 16 + b"\n").taskname is None


def test_earliest_taskname_within_reach() -> None:
    """The earliest of several lines that could begin the task name begins it; a line out of reach is userdata."""
    assert parse(b"x\n taskname=a\n taskname=b\n").taskname == "a\n taskname=b"
    far = parse(b"x\n taskname=abcde\n taskname=b\n")
    assert (far.userdata, far.taskname) == ({"taskname": "abcde"}, "b")


def test_dictionary_is_no_sysdata() -> None:
    """Dictionary lines are not sysdata, and lines of a task name are not the dictionary."""
    assert parse(b"x\n DEVICE=n8\n").taskname is None
    forged = parse(b"x\n taskname=a\n DEVICE=n8\n")
    assert (forged.dictionary, forged.taskname) == ({}, "a\n DEVICE=n8")
