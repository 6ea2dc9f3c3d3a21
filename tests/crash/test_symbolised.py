"""Symbolised text, preempted tasks, and lock lines in pieces: faults that public logs not seen before have shown."""

from __future__ import annotations

import pytest

from netconsd.crash import functions
from netconsd.crash.lines import frames_of, pointer_of
from netconsd.crash.report import Frame
from netconsd.crash.shapes import belongs
from tests.support.crash_lines import CPU, console_lines, titles

LOCK_HEAD = (
    "================================\n"
    "WARNING: inconsistent lock state\n"
    "6.7.0 #0 Not tainted\n"
    "--------------------------------\n"
    "inconsistent {IN-HARDIRQ-W} -> {HARDIRQ-ON-W} usage.\n"
    "sh/5423 [HC0[0]:SC0[0]:HE1:SE1] takes:\n"
)
LOCK_TAIL = (
    "{IN-HARDIRQ-W} state was registered at:\n"
    "  lock_acquire+0x1ae/0x520 kernel/locking/lockdep.c:5719\n"
    "  registered_it+0x82/0xf10 kernel/time/timekeeping.c:2159\n"
)


def test_an_inlined_function_names_no_title() -> None:
    """The decoder adds inlined functions: the function that contains them is the one with an offset."""
    text = (
        "BUG: kernel NULL pointer dereference, address: 0000000000000008\n"
        "Oops: 0000 [#1] SMP\n"
        f"{CPU}"
        "RIP: 0010:_raw_spin_lock+0x13/0x20 kernel/locking/spinlock.c:154\n"
        "Call Trace:\n"
        " inlined_into_it fs/a.c:12 [inline]\n"
        " its_caller+0x13/0x20 fs/a.c:34\n"
        " entry_SYSCALL_64_after_hwframe+0x63/0x6b\n"
        "---[ end trace 0000000000000000 ]---\n"
    )
    assert titles(console_lines(text)) == ["BUG: unable to handle kernel NULL pointer dereference in its_caller"]


@pytest.mark.parametrize("line", ["fs/read_write.c:-1", "fs/read_write.c:684"])
def test_a_line_number_that_the_decoder_does_not_know(line: str) -> None:
    """Decoders write line -1 for a function without debug information."""
    assert frames_of(f"vfs_write+0x29d/0x1150 {line}") == (Frame("vfs_write", 0x29D, 0x1150),)


@pytest.mark.parametrize(
    "lock",
    [
        " (&(&x->seqlock)->rlock){+.?...}, at: [<f9979a20>] takes_it+0x380/0x490 [mod]\n",
        "ffff888071f79078\n (x_lock\n){?.-.}-{2:2}\n, at: inlined fs/a.h:5 [inline]\n, at: takes_it+0x81/0x120\n",
    ],
    ids=["old", "in-pieces"],
)
def test_the_lock_of_an_inconsistent_state(lock: str) -> None:
    """The lock's line has no address on old kernels, and reaches a console in pieces if many processors print."""
    assert titles(console_lines(LOCK_HEAD + lock + LOCK_TAIL)) == ["inconsistent lock state in takes_it"]


@pytest.mark.parametrize("line", ["audit: type=1400", "(sd-pam) started", "usb 1-1: new device", "sh[12]: done"])
def test_other_lines_are_no_lock(line: str) -> None:
    """The shapes of a lock's line are no other program's."""
    assert not belongs(line, False, True, False, False)


def test_the_preemption_of_a_task_is_not_its_operation() -> None:
    """A task that was preempted in an interrupt's return has the operation below the interrupt."""
    names = ("__schedule", "preempt_schedule_irq", "irqentry_exit", "asm_sysvec_apic_timer_interrupt", "its_work")
    frames = [Frame(name, 4, 8) for name in (*names, "process_one_work", "worker_thread", "kthread")]
    found = functions.operation(frames)
    assert found is not None
    assert found.name == "its_work"


def test_a_file_closed_at_once() -> None:
    """The last close of a file is the file system's operation, not the system call."""
    names = ("balance_leaf", "a_file_release", "__fput", "__fput_sync", "__x64_sys_close", "do_syscall_64")
    found = functions.operation([Frame(name, 4, 8) for name in names])
    assert found is not None
    assert found.name == "a_file_release"


def test_a_stack_protector_without_symbols() -> None:
    """Old kernels print the function's address; the stack has its name."""
    text = (
        "Kernel panic - not syncing: stack-protector: Kernel stack is corrupted in: ffffffffc0c88942\n"
        f"{CPU}"
        "Call Trace:\n"
        " dump_stack+0x63/0x90\n"
        " panic+0xe8/0x236\n"
        " __stack_chk_fail+0x1b/0x20\n"
        " its_stack+0x52/0x60 [mod]\n"
        "---[ end Kernel panic - not syncing: stack-protector: Kernel stack is corrupted in: ffffffffc0c88942\n"
    )
    assert titles(console_lines(text)) == ["kernel panic: stack is corrupted in its_stack"]


@pytest.mark.parametrize(
    "name", ["complete", "complete_all", "ref_tracker_dir_exit", "copy_page_to_iter", "copy_folio_from_iter_atomic"]
)
def test_further_machinery(name: str) -> None:
    """Completions, trackers of references and copies of pages work for others."""
    assert functions.is_machinery(name)


@pytest.mark.parametrize("name", ["kasan_atomics_helper", "vmalloc_oob", "completed"])
def test_functions_that_only_look_like_machinery(name: str) -> None:
    """The kernel's own tests of the checkers are not the checkers."""
    assert not functions.is_machinery(name)


@pytest.mark.parametrize("start", ["RIP: 0010:", "pc : ", "lr : "])
def test_an_inlined_function_is_no_pointer(start: str) -> None:
    """A pointer's line is repeated for inlined functions: only the last one, with an offset, is the pointer."""
    assert pointer_of(f"{start}inlined fs/a.c:12 [inline]") is None
    assert pointer_of(f"{start}its_function+0x1/0x2 fs/a.c:34") is not None
