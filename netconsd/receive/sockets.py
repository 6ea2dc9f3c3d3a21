"""The sockets that listeners read, bound before privileges are dropped, with a large receive buffer."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Sequence
from typing import NamedTuple

from netconsd.protocol.message import MAPPED_IPV4, Source, name_interfaces
from netconsd.settings import ConfigError, Settings

# Python has no names for these options; the numbers are those of all architectures with <asm-generic/socket.h>.
SO_RCVBUFFORCE = getattr(socket, "SO_RCVBUFFORCE", 33)
SO_MEMINFO = 55

name_interfaces(socket.if_indextoname)


def bind(settings: Settings) -> list[socket.socket]:
    """Return one bound, non-blocking UDP socket per listener, all on the same port.

    Without an address the sockets receive IPv4 and IPv6, or IPv4 alone if the kernel has no IPv6.

    :raises ConfigError: if the port is in use, or the address is not one of this machine; the text names the setting.
    """
    try:
        return _bind_all(settings)
    except OSError as error:
        raise ConfigError(_bind_error(settings, error)) from error


def granted_rcvbuf(bound: socket.socket) -> int:
    """The bytes of receive buffer that the kernel granted, in the unit in which they are requested."""
    # The kernel doubles the requested size, for its own bookkeeping (socket(7)).
    return bound.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2


class MemInfo(NamedTuple):
    """The kernel's figures on a socket's memory; unsigned numbers of 32 bits."""

    used: int
    """Bytes of the receive buffer used by unread datagrams, the kernel's own bookkeeping included."""
    size: int
    """Bytes of the receive buffer, in the same unit: twice the granted size."""
    drops: int
    """Datagrams dropped since the socket was created because the buffer was full, modulo 2^32."""


def meminfo(bound: socket.socket) -> MemInfo:
    """Read the figures from the kernel (SO_MEMINFO)."""
    # SK_MEMINFO_RMEM_ALLOC, _RCVBUF and _DROPS of the nine numbers in linux/sock_diag.h.
    numbers = struct.unpack("=9I", bound.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 36))
    return MemInfo(numbers[0], numbers[1], numbers[8])


def unwrapped(total: int, reading: int) -> int:
    """The full value of a counter of which the kernel reports the low 32 bits.

    Correct if called at least once per 2^32 counts: at a million drops per second, every 71 minutes.

    :param total: the full value at the previous reading; 0 at the first.
    """
    return total + ((reading - total) & 0xFFFFFFFF)


def packed_address(host: str) -> bytes | None:
    """The 16 bytes of an address, IPv4 as ``::ffff:a.b.c.d``, without the interface; None if it cannot be parsed."""
    try:
        if ":" in host:
            return socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
        return MAPPED_IPV4 + socket.inet_pton(socket.AF_INET, host)
    except (OSError, ValueError):
        return None


def scope_of(host: str) -> int:
    """The number of the interface in an address as text (``fe80::1%eth0``, ``fe80::1%2``); 0 if there is none."""
    name = host.partition("%")[2]
    if not name:
        return 0
    try:
        return socket.if_nametoindex(name)
    except (OSError, ValueError):
        # The kernel's number is a c_int; a higher one cannot be in a key.
        return int(name) if name.isascii() and name.isdigit() and len(name) < 10 else 0


def send_to(bound: socket.socket, key: bytes, datagram: bytes) -> bool:
    """Send a datagram to a sender without blocking; return whether the system accepted it. For any thread.

    Reasons for ``False`` are a full buffer, no route, and a closed socket. A link-local sender is answered on its
    interface.

    :param key: the sender, as :attr:`netconsd.protocol.message.Source.key`.
    """
    source = Source.from_key(key)
    try:
        if bound.family == socket.AF_INET6:
            bound.sendto(datagram, (socket.inet_ntop(socket.AF_INET6, source.packed), source.port, 0, source.scope))
        else:
            bound.sendto(datagram, (socket.inet_ntop(socket.AF_INET, key[12:16]), source.port))
    except OSError:
        return False
    return True


def describe(sockets: Sequence[socket.socket]) -> str:
    """The addresses and ports of the sockets, in words for the log."""
    places: dict[str, None] = {}
    for bound in sockets:
        host, port = bound.getsockname()[:2]
        if host == "::":
            only = bound.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
            host = "all addresses, IPv6 only" if only else "all addresses, IPv4 and IPv6"
        elif host == "0.0.0.0":
            host = "all addresses, IPv4 only"
        places[f"{host}, UDP port {port}"] = None
    return "; ".join(places)


def destinations(sockets: Sequence[socket.socket]) -> list[tuple[str, int]]:
    """The addresses and ports to send messages to; ``0.0.0.0`` and ``::`` are all addresses of their family."""
    result: dict[tuple[str, int], None] = {}
    for bound in sockets:
        host, port = bound.getsockname()[:2]
        if host == "::" and not bound.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY):
            result["0.0.0.0", port] = None
        result[host, port] = None
    return list(result)


def enlarge_rcvbuf(passed: socket.socket, size: int) -> None:
    """Raise the receive buffer to ``size`` or to the largest size that the kernel grants; never reduce it."""
    current = granted_rcvbuf(passed)
    if current >= size:
        return
    try:
        passed.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, size)
    except PermissionError:
        # The process that created the socket may have exceeded net.core.rmem_max; without its privileges the request
        # would reduce the buffer. A trial socket shows the size that would be granted.
        with socket.socket(passed.family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
            if granted_rcvbuf(trial) > current:
                passed.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)


def _bind_all(settings: Settings) -> list[socket.socket]:
    family, address = _address(settings.address)
    port = settings.port
    # With SO_REUSEPORT a second daemon of the same user would silently share the port and receive a part of the fleet's
    # messages. Binding a socket without the option first fails if the port is in use.
    if settings.listeners > 1 and port:
        _bind_one(family, address, port, shared=False).close()
    bound: list[socket.socket] = []
    try:
        for _ in range(settings.listeners):
            listener = _bind_one(family, address, port, shared=settings.listeners > 1)
            bound.append(listener)
            port = listener.getsockname()[1]
            _raise_rcvbuf(listener, settings.rcvbuf)
    except OSError:
        for listener in bound:
            listener.close()
        raise
    return bound


def _address(literal: str | None) -> tuple[int, str]:
    if literal is not None:
        return (socket.AF_INET6 if ":" in literal else socket.AF_INET), literal
    try:
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).close()
    except OSError as error:
        if error.errno != errno.EAFNOSUPPORT:
            raise
        return socket.AF_INET, "0.0.0.0"
    # A machine with IPv6 disabled by sysctl still has the family, but no IPv6 address, not even the unspecified address
    # for an IPv6-only socket. A dual-stack socket binds all the same and receives IPv4.
    return socket.AF_INET6, "::"


def _bind_one(family: int, address: str, port: int, *, shared: bool) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        if shared:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        # getaddrinfo translates the interface of a link-local address (fe80::1%eth0) to its number.
        resolved = socket.getaddrinfo(address, port, family, socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST)
        bound.bind(resolved[0][4])
    except BaseException:
        bound.close()
        raise
    return bound


def _raise_rcvbuf(bound: socket.socket, size: int) -> None:
    try:
        # It may exceed net.core.rmem_max, but needs CAP_NET_ADMIN.
        bound.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, size)
    except PermissionError:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)


def _bind_error(settings: Settings, error: OSError) -> str:
    endpoint = f"address {settings.address or 'any'}, port {settings.port}"
    if error.errno == errno.EADDRINUSE:
        return (
            f"port: {endpoint} is in use already; stop the program that uses it (ss -ulpn shows it) "
            "or choose another port"
        )
    if error.errno == errno.EACCES:
        return f"port: {endpoint} may not be bound by this user; choose a port from 1024 up or start as root"
    if error.errno in (errno.EADDRNOTAVAIL, socket.EAI_NONAME, errno.ENODEV):
        return f"address: {endpoint} cannot be bound; it is not an address of this machine (ip address shows them)"
    return f"address: {endpoint} cannot be bound: {error.strerror or os.strerror(error.errno or 0)}"
