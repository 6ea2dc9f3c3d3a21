"""Where datagrams come from and go to: from an address of this machine, many of its loopback, or forged ones.

Every address of 127.0.0.0/8 is ours to send from. For all others the kernel lets root alone write what it likes.
"""

from __future__ import annotations

import errno
import os
import socket
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address
from typing import Any

from netconsd.send.packets import udp_packet

__all__ = ["BITS_LIMIT", "LOOPBACK_BITS", "DatagramSender", "Origin", "OriginError", "Target", "origin_for"]

try:
    from netconsd.send._sendmmsg import DatagramSender
except ImportError:  # plain Python
    from netconsd.send.sendmsg import DatagramSender  # type: ignore[assignment]

# The port that a kernel sends from if it is not told another one.
SOURCE_PORT = 6665
_LOOPBACK = IPv4Network("127.0.0.0/8")
# From here on LOOPBACK_BITS low bits can be any, and never make the network's own address or its broadcast address,
# which the kernel does not send from.
_FIRST_LOOPBACK = IPv4Address("127.64.0.0")
LOOPBACK_BITS = 22
#: The C daemon's generator takes as many.
BITS_LIMIT = 56

Address = IPv4Address | IPv6Address


class OriginError(Exception):
    """It cannot be sent like this; the text says which option to change."""


@dataclass(frozen=True)
class Target:
    """A destination: an address as it was given (fe80::1%eth0), and a port."""

    name: str
    port: int

    @property
    def address(self) -> Address:
        """
        :raises OriginError: if it is no address.
        """
        return parse("-d", self.name)

    @property
    def scope(self) -> int:
        """The number of the interface behind the ``%``; 0 if there is none.

        :raises OriginError: if there is no such interface.
        """
        _, _, interface = self.name.partition("%")
        if not interface:
            return 0
        try:
            return int(interface) if interface.isdigit() else socket.if_nametoindex(interface)
        except OSError:
            raise OriginError(f"-d {self.name}: there is no interface {interface!r}") from None


class Origin:
    """A socket, and the address of each sender. For one thread, but that ``close`` comes last."""

    def __init__(
        self, target: Target, opened: socket.socket, *, base: Address | None = None, forged: bool = False
    ) -> None:
        """
        :param opened: closed by ``close``.
        :param base: the address whose low bits differ; None: that of the socket.
        :param forged: whether packets are written as a whole, into a raw socket.
        """
        self._socket = opened
        self._base = 0 if base is None else int(base)
        self._forged = forged
        self._destination = target.address.packed
        self._port = target.port
        #: What sends: ``_sendmmsg.DatagramSender`` or its twin.
        self.sender: Any = DatagramSender(
            opened,
            opened.family,
            self._destination,
            # For a raw socket a port would be a protocol (raw(7)).
            0 if forged else target.port,
            target.scope,
            base is not None and not forged,
        )

    def address(self, senders: list[int], datagrams: list[bytes]) -> tuple[list[bytes], list[int]]:
        """What to give to ``sender.send``: packets, and the number that is the source of each."""
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
        self._socket.close()


def origin_for(target: Target, source: str | None, bits: int) -> Origin:
    """An origin of ``2 ** bits`` addresses, made from ``source`` by changing that many low bits.

    :param source: None: for a target on the loopback one of 127.0.0.0/8, else the machine's own on the way there.
    :raises OriginError: if the addresses do not fit together, or only root may send from them.
    """
    to = target.address
    # Before there is a socket that would have to be closed.
    _ = target.scope
    family = socket.AF_INET if to.version == 4 else socket.AF_INET6
    given = None if source is None else parse("-s", source)
    if given is not None and given.version != to.version:
        raise OriginError(f"-s {source} and -d {target.name} are not of one family: both IPv4, or both IPv6")
    if bits > (given or to).max_prefixlen:
        raise OriginError(f"-o {bits}: the address has {to.max_prefixlen} bits only")
    if isinstance(to, IPv4Address) and to in _LOOPBACK and (given is None or given in _LOOPBACK) and bits:
        loopback = _loopback_base(given, bits)
        return Origin(target, _datagram_socket(family), base=loopback)
    if not bits:
        own = _own(target, family, given)
        if own is not None:
            return own
    base = given or _address_towards(target, family)
    try:
        raw = socket.socket(family, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.IPPROTO_RAW)
    except PermissionError:
        what = f"-s {base}" if not bits else f"-o {bits}"
        raise OriginError(
            f"{what}: only root (CAP_NET_RAW) may send from addresses that are not this machine's; any user may with "
            f"-o 0 and no -s, or from those of 127.0.0.0/8 to 127.0.0.1 with at most {LOOPBACK_BITS} bits"
        ) from None
    return Origin(target, raw, base=base, forged=True)


def parse(option: str, literal: str) -> Address:
    """
    :raises OriginError: if it is no address.
    """
    try:
        return ip_address(literal.partition("%")[0])
    except ValueError:
        raise OriginError(f"{option} {literal}: not an IPv4 or IPv6 address") from None


def _loopback_base(given: Address | None, bits: int) -> IPv4Address:
    base = IPv4Address(int(given or _FIRST_LOOPBACK))
    low = int(base) >> bits << bits
    high = low | (1 << bits) - 1
    if low <= int(_LOOPBACK.network_address) or high >= int(_LOOPBACK.broadcast_address):
        raise OriginError(
            f"-o {bits}: so many bits of {base} lead out of 127.0.0.0/8, or to its first or last address; take at most "
            f"{LOOPBACK_BITS}, without -s"
        )
    return base


def _datagram_socket(family: int) -> socket.socket:
    opened = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    # One port for all that a socket sends, so that an address is one sender.
    opened.bind(("" if family == socket.AF_INET else "::", 0))
    return opened


def _own(target: Target, family: int, given: Address | None) -> Origin | None:
    """An origin of one address of this machine; None if it is not ours."""
    if given is None:
        return Origin(target, _datagram_socket(family))
    opened = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        opened.bind((str(given), 0))
    except OSError as error:
        opened.close()
        if error.errno == errno.EADDRNOTAVAIL:
            return None
        raise OriginError(f"-s {given}: {os.strerror(error.errno or 0)}") from error
    return Origin(target, opened)


def _address_towards(target: Target, family: int) -> Address:
    """The address that this machine has on the way there."""
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((str(target.address), target.port, 0, target.scope)[: 2 if family == socket.AF_INET else 4])
        except OSError as error:
            raise OriginError(f"-d {target.name}: {os.strerror(error.errno or 0)}") from None
        literal: str = probe.getsockname()[0]
    return ip_address(literal.partition("%")[0])
