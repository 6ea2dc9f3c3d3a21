"""A fleet in a process of its own: ``python -m tests.integration.flood PORT SENDERS MESSAGES RATE``.

Sends MESSAGES extended datagrams of a common size from each of the addresses 127.0.1.1 to 127.0.1.SENDERS, in turn, to
PORT of 127.0.0.1, RATE per second in all. When it is done it prints how many seconds it took. If it falls behind, it
catches up: then RATE is what it sends on average.
"""

from __future__ import annotations

import socket
import sys
import time

from netconsd.testing import extended

# The datagrams of so many seconds are sent together, as a reader sees them when a fleet of machines sends.
TICK = 0.002


def main(port: int, senders: int, messages: int, rate: int) -> float:
    """Send it all; return the seconds."""
    sockets = []
    for number in range(1, senders + 1):
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sender.bind((f"127.0.1.{number}", 0))
        sender.connect(("127.0.0.1", port))
        sockets.append(sender)
    # Made before, so that the rate is that of sending.
    text = "usb 1-1: new high-speed USB device number %d using xhci_hcd"
    datagrams = [extended(text % seq, seq=seq, ts_usec=5_000_000 + seq) for seq in range(1, messages + 1)]
    start = time.monotonic()
    sent = 0
    total = senders * messages
    while sent < total:
        due = min(total, int((time.monotonic() - start) * rate) + 1)
        while sent < due:
            seq, number = divmod(sent, senders)
            sockets[number].send(datagrams[seq])
            sent += 1
        time.sleep(TICK)
    return time.monotonic() - start


if __name__ == "__main__":
    print(main(*map(int, sys.argv[1:])))
