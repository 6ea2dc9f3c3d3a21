"""Without the command ip the script reads the kernel's tables, here from files of either byte order."""

from __future__ import annotations

import os
import shutil
import subprocess
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from tests.client.scripts import script

COMMANDS = ("cat", "id", "sed", "sleep", "tr", "uname", "readlink", "grep", "tail", "dmesg")
UP, GATEWAY, REJECT = 1, 2, 0x200  # RTF_ of linux/route.h
ROUTES = [
    # Not the kernel's order: the longest mask must win at any position.
    ("0.0.0.0/0", "10.1.2.3", "eth0", UP | GATEWAY),
    ("10.0.0.0/8", "0.0.0.0", "eth0", UP),
    ("10.200.128.0/17", "10.7.8.9", "eth1", UP | GATEWAY),
    ("10.200.0.0/16", "10.4.5.6", "eth2", UP | GATEWAY),
    ("192.0.2.0/24", "0.0.0.0", "*", UP | REJECT),
]


def hexadecimal(address: IPv4Address, order: str) -> str:
    """An address in the format of /proc/net/route: a number in the machine's byte order."""
    return f"{int.from_bytes(address.packed, 'big' if order == 'big' else 'little'):08X}"


@pytest.fixture(params=["little", "big"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A machine of that byte order whose neighbour table is complete."""
    heading = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT"
    lines = []
    for network, gateway, interface, flags in ROUTES:
        parts = IPv4Network(network)
        numbers = (hexadecimal(a, request.param) for a in (parts.network_address, IPv4Address(gateway), parts.netmask))
        target, via, mask = numbers
        lines.append(f"{interface}\t{target}\t{via}\t{flags:04X}\t0\t0\t0\t{mask}\t0\t0\t0")
    neighbours = ("10.1.2.3 eth0 01", "10.9.9.9 eth0 02", "10.7.8.9 eth1 03", "10.4.5.6 eth2 04")
    arp = ["IP address  HW type  Flags  HW address  Mask  Device"]
    for neighbour in neighbours:
        address, interface, byte = neighbour.split()
        # An incomplete entry precedes the complete one.
        arp.append(f"{address}  0x1  0x0  00:00:00:00:00:00  *  {interface}")
        arp.append(f"{address}  0x1  0x2  52:54:00:00:00:{byte}  *  {interface}")
    files = {
        "proc/net/route": "\n".join([heading, *lines]) + "\n",
        "proc/net/arp": "\n".join(arp) + "\n",
        "sys/kernel/cpu_byteorder": f"{request.param}\n",
        **{f"sys/class/net/eth{number}/type": "1\n" for number in range(3)},
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "sbin").mkdir()
    for command in COMMANDS:
        (tmp_path / "sbin" / command).symlink_to(str(shutil.which(command)))
    return tmp_path


def run(root: Path, *arguments: str) -> str:
    """The parameter that the script prints from the @ on, or its error."""
    done = subprocess.run(
        [str(shutil.which("sh"))],
        input=script("--print", *arguments),
        env={"PATH": str(root / "sbin"), "NETCONSD_ROOT": str(root), "LANG": os.environ.get("LANG", "C")},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return done.stdout.partition("@")[2].rstrip() if done.returncode == 0 else done.stderr.rstrip()


@pytest.mark.parametrize(
    ("server", "way"),
    [
        ("203.0.113.1", "/eth0,1514@203.0.113.1/52:54:00:00:00:01"),
        ("10.9.9.9", "/eth0,1514@10.9.9.9/52:54:00:00:00:02"),
        ("10.200.128.1", "/eth1,1514@10.200.128.1/52:54:00:00:00:03"),
        ("10.200.127.1", "/eth2,1514@10.200.127.1/52:54:00:00:00:04"),
        ("192.0.2.1", "netconsd client: no route to 192.0.2.1"),
    ],
)
def test_longest_mask(root: Path, server: str, way: str) -> None:
    """The most specific route wins, with its interface and the MAC of its router or the server, or its rejection."""
    assert run(root, "--server", server) == way


def test_given_interface(root: Path) -> None:
    """Without ip, ``--interface`` must be the interface of the route."""
    assert run(root, "--server", "10.200.128.1", "--interface", "eth1").startswith("/eth1,")
    assert run(root, "--server", "10.200.128.1", "--interface", "eth2") == (
        "netconsd client: no route to 10.200.128.1 through eth2"
    )
