"""Recognises datagrams that ``--rate`` must not drop: the levels emergency to critical, and the begin of a crash. Pure.

A look at a few bytes of each line instead of the decoder: it costs less than the rest of the datagram, and a wrong
guess costs only a part of the sender's bounded allowance (:mod:`netconsd.protocol.table`).
"""

from __future__ import annotations

from netconsd.protocol import octets

#: Emergency, alert and critical.
URGENT_LEVEL = 2
# A datagram is looked at up to this line: a legacy record of several lines and a dump of /dev/kmsg have a few, and
# 64 KiB of newlines must not cost more than others.
LINES_LIMIT = 16
# A prefix is at most 2047, and a release at most 64 characters (docs/wire section 3).
_PREFIX_DIGITS = 4
_RELEASE_LIMIT = 64
# "[   12.345678]" or "[  T123]", with room.
_BRACKETS_LIMIT = 24

#: How the first line of a crash begins, on all architectures and since Linux 5.10. The lines before a title are
#: included (``cut here``, KASAN's rule), as are the watchdogs' and RCU's reports, because a panic can follow.
CRASH_HEADS = (
    *(b"BUG", b"Kernel panic", b"Kernel BUG", b"kernel BUG", b"Oops", b"WARNING: ", b"UBSAN: ", b"Undefined behaviour"),
    *(b"------------[ cut here", b"==================", b"8<--- cut here", b"Internal error", b"PANIC"),
    *(b"Unable to handle", b"Unhandled ", b"Kernel attempted", b"kernel tried to execute", b"Alignment trap"),
    *(b"general protection fault:", b"general protection fault,", b"divide error:", b"invalid opcode:", b"int3:"),
    *(b"stack segment:", b"stack guard page", b"traps: PANIC", b"Insufficient stack space", b"kernel stack overflow"),
    *(b"illegal operation:", b"addressing exception:", b"protection exception:", b"specification exception:"),
    *(b"data exception:", b"monitor event:", b"list_add corruption", b"list_del corruption", b"refcount_t: "),
    *(b"usercopy: ", b"watchdog: ", b"NMI watchdog: Watchdog", b"NMI backtrace", b"Watchdog detected hard LOCKUP"),
    *(
        b"rcu: INFO: ",
        b"INFO: rcu",
        b"INFO: task ",
        b"INFO: possible",
        b"sysrq: Trigger a crash",
        b"mce: [Hardware Error]",
    ),
    *(b"Out of memory", b"Memory cgroup out of memory", b"---[ end Kernel panic", b"Rebooting in "),
)
# The heads by their first byte, None for most bytes.
_BY_FIRST = [tuple(head for head in CRASH_HEADS if head[0] == first) or None for first in range(256)]

# Compiled, these are C variables, which are attributes of the module only if put there.
globals().update(URGENT_LEVEL=URGENT_LEVEL, LINES_LIMIT=LINES_LIMIT)

_NEWLINE = ord("\n")
_COMMA = ord(",")
_SEMICOLON = ord(";")
_SPACE = ord(" ")
_LESS = ord("<")
_GREATER = ord(">")
_OPEN = ord("[")
_CLOSE = ord("]")
_ZERO = ord("0")
_NINE = ord("9")


def is_urgent(datagram: bytes) -> bool:
    """Return whether a line of a datagram has an urgent level, or begins like the first line of a crash.

    Any bytes are accepted: extended, legacy with or without a prefix, a fragment of either.
    """
    length = len(datagram)
    at = 0
    lines = 0
    while at < length and lines < LINES_LIMIT:
        end = octets.find(datagram, _NEWLINE, at)
        if end < 0:
            end = length
        if _is_urgent_line(datagram, at, end):
            return True
        at = end + 1
        lines += 1
    return False


def _is_urgent_line(datagram: bytes, start: int, end: int) -> bool:
    at = start
    if at < end and datagram[at] == _LESS:
        digits = _digits(datagram, at + 1, end)
        index = at + 1 + digits
        if digits and index < end and datagram[index] == _GREATER:
            if _level(datagram, at + 1, digits) <= URGENT_LEVEL:
                return True
            at = index + 1
    else:
        digits = _header_digits(datagram, at, end)
        if not digits:
            # A release before the prefix.
            index = at
            while index < end and index - at <= _RELEASE_LIMIT and datagram[index] != _COMMA:
                index += 1
            if index < end and datagram[index] == _COMMA:
                digits = _header_digits(datagram, index + 1, end)
                if digits:
                    at = index + 1
        if digits:
            if _level(datagram, at, digits) <= URGENT_LEVEL:
                return True
            while at < end and datagram[at] != _SEMICOLON:
                at += 1
            at += 1
    while at < end and datagram[at] == _OPEN:
        index = at
        while index < end and index - at < _BRACKETS_LIMIT and datagram[index] != _CLOSE:
            index += 1
        if index == end or datagram[index] != _CLOSE:
            break
        at = index + 1
    while at < end and datagram[at] == _SPACE:
        at += 1
    if at >= end:
        return False
    heads = _BY_FIRST[datagram[at]]
    return heads is not None and datagram.startswith(heads, at)


def _digits(datagram: bytes, at: int, end: int) -> int:
    """The number of decimal digits at a place, up to those of a prefix."""
    count = 0
    while count < _PREFIX_DIGITS and at + count < end and _ZERO <= datagram[at + count] <= _NINE:
        count += 1
    return count


def _header_digits(datagram: bytes, at: int, end: int) -> int:
    """The digits of a prefix that is followed by a comma and another digit, as in a header; 0 for anything else."""
    digits = _digits(datagram, at, end)
    after = at + digits
    if digits and after + 1 < end and datagram[after] == _COMMA and _ZERO <= datagram[after + 1] <= _NINE:
        return digits
    return 0


def _level(datagram: bytes, at: int, digits: int) -> int:
    value = 0
    for index in range(at, at + digits):
        value = 10 * value + datagram[index] - _ZERO
    return value & 7
