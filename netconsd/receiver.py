"""What ``_recvmmsg`` does, in plain Python: one datagram per system call, sorted by lane."""

from __future__ import annotations

import socket
from zlib import crc32

from netconsd.allowed import EVERYONE, AllowList
from netconsd.message import MAPPED_IPV4

# One more than the largest UDP datagram, so that none is cut off unseen.
_SIZE = 65536
# netconsd.workers.PLACE_BYTES.
_LARGE = 1024
# Reading an address that Python has written costs as much as reading the datagram. A stranger can have as many
# addresses as he likes, so they are forgotten now and then.
ADDRESSES_LIMIT = 4096


class Receiver:
    """Reads one socket. For one thread at a time."""

    __slots__ = (
        *("_addresses", "_allowed", "_lanes", "_socket"),
        *("denied", "large", "octets", "refused", "slots", "truncated"),
    )

    def __init__(
        self, bound: socket.socket, batch: int, batches: int, lanes: int, allowed: AllowList = EVERYONE
    ) -> None:
        """
        :param bound: a non-blocking UDP socket.
        :param batch: as many datagrams, times ``batches``, are read at a time.
        :param lanes: how many lanes there are.
        :param allowed: whose datagrams are taken.
        """
        self._socket = bound
        self._allowed = allowed
        self._lanes = lanes
        self._addresses: dict[tuple[str, int], tuple[int, bytes]] = {}
        self.slots = batch * batches
        #: Bytes received since the start.
        self.octets = 0
        #: Datagrams that were cut off, since the start. (No UDP datagram is large enough.)
        self.truncated = 0
        #: Datagrams from an address that cannot be read, since the start; they are dropped.
        self.refused = 0
        #: Datagrams from an address that is not allowed, since the start; they are dropped.
        self.denied = 0
        #: Whether the last call of ``receive`` brought a datagram of ``PLACE_BYTES`` (netconsd.workers) or more.
        self.large = False

    def receive(self) -> list[tuple[list[bytes], list[bytes]]]:
        """Read what is there, and return a pair of lists for each lane: the senders' keys, and the datagrams.

        :raises OSError: if the first call fails, other than because there is nothing to read. What came before a later
            failure is returned.
        """
        result: list[tuple[list[bytes], list[bytes]]] = [([], []) for _ in range(self._lanes)]
        receive = self._socket.recvfrom
        addresses = self._addresses
        octets = largest = 0
        for count in range(self.slots):
            try:
                datagram, address = receive(_SIZE)
            except BlockingIOError:
                break
            except OSError:
                if count == 0:
                    raise
                break
            octets += len(datagram)
            largest = max(largest, len(datagram))
            known = addresses.get(address)
            if known is None:
                known = self._read_address(address)
                if known is None:
                    continue
            lane, key = known
            senders, datagrams = result[lane]
            senders.append(key)
            datagrams.append(datagram)
        self.octets += octets
        self.large = largest >= _LARGE
        return result

    def _read_address(self, address: tuple[str, int]) -> tuple[int, bytes] | None:
        host, port = address[:2]
        try:
            if ":" in host:
                packed = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
            else:
                packed = MAPPED_IPV4 + socket.inet_pton(socket.AF_INET, host)
        except (OSError, ValueError):
            self.refused += 1
            return None
        if not self._allowed.admits(packed):
            # Not remembered, so that strangers push out nobody.
            self.denied += 1
            return None
        if len(self._addresses) >= ADDRESSES_LIMIT:
            self._addresses.clear()
        known = crc32(packed) % self._lanes, packed + port.to_bytes(2, "big")
        self._addresses[address] = known
        return known
