"""netconsblaster as root sends from forged addresses, through a router and directly."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections import Counter
from ipaddress import ip_address
from pathlib import Path

import pytest

from netconsd.protocol.decode import decode
from netconsd.protocol.encode import CHUNK
from netconsd.receive.sockets import SO_RCVBUFFORCE
from netconsd.send.source_addresses import SOURCE_PORT
from netconsd.testing import source
from tests.client.network import Network, address
from tests.support.scripted_lane import PATIENCE
from tests.support.tools import require

ROOT = Path(__file__).parents[2]

# 2^BITS addresses, none of them this machine's: the third quarter of its network.
BITS = 6
COUNT = 200
PORT = 1514


@pytest.mark.parametrize(
    ("family", "base", "number"),
    [(4, "10.77.1.128", 2), (6, "2001:db8:1::8000", 2), (4, "10.77.3.128", 3), (6, "2001:db8:3::8000", 3)],
)
def test_forged_senders_arrive(network: Network, family: int, base: str, number: int) -> None:
    """Every packet arrives from its forged address, over IPv4 and IPv6, through a router and directly."""
    # Waits until a new network works; and while a neighbour is unknown, the kernel drops packets.
    require("ping")
    reached = network.run("sender", ["ping", "-c", "1", "-w", "20", address(family, number, 9)])
    assert reached.returncode == 0, reached.stdout
    with network.inside("server"):
        receiver = socket.socket(socket.AF_INET if family == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
    with receiver:
        # The packets use more than net.core.rmem_max allows by default, 208 KiB.
        receiver.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 20)
        receiver.bind((address(family, number, 9), PORT))
        receiver.settimeout(PATIENCE)
        options = ["-d", address(family, number, 9), "-p", str(PORT), "-s", base, "-o", str(BITS), "-n", str(COUNT)]
        done = network.run(
            "sender",
            [sys.executable, "-m", "netconsd", "blaster", "--json", "--rate", "2000", "--size", str(CHUNK), *options],
            environment=[f"PYTHONPATH={ROOT}", "PYTHONDONTWRITEBYTECODE=1"],
        )
        assert done.returncode == 0, done.stderr
        packets = [receiver.recvfrom(2000) for _ in range(COUNT)]
    assert json.loads(done.stdout)["sent"]["datagrams"] == COUNT
    expected = Counter(str(ip_address(base) + nth % (1 << BITS)) for nth in range(COUNT))
    assert Counter(sender[0] for _, sender in packets) == expected
    assert {sender[1] for _, sender in packets} == {SOURCE_PORT}
    assert all(len(datagram) == CHUNK and decode(datagram, source(), 0.0) for datagram, _ in packets)


def test_no_route(network: Network) -> None:
    """An unreachable destination is an error of one line, and status 1."""
    done = network.run(
        "server",
        [sys.executable, "-m", "netconsd", "blaster", "-d", "198.51.100.1", "-n", "1"],
        environment=[f"PYTHONPATH={ROOT}", "PYTHONDONTWRITEBYTECODE=1"],
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"netconsd blaster: -d 198.51.100.1: {os.strerror(101)} (ip route get")
    assert done.stderr.count("\n") == 1
