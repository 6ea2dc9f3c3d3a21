"""The twin of ``_sendmmsg`` in plain Python: one system call per datagram, each from its own source address."""

from __future__ import annotations

import errno
import socket
import struct
from typing import Any

# Python has the name since 3.12; the number is that of <linux/in.h> on every architecture.
IP_PKTINFO = 8
# struct in_pktinfo: the interface (0: any), the source, and a field for receiving only.
_PKTINFO = struct.Struct("=I4s4s")


class DatagramSender:
    """Sends through one socket to one destination. For one thread at a time."""

    def __init__(
        self, socket: socket.socket, family: int, address: bytes, port: int, scope: int = 0, with_source: bool = False
    ) -> None:
        """
        :param socket: a blocking datagram or raw socket.
        :param family: of the destination's address.
        :param address: the destination, packed.
        :param with_source: True if each datagram has its own source address; IPv4 only.
        """
        self._socket = socket
        self._destination = _socket_address(family, address, port, scope)
        self._with_source = with_source

    def send(self, datagrams: list[bytes], sources: list[int], start: int = 0) -> int:
        """Send the datagrams from index ``start`` on, and return the index of the first one not sent.

        It is less than ``len(datagrams)`` if the interface's queue is full: send the rest later.

        :param sources: the IPv4 address that each datagram is sent from, as a number (read only ``with_source``).
        :raises OSError: if the kernel refuses a datagram; those before it are sent.
        """
        if self._with_source and len(sources) != len(datagrams):
            raise ValueError("not as many sources as datagrams")
        for index in range(start, len(datagrams)):
            control = [_pktinfo(sources[index])] if self._with_source else []
            try:
                self._socket.sendmsg([datagrams[index]], control, 0, self._destination)
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                return index
        return len(datagrams)


def _pktinfo(source: int) -> tuple[int, int, bytes]:
    return socket.IPPROTO_IP, IP_PKTINFO, _PKTINFO.pack(0, source.to_bytes(4, "big"), bytes(4))


def _socket_address(family: int, address: bytes, port: int, scope: int) -> Any:
    literal = socket.inet_ntop(family, address)
    return (literal, port) if family == socket.AF_INET else (literal, port, 0, scope)
