"""The lines with which a machine says that it goes down, that it boots, or that netconsole starts and stops: one table.

A line counts only from its first character on, because other lines quote these words. User space writes to the same log
(/dev/kmsg), so that any program with root's rights can write each of them.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple


class Announcement(NamedTuple):
    """A row of the table."""

    #: A word of ``how`` in the event's details.
    how: str
    #: A part of the line that the prefilter finds, at least 8 bytes.
    literal: bytes
    #: Matches the text from its begin.
    pattern: re.Pattern[str]
    #: True if the kernel itself logs the line; False for user space, which announces an orderly end.
    by_kernel: bool


def _kernel(how: str, start: str) -> Announcement:
    return Announcement(how, start.encode(), re.compile(re.escape(start)), True)


def _program(how: str, pattern: str, literal: str) -> Announcement:
    return Announcement(how, literal.encode(), re.compile(pattern), False)


# The units' names are in the line since systemd 250: "Reached target reboot.target - System Reboot."
# On a serial console: "[  OK  ] Reached target Reboot."
_TARGET = r"(?:systemd\[1\]: |\[ *OK *\] )?Reached target "
_JOURNALD = r"systemd-journald\[\d+\]: "
_LOGIND = r"systemd-logind\[\d+\]: "

#: How a machine says that it goes down. The first matching row counts. The kernel's lines were never received from an
#: orderly reboot of 6.1, 6.12 or 7.3 (docs/wire): netconsole has stopped by then. User space's lines are earlier.
ENDS: Final = (
    # kernel/reboot.c
    _kernel("restart", "reboot: Restarting system"),
    _kernel("power-off", "reboot: Power down"),
    _kernel("power-off", "reboot: System halted"),
    _kernel("power-off", "reboot: Power off not available"),
    # The same to 3.10, and arch/x86/kernel/reboot.c.
    _kernel("restart", "Restarting system"),
    _kernel("restart", "reboot: machine restart"),
    # kernel/reboot.c: hw_protection_trigger(): too hot, or a voltage out of range.
    _program("protection", r"(?:reboot: )?HARDWARE PROTECTION (?:shutdown|reboot)", "HARDWARE PROTECTION "),
    # kernel/kexec_core.c
    _kernel("kexec", "kexec_core: Starting new kernel"),
    _kernel("kexec", "Starting new kernel"),
    # drivers/tty/sysrq.c: sysrq_handle_reboot, and kernel/power/poweroff.c; "SysRq : " to 4.20.
    _kernel("sysrq", "sysrq: Resetting"),
    Announcement("sysrq", b"SysRq : Resetting", re.compile(r"(?:sysrq: )?SysRq : Resetting"), True),
    _kernel("power-off", "sysrq: Power Off"),
    # systemd: src/shutdown/shutdown.c, with which the last process of a machine replaces systemd itself.
    _program("restart", r"systemd-shutdown\[1\]: Rebooting", "systemd-shutdown["),
    _program("power-off", r"systemd-shutdown\[1\]: (?:Powering off|Halting system)", "systemd-shutdown["),
    _program("orderly", r"systemd-shutdown\[1\]: ", "systemd-shutdown["),
    # systemd: src/journal/journald-server.c; the name of a process has 15 characters.
    _program("orderly", _JOURNALD + r"Received SIGTERM from PID 1 \(systemd-shutdow", "Received SIGTERM from "),
    # systemd: units/*.target
    _program("restart", _TARGET + r"(?:Reboot|System Reboot|reboot\.target)", "Reached target "),
    _program("kexec", _TARGET + r"(?:Reboot via kexec|kexec\.target)", "Reached target "),
    _program("power-off", _TARGET + r"(?:Power-Off|System Power Off|poweroff\.target)", "Reached target "),
    _program("power-off", _TARGET + r"(?:Halt|System Halt|halt\.target)", "Reached target "),
    _program("orderly", _TARGET + r"(?:Shutdown|System Shutdown|shutdown\.target)", "Reached target "),
    # systemd: src/core/manager.c, src/login/logind-dbus.c.
    _program("orderly", r"systemd\[1\]: Shutting down\.", "Shutting down."),
    _program("kexec", _LOGIND + r"The system will reboot with kexec", "]: The system will "),
    _program("restart", _LOGIND + r"The system will reboot", "]: The system will "),
    _program("power-off", _LOGIND + r"The system will (?:power off|halt)", "]: The system will "),
    _program("restart", _LOGIND + r"System is rebooting", "]: System is "),
    _program("power-off", _LOGIND + r"System is (?:powering down|halting)", "]: System is "),
    # busybox: init/init.c; sysvinit: src/shutdown.c; openrc.
    _program("restart", r"Requesting system reboot", "Requesting system reboot"),
    _program("orderly", r"The system is going down", "The system is going down"),
)
#: Seconds after which an announced end was not the end: servers take minutes to stop, and up to 15 to start.
ANNOUNCED_SECONDS: Final = 1800.0
#: Words of scripts: enough for a boot that is no crash, too vague for the reason of an event.
VAGUE: Final = "going to reboot"
_WORDS: Final = tuple(sorted({row.literal.decode() for row in ENDS}))
_ANY_END: Final = re.compile("|".join(row.pattern.pattern for row in ENDS))


def announces(text: str) -> bool:
    """Return True if a line of a log says that the machine goes down, whoever wrote it and whatever is before it.

    For lines of files, which can have a prefix: a host's name, or the mark of a serial console.
    """
    return VAGUE in text or (any(word in text for word in _WORDS) and _ANY_END.search(text) is not None)


#: The first lines of a kernel's log. ``Linux version`` is the first one on amd64, and follows ``Booting Linux on`` on
#: arm and arm64.
LINUX_VERSION: Final = re.compile(r"Linux version (\S{1,64})(.*)", re.DOTALL)
BUFFER_START: Final = re.compile(r"Linux version |Booting Linux on |Command line: |Kernel command line: ")
COMMAND_LINE: Final = re.compile(r"(?:Command line|Kernel command line): (.*)", re.DOTALL)
#: The parameter ``panic=`` on the kernel's command line; the last one counts.
PANIC_PARAMETER: Final = re.compile(r"(?:^|\s)panic=(-?\d{1,9})(?=\s|$)")
#: kexec-tools add it to the command line of the kernel that kdump starts after a crash: the place of the old memory.
KDUMP_PARAMETER: Final = re.compile(r"(?:^|\s)elfcorehdr=")

#: drivers/net/netconsole.c. The prefix is ``netconsole: `` or ``netpoll: ``, on some kernels both.
LOGGING: Final = re.compile(
    r"netconsole: (?:netconsole: )?network logging (started|stopped|resumed)"
    r"(?: on interface (\S{1,15}))?(?: as it (.{1,64}))?"
)
#: kernel/panic.c: the first line of a panic and its last one, which says the same if the first one was lost.
PANIC: Final = re.compile(r"(?:---\[ end )?Kernel panic - not syncing: ([^\n]*?)(?: \]---)?(?:\n|$)")
#: kernel/printk/printk.c: the ring overran before a legacy console could print it.
DROPPED: Final = re.compile(r"\*\* (\d{1,18}) printk messages dropped \*\*")
#: Matches each line of this file, and no other: most messages that :class:`~netconsd.crash.life.Life` sees are losses.
ANY: Final = re.compile(
    "|".join(pattern.pattern for pattern in (*(row.pattern for row in ENDS), BUFFER_START, LOGGING, PANIC, DROPPED)),
    re.DOTALL,
)

#: The prefilter has to find these for :class:`~netconsd.crash.life.Life`.
LITERALS: Final = tuple(
    sorted(
        {row.literal for row in ENDS}
        | {b"Linux version ", b"Command line: ", b"command line: ", b"Booting Linux on "}
        | {b"network logging ", b"Kernel panic - not syncing", b"printk messages dropped"}
    )
)
