"""Three machines as network namespaces: a sender, a router, and a server, which is connected to both.

::

    sender  near 10.77.1.2 ───── 10.77.1.1 near  router  far 10.77.2.1 ───── 10.77.2.9 far  server
            side 10.77.3.2 ──────────────────────────────────────────────── 10.77.3.9 side

and the same with IPv6. So the server has one address behind the router, and one on a link to the sender.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Self

CLONE_NEWNET = 0x40000000  # linux/sched.h
NAMESPACES = Path("/run/netns")
FORGETTING_LIMIT = 100


class End(NamedTuple):
    """An end of a cable: machine, interface, and the last byte of its addresses."""

    machine: str
    interface: str
    byte: int


class Cable(NamedTuple):
    """Two interfaces, and the number of the network between them."""

    number: int
    one: End
    other: End


CABLES = (
    Cable(1, End("sender", "near", 2), End("router", "near", 1)),
    Cable(2, End("router", "far", 1), End("server", "far", 9)),
    Cable(3, End("sender", "side", 2), End("server", "side", 9)),
)


def address(family: int, number: int, byte: int) -> str:
    """An address in the network of that number."""
    return f"10.77.{number}.{byte}" if family == 4 else f"2001:db8:{number}::{byte}"


def obstacle() -> str | None:
    """The reason why no network namespace can be created here; ``None`` if it works."""
    if os.geteuid() != 0:
        return "only root can create network namespaces"
    probe = subprocess.run(["ip", "netns", "add", _name("probe")], capture_output=True, text=True, check=False)
    if probe.returncode:
        return f"cannot create a network namespace: {probe.stderr.strip()}"
    subprocess.run(["ip", "netns", "del", _name("probe")], check=True)
    return None


class Network:
    """The machines, by name; as a context manager, it deletes them at the end of the block."""

    def __enter__(self) -> Self:
        try:
            self._make()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for machine in ("sender", "router", "server"):
            subprocess.run(["ip", "netns", "del", _name(machine)], capture_output=True, check=False)

    def run(
        self, machine: str, command: Sequence[str], *, text: str = "", environment: Sequence[str] = ()
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on a machine, with ``text`` as its input."""
        whole = ["ip", "netns", "exec", _name(machine), "env", *environment, *command]
        return subprocess.run(whole, input=text, capture_output=True, text=True, timeout=30, check=False)

    def ip(self, machine: str, command: str) -> str:
        """The output of ``ip COMMAND`` on a machine.

        :raises AssertionError: if it fails.
        """
        done = self.run(machine, ["ip", *command.split()])
        assert done.returncode == 0, f"ip {command}: {done.stderr}"
        return done.stdout

    def mac(self, machine: str, interface: str) -> str:
        """The MAC address of an interface."""
        done = self.run(machine, ["cat", f"/sys/class/net/{interface}/address"])
        return done.stdout.strip()

    @contextmanager
    def inside(self, machine: str) -> Iterator[None]:
        """Sockets that this thread creates in this block belong to that machine."""
        libc = ctypes.CDLL(None, use_errno=True)
        with Path("/proc/thread-self/ns/net").open() as here, (NAMESPACES / _name(machine)).open() as there:
            assert libc.setns(there.fileno(), CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
            try:
                yield
            finally:
                assert libc.setns(here.fileno(), CLONE_NEWNET) == 0

    def forget_neighbours(self) -> None:
        """Empty the neighbour tables of all machines."""
        for machine in ("sender", "router", "server"):
            # Answers to the last test's requests may still arrive, and a request of another machine adds an entry.
            for _ in range(FORGETTING_LIMIT):
                self.ip(machine, "neigh flush all nud all")
                known = self.ip(machine, "neigh show").replace("NOARP", "")
                if "lladdr" not in known:
                    break
            else:
                raise AssertionError(f"{machine} still has neighbours: {known}")

    def _make(self) -> None:
        for machine in ("sender", "router", "server"):
            subprocess.run(["ip", "netns", "add", _name(machine)], check=True)
            self.ip(machine, "link set lo up")
        for number, one, other in CABLES:
            self.ip(
                one.machine,
                f"link add {one.interface} type veth peer name {other.interface} netns {_name(other.machine)}",
            )
            for end in (one, other):
                for family, bits in ((4, "24"), (6, "64 nodad")):
                    self.ip(end.machine, f"addr add {address(family, number, end.byte)}/{bits} dev {end.interface}")
                self.ip(end.machine, f"link set {end.interface} up")
        for family, forwarding in ((4, "ipv4/ip_forward"), (6, "ipv6/conf/all/forwarding")):
            self.run("router", ["tee", f"/proc/sys/net/{forwarding}"], text="1\n")
            self.ip("sender", f"-{family} route add default via {address(family, 1, 1)}")
            self.ip(
                "server",
                f"-{family} route add {'10.77.1.0/24' if family == 4 else '2001:db8:1::/64'} "
                f"via {address(family, 2, 1)}",
            )


def _name(machine: str) -> str:
    """The name of a namespace, unique per process, because names are global on a machine."""
    return f"netconsd-{os.getpid()}-{machine}"
