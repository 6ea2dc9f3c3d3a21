"""Finds whose function a report names: which functions are machinery, and the way down a stack. Pure.

A stack is read from the innermost frame. docs/crashes ("The title") has the rules in short; the
names are those of Linux 3.2 to 7.3.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

from netconsd.crash.lines import plain_name
from netconsd.crash.report import Frame

# Functions that report, enter, check, allocate or lock for others. A name in this list is never the culprit while the
# stack has another one. Each group names the kernel's files.
_MACHINERY: Final = (
    # lib/dump_stack.c, kernel/panic.c, lib/bug.c, arch/*/kernel/{dumpstack,traps}.c
    r"_*dump_stack\w*|show_(?:stack|regs|trace|trace_log_lvl|registers)\w*|_*dump_backtrace\w*|unwind_backtrace\w*",
    (r"v?panic\w*|nmi_panic\w*|_*warn(?:_slowpath\w*|_printk)?|__warn_printk|report_bug\w*|fixup_bug"
    r"|check_panic_on_warn"),
    r"end_report|_*die\w*|oops_\w+|__report_bug|bug_handler|call_break_hook|brk_handler|do_debug_exception",
    (r"do_invalid_op|_*invalid_op|exc_invalid_op|asm_exc_\w+|exc_\w+|handle_(?:bug|invalid_op)|ud2"
    r"|do_(?:error_)?trap\w*"),
    r"do_undefinstr|el1_undef|do_el1_undef|el1_\w+|el1[ht]_\w+|do_el1_\w+|el1\w*|do_trap_\w+|program_check_exception",
    r"do_(?:divide_error|int3|general_protection|double_fault|stack_segment|bounds|overflow|alignment_check)",
    r"(?:divide_error|general_protection|double_fault|int3|stack_segment|page_fault|async_page_fault|error_entry)",
    (r"fixup_exception|ex_handler_\w+|gp_try_fixup_\w+|kprobe_\w*fault\w*|notify_die|atomic_notifier_\w+"
    r"|notifier_call\w*"),
    # arch/*/mm/fault.c
    (r"_*do_page_fault|do_user_addr_fault|do_kern_addr_fault|bad_area\w*|__bad_area\w*|no_context|page_fault_oops"
    r"|exc_page"),
    (r"show_fault_oops|kernelmode_fixup_or_oops|__do_kernel_fault|do_(?:mem|translation|sp_pc)_?\w*abort"
    r"|do_translation_fault"),
    (r"do_DataAbort|do_PrefetchAbort|__dabt_svc|__pabt_svc|__und_svc|die_kernel_fault|do_bad_area|handle_fault"
    r"|bad_page_fault"),
    r"do_page_fault_\w+|handle_page_fault|handle_exception|data_access_common|interrupt_return\w*|pgm_check_handler",
    r"__do_pgm_check|do_protection_exception|do_dat_exception|trace_hardirqs_\w+|restore_regs\w*|ret_from_exception",
    # mm/kasan, mm/kfence, mm/kmsan, kernel/kcsan, lib/ubsan.c
    (r"_*kasan_(?!\w*_helper)\w+|_*asan_\w+|__hwasan_\w+|check_memory_region\w*|print_(?:address|report|bad|lock|circular|usage"
    r"|deadlock)\w*"),
    (r"print_\w+|describe_\w+|_*kmsan_\w+|_*msan_\w+|kfence_\w+|_*kfence_\w+|_*kcsan_\w+|_*tsan_\w+|check_access"
    r"|set_track"),
    (r"_*ubsan_\w+|handle_(?:overflow|out_of_bounds)|val_to_string|save_stack\w*|stack_trace_\w+|stack_depot_\w+"
    r"|depot_\w+"),
    (r"find_watchpoint|reset_report_filtering|kasan|memory_is_\w+|bytes_is_\w+|instrument_\w+|__no_kcsan\w*"
    r"|kmemleak_\w+"),
    # memory and string helpers: lib/string.c, lib/usercopy.c, arch/*/lib, include/linux/fortify-string.h
    r"_*mem(?:cpy|move|set|cmp|chr|scan|set32|set64|cpy_\w+|move_\w+|set_\w+|zero_\w+|cmp_\w+)|memcpy\w*|memset\w*",
    (r"_*str(?:n?cpy|l?cpy|scpy|n?cmp|n?len|n?cat|lcat|chr|rchr|nchr|n?str|n?casecmp|spn|cspn|pbrk|sep|lcpy|nchrnul"
    r"|chrnul)"),
    (r"_*sized_str\w+|strscpy\w*|copy_(?:page_|folio_)?(?:from|to)_(?:user|iter)\w*|_*copy_(?:from|to)_(?:user|iter)\w*"
    r"|copy(?:in|out)"),
    (r"copy_user_\w+|_*copy_user\w*|raw_copy_\w+|__copy_from_user\w*|__copy_to_user\w*|rep_(?:movs|stos)\w*"
    r"|clear_user\w*"),
    r"check_(?:object_size|heap_object|copy_size)|_*check_(?:object_size|heap_object)|__copy_overflow|copy_overflow",
    r"usercopy_abort|usercopy_warn|report_usercopy|__fortify_(?:panic|report)|fortify_panic|__stack_chk_fail",
    (r"_*get_user\w*|_*put_user\w*|__read_once_\w+|__write_once_\w+"
    r"|read_word_at_a_time"),
    # allocators: mm/slub.c, mm/slab_common.c, mm/page_alloc.c, mm/vmalloc.c, mm/util.c, mm/percpu.c
    (r"_*kv?[mz]?alloc(?:_(?:node|noprof|node_noprof|track_caller|node_track_caller|array\w*|large\w*|order\w*|trace"
    r"|cache\w*|obj\w*|reserve\w*|slab\w*|type\w*|nolock\w*|flex\w*))*|_*kmem_cache_\w+|_*k[vz]?free(?:_(?:sensitive"
    r"|const|bulk|rcu|rcu_mightsleep|link))?"
    r"|_*kmalloc_(?:node|noprof|track|large|order|cache|reserve|trace|slab)\w*|_*slab_\w+|_*cache_\w*alloc\w*"
    r"|do_slab_free"),
    r"_*krealloc\w*|kcalloc\w*|kvcalloc\w*|kvrealloc\w*|ksize|__ksize|free_debug_processing",
    (r"alloc_debug_processing|check_slab|check_object|object_err|slab_err|slab_fix|slab_bug|on_freelist|free_(?:to"
    r"|consistency)\w*"),
    r"___cache_free|__cache_free|slab_free\w*|memcg_slab\w*|slub_\w+|_*vmalloc(?!_oob)\w*|vzalloc\w*|find_vm_area",
    r"_*alloc_(?:pages|page|frozen_pages|contig|skb_page)\w*|get_page_from_freelist|post_alloc_hook|prep_new_page",
    (r"new_slab\w*|allocate_slab|___slab_alloc|alloc_slab_page|folio_alloc\w*|_*folio_alloc\w*|_*get_free_pages\w*"
    r"|get_zeroed_page\w*"),
    (r"bad_page|_*free_pages?(?:_\w+)?|free_(?:pcp|unref|one|hot)\w*|__free_\w*pages\w*|check_(?:new|free)_page\w*"
    r"|warn_alloc"),
    (r"free_pages_prepare|free_unref_\w+|free_frozen_pages|__put_(?:page|single_page|compound_page)|put_page"
    r"|__folio_put\w*"),
    (r"pcpu_alloc\w*|free_percpu|pcpu_\w+|_*alloc_percpu\w*|mempool_\w+|qlist_\w+|quarantine_\w+|dma_pool_alloc"
    r"|kzalloc\w*"),
    r"alloc_pages_mpol\w*|alloc_pages_noprof|alloc_pages_current|alloc_pages_vma|vma_alloc_\w+|__alloc_pages_\w+",
    r"should_fail\w*|fail_dump|should_failslab|fault_\w+_should_fail",
    # reference counts, lists, trees: lib/refcount.c, lib/list_debug.c, lib/kobject.c, lib/rbtree.c, lib/xarray.c
    r"ref_tracker_\w+|refcount_\w+|_*refcount_\w+|kref_\w+|_*h?list_(?:add|del|move|splice|cut|empty|replace|swap|bulk)(?!_?lru)\w*",
    r"_*hlist_(?:nulls_)?\w+|llist_(?:add|del|reverse)\w*",
    (r"_*rb_(?:insert|erase|next|prev|first|last|replace|link|add|find|rotate)\w*|xa_\w+|_*xa_\w+|xas_\w+|_*xas_\w+"
    r"|atomic\w*|_*atomic\w*|arch_atomic\w*"),
    (r"_*bitmap_\w+|_*(?:set|clear|test|change)_bit\w*"
    r"|test_and_\w+"),
    (r"arch_(?:set|clear|test|change)\w*_bit\w*|constant_test_bit|variable_test_bit|debug_(?:object|check|print)\w*"
    r"|_*debug_object\w*"),
    (r"_*debug_check_no_obj_freed|kobject_(?:get|put|cleanup|release|add|init|del|namespace|set_name\w*"
    r"|uevent\w*)"),
    (r"get_device|put_device|kobject_(?!add_internal)\w+|klist_\w+|sysfs_\w+|internal_create_group\w*"
    ),
    # kernel/locking, lib/locking-selftest.c, kernel/rcu
    (r"_*raw_(?:spin|read|write)_\w+|_*(?:spin|read|write)_(?:lock|unlock|trylock)\w*|do_raw_\w+|_*spin_\w+|_raw_\w+"
    r"|spin_bug"),
    (r"_*mutex_\w+|_*ww_mutex_(?:lock|unlock|trylock)\w*|_*rt_mutex_(?:lock|unlock|trylock)\w*|rt_mutex_slow\w+|rwsem_\w+|_*rwsem_\w+|down(?:_read|_write"
    r"|_timeout)?(?:_\w+)?|up(?:_read|_write)?"),
    (r"_*down_\w+|_*up_(?:read|write)\w*|_*down|call_rwsem_\w+|percpu_(?:down|up)_\w+|_*percpu_(?:down|up|rwsem)_\w+"
    r"|downgrade_write"),
    (r"_*lock_(?:acquire|release|is_held|acquired|contended|downgrade|unpin|pin)\w*|lockdep_\w+|_*lockdep_\w+"
    r"|lock_(?:acquire|release)"),
    (r"__lock_(?:acquire|release|is_held|set_class|pin|unpin|downgrade)\w*|mark_(?:lock|held|usage|all)\w*"
    r"|check_(?:prev|prevs|noncircular|deadlock|usage|irq_usage|redundant|flags|wait_context|lock_unlocked|chain_key"
    r"|unmap|path|no_locks|bytes)\w*"),
    (r"validate_chain|register_lock_class|assign_lock_key|look_up_lock_class|lock_(?:wait|waiting)\w*"
    r"|reacquire_held_locks|find_held_lock|hlock_class"),
    (r"debug_(?:mutex|spin|rt_mutex|locks|rwlock|lockdep)\w*|debug_show_\w+|debug_check_\w+|(?:rw|local|seq)lock_\w+"
    r"|seqcount_\w+|do_(?:write|read)_seq\w*|bit_spin_\w+"),
    (r"queued?_(?:spin|read|write)_\w+|native_queued_\w+|_*pv_queued_\w+|_*pv_\w+|osq_lock|hardirqs_\w+"
    r"|might_alloc|fs_reclaim_\w+|complete(?:_all)?|swake_up_locked"),
    (r"rcu_(?:read|lock|dynticks|note|is|irq|nmi|eqs|check|preempt|sched|user|idle|momentary|qs|dump|print|stall)\w*"
    r"|_*rcu_read_\w+|__rcu_\w+|lockdep_rcu_suspicious"),
    (r"panic_bad_stack|handle_bad_stack|__bad_stack|warn_alloc\w*|fallback_alloc|kmem_getpages|panic_on_rcu_stall"
    r"|irqtime\w*|_*rcu_\w*stall\w*|call_rcu\w*|_*call_rcu\w*|kvfree_call_rcu|srcu_\w+|_*srcu_\w+"),
    # printk, tracing, kernel/kprobes.c
    (r"v?printk\w*|_*printk\w*|vprintk\w*|console_(?:unlock|lock|trylock|flush)\w*|call_console_\w+|trace_\w+"
    r"|__traceiter_\w+|perf_trace_\w+|ftrace_(?:ops|call|regs|graph|caller)\w*|kprobe_\w+|__bpf_trace_\w+|_*pr_\w+"
    r"|__dev_printk|_dev_\w+|dev_(?:err"
    r"|warn|info|printk)\w*|__dynamic_\w+"),
    # virtual file system and sysfs glue; drivers/usb/core/urb.c
    (r"usb_submit_urb|usb_hcd_submit_urb|usb_start_wait_urb|usb_(?:bulk|control|interrupt)_msg|usb_internal_\w+"
    r"|usb_control_msg_\w+"),
    r"fput|____fput|fget\w*|__fget\w*|fdget\w*|_*fdget\w*|fdput\w*|path_put|mntput\w*|mntget",
    r"proc_(?:register|create|mkdir|symlink)\w*",
    # Queues of work and threads, for those who queue: kernel/workqueue.c, kernel/kthread.c
    (r"_*queue_(?:delayed_)?work(?:_on|_node)?|_*queue_rcu_work|insert_work|mod_delayed_work_on|kthread_(?:stop|park"
    r"|unpark|bind)\w*"),
    # lib/crc32.c; the checks that find sleeping in atomic context: kernel/sched/core.c
    r"crc32\w*|_*might_(?:sleep|resched|fault)\w*",
    # arch/*/entry: the frames between a trap and its place
    (r"(?:asm_)?(?:sysvec|common_interrupt|exc)\w*|(?:apic|smp_apic)_timer_interrupt|ret_from_\w+|entry_\w+"
    r"|do_syscall_\w+|x64_sys_call|ia32_sys_call"),
    (r"el0\w*|invoke_syscall|do_el0_svc|__do_fast_syscall_32|do_fast_syscall_32|do_SYSENTER_32|do_int80\w*"
    r"|system_call\w*|__do_syscall|ret_fast_syscall|_*syscall\w*|sysenter\w*|__invoke_syscall|do_trap_ecall_u"
    r"|irqentry_\w+|rewind_stack\w*|0x[0-9a-f]+"),
)  # fmt: skip
_machinery: Final = re.compile("|".join(_MACHINERY))

# Reports of atomic context also skip the scheduler's own frames and the checks that found the fault:
# kernel/sched/core.c, lib/smp_processor_id.c.
_ATOMIC: Final = re.compile(
    r"_*schedule\w*|_*might_(?:sleep|fault|resched)\w*|preempt_schedule\w*|_*cond_resched\w*|dynamic_cond_resched"
    r"|io_schedule\w*"
    r"|check_preemption_disabled|debug_smp_processor_id|_*this_cpu_preempt_check|_*__this_cpu_\w+|schedule_(?:timeout"
    r"|hrtimeout)\w*"
    r"|usleep_\w+|msleep\w*|preempt_count_\w+|wait_for_\w+|do_wait_for_common|_*wait_for_common|wait_woken"
    r"|do_nanosleep"
)

# Machinery that sleeps itself, where it must not: arch/*/mm/fault.c, mm/page_alloc.c, kernel/printk.
_FAULTS: Final = re.compile(
    r"_*alloc_frozen_pages\w*|console_lock|_*do_page_fault|do_user_addr_fault|exc_page_fault|do_mem_abort"
    r"|do_translation_fault"
)

# Frames of a task that waits: kernel/sched/{core,wait,completion}.c, kernel/time/{timer,sleep_timeout,hrtimer}.c,
# kernel/locking, mm/filemap.c (folio locks), fs/buffer.c.
_WAITING: Final = re.compile(
    r"_*schedule\w*|context_switch|preempt_schedule\w*|io_schedule\w*|_*switch_to\w*|schedule_\w+|_*mutex_\w+"
    r"|_*ww_mutex_\w+|_*rt_mutex\w*|rt_mutex_\w+"
    r"|rwsem_\w+|_*rwsem_\w+|_*down\w*|call_rwsem_\w+|rwbase_\w+|_*rwbase_\w+|percpu_\w*down\w*|_*percpu_\w*down\w*"
    r"|percpu_rwsem_\w+|_*percpu_rwsem\w*"
    r"|_*wait_for_\w*compl\w*|do_wait_for_common|_*wait_for_common\w*|wait_for_common\w*|_*wait_on_\w+|wait_on_\w+"
    r"|_*wait_\w+|wait_\w+|do_wait_\w+"
    r"|out_of_line_wait_\w+|bit_wait\w*|folio_wait_\w+|_*folio_lock\w*|_*lock_page\w*|lock_page\w*|_*lock_buffer"
    r"|lock_buffer|prepare_to_wait\w*|autoremove_\w+"
    r"|swait_\w+|rcu_sync_enter|inode_lock\w*|inode_lock_nested|__lock_sock|msleep\w*|usleep_\w+"
    r"|kthread_park|completion_\w+|synchronize_\w*wait\w*"
    r"|_raw_\w+|_*raw_spin_\w+|spin_\w+|queued_\w+|native_queued_\w+|_*percpu_ref_switch\w*|rest_init_\w+"
    r"|v?printk\w*|_*printk\w*|vprintk\w*|console_(?:unlock|lock|trylock|flush)\w*"
)

# Functions that take or release a lock for their caller: kernel/locking, net/core/sock.c.
_LOCKS: Final = re.compile(
    r"_*raw_(?:spin|read|write)_\w+|_*(?:spin|read|write)_(?:lock|unlock|trylock)\w*|do_raw_\w+|_raw_\w+|_*mutex_\w+"
    r"|_*ww_mutex_\w+|_*rt_mutex\w*|_*rwsem_\w+|_*(?:down|up)(?:_(?:read|write|timeout|killable|interruptible"
    r"|trylock)\w*)?"
    r"|percpu_(?:down|up)_\w+|_*percpu_(?:down|up|rwsem)_\w+|_*lock_(?:acquire|release)\w*|_*local_bh_\w+"
)
# A WARN of lockdep in one of these found a lock that is not initialised, or is used after it was freed.
_OF_LOCKDEP: Final = re.compile(
    r"_*lock_(?:acquire|release|set_class|pin_lock|unpin_lock|downgrade|acquired|contended|is_held\w*)"
    r"|look_up_lock_class"
    r"|register_lock_class|hlock_class|check_wait_context|reacquire_held_locks|mark_\w+|validate_chain|find_held_lock"
)
# With those, the functions that take a socket's lock: net/core/sock.c.
_LOCKING: Final = re.compile(r"lock_sock_\w+|release_sock|_*lock_sock(?:_fast)?")
# Functions that find a page in a bad state when it is taken: mm/page_alloc.c, mm/filemap.c.
_PAGES: Final = re.compile(r"_*rmqueue\w*|filemap_alloc_folio\w*")
# Functions that allocate for others: kmemleak's stacks begin with them.
_ALLOCATING: Final = re.compile(
    r"\w*alloc\w*|kstrdup\w*|kmemdup\w*|memdup_\w+|strndup_user|kasprintf|kvasprintf\w*|getname\w*"
)

# A part of a stack with one of these is the interrupt that found a stall or preempted the task, not the stalled work:
# kernel/rcu/tree.c, kernel/watchdog.c, lib/nmi_backtrace.c, arch/x86/kernel/nmi.c, kernel/sched/core.c.
_FINDERS: Final = re.compile(
    r"rcu_sched_clock_irq|rcu_check_callbacks|rcu_pending|print_cpu_stall\w*|check_cpu_stall|watchdog_timer_fn"
    r"|watchdog_overflow_callback|nmi_\w+|"
    r"do_nmi|default_do_nmi|exc_nmi|end_repeat_nmi|arch_trigger_\w+|trigger_\w*backtrace\w*|sched_show_task|panic"
    r"|rcu_dump_cpu_stacks|"
    r"print_other_cpu_stall|ipi_cpu_backtrace|do_handle_IPI|handle_backtrace|softlockup_fn|watchdog_hardlockup_\w+"
    r"|perf_event_overflow|(?:arm64_)?preempt_schedule_irq|"
    r"synchronize_rcu_expedited_wait|rcu_exp_\w+|show_state_filter|cpu_clock_event\w*stall"
)
# Where a part of a stack ends: the entry of an interrupt.
_INTERRUPT: Final = re.compile(
    r"(?:asm_)?sysvec_\w+|asm_common_interrupt|common_interrupt|(?:smp_)?(?:apic_timer|call_function\w*|reschedule"
    r"|irq_work|x86_platform_ipi)_interrupt|ret_from_intr|"
    r"el1_irq|el1h_64_irq|el1_interrupt|__irq_svc|__irq_usr|nmi|end_repeat_nmi|asm_exc_nmi"
    r"|hardware_interrupt_common\w*|decrementer_common\w*|handle_riscv_irq|"
    r"do_irq|ret_from_exception|ext_int_handler|do_ext_irq|do_io_irq|io_int_handler|timer_interrupt|handle_irq_int"
    r"|smp_apic_timer_interrupt|smp_\w+_interrupt|"
    r"call_on_irq_stack|call_on_stack|do_softirq_own_stack"
)
# Dispatchers: they run the operations of others. The function that one of them called is the requested operation.
# Entries of system calls, threads, interrupts, timers, softirqs, tasklets, work, network receivers, netlink, files.
_DISPATCHERS: Final = re.compile(
    r"entry_\w+|do_syscall_\w+|x64_sys_call|ia32_sys_call|el0\w*|el1\w*|do_el0_svc|invoke_syscall\w*"
    r"|_*do_fast_syscall_32|do_int80\w*|system_call\w*|__do_syscall"
    r"|ret_fast_syscall|_*syscall|do_trap_ecall_u|handle_exception|__invoke_syscall|el0_svc\w*|do_SYSENTER_32"
    r"|sysenter\w*|do_fast_syscall_32|tracesys\w*|int_ret_from_sys_call|int_signal|do_syscall_32_irqs_on"
    r"|ret_from_\w+|kthread|kthread_worker_fn|worker_thread|process_(?:one_work|scheduled_works)|smpboot_thread_fn"
    r"|kernel_thread_helper|kernel_init\w*|start_\w*kernel\w*|rest_init|secondary_startup\w*|x86_64_start_\w+"
    r"|common_startup_64"
    r"|(?:asm_)?sysvec_\w+|_*sysvec_\w+|(?:asm_)?common_interrupt|\w+_interrupt|ret_from_intr|irq_exit\w*"
    r"|_*irq_exit\w*|invoke_softirq|_*do_softirq\w*|do_softirq\w*|handle_softirqs|run_ksoftirqd|_*local_bh_enable_ip"
    r"|local_bh_enable\w*|call_softirq|asm_call_\w+|_stext"
    r"|run_timer_(?:softirq|base)|_*run_timers?\w*|_*run_timer_base|expire_timers|call_timer_fn|_*hrtimer_run_queues"
    r"|_*run_hrtimer|hrtimer_interrupt|hrtimer_run_softirq|tasklet_\w*action\w*|net_rx_action|_*napi_poll|napi_poll"
    r"|process_backlog|_*netif_receive_skb\w*|net_tx_action|irq_thread\w*|_*handle_irq_event\w*|handle_\w*irq\w*"
    r"|generic_handle_\w+|do_IRQ|_*do_irq\w*|_*common_interrupt|call_on_\w+|do_handle_IPI|gic_handle_irq"
    r"|do_interrupt_handler|arch_local_irq_\w+|rcu_core\w*|rcu_do_batch|rcu_process_callbacks"
    r"|rcu_cblist_\w+|rcu_nocb_\w+|irq_work_\w+"
    r"|(?:asm_)?exc_page_fault|do_user_addr_fault|_*do_page_fault|(?:async_)?page_fault|handle_page_fault"
    r"|do_kern_addr_fault"
    r"|do_mem_abort|do_translation_fault|_*handle_mm_fault|handle_pte_fault"
    r"|(?:k?sys|__\w*sys|_*do_sys|___sys|SyS|SYSC|C_SYSC|compat_sys|__do_compat_sys|__se_compat_sys"
    r"|__\w*compat_sys)_(?:p?(?:read|write)(?:64|v|v2)?|ioctl)"
    r"|vfs_(?:write|read|ioctl|readv|writev|iter_\w+)|new_sync_(?:write|read)|_*vfs_(?:write|read)|do_(?:iter"
    r"|loop)_\w+|do_(?:read|write)v|do_iter_readv_writev|call_(?:write|read)_iter|kernel_(?:write|read)"
    r"|do_sync_(?:read|write)|do_vfs_ioctl|file_ioctl|ksys_ioctl"
    r"|_*sock_(?:sendmsg|recvmsg|write_iter|read_iter|release)\w*|sock_(?:ioctl|do_ioctl|aio_write)"
    r"|_*sys_(?:connect|bind|accept4?|listen|setsockopt|getsockopt)(?:_file)?|do_sock_\w+|do_accept|kernel_sendmsg"
    r"|netlink_(?:unicast|rcv_skb)|(?:rt|nf|xfrm_)?netlink_rcv\w*|nfnetlink_rcv\w*|rtnetlink_rcv\w*|genl_(?:rcv\w*"
    r"|family_rcv\w*)"
    r"|_*fput(?:_sync|_deferred)?|task_work_run|do_dentry_open|vfs_open|do_open"
    r"|proc_reg_\w+|kernfs_fop_\w+|seq_read\w*|seq_write\w*|pde_(?:read|write)|pde_\w+|full_proxy_\w+"
    r"|debugfs_\w*attr\w*"
)
# On the way to a dispatcher these are part of the way; without one, the outermost of them is the operation. System
# calls that stand for many operations, the end of a task, the return to user space, closing a socket, page faults.
_ON_THE_WAY: Final = re.compile(
    r"(?:k?sys|__\w*sys|_*do_sys|___sys|____sys|SyS|SYSC|C_SYSC|compat_sys|__do_compat_sys|__se_compat_sys"
    r"|__\w*compat_sys)_(?:m?mmap\w*|open\w*|sendto|sendmsg|sendmmsg|recvfrom|recvmsg|recvmmsg|socket|socketpair"
    r"|connect"
    r"|accept4?|bind|listen|[gs]etsockopt|socketcall|shutdown|creat|close\w*|exit\w*|execve\w*)\w*|arm64_sys_\w+"
    r"|_*sys_(?:sendmsg|recvmsg|sendmmsg|recvmmsg|sendto|recvfrom|socket|close\w*)|____sys_\w+|do_recvmmsg"
    r"|netlink_sendmsg"
    r"|ksys_mmap\w*|vm_mmap_pgoff|do_mmap\w*|do_sys_open\w*|do_filp_open|path_openat|do_sys_openat2"
    r"|sock_close|do_exit|do_group_exit|get_signal|do_signal|arch_do_signal_or_restart|exit_to_user\w*"
    r"|_*prepare_exit_to_usermode"
    r"|syscall_(?:exit|return)_\w+|irqentry_exit\w*|do_notify_resume|filp_close|close_files|put_files_struct"
    r"|exit_files"
)
# The dispatchers of received packets: between them and a softirq are the driver's functions (net/core/dev.c).
_RECEIVING: Final = re.compile(r"_*netif_receive_skb\w*core")
# A part of a stack with one of these and nothing else of its own was working: kernel/softirq.c, kernel/time/timer.c.
_WORKING: Final = re.compile(
    r"_*do_softirq|handle_softirqs|_*run_timers?(?:\.\w+)*|_*run_timer_base|process_backlog|net_rx_action"
)
# Left on the stack by page faults and interrupts of the same task, which were over: mm/memory.c, kernel/entry/common.c.
_REMAINS: Final = re.compile(
    r"_*handle_mm_fault|do_(?:anonymous_page|fault|wp_page|cow_fault|read_fault|set_pte)\w*|filemap_map_pages"
    r"|\w*count_memcg_events\w*"
    r"|do_user_addr_fault|exc_page_fault|asm_exc_\w+|irqentry_\w+|exit_to_user_mode\w*|syscall_exit_\w+|\w*memcg_\w+"
    r"|set_pte\w*|next_uptodate\w*|_*rseq_\w+"
)
# The idle loop: kernel/sched/idle.c. A stall on an idle processor is in do_idle.
_IDLE: Final = re.compile(
    r"(?:cpu_(?:idle_loop|startup_entry)|do_idle|cpuidle_\w+|call_cpuidle|default_idle\w*|arch_cpu_idle"
    r"|native_(?:safe_)?halt|acpi_idle\w*|"
    r"acpi_safe_halt|mwait_idle\w*|intel_idle\w*|cpu_do_idle|pv_native_safe_halt|arch_safe_halt|poll_idle|rest_init"
    r"|start_secondary)"
)

_SYSTEM_CALL: Final = re.compile(
    r"(?:__(?:x64|ia32|x32|arm64|arm|riscv|s390x?|powerpc|ppc|loongarch|mips|se|do|ia32_compat|arm64_compat|se_compat"
    r"|do_compat)_(?:compat_)?sys|"
    r"ksys|SyS|SYSC|compat_SyS|C_SYSC|compat_sys)_(\w+)"
)


@lru_cache(4096)
def is_machinery(name: str) -> bool:
    """True for a function that reports, enters, checks, allocates or locks for others."""
    return _machinery.fullmatch(plain_name(name)) is not None


@lru_cache(4096)
def guilty_name(name: str) -> str:
    """Return the name for a title: without the compiler's suffixes, and a system call as ``sys_NAME``."""
    plain = plain_name(name)
    match = _SYSTEM_CALL.fullmatch(plain)
    return f"sys_{match[1]}" if match is not None else plain


def _reliable(frames: Sequence[Frame]) -> Sequence[Frame]:
    """The frames that are no guesses, without those at offset 0; the guesses if there is nothing else."""
    whole = [frame for frame in frames if frame.offset != 0]
    return [frame for frame in whole if not frame.questionable] or whole


def first_guilty(frames: Iterable[Frame], skip: re.Pattern[str] | None = None) -> Frame | None:
    """Return the innermost frame that is not machinery (nor matches ``skip``); None if all are."""
    for frame in frames:
        if not is_machinery(frame.name) and (skip is None or skip.fullmatch(plain_name(frame.name)) is None):
            return frame
    return None


def guilty(frames: Sequence[Frame], skip: re.Pattern[str] | None = None) -> Frame | None:
    """Return the frame that a title names for a fault, WARN or BUG; None if all frames are machinery."""
    frame = first_guilty(_reliable(frames), skip)
    if frame is None:
        frame = first_guilty([one for one in frames if one.offset != 0], skip)
    return frame


def takes_lock(name: str) -> bool:
    """True for a function that takes or releases a lock for its caller."""
    return _LOCKS.fullmatch(plain_name(name)) is not None


def is_lockdep(name: str) -> bool:
    """True for a function of lockdep in which a WARN means a wrongly used lock."""
    return _OF_LOCKDEP.fullmatch(plain_name(name)) is not None


def locking(frames: Sequence[Frame]) -> Frame | None:
    """Return the function that used a lock wrongly, for a WARN of lockdep."""
    return guilty(frames, _LOCKING)


def leaking(frames: Sequence[Frame]) -> Frame | None:
    """Return the function whose memory leaked, for kmemleak."""
    return guilty(frames, _ALLOCATING)


def paging(frames: Sequence[Frame]) -> Frame | None:
    """Return the function that had or wanted the page, for a page in a bad state."""
    return guilty(frames, _PAGES)


def waiting(frames: Sequence[Frame]) -> Frame | None:
    """Return the function that waits, for a hung task."""
    reliable = _reliable(frames)
    for frame in reliable:
        name = plain_name(frame.name)
        if _WAITING.fullmatch(name) is None and not _is_lock(name):
            return frame
    return reliable[0] if reliable else None


def _is_lock(name: str) -> bool:
    return name.startswith(("__lock_", "lockdep", "lock_acquire", "lock_release", "debug_mutex", "osq_"))


def atomic(frames: Sequence[Frame]) -> Frame | None:
    """Return the function that slept, or used the state of a processor, where it must not."""
    for frame in _reliable(frames):
        name = plain_name(frame.name)
        if _FAULTS.fullmatch(name) is not None:
            return frame
        if not is_machinery(name) and _ATOMIC.fullmatch(name) is None:
            return frame
    return guilty(frames, _ATOMIC)


def operation(frames: Sequence[Frame], breaks: Sequence[int] = ()) -> Frame | None:
    """Return the operation that was requested when a processor stalled.

    :param frames: a stack, the innermost frame first.
    :param breaks: the indices of frames before which a part of the stack begins, by the markers ``<IRQ>``, ``<TASK>``.
    """
    parts: list[list[Frame]] = [[]]
    for index, frame in enumerate(frames):
        if index in breaks and parts[-1]:
            parts.append([])
        parts[-1].append(frame)
        if _INTERRUPT.fullmatch(plain_name(frame.name)) is not None:
            parts.append([])
    guesses = all(frame.questionable for frame in frames)
    fallback: Frame | None = None
    # Guesses of an interrupted task have remains of earlier calls in the inner parts.
    for part in reversed(parts) if guesses else parts:
        reliable = [frame for frame in part if frame.offset != 0 and (guesses or not frame.questionable)]
        if guesses:
            reliable = [frame for frame in reliable if _REMAINS.fullmatch(plain_name(frame.name)) is None]
        names = [plain_name(frame.name) for frame in reliable]
        if not reliable or any(_FINDERS.fullmatch(name) is not None for name in names):
            continue
        requested = _requested(reliable, names)
        if requested is not None and _IDLE.fullmatch(plain_name(requested.name)) is not None:
            idle = next((one for one, name in zip(reliable, names, strict=True) if name == "do_idle"), requested)
            return fallback or idle
        if requested is not None:
            return requested
        working = any(_WORKING.fullmatch(name) is not None for name in names)
        if working and fallback is None:
            fallback = next((one for one in reliable if not _is_helper(one.name)), None)
    return fallback or guilty(frames)


def _requested(frames: Sequence[Frame], names: Sequence[str]) -> Frame | None:
    """The operation that a part of a stack was asked for; None if it has only dispatchers and helpers."""
    way: Frame | None = None
    received = next((i for i in reversed(range(len(names))) if _RECEIVING.fullmatch(names[i]) is not None), len(names))
    for frame, name in zip(reversed(frames[:received]), reversed(names[:received]), strict=True):
        if _DISPATCHERS.fullmatch(name) is not None:
            way = None
        elif _ON_THE_WAY.fullmatch(name) is not None:
            way = way or frame
        elif way is None and _is_helper(name):
            return None
        else:
            return way or frame
    return way


# What an interrupt's dispatcher calls for itself: kernel/time, kernel/sched; the hooks of kernel/kcov.c.
_HELPERS: Final = re.compile(
    r"ktime_\w+|hrtimer_\w+|_*timekeeping_\w+|tick_\w+|update_process_times|clockevents_\w+|timerqueue_\w+"
    r"|sched_clock\w*"
    r"|scheduler_tick|_*sanitizer_cov_\w+|write_comp_data|check_kcov_mode"
)


def _is_helper(name: str) -> bool:
    """True for functions that are never an operation."""
    return is_machinery(name) or _HELPERS.fullmatch(name) is not None
