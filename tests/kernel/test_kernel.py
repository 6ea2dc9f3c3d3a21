"""A real kernel boots, sends its log in every supported way, and crashes; the modules receive every record."""

from __future__ import annotations

import os
from itertools import pairwise

import pytest

from tests.kernel.boot import Booted
from tests.kernel.daemon import Recorded
from tests.kernel.kernels import SINCE, find_kernels, missing, required
from tests.kernel.records import BURST, CUT, FRAGMENTED, LEVELS, LONG_LINES, RECORDS, TEXTS, USERDATA, USERDATA_LARGE

# The first test of each kernel boots it twice; each step has a time limit of its own, whose error names the step.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

if MISSING := missing():
    if required():
        pytest.fail(MISSING, pytrace=False)
    pytest.skip(MISSING, allow_module_level=True)

PANIC = "Kernel panic - not syncing: sysrq triggered crash"


def only(messages: list[Recorded], text: str) -> Recorded:
    """The one message with that text."""
    (match,) = [message for message in messages if message.text == text]
    return match


class TestExtended:
    """The extended format, by module parameter, with the kernel's release, and by configfs."""

    def test_every_record_arrives_once_in_order_unchanged(self, extended: list[Recorded]) -> None:
        """Each record written to /dev/kmsg is delivered once, in order, with text, level and facility unchanged."""
        written = [(record.text, record.level, record.facility) for record in RECORDS if record is not CUT]
        texts = {text for text, _, _ in written}
        assert [(m.text, m.level, m.facility) for m in extended if m.text in texts] == written

    def test_level(self, extended: list[Recorded]) -> None:
        """The level is the writer's; the facility is "user" if the writer named none."""
        messages = [only(extended, f"level: {level}") for level in LEVELS]
        assert [(message.level, message.facility) for message in messages] == [(level, 1) for level in LEVELS]

    def test_any_character(self, extended: list[Recorded]) -> None:
        """Any bytes of a text survive the kernel's escapes, and never become a dictionary or a mark."""
        messages = [only(extended, record.text) for record in TEXTS]
        assert [message.text for message in messages if message.dictionary or message.incomplete] == []

    def test_fragmented_record(self, extended: list[Recorded]) -> None:
        """A record that the kernel sent in several datagrams is one message."""
        messages = [only(extended, record.text) for record in FRAGMENTED]
        assert [message.incomplete for message in messages] == [False] * len(FRAGMENTED)

    def test_record_that_the_kernel_cut(self, extended: list[Recorded]) -> None:
        """A record that the kernel cut in the middle of an escape is delivered as far as it was sent."""
        (message,) = [m for m in extended if m.text.startswith("cut: ")]
        assert message.text.startswith(CUT.text[:500])
        assert message.incomplete is False

    def test_burst(self, extended: list[Recorded]) -> None:
        """A burst of lines is delivered complete and in order."""
        burst = [message.text for message in extended if message.text.startswith("burst: ")]
        assert burst == [f"burst: {number}" for number in range(BURST)]

    def test_nothing_is_missing(self, extended: list[Recorded]) -> None:
        """From the first message to the end of the crash no sequence number is missing, and no message is marked."""
        assert [after.seq - before.seq for before, after in pairwise(extended)] == [1] * (len(extended) - 1)
        assert [m.text for m in extended if m.incomplete or m.out_of_order or m.replayed or m.missing] == []
        # The first message may continue that of another target, which is another port of the machine.
        assert not any(m.seq_reset for m in extended[1:])

    def test_time_since_boot(self, extended: list[Recorded]) -> None:
        """Time stamps are those of the guest, which ran for less than the two minutes that this test may take."""
        assert all(0 <= message.ts_usec < 120_000_000 for message in extended)

    def test_crash(self, extended: list[Recorded]) -> None:
        """The whole crash is delivered: the panic at level 0, its trace, and its end as the last message."""
        panic = only(extended, PANIC)
        crash = extended[extended.index(panic) :]
        assert (panic.level, panic.facility) == (0, 0)
        assert any(message.text == "Call Trace:" for message in crash)
        assert any("sysrq_handle_crash" in message.text for message in crash)
        assert crash[-1].text == f"---[ end {PANIC} ]---"


class TestModuleParameter:
    """Targets named when the module is loaded."""

    @pytest.mark.parametrize("mode", ["extended", "release"])
    def test_the_log_is_sent_from_its_beginning(self, booted: Booted, mode: str) -> None:
        """The kernel sends the records from before netconsole was loaded, from the first one."""
        first = booted.sent(mode)[0]
        assert (first.seq, first.ts_usec, first.level, first.facility) == (0, 0, 5, 0)
        assert first.text.startswith(f"Linux version {booted.kernel.release} ")

    def test_dictionary(self, booted: Booted) -> None:
        """A driver's message names its device in the dictionary."""
        (message,) = [m for m in booted.sent("extended") if m.text.endswith("Intel(R) PRO/1000 Network Connection")]
        assert message.dictionary == {"SUBSYSTEM": "pci", "DEVICE": "+pci:0000:00:02.0"}
        assert message.userdata == {}

    def test_release(self, booted: Booted) -> None:
        """With the option "r" every message carries the kernel's release, also fragmented ones; without it, none."""
        assert {message.release for message in booted.sent("release")} == {booted.kernel.release}
        assert {message.release for message in booted.sent("extended")} == {None}


class TestConfigfs:
    """A target made at run time, with userdata and sysdata."""

    def test_the_log_is_not_sent_again(self, booted: Booted) -> None:
        """Such a target sends only records logged after it was enabled, and the numbering starts there."""
        first = booted.sent("configfs")[0]
        assert first.seq > 100
        assert first.missing == 0

    def test_same_record(self, booted: Booted) -> None:
        """Several targets send the same record with the same number and time."""
        message, other = (only(booted.sent(mode), "level: 3") for mode in ("configfs", "extended"))
        assert (message.seq, message.ts_usec) == (other.seq, other.ts_usec)
        assert message.port != other.port

    def test_userdata(self, booted: Booted) -> None:
        """Every message carries keys and values of userdata; a value can have any character except a newline."""
        booted.needs("userdata")
        for record in RECORDS:
            if record is not CUT:
                assert only(booted.sent("configfs"), record.text).userdata == USERDATA

    def test_userdata_in_fragments(self, booted: Booted) -> None:
        """Userdata larger than a datagram is delivered whole, also in the crash."""
        booted.needs("userdata")
        messages = booted.sent("configfs")
        start = messages.index(only(messages, "with large userdata"))
        assert len(messages) - start > 10
        assert all(message.userdata == USERDATA | USERDATA_LARGE for message in messages[start:])

    def test_sysdata(self, booted: Booted) -> None:
        """The kernel adds the processor, the task and its own release."""
        message = only(booted.sent("configfs"), PANIC)
        for feature, value in {"cpu": 0, "taskname": "init", "sysdata release": booted.kernel.release}.items():
            expected = value if booted.kernel.has(feature) else None
            assert getattr(message, feature.removeprefix("sysdata ")) == expected

    def test_msgid(self, booted: Booted) -> None:
        """The msgid counts once per message, however many fragments it had, and shows that none was lost."""
        booted.needs("msgid")
        messages = booted.sent("configfs")
        assert [after.msgid - before.msgid for before, after in pairwise(messages)] == [1] * (len(messages) - 1)
        assert {message.lost for message in messages[1:]} == {0}


class TestClient:
    """The target of the script of ``netconsd client``, which finds route, addresses and MAC itself."""

    def test_test_line(self, booted: Booted) -> None:
        """The script's test line arrives each time that it ran, at a level that people see."""
        lines = [message for message in booted.sent("client") if message.text.startswith("netconsd client: ")]
        assert [(m.text, m.level, m.facility) for m in lines] == [("netconsd client: test line of (none)", 6, 1)] * 2

    def test_every_record_arrives(self, booted: Booted) -> None:
        """From the test line to the end of the crash, this target sends the same records as the one made by hand."""
        client, by_hand = ([(m.seq, m.text) for m in booted.sent(mode)] for mode in ("client", "configfs"))
        start = max(place for place, (_, text) in enumerate(client) if text.startswith("netconsd client: "))
        assert client[start:] == by_hand[by_hand.index(client[start]) :]

    def test_release(self, booted: Booted) -> None:
        """Every message carries the kernel's release if the kernel supports it."""
        release = booted.kernel.release if booted.kernel.has("release") else None
        assert {message.release for message in booted.sent("client")} == {release}

    def test_userdata(self, booted: Booted) -> None:
        """Any value of the command line arrives unchanged."""
        expected = USERDATA if booted.kernel.has("userdata") else {}
        assert only(booted.sent("client"), PANIC).userdata == expected

    def test_sysdata(self, booted: Booted) -> None:
        """The script switches on everything that the kernel can add."""
        message = only(booted.sent("client"), PANIC)
        assert (message.cpu is not None) == booted.kernel.has("cpu")
        assert (message.msgid is not None) == booted.kernel.has("msgid")


class TestLoss:
    """The target whose messages pass a link that drops a tenth of them."""

    def test_lost_messages_are_counted_as_missing(self, booted: Booted) -> None:
        """All other messages arrive whole and in order, and ``missing`` has the number of dropped ones before each."""
        messages = booted.sent("lossy")
        numbers = [message.seq for message in messages]
        assert len(booted.dropped) > 20
        assert numbers == [seq for seq in range(numbers[0], numbers[-1] + 1) if seq not in booted.dropped]
        assert sum(message.missing for message in messages) == len(booted.dropped)
        assert [message.text for message in messages if message.incomplete or message.out_of_order] == []
        assert not any(message.seq_reset for message in messages[1:])

    def test_lost_messages_are_counted_by_msgid(self, booted: Booted) -> None:
        """``lost`` has the exact number of lost messages before each; the daemon's counter has the same sum, and no
        other target lost any."""
        booted.needs("msgid")
        first, *messages = booted.sent("lossy")
        assert first.lost is None
        assert [message.lost for message in messages] == [message.missing for message in messages]
        assert sum(message.lost for message in messages) == booted.noted["lost"] == len(booted.dropped)

    def test_without_msgid_loss_is_unknown(self, booted: Booted) -> None:
        """Without msgid a missing number is not counted as lost."""
        if booted.kernel.has("msgid"):
            pytest.skip("this kernel counts its messages")
        assert {message.lost for message in booted.sent("lossy")} == {None}
        assert "lost" not in booted.noted


class TestLegacy:
    """The legacy format: console text."""

    def test_every_line_arrives_once_in_order(self, legacy: list[Recorded]) -> None:
        """Every line of every record is a message, its time stamp a field; level and facility are ``None``."""
        written = [line for record in RECORDS if record is not CUT for line in record.text.split("\n")]
        lines = [message for message in legacy if message.text in set(written)]
        assert [message.text for message in lines] == written
        assert {(message.level, message.facility, message.caller) for message in lines} == {(None, None, None)}

    def test_time(self, booted: Booted, legacy: list[Recorded]) -> None:
        """The time stamp before a line is the record's time."""
        for text in ("level: 3", "tab:\tbetween\ttabs"):
            assert only(legacy, text).ts_usec == only(booted.sent("extended"), text).ts_usec

    def test_line_cut_by_the_kernel(self, legacy: list[Recorded]) -> None:
        """Lines that the kernel cut after 1000 bytes, one of them a whole record, are joined."""
        lines = [FRAGMENTED[-1].text, *LONG_LINES.text.split("\n")]
        assert [message.text for message in legacy if message.text in set(lines)] == lines

    def test_burst(self, legacy: list[Recorded]) -> None:
        """A burst of lines is delivered complete and in order."""
        burst = [message.text for message in legacy if message.text.startswith("burst: ")]
        assert burst == [f"burst: {number}" for number in range(BURST)]

    def test_the_log_is_sent_from_its_beginning(self, booted: Booted, legacy: list[Recorded]) -> None:
        """The kernel sends the lines from before netconsole was loaded, from the first one."""
        assert legacy[0].text.startswith(f"Linux version {booted.kernel.release} ")
        assert legacy[0].ts_usec == 0

    def test_without_time_stamps(self, legacy: list[Recorded]) -> None:
        """With printk.time=0 a line is only text, and its time is ``None``."""
        message = only(legacy, "about to crash")
        assert message.ts_usec is None

    def test_crash(self, legacy: list[Recorded]) -> None:
        """The whole crash is delivered."""
        crash = [message.text for message in legacy[legacy.index(only(legacy, PANIC)) :]]
        assert "Call Trace:" in crash
        assert crash[-1] == f"---[ end {PANIC} ]---"


def test_senders(booted: Booted) -> None:
    """Each target of a machine is a sender of its own: one address, a port each."""
    senders = {(message.address, message.port) for sent in booted.modes.values() for message in sent}
    assert {address for address, _ in senders} == {"127.0.0.1"}
    assert len(senders) == len(booted.modes)


def test_every_way_of_sending_is_tested() -> None:
    """One kernel has every feature of netconsole, and one has none, unless the environment names the kernels."""
    if os.environ.get("NETCONSD_TEST_KERNEL"):
        pytest.skip("NETCONSD_TEST_KERNEL names the kernels")
    kernels = find_kernels()
    untested = [f"with {feature}" for feature in SINCE if not kernels[-1].has(feature)]
    untested += [f"without {feature}" for feature in SINCE if kernels[0].has(feature)]
    if untested and not required():
        pytest.skip(f"no kernel {', '.join(untested)}: run .ci/install-kernel-test")
    assert untested == []
