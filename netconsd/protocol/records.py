"""Finds the records in text that holds several, as from ``cat /dev/kmsg | nc -u`` (docs/wire section 3).

1. A line begins a record if it has a full header, without ``ncfrag``, and its seq follows: it is greater than that of
   the record before it, by at most :data:`SEQ_STEP_LIMIT`.
2. A line that can be part of a task name begins no record, because any process on the sender chooses its task name,
   newlines included. The lines are therefore read from the end, and the sysdata at the end of each record first.
3. A notice that a message is a replay belongs to the record after it.

The functions accept any bytes and raise nothing.
"""

from __future__ import annotations

from netconsd.protocol.body import taskname_start
from netconsd.protocol.decode import REPLAY_NOTICE, Malformed, decode
from netconsd.protocol.message import ExtendedMessage, Source

# Between two records that a reader of /dev/kmsg gets are at most the records that were overwritten meanwhile, once a
# whole buffer: CONFIG_LOG_BUF_SHIFT is at most 25, and printk has a descriptor for each 32 bytes.
SEQ_STEP_LIMIT = 2 ** (25 - 5)
# A header is shorter, and so is sysdata. When text continues a record, this many bytes before it are read as well.
LOOKBACK = 256

_NOBODY = Source(bytes(16), 0)
_NOTICE = REPLAY_NOTICE.removesuffix(b"\n")


def record_starts(text: bytes, seq: int | None) -> list[tuple[int, int]]:
    """Return index and seq of each record that begins after the first line of the text, in order.

    :param seq: the seq of the record to which the first line belongs; ``None`` if unknown, so that the first record may
        have any.
    """
    lines = text.split(b"\n")
    protected = _sysdata_start(lines, len(lines))
    at = len(text) + 1
    headers: list[tuple[int, int]] = []
    for index in range(len(lines) - 1, 0, -1):
        at -= len(lines[index]) + 1
        header = _header_seq(lines[index]) if index < protected else -1
        if index == len(lines) - 1:
            # The text may be cut, and this line the beginning of a line of sysdata, or of a header.
            protected = min(protected, _sysdata_start(lines, index))
        if header >= 0:
            notice = index > 1 and lines[index - 1] == _NOTICE
            headers.append((at - len(REPLAY_NOTICE) if notice else at, header))
            protected = _sysdata_start(lines, index - notice)
    starts = []
    for start, header in reversed(headers):
        if seq is None or 0 < header - seq <= SEQ_STEP_LIMIT:
            starts.append((start, header))
            seq = header
    return starts


def may_be_in_task_name(text: bytes, datagram: bytes) -> bool:
    """True if the first line of a datagram can be a part of the task name with which the text before it ends."""
    lines = (text + datagram.partition(b"\n")[0]).split(b"\n")
    return taskname_start(lines, 0, len(lines)) < len(lines)


def _header_seq(line: bytes) -> int:
    """Return the seq of the header with which a line begins; -1 if there is none."""
    # The shortest header is "6,0,0,-;".
    if line.find(b";") < 7 or line.startswith(b" "):
        return -1
    try:
        record = decode(line, _NOBODY, 0.0)
    except Malformed:
        return -1
    return record.seq if isinstance(record, ExtendedMessage) else -1


def _sysdata_start(lines: list[bytes], end: int) -> int:
    """Return the index of the first line of the task name at the end of the lines up to ``end``; ``end`` for none."""
    last = end
    if last and lines[last - 1] in (b"", b"\0"):
        last -= 1
    for key in (b" msgid=", b" release="):
        if last and lines[last - 1].startswith(key):
            last -= 1
    start = taskname_start(lines, 0, last)
    return start if start < last else end
