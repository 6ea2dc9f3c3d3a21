"""The table of first lines: each rule has an example with its title and kind; lines that only look alike have none."""

from __future__ import annotations

from pathlib import Path

import pytest

from netconsd.crash import rules
from netconsd.crash.lines import lines_of
from netconsd.crash.recogniser import FILE_LIMITS, Recogniser
from netconsd.crash.report import KINDS, SEVERITIES, Report
from netconsd.crash.rules import RULES
from netconsd.testing import source
from tests.support.crash_lines import CPU, STACK, console_lines, recognise

DATA = Path(__file__).parents[1] / "data" / "crash_rules.txt"


def _examples() -> list[tuple[str, str, str, str]]:
    """The name of a rule, the title, the kind, and the lines."""
    found = []
    for block in DATA.read_text().split("%" * 40 + "\n")[1:-1]:
        rule, title, kind, lines = block.split("\n", 3)
        found.append((rule.removeprefix("rule: "), title.removeprefix("title: "), kind.removeprefix("kind: "), lines))
    return found


EXAMPLES = _examples()
EACH = pytest.mark.parametrize(
    ("name", "title", "kind", "text"), EXAMPLES, ids=[f"{one[0]}-{index}" for index, one in enumerate(EXAMPLES)]
)


@EACH
def test_an_example(name: str, title: str, kind: str, text: str) -> None:
    """The lines are one report with that title and kind."""
    reports = recognise(console_lines(text))
    assert [(report.title, report.kind) for report in reports] == [(title, kind)]
    assert rules.BY_NAME[name].kind == kind or name in ("warning", "panic")


def test_each_rule_has_an_example() -> None:
    """A rule without an example cannot be added."""
    assert {example[0] for example in EXAMPLES} == {rule.name for rule in RULES}


def test_each_example_needs_its_rule() -> None:
    """The first line of an example that a rule knows is known to the rule that the example is for."""
    wrong = []
    for name, _, _, text in EXAMPLES:
        lines = [line for message in console_lines(text) for line in lines_of(message)]
        texts = [line.text[2:-1].rstrip() if line.text.startswith("[ ") else line.text for line in lines]
        found = [hit[0].name for hit in map(rules.find, texts) if hit is not None]
        if name not in found:
            wrong.append((name, found))
    assert wrong == []


def test_words() -> None:
    """Kinds and severities are words of the closed sets, each kind is of use, and names are unique."""
    assert {rule.kind for rule in RULES} <= KINDS.keys()
    assert {rule.severity for rule in RULES} <= SEVERITIES.keys()
    made = {report.kind for _, _, _, text in EXAMPLES for report in recognise(console_lines(text))}
    assert made | {"reboot"} == KINDS.keys()
    assert len(rules.BY_NAME) == len(RULES)


@pytest.mark.parametrize("literal", rules.LITERALS)
def test_a_literal_is_long_enough(literal: bytes) -> None:
    """With 8 bytes the prefilter reads every fifth byte; no literal has another one in it."""
    assert len(literal) >= 8
    assert [other for other in rules.LITERALS if other in literal] == [literal]


@EACH
def test_the_prefilter_finds_it(name: str, title: str, kind: str, text: str) -> None:
    """A message without a literal is not needed to begin a report: the same reports without all of them."""
    recogniser = Recogniser(source(), limits=FILE_LIMITS)
    reports: list[Report] = []
    for message in console_lines(text):
        if recogniser.is_open or any(literal in message.raw for literal in rules.LITERALS):
            reports += recogniser.take(message, 0.0)
    assert [report.title for report in [*reports, *recogniser.finish()]] == [title]


#: Lines that quote first lines, or that programs and tools log.
ALIKE = (
    "foo: DEBUG: BUG: KASAN: slab-use-after-free in f+0x1/0x2",
    "systemd[1]: Started BUG: unable to handle page fault for address",
    "a.out[123]: segfault at 0 ip 0000000000401136 sp 00007ffd error 4 in a.out[401000+1000]",
    "traps: a.out[123] general protection fault ip:401136 sp:7ffd error:0 in a.out[401000+1000]",
    "a.out[123] general protection fault ip:401136 sp:7ffd error:0 in a.out[401000+1000]",
    "INFO: lockdep is turned off.",
    "INFO: Stall ended before state dump start",
    "INFO: NMI handler (nmi_cpu_backtrace_handler) took too long to run: 9.508 msecs",
    "EXT4-fs warning (device sda1): ext4_end_bio:309: I/O error 10 writing to inode 1",
    "EXT4-fs error (device loop0): ext4_lookup:1234: inode #2: comm ls: an image in a file",
    "WARNING: Unprivileged eBPF is enabled with eIBRS on",
    "warning: `a.out' uses deprecated v2 capabilities in a way that may be insecure",
    "Kernel command line: console=ttyS0 panic=5 oops=panic softlockup_panic=1 Kernel panic - not syncing",
    "Command line: BUG: soft lockup - CPU#0 stuck for 22s!",
    "sysrq: HELP : loglevel(0-9) reboot(b) crash(c) show-backtrace-all-active-cpus(l)",
    "sysrq: Show Blocked State",
    "Alignment trap: a.out (123) PC=0x00010404 Instr=0xe5932000 Address=0x00000001 FSR 0x801",
    "mce: CPU2: Core temperature above threshold, cpu clock throttled",
    "..MP-BIOS bug: 8254 timer not connected to IO-APIC",
    "watchdog: watchdog0: watchdog did not stop!",
    "NMI watchdog: Enabled. Permanently consumes one hw-PMU counter.",
    "rcu: Preemptible hierarchical RCU implementation.",
    "usercopy: hardened",
    "kernel tried to execute",
    "Buffer I/O error on dev loop3, logical block 0, async page read",
    "BUG: no stack follows this line of a program",
    "=" * 66,
    "------------[ cut here ]------------",
    "8<--- cut here ---",
    "sh invoked oom-killer: gfp_mask=0x100cca(GFP_HIGHUSER_MOVABLE), order=0",
    "---[ end trace 0000000000000000 ]---",
    "Rebooting in 5 seconds..",
    "",
    " ",
    "[ ]",
)


@pytest.mark.parametrize("line", ALIKE)
def test_a_line_that_looks_alike(line: str) -> None:
    """No report, alone, repeated, and with the prefixes of a console."""
    assert recognise(console_lines(f"{line}\n{line}\n<4>[   12.345678][  T123] {line}\n")) == []


def test_a_dump_that_sysrq_asked_for() -> None:
    """The stacks of sysrq's dumps are no report."""
    head = f"sysrq: Show backtrace of all active CPUs\nNMI backtrace for cpu 1\n{CPU}{STACK}"
    other = f"Sending NMI from CPU 1 to CPUs 0:\nNMI backtrace for cpu 0\n{CPU}{STACK}"
    assert recognise(console_lines(head + other)) == []
