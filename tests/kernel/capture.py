"""Print datagrams of a real kernel as Python literals: python -m tests.kernel.capture > tests/data/kernel-RELEASE.txt.

Boots the newest of the kernels (see kernels.py), without a daemon. Prints for each target the first datagrams, some of
those written to /dev/kmsg, and the end of the crash.
"""

from __future__ import annotations

import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.kernel.boot import END_OF_CRASH
from tests.kernel.guest import COMMAND_LINE, Guest, file_system, modes, targets
from tests.kernel.kernels import Kernel, find_kernels

TIMEOUT = 90.0  # seconds
FIRST = 2
LAST = 1
# Datagrams that contain one of these are printed.
WANTED = (
    *(b"Network Connection", b"level: 1", b"largest facility", b"utf8:", b"esc:", b"not UTF-8", b"forged"),
    *(b"fragmented: p", b"cut:", b"long line 00", b"Kernel panic"),
)


def capture(kernel: Kernel) -> dict[int, list[bytes]]:
    """All datagrams of a guest up to the end of its crash, by source port."""
    senders: dict[int, list[bytes]] = {}
    ended: set[int] = set()
    deadline = time.monotonic() + TIMEOUT
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener, tempfile.TemporaryDirectory() as directory:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        with Guest(kernel, file_system(kernel, port, port), Path(directory)) as guest:
            while len(ended) < len(modes(kernel)):
                listener.settimeout(max(deadline - time.monotonic(), 0.001))
                try:
                    datagram, (_, sender) = listener.recvfrom(65536)
                except TimeoutError:
                    raise SystemExit(f"the guest did not crash in time:\n{guest.console()}") from None
                senders.setdefault(sender, []).append(datagram)
                if END_OF_CRASH.encode() in datagram:
                    ended.add(sender)
    return senders


def selected(datagrams: list[bytes]) -> Iterator[bytes]:
    """Some of a sender's datagrams; a record that the kernel cut is printed whole."""
    cut = False
    for number, datagram in enumerate(datagrams):
        if cut or number < FIRST or number >= len(datagrams) - LAST or any(text in datagram for text in WANTED):
            yield datagram
            cut = not datagram.endswith(b"\n")


def main() -> None:
    """Boot the newest kernel and print."""
    kernel = find_kernels()[-1]
    print(f"# Datagrams from Linux {kernel.release} (Debian), taken with tests/kernel/capture.py: qemu, e1000.")
    print(f"# Kernel parameters: {COMMAND_LINE}; netconsole={targets(kernel, 1514)}")
    print(
        "# and a target made by configfs. One sender after the other, some datagrams of each in the order of arrival."
    )
    for datagrams in capture(kernel).values():
        print(f"# A sender of {len(datagrams)} datagrams:")
        for datagram in selected(datagrams):
            print(repr(datagram))


if __name__ == "__main__":
    main()
