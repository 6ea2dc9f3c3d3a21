"""Names a report: the stacks of its lines, the guilty function, the title and its alternatives. Pure.

The lines are those of one report; the recogniser (:mod:`netconsd.crash.recogniser`) has collected them. docs/crashes
("The title") describes the titles.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from netconsd.crash import functions, rules
from netconsd.crash.lines import NAME, Line, Pointer, frames_of, plain_name, pointer_of
from netconsd.crash.report import FRAMES_LIMIT, Frame
from netconsd.crash.rules import From, Rule

#: Characters of a title.
TITLE_LIMIT: Final = 120
# Stacks of a report that are looked at: a stall of a large machine has one for each processor, and only the first ones
# can name a function.
_STACKS_LIMIT: Final = 64


class Hit(NamedTuple):
    """A line of the report that is a first line by a rule."""

    #: Its index among the lines.
    at: int
    rule: Rule
    match: re.Match[str]


@dataclass(slots=True)
class Stack:
    """A stack of a report, with the pointers before it."""

    #: True for another task's or processor's stack, or that of an earlier time.
    context: bool = False
    #: True if the line was there that begins a stack.
    headed: bool = False
    #: The frames and the kernel's instruction pointers between them, innermost first.
    frames: list[Frame] = field(default_factory=list)
    #: The indices of frames before which a part begins.
    breaks: list[int] = field(default_factory=list)
    #: The instruction pointer before the frames.
    pointer: Frame | None = None
    #: True if the instruction pointer points to no function.
    nowhere: bool = False
    link: Frame | None = None
    cpu_line: re.Match[str] | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """The title of a report, and everything else that its lines say."""

    title: str
    kind: str
    severity: str
    free_form: str
    function: str | None
    module: str | None
    alternatives: tuple[str, ...]
    release: str | None
    machine: str | None
    cpu: int | None
    pid: int | None
    comm: str | None
    tainted: str | None
    frames: tuple[Frame, ...]
    #: Why it is not whole, as far as the lines show it.
    incomplete: str | None


# lib/dump_stack.c dump_stack_print_info: "UID: " since 6.12; "Pid: 1, comm: sh Not tainted 3.2.0" to 3.10.
_CPU_LINE: Final = re.compile(
    r"CPU: (?P<cpu>[0-9]{1,6}) (?:UID: [0-9]+ )?PID: (?P<pid>[0-9]{1,10}) Comm: (?P<comm>.{0,16}?)"
    r"(?P<kdump> Kdump: loaded)? (?:Not tainted|Tainted: (?P<taint>[A-Z][A-Z ]*?)) +(?P<release>[0-9a-z][^\s#]*)"
)
_PID_LINE: Final = re.compile(
    r"Pid: (?P<pid>[0-9]{1,10}), comm: (?P<comm>.{0,16}?) (?:Not tainted|Tainted: (?P<taint>[A-Z][A-Z ]*?)) +"
    r"(?P<release>[0-9]\S*)"
)
_MACHINE: Final = "Hardware name: "
# The begin of a stack: arch/*/kernel/{dumpstack,traps,stacktrace}.c, kernel/stacktrace.c, kernel/locking/lockdep.c,
# mm/kmemleak.c; riscv's last register line (arch/riscv/kernel/process.c); KFENCE's second line.
_BEGIN: Final = re.compile(
    r"(?:Call [Tt]race:|BUG: KMSAN: |Stack: \(0x|[Bb]acktrace:|[Bb]acktrace \(crc|stack backtrace:"
    r"|status: [0-9a-f]{8,16} badaddr: |Call Trace$"
    r"|(?:Use-after-free|Out-of-bounds|Invalid|Corrupted|invalid) .*(?:\(in kfence|kfence-#|at 0x))"
)
_BEGIN_STARTS: Final = (
    "BUG: KMSAN: ",
    "Stack: (0x",
    "Call ",
    "Backtrace",
    "backtrace",
    "stack backtrace",
    "status: ",
    "Use-",
    "Out-",
    "Invalid ",
    "Corr",
)
# Stacks that are not of the task that the report is about: mm/kasan/report.c, mm/kmsan, mm/kfence, lockdep's chains,
# page_owner, RCU's own thread, locks held.
_CONTEXT: Final = re.compile(
    r"(?:[Aa]llocated by task|[Ff]reed by task|Allocated:|Freed:|Last potentially related|Second to last potentially"
    r"|Last call_rcu|Uninit was |Local variable |Memory was marked|Bytes [0-9]"
    r"|-> #[0-9]|page last |page_owner |Showing all locks|RCU grace-period kthread stack"
    r"|INFO: task .* is blocked on|INFO: Freed in|INFO: Allocated in|Freed in|Allocated in"
    r"|which lock already depends|the existing dependency chain|the (?:first|second) lock|to a (?:HARD|SOFT)IRQ"
    r"|which (?:became|is) |the dependencies between|.* state was registered at:|chain exists of|The buggy address"
    r"|sysrq: |Object 0x)"
)
_CONTEXT_STARTS: Final = frozenset("AaFfLSUM-phsIwtTBcRO{i")
_OTHER_CPU: Final = re.compile(r"NMI backtrace for cpu (?P<cpu>[0-9]+)")
_STALLED: Final = re.compile(r"\t?(?P<cpu>[0-9]{1,5})-[^\s:]{1,8}: ?\(")
_MARKERS: Final = (
    "<IRQ>",
    "</IRQ>",
    "<NMI>",
    "</NMI>",
    "<TASK>",
    "<SOFTIRQ>",
    "<#DF>",
    "<ENTRY_TRAMPOLINE>",
    "<EOI>",
    "<<EOE>>",
    "<#DB>",
    "<EOE>",
)
END_TRACE: Final = "---[ end trace"


def _stacks(lines: Sequence[Line]) -> tuple[list[Stack], str | None, Frame | None]:
    """The stacks, the machine, and the frame of s390's "Last Breaking-Event-Address:"."""
    stack = Stack()
    stacks = [stack]
    machine = None
    breaking: Frame | None = None
    after_breaking = False
    skip = False
    stalled: set[int] = set()
    context = False
    for line in lines:
        text = line.text
        found = frames_of(text)
        if skip and found:
            skip = False
            continue
        # One address in the middle of a report is no stack: kernel/sched/core.c, kernel/locking/lockdep.c.
        skip = text.endswith(" at:")
        if found:
            if after_breaking:
                breaking, after_breaking = found[0], False
            elif len(stack.frames) < FRAMES_LIMIT:
                if len(found) == 2 and stack.frames and stack.frames[-1].name == found[0].name:
                    found = found[1:]
                stack.frames += found
            continue
        first = text[0]
        pointer = pointer_of(text) if first in "RIEpePKNlrLT" else None
        if pointer is not None:
            if text.startswith(("RIP  [", "EIP: [")) and stack.frames:
                # Up to 4.9 x86 prints the pointer again below the stack.
                if stack.pointer is None and not stack.nowhere:
                    stack.pointer = pointer.frame
                continue
            _add_pointer(stack, pointer)
            continue
        if first == "<" and text.startswith(_MARKERS):
            if stack.frames:
                stack.breaks.append(len(stack.frames))
            continue
        after_breaking = text.startswith("Last Breaking-Event-Address")
        if text.startswith(END_TRACE):
            break
        if first in "CP" and (match := _CPU_LINE.match(text) or _PID_LINE.match(text)) is not None:
            if stack.frames:
                stack = _next(stacks, context=False)
            if stack.cpu_line is None:
                stack.cpu_line = match
            continue
        if text.startswith(_MACHINE):
            machine = machine or text[len(_MACHINE) :].strip() or None
            continue
        if text.startswith(_BEGIN_STARTS) and _BEGIN.match(text) is not None:
            if stack.frames:
                stack = _next(stacks, context=context and not text.startswith("stack backtrace"))
            elif text.startswith("stack backtrace"):
                stack.context = context = False
            stack.headed = True
            continue
        if first == "N" and (match := _OTHER_CPU.match(text)) is not None:
            stack = _next(stacks, context=bool(stalled) and int(match["cpu"]) not in stalled)
            continue
        if first.isdigit() and (match := _STALLED.match(text)) is not None:
            stalled.add(int(match["cpu"]))
            continue
        if first in _CONTEXT_STARTS and _CONTEXT.match(text) is not None:
            stack = _next(stacks, context=True)
            context = text.startswith(("Showing all locks", "INFO: task "))
            continue
        if text.startswith(("task:", "Task dump for CPU", "Stack dump where")) and stack.frames:
            stack = _next(stacks, context=context)
        if len(stacks) > _STACKS_LIMIT:
            break
    for stack in stacks:
        # RCU's own thread is context, also if the line was lost that says so (kernel/rcu/tree_stall.h).
        stack.context = stack.context or any(frame.name == "rcu_gp_kthread" for frame in stack.frames)
    return stacks, machine, breaking


def _next(stacks: list[Stack], context: bool) -> Stack:
    last = stacks[-1]
    if not last.frames and last.pointer is None and not last.nowhere:
        last.context = context
        return last
    stack = Stack(context)
    stacks.append(stack)
    return stack


def _add_pointer(stack: Stack, pointer: Pointer) -> None:
    if pointer.user:
        return
    if pointer.link:
        if stack.link is None and not stack.frames:
            stack.link = pointer.frame
    elif pointer.frame is None:
        if not stack.frames and stack.pointer is None:
            stack.nowhere = True
    elif stack.frames:
        if len(stack.frames) < FRAMES_LIMIT:
            stack.breaks.append(len(stack.frames))
            stack.frames.append(pointer.frame)
    elif stack.pointer is None and not stack.nowhere:
        stack.pointer = pointer.frame


def _pointer_after_end(lines: Sequence[Line]) -> Frame | None:
    """The pointer of the first oops since boot, which x86 prints again after its end; None in a later oops."""
    ended = False
    for line in lines:
        text = line.text
        if text.startswith(END_TRACE):
            ended = True
        elif "[#" in text and "[#1]" not in text:
            return None
        elif ended and text.startswith("RIP: ") and (pointer := pointer_of(text)) is not None:
            return pointer.frame
    return None


def _main(stacks: Sequence[Stack]) -> Stack:
    """The stack of the task that the report is about."""
    for wanted in (False, True):
        for stack in stacks:
            if stack.context is wanted and stack.frames:
                return stack
    return next((stack for stack in stacks if stack.pointer is not None or stack.nowhere), stacks[0])


_AT: Final = re.compile(rf"\bat:? *(?:\[<[0-9a-f]+>\] *)?(?P<name>{NAME})(?:\+0x[0-9a-f]+/0x| [\w./-]+\.[ch]:)")


def _lock(lines: Sequence[Line]) -> Frame | None:
    """The place that takes the lock, by the line that lockdep prints of it."""
    expected = False
    for line in lines:
        text = line.text
        if text.endswith("[inline]"):
            continue
        if expected and (found := frames_of(text)):
            if not functions.takes_lock(found[0].name):
                return found[0]
            continue
        expected = text.endswith(" at:") and "registered" not in text
        if "at: " in text and (match := _AT.search(text)) is not None:
            if not functions.takes_lock(match["name"]):
                return Frame(match["name"])
        elif text.startswith(("but task is already holding", "the existing dependency", "{", "stack backtrace")):
            break
    return None


_WARN_MESSAGES: Final = (
    # lib/refcount.c
    (re.compile(r"refcount_t: "), "WARNING: refcount bug", "refcount", "corrupt"),
    # lib/debugobjects.c
    (re.compile(r"ODEBUG: "), "WARNING: ODEBUG bug", "warning", "corrupt"),
    # lib/kobject.c
    (re.compile(r"kobject[: ]"), "WARNING: kobject bug", "warning", "notice"),
    # lib/list_debug.c where it only warns
    (re.compile(r"list_(?:add|del) (?:corruption|double add)"), "BUG: corrupted list", "list", "corrupt"),
    # mm/usercopy.c
    (re.compile(r"Bad or missing usercopy whitelist"), "WARNING: bad usercopy", "usercopy", "notice"),
    # lib/usercopy.c, include/linux/thread_info.h
    (re.compile(r"Buffer overflow detected \("), "WARNING", "usercopy", "corrupt"),
    # net/sched/sch_generic.c
    (
        rules.BY_NAME["netdev-watchdog"].pattern,
        "NETDEV WATCHDOG: {driver} transmit queue timed out",
        "network",
        "degraded",
    ),
    # fs/proc/generic.c
    (re.compile(r"proc_dir_entry '.*' already registered"), "WARNING: proc registration bug", "warning", "notice"),
)
# Where in the kernel a WARN is, if that is more than its function: kernel/locking/lockdep.c, mm/{page_alloc,util}.c ...
_WARN_FILES: Final = (
    (re.compile(r".*\bkernel/locking/lockdep\.c"), "WARNING: locking bug", "locking"),
    (re.compile(r".*\bmm/(?:page_alloc|slab_common|util|slub)\.c"), "WARNING: kmalloc bug", "warning"),
    (re.compile(r".*\bmm/vmalloc\.c"), "WARNING: zero-size vmalloc", "warning"),
    (re.compile(r".*\blib/refcount\.c"), "WARNING: refcount bug", "refcount"),
    (re.compile(r".*\blib/debugobjects\.c"), "WARNING: ODEBUG bug", "warning"),
    (re.compile(r".*\blib/kobject\.c"), "WARNING: kobject bug", "warning"),
    (re.compile(r".*\blib/list_debug\.c"), "BUG: corrupted list", "list"),
)
_KMALLOC: Final = re.compile(
    r"_*alloc_(?:pages|frozen_pages)\w*|kmalloc_\w+|kv?malloc\w*|_*kv?malloc\w*|_*kmalloc\w*|_*kvmalloc_node\w*"
    r"|warn_alloc\w*"
)
# Lines from the title on in which a WARN's message is looked for.
_MESSAGE_LINES: Final = 4

_CR2: Final = re.compile(
    r"(?:.*\bCR2: |Failing address: |Kernel attempted to \w+ user page \(|Faulting data address: 0x"
    r"|\[)(?P<address>[0-9a-f]{1,16})\b"
)
# The first page of memory, which a NULL pointer with an offset points to.
_PAGE: Final = 4096


def _is_null(lines: Sequence[Line]) -> bool:
    """True if the bad address is in the first page."""
    for line in lines:
        text = line.text
        if "NULL pointer" in text:
            return True
        if text[0] in "CFK[" and (match := _CR2.match(text)) is not None and not text.startswith("[<"):
            return int(match["address"], 16) < _PAGE
        if text.startswith(END_TRACE):
            break
    return False


def analyse(lines: Sequence[Line], hits: Sequence[Hit], ended: bool) -> Finding | None:
    """Return what a report says; None if it is none: a first line without the stack that would make it one.

    :param lines: the lines of the report; not empty.
    :param hits: those that are first lines.
    :param ended: true if the line was there that ends such a report.
    """
    stacks, machine, breaking = _stacks(lines)
    stack = _main(stacks)
    if stack.pointer is None and not stack.nowhere and stack.headed:
        stack.pointer = _pointer_after_end(lines)
    hit = next((one for one in hits if not one.rule.weak), hits[0] if hits else None)
    if hit is None:
        return _without_head(lines, stacks, stack, machine, breaking, ended)
    rule = hit.rule
    if rule.needs_stack and not stack.frames and stack.pointer is None:
        return None
    groups = {name: value for name, value in hit.match.groupdict().items() if value is not None}
    title, kind, severity, free_form = rule.title, rule.kind, rule.severity, rule.free_form
    source = rule.source
    named = groups.get("f") or groups.get("f2") or groups.get("f3")
    name = rule.name
    text = lines[hit.at].text
    if name == "kasan":
        what = "invalid-free" if "free" in groups else groups["what"].strip()
        title = f"KASAN: {what}"
        if not what.endswith("-free") or what.endswith("use-after-free"):
            title += f" {_access(lines, stack)}"
        if what in ("null-ptr-deref", "wild-memory-access", "user-memory-access"):
            free_form = "bad-access"
    elif name == "kasan-access":
        title = f"KASAN: {_kasan_kind(lines, stacks)} {groups['access']}"
    elif name == "kfence-2":
        what = groups.get("what", "").lower() or ("invalid free" if "free" in groups else "memory corruption")
        title = f"KFENCE: {what}"
    elif name == "ubsan-2":
        title = f"UBSAN: {'shift' if 'shift' in groups else 'array-index'}-out-of-bounds"
    elif name == "ubsan":
        title = f"UBSAN: {'undefined-behaviour' if 'old' in groups else groups['what']}"
    elif name in ("pointer", "attempted", "oops", "internal-error"):
        title, kind = _of_oops(rule, text, lines, title, kind)
    elif name in ("permission", "powerpc-access") and "NULL" in text:
        title = rules.NULL
    elif name == "invalid-opcode" and any(line.text.startswith(rules.CUT_HERE) for line in lines[: hit.at]):
        title, kind = "kernel BUG", "bug"
    elif name == "kernel-bug" and any(
        "emory exposure attempt" in line.text or "emory overwrite attempt" in line.text for line in lines
    ):
        title, kind = "BUG: bad usercopy", "usercopy"
    elif name == "kernel-bug":
        checker = _by_checker(stack)
        if checker is not None and checker[0].startswith("BUG"):
            title, kind, severity = checker
    elif name == "warning":
        title, kind, severity = _of_warning(lines, hit, groups, stack)
        if kind == "network":
            source = From.NONE
    elif name == "hung-task" and "die" in groups:
        title = "INFO: task can't die"
    elif name == "pcie":
        said = (groups.get("severity") or groups.get("severity2") or "").lower()
        uncorrected = "fatal" if "fatal" in said and "non" not in said else "non-fatal"
        title = f"hardware error: PCIe {'corrected' if said.startswith('corrected') else uncorrected}"
        severity = "notice" if said.startswith("corrected") else "degraded"
    elif name == "edac":
        title = f"hardware error: memory {'corrected' if groups['ce'] == 'CE' else 'uncorrected'}"
        severity = "notice" if groups["ce"] == "CE" else "corrupt"
    elif name == "cper":
        title = f"hardware error: {_cper(lines)}"
    elif name == "netdev-watchdog":
        title = title.replace("{driver}", groups.get("driver") or groups.get("driver2") or "DRIVER")
    elif name == "panic" and groups["what"].startswith("panic_on_warn") and _is_cut(lines):
        title, kind, severity, source = *(_by_checker(stack) or ("WARNING", "warning", "notice")), From.POINTER
    elif name == "panic":
        title, source, named = _of_panic(groups["what"], source)
        if "stack" in title:
            kind = "stack"
    elif name == "workqueue-leak":
        last = next((match for match in map(_LAST_FUNCTION.match, (line.text for line in lines)) if match), None)
        if last is not None:
            title, source, named = title.format_map(groups), From.LINE, last["f"]
        else:
            title = title.format_map(groups)
    elif name == "lock-use":
        groups["what"] = groups["what"].lower() if groups["what"].startswith("N") else groups["what"]
        title = f"{groups['level']}: {groups['what']}"
        if "still has locks held" in title:
            title = f"{groups['level']}: still has locks held"
    elif name == "page-tables":
        title = f"BUG: {groups['what']}{groups.get('mm', '')}"
    elif name == "slab":
        title = f"BUG: {groups['what']}"
    elif "{" in title:
        title = title.format_map(groups)
    frame, raw = _function(source, lines, stack, stacks, named, breaking, kind)
    return _finding(
        title, kind, severity, free_form, source, frame, raw, groups, stack, stacks, machine,
        _missing(rule, stack, stacks, ended),
    )  # fmt: skip


def _missing(rule: Rule, stack: Stack, stacks: Sequence[Stack], ended: bool) -> str | None:
    if rule.short or rule.source in (From.NONE, From.LINE):
        return None
    if rule.source is From.FIELD:
        whole = ended or stack.frames or any(one.cpu_line is not None for one in stacks)
        return None if whole else "only the first line arrived"
    if not stack.frames:
        return "no stack arrived" if stack.pointer is None else "the stack did not arrive"
    if not stack.headed and rule.source is not From.PAIR:
        return "the begin of the stack is missing"
    return None


def _access(lines: Sequence[Line], stack: Stack) -> str:
    """Read or Write: from KASAN's second line, else from the function that found it."""
    for line in lines:
        if line.text.startswith(("Read of size", "Read at addr")):
            return "Read"
        if line.text.startswith(("Write of size", "Write at addr")):
            return "Write"
    for frame in stack.frames:
        if "store" in frame.name or "check_write" in frame.name or frame.name in ("memset", "__asan_memset"):
            return "Write"
    return "Read"


_ACCESS: Final = re.compile(r"(?:Read|Write) of size [0-9]+ at addr (?P<address>[0-9a-f]{1,16}) ")
# Above are the kernel's addresses, with four levels of page tables (Documentation/arch/x86/x86_64/mm.rst).
_USER_END: Final = 1 << 47
# KASAN says "slab-" since 6.4 (mm/kasan/report_generic.c).
_SLAB_SINCE: Final = (6, 4)


def _kasan_kind(lines: Sequence[Line], stacks: Sequence[Stack]) -> str:
    """The kind that KASAN's first line had said, from the lines after it."""
    texts = [line.text for line in lines]
    access = next((match for match in map(_ACCESS.match, texts) if match is not None), None)
    if access is not None:
        address = int(access["address"], 16)
        if address < _PAGE:
            return "null-ptr-deref"
        if address < _USER_END:
            return "user-memory-access"
    release = next((one.cpu_line["release"] for one in stacks if one.cpu_line is not None), "")
    version = tuple([int(part) for part in re.findall(r"[0-9]{1,4}", release)[:2]])
    slab = "slab-" if version >= _SLAB_SINCE else ""
    if any(("freed " in text and "located" in text) or text.startswith("Freed by task") for text in texts):
        return f"{slab}use-after-free"
    if any("belongs to the variable" in text for text in texts):
        return "global-out-of-bounds"
    if any("belongs to stack of task" in text or "is located in stack of" in text for text in texts):
        return "stack-out-of-bounds"
    if any("vmalloc virtual mapping" in text or "virtual mapping at" in text for text in texts):
        return "vmalloc-out-of-bounds"
    if any(text.startswith("Allocated by task") or "belongs to the object" in text for text in texts):
        return "slab-out-of-bounds"
    return "use-after-free"


def _of_oops(rule: Rule, text: str, lines: Sequence[Line], title: str, kind: str) -> tuple[str, str]:
    """The title where the first line does not say it: the address does."""
    if rule.name == "internal-error":
        if "Oops - BUG" in text:
            return "kernel BUG", "bug"
        if "Oops: " not in text:
            return title, kind
    elif "sig: 5" in text:
        return "kernel BUG", "bug"
    elif rule.name == "oops" and not re.match(r"Oops(?:: (?:Oops: )?[0-9a-f]{4} |: Kernel access| \[#|\[#)", text):
        return "Internal error", "trap"
    return (rules.NULL if _is_null(lines) else rules.PAGING), "memory-fault"


def _of_warning(lines: Sequence[Line], hit: Hit, groups: dict[str, str], stack: Stack) -> tuple[str, str, str]:
    first = next(
        (
            i
            for i in range(hit.at - 1, max(-1, hit.at - _MESSAGE_LINES - 1), -1)
            if lines[i].text.startswith(rules.CUT_HERE)
        ),
        hit.at,
    )
    near = [line.text for line in lines[first : hit.at + _MESSAGE_LINES]]
    for pattern, title, kind, severity in _WARN_MESSAGES:
        for text in near:
            if (match := pattern.match(text) or (pattern.search(text) if "NETDEV" in text else None)) is not None:
                if "{driver}" in title:
                    found = match.groupdict()
                    title = title.replace("{driver}", found.get("driver") or found.get("driver2") or "DRIVER")
                return title, kind, severity
    file = groups.get("file") or groups.get("file2") or groups.get("file3") or ""
    for pattern, title, kind in _WARN_FILES:
        if pattern.fullmatch(file) is not None:
            if kind == "locking":
                named = groups.get("f") or groups.get("f2") or (stack.pointer.name if stack.pointer else "")
                if named and not functions.is_lockdep(named):
                    break
            if kind == "warning" and "kmalloc" in title:
                named = groups.get("f") or groups.get("f2") or (stack.pointer.name if stack.pointer else "")
                if _KMALLOC.fullmatch(plain_name(named)) is None:
                    break
            if "vmalloc" in title and "vmalloc" not in (groups.get("f") or groups.get("f2") or ""):
                break
            return title, kind, "corrupt" if kind in ("list", "refcount") else "notice"
    return _by_checker(stack) or ("WARNING", "warning", "notice")


# Functions that check for others: their BUG() or WARN() is named after the check, also if its message was lost.
_CHECKERS: Final = (
    (re.compile(r"refcount_\w+"), "WARNING: refcount bug", "refcount", "corrupt"),
    (re.compile(r"debug_print_object|debug_object_\w+"), "WARNING: ODEBUG bug", "warning", "corrupt"),
    (re.compile(r"usercopy_abort"), "BUG: bad usercopy", "usercopy", "degraded"),
    (re.compile(r"usercopy_warn"), "WARNING: bad usercopy", "usercopy", "notice"),
    (re.compile(r"_*list_(?:add|del_entry)_valid\w*"), "BUG: corrupted list", "list", "corrupt"),
    (_KMALLOC, "WARNING: kmalloc bug", "warning", "notice"),
    (re.compile(r"_*ubsan_handle_shift\w*"), "UBSAN: shift-out-of-bounds", "ubsan", "notice"),
    (re.compile(r"_*ubsan_handle_out_of_bounds\w*"), "UBSAN: array-index-out-of-bounds", "ubsan", "notice"),
)


def _by_checker(stack: Stack) -> tuple[str, str, str] | None:
    """Title, kind and severity by the function that found the fault."""
    frames = [stack.pointer] if stack.pointer is not None else stack.frames[:_CHECKED_FRAMES]
    for frame in frames:
        for pattern, title, kind, severity in _CHECKERS:
            if pattern.fullmatch(plain_name(frame.name)) is not None:
                return title, kind, severity
    return None


# The innermost frames in which a checker is looked for: reporting, and the trap of its WARN, come before it.
_CHECKED_FRAMES: Final = 10


def _is_cut(lines: Sequence[Line]) -> bool:
    return any(line.text.startswith(rules.CUT_HERE) for line in lines)


def _cper(lines: Sequence[Line]) -> str:
    for line in lines:
        text = line.text.lower()
        if "section_type: memory" in text or "memory error" in text:
            corrected = any("severity: corrected" in one.text.lower() for one in lines)
            return f"memory {'corrected' if corrected else 'uncorrected'}"
        if "section_type: pcie" in text:
            severities = " ".join([one.text.lower() for one in lines if "severity:" in one.text.lower()])
            if "severity: corrected" in severities:
                return "PCIe corrected"
            return "PCIe fatal" if ": fatal" in severities else "PCIe non-fatal"
    return "machine check"


_LAST_FUNCTION: Final = re.compile(rf"last function: (?P<f>{NAME})")
# A kernel without symbols prints an address in place of the function.
_STACK_PROTECTOR: Final = re.compile(
    rf"stack-protector: [Kk]ernel stack is corrupted in: (?P<f>(?![0-9a-f]{{8,16}}$){NAME})?"
)


def _of_panic(what: str, source: From) -> tuple[str, From, str | None]:
    """The title, the place of the function, and its name if the line says it."""
    match = _STACK_PROTECTOR.match(what)
    if match is not None:
        return "kernel panic: stack is corrupted", From.STACK if match["f"] is None else From.LINE, match["f"]
    if what.startswith("corrupted stack end"):
        # How deep the stack is, is chance: as for a stall, the operation counts.
        return "kernel panic: corrupted stack end", From.OPERATION, None
    if what.startswith("Attempted to kill init!"):
        what = "Attempted to kill init!"
    if what.startswith(("kernel stack overflow", "Kernel stack overflow")):
        return "kernel stack overflow", From.POINTER, None
    return (f"kernel panic: {what}" if what.strip() else "kernel panic"), source, None


def _function(
    source: From,
    lines: Sequence[Line],
    stack: Stack,
    stacks: Sequence[Stack],
    named: str | None,
    breaking: Frame | None,
    kind: str,
) -> tuple[Frame | None, str | None]:
    """The guilty function's frame, and another name of it: before wrappers and machinery were left out."""
    if source is From.NONE:
        return None, None
    head = Frame(named) if named is not None else None
    if source is From.LINE:
        return head, None
    if source is From.PAIR:
        return head, None
    if source is From.LOCK:
        frame = _lock(lines)
        if frame is not None:
            return _known(frame, stacks), None
    before: list[Frame] = [] if head is None else [head]
    if stack.pointer is not None:
        before.append(stack.pointer)
    elif stack.nowhere:
        link = breaking or stack.link
        if link is not None and not functions.is_machinery(link.name) and link.offset != 0:
            return link, None
    frames = [*before, *stack.frames]
    if not frames:
        frames = [one for other in stacks if not other.context for one in other.frames]
    if source is From.OPERATION:
        offset = len(before)
        panics = [index for index, one in enumerate(frames) if one.name == "panic"]
        if panics and kind in ("panic", "stack"):
            frames, before, offset = frames[panics[-1] + 1 :], [], -panics[-1] - 1
        return functions.operation(frames, [index + offset for index in stack.breaks]), None
    if source is From.WAITING:
        return functions.waiting(frames), None
    if source is From.ATOMIC or kind == "atomic":
        return functions.atomic(frames), None
    if kind == "memory-leak":
        return functions.leaking(frames), None
    if kind == "page-state":
        return functions.paging(frames), None
    if kind == "locking" and source is From.POINTER:
        return functions.locking(frames) or functions.guilty(frames), None
    if source is From.FIELD:
        return functions.guilty(frames), None
    frame = functions.guilty(frames) or (before[0] if before else None)
    if frame is head and frame is not None:
        frame = _known(frame, stacks)
    return frame, named


def _known(frame: Frame, stacks: Sequence[Stack]) -> Frame:
    """The same function where a stack has it, with its module."""
    for stack in stacks:
        if stack.pointer is not None and stack.pointer.name == frame.name:
            return stack.pointer
        for one in stack.frames:
            if one.name == frame.name:
                return one
    return frame


def _without_head(
    lines: Sequence[Line],
    stacks: Sequence[Stack],
    stack: Stack,
    machine: str | None,
    breaking: Frame | None,
    ended: bool,
) -> Finding | None:
    """A report whose first line was lost: only "cut here" is sure to be followed by a BUG or WARN."""
    if not stack.frames or not _is_cut(lines):
        return None
    groups: dict[str, str] = {}
    title, kind, severity = _by_checker(stack) or ("WARNING", "warning", "notice")
    for pattern, other, other_kind, other_severity in _WARN_MESSAGES:
        if any(pattern.match(line.text) for line in lines[:_MESSAGE_LINES]) and "{" not in other:
            title, kind, severity = other, other_kind, other_severity
            break
    frame, raw = _function(From.POINTER, lines, stack, stacks, None, breaking, kind)
    return _finding(
        title, kind, severity, "", From.POINTER, frame, raw, groups, stack, stacks, machine, "the first line is missing"
    )  # fmt: skip


def _is_of_urb(function: str, stack: Stack, raw: str | None) -> bool:
    """True for a refused transfer of a driver: the lists name the driver's function and the refusing one."""
    pointer = stack.pointer.name if stack.pointer is not None else raw
    return function != _URB and pointer is not None and plain_name(pointer) == _URB


def _finding(
    title: str,
    kind: str,
    severity: str,
    free_form: str,
    source: From,
    frame: Frame | None,
    raw: str | None,
    groups: dict[str, str],
    stack: Stack,
    stacks: Sequence[Stack],
    machine: str | None,
    incomplete: str | None,
) -> Finding:
    function = functions.guilty_name(frame.name) if frame is not None else None
    words = plain(title)
    alternatives: list[str] = []
    title = words
    if source is From.PAIR and function is not None:
        pair = sorted([functions.guilty_name(name) for name in (function, groups.get("g")) if name])
        title = f"{words} in {' / '.join(pair)}"
    elif function is not None and source is not From.FIELD:
        title = f"{words} in {function}"
        others = (frame.name if frame is not None else None, plain_name(raw) if raw else None)
        alternatives += [f"{words} in {name}" for name in others if name and name != function]
        if words == "WARNING" and _is_of_urb(function, stack, raw):
            alternatives.append(title)
            title = f"{title}/{_URB}"
    if free_form and function is not None:
        alternatives.append(f"{free_form} in {function}")
    line = stack.cpu_line or next((one.cpu_line for one in stacks if one.cpu_line is not None), None)
    said = line.groupdict() if line is not None else {}
    cpu, pid, taint = said.get("cpu"), said.get("pid"), said.get("taint")
    comm = said.get("comm")
    if "pid" in groups and "comm" in groups:
        pid, comm = groups["pid"], groups["comm"]
    tainted = None
    if line is not None:
        tainted = (taint or "").replace(" ", "")
    frames = stack.frames if stack.pointer is None else [stack.pointer, *stack.frames]
    return Finding(
        title[:TITLE_LIMIT].rstrip(),
        kind,
        severity,
        free_form,
        function,
        frame.module if frame is not None else None,
        tuple(dict.fromkeys([one[:TITLE_LIMIT].rstrip() for one in alternatives if one != title])),
        said.get("release"),
        machine,
        None if cpu is None else int(cpu),
        None if pid is None else int(pid),
        comm,
        tainted,
        tuple(frames[:FRAMES_LIMIT]),
        incomplete,
    )


_URB: Final = "usb_submit_urb"

_REPLACED: Final = (
    (re.compile(r"\b(?:[0-9a-fA-F]{2}[:-]){5}[0-9a-fA-F]{2}\b"), "MAC"),
    (re.compile(r"\b(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?::[0-9]+)?\b"), "IP"),
    (re.compile(r"\b(?:[0-9a-f]{1,4}:){3,7}[0-9a-f]{1,4}\b"), "IP"),
    (re.compile(r"\b0x[0-9a-fA-F]+\b|\b(?=[0-9a-fA-F]*[0-9])[0-9a-fA-F]{6,16}\b|\(____ptrval____\)"), "ADDR"),
    (re.compile(r"\b[\w./-]+\.[chS]:[0-9]+\b"), "FILE:LINE"),
    (re.compile(r"\b(line:? |:)[0-9]+\b"), r"\1LINE"),
    (re.compile(r"\b(CPU|cpu)( ?#?)[0-9]+\b"), r"\1\2CPU"),
    (re.compile(r"(?<![\w.:-])[0-9]{2,}(?![\w.])"), "NUM"),
)
# "out of memory: killed chrome", "page allocation failure: order 9": what follows is the name or number itself.
_LITERAL: Final = ("out of memory", "page allocation failure", "NETDEV WATCHDOG")


def plain(words: str) -> str:
    """Return the words of a title: printable ASCII, one space between two, numbers and addresses replaced."""
    if not words.isascii() or not words.isprintable():
        words = "".join([letter if " " <= letter <= "~" else "?" if letter > "~" else " " for letter in words])
    words = " ".join(words.split())
    if words.startswith(_LITERAL):
        return words
    for pattern, replacement in _REPLACED:
        words = pattern.sub(replacement, words)
    return words


def fingerprint(title: str) -> str:
    """Return ``VERSION:HASH``, the same for equal titles and the same version of the rules."""
    return f"{rules.VERSION}:{hashlib.sha256(title.encode()).hexdigest()[:16]}"
