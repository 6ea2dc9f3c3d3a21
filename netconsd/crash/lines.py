"""Reads single lines of a crash: what can precede the text, the frames of all architectures, pointers. Pure.

The forms are those of ``lib/dump_stack.c``, ``kernel/panic.c``, and ``arch/*/kernel/{traps,process,stacktrace}.c`` of
Linux 3.2 to 7.3.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple

from netconsd.crash.report import Frame
from netconsd.protocol.message import ExtendedMessage, Message

#: Characters of a line that are looked at. The kernel's own lines are at most 1,024 characters (PRINTK_MESSAGE_MAX is
#: 2,048); a line of a megabyte from a file must not cost more.
LINE_LIMIT: Final = 2048
#: Lines of one message that are looked at: KFENCE's and the registers of ppc64el have some, Mem-Info a dozen.
LINES_OF_A_MESSAGE_LIMIT: Final = 256
#: Characters of a line with a frame or pointer: a symbol has at most 511 (KSYM_NAME_LEN), a module and a build id 110.
#: Read lines are cached, 4096 of them, and longer ones of a stranger would fill the memory.
STACK_LINE_LIMIT: Final = 768

# "<6>", "[   12.345678]", "[  T123]", "[ C1]", "[T123@C1]" (7.x), and the notices of printk.
_PREFIX: Final = re.compile(
    r"(?:\s?(?:<[0-9]{1,4}>|\[ *[0-9]{1,13}\.[0-9]{6}\]|\[ *[TC][0-9]{1,10}(?:@C[0-9]+)?\]"
    r"|\*\* (?:[0-9]+ printk messages dropped|replaying previous printk message) \*\*))+ ?"
)
_STAMP: Final = re.compile(r"\[ *([0-9]{1,13})\.([0-9]{6})\]")
_CALLER: Final = re.compile(r"\[ *([TC][0-9]{1,10})(?:@C[0-9]+)?\]")
# A console that programs share with the kernel: the line of a program ends where the kernel's time stamp begins.
_INSIDE: Final = re.compile(r"(?:<[0-9]{1,4}>)?\[ *[0-9]{1,7}\.[0-9]{6}\](?:\[ *[TC][0-9]{1,10}(?:@C[0-9]+)?\])? ?")
_ESCAPE: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
# pr_fmt of the subsystems that report crashes (kernel/watchdog.c, kernel/rcu/tree.c, arch/x86/kernel/traps.c,
# lib/list_debug.c, lib/ubsan.c, kernel/hung_task.c).
_SUBSYSTEM: Final = re.compile(
    r"(?:(?:NMI watchdog|watchdog|rcu|traps|list_debug|ubsan|hung_task|kasan|x86/mm|printk|sched|workqueue|"
    r"CPU ?[0-9]{1,5}(?=:| Unable)):? )+"
)


class Line(NamedTuple):
    """One line of a message."""

    #: Without everything that can precede it, and without white space at its ends.
    text: str
    #: Who logged it: ``T123``, ``C1``, or processor and task name of sysdata; "" if unknown.
    caller: str
    #: Microseconds since boot; None if not sent.
    ts_usec: int | None


def caller_of(message: Message) -> str:
    """Return who logged a message, as a word to compare; "" if the message does not say."""
    if message.caller:
        return message.caller
    if isinstance(message, ExtendedMessage) and message.taskname is not None and message.cpu is not None:
        return f"{message.cpu}/{message.taskname}"
    return ""


def lines_of(message: Message) -> list[Line]:
    """Return the lines of a message. Empty lines are left out."""
    caller = caller_of(message)
    ts_usec = message.ts_usec
    text = message.text
    console = not isinstance(message, ExtendedMessage)
    if not console and "\n" not in text and len(text) < LINE_LIMIT:
        stripped = text.strip()
        if not stripped:
            return []
        if stripped[0] not in "<[*":
            return [Line(_without_subsystem(stripped), caller, ts_usec)]
    lines: list[Line] = []
    for piece in text.split("\n", LINES_OF_A_MESSAGE_LIMIT)[:LINES_OF_A_MESSAGE_LIMIT]:
        if len(piece) > LINE_LIMIT:
            piece = piece[:LINE_LIMIT]
        _add(lines, piece, caller, ts_usec, console)
    return lines


def _add(lines: list[Line], text: str, caller: str, ts_usec: int | None, console: bool) -> None:
    if "\x1b" in text:
        text = _ESCAPE.sub("", text)
    match = _PREFIX.match(text)
    if match is not None:
        head = match[0]
        stamp = _STAMP.search(head)
        if stamp is not None:
            ts_usec = int(stamp[1]) * 1_000_000 + int(stamp[2])
        logged_by = _CALLER.search(head)
        if logged_by is not None:
            caller = logged_by[1]
        text = text[match.end() :]
    if console and "." in text and (inside := _INSIDE.search(text)) is not None:
        rest = text[inside.start() :]
        text = text[: inside.start()]
        if text.strip() and not text.rstrip().endswith("login:"):
            lines.append(Line(_without_subsystem(text.strip()), caller, ts_usec))
        _add(lines, rest, caller, ts_usec, console)
        return
    text = text.strip()
    if text:
        lines.append(Line(_without_subsystem(text), caller, ts_usec))


def _without_subsystem(text: str) -> str:
    if text[0] in "NwrtluhkxpsC" and (match := _SUBSYSTEM.match(text)) is not None:
        return text[match.end() :].lstrip()
    return text


# The name of a function: C, with compilers' suffixes, Rust's mangled names, and ppc64's dot before it.
NAME: Final = r"\.?[A-Za-z_$][\w$]*(?:\.[\w$]+)*"
_OFFSET: Final = r"\+0x(?P<offset>[0-9a-f]{1,16})/0x(?P<size>[0-9a-f]{1,16})"
_MODULE: Final = r"(?: \[(?P<module>[\w-]+)(?: (?P<build_id>[0-9a-f]{20,40}))?\])?"
# "[<ffffffff8107d1a0>]", ppc's "[c000000004d57a10] [c008000000246548]", s390's with a space or parenthesis before.
_ADDRESSES: Final = r"(?:\[<?[0-9a-f]{8,16}>?\] *){0,3}"
_FRAME: Final = re.compile(
    rf"(?P<guess>\(?)(?:#[0-9]+ ?)?{_ADDRESSES}(?P<question>\? )?\(?(?P<name>{NAME}){_OFFSET}{_MODULE}\)?"
    r"(?P<rest>.*)"
)
# scripts/decode_stacktrace.sh and the reports of fuzzers: " name file.c:12 [inline]", " name+0x1/0x2 file.c:12".
_SYMBOLISED: Final = re.compile(
    rf"(?P<question>\? )?(?P<name>{NAME}) (?P<file>[\w./+-]+\.(?:[chS]|cc|rs):-?[0-9]+)(?P<inline> \[inline\])?$"
)
_FILE: Final = re.compile(r" ?[\w./+-]+\.(?:[chS]|cc|rs):-?[0-9]+")
# arm: "[<c010f2b8>] (f) from [<c010b7d4>] (g+0x10/0x14)", since 5.17 "f [module] from g+0x10/0x14".
_FROM: Final = re.compile(
    rf"(?:\[<[0-9a-f]{{8}}>\] )?\(?(?P<callee>{NAME})(?:\+0x[0-9a-f]+/0x[0-9a-f]+)?(?: \[(?P<of>[\w-]+)\])?\)? from "
    rf"(?:\[<[0-9a-f]{{8}}>\] )?\(?(?P<name>{NAME}){_OFFSET}{_MODULE}\)?"
)
_UNRELIABLE: Final = ("(unreliable)",)


def _frame(match: re.Match[str], questionable: bool) -> Frame:
    return Frame(
        match["name"].lstrip("."),
        int(match["offset"], 16),
        int(match["size"], 16),
        match["module"],
        match["build_id"],
        questionable,
    )


def frames_of(text: str) -> tuple[Frame, ...]:
    """Return the frames that a line of a stack has: one, two on arm's first lines, none if it is another line."""
    return _frames_of(text) if len(text) <= STACK_LINE_LIMIT else ()


@lru_cache(4096)
def _frames_of(text: str) -> tuple[Frame, ...]:
    if "+0x" not in text:
        if " " in text and "." in text and (match := _SYMBOLISED.match(text)) is not None:
            # An inlined function has no frame of its own: only the decoder added it, so no title names it.
            guess = match["question"] is not None or match["inline"] is not None
            return (Frame(match["name"].lstrip("."), questionable=guess),)
        return ()
    if " from " in text and (match := _FROM.match(text)) is not None:
        return (Frame(match["callee"], module=match["of"]), _frame(match, False))
    match = _FRAME.match(text)
    if match is None:
        return ()
    rest = match["rest"].strip()
    if rest and not rest.startswith(_UNRELIABLE) and _FILE.match(rest) is None and not _is_tail(rest):
        return ()
    return (_frame(match, bool(match["guess"]) or match["question"] is not None or "(unreliable)" in rest),)


def _is_tail(rest: str) -> bool:
    """True for what follows a frame on some architectures: ``(P)`` of arm64, markers of ftrace."""
    return len(rest) < 24 and (rest[0] in "([)" or rest == "[inline]")


# "RIP: 0010:f+0x1/0x2", "RIP: 0010:[<..>]  [<..>] f", "RIP  [<..>] f", "IP: f", "EIP: f", "EIP is at f" (x86); "pc : f"
# (arm64, loongarch), "PC is at f" (arm), "epc : f" (riscv, mips), "NIP [..] f" (ppc), "Krnl PSW : .. (f)" (s390).
_POINTER: Final = re.compile(
    r"(?:RIP: (?P<cs>[0-9a-f]{4}):|(?:RIP|EIP|IP|NIP)(?: is at|:)? +|(?:pc|PC|epc|ERA|era|TPC)(?: is at | *: *)"
    r"|Krnl PSW : )(?P<where>.*)"
)
_LINK: Final = re.compile(r"(?:lr|LR|ra|RA|RPC)(?: is at | *: *| )(?P<where>.*)")
_FUNCTION: Final = re.compile(rf"(?P<name>{NAME}){_OFFSET}{_MODULE}")
_POINTER_STARTS: Final = ("RIP", "EIP", "IP:", "NIP", "pc :", "pc:", "PC is", "epc", "Krnl PSW", "ERA", "era", "TPC")
_LINK_STARTS: Final = ("lr", "LR", "ra ", "ra:", "RA:", "RPC")
# The last two bits of x86's code segment: 3 is user space.
_USER_RING: Final = 3


class Pointer(NamedTuple):
    """An instruction pointer or link register."""

    #: None if it points nowhere.
    frame: Frame | None
    #: True for a pointer into user space, which names no function.
    user: bool = False
    #: True for a link register.
    link: bool = False


def pointer_of(text: str) -> Pointer | None:
    """Return the instruction pointer or link register that a line prints with its function; None for other lines."""
    return _pointer_of(text) if len(text) <= STACK_LINE_LIMIT else None


@lru_cache(1024)
def _pointer_of(text: str) -> Pointer | None:
    if text.endswith("[inline]"):
        return None
    if text.startswith(_POINTER_STARTS):
        match = _POINTER.match(text)
        if match is None:
            return None
        user = match["cs"] is not None and int(match["cs"], 16) & _USER_RING == _USER_RING
        function = _FUNCTION.search(match["where"])
        if function is not None:
            return Pointer(_frame(function, False), user)
        if _is_register(match["where"]) or not match["where"]:
            return None
        return Pointer(None, user)
    if text.startswith(_LINK_STARTS):
        match = _LINK.match(text)
        if match is not None and (function := _FUNCTION.search(match["where"])) is not None:
            return Pointer(_frame(function, False), link=True)
    return None


_REGISTER: Final = re.compile(r"(?:\[<)?[0-9a-f]{8,16}(?:>\])? +[A-Za-z]{2,}")


def _is_register(where: str) -> bool:
    """True for "epc : ffffffff0249b2c8 ra : .." and "pc : [<00000000>] lr : ..", which repeat a pointer as a number."""
    return _REGISTER.match(where) is not None or "EFLAGS" in where


@lru_cache(4096)
def plain_name(name: str) -> str:
    """Return the name of a function without the compiler's suffixes: ``.isra.0``, ``.part.1``, ``.constprop.0``."""
    return name.lstrip(".").partition(".")[0] or name
