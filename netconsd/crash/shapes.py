"""The shapes of lines: which lines belong to a crash although they are neither first lines nor frames. Pure.

Without callers in the messages, only the shape of a line tells a crash from other messages in between. The function
and the title do not depend on these lines; the report's messages do.
"""

from __future__ import annotations

import re
from typing import Final

#: Kinds whose reports end with a line of "=" (mm/kasan, mm/kfence, mm/kmsan, kernel/kcsan, lib/ubsan.c), and lists of
#: locks, which end with one (kernel/locking/lockdep.c).
RULED: Final = frozenset(("kasan", "kfence", "kcsan", "kmsan", "ubsan", "hung-task", "rcu-stall"))
#: Kinds after which the kernel is tainted D: it reports no hung task any more, and a panic has no stack of its own.
OOPSES: Final = frozenset(
    ("memory-fault", "bug", "divide", "trap", "stack", "list", "usercopy", "kasan", "hard-lockup", "atomic")
)
#: Kinds that are found by looking at every access or lock: two in a row are two bugs.
CHECKERS: Final = frozenset(
    ("kasan", "kmsan", "kcsan", "kfence", "ubsan", "memory-leak", "deadlock", "locking", "hung-task")
)

#: A line of another processor's stack, after "Sending NMI from CPU A to CPUs B:".
OTHER_PROCESSOR: Final = re.compile(
    r"(?:NMI backtrace for cpu|CPU: |Call [Tt]race|\? |<|RIP|[A-Z0-9]{2,3}: |Code: |Hardware)"
)

#: A line of an OOM report (mm/oom_kill.c, mm/show_mem.c) that another task logs: one that was requested by sysrq.
OF_OOM: Final = re.compile(
    r"(?:CPU: |Hardware name|Tainted|Workqueue|Call [Tt]race|<|Mem-Info|active_anon|Node |lowmem_reserve"
    r"|[0-9]+ (?:total )?pages?\b|"
    r"Free swap|Total swap|Tasks state|\[ *pid|\[ *[0-9]+\]|oom-kill:|Out of memory|oom_reaper|Unreclaimable"
    r"|[A-Za-z0-9_-]+ +[0-9]+KB|"
    r"Memory cgroup|Name +Used|swap_cache|memory: usage|swap: usage|kmem: usage|anon [0-9])"
)

#: The outermost frames: a stack with one of them is whole.
BOTTOM: Final = re.compile(
    r"(?:.*\] )?(?:entry_SYSCALL\w*|entry_\w+|ret_from_\w+|el0t?_\w+|el0_\w+|system_call\w*|.* from ret_f\w+"
    r"|handle_exception|"
    r"secondary_startup\w*|common_startup_64|x86_64_start_\w+|start_kernel|kthread|syscall_common|__do_softirq)\+0x"
)

# arch/*/kernel/{process,traps,dumpstack}.c, arch/*/mm/fault.c, mm/kasan, mm/kmsan, lib/dump_stack.c, kernel/panic.c ...
_SHAPE: Final = re.compile(
    r"(?:Call [Tt]race|[Bb]acktrace|stack backtrace|</?[#A-Z]|#PF|0x[0-9a-f]|\[<|RIP|EIP|IP:|NIP|CPU: |Pid: "
    r"|Modules linked|Code: "
    r"|Tainted: |Hardware name|Workqueue: "
    r"|[A-Z][A-Z0-9]{1,3}: ?[0-9a-f]{4}|R[0-9]{2}: |RSP: |PKRU|PGD |PUD |P4D |FS: |GS: |CS: |DS: |CR[0-9]: |DR[0-9]: "
    r"|EFLAGS|ORIG_|Kernel Offset|PHYSMEM|PHYS_OFFSET|CPU features|Memory Limit"
    r"|---\[|---- |----|Kernel panic|Rebooting|Oops|Internal error|Stack:|Stack |Process |Krnl|Fault in |AS:"
    r"|Failing address|R:[0-9]|\*?[0-9a-f]{8,16}[: ]"
    r"|x[0-9]{1,2} ?: |pstate|sp ?: |pc ?: |lr ?: |ra ?: |fp ?: |pmr_save|r[0-9]{1,2} ?: |[0-9a-f]{4}: [0-9a-f]{8}"
    r"|[0-9a-f]{4}: +[0-9a-f]{8}|Register r|Flags: |Control: |Mem abort|Data abort"
    r"|ESR|EC = |SET = |EA = |FSC = |ISV|CM = |GCS = |swapper pgtable|user pgtable|\[[0-9a-f]{8,16}\] "
    r"|Exception stack|GPR|LR |REGS|MSR|DAR|DSISR|CFAR|IRQMASK|CTR|LE |BE |SMP|PREEMPT"
    r"|status: |epc ?: |[gt]p ?: |[ast][0-9]{1,2} ?: |s1[01]: |t[0-6] |[0-9]{1,5}-[^:\s]{1,8}: ?\(|\((?:detected by"
    r"|t=)|(?:Sending|sending) NMI|NMI backtrace|All QSes|\w+ kthread starved|Unless |RCU grace|Stack dump where"
    r"|Tasks blocked"
    r"|Read (?:of|at)|Write (?:of|at)|The buggy|which belongs|flags: |raw: |page: |page dumped|page_type|head: "
    r"|Memory state|[Aa]llocated|[Ff]reed|[>^]|==|Disabling lock|The (?:physical|virtual)|buffer_info"
    r"|addr \w+ is located|this frame has|\[[0-9]+, [0-9]+\)"
    r"|Uninit |Local variable|Bytes |Memory access|Data copied|Object |Redzone |Padding |Freepointer|INFO: |comm \""
    r"|hex dump|Last |Second |Memory was|value changed|Reported by|write |read |race at|task:|Task dump|Showing "
    r"|[0-9]+ locks? held|#[0-9]+: |no locks held"
    r"|other info|Possible |Chain |chain exists|lock\(|\*\*\*|may be due|but task|which lock|the existing|->"
    r"|and (?:this|interrupt)|CPU0|is trying|is already|note: |irq event|hardirqs|softirqs|RBP:|rcu_scheduler|list_"
    r"|refcount_t|kfence-|Use-after|Out-of|Invalid|Corrupted|Kernel |kernel |sysrq: "
    r"|Pointer Tag|Memory tag|Future hung|\"echo|Preemption disabled|caller is|in_atomic|preempt_count|RCU nest"
    r"|last function|pool [0-9]|workqueue |pwq |in-flight|pending|delayed|KASAN|kasan|Call Trace|Fixing |Faulting"
    r"|Instruction dump|BUG|mce: |\{[0-9]+\}\[|CR2|Insn|Slab |INFO|FIX |signature|overflow|index |shift |load of"
    r"|member |null |left|right"
    # A lock of lockdep's, whole or in pieces: "(&x->lock){+.+.}, at: f+0x1/0x2", "task/1 [HC0[0]:SC0[0]] takes:".
    r"|, at: |\{[-+.?]{4,8}\}|\([^ )].*\)\{[-+.?]{4,8}\}|[^ ]+ \[HC[0-9]"
    r"|signed|unsigned|negation|division|pointer |value |range|rcu:|rcu_|task stack|IRQ stack|Overflow stack"
    r"|Emergency stack|SError|Hypervisor|last |Last|Comm|NULL|\(null\)|Shutting down|Dumping|Rebooting|SMP: |Mem-Info"
    r"|active_anon|Node |lowmem|[0-9]+ (?:total )?pages?|Free swap|Total swap|Memory cgroup|ffff|c00)"
)


def belongs(text: str, caller: bool, framed: bool, ended: bool, preface: bool) -> bool:
    """Return whether a line belongs to an open report, as far as its shape says.

    :param caller: true if the line has the report's caller; then everything before the stack belongs.
    :param framed: true if the report has a frame.
    :param ended: true after the report's end line.
    :param preface: true if the report has no title yet.
    """
    if preface or (caller and not ended and not framed):
        return True
    return _SHAPE.match(text) is not None or OF_OOM.match(text) is not None
