"""The table of first lines: what kernels print when something goes wrong, and what a report of it is called. Pure.

A rule is tried on a line without its prefixes (:mod:`netconsd.crash.lines`) and, except for those marked ``anywhere``,
only at the line's begin, because drivers quote these words. docs/crashes ("The title") describes the titles.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from string import ascii_lowercase, digits
from typing import Final

from netconsd.crash.announcements import ENDS, VAGUE
from netconsd.crash.lines import NAME

#: Part of every fingerprint. Raise it when the same lines get another title.
VERSION: Final = 1


class From(enum.Enum):
    """The place that names the guilty function."""

    #: The first line (group ``f``), else the instruction pointer, else the stack.
    POINTER = "pointer"
    #: The stack alone.
    STACK = "stack"
    #: The stack, without the scheduler and the checks of atomic context.
    ATOMIC = "atomic"
    #: The stack, from the entry up to the requested operation.
    OPERATION = "operation"
    #: The stack of the waiting task.
    WAITING = "waiting"
    #: The place of the lock ("at: f+0x.."), else the stack.
    LOCK = "lock"
    #: The two names of the first line (groups ``f`` and ``g``).
    PAIR = "pair"
    #: The first line alone (group ``f``).
    LINE = "line"
    #: The stack, as a field: it is no part of the title.
    FIELD = "field"
    #: None.
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Rule:
    """A kind of first line."""

    name: str
    #: The line begins with one of these, or has one of them if ``anywhere``.
    heads: tuple[str, ...]
    #: Matched at the line's begin (searched if ``anywhere``); its groups are words of the title.
    pattern: re.Pattern[str]
    #: With the pattern's groups in braces; " in FUNCTION" is appended.
    title: str
    kind: str
    severity: str
    source: From
    anywhere: bool = False
    #: The line is no title if the report has another one: it follows or precedes better lines of the same report.
    weak: bool = False
    #: A report only if a stack follows.
    needs_stack: bool = False
    #: A report of one line has no stack, and is whole without it.
    short: bool = False
    #: The first form of alternatives: "bad-access" for "bad-access in F".
    free_form: str = ""
    #: The literals for the prefilter, if others than ``heads``.
    literals: tuple[str, ...] = field(default=())


_F: Final = rf"(?P<f>{NAME})"
_OFF: Final = r"\+0x[0-9a-f]+/0x[0-9a-f]+"


def _rule(
    name: str,
    heads: str | tuple[str, ...],
    pattern: str,
    title: str,
    kind: str,
    severity: str,
    source: From,
    **more: object,
) -> Rule:
    heads = (heads,) if isinstance(heads, str) else heads
    return Rule(name, heads, re.compile(pattern), title, kind, severity, source, **more)  # type: ignore[arg-type]


def _longer(word: str, following: Iterable[str]) -> tuple[str, ...]:
    """Return a short word with each text that can follow it: literals of 8 bytes let the prefilter skip more."""
    return tuple(word + text for text in following)


NULL = "BUG: unable to handle kernel NULL pointer dereference"
PAGING = "BUG: unable to handle kernel paging request"

RULES: Final = (
    # mm/kasan/report.c; "on address" to 4.3. The access is in the next line.
    _rule(
        "kasan",
        "BUG: KASAN: ",
        rf"BUG: KASAN: (?:(?P<free>double-free or invalid-free|invalid-free)|(?P<what>[a-z][a-z0-9 -]*?))"
        rf"(?: in {_F}(?:\+|\s|$)|(?: on address| in |,|\s*$))",
        "KASAN: {what}",
        "kasan",
        "corrupt",
        From.POINTER,
    ),
    # mm/kasan/report.c: the line after the first one. Alone, the first line was lost.
    _rule(
        "kasan-access",
        ("Read of size ", "Write of size "),
        r"(?P<access>Read|Write) of size [0-9]+ (?:at addr|by task)",
        "KASAN: use-after-free {access}",
        "kasan",
        "corrupt",
        From.POINTER,
        weak=True,
        needs_stack=True,
    ),
    # mm/kmsan/report.c
    _rule(
        "kmsan",
        "BUG: KMSAN: ",
        rf"BUG: KMSAN: (?P<what>[a-z][a-z-]*)(?: in {_F})?",
        "KMSAN: {what}",
        "kmsan",
        "corrupt",
        From.POINTER,
    ),
    # kernel/kcsan/report.c
    _rule(
        "kcsan",
        "BUG: KCSAN: ",
        rf"BUG: KCSAN: (?P<what>data-race|assert: race) in {_F}(?:{_OFF})?(?: \[[\w ]+\])?(?: / (?P<g>{NAME}))?",
        "KCSAN: {what}",
        "kcsan",
        "notice",
        From.PAIR,
    ),
    # mm/kfence/report.c
    _rule(
        "kfence",
        "BUG: KFENCE: ",
        rf"BUG: KFENCE: (?P<what>(?:use-after-free|out-of-bounds|invalid) (?:read|write)|invalid free"
        rf"|memory corruption"
        rf"|[a-z -]+?)(?: in {_F}|\s*$)",
        "KFENCE: {what}",
        "kfence",
        "corrupt",
        From.POINTER,
    ),
    # mm/kfence/report.c: the line after the first one, which was lost.
    _rule(
        "kfence-2",
        ("Out-of-bounds ", "Use-after-free ", "Invalid free of ", "Corrupted memory at "),
        r"(?:(?P<what>(?:Out-of-bounds|Use-after-free) (?:read|write)) at |(?P<free>Invalid free) of "
        r"|(?P<memory>Corrupted memory) at )"
        r"0x[0-9a-f]+ .*kfence-#[0-9]",
        "KFENCE: {what}",
        "kfence",
        "corrupt",
        From.POINTER,
        weak=True,
        needs_stack=True,
        literals=(" kfence-#", "(in kfence-#"),
    ),
    # lib/ubsan.c; "Undefined behaviour" to 5.6.
    _rule(
        "ubsan",
        ("UBSAN: ",),
        r"UBSAN: (?:(?P<old>Undefined behaviour)|(?P<what>[a-z-]+)) in ",
        "UBSAN: {what}",
        "ubsan",
        "notice",
        From.STACK,
        literals=_longer("UBSAN: ", "U" + ascii_lowercase),
    ),
    # lib/ubsan.c: the line after the first one, which was lost.
    _rule(
        "ubsan-2",
        ("shift exponent ", "index ", "left shift of "),
        r"(?:(?P<shift>shift exponent -?[0-9]+ is|left shift of )|index -?[0-9]+ is out of range for type)",
        "UBSAN: {what}",
        "ubsan",
        "notice",
        From.STACK,
        weak=True,
        needs_stack=True,
        literals=("shift exponent ", "is out of range for type", "left shift of "),
    ),
    # arch/x86/mm/fault.c show_fault_oops: "kernel NULL pointer dereference, address:"; to 5.0 "unable to handle".
    # arch/powerpc/mm/fault.c bad_page_fault. arch/{arm,arm64,riscv,sparc}/mm/fault.c.
    _rule(
        "null",
        (
            *("BUG: kernel NULL pointer", "BUG: Kernel NULL pointer", "BUG: unable to handle kernel NULL pointer"),
            "Unable to handle kernel NULL pointer",
        ),
        r"(?:BUG: (?:unable to handle )?[kK]ernel|Unable to handle kernel) NULL pointer dereference",
        NULL,
        "memory-fault",
        "degraded",
        From.POINTER,
        free_form="bad-access",
    ),
    # arch/riscv/mm/fault.c, arch/arm64/mm/fault.c: keeps its own words.
    _rule(
        "user-access",
        "Unable to handle kernel access to user memory",
        r"Unable to handle kernel access to user memory",
        "BUG: unable to handle kernel access to user memory",
        "memory-fault",
        "degraded",
        From.POINTER,
        free_form="bad-access",
    ),
    # arch/x86/mm/fault.c, arch/{arm,arm64,riscv,mips,loongarch,powerpc}/mm/fault.c
    _rule(
        "paging",
        ("BUG: unable to handle page fault", "BUG: unable to handle kernel paging", "Unable to handle kernel paging"),
        r"(?:BUG: unable|Unable) to handle (?:page fault for address|kernel paging request)",
        PAGING,
        "memory-fault",
        "degraded",
        From.POINTER,
        free_form="bad-access",
    ),
    # arch/s390/mm/fault.c; "first page" is decided with the next line, "Failing address:".
    _rule(
        "pointer",
        "Unable to handle kernel pointer dereference",
        r"Unable to handle kernel pointer dereference",
        PAGING,
        "memory-fault",
        "degraded",
        From.POINTER,
        free_form="bad-access",
    ),
    # arch/arm64/mm/fault.c die_kernel_fault, arch/arm/mm/fault.c: execute, write, read of memory, unaligned access.
    _rule(
        "permission",
        "Unable to handle kernel ",
        r"Unable to handle kernel (?:execut|write|read|instruction|unaligned|unreadable)",
        PAGING,
        "memory-fault",
        "degraded",
        From.POINTER,
        free_form="bad-access",
        literals=(
            *("Unable to handle kernel exec", "Unable to handle kernel write", "Unable to handle kernel read"),
            *("Unable to handle kernel unal", "Unable to handle kernel inst", "Unable to handle kernel unre"),
        ),
    ),
    # arch/powerpc/mm/fault.c bad_page_fault
    _rule(
        "powerpc-access",
        "BUG: Unable to handle kernel ",
        r"BUG: Unable to handle kernel (?:data access|instruction fetch|unaligned access)",
        PAGING,
        "memory-fault",
        "degraded",
        From.POINTER,
        free_form="bad-access",
    ),
    # arch/powerpc/mm/fault.c, arch/x86/mm/fault.c: lines before the first one.
    _rule(
        "attempted",
        ("Kernel attempted to ", "kernel tried to execute ", "unable to execute userspace code"),
        r"(?:Kernel attempted to (?:read|write|execute)|kernel tried to execute|unable to execute userspace)",
        PAGING,
        "memory-fault",
        "degraded",
        From.POINTER,
        weak=True,
        needs_stack=True,
        free_form="bad-access",
    ),
    # arch/x86/kernel/traps.c exc_general_protection; not "prog[123] general protection fault ip:", a user's program.
    _rule(
        "general-protection",
        ("general protection fault", "Oops: general protection fault"),
        r"(?:Oops: )?general protection fault(?:: [0-9a-f]{4}|,|\s*$| in )",
        "general protection fault",
        "memory-fault",
        "degraded",
        From.POINTER,
        free_form="bad-access",
        literals=("general protection fault",),
    ),
    # arch/x86/mm/kasan, mm/kasan/report.c kasan_non_canonical_hook: the line after the first one, which was lost.
    _rule(
        "general-protection-2",
        (
            *(
                "KASAN: null-ptr-deref in range",
                "KASAN: maybe wild-memory-access in range",
                "kasan: GPF could be caused",
            ),
            "KASAN: probably user-memory-access in range",
        ),
        r"(?:KASAN: [a-z -]+ in range \[|kasan: GPF could be caused by)",
        "general protection fault",
        "memory-fault",
        "degraded",
        From.POINTER,
        weak=True,
        needs_stack=True,
        free_form="bad-access",
    ),
    # arch/x86/kernel/traps.c: the names of traps, "Oops: " before them since 6.12.
    _rule(
        "divide",
        ("divide error: ", "Oops: divide error: "),
        r"(?:Oops: )?divide error: [0-9a-f]{4}",
        "divide error",
        "divide",
        "degraded",
        From.POINTER,
        literals=("divide error: ",),
    ),
    _rule(
        "invalid-opcode",
        ("invalid opcode: ", "Oops: invalid opcode: "),
        r"(?:Oops: )?invalid opcode: [0-9a-f]{4}",
        "invalid opcode",
        "trap",
        "degraded",
        From.POINTER,
        weak=True,
        literals=("invalid opcode: ",),
    ),
    _rule(
        "stack-segment",
        ("stack segment: ", "Oops: stack segment: "),
        r"(?:Oops: )?stack segment: [0-9a-f]{4}",
        "stack segment fault",
        "memory-fault",
        "degraded",
        From.POINTER,
        free_form="bad-access",
        literals=("stack segment: ",),
    ),
    _rule(
        "trap",
        (
            *("int3: ", "Oops: int3: ", "alignment check: ", "Oops: alignment check: ", "bounds: ", "Oops: bounds: "),
            *("invalid TSS: ", "Oops: invalid TSS: ", "segment not present: ", "Oops: segment not present: "),
            *("control protection fault: ", "Oops: control protection fault: ", "debug: ", "overflow: "),
        ),
        r"(?:Oops: )?(?P<what>int3|alignment check|bounds|invalid TSS|segment not present|control protection fault"
        r"|debug"
        r"|overflow): [0-9a-f]{4} \[#",
        "{what}",
        "trap",
        "degraded",
        From.POINTER,
        literals=(
            *("int3: 0000", "alignment check: ", "bounds: 0000", "invalid TSS: ", "segment not present: "),
            *("control protection fault: ", "debug: 0000", "overflow: 0000"),
        ),
    ),
    # arch/x86/kernel/{traps,doublefault_32}.c
    _rule(
        "double-fault",
        ("PANIC: double fault", "double fault: ", "Oops: double fault: "),
        r"(?:PANIC: double fault|(?:Oops: )?double fault: [0-9a-f]{4})",
        "PANIC: double fault",
        "trap",
        "dead",
        From.POINTER,
        literals=("double fault",),
    ),
    # arch/x86/kernel/dumpstack.c handle_stack_overflow; the next line, "stack guard page: 0000", is a part of it.
    _rule(
        "stack-guard-page",
        ("BUG: TASK stack guard", "BUG: IRQ stack guard", "BUG: stack guard page was hit", "BUG: "),
        r"BUG: (?:[A-Z#/0-9]+ )?stack guard page was hit",
        "BUG: stack guard page was hit",
        "stack",
        "dead",
        From.POINTER,
        free_form="stack-overflow",
        literals=("stack guard page was hit",),
    ),
    _rule(
        "stack-guard-page-2",
        ("stack guard page: ", "Oops: stack guard page: ", "kernel stack overflow (", "Oops: kernel stack overflow ("),
        r"(?:Oops: )?(?:stack guard page: [0-9a-f]{4}|kernel stack overflow \()",
        "BUG: stack guard page was hit",
        "stack",
        "dead",
        From.POINTER,
        weak=True,
        free_form="stack-overflow",
        literals=("stack guard page: ", "kernel stack overflow ("),
    ),
    # arch/arm64/kernel/traps.c, arch/riscv/kernel/traps.c, arch/s390/kernel/nmi.c
    _rule(
        "stack-overflow",
        ("Insufficient stack space to handle exception", "Kernel stack overflow", "kernel stack overflow"),
        r"(?:Insufficient stack space to handle exception|[kK]ernel stack overflow)",
        "kernel stack overflow",
        "stack",
        "dead",
        From.POINTER,
        free_form="stack-overflow",
    ),
    # arch/arm/mm/fault.c, arch/arm64/mm/fault.c to 4.20
    _rule(
        "unhandled-fault",
        ("Unhandled fault: ", "Unhandled prefetch abort: "),
        r"Unhandled (?:fault|prefetch abort): ",
        "Unhandled fault",
        "memory-fault",
        "degraded",
        From.POINTER,
        free_form="bad-access",
    ),
    # arch/arm/mm/alignment.c; not "Alignment trap: prog (123) PC=", a user's program.
    _rule(
        "alignment-trap",
        "Alignment trap: not handling",
        r"Alignment trap: not handling",
        "Alignment trap",
        "trap",
        "degraded",
        From.POINTER,
    ),
    # arch/s390/kernel/{traps,dis}.c: program checks without a line before.
    _rule(
        "program-check",
        (
            *("illegal operation: ", "addressing exception: ", "protection exception: ", "specification exception: "),
            *("data exception: ", "privileged operation: ", "execute exception: ", "operand exception: "),
            *(
                "fixpoint divide exception: ",
                "HFP divide exception: ",
                "space switch event: ",
                "translation exception: ",
            ),
        ),
        r"(?P<what>[a-zHFP]+(?: [a-z]+)+): 00[0-9a-f]{2} ilc:[0-9]",
        "{what}",
        "trap",
        "degraded",
        From.POINTER,
    ),
    # arch/{arm,arm64}/kernel/traps.c die(): follows the line with the words, or says "Oops - undefined instruction".
    _rule(
        "internal-error",
        "Internal error: ",
        r"Internal error: ",
        "Internal error",
        "trap",
        "degraded",
        From.POINTER,
        weak=True,
    ),
    # arch/{x86,powerpc,riscv,mips,s390,loongarch}/kernel/traps.c die(): follows the line with the words.
    _rule(
        "oops",
        ("Oops: ", "Oops ", "Oops[#", "Oops - "),
        r"Oops(?:: (?:Oops: )?(?P<code>[0-9a-f]{4}) |: Kernel access of bad area|: [A-Z][\w ]+, sig: [0-9]+ | \[#|\[#"
        r"| - )",
        PAGING,
        "memory-fault",
        "degraded",
        From.POINTER,
        weak=True,
        free_form="bad-access",
        literals=(
            "Oops: 000",
            "Oops: 001",
            "Oops: Oops: ",
            "Oops: Kernel",
            "Oops: Exception",
            "Oops: Machine",
            *_longer("Oops [#", "123456789"),
            *_longer("Oops[#", [one + other for one in "123456789" for other in "]0123456789"]),
            # Any letter would make the prefilter look at every dash between words.
            *_longer(
                "Oops - ", ("BUG", "undefined", "bad ", "unknown ", "CFI", "BTI", "FPAC", "MOPS", "GCS", "SP", "PC")
            ),
        ),
    ),
    # arch/{riscv,mips}/kernel/traps.c
    _rule(
        "kernel-bug-2",
        ("Kernel BUG [#", "Kernel bug detected[#"),
        r"Kernel (?:BUG |bug detected)\[#",
        "kernel BUG",
        "bug",
        "degraded",
        From.POINTER,
        weak=True,
    ),
    # mm/usercopy.c, before its BUG()
    _rule(
        "usercopy",
        ("usercopy: ", "Kernel memory exposure attempt", "Kernel memory overwrite attempt"),
        r"(?:usercopy: )?[kK]ernel memory (?:exposure|overwrite) attempt detected",
        "BUG: bad usercopy",
        "usercopy",
        "degraded",
        From.POINTER,
        literals=("ernel memory exposure attempt", "ernel memory overwrite attempt"),
    ),
    # lib/list_debug.c, before its BUG() or WARN()
    _rule(
        "list",
        ("list_add corruption", "list_del corruption", "list_add double add"),
        r"list_(?:add|del) (?:corruption|double add)",
        "BUG: corrupted list",
        "list",
        "corrupt",
        From.POINTER,
    ),
    # lib/bug.c
    _rule(
        "kernel-bug",
        ("kernel BUG at ", "Kernel BUG at "),
        r"[kK]ernel BUG at (?P<file>[^\s:!]+)",
        "kernel BUG",
        "bug",
        "degraded",
        From.POINTER,
    ),
    # kernel/panic.c __warn: to 6.x with CPU and PID, 7.x "file:line at function"; "Badness at" on old ppc.
    _rule(
        "warning",
        "WARNING: ",
        rf"WARNING: (?:CPU: [0-9]+ PID: [0-9]+ )?(?:at (?P<file>[^\s:]+):[0-9]+(?: {_F}{_OFF})?"
        rf"|at (?P<f3>{NAME}){_OFF}"
        rf"|(?P<file2>[\w./+-]+\.[chS]):[0-9]+ at (?P<f2>{NAME}){_OFF}|(?P<file3>[\w./+-]+\.[chS]):[0-9]+ at "
        rf"|CPU: [0-9]+ PID: [0-9]+ at )",
        "WARNING",
        "warning",
        "notice",
        From.POINTER,
    ),
    # arch/x86/kernel/unwind_{orc,frame}.c
    _rule(
        "unwind",
        "WARNING: can't ",
        r"WARNING: can't (?P<what>access|dereference) (?:iret )?registers at "
        rf"(?P<where>{NAME}|[0-9a-f]{{8,16}}|0x0)",
        "WARNING: can't {what} registers at {where}",
        "warning",
        "notice",
        From.NONE,
        short=True,
    ),
    _rule(
        "unwind-2",
        "WARNING: kernel stack ",
        r"WARNING: kernel stack (?P<what>frame pointer|regs) at .* has bad '?\w*'? ?value",
        "WARNING: kernel stack {what} has bad value",
        "warning",
        "notice",
        From.NONE,
        short=True,
    ),
    # kernel/locking/lockdep.c; "[ INFO: " to 4.10.
    _rule(
        "deadlock",
        ("WARNING: ", "INFO: ", "BUG: "),
        r"(?:WARNING|INFO|BUG): (?:possible (?:circular locking|recursive locking|irq lock inversion)"
        r"|(?:HARD|SOFT)IRQ-\w+ -> (?:HARD|SOFT)IRQ-\w+ lock order|RECLAIM_FS-safe -> )",
        "possible deadlock",
        "deadlock",
        "notice",
        From.LOCK,
        literals=(
            *("possible circular locking", "possible recursive locking", "possible irq lock inversion"),
            *("IRQ-unsafe lock order", "RECLAIM_FS-safe -> "),
        ),
    ),
    # kernel/locking/lockdep.c: lines after the first one, which was lost.
    _rule(
        "deadlock-2",
        "",
        r".*(?:is trying to acquire(?: lock)?:|just changed the state of lock:)$",
        "possible deadlock",
        "deadlock",
        "notice",
        From.LOCK,
        anywhere=True,
        weak=True,
        needs_stack=True,
        literals=("is trying to acquire:", "is trying to acquire lock:", "just changed the state of lock:"),
    ),
    _rule(
        "lock-state",
        ("WARNING: inconsistent lock state", "INFO: inconsistent lock state"),
        r"(?:WARNING|INFO): inconsistent lock state",
        "inconsistent lock state",
        "locking",
        "notice",
        From.LOCK,
        literals=("inconsistent lock state",),
    ),
    _rule(
        "lock-state-2",
        "",
        r".* \[HC[0-9]\[[0-9]+\]:SC[0-9]\[[0-9]+\]:HE[01]:SE[01]\] takes:$",
        "inconsistent lock state",
        "locking",
        "notice",
        From.LOCK,
        anywhere=True,
        weak=True,
        needs_stack=True,
        literals=("] takes:",),
    ),
    _rule(
        "lock-balance-2",
        "",
        r".* is trying to release lock \(",
        "WARNING: bad unlock balance",
        "locking",
        "notice",
        From.LOCK,
        anywhere=True,
        weak=True,
        needs_stack=True,
        literals=(" is trying to release lock (",),
    ),
    _rule(
        "rcu-usage",
        ("WARNING: suspicious RCU usage", "INFO: suspicious RCU usage"),
        r"(?P<level>WARNING|INFO): suspicious RCU usage",
        "{level}: suspicious RCU usage",
        "locking",
        "notice",
        From.STACK,
        literals=("suspicious RCU usage",),
    ),
    _rule(
        "rcu-usage-2",
        "suspicious rcu_dereference_",
        r"suspicious rcu_dereference_\w+",
        "WARNING: suspicious RCU usage",
        "locking",
        "notice",
        From.STACK,
        anywhere=True,
        weak=True,
        needs_stack=True,
        literals=("suspicious rcu_dereference_",),
    ),
    _rule(
        "lock-use",
        ("WARNING: ", "BUG: ", "INFO: "),
        r"(?P<level>WARNING|BUG|INFO): (?:\S+/[0-9]+ )?(?P<what>bad unlock balance|held lock freed"
        r"|lock held when returning to user"
        r" space|(?:lock held at task exit time, )?still has locks held|bad contention|[Nn]ested lock was not taken"
        r"|Invalid wait context)",
        "{level}: {what}",
        "locking",
        "notice",
        From.LOCK,
        literals=(
            *("bad unlock balance", "held lock freed", "lock held when returning", "still has locks held"),
            *("bad contention detected", "ested lock was not taken", "BUG: Invalid wait context"),
        ),
    ),
    _rule(
        "lock-key",
        ("INFO: trying to register non-static key",),
        r"INFO: trying to register non-static key",
        "INFO: trying to register non-static key",
        "locking",
        "notice",
        From.STACK,
    ),
    _rule(
        "lockdep-limit",
        "BUG: MAX_",
        r"BUG: (?P<what>MAX_[A-Z_]+ too low!)",
        "BUG: {what}",
        "locking",
        "notice",
        From.NONE,
        literals=("BUG: MAX_LOCK", "BUG: MAX_STACK"),
    ),
    # kernel/watchdog.c
    _rule(
        "soft-lockup",
        "BUG: soft lockup",
        r"BUG: soft lockup (?:- CPU#[0-9]+ stuck|detected on CPU)",
        "BUG: soft lockup",
        "soft-lockup",
        "hung",
        From.OPERATION,
        free_form="stall",
    ),
    # kernel/watchdog{_hld,_perf,_buddy}.c, arch/powerpc/kernel/watchdog.c
    _rule(
        "hard-lockup",
        (
            "Watchdog detected hard LOCKUP",
            "CPU",
            "BUG: hard lockup",
            "hard lockup",
            "detected hard LOCKUP",
            "Hard LOCKUP",
            "self-detected hard",
        ),
        r"(?:CPU ?[0-9]+:? )?(?:Watchdog detected hard LOCKUP|(?:self-)?detected (?:h|H)ard LOCKUP|Hard LOCKUP"
        r"|BUG: hard lockup|hard lockup - CPU)",
        "BUG: hard lockup",
        "hard-lockup",
        "hung",
        From.OPERATION,
        free_form="stall",
        literals=("hard LOCKUP", "Hard LOCKUP", "BUG: hard lockup", "hard lockup - CPU"),
    ),
    # kernel/rcu/tree_stall.h, tree_exp.h, tasks.h
    _rule(
        "rcu-stall",
        "INFO: rcu_",
        r"INFO: rcu_\w+ (?:self-)?detected (?:expedited )?stalls?",
        "INFO: rcu detected stall",
        "rcu-stall",
        "hung",
        From.OPERATION,
        free_form="stall",
    ),
    # kernel/rcu/tree_stall.h: the lines after the first one, which was lost.
    _rule(
        "rcu-stall-2",
        ("(detected by ", "(t="),
        r"\((?:detected by [0-9]+, )?t=[0-9]+ jiffies",
        "INFO: rcu detected stall",
        "rcu-stall",
        "hung",
        From.OPERATION,
        weak=True,
        needs_stack=True,
        free_form="stall",
        literals=("(detected by ", " jiffies g="),
    ),
    # kernel/hung_task.c
    _rule(
        "hung-task",
        "INFO: task ",
        r"INFO: task (?P<comm>.{1,32}):(?P<pid>[0-9]+) (?:(?P<die>can't die for more than)|blocked (?:for more than"
        r"|in I/O wait))",
        "INFO: task hung",
        "hung-task",
        "hung",
        From.WAITING,
        free_form="hang",
    ),
    _rule(
        "hung-task-2",
        '"echo 0 > /proc/sys/kernel/hung_task_timeout_secs"',
        r'"echo 0 > /proc/sys/kernel/hung_task_timeout_secs" disables',
        "INFO: task hung",
        "hung-task",
        "hung",
        From.WAITING,
        weak=True,
        needs_stack=True,
        free_form="hang",
    ),
    # kernel/workqueue.c
    _rule(
        "workqueue-lockup",
        "BUG: workqueue lockup",
        r"BUG: workqueue lockup",
        "BUG: workqueue lockup",
        "workqueue-lockup",
        "hung",
        From.NONE,
        short=True,
    ),
    _rule(
        "workqueue-leak",
        "BUG: workqueue leaked ",
        r"BUG: (?P<what>workqueue leaked [a-zA-Z, ]+?)(?::|$)",
        "BUG: {what}",
        "atomic",
        "notice",
        From.ATOMIC,
    ),
    # kernel/sched/core.c
    _rule(
        "atomic",
        ("BUG: scheduling while atomic", "BUG: sleeping function called from invalid context"),
        r"BUG: (?P<what>scheduling while atomic|sleeping function called from invalid context)",
        "BUG: {what}",
        "atomic",
        "degraded",
        From.ATOMIC,
    ),
    _rule(
        "assumption",
        "BUG: assuming ",
        r"BUG: (?P<what>assuming (?:non-)?atomic context)",
        "BUG: {what}",
        "atomic",
        "notice",
        From.ATOMIC,
    ),
    # lib/smp_processor_id.c
    _rule(
        "preemptible",
        "BUG: using ",
        r"BUG: using (?P<what>\w+\(\)) in preemptible",
        "BUG: using {what} in preemptible code",
        "atomic",
        "notice",
        From.ATOMIC,
    ),
    # kernel/sched/core.c, lib/smp_processor_id.c: the lines after the first one, which was lost.
    _rule(
        "atomic-2",
        "in_atomic(): ",
        r"in_atomic\(\): [0-9], irqs_disabled\(\): ",
        "BUG: sleeping function called from invalid context",
        "atomic",
        "degraded",
        From.ATOMIC,
        weak=True,
        needs_stack=True,
    ),
    _rule(
        "preemptible-2",
        "caller is ",
        rf"caller is {NAME}{_OFF}",
        "BUG: using smp_processor_id() in preemptible code",
        "atomic",
        "notice",
        From.ATOMIC,
        weak=True,
        needs_stack=True,
    ),
    # kernel/locking/{spinlock,rwlock}_debug.c, rtmutex
    _rule(
        "spinlock",
        ("BUG: spinlock ", "BUG: rwlock ", "BUG: rwlock-"),
        r"BUG: (?P<what>(?:spinlock|rwlock)[a-z -]*?)(?: on CPU|,|$)",
        "BUG: {what}",
        "locking",
        "degraded",
        From.STACK,
    ),
    # mm/page_alloc.c, mm/memory.c, mm/filemap.c
    _rule(
        "bad-page",
        ("BUG: Bad page ", "BUG: bad page "),
        r"BUG: (?P<what>[Bb]ad page (?:state|map|cache))",
        "BUG: {what}",
        "page-state",
        "corrupt",
        From.STACK,
    ),
    # kernel/fork.c check_mm
    _rule(
        "rss-counter",
        "BUG: Bad rss-counter state",
        r"BUG: Bad rss-counter state",
        "BUG: Bad rss-counter state",
        "page-state",
        "corrupt",
        From.STACK,
        short=True,
    ),
    _rule(
        "page-tables",
        "BUG: non-zero ",
        r"BUG: (?P<what>non-zero \w+)(?P<mm> on freeing mm)?",
        "BUG: {what}{mm}",
        "page-state",
        "corrupt",
        From.STACK,
        short=True,
    ),
    # fs/dcache.c umount_check
    _rule(
        "dentry",
        "BUG: Dentry ",
        r"BUG: Dentry .*still in use",
        "BUG: Dentry still in use",
        "reference",
        "notice",
        From.STACK,
        short=True,
    ),
    # mm/slub.c slab_bug; mm/slab.c slab_error, slab_corruption
    _rule(
        "slab",
        "BUG ",
        r"BUG [^:]{1,80}? \((?:Not tainted|Tainted: [^)]*)\): (?P<what>.+)",
        "BUG: {what}",
        "slab",
        "corrupt",
        From.STACK,
        literals=(" (Not tainted", " (Tainted: "),
    ),
    # mm/kmemleak.c
    _rule(
        "leak",
        "unreferenced object 0x",
        r"unreferenced object 0x[0-9a-f]+ \(size",
        "memory leak",
        "memory-leak",
        "notice",
        From.STACK,
    ),
    # mm/kmemleak.c: the line after the first one, which was lost; fuzzers add "BUG: memory leak".
    _rule(
        "leak-2",
        ("BUG: memory leak", 'comm "'),
        r'(?:BUG: memory leak$|comm "[^"]{0,16}", pid [0-9]+, jiffies )',
        "memory leak",
        "memory-leak",
        "notice",
        From.STACK,
        weak=True,
        needs_stack=True,
        literals=("BUG: memory leak", ", jiffies 4"),
    ),
    # kernel/panic.c
    _rule(
        "panic",
        ("Kernel panic - not syncing", "Kernel panic: "),
        r"Kernel panic(?: - not syncing)?:? ?(?P<what>.*)",
        "kernel panic: {what}",
        "panic",
        "dead",
        From.FIELD,
    ),
    # net/core/dev.c netdev_wait_allrefs
    _rule(
        "unregister",
        "unregister_netdevice: waiting for ",
        r"unregister_netdevice: waiting for \S+ to become free",
        "unregister_netdevice: waiting for DEV to become free",
        "reference",
        "hung",
        From.NONE,
        short=True,
    ),
    # fs/open.c, fs/super.c
    _rule(
        "vfs-close",
        "VFS: Close: file count is ",
        r"VFS: Close: file count is (?:0|zero)",
        "VFS: Close: file count is zero (use-after-free)",
        "reference",
        "corrupt",
        From.NONE,
        short=True,
    ),
    _rule(
        "vfs-inodes",
        "VFS: Busy inodes after unmount",
        r"VFS: Busy inodes after unmount",
        "VFS: Busy inodes after unmount (use-after-free)",
        "reference",
        "corrupt",
        From.NONE,
        short=True,
    ),
    # mm/oom_kill.c
    _rule(
        "oom",
        ("Out of memory: Kill", "Out of memory (oom_kill_allocating_task): Kill", "Out of memory and "),
        r"Out of memory(?: \(oom_kill_allocating_task\))?: Kill(?:ed)? process [0-9]+,? \(?(?P<what>[^)]{1,32})\)?",
        "out of memory: killed {what}",
        "oom",
        "degraded",
        From.NONE,
        short=True,
        literals=("Out of memory: Kill", "Out of memory (oom"),
    ),
    _rule(
        "oom-cgroup",
        "Memory cgroup out of memory: ",
        r"Memory cgroup out of memory: (?:OOM victim )?Kill(?:ed)? process [0-9]+ \((?P<what>[^)]{1,32})\)",
        "out of memory in a cgroup: killed {what}",
        "oom",
        "notice",
        From.NONE,
        short=True,
    ),
    # mm/page_alloc.c warn_alloc
    _rule(
        "page-allocation",
        "",
        r": page allocation failure(?:: |\. )order:(?P<what>[0-9]+)",
        "page allocation failure: order {what}",
        "page-allocation",
        "notice",
        From.STACK,
        anywhere=True,
        literals=(": page allocation failure",),
    ),
    # arch/x86/kernel/cpu/mce/core.c
    _rule(
        "machine-check",
        "mce: [Hardware Error]",
        r"mce: \[Hardware Error\]: ",
        "hardware error: machine check",
        "hardware",
        "degraded",
        From.NONE,
        short=True,
    ),
    # drivers/acpi/apei/ghes.c, drivers/firmware/efi/cper.c
    _rule(
        "cper",
        "{",
        r"\{[0-9]+\}\[Hardware Error\]:",
        "hardware error: {cper}",
        "hardware",
        "degraded",
        From.NONE,
        short=True,
        literals=("}[Hardware Error]",),
    ),
    # drivers/edac/edac_mc.c
    _rule(
        "edac",
        "EDAC ",
        r"EDAC \S+: [0-9]+ (?P<ce>CE|UE) ",
        "hardware error: memory {ce}",
        "hardware",
        "degraded",
        From.NONE,
        short=True,
        literals=(*_longer("EDAC MC", digits), "EDAC skx MC", "EDAC amd64"),
    ),
    # drivers/pci/pcie/aer.c
    _rule(
        "pcie",
        "",
        r"(?:PCIe Bus Error: severity=(?P<severity>[\w() -]+?),|AER: (?:Multiple )?(?P<severity2>Corrected"
        r"|Corrected error|Uncorrected \((?:Non-Fatal|Fatal)\)|Uncorrectable \((?:Non-Fatal"
        r"|Fatal)\)) (?:error )?(?:message )?received)",
        "hardware error: PCIe {severity}",
        "hardware",
        "notice",
        From.NONE,
        anywhere=True,
        short=True,
        literals=("PCIe Bus Error: severity=", *_longer(" AER: ", ("Multiple ", "Corrected", "Uncorrect"))),
    ),
    # net/sched/sch_generic.c dev_watchdog
    _rule(
        "netdev-watchdog",
        "",
        r"(?:(?P<driver2>[\w-]+) \S+ \S+: )?NETDEV WATCHDOG: (?:\S+ \((?P<driver>[^)]*)\)"
        r"|CPU: [0-9]+): transmit queue [0-9]+ timed out",
        "NETDEV WATCHDOG: {driver} transmit queue timed out",
        "network",
        "degraded",
        From.NONE,
        anywhere=True,
        short=True,
        literals=("NETDEV WATCHDOG: ",),
    ),
    # kernel/irq/spurious.c
    _rule(
        "irq",
        "irq ",
        r"irq [0-9]+: nobody cared",
        "irq nobody cared",
        "interrupt",
        "degraded",
        From.NONE,
        short=True,
        literals=(": nobody cared",),
    ),
    # block/blk-core.c, fs/buffer.c. Loop devices and RAM disks are files and memory: no disk has failed.
    _rule(
        "disk",
        ("blk_update_request: ", "I/O error, dev ", "Buffer I/O error on dev", "print_req_error: "),
        r"(?:(?:blk_update_request|print_req_error): )?(?:critical (?:medium|target|nexus|space allocation) error"
        r"|I/O error|Buffer I/O error"
        r"|protection error|timeout error|transport error),? (?:on )?dev(?:ice)? (?!loop|ram|zram|fd|sr|nbd)\w",
        "I/O error on a disk",
        "disk",
        "degraded",
        From.NONE,
        short=True,
        literals=("I/O error, dev ", "Buffer I/O error on dev", "critical medium error", "critical target error"),
    ),
    # fs/ext4/super.c, fs/xfs/xfs_error.c, fs/btrfs/messages.c. An image in a loop device is not the machine's data.
    _rule(
        "ext4",
        "EXT4-fs error",
        rf"EXT4-fs error \(device (?!loop)[^)]*\)(?: in |: )(?:{_F}:[0-9]+)?",
        "filesystem error: ext4",
        "filesystem",
        "corrupt",
        From.LINE,
        short=True,
    ),
    _rule(
        "xfs",
        "XFS (",
        rf"XFS \((?!loop)[^)]*\): (?:Internal error|Corruption|Metadata corruption|Metadata CRC error)(?:.* (?:Caller"
        rf"|at) {_F}{_OFF})?",
        "filesystem error: xfs",
        "filesystem",
        "corrupt",
        From.LINE,
        short=True,
        literals=("): Internal error", "): Corruption", "): Metadata"),
    ),
    _rule(
        "btrfs",
        ("BTRFS: error ", "BTRFS error ", "BTRFS critical "),
        rf"BTRFS(?::)? (?:error|critical) \(device (?!loop)[^)]*\)(?: in {_F}:[0-9]+)?",
        "filesystem error: btrfs",
        "filesystem",
        "corrupt",
        From.LINE,
        short=True,
    ),
    # drivers/nvme/host/pci.c
    _rule(
        "nvme",
        "nvme nvme",
        r"nvme nvme[0-9]+: (?:I/O (?:tag )?[0-9]+ .*timeout|controller is down)",
        "nvme timeout",
        "disk",
        "degraded",
        From.NONE,
        short=True,
        literals=("nvme nvme",),
    ),
    # drivers/ata/libata-eh.c
    _rule(
        "ata",
        "ata",
        r"ata[0-9.]+: (?:failed command|exception Emask)",
        "ata error",
        "disk",
        "degraded",
        From.NONE,
        short=True,
        literals=(": failed command: ", ": exception Emask"),
    ),
)

#: A line that can precede the line of the title. A report is made of it only if a title follows, or if the stack shows
#: what happened.
CUT_HERE: Final = "------------[ cut here ]------------"
PREFACES: Final = (
    # kernel/panic.c, arch/arm/kernel/traps.c; the rule of KASAN, KFENCE, KCSAN, UBSAN and lockdep; mm/oom_kill.c;
    # arch/x86/kernel/dumpstack.c, mm/kasan (inline instrumentation, to 5.9).
    *(CUT_HERE, "8<--- cut here ---", "====================", "========="),
)
#: The line that begins an OOM report, long before the line with the killed process.
OOM: Final = " invoked oom-killer: "

#: Lines of a boot, and of netconsole (docs/wire section 8).
BOOT: Final = ("Linux version ", "Command line: ", "Kernel command line: ")
LOGGING: Final = ("netconsole: network logging",)


def _literals() -> tuple[bytes, ...]:
    words = [word for rule in RULES for word in (rule.literals or rule.heads)]
    words += [word for word in PREFACES if word != "========="]
    words += [OOM, VAGUE, *(row.literal.decode() for row in ENDS), *BOOT, *LOGGING]
    # A word that contains another one is found by it.
    unique = sorted(set(words))
    return tuple(word.encode() for word in unique if not any(other != word and other in word for other in unique))


#: Each line that can begin a report, or that a recogniser must see while no report is open, has one of these.
LITERALS: Final = _literals()

_KEY = 3
_BY_KEY: dict[str, list[Rule]] = {}
_ANYWHERE: list[tuple[str, Rule]] = []
_SHORT_KEYS: dict[str, list[Rule]] = {}
for _one in RULES:
    if _one.anywhere:
        _ANYWHERE += [(word, _one) for word in _one.literals]
        continue
    for _head in _one.heads:
        _rules = _BY_KEY.setdefault(_head[:_KEY], []) if len(_head) >= _KEY else _SHORT_KEYS.setdefault(_head[0], [])
        if _one not in _rules:
            _rules.append(_one)


def find(text: str) -> tuple[Rule, re.Match[str]] | None:
    """Return the first rule whose line this is, with its match; None for any other line.

    :param text: a line without its prefixes, and without "[ " of lockdep's old form.
    """
    if text.endswith("[inline]"):
        # Symbolised text repeats the line for each function that was compiled into the next one.
        return None
    rules = _BY_KEY.get(text[:_KEY])
    if rules is None and text:
        rules = _SHORT_KEYS.get(text[0])
    if rules is not None:
        for rule in rules:
            if text.startswith(rule.heads) and (match := rule.pattern.match(text)) is not None:
                return rule, match
    for word, rule in _ANYWHERE:
        if word in text and (match := rule.pattern.search(text)) is not None:
            return rule, match
    return None


BY_NAME: Final = {rule.name: rule for rule in RULES}
