"""The sockets that listeners read: bound before privileges are dropped, with a receive buffer worth the name."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Sequence
from typing import NamedTuple

from netconsd.settings import ConfigError, Settings

# Python has no names for them; the numbers are the same on all architectures with <asm-generic/socket.h>.
SO_RCVBUFFORCE = getattr(socket, "SO_RCVBUFFORCE", 33)
SO_MEMINFO = 55


def bind(settings: Settings) -> list[socket.socket]:
    """One bound, non-blocking UDP socket per listener, all on the same port.

    Without an address they take IPv4 and IPv6; where the kernel has no IPv6, IPv4 alone.

    :raises ConfigError: if the port is in use, or the address is not ours; the text names the setting.
    """
    try:
        return _bind_all(settings)
    except OSError as error:
        raise ConfigError(_why_not_bound(settings, error)) from error


def granted_rcvbuf(bound: socket.socket) -> int:
    """How many bytes of receive buffer the kernel granted, in the terms in which they are asked for."""
    # The kernel doubles what it is asked for, for its own bookkeeping (socket(7)).
    return bound.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2


class MemInfo(NamedTuple):
    """What the kernel says of a socket's memory; unsigned numbers of 32 bits."""

    used: int
    """Bytes of the receive buffer that are taken: what is not read yet, with the kernel's own bookkeeping."""
    size: int
    """Bytes of the receive buffer, in the same terms: twice what was granted."""
    drops: int
    """Datagrams dropped for lack of room since the socket was made, modulo 2^32."""


def meminfo(bound: socket.socket) -> MemInfo:
    """Ask the kernel (SO_MEMINFO)."""
    # SK_MEMINFO_RMEM_ALLOC, _RCVBUF and _DROPS of the nine in linux/sock_diag.h.
    numbers = struct.unpack("=9I", bound.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 36))
    return MemInfo(numbers[0], numbers[1], numbers[8])


def unwrapped(total: int, reading: int) -> int:
    """What a counter has come to of which the kernel shows the low 32 bits.

    Right if it is called at least once in 2^32 counts: at a million drops per second, every 71 minutes.

    :param total: what it had come to when it was read before; 0 at the beginning.
    """
    return total + ((reading - total) & 0xFFFFFFFF)


def send_to(bound: socket.socket, key: bytes, datagram: bytes) -> bool:
    """Send a datagram to a sender, given as :attr:`netconsd.protocol.message.Source.key`, if that is possible at once.

    For any thread. ``False`` where the system refuses: a full buffer, no route, a link-local address (whose interface
    the key does not name), a closed socket.
    """
    port = int.from_bytes(key[16:], "big")
    try:
        if bound.family == socket.AF_INET6:
            bound.sendto(datagram, (socket.inet_ntop(socket.AF_INET6, key[:16]), port))
        else:
            bound.sendto(datagram, (socket.inet_ntop(socket.AF_INET, key[12:16]), port))
    except OSError:
        return False
    return True


def describe(sockets: Sequence[socket.socket]) -> str:
    """Where they listen, in words."""
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
    """The addresses and ports that messages can be sent to; ``0.0.0.0`` and ``::`` stand for all of their family."""
    found: dict[tuple[str, int], None] = {}
    for bound in sockets:
        host, port = bound.getsockname()[:2]
        if host == "::" and not bound.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY):
            found["0.0.0.0", port] = None
        found[host, port] = None
    return list(found)


def enlarge_rcvbuf(passed: socket.socket, size: int) -> None:
    """Have as large a receive buffer as the kernel grants, up to ``size``, but never a smaller one than before."""
    had = granted_rcvbuf(passed)
    if had >= size:
        return
    try:
        passed.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, size)
    except PermissionError:
        # Who made the socket may have been allowed more than net.core.rmem_max; asking without that right would cut it
        # down. A socket of our own shows what would come of it.
        with socket.socket(passed.family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
            if granted_rcvbuf(trial) > had:
                passed.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)


def _bind_all(settings: Settings) -> list[socket.socket]:
    family, address = _address(settings.address)
    port = settings.port
    # With SO_REUSEPORT a second daemon of the same user would share the port in silence and get a part of the fleet's
    # messages. A socket without it finds out whether the port is free.
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
    # A machine that switched IPv6 off by sysctl still has the family, but no address of it, not even the unspecified
    # one for a socket that takes IPv6 alone; a dual-stack socket binds and takes IPv4.
    return socket.AF_INET6, "::"


def _bind_one(family: int, address: str, port: int, *, shared: bool) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        if shared:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        # getaddrinfo turns the scope of a link-local address (fe80::1%eth0) into its number.
        found = socket.getaddrinfo(address, port, family, socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST)
        bound.bind(found[0][4])
    except BaseException:
        bound.close()
        raise
    return bound


def _raise_rcvbuf(bound: socket.socket, size: int) -> None:
    try:
        # Beyond net.core.rmem_max, with CAP_NET_ADMIN only.
        bound.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, size)
    except PermissionError:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)


def _why_not_bound(settings: Settings, error: OSError) -> str:
    where = f"address {settings.address or 'any'}, port {settings.port}"
    if error.errno == errno.EADDRINUSE:
        return f"port: {where} is in use already; stop the program that has it (ss -ulpn shows it) or take another port"
    if error.errno == errno.EACCES:
        return f"port: {where} may not be bound by this user; take a port from 1024 up or start as root"
    if error.errno in (errno.EADDRNOTAVAIL, socket.EAI_NONAME, errno.ENODEV):
        return f"address: {where} cannot be bound; it is not an address of this machine (ip address shows them)"
    return f"address: {where} cannot be bound: {error.strerror or os.strerror(error.errno or 0)}"
