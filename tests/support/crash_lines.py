"""Crashes as lines and messages, for the tests of the recogniser."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from netconsd.crash.recogniser import FILE_LIMITS, Limits, Recogniser
from netconsd.crash.report import Report
from netconsd.protocol.message import Message
from netconsd.testing import extended_message, legacy_message, source

#: A stack of a task that writes to a file, as x86 prints it.
STACK = """Call Trace:
 <TASK>
 innermost+0x13/0x20 [some_module]
 middle+0x90/0xd0 [some_module]
 proc_reg_write+0x5a/0xa0
 vfs_write+0xcf/0x450
 ksys_write+0x6b/0xe0
 do_syscall_64+0xc4/0x560
 entry_SYSCALL_64_after_hwframe+0x76/0x7e
 </TASK>
"""
CPU = "CPU: 0 UID: 0 PID: 196 Comm: sh Tainted: G           OE       7.3.4 #1 PREEMPT(lazy)\n"
MACHINE = "Hardware name: QEMU Standard PC (i440FX + PIIX, 1996), BIOS 1.16.2-debian-1.16.2-1 04/01/2014\n"
END = "---[ end trace 0000000000000000 ]---\n"
#: Whole reports, as a kernel prints them.
OOPS = (
    "BUG: kernel NULL pointer dereference, address: 0000000000000000\n#PF: supervisor read access in kernel mode\n"
    "Oops: Oops: 0000 [#1] SMP NOPTI\n"
    f"{CPU}{MACHINE}RIP: 0010:innermost+0x13/0x20 [some_module]\nRAX: 0000000000000000 RBX: 000000000000000a\n"
    f"{STACK}Modules linked in: some_module(OE)\nCR2: 0000000000000000\n{END}"
)
WARN = (
    "------------[ cut here ]------------\nWARNING: some.c:52 at warned+0x15/0x20 [some_module], CPU#0: sh/241\n"
    f"Modules linked in: some_module(OE)\n{CPU.replace('196', '241')}{MACHINE}"
    f"RIP: 0010:warned+0x15/0x20 [some_module]\n{STACK}{END}"
)
NULL_TITLE = "BUG: unable to handle kernel NULL pointer dereference in innermost"
WARN_TITLE = "WARNING in warned"


def extended_lines(
    text: str, *, seq: int = 100, ts_usec: int = 5_000_000, step: int = 100, **more: object
) -> list[Message]:
    """Return a message of the extended format for each line of a text."""
    return [
        extended_message(line, seq=seq + index, ts_usec=ts_usec + step * index, **more)  # type: ignore[arg-type]
        for index, line in enumerate(text.splitlines())
    ]


def console_lines(text: str) -> list[Message]:
    """Return a legacy message for each line of a text."""
    return [legacy_message(line) for line in text.splitlines()]


def recognise(messages: Iterable[Message], limits: Limits = FILE_LIMITS) -> list[Report]:
    """Return the reports of messages, of the end of the input included."""
    recogniser = Recogniser(source(), limits=limits)
    reports: list[Report] = []
    for message in messages:
        reports += recogniser.take(message, message.received_at)
    return reports + list(recogniser.finish())


def titles(messages: Iterable[Message]) -> list[str]:
    """Return the titles of the reports of messages."""
    return [report.title for report in recognise(messages)]


def interleaved(first: Sequence[Message], second: Sequence[Message]) -> list[Message]:
    """Return the messages of two senders of lines in turn."""
    out: list[Message] = []
    for index in range(max(len(first), len(second))):
        out += [*first[index : index + 1], *second[index : index + 1]]
    return out
