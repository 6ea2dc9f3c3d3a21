"""Strategies for the property tests of the parsing room: datagrams of kernels, damaged datagrams, and any bytes."""

from __future__ import annotations

from hypothesis import strategies as st

NOTICE = b"** replaying previous printk message **\n"

# Datagrams of every kind, from the datagrams to try of docs/wire.
LEGACY = [
    b"[    5.123456] usb 1-1: new high-speed USB device number 2 using xhci_hcd\n",
    b"<6>[   12.345678] foo: bar\n",
    b"[   12.345678][  T123] foo: bar\n",
    b"[   12.345678] line one\n[   12.345678] line two\n",
    b"** 3 printk messages dropped **\n[   12.345678] foo: bar\n",
]
EXTENDED = [
    b"6,339,5140900,-;NET: Registered protocol family 10\n",
    b"30,340,5690716,-;udevd[80]: starting version 181\n",
    b"2047,700,22085407760,-;max facility\n",
    b"4,1510,12767657189,c; acpi_cpufreq gpio_amdpt button gpio_generic loop [last unloaded: netconsole]\n",
    b"6,417,1758500,-;bad \\x1b[31mred\\x0asecond line \\xc3\\xa9 back\\x5cslash\n",
    b"6,416,1758426,-,caller=T123;hello\n",
    b"6.4.0,6,444,501151268,-;netconsole: network logging started\n",
    b"6.12.107+deb13-amd64,12,397,6221139,-;hello from guest\n rack=r17 b\n role=web\n",
    (
        b"7.2.13+deb14-amd64,6,397,5558510,-;e1000: eth0 NIC Link is Up\n rack=r17 b\n cpu=0\n"
        b" taskname=kworker/0:1\n release=7.2.13+deb14-amd64\n msgid=2\n"
    ),
    b"6,613,22085607756,-;x\n cpu=1\n taskname=a\n cpu=99\n msgid=8\n",
    b"** replaying previous printk message **\n6,11,1758426,-;text\n",
    b"7.0.0,** replaying previous printk message **\n6,11,1758426,-;text\n msgid=5\n",
]
FRAGMENTS = [
    b"4,1509,12767657146,-,ncfrag=0/986;" + b"a" * 966,
    b"4,1509,12767657146,-,ncfrag=966/986;" + b"b" * 20,
    b"6,416,1758426,-,ncfrag=0/31;the first chunk,",
    b"6,416,1758426,-,ncfrag=16/31; the 2nd chunk.",
]

_PIECES = [
    *(b",", b",", b",", b";", b";", b"-", b"c", b"+", b"x", b"=", b"/", b" ", b"\n", b"\0", b"\\", b"\x80"),
    *(b"0", b"6", b"7", b"12", b"31", b"416", b"0006", b"2047", b"2048", b"1758426"),
    *(b"18446744073709551615", b"18446744073709551616", b"0" * 20, b"0" * 21, b"9" * 30),
    *(b"6,416,1758426,-", b"6,1,2,-;text\n", b"7.0.0,", b"6.12.107+deb13-amd64,", b"a" * 63, b"a" * 64),
    *(b",caller=T123", b",caller=C5", b",caller=", b",ncemg=1", b",ncfrag=0/31", b",ncfrag=16/31", b",ncfrag=0/0"),
    *(b" SUBSYSTEM=usb\n", b" DEVICE=c189:1\n", b" rack=r17 b\n", b" cpu=3\n", b" taskname=a\n", b" release=7.2\n"),
    *(b" msgid=17\n", b" msgid=4294967296\n", b"\\x0a", b"\\xc3\\xa9", b"\\x1", b"[   12.345678]", b"[  T123]", b"<6>"),
    NOTICE,
]


@st.composite
def _damaged(draw: st.DrawFn) -> bytes:
    """Draw a real datagram with a few parts removed, replaced or repeated."""
    datagram = draw(st.sampled_from(LEGACY + EXTENDED + FRAGMENTS))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(datagram)))
        end = draw(st.integers(start, min(start + 12, len(datagram))))
        new = draw(st.one_of(st.just(b""), st.sampled_from(_PIECES), st.just(datagram[start:end] * 2)))
        datagram = datagram[:start] + new + datagram[end:]
    return datagram


_FRONTS = [
    *(b"", b"", b"7.0.0,", b"a,b,", b"1,2,", b"2048,", b",", b"a" * 64 + b",", b"a" * 65 + b",", b"\n", b" x,"),
    *(NOTICE, NOTICE + b"7.0.0,", b"7.0.0," + NOTICE, b"1," + NOTICE, b"7.0.0," + NOTICE + b"x,", NOTICE + NOTICE),
]
_VALID = st.sampled_from([b"0", b"6", b"007", b"2047", b"0" * 19 + b"7"])
_NUMBERS = _VALID | st.sampled_from(
    [b"1758426", b"18446744073709551615", b"18446744073709551616", b"0" * 21, b"2048", b"x", b""]
)
_KEYS = [
    *(b"", b",caller=T123", b",caller=x", b",x=y", b",ncemg=1", b",ncemg=1,ncemg=1", b",ncfrag=0/31"),
    *(b",ncfrag=16/31", b",ncfrag=30/31", b",ncfrag=0/0", b",ncfrag=31", b",ncfrag=0/999,ncfrag=0/999"),
]
_composed = st.tuples(
    st.just(b"") | st.sampled_from(_FRONTS),
    _VALID | _NUMBERS,
    st.just(b","),
    _VALID | _NUMBERS,
    st.just(b","),
    _VALID | _NUMBERS,
    st.just(b","),
    st.sampled_from([b"-", b"c", b"+"]) | st.sampled_from([b"-x", b"*", b"5", b"", b"xy"]),
    st.just(b"") | st.sampled_from(_KEYS),
    st.sampled_from([b";"] * 5 + [b""]),
    st.lists(st.sampled_from(_PIECES), max_size=5).map(b"".join),
).map(b"".join)

#: Bytes composed of parts of headers and bodies.
plausible = st.one_of(_composed, st.lists(st.sampled_from(_PIECES), max_size=14).map(b"".join))
damaged = _damaged()
#: Any datagram.
datagrams = st.one_of(plausible, damaged, st.binary(max_size=200))
#: Bodies of extended messages: any bytes, and bytes that look like bodies.
bodies = st.one_of(plausible, damaged.map(lambda datagram: datagram.partition(b";")[2]), st.binary(max_size=200))
numbers = st.one_of(st.integers(0, 2**64 - 1), st.sampled_from([0, 1, 2**32, 2**63, 2**64 - 2, 2**64 - 1]))
