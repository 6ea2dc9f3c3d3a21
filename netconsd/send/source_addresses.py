"""Source addresses of a load: one address of this machine, many of its loopback network, or forged ones.

Every user may send from any address of 127.0.0.0/8. Only root may forge others, through raw sockets.
"""

from __future__ import annotations

import errno
import os
import socket
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address
from typing import Any

from netconsd.send.packets import udp_packet

try:
    from netconsd.send._sendmmsg import DatagramSender
except ImportError:  # plain Python
    from netconsd.send.sendmsg import DatagramSender  # type: ignore[assignment]

# A kernel's default source port.
SOURCE_PORT = 6665
_LOOPBACK = IPv4Network("127.0.0.0/8")
# The kernel does not send from the network's own address and its broadcast address. LOOPBACK_BITS low bits of this
# address can be varied without producing either.
_FIRST_LOOPBACK = IPv4Address("127.64.0.0")
LOOPBACK_BITS = 22
#: The limit of the C daemon's generator.
BITS_LIMIT = 56

Address = IPv4Address | IPv6Address


class AddressError(Exception):
    """A combination of addresses that cannot be used; the text names the option to change."""


@dataclass(frozen=True)
class Target:
    """A destination: an address as the user wrote it (fe80::1%eth0), and a port."""

    name: str
    port: int

    @property
    def address(self) -> Address:
        """:raises AddressError: if it is no address."""
        return parse("-d", self.name)

    @property
    def scope(self) -> int:
        """The number of the interface behind the ``%``; 0 without one.

        :raises AddressError: if the interface does not exist.
        """
        _, _, interface = self.name.partition("%")
        if not interface:
            return 0
        try:
            return int(interface) if interface.isdigit() else socket.if_nametoindex(interface)
        except OSError:
            raise AddressError(f"-d {self.name}: there is no interface {interface!r}") from None


class SourceAddresses:
    """A socket, and the source address of each sender. For one thread at a time."""

    def __init__(
        self, target: Target, opened: socket.socket, *, base: Address | None = None, forged: bool = False
    ) -> None:
        """
        :param opened: closed by ``close``.
        :param base: the address whose low bits vary; None: the socket's own address.
        :param forged: True if whole packets are written to a raw socket.
        """
        self._socket = opened
        self._base = 0 if base is None else int(base)
        self._forged = forged
        self._destination = target.address.packed
        self._port = target.port
        #: ``_sendmmsg.DatagramSender`` or its twin.
        self.sender: Any = DatagramSender(
            opened,
            opened.family,
            self._destination,
            # A raw socket takes the port for a protocol (raw(7)).
            0 if forged else target.port,
            target.scope,
            base is not None and not forged,
        )

    def packets(self, senders: list[int], datagrams: list[bytes]) -> tuple[list[bytes], list[int]]:
        """The arguments of ``sender.send``: packets, and the source address of each as a number."""
        base = self._base
        sources = [base ^ sender for sender in senders]
        if not self._forged:
            return datagrams, sources
        size = len(self._destination)
        packets = [
            udp_packet(source.to_bytes(size, "big"), self._destination, SOURCE_PORT, self._port, datagram)
            for source, datagram in zip(sources, datagrams, strict=True)
        ]
        return packets, [0] * len(packets)

    def close(self) -> None:
        """Close the socket; no call may follow."""
        self._socket.close()


def open_source_addresses(target: Target, source: str | None, bits: int) -> SourceAddresses:
    """Open ``2 ** bits`` source addresses: ``source`` with its low ``bits`` varied.

    :param source: None: 127.64.0.0 for a target in 127.0.0.0/8, otherwise this machine's address on the route there.
    :raises AddressError: if the addresses do not fit together, or only root may send from them.
    """
    destination = target.address
    # Raises here, before there is a socket to close.
    _ = target.scope
    family = socket.AF_INET if destination.version == 4 else socket.AF_INET6
    base = None if source is None else parse("-s", source)
    if base is not None and base.version != destination.version:
        raise AddressError(f"-s {source} and -d {target.name} are not of one family: both IPv4, or both IPv6")
    if bits > destination.max_prefixlen:
        raise AddressError(f"-o {bits}: the address has only {destination.max_prefixlen} bits")
    if bits and _is_loopback(destination) and (base is None or _is_loopback(base)):
        base = _loopback_base(base, bits)
        return SourceAddresses(target, _datagram_socket(family), base=base)
    if not bits:
        single = _single_address(target, family, base)
        if single is not None:
            return single
    base = base or _address_towards(target, family)
    try:
        raw = socket.socket(family, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.IPPROTO_RAW)
    except PermissionError:
        option = f"-o {bits}" if bits else f"-s {base}"
        raise AddressError(
            f"{option}: only root (CAP_NET_RAW) may send from addresses that are not this machine's; any user may with "
            f"-o 0 and no -s, or from addresses of 127.0.0.0/8 to 127.0.0.1 with at most {LOOPBACK_BITS} bits"
        ) from None
    return SourceAddresses(target, raw, base=base, forged=True)


def parse(option: str, literal: str) -> Address:
    """The address in the value of an option, without its interface.

    :raises AddressError: if it is no address.
    """
    try:
        return ip_address(literal.partition("%")[0])
    except ValueError:
        raise AddressError(f"{option} {literal}: not an IPv4 or IPv6 address") from None


def _is_loopback(address: Address) -> bool:
    """True for 127.0.0.0/8, from which any user may send."""
    return isinstance(address, IPv4Address) and address in _LOOPBACK


def _loopback_base(base: Address | None, bits: int) -> IPv4Address:
    base = IPv4Address(int(base or _FIRST_LOOPBACK))
    low = int(base) >> bits << bits
    high = low | (1 << bits) - 1
    if low <= int(_LOOPBACK.network_address) or high >= int(_LOOPBACK.broadcast_address):
        raise AddressError(
            f"-o {bits}: varying {bits} bits of {base} leaves 127.0.0.0/8, or reaches its first or last address; use "
            f"at most {LOOPBACK_BITS}, without -s"
        )
    return base


def _datagram_socket(family: int) -> socket.socket:
    opened = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    # One source port for the whole socket, so that each address is one sender.
    opened.bind(("" if family == socket.AF_INET else "::", 0))
    return opened


def _single_address(target: Target, family: int, base: Address | None) -> SourceAddresses | None:
    """One address of this machine; None if ``base`` is not this machine's."""
    if base is None:
        return SourceAddresses(target, _datagram_socket(family))
    opened = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        opened.bind((str(base), 0))
    except OSError as error:
        opened.close()
        if error.errno == errno.EADDRNOTAVAIL:
            return None
        raise AddressError(f"-s {base}: {os.strerror(error.errno or 0)}") from error
    return SourceAddresses(target, opened)


def _address_towards(target: Target, family: int) -> Address:
    """This machine's address on the route to the target."""
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((str(target.address), target.port, 0, target.scope)[: 2 if family == socket.AF_INET else 4])
        except OSError as error:
            raise AddressError(f"-d {target.name}: {os.strerror(error.errno or 0)}") from None
        literal: str = probe.getsockname()[0]
    return ip_address(literal.partition("%")[0])
