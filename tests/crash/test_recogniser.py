"""The recogniser: which lines are a report, where it ends, what is counted, and the bounds."""

from __future__ import annotations

import json
import pickle
from collections.abc import Sequence

import pytest

from netconsd.crash.announcements import ANNOUNCED_SECONDS
from netconsd.crash.recogniser import LINGER, SEEN_LIMIT, SILENCE, Limits, Recogniser
from netconsd.crash.report import FRAMES_LIMIT, Frame, Report
from netconsd.protocol.message import Message
from netconsd.testing import extended_message, legacy_message, source
from tests.support.crash_lines import (
    CPU,
    END,
    NULL_TITLE,
    OOPS,
    STACK,
    WARN,
    WARN_TITLE,
    console_lines,
    extended_lines,
    interleaved,
    recognise,
    titles,
)
from tests.support.decoding import read

FATAL = (
    "Kernel panic - not syncing: Fatal exception\nKernel Offset: disabled\n"
    "---[ end Kernel panic - not syncing: Fatal exception ]---\n"
)
RIP = "RIP: 0010:innermost+0x13/0x20 [some_module]\n"
SOFT = f"watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [sh:196]\n{CPU}{RIP}{STACK}"


class Feed:
    """A recogniser, and a clock."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.recogniser = Recogniser(source(), limits=limits or Limits())
        self.now = 1000.0
        self.reports: list[Report] = []

    def take(self, messages: Sequence[Message], before: Sequence[Message] = ()) -> Feed:
        for message in messages:
            self.reports += self.recogniser.take(message, self.now, lambda: before)
        return self

    def wait(self, seconds: float) -> Feed:
        self.now += seconds
        self.reports += self.recogniser.expire(self.now)
        return self

    @property
    def titles(self) -> list[str]:
        return [report.title for report in self.reports]


class TestFields:
    """What a report has."""

    def test_all_fields(self) -> None:
        """A report has what its lines say."""
        before = console_lines("one\ntwo\n")
        feed = Feed().take(extended_lines(OOPS, release="7.3.4"), before).wait(LINGER)
        (report,) = feed.reports
        assert report.title == NULL_TITLE
        assert (report.kind, report.severity, report.fatal) == ("memory-fault", "degraded", False)
        assert (report.function, report.module) == ("innermost", "some_module")
        assert report.alternatives == ("bad-access in innermost",)
        assert report.fingerprint.startswith("1:")
        assert (report.source, report.release) == (source(), "7.3.4")
        assert report.machine == "QEMU Standard PC (i440FX + PIIX, 1996), BIOS 1.16.2-debian-1.16.2-1 04/01/2014"
        assert (report.cpu, report.pid, report.comm) == (0, 196, "sh")
        assert report.tainted == "GOE"
        assert report.taint == ("no proprietary module", "an out-of-tree module", "an unsigned module")
        assert report.frames[:2] == (
            Frame("innermost", 0x13, 0x20, "some_module"),
            Frame("innermost", 0x13, 0x20, "some_module"),
        )
        assert report.frames[-1].name == "entry_SYSCALL_64_after_hwframe"
        assert [message.text for message in report.messages] == OOPS.splitlines()
        assert report.before == tuple(before)
        assert (report.received_at, report.ts_usec) == (0.0, 5_000_000)
        assert (report.consequence_of, report.incomplete, report.repeats) == (None, None, 0)
        assert (report.first_line, report.last_line) == (None, None)
        assert report.text() == OOPS

    def test_there_and_back(self) -> None:
        """The fields are JSON, and make an equal report; a report can be pickled."""
        (report,) = recognise(extended_lines(OOPS))
        fields = json.loads(json.dumps(report.fields()))
        assert "messages" not in fields
        assert fields["taint"] == list(report.taint)
        assert Report.from_fields(fields, report.messages, report.before) == report
        assert [one["text"] for one in report.fields(lambda message: {"text": message.text})["messages"]] == (
            OOPS.splitlines()
        )
        assert pickle.loads(pickle.dumps(report)) == report

    def test_a_bad_object(self) -> None:
        """Other fields than those of a report are an error that names the field."""
        fields = recognise(extended_lines(OOPS))[0].fields()
        for name, value in (("kind", "crash"), ("severity", None), ("title", 7), ("frames", [{}]), ("source", "x")):
            with pytest.raises(ValueError, match=name):
                Report.from_fields({**fields, name: value})

    def test_lines_of_a_file(self) -> None:
        """The numbers of the first and last line are those of the messages."""
        recogniser = Recogniser()
        reports: list[Report] = []
        for number, message in enumerate(console_lines(f"chatter\n{OOPS}chatter\n"), 1):
            reports += recogniser.take(message, 0.0, line=number)
        (report,) = [*reports, *recogniser.finish()]
        assert (report.first_line, report.last_line) == (2, 1 + len(OOPS.splitlines()))

    def test_build_ids(self) -> None:
        """A module's build id is in the frame."""
        text = OOPS.replace("[some_module]", f"[some_module {'0123abcd' * 5}]")
        assert recognise(console_lines(text))[0].frames[0].build_id == "0123abcd" * 5


class TestEnd:
    """Where a report ends."""

    def test_silence(self) -> None:
        """A report without an end line is finished when the silence has lasted long enough, and not before."""
        feed = Feed().take(extended_lines(SOFT)).wait(SILENCE - 0.1)
        assert feed.recogniser.deadline == 1000.0 + SILENCE
        assert (feed.reports, feed.recogniser.is_open) == ([], True)
        feed.wait(0.2)
        assert feed.titles == ["BUG: soft lockup in middle"]
        assert feed.reports[0].incomplete is None
        assert [feed.recogniser.is_open, feed.recogniser.deadline] == [False, None]

    def test_silence_by_the_senders_clock(self) -> None:
        """A line that the sender logged long after ends the report, as in a file, which arrives at once."""
        late = extended_lines("Modules linked in: of another time\n", ts_usec=60_000_000, seq=900)
        feed = Feed().take(extended_lines(SOFT)).take(late)
        assert feed.titles == ["BUG: soft lockup in middle"]
        assert feed.reports[0].messages[-1].text == " </TASK>"

    def test_after_the_end_line(self) -> None:
        """After an end line a report is finished sooner than by silence."""
        feed = Feed().take(extended_lines(OOPS)).wait(LINGER - 0.1)
        assert (feed.titles, feed.recogniser.deadline) == ([], 1000.0 + LINGER)
        assert feed.wait(0.2).titles == [NULL_TITLE]

    def test_chatter_does_not_prolong(self) -> None:
        """Lines that do not belong to the report do not keep it open."""
        feed = Feed().take(extended_lines(SOFT))
        for second in range(6):
            feed.take(extended_lines("usb 1-1: new device\n", seq=200 + second)).wait(1.0)
        assert feed.titles == ["BUG: soft lockup in middle"]

    def test_the_panic_after_an_oops(self) -> None:
        """A panic that ends an oops is a part of it, and the machine is dead; the end line closes at once."""
        feed = Feed().take(extended_lines(OOPS + FATAL))
        assert feed.titles == [NULL_TITLE]
        (report,) = feed.reports
        assert (report.fatal, report.severity) == (True, "dead")
        assert report.text() == OOPS + FATAL

    def test_a_panic_of_its_own(self) -> None:
        """A panic for another reason, after an oops, is a report, whole without a stack as the kernel is tainted D."""
        panic = extended_lines(
            "Kernel panic - not syncing: sysrq triggered crash\nRebooting in 5 seconds..\n", seq=300, ts_usec=9_000_000
        )
        feed = Feed().take(extended_lines(OOPS)).wait(LINGER).take(panic)
        assert feed.titles == [NULL_TITLE, "kernel panic: sysrq triggered crash"]
        assert [report.fatal for report in feed.reports] == [False, True]
        assert [report.incomplete for report in feed.reports] == [None, None]

    def test_an_oops_with_kdump(self) -> None:
        """With kdump nothing follows a fatal oops: a whole one without end is fatal; one with its end is not."""
        text = OOPS.replace("Comm: sh Tainted", "Comm: sh Kdump: loaded Tainted")
        assert recognise(extended_lines(text.removesuffix(END)))[0].fatal
        assert not recognise(extended_lines(text))[0].fatal

    def test_registers_after_the_end(self) -> None:
        """The first oops' registers, printed again after the end, are in the report and not its function."""
        again = "RIP: 0010:first_one+0x1/0x2\nRAX: 0000000000000000 RBX: 0000000000000001\n"
        (report,) = recognise(extended_lines(OOPS + again))
        assert (report.title, report.text()) == (NULL_TITLE, OOPS + again)

    def test_a_reboot_in_the_middle(self) -> None:
        """The part received before a boot is a report, marked and fatal; the new boot is no further report."""
        cut = OOPS[: OOPS.index("Call Trace")]
        boot = extended_message("Linux version 7.3.4", seq=0, ts_usec=0, boot=True)
        feed = Feed().take(extended_lines(cut)).take([boot], extended_lines(cut))
        assert feed.titles == [NULL_TITLE]
        assert (feed.reports[0].fatal, feed.reports[0].incomplete) == (True, "the machine booted again")

    def test_a_reset_in_the_middle(self) -> None:
        """The part received before a reset of the stream is a report, marked."""
        cut = OOPS[: OOPS.index("Call Trace")]
        feed = Feed().take(extended_lines(cut)).take([extended_message("hello", seq=7, seq_reset=True)])
        assert [(report.title, report.fatal, report.incomplete) for report in feed.reports] == [
            (NULL_TITLE, False, "the stream was reset")
        ]

    def test_the_end_of_the_input(self) -> None:
        """What is open is reported; it is incomplete unless its stack is whole."""
        assert recognise(extended_lines(SOFT))[0].incomplete is None
        assert recognise(extended_lines(SOFT[: SOFT.index(" vfs_write")]))[0].incomplete == "the input ended"


class TestParts:
    """Reports with parts missing, or in other units than a line a message."""

    def test_missing_records(self) -> None:
        """Lost records make a report incomplete; its title is that of the rest."""
        messages = extended_lines(OOPS)
        messages[7] = extended_message(messages[7].text, seq=107, ts_usec=5_000_700, missing=1, lost=1)
        (report,) = recognise([*messages[:6], *messages[7:]])
        assert (report.title, report.incomplete) == (NULL_TITLE, "1 message is missing")

    def test_records_that_the_kernel_did_not_send(self) -> None:
        """A gap in seq without one in msgid is no loss."""
        messages = extended_lines(OOPS)
        messages[7] = extended_message(messages[7].text, seq=108, ts_usec=5_000_700, missing=1, lost=0)
        assert recognise(messages)[0].incomplete is None

    def test_quiet(self) -> None:
        """The first line alone is a report without a function."""
        (report,) = recognise(extended_lines("watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [sh:196]\n"))
        assert (report.title, report.function) == ("BUG: soft lockup", None)
        assert report.incomplete is not None

    def test_continuation_records(self) -> None:
        """A record with the flag c is read as a line of its own, and as a part of the record before."""
        lines = OOPS.replace("some_module(OE)\n", "some_module(OE) x y\n ip_set_hash_net ip_set\n").splitlines()
        datagrams = [
            f"4,{100 + index},5000000,{'c' if index > 4 else '-'};{line}\n".encode() for index, line in enumerate(lines)
        ]
        messages = [read(datagram) for datagram in datagrams]
        (report,) = recognise(messages)
        assert (report.title, report.messages) == (NULL_TITLE, tuple(messages))

    def test_empty_records(self) -> None:
        """An empty record between the parts of a report is kept."""
        messages = extended_lines(OOPS.replace("Modules linked", "\nModules linked"))
        assert recognise(messages)[0].messages == tuple(messages)

    def test_several_lines_in_a_message(self) -> None:
        """The lines of one message, escaped newlines included, are read one by one; it is in the report once."""
        for message in (extended_message(OOPS), legacy_message(OOPS.replace("\n", "\r\n"))):
            (report,) = recognise([message])
            assert (report.title, report.messages) == (NULL_TITLE, (message,))

    def test_a_program_on_the_same_console(self) -> None:
        """What a program wrote before the kernel's line does not hide the line."""
        lines = OOPS.splitlines()
        text = "\n".join([f"syzkaller login: [    5.{index:06}][ T196] {line}" for index, line in enumerate(lines)])
        assert titles(console_lines(text)) == [NULL_TITLE]
        text = "\n".join([f"executing program 3:[    5.{index:06}][ T196] {line}" for index, line in enumerate(lines)])
        assert titles(console_lines(text)) == [NULL_TITLE]


class TestCallers:
    """Lines of several callers."""

    def test_two_processors_at_once(self) -> None:
        """Two crashes in turn, by different callers, are two reports, each with its own lines only."""
        first = extended_lines(OOPS, caller="T196")
        second = extended_lines(WARN, caller="T241", seq=500)
        reports = recognise(interleaved(first, second))
        assert [report.title for report in reports] == [NULL_TITLE, WARN_TITLE]
        assert [report.messages for report in reports] == [tuple(first), tuple(second)]

    def test_two_processors_by_cpu_and_task(self) -> None:
        """As before, with the callers in sysdata."""
        first = [
            extended_message(one.text, seq=100 + i, cpu=0, taskname="sh") for i, one in enumerate(console_lines(OOPS))
        ]
        second = [
            extended_message(one.text, seq=500 + i, cpu=1, taskname="x") for i, one in enumerate(console_lines(WARN))
        ]
        assert [report.title for report in recognise(interleaved(first, second))] == [NULL_TITLE, WARN_TITLE]

    def test_reports_are_in_the_order_of_their_begin(self) -> None:
        """A report that is finished before an earlier one waits for it."""
        first = extended_lines(SOFT, caller="C0")
        second = extended_lines(WARN, caller="T241", seq=500, ts_usec=5_000_200)
        feed = Feed().take(first[:4]).take(second).wait(LINGER)
        assert feed.titles == []
        feed.take(first[4:]).wait(SILENCE)
        assert feed.titles == ["BUG: soft lockup in middle", WARN_TITLE]

    @pytest.mark.parametrize("callers", [("T196", "T9"), ("", "")])
    def test_chatter(self, callers: tuple[str, str]) -> None:
        """Lines of others in between are not in the report: by caller, and without callers by shape."""
        chatter = "usb 1-1: new high-speed USB device\naudit: type=1400 audit(1): apparmor\neth0: link up\n" * 6
        crash = extended_lines(OOPS, caller=callers[0] or None)
        (report,) = recognise(
            interleaved(crash, extended_lines(chatter, seq=500, ts_usec=5_000_000, caller=callers[1] or None))
        )
        assert (report.title, report.messages) == (NULL_TITLE, tuple(crash))

    def test_the_other_processors_stacks(self) -> None:
        """The stacks that an NMI asked for belong to the stall, whoever logs them."""
        head = (
            "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:\nrcu: \t1-...0: (1 GPs behind)\n"
            "\t(detected by 0, t=1006 jiffies, g=-7, q=1 ncpus=2)\nSending NMI from CPU 0 to CPUs 1:\n"
        )
        other = f"NMI backtrace for cpu 1\n{CPU.replace('CPU: 0', 'CPU: 1')}RIP: 0010:innermost+0x13/0x20\n{STACK}"
        (report,) = recognise([*extended_lines(head, caller="C0"), *extended_lines(other, caller="C1", seq=200)])
        assert (report.title, report.cpu) == ("INFO: rcu detected stall in middle", 1)
        assert report.text() == head + other

    def test_a_machine_check_by_several(self) -> None:
        """The lines of one machine check are one report, whoever logs them."""
        lines = ("mce: [Hardware Error]: CPU 0: Machine Check: 0 Bank 4: 9c", "mce: [Hardware Error]: TSC 0 ADDR 1000")
        messages = [extended_message(line, seq=index, caller=f"T{index}") for index, line in enumerate(lines)]
        (report,) = recognise(messages)
        assert (report.title, report.messages) == ("hardware error: machine check", tuple(messages))


class TestRepeats:
    """One report, counted."""

    def test_the_same_title(self) -> None:
        """The same title in the same boot is counted, and makes no report."""
        feed = Feed()
        for index in range(5):
            feed.take(extended_lines(SOFT, seq=100 * index, ts_usec=20_000_000 * index)).wait(20.0)
        assert feed.titles == ["BUG: soft lockup in middle"]
        assert feed.recogniser.repeats == 4
        assert feed.recogniser.take_repeats() == [("BUG: soft lockup in middle", 4)]
        assert feed.recogniser.take_repeats() == []

    def test_the_same_task(self) -> None:
        """A stall that RCU reports and then the watchdog, of the same task in the same function, is one."""
        rcu = f"rcu: INFO: rcu_preempt self-detected stall on CPU\n{CPU}{RIP}{STACK}"
        feed = (
            Feed().take(extended_lines(rcu)).wait(8.0).take(extended_lines(SOFT, seq=300, ts_usec=13_000_000)).wait(8.0)
        )
        assert feed.titles == ["INFO: rcu detected stall in middle"]
        assert feed.recogniser.take_repeats() == [("INFO: rcu detected stall in middle", 1)]

    def test_a_repeat_of_a_report_that_waits(self) -> None:
        """A repeat before the report is returned, because an earlier one is still open, is counted in the report."""
        feed = Feed().take(extended_lines(SOFT, caller="C0")[:4])
        for index in range(3):
            feed.take(extended_lines(WARN, caller="T241", seq=500 + 100 * index, ts_usec=5_000_200 + 1000 * index))
            feed.wait(LINGER)
        feed.wait(SILENCE)
        assert [(report.title, report.repeats) for report in feed.reports] == [
            ("BUG: soft lockup in innermost", 0),
            (WARN_TITLE, 2),
        ]
        assert (feed.recogniser.repeats, feed.recogniser.take_repeats()) == (2, [])

    def test_another_boot(self) -> None:
        """After a boot the same title is a report again."""
        feed = Feed().take(extended_lines(OOPS + FATAL)).take([extended_message("Linux version", seq=0, boot=True)])
        feed.take(extended_lines(OOPS + FATAL))
        assert feed.titles == [NULL_TITLE, NULL_TITLE]

    def test_a_repeat_that_is_fatal(self) -> None:
        """A machine that goes down with a known bug is reported, although the title was."""
        feed = (
            Feed()
            .take(extended_lines(OOPS))
            .wait(LINGER)
            .take(extended_lines(OOPS + FATAL, seq=300, ts_usec=9_000_000))
        )
        assert [report.fatal for report in feed.reports] == [False, True]

    def test_few_titles_are_remembered(self) -> None:
        """The titles of a boot have a bound."""
        feed = Feed(Limits(reports_per_minute=10_000))
        for index in range(3 * SEEN_LIMIT):
            feed.take(
                extended_lines(OOPS.replace("innermost", f"f{index}x"), seq=100 * index, ts_usec=20_000_000 * index)
            )
            feed.wait(20.0)
        assert len(feed.reports) == 3 * SEEN_LIMIT
        assert len(feed.recogniser._seen) <= SEEN_LIMIT

    def test_a_buffer_sent_again_within_a_panic(self) -> None:
        """panic_print sends the buffer, and the panic in it, again: one report, without the repeated lines."""
        again = extended_lines("Linux version 7.3.4\n" + OOPS, seq=0, ts_usec=0, replayed=True)
        panic = extended_lines(FATAL, seq=300, ts_usec=5_100_000)
        feed = Feed().take(extended_lines(OOPS)).take(panic[:2]).take(again).take(panic[2:])
        assert feed.titles == [NULL_TITLE]
        assert feed.reports[0].text() == OOPS + FATAL


class TestConsequences:
    """Reports that followed from another one."""

    def test_the_same_task_right_after(self) -> None:
        """A BUG of the same task, milliseconds after a WARN, followed from it."""
        bug = OOPS.replace("BUG: kernel NULL pointer dereference, address: 0000000000000000", "kernel BUG at a.c:1!")
        feed = (
            Feed()
            .take(extended_lines(WARN.replace("241", "196")))
            .take(extended_lines(bug, seq=200, ts_usec=5_010_000))
            .wait(9.0)
        )
        assert feed.titles == [WARN_TITLE, "kernel BUG in innermost"]
        assert [report.consequence_of for report in feed.reports] == [None, WARN_TITLE]

    def test_another_task(self) -> None:
        """A report of another task, or a second later, stands alone."""
        feed = Feed().take(extended_lines(WARN)).take(extended_lines(OOPS, seq=200, ts_usec=5_010_000)).wait(9.0)
        assert [report.consequence_of for report in feed.reports] == [None, None]
        feed = (
            Feed()
            .take(extended_lines(WARN.replace("241", "196")))
            .take(extended_lines(OOPS, seq=200, ts_usec=6_500_000))
            .wait(9.0)
        )
        assert [report.consequence_of for report in feed.reports] == [None, None]

    def test_a_dying_machine(self) -> None:
        """Everything after a fatal report followed from it, until the next boot."""
        feed = (
            Feed().take(extended_lines(OOPS + FATAL)).take(extended_lines(WARN, seq=300, ts_usec=9_000_000)).wait(9.0)
        )
        assert [report.consequence_of for report in feed.reports] == [None, NULL_TITLE]


class TestReboots:
    """Boots, announced and not."""

    BOOT = extended_message("Linux version 7.3.4", seq=0, ts_usec=0, boot=True)
    UP = tuple(extended_lines("hello\n", ts_usec=900_000_000))

    def test_unannounced(self) -> None:
        """A machine that was up and boots again, without a word before, was rebooted unexpectedly."""
        feed = Feed().take([self.BOOT], self.UP)
        assert [(report.title, report.kind, report.fatal) for report in feed.reports] == [
            ("unexpected kernel reboot", "reboot", True)
        ]
        assert feed.reports[0].before == self.UP

    @pytest.mark.parametrize(
        "line",
        [
            "reboot: Restarting system",
            "systemd-shutdown[1]: Syncing filesystems",
            "systemd[1]: Reached target reboot.target",
            "[  OK  ] Reached target System Reboot.",
            "web1 systemd-logind[512]: System is rebooting.",
            "SysRq : Resetting",
            "test: going to reboot",
        ],
    )
    def test_announced(self, line: str) -> None:
        """A reboot that somebody announced within the last minutes is no report."""
        feed = Feed().take(extended_lines(line)).wait(ANNOUNCED_SECONDS - 1).take([self.BOOT], self.UP)
        assert feed.titles == []
        feed = Feed().take(extended_lines(line)).wait(ANNOUNCED_SECONDS + 1).take([self.BOOT], self.UP)
        assert feed.titles == ["unexpected kernel reboot"]

    def test_an_announcement_is_of_one_boot(self) -> None:
        """The boot after an announced one is unexpected again."""
        feed = Feed().take(extended_lines("reboot: Restarting system")).take([self.BOOT], self.UP).wait(60.0)
        assert feed.take([self.BOOT], self.UP).titles == ["unexpected kernel reboot"]

    def test_after_a_panic(self) -> None:
        """A reboot after a fatal report needs no second one."""
        assert Feed().take(extended_lines(OOPS + FATAL)).wait(9.0).take([self.BOOT], self.UP).titles == [NULL_TITLE]

    def test_a_file(self) -> None:
        """The first line of a boot in a file, with time stamps that go back, is a boot; the first one is none."""
        text = "[    0.000000] Linux version 7.3.4\n[  900.000000] hello\n[    0.000000] Linux version 7.3.4\n"
        lines = console_lines(text)
        recogniser = Recogniser()
        reports: list[Report] = []
        for index, message in enumerate(lines):
            reports += recogniser.take(message, 0.0, lambda index=index: lines[:index])  # type: ignore[misc]
        assert [report.title for report in reports] == ["unexpected kernel reboot"]


class TestBounds:
    """A stranger who sends first lines, or lines, without end."""

    def test_lines_and_bytes(self) -> None:
        """Lines without end make one report with a bounded number of messages, marked."""
        endless = extended_lines(OOPS.removesuffix(END) + STACK * 2000)
        for limits in (Limits(lines=100), Limits(bytes=4000)):
            feed = Feed(limits)
            for message in endless:
                feed.take([message])
                assert feed.recogniser.open_lines <= min(limits.lines, 200)
            feed.wait(SILENCE)
            (report,) = feed.reports
            assert report.title == NULL_TITLE
            assert len(report.messages) <= limits.lines
            assert sum(len(message.raw) for message in report.messages) < limits.bytes + 200
            assert report.incomplete is not None
            assert len(report.frames) <= FRAMES_LIMIT

    def test_watched_lines(self) -> None:
        """A report that never ends is closed after so many lines."""
        feed = Feed(Limits(lines=100, watched_lines=500)).take(extended_lines(OOPS.removesuffix(END) + STACK * 200))
        assert feed.titles == [NULL_TITLE]
        assert feed.recogniser.abandoned == 1

    def test_open_reports(self) -> None:
        """First lines by more callers than reports can be open close the oldest, which is marked."""
        feed = Feed(Limits(open_reports=3))
        for index in range(9):
            feed.take(
                extended_lines(
                    OOPS[:120].replace("BUG: kernel", "BUG: kernel") + "\nRIP: 0010:" + f"f{index}x+0x1/0x2\n",
                    caller=f"T{index}",
                    seq=100 * index,
                )
            )
            assert feed.recogniser.open_lines <= 3 * 5
        assert feed.recogniser.abandoned == 6
        assert len(feed.reports) == 6
        assert all("newer reports" in (report.incomplete or "") for report in feed.reports)

    def test_reports_in_a_minute(self) -> None:
        """First lines without end open a bounded number of reports in a minute; the others are counted."""
        feed = Feed(Limits(reports_per_minute=10))
        flood = [
            extended_message(f"Kernel panic - not syncing: {index * 7919}x", seq=index, caller=f"T{index}")
            for index in range(100)
        ]
        feed.take(flood)
        assert feed.recogniser.refused == 90
        assert feed.recogniser.refused_until == 1020.0
        feed.wait(60.0)
        assert len(feed.reports) <= 10
        assert feed.take(extended_lines(OOPS, seq=500)).wait(9.0).titles[-1] == NULL_TITLE

    def test_refused_lines_cost_nothing(self) -> None:
        """While first lines are refused and nothing is open, messages are not looked at."""
        feed = Feed(Limits(reports_per_minute=0)).take(extended_lines(OOPS))
        looked_at = feed.recogniser.recognised_lines
        feed.take(extended_lines(OOPS))
        assert feed.recogniser.recognised_lines == looked_at

    def test_refused_lines_beside_an_open_report(self) -> None:
        """While first lines are refused, only lines of the open report's caller are looked at; it becomes whole."""
        crash = extended_lines(OOPS, caller="T196")
        flood = extended_lines("Kernel panic - not syncing: forged\n" * 50, caller="T5", seq=500)
        feed = Feed(Limits(reports_per_minute=1)).take(crash[:3]).take(flood[:1])
        looked_at = feed.recogniser.recognised_lines
        feed.take(flood)
        assert feed.recogniser.recognised_lines == looked_at
        feed.take(crash[3:]).wait(LINGER)
        assert [(report.title, report.messages) for report in feed.reports] == [(NULL_TITLE, tuple(crash))]

    def test_abandon(self) -> None:
        """A bound over all senders closes what is open, marked with the reason."""
        feed = Feed().take(extended_lines(OOPS.removesuffix(END)))
        (report,) = feed.recogniser.abandon("too many lines of all senders")
        assert (report.title, report.incomplete) == (NULL_TITLE, "too many lines of all senders")
        assert (feed.recogniser.is_open, feed.recogniser.open_lines, feed.recogniser.abandoned) == (False, 0, 1)

    def test_before_has_a_bound(self) -> None:
        """At most so many messages before the report are kept, the last ones."""
        before = extended_lines("x\n" * 200)
        feed = Feed().take(extended_lines(OOPS), before).wait(LINGER)
        assert feed.reports[0].before == tuple(before[-50:])
