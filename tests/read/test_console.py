"""A kernel's text is found behind whatever other programs put before it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netconsd.read.console import PIECES, kernel_lines
from netconsd.read.entries import Line
from netconsd.read.months import month_of

TIME = 1795849200.0  # 2026-11-28 07:00:00 UTC


def lines(line: bytes) -> list[tuple[float | None, str | None, bytes]]:
    """Time, host and text of each line."""
    return [(one.time, one.host, one.text) for one in kernel_lines(line, 7, 2026)]


@pytest.mark.parametrize(
    ("line", "time", "host", "text"),
    [
        # The kernel's own.
        (b"[   12.345678] a b", None, None, b"[   12.345678] a b"),
        (b"<4>[   12.345678][  T123] a", None, None, b"<4>[   12.345678][  T123] a"),
        (b" foo+0x1/0x2", None, None, b" foo+0x1/0x2"),
        (b"kernel BUG at x.c:1!", None, None, b"kernel BUG at x.c:1!"),
        (b"host login: [   12.345678] a", None, None, b"host login: [   12.345678] a"),
        (b"", None, None, b""),
        # journalctl -o short-monotonic, short, short-precise, short-iso, short-full, short-unix.
        (b"[   12.345678] web01 kernel: a", None, "web01", b"[   12.345678] a"),
        (b"[   12.345678 <    0.000012 >] web01 kernel: a", None, "web01", b"[   12.345678] a"),
        (b"Nov 28 07:00:00 web01 kernel: a", TIME, "web01", b"a"),
        (b"Nov 28 07:00:00.250000 web01 kernel: a", TIME + 0.25, "web01", b"a"),
        (b"2026-11-28T07:00:00+0000 web01 kernel: a", TIME, "web01", b"a"),
        (b"Sat 2026-11-28 07:00:00 UTC web01 kernel: a", TIME, "web01", b"a"),
        (b"1795849200.250000 web01 kernel: a", TIME + 0.25, "web01", b"a"),
        # syslog.
        (b"Nov 28 07:00:00 web01 kernel: [   12.345678]  foo+0x1", TIME, "web01", b"[   12.345678]  foo+0x1"),
        (b"2026-11-28T08:00:00.5+01:00 web01.example kernel: a", TIME + 0.5, "web01.example", b"a"),
        (b"<4>Nov 28 07:00:00 web01 kernel: a", TIME, "web01", b"<4>a"),
        (b"<4>1 2026-11-28T07:00:00Z web01 kernel - - - a", TIME, "web01", b"<4>a"),
        (b"Nov 28 07:00:00 web01 app[12]: BUG: a", TIME, "web01", b"<14>app[12]: BUG: a"),
        # dmesg -T, -x, -d, --time-format=reltime and iso.
        (b"[Sat Nov 28 07:00:00 2026] a", TIME, None, b"a"),
        (b"[Sat Nov 28 16:00:00 JST 2026] a", TIME, None, b"a"),
        (b"Sat Nov 28 08:00:00 CET 2026 a", TIME, None, b"a"),
        (b"kern  :warn  : [   12.345678] a", None, None, b"<4>[   12.345678] a"),
        (b"kern  :err   : [Sat Nov 28 07:00:00 2026] a", TIME, None, b"<3>a"),
        (b"daemon:info  : 2026-11-28T07:00:00,250000+00:00 a", TIME + 0.25, None, b"<30>a"),
        (b"2026-11-28T07:00:00,250000+00:00 a", TIME + 0.25, None, b"a"),
        (b"[   12.345678 <    0.000012>] a", None, None, b"[   12.345678] a"),
        (b"[Nov28 07:00] a", TIME, None, b"a"),
        (b"[  +0.000012] a", None, None, b"a"),
        # Programs that log consoles.
        (b"[Sat Nov 28 07:00:00 2026][   12.345678] a", TIME, None, b"[   12.345678] a"),
        (b"Nov 28 07:00:00 [   12.345678] a", TIME, None, b"[   12.345678] a"),
        (b"[2026-11-28 07:00:00.250] [   12.345678] a", TIME + 0.25, None, b"[   12.345678] a"),
        (b"2026-11-28T07:00:00.25Z stdout F [   12.345678] a", TIME + 0.25, None, b"[   12.345678] a"),
        # netconsd's logger, and the C daemon's printer and logger.
        (b"2026-11-28T07:00:00.250000Z [   12.345678] warn   [3 lost] [T1] a", TIME + 0.25, None,
         b"<4>[   12.345678][    T1] a"),
        (b"2026-11-28T07:00:00Z web@192.0.2.7:1 [           -] -      a", TIME, "web@192.0.2.7:1", b"a"),
        (b"2026-11-28T07:00:00Z web@192.0.2.7:1 [   12.345678] warn   [3 lost] a", TIME, "web@192.0.2.7:1",
         b"<4>[   12.345678] a"),
        (b"2026-11-28T07:00:00Z 192.0.2.7 [   12.345678] -      a", TIME, "192.0.2.7", b"[   12.345678] a"),
        (b"2026-11-28T07:00:00Z fe80::1%eth0 [   12.345678] err    a", TIME, "fe80::1%eth0", b"<3>[   12.345678] a"),
        (b"    ::ffff:192.0.2.7: 6.4 S000012 T00000012345678 F0/L4 [OOS] a", None, "::ffff:192.0.2.7",
         b"<4>[   12.345678] a"),
        (b"    ::ffff:192.0.2.7: [   12.345678] a", None, "::ffff:192.0.2.7", b"[   12.345678] a"),
        (b"6.4 000012 00000012345678 0 4 [CONT START] a", None, None, b"<4>[   12.345678] a"),
        (b"000012 00000012345678 0 4 a", None, None, b"<4>[   12.345678] a"),
        # journalctl -o short-full and with-unit: the zone's name.
        (b"Sat 2026-11-28 08:00:00 CET web01 kernel: a", TIME, "web01", b"a"),
        (b"Sat 2026-11-28 04:00:00 -03 web01 kernel: a", TIME, "web01", b"a"),
        (b"Sat 2026-11-28 07:00:00 XYZ kernel: a", TIME, None, b"a"),
        # dmesg and journalctl in German, French, Japanese, Russian and a language that is not known.
        (b"[Sa Nov 28 07:00:00 2026] a", TIME, None, b"a"),
        ("[sam. déc. 28 07:00:00 2026] a".encode(), TIME + 30 * 86400, None, b"a"),
        ("[土 11月 28 07:00:00 2026] a".encode(), TIME, None, b"a"),
        ("[日 ноя 28 07:00:00 2026] a".encode(), TIME, None, b"a"),
        (b"[Sha Nen 28 07:00:00 2026] a", None, None, b"a"),
        (b"[nov.28 07:00] a", TIME, None, b"a"),
        (b"nov. 28 07:00:00 web01 kernel: a", TIME, "web01", b"a"),
        ("11月 28 07:00:00 web01 kernel: a".encode(), TIME, "web01", b"a"),
        (b"item 28 07:00:00 web01 kernel: a", None, None, b"item 28 07:00:00 web01 kernel: a"),
        # dmesg -T -d, --time-format=delta, -d and -e in German.
        (b"[Sat Nov 28 07:00:00 2026 <    0.000012>] a", TIME, None, b"a"),
        (b"[<    0.000012>] a", None, None, b"a"),
        (b"2026-11-28T07:00:00,250000+00:00 [<    0.000012>] a", TIME + 0.25, None, b"a"),
        (b"[   12.345678 <    0,000012>] a", None, None, b"[   12.345678] a"),
        (b"[  +0,000012] a", None, None, b"a"),
        # The frame of a 32-bit kernel, whose address has decimal digits only.
        (b"[<80391808>] (a) from [<80392958>] (b)", None, None, b"[<80391808>] (a) from [<80392958>] (b)"),
        # busybox's syslogd, with and without a host, OpenWrt's logread, metalog.
        (b"Nov 28 07:00:00 web01 kern.warn kernel: [   12.345678] a", TIME, "web01", b"<4>[   12.345678] a"),
        (b"Nov 28 07:00:00 kern.err kernel: a", TIME, None, b"<3>a"),
        (b"Sat Nov 28 07:00:00 2026 kern.warn kernel: [   12.345678] a", TIME, None, b"<4>[   12.345678] a"),
        (b"Sat Nov 28 07:00:00 2026 [1795849200.250] kern.warn kernel: a", TIME + 0.25, None, b"<4>a"),
        (b"Sat Nov 28 07:00:00 2026 daemon.info app[12]: BUG: a", TIME, None, b"<30>app[12]: BUG: a"),
        (b"Nov 28 07:00:00 [kernel] [   12.345678] a", TIME, None, b"[   12.345678] a"),
        # RFC 5424 with structured data, a byte order mark, without a host, with the length before it (RFC 6587).
        (b'<4>1 2026-11-28T07:00:00Z web01 kernel - - [m s="\\]"] \xef\xbb\xbfa', TIME, "web01", b"<4>a"),
        (b"<4>1 2026-11-28T07:00:00Z - kernel - - - a", TIME, None, b"<4>a"),
        (b"44 <4>1 2026-11-28T07:00:00Z web01 kernel - - - a", TIME, "web01", b"<4>a"),
        # Control characters as rsyslog escapes them.
        (b"Nov 28 07:00:00 web01 kernel: rcu: #0110-...!", TIME, "web01", b"rcu: \t0-...!"),
        (b"a #011", None, None, b"a #011"),
        # Records of /dev/kmsg and netconsole.
        (b"6,801,12345678,-;a", None, None, b"<6>[   12.345678] a"),
        (b"6.12.1-x,30,801,12345678,c,caller=T12,ncfrag=0/9;a;b", None, None, b"<30>[   12.345678][   T12] a;b"),
        (b"6,801,12345678,-;\\xc3\\xa9\\x5cx0a", None, None, "<6>[   12.345678] é\\x0a".encode()),
        (b"2048,801,12345678,-;a", None, None, b"2048,801,12345678,-;a"),
        # netconsole's datagrams as rsyslog and syslog-ng write them.
        (b"Nov 28 07:00:00 192.0.2.7  [   12.345678] a", TIME, "192.0.2.7", b"[   12.345678] a"),
        (b"Nov 28 07:00:00 web01 [   12.345678] a", TIME, "web01", b"[   12.345678] a"),
        (b"Nov 28 07:00:00 2001:db8::7 BUG: a", TIME, "2001:db8::7", b"BUG: a"),
        (b"Nov 28 07:00:00 usb 1-1: a", TIME, None, b"usb 1-1: a"),
        (b"Nov 28 07:00:00 192.0.2.7 6,8,12345678,-;a#012 role=web", TIME, "192.0.2.7", b"<6>[   12.345678] a"),
        (b"<13>1 2026-11-28T07:00:00Z 192.0.2.7 - - - - [   12.345678] a", TIME, "192.0.2.7", b"[   12.345678] a"),
        (b"<13>1 2026-11-28T07:00:00Z 192.0.2.7 - - - -   12.345678] a", TIME, "192.0.2.7", b"[ 12.345678] a"),
        (b"<1>1 2026-11-28T07:00:00Z 192.0.2.7 BUG - - -  a: b", TIME, "192.0.2.7", b"<1>BUG: a: b"),
        (b"<13>1 2026-11-28T07:00:00Z w 1,8,12345678,-;Kernel - - - a", TIME, "w", b"<1>[   12.345678] Kernel a"),
        # tio, grabserial, and dates with slashes.
        (b"[07:00:00.250] a", None, None, b"a"),
        (b"[12.345678 0.000012] a", None, None, b"a"),
        (b"2026/11/28 07:00:00 a", TIME, None, b"a"),
        # Terminals and serial lines.
        (b"\x1b[1;31m[   12.345678] a\x1b[0m\x1b[K\r", None, None, b"[   12.345678] a"),
        (b"\0\0[   12.345678] a\r\r\n", None, None, b"[   12.345678] a"),
        # Dates that do not exist are text.
        (b"2026-13-28 07:00:00 a", None, None, b"2026-13-28 07:00:00 a"),
        ("² 28 07:00:00 a".encode(), None, None, "² 28 07:00:00 a".encode()),
    ],
)  # fmt: skip
def test_forms(line: bytes, time: float | None, host: str | None, text: bytes) -> None:
    """Each form of a line has its time, host and text."""
    assert lines(line) == [(time, host, text)]


def test_pieces_between_carriage_returns() -> None:
    """A line that overwrote another one on a terminal is a line of its own, with the same number."""
    assert list(kernel_lines(b"web01 login: \r[   12.345678] a\r\n", 7, 2026)) == [
        Line(7, None, None, b"web01 login: "),
        Line(7, None, None, b"[   12.345678] a"),
    ]
    assert len(lines(b"10 %\r" * 10_000)) <= PIECES


@pytest.mark.parametrize(
    "note",
    [
        b"-- Boot aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa --",
        b"-- Reboot --",
        b"-- No entries --",
        b"-- Logs begin at Sat 2026-11-28 07:00:00 CET, end at Sat 2026-11-28 08:00:00 CET. --",
    ],
)
def test_notes_of_journalctl(note: bytes) -> None:
    """What journalctl says itself is no line of a kernel."""
    assert lines(note) == []
    assert lines(note + b" a") == [(None, None, note + b" a")]


def test_a_byte_order_mark() -> None:
    """A file of an editor that marks UTF-8 begins like any other."""
    assert lines(b"\xef\xbb\xbfNov 28 07:00:00 web01 kernel: a") == [(TIME, "web01", b"a")]


def test_newlines_of_records_and_of_rsyslog() -> None:
    """A newline within a text, which a record and rsyslog escape, ends a line."""
    assert [text for _, _, text in lines(b"4,8,12345678,-;a\\x0ab")] == [b"<4>[   12.345678] a", b"<4>[   12.345678] b"]
    assert lines(b"Nov 28 07:00:00 web01 kernel: a#012b") == [(TIME, "web01", b"a"), (TIME, "web01", b"b")]


def test_months_of_glibc() -> None:
    """The names of months are those of date(1), in languages that are written in four scripts."""
    assert [month_of(name.encode()) for name in ("mrt", "MÄR", "févr.", "лип", "Μαΐ", "3월", "12月")] == [
        *(3, 3, 2, 7, 5, 3, 12)
    ]
    assert [month_of(name.encode()) for name in ("", ".", "13月", "0月", "foo")] == [None] * 5
    assert month_of(b"\xff") is None


def test_newlines_of_the_logger() -> None:
    """A newline that the logger wrote as an escape ends a line."""
    line = b"2026-11-28T07:00:00Z [   12.345678] err    a\\x0ab"
    assert [text for _, _, text in lines(line)] == [b"<3>[   12.345678] a", b"<3>[   12.345678] b"]


@given(
    st.lists(
        st.one_of(
            st.binary(max_size=8),
            st.sampled_from(
                [b"[", b"]", b"Nov 28 07:00:00 ", b"kernel: ", b"<4>", b"2026-11-2", b"\x1b[", b"kern  :err : "]
            ),
        ),
        max_size=12,
    ).map(b"".join)
)  # fmt: skip
def test_any_bytes(line: bytes) -> None:
    """No bytes raise, and no line is longer than was received, except for a prefix."""
    for _, _, text in lines(line):
        assert len(text) <= len(line) + len(b"<2047>[9999999.123456]")
