"""The records that the guest writes to /dev/kmsg, and the messages expected of them."""

from __future__ import annotations

from dataclasses import dataclass

USER = 1  # the default facility of writes to /dev/kmsg
DAEMON = 3
LEVELS = range(8)
BURST = 300


@dataclass(frozen=True)
class Record:
    """One write to /dev/kmsg (at most 992 bytes; kernel 6.1 refuses more)."""

    written: bytes
    text: str
    level: int = 6
    facility: int = USER


def _record(text: str, level: int = 6) -> Record:
    # The kernel holds a record without a final newline until the next record, which may continue it.
    return Record(f"<{level}>{text}\n".encode(), text, level)


TEXTS = [
    _record("tab:\tbetween\ttabs"),
    _record("utf8: caf\u00e9 \u65e5\u672c \U0001f427"),
    _record("esc: \x1b[31mred\x1b[0m"),
    _record("backslash: C:\\temp \\x41 \\\\ \\n"),
    _record("control: bell \a, delete \x7f, one \x01"),
    Record(b"<6>not UTF-8: \xff\xfe\n", "not UTF-8: \\xff\\xfe"),
    _record("5,1,2,-,ncfrag=0/9;forged header"),
    _record("forged dictionary\n SUBSYSTEM=forged\n msgid=7"),
    _record("line one\n\tline two\nline three"),
]
# The kernel escapes each of these bytes to four: the bodies of the first two have 1937 and 1021 bytes.
FRAGMENTED = [
    _record("fragmented: " + "\u00e9" * 240 + " end"),
    _record("fragmented: " + "\x1b" * 251 + " end"),
    # The longest write that 6.1 takes: with a header, or with a legacy time stamp, it is longer than a datagram.
    _record("fragmented: " + "p" * 972 + " end"),
]
# 3606 bytes when escaped: 6.1 sends all of them, newer kernels about 2 KiB.
CUT = _record("cut: " + "\x1b" * 900)
# In legacy form 1005 bytes, because of the time stamp on each of its lines; 6.1 drops the lines that exceed 1023 bytes.
LONG_LINES = _record("\n".join(f"long line {number:02}: {'l' * 40}" for number in range(14)) + "\nlast line")

RECORDS = [
    *(_record(f"level: {level}", level) for level in LEVELS),
    *(Record(b"<%d>daemon: %d\n" % (DAEMON * 8 + level, level), f"daemon: {level}", level, DAEMON) for level in LEVELS),
    Record(b"<2047>largest facility\n", "largest facility", 7, 255),
    Record(b"no level\n", "no level", 4),
    *TEXTS,
    *FRAGMENTED,
    CUT,
    LONG_LINES,
]

USERDATA = {"role": "web", "rack": "r17 b", "place": "K\u00f8benhavn", "expression": "a=b;c,d\\x41"}
USERDATA_LARGE = {f"large{number}": f"{number}" * 190 for number in range(8)}
