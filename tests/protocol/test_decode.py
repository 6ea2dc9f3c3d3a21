"""The place of the header in an extended datagram, its numbers and its flag (docs/wire section 3)."""

from __future__ import annotations

import pytest

from netconsd.protocol.decode import RELEASE_LIMIT, Malformed, decode
from tests.support.decoding import SENDER, is_text, piece, read
from tests.support.strategies import EXTENDED, LEGACY, NOTICE

U64_MAX = 2**64 - 1

# The datagrams to try of docs/wire.


@pytest.mark.parametrize("datagram", LEGACY)
def test_legacy(datagram: bytes) -> None:
    """Console text is legacy text."""
    assert is_text(datagram)


@pytest.mark.parametrize(
    ("number", "release", "prefix", "seq", "ts_usec", "text"),
    [
        (0, None, 6, 339, 5140900, "NET: Registered protocol family 10"),
        (1, None, 30, 340, 5690716, "udevd[80]: starting version 181"),
        (2, None, 2047, 700, 22085407760, "max facility"),
        (
            3,
            None,
            4,
            1510,
            12767657189,
            " acpi_cpufreq gpio_amdpt button gpio_generic loop [last unloaded: netconsole]",
        ),
        (4, None, 6, 417, 1758500, "bad \x1b[31mred\nsecond line é back\\slash"),
        (5, None, 6, 416, 1758426, "hello"),
        (6, "6.4.0", 6, 444, 501151268, "netconsole: network logging started"),
        (7, "6.12.107+deb13-amd64", 12, 397, 6221139, "hello from guest"),
        (8, "7.2.13+deb14-amd64", 6, 397, 5558510, "e1000: eth0 NIC Link is Up"),
        (9, None, 6, 613, 22085607756, "x"),
        (10, None, 6, 11, 1758426, "text"),
        (11, "7.0.0", 6, 11, 1758426, "text"),
    ],
)
def test_extended(number: int, release: str | None, prefix: int, seq: int, ts_usec: int, text: str) -> None:
    """Every field of the header and the text are decoded."""
    message = read(EXTENDED[number])
    assert (message.release, message.facility << 3 | message.level) == (release, prefix)
    assert (message.seq, message.ts_usec, message.text) == (seq, ts_usec, text)
    assert message.continuation == (number == 3)
    assert message.caller == ("T123" if number == 5 else None)
    assert message.replayed == (number >= 10)
    assert message.msgid == {8: 2, 9: 8, 11: 5}.get(number)
    assert (message.source, message.received_at) == (SENDER, 12.5)
    assert message.raw == EXTENDED[number].partition(b";")[2]


def test_extended_has_userdata_and_sysdata() -> None:
    """Userdata and sysdata of whole datagrams are decoded; a task name forges no processor."""
    guest, full, forged = (read(EXTENDED[number]) for number in (7, 8, 9))
    assert guest.userdata == {"rack": "r17 b", "role": "web"}
    assert (full.userdata, full.cpu, full.taskname, full.msgid) == ({"rack": "r17 b"}, 0, "kworker/0:1", 2)
    assert (forged.userdata, forged.cpu, forged.taskname, forged.msgid) == ({}, 1, "a\n cpu=99", 8)


def test_extended_fragments() -> None:
    """Offset, total and bytes of a real message's fragments are decoded."""
    first = piece(b"4,1509,12767657146,-,ncfrag=0/986;" + b"a" * 966)
    last = piece(b"4,1509,12767657146,-,ncfrag=966/986;" + b"b" * 20)
    assert (first.offset, first.total, first.piece.raw) == (0, 986, b"a" * 966)
    assert (last.offset, last.total, last.piece.raw) == (966, 986, b"b" * 20)
    for fragment in (first, last):
        assert (fragment.piece.seq, fragment.piece.ts_usec, fragment.piece.level) == (1509, 12767657146, 4)


# Numbers (rule 2).


@pytest.mark.parametrize("prefix", [0, 6, 7, 8, 15, 30, 191, 2040, 2047])
def test_prefix(prefix: int) -> None:
    """The prefix is facility * 8 + level, with a facility of eight bits."""
    message = read(b"%d,1,2,-;x\n" % prefix)
    assert (message.facility, message.level) == divmod(prefix, 8)


@pytest.mark.parametrize("prefix", [2048, 9999, 2**32, 2**64, 2**64 + 6, 2**72])
def test_prefix_out_of_bounds(prefix: int) -> None:
    """A number above 2047 is not a prefix; with a prefix after it, it is the release."""
    assert is_text(b"%d,1,2,-;x\n" % prefix)
    message = read(b"%d,6,1,2,-;x\n" % prefix)
    assert (message.release, message.level, message.seq) == (str(prefix), 6, 1)


@pytest.mark.parametrize("number", [0, 1, 2**32, 2**63 - 1, 2**63, 2**64 - 2, U64_MAX])
def test_u64(number: int) -> None:
    """Sequence number and timestamp have 64 bits."""
    assert read(b"6,%d,2,-;x\n" % number).seq == number
    assert read(b"6,1,%d,-;x\n" % number).ts_usec == number


@pytest.mark.parametrize("number", [2**64, 2**64 + 6, 10**20 - 1, 10**20, 2**65, 10**40])
def test_beyond_u64(number: int) -> None:
    """A number that does not fit 64 bits is rejected, even if it wraps to a small number."""
    assert is_text(b"6,%d,2,-;x\n" % number)
    assert is_text(b"6,1,%d,-;x\n" % number)


def test_leading_zeros() -> None:
    """Leading zeros are accepted, up to 20 digits in all."""
    message = read(b"%020d,%020d,%020d,-;x\n" % (30, 340, 5))
    assert (message.facility, message.level, message.seq, message.ts_usec) == (3, 6, 340, 5)
    for place in range(3):
        numbers = [b"%020d" % 1] * 3
        numbers[place] = b"%021d" % 1
        assert is_text(b",".join(numbers) + b",-;x\n")


@pytest.mark.parametrize("number", [b"", b"-1", b"+1", b" 1", b"1 ", b"1_0", b"0x1", b"1.0", "٣".encode(), b"1\n"])
def test_not_decimal(number: bytes) -> None:
    """Only the digits 0 to 9 make a number."""
    for place in range(3):
        numbers = [b"1"] * 3
        numbers[place] = number
        assert is_text(b",".join(numbers) + b",-;x\n")


@pytest.mark.parametrize(
    "datagram",
    [
        *(b"1" * 65_000, b"0" * 65_000, b"6," + b"1" * 65_000, b"6,1," + b"1" * 65_000 + b",-;x"),
        *(b"6,1,2,-,caller=T" + b"1" * 65_000, b"6,1,2," + b"1" * 65_000, b"," * 65_000, b"1," * 32_000),
        *(b"a," * 32_000, NOTICE * 1600, bytes(65_000)),
    ],
)
def test_long_datagrams(datagram: bytes) -> None:
    """A datagram of maximal length that looks like the beginning of a header is legacy text, in a moment."""
    assert is_text(datagram)


@pytest.mark.parametrize("key", [b"ncfrag=" + b"1" * 65_000, b"ncfrag=0/" + b"1" * 65_000, b"x," * 32_000 + b"ncfrag="])
def test_long_keys(key: bytes) -> None:
    """Endless digits in ncfrag are malformed, in a moment."""
    with pytest.raises(Malformed):
        decode(b"6,1,2,-," + key + b";x\n", SENDER, 0.0)


# The place of the header (rules 1 and 2).


@pytest.mark.parametrize(
    ("release", "accepted"),
    [
        (b"6.4.0", True),
        (b"6.12.107+deb13-amd64", True),
        (b"x", True),
        (b"!", True),
        (b"~", True),
        (b"a" * RELEASE_LIMIT, True),
        (b"a" * (RELEASE_LIMIT + 1), False),
        (b"a" * 5000, False),
        (b"6.4.0,custom", True),
        (b"1,2", True),
        (b"6,1", True),
        (b"a,b,c,d,e", True),
        (b"a," * 31 + b"ab", True),
        (b"a," * 32 + b"a", False),
        (b"", False),
        (b" ", False),
        (b"6.4.0 x", False),
        (b"6.4.0\n", False),
        (b"6.4.0\0", False),
        (b"6.4.0\x7f", False),
        ("6.4.0-é".encode(), False),
        (b"a;b", False),
    ],
)
def test_release(release: bytes, accepted: bool) -> None:
    """1 to 64 visible ASCII characters before the header are the release; other bytes make the datagram legacy text."""
    datagram = release + b",6,444,501151268,-;x\n"
    if accepted:
        message = read(datagram)
        assert (message.release, message.level, message.seq, message.ts_usec) == (release.decode(), 6, 444, 501151268)
    else:
        assert is_text(datagram)


def test_first_four_fields_in_a_row() -> None:
    """The first of several possible places is the header's."""
    message = read(b"1,2,3,4,5,-;x\n")
    assert (message.release, message.level, message.seq, message.ts_usec) == ("1,2", 3, 4, 5)
    message = read(b"1,2,3,c,1,2,3,-;x\n")
    assert (message.release, message.level, message.seq, message.ts_usec) == (None, 1, 2, 3)
    assert message.continuation


@pytest.mark.parametrize(
    "datagram",
    [
        *(b"", b";", b",", b",,,;", b"\n", b"6", b"6,", b"6,1,2", b"6,1,2,", b"6,1,2,;x", b"6,1,2;x", b"6,1,-;x"),
        *(b"6,1,2,-", b"6,1,2,-,caller=T1", b"6,1,2,-,ncfrag=0/0", b"6,1,2,-x", b" 6,1,2,-;x", b"<6>6,1,2,-;x"),
        *(b"text; 6,1,2,-;x", b"6;1,2,-;x", b"hello, world; 1,2,3,-;", b"\0" * 20, b"\x1b[31mred\n"),
    ],
)
def test_text(datagram: bytes) -> None:
    """Without four fields in a row, or a semicolon after them, a datagram is legacy text."""
    assert is_text(datagram)


@pytest.mark.parametrize("body", [b"", b"\n", b";", b"a;b;c\n", b"6,1,2,-;x\n", b"\0", NOTICE])
def test_header_ends_at_the_first_semicolon(body: bytes) -> None:
    """Everything after the first semicolon is the body."""
    for header in (b"6,1,2,-;", b"6,1,2,-,caller=T1;", b"7.0.0,6,1,2,c,x=y;"):
        assert read(header + body).raw == body


# The flag (rule 3).


@pytest.mark.parametrize(
    ("flag", "continuation"),
    [(b"-", False), (b"c", True), (b"+", True), (b"-x", False), (b"cx", True), (b"+ y", True), (b"x", False)]
    + [(bytes((octet,)), False) for octet in b"!*:CZz~"],
)
def test_flag(flag: bytes, continuation: bool) -> None:
    """``c`` and ``+`` continue an earlier record; ``-`` and any single unknown character do not."""
    for end in (b";x\n", b",caller=T1;x\n"):
        message = read(b"6,1,2," + flag + end)
        assert (message.continuation, message.text, message.seq) == (continuation, "x", 1)


@pytest.mark.parametrize("flag", [b"", b"0", b"9", b" ", b"\n", b"\0", b"\x7f", b"\x80", b"xy", b"C5", b"00", b"x\n"])
def test_no_flag(flag: bytes) -> None:
    """Digits, invisible characters and words are not flags."""
    assert is_text(b"6,1,2," + flag + b";x\n")
    assert is_text(b"6,1,2," + flag + b",x=y;x\n")
