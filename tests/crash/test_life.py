"""Events of a machine's life, from single messages."""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netconsd.crash import life as module
from netconsd.crash.announcements import ANNOUNCED_SECONDS, ENDS
from netconsd.crash.event import DETAILS, EVENTS, Event
from netconsd.crash.life import (
    BOOTED_USEC,
    COMMAND_LINE_CHARACTERS,
    EVENT_SECONDS,
    EVENTS_AT_ONCE,
    GAP_EVIDENCE,
    GAP_RECORDS,
    LATELY_SECONDS,
    LITERALS,
    RELEASES_LIMIT,
    REPEATS_LIMIT,
    START_SECONDS,
    STRANGER_SECONDS,
    SURVIVED_SECONDS,
    Life,
)
from netconsd.crash.losses import LONGEST_SECONDS, QUIET_SECONDS
from netconsd.crash.report import Report
from netconsd.crash.silence import LEARN_SECONDS, LEAST_MESSAGES, LEAST_SECONDS
from netconsd.protocol.message import ExtendedMessage, LegacyDatagram, Message
from netconsd.testing import extended_message, legacy_message, source

ALICE = source()
VERSION = "Linux version 6.12.9-amd64 (x86_64-linux-gnu-gcc-14 (Debian 14.2.0-19) 14.2.0) #1 SMP"
UNIX = 1_800_000_000.0


class Machine:
    """One machine, and a clock that moves on by a second with each message."""

    def __init__(self, life: Life | None = None) -> None:
        self.life = life or Life()
        self.now = 1000.0

    def send(self, text: str, *, seconds: float = 1.0, **fields: Any) -> list[Event]:
        """Let time pass, then pass a message."""
        self.now += seconds
        fields.setdefault("ts_usec", int(self.now * 1e6))
        return self.pass_on(extended_message(text, received_at=UNIX + self.now, **fields))

    def pass_on(self, message: Message) -> list[Event]:
        return self.life.take(message, self.now)

    def report(self, title: str, **fields: Any) -> None:
        fields = {"kind": "bug", "severity": "degraded", "source": ALICE, **fields}
        assert self.life.reported(Report(title, **fields), self.now) == []

    def sweep(self, *heard: tuple[Any, float, int], seconds: float = 0.0) -> list[Event]:
        self.now += seconds
        return self.life.sweep(heard, self.now, UNIX + self.now)

    def reboot(self, **fields: Any) -> Event:
        """The next boot of the machine, seen by its stream."""
        events = self.send("first", boot=True, ts_usec=5_000_000, **fields)
        return next(event for event in events if event.kind == "rebooted")


def up(**fields: Any) -> Machine:
    """A machine that has been up for long, and was heard."""
    machine = Machine()
    assert machine.send("x", new=True, **fields) == []
    return machine


def kinds(events: list[Event]) -> list[str]:
    """The kinds of events, in order."""
    return [event.kind for event in events]


class TestBooted:
    """Machines that are heard for the first time."""

    def test_a_new_sender_with_a_young_clock(self) -> None:
        """A machine that is heard for the first time within two minutes of its boot has booted."""
        (event,) = Machine().send("x", new=True, ts_usec=BOOTED_USEC, release="6.12.9")
        assert (event.kind, event.text) == ("booted", "booted kernel 6.12.9")
        assert event.details == {"release": "6.12.9", "uptime": 120.0}
        assert event.message is not None
        assert event.received_at == event.message.received_at

    def test_a_new_sender_that_was_up(self) -> None:
        """Others were up before netconsd was started."""
        assert Machine().send("x", new=True, ts_usec=BOOTED_USEC + 1) == []

    def test_the_whole_log(self) -> None:
        """Release and command line are of the first lines; the time since the boot of the last one; netconsole's start
        is one event."""
        machine = Machine()
        machine.send(VERSION, new=True, ts_usec=0, seq=0)
        machine.send("Command line: root=/dev/sda \x1b[31m panic=5", seconds=0, ts_usec=0, seq=1)
        machine.send("netconsole: network logging started", seconds=0.1, ts_usec=4_000_000)
        assert machine.send("netconsole: network logging started", seconds=0, ts_usec=5_000_000) == []
        assert machine.sweep(seconds=START_SECONDS - 0.2) == []
        booted, started = machine.sweep(seconds=0.2)
        assert (booted.kind, started.kind) == ("booted", "logging-started")
        assert booted.details == {
            "release": "6.12.9-amd64",
            "command_line": "root=/dev/sda ?[31m panic=5",
            "uptime": 5.0,
        }
        assert isinstance(started.message, ExtendedMessage)
        assert started.message.ts_usec == 5_000_000

    @pytest.mark.parametrize("first", [VERSION, "Booting Linux on physical CPU 0x0000000000 [0x410fd083]"])
    def test_the_whole_log_of_a_machine_that_was_up(self, first: str) -> None:
        """Loading the module sends the whole log: its begin is of the past, and no boot."""
        machine = Machine()
        machine.send(first, new=True, ts_usec=0, seq=0)
        machine.send("netconsole: network logging started", ts_usec=4_000_000)
        machine.send("netconsole: network logging started", seconds=0.1)
        assert kinds(machine.sweep(seconds=START_SECONDS)) == ["logging-started"]

    def test_the_next_message_ends_the_wait(self) -> None:
        """Without a sweep, a later message of the sender does; so does the end of the input."""
        machine = Machine()
        machine.send(VERSION, new=True, ts_usec=0, seq=0)
        assert kinds(machine.send("x", seconds=START_SECONDS, lost=1)) == ["booted"]
        machine = Machine()
        machine.send(VERSION, new=True, ts_usec=0, seq=0)
        assert kinds(machine.life.finish(machine.now)) == ["booted"]

    def test_legacy_text(self) -> None:
        """Legacy text is read as well, with timestamps or without."""
        for prefix in ("[    0.000000] ", ""):
            machine = Machine()
            line = legacy_message(prefix + VERSION, received_at=7.0)
            line._new = True
            assert machine.pass_on(line) == []
            assert machine.pass_on(legacy_message(prefix + "Command line: quiet", received_at=7.0)) == []
            (event,) = machine.sweep(seconds=START_SECONDS)
            assert (event.text, event.details["command_line"]) == ("booted kernel 6.12.9-amd64", "quiet")
        line = legacy_message("hello")
        line._new = True
        assert Machine().pass_on(line) == []

    def test_a_whole_datagram(self) -> None:
        """A datagram of legacy text says nothing that its lines do not say."""
        machine = up()
        datagram = LegacyDatagram(ALICE, 1.0, b"netconsole: network logging started\n")
        datagram._limited = 3
        assert machine.pass_on(datagram) == []
        assert machine.life.finish(machine.now) == []

    def test_a_long_command_line(self) -> None:
        """It is cut to a bound."""
        machine = Machine()
        machine.send(VERSION, new=True, ts_usec=0, seq=0)
        machine.send("Command line: " + "x" * 9000, ts_usec=0, seq=1)
        (event,) = machine.sweep(seconds=START_SECONDS)
        assert len(str(event.details["command_line"])) == COMMAND_LINE_CHARACTERS


class TestRebooted:
    """The reasons of reboots."""

    def test_after_a_fatal_report(self) -> None:
        """The title of the report is the reason."""
        machine = up()
        machine.report("WARNING in f")
        machine.report("KASAN: use-after-free Read in g", fatal=True)
        machine.report("WARNING in __switch_to", consequence_of="KASAN: use-after-free Read in g", fatal=True)
        machine.report("INFO: task hung in h")
        event = machine.reboot()
        assert event.text == "rebooted after a crash: KASAN: use-after-free Read in g"
        assert event.details["how"] == "crash"
        assert event.details["title"] == "KASAN: use-after-free Read in g"

    def test_a_report_of_the_reboot_itself(self) -> None:
        """The report of an unexpected reboot, which the same message makes, does not explain the reboot."""
        machine = up()
        machine.report("unexpected kernel reboot", kind="reboot", severity="dead", fatal=True)
        assert machine.reboot().details["how"] == "unannounced"

    def test_after_a_panic_without_a_report(self) -> None:
        """The panic's line is enough, also in a buffer that is sent again; a report after it has the better title."""
        for fields in ({}, {"replayed": True}):
            machine = up()
            machine.report("WARNING in f")
            machine.send("Kernel panic - not syncing: Fatal exception\nmore", **fields)
            assert machine.reboot().details["title"] == "kernel panic: Fatal exception"
        machine.send("---[ end Kernel panic - not syncing: Fatal exception ]---")
        assert machine.reboot().details["title"] == "kernel panic: Fatal exception"
        machine.send("Kernel panic - not syncing: Fatal exception")
        machine.report("kernel BUG in f", fatal=True)
        assert machine.reboot().details["title"] == "kernel BUG in f"

    def test_words_of_a_panic_by_a_program(self) -> None:
        """A program that writes these words to the log panics nothing."""
        machine = up()
        machine.send("Kernel panic - not syncing: joke", facility=1)
        machine.send("test: Kernel panic - not syncing: joke")
        assert machine.reboot().details["how"] == "unannounced"

    @pytest.mark.parametrize("row", ENDS, ids=lambda row: row.pattern.pattern)
    def test_announced(self, row: Any) -> None:
        """Each row of the table has an example, which the prefilter finds, and which is the reason."""
        (text,) = [line for line in ANNOUNCEMENTS if row is next(each for each in ENDS if each.pattern.match(line))]
        machine = up()
        message = extended_message(text, facility=0 if row.by_kernel else 3, ts_usec=int(2e9))
        assert row.literal in message.raw
        assert row.literal in LITERALS
        assert machine.pass_on(message) == []
        event = machine.reboot()
        assert event.details["how"] == row.how
        assert event.text.startswith("rebooted: it ") or row.how == "orderly"

    @pytest.mark.parametrize("row", [row for row in ENDS if row.by_kernel], ids=lambda row: row.pattern.pattern)
    def test_the_kernels_words_by_a_program(self, row: Any) -> None:
        """The kernel's own lines count from the kernel only."""
        machine = up()
        machine.send(row.literal.decode(), facility=1)
        assert machine.reboot().details["how"] == "unannounced"

    def test_the_first_announcement_counts(self) -> None:
        """A target says more than the last words of systemd, and a crash more than either."""
        machine = up()
        machine.send("systemd[1]: Reached target kexec.target - Reboot via kexec.", facility=3)
        machine.send("systemd-shutdown[1]: Syncing filesystems and block devices.", facility=3)
        assert machine.reboot().details["how"] == "kexec"
        machine.send("systemd-shutdown[1]: Syncing filesystems and block devices.", facility=3)
        machine.send("systemd-shutdown[1]: Rebooting.", facility=3)
        assert machine.reboot().details["how"] == "restart"
        machine.send("systemd-shutdown[1]: Rebooting.", facility=3)
        machine.report("kernel BUG in f", fatal=True)
        assert machine.reboot().details["how"] == "crash"

    def test_an_old_announcement(self) -> None:
        """An announcement that came to nothing does not explain a reboot later."""
        for seconds, how in ((ANNOUNCED_SECONDS, "restart"), (ANNOUNCED_SECONDS + 1, "unannounced")):
            machine = up()
            machine.send("reboot: Restarting system")
            assert machine.reboot(seconds=seconds).details["how"] == how

    def test_a_report_before(self) -> None:
        """A report of the last minutes is named, although it was not fatal; an older one is not."""
        for seconds, title in ((LATELY_SECONDS - 1, "INFO: task hung in f"), (LATELY_SECONDS + 1, None)):
            machine = up()
            machine.report("INFO: task hung in f")
            machine.send("x", seconds=seconds, lost=1)
            event = machine.reboot(seconds=9999)
            assert event.details["how"] == "unannounced"
            assert event.details.get("title") == title

    def test_a_crash_that_was_survived(self) -> None:
        """A report that seemed fatal an hour before the last sign of life was not."""
        machine = up()
        machine.report("kernel BUG in f", fatal=True)
        machine.send("x", seconds=SURVIVED_SECONDS + 1, lost=1)
        assert machine.reboot().details["how"] == "unannounced"

    def test_the_past_ends_with_the_boot(self) -> None:
        """What explained one reboot does not explain the next."""
        machine = up()
        machine.report("kernel BUG in f", fatal=True)
        assert machine.reboot().details["how"] == "crash"
        assert machine.reboot().details["how"] == "unannounced"

    def test_another_kernel(self) -> None:
        """A changed release is named."""
        event = up(release="6.1.0").reboot(release="6.12.9")
        assert event.text.endswith("; the kernel was 6.1.0 and is 6.12.9")
        assert (event.details["release_before"], event.details["release"]) == ("6.1.0", "6.12.9")

    @pytest.mark.parametrize(
        ("release", "command_line", "text"),
        [
            ("7.3.4+deb13-amd64", "panic=0 panic=10", "this kernel sends none with panic=10"),
            ("7.3.4+deb13-amd64", "panic=-1", "this kernel sends none with panic=-1"),
            ("7.3.4+deb13-amd64", "quiet nopanic=3", "this kernel sends none unless panic=0"),
            ("7.2.13+deb14-s390x", "panic=0", "this kernel sends none on s390x"),
            ("7.3.4+deb13-amd64", "panic=10 panic=0", ""),
            ("6.12.9-amd64", "panic=10", ""),
            ("strange", "panic=10", ""),
        ],
    )
    def test_kernels_that_send_nothing(self, release: str, command_line: str, text: str) -> None:
        """Without a crash and an announcement, the event says whether anything could have arrived."""
        machine = Machine()
        machine.send(f"Linux version {release} (gcc)", new=True, ts_usec=0, seq=0)
        machine.send(f"Command line: {command_line}", ts_usec=0, seq=1)
        machine.sweep(seconds=START_SECONDS)
        event = machine.reboot(release=release)
        if text:
            assert event.text == f"rebooted; nothing of a crash arrived, and {text}"
            assert event.details["reason"] == text
        else:
            assert event.text == "rebooted; nothing announced it, and nothing of a crash arrived"

    def test_what_the_earlier_boots_said(self) -> None:
        """A target made later sends no first lines: the processor is known from an earlier boot, panic= from the same
        boot, also after netconsd had forgotten the sender, or else from the next."""
        machine = Machine()
        machine.send("Linux version 7.2.1 (s390x-linux-gnu-gcc-14)", new=True, ts_usec=0, seq=0)
        machine.reboot(release="7.2.1")
        assert machine.reboot(release="7.2.1").details["reason"] == "this kernel sends none on s390x"
        machine = Machine()
        machine.send("Linux version 7.3.4 (gcc)", new=True, ts_usec=0, seq=0)
        machine.send("Command line: panic=5", ts_usec=0, seq=1)
        machine.send("x", seconds=9000, new=True)
        assert machine.reboot(release="7.3.4").details["reason"] == "this kernel sends none with panic=5"
        machine.send("Linux version 7.3.4 (gcc)", boot=True, ts_usec=0, seq=0)
        machine.send("Command line: panic=6", ts_usec=0, seq=1)
        (event,) = machine.sweep(seconds=START_SECONDS)
        assert event.details["reason"] == "this kernel sends none with panic=6"

    def test_kdump(self) -> None:
        """The kernel that kdump starts says on its command line that the one before crashed."""
        for title in (None, "BUG: unable to handle kernel NULL pointer dereference in f"):
            machine = up()
            if title is not None:
                machine.report(title)
            machine.send(VERSION, boot=True, ts_usec=0, seq=0)
            machine.send("Command line: quiet elfcorehdr=0x1e000000", ts_usec=0, seq=1)
            (event,) = machine.sweep(seconds=START_SECONDS)
            assert (event.details["how"], event.details.get("title")) == ("kdump", title)
            assert event.text.endswith(title or "the kernel before it crashed")

    def test_a_sender_that_netconsd_had_forgotten(self) -> None:
        """After --gc, a sender is new for its stream; its clock says whether it booted since."""
        machine = up()
        assert machine.send("x", seconds=9000, new=True) == []
        machine.report("kernel BUG in f", fatal=True)
        (event,) = machine.send("x", seconds=9000, new=True, ts_usec=30_000_000)
        assert (event.kind, event.details["how"]) == ("rebooted", "crash")

    def test_the_module_is_loaded_again_on_it(self) -> None:
        """The whole log from the same boot is none, and what is known of the boot stays."""
        machine = up()
        machine.report("kernel BUG in f", fatal=True)
        machine.send(VERSION, new=True, ts_usec=0, seq=0)
        machine.send("netconsole: network logging started", seconds=0.1)
        assert kinds(machine.sweep(seconds=START_SECONDS)) == ["logging-started"]
        assert machine.reboot().details["how"] == "crash"

    def test_a_sender_that_life_does_not_know(self) -> None:
        """The stream knows of the boot, and Life nothing of the time before."""
        event = Machine().reboot()
        assert (event.text, event.details["how"]) == ("rebooted; nothing is known of the time before", "unknown")


ANNOUNCEMENTS = (
    "reboot: Restarting system with command 'x'",
    "reboot: Power down",
    "reboot: System halted",
    "reboot: Power off not available: System halted instead",
    "reboot: HARDWARE PROTECTION shutdown (Temperature too high)",
    "kexec_core: Starting new kernel",
    "sysrq: Resetting",
    "sysrq: Power Off",
    "systemd-shutdown[1]: Rebooting.",
    "systemd-shutdown[1]: Powering off.",
    "systemd-shutdown[1]: Syncing filesystems and block devices.",
    "systemd-journald[233]: Received SIGTERM from PID 1 (systemd-shutdow).",
    "systemd[1]: Reached target reboot.target - System Reboot.",
    "systemd[1]: Reached target kexec.target - Reboot via kexec.",
    "systemd[1]: Reached target poweroff.target - System Power Off.",
    "systemd[1]: Reached target Halt.",
    "systemd[1]: Reached target shutdown.target - System Shutdown.",
    "systemd[1]: Shutting down.",
    "systemd-logind[512]: The system will reboot with kexec now!",
    "systemd-logind[512]: The system will reboot now!",
    "systemd-logind[512]: The system will power off now!",
    "systemd-logind[512]: System is powering down.",
    "systemd-logind[512]: System is rebooting.",
    "Restarting system.",
    "reboot: machine restart",
    "Starting new kernel",
    "SysRq : Resetting",
    "Requesting system reboot",
    "The system is going down NOW!",
)


class TestLogging:
    """WIRE section 8."""

    @pytest.mark.parametrize(
        ("line", "kind", "details"),
        [
            ("network logging started", "logging-started", {}),
            ("netconsole: network logging started", "logging-started", {}),
            ("network logging resumed on interface eth0", "logging-resumed", {"interface": "eth0"}),
            (
                "network logging stopped on interface bond0.5 as it is joining a master device",
                "logging-stopped",
                {"interface": "bond0.5", "reason": "is joining a master device"},
            ),
            (
                "network logging stopped on interface eth0 as it released slaves",
                "logging-stopped",
                {"interface": "eth0", "reason": "released slaves"},
            ),
            (
                "network logging stopped on interface eth0 as it unregistered",
                "logging-stopped",
                {"interface": "eth0", "reason": "unregistered"},
            ),
        ],
    )
    def test_events(self, line: str, kind: str, details: dict[str, str]) -> None:
        """Start, stop and resumption are events with the interface and the reason."""
        (event,) = up().send(f"netconsole: {line}")
        assert (event.kind, event.details) == (kind, details)
        assert all(value in event.text for value in details.values())

    @pytest.mark.parametrize(
        ("line", "fields"),
        [
            ("netconsole: network logging has already started", {}),
            ("netconsole: network logging has already stopped", {}),
            ("x: netconsole: network logging started", {}),
            ("netconsole: network logging started", {"facility": 1}),
            ("netconsole: network logging started", {"replayed": True}),
        ],
    )
    def test_other_lines(self, line: str, fields: dict[str, Any]) -> None:
        """Nothing is started by other lines, by programs, or in a buffer that is sent again."""
        assert up().send(line, **fields) == []


class TestLost:
    """Losses, by each way to know of them."""

    def test_a_burst_is_one_event(self) -> None:
        """Losses within some seconds of each other are one event with their sums, of the first message."""
        machine = up()
        for _ in range(7):
            assert machine.send("x", lost=3, seconds=QUIET_SECONDS - 1) == []
        first = machine.now - 6 * (QUIET_SECONDS - 1)
        assert machine.sweep(seconds=QUIET_SECONDS - 0.1) == []
        (event,) = machine.sweep(seconds=0.2)
        assert (event.kind, event.text) == ("lost", "21 messages lost on the way")
        assert event.details == {"by_msgid": 21, "seconds": 6 * (QUIET_SECONDS - 1)}
        assert event.received_at == UNIX + first
        assert machine.sweep(seconds=999) == []

    def test_a_long_burst(self) -> None:
        """A sender that loses messages all the time makes an event a minute, and the sums are right."""
        machine = up()
        events = [event for _ in range(300) for event in machine.send("x", lost=1)]
        events += machine.life.finish(machine.now)
        assert len(events) == 300 / LONGEST_SECONDS
        assert sum(int(event.details["by_msgid"]) for event in events) == 300

    @pytest.mark.parametrize(
        ("fields", "details"),
        [
            ({"lost": 2}, {"by_msgid": 2}),
            ({"likely_lost": 3, "missing": 3}, {"by_seq": 3}),
            ({"lost": 5, "limited": 4}, {"by_msgid": 5, "limited": 4}),
            ({"text": "** 12 printk messages dropped **"}, {"by_kernel": 12}),
        ],
    )
    def test_how(self, fields: dict[str, Any], details: dict[str, int]) -> None:
        """Each way to know of a loss has its own sum."""
        machine = up()
        machine.send(fields.pop("text", "x"), **fields)
        (event,) = machine.life.finish(machine.now)
        assert event.details == {**details, "seconds": 0.0}
        assert all(str(count) in event.text for count in details.values())

    def test_the_notice_of_the_kernel_in_legacy_text(self) -> None:
        """The kernel's notice is a line of its own."""
        machine = Machine()
        assert machine.pass_on(legacy_message("** 3 printk messages dropped **")) == []
        (event,) = machine.sweep(seconds=QUIET_SECONDS)
        assert event.text == "3 messages dropped by the kernel before sending"

    def test_the_first_message_has_a_limit(self) -> None:
        """A message before a boot ends the burst of the boot before."""
        machine = up()
        machine.send("x", lost=1)
        assert kinds(machine.send("x", boot=True, ts_usec=5_000_000)) == ["lost", "rebooted"]

    def test_a_gap_while_the_msgid_runs_on(self) -> None:
        """A sender that had sent all its records leaves a great gap: the event says that loss or suppression is not
        known."""
        machine = up(seq=100, msgid=10)
        machine.send("x", seq=100 + GAP_EVIDENCE + 16_000, msgid=10 + GAP_EVIDENCE, missing=16_000)
        (event,) = machine.life.finish(machine.now)
        assert event.details == {"unsent": 16_000, "seconds": 0.0}
        assert "not known" in event.text

    @pytest.mark.parametrize(
        ("seq", "msgid", "missing"),
        [
            # Too few messages before it; a gap too small; no msgid.
            (100 + GAP_EVIDENCE - 1 + 16_000, 10 + GAP_EVIDENCE - 1, 16_000),
            (100 + GAP_EVIDENCE + GAP_RECORDS - 1, 10 + GAP_EVIDENCE, GAP_RECORDS - 1),
            (100 + GAP_EVIDENCE + 16_000, None, 16_000),
            # A log level suppresses some of the records.
            (100 + 1000 + 600 + 100, 10 + 1000, 100),
            # The target was made again: its msgid began again.
            (9000, 1, 100),
        ],
    )
    def test_other_gaps(self, seq: int, msgid: int | None, missing: int) -> None:
        """A gap is nothing unusual, or says nothing."""
        machine = up(seq=100, msgid=10)
        machine.send("x", seq=seq, msgid=msgid, missing=missing)
        assert machine.life.finish(machine.now) == []

    def test_a_new_log_level_is_learnt(self) -> None:
        """From then on, gaps are usual."""
        machine = up(seq=100, msgid=10)
        for step in range(1, 500):
            machine.send("x", seq=100 + 120 * step, msgid=10 + 20 * step, missing=100, seconds=0)
        (event,) = machine.life.finish(machine.now)
        assert event.details["unsent"] == 200
        # And forgotten: all records are sent again for long, then there is a gap.
        machine.send("x", seq=100 + 120 * 499 + 4100, msgid=10 + 20 * 499 + 4000, missing=100)
        (event,) = machine.life.finish(machine.now)
        assert event.details["unsent"] == 100


class TestSilent:
    """Silence that is longer than usual; test_silence has the times."""

    def watched(self) -> Machine:
        """A machine with a message a minute for some days."""
        machine = up()
        start = machine.now
        while machine.now < start + LEARN_SECONDS + 2 * LEAST_SECONDS:
            assert machine.sweep((ALICE, machine.now + 60.0, 99), seconds=60.0) == []
        return machine

    def quiet(self, machine: Machine, seconds: float = LEAST_SECONDS) -> list[Event]:
        end = machine.now + seconds
        return [event for _ in range(int(seconds / 60)) for event in machine.sweep(seconds=60.0) if machine.now <= end]

    def test_silence_and_its_end(self) -> None:
        """An event at each."""
        machine = self.watched()
        (event,) = self.quiet(machine)
        assert (event.kind, event.source, event.message) == ("silent", ALICE, None)
        assert event.text == "silent for 15 minutes; usually for at most 60 seconds"
        assert event.details == {"seconds": 900, "usual": 60}
        assert event.received_at == UNIX + machine.now
        (event,) = machine.sweep((ALICE, machine.now + 50.0, 100), seconds=60.0)
        assert (event.kind, event.text) == ("heard-again", "sends again after 15 minutes of silence")
        assert (event.details, event.received_at) == ({"seconds": 950}, UNIX + machine.now - 10.0)

    def test_after_a_crash(self) -> None:
        """The crash is named, and the boot ends the silence."""
        machine = self.watched()
        machine.report("kernel BUG in f", fatal=True)
        (event,) = self.quiet(machine)
        assert event.details["title"] == "kernel BUG in f"
        assert "kernel BUG in f" in event.text
        assert kinds(machine.send("x", boot=True, ts_usec=5_000_000)) == ["heard-again", "rebooted"]

    def test_after_an_announced_reboot(self) -> None:
        """A machine that does not return from its reboot is silent."""
        machine = self.watched()
        machine.send("reboot: Restarting system")
        (event,) = self.quiet(machine)
        assert event.details["how"] == "restart"

    def test_after_a_power_off(self) -> None:
        """A machine that switched itself off is not reported, neither then nor when it returns."""
        machine = self.watched()
        machine.send("reboot: Power down")
        assert self.quiet(machine, 9000) == []
        assert kinds(machine.send("x", boot=True, ts_usec=5_000_000)) == ["rebooted"]

    def test_few_messages(self) -> None:
        """A sender with few messages is not watched."""
        machine = Machine()
        machine.sweep((ALICE, machine.now, LEAST_MESSAGES - 1))
        assert len(machine.life._silence) == 0


class TestRepeated:
    """Reports that come again in the same boot."""

    def test_powers_of_ten(self) -> None:
        """A bug that comes 975 times is three events, with the sums."""
        machine = up()
        events = [
            event
            for _ in range(975)
            for event in machine.life.repeated(ALICE, "KFENCE: use-after-free read in f", 1, UNIX, machine.now)
        ]
        assert [event.details["repeats"] for event in events] == [1, 10, 100]
        assert kinds(events) == ["repeated"] * 3
        assert events[1].text == "KFENCE: use-after-free read in f: came again 10 times since the boot"

    def test_several_at_once(self) -> None:
        """A jump over a power of ten is one event; no repeat is none."""
        machine = up()
        assert machine.life.repeated(ALICE, "a", 0, UNIX, machine.now) == []
        (event,) = machine.life.repeated(ALICE, "a", 5000, UNIX, machine.now)
        assert event.details["repeats"] == 5000
        assert machine.life.repeated(ALICE, "a", 4999, UNIX, machine.now) == []

    def test_titles_are_bounded(self) -> None:
        """A sender of ever other titles grows nothing without bound."""
        machine = up()
        for number in range(100):
            machine.life.repeated(ALICE, f"title {number}", 1, UNIX, machine.now)
        past = machine.life._senders[ALICE.key].past
        assert past is not None
        assert past.repeats is not None
        assert len(past.repeats) == REPEATS_LIMIT


class TestBounds:
    """Strangers cost bounded memory and time."""

    def test_senders(self) -> None:
        """A further sender replaces the one that was passed longest ago, and is counted."""
        life = Life(limit=2)
        for number in (1, 2, 1, 3):
            life.take(extended_message("x", address=f"192.0.2.{number}", new=True, ts_usec=10**9), 1.0)
        assert (len(life), life.counters.forgotten) == (2, 1)
        assert source("192.0.2.2").key not in life._senders

    def test_watched_senders(self) -> None:
        """The senders whose silence is watched are bounded as well, and counted by the same counter."""
        life = Life(limit=2)
        life.sweep([(source(f"192.0.2.{number}"), 1.0, LEAST_MESSAGES) for number in range(5)], 2.0, 2.0)
        assert (len(life._silence), life.counters.forgotten) == (2, 3)

    def test_starts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A flood of first lines of logs does not wait without bound."""
        monkeypatch.setattr(module, "STARTS_LIMIT", 3)
        life = Life()
        events: list[Event] = []
        for number in range(10):
            events += life.take(extended_message(VERSION, address=f"192.0.2.{number}", new=True, ts_usec=0), 1.0)
        assert (len(life._starts), kinds(events)) == (3, ["booted"] * 7)

    def test_losses(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A flood of forged gaps ends the oldest bursts early, and none is lost."""
        monkeypatch.setattr(module, "LOSSES_LIMIT", 3)
        life = Life()
        events: list[Event] = []
        for number in range(10):
            events += life.take(extended_message("x", address=f"192.0.2.{number}", lost=1), 1.0)
        assert (len(life._losses), kinds(events)) == (3, ["lost"] * 7)

    def test_events_of_one_sender(self) -> None:
        """A sender has some events at once and few in the long run; the others are counted."""
        machine = up()
        machine.now += STRANGER_SECONDS
        line = "netconsole: network logging started"
        events = [event for _ in range(1000) for event in machine.send(line, seconds=0.001)]
        assert len(events) == EVENTS_AT_ONCE
        assert machine.life.counters.withheld == 1000 - EVENTS_AT_ONCE
        assert machine.life.counters.events == EVENTS_AT_ONCE
        assert len(machine.send(line, seconds=EVENT_SECONDS)) == 1
        # Boots do not renew them.
        assert [event for _ in range(9) for event in machine.send("x", boot=True, ts_usec=5, seconds=0)] == []

    def test_withheld_losses_are_added_to_the_next(self) -> None:
        """The sums of losses are kept."""
        machine = up()
        for _ in range(EVENTS_AT_ONCE):
            machine.send("netconsole: network logging started", seconds=0)
        machine.send("x", lost=2, seconds=0)
        assert machine.life.finish(machine.now) == []
        machine.send("x", lost=3, seconds=EVENT_SECONDS)
        (event,) = machine.life.finish(machine.now)
        assert event.details["by_msgid"] == 5

    def test_events_of_strangers(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """All senders that are known for some minutes only have a bound together, which does not bind the others."""
        monkeypatch.setattr(module, "STRANGERS_EVENTS_AT_ONCE", 50)
        machine = up()
        machine.now += STRANGER_SECONDS
        forged = [
            extended_message("x", address=f"198.51.{number // 250}.{number % 250}", new=True, ts_usec=1)
            for number in range(500)
        ]
        events = [event for message in forged for event in machine.life.take(message, machine.now)]
        assert len(events) == 50
        assert machine.life.counters.withheld == 450
        # A boot makes no stranger of a known sender.
        assert [machine.reboot(seconds=0).kind for _ in range(2)] == ["rebooted"] * 2

    def test_releases(self) -> None:
        """The senders of a fleet share the string of their release; releases without end are not kept."""
        life = Life()
        for number in range(3):
            life.take(extended_message("x", address=f"192.0.2.{number}", new=True, release="6.12.9"), 1.0)
        assert len({id(sender.release) for sender in life._senders.values()}) == 1
        for number in range(3 * RELEASES_LIMIT):
            life.take(extended_message("x", boot=True, release=f"6.{number}"), 1.0)
        assert len(life._releases) <= RELEASES_LIMIT

    def test_an_unknown_source(self) -> None:
        """A report without a source, or of a sender that is not known, changes nothing."""
        machine = Machine()
        machine.report("kernel BUG in f", fatal=True)
        machine.report("kernel BUG in f", source=None)
        assert len(machine.life) == 0


def test_an_event_can_leave_the_process() -> None:
    """It can be pickled, compared and hashed, and its fields are plain values."""
    (event,) = Machine().send("x", new=True, ts_usec=5)
    again = pickle.loads(pickle.dumps(event))
    assert again == event
    assert hash(again) == hash(event)
    assert event.fields() == {
        "kind": "booted",
        "address": "192.0.2.1",
        "port": 6665,
        "received_at": UNIX + 1001.0,
        "text": "booted",
        "details": {"uptime": 0.0},
    }


TEXTS = st.one_of(
    st.sampled_from([VERSION, "Command line: panic=5", *ANNOUNCEMENTS]),
    st.sampled_from([f"netconsole: network logging {what}" for what in ("started", "stopped on interface x as it y")]),
    st.sampled_from(["Kernel panic - not syncing: \x00", f"** {'9' * 18} printk messages dropped **"]),
    st.builds(lambda literal, rest: literal.decode() + rest, st.sampled_from(LITERALS), st.text(max_size=20)),
    st.text(max_size=30),
)
MARKS = {name: st.booleans() for name in ("new", "boot", "replayed")}
COUNTS = {name: st.integers(0, 2**63 - 1) for name in ("missing", "likely_lost", "limited")}
EXTENDED = st.builds(
    extended_message,
    TEXTS,
    address=st.sampled_from(["192.0.2.1", "192.0.2.2", "2001:db8::7"]),
    seq=st.integers(0, 2**64 - 1),
    ts_usec=st.integers(0, 2**64 - 1),
    msgid=st.one_of(st.none(), st.integers(0, 2**32 - 1)),
    lost=st.one_of(st.none(), st.integers(0, 2**32 - 1)),
    release=st.sampled_from([None, "7.3.4-amd64", "6.1", "x"]),
    facility=st.sampled_from([0, 1, 3]),
    **MARKS,
    **COUNTS,
)
LEGACY = st.builds(
    legacy_message,
    st.one_of(TEXTS.map(lambda text: f"[    5.123456] {text}"), TEXTS),
    address=st.sampled_from(["192.0.2.1", "192.0.2.3"]),
)
STEPS = st.lists(
    st.one_of(
        EXTENDED,
        LEGACY,
        st.builds(
            Report, st.text(max_size=9), st.just("bug"), st.just("dead"), source=st.just(ALICE), fatal=st.booleans()
        ),
        st.floats(-1e9, 1e9),
    ),
    max_size=30,
)


@given(STEPS, st.integers(1, 3))
def test_any_messages(steps: list[Any], limit: int) -> None:
    """Whatever arrives, in whatever order: nothing raises, each event is a known kind of printable text, and the tables
    stay within their bounds."""
    life = Life(limit=limit)
    events: list[Event] = []
    now = 0.0
    for step in steps:
        if isinstance(step, float):
            now += abs(step)
            events += life.sweep([(ALICE, now - 1.0, 99), (source("192.0.2.9"), step, 9)], now, step)
        elif isinstance(step, Report):
            events += life.reported(step, now)
            events += life.repeated(ALICE, step.title, 3, 0.0, now)
        else:
            events += life.take(step, now)
        assert len(life) <= limit
        assert len(life._silence) <= limit
    events += life.finish(now)
    for event in events:
        assert event.kind in EVENTS
        assert set(event.details) <= set(DETAILS[event.kind])
        assert event.text.isascii()
        assert event.text.isprintable()
        assert all(isinstance(value, (str, int, float)) for value in event.details.values())
        assert all(str(value).isprintable() for value in event.details.values())
    assert life.counters.events == len(events)
    assert not life._starts
    assert not life._losses


def test_the_docs() -> None:
    """docs/events has each kind with its details, and each word of ``how``."""
    page = (Path(__file__).parents[2] / "docs" / "events.rst").read_text()
    assert list(DETAILS) == list(EVENTS)
    for kind, names in DETAILS.items():
        assert re.search(rf"^`{kind}` ", page, re.MULTILINE), kind
        assert all(f"`{name}`" in page for name in names)
    words = {*(row.how for row in ENDS), "crash", "kdump", "unannounced", "unknown"}
    section = page.partition("`how`            meaning")[2].partition("\n\n")[0]
    assert set(re.findall(r"^`([a-z-]+)` ", section, re.MULTILINE)) == words
