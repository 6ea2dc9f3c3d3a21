"""What ``_sendmmsg`` does, in plain Python: one datagram per system call, from a source address of its own."""

from __future__ import annotations

import errno
import socket
import struct
from typing import Any

# Python has a name for it since 3.12; the number is that of <linux/in.h>, on every architecture.
IP_PKTINFO = 8
# struct in_pktinfo: the interface (0: any), the source, and a field that is for receiving only.
_PKTINFO = struct.Struct("=I4s4s")


class DatagramSender:
    """Sends through one socket to one destination. For one thread at a time."""

    def __init__(
        self,
        socket: socket.socket,
        family: int,
        address: bytes,
        port: int,
        scope: int = 0,
        with_source: bool = False,
    ) -> None:
        """
        :param socket: a blocking datagram or raw socket.
        :param family: that of the destination's address, which is packed.
        :param with_source: whether each datagram has a source address; IPv4 only.
        """
        self._socket = socket
        self._to = _socket_address(family, address, port, scope)
        self._with_source = with_source
        #: Datagrams that the kernel took since the start, and their bytes.
        self.datagrams = 0
        self.octets = 0

    def send(self, datagrams: list[bytes], sources: list[int], start: int = 0) -> int:
        """Send the datagrams from this index on, and return the index up to which they went.

        It is less than their number if there is no room in the interface's queue: send the rest a moment later.

        :param sources: as many numbers: the IPv4 address that each comes from (used only ``with_source``).
        :raises OSError: if the kernel refuses one; those before it went.
        """
        if self._with_source and len(sources) != len(datagrams):
            raise ValueError("not as many sources as datagrams")
        for index in range(start, len(datagrams)):
            datagram = datagrams[index]
            control = [_pktinfo(sources[index])] if self._with_source else []
            try:
                self._socket.sendmsg([datagram], control, 0, self._to)
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                return index
            self.datagrams += 1
            self.octets += len(datagram)
        return len(datagrams)


def _pktinfo(source: int) -> tuple[int, int, bytes]:
    return socket.IPPROTO_IP, IP_PKTINFO, _PKTINFO.pack(0, source.to_bytes(4, "big"), bytes(4))


def _socket_address(family: int, address: bytes, port: int, scope: int) -> Any:
    literal = socket.inet_ntop(family, address)
    return (literal, port) if family == socket.AF_INET else (literal, port, 0, scope)
