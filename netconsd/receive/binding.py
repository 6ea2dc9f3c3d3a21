"""Finds bound UDP sockets that cannot receive, because an address or interface is gone, and binds them again.

The kernel reports nothing to a socket. Measured on Linux 6.18:

- A socket with an IPv4 or a global IPv6 address receives again when the address returns, on whatever interface.
- A socket with an interface (a link-local address, or ``BindToDevice=`` of systemd) is bound to the interface's number.
  When the interface is created again, under the same name, it has another number: the socket never receives again.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from typing import Any

from netconsd.receive.sockets import SO_RCVBUFFORCE, granted_rcvbuf

#: The problem of a socket that only a restart brings back.
CLOSED = "its socket is closed"
# The length of an interface's name with its NUL (IFNAMSIZ of linux/if.h).
_NAME_BYTES = 16


class Binding:
    """The address and the interface of a socket, as of the start."""

    def __init__(self, bound: Any, make_socket: Callable[..., Any] = socket.socket) -> None:
        """:param bound: the socket, or one for tests."""
        self._socket = bound
        self._make_socket = make_socket
        self._address = bound.getsockname()
        self._interface = self._name() or ""

    @property
    def is_lost(self) -> bool:
        """True if the socket's interface is gone, so that only another socket can receive."""
        return self._socket.fileno() >= 0 and self._name() is None

    def check(self) -> tuple[str, bool]:
        """The reason why the socket cannot receive, empty if it can; and whether it was bound again.

        Takes three system calls. A socket whose interface was replaced is bound again under the same descriptor.
        """
        if self._socket.fileno() < 0:
            return CLOSED, False
        if self.is_lost:
            return self._bind_again()
        host = self._address[0]
        if host in ("::", "0.0.0.0"):
            return "", False
        try:
            with self._make_socket(self._socket.family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as probe:
                probe.bind((host, 0, *self._address[2:]))
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                return f"{host} is no address of this machine at present (ip address shows them)", False
            # Too many open files, for example: nothing is known.
        return "", False

    def _name(self) -> str | None:
        """The name of the socket's interface; empty without one, None if the interface is gone."""
        try:
            name: bytes = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, _NAME_BYTES)
        except OSError as error:
            return None if error.errno == errno.ENODEV else ""
        return name.partition(b"\0")[0].decode("utf-8", "surrogateescape")

    def _bind_again(self) -> tuple[str, bool]:
        name = self._interface
        try:
            number = socket.if_nametoindex(name)
        except OSError:
            return f"interface {name} is gone", False
        old = self._socket
        kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        try:
            with self._make_socket(old.family, kind) as new:
                self._prepare(new, old)
                if old.family == socket.AF_INET6 and self._address[3]:
                    new.bind((*self._address[:3], number))
                else:
                    new.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, name.encode() + b"\0")
                    new.bind(self._address)
                # The same descriptor, so that everything that has it uses the new socket.
                os.dup2(new.fileno(), old.fileno(), inheritable=False)
        except OSError as error:
            reason = os.strerror(error.errno or 0)
            return f"interface {name} was created again, and the socket cannot be bound to it: {reason}", False
        self._address = old.getsockname()
        return "", True

    def _prepare(self, new: Any, old: Any) -> None:
        """Give a new socket the options of the old one."""
        if old.family == socket.AF_INET6:
            only = old.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
            new.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
        new.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, old.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT))
        size = granted_rcvbuf(old)
        try:
            new.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, size)
        except PermissionError:
            new.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
