"""One boot of a guest, and what the daemon delivered from its first record to its crash, and to its next boot."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from benchmarks.daemon_log import notable
from tests.kernel.daemon import Daemon, Recorded
from tests.kernel.guest import Guest, file_system, modes
from tests.kernel.kernels import SINCE, Kernel
from tests.kernel.lossy import LossyLink

TIMEOUT = 90.0  # seconds; a boot takes about ten
LOSS = 0.1  # of the messages of the target "lossy"
POLL = 1.0  # seconds between two checks that qemu still runs
END_OF_CRASH = "---[ end Kernel panic"
# Targets of the module parameter, which send the kernel's log from its first line.
FROM_THE_BEGINNING = ("legacy", "extended", "release")


class Booted(NamedTuple):
    """A kernel, its messages up to the end of its crash, and the reports and events up to the next boot."""

    kernel: Kernel
    modes: dict[str, list[Recorded]]
    """For each mode of :func:`tests.kernel.guest.modes`: the messages, in the order of delivery."""
    dropped: set[int]
    """The sequence numbers of the records that the link of the target "lossy" dropped."""
    noted: dict[str, int]
    """The notable counters of the daemon's totals."""
    reports: dict[str, list[Recorded]]
    """For each mode: the crash reports of that crash."""
    events: dict[str, list[Recorded]]
    """For each mode: the events."""

    def sent(self, mode: str) -> list[Recorded]:
        """The messages of the target of that mode; skips the test if the kernel does not know the mode."""
        if mode in SINCE:
            self.needs(mode)
        return self.modes[mode]

    def needs(self, feature: str) -> None:
        """Skip the test if the kernel does not have the feature."""
        if not self.kernel.has(feature):
            major, minor = SINCE[feature]
            pytest.skip(f"netconsole has {feature} since Linux {major}.{minor}")


def boot(kernel: Kernel, directory: Path) -> Booted:
    """Boot a guest, wait until each of its targets has sent the crash, reset it, and stop the daemon after its boot.

    :raises AssertionError: if it takes too long; its text has the end of the guest's console and of the daemon's log.
    :raises Missing: if a part of the guest is not on this machine.
    """
    with (
        Daemon(directory) as daemon,
        LossyLink(daemon.port, loss=LOSS, seed=1, last=END_OF_CRASH.encode()) as link,
        Guest(kernel, file_system(kernel, daemon.port, link.port), directory) as guest,
    ):
        _receive_until(lambda: len(_ended(daemon)) == len(modes(kernel)), daemon, guest)
        by_mode = _by_mode(list(daemon.messages), link.sends_from)
        of_mode = {sent[0].port: mode for mode, sent in by_mode.items()}
        # The second boot is no part of the tests of loss.
        link.loss = 0.0
        reset_at = time.time()
        guest.reset()
        awaited = {mode for mode in by_mode if mode in FROM_THE_BEGINNING}
        _receive_until(
            lambda: awaited <= {of_mode[event.port] for event in daemon.events if event.kind == "rebooted"},
            daemon,
            guest,
        )
    noted = notable(daemon.log())
    assert noted
    # The second boot may have reached its crash as well.
    first = [report for report in daemon.reports if report.received_at < reset_at]
    reports, events = (
        {mode: [found for found in of_all if of_mode[found.port] == mode] for mode in by_mode}
        for of_all in (first, daemon.events)
    )
    return Booted(kernel, by_mode, link.dropped, noted, reports, events)


def _ended(daemon: Daemon) -> set[int]:
    """The ports of the targets that have sent the end of the crash."""
    return {message.port for message in daemon.messages if message.text.startswith(END_OF_CRASH)}


def _receive_until(done: Callable[[], bool], daemon: Daemon, guest: Guest) -> None:
    """Receive from the daemon until ``done``.

    :raises AssertionError: if it takes too long.
    """
    deadline = time.monotonic() + TIMEOUT
    while not done():
        # Before receive(), so that the last messages of a guest that has ended are received.
        running = guest.running() and time.monotonic() < deadline
        received = daemon.receive(POLL)
        assert running or received, (
            f"{len(daemon.messages)} messages, {len(daemon.reports)} reports and {len(daemon.events)} events arrived.\n"
            f"The guest's console ends with:\n{guest.console()[-5000:]}\nThe daemon's log:\n{daemon.log()[-5000:]}"
        )


def _by_mode(messages: list[Recorded], lossy_port: int) -> dict[str, list[Recorded]]:
    """The messages by the mode of the target that sent them.

    qemu maps the guest's ports to others, so the content identifies a target: targets of the module parameter send the
    log from its beginning, the others from their creation, in the order of guest.LOCAL_PORTS. Messages from the port of
    the lossy link are those of the target "lossy".
    """
    senders: dict[int, list[Recorded]] = {}
    for message in messages:
        senders.setdefault(message.port, []).append(message)
    lossy = senders.pop(lossy_port)
    (legacy,) = [sent for sent in senders.values() if sent[0].kind == "LegacyMessage"]
    extended = sorted((sent for sent in senders.values() if sent is not legacy), key=lambda sent: sent[0].seq)
    *parameter, configfs, client = extended
    assert [sent[0].seq for sent in parameter] == [0] * len(parameter)
    by_parameter = {"extended" if sent[0].release is None else "release": sent for sent in parameter}
    return by_parameter | {"legacy": legacy, "configfs": configfs, "client": client, "lossy": lossy}
