"""Start twistd in a network namespace of its own, send it a datagram, and stop it: python - TWISTD LOG TEXT [BUILD].

Fails unless it printed the datagram, was of that build ("compiled" by default), and stopped with its total.
"""

from __future__ import annotations

import fcntl
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

PATIENCE = 120
PORT = 1514
# linux/sockios.h and linux/if.h
SIOCSIFFLAGS, IFF_UP = 0x8914, 1


def wait_for(log: Path, text: str, daemon: subprocess.Popen[bytes]) -> None:
    """Return when a text is in the log."""
    deadline = time.monotonic() + PATIENCE
    while text not in log.read_text():
        if time.monotonic() > deadline or daemon.poll() is not None:
            raise SystemExit(f"{log.read_text()}\nFAILED: not in the output: {text}")
        time.sleep(0.1)


def main(twistd: str, log: Path, text: str, build: str = "compiled") -> None:
    """Do it."""
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh", b"lo", IFF_UP))
    with log.open("wb") as output:
        daemon = subprocess.Popen([twistd, "-n", "netconsd", "--modules", "printer"], stdout=output, stderr=output)
    try:
        wait_for(log, "listens", daemon)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(f"6,339,5140900,-;{text}\n".encode(), ("127.0.0.1", PORT))
        wait_for(log, text, daemon)
        daemon.terminate()
        daemon.wait(PATIENCE)
    finally:
        daemon.kill()
    output_text = log.read_text()
    for wanted in (f"({build}) listens", "Total: 1 datagram received, 1 message from 1 sender"):
        if wanted not in output_text or "Traceback" in output_text:
            raise SystemExit(f"{output_text}\nFAILED: not in the output, or a traceback: {wanted}")


main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
