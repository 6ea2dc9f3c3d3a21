"""In network namespaces: the script finds the route to the server, and a datagram sent with its parameter arrives."""

from __future__ import annotations

import socket

import pytest

from tests.client.frames import Parameter
from tests.client.network import Network, address
from tests.client.scripts import SHELLS, shell
from tests.client.sender import Sender

pytestmark = [pytest.mark.slow]

families = pytest.mark.parametrize("family", [4, 6])


@pytest.fixture(params=SHELLS)
def sender(request: pytest.FixtureRequest, network: Network) -> Sender:
    """The sender, in each of the shells."""
    return Sender(network, shell(request.param))


def arrives(network: Network, parameter: Parameter) -> tuple[bytes, str, int]:
    """Send a datagram as the sender's kernel would; return the datagram that the server gets, its address and port."""
    kind = socket.AF_INET6 if ":" in parameter.target else socket.AF_INET
    with network.inside("server"):
        server = socket.socket(kind, socket.SOCK_DGRAM)
    with network.inside("sender"):
        wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    with server, wire:
        server.settimeout(5)
        server.bind((parameter.target, parameter.port))
        wire.bind((parameter.interface, 0))
        wire.send(parameter.frame(network.mac("sender", parameter.interface), b"6,1,2,-;hello\n"))
        datagram, peer = server.recvfrom(2048)
    return datagram, peer[0], peer[1]


@families
def test_behind_a_router(sender: Sender, network: Network, family: int) -> None:
    """With empty neighbour tables, the script finds the router's MAC, and a datagram reaches the server."""
    parameter = sender.parameter("--server", address(family, 2, 9), "--port", "1600", "--source-port", "6700")
    assert parameter._replace(options="") == Parameter(
        "", 6700, address(family, 1, 2), "near", 1600, address(family, 2, 9), network.mac("router", "near")
    )
    assert arrives(network, parameter) == (b"6,1,2,-;hello\n", address(family, 1, 2), 6700)


@families
def test_on_the_link(sender: Sender, network: Network, family: int) -> None:
    """The MAC is the server's; interface and source address are those of the link."""
    parameter = sender.parameter("--server", address(family, 3, 9))
    assert parameter._replace(options="") == Parameter(
        "", 6665, address(family, 3, 2), "side", 1514, address(family, 3, 9), network.mac("server", "side")
    )
    assert arrives(network, parameter) == (b"6,1,2,-;hello\n", address(family, 3, 2), 6665)
