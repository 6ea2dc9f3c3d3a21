"""In network namespaces: without a route to the server, or without the usual commands to find it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.client.network import Network, address
from tests.client.scripts import SHELLS, script, shell
from tests.client.sender import Sender
from tests.support.tools import require

families = pytest.mark.parametrize("family", [4, 6])

BUSYBOX = (
    *("cat", "date", "dmesg", "grep", "id", "nc", "ping"),
    *("ping6", "readlink", "sed", "sleep", "tail", "tr", "uname"),
)


@pytest.fixture(params=["dash", "busybox"])
def sender(request: pytest.FixtureRequest, network: Network) -> Sender:
    """The sender, with Debian's commands and with busybox's."""
    return Sender(network, shell(request.param))


def poor(network: Network, directory: Path, *commands: str) -> Sender:
    """A sender with only these commands of busybox, in dash, because busybox's shell has all of its commands."""
    require("dash", "busybox")
    root, bin_ = directory / "root", directory / "bin"
    root.mkdir()
    bin_.mkdir()
    # The script looks for commands in /usr/sbin and /sbin of this root.
    for name in ("proc", "sys"):
        (root / name).symlink_to(f"/{name}")
    for name in commands:
        (bin_ / name).symlink_to(str(shutil.which("ip" if name == "ip" else "busybox")))
    return Sender(network, [str(shutil.which("dash"))], [f"PATH={bin_}", f"NETCONSD_ROOT={root}"])


@pytest.mark.parametrize("server", ["203.0.113.1", "2001:db8:ff::1"])
def test_no_route(sender: Sender, network: Network, server: str) -> None:
    """Without a route the script fails with an error that names the server."""
    network.ip("sender", f"route add unreachable {server}")
    assert sender.refusal("--server", server) == f"no route to {server}"
    network.ip("sender", f"route del unreachable {server}")


@pytest.mark.slow
@families
def test_dead_neighbour(sender: Sender, family: int) -> None:
    """A server on the link that does not answer is an error after some seconds."""
    server = address(family, 3, 77)
    assert sender.refusal("--server", server) == f"{server} does not answer on side"


@pytest.mark.slow
@families
def test_dead_router(network: Network, family: int) -> None:
    """A router that does not answer is an error that names it."""
    sender = Sender(network, shell("dash"))
    server, router = ("203.0.113.1", "10.77.1.99") if family == 4 else ("2001:db8:ff::1", "2001:db8:1::99")
    network.ip("sender", f"route add {server} via {router}")
    refusal = sender.refusal("--server", server)
    network.ip("sender", f"route del {server}")
    assert refusal == f"{router} does not answer on near; it is the router towards {server}"


@families
def test_this_machine(sender: Sender, family: int) -> None:
    """A machine cannot send to itself."""
    server = address(family, 1, 2)
    assert sender.refusal("--server", server) == (
        f"{server} is an address of this machine; netconsole can only send to other machines"
    )


def test_broadcast(sender: Sender) -> None:
    """The broadcast address of a network is not a server."""
    assert sender.refusal("--server", "10.77.1.255") == "no route to 10.77.1.255"


def test_no_such_interface(sender: Sender) -> None:
    """A missing interface is an error that lists the existing ones."""
    assert sender.refusal("--server", "10.77.2.9", "--interface", "eth9") == (
        "no interface eth9; the interfaces are: lo near side"
    )


def test_given_interface(sender: Sender, network: Network) -> None:
    """``--interface`` selects the interface, its source address and its neighbour."""
    network.ip("sender", "route add 10.77.2.0/24 via 10.77.3.9 metric 10")
    parameter = sender.parameter("--server", "10.77.2.9", "--interface", "near")
    other = sender.parameter("--server", "10.77.2.9")
    network.ip("sender", "route del 10.77.2.0/24")
    assert (parameter.interface, parameter.source) == ("near", "10.77.1.2")
    assert parameter.mac == network.mac("router", "near")
    assert (other.interface, other.mac) == ("side", network.mac("server", "side"))


def test_link_local(sender: Sender, network: Network) -> None:
    """A link-local address is found on the given interface."""
    network.ip("server", "addr add fe80::77/64 dev side nodad")
    try:
        parameter = sender.parameter("--server", "fe80::77", "--interface", "side")
    finally:
        network.ip("server", "addr del fe80::77/64 dev side")
    assert (parameter.interface, parameter.mac) == ("side", network.mac("server", "side"))


@pytest.fixture
def tunnel(network: Network) -> Iterator[None]:
    """An interface without Ethernet, with a route to 203.0.113.0/24."""
    network.ip("sender", "tuntap add dev tun0 mode tun")
    network.ip("sender", "link set tun0 up")
    network.ip("sender", "route add 203.0.113.0/24 dev tun0")
    yield
    network.ip("sender", "link del tun0")


@pytest.mark.usefixtures("tunnel")
def test_tunnel(sender: Sender) -> None:
    """A route through a tunnel is an error, because netconsole cannot use it."""
    assert sender.refusal("--server", "203.0.113.1") == (
        "tun0, the interface towards 203.0.113.1, is not Ethernet: netconsole cannot send through it"
    )


@pytest.fixture
def bridge(network: Network) -> Iterator[None]:
    """The sender's link to the server is a port of a bridge, which has the address."""
    network.ip("sender", "link add br0 type bridge")
    network.ip("sender", "link set side master br0")
    network.ip("sender", "addr del 10.77.3.2/24 dev side")
    network.ip("sender", "addr add 10.77.3.2/24 dev br0")
    network.ip("sender", "link set br0 up")
    yield
    network.ip("sender", "link del br0")
    network.ip("sender", "addr add 10.77.3.2/24 dev side")


@pytest.mark.usefixtures("bridge")
def test_bridge(sender: Sender, network: Network) -> None:
    """The script selects the bridge; an error for a port of the bridge names the bridge."""
    parameter = sender.parameter("--server", "10.77.3.9")
    assert (parameter.interface, parameter.mac) == ("br0", network.mac("server", "side"))
    assert sender.refusal("--server", "10.77.3.9", "--interface", "side").endswith("use --interface br0")


def test_needs_root(network: Network) -> None:
    """Without root the script fails before it changes anything; ``--print`` needs no root."""
    require("setpriv", "dash", "ping")
    command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "dash"]
    done = network.run("sender", command, text=script("--server", "10.77.3.9"))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "netconsd client: root is required: run the script with sudo sh\n"
    assert Sender(network, command).parameter("--server", "10.77.3.9").mac == network.mac("server", "side")


@pytest.mark.parametrize("server", ["10.77.2.9", "10.77.3.9"])
def test_without_ip(network: Network, tmp_path: Path, server: str) -> None:
    """Without the command ip, the script reads route and neighbour from /proc; the kernel chooses the address."""
    parameter = poor(network, tmp_path, *BUSYBOX).output("--server", server)
    interface, mac = ("side", network.mac("server", "side"))
    if server == "10.77.2.9":
        interface, mac = ("near", network.mac("router", "near"))
    assert parameter.endswith(f"6665@/{interface},1514@{server}/{mac}\n")


def test_without_ip_nor_route(network: Network, tmp_path: Path) -> None:
    """Without ip, rejecting routes do not count either."""
    sender = poor(network, tmp_path, *BUSYBOX)
    network.ip("sender", "route add unreachable 203.0.113.1")
    refusal = sender.refusal("--server", "203.0.113.1")
    network.ip("sender", "route del unreachable 203.0.113.1")
    assert refusal == "no route to 203.0.113.1"


def test_without_ip_over_ipv6(network: Network, tmp_path: Path) -> None:
    """IPv6 needs ip, because no file has its neighbours; the error names ip."""
    assert poor(network, tmp_path, *BUSYBOX).refusal("--server", "2001:db8:3::9") == (
        "IPv6 needs the command ip, which is missing (iproute2, or busybox)"
    )


@families
def test_without_ping(network: Network, tmp_path: Path, family: int) -> None:
    """Without ping, the script makes the kernel ask for the neighbour through ip."""
    commands = [name for name in (*BUSYBOX, "ip") if name not in ("ping", "ping6", "nc")]
    parameter = poor(network, tmp_path, *commands).parameter("--server", address(family, 2, 9))
    assert parameter.mac == network.mac("router", "near")


@pytest.mark.parametrize("name", SHELLS)
def test_truncated_script(network: Network, name: str) -> None:
    """A truncated script does nothing."""
    whole = script("--print", "--server", "10.77.3.9")
    done = network.run("sender", shell(name), text=whole[: len(whole) - len("main </dev/null\n")])
    assert done.stdout == ""
