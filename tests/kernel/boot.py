"""From the guest's first message to its crash: everything that the daemon made of it."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.kernel.daemon import Daemon, Recorded
from tests.kernel.guest import Guest, modes
from tests.kernel.kernels import SINCE, Kernel
from tests.kernel.lossy import LossyLink

TIMEOUT = 90.0  # seconds; it takes about ten
LOSS = 0.1  # of the messages of the target "lossy"
POLL = 1.0  # how often to see whether qemu still runs
END_OF_CRASH = "---[ end Kernel panic"


class Booted(NamedTuple):
    """A kernel, and what it sent until the end of its crash."""

    kernel: Kernel
    modes: dict[str, list[Recorded]]
    """For each mode of :func:`tests.kernel.guest.modes`: what came, in the order in which the module got it."""
    dropped: set[int]
    """The sequence numbers of what the target "lossy" sent, and its link lost."""
    noted: dict[str, int]
    """What the daemon's closing totals have of note."""

    def sent(self, mode: str) -> list[Recorded]:
        """What came from the target of that mode; skips the test where the kernel does not know the mode."""
        if mode in SINCE:
            self.needs(mode)
        return self.modes[mode]

    def needs(self, feature: str) -> None:
        """Skip the test where the kernel does not have the feature."""
        if not self.kernel.has(feature):
            major, minor = SINCE[feature]
            pytest.skip(f"netconsole has {feature} since Linux {major}.{minor}")


def boot(kernel: Kernel, directory: Path) -> Booted:
    """Boot a guest, wait until each of its targets has sent the crash, and stop the daemon.

    :raises AssertionError: if it takes too long; its text has the end of the guest's console and of the daemon's log.
    :raises Missing: if something that the guest is made of is not on this machine.
    """
    with (
        Daemon(directory) as daemon,
        LossyLink(daemon.port, loss=LOSS, seed=1, last=END_OF_CRASH.encode()) as link,
        Guest(kernel, daemon.port, link.port, directory) as guest,
    ):
        deadline = time.monotonic() + TIMEOUT
        ended: set[int] = set()
        while len(ended) < len(modes(kernel)):
            # Asked first: what a guest sent before it ended is received all the same.
            running = guest.running() and time.monotonic() < deadline
            received = daemon.receive(POLL)
            ended |= {message.port for message in received if message.text.startswith(END_OF_CRASH)}
            assert running or received, (
                f"{len(ended)} of {modes(kernel)} sent the crash; {len(daemon.messages)} messages came.\n"
                f"The guest's console ends with:\n{guest.console()[-5000:]}\nThe daemon's log:\n{daemon.log()[-5000:]}"
            )
    noted = {name: int(count) for count, name in re.findall(r"\] (\d+) .*\((\w+)\)$", daemon.log(), re.MULTILINE)}
    assert noted
    return Booted(kernel, _by_mode(daemon.messages, link.sends_from), link.dropped, noted)


def _by_mode(messages: list[Recorded], lossy_port: int) -> dict[str, list[Recorded]]:
    """The messages by the mode of the target that sent them.

    The guest's ports are other ones on this machine, so a target is known by what it sends: one of the module
    parameter the log from its beginning, the others what came since they were made, in the order of guest.LOCAL_PORTS.
    What comes from the port of the link that loses some is that of the target "lossy".
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
