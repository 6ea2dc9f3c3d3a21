"""A simulated fleet as a process: ``python -m tests.integration.flood PORT SENDERS MESSAGES RATE``.

Sends MESSAGES extended datagrams of a common size from each of the addresses 127.0.1.1 to 127.0.1.SENDERS, in turn, to
PORT of 127.0.0.1, RATE per second in all. At its end it prints the seconds that it took. After a delay it catches up,
so that RATE is the average.
"""

from __future__ import annotations

import socket
import sys
import time

from netconsd.testing import extended

# Seconds whose datagrams are sent together, so that a reader sees them as from a fleet of machines.
TICK = 0.002


def main(port: int, senders: int, messages: int, rate: int) -> float:
    """Send all datagrams; return the seconds that it took."""
    sockets = []
    for number in range(1, senders + 1):
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sender.bind((f"127.0.1.{number}", 0))
        sender.connect(("127.0.0.1", port))
        sockets.append(sender)
    # Built before the start, so that building does not limit the rate.
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
