"""A real kernel crashes and boots again; the modules receive the crash as a report, and the boots as events."""

from __future__ import annotations

import pytest

from tests.kernel.boot import FROM_THE_BEGINNING, Booted
from tests.kernel.daemon import Recorded
from tests.kernel.guest import COMMAND_LINE, LOCAL_PORTS
from tests.kernel.kernels import missing, required

# As test_kernel.py: whichever test comes first boots the kernel.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

if MISSING := missing():
    if required():
        pytest.fail(MISSING, pytrace=False)
    pytest.skip(MISSING, allow_module_level=True)

PANIC = "Kernel panic - not syncing: sysrq triggered crash"
TITLE = "kernel panic: sysrq triggered crash"


def one(events: list[Recorded], kind: str) -> Recorded:
    """The one event of a kind."""
    (event,) = [event for event in events if event.kind == kind]
    return event


WITHOUT_LOSS = [mode for mode in LOCAL_PORTS if mode != "lossy"]


@pytest.mark.parametrize("mode", WITHOUT_LOSS)
def test_the_report(booted: Booted, mode: str) -> None:
    """Each target of the machine yields one report of the crash, in each format."""
    booted.sent(mode)
    (report,) = booted.reports[mode]
    assert (report.title, report.kind, report.severity, report.fatal) == (TITLE, "panic", "dead", True)
    assert (report.function, report.release) == ("sysrq_handle_crash", booted.kernel.release)
    assert (report.cpu, report.pid, report.comm) == (0, 1, "init")
    assert report.machine.startswith("QEMU Standard PC ")
    assert report.incomplete is None


@pytest.mark.parametrize("mode", WITHOUT_LOSS)
def test_the_report_is_the_crash(booted: Booted, mode: str) -> None:
    """The report has all messages from the panic's line to its end, as a module gets them, and no other."""
    texts = [message.text for message in booted.sent(mode)]
    (report,) = booted.reports[mode]
    assert report.texts == texts[texts.index(PANIC) :]
    assert [frame["name"] for frame in report.frames if not frame["questionable"]].count("sysrq_handle_crash") == 1


def test_a_report_with_losses(booted: Booted) -> None:
    """The report of a link that drops a tenth has the lines that arrived; none begins if the first line was lost."""
    texts = [message.text for message in booted.sent("lossy")]
    reports = booted.reports["lossy"]
    assert [report.title for report in reports] == [TITLE] * texts.count(PANIC)
    assert all(report.texts == texts[texts.index(PANIC) :] for report in reports)


@pytest.mark.parametrize("mode", FROM_THE_BEGINNING)
def test_booted(booted: Booted, mode: str) -> None:
    """A target that sends the log from its first line shows the boot, with the release and the command line."""
    booted.sent(mode)
    details = one(booted.events[mode], "booted").details
    assert (details["release"], details["command_line"]) == (booted.kernel.release, COMMAND_LINE)
    # The age of the log's last line. The test may take longer, so that a guest that is this old is slow, not wrong.
    assert 0 < details["uptime"] < 120


@pytest.mark.parametrize("mode", FROM_THE_BEGINNING)
def test_rebooted(booted: Booted, mode: str) -> None:
    """After a reset the next boot is explained by the crash that was received before it."""
    booted.sent(mode)
    event = one(booted.events[mode], "rebooted")
    assert (event.details["how"], event.details["title"]) == ("crash", TITLE)
    assert event.details["release"] == booted.kernel.release
    assert event.text == f"rebooted after a crash: {TITLE}"
