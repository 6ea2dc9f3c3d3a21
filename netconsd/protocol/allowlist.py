"""The networks of ``--allow``. Datagrams of all other addresses are dropped. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network

# Each datagram from an address that is not allowed is compared with every network, hundreds of thousands of times per
# second in a flood. The compiled reader compares about a hundred networks in half a microsecond.
NETWORKS_LIMIT = 256
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")


def read_network(text: str) -> IPv4Network | IPv6Network:
    """Parse ``192.0.2.0/24``, ``2001:db8::/32``, or an address, which is a network of one address.

    A network within ::ffff:0:0/96 becomes the IPv4 network that it maps.

    :raises ValueError: for any other text; the message is for the user.
    """
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"{text!r} is not a network, such as 192.0.2.0/24, 2001:db8::/32 or 192.0.2.7") from None
    if "%" in text:
        raise ValueError(f"{text!r} names an interface; a network of link-local addresses is fe80::/10")
    if "/" in text and network.network_address != ipaddress.ip_address(text.partition("/")[0]):
        raise ValueError(f"{text!r} is an address within a network: say {network} for all of that, or leave out the /")
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        return IPv4Network((int(network.network_address) & 0xFFFFFFFF, network.prefixlen - 96))
    return network


class AllowList:
    """The networks whose senders are allowed; an empty list allows all senders.

    An IPv6 network contains no IPv4 addresses, not even ``::/0`` does.
    """

    def __init__(self, networks: Iterable[str] = ()) -> None:
        """
        :param networks: texts for :func:`read_network`.
        :raises ValueError: for an invalid network, or for more than :data:`NETWORKS_LIMIT`.
        """
        #: First address and mask of each network, 16 bytes each, as in :attr:`netconsd.protocol.message.Source.packed`.
        self.networks = tuple(_packed(read_network(text)) for text in networks)
        if len(self.networks) > NETWORKS_LIMIT:
            raise ValueError(f"{len(self.networks)} networks are more than {NETWORKS_LIMIT}; use larger ones")

    def admits(self, address: bytes) -> bool:
        """True if senders with this address (16 bytes) are allowed."""
        if not self.networks:
            return True
        number = int.from_bytes(address, "big")
        is_ipv4 = _is_ipv4(address)
        return any(
            number & int.from_bytes(mask, "big") == int.from_bytes(first, "big") and _is_ipv4(first) == is_ipv4
            for first, mask in self.networks
        )


#: The list that allows all senders.
EVERYONE = AllowList()


def _packed(network: IPv4Network | IPv6Network) -> tuple[bytes, bytes]:
    if isinstance(network, IPv6Network):
        return network.network_address.packed, network.netmask.packed
    return _MAPPED.network_address.packed[:12] + network.network_address.packed, b"\xff" * 12 + network.netmask.packed


def _is_ipv4(address: bytes) -> bool:
    return address.startswith(_MAPPED.network_address.packed[:12])
